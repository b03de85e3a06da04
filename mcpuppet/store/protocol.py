"""What every store can do, and the values that pass in and out of it.

A store keeps, for each session, a chain of sealed records, the state they fold to and the few
index rows that lists and the sweeper need; it changes them together or not at all. With them it
reserves what sessions share: uses that are counted, locks that one call holds. It deliberately does
not know what an event means, what a state contains or who may do what.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from mcpuppet.audit.reader import Disclosure, SessionReader
from mcpuppet.audit.record import GENESIS
from mcpuppet.session.amounts import require_amount
from mcpuppet.session.reservations import LockHolder, Reservations, Use

__all__ = [
    "NEW_SESSION",
    "ApprovalRow",
    "Beside",
    "Disclosure",
    "Erasure",
    "Head",
    "LockClaim",
    "LockHolder",
    "NewRecord",
    "Pin",
    "Pruning",
    "Reservations",
    "ReviewRow",
    "SessionIndex",
    "SessionRow",
    "Store",
    "StoredSession",
    "Use",
    "UseClaim",
    "User",
]


@dataclass(frozen=True, slots=True)
class Head:
    """Where a session's chain ends: the last record's seq and its 32-byte hash."""

    seq: int
    hash: bytes


NEW_SESSION = Head(0, GENESIS)
"""The head of a session that has no record yet."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session as it is kept; `state` is an opaque snapshot."""

    session_id: str
    head: Head
    state: bytes


