"""People's decisions in a history: each refers to a request that is open, by somebody who may.

Asked before an event is folded, with the state that the events before it led to. Deliberately does
not know the workflow, so it cannot say whether the roles were those that the file names.
"""

from __future__ import annotations

from collections.abc import Mapping

from mcpuppet.session import events as e
from mcpuppet.session.state import ApprovalState, AskState, SessionState

Request = ApprovalState | AskState


def decision_problem(state: SessionState | None, event: e.Event) -> str | None:
    """What a decision refers to that has not come before it; None for every other event."""
    match event:
        case e.ApprovalVoted():
            return _vote(state, event)
        case e.ApprovalEdited():
            return _edit(state, event)
        case e.ApprovalEscalated():
            return _escalation(state, event)
        case e.ApprovalGranted():
            return _grant(state, event)
        case e.ApprovalBypassed():
            return _not_asked(state, event) or _own_decision(state, event.approval_id, event.by)
        case e.ApprovalRejected():
            return _not_asked(state, event)
        case e.ApprovalExpired():
            return _not_asked(state, event, ("open", "approved", "bypassed"))
        case e.AskOpened():
            return _opened_before(state, event)
        case e.ReviewOpened():
            return _unasked_review(state, event)
        case e.ReviewOverdue() | e.ReviewClosed():
            return _review(state, event)
    return None


def requests(state: SessionState | None) -> Mapping[str, Request]:
    """The latest request of each approval step of the active run, and those about calls, by id."""
    if state is None:
        return {}
    of_run = () if state.active_run is None else state.active_run.approvals.values()
    return {**{one.approval_id: one for one in of_run}, **state.asks}


def unknown_grant(state: SessionState | None, event: e.CallStarted) -> str | None:
    """The first approval that a call uses and that was not given, in words."""
    given = {
        name for name, one in requests(state).items() if one.status in ("approved", "bypassed")
    }
    missing = sorted(set(event.grants) - given)
    return f"the call uses approval {missing[0]!r}, which was not given" if missing else None


def _opened_before(state: SessionState | None, event: e.AskOpened) -> str | None:
    if event.approval_id not in requests(state):
        return None
    return f"approval {event.approval_id!r} is opened a second time"


def _vote(state: SessionState | None, event: e.ApprovalVoted) -> str | None:
    asked = requests(state).get(event.approval_id)
    if asked is None:
        return None  # the fold refuses a vote for a request that is not open
    if asked.status != "open":
        return f"{event.by!r} votes for {event.approval_id!r}, which is not open"
    if event.by in {name for name, _ in asked.votes}:
        return f"{event.by!r} votes for {event.approval_id!r} a second time"
    return _own_decision(state, event.approval_id, event.by)


def _own_decision(state: SessionState | None, approval_id: str, by: str) -> str | None:
    """Whoever asked for something, or wrote it, decides on it."""
    asked = requests(state).get(approval_id)
    if asked is None or not _is_separated(asked):
        return None
    if by == asked.requested_by:
        return f"{by!r} decides on what {by!r} has asked for"
    return f"{by!r} decides on what {by!r} has edited" if by in asked.editors else None


def _is_separated(asked: Request) -> bool:
    return isinstance(asked, AskState) or asked.separation


def _edit(state: SessionState | None, event: e.ApprovalEdited) -> str | None:
    asked = requests(state).get(event.approval_id)
    if asked is None or asked.status != "open":
        return f"approval {event.approval_id!r} is edited, and was not open"
    shown = (
        (asked.digest,)
        if isinstance(asked, AskState)
        else tuple(one.digest for one in asked.shown if one.step == event.step)
    )
    if event.replaces not in shown:
        return f"approval {event.approval_id!r} did not show the call that {event.by!r} edited"
    if _is_separated(asked) and event.by == asked.requested_by:
        return f"{event.by!r} edits what {event.by!r} has asked for"
    if isinstance(asked, AskState) and not set(asked.policies) <= set(event.policies):
        return f"the edit of {event.approval_id!r} leaves out a policy that asks"
    return None


def _escalation(state: SessionState | None, event: e.ApprovalEscalated) -> str | None:
    asked = requests(state).get(event.approval_id)
    if not isinstance(asked, ApprovalState) or asked.status != "open" or asked.step != event.step:
        return f"approval {event.approval_id!r} of step {event.step!r} was not open"
    if asked.escalated:
        return f"approval {event.approval_id!r} is escalated a second time"
    if event.expires_at <= asked.expires_at:
        return f"approval {event.approval_id!r} is escalated without more time to decide"
    return None


def _not_asked(
    state: SessionState | None,
    event: e.ApprovalGranted | e.ApprovalRejected | e.ApprovalBypassed | e.ApprovalExpired,
    statuses: tuple[str, ...] = ("open",),
) -> str | None:
    asked = requests(state).get(event.approval_id)
    if asked is not None and asked.status in statuses:
        return None
    return f"approval {event.approval_id!r} of step {event.step!r} was not open"


def _grant(state: SessionState | None, event: e.ApprovalGranted) -> str | None:
    problem = _not_asked(state, event)
    if problem is not None:
        return problem
    asked = requests(state)[event.approval_id]
    by, voters = set(event.by), {name for name, _ in asked.votes}
    if not by <= voters or len(by) < len(event.by):
        return f"approval {event.approval_id!r} is granted by others than those who voted"
    if isinstance(asked, AskState):
        agreed = {policy for name in by for policy in asked.agreed_by.get(name, ())}
        missing = sorted(set(asked.policies) - agreed)
        return f"nobody agreed for policy {missing[0]!r}" if missing else None
    if len(by) < asked.quorum:
        return (
            f"approval {event.approval_id!r} is granted by {len(by)} of the "
            f"{asked.quorum} people it needs"
        )
    return None


def _unasked_review(state: SessionState | None, event: e.ReviewOpened) -> str | None:
    asked = requests(state).get(event.approval_id)
    if asked is not None and asked.status == "bypassed":
        return None
    return f"review {event.review_id!r} is about {event.approval_id!r}, which was not bypassed"


def _review(state: SessionState | None, event: e.ReviewOverdue | e.ReviewClosed) -> str | None:
    review = None if state is None else state.reviews.get(event.review_id)
    if review is None:
        return f"review {event.review_id!r} was not open"
    if isinstance(event, e.ReviewOverdue):
        return f"review {event.review_id!r} is overdue a second time" if review.overdue else None
    if event.by == review.bypassed_by:
        return f"{event.by!r} reviews a bypass of their own"
    return None
