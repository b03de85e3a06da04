"""Verification of everything a store holds: chains, heads, histories, states, workflow texts, log.

Owns which checks make up a verification. Deliberately does not know a store's engine. Whatever a
store holds, the answer is a report: content that cannot be read or followed is a break in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial
from itertools import chain

from mcpuppet.audit.deciders import CHANGES, DECISIONS, Decided, decided, decider_breaks
from mcpuppet.audit.history import ImpossibleEventError, event_of, fold_records
from mcpuppet.audit.lost_values import LostValues
from mcpuppet.audit.people import people_breaks
from mcpuppet.audit.pruning import PruningCheck, Remains
from mcpuppet.audit.reader import OpenReader, SessionReader
from mcpuppet.audit.record import ChainBreak, OpenedRecord, Record, open_record, verify_chain
from mcpuppet.audit.signed_log import LOG, Kept, LogReport, check_log
from mcpuppet.audit.verifier import VerifierError, VerifierKey, parse_key
from mcpuppet.errors import AuditError, StoreError
from mcpuppet.redaction.vault import Vault, vault_of
from mcpuppet.session.admin_events import ADMINISTRATION, RecordsPruned, SigningKeyCreated
from mcpuppet.session.events import Event
from mcpuppet.session.snapshot import dump_state, load_state
from mcpuppet.workflow.compiler import text_hash

Fold = Callable[[Iterable[OpenedRecord]], bytes]
"""Folds a session's records into the bytes a store keeps as its state; may raise AuditError."""
_NAMES_A_TEXT = ("RunStarted", "RulesAdopted")
_HIDING = (b'{"$c":"', b"<redacted:", b'"ValuesErased"')
"""What stands in the bodies of records that are committed to values, or tell of their erasure."""
_DECISIONS = frozenset(one.__name__ for one in DECISIONS)


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """How much was verified and every break that was found, by session in ascending id."""

    sessions: int
    records: int
    breaks: tuple[ChainBreak, ...]
    verified: int = 0
    """Records with contents, in sessions in which nothing is broken."""
    pruned: int = 0
    """Records whose contents were removed; of them only hash and place are left."""
    log: LogReport | None = None
    """The comparison with signed checkpoints; None where there was nothing to compare with."""

    @property
    def ok(self) -> bool:
        """Whether everything that was checked held."""
        return not self.breaks


def verify_store(open_reader: OpenReader, kept: Kept | None = None) -> VerifyReport:
    """Verify every chain, fold every history, and compare with the stored states and workflows.

    Decisions are not derived again. That a session was removed whole, or rewritten together with
    its head and state, shows only in a comparison with checkpoints that were `kept`; they have to
    be read before this is called. Raises StoreError only when the store cannot be opened.
    """
    noted = _Noted()
    with open_reader() as reader:
        verification = _Verification(reader, noted.fold)
        breaks = [*verification.run(), *text_breaks(reader, noted.runs), *people_breaks(reader)]
        breaks += decider_breaks(noted.changes, noted.decided)
        if verification.pruned or noted.pruned:
            breaks += _pruning_breaks(verification.pruned, noted.pruned)
        log = None
        if kept is not None:
            log, found = check_log(reader, kept, noted.keys)
            breaks += found
        if not breaks:  # a record that is missing is named where it is missing
            breaks += _position_breaks(reader)
    return replace(verification.report(breaks), log=log)


def _position_breaks(reader: SessionReader) -> Iterator[ChainBreak]:
    """Yield a break unless each record has its place in the log, and so its leaf in the tree."""
    try:
        reader.size()
    except StoreError as error:
        yield ChainBreak(LOG, 0, f"the records do not lie one after another: {error}")


def verify_chains(reader: SessionReader, fold: Fold | None = None) -> VerifyReport:
    """Verify every session's chain against its stored head, and its state if `fold` is given.

    Only an unbroken chain is folded: what a broken one folds to says nothing. Whether anybody
    ordered what was pruned is not checked.
    """
    verification = _Verification(reader, fold)
    return verification.report(verification.run())


@dataclass(frozen=True, slots=True)
class StartedRun:
    """Where a run was started, and the hash of its workflow's text."""

    session_id: str
    seq: int
    workflow_hash: str