@dataclass(frozen=True, slots=True)
class NewRecord:
    """An event to be sealed onto a session's chain; `at` is aware."""

    kind: str
    at: datetime
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """An approval that waits for a person with one of `roles`."""

    approval_id: str
    step: str
    roles: tuple[str, ...]
    opened_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """A bypass that a person with one of `roles`, other than who bypassed, has to review."""

    review_id: str
    step: str
    roles: tuple[str, ...]
    bypassed_by: str
    opened_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class SessionIndex:
    """What lists and the sweeper need of a session; replaces what was indexed for it before.

    `due` is when the sweeper has to look at the session next.
    """

    principal: str
    status: str
    workflow: str | None
    open_approvals: tuple[ApprovalRow, ...]
    due: datetime | None
    open_reviews: tuple[ReviewRow, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One line of a list of sessions; the times are those of its first and last record."""

    session_id: str
    principal: str
    status: str
    workflow: str | None
    seq: int
    opened_at: datetime
    updated_at: datetime
    due: datetime | None


@dataclass(frozen=True, slots=True)
class User:
    """A person who may decide; `token_hash` is all that is kept of the token."""

    name: str
    roles: tuple[str, ...]
    token_hash: bytes
    disabled: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Pin:
    """The definition of a tool (`server.tool`) that is accepted, by its SHA-256 in hex.

    One that was only seen `first` does not replace one that is there.
    """

    tool: str
    digest: str
    first: bool = False


@dataclass(frozen=True, slots=True)
class Erasure:
    """Values of a session, by their commitments, that are to be deleted for good."""

    session_id: str
    commitments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pruning:
    """Sessions whose records are to lose their bodies, and which lose state and disclosures.

    Their status becomes `pruned`, and nothing can be appended to them any more.
    """

    session_ids: tuple[str, ...]
    before: datetime | None = None
    """StoreError, and nothing is written, if one of them was appended to at this time or later."""


Beside = User | Disclosure | Erasure | Pin | Pruning
"""What is written in the transaction of the records that tell of it."""


@dataclass(frozen=True, slots=True)
class UseClaim:
    """Count `amount` under `key`, if it and the uses after `since` come to no more than `at_most`.

    `since` is None for a key that counts for ever. Uses after `at` count, for clocks can be set
    back. With `at_most` None the claim is never refused, as when a person
    approved going over. ValueError: `amount` cannot be counted (see `require_amount`),
    `at_most` is not finite, or the use would be outside its own window.
    """

    key: str
    at: datetime
    amount: Decimal
    since: datetime | None
    at_most: Decimal | None

    def __post_init__(self) -> None:
        require_amount(self.amount)
        if self.at_most is not None and not self.at_most.is_finite():
            raise ValueError(f"{self.at_most} is not a limit: finite numbers are, and None")
        if self.since is not None and self.since >= self.at:
            raise ValueError(f"a use at {self.at} is not in a window that opens after {self.since}")


@dataclass(frozen=True, slots=True)
class LockClaim:
    """Hold `key` for a call of the session until it is released.

    Refused while another call holds it; a call may claim again what it holds.
    """

    key: str
    call_id: str


class Store(Protocol):
    """Every method raises StoreError, with the engine's reason, if the store cannot be used."""

    async def load(self, session_id: str) -> StoredSession | None:
        """The session's head and state, read at one moment."""
        ...

    async def head(self, session_id: str) -> Head | None:
        """Only the head: cheap enough to ask whether a cached state is still current."""
        ...

    async def append(
        self,
        session_id: str,
        expect: Head,
        records: Sequence[NewRecord],
        state: bytes,
        index: SessionIndex,
        *,
        claims: Sequence[UseClaim | LockClaim] = (),
        releases: Collection[str] = (),
        beside: Sequence[Beside] = (),
    ) -> Head:
        """Seal at least one record onto `expect` and replace state and index, all or nothing.

        Durable when it returns the new head. Raises SessionChangedError if the stored head is not
        `expect` (NEW_SESSION for a session that must not exist yet), and InvalidInputError if a
        record's data cannot be recorded. A caller that is cancelled while it waits must load the
        session to learn whether the append took place.

        With it the locks of `releases` are given up, where this session holds them, and then the
        `claims` are reserved, in their order; ClaimRefusedError if one does not hold (any more).
        What is `beside` is written too: a user or a pin replaces the one of its name.
        """
        ...

    async def reservations(
        self, uses: Mapping[str, datetime | None], locks: Collection[str]
    ) -> Reservations:
        """What is reserved at one moment: the uses after the time given for each key, and locks.

        The time is None for a key that counts for ever.
        """
        ...

    async def put_workflow(self, workflow_hash: str, name: str, version: str, text: str) -> None:
        """Keep a workflow's text under its content hash; doing so again changes nothing."""
        ...

    async def workflow_text(self, workflow_hash: str) -> str | None:
        """The text kept under this content hash."""
        ...

    async def sessions(self, *, limit: int, status: str | None = None) -> list[SessionRow]:
        """At most `limit` sessions, the one updated last first; not the administration log."""
        ...

    async def open_approvals(self) -> list[tuple[str, ApprovalRow]]:
        """Every open approval with its session's id, the one opened first first."""
        ...

    async def approval_session(self, approval_id: str) -> str | None:
        """The session in which this approval is open."""
        ...

    async def due_sessions(self, now: datetime, limit: int) -> list[str]:
        """At most `limit` sessions whose `due` is not after `now`, the most overdue first."""
        ...

    async def open_reviews(self) -> list[tuple[str, ReviewRow]]:
        """Every bypass that waits for its review, and its session's id; the one due first first."""
        ...

    async def review_session(self, review_id: str) -> str | None:
        """The session in which this review is open."""
        ...

    async def disclosures(self, session_id: str) -> Sequence[Disclosure]:
        """The values behind the commitments in the session's records, as far as not erased."""
        ...

    async def forget(self) -> bool:
        """Leave nothing in the store's files of what has been deleted; whether that could be done.

        It cannot while others read the store.
        """
        ...

    async def pins(self) -> Mapping[str, str]:
        """The accepted digest of each pinned tool, by `server.tool`."""
        ...

    async def users(self) -> list[User]:
        """All users, by name."""
        ...

    async def user_by_token_hash(self, token_hash: bytes) -> User | None:
        """The user with this token hash, disabled or not."""
        ...

    async def data_version(self) -> int:
        """A number that changes when any process has committed; only a hint for polling."""
        ...

    def reader(self) -> AbstractContextManager[SessionReader]:
        """An unchanging view of the store as it is now, for verification and reports."""
        ...

    async def close(self) -> None:
        """Finish what was asked for and let go of the store; closing again changes nothing."""
        ...
