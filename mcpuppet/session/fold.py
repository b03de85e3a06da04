"""`apply` and `fold`: a session's state is the fold of its events.

No guard is evaluated and no time is read here. The marking of the run is moved through the
lifecycles of `session.machine`, so an event that cannot have happened is an error and not a strange
state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from mcpuppet.errors import AuditError
from mcpuppet.session import events as e
from mcpuppet.session.machine import LifecycleError, StepChange, run_after, step_after
from mcpuppet.session.state import (
    ApprovalState,
    Hold,
    OpenCall,
    RunState,
    SessionState,
    ShownCall,
    StepCall,
)
from mcpuppet.workflow.marking import (
    RUNNING,
    all_pending,
    event_bit,
    event_bits,
    status_of,
    with_status,
)


def fold(session_id: str, history: Iterable[tuple[e.Event, datetime]]) -> SessionState | None:
    """The state after all events of a session; None when there are none."""
    state: SessionState | None = None
    for event, at in history:
        state = apply(session_id, state, event, at)
    return state


def apply(
    session_id: str, state: SessionState | None, event: e.Event, at: datetime
) -> SessionState:
    """The state after one more event; raises AuditError for an event that cannot have happened."""
    if isinstance(event, e.SessionOpened):
        if state is not None:
            raise AuditError("a session is opened once")
        return SessionState(session_id, event.principal, at)
    if state is None:
        raise AuditError(f"{e.event_kind(event)} before the session was opened")
    handler = _HANDLERS[type(event)]
    try:
        return handler(state, event, at)
    except (LifecycleError, KeyError) as error:
        raise AuditError(f"{e.event_kind(event)} cannot have happened: {error}") from error


def _run(state: SessionState) -> RunState:
    if state.run is None or state.run.ended:
        raise AuditError("there is no active run")
    return state.run


def _with(mapping: Mapping[str, Any], /, **values: Any) -> Mapping[str, Any]:
    return {**mapping, **values}


def _without(mapping: Mapping[str, Any], keys: Iterable[str]) -> Mapping[str, Any]:
    gone = set(keys)
    return {key: value for key, value in mapping.items() if key not in gone}


def _move(run: RunState, step: str, change: StepChange, event: str | None = None) -> RunState:
    """Move one step through its lifecycle, and make the event's bit stick."""
    index = run.index[step]
    marking = with_status(run.marking, index, step_after(status_of(run.marking, index), change))
    seen = run.seen if event is None else run.seen | event_bit(index, event)
    return replace(run, marking=marking, seen=seen)


def _run_started(state: SessionState, event: e.RunStarted, at: datetime) -> SessionState:
    if state.active_run is not None:
        raise AuditError("a session has at most one active run")
    run = RunState(
        run_id=event.run_id,
        workflow=event.workflow,
        version=event.version,
        hash=event.hash,
        inputs=event.inputs,
        steps=event.steps,
        principal=event.principal,
        started_at=at,
        expires_at=event.expires_at,
        status=run_after("created", "start"),
        marking=all_pending(len(event.steps)),
    )
    return replace(state, run=run, runs=state.runs + 1)


def _unchanged(state: SessionState, event: e.CallDenied, at: datetime) -> SessionState:
    del event, at  # a refusal never changes the state
    return state


def _call_deferred(state: SessionState, event: e.CallDeferred, at: datetime) -> SessionState:
    del at
    approval = _approval(state, event.approval_id)
    shown = ShownCall(event.step, event.tool, event.arguments, event.digest)
    others = tuple(one for one in approval.shown if one.step != event.step)
    return _with_approval(state, replace(approval, shown=(*others, shown)))


def _call_started(state: SessionState, event: e.CallStarted, at: datetime) -> SessionState:
    call = OpenCall(
        event.call_id,
        event.tool,
        event.digest,
        event.purpose,
        event.step,
        event.attempt,
        event.node,
        at,
        None if event.purpose == "always" else _run(state).run_id,
    )
    state = replace(state, calls=_with(state.calls, **{event.call_id: call}))
    if state.active_run is None:
        return state
    run = _counted(_run(state), event)
    if event.purpose == "step" and event.step is not None:
        run = _step_started(run, event.step, event)
    return replace(state, run=run)


def _counted(run: RunState, event: e.CallStarted) -> RunState:
    """Raise the counters of the policies that limit this call."""
    if not event.counts:
        return run
    raised = {f"policy:{one}": run.count(f"policy:{one}") + 1 for one in event.counts}
    return replace(run, counters=_with(run.counters, **raised))


