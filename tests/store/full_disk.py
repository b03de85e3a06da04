"""A gateway on a disk of its own, which is filled up: before a call, and while one is made.

`full_disk.py FOLDER` prints what happened as JSON; FOLDER is the only thing on its disk.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from support.fakes import succeeded
from support.gateway import governed

from mcpuppet.audit.verify import verify_store
from mcpuppet.errors import StoreError
from mcpuppet.orchestrator import Orchestrator
from mcpuppet.session.outcome import Outcome

WORKFLOW = "steps: {pay: {tool: bank.pay}}"


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Until it ends, there is no room on the disk."""
    filling = folder / "filling"
    descriptor = os.open(filling, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    os.close(descriptor)
    try:
        yield
    finally:
        filling.unlink()


async def said(gateway: Orchestrator, session: str) -> str:
    try:
        return (await gateway.call_tool(session, "bank.pay", {})).status
    except StoreError as error:
        return str(error)


async def main(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async with governed(folder, WORKFLOW) as (gateway, servers):
        first, second = [(await gateway.start_workflow("tiny", {})).session_id for _ in range(2)]
        with full(folder):
            found["before"] = await said(gateway, first)
        found["calls before"] = len(servers.calls)
        found["after"] = await said(gateway, first)
        with ExitStack() as until_then:

            def pay(_arguments: dict[str, Any]) -> Outcome:
                until_then.enter_context(full(folder))
                return succeeded()

            servers.offer("bank.pay", pay)
            found["during"] = await said(gateway, second)
        await said(gateway, second)
        found["calls in all"] = len(servers.calls)
        found["steps"] = [one.status for one in (await gateway.status(second)).steps]
        found["verified"] = verify_store(gateway.store.reader).ok
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
