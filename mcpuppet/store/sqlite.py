"""The embedded store: one SQLite file, which several processes may share.

Owns the statements that implement `protocol.Store`. Deliberately does not know how a transaction is
shared or made durable (`writer`), nor how the file comes into being (`sqlite_file`).

Constructing a store touches nothing; the first call opens the file. Reads run on the event loop, on
a connection of their own: each is a few index look-ups of some ten microseconds, a thread would
cost several times that, and SQLite shows such a connection only what is committed. A store belongs
to one event loop; `reader` may be used from any thread.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw

from mcpuppet.audit.reader import Disclosure
from mcpuppet.audit.record import Record, seal
from mcpuppet.errors import SessionChangedError, StoreError
from mcpuppet.session.admin_events import ADMINISTRATION
from mcpuppet.store import reservations
from mcpuppet.store import sqlite_reader as rows
from mcpuppet.store.beside import write_beside
from mcpuppet.store.protocol import (
    NEW_SESSION,
    ApprovalRow,
    Beside,
    Head,
    LockClaim,
    NewRecord,
    Reservations,
    ReviewRow,
    SessionIndex,
    SessionRow,
    StoredSession,
    UseClaim,
    User,
)
from mcpuppet.store.sqlite_file import empty_log, ensure_store, open_reader, store_errors
from mcpuppet.store.sqlite_reader import SqliteReader, open_view, to_micros
from mcpuppet.store.writer import GroupWriter

_OPEN_SESSION = (
    "INSERT INTO session(seq, head, state, principal, status, workflow, due, updated_at,"
    " opened_at, id) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING 0"
)
_MOVE = "UPDATE session SET seq=?, head=?, state=?, principal=?, status=?, workflow=?, updated_at=?"
_FROM_HEAD = " WHERE id=? AND seq=? AND head=? AND status<>'pruned'"
_HAS_OPEN = (
    " RETURNING EXISTS(SELECT 1 FROM approval WHERE approval.session=session.id)"
    " OR EXISTS(SELECT 1 FROM review WHERE review.session=session.id)"
)
# Most appends leave `due` as it was, and then need not write its index.
_MOVE_SESSION = f"{_MOVE}{_FROM_HEAD} AND due IS ?{_HAS_OPEN}"
_MOVE_SESSION_AND_DUE = f"{_MOVE}, due=?{_FROM_HEAD}{_HAS_OPEN}"
_NEWEST_SESSIONS = (
    "SELECT id, principal, status, workflow, seq, opened_at, updated_at, due FROM session"
    " WHERE id<>? ORDER BY updated_at DESC LIMIT ?"
)
_NEWEST_SESSIONS_OF_STATUS = (
    "SELECT id, principal, status, workflow, seq, opened_at, updated_at, due FROM session"
    " WHERE status=? AND id<>? ORDER BY updated_at DESC LIMIT ?"
)


class SqliteStore:
    """Implements `protocol.Store`; its methods are documented there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = GroupWriter(path)
        self._reading: apsw.Connection | None = None

    async def load(self, session_id: str) -> StoredSession | None:
        sql = "SELECT id, seq, head, state FROM session WHERE id=?"
        found = await self._read(sql, session_id)
        return rows.stored_session(found[0]) if found else None

    async def head(self, session_id: str) -> Head | None:
        found = await self._read("SELECT seq, head FROM session WHERE id=?", session_id)
        return Head(*found[0]) if found else None

    async def append(
        self,
        session_id: str,
        expect: Head,
        records: Sequence[NewRecord],
        state: bytes,
        index: SessionIndex,
        *,
        claims: Sequence[UseClaim | LockClaim] = (),
        releases: Collection[str] = (),
        beside: Sequence[Beside] = (),
    ) -> Head:
        if not records:
            raise ValueError("an append without a record would change a session unrecorded")
        sealed = _sealed(session_id, expect, records)
        times = (to_micros(records[0].at), to_micros(records[-1].at))
        head = Head(sealed[-1].seq, sealed[-1].hash)

        def job(connection: apsw.Connection) -> Head:
            had_open = _move(connection, session_id, expect, head, state, index, times)
            _insert_records(connection, sealed)
            if had_open or index.open_approvals or index.open_reviews:
                _replace_approvals(connection, session_id, index.open_approvals)
                _replace_reviews(connection, session_id, index.open_reviews)
            reservations.release(connection, session_id, releases)
            reservations.claim(connection, session_id, expect.seq, claims)
            for row in beside:
                write_beside(connection, row)
            return head

        return await self._writer.run(job)

    async def reservations(
        self, uses: Mapping[str, datetime | None], locks: Collection[str]
    ) -> Reservations:
        connection = await self._connected()
        with store_errors(self._path):
            return reservations.read(connection, uses, locks)

    async def put_workflow(self, workflow_hash: str, name: str, version: str, text: str) -> None:
        kept = await self.workflow_text(workflow_hash)
        if kept == text:
            return
        if kept is not None:
            raise StoreError(f"another text is kept under the workflow hash {workflow_hash}")
        await self._writer.run(
            lambda connection: connection.execute(
                "INSERT INTO workflow(hash, name, version, text) VALUES(?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (workflow_hash, name, version, text),
            ).fetchall()
        )

    async def workflow_text(self, workflow_hash: str) -> str | None:
        found = await self._read("SELECT text FROM workflow WHERE hash=?", workflow_hash)
        return str(found[0][0]) if found else None

    async def sessions(self, *, limit: int, status: str | None = None) -> list[SessionRow]:
        found = (
            await self._read(_NEWEST_SESSIONS, ADMINISTRATION, limit)
            if status is None
            else await self._read(_NEWEST_SESSIONS_OF_STATUS, status, ADMINISTRATION, limit)
        )
        return [rows.session_row(row) for row in found]

    async def open_approvals(self) -> list[tuple[str, ApprovalRow]]:
        sql = "SELECT session, id, step, roles, opened_at, expires_at FROM approval"
        found = await self._read(f"{sql} ORDER BY opened_at, id")
        return [rows.approval_row(row) for row in found]

    async def approval_session(self, approval_id: str) -> str | None:
        found = await self._read("SELECT session FROM approval WHERE id=?", approval_id)
        return str(found[0][0]) if found else None

    async def due_sessions(self, now: datetime, limit: int) -> list[str]:
        sql = "SELECT id FROM session WHERE due<=? ORDER BY due LIMIT ?"
        return [session_id for (session_id,) in await self._read(sql, to_micros(now), limit)]

    async def open_reviews(self) -> list[tuple[str, ReviewRow]]:
        sql = "SELECT session, id, step, roles, bypassed_by, opened_at, due_at FROM review"
        return [rows.review_row(row) for row in await self._read(f"{sql} ORDER BY due_at, id")]

    async def review_session(self, review_id: str) -> str | None:
        found = await self._read("SELECT session FROM review WHERE id=?", review_id)
        return str(found[0][0]) if found else None

    async def disclosures(self, session_id: str) -> list[Disclosure]:
        found = await self._read(rows.SELECT_DISCLOSURES, session_id)
        return [rows.disclosure(session_id, row) for row in found]

    async def forget(self) -> bool:
        self._writer.require_open()
        return await asyncio.to_thread(empty_log, self._path)

    async def pins(self) -> dict[str, str]:
        return dict(await self._read("SELECT tool, digest FROM tool_pin"))

    async def users(self) -> list[User]:
        sql = "SELECT name, roles, token_hash, disabled, created_at FROM user ORDER BY name"
        return [rows.user(row) for row in await self._read(sql)]

    async def user_by_token_hash(self, token_hash: bytes) -> User | None:
        sql = "SELECT name, roles, token_hash, disabled, created_at FROM user WHERE token_hash=?"
        found = await self._read(sql, token_hash)
        return rows.user(found[0]) if found else None

    async def data_version(self) -> int:
        ((version,),) = await self._read("PRAGMA data_version")
        return int(version)

    def reader(self) -> AbstractContextManager[SqliteReader]:
        return open_view(self._path)

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.close()
            self._reading = None
        await self._writer.close()

    async def _read(self, sql: str, *values: apsw.SQLiteValue) -> list[Any]:
        """All rows at once: a cursor left half-read would hold on to an old view of the file."""
        connection = await self._connected()
        with store_errors(self._path):
            return connection.execute(sql, values).fetchall()

    async def _connected(self) -> apsw.Connection:
        if self._reading is None:
            self._reading = await self._open()
        return self._reading

    async def _open(self) -> apsw.Connection:
        self._writer.require_open()
        # Not the writer's task: a first read must not wait for another process's transaction.
        await asyncio.to_thread(ensure_store, self._path)
        self._writer.require_open()
        return self._reading or open_reader(self._path)