def text_breaks(reader: SessionReader, runs: Iterable[StartedRun]) -> Iterator[ChainBreak]:
    """Yield a break for each run whose workflow's text is not in the store as it was."""

    @cache
    def problem(workflow_hash: str) -> str | None:
        return _text_problem(reader, workflow_hash)

    for run in runs:
        what = problem(run.workflow_hash)
        if what is not None:
            yield ChainBreak(run.session_id, run.seq, what)


def _same_state(stored: bytes | None, folded: bytes) -> bool:
    """Whether a session goes on from the folded state.

    What an earlier version stored may lack what states hold by now: it counts as it is read today.
    """
    if stored is None or stored == folded:
        return stored == folded
    try:
        return dump_state(load_state(stored)) == folded
    except AuditError:
        return False


def state_breaks(
    reader: SessionReader, session_id: str, fold: Callable[[], bytes]
) -> Iterator[ChainBreak]:
    """Yield a break where `fold` refuses the history, or gives another state than the stored."""
    seq = (reader.head(session_id) or (0,))[0]
    try:
        state = fold()
    except ImpossibleEventError as error:
        yield ChainBreak(session_id, error.seq, f"it cannot have happened here: {error}")
        return
    except AuditError as error:
        yield ChainBreak(session_id, seq, f"its records cannot be folded: {error}")
        return
    if not _same_state(reader.snapshot(session_id), state):
        what = "the stored state differs from the fold of the session's records"
        yield ChainBreak(session_id, seq, what)


def disclosure_breaks(vault: Vault) -> Iterator[ChainBreak]:
    """Yield a break for each value that is not the one its records are committed to."""
    for commitment in vault.problems:
        what = f"the value kept for the commitment {commitment[:12]} does not match it"
        yield ChainBreak(vault.session_id, 0, what)


class _Verification:
    """One pass over all sessions; counts the records that could be dealt with."""

    def __init__(self, reader: SessionReader, fold: Fold | None) -> None:
        self.pruned: list[Remains] = []
        self._reader = reader
        self._fold = fold
        self._records: dict[str, int] = {}

    def run(self) -> list[ChainBreak]:
        """What does not hold, session by session."""
        found: list[ChainBreak] = []
        try:
            for session_id in self._reader.session_ids():
                found += self._session(session_id)
        except Exception as error:  # noqa: BLE001 - spoilt ids must be reported, whatever they raise
            found.append(ChainBreak("", 0, f"the list of sessions cannot be read on: {error}"))
        return found

    def report(self, breaks: Iterable[ChainBreak]) -> VerifyReport:
        """The counts, with these breaks."""
        ordered = tuple(sorted(breaks, key=_place))
        broken = {one.session_id for one in ordered}
        pruned = {one.session_id: one.records for one in self.pruned}
        intact = (
            count for one, count in self._records.items() if one not in broken and one not in pruned
        )
        records = sum(self._records.values())
        return VerifyReport(len(self._records), records, ordered, sum(intact), sum(pruned.values()))

    def _session(self, session_id: str) -> list[ChainBreak]:
        self._records[session_id] = 0
        found: list[ChainBreak] = []
        try:
            records = self._reader.records(session_id)
            first = next(records, None)
            pruned = first is not None and first.body == b"" and self._is_pruned(session_id)
            if pruned:
                return list(self._pruned(session_id))
            found += self._chain(session_id, chain([] if first is None else [first], records))
            vault = vault_of(self._reader, session_id)
            if not found and self._fold is not None:
                lost = LostValues(vault)
                opened = _opened(self._reader.records(session_id), vault, lost)
                found += state_breaks(self._reader, session_id, partial(self._fold, opened))
                found += lost.breaks()
            found += disclosure_breaks(vault)
        except Exception as error:  # noqa: BLE001 - a spoilt row must be reported, whatever it raises
            found.append(unreadable(session_id, self._records[session_id], error))
        return found

    def _is_pruned(self, session_id: str) -> bool:
        return not any(record.body for record in self._reader.records(session_id))

    def _pruned(self, session_id: str) -> Iterator[ChainBreak]:
        """What does not hold of a session of which only hashes are left."""
        last = (0, b"")
        for record in self._counted(session_id):
            if record.seq != last[0] + 1:
                yield ChainBreak(session_id, last[0] + 1, "it is missing")
            last = (record.seq, record.hash)
        if last != self._reader.head(session_id):
            yield ChainBreak(session_id, last[0], "it is not the record that is kept as the head")
        if self._reader.snapshot(session_id):
            yield ChainBreak(session_id, last[0], "its contents are gone, but a state is stored")
        self.pruned.append(Remains.of(session_id, self._reader.records(session_id)))

    def _chain(self, session_id: str, records: Iterable[Record]) -> Iterator[ChainBreak]:
        head = self._reader.head(session_id)
        yield from verify_chain(session_id, self._through(session_id, records), head)
        if head is None:
            yield ChainBreak(
                session_id, 0, "no head is stored, so a cut tail could not be detected"
            )

    def _counted(self, session_id: str) -> Iterator[Record]:
        return self._through(session_id, self._reader.records(session_id))

    def _through(self, session_id: str, records: Iterable[Record]) -> Iterator[Record]:
        """Counts a record once it was dealt with: one that makes its reader fail is not."""
        for record in records:
            yield record
            self._records[session_id] += 1


