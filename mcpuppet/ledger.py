"""Sessions as they are now, and the only way to change one.

Every change is: load the state, work out events from it (a plain function of `Progress`), and
append them with the state they lead to, in one durable transaction that fails if anybody else
appended first. Then it is worked out again. What time has brought about, and calls whose gateway
process has died, are written down before anything else is decided.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from weakref import WeakValueDictionary

from mcpuppet.audit.history import fold_records
from mcpuppet.audit.record import open_record
from mcpuppet.errors import (
    PrunedSessionError,
    SessionChangedError,
    StoreError,
    UnknownSessionError,
)
from mcpuppet.library import Library
from mcpuppet.redaction.secrets import KNOWN_KEYS, Scrubber
from mcpuppet.redaction.vault import Vault
from mcpuppet.session.admin_events import ADMINISTRATION, AdminEvent, ValuesErased
from mcpuppet.session.call import Principal
from mcpuppet.session.consequences import FAILING_LASTS, Progress, Source, stale_at
from mcpuppet.session.events import CallStarted, event_kind
from mcpuppet.session.fate import next_reading
from mcpuppet.session.outcome import Unknown
from mcpuppet.session.recording import Recorder
from mcpuppet.session.reservations import Reserved, keys_of
from mcpuppet.session.snapshot import dump_state, load_state
from mcpuppet.session.state import SessionState
from mcpuppet.store.nodes import Nodes
from mcpuppet.store.protocol import (
    NEW_SESSION,
    ApprovalRow,
    Beside,
    Erasure,
    Head,
    LockClaim,
    NewRecord,
    ReviewRow,
    SessionIndex,
    Store,
    UseClaim,
)
from mcpuppet.workflow.compiled import CompiledRules, CompiledWorkflow, Rulebook
from mcpuppet.workflow.sensitive import NOTHING, Sensitive

ResultT = TypeVar("ResultT")

CACHED_SESSIONS = 256
MOST_CONFLICTS = 50
"""How often a change is worked out again before the session counts as too contended."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A session at one moment, and the workflow of its latest run."""

    head: Head
    state: SessionState
    workflow: CompiledWorkflow | None
    rules: CompiledRules | None
    """The rules file that governs it, if one does."""
    vault: Vault
    """The values that its records do not show."""


