"""What the gateway adds to a call, measured against the same client and server without it.

One SDK client each, over stdio, in one loop that alternates between them: straight to the server,
and through the gateway on the stable surface, on the dynamic surface, and on the dynamic surface
with the list barrier off. Every call through the gateway is a workflow step: it changes the state,
is decided, and is written down durably twice (intent and outcome). Between the calls the same disk
is asked for a bare durable commit of a record's size, as fsync differs a lot between minutes.

Prints p50 and p99 in milliseconds and, for each path, the ratio of its p50 to
direct + 2 x bare commit; the target is at most 2.5.

    python benchmarks/call_overhead.py [CALLS]
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import mcp_types as types
from mcp import Client, StdioServerParameters

STEPS = 8
"""Steps of a run; then the next run is started, outside the measured time."""
WARM_UP = 16
SERVER = Path(__file__).with_name("pingpong_server.py")


def write_folder(folder: Path, surface: str, barrier: str) -> Path:
    """A settings file and a workflow in which ping and pong take turns."""
    steps = "".join(
        f"  s{number}: {{tool: game.{'ping' if number % 2 == 0 else 'pong'}"
        + (f", needs: s{number - 1}" if number else "")
        + "}\n"
        for number in range(STEPS)
    )
    (folder / "game.yaml").write_text(
        f"mcpuppet: 1\nworkflow: game\nversion: 1.0.0\nsteps:\n{steps}"
    )
    settings = folder / "mcpuppet.yaml"
    settings.write_text(
        f"servers: {{game: {{command: {sys.executable!r}, args: [{str(SERVER)!r}]}}}}\n"
        f"workflows: [game.yaml]\nsurface: {surface}\nlist_barrier: {barrier}\n"
    )
    return settings


class Route:
    """One way to the server: a connected client, and what its calls took."""

    def __init__(self, client: Client, through_gateway: bool) -> None:
        self.client = client
        self.through_gateway = through_gateway
        self.seconds: list[float] = []
        self._made = 0

    async def call(self) -> float:
        if self.through_gateway and self._made % STEPS == 0:
            await self.client.call_tool("workflow_start", {"workflow": "game", "inputs": {}})
        tool = "ping" if self._made % STEPS % 2 == 0 else "pong"
        self._made += 1
        params = types.CallToolRequestParams(name=tool, arguments={"text": "hello"})
        request = types.CallToolRequest(params=params)
        started = time.perf_counter()
        # Not `call_tool`: that lists the tools once more to check a result whose tool is no longer
        # listed, which is a cost of this client and of no other.
        result = await self.client.session.send_request(request, types.CallToolResult)
        took = time.perf_counter() - started
        if result.is_error:
            raise RuntimeError(f"the call failed: {result.content}")
        return took


@contextlib.asynccontextmanager
async def connect(command: list[str]) -> AsyncIterator[Client]:
    """A client that does what good clients do: it lists the tools again when they change."""
    listing: set[asyncio.Task[Any]] = set()

    async def on_message(message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            task = asyncio.create_task(client.list_tools(cache_mode="refresh"))
            listing.add(task)
            task.add_done_callback(listing.discard)

    parameters = StdioServerParameters(command=command[0], args=command[1:])
    async with Client(parameters, mode="legacy", message_handler=on_message) as client:
        await client.list_tools()
        yield client
        await asyncio.gather(*listing)


def open_bare(folder: Path) -> apsw.Connection:
    connection = apsw.Connection(str(folder / "bare.db"))
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE record (seq INTEGER PRIMARY KEY, body BLOB)")
    return connection


def commit(bare: apsw.Connection) -> float:
    started = time.perf_counter()
    with bare:
        bare.execute("INSERT INTO record (body) VALUES (?)", (b"x" * 1000,))
    return time.perf_counter() - started


def line(name: str, seconds: list[float], base: float | None) -> str:
    p50 = statistics.median(seconds) * 1000
    p99 = statistics.quantiles(seconds, n=100)[98] * 1000
    ratio = "" if base is None else f"{p50 / (base * 1000):8.2f}"
    return f"{name:34}{p50:10.2f}{p99:10.2f}{ratio}"


async def main(calls: int) -> None:
    variants = {
        "stable": ("stable", "150ms"),
        "dynamic, barrier 150 ms": ("dynamic", "150ms"),
        "dynamic, barrier off": ("dynamic", "0ms"),
    }
    with tempfile.TemporaryDirectory() as name:
        async with contextlib.AsyncExitStack() as stack:
            direct = await stack.enter_async_context(connect([sys.executable, str(SERVER)]))
            paths = {"direct": Route(direct, through_gateway=False)}
            for title, (surface, barrier) in variants.items():
                folder = Path(name) / title.replace(" ", "_")
                folder.mkdir()
                settings = write_folder(folder, surface, barrier)
                command = [sys.executable, "-m", "mcpuppet", "serve", "--config", str(settings)]
                client = await stack.enter_async_context(connect(command))
                paths[title] = Route(client, through_gateway=True)
            bare = open_bare(Path(name))
            commits: list[float] = []
            for number in range(calls + WARM_UP):
                for path in paths.values():
                    took = await path.call()
                    if number >= WARM_UP:
                        path.seconds.append(took)
                commits.append(commit(bare))
    base = statistics.median(paths["direct"].seconds) + 2 * statistics.median(commits)
    print(f"{calls} calls each{'':21}{'p50 ms':>10}{'p99 ms':>10}   ratio to direct + 2 commits")
    print(line("bare durable commit", commits, None))
    for title, path in paths.items():
        print(line(title, path.seconds, base if path.through_gateway else None))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