def _opened(records: Iterable[Record], vault: Vault, lost: LostValues) -> Iterator[OpenedRecord]:
    for record in records:
        opened = open_record(record.body)
        if any(mark in record.body for mark in _HIDING):  # most records hide nothing
            lost.take(opened)
        yield vault.opened(opened)


class _Noted:
    """What the records say that is checked after all of them were read."""

    def __init__(self) -> None:
        self.runs: list[StartedRun] = []
        self.keys: list[VerifierKey] = []
        self.pruned: list[tuple[int, RecordsPruned]] = []
        self.changes: list[tuple[datetime, Event]] = []
        self.decided: list[Decided] = []

    def fold(self, records: Iterable[OpenedRecord]) -> bytes:
        return fold_records(self._through(records))

    def _through(self, records: Iterable[OpenedRecord]) -> Iterator[OpenedRecord]:
        for opened in records:
            workflow_hash = opened.data.get("hash")
            if opened.kind in _NAMES_A_TEXT and isinstance(workflow_hash, str):
                self.runs.append(StartedRun(opened.session_id, opened.seq, workflow_hash))
            elif opened.session_id == ADMINISTRATION:
                self._administered(opened)
            elif opened.kind in _DECISIONS:
                self._decided(opened)
            yield opened

    def _decided(self, opened: OpenedRecord) -> None:
        with suppress(ImpossibleEventError):
            one = decided(opened.session_id, opened.seq, opened.at, event_of(opened))
            if one is not None:
                self.decided.append(one)

    def _administered(self, opened: OpenedRecord) -> None:
        # A record that is not fit for its kind is reported by the fold.
        with suppress(ImpossibleEventError, VerifierError):
            event = event_of(opened)
            if isinstance(event, CHANGES):
                self.changes.append((opened.at, event))
            if isinstance(event, SigningKeyCreated):
                self.keys.append(parse_key(event.verifier_key))
            elif isinstance(event, RecordsPruned):
                self.pruned.append((opened.seq, event))


def _pruning_breaks(
    found: Iterable[Remains], ordered: Iterable[tuple[int, RecordsPruned]]
) -> Iterator[ChainBreak]:
    check = PruningCheck()
    for remains in found:
        check.found(remains)
    for seq, event in ordered:
        check.ordered(seq, event)
    return check.breaks()


def unreadable(session_id: str, readable: int, error: Exception) -> ChainBreak:
    """The break at the record after the `readable` ones that could be read."""
    return ChainBreak(session_id, readable + 1, f"the session cannot be read from here on: {error}")


def _text_problem(reader: SessionReader, workflow_hash: str) -> str | None:
    name = f"the text of the workflow it started ({workflow_hash[:12]})"
    try:
        text = reader.workflow_text(workflow_hash)
        if text is None:
            return f"{name} is not in the store"
        changed = text_hash(text) != workflow_hash
    except Exception as error:  # noqa: BLE001 - a spoilt text must be reported, whatever it raises
        return f"{name} cannot be read: {error}"
    return f"{name} has been changed" if changed else None


def _place(found: ChainBreak) -> tuple[str, int]:
    return found.session_id, found.seq
