"""Keeps a log signed while a gateway serves: in the background, and never in anybody's way.

Owns when a checkpoint is due: a while after the first record that is not signed, after so many of
them, soon after a run has ended, and when the gateway stops. Deliberately knows no store, and
leaves to `audit.log` what may be signed. A failure is told once, and the next try comes anyway.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from anyio import to_thread

from mcpuppet.audit.log import AuditLog
from mcpuppet.errors import MCPuppetError

ResultT = TypeVar("ResultT")

LOOK_EVERY = 0.5
"""Seconds between two looks at whether anybody has written to the store."""
UNSIGNED = (
    "the audit trail is not signed: whoever can write to the store could rewrite it unnoticed; "
    "`mcpuppet audit init` makes the key"
)


class CheckpointKeeper:
    """Signs what is due; `version` changes when anybody has written to the store."""

    def __init__(self, log: AuditLog, complain: Callable[[str], None]) -> None:
        self._log = log
        self._complain = complain
        self._complaint = ""
        self._every = log.settings.every.total_seconds()
        self._looked = 0
        """The leaf up to which the log was looked at."""
        self._unsigned = 0
        self._due: float | None = None
        """When a checkpoint is due, by the monotonic clock; None while all is signed."""

    async def keep(self, version: Callable[[], Awaitable[int]]) -> None:
        """Look and sign until cancelled."""
        if not self._log.is_signed:
            self._complain(UNSIGNED)
        seen: int | None = None
        while True:
            if self._log.is_signed:
                seen = await self._tick(version, seen)
            await anyio.sleep(LOOK_EVERY)

    async def finish(self) -> None:
        """Sign what is left, even if the caller is being cancelled."""
        with anyio.CancelScope(shield=True):
            if self._log.is_signed:
                await self._in_thread(self._log.checkpoint)

    async def _tick(self, version: Callable[[], Awaitable[int]], seen: int | None) -> int | None:
        now = seen
        try:
            now = await version()
        except Exception as error:  # noqa: BLE001 - no failure here may end a conversation
            self._tell(error)
        if now != seen:
            await self._in_thread(self._look)
        if self._due is not None and time.monotonic() >= self._due:
            # When the next try comes, unless this one succeeds.
            self._due = time.monotonic() + self._every
            await self._in_thread(self._sign)
        return now

    def _look(self) -> None:
        if not self._looked:
            latest = self._log.latest()
            self._looked = 0 if latest is None else latest.size
        news = self._log.news(self._looked)
        self._looked += news.records
        self._unsigned += news.records
        if not news.records:
            return
        soon = news.run_ended or self._unsigned >= self._log.settings.every_records
        due = time.monotonic() + (0 if soon else self._every)
        self._due = due if self._due is None else min(due, self._due)

    def _sign(self) -> None:
        self._log.checkpoint()
        self._unsigned, self._due = 0, None

    async def _in_thread(self, work: Callable[[], ResultT]) -> None:
        try:
            await to_thread.run_sync(work)
        except Exception as error:  # noqa: BLE001 - no failure here may end a conversation
            self._tell(error)
        else:
            self._complaint = ""

    def _tell(self, error: Exception) -> None:
        expected = isinstance(error, MCPuppetError)
        complaint = str(error) if expected else "".join(traceback.format_exception(error))
        if complaint != self._complaint:
            self._complain(f"audit trail: {complaint}")
        self._complaint = complaint
