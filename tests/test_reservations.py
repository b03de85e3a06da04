"""What sessions and processes share: of all that want it at once, as many get it as may."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from support import ruled as ruled_module
from support.fakes import Clock, FakeServers, failed, succeeded
from support.ruled import ruled

from mcpuppet.people.deciding import Person
from mcpuppet.session.outcome import Outcome, Unknown

pytestmark = pytest.mark.anyio

ALICE = Person("alice", frozenset({"boss"}))
PROCESSES = 8

RULES = """
tools: {allow: ["*.*"]}
policies:
  - {id: once, call: bank.pay, at_most: 1, per: 1h}
  - {id: mine, call: bank.send, at_most: 1, per: user}
  - {id: cap, call: bank.move, sum: args.n, at_most: 3, per: 1d}
  - {id: one, call: bank.hold, mutex: true, scope: workflow}
  - {id: server, call: "air.*", mutex: true, scope: server}
"""
TOOLS = ("bank.pay", "bank.send", "bank.move", "bank.hold", "air.hold")


# --- eight processes ----------------------------------------------------------------------------


@asynccontextmanager
async def gateways(folder: Path) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Gateway processes on one store, each with a session of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(ruled_module.__file__).parents[1])}
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            ruled_module.__file__,
            str(folder),
            f"node_{number}",
            RULES,
            *TOOLS,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
        for number in range(PROCESSES)
    ]
    try:
        with anyio.fail_after(60):
            for process in started:
                assert await said(process) == "ready"
            yield started
            for process in started:
                assert process.stdin is not None
                process.stdin.close()
                assert await process.wait() == 0
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


def tell(processes: list[asyncio.subprocess.Process], tool: str) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{tool}\n".encode())


def dispatched(folder: Path, tool: str) -> int:
    return len((folder / tool).read_text().splitlines())


async def test_of_eight_processes_as_many_get_through_as_may(tmp_path: Path) -> None:
    async with gateways(tmp_path) as processes:
        for tool, most in (("bank.pay", 1), ("bank.send", 1), ("bank.move", 3)):
            tell(processes, tool)
            statuses = sorted([await said(process) for process in processes])
            assert statuses == ["denied"] * (PROCESSES - most) + ["succeeded"] * most, tool
            assert dispatched(tmp_path, tool) == most
        for tool in ("bank.hold", "air.hold"):
            (tmp_path / "release").unlink(missing_ok=True)
            tell(processes, tool)
            statuses = []
            async with anyio.create_task_group() as tasks:

                async def listen(process: asyncio.subprocess.Process, heard: list[str]) -> None:
                    heard.append(await said(process))
                    if len(heard) == PROCESSES - 1:  # all but the one that holds the lock
                        (tmp_path / "release").touch()

                for process in processes:
                    tasks.start_soon(listen, process, statuses)
            assert statuses == ["denied"] * (PROCESSES - 1) + ["succeeded"], tool
            assert dispatched(tmp_path, tool) == 1


# --- two gateways on one store ------------------------------------------------------------------

LOCKED = """
steps:
  left: {tool: a.left, optional: true}
  right: {tool: a.right, optional: true}
  end: {tool: a.end}
policies: [{id: one, call: [left, right], mutex: true, scope: workflow}]
"""


def lost(arguments: dict[str, object]) -> Outcome:
    return Unknown("connection_lost", "the server is gone")


def offering(*tools: str) -> FakeServers:
    servers = FakeServers()
    for tool in tools:
        servers.offer(tool)
    return servers


async def test_a_lock_is_kept_across_gateways_until_a_person_settles_the_call(
    tmp_path: Path,
) -> None:
    clock, servers = Clock(), offering("a.left", "a.right", "a.end")
    servers.offer("a.left", lost)
    async with (
        ruled(tmp_path, LOCKED, servers=servers, clock=clock, node="one") as one,
        ruled(tmp_path, LOCKED, servers=servers, clock=clock, node="two") as two,
    ):
        for session, gateway in (("s1", one), ("s2", two)):
            await gateway.start_workflow("tiny", {}, session_id=session)
        left = await one.call_tool("s1", "a.left", {})
        assert left.status == "unknown"
        refused = await two.call_tool("s2", "a.right", {})
        assert refused.reason.endswith("one elsewhere has not ended yet")
        await one.people.cancel("s1", ALICE, "enough")
        assert (await two.call_tool("s2", "a.right", {})).status == "denied"
        await two.people.resolve("s1", left.call_id, ALICE, True, "seen")
        assert (await two.call_tool("s2", "a.right", {})).status == "succeeded"


@pytest.mark.parametrize("outcome", [succeeded(), failed()])
async def test_the_answer_to_a_call_lists_what_its_end_made_legal(
    tmp_path: Path, outcome: Outcome
) -> None:
    servers = offering("a.left", "a.right", "a.end")
    servers.offer("a.left", lambda arguments: outcome)
    body = LOCKED.replace("tool: a.left,", "tool: a.left, on_failure: continue,")
    async with ruled(tmp_path, body, servers=servers, clock=Clock()) as gateway:
        await gateway.start_workflow("tiny", {}, session_id="s")
        answer = await gateway.call_tool("s", "a.left", {})
        assert [one.tool for one in answer.legal] == ["a.right", "a.end"]


async def test_the_next_attempt_takes_over_the_lock_of_one_that_was_lost(tmp_path: Path) -> None:
    body = """
