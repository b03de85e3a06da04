"""Reviews of bypasses, as part of the fold: opened with the bypass, overdue, closed by a person.

They belong to the session and not to the run: a bypass has to be reviewed after the run has ended
too.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from mcpuppet.errors import AuditError
from mcpuppet.session import events as e
from mcpuppet.session.state import ReviewState, SessionState, changed


def review_opened(state: SessionState, event: e.ReviewOpened, at: datetime) -> SessionState:
    if event.review_id in state.reviews:
        raise AuditError(f"review {event.review_id} is open already")
    review = ReviewState(
        review_id=event.review_id,
        approval_id=event.approval_id,
        step=event.step,
        bypassed_by=event.bypassed_by,
        justification=event.justification,
        roles=event.roles,
        opened_at=at,
        due_at=event.due_at,
    )
    return changed(state, reviews={**state.reviews, review.review_id: review})


def review_overdue(state: SessionState, event: e.ReviewOverdue, at: datetime) -> SessionState:
    del at
    review = replace(state.reviews[event.review_id], overdue=True)
    return changed(state, reviews={**state.reviews, review.review_id: review})


def review_closed(state: SessionState, event: e.ReviewClosed, at: datetime) -> SessionState:
    del at
    if event.review_id not in state.reviews:
        raise AuditError(f"review {event.review_id} is not open")
    left = {name: one for name, one in state.reviews.items() if name != event.review_id}
    return changed(state, reviews=left)
