"""Servers that behave and servers that do not, as real processes behind `Downstreams`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcpuppet.errors import DownstreamUnavailableError
from mcpuppet.gateway.downstream import Downstreams
from mcpuppet.gateway.server_settings import ServerSettings
from mcpuppet.session.outcome import Failed, Outcome, Succeeded, Unknown

pytestmark = pytest.mark.anyio

SERVERS = Path(__file__).parent / "servers"


@dataclass
class World:
    """A settings maker, and everything that was logged or announced."""

    directory: Path
    log: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    @property
    def journal(self) -> Path:
        return self.directory / "journal"

    def server(self, script: str, **more: Any) -> ServerSettings:
        args = (str(SERVERS / f"{script}.py"), str(self.journal))
        return ServerSettings(script, sys.executable, args, **more)

    def open(self, *servers: ServerSettings) -> Downstreams:
        return Downstreams(servers, on_tools_changed=self.changed.append, log=self.log.append)

    def noted(self, key: str) -> list[Any]:
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return [entry[key] for entry in map(json.loads, lines) if key in entry]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def until(holds: Callable[[], Any], seconds: float = 10) -> None:
    with anyio.fail_after(seconds):
        while not holds():  # noqa: ASYNC110 - another process cannot set an event of ours
            await anyio.sleep(0.01)


async def call(
    downstreams: Downstreams,
    server: str,
    tool: str,
    arguments: dict[str, Any] | None = None,
    **more: Any,
) -> Outcome:
    options = {"timeout": timedelta(seconds=10), "on_progress": None} | more
    return await downstreams.call(server, tool, arguments or {}, **options)


def text_of(outcome: Outcome) -> str:
    assert isinstance(outcome, Succeeded), outcome
    text = outcome.result["content"][0]["text"]
    assert isinstance(text, str)
    return text


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be reaped does not."""
    command = ["ps", "-o", "stat=", "-p", str(pid)]
    state = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return state != "" and not state.startswith("Z")


async def test_entering_starts_no_process_and_the_first_use_does(world: World) -> None:
    async with world.open(world.server("plain")) as downstreams:
        assert downstreams.known_tools("plain") is None
        assert downstreams.status()[0].state == "idle"
        assert not world.journal.exists()
        tools = await downstreams.tools("plain", wait=10)
        assert len(world.noted("started")) == 1
    assert tools["echo"].qualified == "plain.echo"
    assert world.changed == ["plain"]


async def test_all_pages_of_a_tool_list_are_followed(world: World) -> None:
    async with world.open(world.server("plain")) as downstreams:
        tools = await downstreams.tools("plain", wait=10)
        assert len(tools) == 9
        assert downstreams.known_tools("plain") == tools
        assert downstreams.status()[0].tool_count == 9


async def test_arguments_and_results_pass_through(world: World) -> None:
    arguments = {"path": "a/ü", "deep": {"list": [1, 2.5, None, True]}}
    async with world.open(world.server("plain")) as downstreams:
        outcome = await call(downstreams, "plain", "echo", arguments)
    assert json.loads(text_of(outcome)) == arguments


async def test_meta_is_forwarded_without_what_belongs_to_one_hop(world: World) -> None:
    meta = {"acme.test/run": "r1", "progressToken": 9, "io.modelcontextprotocol/clientInfo": {}}
    async with world.open(world.server("plain")) as downstreams:
        outcome = await call(downstreams, "plain", "meta", meta=meta)
    assert isinstance(outcome, Succeeded)
    assert outcome.result["structuredContent"] == {"acme.test/run": "r1"}


async def test_a_server_sees_only_the_configured_environment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCPUPPET_SECRET", "s")
    settings = world.server("plain", env={"TOKEN": "t"})
    async with world.open(settings) as downstreams:
        seen = json.loads(text_of(await call(downstreams, "plain", "environment")))
    assert seen["TOKEN"] == "t"
    assert "MCPUPPET_SECRET" not in seen


