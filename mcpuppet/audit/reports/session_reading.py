"""One reading of a session's records, which verifies them and gathers what a report says.

Owns how a report and its verification come out of the same pass. Deliberately neither writes nor
decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain

from mcpuppet.audit.history import History, ImpossibleEventError, event_of
from mcpuppet.audit.pruning import PruningCheck, Remains
from mcpuppet.audit.reader import SessionReader
from mcpuppet.audit.record import ChainBreak, Record, open_record, verify_chain
from mcpuppet.audit.reports.builder import ReportBuilder
from mcpuppet.audit.reports.checks import administered, statement
from mcpuppet.audit.reports.report import (
    Break,
    ChainReport,
    CheckpointReport,
    ComplianceReport,
    ReplayOutcome,
)
from mcpuppet.audit.verify import (
    StartedRun,
    disclosure_breaks,
    state_breaks,
    text_breaks,
    unreadable,
)
from mcpuppet.errors import AuditError
from mcpuppet.redaction.vault import Vault, vault_of
from mcpuppet.session.admin_events import RecordsPruned
from mcpuppet.session.events import Event, RulesAdopted, RunStarted
from mcpuppet.workflow.compiler import text_hash


class SessionReading:
    """Reads a session when it is made; `exists` says whether there was anything.

    With `until`, what was recorded from then on is verified and not told.
    """

    def __init__(
        self, reader: SessionReader, session_id: str, until: datetime | None = None
    ) -> None:
        self.exists = False
        self._reader = reader
        self._session_id = session_id
        self._until = until
        self._vault = Vault(session_id)
        self._head: tuple[int, bytes] | None = None
        self._records = 0
        self._pruned = False
        self._builder = ReportBuilder(session_id)
        self._history = History(session_id)
        self._impossible: ImpossibleEventError | None = None
        self._unfit: list[ChainBreak] = []
        self._runs: list[StartedRun] = []
        self.chain = self._chain(self._breaks())

    def report(
        self,
        made_at: datetime,
        checkpoint: CheckpointReport | None = None,
        replay: ReplayOutcome | None = None,
    ) -> ComplianceReport:
        """What was read, and what else was held against it; reads the texts in force."""
        said = statement(self.chain, checkpoint, replay)
        return self._builder.report(
            self.chain,
            said,
            as_of=made_at,
            text_of=self._text,
            checkpoint=checkpoint,
            replay=replay,
        )

    def _breaks(self) -> list[ChainBreak]:
        """Read everything; gives what does not hold, in the order of the records."""
        found: list[ChainBreak] = []
        try:
            records = self._reader.records(self._session_id)
            first = next(records, None)
            self._head = self._reader.head(self._session_id)
            self._pruned = first is not None and not first.body and self._is_empty()
            if self._pruned:
                return list(self._pruning_breaks())
            self._vault = vault_of(self._reader, self._session_id)
            found += self._chain_breaks(chain([] if first is None else [first], records))
            if found:
                reported = {one.seq for one in found}
                found += (one for one in self._unfit if one.seq not in reported)
            elif self.exists:
                found += state_breaks(self._reader, self._session_id, self._fold)
                found += text_breaks(self._reader, self._runs)
            found += disclosure_breaks(self._vault)
        except Exception as error:  # noqa: BLE001 - a spoilt row must be reported, whatever it raises
            self.exists = True
            found.append(unreadable(self._session_id, self._records, error))
        return sorted(found, key=lambda one: one.seq)

    def _is_empty(self) -> bool:
        return not any(record.body for record in self._reader.records(self._session_id))

    def _pruning_breaks(self) -> Iterator[ChainBreak]:
        """Whether what is left of a pruned session is what the administration log names."""
        self.exists = True
        remains = Remains.of(self._session_id, self._reader.records(self._session_id))
        self._records = remains.records
        check = PruningCheck()
        check.found(remains)
        for seq, event in administered(self._reader):
            if isinstance(event, RecordsPruned):
                check.ordered(seq, event)
        yield from (one for one in check.breaks() if one.session_id == self._session_id)
        if self._head is None or self._head[0] != remains.records:
            what = "it is not the record that is kept as the head"
            yield ChainBreak(self._session_id, remains.records, what)

    def _chain_breaks(self, records: Iterable[Record]) -> Iterator[ChainBreak]:
        yield from verify_chain(self._session_id, self._through(records), self._head)
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
            revealed = event_of(self._vault.opened(opened)) if self._vault else event
        except ImpossibleEventError as error:
            self._impossible = self._impossible or error
            self._unfit.append(ChainBreak(self._session_id, record.seq, str(error)))
            return
        except AuditError:
            return  # `verify_chain` says so
        if isinstance(event, (RunStarted, RulesAdopted)):
            self._runs.append(StartedRun(self._session_id, record.seq, event.hash))
        if self._until is None or opened.at < self._until:
            self._builder.take(record.seq, event, opened.at)
        self._follow(record.seq, revealed, opened.at)

    def _follow(self, seq: int, event: Event, at: datetime) -> None:
        if self._impossible is None:
            try:
                self._history.take(seq, event, at)
            except ImpossibleEventError as error:
                self._impossible = error

    def _fold(self) -> bytes:
        if self._impossible is not None:
            raise self._impossible
        return self._history.snapshot()

    def _chain(self, breaks: Iterable[ChainBreak]) -> ChainReport:
        found = tuple(Break(one.seq, one.what) for one in breaks)
        head = self._head[1].hex() if self._head is not None else None
        if found:
            return ChainReport("broken", self._records, head, found)
        return ChainReport("pruned" if self._pruned else "intact", self._records, head, ())

    def _text(self, recorded_hash: str) -> str | None:
        """The text with this hash, if the store has it as it was."""
        try:
            text = self._reader.workflow_text(recorded_hash)
        except Exception:  # noqa: BLE001 - a spoilt text is a break, and is not shown
            return None
        return text if text is not None and text_hash(text) == recorded_hash else None
