"""From a session's events to what a report says of them: the session, its runs and its holds.

Owns which reading takes which event; calls, approvals, reviews, requests about single calls, rules
and facts have readings of their own. Deliberately verifies nothing, and accepts any order of
events: the readable records of a broken chain must still be shown, next to the breaks.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mcpuppet.audit.reports.approvals import ApprovalsReading, ReviewsReading
from mcpuppet.audit.reports.asks import AsksReading
from mcpuppet.audit.reports.calls import near_misses_of, violation
from mcpuppet.audit.reports.calls_reading import CallsReading
from mcpuppet.audit.reports.events import event_report
from mcpuppet.audit.reports.figures import figures_of
from mcpuppet.audit.reports.report import (
    ChainReport,
    CheckpointReport,
    ComplianceReport,
    EventReport,
    HoldReport,
    RefusedDecision,
    ReplayOutcome,
    Resolution,
    RunReport,
    WorkflowReport,
)
from mcpuppet.audit.reports.rules import RulesReading
from mcpuppet.session import admin_events as a
from mcpuppet.session import events as e


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an event stands in its session, and when it was recorded."""

    seq: int
    at: datetime


class ReportBuilder:
    """Takes a session's events in order, and gives the report of those it has taken."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._principal: str | None = None
        self._opened_at: datetime | None = None
        self._last_at: datetime | None = None
        self._runs: list[RunReport] = []
        self._calls = CallsReading()
        self._approvals = ApprovalsReading()
        self._asks = AsksReading()
        self._reviews = ReviewsReading()
        self._rules = RulesReading()
        self._refusals: list[RefusedDecision] = []
        self._holds: list[HoldReport] = []
        self._waiting_holds: set[int] = set()
        self._events: list[EventReport] = []

    def take(self, seq: int, event: e.Event, at: datetime) -> None:
        """Take in the event of record `seq`."""
        self._last_at = at
        self._events.append(event_report(seq, event, at))
        _HANDLERS[type(event)](self, event, _Place(seq, at))

    def report(
        self,
        chain: ChainReport,
        statement: str,
        *,
        as_of: datetime | None = None,
        text_of: Callable[[str], str | None] = lambda _: None,
        checkpoint: CheckpointReport | None = None,
        replay: ReplayOutcome | None = None,
    ) -> ComplianceReport:
        """The report of all events so far; `text_of` gives the text with a hash, if it is known.

        At `as_of`, reviews whose time has passed are overdue.
        """
        calls = self._calls.reports
        return ComplianceReport(
            session_id=self._session_id,
            principal=self._principal,
            opened_at=self._opened_at,
            last_activity_at=self._last_at,
            chain=chain,
            statement=statement,
            rules=tuple(self._rules.adopted),
            inputs=tuple(self._rules.inputs),
            runs=tuple(self._runs),
            calls=calls,
            violations=tuple(violation(one) for one in calls if one.decision == "denied"),
            near_misses=tuple(miss for one in calls for miss in near_misses_of(one)),
            approvals=self._approvals.reports,
            asks=self._asks.reports,
            holds=tuple(self._holds),
            facts=self._rules.facts,
            figures=figures_of(calls),
            reviews=self._reviews.reports(as_of),
            refusals=tuple(self._refusals),
            repeats=self._calls.repeats,
            workflows=tuple(self._workflows(text_of)),
            events=tuple(self._events),
            checkpoint=checkpoint,
            replay=replay,
            made_at=as_of,
        )

    def _workflows(self, text_of: Callable[[str], str | None]) -> typing.Iterator[WorkflowReport]:
        """Each text that was in force, once, in the order of their coming into force."""
        runs = {one.hash: one for one in reversed(self._runs)}
        for run in reversed(runs.values()):
            yield WorkflowReport("workflow", run.workflow, run.version, run.hash, text_of(run.hash))
        rules = {one.hash: one for one in reversed(self._rules.adopted)}
        for one in reversed(rules.values()):
            yield WorkflowReport("rules", one.rules, one.version, one.hash, text_of(one.hash))

    # --- the session, its rules and its runs ----------------------------------------------------

    def _opened(self, event: e.SessionOpened, place: _Place) -> None:
        self._principal, self._opened_at = event.principal, place.at

    def _rules_adopted(self, event: e.RulesAdopted, place: _Place) -> None:
        self._rules.adopt(place.seq, event, place.at)

    def _inputs_declared(self, event: e.InputsDeclared, place: _Place) -> None:
        self._rules.declare(place.seq, event, place.at)

    def _inputs_reopened(self, event: e.InputsReopened, place: _Place) -> None:
        self._rules.reopen(place.seq, event, place.at)

    def _fact_learned(self, event: e.FactLearned, place: _Place) -> None:
        del place
        self._rules.learn(event)

    def _run_started(self, event: e.RunStarted, place: _Place) -> None:
        self._runs.append(
            RunReport(
                seq=place.seq,
                run_id=event.run_id,
                workflow=event.workflow,
                version=event.version,
                hash=event.hash,
                inputs=event.inputs,
                principal=event.principal,
                status="active",
                started_at=place.at,
            )
        )

    def _run_failing(self, event: e.RunFailing, place: _Place) -> None:
        del place
        self._change_run(status="failing", reason=event.reason)

    def _run_ended(self, event: e.RunEnded, place: _Place) -> None:
        self._approvals.close(None)
        self._close_holds(None)
        run = self._active_run()
        if run is not None:
            self._change_run(
                status=event.status,
                ended_at=place.at,
                seconds=(place.at - run.started_at).total_seconds(),
                reason=event.reason or run.reason,
                ended_by=event.by,
            )

    def _active_run(self) -> RunReport | None:
        last = self._runs[-1] if self._runs else None
        return None if last is None or last.ended_at is not None else last

    def _change_run(self, **changes: Any) -> None:
        run = self._active_run()
        if run is not None:
            self._runs[-1] = replace(run, **changes)

    def _run_id(self) -> str | None:
        run = self._active_run()
        return None if run is None else run.run_id

    def _mark_waiting(self) -> None:
        """A run waits for approval exactly while a request is open, unless it is failing."""
        run = self._active_run()
        if run is not None and run.status != "failing":
            self._change_run(status="waiting_approval" if self._approvals.waiting else "active")

    # --- calls ----------------------------------------------------------------------------------

    def _call_denied(self, event: e.CallDenied, place: _Place) -> None:
        self._calls.denied(place.seq, event, place.at, self._run_id())

    def _call_deferred(self, event: e.CallDeferred, place: _Place) -> None:
        self._calls.deferred(place.seq, event, place.at, self._run_id())
        if not self._asks.attempted(event):
            self._approvals.shown(event, place.at)

    def _call_started(self, event: e.CallStarted, place: _Place) -> None:
        self._calls.started(place.seq, event, place.at, self._run_id())
        self._asks.used(event, place.at)

    def _call_succeeded(self, event: e.CallSucceeded, place: _Place) -> None:
        del place
        self._calls.succeeded(event)

    def _call_failed(self, event: e.CallFailed, place: _Place) -> None:
        del place
        self._calls.failed(event)

    def _call_unknown(self, event: e.CallBecameUnknown, place: _Place) -> None:
        del place
        self._calls.became_unknown(event)

    def _call_resolved(self, event: e.CallResolved, place: _Place) -> None:
        resolution = Resolution(event.by, event.happened, event.note, place.at)
        self._calls.resolved(event.call_id, resolution)
        self._settle_holds(lambda hold: hold.call_id == event.call_id, resolution)

    def _call_reconciled(self, event: e.CallReconciled, place: _Place) -> None:
        self._calls.reconciled(event, place.at)
        self._end_holds(lambda hold: hold.call_id == event.call_id, status="closed")

    def _call_repeated(self, event: e.CallRepeated, place: _Place) -> None:
        self._calls.repeated(place.seq, event, place.at)

    def _late_outcome(self, event: e.LateOutcome, place: _Place) -> None:
        self._calls.answered_late(event, place.at)

    # --- steps that wait for a person -----------------------------------------------------------

    def _step_held(self, event: e.StepHeld, place: _Place) -> None:
        self._close_holds((event.step,))  # the reason has changed: the step waits for that now
        hold = HoldReport(place.seq, event.step, event.reason, event.call_id, place.at)
        self._waiting_holds.add(len(self._holds))
        self._holds.append(hold)

    def _step_released(self, event: e.StepReleased, place: _Place) -> None:
        resolution = Resolution(event.by, event.ready, event.note, place.at)
        self._settle_holds(lambda hold: hold.step == event.step, resolution)

    def _step_moved(
        self, event: e.StepSucceeded | e.StepFailed | e.StepReturned, place: _Place
    ) -> None:
        del place
        self._close_holds((event.step,))

    def _step_skipped(self, event: e.StepSkipped, place: _Place) -> None:
        del place
        self._close_holds((event.step,))
        self._approvals.close(event.step)
        self._mark_waiting()

    def _step_compensated(self, event: e.StepCompensated, place: _Place) -> None:
        del place
        run = self._active_run()
        if run is not None:
            self._change_run(undone=(*run.undone, event.step))

    def _steps_redone(self, event: e.StepsRedone, place: _Place) -> None:
        del place
        self._close_holds(event.reset)

    def _settle_holds(self, concerns: Callable[[HoldReport], bool], resolution: Resolution) -> None:
        self._end_holds(concerns, status="settled", resolution=resolution)

    def _close_holds(self, steps: tuple[str, ...] | None) -> None:
        self._end_holds(lambda hold: steps is None or hold.step in steps, status="closed")

    def _end_holds(self, concerns: Callable[[HoldReport], bool], **changes: Any) -> None:
        for index in tuple(self._waiting_holds):
            if concerns(self._holds[index]):
                self._holds[index] = replace(self._holds[index], **changes)
                self._waiting_holds.remove(index)

    # --- approvals, reviews, and refused attempts to decide -------------------------------------

    def _approval_opened(self, event: e.ApprovalOpened, place: _Place) -> None:
        self._approvals.open(place.seq, event, place.at, self._run_id())
        self._mark_waiting()

    def _ask_opened(self, event: e.AskOpened, place: _Place) -> None:
        self._asks.open(place.seq, event, place.at, self._run_id())

    def _approval_voted(self, event: e.ApprovalVoted, place: _Place) -> None:
        if not self._asks.agreed(event, place.at):
            self._approvals.voted(event, place.at)

    def _approval_edited(self, event: e.ApprovalEdited, place: _Place) -> None:
        if not self._asks.edited(event, place.at):
            self._approvals.edited(event, place.at)

    def _approval_escalated(self, event: e.ApprovalEscalated, place: _Place) -> None:
        if not self._asks.escalated(event, place.at):
            self._approvals.escalated(event, place.at)

    def _approval_granted(self, event: e.ApprovalGranted, place: _Place) -> None:
        if not self._asks.granted(event, place.at):
            self._approvals.granted(event, place.at)
            self._mark_waiting()

    def _approval_rejected(self, event: e.ApprovalRejected, place: _Place) -> None:
        if not self._asks.rejected(event, place.at):
            self._approvals.rejected(event, place.at)
            self._mark_waiting()

    def _approval_bypassed(self, event: e.ApprovalBypassed, place: _Place) -> None:
        self._approvals.bypassed(event, place.at)
        self._mark_waiting()

    def _approval_expired(self, event: e.ApprovalExpired, place: _Place) -> None:
        if not self._asks.expired(event, place.at):
            self._approvals.expired(event)

    def _review_opened(self, event: e.ReviewOpened, place: _Place) -> None:
        self._reviews.open(place.seq, event, place.at)

    def _review_overdue(self, event: e.ReviewOverdue, place: _Place) -> None:
        del place
        self._reviews.overdue(event)

    def _review_closed(self, event: e.ReviewClosed, place: _Place) -> None:
        self._reviews.closed(event, place.at)

    def _decision_refused(self, event: a.DecisionRefused, place: _Place) -> None:
        self._refusals.append(
            RefusedDecision(
                seq=place.seq,
                at=place.at,
                action=event.action,
                target=event.target,
                by=event.by,
                credential=event.credential,
                channel=event.channel,
                reason=event.reason,
            )
        )

    def _administrative(self, event: a.AdminEvent, place: _Place) -> None:
        """Its sentence among the events says everything."""


_Handler = Callable[[ReportBuilder, Any, _Place], None]
_HANDLERS: Mapping[type, _Handler] = {
    e.SessionOpened: ReportBuilder._opened,
    e.RulesAdopted: ReportBuilder._rules_adopted,
    e.InputsDeclared: ReportBuilder._inputs_declared,
    e.InputsReopened: ReportBuilder._inputs_reopened,
    e.FactLearned: ReportBuilder._fact_learned,
    e.RunStarted: ReportBuilder._run_started,
    e.RunFailing: ReportBuilder._run_failing,
    e.RunEnded: ReportBuilder._run_ended,
    e.CallDenied: ReportBuilder._call_denied,
    e.CallDeferred: ReportBuilder._call_deferred,
    e.CallStarted: ReportBuilder._call_started,
    e.CallSucceeded: ReportBuilder._call_succeeded,
    e.CallFailed: ReportBuilder._call_failed,
    e.CallBecameUnknown: ReportBuilder._call_unknown,
    e.CallResolved: ReportBuilder._call_resolved,
    e.CallReconciled: ReportBuilder._call_reconciled,
    e.CallRepeated: ReportBuilder._call_repeated,
    e.LateOutcome: ReportBuilder._late_outcome,
    e.StepHeld: ReportBuilder._step_held,
    e.StepReleased: ReportBuilder._step_released,
    e.StepSucceeded: ReportBuilder._step_moved,
    e.StepFailed: ReportBuilder._step_moved,
    e.StepReturned: ReportBuilder._step_moved,
    e.StepSkipped: ReportBuilder._step_skipped,
    e.StepsRedone: ReportBuilder._steps_redone,
    e.StepCompensated: ReportBuilder._step_compensated,
    e.ApprovalOpened: ReportBuilder._approval_opened,
    e.ApprovalVoted: ReportBuilder._approval_voted,
    e.ApprovalEdited: ReportBuilder._approval_edited,
    e.ApprovalEscalated: ReportBuilder._approval_escalated,
    e.ApprovalGranted: ReportBuilder._approval_granted,
    e.ApprovalRejected: ReportBuilder._approval_rejected,
    e.ApprovalBypassed: ReportBuilder._approval_bypassed,
    e.ApprovalExpired: ReportBuilder._approval_expired,
    e.AskOpened: ReportBuilder._ask_opened,
    e.ReviewOpened: ReportBuilder._review_opened,
    e.ReviewOverdue: ReportBuilder._review_overdue,
    e.ReviewClosed: ReportBuilder._review_closed,
    **dict.fromkeys(typing.get_args(a.AdminEvent), ReportBuilder._administrative),
    a.DecisionRefused: ReportBuilder._decision_refused,
}
