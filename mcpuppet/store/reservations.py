"""Uses that are counted and locks that are held, across all sessions, in the SQLite file.

Owns how a claim is compared with what is stored and written beside it. The writer's transaction
makes the two one step: whoever else claims the same comes wholly before or after. Deliberately does
not know which rules ask for claims, nor what to do when one is refused.

Nothing here is part of the audit trail. A use is a row as long as the store lives, so that the rows
are never more than the records they were written with; a key that counts for ever is one row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import apsw

from mcpuppet.errors import ClaimRefusedError
from mcpuppet.session import amounts
from mcpuppet.store.protocol import LockClaim, LockHolder, Reservations, Use, UseClaim
from mcpuppet.store.sqlite_reader import from_micros, to_micros

_COUNT = "SELECT count(*) FROM counted_use WHERE key=? AND at>?"
# Uses of 1, which there can be thousands of, are only counted. The others come as one text: many
# rows would cost several times as much.
_OTHER_AMOUNTS = (
    "SELECT coalesce(group_concat(amount, ' '), '')"
    " FROM counted_use INDEXED BY counted_use_other WHERE key=? AND at>? AND amount<>'1'"
)
_ADD_USE = (
    "INSERT INTO counted_use(key, at, n, amount) SELECT ?1, ?2, coalesce(max(n), 0) + 1, ?3"
    " FROM counted_use WHERE key=?1 AND at=?2"
)
_SET_TOTAL = (
    "INSERT INTO counted_total(key, at, amount) VALUES(?, ?, ?)"
    " ON CONFLICT(key) DO UPDATE SET at=max(at, excluded.at), amount=excluded.amount"
)
_HOLD = (
    "INSERT INTO held_lock(key, session, call) VALUES(?, ?, ?) ON CONFLICT(key) DO UPDATE"
    " SET call=call WHERE session=excluded.session AND call=excluded.call RETURNING 1"
)
_RELEASE = "DELETE FROM held_lock WHERE key=? AND session=?"

_USES = "SELECT at, amount FROM counted_use WHERE key=? AND at>? ORDER BY at, n"
_TOTAL = "SELECT at, amount FROM counted_total WHERE key=?"
_HOLDER = "SELECT session, call FROM held_lock WHERE key=?"


def claim(
    connection: apsw.Connection,
    session_id: str,
    expected_seq: int,
    claims: Sequence[UseClaim | LockClaim],
) -> None:
    """Write the claims in order, each compared with those before it too.

    Raises ClaimRefusedError at the first that does not hold; the caller undoes the others.
    """
    for wanted in claims:
        if not _granted(connection, session_id, wanted):
            raise ClaimRefusedError(session_id, expected_seq, wanted.key)


def release(connection: apsw.Connection, session_id: str, keys: Collection[str]) -> None:
    """Delete those locks of these keys that the session holds."""
    connection.executemany(_RELEASE, [(key, session_id) for key in keys])


def read(
    connection: apsw.Connection, uses: Mapping[str, datetime | None], locks: Collection[str]
) -> Reservations:
    """What is reserved under these keys, all at one moment; see `protocol.Store.reservations`."""
    with connection:  # one transaction, so one view of the file
        counted = {key: _uses(connection, key, since) for key, since in uses.items()}
        holders = {key: _holder(connection, key) for key in locks}
    held = {key: holder for key, holder in holders.items() if holder is not None}
    return Reservations(counted, held)


def _granted(connection: apsw.Connection, session_id: str, wanted: UseClaim | LockClaim) -> bool:
    if isinstance(wanted, LockClaim):
        return bool(_rows(connection, _HOLD, wanted.key, session_id, wanted.call_id))
    if wanted.since is None:
        return _counted_for_ever(connection, wanted)
    return _counted_in_window(connection, wanted, wanted.since)


def _counted_in_window(connection: apsw.Connection, wanted: UseClaim, since: datetime) -> bool:
    # What lies after `at` counts too: a clock that was set back must not free what was used. Nor is
    # a use that is outside of this window ever deleted: another clock, or an older file with a
    # longer period, may still count it.
    if wanted.at_most is not None:
        used = _sum_of_window(connection, wanted.key, since)
        if amounts.total((used, wanted.amount)) > wanted.at_most:
            return False
    use = (wanted.key, to_micros(wanted.at), amounts.amount_text(wanted.amount))
    connection.execute(_ADD_USE, use)
    return True


def _sum_of_window(connection: apsw.Connection, key: str, since: datetime) -> Decimal:
    ((uses,),) = _rows(connection, _COUNT, key, to_micros(since))
    ((text,),) = _rows(connection, _OTHER_AMOUNTS, key, to_micros(since))
    others = [Decimal(amount) for amount in text.split()]
    return amounts.total((*others, Decimal(uses - len(others))))


def _counted_for_ever(connection: apsw.Connection, wanted: UseClaim) -> bool:
    used = [Decimal(amount) for _, amount in _rows(connection, _TOTAL, wanted.key)]
    total = amounts.total((*used, wanted.amount))
    if wanted.at_most is not None and total > wanted.at_most:
        return False
    connection.execute(_SET_TOTAL, (wanted.key, to_micros(wanted.at), amounts.amount_text(total)))
    return True


def _uses(connection: apsw.Connection, key: str, since: datetime | None) -> tuple[Use, ...]:
    found = (
        _rows(connection, _TOTAL, key)
        if since is None
        else _rows(connection, _USES, key, to_micros(since))
    )
    return tuple(Use(from_micros(at), Decimal(amount)) for at, amount in found)


def _holder(connection: apsw.Connection, key: str) -> LockHolder | None:
    found = _rows(connection, _HOLDER, key)
    return LockHolder(*found[0]) if found else None


def _rows(connection: apsw.Connection, sql: str, *values: apsw.SQLiteValue) -> list[Any]:
    return connection.execute(sql, values).fetchall()
