"""What the store costs: durable compare-and-append, as it grows, and in memory.

Rates are measured in turns with a bare loop of the same library, in the same process and on the
same disk: a writer thread that inserts the same bytes (record and state) into one table without an
index, in WAL mode with `synchronous=FULL`, one insert per append, with the same limit to a group.
Each append of the store seals a record of 0.9 KiB onto its session's chain, compares the head, and
replaces a state of 2 KiB. A second bare loop seals its records too (JSON and SHA-256, which Python
does on one core): what is left between it and the store is comparing, indexing and replacing. The
disk's own pace moves from minute to minute, so the ratios count: each is the median over the turns
of the ratios of two rates that were taken one right after the other.

    python benchmarks/store.py [--turns 7] [--seconds 1.0] [--sessions 100000] [--save]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import queue
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw

from mcpuppet.audit.record import seal
from mcpuppet.store.protocol import NEW_SESSION, Head, NewRecord, SessionIndex
from mcpuppet.store.sqlite import SqliteStore
from mcpuppet.store.writer import CHECKPOINT_PAGES, GROUP_LIMIT

RESULTS = Path(__file__).with_name("results") / "store.md"
WIDTHS = (1, 8, 64)
FEW_SESSIONS = 10
GROWTH_WIDTH = 8
"""Appends at once when growth is measured: fewer than the few sessions."""
TOUCHED = 1_000
NOW = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
RECORD = {
    "call": "call_k3v7q2m9d4x8",
    "result": {
        "content": [],
        "structuredContent": {
            "account": "DE12500105170648489890",
            "entries": [
                {"id": f"tx-{number:05}", "amount": "129.95", "purpose": "invoice of January"}
                for number in range(8)
            ],
        },
        "isError": False,
    },
    "seconds": 0.0421,
}
STATE = json.dumps(
    {
        "principal": "agent",
        "run": {
            "workflow": "month_end_close",
            "hash": "ab" * 32,
            "results": {f"step_{number}": "call_k3v7q2m9d4x8" * 4 for number in range(22)},
        },
    }
).encode()
INDEX = SessionIndex("agent", "running", "month_end_close", (), NOW + timedelta(days=30))

Lines = AsyncIterator[str]
Append = Callable[[int], Awaitable[object]]
"""Appends once to the session of this number."""


class Appending:
    """A store, and where each of its sessions ends."""

    def __init__(self, path: Path, name: Callable[[int], str] = "session-{}".format) -> None:
        self.store = SqliteStore(path)
        self._name = name
        self._heads: dict[int, Head] = {}

    async def learn(self, numbers: Iterable[int]) -> None:
        """Ask where these sessions end, so that an append need not."""
        for number in numbers:
            self._heads[number] = await self.store.head(self._name(number)) or NEW_SESSION

    async def append(self, number: int) -> None:
        """Append to the end that is known."""
        session_id = self._name(number)
        head = self._heads.get(number, NEW_SESSION)
        record = NewRecord("CallSucceeded", datetime.now(UTC), RECORD)
        self._heads[number] = await self.store.append(session_id, head, [record], STATE, INDEX)


class Bare:
    """Group commit with nothing around it; `sealing` makes each record anew, else it is given."""

    def __init__(self, path: Path, *, sealing: bool) -> None:
        self._connection = apsw.Connection(str(path))
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.wal_autocheckpoint(CHECKPOINT_PAGES)
        self._connection.execute("CREATE TABLE record(position INTEGER PRIMARY KEY, body, state)")
        self._jobs: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]] | None]
        self._jobs = queue.SimpleQueue()
        self._body = None if sealing else _sealed_body()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    async def append(self, _number: int) -> None:
        done = asyncio.get_running_loop().create_future()
        self._jobs.put((self._body or _sealed_body(), done))
        await done

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    def _serve(self) -> None:
        execute = self._connection.execute
        while (first := self._jobs.get()) is not None:
            group = [first]
            execute("BEGIN IMMEDIATE")
            group += self._waiting()
            for body, _ in group:
                execute("INSERT INTO record(body, state) VALUES(?, ?)", (body, STATE))
            execute("COMMIT")
            futures = [done for _, done in group]
            futures[0].get_loop().call_soon_threadsafe(_settle, futures)

    def _waiting(self) -> Iterator[tuple[bytes, asyncio.Future[None]]]:
        for _ in range(min(self._jobs.qsize(), GROUP_LIMIT - 1)):
            job = self._jobs.get()
            if job is None:
                self._jobs.put(None)
                return
            yield job


def _sealed_body() -> bytes:
    return seal("session-17", 17, bytes(32), "CallSucceeded", datetime.now(UTC), RECORD).body


def _settle(futures: list[asyncio.Future[None]]) -> None:
    for done in futures:
        done.set_result(None)


@dataclass
class Series:
    """What was measured of one way to append: a rate per turn, and every latency."""

    rates: list[float]
    latencies: list[float]

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    def latency(self, percent: int) -> float:
        return statistics.quantiles(self.latencies, n=100)[percent - 1] * 1000


async def measure(
    ways: dict[str, Append], width: int, turns: int, seconds: float
) -> dict[str, Series]:
    """Let each way append from `width` tasks at once for `seconds`, in turns."""
    found = {name: Series([], []) for name in ways}
    for append in ways.values():
        await one_turn(append, width, min(seconds, 0.3))
    for _ in range(turns):
        for name, append in ways.items():
            latencies, took = await one_turn(append, width, seconds)
            found[name].rates.append(len(latencies) / took)
            found[name].latencies += latencies
    return found


async def one_turn(append: Append, width: int, seconds: float) -> tuple[list[float], float]:
    """The latencies of all appends, and the seconds they took together."""
    latencies: list[float] = []
    started = time.perf_counter()

    async def task(number: int) -> None:
        before = time.perf_counter()
        while before - started < seconds:
            await append(number)
            now = time.perf_counter()
            latencies.append(now - before)
            before = now

    await asyncio.gather(*(task(number) for number in range(width)))
    return latencies, time.perf_counter() - started


def ratio(one: Series, other: Series) -> float:
    """The median of the ratios of rates that were taken one right after the other."""
    return statistics.median(a / b for a, b in zip(one.rates, other.rates, strict=True))


def fsync_p50(folder: Path) -> float:
    """Milliseconds that the disk takes to make one more page durable."""
    seconds = []
    descriptor = os.open(folder / "fsync", os.O_RDWR | os.O_CREAT)
    for number in range(100):
        os.pwrite(descriptor, bytes(4096), number * 4096)
        started = time.perf_counter()
        os.fsync(descriptor)
        seconds.append(time.perf_counter() - started)
    os.close(descriptor)
    return statistics.median(seconds) * 1000


async def rates(folder: Path, turns: int, seconds: float) -> Lines:
    bare = Bare(folder / "bare.db", sealing=False)
    sealing = Bare(folder / "sealing.db", sealing=True)
    ours = Appending(folder / "rates.db")
    ways: dict[str, Append] = {
        "bare": bare.append,
        "bare, sealing": sealing.append,
        "store": ours.append,
    }
    yield "| sessions at once | | appends/s | p50 ms | p99 ms | of bare | of bare, sealing |"
    yield "|---|---|---|---|---|---|---|"
    for width in WIDTHS:
        found = await measure(ways, width, turns, seconds)
        for name, one in found.items():
            shares = (f"{ratio(one, found[base]):.0%}" for base in ("bare", "bare, sealing"))
            latencies = f"{one.latency(50):.2f} | {one.latency(99):.2f}"
            yield f"| {width} | {name} | {one.rate:,.0f} | {latencies} | {' | '.join(shares)} |"
    bare.close()
    sealing.close()
    await ours.store.close()


async def fill(path: Path, sessions: int) -> float:
    """Begin so many sessions through the store itself, in large groups; the seconds it took."""
    many = Appending(path)
    started = time.perf_counter()
    numbers = iter(range(sessions))
    await asyncio.gather(*(_each(many.append, numbers) for _ in range(GROUP_LIMIT)))
    await many.store.close()
    return time.perf_counter() - started


async def _each(append: Append, numbers: Iterator[int]) -> None:
    for number in numbers:
        await append(number)


def of_each_task(numbers: Sequence[int]) -> Callable[[int], int]:
    """The next session for a task of this number, of those that are its own."""
    own = [itertools.cycle(numbers[task::GROWTH_WIDTH]) for task in range(GROWTH_WIDTH)]
    return lambda task: next(own[task])


async def growth(small: Path, large: Path, sessions: int, turns: int, seconds: float) -> Lines:
    few, many = Appending(small), Appending(large)
    await few.learn(range(FEW_SESSIONS))
    await many.learn(range(sessions))
    of_few = of_each_task(range(FEW_SESSIONS))
    of_many = of_each_task(random.Random(1).sample(range(sessions), sessions))
    ways: dict[str, Append] = {
        f"{FEW_SESSIONS}": lambda task: few.append(of_few(task)),
        f"{sessions:,}": lambda task: many.append(of_many(task)),
    }
    # More and shorter turns than for the rates: here the two differ by less than the disk moves.
    found = await measure(ways, GROWTH_WIDTH, 4 * turns, seconds / 2)
    await few.store.close()
    await many.store.close()
    one, other = found.values()
    yield "| sessions in the store | ms per append | p50 ms | p99 ms |"
    yield "|---|---|---|---|"
    for name, series in found.items():
        latencies = f"{series.latency(50):.2f} | {series.latency(99):.2f}"
        yield f"| {name} | {1000 / series.rate:.3f} | {latencies} |"
    yield f"\nCost in the large store: {ratio(one, other):.2f} times the small one's."


TOUCH = """
import asyncio, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from store import touch
print(asyncio.run(touch(Path(sys.argv[2]), int(sys.argv[3]))))
"""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def touch(path: Path, sessions: int) -> int:
    """Load and append to a thousand of the sessions; the bytes that this process then holds."""
    one = Appending(path)
    for number in random.Random(2).sample(range(sessions), TOUCHED):
        assert await one.store.load(f"session-{number}") is not None
        await one.learn([number])
        await one.append(number)
    held = resident_bytes()
    await one.store.close()
    return held


def memory(path: Path, sessions: int) -> float:
    """MB that a process holds which opened this store and touched a thousand of its sessions."""
    command = [sys.executable, "-c", TOUCH, str(Path(__file__).parent), str(path), str(sessions)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1e6


async def report(folder: Path, turns: int, seconds: float, sessions: int) -> Lines:
    """Everything, line by line as Markdown."""
    yield f"fsync of one page: p50 {fsync_p50(folder):.2f} ms.\n"
    async for line in rates(folder, turns, seconds):
        yield line
    small, thousand, large = folder / "small.db", folder / "thousand.db", folder / "large.db"
    await fill(small, FEW_SESSIONS)
    await fill(thousand, TOUCHED)
    took = await fill(large, sessions)
    size = large.stat().st_size / 1e6
    yield f"\n{sessions:,} sessions were begun in {took:.1f} s; the file has {size:,.0f} MB.\n"
    async for line in growth(small, large, sessions, turns, seconds):
        yield line
    base, full = memory(thousand, TOUCHED), memory(large, sessions)
    yield (
        f"\nMemory of a process that touched {TOUCHED:,} sessions: {base:.1f} MB where there are"
        f" no others, {full:.1f} MB of {sessions:,}: {full - base:+.1f} MB."
    )
    yield f"\nfsync of one page: p50 {fsync_p50(folder):.2f} ms."


async def shown(lines: Lines) -> list[str]:
    """Print the lines as they come, and keep them."""
    kept = []
    async for line in lines:
        print(line, flush=True)
        kept.append(line)
    return kept


def save(lines: Sequence[str], command: str) -> None:
    where = f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores"
    head = f"# What the store costs\n\n`{command}`, {datetime.now(UTC).date()}, {where}, load"
    load = f"{os.getloadavg()[1]:.1f} in the last five minutes"
    RESULTS.write_text("\n".join([f"{head} {load}.\n", *lines, ""]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--save", action="store_true", help=f"also write {RESULTS}")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mcpuppet-store-"))
    try:
        turns, seconds, sessions = options.turns, options.seconds, options.sessions
        lines = asyncio.run(shown(report(folder, turns, seconds, sessions)))
        if options.save:
            sizes = f"--turns {turns} --seconds {seconds} --sessions {sessions}"
            save(lines, f"python benchmarks/store.py {sizes}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
