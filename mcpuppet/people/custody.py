"""Custody of the audit trail: its signing key, and how long its contents are kept.

Owns who may make the key, and which sessions may be pruned. A pruned session keeps the hash of each
record, in its chain and in the tree; contents, state and disclosed values are gone for good. The
administration log is never pruned, and says who did what.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from mcpuppet.audit.log import AuditLog
from mcpuppet.audit.pruning import Remains
from mcpuppet.audit.record import Record, open_record
from mcpuppet.errors import AuditError, InvalidInputError, NotAuthorisedError
from mcpuppet.ledger import Ledger
from mcpuppet.people.deciding import ADMIN, Person
from mcpuppet.session.admin_events import RecordsPruned, SigningKeyCreated
from mcpuppet.session.snapshot import load_state
from mcpuppet.store.protocol import Pruning, SessionRow, Store

AUDITOR = "auditor"
"""The role of those who may read values that the records hold only commitments to."""
KEEP_AT_LEAST = timedelta(days=184)
"""Six months, of which none are longer: Regulation (EU) 2024/1689, Articles 19(1) and 26(6)."""
_PER_RECORD = 200
"""Sessions that are pruned in one transaction and named in one record."""
_EVERY = 2**62
"""More sessions than a store can hold."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed."""

    sessions: int
    records: int
    clean: bool
    """Whether nothing of it is left in the store's files; else other processes are reading."""


class Custody:
    """What admins do with the audit trail itself."""

    def __init__(self, ledger: Ledger, store: Store, log: AuditLog, settings_hash: str) -> None:
        self._ledger = ledger
        self._store = store
        self._log = log
        self._settings_hash = settings_hash

    async def create_key(self, name: str, by: Person | None) -> str:
        """Make the key that signs checkpoints, sign the first one, and give the public half.

        Until the store has its first person anybody may, `by` None; after that an admin. Raises
        NotAuthorisedError, and InvalidInputError if there is a key already or `name` cannot be one.
        """
        if await self._store.users():
            _require_admin(by, "make the signing key")
        with self._log.new_key(name) as key:
            created = SigningKeyCreated(key.verifier_key, "" if by is None else by.name)
            await self._ledger.administer(created, settings=self._settings_hash)
        await asyncio.to_thread(self._log.checkpoint)
        return key.verifier_key

    def check(self, before: datetime, by: Person, reason: str, *, young: bool) -> None:
        """Raise unless this person may prune what is older than `before`, for this reason.

        `young` says that they know that it is younger than `KEEP_AT_LEAST`. Raises
        NotAuthorisedError and InvalidInputError.
        """
        _require_admin(by, "prune records")
        if not reason.strip():
            raise InvalidInputError('pruning needs a reason for the audit trail: --reason "..."')
        now = self._ledger.source().now
        if before >= now:
            raise InvalidInputError("only what lies in the past can be pruned: name an earlier day")
        if before > now - KEEP_AT_LEAST and not young:
            raise InvalidInputError(
                f"records younger than {KEEP_AT_LEAST.days} days are kept: the EU AI Act asks for "
                "six months at least (Articles 19 and 26(6)); --force prunes them all the same"
            )

    async def candidates(self, before: datetime) -> list[SessionRow]:
        """The sessions whose last record is older than `before`, and that wait for nothing."""
        rows = await self._store.sessions(limit=_EVERY)
        old = [one for one in rows if one.updated_at < before and one.status != "pruned"]
        done = [one for one in old if one.due is None and await self._has_ended(one.session_id)]
        return await asyncio.to_thread(self._last_recorded_before, done, before)

    def _last_recorded_before(
        self, rows: Sequence[SessionRow], before: datetime
    ) -> list[SessionRow]:
        """Those whose last record says so too: the list of sessions is in nobody's log."""
        with self._store.reader() as reader:
            return [one for one in rows if _is_older(reader.records(one.session_id), before)]

    async def _has_ended(self, session_id: str) -> bool:
        stored = await self._store.load(session_id)
        if stored is None:
            return False
        state = load_state(stored.state)
        return not (state.active_run or state.calls or state.reviews)

    async def prune(
        self, rows: Sequence[SessionRow], before: datetime, by: Person, reason: str
    ) -> Pruned:
        """Remove the contents of these sessions, and say so in the administration log.

        What `check` refuses must not come here. Where there is a key, what is to be pruned is
        signed before, and that it was pruned afterwards. Raises StoreError if one of the sessions
        went on meanwhile; what was pruned until then stays pruned.
        """
        await self._sign()
        records = 0
        for part in _parts(rows):
            ids = tuple(one.session_id for one in part)
            remains = await asyncio.to_thread(self._remains, ids)
            count = sum(one.records for one in remains)
            covers = tuple(map(str, remains))
            told = RecordsPruned(before, len(ids), count, by.name, reason.strip(), covers)
            await self._ledger.administer(told, [Pruning(ids, before)], self._settings_hash)
            records += count
        await self._sign()
        return Pruned(len(rows), records, await self._store.forget())

    async def _sign(self) -> None:
        if self._log.is_signed:
            await asyncio.to_thread(self._log.checkpoint)

    def _remains(self, session_ids: Sequence[str]) -> list[Remains]:
        with self._store.reader() as reader:
            return [Remains.of(one, reader.records(one)) for one in session_ids]


def _is_older(records: Iterable[Record], before: datetime) -> bool:
    """Whether the last of these records is; of one that cannot be read nobody knows."""
    last = next(iter(deque(records, maxlen=1)), None)
    try:
        return last is not None and open_record(last.body).at < before
    except AuditError:
        return False


def _require_admin(person: Person | None, to_do: str) -> None:
    if person is None or ADMIN not in person.roles:
        raise NotAuthorisedError(f"only a person with the role {ADMIN} may {to_do}")


def _parts(rows: Sequence[SessionRow]) -> Iterator[list[SessionRow]]:
    rest = iter(rows)
    while part := list(islice(rest, _PER_RECORD)):
        yield part