def _step_started(run: RunState, step: str, event: e.CallStarted) -> RunState:
    run = _move(run, step, "start", "call")
    attempt = f"attempt:{step}"
    used = {
        name: replace(one, used=_with(one.used, **{step: event.digest}))
        for name, one in run.approvals.items()
        if one.approval_id in event.grants
    }
    return replace(
        run,
        counters=_with(run.counters, **{attempt: run.count(attempt) + 1}),
        current=_with(run.current, **{step: StepCall(event.call_id, event.tool)}),
        not_before=_without(run.not_before, [step]),
        approvals=_with(run.approvals, **used),
    )


def _call_ended(
    state: SessionState, event: e.CallSucceeded | e.CallFailed, at: datetime
) -> SessionState:
    del at
    if event.call_id not in state.calls:
        raise AuditError(f"call {event.call_id} is not open")
    return replace(state, calls=_without(state.calls, [event.call_id]))


def _call_resolved(state: SessionState, event: e.CallResolved, at: datetime) -> SessionState:
    del at
    return replace(state, calls=_without(state.calls, [event.call_id]))


def _call_unknown(state: SessionState, event: e.CallBecameUnknown, at: datetime) -> SessionState:
    del at
    call = replace(state.calls[event.call_id], unknown=True)
    if call.purpose == "always":  # it only reads: nobody has to settle it
        return replace(state, calls=_without(state.calls, [event.call_id]))
    return replace(state, calls=_with(state.calls, **{event.call_id: call}))


def _step_succeeded(run: RunState, event: e.StepSucceeded) -> RunState:
    run = _move(run, event.step, "succeed", "success")
    return replace(
        _settled(run, event.step), results=_with(run.results, **{event.step: event.kept})
    )


def _step_failed(run: RunState, event: e.StepFailed) -> RunState:
    return _settled(_move(run, event.step, "fail", "failure"), event.step)


def _settled(run: RunState, step: str) -> RunState:
    return replace(
        run,
        held=_without(run.held, [step]),
        counters=_without(run.counters, [f"attempt:{step}", f"repeat:{step}"]),
    )


def _step_returned(run: RunState, event: e.StepReturned) -> RunState:
    run = _move(run, event.step, "again")
    counters = dict(run.counters)
    if event.why == "repeat":
        counters[f"repeat:{event.step}"] = counters.get(f"repeat:{event.step}", 0) + 1
        counters.pop(f"attempt:{event.step}", None)
    return replace(
        run,
        counters=counters,
        held=_without(run.held, [event.step]),
        not_before=_with(run.not_before, **{event.step: event.not_before}),
    )


def _step_held(run: RunState, event: e.StepHeld) -> RunState:
    return replace(run, held=_with(run.held, **{event.step: Hold(event.reason, event.call_id)}))


def _step_released(run: RunState, event: e.StepReleased) -> RunState:
    released = run.released | {event.step} if event.ready else run.released
    return replace(run, held=_without(run.held, [event.step]), released=released)


def _step_skipped(run: RunState, event: e.StepSkipped) -> RunState:
    run = _close_approval(run, event.step, "closed")
    run = _move(run, event.step, "skip", "skipped")
    return _waiting(replace(run, held=_without(run.held, [event.step])))


def _steps_redone(run: RunState, event: e.StepsRedone) -> RunState:
    marking, seen = run.marking, run.seen
    for step in event.reset:
        index = run.index[step]
        marking = with_status(marking, index, step_after(status_of(marking, index), "reset"))
        seen &= ~event_bits(index)
    counters = _without(
        run.counters, [f"{kind}:{one}" for kind in ("attempt", "repeat") for one in event.reset]
    )
    redo = f"redo:{event.cause}"
    return replace(
        run,
        marking=marking,
        seen=seen,
        results=_without(run.results, event.reset),
        not_before=_without(run.not_before, event.reset),
        held=_without(run.held, event.reset),
        released=run.released.difference(event.reset),
        approvals=_without(run.approvals, event.reset),
        counters=_with(counters, **{redo: run.count(redo) + 1}),
    )


def _step_compensated(run: RunState, event: e.StepCompensated) -> RunState:
    return replace(run, compensated=run.compensated | {event.step})


def _approval_opened(state: SessionState, event: e.ApprovalOpened, at: datetime) -> SessionState:
    run = _run(state)
    if run.step_status(event.step) != RUNNING:
        run = _move(run, event.step, "start", "call")
    approval = ApprovalState(
        approval_id=event.approval_id,
        step=event.step,
        binds=event.binds,
        roles=event.roles,
        quorum=event.quorum,
        requested_by=event.requested_by,
        separation=event.separation,
        asked=event.asked,
        opened_at=at,
        expires_at=event.expires_at,
    )
    run = replace(run, approvals=_with(run.approvals, **{event.step: approval}))
    return replace(state, run=_waiting(run))


