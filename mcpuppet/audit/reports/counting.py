"""Counts what a report tells of, all of it or what fell into a period."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mcpuppet.audit.reports.totals import Totals

if TYPE_CHECKING:  # a report counts itself with this module
    from mcpuppet.audit.reports.report import ComplianceReport, ReplayOutcome

_GRANTED = {"approved", "used", "lapsed"}
_PEOPLE = {"UserAdded", "UserRolesChanged", "UserDisabled", "TokenRotated"}
_TIME = ("time",)
"""Who rejected, where nobody had decided in time."""


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` on, and before `until`; both aware."""

    since: datetime
    until: datetime

    def __contains__(self, at: datetime | None) -> bool:
        return at is not None and self.since <= at < self.until


ALWAYS = Period(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def totals_of(report: ComplianceReport, period: Period = ALWAYS) -> Totals:
    """What happened in the period; what is open, waiting or overdue is told as of its end."""
    return Totals(
        sessions=1,
        records=_records(report, period),
        **_integrity(report),
        **_runs(report, period),
        **_calls(report, period),
        **_decisions(report, period),
        **_events(report, period),
        oldest=report.opened_at or (report.events[0].at if report.events else None),
        newest=report.last_activity_at,
        as_of=report.made_at,
    )


def _integrity(report: ComplianceReport) -> dict[str, int]:
    checkpoint = report.checkpoint
    problems = () if checkpoint is None else checkpoint.problems
    broken = bool(report.chain.breaks or problems)
    pruned = not broken and report.chain.status == "pruned"
    return {
        "sessions_intact": int(not broken and not pruned),
        "sessions_broken": int(broken),
        "sessions_pruned": int(pruned),
        "sessions_signed": int(checkpoint is not None and checkpoint.covers and not broken),
        "breaks": len(report.chain.breaks) + len(problems),
        **({} if report.replay is None else replay_counts(report.replay)),
    }


def replay_counts(replay: ReplayOutcome) -> dict[str, int]:
    """The counts of decisions that were made again, as `Totals` names them."""
    return {
        "replayed": replay.decisions,
        "replay_rederived": replay.rederived,
        "replay_consistent": sum(replay.consistent.values()),
        "replay_not_derivable": sum(replay.not_derivable.values()),
        "replay_differing": len(replay.differing),
        "replay_unread": sum(replay.unread.values()),
    }


def _records(report: ComplianceReport, period: Period) -> int:
    if period == ALWAYS:  # also those that cannot be read
        return report.chain.records
    return _count(one.at in period for one in report.events)


def _runs(report: ComplianceReport, period: Period) -> dict[str, int]:
    completed = (one for one in report.runs if one.status == "completed")
    return {
        "runs": _count(one.started_at in period for one in report.runs),
        "runs_completed": _count(one.ended_at in period for one in completed),
        "versions": len({one.hash for one in report.workflows}),
        "holds_waiting": _count(one.status == "waiting" for one in report.holds),
    }


def _calls(report: ComplianceReport, period: Period) -> dict[str, int]:
    calls = [one for one in report.calls if one.decided_at in period]
    decisions = Counter(one.decision for one in calls)
    outcomes = Counter(one.outcome for one in calls)
    resolutions = (one.resolution for one in report.calls if one.resolution is not None)
    readings = (one.reconciliation for one in report.calls if one.reconciliation is not None)
    late = (one.late for one in report.calls if one.late is not None)
    return {
        "calls": len(calls),
        "allowed": decisions["allowed"],
        "denied": decisions["denied"],
        "deferred": decisions["awaiting_approval"],
        "succeeded": outcomes["succeeded"],
        "failed": outcomes["failed"],
        "unknown": outcomes["unknown"],
        "unsettled": _count(one.outcome == "unknown" and not one.settled for one in calls),
        "open_calls": outcomes["open"],
        "resolved": _count(one.at in period for one in resolutions),
        "reconciled": _count(one.at in period for one in readings),
        "repeated": _count(one.at in period for one in report.repeats),
        "late": _count(one.at in period for one in late),
        "contradicted": _count(
            one.late is not None and one.late.at in period and one.contradicted
            for one in report.calls
        ),
        "near_misses": _count(bool(one.would_have_denied) for one in calls),
        "calls_with_credential": _count(bool(one.credential) for one in calls),
        "calls_with_arguments": _count(one.arguments is not None for one in calls),
        "calls_with_answer": _count(
            one.result_digest is not None or one.error is not None for one in calls
        ),
    }


def _decisions(report: ComplianceReport, period: Period) -> dict[str, int]:
    requests: tuple[Any, ...] = (*report.approvals, *report.asks)
    decided = [one for one in requests if one.decided_at in period]
    by_people = [one for one in decided if one.decided_by != _TIME]
    undecided = (one for one in requests if one.decided_at is None and one.status == "expired")
    passed = (one for one in report.approvals if one.justification is not None)
    by_time = _count(one.decided_by == _TIME for one in decided)
    return {
        "requests": _count(one.opened_at in period for one in requests),
        "granted": _count(one.status in _GRANTED for one in by_people),
        "rejected": _count(one.status == "rejected" for one in by_people),
        "timed_out": by_time + _count(_expiry(one) in period for one in undecided),
        "waiting": _count(one.status == "open" for one in requests),
        "edits": _count(edit.at in period for one in requests for edit in one.edits),
        "escalations": _count(it.at in period for one in requests for it in one.escalations),
        "bypasses": _count(one.decided_at in period for one in passed),
        "reviews_open": _count(one.status in ("open", "overdue") for one in report.reviews),
        "reviews_overdue": _count(one.status == "overdue" for one in report.reviews),
        "reviews_justified": _closed(report, period, "justified"),
        "reviews_unjustified": _closed(report, period, "unjustified"),
        "refused_decisions": _count(one.at in period for one in report.refusals),
    }


def _expiry(request: Any) -> datetime:
    """When a request was given up; approval steps are as soon as their time is over."""
    ended: datetime | None = getattr(request, "ended_at", None)
    expires: datetime = request.expires_at
    return ended or expires


def _closed(report: ComplianceReport, period: Period, status: str) -> int:
    return _count(one.status == status and one.closed_at in period for one in report.reviews)


def _events(report: ComplianceReport, period: Period) -> dict[str, int]:
    kinds = Counter(one.kind for one in report.events if one.administrative and one.at in period)
    return {
        "tools_pinned": kinds["ToolPinned"],
        "tools_changed": kinds["ToolChanged"],
        "people_changes": sum(kinds[one] for one in _PEOPLE),
        "keys_created": kinds["SigningKeyCreated"],
        "disclosures": kinds["ValuesDisclosed"],
        "erasures": kinds["ValuesErased"],
        "prunings": kinds["RecordsPruned"],
    }


def _count(conditions: Iterable[bool]) -> int:
    return sum(conditions)
