"""The SQLite file: its tables, how it comes into being, and how connections to it are opened.

Owns everything that must be right before the first statement: the SQLite build, permissions, the
schema's version, durability. Deliberately knows no session logic.

Several processes may share one file. What they must not do at once (creating or migrating the
tables, checkpointing the write-ahead log) happens under an OS lock on `<file>.lock`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import filelock

from mcpuppet.errors import StoreError

APPLICATION_ID = 0x4D435050
BUSY_TIMEOUT_MS = 5_000
OLDEST_SQLITE = 3_051_003
"""3.51.3: older builds can corrupt a file whose write-ahead log two connections reset at once."""

_RECORDS = """
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
"""

_RESERVATIONS = """
-- Amounts are exact decimal numbers in plain digits; n tells apart the uses of one moment.
CREATE TABLE counted_use(
  key TEXT NOT NULL,
  at INTEGER NOT NULL,
  n INTEGER NOT NULL,
  amount TEXT NOT NULL,
  PRIMARY KEY(key, at, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX counted_use_other ON counted_use(key, at, amount) WHERE amount<>'1';

-- The keys that count for ever: the total of their uses and the time of the last.
CREATE TABLE counted_total(
  key TEXT PRIMARY KEY,
  at INTEGER NOT NULL,
  amount TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A lock outlives the process that took it: whether its call had an effect may still be unknown.
CREATE TABLE held_lock(
  key TEXT PRIMARY KEY,
  session TEXT NOT NULL REFERENCES session(id),
  call TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""

_AUDIT = """
-- The values behind the commitments in records; erased by deleting the row.
CREATE TABLE disclosure(
  session TEXT NOT NULL REFERENCES session(id),
  commitment TEXT NOT NULL,
  salt BLOB NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY(session, commitment)
) STRICT, WITHOUT ROWID;

-- The bypasses that a person still has to review.
CREATE TABLE review(
  id TEXT PRIMARY KEY,
  session TEXT NOT NULL REFERENCES session(id),
  step TEXT NOT NULL,
  roles TEXT NOT NULL,
  bypassed_by TEXT NOT NULL,
  opened_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX review_by_session ON review(session);

-- The definition of each tool that was accepted.
CREATE TABLE tool_pin(
  tool TEXT PRIMARY KEY,
  digest TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Every append moved an entry of each to another page, and so cost more the more sessions there
-- are. Lists of sessions, which people ask for, read the table instead: 0.15 s of 100,000.
DROP INDEX session_by_update;
DROP INDEX session_by_status;

-- The body of a record may be removed, and nothing else of it: its hash stays in chain and tree.
DROP TRIGGER record_is_never_changed;
CREATE TRIGGER record_is_never_changed BEFORE UPDATE ON record
  WHEN NOT (length(NEW.body)=0 AND NEW.position=OLD.position AND NEW.session=OLD.session
    AND NEW.seq=OLD.seq AND NEW.hash=OLD.hash)
  BEGIN SELECT RAISE(ABORT, 'a record is never changed'); END;
"""

_STEPS = (_RECORDS, _RESERVATIONS, _AUDIT)
"""What leads from each version to the next, starting with an empty file; never changed again."""
SCHEMA_VERSION = len(_STEPS)


def open_writer(path: Path) -> apsw.Connection:
    """Open the store for writing, creating directory (0700), file (0600) and tables as needed.

    A store of an older version is brought up to this one.
    """
    require_sqlite(apsw.sqlite_lib_version())
    with store_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with maintenance_lock(path):
            return _opened_writer(path)


def ensure_store(path: Path) -> None:
    """Create or upgrade the store as needed, and check it; needs no write lock if it is right."""
    open_writer(path).close()


def open_reader(path: Path) -> apsw.Connection:
    """Open an existing store for reading; the connection cannot write.

    The store may be of an older version: it then lacks the tables of the later ones.
    """
    require_sqlite(apsw.sqlite_lib_version())
    with store_errors(path):
        if not path.exists():
            raise StoreError(f"there is no store {path} yet; `mcpuppet serve` makes it")
        return _closed_on_error(
            apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY), path, writing=False
        )


def empty_log(path: Path) -> bool:
    """Copy the whole write-ahead log into the file and cut it to nothing; whether that was done.

    The log holds pages as they were: only then is what was deleted gone from the disk.
    """
    with store_errors(path), maintenance_lock(path):
        connection = _opened_writer(path)
        try:
            ((busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.close()
    return busy == 0


def require_sqlite(version: str) -> None:
    """Raise StoreError if this SQLite (such as "3.51.3") may corrupt a shared file."""
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    if major * 1_000_000 + minor * 1_000 + patch < OLDEST_SQLITE:
        raise StoreError(
            f"SQLite {version} can corrupt a store that several processes share; "
            "3.51.3 or newer is needed: update the package apsw"
        )


def maintenance_lock(path: Path, *, wait: bool = True) -> filelock.BaseFileLock:
    """The OS lock for work on the file that only one process may do at a time."""
    timeout = BUSY_TIMEOUT_MS / 1000 if wait else 0
    return filelock.FileLock(f"{path}.lock", timeout=timeout, mode=0o600)


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into a StoreError that names the store."""
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise StoreError(f"the store {path} cannot be used: {_reason(error)}") from error


def _opened_writer(path: Path) -> apsw.Connection:
    # SQLite gives a new write-ahead log the permissions of the file, so they are set here first.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    return _closed_on_error(connection, path, writing=True)


def _closed_on_error(connection: apsw.Connection, path: Path, *, writing: bool) -> apsw.Connection:
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        if writing:
            _prepare_writer(connection, path)
        else:
            _required_version(connection, path)
    except (apsw.Error, StoreError):
        connection.close()
        raise
    return connection


def _prepare_writer(connection: apsw.Connection, path: Path) -> None:
    # The file is looked at before anything is changed: one that is not ours stays as it is.
    empty = _one(connection, "SELECT count(*) FROM sqlite_schema") == 0
    version = 0 if empty else _required_version(connection, path)
    if _one(connection, "PRAGMA journal_mode=WAL") != "wal":
        raise StoreError(f"the file system of {path} does not support SQLite's write-ahead log")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA secure_delete=ON")  # what is erased is overwritten
    connection.wal_autocheckpoint(0)  # see GroupWriter: one process at a time, under the lock
    if version < SCHEMA_VERSION:
        _upgrade(connection, version)


def _upgrade(connection: apsw.Connection, version: int) -> None:
    with connection:  # one transaction: the file is of the one version or the other
        for step in _STEPS[version:]:
            connection.execute(step)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _required_version(connection: apsw.Connection, path: Path) -> int:
    """The version of the store's tables, if they are a store's and this program knows them."""
    if _one(connection, "PRAGMA application_id") != APPLICATION_ID:
        raise StoreError(f"{path} is an SQLite file, but not an MCPuppet store")
    version = int(str(_one(connection, "PRAGMA user_version")))
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"the store {path} was written by a newer MCPuppet (format {version}); "
            f"this one reads formats up to {SCHEMA_VERSION}: update mcpuppet"
        )
    if version < 1:
        raise StoreError(
            f"the store {path} is damaged: it has no format {version}, they start at 1"
        )
    return version


def _one(connection: apsw.Connection, sql: str) -> apsw.SQLiteValue:
    ((value,),) = connection.execute(sql).fetchall()
    return value


def _reason(error: apsw.Error | OSError) -> str:
    match error:
        case apsw.BusyError():
            return f"another process kept it locked for over {BUSY_TIMEOUT_MS / 1000:g} s"
        case apsw.FullError():
            return "the disk is full"
        case filelock.Timeout():
            return f"another process kept {error.lock_file} for over {BUSY_TIMEOUT_MS / 1000:g} s"
        case OSError():
            return error.strerror or str(error)
    return str(error)