def _approval(state: SessionState, approval_id: str) -> ApprovalState:
    for approval in _run(state).approvals.values():
        if approval.approval_id == approval_id and approval.status == "open":
            return approval
    raise AuditError(f"approval {approval_id} is not open")


def _with_approval(state: SessionState, approval: ApprovalState) -> SessionState:
    run = _run(state)
    return replace(
        state, run=replace(run, approvals=_with(run.approvals, **{approval.step: approval}))
    )


def _approval_voted(state: SessionState, event: e.ApprovalVoted, at: datetime) -> SessionState:
    del at
    approval = _approval(state, event.approval_id)
    return _with_approval(
        state, replace(approval, votes=(*approval.votes, (event.by, event.content)))
    )


def _approval_granted(run: RunState, event: e.ApprovalGranted) -> RunState:
    return _decided(run, event.step, "approved", "succeed", "approved")


def _approval_rejected(run: RunState, event: e.ApprovalRejected) -> RunState:
    return _decided(run, event.step, "rejected", "fail", "rejected")


def _approval_bypassed(run: RunState, event: e.ApprovalBypassed) -> RunState:
    return _decided(run, event.step, "bypassed", "bypass", "bypassed")


def _decided(run: RunState, step: str, status: str, change: StepChange, event: str) -> RunState:
    return _waiting(_close_approval(_move(run, step, change, event), step, status))


def _approval_expired(run: RunState, event: e.ApprovalExpired) -> RunState:
    seen = run.seen | event_bit(run.index[event.step], "expired")
    return replace(run, seen=seen)


def _close_approval(run: RunState, step: str, status: str) -> RunState:
    approval = run.approvals.get(step)
    if approval is None or approval.status != "open":
        return run
    closed = replace(approval, status=status)
    return replace(run, approvals=_with(run.approvals, **{step: closed}))


def _waiting(run: RunState) -> RunState:
    """A run waits for approval exactly while a request is open."""
    waits = any(one.status == "open" for one in run.approvals.values())
    return replace(run, status=run_after(run.status, "wait" if waits else "resume"))


def _run_failing(state: SessionState, event: e.RunFailing, at: datetime) -> SessionState:
    run = _run(state)
    return replace(
        state,
        run=replace(
            run,
            status=run_after(run.status, "fail"),
            ends_as=event.ends_as,
            failing_since=at,
            end_reason=event.reason,
        ),
    )


_END_CHANGES: Mapping[str, Any] = {
    "completed": "complete",
    "failed": "end_failed",
    "rejected": "end_rejected",
    "timed_out": "time_out",
    "cancelled": "cancel",
}


def _run_ended(run: RunState, event: e.RunEnded) -> RunState:
    for step in run.approvals:
        run = _close_approval(run, step, "closed")
    status = run_after(run.status, _END_CHANGES[event.status])
    return replace(run, status=status, end_reason=event.reason or run.end_reason)


EventT = TypeVar("EventT", bound=e.Event)
_Handler = Callable[[SessionState, Any, datetime], SessionState]


def _on_run(change: Callable[[RunState, EventT], RunState]) -> _Handler:
    """A handler for an event that touches nothing but the active run."""

    def handle(state: SessionState, event: EventT, at: datetime) -> SessionState:
        del at
        return replace(state, run=change(_run(state), event))

    return handle


_HANDLERS: Mapping[type, _Handler] = {
    e.RunStarted: _run_started,
    e.CallDenied: _unchanged,
    e.CallDeferred: _call_deferred,
    e.CallStarted: _call_started,
    e.CallSucceeded: _call_ended,
    e.CallFailed: _call_ended,
    e.CallBecameUnknown: _call_unknown,
    e.CallResolved: _call_resolved,
    e.StepSucceeded: _on_run(_step_succeeded),
    e.StepFailed: _on_run(_step_failed),
    e.StepReturned: _on_run(_step_returned),
    e.StepHeld: _on_run(_step_held),
    e.StepReleased: _on_run(_step_released),
    e.StepSkipped: _on_run(_step_skipped),
    e.StepsRedone: _on_run(_steps_redone),
    e.StepCompensated: _on_run(_step_compensated),
    e.ApprovalOpened: _approval_opened,
    e.ApprovalVoted: _approval_voted,
    e.ApprovalGranted: _on_run(_approval_granted),
    e.ApprovalRejected: _on_run(_approval_rejected),
    e.ApprovalBypassed: _on_run(_approval_bypassed),
    e.ApprovalExpired: _on_run(_approval_expired),
    e.RunFailing: _run_failing,
    e.RunEnded: _on_run(_run_ended),
}
