"""Orchestrators under rules files, several on one store, in this process or in one of their own.

Run as a program (`ruled.py FOLDER NODE RULES TOOL...`) it is a gateway process that does as it is
told on stdin.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcpuppet.audit.replay.store import replay_store
from mcpuppet.audit.verify import verify_store
from mcpuppet.gateway.server_settings import ServerSettings
from mcpuppet.library import Library
from mcpuppet.orchestrator import Orchestrator
from mcpuppet.session.call import Principal
from mcpuppet.session.decision import Unlisted
from mcpuppet.session.outcome import Outcome
from mcpuppet.settings import AGENT, PrincipalSettings, Settings
from mcpuppet.store.nodes import Nodes
from mcpuppet.store.sqlite import SqliteStore
from support.fakes import FakeServers, succeeded
from support.play import compiled, compiled_rules


@asynccontextmanager
async def ruled(
    folder: Path,
    *workflows: str,
    servers: FakeServers,
    clock: Callable[[], datetime],
    rules: str | None = None,
    node: str = "node_1",
    unlisted: Unlisted = "deny",
    default: str | None = None,
) -> AsyncIterator[Orchestrator]:
    """An orchestrator whose principal's sessions a rules file governs; its trail verifies."""
    flows = {one.name: one for one in (compiled(body) for body in workflows)}
    house = None if rules is None else compiled_rules(rules)
    named = {tool for flow in flows.values() for tool in flow.tools}
    names = {tool.partition(".")[0] for tool in (*servers.behaviours, *named)}
    settings = Settings(
        servers=tuple(ServerSettings(name, "unused") for name in sorted(names)),
        store=folder / "mcpuppet.db",
        default_workflow=default,
        principals={
            AGENT: PrincipalSettings(Principal(AGENT), rules=None if house is None else house.name)
        },
        unlisted=unlisted,
        hash="0" * 64,
    )
    store = SqliteStore(settings.store)
    nodes = Nodes(settings.store, node)
    numbers = itertools.count(1)
    library = Library(flows, store, {} if house is None else {house.name: house})
    try:
        yield Orchestrator(
            settings=settings,
            store=store,
            library=library,
            servers=servers,
            nodes=nodes,
            node_id=node,
            clock=clock,
            new_id=lambda kind: f"{kind}_{node}_{next(numbers)}",
            jitter=lambda: 0.0,
        )
        report = verify_store(store.reader)
        assert report.breaks == (), report.breaks
        assert replay_store(store.reader).mismatches == ()
    finally:
        await store.close()
        nodes.leave()


HELD = "hold"
"""Calls of tools whose names end so are not answered before the file `release` exists."""


def counting(folder: Path, tools: Iterable[str]) -> FakeServers:
    """Servers whose every call is a line in a file, named by the tool, that processes share."""
    servers = FakeServers()

    def offer(tool: str) -> None:
        async def dispatched(arguments: dict[str, Any]) -> Outcome:
            with (folder / tool).open("a") as file:
                file.write(f"{os.getpid()}\n")
            while tool.endswith(HELD) and not (folder / "release").exists():  # noqa: ASYNC110 - see below
                await asyncio.sleep(0.01)  # another process makes the file
            return succeeded()

        servers.offer(tool, dispatched)

    for tool in tools:
        offer(tool)
    return servers


async def obey(folder: Path, node: str, rules: str, tools: list[str]) -> None:
    """Be a gateway process: call each tool that is named on stdin, and print what became of it."""
    servers = counting(folder, tools)
    async with ruled(
        folder, rules=rules, servers=servers, clock=lambda: datetime.now(UTC), node=node
    ) as orchestrator:
        await orchestrator.store.users()
        os.write(1, b"ready\n")
        while tool := (await asyncio.to_thread(sys.stdin.readline)).strip():
            answer = await orchestrator.call_tool(f"session_{node}", tool, {"n": 1})
            os.write(1, f"{answer.status}\n".encode())


if __name__ == "__main__":
    asyncio.run(obey(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]))
