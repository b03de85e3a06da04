"""What only the SQLite file can get wrong: other processes, kills, and files that are not right."""

# ruff: noqa: ASYNC240 - the files are small, and nothing else runs on these tests' event loops

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from mcpuppet.audit.verify import verify_chains
from mcpuppet.errors import StoreError
from mcpuppet.store import sqlite_file, writer
from mcpuppet.store.protocol import NEW_SESSION, Head, NewRecord, SessionIndex
from mcpuppet.store.sqlite import SqliteStore
from mcpuppet.store.sqlite_file import require_sqlite
from mcpuppet.store.sqlite_reader import open_view

pytestmark = pytest.mark.anyio

PROCESS = Path(__file__).with_name("store_process.py")
INDEX = SessionIndex("agent", "running", None, (), None)
EVENT = NewRecord("call", datetime(2026, 1, 31, tzinfo=UTC), {"filling": "x" * 300})

Acknowledged = dict[tuple[str, int], bytes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    await store.close()


def start(role: str, path: Path, argument: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(PROCESS), role, str(path), str(argument)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)


def acknowledged(output: bytes) -> Acknowledged:
    lines = [line.split() for line in output.decode().splitlines()]
    found = {(session, int(seq)): bytes.fromhex(digest) for session, seq, digest in lines}
    assert len(found) == len(lines), "one seq was acknowledged twice"
    return found


def stored(path: Path) -> Acknowledged:
    """Every record there is, after checking that every chain and stored head holds."""
    with open_view(path) as reader:
        assert verify_chains(reader).breaks == ()
        return {
            (record.session_id, record.seq): record.hash
            for session_id in reader.session_ids()
            for record in reader.records(session_id)
        }


def plain(path: Path) -> apsw.Connection:
    """A connection as an intruder with a shell has one."""
    return apsw.Connection(str(path))


async def begin(store: SqliteStore, session_id: str = "s") -> Head:
    return await store.append(session_id, NEW_SESSION, [EVENT], b"1", INDEX)


async def good_file(path: Path) -> None:
    store = SqliteStore(path)
    head = await begin(store)
    for _ in range(50):
        head = await store.append("s", head, [EVENT], b"", INDEX)
    await store.close()


@pytest.mark.parametrize("processes", [2, 8])
def test_processes_racing_on_one_session_never_win_the_same_record(
    path: Path, processes: int
) -> None:
    length = 120
    racers = [start("race", path, length) for _ in range(processes)]
    outputs = [racer.communicate(timeout=60)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * processes
    found = acknowledged(b"".join(outputs))
    assert sorted(seq for _, seq in found) == list(range(1, length + 1))
    assert stored(path) == found


def test_a_killed_process_loses_nothing_that_was_acknowledged(path: Path) -> None:
    with start("load", path, 16) as process:
        assert process.stdout is not None
        early = b"".join(process.stdout.readline() for _ in range(400))
        process.kill()
        found = acknowledged(early + process.stdout.read())
    kept = stored(path)
    assert len(found) >= 400
    assert found.items() <= kept.items()
    with open_view(path) as reader:
        for session_id in reader.session_ids():
            head = reader.head(session_id)
            assert head is not None
            assert reader.snapshot(session_id) == b"%d" % head[0]


async def test_others_go_on_when_a_process_is_killed(path: Path, store: SqliteStore) -> None:
    await begin(store)
    with start("load", path, 4) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.stdout.read()
    head = await store.head("s")
    assert head is not None
    assert (await store.append("s", head, [EVENT], b"", INDEX)).seq == 2


async def test_the_data_version_shows_what_another_process_committed(
    path: Path, store: SqliteStore
) -> None:
    before = await store.data_version()
    start("race", path, 1).communicate(timeout=60)
    assert await store.data_version() != before
    assert await store.head("contended") is not None


def test_constructing_a_store_touches_nothing(path: Path) -> None:
    SqliteStore(path)
    assert not path.parent.exists()


async def test_only_the_owner_can_read_the_store(path: Path, store: SqliteStore) -> None:
    umask = os.umask(0)
    try:
        await begin(store)
    finally:
        os.umask(umask)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    modes = {it.name: it.stat().st_mode & 0o777 for it in path.parent.iterdir()}
    assert modes.keys() == {"store.db", "store.db-wal", "store.db-shm", "store.db.lock"}
    assert set(modes.values()) == {0o600}


async def test_commits_are_synchronised_to_the_disk(path: Path) -> None:
    connection = sqlite_file.open_writer(path)
    settings = ("journal_mode", "synchronous", "foreign_keys")
    assert [connection.pragma(name) for name in settings] == ["wal", 2, 1]
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE record SET body=x'00'",
        "UPDATE record SET body=x'', seq=seq+1",
        "UPDATE record SET hash=zeroblob(32)",
        "DELETE FROM record",
    ],
)
async def test_records_cannot_be_changed_by_a_plain_statement(
    path: Path, store: SqliteStore, statement: str
) -> None:
    await begin(store)
    connection = plain(path)
    with pytest.raises(apsw.ConstraintError, match="a record is never"):
        connection.execute(statement)
    connection.close()


