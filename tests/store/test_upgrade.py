"""Stores of an older version: what is read of them, and how they become stores of this one."""

# ruff: noqa: ASYNC240 - the files are small, and nothing else runs on these tests' event loops

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import apsw
import pytest

from mcpuppet.audit.record import GENESIS, Record, seal
from mcpuppet.errors import StoreError
from mcpuppet.store import sqlite_file
from mcpuppet.store.protocol import (
    ApprovalRow,
    Head,
    LockClaim,
    LockHolder,
    NewRecord,
    Reservations,
    SessionIndex,
    StoredSession,
    Use,
    UseClaim,
    User,
)
from mcpuppet.store.sqlite import SqliteStore
from mcpuppet.store.sqlite_reader import from_micros, open_view

pytestmark = pytest.mark.anyio

FORMAT_1 = """
CREATE TABLE session(
  id TEXT PRIMARY KEY,
  seq INTEGER NOT NULL,
  head BLOB NOT NULL,
  state BLOB NOT NULL,
  principal TEXT NOT NULL,
  status TEXT NOT NULL,
  workflow TEXT,
  opened_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  due INTEGER
) STRICT;
CREATE INDEX session_by_update ON session(updated_at);
CREATE INDEX session_by_status ON session(status, updated_at);
CREATE INDEX session_by_due ON session(due) WHERE due IS NOT NULL;

-- Position is the order of commits. Bodies lie in that order, so that a commit writes few pages
-- however many sessions it touches.
CREATE TABLE record(
  position INTEGER PRIMARY KEY,
  session TEXT NOT NULL REFERENCES session(id),
  seq INTEGER NOT NULL,
  body BLOB NOT NULL,
  hash BLOB NOT NULL,
  UNIQUE(session, seq)
) STRICT;
CREATE TRIGGER record_is_never_changed BEFORE UPDATE ON record
  BEGIN SELECT RAISE(ABORT, 'a record is never changed'); END;
CREATE TRIGGER record_is_never_deleted BEFORE DELETE ON record
  BEGIN SELECT RAISE(ABORT, 'a record is never deleted'); END;

CREATE TABLE approval(
  id TEXT PRIMARY KEY,
  session TEXT NOT NULL REFERENCES session(id),
  step TEXT NOT NULL,
  roles TEXT NOT NULL,
  opened_at INTEGER NOT NULL,
  expires_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX approval_by_session ON approval(session);

CREATE TABLE workflow(
  hash TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  text TEXT NOT NULL
) STRICT;

CREATE TABLE user(
  name TEXT PRIMARY KEY,
  roles TEXT NOT NULL,
  token_hash BLOB NOT NULL UNIQUE,
  disabled INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
PRAGMA application_id=0x4D435050;
PRAGMA user_version=1;
"""

