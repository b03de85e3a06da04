"""What is read of the SQLite file: the audit's unchanging view, and rows turned into values.

Owns how columns map to values. Deliberately writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw

from mcpuppet.audit.reader import Disclosure, KnownUser
from mcpuppet.audit.record import Record
from mcpuppet.errors import StoreError
from mcpuppet.store.protocol import (
    ApprovalRow,
    Head,
    ReviewRow,
    SessionRow,
    StoredSession,
    User,
)
from mcpuppet.store.sqlite_file import open_reader, store_errors

Row = tuple[Any, ...]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_OBSERVED = b'"would_have_denied":[{'
"""What the body of a call that observing rules objected to holds; `audit.record.seal` writes it."""


def to_micros(at: datetime) -> int:
    """Microseconds since 1970 in UTC, exactly; `at` is aware."""
    return (at - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The inverse of `to_micros`."""
    return _EPOCH + micros * _MICROSECOND


@contextmanager
def open_view(path: Path) -> Iterator[SqliteReader]:
    """An unchanging view of an existing store; raises StoreError if there is none at `path`.

    While it is open the store's write-ahead log can only grow.
    """
    connection = open_reader(path)
    try:
        with store_errors(path):
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM session LIMIT 1").fetchall()  # the view is as of now
        yield SqliteReader(connection, path)
    finally:
        connection.close()


class SqliteReader:
    """Implements `audit.reader.SessionReader` on one connection, in one read transaction."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def session_ids(self) -> Iterator[str]:
        """All sessions, also those of which only records are left; in ascending order."""
        for (session_id,) in self._rows(
            "SELECT id FROM session UNION SELECT session FROM record ORDER BY 1"
        ):
            yield session_id

    def records(self, session_id: str) -> Iterator[Record]:
        """The session's records as they are stored, in ascending seq."""
        sql = "SELECT seq, body, hash FROM record WHERE session=? ORDER BY seq"
        with store_errors(self._path):  # not through `_rows`: every audit passes here
            for seq, body, digest in self._connection.execute(sql, (session_id,)):
                yield Record(session_id, seq, body, digest)

    def observed(self, session_id: str | None = None) -> Iterator[Record]:
        """The records that may tell of rules which only observed, in the order of commits.

        Found by the bytes that such a body has: one pass over the records, none of them parsed.
        """
        sql = "SELECT session, seq, body, hash FROM record WHERE instr(body, ?)"
        values: tuple[apsw.SQLiteValue, ...] = (_OBSERVED,)
        if session_id is not None:
            sql, values = f"{sql} AND session=?", (_OBSERVED, session_id)
        for session, seq, body, digest in self._rows(f"{sql} ORDER BY position", *values):
            yield Record(session, seq, body, digest)

    def size(self) -> int:
        """How many records there are: positions have no gaps, for a record is never deleted."""
        row = self._first("SELECT count(*), min(position), max(position) FROM record")
        count, first, last = row
        if count and (first, last) != (1, count):
            raise StoreError(
                f"{self._path}: {count} records lie at the positions {first} to {last}, and not at "
                f"1 to {count}"
            )
        return int(count)

    def leaves(self, start: int = 0) -> Iterator[bytes]:
        """The hashes of the records, in the order of commits, from leaf `start` on."""
        sql = "SELECT hash FROM record WHERE position>? ORDER BY position"
        for (digest,) in self._rows(sql, start):
            yield digest

    def log(self, start: int = 0) -> Iterator[tuple[int, Record]]:
        """Each record with its leaf, in the order of commits, from leaf `start` on."""
        sql = "SELECT position, session, seq, body, hash FROM record WHERE position>?"
        for position, session, seq, body, digest in self._rows(f"{sql} ORDER BY position", start):
            yield position - 1, Record(session, seq, body, digest)

    def session_log(self, session_id: str) -> Iterator[tuple[int, Record]]:
        """The session's records with their leaves, in ascending seq."""
        sql = "SELECT position, seq, body, hash FROM record WHERE session=? ORDER BY seq"
        for position, seq, body, digest in self._rows(sql, session_id):
            yield position - 1, Record(session_id, seq, body, digest)

    def workflow_texts(self) -> Iterator[tuple[str, str]]:
        """Content hash and text of every workflow that is kept."""
        yield from self._rows("SELECT hash, text FROM workflow ORDER BY hash")

    def disclosures(self, session_id: str) -> Iterator[Disclosure]:
        """The values behind the session's commitments; none in a store of an older version."""
        if not self._has("disclosure"):
            return
        for row in self._rows(SELECT_DISCLOSURES, session_id):
            yield disclosure(session_id, row)

    def pins(self) -> dict[str, str]:
        """The accepted digest of each pinned tool; none in a store of an older version."""
        if not self._has("tool_pin"):
            return {}
        return dict(self._rows("SELECT tool, digest FROM tool_pin"))

    def users(self) -> Iterator[KnownUser]:
        """Everybody who was given a token, by name."""
        sql = "SELECT name, roles, token_hash, disabled, created_at FROM user ORDER BY name"
        for row in self._rows(sql):
            known = user(row)
            yield KnownUser(known.name, known.roles, known.token_hash.hex(), known.disabled)

    def head(self, session_id: str) -> tuple[int, bytes] | None:
        """The (seq, hash) kept with the session, apart from its records."""
        row = self._first("SELECT seq, head FROM session WHERE id=?", session_id)
        return (row[0], row[1]) if row else None

    def snapshot(self, session_id: str) -> bytes | None:
        """The session's stored state."""
        row = self._first("SELECT state FROM session WHERE id=?", session_id)
        return row[0] if row else None

    def workflow_text(self, workflow_hash: str) -> str | None:
        """The text of the workflow with this content hash."""
        row = self._first("SELECT text FROM workflow WHERE hash=?", workflow_hash)
        return row[0] if row else None

    def _has(self, table: str) -> bool:
        return self._first("SELECT 1 FROM sqlite_schema WHERE name=?", table) is not None

    def _rows(self, sql: str, *values: apsw.SQLiteValue) -> Iterator[Any]:
        with store_errors(self._path):
            yield from self._connection.execute(sql, values)

    def _first(self, sql: str, *values: apsw.SQLiteValue) -> Any:
        return next(iter(list(self._rows(sql, *values))), None)


