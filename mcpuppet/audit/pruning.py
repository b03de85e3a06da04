"""What is left of a session whose records were pruned, and whether the pruning was ordered.

A pruned record keeps its place and its hash; its body is empty. Sessions are pruned whole. The
administration log names each of them with a digest over the hashes that are left, so that neither
another session's contents nor a hash can go quietly. Knows no store and no clock.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from mcpuppet.audit.record import ChainBreak, Record
from mcpuppet.session.admin_events import ADMINISTRATION, RecordsPruned

_ENTRY = re.compile(
    r"(?P<session>.+) (?P<records>[1-9][0-9]{0,17}) (?P<digest>[0-9a-f]{64})", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left of a pruned session, written `ID RECORDS DIGEST`.

    The digest is SHA-256, in hex, over the 32-byte hashes of its records in the order of seq.
    """

    session_id: str
    records: int
    digest: str

    def __str__(self) -> str:
        return f"{self.session_id} {self.records} {self.digest}"

    @classmethod
    def of(cls, session_id: str, records: Iterable[Record]) -> Self:
        """What is left, or would be left, of these records: all that the session has."""
        count, digest = 0, hashlib.sha256()
        for record in records:
            count += 1
            digest.update(record.hash)
        return cls(session_id, count, digest.hexdigest())


class PruningCheck:
    """Gathers what was pruned and what was ordered to be, in any order; then tells them apart."""

    def __init__(self) -> None:
        self.records = 0
        """How many records were pruned."""
        self._found: dict[str, Remains] = {}
        self._ordered: dict[str, tuple[int, str]] = {}
        self._unreadable: list[ChainBreak] = []

    def found(self, remains: Remains) -> None:
        """A session has no contents any more, but this."""
        self._found[remains.session_id] = remains
        self.records += remains.records

    def ordered(self, seq: int, event: RecordsPruned) -> None:
        """Record `seq` of the administration log says that somebody pruned these sessions."""
        listed = [_ENTRY.fullmatch(entry) for entry in event.covers]
        records = sum(int(one["records"]) for one in listed if one)
        if (len(listed), records) != (event.sessions, event.records) or not all(listed):
            what = "its list of pruned sessions is not what it says it is"
            self._unreadable.append(ChainBreak(ADMINISTRATION, seq, what))
        for entry, one in zip(event.covers, listed, strict=True):
            if one:
                self._ordered[one["session"]] = (seq, entry)

    def breaks(self) -> Iterator[ChainBreak]:
        """Yield every session that was pruned without an order, otherwise than ordered, or not."""
        yield from self._unreadable
        for session_id, remains in self._found.items():
            seq, entry = self._ordered.get(session_id, (0, ""))
            if not seq:
                what = "its contents were removed, and the administration log does not say by whom"
                yield ChainBreak(session_id, 1, what)
            elif entry != str(remains):
                what = f"its hashes are not those that record {seq} of the administration log names"
                yield ChainBreak(session_id, 1, what)
        for session_id, (seq, _) in self._ordered.items():
            if session_id not in self._found:
                what = f"it says that session {session_id!r} was pruned, which still has contents"
                yield ChainBreak(ADMINISTRATION, seq, what)
