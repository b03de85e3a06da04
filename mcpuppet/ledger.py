"""Sessions as they are now, and the only way to change one.

Every change is: load the state, work out events from it (a plain function of `Progress`), and
append them with the state they lead to, in one durable transaction that fails if anybody else
appended first. Then it is worked out again. What time has brought about, and calls whose gateway
process has died, are written down before anything else is decided.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from weakref import WeakValueDictionary

from mcpuppet.errors import SessionChangedError, StoreError
from mcpuppet.library import Library
from mcpuppet.session.consequences import FAILING_LASTS, Progress, Source
from mcpuppet.session.events import event_data, event_kind
from mcpuppet.session.outcome import Unknown
from mcpuppet.session.snapshot import dump_state, load_state
from mcpuppet.session.state import SessionState
from mcpuppet.store.nodes import Nodes
from mcpuppet.store.protocol import (
    NEW_SESSION,
    ApprovalRow,
    Head,
    NewRecord,
    SessionIndex,
    Store,
)
from mcpuppet.workflow.compiler import CompiledWorkflow

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
        state = load_state(stored.state)
        workflow = None if state.run is None else await self.library.by_hash(state.run.hash)
        return self._remember(session_id, Loaded(stored.head, state, workflow))

    async def look(self, session_id: str) -> Progress | None:
        """The session as it is now, deadlines included; nothing is written."""
        loaded = await self.load(session_id)
        return None if loaded is None else self._progress(session_id, loaded)

    async def change(
        self, session_id: str, work: Callable[[Progress], ResultT]
    ) -> tuple[ResultT, Progress]:
        """Work out events from the session as it is now, and append them.

        `work` may be called several times, as others may append first; it has no effect but on the
        `Progress` it is given. Raises StoreError when the events could not be made durable.
        """
        async with self._exclusive(session_id):
            for _ in range(MOST_CONFLICTS):
                loaded = await self.load(session_id)
                progress = self._progress(session_id, loaded)
                result = work(progress)
                if not progress.events:
                    return result, progress
                try:
                    await self._append(progress, NEW_SESSION if loaded is None else loaded.head)
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

    def _progress(self, session_id: str, loaded: Loaded | None) -> Progress:
        state = None if loaded is None else loaded.state
        workflow = None if loaded is None else loaded.workflow
        progress = Progress(session_id, state, workflow, self.source())
        if state is not None:
            self._mark_lost(progress)
            progress.time_passed()
        return progress

    def _mark_lost(self, progress: Progress) -> None:
        """Calls whose process is gone can have had any outcome."""
        for call in tuple(progress.state.calls.values()):
            if call.unknown or call.call_id in self.in_flight:
                continue
            if call.node == self._node_id or not self._nodes.is_alive(call.node):
                message = "the gateway process ended before the outcome was recorded"
                progress.call_ended(call.call_id, Unknown("gateway_lost", message), None)

    async def _append(self, progress: Progress, expect: Head) -> None:
        state = progress.state
        now = progress.source.now
        records = [NewRecord(event_kind(one), now, event_data(one)) for one in progress.events]
        head = await self._store.append(
            progress.session_id, expect, records, dump_state(state), session_index(state)
        )
        workflow = None if state.run is None else progress.workflow
        self._remember(progress.session_id, Loaded(head, state, workflow))

    def _remember(self, session_id: str, loaded: Loaded) -> Loaded:
        self._cache[session_id] = loaded
        self._cache.move_to_end(session_id)
        if len(self._cache) > CACHED_SESSIONS:
            self._cache.popitem(last=False)
        return loaded


def session_index(state: SessionState) -> SessionIndex:
    """What lists and the sweeper need to find a session."""
    run = state.active_run
    approvals = () if run is None else tuple(run.approvals.values())
    return SessionIndex(
        principal=state.principal,
        status="idle" if state.run is None else state.run.status,
        workflow=None if state.run is None else state.run.workflow,
        open_approvals=tuple(
            ApprovalRow(one.approval_id, one.step, one.roles, one.opened_at, one.expires_at)
            for one in approvals
            if one.status == "open"
        ),
        due=_due(state),
    )


def _due(state: SessionState) -> datetime | None:
    """The next moment at which time alone changes the session."""
    run = state.active_run
    if run is None:
        return None
    deadlines = [one.expires_at for one in run.approvals.values() if one.status == "open"]
    if run.failing_since is not None:
        deadlines.append(run.failing_since + FAILING_LASTS)
    else:
        deadlines.append(run.expires_at)
    return min(deadlines)
