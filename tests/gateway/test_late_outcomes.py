"""An answer that comes too late, from a real server process to the person who settles the call."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.fakes import FakeServers
from support.gateway import events_of, governed

from mcpuppet.gateway.downstream import Downstreams
from mcpuppet.gateway.server_settings import ServerSettings
from mcpuppet.session import events as e
from mcpuppet.session.outcome import Outcome

pytestmark = pytest.mark.anyio

PLAIN = Path(__file__).parent / "servers" / "plain.py"
BODY = """
tools: {always: [plain.catch_up]}
steps:
  pay: {tool: plain.slow, timeout: 100ms}
"""


@dataclass
class Processes(FakeServers):
    """Servers that are processes."""

    real: Downstreams | None = None

    async def tools(self, server: str, *, wait: float) -> Any:
        assert self.real is not None
        return await self.real.tools(server, wait=wait)

    def known_tools(self, server: str) -> Any:
        assert self.real is not None
        return self.real.known_tools(server)

    async def call(self, server: str, tool: str, arguments: Any, **more: Any) -> Outcome:
        assert self.real is not None
        return await self.real.call(server, tool, arguments, **more)


async def test_a_late_answer_of_a_server_process_is_recorded_and_not_applied(
    tmp_path: Path,
) -> None:
    settings = ServerSettings(
        "plain",
        sys.executable,
        (str(PLAIN), str(tmp_path / "journal")),
        connect_timeout=timedelta(seconds=30),
    )
    async with (
        Downstreams([settings], log=lambda _: None) as real,
        governed(tmp_path, BODY, servers=Processes(real=real)) as (orchestrator, _),
    ):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "plain.slow", {})
        assert answer.status == "unknown"
        await orchestrator.call_tool("s", "plain.catch_up", {})
        with anyio.fail_after(10):
            while not _late(orchestrator):  # noqa: ASYNC110 - another process answers
                await anyio.sleep(0.01)
        (late,) = _late(orchestrator)
        assert (late.call_id, late.outcome) == (answer.call_id, "succeeded")
        assert late.result == {"content": [{"type": "text", "text": "here it is"}]}
        assert (await orchestrator.status("s")).steps[0].status == "held"


def _late(orchestrator: Any) -> list[e.LateOutcome]:
    return [one for one in events_of(orchestrator, "s") if isinstance(one, e.LateOutcome)]
