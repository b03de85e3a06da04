"""Finding out what became of a call: the reading calls that a workflow names for that.

Makes a reading call when it is due, in the flow of the call itself or from the sweep of whichever
gateway process comes first, and has what it tells written down. Who is first is decided by the
append of the intent to read; reading twice would do no harm. What a reading means is judged by
`session.consequences`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import anyio

from mcpuppet.audit.fates import fates
from mcpuppet.errors import DownstreamUnavailableError
from mcpuppet.ledger import Ledger
from mcpuppet.redaction.vault import vault_of
from mcpuppet.session.consequences import Progress
from mcpuppet.session.fate import waiting_calls
from mcpuppet.session.outcome import Failed, Outcome, Unknown, recordable
from mcpuppet.session.state import OpenCall
from mcpuppet.store.protocol import Store
from mcpuppet.tool_servers import ToolServers
from mcpuppet.workflow.compiled import LONGEST_WAIT_INSIDE

LONGEST_READING = timedelta(seconds=30)
"""How long a reading call may take: others wait for the sweep that makes it."""
SERVER_WAIT = 10.0
"""Seconds to wait for a server to start when it is to be read from."""


class Reconciler:
    """Reads, for one gateway process, what became of calls of unknown outcome."""

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        servers: ToolServers,
        node_id: str,
        new_id: Callable[[str], str],
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._servers = servers
        self._node_id = node_id
        self._new_id = new_id
        self._followed: set[str] = set()
        """Calls whose own callers still wait for what is read."""

    async def follow(self, ended: Progress, call_id: str, arguments: Mapping[str, Any]) -> Progress:
        """Read what became of a call while its caller waits, for as long as a caller waits.

        `ended` is the session as its outcome became unknown; the session as last seen is returned.
        """
        progress = ended
        give_up_at = self._ledger.source().now + LONGEST_WAIT_INSIDE
        self._followed.add(call_id)
        try:
            while (due := _due(progress, call_id)) is not None and due <= give_up_at:
                await anyio.sleep(max(0.0, (due - self._ledger.source().now).total_seconds()))
                progress, is_due = await self._read(ended.session_id, call_id, arguments)
                if not is_due:
                    break
        finally:
            self._followed.discard(call_id)
        return progress

    async def sweep(self, progress: Progress) -> None:
        """Make the reading calls of a session that are due and that nobody waits for."""
        now = progress.source.now
        for call in waiting_calls(progress.state):
            is_due = call.read_at is not None and call.read_at <= now
            if is_due and call.call_id not in self._followed:
                await self._read(progress.session_id, call.call_id, None)

    async def _read(
        self, session_id: str, of: str, arguments: Mapping[str, Any] | None
    ) -> tuple[Progress, bool]:
        """Make one reading call, unless it is not due any more."""
        reading = self._new_id("call")
        self._ledger.in_flight.add(reading)
        try:
            began, progress = await self._ledger.change(
                session_id, lambda progress: progress.begin_reading(of, reading, self._node_id)
            )
            if not began:
                return progress, False
            if arguments is None:
                arguments = await self._recorded_arguments(progress, of)
            started = time.monotonic()
            try:
                outcome = await self._ask(progress.state.calls[of])
            except asyncio.CancelledError:
                gone = Unknown("cancelled", "nobody waited for the answer any more")
                await self._record(session_id, of, reading, gone, started, arguments)
                raise
            return await self._record(session_id, of, reading, outcome, started, arguments), True
        finally:
            self._ledger.in_flight.discard(reading)

    async def _record(
        self,
        session_id: str,
        of: str,
        reading: str,
        outcome: Outcome,
        started: float,
        arguments: Mapping[str, Any] | None,
    ) -> Progress:
        seconds = round(time.monotonic() - started, 6)
        with anyio.CancelScope(shield=True):
            _, progress = await self._ledger.change(
                session_id,
                lambda progress: progress.reading_ended(
                    of, reading, recordable(outcome), seconds, arguments
                ),
            )
        return progress

    async def _ask(self, call: OpenCall) -> Outcome:
        """The reading call itself."""
        assert call.reconcile is not None
        server, _, name = call.reconcile["tool"].partition(".")
        arguments = call.reconcile["arguments"]
        try:
            tools = await self._servers.tools(server, wait=SERVER_WAIT)
        except DownstreamUnavailableError as error:
            return Failed("not_sent", str(error))
        if name not in tools:
            return Failed("not_sent", f"server {server} offers no tool {name}")
        violations = tools[name].input_schema.violations(dict(arguments))
        if violations:
            return Failed("not_sent", f"arguments of {server}.{name}: {'; '.join(violations)}")
        return await self._servers.call(
            server,
            name,
            arguments,
            timeout=LONGEST_READING,
            on_progress=None,
            digest=tools[name].digest,
        )

    async def _recorded_arguments(self, progress: Progress, of: str) -> Mapping[str, Any] | None:
        """The arguments of a call, from its record; None where they are not there as they were."""
        session_id, run = progress.session_id, progress.run

        def read() -> Mapping[str, Any] | None:
            with self._store.reader() as reader:
                vault = vault_of(reader, session_id)
                fate = fates(reader.records(session_id), [of], vault)[of]
            return None if run is None else fate.arguments(session_id, run.hash)

        return await asyncio.to_thread(read)


def _due(progress: Progress, call_id: str) -> datetime | None:
    found = (one for one in waiting_calls(progress.state) if one.call_id == call_id)
    return next((one.read_at for one in found), None)
