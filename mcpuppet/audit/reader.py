"""How the audit reads a store: the small, synchronous view that verification and reports need.

Stores implement it. It deliberately knows no SQL, no writing and no event loop, so that a report
can be made from ordinary code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from mcpuppet.audit.record import Record


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
