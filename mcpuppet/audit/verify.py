"""Verification of everything a store holds: chains, heads, histories, states, workflow texts.

Owns which checks make up a verification. Deliberately does not know a store's engine. Whatever a
store holds, the answer is a report: content that cannot be read or followed is a break in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from mcpuppet.audit.history import ImpossibleEventError, fold_records
from mcpuppet.audit.reader import OpenReader, SessionReader
from mcpuppet.audit.record import ChainBreak, OpenedRecord, Record, open_record, verify_chain
from mcpuppet.errors import AuditError
from mcpuppet.workflow.compiler import text_hash

Fold = Callable[[Iterable[OpenedRecord]], bytes]
"""Folds a session's records into the bytes a store keeps as its state; may raise AuditError."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """How much was verified and every break that was found, by session in ascending id."""

    sessions: int
    records: int
    breaks: tuple[ChainBreak, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that was checked held."""
        return not self.breaks


def verify_store(open_reader: OpenReader) -> VerifyReport:
    """Verify every chain, fold every history, and compare with the stored states and workflows.

    Decisions are not derived again. A session that was removed whole, or rewritten together with
    its head and state, is not noticed: that takes heads kept elsewhere. Raises StoreError only when
    the store cannot be opened.
    """
    runs: list[StartedRun] = []

    def fold(records: Iterable[OpenedRecord]) -> bytes:
        return fold_records(_noting_runs(records, runs))

    with open_reader() as reader:
        report = verify_chains(reader, fold)
        breaks = [*report.breaks, *text_breaks(reader, runs)]
    return replace(report, breaks=tuple(sorted(breaks, key=_place)))


def verify_chains(reader: SessionReader, fold: Fold | None = None) -> VerifyReport:
    """Verify every session's chain against its stored head, and its state if `fold` is given.

    Only an unbroken chain is folded: what a broken one folds to says nothing.
    """
    sessions, counted, breaks = 0, _Counter(), list[ChainBreak]()
    try:
        for session_id in reader.session_ids():
            sessions += 1
            breaks += _session_breaks(reader, session_id, counted, fold)
    except Exception as error:  # noqa: BLE001 - spoilt ids must be reported, whatever they raise
        breaks.append(ChainBreak("", 0, f"the list of sessions cannot be read on: {error}"))
    return VerifyReport(sessions, counted.records, tuple(breaks))


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
    if state != reader.snapshot(session_id):
        what = "the stored state differs from the fold of the session's records"
        yield ChainBreak(session_id, seq, what)


class _Counter:
    """Counts the records that have been dealt with: one that makes its reader fail is not."""

    def __init__(self) -> None:
        self.records = 0

    def through(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            yield record
            self.records += 1


def _session_breaks(
    reader: SessionReader, session_id: str, counter: _Counter, fold: Fold | None
) -> list[ChainBreak]:
    before = counter.records
    found: list[ChainBreak] = []
    try:
        found += _chain_breaks(reader, session_id, counter)
        if not found and fold is not None:
            opened = (open_record(record.body) for record in reader.records(session_id))
            found += state_breaks(reader, session_id, lambda: fold(opened))
    except Exception as error:  # noqa: BLE001 - a spoilt row must be reported, whatever it raises
        found.append(unreadable(session_id, counter.records - before, error))
    return found


def unreadable(session_id: str, readable: int, error: Exception) -> ChainBreak:
    """The break at the record after the `readable` ones that could be read."""
    return ChainBreak(session_id, readable + 1, f"the session cannot be read from here on: {error}")


def _chain_breaks(
    reader: SessionReader, session_id: str, counter: _Counter
) -> Iterator[ChainBreak]:
    head = reader.head(session_id)
    yield from verify_chain(session_id, counter.through(reader.records(session_id)), head)
    if head is None:
        yield ChainBreak(session_id, 0, "no head is stored, so a cut tail could not be detected")


def _noting_runs(records: Iterable[OpenedRecord], runs: list[StartedRun]) -> Iterator[OpenedRecord]:
    for opened in records:
        workflow_hash = opened.data.get("hash")
        if opened.kind == "RunStarted" and isinstance(workflow_hash, str):
            runs.append(StartedRun(opened.session_id, opened.seq, workflow_hash))
        yield opened


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
