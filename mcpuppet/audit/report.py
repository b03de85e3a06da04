"""The compliance report of one session: plain values and their JSON form.

Everything in it was derived from the session's records; how is told in `audit.report_builder`. It
deliberately knows no store and no terminal.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mcpuppet.session.events import Purpose, RunEnd, time_text

FORMAT = 1
"""Raised when a key of `ComplianceReport.to_dict` changes its meaning or goes away."""


@dataclass(frozen=True, slots=True)
class Break:
    """A place at which the session's records do not hold together."""

    seq: int
    what: str


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What the verification of the session found; `head` is the last record's hash, in hex."""

    status: Literal["intact", "broken"]
    records: int
    head: str | None
    breaks: tuple[Break, ...]


@dataclass(frozen=True, slots=True)
class RulesReport:
    """A rules file that governs the session; `hash` is the SHA-256 of its text, in hex."""

    seq: int
    rules: str
    version: str
    hash: str
    adopted_at: datetime


@dataclass(frozen=True, slots=True)
class InputsReport:
    """The inputs of the rules file were declared, or a person let them be declared anew."""

    seq: int
    at: datetime
    what: Literal["declared", "reopened"]
    by: str
    rules: str | None = None
    inputs: Mapping[str, Any] | None = None
    """What was declared."""
    note: str | None = None
    """Why they were reopened."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """One execution of a workflow; `hash` is the SHA-256 of the workflow's text, in hex."""

    seq: int
    run_id: str
    workflow: str
    version: str
    hash: str
    inputs: Mapping[str, Any]
    principal: str
    status: Literal["active", "waiting_approval", "failing"] | RunEnd
    started_at: datetime
    ended_at: datetime | None = None
    seconds: float | None = None
    reason: str | None = None
    """Why it fails or ended."""
    ended_by: str | None = None
    undone: tuple[str, ...] = ()
    """Steps whose effect was undone by their compensation."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """A person's word on what the gateway could not know."""

    by: str
    happened: bool
    note: str
    at: datetime


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
    """One person's approval of the content with this digest."""

    by: str
    at: datetime
    content: str
    channel: str


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


@dataclass(frozen=True, slots=True)
class HoldReport:
    """A step that waited for a person, because a call is unknown or a guard could not be read.

    `closed` is a hold that ended without a person's word, because its step or its run did.
    """

    seq: int
    step: str
    reason: str
    call_id: str | None
    since: datetime
    status: Literal["waiting", "settled", "closed"] = "waiting"
    resolution: Resolution | None = None


@dataclass(frozen=True, slots=True)
class FactReport:
    """How often results were remembered as a fact of a workflow or rules file.

    `overflowed` counts the times when there was more than the fact may hold, and `dropped` the keys
    that made room for others.
    """

    book: str
    fact: str
    learned: int
    overflowed: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of the calls that were sent, and how long the answered ones took, in seconds.

    The success rate is succeeded / (succeeded + failed), from 0 to 1; unknown and open calls are
    counted apart. p50 and p95 are nearest-rank percentiles. None stands for "no such call".
    `would_have_denied` counts the calls that rules which only observe objected to.
    """

    name: str
    succeeded: int
    failed: int
    unknown: int
    open: int
    success_rate: float | None
    p50: float | None
    p95: float | None
    max: float | None
    would_have_denied: int = 0


@dataclass(frozen=True, slots=True)
class ObjectionFigures:
    """How many calls that were made a rule which only observes would have denied."""

    book: str
    rule: str
    calls: int


@dataclass(frozen=True, slots=True)
class FiguresReport:
    """Figures of all sent calls, and of those of each tool, step and purpose, by name."""

    overall: Figures
    by_tool: tuple[Figures, ...]
    by_step: tuple[Figures, ...]
    by_purpose: tuple[Figures, ...]
    would_have_denied: tuple[ObjectionFigures, ...]
    """By rule, those with the most calls first."""


@dataclass(frozen=True, slots=True)
class ComplianceReport:
    """All that the records of one session show; `statement` says how far that can be trusted."""

    session_id: str
    principal: str | None
    opened_at: datetime | None
    last_activity_at: datetime | None
    chain: ChainReport
    statement: str
    rules: tuple[RulesReport, ...]
    inputs: tuple[InputsReport, ...]
    runs: tuple[RunReport, ...]
    calls: tuple[CallReport, ...]
    violations: tuple[Violation, ...]
    near_misses: tuple[NearMiss, ...]
    approvals: tuple[ApprovalReport, ...]
    asks: tuple[AskReport, ...]
    holds: tuple[HoldReport, ...]
    facts: tuple[FactReport, ...]
    figures: FiguresReport

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data: keys as the fields are named, times in RFC 3339 (UTC)."""
        return {"format": FORMAT, **_json_data(self)}

    def to_json(self) -> str:
        """The report as indented JSON text in ASCII."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=True)


def _json_data(value: Any) -> Any:
    if isinstance(value, datetime):
        return time_text(value)
    if dataclasses.is_dataclass(value):
        return {
            field.name: _json_data(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {key: _json_data(inner) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_json_data(inner) for inner in value]
    return value
