"""The calls that a session remembers after they ended, so that a repeat of one is known as such.

Part of the fold, and the look-up that goes with it: values in, values out. A call is known by the
digest of its request and by the idempotency key that its client gave. What has to be asked again is
forgotten at once: a step that is pending again waits for a new call, not for an old answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from mcpuppet.session import events as e
from mcpuppet.session.state import OpenCall, RecentCall, SessionState, changed

MOST_KEYED = 50
"""How many ended calls a session remembers by a key of their clients; those that ended last."""
MOST_UNKEYED = 10
"""The same for calls without a key: a state is written with every call, and they count briefly."""
NEVER_ANSWERED = frozenset({"cancelled", "gateway_lost"})
"""The reasons of unknown outcomes that nobody was told of."""


def remembered(
    state: SessionState, call: OpenCall, at: datetime, *, answered: bool = True
) -> SessionState:
    """The state after a call has ended; what only reads is remembered where a key asks for it."""
    reads = call.purpose in ("always", "reconcile") and call.client_key is None
    if not call.request or reads:
        return state
    others = (
        one for one in state.recent if (one.request, one.key) != (call.request, call.client_key)
    )
    newest = RecentCall(
        call.call_id, call.request, call.client_key, at, call.run_id, answered=answered
    )
    return changed(state, recent=_within_limits((*others, newest)))


def _within_limits(calls: tuple[RecentCall, ...]) -> tuple[RecentCall, ...]:
    keyed = [one for one in calls if one.key is not None]
    unkeyed = [one for one in calls if one.key is None]
    if len(keyed) <= MOST_KEYED and len(unkeyed) <= MOST_UNKEYED:
        return calls
    gone = {one.call_id for one in (*keyed[:-MOST_KEYED], *unkeyed[:-MOST_UNKEYED])}
    return tuple(one for one in calls if one.call_id not in gone)


def forgotten(state: SessionState, call_ids: Collection[str]) -> SessionState:
    """The state without what is remembered of some calls."""
    if not any(one.call_id in call_ids for one in state.recent):
        return state
    return changed(state, recent=tuple(one for one in state.recent if one.call_id not in call_ids))


def without_calls_of(state: SessionState, steps: Iterable[str]) -> SessionState:
    """The state in which the latest calls of some steps are not remembered."""
    current = {} if state.run is None else state.run.current
    return forgotten(state, {current[step].call_id for step in steps if step in current})


def ended_and_remembered(
    state: SessionState, call: OpenCall, event: e.CallSucceeded | e.CallFailed, at: datetime
) -> SessionState:
    """The state after an answer; what was never sent may simply be sent."""
    was_sent = isinstance(event, e.CallSucceeded) or event.reason != "not_sent"
    return remembered(state, call, at) if was_sent else state


# --- looking a request up -----------------------------------------------------------------------


def by_key(state: SessionState, key: str) -> OpenCall | RecentCall | None:
    """The call that was made with an idempotency key of the client, if it is known.

    An ended one, or else one in flight, or else one of unknown outcome that may be made again.
    """
    ended = next((one for one in reversed(state.recent) if one.key == key), None)
    made = [call for call in state.calls.values() if call.client_key == key]
    return ended or min(made, key=lambda call: call.unknown, default=None)


def in_flight(state: SessionState, request: str) -> OpenCall | None:
    """The call of a request that is being made now; calls that only read are left out."""
    for call in state.calls.values():
        if call.request == request and not call.unknown and call.purpose != "always":
            return call
    return None


def ended_lately(
    state: SessionState, request: str, now: datetime, window: timedelta
) -> RecentCall | None:
    """The call of a request that ended within the window, in the latest run or outside of any."""
    run_id = None if state.run is None else state.run.run_id
    for one in reversed(state.recent):
        if one.request == request and one.run_id in (None, run_id):
            return one if now - one.ended_at <= window else None
    return None
