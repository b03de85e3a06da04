"""The compliance report of one session: plain values and their JSON form.

Everything in it was derived from the session's records; how is told in `audit.reports.builder`. It
deliberately knows no store and no terminal. Calls and people's decisions have modules of their own,
and are to be had from here too.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mcpuppet.audit.reports.calls import (
    CallReport,
    LateOutcomeReport,
    NearMiss,
    Objection,
    Reconciliation,
    RepeatReport,
    Resolution,
    Violation,
)
from mcpuppet.audit.reports.counting import totals_of
from mcpuppet.audit.reports.decisions import (
    AgreementReport,
    ApprovalReport,
    AskReport,
    EditReport,
    EscalationReport,
    RefusedDecision,
    ReviewReport,
    ShownCallReport,
    ShownValue,
    VoteReport,
)
from mcpuppet.audit.reports.evidence import EvidenceRow, evidence_of
from mcpuppet.audit.reports.key_figures import Figures, FiguresReport, ObjectionFigures
from mcpuppet.audit.reports.totals import Totals
from mcpuppet.session.events import RunEnd, time_text

__all__ = [
    "FORMAT",
    "AgreementReport",
    "ApprovalReport",
    "AskReport",
    "Break",
    "CallReport",
    "ChainReport",
    "CheckpointReport",
    "ComplianceReport",
    "EditReport",
    "EscalationReport",
    "EventReport",
    "FactReport",
    "Figures",
    "FiguresReport",
    "HoldReport",
    "InputsReport",
    "LateOutcomeReport",
    "NearMiss",
    "Objection",
    "ObjectionFigures",
    "Reconciliation",
    "RefusedDecision",
    "RepeatReport",
    "ReplayFinding",
    "ReplayOutcome",
    "Resolution",
    "ReviewReport",
    "RulesReport",
    "RunReport",
    "ShownCallReport",
    "ShownValue",
    "Violation",
    "VoteReport",
    "WorkflowReport",
    "json_data",
]

FORMAT = 1
"""Raised when a key of `ComplianceReport.to_dict` changes its meaning or goes away."""


@dataclass(frozen=True, slots=True)
class Break:
    """A place at which the session's records do not hold together."""

    seq: int
    what: str


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What the verification of the session found; `head` is the last record's hash, in hex.

    The contents of a `pruned` session were removed, as the administration log says; hashes stay.
    """

    status: Literal["intact", "broken", "pruned"]
    records: int
    head: str | None
    breaks: tuple[Break, ...]


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """The comparison of the whole log with its signed checkpoints.

    `size` counts the records under the largest checkpoint that agrees, `root` is their RFC 6962
    tree hash in hex, and `last_at` when the last of them was written. `key` is None where no key is
    known, `covered` counts the records of this report that are under the checkpoint.
    """

    origin: str | None
    key: str | None
    size: int
    root: str | None
    last_at: datetime | None
    covered: int
    records: int
    """How many records this report is about."""
    problems: tuple[str, ...] = ()

    @property
    def covers(self) -> bool:
        """Whether all records of this report are under the checkpoint, and it agrees."""
        return self.covered == self.records and not self.problems


@dataclass(frozen=True, slots=True)
class ReplayFinding:
    """A record that says something else than the rules lead to."""

    session_id: str
    seq: int
    what: str


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """Decisions that were made again by the recorded texts: how many came out how.

    `rederived` follow from the records alone. `consistent` also rest on what the record itself
    states, and `not_derivable` on what is not in the trail: both by reason. `differing` come out
    otherwise. `unread` counts sessions that could not be played to their end, by reason.
    """

    decisions: int
    rederived: int
    consistent: Mapping[str, int]
    not_derivable: Mapping[str, int]
    unread: Mapping[str, int]
    differing: tuple[ReplayFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkflowReport:
    """A workflow or rules file that was in force; `text` is None where it cannot be shown.

    It is shown only if it still has the `hash` that was recorded: the SHA-256 of it, in hex.
    """

    kind: Literal["workflow", "rules"]
    name: str
    version: str
    hash: str
    text: str | None = None


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
class EventReport:
    """One record in a sentence; `kind` is the name of its event.

    `who` is a principal, person or process, and empty where the gateway acted by itself. `about`
    names the call, request, review, step, tool or person that it concerns.
    """

    seq: int
    at: datetime
    kind: str
    what: str
    who: str = ""
    about: str = ""
    credential: str = ""
    channel: str = ""
    administrative: bool = False


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
    reviews: tuple[ReviewReport, ...] = ()
    refusals: tuple[RefusedDecision, ...] = ()
    repeats: tuple[RepeatReport, ...] = ()
    workflows: tuple[WorkflowReport, ...] = ()
    checkpoint: CheckpointReport | None = None
    replay: ReplayOutcome | None = None
    events: tuple[EventReport, ...] = ()
    """Every record that can be read, in order."""
    made_at: datetime | None = None

    @property
    def holds_together(self) -> bool:
        """Whether nothing that was checked speaks against the records."""
        checkpoint = self.checkpoint is None or not self.checkpoint.problems
        replay = self.replay is None or not self.replay.differing
        return self.chain.status != "broken" and checkpoint and replay

    @property
    def totals(self) -> Totals:
        """How often everything happened."""
        return totals_of(self)

    @property
    def evidence(self) -> tuple[EvidenceRow, ...]:
        """What the report evidences of standards and law, and what it does not."""
        return evidence_of(self.totals)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data: keys as the fields are named, times in RFC 3339 (UTC)."""
        return {
            "mcpuppet_report": FORMAT,
            "kind": "session",
            **json_data(self),
            "totals": json_data(self.totals),
            "evidence": json_data(self.evidence),
        }

    def to_json(self) -> str:
        """The report as indented JSON text in ASCII."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=True)


def json_data(value: Any) -> Any:
    """A report's value as JSON data."""
    if isinstance(value, datetime):
        return time_text(value)
    if dataclasses.is_dataclass(value):
        return {
            field.name: json_data(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {key: json_data(inner) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [json_data(inner) for inner in value]
    return value
