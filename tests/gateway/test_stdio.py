"""The gateway as a process: streams, signals, its child processes, and real servers behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from mcpuppet.audit.record import open_record
from mcpuppet.gateway.tool_names import META_TOOLS
from mcpuppet.session import events as e
from mcpuppet.session.events import Event, event_from
from mcpuppet.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

PLAIN = Path(__file__).parent / "servers" / "plain.py"
Message = dict[str, Any]

SLOW = """
mcpuppet: 1
workflow: slowly
version: 1.0.0
tools: {always: [plain.echo]}
steps:
  slow: {tool: plain.slow}
"""


class Gateway:
    """A client of a gateway process that reads and writes the lines itself."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self.process = process
        self.lines: list[bytes] = []
        self._out = BufferedByteReceiveStream(process.stdout)
        self._number = 0

    async def write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send(line + b"\n")

    async def send(self, method: str, **params: Any) -> int:
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        await self.write(json.dumps(message).encode())
        return self._number

    async def answer(self, number: int) -> Message:
        while True:
            self.lines.append(await self._out.receive_until(b"\n", 2**22))
            message = json.loads(self.lines[-1])
            if message.get("id") == number:
                return dict(message)

    async def request(self, method: str, **params: Any) -> Message:
        message = await self.answer(await self.send(method, **params))
        assert "result" in message, message
        return dict(message["result"])

    async def shake_hands(self) -> Message:
        result = await self.request(
            "initialize",
            protocolVersion="2025-11-25",
            capabilities={},
            clientInfo={"name": "claude-code", "version": "1"},
        )
        await self.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        return result

    async def call(self, tool: str, /, **arguments: Any) -> Message:
        return await self.request("tools/call", name=tool, arguments=arguments)

    async def start(self, workflow: str, **inputs: Any) -> str:
        result = await self.call("workflow_start", workflow=workflow, inputs=inputs)
        assert result["isError"] is False, result
        return str(result["structuredContent"]["session_id"])

    async def names(self) -> list[str]:
        return [one["name"] for one in (await self.request("tools/list"))["tools"]]

    async def end(self) -> int:
        """Close the gateway's input; its exit code."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        return await self.exit_code()

    async def exit_code(self) -> int:
        """Read to the end of stdout and wait for the process."""
        with anyio.fail_after(15):
            try:
                while True:
                    self.lines.append(await self._out.receive_until(b"\n", 2**22))
            except (anyio.EndOfStream, anyio.IncompleteRead):
                return await self.process.wait()

    async def errors(self) -> str:
        assert self.process.stderr is not None
        return b"".join([chunk async for chunk in self.process.stderr]).decode()


class Site:
    """A folder with settings, a workflow, a store and the journal of the servers that started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal"

    def settle(self, workflow: str, **servers: Sequence[str]) -> None:
        (self.folder / "workflow.yaml").write_text(workflow)
        entries = {
            name: {"command": command[0], "args": list(command[1:])}
            for name, command in servers.items()
        }
        # JSON is YAML, so no quoting has to be thought of.
        settings = {"servers": entries, "workflows": ["workflow.yaml"], "store": "it.db"}
        (self.folder / "mcpuppet.yaml").write_text(json.dumps(settings))

    def settle_slowly(self) -> None:
        self.settle(SLOW, plain=[sys.executable, str(PLAIN), str(self.journal)])

    def noted(self, key: str) -> list[Any]:
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return [one[key] for one in map(json.loads, lines) if key in one]

    def events(self, session_id: str) -> list[Event]:
        with SqliteStore(self.folder / "it.db").reader() as reader:
            opened = [open_record(one.body) for one in reader.records(session_id)]
        return [event_from(one.kind, one.data) for one in opened]

    @asynccontextmanager
    async def gateway(self, *options: str, stderr: int | None = None) -> AsyncIterator[Gateway]:
        command = [sys.executable, "-m", "mcpuppet", "serve", *options]
        process = await anyio.open_process(
            command, stdin=PIPE, stdout=PIPE, stderr=stderr, cwd=self.folder
        )
        try:
            with anyio.fail_after(60):
                yield Gateway(process)
        finally:
            if process.returncode is None:
                process.kill()
            with anyio.CancelScope(shield=True):
                await process.aclose()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def until(holds: Callable[[], Any]) -> None:
    with anyio.fail_after(15):
        while not holds():  # noqa: ASYNC110 - another process cannot set an event of ours
            await anyio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be reaped does not."""
    command = ["ps", "-o", "stat=", "-p", str(pid)]
    state = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return state != "" and not state.startswith("Z")


async def test_the_handshake_comes_before_any_server_and_the_store(site: Site) -> None:
    site.settle_slowly()
    async with site.gateway() as gateway:
        result = await gateway.shake_hands()
        assert result["serverInfo"]["name"] == "mcpuppet"
        assert result["capabilities"]["tools"]["listChanged"] is True
        assert site.noted("started") == []
        assert not (site.folder / "it.db").exists()
        assert await gateway.names() == [*META_TOOLS, "echo"]
        assert len(site.noted("started")) == 1  # and what it lists is pinned in the store
        assert await gateway.end() == 0


async def test_the_modern_era_is_refused_so_that_clients_fall_back(site: Site) -> None:
    site.settle_slowly()
    async with site.gateway() as gateway:
        refused = await gateway.answer(await gateway.send("server/discover"))
        assert refused["error"]["code"] == -32601
        assert (await gateway.shake_hands())["protocolVersion"] == "2025-11-25"


async def test_stdout_carries_protocol_only_and_the_end_of_input_ends_everything(
    site: Site,
) -> None:
    site.settle_slowly()
    async with site.gateway(stderr=PIPE) as gateway:
        await gateway.write(b"this is not JSON")
        await gateway.write(b"")
        await gateway.shake_hands()
        long = "ü" * 200_000
        result = await gateway.call("echo", text=long)
        assert json.loads(result["content"][0]["text"]) == {"text": long}
        (server,) = site.noted("started")
        assert await gateway.end() == 0
        assert all(json.loads(line)["jsonrpc"] == "2.0" for line in gateway.lines)
        assert "is not a JSON-RPC message" in await gateway.errors()
        assert not alive(server)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_its_servers_and_the_call_in_flight(
    site: Site, signum: signal.Signals
) -> None:
    site.settle_slowly()
    async with site.gateway() as gateway:
        await gateway.shake_hands()
        session_id = await gateway.start("slowly")
        await gateway.send("tools/call", name="slow", arguments={})
        await until(lambda: site.noted("called"))
        os.kill(gateway.process.pid, signum)
        os.kill(gateway.process.pid, signum)
        assert await gateway.exit_code() == 0
        assert not alive(site.noted("started")[0])
        assert len(site.noted("cancelled")) == 1
        (unknown,) = (
            one for one in site.events(session_id) if isinstance(one, e.CallBecameUnknown)
        )
        assert unknown.reason == "cancelled"


async def test_the_end_of_input_records_the_call_in_flight_as_unknown(site: Site) -> None:
    site.settle_slowly()
    async with site.gateway() as gateway:
        await gateway.shake_hands()
        session_id = await gateway.start("slowly")
        await gateway.send("tools/call", name="slow", arguments={})
        await until(lambda: site.noted("called"))
        assert await gateway.end() == 0
        assert any(isinstance(one, e.CallBecameUnknown) for one in site.events(session_id))


async def test_a_gateway_killed_in_a_call_loses_nothing_and_holds_the_step(site: Site) -> None:
    site.settle_slowly()
    async with site.gateway() as gateway:
        await gateway.shake_hands()
        session_id = await gateway.start("slowly")
        await gateway.send("tools/call", name="slow", arguments={})
        await until(lambda: site.noted("called"))
        os.kill(gateway.process.pid, signal.SIGKILL)
        await gateway.exit_code()
    before = site.events(session_id)
    assert isinstance(before[-1], e.CallStarted)
    async with site.gateway("--session", session_id) as gateway:
        await gateway.shake_hands()
        status = (await gateway.call("workflow_status"))["structuredContent"]
        assert [step["status"] for step in status["steps"]] == ["held"]
        again = await gateway.call("slow")
        assert again["isError"] is True
        assert "nothing was called again" in again["content"][0]["text"]
        assert await gateway.end() == 0
    after = site.events(session_id)
    assert after[: len(before)] == before
    assert [type(one) for one in after[len(before) :]] == [
        e.CallBecameUnknown,
        e.StepHeld,
        e.CallRepeated,
    ]
    assert len(site.noted("called")) == 1


@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
async def test_the_early_answer_is_the_one_the_library_gives(site: Site, version: str) -> None:
    site.settle_slowly()
    params = {
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": {"name": "claude-code", "version": "1"},
    }
    async with site.gateway() as gateway:
        early = await gateway.request("initialize", **params)
        await gateway.end()
    async with site.gateway() as gateway:
        await gateway.write(b"")  # anything before the handshake leaves it to the library
        late = await gateway.request("initialize", **params)
        assert await gateway.end() == 0
    assert early == late
    assert [json.loads(line).get("id") for line in gateway.lines].count(1) == 1


async def test_a_request_that_cannot_be_read_is_answered(site: Site) -> None:
    site.settle_slowly()
    call = '{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":%s}}'
    async with site.gateway() as gateway:
        await gateway.shake_hands()
        await gateway.write((call % (11, '{"x":"\\ud800"}')).encode())
        assert (await gateway.answer(11))["error"]["code"] == -32600
        await gateway.write((call % (12, "[" * 20_000 + "]" * 20_000)).encode())
        await gateway.names()
        unreadable = [json.loads(one) for one in gateway.lines if b"-32700" in one]
        assert [one["id"] for one in unreadable] == [None]
        assert await gateway.end() == 0


async def test_the_early_answer_is_given_once(site: Site) -> None:
    site.settle_slowly()
    async with site.gateway() as gateway:
        await gateway.shake_hands()
        await gateway.names()
        assert await gateway.end() == 0
        assert [json.loads(line)["id"] for line in gateway.lines] == [1, 2]


async def test_a_client_that_leaves_at_once_leaves_nothing_behind(site: Site) -> None:
    site.settle_slowly()
    async with site.gateway() as gateway:
        assert await gateway.end() == 0
        assert {one.name for one in site.folder.iterdir()} == {"mcpuppet.yaml", "workflow.yaml"}


async def test_two_processes_on_one_store_keep_their_sessions_apart(site: Site) -> None:
    site.settle_slowly()
    async with site.gateway() as first, site.gateway() as second:
        await first.shake_hands()
        await second.shake_hands()
        one, two = await first.start("slowly"), await second.start("slowly")
        assert one != two
        await first.send("tools/call", name="slow", arguments={})
        await until(lambda: site.noted("called"))
        status = (await second.call("workflow_status"))["structuredContent"]
        assert [step["status"] for step in status["steps"]] == ["legal"]
        assert await first.end() == 0
        assert await second.end() == 0
        assert any(isinstance(event, e.CallBecameUnknown) for event in site.events(one))
        assert not any(isinstance(event, e.CallStarted) for event in site.events(two))


async def test_a_session_is_taken_up_again_by_its_id(site: Site) -> None:
    site.settle_slowly()
    async with site.gateway() as gateway:
        await gateway.shake_hands()
        session_id = await gateway.start("slowly")
        await gateway.end()
    async with site.gateway("--session", session_id, "--surface", "dynamic") as gateway:
        await gateway.shake_hands()
        assert "slow" in await gateway.names()
        status = (await gateway.call("workflow_status"))["structuredContent"]
        assert status["session_id"] == session_id


async def test_workflows_that_cannot_be_used_end_the_process_with_a_sentence(site: Site) -> None:
    site.settle(SLOW.replace("plain.slow", "nobody.slow"), plain=[sys.executable])
    async with site.gateway(stderr=PIPE) as gateway:
        await gateway.shake_hands()
        assert await gateway.exit_code() == 2
        errors = await gateway.errors()
        assert "nobody" in errors
        assert "Traceback" not in errors


REAL = """
mcpuppet: 1
workflow: timed_log
version: 1.0.0
inputs:
  repo: {type: string}