async def test_many_calls_at_once_each_get_their_own_answer(world: World) -> None:
    answers: dict[int, str] = {}

    async def one(number: int) -> None:
        answers[number] = text_of(await call(downstreams, "plain", "echo", {"n": number}))

    async with (
        world.open(world.server("plain")) as downstreams,
        anyio.create_task_group() as tasks,
    ):
        for number in range(50):
            tasks.start_soon(one, number)
    assert answers == {number: json.dumps({"n": number}) for number in range(50)}
    assert len(world.noted("started")) == 1


async def test_progress_is_forwarded(world: World) -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def record(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    async with world.open(world.server("plain")) as downstreams:
        await call(downstreams, "plain", "progress", on_progress=record)
    assert seen == [(1, 2, "part 1"), (2, 2, "part 2")]


async def test_a_call_without_a_callback_asks_for_no_progress(world: World) -> None:
    async with world.open(world.server("plain")) as downstreams:
        outcome = await call(downstreams, "plain", "meta")
    assert isinstance(outcome, Succeeded)
    assert outcome.result["structuredContent"] == {}


async def test_a_timeout_is_unknown_and_the_server_is_told_to_stop(world: World) -> None:
    async with world.open(world.server("plain")) as downstreams:
        outcome = await call(downstreams, "plain", "slow", timeout=timedelta(milliseconds=50))
        await until(lambda: world.noted("cancelled"))
        assert text_of(await call(downstreams, "plain", "echo")) == "{}"
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "timeout"
    assert "0.05 s" in outcome.message
    assert world.noted("cancelled") == world.noted("called")


async def test_a_cancelled_call_is_cancelled_at_the_server(world: World) -> None:
    async with world.open(world.server("plain")) as downstreams:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, downstreams, "plain", "slow")
            await until(lambda: world.noted("called"))
            tasks.cancel_scope.cancel()
        await until(lambda: world.noted("cancelled"))
    assert world.noted("cancelled") == world.noted("called")


