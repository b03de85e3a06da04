"""What is written beside records, in their transaction: users, pins, disclosures, and removals.

Owns how each becomes rows. Deliberately does not know which record tells of it.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import assert_never

import apsw

from mcpuppet.errors import StoreError
from mcpuppet.store.protocol import Beside, Disclosure, Erasure, Pin, Pruning, User
from mcpuppet.store.sqlite_reader import to_micros

_PUT_USER = (
    "INSERT INTO user(name, roles, token_hash, disabled, created_at) VALUES(?, ?, ?, ?, ?)"
    " ON CONFLICT(name) DO UPDATE SET roles=excluded.roles, token_hash=excluded.token_hash,"
    " disabled=excluded.disabled, created_at=excluded.created_at"
)
_PUT_PIN = (
    "INSERT INTO tool_pin(tool, digest) VALUES(?, ?)"
    " ON CONFLICT(tool) DO UPDATE SET digest=excluded.digest"
)
_PUT_FIRST_PIN = "INSERT INTO tool_pin(tool, digest) VALUES(?, ?) ON CONFLICT DO NOTHING"
_PUT_DISCLOSURE = (
    "INSERT INTO disclosure(session, commitment, salt, value) VALUES(?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)
_ERASE = "DELETE FROM disclosure WHERE session=? AND commitment=?"
_OLDER = "SELECT 1 FROM session WHERE id=? AND updated_at<?"
_PRUNE = (
    "UPDATE record SET body=x'' WHERE session=?",
    "DELETE FROM disclosure WHERE session=?",
    "UPDATE session SET state=x'', status='pruned' WHERE id=?",
)


def write_beside(connection: apsw.Connection, row: Beside) -> None:
    """Write one thing; the caller owns the transaction."""
    match row:
        case User():
            values = (row.token_hash, row.disabled, to_micros(row.created_at))
            connection.execute(_PUT_USER, (row.name, json.dumps(row.roles), *values))
        case Pin():
            sql = _PUT_FIRST_PIN if row.first else _PUT_PIN
            connection.execute(sql, (row.tool, row.digest))
        case Disclosure():
            kept = (row.commitment, row.salt, json.dumps(row.value))
            connection.execute(_PUT_DISCLOSURE, (row.session_id, *kept))
        case Erasure():
            connection.executemany(_ERASE, [(row.session_id, one) for one in row.commitments])
        case Pruning():
            for session_id in row.session_ids:
                _prune(connection, session_id, row.before)
        case _:
            assert_never(row)


def _prune(connection: apsw.Connection, session_id: str, before: datetime | None) -> None:
    if before is not None:
        # Only the transaction can know: the session may have gone on since it was chosen.
        older = connection.execute(_OLDER, (session_id, to_micros(before))).fetchall()
        if not older:
            raise StoreError(f"session {session_id!r} went on meanwhile: nothing was pruned")
    for sql in _PRUNE:
        connection.execute(sql, (session_id,))
