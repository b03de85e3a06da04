"""Whether a store's log is the one that checkpoints were signed of.

Owns the comparison of the store's records, in the order of commits, with checkpoints that were kept
apart from it, and the search for the first record that differs. Deliberately knows neither where
checkpoints are kept nor how they come about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from mcpuppet.audit.reader import SessionReader
from mcpuppet.audit.record import ChainBreak, open_record
from mcpuppet.audit.verifier import (
    Checkpoint,
    CompactRange,
    KeptCheckpoint,
    VerifierError,
    VerifierKey,
    check_signatures,
    parse_checkpoint,
    parse_note,
)
from mcpuppet.errors import AuditError, StoreError

LOG = ""
"""Stands where a break concerns the log as a whole and not one session."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept of the log apart from its store."""

    checkpoints: Sequence[KeptCheckpoint] = ()
    keys: Sequence[VerifierKey] = ()
    """The keys that count; with none, those that the administration log names."""
    leaves: Callable[[int], Iterator[bytes]] = lambda _start: iter(())
    """The hashes of the records as they were when they were integrated, from a leaf on."""
    problems: Sequence[str] = ()
    """What should have been kept and cannot be read, in sentences."""


@dataclass(frozen=True, slots=True)
class LogReport:
    """What the comparison with signed checkpoints has shown."""

    size: int
    """How many records the log has."""
    checkpoints: int
    """How many checkpoints hold."""
    signed: int
    """How many records the largest of them covers."""
    signers: tuple[str, ...]
    """The names of the keys that signed that one."""
    last_at: datetime | None
    """When the last record under it was written; None if that is not known any more."""

    @property
    def newer(self) -> int:
        """How many records no checkpoint covers yet."""
        return self.size - self.signed


@dataclass(frozen=True, slots=True)
class _Signed:
    where: str
    checkpoint: Checkpoint
    signers: tuple[str, ...]


def check_log(
    reader: SessionReader, kept: Kept, known: Sequence[VerifierKey]
) -> tuple[LogReport, list[ChainBreak]]:
    """Compare the log with every kept checkpoint, and name the first record that differs.

    `known` are the keys that the administration log names. Memory does not grow with the log.
    """
    breaks = [ChainBreak(LOG, 0, what) for what in kept.problems]
    if known and not kept.checkpoints:
        what = (
            f"the administration log says that the key {known[-1].name!r} signs this log, but no "
            "checkpoint is there: they were removed, or are elsewhere and --checkpoint names them"
        )
        breaks.append(ChainBreak(LOG, 0, what))
    signed: list[_Signed] = []
    for one in kept.checkpoints:
        try:
            signed.append(_opened(one, kept.keys or known))
        except VerifierError as error:
            breaks.append(ChainBreak(LOG, 0, f"{one.where}: {error}"))
    signed.sort(key=lambda one: one.checkpoint.size)
    comparison = _Comparison(reader, kept)
    breaks += comparison.breaks(signed)
    return comparison.report(), breaks


def _opened(kept: KeptCheckpoint, keys: Sequence[VerifierKey]) -> _Signed:
    note = parse_note(kept.note)
    checkpoint = parse_checkpoint(note.text)
    signers = check_signatures(note, keys)
    if checkpoint.origin not in signers:
        raise VerifierError(f"it is of the log {checkpoint.origin!r}, signed by {signers[0]!r}")
    return _Signed(kept.where, checkpoint, signers)


class _Comparison:
    """One pass over the log's leaves."""

    def __init__(self, reader: SessionReader, kept: Kept) -> None:
        self._reader = reader
        self._kept = kept
        self._tree = CompactRange()
        self._held = 0
        self._last: _Signed | None = None

    def breaks(self, signed: Sequence[_Signed]) -> Iterator[ChainBreak]:
        """Read all leaves; yields what contradicts the checkpoints, which ascend in size."""
        try:
            leaves = self._reader.leaves()
            for number, one in enumerate(signed):
                self._grow(leaves, one.checkpoint.size)
                problem = self._problem(one)
                if problem is not None:
                    yield _with_others(problem, len(signed) - number - 1)
                    break
                self._held += 1
                self._last = one
            self._grow(leaves, None)
        except Exception as error:  # noqa: BLE001 - a spoilt row must be reported, whatever it raises
            what = f"the log cannot be read on: {error}"
            yield ChainBreak(LOG, self._tree.size + 1, what)

    def report(self) -> LogReport:
        signed = 0 if self._last is None else self._last.checkpoint.size
        signers = () if self._last is None else self._last.signers
        return LogReport(self._tree.size, self._held, signed, signers, self._last_at(signed))

    def _grow(self, leaves: Iterator[bytes], size: int | None) -> None:
        wanted = None if size is None else size - self._tree.size
        append = self._tree.append
        for leaf in islice(leaves, wanted):
            append(leaf)

    def _problem(self, one: _Signed) -> ChainBreak | None:
        size, have = one.checkpoint.size, self._tree.size
        if have < size:
            missing = f"its last {size - have} are missing" if have else "all of them are missing"
            what = f"the log ends here, but there is the {_named(one)}: {missing}"
            return ChainBreak(LOG, have, what)
        if self._tree.root() != one.checkpoint.root:
            return self._difference(one)
        return None

    def _difference(self, one: _Signed) -> ChainBreak:
        """The first leaf that differs, among those that the checkpoint before does not cover."""
        start = 0 if self._last is None else self._last.checkpoint.size
        pairs = zip(self._reader.log(start), self._kept.leaves(start), strict=False)
        for (leaf, record), known in islice(pairs, one.checkpoint.size - start):
            if record.hash != known:
                what = (
                    f"it is not the record that stood at place {leaf + 1} of the log when the "
                    f"{_named(one)} was signed"
                )
                return ChainBreak(record.session_id, record.seq, what)
        what = (
            f"the records at the places {start + 1} to {one.checkpoint.size} are not those that "
            f"the {_named(one)} was signed of; which of them differ is not known without the tiles"
        )
        return ChainBreak(LOG, start + 1, what)

    def _last_at(self, size: int) -> datetime | None:
        if not size:
            return None
        try:
            _, record = next(self._reader.log(size - 1))
            return open_record(record.body).at
        except (StopIteration, StoreError, AuditError):
            return None  # pruned, or a break that is reported where it is


def _named(one: _Signed) -> str:
    return f"checkpoint of {one.checkpoint.size} records ({one.where})"


def _with_others(found: ChainBreak, others: int) -> ChainBreak:
    if not others:
        return found
    what = f"{found.what}; {others} later checkpoint{'s' * (others > 1)} could not be compared"
    return ChainBreak(found.session_id, found.seq, what)
