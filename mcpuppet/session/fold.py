"""`apply` and `fold`: a session's state is the fold of its events.

No guard is evaluated and no time is read here. The marking of the run is moved through the
lifecycles of `session.machine`, so an event that cannot have happened is an error and not a strange
state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar, get_args

from mcpuppet.errors import AuditError
from mcpuppet.session import admin_events as a
from mcpuppet.session import events as e
from mcpuppet.session.asks import ask_changed, ask_opened
from mcpuppet.session.fate import (
    awaits_reading,
    is_unanswered,
    reading_begun,
    reading_unanswered,
    without_siblings,
)
from mcpuppet.session.machine import LifecycleError, StepChange, run_after, step_after
from mcpuppet.session.recent import (
    NEVER_ANSWERED,
    ended_and_remembered,
    forgotten,
    remembered,
    without_calls_of,
)
from mcpuppet.session.refusals import decision_refused
from mcpuppet.session.remember import (
    with_fact,
    with_marks,
    with_uses,
    without_facts,
    without_marks,
)
from mcpuppet.session.reviews import review_closed, review_opened, review_overdue
from mcpuppet.session.state import (
    BY_TIME,
    ApprovalState,
    Hold,
    OpenCall,
    RulesState,
    RunState,
    SessionState,
    ShownCall,
    StepCall,
    changed,
)
from mcpuppet.workflow.marking import (
    RUNNING,
    all_pending,
    event_bit,
    event_bits,
    status_of,
    with_status,
)

EventT = TypeVar("EventT", bound=e.Event)
_Handler = Callable[[SessionState, Any, datetime], SessionState]


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
    if not mapping:
        return mapping
    gone = set(keys)
    return {key: value for key, value in mapping.items() if key not in gone}


def _move(
    run: RunState, step: str, change: StepChange, at: datetime, event: str | None = None
) -> RunState:
    """Move one step through its lifecycle, make the event's bit stick, and keep its time."""
    index = run.index[step]
    marking = with_status(run.marking, index, step_after(status_of(run.marking, index), change))
    if event is None:
        return changed(run, marking=marking)
    seen = run.seen | event_bit(index, event)
    if f"{step}.{event}" not in run.timed:
        return changed(run, marking=marking, seen=seen)
    times = _with(run.times, **{f"{step}.{event}": at})
    return changed(run, marking=marking, seen=seen, times=times)


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
        timed=frozenset(event.timed),
    )
    state = without_marks(state, event.workflow)
    if event.gives:
        state = _given(state, event.inputs)
    return changed(state, run=run, runs=state.runs + 1)


def _given(state: SessionState, inputs: Mapping[str, Any]) -> SessionState:
    """Inputs count as given until a result has reached the model."""
    return state if state.exposed else changed(state, given=_with(state.given, **inputs))


def _rules_adopted(state: SessionState, event: e.RulesAdopted, at: datetime) -> SessionState:
    del at
    return changed(state, rules=RulesState(event.rules, event.version, event.hash))


def _inputs_declared(state: SessionState, event: e.InputsDeclared, at: datetime) -> SessionState:
    del at
    if state.rules is None:
        raise AuditError("no rules file governs the session")
    rules = replace(state.rules, inputs=event.inputs, declared=True)
    return _given(changed(state, rules=rules), event.inputs)


def _inputs_reopened(state: SessionState, event: e.InputsReopened, at: datetime) -> SessionState:
    del event, at
    rules = state.rules and replace(state.rules, inputs={}, declared=False)
    return changed(state, exposed=False, given={}, rules=rules)


def _unchanged(state: SessionState, event: e.Event, at: datetime) -> SessionState:
    """A refusal never changes the state, nor does what concerns the installation."""
    del event, at
    return state


