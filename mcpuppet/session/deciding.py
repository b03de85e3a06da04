"""What follows from people's decisions, and from nobody deciding in time, as events of a session.

Whether a person may decide is asked before (`people`); here their word counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcpuppet.session import events as e
from mcpuppet.session.call import Call
from mcpuppet.session.settling import Settling
from mcpuppet.session.state import (
    BY_TIME,
    ApprovalState,
    AskState,
    ReviewState,
    RunState,
    ShownCall,
)
from mcpuppet.workflow.compiled import CompiledStep
from mcpuppet.workflow.compiler import descendants
from mcpuppet.workflow.marking import RUNNING, SKIPPED, status_of


@dataclass(frozen=True, slots=True)
class Proof:
    """How a person proved who they are, and through what they decided."""

    credential: str = ""
    """The first 12 hex digits of the SHA-256 of their token."""
    channel: str = ""


NO_PROOF = Proof()


class Deciding(Settling):
    """The part of a session's progress that people, or their silence, bring about."""

    # --- requests about single calls ------------------------------------------------------------

    def agreed(
        self,
        ask: AskState,
        person: str,
        roles: frozenset[str],
        content: str,
        channel: str,
        *,
        credential: str = "",
        void: Collection[str] = (),
    ) -> None:
        """One person agrees to a call; it is granted once each policy has somebody's word.

        What the people in `void` said does not count any more.
        """
        held = tuple(sorted(roles))
        self.emit(
            e.ApprovalVoted(ask.approval_id, person, content, channel, held, credential=credential)
        )
        known = self.state.asks[ask.approval_id]
        by = tuple(sorted(set(known.agreed_by) - set(void)))
        if {name for one in by for name in known.agreed_by[one]} >= set(known.policies):
            self.emit(e.ApprovalGranted(ask.approval_id, "", by))

    def refused(self, ask: AskState, person: str, reason: str, proof: Proof = NO_PROOF) -> None:
        """One person refuses a call, and that decides it."""
        self.emit(
            e.ApprovalRejected(
                ask.approval_id,
                "",
                person,
                reason,
                credential=proof.credential,
                channel=proof.channel,
            )
        )

    # --- approvals of steps ---------------------------------------------------------------------

    def voted(
        self,
        approval: ApprovalState,
        person: str,
        content: str,
        channel: str,
        *,
        roles: Collection[str] = (),
        credential: str = "",
        void: Collection[str] = (),
    ) -> None:
        """One person approves; with the quorum reached the approval is granted.

        The votes of the people in `void` do not count any more.
        """
        held = tuple(sorted(roles))
        name = approval.approval_id
        self.emit(e.ApprovalVoted(name, person, content, channel, held, credential=credential))
        names = sorted({*(one for one, _ in approval.votes), person} - set(void))
        if len(names) >= approval.quorum:
            self.emit(e.ApprovalGranted(name, approval.step, tuple(names)))
        self.settle()

    def denied(
        self, approval: ApprovalState, person: str, reason: str, proof: Proof = NO_PROOF
    ) -> None:
        """One person denies, and that decides it."""
        self._reject(approval, person, reason, proof)
        self.settle()

    def bypassed(
        self, approval: ApprovalState, person: str, justification: str, proof: Proof = NO_PROOF
    ) -> None:
        """A person passes over the approval; where the workflow says so, another reviews it."""
        self.emit(
            e.ApprovalBypassed(
                approval.approval_id,
                approval.step,
                person,
                justification,
                credential=proof.credential,
                channel=proof.channel,
            )
        )
        self._ask_for_review(approval, person, justification)
        self.settle()

    def _ask_for_review(self, approval: ApprovalState, person: str, justification: str) -> None:
        asked = self.workflow.step(approval.step).approval
        if asked is None or asked.bypass is None or asked.bypass.review_within is None:
            return
        roles = (*asked.roles, *approval.roles, *asked.bypass.roles)
        self.emit(
            e.ReviewOpened(
                review_id=self.source.new_id("rev"),
                approval_id=approval.approval_id,
                step=approval.step,
                bypassed_by=person,
                justification=justification,
                roles=tuple(dict.fromkeys(roles)),
                due_at=self.source.now + asked.bypass.review_within,
            )
        )

    def reviewed(
        self,
        review: ReviewState,
        person: str,
        *,
        justified: bool,
        note: str,
        proof: Proof = NO_PROOF,
    ) -> None:
        """A person says whether a bypass was justified."""
        self.emit(
            e.ReviewClosed(
                review.review_id, person, justified, note, proof.credential, proof.channel
            )
        )

    # --- edits ----------------------------------------------------------------------------------

    def edited(
        self,
        request: ApprovalState | AskState,
        shown: ShownCall,
        call: Call,
        digest: str,
        *,
        person: str,
        note: str,
        proof: Proof = NO_PROOF,
        policies: Mapping[str, Any] | None = None,
        show: tuple[Mapping[str, Any], ...] = (),
    ) -> None:
        """A person puts other arguments in place of those that are asked about.

        `policies` and `show` are those of a request about a single call.
        """
        self.emit(
            e.ApprovalEdited(
                approval_id=request.approval_id,
                step=shown.step or None,
                tool=call.tool,
                arguments=call.arguments,
                digest=digest,
                replaces=shown.digest,
                by=person,
                note=note,
                credential=proof.credential,
                channel=proof.channel,
                policies=policies or {},
                show=show,
            )
        )

    # --- nobody decided in time -----------------------------------------------------------------

    def _reviews_overdue(self) -> None:
        """Write down which bypasses should have been reviewed by now."""
        reviews = {} if self.known is None else self.known.reviews
        for _, review in sorted(reviews.items()):
            if not review.overdue and self.source.now >= review.due_at:
                self.emit(e.ReviewOverdue(review.review_id))

    def _run_out(self, approval: ApprovalState) -> None:
        """Nobody decided in time: the first time others are asked, where the workflow says so."""
        asked = self.workflow.step(approval.step).approval
        assert asked is not None
        if asked.on_timeout != "escalate" or asked.escalate_to is None or approval.escalated:
            self._expire(approval)
            return
        due = approval.expires_at + asked.timeout
        if due <= self.source.now:  # nobody looked for that long, so nobody has been asked yet
            due = self.source.now + asked.timeout
        self.emit(
            e.ApprovalEscalated(approval.approval_id, approval.step, (asked.escalate_to,), due)
        )

    def _expire(self, approval: ApprovalState) -> None:
        step = self.workflow.step(approval.step)
        assert self.run is not None
        assert step.approval is not None
        was_open = approval.status == "open"
        skipped = () if was_open else tuple(self._skipped_after(step, self.run))
        self.emit(e.ApprovalExpired(approval.approval_id, approval.step, skipped))
        binds = self._binds(step)
        if approval.asked <= step.approval.renew and not isinstance(binds, str):
            self._open(step, approval.asked + 1, binds)
        else:
            reason = "nobody decided in time" if was_open else "the approval was not used in time"
            self._reject(approval, BY_TIME, reason)

    def _skipped_after(self, step: CompiledStep, run: RunState) -> Iterator[str]:
        """The steps that depend on a step and were skipped."""
        for index in sorted(descendants(self.workflow, [step.index])):
            if status_of(run.marking, index) == SKIPPED:
                yield self.workflow.steps[index].id

    def _reject(
        self, approval: ApprovalState, by: str, reason: str, proof: Proof = NO_PROOF
    ) -> None:
        self.emit(
            e.ApprovalRejected(
                approval.approval_id,
                approval.step,
                by,
                reason,
                credential=proof.credential,
                channel=proof.channel,
            )
        )
        step = self.workflow.step(approval.step)
        if not self._redo(step):
            why = f": {reason}" if by == BY_TIME else f"; guidance: {reason}"
            self._unless_handled(step, "rejected", f"{step.id} was rejected by {by}{why}")

    # --- what a failure or a rejection leads to -------------------------------------------------

    def _redo(self, step: CompiledStep) -> bool:
        run = self.run
        if step.redo is None or run is None or run.failing:
            return False
        if run.count(f"redo:{step.id}") >= (step.redo.max or 0):
            return False
        self.emit(e.StepsRedone(step.id, tuple(self._reset_by(step))))
        return True

    def _reset_by(self, step: CompiledStep) -> Iterator[str]:
        """The steps of a redo, and the steps that were skipped because of them."""
        assert step.redo is not None
        assert self.run is not None
        listed = {step.index, *(self.workflow.index[name] for name in step.redo.redo)}
        dependent = descendants(self.workflow, listed)
        for one in self.workflow.steps:
            status = status_of(self.run.marking, one.index)
            if one.index in listed and status != RUNNING:
                yield one.id
            elif one.index in dependent and status == SKIPPED:
                yield one.id

    def _unless_handled(self, step: CompiledStep, ends_as: e.RunEnd, reason: str) -> None:
        if not step.failure_is_handled and self.run is not None and not self.run.failing:
            self.emit(e.RunFailing(ends_as, step.id, reason))
