"""The monitor: reports on sessions and periods, made from nothing but their records.

Owns which checks a report rests on. Deliberately neither writes nor decides, and needs no event
loop. A report of a period reads one session at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

from mcpuppet.audit.reader import OpenReader, SessionReader
from mcpuppet.audit.record import parse_instant
from mcpuppet.audit.reports.checks import (
    KeptOf,
    SignedLog,
    checkpoint_words,
    replay_words,
    replayed,
)
from mcpuppet.audit.reports.counting import Period
from mcpuppet.audit.reports.period_report import PeriodReading, PeriodReport
from mcpuppet.audit.reports.report import CheckpointReport, ComplianceReport
from mcpuppet.audit.reports.session_reading import SessionReading
from mcpuppet.audit.signed_log import Kept
from mcpuppet.errors import InvalidInputError, UnknownSessionError

_AT = re.compile(
    rb'\{"v":\d+,"session":"(?:[^"\\]|\\.)*","seq":\d+,"prev":"[0-9a-f]{64}","at":"([^"]{27})"'
)
"""How `audit.record.seal` begins a body, as far as the time."""


def _now() -> datetime:
    return datetime.now(UTC)


class AuditMonitor:
    """Makes compliance reports from a store, read through `open_reader`.

    With `kept`, the store is held against its signed checkpoints.
    """

    def __init__(
        self,
        open_reader: OpenReader,
        kept: KeptOf | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._open_reader = open_reader
        self._kept = kept
        self._clock = clock

    def generate_compliance_report(
        self, session_id: str, *, replay: bool = False
    ) -> ComplianceReport:
        """Report on one session, and verify its records on the way; `replay` decides them again.

        A session that does not verify is reported too, with every break that was found. Raises
        UnknownSessionError, and StoreError when the store cannot be opened.
        """
        made_at, kept = self._clock(), self._read_kept()
        again = replayed(self._open_reader, [session_id]) if replay else None
        with self._open_reader() as reader:
            reading = SessionReading(reader, session_id)
            if not reading.exists:
                raise UnknownSessionError(session_id)
            checkpoint = _checkpoint(reader, kept, [session_id])
            return reading.report(made_at, checkpoint, again)

    def generate_period_report(
        self, since: datetime, until: datetime, *, replay: bool = False
    ) -> PeriodReport:
        """Report on every session with a record from `since` on and before `until`, both aware.

        What is open, waiting or overdue is told as of the period's end. Raises InvalidInputError
        for a period that is empty, and StoreError when the store cannot be read.
        """
        period = _period(since, until)
        made_at, kept = self._clock(), self._read_kept()
        reading, pruned = PeriodReading(period), 0
        with self._open_reader() as reader:
            for one in _active(reader, period):
                if one is None:
                    pruned += 1
                else:
                    reading.take(one.report(min(made_at, until)))
            checkpoint = _checkpoint(reader, kept, reading.session_ids)
        again = replayed(self._open_reader, reading.session_ids) if replay else None
        counted = len(reading.session_ids)
        said = (
            f"Checked, for each of the {counted} sessions with a record in this period, and for "
            "the whole of it: the hash chain up to the stored head, that every event can have "
            "happened where it stands, that the events fold to the stored state, and the texts of "
            "workflows and rules. Sessions without a record in the period were not verified."
        )
        return reading.report(
            made_at,
            " ".join((said, *checkpoint_words(checkpoint), replay_words(again))),
            pruned=pruned,
            checkpoint=checkpoint,
            replay=again,
        )

    def session_reports(self, since: datetime, until: datetime) -> Iterator[ComplianceReport]:
        """The reports of the sessions in a period, one at a time, as of the period's end.

        Raises as `generate_period_report` does.
        """
        period = _period(since, until)
        as_of = min(self._clock(), until)
        with self._open_reader() as reader:
            for one in _active(reader, period):
                if one is not None:
                    yield one.report(as_of)

    def _read_kept(self) -> Kept | None:
        """What was kept of the log apart from the store: read first, as the log only grows."""
        return None if self._kept is None else self._kept()


def _checkpoint(
    reader: SessionReader, kept: Kept | None, session_ids: list[str]
) -> CheckpointReport | None:
    return None if kept is None else SignedLog(reader, kept).report(session_ids)


def _period(since: datetime, until: datetime) -> Period:
    if since >= until:
        raise InvalidInputError(f"a period from {since:%Y-%m-%d %H:%M} ends after that moment")
    return Period(since, until)


def _active(reader: SessionReader, period: Period) -> Iterator[SessionReading | None]:
    """The sessions with a record in the period, read one by one; None for a pruned one."""
    for session_id in reader.session_ids():
        active = _is_active(reader, session_id, period)
        if active is None:
            yield None
        elif active:
            yield SessionReading(reader, session_id, period.until)


def _is_active(reader: SessionReader, session_id: str, period: Period) -> bool | None:
    """Whether a record lies in the period; None where all contents are gone."""
    empty = True
    for record in reader.records(session_id):
        if record.body:
            empty = False
            at = _time_of(record.body)
            if at is None or at in period:  # what cannot be read must not go unnoticed
                return True
    return None if empty else False


def _time_of(body: bytes) -> datetime | None:
    begins = _AT.match(body)
    if begins is not None:
        with suppress(ValueError):
            return parse_instant(begins[1].decode())
    return None