class Late:
    """Takes late answers."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    async def __call__(self, outcome: Outcome, seconds: float) -> None:
        assert 0 < seconds < 60
        self.outcomes.append(outcome)


async def test_an_answer_after_a_timeout_is_handed_on_and_the_server_goes_on(world: World) -> None:
    late = Late()
    async with world.open(world.server("plain")) as downstreams:
        brief = timedelta(milliseconds=50)
        outcome = await call(downstreams, "plain", "slow", timeout=brief, on_late=late)
        assert isinstance(outcome, Unknown)
        assert "told to stop" not in outcome.message
        await call(downstreams, "plain", "catch_up", on_late=late)
        await until(lambda: late.outcomes)
    assert [text_of(one) for one in late.outcomes] == ["here it is"]
    assert world.noted("cancelled") == []


async def test_an_answer_in_spite_of_a_cancellation_is_handed_on(world: World) -> None:
    late = Late()
    async with world.open(world.server("plain")) as downstreams:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(call, downstreams, "plain", "slow", on_late=late))
            await until(lambda: world.noted("called"))
            tasks.cancel_scope.cancel()
        await until(lambda: world.noted("cancelled"))
        await call(downstreams, "plain", "catch_up")
        await until(lambda: late.outcomes)
    assert [text_of(one) for one in late.outcomes] == ["here it is"]
    assert world.noted("cancelled") == world.noted("called")


async def test_a_late_answer_that_cannot_be_recorded_does_not_end_the_connection(
    world: World,
) -> None:
    async def refuses(outcome: Outcome, seconds: float) -> None:
        raise ValueError("the disk is full")

    async with world.open(world.server("plain")) as downstreams:
        brief = timedelta(milliseconds=50)
        await call(downstreams, "plain", "slow", timeout=brief, on_late=refuses)
        await call(downstreams, "plain", "catch_up")
        await until(lambda: any("the disk is full" in line for line in world.log))
        assert text_of(await call(downstreams, "plain", "echo")) == "{}"


async def test_death_in_a_call_is_unknown_and_the_next_call_reconnects(world: World) -> None:
    async with world.open(world.server("plain")) as downstreams:
        outcome = await call(downstreams, "plain", "die", timeout=None)
        assert text_of(await call(downstreams, "plain", "echo")) == "{}"
        assert downstreams.status()[0].state == "ready"
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "connection_lost"
    assert "it exited with code 3; its last output was: the disk is on fire" in outcome.message
    assert len(world.noted("started")) == 2
    assert len(world.noted("called")) == 1, "a call that was lost is never sent again"


async def test_death_ends_every_call_in_flight_and_no_other_server(world: World) -> None:
    outcomes: list[Outcome] = []

    async def slow() -> None:
        outcomes.append(await call(downstreams, "plain", "slow"))

    async with world.open(world.server("plain"), world.server("odd")) as downstreams:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow)
            await until(lambda: world.noted("called"))
            await call(downstreams, "plain", "die")
        assert text_of(await call(downstreams, "odd", "kept")) == "ok"
    assert [getattr(outcome, "reason", None) for outcome in outcomes] == ["connection_lost"]


async def test_a_call_in_flight_at_shutdown_is_unknown(world: World) -> None:
    outcomes: list[Outcome] = []

    async def slow() -> None:
        outcomes.append(await call(downstreams, "plain", "slow"))

    async with (
        anyio.create_task_group() as tasks,
        world.open(world.server("plain")) as downstreams,
    ):
        tasks.start_soon(slow)
        await until(lambda: world.noted("called"))
    assert isinstance(outcomes[0], Unknown)
    assert outcomes[0].reason == "connection_lost"
    late = await call(downstreams, "plain", "echo")
    assert isinstance(late, Failed)
    assert late.reason == "not_sent"


async def test_a_changed_tool_list_is_read_again_and_announced(world: World) -> None:
    async with world.open(world.server("plain")) as downstreams:
        assert "grown" not in await downstreams.tools("plain", wait=10)
        await call(downstreams, "plain", "grow")
        await until(lambda: "grown" in (downstreams.known_tools("plain") or {}))
        assert text_of(await call(downstreams, "plain", "grown")) == "{}"
    assert world.changed == ["plain", "plain"]


async def test_a_command_that_does_not_exist_is_named(world: World) -> None:
    settings = ServerSettings("ghost", "no-such-program-anywhere")
    async with world.open(settings, world.server("odd")) as downstreams:
        with pytest.raises(DownstreamUnavailableError, match="'no-such-program-anywhere'"):
            await downstreams.tools("ghost", wait=10)
        outcome = await call(downstreams, "ghost", "x")
        status = downstreams.status()[0]
        assert text_of(await call(downstreams, "odd", "kept")) == "ok"
    assert isinstance(outcome, Failed)
    assert outcome.reason == "not_sent"
    assert status.state == "failed"
    assert "was not found" in (status.error or "")


async def test_a_working_directory_that_does_not_exist_is_named(world: World) -> None:
    async with world.open(world.server("plain", cwd="/no/such/place")) as downstreams:
        with pytest.raises(DownstreamUnavailableError, match="'/no/such/place' does not exist"):
            await downstreams.tools("plain", wait=10)


async def test_a_server_that_ends_at_once_is_quoted(world: World) -> None:
    program = "import sys; sys.exit('no licence found')"
    settings = ServerSettings("grump", sys.executable, ("-c", program))
    expected = "it exited with code 1; its last output was: no licence found"
    async with world.open(settings) as downstreams:
        with pytest.raises(DownstreamUnavailableError, match=expected):
            await downstreams.tools("grump", wait=10)


async def test_failed_starts_are_spaced_and_callers_wait_for_the_next(world: World) -> None:
    settings = ServerSettings("grump", sys.executable, ("-c", "raise SystemExit(1)"))
    began = time.monotonic()
    async with world.open(settings) as downstreams:
        for _ in range(4):
            with pytest.raises(DownstreamUnavailableError, match="exited with code 1"):
                await downstreams.tools("grump", wait=10)
    assert time.monotonic() - began > 0.1 + 0.2 + 0.4


async def test_a_server_that_never_answers_gives_up_in_time_and_leaves_no_process(
    world: World,
) -> None:
    settings = world.server("silent", connect_timeout=timedelta(seconds=0.5))
    async with world.open(settings) as downstreams:
        with pytest.raises(DownstreamUnavailableError, match=r"still starting after 0\.1 s"):
            await downstreams.tools("silent", wait=0.1)
        began = time.monotonic()
        with pytest.raises(DownstreamUnavailableError, match=r"not get ready within 0\.5 s"):
            await downstreams.tools("silent", wait=10)
        assert time.monotonic() - began < 1.5
        pid = int(world.journal.read_text())
        assert alive(pid), "the server ignores the end of its input, so it is still there now"
    assert not alive(pid)


async def test_leaving_ends_servers_that_are_connected(world: World) -> None:
    async with world.open(world.server("plain")) as downstreams:
        child = int(text_of(await call(downstreams, "plain", "linger")))
        pid = world.noted("started")[0]
        assert alive(pid)
        assert alive(child)
    await until(lambda: not alive(pid) and not alive(child), seconds=2)


async def test_leaving_by_cancellation_ends_the_servers_too(world: World) -> None:
    async with (
        anyio.create_task_group() as tasks,
        world.open(world.server("plain")) as downstreams,
    ):
        await downstreams.tools("plain", wait=10)
        tasks.cancel_scope.cancel()
        await anyio.sleep_forever()
    assert not alive(world.noted("started")[0])


async def test_garbage_on_stdout_and_a_flood_on_stderr_break_nothing(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    async with world.open(world.server("noisy")) as downstreams:
        assert text_of(await call(downstreams, "noisy", "echo")) == "still here"
    assert "noisy: (stdout, not an MCP message) Welcome!" in world.log
    assert any("debug" in line for line in world.log)
    assert len(world.log) < 1_000
    assert not any("\x1b" in line for line in world.log)
    assert capfd.readouterr() == ("", "")


async def test_an_unusable_tool_is_left_out_with_its_reason_and_the_others_work(
    world: World,
) -> None:
    async with world.open(world.server("odd")) as downstreams:
        tools = await downstreams.tools("odd", wait=10)
        rejected = [(tool.name, tool.reason) for tool in downstreams.status()[0].rejected]
        assert text_of(await call(downstreams, "odd", "kept")) == "ok"
        left_out = await call(downstreams, "odd", "remote")
        missing = await call(downstreams, "odd", "absent")
    assert [name for name, _ in rejected] == [
        "no_type",
        "(tool 11 of the list)",
        "(tool 12 of the list)",
        "remote",
        "lookahead",
        "has space",
        "array_output",
        "kept",
    ]
    assert "inputSchema.type: Field required" in rejected[0][1]
    assert rejected[-1] == ("kept", "listed twice; the first definition is used")
    assert "description" not in tools["kept"].definition
    assert isinstance(left_out, Failed)
    assert left_out.reason == "not_sent"
    assert "odd.remote is left out" in left_out.message
    assert isinstance(missing, Failed)
    assert "has no tool 'absent'; its tools are: big, counted" in missing.message


async def test_fields_that_nobody_knows_are_kept(world: World) -> None:
    async with world.open(world.server("odd")) as downstreams:
        tools = await downstreams.tools("odd", wait=10)
        outcome = await call(downstreams, "odd", "extra")
    assert tools["kept"].definition == {
        "name": "kept",
        "inputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": True, "x-team": "ops"},
        "x-rank": 7,
    }
    assert tools["kept"].read_only
    assert not tools["extra"].read_only
    assert isinstance(outcome, Succeeded)
    assert outcome.result == {
        "content": [{"type": "text", "text": "hi", "x-colour": "red"}],
        "x-cost": 0.5,
        "_meta": {"a/b": None},
    }


@pytest.mark.parametrize(
    ("tool", "reason", "words"),
    [
        ("tool_error", "tool_error", "no such file"),
        ("protocol_error", "protocol_error", "bad arguments (-32602)"),
        ("own_32000", "protocol_error", "Connection closed (-32000)"),
        ("not_mcp", "invalid_result", "it is not valid MCP"),
    ],
)
async def test_a_refusal_is_a_failure(world: World, tool: str, reason: str, words: str) -> None:
    async with world.open(world.server("odd")) as downstreams:
        outcome = await call(downstreams, "odd", tool)
    assert isinstance(outcome, Failed)
    assert outcome.reason == reason
    assert words in outcome.message


async def test_structured_results_are_held_to_the_output_schema(world: World) -> None:
    async with world.open(world.server("odd")) as downstreams:
        good = await call(downstreams, "odd", "counted", {"structuredContent": {"n": 1}})
        bad = await call(downstreams, "odd", "counted", {"structuredContent": {"n": "one"}})
        none = await call(downstreams, "odd", "counted")
        error = await call(downstreams, "odd", "counted", {"isError": True})
    assert isinstance(good, Succeeded)
    assert isinstance(bad, Failed)
    assert bad.reason == "invalid_result"
    assert bad.result is not None
    assert bad.result["structuredContent"] == {"n": "one"}
    assert isinstance(none, Failed)
    assert none.reason == "invalid_result"
    assert isinstance(error, Failed)
    assert error.reason == "tool_error"


async def test_a_message_beyond_the_limit_ends_the_connection_and_nothing_else(
    world: World,
) -> None:
    async with world.open(world.server("odd")) as downstreams:
        assert len(text_of(await call(downstreams, "odd", "big"))) == 8 * 2**20
        outcome = await call(downstreams, "odd", "huge")
        assert text_of(await call(downstreams, "odd", "kept")) == "ok"
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "connection_lost"
    assert "longer than 16 MiB" in outcome.message


async def test_arguments_that_are_not_json_are_never_sent(world: World) -> None:
    async with world.open(world.server("plain")) as downstreams:
        outcome = await call(downstreams, "plain", "echo", {"what": object()})
        assert text_of(await call(downstreams, "plain", "echo")) == "{}"
    assert isinstance(outcome, Failed)
    assert outcome.reason == "not_sent"


async def test_a_call_pinned_to_another_definition_is_never_sent(world: World) -> None:
    async with world.open(world.server("plain")) as downstreams:
        tool = (await downstreams.tools("plain", wait=10))["slow"]
        changed = await call(downstreams, "plain", "slow", digest="0" * 64)
        same = await call(downstreams, "plain", "echo", digest=tool.digest)
    assert isinstance(changed, Failed)
    assert changed.reason == "not_sent"
    assert isinstance(same, Failed), "two tools never share a digest"
    assert not world.noted("called")


async def test_a_server_that_is_not_configured_is_named(world: World) -> None:
    async with world.open(world.server("plain")) as downstreams:
        with pytest.raises(DownstreamUnavailableError, match="configured are: plain"):
            await downstreams.tools("other", wait=1)
        assert downstreams.known_tools("other") is None


async def test_a_server_that_stops_reading_does_not_hold_a_caller(world: World) -> None:
    settings = replace(world.server("plain"), connect_timeout=timedelta(seconds=5))
    async with world.open(settings) as downstreams:
        await downstreams.tools("plain", wait=10)
        os.kill(world.noted("started")[0], signal.SIGSTOP)
        began = time.monotonic()
        outcome = await call(
            downstreams, "plain", "echo", {"x": "y" * 2**20}, timeout=timedelta(seconds=0.2)
        )
        assert time.monotonic() - began < 1
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "timeout"


def test_the_settings_import_no_mcp() -> None:
    program = (
        "import sys, mcpuppet.gateway.server_settings, mcpuppet.session.outcome;"
        "sys.exit(any(name in sys.modules for name in ('mcp', 'mcp_types')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