MICROS = 1_769_851_800_123_456
AT = from_micros(MICROS)
INDEX = SessionIndex("agent", "running", None, (), None)
RECORD = seal("s", 1, GENESIS, "opened", AT, {"filling": "x" * 300})
ROWS: list[tuple[str, tuple[apsw.SQLiteValue, ...]]] = [
    (
        "session",
        ("s", 1, RECORD.hash, b"state", "agent", "running", "onboarding", MICROS, MICROS, MICROS),
    ),
    ("record", (1, "s", 1, RECORD.body, RECORD.hash)),
    ("approval", ("a", "s", "review", '["risk"]', MICROS, None)),
    ("workflow", ("h", "onboarding", "1", "text")),
    ("user", ("kim", '["risk"]', b"\x01" * 32, 0, MICROS)),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store as the first version left it: one session, one of everything else."""
    path = tmp_path / "store.db"
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute(FORMAT_1)
    for table, values in ROWS:
        places = ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO {table} VALUES({places})", values)
    connection.close()
    return path


def schema(path: Path) -> set[tuple[str, str]]:
    connection = apsw.Connection(str(path))
    rows = connection.execute("SELECT name, coalesce(sql, '') FROM sqlite_schema").fetchall()
    versions = [connection.pragma(name) for name in ("application_id", "user_version")]
    connection.close()
    return {(str(name), str(sql)) for name, sql in rows} | {("versions", str(versions))}


def records(path: Path) -> list[Record]:
    with open_view(path) as reader:
        return list(reader.records("s"))


def test_an_older_store_can_be_read_and_is_left_alone(path: Path) -> None:
    before = path.read_bytes()
    with open_view(path) as reader:
        assert list(reader.session_ids()) == ["s"]
        assert list(reader.records("s")) == [RECORD]
        assert reader.head("s") == (1, RECORD.hash)
        assert reader.snapshot("s") == b"state"
        assert reader.workflow_text("h") == "text"
    assert path.read_bytes() == before


async def test_an_upgraded_store_has_kept_everything(path: Path) -> None:
    store = SqliteStore(path)
    assert await store.load("s") == StoredSession("s", Head(1, RECORD.hash), b"state")
    assert [row.opened_at for row in await store.sessions(limit=9)] == [AT]
    assert await store.open_approvals() == [("s", ApprovalRow("a", "review", ("risk",), AT, None))]
    assert await store.due_sessions(AT, 9) == ["s"]
    assert await store.workflow_text("h") == "text"
    assert await store.users() == [User("kim", ("risk",), b"\x01" * 32, False, AT)]
    assert records(path) == [RECORD]
    await store.close()


async def test_an_upgraded_store_has_the_tables_of_a_new_one(path: Path, tmp_path: Path) -> None:
    for each in (path, tmp_path / "new.db"):
        sqlite_file.ensure_store(each)
    assert schema(path) == schema(tmp_path / "new.db")


async def test_an_upgraded_store_takes_claims(path: Path) -> None:
    store = SqliteStore(path)
    empty = await store.reservations({"total": None, "rate": AT}, ["lock"])
    assert empty == Reservations({"total": (), "rate": ()}, {})
    claims = (UseClaim("total", AT, Decimal(2), None, Decimal(2)), LockClaim("lock", "call-1"))
    event = NewRecord("call", AT, {})
    await store.append("s", Head(1, RECORD.hash), [event], b"", INDEX, claims=claims)
    found = await store.reservations({"total": None}, ["lock"])
    assert found.uses == {"total": (Use(AT, Decimal(2)),)}
    assert found.locks == {"lock": LockHolder("s", "call-1")}
    await store.close()


async def test_a_store_is_upgraded_while_others_read_and_write_it(path: Path) -> None:
    older = apsw.Connection(str(path))
    with open_view(path) as reader:
        sqlite_file.ensure_store(path)
        assert list(reader.records("s")) == [RECORD]
    older.execute("UPDATE session SET status='held'")
    older.close()
    store = SqliteStore(path)
    assert [row.status for row in await store.sessions(limit=9)] == ["held"]
    await store.close()


async def test_stores_that_open_an_older_file_at_once_upgrade_it_once(path: Path) -> None:
    stores = [SqliteStore(path) for _ in range(8)]
    heads = await asyncio.gather(*(store.head("s") for store in stores))
    assert heads == [Head(1, RECORD.hash)] * 8
    for store in stores:
        await store.close()


async def test_an_upgrade_that_fails_leaves_the_older_store(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE held_lock(in_the_way)")  # the last one that is made
    connection.close()
    before = schema(path)
    with pytest.raises(StoreError, match="held_lock already exists"):
        sqlite_file.ensure_store(path)
    assert schema(path) == before
    assert records(path) == [RECORD]


async def test_an_upgrade_waits_for_a_writer_and_says_so_when_it_takes_too_long(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_MS", 50)
    connection = apsw.Connection(str(path))
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"another process kept it locked for over 0\.05 s"):
        sqlite_file.ensure_store(path)
    connection.execute("ROLLBACK")
    connection.close()
    sqlite_file.ensure_store(path)


@pytest.mark.parametrize("version", [0, -1])
async def test_a_store_without_a_version_is_not_upgraded(path: Path, version: int) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA user_version={version}")
    connection.close()
    before = path.read_bytes()
    for use in (sqlite_file.ensure_store, records):
        with pytest.raises(StoreError, match="is damaged"):
            use(path)
    assert path.read_bytes() == before
