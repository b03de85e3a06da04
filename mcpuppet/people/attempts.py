"""Attempts to decide: each that is refused is on record, whoever made it.

Owns where a refusal is recorded and how often. Deliberately does not know who may decide what.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from mcpuppet.errors import (
    InvalidInputError,
    NotAuthorisedError,
    PrunedSessionError,
    UnknownSessionError,
)
from mcpuppet.ledger import Ledger
from mcpuppet.session.admin_events import ADMINISTRATION, DecisionRefused
from mcpuppet.session.consequences import Progress
from mcpuppet.session.refusals import was_just_recorded
from mcpuppet.store.protocol import Store

_LONGEST_TARGET = 200
_LONGEST_REASON = 1_000
"""Characters; what was shown of a target that does not exist may be anything."""

_REFUSED = (NotAuthorisedError, InvalidInputError, UnknownSessionError)


class Attempts:
    """Writes down the decisions that were refused; `settings` is the SHA-256 of the settings."""

    def __init__(self, ledger: Ledger, store: Store, settings: str) -> None:
        self._ledger = ledger
        self._store = store
        self._settings = settings
        self._last: Callable[[], BaseException | None] = lambda: None

    @asynccontextmanager
    async def attempt(
        self,
        action: str,
        target: str,
        *,
        by: str,
        credential: str,
        channel: str,
        session_id: str | None = None,
    ) -> AsyncIterator[None]:
        """Record that what is done inside was refused, if it raises an error that says so.

        Attempts may be nested: the innermost records. `session_id` is the session of the target,
        where the target does not tell. The error is raised on.
        """
        try:
            yield
        except _REFUSED as error:
            if self._last() is not error:
                refused = DecisionRefused(
                    action,
                    _shortened(target, _LONGEST_TARGET),
                    by,
                    credential,
                    channel,
                    _shortened(str(error), _LONGEST_REASON),
                )
                await self.record(refused, session_id)
                self._last = weakref.ref(error)
            raise

    async def record(self, refused: DecisionRefused, session_id: str | None = None) -> None:
        """Write a refusal into the session that its target belongs to.

        It is not written where the same was written less than a minute ago. Without a session, and
        for a token that belongs to nobody, the administration log has it.
        """
        home = await self._home(session_id or refused.target) if refused.by else ADMINISTRATION
        try:
            await self._append(home, refused)
        except PrunedSessionError:
            await self._append(ADMINISTRATION, refused)

    async def _append(self, home: str, refused: DecisionRefused) -> None:
        def work(progress: Progress) -> None:
            if home == ADMINISTRATION:
                progress.open_session(ADMINISTRATION, self._settings)
            if not was_just_recorded(progress.state, refused, progress.source.now):
                progress.emit(refused)

        await self._ledger.change(home, work)

    async def _home(self, target: str) -> str:
        for find in (self._store.approval_session, self._store.review_session):
            found = await find(target)
            if found is not None:
                return found
        return ADMINISTRATION if await self._store.head(target) is None else target


def _shortened(words: str, most: int) -> str:
    """At most so many characters, of which all can be recorded."""
    recordable = words.encode("utf-8", "replace").decode()
    return recordable if len(recordable) <= most else f"{recordable[: most - 1]}…"