async def test_who_removes_that_fence_is_found_by_the_chain(path: Path, store: SqliteStore) -> None:
    head = await begin(store)
    await store.append("s", head, [EVENT], b"", INDEX)
    connection = plain(path)
    connection.execute("DROP TRIGGER record_is_never_changed")
    connection.execute(
        "UPDATE record SET body=CAST(replace(body, 'call', 'open') AS BLOB) WHERE seq=1"
    )
    connection.close()
    with store.reader() as reader:
        assert [it.seq for it in verify_chains(reader).breaks] == [1]


async def test_records_whose_session_was_removed_are_still_verified(
    path: Path, store: SqliteStore
) -> None:
    await begin(store)
    connection = plain(path)
    connection.execute("DELETE FROM session")
    connection.close()
    with store.reader() as reader:
        (found,) = verify_chains(reader).breaks
    assert found.session_id == "s"
    assert "no head is stored" in found.what


async def test_a_store_is_opened_again_with_what_it_held(path: Path) -> None:
    await good_file(path)
    again = SqliteStore(path)
    head = await again.head("s")
    assert head is not None
    assert (await again.append("s", head, [EVENT], b"", INDEX)).seq == 52
    await again.close()


def test_a_view_of_a_store_that_does_not_exist_is_refused(path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no store .* yet"), open_view(path):
        pass
    assert not path.parent.exists()


async def refused(path: Path) -> str:
    """The one sentence with which reading and writing are refused alike."""
    store = SqliteStore(path)
    sentences = set()
    for use in (store.load("s"), begin(store), store.users()):
        with pytest.raises(StoreError) as caught:
            await use
        sentences.add(str(caught.value))
    await store.close()
    (sentence,) = sentences
    assert str(path) in sentence
    return sentence


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database\n" * 1000)
    assert (await refused(path)).endswith("file is not a database")
    assert path.read_bytes() == b"not a database\n" * 1000


async def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    connection = plain(path)
    connection.execute("CREATE TABLE bookmarks(url)")
    connection.close()
    before = path.read_bytes()
    assert (await refused(path)).endswith("but not an MCPuppet store")
    assert path.read_bytes() == before


async def test_a_store_of_a_newer_format_is_refused_and_left_alone(path: Path) -> None:
    await good_file(path)
    connection = plain(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    before = path.read_bytes()
    sentence = await refused(path)
    assert "was written by a newer MCPuppet (format 99)" in sentence
    assert "update mcpuppet" in sentence
    with pytest.raises(StoreError, match="newer MCPuppet"), open_view(path):
        pass
    assert path.read_bytes() == before


async def test_a_damaged_store_is_refused_with_the_reason(path: Path) -> None:
    await good_file(path)
    pages = bytearray(path.read_bytes())
    pages[4096:] = b"\xff" * (len(pages) - 4096)
    path.write_bytes(pages)
    assert (await refused(path)).endswith("database disk image is malformed")


async def test_a_directory_in_the_place_of_the_store_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    assert (await refused(path)).endswith("Is a directory")


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that other users can reach, unlike pytest's."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


async def test_a_store_that_may_only_be_read_is_refused_with_the_reason(
    open_directory: Path,
) -> None:
    path = open_directory / "store.db"
    await good_file(path)
    for file in open_directory.iterdir():
        file.chmod(0o444)
    open_directory.chmod(0o555)
    output = start("read_only", path, 65534).communicate(timeout=60)[0].decode()
    open_directory.chmod(0o755)
    assert re.fullmatch(rf"refused: the store {path} cannot be used: Permission denied\n", output)


async def test_a_full_disk_refuses_and_loses_nothing_acknowledged(path: Path) -> None:
    output = start("fill", path, 400_000).communicate(timeout=60)[0]
    before, refusal, after = re.split(rb"refused: (.*)\n", output)
    assert b"cannot be used: " in refusal
    assert acknowledged(before).items() <= stored(path).items()
    assert stored(path) == acknowledged(before + after), "the store went on when there was room"


async def test_a_store_that_stays_locked_is_refused_with_the_reason(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_MS", 50)
    head = await begin(store)
    connection = plain(path)
    connection.execute("BEGIN IMMEDIATE")
    appends = (begin(store, "t"), store.append("s", head, [EVENT], b"", INDEX))
    results = await asyncio.gather(*appends, return_exceptions=True)
    assert all(isinstance(it, StoreError) for it in results)
    assert "another process kept it locked for over 0.05 s" in str(results[0])
    assert await store.head("s") == head
    connection.execute("ROLLBACK")
    connection.close()
    assert (await store.append("s", head, [EVENT], b"", INDEX)).seq == 2


async def test_a_store_replaced_while_in_use_takes_no_more_records(
    path: Path, store: SqliteStore
) -> None:
    head = await begin(store)
    moved = path.rename(path.with_name("moved.db"))
    with pytest.raises(StoreError, match="No such file"):
        await store.append("s", head, [EVENT], b"", INDEX)
    moved.rename(path)
    head = await store.append("s", head, [EVENT], b"", INDEX)
    for file in list(path.parent.iterdir()):
        file.rename(file.with_name(f"moved-{file.name}"))
    other = SqliteStore(path)
    await begin(other, "other")
    with pytest.raises(StoreError, match="was replaced by another file while in use"):
        await store.append("s", head, [EVENT], b"", INDEX)
    await store.close()
    await other.close()
    assert len(stored(path.with_name("moved-store.db"))) == 2
    assert len(stored(path)) == 1


@pytest.mark.parametrize("version", ["3.51.2", "3.40.1", "3.9.0"])
def test_an_sqlite_that_can_corrupt_shared_files_is_refused(version: str) -> None:
    with pytest.raises(StoreError, match=r"3\.51\.3 or newer is needed"):
        require_sqlite(version)


@pytest.mark.parametrize("version", ["3.51.3", "3.54.1", "3.100.0", "4.0.0"])
def test_an_sqlite_with_the_repair_is_accepted(version: str) -> None:
    require_sqlite(version)


async def test_the_log_is_copied_into_the_file_and_starts_anew(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", 50)
    head = await begin(store)
    for _ in range(400):
        head = await store.append("s", head, [EVENT], b"", INDEX)
    log = path.with_name("store.db-wal")
    assert log.stat().st_size < 600 * 4096  # of some 1,600 that were written
    assert path.stat().st_size > 10 * 4096


async def test_a_reader_that_stays_lets_the_log_grow_and_no_writer_wait(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", 20)
    monkeypatch.setattr(writer, "RESTART_PAGES", 100)
    monkeypatch.setattr(writer, "RESTART_WAIT_MS", 1)
    head = await begin(store)
    with store.reader() as reader:
        for _ in range(100):
            head = await store.append("s", head, [EVENT], b"", INDEX)
        assert reader.head("s") is not None
        grown = path.with_name("store.db-wal").stat().st_size
    assert grown > 100 * 4096
    for _ in range(100):
        head = await store.append("s", head, [EVENT], b"", INDEX)
    assert path.with_name("store.db-wal").stat().st_size <= grown + 60 * 4096


async def test_one_store_serves_event_loops_one_after_another(path: Path) -> None:
    def session(store: SqliteStore, name: str) -> int:
        return asyncio.run(begin(store, name)).seq

    store = SqliteStore(path)
    assert await asyncio.to_thread(session, store, "a") == 1
    assert await asyncio.to_thread(session, store, "b") == 1
    await store.close()


async def test_appending_costs_the_same_pages_with_many_sessions(
    path: Path, store: SqliteStore
) -> None:
    async def pages_of_one_append(session_id: str) -> int:
        with open_view(path):  # keeps the log from starting anew
            log = path.with_name("store.db-wal")
            head = await store.head(session_id)
            assert head is not None
            before = log.stat().st_size
            await store.append(session_id, head, [EVENT], b"", replace(INDEX, status="held"))
            return (log.stat().st_size - before) // 4096

    await begin(store, "first")
    few = await pages_of_one_append("first")
    await asyncio.gather(*(begin(store, f"session-{n}") for n in range(3000)))
    assert few <= await pages_of_one_append("session-7") <= few + 6