def _call_deferred(state: SessionState, event: e.CallDeferred, at: datetime) -> SessionState:
    del at
    if event.approval_id in state.asks:  # the request is about this very call
        return state
    approval = _approval(state, event.approval_id)
    assert event.step is not None
    if any(one.digest == event.digest for one in approval.shown):
        return state  # it is shown already, perhaps as a person has edited it
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
        None if event.purpose in ("always", "free") else _run(state).run_id,
        locks=event.locks,
        marks=event.marks,
        forgets=event.forgets,
        feeds=event.feeds,
        request=event.request,
        key=event.key,
        client_key=event.client_key,
        reconcile=event.reconcile,
    )
    if event.purpose == "reconcile":
        state = reading_begun(state, event.step)
    state = changed(state, calls=_with(state.calls, **{event.call_id: call}))
    if event.purpose == "step" and event.step is not None:
        state = _without_locks_of_last_attempt(state, _run(state).current.get(event.step))
        state = changed(state, run=_step_started(_run(state), event.step, event, at))
    if event.uses:
        state = with_uses(state, event.uses)
    if event.grants and state.asks:
        state = changed(state, asks=_without(state.asks, event.grants))
    return _noticed(state, call, "call", at)


def _noticed(state: SessionState, call: OpenCall, event: str, at: datetime) -> SessionState:
    """Remember what policies asked to be remembered of an event of this call."""
    if event in call.marks:
        state = with_marks(state, call.marks[event], at)
    if event in call.forgets:
        state = without_facts(state, call.forgets[event])
    return state


def _without_locks_of_last_attempt(state: SessionState, last: StepCall | None) -> SessionState:
    """A new attempt takes over what an earlier one of unknown outcome still holds."""
    known = None if last is None else state.calls.get(last.call_id)
    if known is None or not known.locks:
        return state
    return changed(state, calls=_with(state.calls, **{known.call_id: replace(known, locks=())}))


def _step_started(run: RunState, step: str, event: e.CallStarted, at: datetime) -> RunState:
    run = _move(run, step, "start", at, "call")
    attempt = f"attempt:{step}"
    used = {
        name: replace(one, used=_with(one.used, **{step: event.digest}))
        for name, one in run.approvals.items()
        if one.approval_id in event.grants
    }
    current = StepCall(
        event.call_id, event.tool, event.digest, event.agreed, event.agreed_until, event.key
    )
    return changed(
        run,
        counters=_with(run.counters, **{attempt: run.count(attempt) + 1}),
        current=_with(run.current, **{step: current}),
        not_before=_without(run.not_before, [step]),
        approvals=_with(run.approvals, **used),
    )


def _call_ended(
    state: SessionState, event: e.CallSucceeded | e.CallFailed, at: datetime
) -> SessionState:
    call = state.calls.get(event.call_id)
    if call is None:
        raise AuditError(f"call {event.call_id} is not open")
    state = changed(state, calls=_without(state.calls, [event.call_id]), exposed=True)
    if call.purpose == "reconcile" and is_unanswered(event):
        return reading_unanswered(state, call.step, at)
    state = ended_and_remembered(state, call, event, at)
    if isinstance(event, e.CallSucceeded):
        return _noticed(without_siblings(state, call.key), call, "success", at)
    state = _noticed(state, call, "failure", at)
    # What was answered badly did happen, somehow.
    return _noticed(state, call, "unknown", at) if event.reason == "invalid_result" else state


def _call_resolved(state: SessionState, event: e.CallResolved, at: datetime) -> SessionState:
    call = state.calls.get(event.call_id)
    key = _key_of_hold(state, event.call_id) if call is None else call.key
    state = changed(state, calls=_without(state.calls, [event.call_id]))
    state = without_siblings(state, key)
    if not event.happened:
        state = forgotten(state, [event.call_id])
    if call is None:
        return state
    return _noticed(state, call, "success" if event.happened else "failure", at)


def _key_of_hold(state: SessionState, call_id: str) -> str | None:
    """The idempotency key of an ended call that holds its step."""
    current = () if state.run is None else state.run.current.values()
    return next((one.key for one in current if one.call_id == call_id), None)


def _call_reconciled(state: SessionState, event: e.CallReconciled, at: datetime) -> SessionState:
    call = state.calls[event.call_id]
    state = changed(state, calls=_without(state.calls, [event.call_id]))
    if not event.happened:
        state = forgotten(state, [event.call_id])
    return _noticed(state, call, "success" if event.happened else "failure", at)


