"""The compliance report of a period: totals, a line for each session, and what stands out.

Plain values and their JSON form. It keeps one short line for each session and at most
`MOST_LISTED` things of each kind, so that its size does not grow with what the sessions did; the
CSV form of the same period has every record.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from mcpuppet.audit.reports.counting import Period, replay_counts, totals_of
from mcpuppet.audit.reports.evidence import EvidenceRow, evidence_of
from mcpuppet.audit.reports.figures import FiguresReading
from mcpuppet.audit.reports.report import (
    FORMAT,
    ApprovalReport,
    AskReport,
    CallReport,
    CheckpointReport,
    ComplianceReport,
    EventReport,
    FiguresReport,
    NearMiss,
    RefusedDecision,
    ReplayOutcome,
    ReviewReport,
    Violation,
    WorkflowReport,
    json_data,
)
from mcpuppet.audit.reports.totals import Totals
from mcpuppet.session.admin_events import ADMINISTRATION

MOST_LISTED = 1_000
"""Things of one kind that are listed; their number is always told."""

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Listing(Generic[ItemT]):
    """The first things of a kind, each with its session, and how many there are."""

    total: int
    items: tuple[tuple[str, ItemT], ...]

    @property
    def is_complete(self) -> bool:
        """Whether all of them are listed."""
        return self.total == len(self.items)


@dataclass(frozen=True, slots=True)
class SessionLine:
    """One session in a line: what happened in it within the period."""

    session_id: str
    principal: str | None
    books: tuple[str, ...]
    """Workflows and rules files in force, with their versions."""
    first_at: datetime | None
    last_at: datetime | None
    """Of its records in the period; None where none of them can be read."""
    records: int
    calls: int
    allowed: int
    denied: int
    near_misses: int
    requests: int
    bypasses: int
    unsettled: int
    breaks: int
    """What does not hold in its records, of whatever time."""


@dataclass(frozen=True, slots=True)
class PeriodReport:
    """All sessions with a record from `since` on and before `until`, as of the period's end.

    `pruned` sessions have no contents any more: whether they were active is not known.
    """

    since: datetime
    until: datetime
    made_at: datetime
    statement: str
    totals: Totals
    figures: FiguresReport
    sessions: tuple[SessionLine, ...]
    breaks: Listing[str]
    violations: Listing[Violation]
    near_misses: Listing[NearMiss]
    requests: Listing[ApprovalReport | AskReport]
    bypasses: Listing[ApprovalReport]
    reviews: Listing[ReviewReport]
    refusals: Listing[RefusedDecision]
    unknown: Listing[CallReport]
    administration: Listing[EventReport]
    workflows: tuple[WorkflowReport, ...]
    pruned: int
    checkpoint: CheckpointReport | None = None
    replay: ReplayOutcome | None = None

    @property
    def holds_together(self) -> bool:
        """Whether nothing that was checked speaks against the records."""
        return self.totals.holds_together

    @property
    def evidence(self) -> tuple[EvidenceRow, ...]:
        """What the report evidences of standards and law, and what it does not."""
        return evidence_of(self.totals)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data: keys as the fields are named, times in RFC 3339 (UTC)."""
        head = {"mcpuppet_report": FORMAT, "kind": "period"}
        return {**head, **json_data(self), "evidence": json_data(self.evidence)}

    def to_json(self) -> str:
        """The report as indented JSON text in ASCII."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=True)


class PeriodReading:
    """Takes the reports of sessions one by one, and keeps what a report of the period needs."""

    def __init__(self, period: Period) -> None:
        self._period = period
        self._totals = Totals()
        self._figures = FiguresReading()
        self._lines: list[SessionLine] = []
        self._workflows: dict[str, WorkflowReport] = {}
        self._counts: Counter[str] = Counter()
        self._listed: dict[str, list[tuple[str, Any]]] = {}

    @property
    def session_ids(self) -> list[str]:
        """The sessions that were taken."""
        return [one.session_id for one in self._lines]

    def take(self, report: ComplianceReport) -> None:
        """Count a session with at least one record in the period."""
        period, totals = self._period, totals_of(report, self._period)
        self._totals = self._totals.plus(totals)
        self._lines.append(_line(report, totals, period))
        workflow_of = {one.run_id: one.workflow for one in report.runs}
        for call in report.calls:
            if call.decided_at in period:
                self._figures.take(call, workflow=workflow_of.get(call.run_id or "", ""))
        for one in report.workflows:
            self._workflows.setdefault(one.hash, one)
        self._list_all(report)

    def report(
        self,
        made_at: datetime,
        statement: str,
        *,
        pruned: int,
        checkpoint: CheckpointReport | None,
        replay: ReplayOutcome | None,
    ) -> PeriodReport:
        """The report of all sessions so far."""
        return PeriodReport(
            since=self._period.since,
            until=self._period.until,
            made_at=made_at,
            statement=statement,
            totals=self._whole(made_at, pruned, checkpoint, replay),
            figures=self._figures.report(),
            sessions=tuple(self._lines),
            breaks=self._listing("breaks"),
            violations=self._listing("violations"),
            near_misses=self._listing("near_misses"),
            requests=self._listing("requests"),
            bypasses=self._listing("bypasses"),
            reviews=self._listing("reviews"),
            refusals=self._listing("refusals"),
            unknown=self._listing("unknown"),
            administration=self._listing("administration"),
            workflows=tuple(self._workflows.values()),
            pruned=pruned,
            checkpoint=checkpoint,
            replay=replay,
        )

    def _whole(
        self,
        made_at: datetime,
        pruned: int,
        checkpoint: CheckpointReport | None,
        replay: ReplayOutcome | None,
    ) -> Totals:
        """The totals with what was checked of all sessions together."""
        problems = () if checkpoint is None else checkpoint.problems
        signed = checkpoint is not None and checkpoint.covers
        counts: dict[str, Any] = {} if replay is None else replay_counts(replay)
        return replace(
            self._totals,
            versions=len(self._workflows),
            sessions_signed=self._totals.sessions if signed else 0,
            sessions_pruned=pruned,
            breaks=self._totals.breaks + len(problems),
            as_of=made_at,
            **counts,
        )

    def _list_all(self, report: ComplianceReport) -> None:
        period, name = self._period, report.session_id
        requests: tuple[ApprovalReport | AskReport, ...] = (*report.approvals, *report.asks)
        kept: dict[str, list[Any]] = {
            "breaks": [f"record {one.seq}: {one.what}" for one in report.chain.breaks],
            "violations": [one for one in report.violations if one.at in period],
            "near_misses": [one for one in report.near_misses if one.at in period],
            "requests": [
                one
                for one in requests
                if one.opened_at in period or one.decided_at in period or one.status == "open"
            ],
            "bypasses": [
                one
                for one in report.approvals
                if one.justification is not None and one.decided_at in period
            ],
            "reviews": [
                one
                for one in report.reviews
                if one.status in ("open", "overdue")
                or one.opened_at in period
                or one.closed_at in period
            ],
            "refusals": [one for one in report.refusals if one.at in period],
            "unknown": [
                one
                for one in report.calls
                if (one.outcome == "unknown" or one.late is not None)
                and (one.decided_at in period or not one.settled)
            ],
            "administration": [
                one
                for one in report.events
                # Refused attempts of a session are listed with it, under `refusals`.
                if one.administrative
                and one.at in period
                and (name == ADMINISTRATION or one.kind != "DecisionRefused")
            ],
        }
        for kind, items in kept.items():
            self._counts[kind] += len(items)
            listed = self._listed.setdefault(kind, [])
            listed.extend((name, one) for one in items[: MOST_LISTED - len(listed)])

    def _listing(self, kind: str) -> Listing[Any]:
        return Listing(self._counts[kind], tuple(self._listed.get(kind, ())))


def _line(report: ComplianceReport, totals: Totals, period: Period) -> SessionLine:
    times = [one.at for one in report.events if one.at in period]
    return SessionLine(
        session_id=report.session_id,
        principal=report.principal,
        books=tuple(f"{one.name} {one.version}" for one in report.workflows),
        first_at=min(times, default=None),
        last_at=max(times, default=None),
        records=len(times),
        calls=totals.calls,
        allowed=totals.allowed,
        denied=totals.denied,
        near_misses=totals.near_misses,
        requests=totals.requests,
        bypasses=totals.bypasses,
        unsettled=totals.unsettled,
        breaks=totals.breaks,
    )
