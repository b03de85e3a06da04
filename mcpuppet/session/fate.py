"""What can settle a call of unknown outcome: its idempotency key, or a call that reads its fate.

Part of the decision and of the fold: values in, values out. Which call reads what became of which,
and when it is due, is in the state, so that any gateway process can make it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from mcpuppet.session import events as e
from mcpuppet.session.call import argument_fault, digest_of
from mcpuppet.session.outcome import Failed, Outcome, Unknown
from mcpuppet.session.state import OpenCall, RunState, SessionState, changed
from mcpuppet.workflow.compiled import CompiledReconcile, CompiledStep
from mcpuppet.workflow.expression import EvaluationError

MOST_READINGS = 4
"""How often it is read what became of a call: once, and three times more without an answer."""


# --- with the intent to call --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Safety:
    """What goes with a call so that its fate can be settled."""

    key: str | None = None
    """The key of the earlier attempt that this is another one of."""
    reconcile: Mapping[str, Any] | None = None


NOTHING = Safety()


def earlier_key(
    state: SessionState, run: RunState, step: CompiledStep, digest: str
) -> tuple[str | None, bool]:
    """The key of the call that this is another attempt of, and whether it has to be that very one.

    While it is not known what an attempt did, only the very same call is the same to the server.
    """
    for call in state.calls.values():
        if call.unknown and call.key and call.step == step.id and call.run_id == run.run_id:
            return call.key, call.digest != digest
    last = run.current.get(step.id)
    if last is None or not run.count(f"attempt:{step.id}") or last.digest != digest:
        return None, False
    return last.key, False


def new_key(session_id: str, run_id: str, step: str, call_id: str) -> str:
    """The key of a call and of its further attempts: SHA-256, in hex, of what the first one is."""
    return digest_of([session_id, run_id, step, call_id])


def reading_call(
    one: CompiledReconcile, values: Callable[[], Mapping[str, Any]]
) -> dict[str, Any] | str:
    """The call that will tell what became of this one, or why it cannot be made up."""
    arguments: dict[str, Any] = {}
    for name, expression in one.args:
        try:
            arguments[name] = expression.evaluate(values())
        except EvaluationError as error:
            return f"argument {name!r} of {one.tool}: `{expression.source}`: {error}"
    fault = argument_fault(arguments) if is_json(arguments) else "an argument is no JSON value"
    if fault is not None:
        return f"{one.tool}: {fault}"
    return {"tool": one.tool, "arguments": arguments, "after": one.after.total_seconds()}


def is_json(value: Any) -> bool:
    """Whether the value of an expression is one of JSON: a moment or a length of time is not."""
    if isinstance(value, Mapping):
        return all(is_json(one) for one in value.values())
    if isinstance(value, list):
        return all(is_json(one) for one in value)
    return value is None or isinstance(value, (str, bool, int, float))


# --- in the fold --------------------------------------------------------------------------------


def awaits_reading(call: OpenCall, at: datetime) -> OpenCall:
    """A call whose outcome became unknown, with the moment at which that is looked into."""
    if call.reconcile is None:
        return call
    return replace(call, read_at=at + timedelta(seconds=call.reconcile["after"]))


def reading_begun(state: SessionState, step: str | None) -> SessionState:
    """Somebody looks into what became of the step's call."""
    target = _target(state, step)
    if target is None:
        return state
    return _with_call(state, replace(target, read_at=None, readings=target.readings + 1))


def reading_unanswered(state: SessionState, step: str | None, at: datetime) -> SessionState:
    """Nothing was read: it is tried again, each time after twice as long, for a while."""
    target = _target(state, step)
    if target is None or target.reconcile is None or target.readings >= MOST_READINGS:
        return state
    wait = timedelta(seconds=target.reconcile["after"]) * 2**target.readings
    return _with_call(state, replace(target, read_at=at + wait))


def without_siblings(state: SessionState, key: str | None) -> SessionState:
    """The state without the attempts of unknown outcome that had a key: it is settled."""
    if key is None:
        return state
    calls = {
        name: call for name, call in state.calls.items() if not (call.unknown and call.key == key)
    }
    return changed(state, calls=calls) if len(calls) < len(state.calls) else state


def _with_call(state: SessionState, call: OpenCall) -> SessionState:
    return changed(state, calls={**state.calls, call.call_id: call})


def _target(state: SessionState, step: str | None) -> OpenCall | None:
    """The call of unknown outcome that a step waits for."""
    run = state.active_run
    current = None if run is None or step is None else run.current.get(step)
    call = None if current is None else state.calls.get(current.call_id)
    return call if call is not None and call.unknown else None


# --- looking into it ----------------------------------------------------------------------------


def waiting_calls(state: SessionState) -> tuple[OpenCall, ...]:
    """The calls whose fate is to be read, of steps of the active run that wait for it."""
    run = state.active_run
    if run is None or not state.calls:
        return ()
    held = {hold.call_id for hold in run.held.values()}
    return tuple(
        call for call in state.calls.values() if call.read_at is not None and call.call_id in held
    )


def next_reading(state: SessionState) -> datetime | None:
    """When the next call is due that tells what became of another."""
    due = (call.read_at for call in waiting_calls(state))
    return min((one for one in due if one is not None), default=None)


def unanswered(outcome: Outcome) -> bool:
    """Whether a reading call got no answer at all."""
    return isinstance(outcome, Unknown) or (
        isinstance(outcome, Failed) and outcome.reason == "not_sent"
    )


def is_unanswered(event: e.CallSucceeded | e.CallFailed) -> bool:
    """The same, of what was recorded."""
    return isinstance(event, e.CallFailed) and event.reason == "not_sent"