def _call_unknown(state: SessionState, event: e.CallBecameUnknown, at: datetime) -> SessionState:
    call = awaits_reading(replace(state.calls[event.call_id], unknown=True), at)
    if call.purpose == "reconcile":
        state = changed(state, calls=_without(state.calls, [event.call_id]))
        return reading_unanswered(state, call.step, at)
    state = _noticed(state, call, "unknown", at)
    state = remembered(state, call, at, answered=event.reason not in NEVER_ANSWERED)
    if call.purpose == "always":  # it only reads: nobody has to settle it
        return changed(state, calls=_without(state.calls, [event.call_id]))
    return changed(state, calls=_with(state.calls, **{event.call_id: call}))


def _step_succeeded(run: RunState, event: e.StepSucceeded, at: datetime) -> RunState:
    run = _move(run, event.step, "succeed", at, "success")
    results = _with(run.results, **{event.step: event.kept})
    return changed(run, results=results, **_settled(run, event.step))


def _step_failed(run: RunState, event: e.StepFailed, at: datetime) -> RunState:
    run = _move(run, event.step, "fail", at, "failure")
    return changed(run, **_settled(run, event.step))


def _settled(run: RunState, step: str) -> dict[str, Mapping[str, Any]]:
    """What changes in a run with the end of a step, whichever it is."""
    counters = _without(run.counters, [f"attempt:{step}", f"repeat:{step}"])
    return {"held": _without(run.held, [step]), "counters": counters}


def _step_returned(run: RunState, event: e.StepReturned, at: datetime) -> RunState:
    run = _move(run, event.step, "again", at)
    counters = dict(run.counters)
    if event.why == "repeat":
        counters[f"repeat:{event.step}"] = counters.get(f"repeat:{event.step}", 0) + 1
        counters.pop(f"attempt:{event.step}", None)
    return changed(
        run,
        counters=counters,
        held=_without(run.held, [event.step]),
        not_before=_with(run.not_before, **{event.step: event.not_before}),
    )


def _fact_learned(state: SessionState, event: e.FactLearned, at: datetime) -> SessionState:
    del at
    return with_fact(state, event)


def _step_held(run: RunState, event: e.StepHeld) -> RunState:
    return changed(run, held=_with(run.held, **{event.step: Hold(event.reason, event.call_id)}))


def _step_released(run: RunState, event: e.StepReleased) -> RunState:
    released = run.released | {event.step} if event.ready else run.released
    return changed(run, held=_without(run.held, [event.step]), released=released)


def _step_skipped(run: RunState, event: e.StepSkipped, at: datetime) -> RunState:
    run = _close_approval(run, event.step, "closed")
    run = _move(run, event.step, "skip", at, "skipped")
    return _waiting(changed(run, held=_without(run.held, [event.step])))


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
    return changed(
        _forgotten(run, event.reset),
        marking=marking,
        seen=seen,
        results=_without(run.results, event.reset),
        not_before=_without(run.not_before, event.reset),
        held=_without(run.held, event.reset),
        released=run.released.difference(event.reset),
        approvals=_without(run.approvals, event.reset),
        counters=_with(counters, **{redo: run.count(redo) + 1}),
    )


def _forgotten(run: RunState, steps: Iterable[str]) -> RunState:
    """The run without the times of what steps did: they are to be done anew."""
    gone = set(steps)
    times = {word: at for word, at in run.times.items() if word.rpartition(".")[0] not in gone}
    return changed(run, times=times)


def _step_compensated(run: RunState, event: e.StepCompensated) -> RunState:
    return changed(run, compensated=run.compensated | {event.step})


def _approval_opened(state: SessionState, event: e.ApprovalOpened, at: datetime) -> SessionState:
    run = _run(state)
    if run.step_status(event.step) != RUNNING:
        run = _move(run, event.step, "start", at, "call")
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
    run = changed(run, approvals=_with(run.approvals, **{event.step: approval}))
    return changed(state, run=_waiting(run))


def _approval(state: SessionState, approval_id: str) -> ApprovalState:
    for approval in _run(state).approvals.values():
        if approval.approval_id == approval_id and approval.status == "open":
            return approval
    raise AuditError(f"approval {approval_id} is not open")