tools: {always: [git.git_status]}
steps:
  clock:
    tool: time.get_current_time
    args: {timezone: {const: UTC}}
  log:
    tool: git.git_log
    needs: clock
    args: {repo_path: {equals: inputs.repo}}
"""


@pytest.mark.skipif(
    find_spec("mcp_server_time") is None or find_spec("mcp_server_git") is None,
    reason="mcp-server-time and mcp-server-git come with the [test] extra",
)
async def test_a_workflow_over_servers_that_others_wrote(site: Site) -> None:
    repository = site.folder / "repository"
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    await anyio.run_process(["git", "init", "-q", str(repository)])
    await anyio.run_process([*git, "commit", "-q", "--allow-empty", "-m", "first light"])
    site.settle(
        REAL,
        time=[sys.executable, "-m", "mcp_server_time"],
        git=[sys.executable, "-m", "mcp_server_git"],
    )
    async with site.gateway() as gateway:
        await gateway.shake_hands()
        assert "git_status" in await gateway.names()
        await gateway.start("timed_log", repo=str(repository))
        refused = await gateway.call("git_log", repo_path=str(repository))
        assert refused["isError"] is True
        assert "Legal now: get_current_time." in refused["content"][-1]["text"]
        now = await gateway.call("get_current_time", timezone="UTC")
        assert now["isError"] is False, now
        assert "git_log" in await gateway.names()
        elsewhere = await gateway.call("git_log", repo_path=str(site.folder))
        assert elsewhere["isError"] is True
        log = await gateway.call("git_log", repo_path=str(repository))
        assert "first light" in log["content"][0]["text"]
        assert "The run is over (completed)" in log["content"][-1]["text"]
        assert await gateway.end() == 0