def stored_session(row: Row) -> StoredSession:
    """Read the columns id, seq, head, state."""
    session_id, seq, head, state = row
    return StoredSession(session_id, Head(seq, head), state)


def session_row(row: Row) -> SessionRow:
    """Read the columns id, principal, status, workflow, seq, opened_at, updated_at, due."""
    session_id, principal, status, workflow, seq, opened_at, updated_at, due = row
    opened, updated = from_micros(opened_at), from_micros(updated_at)
    return SessionRow(session_id, principal, status, workflow, seq, opened, updated, _optional(due))


def approval_row(row: Row) -> tuple[str, ApprovalRow]:
    """Read the columns session, id, step, roles, opened_at, expires_at."""
    session_id, approval_id, step, roles, opened_at, expires_at = row
    opened, expires = from_micros(opened_at), _optional(expires_at)
    return session_id, ApprovalRow(approval_id, step, tuple(json.loads(roles)), opened, expires)


SELECT_DISCLOSURES = (
    "SELECT commitment, salt, value FROM disclosure WHERE session=? ORDER BY commitment"
)


def disclosure(session_id: str, row: Row) -> Disclosure:
    """Read the columns commitment, salt, value."""
    commitment, salt, value = row
    return Disclosure(session_id, commitment, salt, json.loads(value))


def review_row(row: Row) -> tuple[str, ReviewRow]:
    """Read the columns session, id, step, roles, bypassed_by, opened_at, due_at."""
    session_id, review_id, step, roles, bypassed_by, opened_at, due_at = row
    opened, due = from_micros(opened_at), from_micros(due_at)
    return session_id, ReviewRow(
        review_id, step, tuple(json.loads(roles)), bypassed_by, opened, due
    )


def user(row: Row) -> User:
    """Read the columns name, roles, token_hash, disabled, created_at."""
    name, roles, token_hash, disabled, created_at = row
    return User(name, tuple(json.loads(roles)), token_hash, bool(disabled), from_micros(created_at))


def _optional(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
