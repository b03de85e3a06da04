"""Requests that were made before: how they are known, and who is given what became of the call.

A repeat never makes a call. Its client waits for the one in flight, or is given the outcome that
was recorded; only where the call may be made now, by the rules, is it a new one. An idempotency key
of the client tells repeats apart from calls that are alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from mcpuppet.session.call import Call
from mcpuppet.session.recent import by_key, ended_lately, in_flight
from mcpuppet.session.state import OpenCall, RecentCall, SessionState
from mcpuppet.session.verdict import Allowed, Decision, Denied, LegalCall

KEY = "dev.mcpuppet/idempotency-key"
"""The key under `_meta` of an idempotency key, on the way to the gateway and on to a server."""
LONGEST_KEY = 255

How = Literal["attached", "replayed"]
Repeat = tuple[str, How]
"""The call that was made, and how its outcome is to be had."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """A request is answered with what becomes, or became, of a call made before."""

    of: str
    how: How
    call: Call
    before: tuple[LegalCall, ...]


def client_key(meta: Mapping[str, Any] | None) -> tuple[str | None, str]:
    """The idempotency key under `_meta`, or why what stands there is none."""
    key = None if meta is None else meta.get(KEY)
    if key is None:
        return None, ""
    if not isinstance(key, str) or not 1 <= len(key) <= LONGEST_KEY or not key.isprintable():
        return None, f"{KEY} is a text of 1 to {LONGEST_KEY} printable characters"
    return key, ""


def without_key(meta: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What a server is given of `_meta`: a client's key goes no further."""
    if meta is None or KEY not in meta:
        return meta
    return {name: value for name, value in meta.items() if name != KEY}


class Repeats:
    """Tells for one process, `node_id`, what a repeated request is answered with."""

    def __init__(self, node_id: str, window: timedelta) -> None:
        self._node_id = node_id
        self._window = window

    def by_key(self, state: SessionState, key: str | None, request: str) -> Repeat | Denied | None:
        """What the client's key says: the call that it was used for, or that it is used wrongly."""
        found = None if key is None else by_key(state, key)
        if found is None:
            return None
        if found.request != request:
            return Denied(
                "idempotency_key",
                f"the idempotency key was used for call {found.call_id}, which is another one: "
                "use a new key for a new call, or repeat that call with the same arguments",
            )
        if isinstance(found, RecentCall):
            return found.call_id, "replayed"
        if not found.unknown:
            return self._being_made(found)
        run = state.active_run
        may_be_another_attempt = run is not None and run.run_id == found.run_id
        return None if may_be_another_attempt else (found.call_id, "replayed")

    def by_request(
        self, state: SessionState, decision: Decision, request: str, now: datetime
    ) -> Repeat | Denied | None:
        """What a request is answered with that is not legal now, or that nobody was told of."""
        if not isinstance(decision, Denied):
            is_free = isinstance(decision, Allowed) and decision.purpose == "free"
            return self._of_free_call(state, request, now) if is_free else None
        open_call = in_flight(state, request)
        if open_call is not None:
            is_it = decision.step in (None, open_call.step)
            return self._being_made(open_call, decision) if is_it else None
        ended = ended_lately(state, request, now, self._window)
        if ended is None or not _stands_for(state, ended, decision):
            return None
        return ended.call_id, "replayed"

    def _of_free_call(
        self, state: SessionState, request: str, now: datetime
    ) -> Repeat | Denied | None:
        """Nothing but the rules says how often such a call may be made: one at a time."""
        open_call = in_flight(state, request)
        if open_call is not None:
            return self._being_made(open_call)
        ended = ended_lately(state, request, now, self._window)
        return None if ended is None or ended.answered else (ended.call_id, "replayed")

    def _being_made(self, call: OpenCall, refusal: Denied | None = None) -> Repeat | Denied:
        if call.node == self._node_id:
            return call.call_id, "attached"
        step = call.step if refusal is None else refusal.step
        return Denied(
            "running",
            f"this very call is being made at this moment by another process of the gateway "
            f"({call.call_id}): do not repeat it; workflow_status tells what became of it",
            step,
            book="" if refusal is None else refusal.book,
        )


_OVER = frozenset({"done", "no_run"})
"""The refusals that say that there is nothing left to call for."""


def _stands_for(state: SessionState, ended: RecentCall, refusal: Denied) -> bool:
    """Whether a call that ended is what a refused request asks for.

    A step that is pending again is not among the calls that are remembered. What no workflow orders
    is refused by a limit, whose own words tell more, unless nobody was told of the first call.
    """
    if ended.run_id is None:
        return not ended.answered
    current = {} if state.run is None else state.run.current
    step = next((step for step, one in current.items() if one.call_id == ended.call_id), None)
    if step is None:  # it undid a step
        return refusal.rule in _OVER
    return refusal.step in (None, step)
