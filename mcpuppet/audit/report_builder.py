"""From a session's events to what a report says of them: runs, calls, approvals and holds.

Owns the reading of each event; rules, facts and requests about single calls have modules of their
own. Deliberately verifies nothing, and accepts any order of events: the
readable records of a broken chain must still be shown, next to the breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from mcpuppet.audit.figures import figures_of
from mcpuppet.audit.report import (
    ApprovalReport,
    CallReport,
    ChainReport,
    ComplianceReport,
    HoldReport,
    NearMiss,
    Objection,
    Resolution,
    RunReport,
    ShownCallReport,
    Violation,
    VoteReport,
)
from mcpuppet.audit.report_asks import AsksReading
from mcpuppet.audit.report_rules import RulesReading
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
        self._calls: list[CallReport] = []
        self._call_places: dict[str, int] = {}
        self._approvals: list[ApprovalReport] = []
        self._approval_places: dict[str, int] = {}
        self._open_approvals: set[int] = set()
        self._rules = RulesReading()
        self._asks = AsksReading()
        self._holds: list[HoldReport] = []
        self._waiting_holds: set[int] = set()

    def take(self, seq: int, event: e.Event, at: datetime) -> None:
        """Take in the event of record `seq`."""
        self._last_at = at
        _HANDLERS[type(event)](self, event, _Place(seq, at))

    def report(self, chain: ChainReport, statement: str) -> ComplianceReport:
        """The report of all events so far."""
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
            calls=tuple(self._calls),
            violations=tuple(_violation(one) for one in self._calls if one.decision == "denied"),
            near_misses=tuple(miss for one in self._calls for miss in _near_misses(one)),
            approvals=tuple(self._approvals),
            asks=self._asks.reports,
            holds=tuple(self._holds),
            facts=self._rules.facts,
            figures=figures_of(self._calls),
        )

    # --- the session, its rules and its runs ----------------------------------------------------

    def _rules_adopted(self, event: e.RulesAdopted, place: _Place) -> None:
        self._rules.adopt(place.seq, event, place.at)

    def _inputs_declared(self, event: e.InputsDeclared, place: _Place) -> None:
        self._rules.declare(place.seq, event, place.at)

    def _inputs_reopened(self, event: e.InputsReopened, place: _Place) -> None:
        self._rules.reopen(place.seq, event, place.at)

    def _fact_learned(self, event: e.FactLearned, place: _Place) -> None:
        del place
        self._rules.learn(event)

    def _opened(self, event: e.SessionOpened, place: _Place) -> None:
        self._principal, self._opened_at = event.principal, place.at

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
        self._close_approvals(None)
        self._close_holds(None)
        run = self._active_run()
        if run is not None:
            self._change_run(
                status=event.status,
                ended_at=place.at,
                seconds=_seconds(run.started_at, place.at),
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

    # --- calls ----------------------------------------------------------------------------------

    def _call_denied(self, event: e.CallDenied, place: _Place) -> None:
        self._add_call(event, place, "denied", rule=event.rule, reason=event.reason)

    def _call_deferred(self, event: e.CallDeferred, place: _Place) -> None:
        self._add_call(event, place, "awaiting_approval", approval_id=event.approval_id)
        if self._asks.attempted(event):
            return
        shown = ShownCallReport(
            place.at, event.call_id, event.step or "", event.tool, event.arguments, event.digest
        )
        self._change_approval(event.approval_id, lambda one: {"shown": (*one.shown, shown)})

    def _call_started(self, event: e.CallStarted, place: _Place) -> None:
        self._add_call(
            event,
            place,
            "allowed",
            purpose=event.purpose,
            attempt=event.attempt,
            approvals_used=event.grants,
            would_have_denied=tuple(_objection(one) for one in event.would_have_denied),
            outcome="open",
            started_at=place.at,
        )
        self._asks.used(event, place.at)

    def _add_call(
        self,
        event: e.CallDenied | e.CallDeferred | e.CallStarted,
        place: _Place,
        decision: Literal["allowed", "denied", "awaiting_approval"],
        **details: Any,
    ) -> None:
        self._call_places[event.call_id] = len(self._calls)
        self._calls.append(
            CallReport(
                seq=place.seq,
                run_id=self._run_id(),
                call_id=event.call_id,
                tool=event.tool,
                step=event.step,
                principal=event.principal,
                digest=event.digest,
                decision=decision,
                decided_at=place.at,
                **details,
            )
        )

    def _call_succeeded(self, event: e.CallSucceeded, place: _Place) -> None:
        del place
        self._change_call(event.call_id, outcome="succeeded", seconds=event.seconds)

    def _call_failed(self, event: e.CallFailed, place: _Place) -> None:
        del place
        error = f"{event.reason}: {event.message}"
        self._change_call(event.call_id, outcome="failed", seconds=event.seconds, error=error)

    def _call_unknown(self, event: e.CallBecameUnknown, place: _Place) -> None:
        del place
        error = f"{event.reason}: {event.message}"
        self._change_call(event.call_id, outcome="unknown", seconds=event.seconds, error=error)

    def _call_resolved(self, event: e.CallResolved, place: _Place) -> None:
        resolution = Resolution(event.by, event.happened, event.note, place.at)
        self._change_call(event.call_id, resolution=resolution)
        self._settle_holds(lambda hold: hold.call_id == event.call_id, resolution)

    def _change_call(self, call_id: str, **changes: Any) -> None:
        index = self._call_places.get(call_id)
        if index is not None:
            self._calls[index] = replace(self._calls[index], **changes)

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
        self._close_approvals(event.step)

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

    # --- approvals ------------------------------------------------------------------------------

    def _approval_opened(self, event: e.ApprovalOpened, place: _Place) -> None:
        self._close_approvals(event.step)  # one that was asked again because it had expired
        self._approval_places[event.approval_id] = len(self._approvals)
        self._open_approvals.add(len(self._approvals))
        self._approvals.append(
            ApprovalReport(
                seq=place.seq,
                approval_id=event.approval_id,
                run_id=self._run_id(),
                step=event.step,
                asked=event.asked,
                roles=event.roles,
                quorum=event.quorum,
                requested_by=event.requested_by,
                opened_at=place.at,
                expires_at=event.expires_at,
                binds=event.binds,
            )
        )
        self._mark_waiting()

    def _ask_opened(self, event: e.AskOpened, place: _Place) -> None:
        self._asks.open(place.seq, event, place.at, self._run_id())

    def _approval_voted(self, event: e.ApprovalVoted, place: _Place) -> None:
        if self._asks.agreed(event, place.at):
            return
        vote = VoteReport(event.by, place.at, event.content, event.channel)
        self._change_approval(event.approval_id, lambda one: {"votes": (*one.votes, vote)})

    def _approval_granted(self, event: e.ApprovalGranted, place: _Place) -> None:
        if not self._asks.granted(event, place.at):
            self._decide(event.approval_id, place, event.by, status="approved")

    def _approval_rejected(self, event: e.ApprovalRejected, place: _Place) -> None:
        if self._asks.rejected(event, place.at):
            return
        if self._has_lapsed(event.approval_id):  # who had granted it stays told
            self._change_approval(event.approval_id, lambda _: {"reason": event.reason})
            return
        self._decide(event.approval_id, place, (event.by,), status="rejected", reason=event.reason)

    def _approval_bypassed(self, event: e.ApprovalBypassed, place: _Place) -> None:
        justification = event.justification
        self._decide(
            event.approval_id, place, (event.by,), status="bypassed", justification=justification
        )

    def _approval_expired(self, event: e.ApprovalExpired, place: _Place) -> None:
        if not self._asks.expired(event, place.at):
            self._change_approval(event.approval_id, lambda one: _expiry(one, event.reset))

    def _has_lapsed(self, approval_id: str) -> bool:
        index = self._approval_places.get(approval_id)
        return index is not None and self._approvals[index].status == "lapsed"

    def _decide(self, approval_id: str, place: _Place, by: tuple[str, ...], **changes: Any) -> None:
        self._change_approval(
            approval_id,
            lambda one: {
                "decided_at": place.at,
                "decided_by": by,
                "seconds_to_decide": _seconds(one.opened_at, place.at),
                **changes,
            },
        )
        self._mark_waiting()

    def _change_approval(
        self, approval_id: str, changes: Callable[[ApprovalReport], Mapping[str, Any]]
    ) -> None:
        index = self._approval_places.get(approval_id)
        if index is not None:
            self._change_approval_at(index, **changes(self._approvals[index]))

    def _change_approval_at(self, index: int, **changes: Any) -> None:
        self._approvals[index] = changed = replace(self._approvals[index], **changes)
        if changed.status != "open":
            self._open_approvals.discard(index)

    def _close_approvals(self, step: str | None) -> None:
        for index in tuple(self._open_approvals):
            approval = self._approvals[index]
            if step in (None, approval.step):
                self._change_approval_at(index, status="expired" if approval.expired else "closed")
        self._mark_waiting()

    def _mark_waiting(self) -> None:
        """A run waits for approval exactly while a request is open, unless it is failing."""
        run = self._active_run()
        if run is not None and run.status != "failing":
            self._change_run(status="waiting_approval" if self._open_approvals else "active")


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
    e.ApprovalGranted: ReportBuilder._approval_granted,
    e.ApprovalRejected: ReportBuilder._approval_rejected,
    e.ApprovalBypassed: ReportBuilder._approval_bypassed,
    e.ApprovalExpired: ReportBuilder._approval_expired,
    e.AskOpened: ReportBuilder._ask_opened,
}


def _seconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()


def _expiry(approval: ApprovalReport, reset: tuple[str, ...]) -> Mapping[str, Any]:
    granted = approval.status in ("approved", "bypassed")
    return {"expired": True, "reset": reset, "status": "lapsed" if granted else approval.status}


def _objection(one: Mapping[str, Any]) -> Objection:
    return Objection(*(str(one.get(name, "")) for name in ("book", "rule", "reason")))


def _near_misses(call: CallReport) -> Iterator[NearMiss]:
    for one in call.would_have_denied:
        yield NearMiss(
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


def _violation(call: CallReport) -> Violation:
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
