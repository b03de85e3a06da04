"""The monitor: reports on sessions, made from nothing but their records.

Owns how a report and its verification come out of one reading of the records. Deliberately neither
writes nor decides, and needs no event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mcpuppet.audit.history import History, ImpossibleEventError, event_of
from mcpuppet.audit.reader import OpenReader, SessionReader
from mcpuppet.audit.record import ChainBreak, Record, open_record, verify_chain
from mcpuppet.audit.report import Break, ChainReport, ComplianceReport
from mcpuppet.audit.report_builder import ReportBuilder
from mcpuppet.audit.verify import StartedRun, state_breaks, text_breaks, unreadable
from mcpuppet.errors import AuditError, UnknownSessionError
from mcpuppet.session.events import RulesAdopted, RunStarted

_LIMITS = (
    "Decisions were not derived again from the workflow. There are no signed checkpoints yet, so "
    "this chain alone does not show whether somebody who can write to the store has rewritten or "
    "shortened the whole of it, together with its head and state."
)


class AuditMonitor:
    """Makes compliance reports from a store, read through `open_reader`."""

    def __init__(self, open_reader: OpenReader) -> None:
        self._open_reader = open_reader

    def generate_compliance_report(self, session_id: str) -> ComplianceReport:
        """Report on one session, and verify its records on the way.

        A session that does not verify is reported too, with every break that was found. Raises
        UnknownSessionError, and StoreError when the store cannot be opened.
        """
        with self._open_reader() as reader:
            reading = _Reading(reader, session_id)
            breaks = reading.breaks()
        if not reading.exists:
            raise UnknownSessionError(session_id)
        return reading.report(breaks)


class _Reading:
    """One reading of a session's records, which verifies and gathers at once."""

    def __init__(self, reader: SessionReader, session_id: str) -> None:
        self.exists = False
        self._reader = reader
        self._session_id = session_id
        self._head: tuple[int, bytes] | None = None
        self._records = 0
        self._builder = ReportBuilder(session_id)
        self._history = History(session_id)
        self._impossible: ImpossibleEventError | None = None
        self._unfit: list[ChainBreak] = []
        self._runs: list[StartedRun] = []

    def breaks(self) -> list[ChainBreak]:
        """Read everything; gives what does not hold, in the order of the records."""
        found: list[ChainBreak] = []
        try:
            found += self._chain_breaks()
            if found:
                reported = {one.seq for one in found}
                found += (one for one in self._unfit if one.seq not in reported)
            elif self.exists:
                found += state_breaks(self._reader, self._session_id, self._fold)
                found += text_breaks(self._reader, self._runs)
        except Exception as error:  # noqa: BLE001 - a spoilt row must be reported, whatever it raises
            self.exists = True
            found.append(unreadable(self._session_id, self._records, error))
        return sorted(found, key=lambda one: one.seq)

    def report(self, breaks: Iterable[ChainBreak]) -> ComplianceReport:
        """What was read, with these breaks."""
        chain = self._chain(tuple(Break(one.seq, one.what) for one in breaks))
        return self._builder.report(chain, _statement(chain))

    def _chain_breaks(self) -> Iterator[ChainBreak]:
        self._head = self._reader.head(self._session_id)
        records = self._through(self._reader.records(self._session_id))
        yield from verify_chain(self._session_id, records, self._head)
        self.exists = self._head is not None or self._records > 0
        if self.exists and self._head is None:
            what = "no head is stored, so a cut tail could not be detected"
            yield ChainBreak(self._session_id, 0, what)

    def _through(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            yield record
            self._take(record)
            self._records += 1

    def _take(self, record: Record) -> None:
        try:
            opened = open_record(record.body)
            event = event_of(opened)
        except ImpossibleEventError as error:
            self._impossible = self._impossible or error
            self._unfit.append(ChainBreak(self._session_id, record.seq, str(error)))
            return
        except AuditError:
            return  # `verify_chain` says so
        if isinstance(event, (RunStarted, RulesAdopted)):
            self._runs.append(StartedRun(self._session_id, record.seq, event.hash))
        self._builder.take(record.seq, event, opened.at)
        if self._impossible is None:
            try:
                self._history.take(record.seq, event, opened.at)
            except ImpossibleEventError as error:
                self._impossible = error

    def _fold(self) -> bytes:
        if self._impossible is not None:
            raise self._impossible
        return self._history.snapshot()

    def _chain(self, breaks: tuple[Break, ...]) -> ChainReport:
        head = self._head[1].hex() if self._head is not None else None
        return ChainReport("broken" if breaks else "intact", self._records, head, breaks)


def _statement(chain: ChainReport) -> str:
    if chain.status == "intact":
        return (
            f"Checked: the hash chain of {chain.records} records up to the stored head, that "
            "every event can have happened where it stands, that the events fold to the stored "
            "state, and that the text of each workflow and rules file is the one that the session "
            f"began with. {_LIMITS}"
        )
    return (
        f"The records do not hold together (breaks found: {len(chain.breaks)}). The rest of this "
        f"report is what those of its {chain.records} records say that can be read; none of it is "
        f"proven. {_LIMITS}"
    )