def _with_approval(state: SessionState, approval: ApprovalState) -> SessionState:
    run = _run(state)
    return changed(
        state, run=changed(run, approvals=_with(run.approvals, **{approval.step: approval}))
    )


def _on_request(change: _Handler) -> _Handler:
    """A handler for an event of a step's approval that a request about one call has too."""

    def handle(state: SessionState, event: Any, at: datetime) -> SessionState:
        return ask_changed(state, event, at) or change(state, event, at)

    return handle


def _approval_voted(state: SessionState, event: e.ApprovalVoted, at: datetime) -> SessionState:
    del at
    approval = _approval(state, event.approval_id)
    return _with_approval(
        state, replace(approval, votes=(*approval.votes, (event.by, event.content)))
    )


def _approval_edited(state: SessionState, event: e.ApprovalEdited, at: datetime) -> SessionState:
    """The edited call takes the place of the one that was shown, and everybody votes anew."""
    del at
    approval = _approval(state, event.approval_id)
    before = next((one for one in approval.shown if one.digest == event.replaces), None)
    if before is None:
        raise AuditError(f"approval {event.approval_id} does not show the call that was edited")
    edited = ShownCall(
        before.step,
        event.tool,
        event.arguments,
        event.digest,
        asked_as=before.asked_as or before.digest,
        edited_by=event.by,
    )
    shown = tuple(edited if one is before else one for one in approval.shown)
    editors = tuple(dict.fromkeys((*approval.editors, event.by)))
    return _with_approval(state, replace(approval, shown=shown, votes=(), editors=editors))


def _approval_escalated(
    state: SessionState, event: e.ApprovalEscalated, at: datetime
) -> SessionState:
    """Others are asked; the votes that were given stay and count."""
    del at
    approval = _approval(state, event.approval_id)
    return _with_approval(
        state, replace(approval, roles=event.roles, expires_at=event.expires_at, escalated=True)
    )


def _approval_granted(run: RunState, event: e.ApprovalGranted, at: datetime) -> RunState:
    run = changed(run, guidance=_without(run.guidance, [event.step]))
    return _decided(run, event.step, "approved", "succeed", at)


def _approval_rejected(run: RunState, event: e.ApprovalRejected, at: datetime) -> RunState:
    if event.by != BY_TIME:
        run = changed(run, guidance=_with(run.guidance, **{event.step: event.reason}))
    return _decided(run, event.step, "rejected", "fail", at)


def _approval_bypassed(run: RunState, event: e.ApprovalBypassed, at: datetime) -> RunState:
    run = changed(run, guidance=_without(run.guidance, [event.step]))
    return _decided(run, event.step, "bypassed", "bypass", at)


def _decided(run: RunState, step: str, status: str, change: StepChange, at: datetime) -> RunState:
    return _waiting(_close_approval(_move(run, step, change, at, status), step, status))


def _approval_expired(run: RunState, event: e.ApprovalExpired, at: datetime) -> RunState:
    index = run.index[event.step]
    if run.step_status(event.step) != RUNNING:  # a grant went stale: it is as if never given
        run = _move(run, event.step, "lapse", at)
        for word in ("approved", "bypassed"):
            run = changed(run, seen=run.seen & ~event_bit(index, word))
    run = changed(_forgotten(run, [event.step]), seen=run.seen | event_bit(index, "expired"))
    if f"{event.step}.expired" in run.timed:
        run = changed(run, times=_with(run.times, **{f"{event.step}.expired": at}))
    for step in event.reset:
        run = _move(run, step, "reset", at)
        run = changed(run, seen=run.seen & ~event_bits(run.index[step]))
    return _forgotten(run, event.reset)


def _close_approval(run: RunState, step: str, status: str) -> RunState:
    approval = run.approvals.get(step)
    if approval is None or approval.status != "open":
        return run
    closed = replace(approval, status=status)
    return changed(run, approvals=_with(run.approvals, **{step: closed}))