def _sealed(session_id: str, expect: Head, records: Sequence[NewRecord]) -> list[Record]:
    sealed: list[Record] = []
    seq, prev = expect.seq, expect.hash
    for new in records:
        record = seal(session_id, seq + 1, prev, new.kind, new.at, new.data)
        seq, prev = record.seq, record.hash
        sealed.append(record)
    return sealed


def _move(
    connection: apsw.Connection,
    session_id: str,
    expect: Head,
    head: Head,
    state: bytes,
    index: SessionIndex,
    times: tuple[int, int],
) -> bool:
    """Move the session from `expect` to `head`, creating it if new.

    `times` are those of the first and the last record that are appended. Returns whether approvals
    or reviews were open before; raises SessionChangedError if the session is elsewhere.
    """
    opened_at, updated_at = times
    due = None if index.due is None else to_micros(index.due)
    shared = (head.seq, head.hash, state, index.principal, index.status, index.workflow)
    if expect == NEW_SESSION:
        opened = (*shared, due, updated_at, opened_at, session_id)
        moved = connection.execute(_OPEN_SESSION, opened).fetchall()
    else:
        # A head of seq 0 that is not NEW_SESSION is no session's, so it is refused here.
        at = (session_id, expect.seq, expect.hash)
        moved = connection.execute(_MOVE_SESSION, (*shared, updated_at, *at, due)).fetchall()
        if not moved:
            due_too = (*shared, updated_at, due, *at)
            moved = connection.execute(_MOVE_SESSION_AND_DUE, due_too).fetchall()
    if not moved:
        raise SessionChangedError(session_id, expect.seq)
    ((had_open,),) = moved
    return bool(had_open)


