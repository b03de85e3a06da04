"""Decisions that were refused, as part of the fold: which of them need not be recorded again yet.

Somebody who tries the same thing again and again is recorded once a minute, so that nobody can
fill the audit trail from outside by repeating one command.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from mcpuppet.session.admin_events import DecisionRefused
from mcpuppet.session.call import digest_of
from mcpuppet.session.state import RecentRefusal, SessionState, changed

ONCE_PER = timedelta(minutes=1)
_MOST = 50
"""How many refusals a session remembers; those that it has forgotten are recorded again."""


def decision_refused(state: SessionState, event: DecisionRefused, at: datetime) -> SessionState:
    recent = [one for one in state.refusals if _is_recent(one, at)]
    recent.append(RecentRefusal(_name_of(event), at))
    return changed(state, refusals=tuple(recent[-_MOST:]))


def was_just_recorded(state: SessionState, event: DecisionRefused, now: datetime) -> bool:
    """Whether the same person, or token, was refused the same thing less than a minute ago."""
    name = _name_of(event)
    return any(one.what == name and _is_recent(one, now) for one in state.refusals)


def _is_recent(one: RecentRefusal, now: datetime) -> bool:
    # Also not after now: a clock that was set back must not silence anything for long.
    return now - ONCE_PER < one.at <= now


def _name_of(event: DecisionRefused) -> str:
    return digest_of([event.credential, event.by, event.action, event.target, event.reason])
