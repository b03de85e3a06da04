"""What a report says of people's decisions: approvals, requests about calls, reviews, refusals.

Plain values; `report_approvals`, `report_asks` and `report_reviews` make them of events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ShownCallReport:
    """A call that the people who decide were shown."""

    at: datetime
    call_id: str
    step: str
    tool: str
    arguments: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class VoteReport:
    """One person's approval of the content with this digest, and the roles they held then."""

    by: str
    at: datetime
    content: str
    channel: str
    roles: tuple[str, ...] = ()
    credential: str = ""
    void: bool = False
    """Whether the call was edited after it, so that it does not count."""


@dataclass(frozen=True, slots=True)
class EditReport:
    """A person changed the arguments of the call that was asked about; earlier votes were void."""

    at: datetime
    by: str
    tool: str
    arguments: Mapping[str, Any]
    digest: str
    replaces: str
    """The digest of the call as it was shown before."""
    note: str
    credential: str = ""


@dataclass(frozen=True, slots=True)
class EscalationReport:
    """Nobody had decided in time, and people with other roles were asked."""

    at: datetime
    roles: tuple[str, ...]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ApprovalReport:
    """A request for a decision; `asked` counts how often it was asked for, from 1.

    `closed` is a request that ended without a decision, because its step or its run did. `lapsed`
    is one that was granted, and the grant not used in time.
    """

    seq: int
    approval_id: str
    run_id: str | None
    step: str
    asked: int
    roles: tuple[str, ...]
    quorum: int
    requested_by: str
    opened_at: datetime
    expires_at: datetime
    binds: Mapping[str, Any]
    status: Literal["open", "approved", "rejected", "bypassed", "expired", "closed", "lapsed"] = (
        "open"
    )
    shown: tuple[ShownCallReport, ...] = ()
    votes: tuple[VoteReport, ...] = ()
    expired: bool = False
    decided_at: datetime | None = None
    decided_by: tuple[str, ...] = ()
    seconds_to_decide: float | None = None
    reason: str | None = None
    """Why it was rejected."""
    justification: str | None = None
    """Why it was bypassed."""
    reset: tuple[str, ...] = ()
    """Steps that were skipped because of the grant, and pending again once it had lapsed."""
    separation: bool = False
    """Whether who asked was kept from deciding."""
    edits: tuple[EditReport, ...] = ()
    escalations: tuple[EscalationReport, ...] = ()
    channel: str = ""
    """Where it was rejected or bypassed; approvals say it with each vote."""
    credential: str = ""
    """How who rejected or bypassed proved who they are."""


@dataclass(frozen=True, slots=True)
class ShownValue:
    """A value that people were shown first, and where it was first seen."""

    path: str
    value: Any
    seen: str


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """One person's agreement to the content with this digest, and for which policies it counts."""

    by: str
    at: datetime
    content: str
    channel: str
    policies: tuple[str, ...]
    roles: tuple[str, ...] = ()
    credential: str = ""


@dataclass(frozen=True, slots=True)
class AskReport:
    """A request about one call; `policies` maps each policy that asked to its roles.

    `expired` was not decided in time; `lapsed` was granted, and the grant not used in time; `used`
    let its one call through.
    """

    seq: int
    approval_id: str
    run_id: str | None
    step: str | None
    tool: str
    arguments: Mapping[str, Any]
    digest: str
    policies: Mapping[str, tuple[str, ...]]
    shown: tuple[ShownValue, ...]
    requested_by: str
    opened_at: datetime
    expires_at: datetime
    status: Literal["open", "approved", "rejected", "expired", "lapsed", "used"] = "open"
    attempts: tuple[str, ...] = ()
    """The calls that were put off because of it, by id."""
    agreements: tuple[AgreementReport, ...] = ()
    decided_at: datetime | None = None
    decided_by: tuple[str, ...] = ()
    seconds_to_decide: float | None = None
    reason: str | None = None
    """Why it was rejected."""
    ended_at: datetime | None = None
    """When it expired, lapsed or was used."""
    used_by: str | None = None
    """The call that was made with it, by id."""
    edits: tuple[EditReport, ...] = ()
    escalations: tuple[EscalationReport, ...] = ()
    channel: str = ""
    """Where it was rejected; agreements say it each."""
    credential: str = ""


@dataclass(frozen=True, slots=True)
class ReviewReport:
    """The review of a bypass; `overdue` is one that is still to be made after its time."""

    seq: int
    review_id: str
    approval_id: str
    step: str
    bypassed_by: str
    justification: str
    roles: tuple[str, ...]
    opened_at: datetime
    due_at: datetime
    status: Literal["open", "overdue", "justified", "unjustified"] = "open"
    late: bool = False
    """Whether its time passed before anybody had reviewed."""
    closed_at: datetime | None = None
    closed_by: str | None = None
    note: str | None = None
    credential: str = ""


@dataclass(frozen=True, slots=True)
class RefusedDecision:
    """Somebody tried to decide, and was not allowed to, or was too late."""

    seq: int
    at: datetime
    action: str
    target: str
    by: str
    """Empty where the token belongs to nobody."""
    credential: str
    channel: str
    reason: str