class Ledger:
    """Loads sessions and appends to them; several processes may do so at once."""

    def __init__(
        self,
        store: Store,
        library: Library,
        nodes: Nodes,
        node_id: str,
        clock: Callable[[], datetime],
        new_id: Callable[[str], str],
        jitter: Callable[[], float],
        *,
        scrubber: Scrubber = KNOWN_KEYS,
        of_tool: Callable[[str], Sensitive] = lambda _: NOTHING,
    ) -> None:
        self.library = library
        self.in_flight: set[str] = set()
        """Calls that this process has sent and not yet answered."""
        self._store = store
        self._nodes = nodes
        self._node_id = node_id
        self._joined = False
        self._clock = clock
        self._new_id = new_id
        self._jitter = jitter
        self._scrubber = scrubber
        self._of_tool = of_tool
        self._cache: OrderedDict[str, Loaded] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def join(self) -> None:
        """Let other processes see that this one is alive, before it owns a call."""
        if not self._joined:
            self._nodes.join()
            self._joined = True

    def source(self) -> Source:
        """The present moment, and where ids and jitter come from."""
        return Source(self._clock(), self._new_id, self._jitter)

    async def load(self, session_id: str) -> Loaded | None:
        """The session as it is stored; what time has brought about since is not in it."""
        cached = self._cache.get(session_id)
        if cached is not None and await self._store.head(session_id) == cached.head:
            return cached
        stored = await self._store.load(session_id)
        if stored is None:
            return None
        if not stored.state:
            raise PrunedSessionError(session_id)
        state = load_state(stored.state)
        workflow = None if state.run is None else await self.library.by_hash(state.run.hash)
        rules = None if state.rules is None else await self.library.rules_by_hash(state.rules.hash)
        vault = Vault(session_id, await self._store.disclosures(session_id))
        return self._remember(session_id, Loaded(stored.head, state, workflow, rules, vault))

    async def look(self, session_id: str) -> Progress | None:
        """The session as it is now, deadlines included; nothing is written."""
        loaded = await self.load(session_id)
        if loaded is None:
            return None
        wanted = _Wanted()
        wanted.add_keys(loaded.state, _books(loaded), self._clock())
        return self._progress(session_id, loaded, await self._reserved(wanted))

    async def change(
        self,
        session_id: str,
        work: Callable[[Progress], ResultT],
        beside: Callable[[ResultT], Sequence[Beside]] | None = None,
    ) -> tuple[ResultT, Progress]:
        """Work out events from the session as it is now, and append them.

        `work` may be called several times, as others may append first; it has no effect but on the
        `Progress` it is given. What `beside` gives for its result is written with the events.
        Raises StoreError when the events could not be made durable.
        """
        wanted = _Wanted()
        async with self._exclusive(session_id):
            for _ in range(MOST_CONFLICTS):
                loaded = await self.load(session_id)
                if loaded is not None:
                    wanted.add_keys(loaded.state, _books(loaded), self._clock())
                progress = self._progress(session_id, loaded, await self._reserved(wanted))
                result = work(progress)
                if wanted.lacks(progress):
                    continue
                if not progress.events:
                    return result, progress
                try:
                    await self._append(progress, loaded, beside(result) if beside else ())
                except SessionChangedError:
                    self._cache.pop(session_id, None)
                else:
                    return result, progress
        raise StoreError(f"session {session_id!r} is changed by others all the time")

    @asynccontextmanager
    async def _exclusive(self, session_id: str) -> AsyncIterator[None]:
        """One change at a time in this process; others are found out by compare-and-append."""
        lock = self._locks.get(session_id)
        if lock is None:
            lock = self._locks[session_id] = asyncio.Lock()
        async with lock:
            yield

    async def _reserved(self, wanted: _Wanted) -> Reserved:
        """What sessions share, as far as it is wanted; nothing is read when nothing is."""
        if not wanted.uses and not wanted.locks:
            return Reserved()
        known = await self._store.reservations(wanted.uses, wanted.locks)
        return Reserved(known, (dict(wanted.uses), frozenset(wanted.locks)))

    def _progress(self, session_id: str, loaded: Loaded | None, reserved: Reserved) -> Progress:
        state = None if loaded is None else loaded.state
        progress = Progress(
            session_id,
            state,
            None if loaded is None else loaded.workflow,
            self.source(),
            rules=None if loaded is None else loaded.rules,
            reserved=reserved,
            recorder=self._recorder(Vault(session_id) if loaded is None else loaded.vault.branch()),
        )
        if state is not None:
            self._mark_lost(progress)
            progress.time_passed()
        return progress

    def _recorder(self, vault: Vault) -> Recorder:
        return Recorder(vault, self._scrubber, self._of_tool)

    def _mark_lost(self, progress: Progress) -> None:
        """Calls whose process is gone can have had any outcome."""
        for call in tuple(progress.state.calls.values()):
            if call.unknown or call.call_id in self.in_flight:
                continue
            if call.node == self._node_id or not self._nodes.is_alive(call.node):
                message = "the gateway process ended before the outcome was recorded"
                progress.call_ended(call.call_id, Unknown("gateway_lost", message), None)

    async def administer(
        self, event: AdminEvent, beside: Sequence[Beside] = (), settings: str = ""
    ) -> None:
        """Append an event to the administration log, with what it tells of."""

        def work(progress: Progress) -> None:
            progress.open_session(ADMINISTRATION, settings)
            progress.emit(event)

        await self.change(ADMINISTRATION, work, lambda _: beside)

    async def erase(self, session_id: str, event: ValuesErased) -> None:
        """Delete the values that the event names, and fold the session from what is left.

        Record, deletion and the new state are one transaction. Raises UnknownSessionError, and
        StoreError when the session goes on all the time.
        """
        async with self._exclusive(session_id):
            for _ in range(MOST_CONFLICTS):
                loaded = await self.load(session_id)
                if loaded is None:
                    raise UnknownSessionError(session_id)
                vault = loaded.vault.without(event.commitments)
                state = await asyncio.to_thread(self._folded, session_id, loaded.head, vault)
                if state is None:  # it went on meanwhile
                    continue
                progress = Progress(
                    session_id,
                    state,
                    loaded.workflow,
                    self.source(),
                    rules=loaded.rules,
                    recorder=self._recorder(vault),
                )
                progress.emit(event)
                try:
                    gone = Erasure(session_id, event.commitments)
                    await self._append(progress, loaded, [gone])
                except SessionChangedError:
                    self._cache.pop(session_id, None)
                else:
                    return
        raise StoreError(f"session {session_id!r} is changed by others all the time")

    def _folded(self, session_id: str, head: Head, vault: Vault) -> SessionState | None:
        """The state that the session's records fold to with these values; None past `head`."""
        with self._store.reader() as reader:
            if reader.head(session_id) != (head.seq, head.hash):
                return None
            records = (open_record(one.body) for one in reader.records(session_id))
            return load_state(fold_records(vault.opened(one) for one in records))

    async def _append(
        self, progress: Progress, loaded: Loaded | None, beside: Sequence[Beside]
    ) -> None:
        state = progress.state
        now = progress.source.now
        vault = progress.recorder.vault
        records = [
            NewRecord(event_kind(event), now, data)
            for event, data in zip(progress.events, progress.records, strict=True)
        ]
        workflow = None if state.run is None else progress.workflow
        head = await self._store.append(
            progress.session_id,
            NEW_SESSION if loaded is None else loaded.head,
            records,
            dump_state(state),
            session_index(state, workflow),
            claims=tuple(_claims(progress)),
            releases=_released(loaded, state),
            beside=(*beside, *vault.added),
        )
        self._remember(progress.session_id, Loaded(head, state, workflow, progress.rules, vault))

    def _remember(self, session_id: str, loaded: Loaded) -> Loaded:
        self._cache[session_id] = loaded
        self._cache.move_to_end(session_id)
        if len(self._cache) > CACHED_SESSIONS:
            self._cache.popitem(last=False)
        return loaded


