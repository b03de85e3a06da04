"""Claims by several processes on one SQLite file, and what is left when one of them is killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import apsw
import pytest

from mcpuppet.errors import ClaimRefusedError
from mcpuppet.store.protocol import (
    NEW_SESSION,
    Head,
    LockClaim,
    LockHolder,
    NewRecord,
    SessionIndex,
    UseClaim,
)
from mcpuppet.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

PROCESS = Path(__file__).with_name("store_process.py")
INDEX = SessionIndex("agent", "running", None, (), None)
NOW = datetime(2026, 1, 31, tzinfo=UTC)
HOUR = timedelta(hours=1)
EVENT = NewRecord("call", NOW, {})
LAST_USE = UseClaim("rate", NOW, Decimal(1), NOW - HOUR, Decimal(1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    await store.close()


class Process:
    """One of `store_process.py`, which waits for the starting shot; `finish` gives its answers."""

    def __init__(self, role: str, path: Path, argument: int) -> None:
        command = [sys.executable, str(PROCESS), role, str(path), str(argument)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.popen = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def go(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()

    def finish(self) -> list[str]:
        output = self.popen.communicate(timeout=60)[0]
        assert self.popen.returncode == 0
        return output.splitlines()


@contextmanager
def started(role: str, path: Path, argument: int, processes: int) -> Iterator[list[Process]]:
    """Processes that began at the same moment, as nearly as can be."""
    with ExitStack() as stack:
        found = [Process(role, path, argument) for _ in range(processes)]
        for process in found:
            stack.enter_context(process.popen)
            stack.callback(process.popen.kill)
        assert [process.line() for process in found] == ["ready"] * processes
        for process in found:
            process.go()
        yield found


async def append(store: SqliteStore, session_id: str, *claims: UseClaim | LockClaim) -> Head:
    head = await store.head(session_id) or NEW_SESSION
    return await store.append(session_id, head, [EVENT], b"", INDEX, claims=claims)


async def test_of_eight_processes_one_gets_the_only_use(path: Path, store: SqliteStore) -> None:
    with started("use", path, 1, 8) as processes:
        answers = [line for process in processes for line in process.finish()]
    assert sorted(answers) == ["granted"] + ["refused"] * 7
    since = datetime.now(UTC) - HOUR
    assert len((await store.reservations({"rate": since}, ())).uses["rate"]) == 1
    assert len(await store.sessions(limit=9)) == 1, "a refused append left a session behind"


async def test_of_eight_processes_one_holds_the_lock(path: Path, store: SqliteStore) -> None:
    with started("lock", path, 0, 8) as processes:
        answers = [process.line().split() for process in processes]
    granted = [session_id for answer, session_id in answers if answer == "granted"]
    assert [answer for answer, _ in answers].count("refused") == 7
    found = await store.reservations({}, ["lock"])
    assert found.locks == {"lock": LockHolder(granted[0], "call-1")}
    assert [row.session_id for row in await store.sessions(limit=9)] == granted


async def test_eight_processes_spend_all_there_is_and_no_more(
    path: Path, store: SqliteStore
) -> None:
    cap = Decimal(500)
    with started("spend", path, int(cap), 8) as processes:
        answers = [line.split() for process in processes for line in process.finish()]
    granted = [Decimal(amount) for answer, amount in answers if answer == "granted"]
    refused = [Decimal(amount) for answer, amount in answers if answer == "refused"]
    assert len(granted) + len(refused) == 8 * 25
    reserved = await store.reservations({"hour": datetime.now(UTC) - HOUR, "ever": None}, ())
    assert sorted(use.amount for use in reserved.uses["hour"]) == sorted(granted)
    (ever,) = reserved.uses["ever"]
    assert ever.amount == sum(granted) <= cap
    assert cap < ever.amount + min(refused), "what there was room for was refused"
    assert sum(row.seq for row in await store.sessions(limit=9)) == len(granted)


async def test_a_killed_process_still_holds_its_lock(path: Path, store: SqliteStore) -> None:
    with started("lock", path, 0, 1) as (process,):
        answer, session_id = process.line().split()
        process.popen.kill()
    assert answer == "granted"
    with pytest.raises(ClaimRefusedError):
        await append(store, "other", LockClaim("lock", "call-1"))
    head = await store.head(session_id)
    assert head is not None
    await store.append(session_id, head, [EVENT], b"", INDEX, releases=["lock"])
    await append(store, "other", LockClaim("lock", "call-1"))


async def test_stores_of_one_file_see_and_refuse_each_others_claims(
    path: Path, store: SqliteStore
) -> None:
    other = SqliteStore(path)
    await append(store, "s", LAST_USE, LockClaim("lock", "call-1"))
    seen = await other.reservations({"rate": NOW - HOUR}, ["lock"])
    assert seen.locks == {"lock": LockHolder("s", "call-1")}
    assert len(seen.uses["rate"]) == 1
    for claim in (LAST_USE, LockClaim("lock", "call-1")):
        with pytest.raises(ClaimRefusedError):
            await append(other, "t", claim)
    await other.close()


async def test_of_two_claims_in_one_transaction_one_gets_the_last_use(
    path: Path, store: SqliteStore
) -> None:
    await append(store, "first")
    blocker = apsw.Connection(str(path))
    blocker.execute("BEGIN IMMEDIATE")
    claims = [
        (LockClaim(f"lock-{name}", "call-1"), UseClaim(name, NOW, Decimal(1), None, None), LAST_USE)
        for name in "ab"
    ]
    appends = [
        asyncio.ensure_future(
            store.append(name, NEW_SESSION, [EVENT], b"", INDEX, claims=claims[n])
        )
        for n, name in enumerate("ab")
    ]
    await asyncio.sleep(0)  # both are asked for, and wait together for the file
    blocker.execute("COMMIT")
    blocker.close()
    won, lost = await asyncio.gather(*appends, return_exceptions=True)
    assert isinstance(won, Head)
    assert isinstance(lost, ClaimRefusedError)
    assert await store.head("b") is None
    left = await store.reservations({"a": None, "b": None}, ["lock-a", "lock-b"])
    assert [len(uses) for uses in left.uses.values()] == [1, 0]
    assert left.locks.keys() == {"lock-a"}
