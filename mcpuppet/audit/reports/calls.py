"""What a report says of calls: the decision on each, what became of it, and who said so.

Plain values; `report_builder` makes them of events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mcpuppet.session.events import Purpose


@dataclass(frozen=True, slots=True)
class Resolution:
    """A person's word on what the gateway could not know."""

    by: str
    happened: bool
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What another call, which only read, told of a call whose outcome was unknown."""

    by_call: str
    happened: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class LateOutcomeReport:
    """An answer that came after the call counted as unknown; nothing was done with it."""

    at: datetime
    outcome: Literal["succeeded", "failed"]
    message: str
    result_digest: str
    result_bytes: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class RepeatReport:
    """A request that was answered without making the call again: with the call `of`."""

    seq: int
    at: datetime
    call_id: str
    of: str
    how: Literal["attached", "replayed"]
    principal: str
    credential: str = ""
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Objection:
    """A rule that only observes, and what it objected to; `book` is the file it stands in."""

    book: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class CallReport:
    """One request to use a tool: what was decided, and what became of it.

    `seq` is the record of the decision. `digest` names session, workflow, step, tool and arguments;
    of a denied call, tool and arguments.
    """

    seq: int
    run_id: str | None
    call_id: str
    tool: str
    step: str | None
    principal: str
    digest: str
    decision: Literal["allowed", "denied", "awaiting_approval"]
    decided_at: datetime
    purpose: Purpose | None = None
    attempt: int | None = None
    rule: str | None = None
    reason: str | None = None
    """Why it was denied."""
    approval_id: str | None = None
    """The approval it waits for."""
    approvals_used: tuple[str, ...] = ()
    would_have_denied: tuple[Objection, ...] = ()
    """What rules that only observe objected to; the call was made all the same."""
    outcome: Literal["succeeded", "failed", "unknown", "open"] | None = None
    """None when nothing was sent; `open` when no outcome is recorded yet."""
    error: str | None = None
    started_at: datetime | None = None
    seconds: float | None = None
    resolution: Resolution | None = None
    arguments: Mapping[str, Any] | None = None
    """As recorded; None where a refused call's were too large to keep."""
    credential: str = ""
    """How the principal proved who they are; empty where the record does not say."""
    node: str = ""
    """The gateway process that decided."""
    before: tuple[str, ...] = ()
    """The steps that were not pending when it was decided, as `step:status`."""
    agreed: tuple[str, ...] = ()
    """The policies that asked about the call, and for which people have agreed."""
    key: str | None = None
    """The idempotency key."""
    result_digest: str | None = None
    result_bytes: int | None = None
    reconciliation: Reconciliation | None = None
    late: LateOutcomeReport | None = None
    repeats: tuple[RepeatReport, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether somebody, or a reading call, has said what became of an unknown call."""
        return self.resolution is not None or self.reconciliation is not None

    @property
    def contradicted(self) -> bool:
        """Whether the answer that came late tells otherwise than what the call was settled by."""
        said = self.resolution or self.reconciliation
        if said is None or self.late is None:
            return False
        return said.happened != (self.late.outcome == "succeeded")


@dataclass(frozen=True, slots=True)
class Violation:
    """A denied call: nothing was sent."""

    seq: int
    at: datetime
    call_id: str
    tool: str
    step: str | None
    principal: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A rule that only observes would have denied a call, which was made all the same."""

    seq: int
    at: datetime
    call_id: str
    tool: str
    step: str | None
    principal: str
    book: str
    rule: str
    reason: str


def violation(call: CallReport) -> Violation:
    """A denied call as a violation."""
    return Violation(
        seq=call.seq,
        at=call.decided_at,
        call_id=call.call_id,
        tool=call.tool,
        step=call.step,
        principal=call.principal,
        rule=call.rule or "",
        reason=call.reason or "",
    )


def near_misses_of(call: CallReport) -> tuple[NearMiss, ...]:
    """What rules that only observe objected to, one by one."""
    return tuple(
        NearMiss(
            seq=call.seq,
            at=call.decided_at,
            call_id=call.call_id,
            tool=call.tool,
            step=call.step,
            principal=call.principal,
            book=one.book,
            rule=one.rule,
            reason=one.reason,
        )
        for one in call.would_have_denied
    )
