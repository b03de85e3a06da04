"""Verification of everything a store holds: each session's chain, its head and its stored state.

Owns which checks make up a verification. Deliberately knows neither a store's engine nor what an
event means: the fold from records to state comes in as a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mcpuppet.audit.reader import SessionReader
from mcpuppet.audit.record import ChainBreak, OpenedRecord, Record, open_record, verify_chain
from mcpuppet.errors import AuditError

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
        """Whether every chain held."""
        return not self.breaks


def verify_chains(reader: SessionReader, fold: Fold | None = None) -> VerifyReport:
    """Verify every session's chain against its stored head, and its state if `fold` is given.

    Only an unbroken chain is folded: what a broken one folds to says nothing.
    """
    sessions, counted, breaks = 0, _Counter(), list[ChainBreak]()
    for session_id in reader.session_ids():
        sessions += 1
        found = list(_chain_breaks(reader, session_id, counted))
        if not found and fold is not None:
            found = list(_fold_breaks(reader, session_id, fold))
        breaks += found
    return VerifyReport(sessions, counted.records, tuple(breaks))


class _Counter:
    """Counts the records that pass through."""

    def __init__(self) -> None:
        self.records = 0

    def through(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            self.records += 1
            yield record


def _chain_breaks(
    reader: SessionReader, session_id: str, counter: _Counter
) -> Iterator[ChainBreak]:
    head = reader.head(session_id)
    yield from verify_chain(session_id, counter.through(reader.records(session_id)), head)
    if head is None:
        yield ChainBreak(session_id, 0, "no head is stored, so a cut tail could not be detected")


def _fold_breaks(reader: SessionReader, session_id: str, fold: Fold) -> Iterator[ChainBreak]:
    seq = (reader.head(session_id) or (0,))[0]
    try:
        state = fold(open_record(record.body) for record in reader.records(session_id))
    except AuditError as error:
        yield ChainBreak(session_id, seq, f"its records cannot be folded: {error}")
        return
    if state != reader.snapshot(session_id):
        what = "the stored state differs from the fold of the session's records"
        yield ChainBreak(session_id, seq, what)