def _waiting(run: RunState) -> RunState:
    """A run waits for approval exactly while a request is open."""
    waits = any(one.status == "open" for one in run.approvals.values())
    return changed(run, status=run_after(run.status, "wait" if waits else "resume"))


def _run_failing(state: SessionState, event: e.RunFailing, at: datetime) -> SessionState:
    run = _run(state)
    return changed(
        state,
        run=changed(
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


def _run_ended(state: SessionState, event: e.RunEnded, at: datetime) -> SessionState:
    """With the run end the requests about calls of its steps; a refusal outlives it."""
    del at
    run = _run(state)
    for step in run.approvals:
        run = _close_approval(run, step, "closed")
    status = run_after(run.status, _END_CHANGES[event.status])
    run = changed(run, status=status, end_reason=event.reason or run.end_reason)
    asks = {
        name: ask
        for name, ask in state.asks.items()
        if ask.step is None or ask.status == "rejected"
    }
    return changed(state, run=run, asks=asks)


def _on_run(change: Callable[[RunState, EventT, datetime], RunState]) -> _Handler:
    """A handler for an event that touches nothing but the active run."""

    def handle(state: SessionState, event: EventT, at: datetime) -> SessionState:
        return changed(state, run=change(_run(state), event, at))

    return handle


def _pending_again(change: _Handler, steps: Callable[[Any], Iterable[str]]) -> _Handler:
    """A handler after which steps wait for new calls: what answered the old ones is forgotten."""

    def handle(state: SessionState, event: Any, at: datetime) -> SessionState:
        return change(without_calls_of(state, steps(event)), event, at)

    return handle


def _untimed(
    change: Callable[[RunState, EventT], RunState],
) -> Callable[[RunState, EventT, datetime], RunState]:
    """The same change, for which it does not matter when it happened."""

    def handle(run: RunState, event: EventT, at: datetime) -> RunState:
        del at
        return change(run, event)

    return handle


_HANDLERS: Mapping[type, _Handler] = {
    e.RulesAdopted: _rules_adopted,
    e.InputsDeclared: _inputs_declared,
    e.InputsReopened: _inputs_reopened,
    e.RunStarted: _run_started,
    e.CallDenied: _unchanged,
    e.CallDeferred: _call_deferred,
    e.CallStarted: _call_started,
    e.CallSucceeded: _call_ended,
    e.CallFailed: _call_ended,
    e.CallBecameUnknown: _call_unknown,
    e.CallResolved: _call_resolved,
    e.CallReconciled: _call_reconciled,
    e.CallRepeated: _unchanged,
    e.LateOutcome: _unchanged,
    e.FactLearned: _fact_learned,
    e.StepSucceeded: _on_run(_step_succeeded),
    e.StepFailed: _on_run(_step_failed),
    e.StepReturned: _pending_again(_on_run(_step_returned), lambda event: [event.step]),
    e.StepHeld: _on_run(_untimed(_step_held)),
    e.StepReleased: _on_run(_untimed(_step_released)),
    e.StepSkipped: _on_run(_step_skipped),
    e.StepsRedone: _pending_again(_on_run(_untimed(_steps_redone)), lambda event: event.reset),
    e.StepCompensated: _on_run(_untimed(_step_compensated)),
    e.ApprovalOpened: _approval_opened,
    e.ApprovalVoted: _on_request(_approval_voted),
    e.ApprovalEdited: _on_request(_approval_edited),
    e.ApprovalEscalated: _approval_escalated,
    e.ApprovalGranted: _on_request(_on_run(_approval_granted)),
    e.ApprovalRejected: _on_request(_on_run(_approval_rejected)),
    e.ApprovalBypassed: _on_run(_approval_bypassed),
    e.ApprovalExpired: _on_request(_on_run(_approval_expired)),
    e.AskOpened: ask_opened,
    e.ReviewOpened: review_opened,
    e.ReviewOverdue: review_overdue,
    e.ReviewClosed: review_closed,
    e.RunFailing: _run_failing,
    e.RunEnded: _run_ended,
    **dict.fromkeys(get_args(a.AdminEvent), _unchanged),
    a.DecisionRefused: decision_refused,
}
