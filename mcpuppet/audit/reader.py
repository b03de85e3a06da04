"""How the audit reads a store: the small, synchronous view that verification and reports need.

Stores implement it. It deliberately knows no SQL, no writing and no event loop, so that a report
can be made from ordinary code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from mcpuppet.audit.record import Record


@dataclass(frozen=True, slots=True)
class Disclosure:
    """The value behind a commitment in a session's records, and the 16 bytes that salt it."""

    session_id: str
    commitment: str
    """SHA-256, in hex, over 0x02, the salt and the canonical JSON of the value."""
    salt: bytes
    value: Any


@dataclass(frozen=True, slots=True)
class KnownUser:
    """A person as the store holds them, to be compared with the administration log."""

    name: str
    roles: tuple[str, ...]
    credential: str
    """SHA-256 of the token, in hex."""
    disabled: bool


class SessionReader(Protocol):
    """One unchanging view of a store: what is appended after it was opened is not seen.

    Without that, a head read before a record and the record would contradict each other.
    Every method raises StoreError if the store cannot be read.
    """

    def session_ids(self) -> Iterator[str]:
        """All sessions, in ascending order of id."""
        ...

    def records(self, session_id: str) -> Iterator[Record]:
        """The session's records as they are stored, in ascending seq."""
        ...

    def observed(self, session_id: str | None = None) -> Iterator[Record]:
        """Every record, of all sessions or of one, that may tell of rules which only observed.

        Those are the calls that such rules would have denied; other records may be among them.
        """
        ...

    def size(self) -> int:
        """How many records the store holds, of all sessions."""
        ...

    def leaves(self, start: int = 0) -> Iterator[bytes]:
        """The 32-byte hashes of the records, in the order of commits, from leaf `start` on."""
        ...

    def log(self, start: int = 0) -> Iterator[tuple[int, Record]]:
        """Each record with its leaf (0-based), in the order of commits, from leaf `start` on.

        The body of a pruned record is empty.
        """
        ...

    def session_log(self, session_id: str) -> Iterator[tuple[int, Record]]:
        """The session's records with their leaves, in ascending seq."""
        ...

    def workflow_texts(self) -> Iterator[tuple[str, str]]:
        """Content hash and text of every workflow and rules file that sessions began with."""
        ...

    def disclosures(self, session_id: str) -> Iterator[Disclosure]:
        """The values behind the commitments in the session's records, as far as not erased."""
        ...

    def users(self) -> Iterator[KnownUser]:
        """Everybody who was given a token, by name."""
        ...

    def head(self, session_id: str) -> tuple[int, bytes] | None:
        """The (seq, 32-byte hash) of the session's last record, kept apart from the records."""
        ...

    def snapshot(self, session_id: str) -> bytes | None:
        """The stored state that the session's records must fold to."""
        ...

    def workflow_text(self, workflow_hash: str) -> str | None:
        """The text of the workflow with this content hash."""
        ...


OpenReader = Callable[[], AbstractContextManager[SessionReader]]
"""Opens a view of the store as it is now; leaving the context closes it."""
