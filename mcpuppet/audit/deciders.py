"""Whether those who decided were the people, with the roles and tokens, that the log tells of.

What people decide stands in sessions, who they are in the administration log. Somebody who forges a
vote has to name a person who could have given it. Knows no store and no workflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from mcpuppet.audit.record import ChainBreak
from mcpuppet.session import admin_events as a
from mcpuppet.session import events as e
from mcpuppet.session.state import BY_TIME

_ALWAYS = datetime.min.replace(tzinfo=UTC)
_GRACE = timedelta(minutes=1)
"""Between showing a token and recording the decision a change to the person may be recorded."""
ELICITED = "elicitation"
"""How the channel begins of what whoever sits at the client said."""
USER_OF = "user of "
"""How such a person is called; the principal's name follows."""
_SHORT = 12
"""Digits of a token's SHA-256 that a decision names."""
DECISIONS = (
    e.ApprovalVoted,
    e.ApprovalRejected,
    e.ApprovalBypassed,
    e.ApprovalEdited,
    e.CallResolved,
    e.StepReleased,
    e.ReviewClosed,
)
"""What only people do."""
CHANGES = (a.UserAdded, a.UserRolesChanged, a.UserDisabled, a.TokenRotated)


@dataclass(frozen=True, slots=True)
class Decided:
    """Who decided, by the record of it."""

    session_id: str
    seq: int
    at: datetime
    by: str
    credential: str
    """The first digits of the SHA-256 of a token; empty in records of earlier versions."""
    roles: tuple[str, ...]
    """Those that are recorded with a vote."""


@dataclass(frozen=True, slots=True)
class _Known:
    since: datetime
    roles: tuple[str, ...]
    credential: str
    disabled: bool = False


def decided(session_id: str, seq: int, at: datetime, event: e.Event) -> Decided | None:
    """What an event says of who decided; None for what no person with a token does."""
    if not isinstance(event, DECISIONS) or event.by == BY_TIME:
        return None
    if event.channel.startswith(ELICITED) and event.by.startswith(USER_OF):
        return None  # the word of a client's own user, which proves no person
    roles = event.roles if isinstance(event, e.ApprovalVoted) else ()
    return Decided(session_id, seq, at, event.by, event.credential, tuple(roles))


def decider_breaks(
    changes: Iterable[tuple[datetime, e.Event]], decisions: Iterable[Decided]
) -> Iterator[ChainBreak]:
    """Yield a break for each decision by somebody who was not, by then, such a person.

    `changes` are those of the administration log, in its order. Where it tells of nobody, people
    are known to a program that uses this as a library, and nothing can be compared.
    """
    known = _history(changes)
    for one in decisions if known else ():
        problem = _problem(known.get(one.by, ()), one)
        if problem is not None:
            yield ChainBreak(one.session_id, one.seq, problem)


def _history(changes: Iterable[tuple[datetime, e.Event]]) -> Mapping[str, list[_Known]]:
    known: dict[str, list[_Known]] = {}
    for at, event in changes:
        if isinstance(event, a.UserAdded):
            # Who was there before the log could tell was there from the beginning.
            since = _ALWAYS if event.note else at
            known.setdefault(event.name, []).append(_Known(since, event.roles, event.credential))
        elif isinstance(event, CHANGES) and event.name in known:
            before = known[event.name][-1]
            known[event.name].append(replace(_changed(before, event), since=at))
    return known


def _changed(before: _Known, event: e.Event) -> _Known:
    match event:
        case a.UserRolesChanged():
            return replace(before, roles=event.roles)
        case a.UserDisabled():
            return replace(before, disabled=True)
        case a.TokenRotated():
            return replace(before, credential=event.credential)
    return before


def _problem(history: Iterable[_Known], one: Decided) -> str | None:
    then = [known for known in history if known.since <= one.at]
    # The last is how they were then; one before it counts if it was so until a moment before.
    recent = then[-1:]
    recent += [known for known, after in pairwise(then) if after.since > one.at - _GRACE]
    who = f"{one.by!r} decides here"
    if not recent:
        return f"{who}, and the administration log does not tell of such a person by then"
    if not one.credential:
        return None  # an earlier version recorded it, without what could be compared
    enabled = [known for known in recent if not known.disabled]
    if not enabled:
        return f"{who}, and was disabled then"
    if not any(
        known.credential.startswith(one.credential) and len(one.credential) == _SHORT
        for known in enabled
    ):
        return f"{who} with a token that was not theirs, by the administration log"
    if not any(set(one.roles) <= set(known.roles) for known in enabled):
        return f"{who} with the roles {', '.join(one.roles)}, and did not hold all of them then"
    return None