steps: {write: {tool: a.left, on_unknown: retry, retry: {attempts: 3, delay: 0s, jitter: false}}}
policies: [{id: one, call: write, mutex: true, scope: workflow}]
"""
    servers = offering("a.left")
    outcomes = [Unknown("timeout", "no answer"), Unknown("timeout", "no answer"), succeeded()]
    servers.offer("a.left", lambda arguments: outcomes[len(servers.calls) - 1])
    async with ruled(tmp_path, body, servers=servers, clock=Clock()) as gateway:
        await gateway.start_workflow("tiny", {}, session_id="s")
        answer = await gateway.call_tool("s", "a.left", {})
        assert (answer.status, answer.run_status) == ("succeeded", "completed")
        known = await gateway.store.reservations({}, ["tiny/one"])
        assert known.locks == {}


async def test_a_lock_passes_from_a_call_of_a_dead_process_to_the_next_in_one_change(
    tmp_path: Path,
) -> None:
    body = """
steps: {write: {tool: a.left, on_unknown: retry, retry: {attempts: 3, delay: 0s, jitter: false}}}
policies: [{id: one, call: write, mutex: true, scope: workflow}]
"""
    servers, clock = offering("a.left"), Clock()

    def dies(arguments: dict[str, object]) -> Outcome:
        raise KeyboardInterrupt

    servers.offer("a.left", dies)
    async with ruled(tmp_path, body, servers=servers, clock=clock, node="one") as gateway:
        await gateway.start_workflow("tiny", {}, session_id="s")
        with pytest.raises(KeyboardInterrupt):
            await gateway.call_tool("s", "a.left", {})
    servers.offer("a.left")
    async with ruled(tmp_path, body, servers=servers, clock=clock, node="two") as gateway:
        answer = await gateway.call_tool("s", "a.left", {})
        assert (answer.status, answer.run_status) == ("succeeded", "completed")
        assert (await gateway.store.reservations({}, ["tiny/one"])).locks == {}


async def test_limits_outlive_a_restart_and_a_new_version(tmp_path: Path) -> None:
    rules = "mcpuppet: 1\nrules: house\nversion: 1.0.0\n" + RULES
    servers, clock = offering(*TOOLS), Clock()
    async with ruled(tmp_path, servers=servers, clock=clock, rules=rules) as gateway:
        for tool in ("bank.pay", "bank.send"):
            assert (await gateway.call_tool("s1", tool, {})).status == "succeeded"
    newer = rules.replace("1.0.0", "1.1.0")
    async with ruled(tmp_path, servers=servers, clock=clock, rules=newer, node="two") as gateway:
        for session in ("s1", "s2"):
            paid = await gateway.call_tool(session, "bank.pay", {})
            assert paid.decision.rule == "once"
            assert paid.decision.legal_at == clock() + Clock().now.resolution * 3_600_000_000
            assert (await gateway.call_tool(session, "bank.send", {})).decision.rule == "mine"
        clock.advance(hours=1, microseconds=-1)
        assert (await gateway.call_tool("s2", "bank.pay", {})).status == "denied"
        clock.advance(microseconds=1)
        assert (await gateway.call_tool("s2", "bank.pay", {})).status == "succeeded"
        clock.advance(days=3000)
        assert (await gateway.call_tool("s2", "bank.send", {})).status == "denied"


async def test_a_clock_that_is_set_back_frees_nothing_in_the_store(tmp_path: Path) -> None:
    servers, clock = offering(*TOOLS), Clock()
    async with ruled(tmp_path, servers=servers, clock=clock, rules=RULES) as gateway:
        await gateway.call_tool("s1", "bank.pay", {})
        clock.advance(days=-1)
        assert (await gateway.call_tool("s2", "bank.pay", {})).status == "denied"


async def test_each_attempt_inside_one_call_counts(tmp_path: Path) -> None:
    body = """
steps: {pay: {tool: bank.pay, retry: {attempts: 5, delay: 0s, jitter: false}}}
policies: [{id: twice, call: pay, at_most: 2, per: 1h}]
"""
    servers = offering("bank.pay")
    servers.offer("bank.pay", lambda arguments: failed())
    async with ruled(tmp_path, body, servers=servers, clock=Clock()) as gateway:
        await gateway.start_workflow("tiny", {}, session_id="s")
        answer = await gateway.call_tool("s", "bank.pay", {})
        assert (answer.status, answer.decision.rule) == ("denied", "twice")
        assert len(servers.calls) == 2


async def test_calls_of_one_session_at_once_share_one_budget(tmp_path: Path) -> None:
    servers = offering(*TOOLS)
    async with ruled(tmp_path, servers=servers, clock=Clock(), rules=RULES) as gateway:
        statuses: list[str] = []

        async def move(number: int) -> None:
            session = f"s{number % 2}"
            arguments = {"n": 1, "memo": str(number)}  # alike, the calls would count as repeats
            statuses.append((await gateway.call_tool(session, "bank.move", arguments)).status)

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(move, number)
        assert sorted(statuses) == ["denied"] * 5 + ["succeeded"] * 3
        assert len(servers.calls) == 3