def _released(loaded: Loaded | None, state: SessionState) -> frozenset[str]:
    """The locks that a call held before and holds no more; the next call may hold them by now."""
    if loaded is None:
        return frozenset()
    return frozenset(lock for lock, _ in loaded.state.locks - state.locks)


class _Wanted:
    """The reservations that a change has to know, found out as the change is worked out."""

    def __init__(self) -> None:
        self.uses: dict[str, datetime | None] = {}
        self.locks: set[str] = set()

    def add_keys(self, state: SessionState, books: Iterable[Rulebook], now: datetime) -> None:
        """Want what the rules of a session read, with the windows as they are now."""
        for book in books:
            uses, locks = keys_of(book, Principal(state.principal), now)
            self.uses.update(uses)
            self.locks.update(locks)

    def lacks(self, progress: Progress) -> bool:
        """Whether something was asked for that was not known; it is wanted from here on."""
        before = len(self.uses) + len(self.locks)
        self.uses.update(progress.reserved.missing_uses)
        self.locks.update(progress.reserved.missing_locks)
        if progress.known is not None:
            self.add_keys(progress.known, progress.books, progress.source.now)
        return len(self.uses) + len(self.locks) > before


def _books(loaded: Loaded) -> tuple[Rulebook, ...]:
    books = (loaded.workflow if loaded.state.active_run else None, loaded.rules)
    return tuple(book for book in books if book is not None)


def _claims(progress: Progress) -> Iterator[UseClaim | LockClaim]:
    """What a call that is started here reserves."""
    now = progress.source.now
    for use in progress.uses:
        since = None if use.period is None else now - use.period
        yield UseClaim(use.key, now, use.amount, since, use.most)
    for event in progress.events:
        if isinstance(event, CallStarted):
            yield from (LockClaim(lock, event.call_id) for lock in event.locks)


def session_index(state: SessionState, workflow: CompiledWorkflow | None) -> SessionIndex:
    """What lists and the sweeper need to find a session; `workflow` is that of its latest run."""
    run = state.active_run
    approvals = () if run is None else tuple(run.approvals.values())
    return SessionIndex(
        principal=state.principal,
        status="idle" if state.run is None else state.run.status,
        workflow=None if state.run is None else state.run.workflow,
        open_approvals=(
            *(
                ApprovalRow(one.approval_id, one.step, one.roles, one.opened_at, one.expires_at)
                for one in approvals
                if one.status == "open"
            ),
            *(
                ApprovalRow(one.approval_id, one.tool, one.roles, one.opened_at, one.expires_at)
                for one in state.asks.values()
                if one.status == "open"
            ),
        ),
        due=_due(state, workflow),
        open_reviews=tuple(
            ReviewRow(
                one.review_id, one.step, one.roles, one.bypassed_by, one.opened_at, one.due_at
            )
            for one in state.reviews.values()
        ),
    )


def _due(state: SessionState, workflow: CompiledWorkflow | None) -> datetime | None:
    """The next moment at which time alone changes the session."""
    run = state.active_run
    deadlines = [one.expires_at for one in state.asks.values() if one.status != "rejected"]
    deadlines += [one.due_at for one in state.reviews.values() if not one.overdue]
    reading = next_reading(state)
    deadlines += [] if reading is None else [reading]
    if run is not None:
        deadlines += [one.expires_at for one in run.approvals.values() if one.status == "open"]
        freshness = () if workflow is None else workflow.freshness
        stale = (stale_at(fresh, run) for fresh in freshness)
        deadlines += [moment for moment in stale if moment is not None]
        if run.failing_since is not None:
            deadlines.append(run.failing_since + FAILING_LASTS)
        else:
            deadlines.append(run.expires_at)
    return min(deadlines, default=None)
