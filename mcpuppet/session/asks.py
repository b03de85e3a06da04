"""Requests about single calls, as part of the fold: opened, voted on, granted, used or gone.

A request is about exactly one call, named by its digest. It is granted when somebody with a fitting
role has agreed for each policy that asks, and is used up by the call.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from mcpuppet.errors import AuditError
from mcpuppet.session import events as e
from mcpuppet.session.state import AskState, SessionState, changed

MOST_REJECTED = 50
"""How many rejected requests a session remembers."""


def ask_opened(state: SessionState, event: e.AskOpened, at: datetime) -> SessionState:
    ask = AskState(
        approval_id=event.approval_id,
        step=event.step,
        tool=event.tool,
        arguments=event.arguments,
        digest=event.digest,
        policies={name: tuple(roles) for name, roles in event.policies.items()},
        show=event.show,
        requested_by=event.requested_by,
        opened_at=at,
        expires_at=event.expires_at,
    )
    others = _room_for_another(state.asks, event.digest)
    return changed(state, asks={**others, ask.approval_id: ask})


def _room_for_another(asks: Mapping[str, AskState], digest: str) -> Mapping[str, AskState]:
    """The requests without one about the same call, and the oldest of too many rejected ones."""
    rejected = sorted(
        (name for name, ask in asks.items() if ask.status == "rejected"),
        key=lambda name: (asks[name].opened_at, name),
    )
    replaced = [
        name for name, ask in asks.items() if ask.digest == digest and ask.status != "rejected"
    ]
    return _without(asks, {*replaced, *rejected[: max(0, len(rejected) - MOST_REJECTED)]})


def _ask_voted(ask: AskState, event: e.ApprovalVoted) -> AskState:
    agreed = {name for name, roles in ask.policies.items() if set(roles) & set(event.roles)}
    return replace(
        ask,
        votes=(*ask.votes, (event.by, event.content)),
        agreed=ask.agreed | agreed,
        agreed_by={**ask.agreed_by, event.by: tuple(sorted(agreed))},
    )


def _ask_edited(ask: AskState, event: e.ApprovalEdited) -> AskState:
    """The edited call takes the place of the one that was asked about; everybody votes anew."""
    if ask.status != "open" or ask.digest != event.replaces:
        raise AuditError(f"request {ask.approval_id} does not ask about the call that was edited")
    return replace(
        ask,
        tool=event.tool,
        arguments=event.arguments,
        digest=event.digest,
        policies={name: tuple(roles) for name, roles in event.policies.items()},
        show=event.show,
        votes=(),
        agreed=frozenset(),
        agreed_by={},
        asked_as=ask.asked_as or ask.digest,
        edited_by=event.by,
        editors=tuple(dict.fromkeys((*ask.editors, event.by))),
    )


def _ask_granted(ask: AskState, event: e.ApprovalGranted, at: datetime) -> AskState:
    """A granted request is good for one call, for as long as it could have been decided."""
    del event
    return replace(ask, status="approved", expires_at=at + (ask.expires_at - ask.opened_at))


def _ask_rejected(ask: AskState, event: e.ApprovalRejected) -> AskState:
    return replace(ask, status="rejected", reason=event.reason)


def ask_changed(state: SessionState, event: Any, at: datetime) -> SessionState | None:
    """The state after an event of a request about one call; None when it is not of one."""
    ask = state.asks.get(event.approval_id)
    match ask, event:
        case (None, _):
            return None
        case (AskState(), e.ApprovalVoted()):
            ask = _ask_voted(ask, event)
        case (AskState(), e.ApprovalEdited()):
            ask = _ask_edited(ask, event)
        case (AskState(), e.ApprovalGranted()):
            ask = _ask_granted(ask, event, at)
        case (AskState(), e.ApprovalRejected()):
            ask = _ask_rejected(ask, event)
        case _:
            return changed(state, asks=_without(state.asks, [event.approval_id]))
    return changed(state, asks={**state.asks, ask.approval_id: ask})


def _without(asks: Mapping[str, AskState], gone: Collection[str]) -> Mapping[str, AskState]:
    return {name: ask for name, ask in asks.items() if name not in gone}
