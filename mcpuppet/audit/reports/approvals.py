"""What a report says of approval steps: who was asked, shown what, and who decided.

Requests about single calls are those of `report_asks`. Accepts any order of events, as the report
of a broken chain must.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from mcpuppet.audit.reports.decisions import (
    ApprovalReport,
    EditReport,
    EscalationReport,
    ReviewReport,
    ShownCallReport,
    VoteReport,
)
from mcpuppet.session import events as e


class ApprovalsReading:
    """The requests of approval steps, in the order in which they were opened."""

    def __init__(self) -> None:
        self._approvals: list[ApprovalReport] = []
        self._places: dict[str, int] = {}
        self._open: set[int] = set()

    @property
    def reports(self) -> tuple[ApprovalReport, ...]:
        """Every request, as it stands after the events so far."""
        return tuple(self._approvals)

    @property
    def waiting(self) -> bool:
        """Whether somebody is asked now."""
        return bool(self._open)

    def open(self, seq: int, event: e.ApprovalOpened, at: datetime, run_id: str | None) -> None:
        """People are asked."""
        self.close(event.step)  # one that was asked again because it had expired
        self._places[event.approval_id] = len(self._approvals)
        self._open.add(len(self._approvals))
        self._approvals.append(
            ApprovalReport(
                seq=seq,
                approval_id=event.approval_id,
                run_id=run_id,
                step=event.step,
                asked=event.asked,
                roles=event.roles,
                quorum=event.quorum,
                requested_by=event.requested_by,
                opened_at=at,
                expires_at=event.expires_at,
                binds=event.binds,
                separation=event.separation,
            )
        )

    def shown(self, event: e.CallDeferred, at: datetime) -> None:
        """A call was put off, and shown to those who decide."""
        step = event.step or ""
        shown = ShownCallReport(at, event.call_id, step, event.tool, event.arguments, event.digest)
        self._change(event.approval_id, lambda one: {"shown": (*one.shown, shown)})

    def voted(self, event: e.ApprovalVoted, at: datetime) -> None:
        """One person has approved."""
        vote = VoteReport(event.by, at, event.content, event.channel, event.roles, event.credential)
        self._change(event.approval_id, lambda one: {"votes": (*one.votes, vote)})

    def edited(self, event: e.ApprovalEdited, at: datetime) -> None:
        """A person changed what is asked about."""
        edit = edit_report(event, at)
        self._change(
            event.approval_id,
            lambda one: {
                "edits": (*one.edits, edit),
                "votes": tuple(replace(vote, void=True) for vote in one.votes),
            },
        )

    def escalated(self, event: e.ApprovalEscalated, at: datetime) -> None:
        """Others are asked."""
        escalation = EscalationReport(at, event.roles, event.expires_at)
        self._change(event.approval_id, lambda one: {"escalations": (*one.escalations, escalation)})

    def granted(self, event: e.ApprovalGranted, at: datetime) -> None:
        """Enough people have approved."""
        self._decide(event.approval_id, at, event.by, status="approved")

    def rejected(self, event: e.ApprovalRejected, at: datetime) -> None:
        """Somebody has refused, or nobody decided in time."""
        if self._has_lapsed(event.approval_id):  # who had granted it stays told
            self._change(event.approval_id, lambda _: {"reason": event.reason})
            return
        self._decide(
            event.approval_id,
            at,
            (event.by,),
            status="rejected",
            reason=event.reason,
            channel=event.channel,
            credential=event.credential,
        )

    def bypassed(self, event: e.ApprovalBypassed, at: datetime) -> None:
        """Somebody has passed over it."""
        self._decide(
            event.approval_id,
            at,
            (event.by,),
            status="bypassed",
            justification=event.justification,
            channel=event.channel,
            credential=event.credential,
        )

    def expired(self, event: e.ApprovalExpired) -> None:
        """Nobody decided in time, or a grant was not used in time."""
        self._change(event.approval_id, lambda one: _expiry(one, event.reset))

    def close(self, step: str | None) -> None:
        """What is open ends without a decision, of one step or of all."""
        for index in tuple(self._open):
            approval = self._approvals[index]
            if step in (None, approval.step):
                self._change_at(index, status="expired" if approval.expired else "closed")

    def _has_lapsed(self, approval_id: str) -> bool:
        index = self._places.get(approval_id)
        return index is not None and self._approvals[index].status == "lapsed"

    def _decide(self, approval_id: str, at: datetime, by: tuple[str, ...], **changes: Any) -> None:
        self._change(
            approval_id,
            lambda one: {
                "decided_at": at,
                "decided_by": by,
                "seconds_to_decide": (at - one.opened_at).total_seconds(),
                **changes,
            },
        )

    def _change(
        self, approval_id: str, changes: Callable[[ApprovalReport], Mapping[str, Any]]
    ) -> None:
        index = self._places.get(approval_id)
        if index is not None:
            self._change_at(index, **changes(self._approvals[index]))

    def _change_at(self, index: int, **changes: Any) -> None:
        self._approvals[index] = changed = replace(self._approvals[index], **changes)
        if changed.status != "open":
            self._open.discard(index)


class ReviewsReading:
    """The reviews of bypasses, in the order in which they were opened."""

    def __init__(self) -> None:
        self._reviews: dict[str, ReviewReport] = {}

    def reports(self, as_of: datetime | None) -> tuple[ReviewReport, ...]:
        """Every review; one that is open is overdue at `as_of` once its time has passed."""
        return tuple(_as_of(one, as_of) for one in self._reviews.values())

    def open(self, seq: int, event: e.ReviewOpened, at: datetime) -> None:
        """A bypass has to be reviewed."""
        self._reviews[event.review_id] = ReviewReport(
            seq=seq,
            review_id=event.review_id,
            approval_id=event.approval_id,
            step=event.step,
            bypassed_by=event.bypassed_by,
            justification=event.justification,
            roles=event.roles,
            opened_at=at,
            due_at=event.due_at,
        )

    def overdue(self, event: e.ReviewOverdue) -> None:
        """Nobody reviewed in time."""
        self._change(event.review_id, status="overdue", late=True)

    def closed(self, event: e.ReviewClosed, at: datetime) -> None:
        """Somebody reviewed."""
        known = self._reviews.get(event.review_id)
        self._change(
            event.review_id,
            status="justified" if event.justified else "unjustified",
            late=known is not None and (known.late or at > known.due_at),
            closed_at=at,
            closed_by=event.by,
            note=event.note,
            credential=event.credential,
        )

    def _change(self, review_id: str, **changes: Any) -> None:
        known = self._reviews.get(review_id)
        if known is not None:
            self._reviews[review_id] = replace(known, **changes)


def edit_report(event: e.ApprovalEdited, at: datetime) -> EditReport:
    """A change of what is asked about."""
    return EditReport(
        at=at,
        by=event.by,
        tool=event.tool,
        arguments=event.arguments,
        digest=event.digest,
        replaces=event.replaces,
        note=event.note,
        credential=event.credential,
    )


def _as_of(review: ReviewReport, as_of: datetime | None) -> ReviewReport:
    if review.status == "open" and as_of is not None and review.due_at < as_of:
        return replace(review, status="overdue", late=True)
    return review


def _expiry(approval: ApprovalReport, reset: tuple[str, ...]) -> Mapping[str, Any]:
    granted = approval.status in ("approved", "bypassed")
    return {"expired": True, "reset": reset, "status": "lapsed" if granted else approval.status}