def _insert_records(connection: apsw.Connection, sealed: Sequence[Record]) -> None:
    connection.executemany(
        "INSERT INTO record(session, seq, body, hash) VALUES(?, ?, ?, ?)",
        [(record.session_id, record.seq, record.body, record.hash) for record in sealed],
    )


def _replace_approvals(
    connection: apsw.Connection, session_id: str, approvals: Sequence[ApprovalRow]
) -> None:
    connection.execute("DELETE FROM approval WHERE session=?", (session_id,))
    for row in approvals:
        expires_at = None if row.expires_at is None else to_micros(row.expires_at)
        connection.execute(
            "INSERT INTO approval(id, session, step, roles, opened_at, expires_at)"
            " VALUES(?, ?, ?, ?, ?, ?)",
            (
                row.approval_id,
                session_id,
                row.step,
                json.dumps(row.roles),
                to_micros(row.opened_at),
                expires_at,
            ),
        )


def _replace_reviews(
    connection: apsw.Connection, session_id: str, reviews: Sequence[ReviewRow]
) -> None:
    connection.execute("DELETE FROM review WHERE session=?", (session_id,))
    for row in reviews:
        roles, times = json.dumps(row.roles), (to_micros(row.opened_at), to_micros(row.due_at))
        connection.execute(
            "INSERT INTO review(id, session, step, roles, bypassed_by, opened_at, due_at)"
            " VALUES(?, ?, ?, ?, ?, ?, ?)",
            (row.review_id, session_id, row.step, roles, row.bypassed_by, *times),
        )
