"""What people and clients are told of a session: plain values, made from its state.

Nothing here decides anything; it words what `session` computed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from mcpuppet.session import events as e
from mcpuppet.session.call import Principal, digest_of
from mcpuppet.session.consequences import Progress
from mcpuppet.session.decision import (
    Allowed,
    ApprovalNeeded,
    Books,
    Decision,
    Denied,
    LegalCall,
    legal_under,
)
from mcpuppet.session.edits import Edit
from mcpuppet.session.outcome import Failed, Outcome, Succeeded, Unknown, result_value
from mcpuppet.session.state import ApprovalState, AskState, ReviewState, RunState, ShownCall
from mcpuppet.workflow.compiler import CompiledStep
from mcpuppet.workflow.marking import (
    APPROVAL_STATUS_NAMES,
    PENDING,
    RUNNING,
    STATUS_NAMES,
    status_of,
)


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of a run, in words."""

    id: str
    title: str
    kind: str
    """tool | approval"""
    status: str
    """pending | legal | running | awaiting_approval | held | success | … as in the marking"""
    tools: tuple[str, ...]
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """An open request for a decision: everything that a person decides on."""

    approval_id: str
    session_id: str
    workflow: str
    step: str
    title: str
    binds: Mapping[str, Any]
    calls: tuple[ShownCall, ...]
    roles: tuple[str, ...]
    quorum: int
    approved_by: tuple[str, ...]
    requested_by: str
    opened_at: datetime
    expires_at: datetime
    bypass_roles: tuple[str, ...]
    content: str
    """Digest of all that is shown here; a vote is good for this content only."""
    seen: Mapping[str, str] = field(default_factory=dict)
    """For what is shown of a single call, where each value was first seen."""
    policies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For a single call the policies that ask, each with the roles of which one has to agree."""
    escalated: bool = False
    """Whether those who were asked first let their time run out, and others are asked now."""
    void_votes: tuple[str, ...] = ()
    """People whose votes do not count any more, as they have been disabled since."""


@dataclass(frozen=True, slots=True)
class ReviewView:
    """A bypass that a person, other than who bypassed, still has to review."""

    review_id: str
    session_id: str
    approval_id: str
    step: str
    bypassed_by: str
    justification: str
    roles: tuple[str, ...]
    opened_at: datetime
    due_at: datetime
    overdue: bool


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as a person or a client may see it."""

    session_id: str
    principal: str
    workflow: str | None
    version: str | None
    run_id: str | None
    status: str
    """idle | active | waiting_approval | failing | completed | failed | rejected | …"""
    end_reason: str | None
    steps: tuple[StepView, ...]
    legal: tuple[LegalCall, ...]
    approvals: tuple[ApprovalView, ...]
    open_calls: tuple[str, ...]
    reviews: tuple[ReviewView, ...] = ()
    """The bypasses that nobody has reviewed yet, of earlier runs too."""
    guidance: Mapping[str, str] = field(default_factory=dict)
    """For each approval step of the latest run that a person denied last, the reason."""


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """What became of a request to call a tool, and what is legal now."""

    session_id: str
    call_id: str
    tool: str
    decision: Decision
    outcome: Outcome | None
    legal: tuple[LegalCall, ...]
    changed: bool
    """Whether the legal calls are others than before."""
    run_status: str
    note: str = ""
    """What the outcome meant for the step, where that is not plain success."""
    edit: Edit | None = None
    """How a person changed the call, where one did: what is answered here is the changed one."""
    guidance: Mapping[str, str] = field(default_factory=dict)
    """For each approval step of the latest run that a person denied last, the reason."""
    repeats: str = ""
    """The call that was made before, where this request was answered without one."""
    how: Literal["", "attached", "replayed"] = ""
    """Whether it waited for that call, or was given what had been recorded of it."""
    happened: bool | None = None
    """What was found out afterwards about an outcome that was unknown at first."""

    @property
    def allowed(self) -> bool:
        return isinstance(self.decision, Allowed)

    @property
    def status(self) -> str:
        """succeeded | failed | unknown | denied | awaiting_approval"""
        match self.decision, self.outcome:
            case (Denied(), _):
                return "denied"
            case (ApprovalNeeded(), _):
                return "awaiting_approval"
            case (_, Succeeded()):
                return "succeeded"
            case (_, Unknown()) if self.happened is None:
                return "unknown"
            case (_, Unknown()) if self.happened:
                return "succeeded"
            case _:
                return "failed"

    @property
    def result(self) -> dict[str, Any] | None:
        """The structured result, where the call succeeded."""
        return result_value(self.outcome.result) if isinstance(self.outcome, Succeeded) else None

    @property
    def reason(self) -> str:
        """Why the call was refused or did not succeed; empty when it did."""
        match self.decision, self.outcome:
            case (Denied(reason=reason), _):
                return reason
            case (ApprovalNeeded() as needed, _):
                people = " or ".join(needed.roles)
                why = f": {needed.why}" if needed.why else ""
                verb = "need" if ", " in needed.approval_step else "needs"
                return f"{needed.approval_step} {verb} a person ({people}) to decide first{why}"
            case (_, Failed(message=message) | Unknown(message=message)):
                return message
            case _:
                return ""


def step_note(after: Progress, decision: Decision) -> str:
    """What became of the step of a call that was made, unless it is simply done."""
    step = decision.step if isinstance(decision, Allowed) else None
    for event in after.events:
        match event:
            case e.StepFailed(step=name, reason=reason) if name == step:
                return f"Step {name} failed: {reason}."
            case e.StepReturned(step=name, why="repeat", reason=reason) if name == step:
                return f"Step {name} is not done yet: {reason}."
            case e.StepReturned(step=name, reason=reason) if name == step:
                return f"Step {name} may be tried again: {reason}."
            case e.StepHeld(step=name, reason=reason) if name == step:
                return f"Step {name} is held until a person settles it: {reason}."
            case _:
                continue
    return ""


def legal_sentence(legal: tuple[LegalCall, ...], status: str) -> str:
    """What is legal now, in one sentence for a model."""
    if legal:
        names = ", ".join(dict.fromkeys(_legal_name(one) for one in legal))
        return f"Legal now: {names}."
    if status == "waiting_approval":
        return "Legal now: nothing; the run waits for a person's approval."
    if status == "idle":
        return "Legal now: nothing; no run is active."
    return f"Legal now: nothing; the run is {status.replace('_', ' ')}."


def _legal_name(one: LegalCall) -> str:
    if one.purpose == "compensation":
        return f"{one.tool} (undoes {one.step})"
    name = f"every tool like {one.tool}" if is_pattern(one.tool) else one.tool
    return f"{name} (a person may have to agree)" if one.asks else name


def is_pattern(tool: str) -> bool:
    """Whether a rules file or workflow names tools by a pattern such as `bank.get_*`."""
    return any(one in tool for one in "*?[")


def session_view(progress: Progress, principal: Principal) -> SessionView:
    """The whole picture of a session."""
    state = progress.state
    run = state.run
    legal = legal_now(progress, principal)
    return SessionView(
        session_id=progress.session_id,
        principal=state.principal,
        workflow=None if run is None else run.workflow,
        version=None if run is None else run.version,
        run_id=None if run is None else run.run_id,
        status=run_status(progress),
        end_reason=None if run is None else run.end_reason,
        steps=() if run is None else tuple(_steps(progress, run, legal)),
        legal=legal,
        approvals=tuple(approval_views(progress)),
        open_calls=tuple(state.calls),
        reviews=tuple(review_views(progress)),
        guidance=guidance_of(progress),
    )


def guidance_of(progress: Progress) -> Mapping[str, str]:
    """What people said when they denied approvals of the latest run, by step."""
    run = progress.state.run
    return {} if run is None else run.guidance


def review_views(progress: Progress) -> Iterator[ReviewView]:
    """The bypasses of a session that nobody has reviewed yet, the one due first first."""
    reviews = () if progress.known is None else progress.known.reviews.values()
    for review in sorted(reviews, key=lambda one: (one.due_at, one.review_id)):
        yield review_view(progress, review)


def review_view(progress: Progress, review: ReviewState) -> ReviewView:
    """One review as a person sees it."""
    return ReviewView(
        review_id=review.review_id,
        session_id=progress.session_id,
        approval_id=review.approval_id,
        step=review.step,
        bypassed_by=review.bypassed_by,
        justification=review.justification,
        roles=review.roles,
        opened_at=review.opened_at,
        due_at=review.due_at,
        overdue=review.overdue or progress.source.now >= review.due_at,
    )


def run_status(progress: Progress) -> str:
    """The status of the latest run; `idle` when there has been none."""
    run = progress.state.run
    return "idle" if run is None else run.status


def legal_now(progress: Progress, principal: Principal) -> tuple[LegalCall, ...]:
    """The legal calls of the active run, if there is one, and what the rules file allows."""
    books = Books(None if progress.run is None else progress.workflow, progress.rules)
    now = progress.source.now
    return legal_under(books, progress.state, principal, now, progress.reserved)


def _steps(progress: Progress, run: RunState, legal: tuple[LegalCall, ...]) -> Iterator[StepView]:
    ready = {one.step for one in legal if one.purpose == "step"}
    for step in progress.workflow.steps:
        status, detail = _step_status(step, run, ready)
        kind = "tool" if step.approval is None else "approval"
        yield StepView(step.id, step.title, kind, status, step.tools, detail)


def _step_status(
    step: CompiledStep, run: RunState, ready: set[str | None]
) -> tuple[str, str | None]:
    status = status_of(run.marking, step.index)
    if step.id in run.held and status & (PENDING | RUNNING):
        return "held", run.held[step.id].reason
    if step.id in ready:
        return "legal", None
    if step.id in run.compensated:
        return "undone", None
    names = STATUS_NAMES if step.approval is None else APPROVAL_STATUS_NAMES
    due = run.not_before.get(step.id)
    return names[status], None if due is None else f"can go on at {due:%H:%M:%S}"


def approval_views(progress: Progress) -> Iterator[ApprovalView]:
    """The open requests of a session: of its active run, and about single calls."""
    run = progress.run
    for approval in () if run is None else run.approvals.values():
        if approval.status == "open" and run is not None:
            yield approval_view(progress, run, approval)
    for ask in () if progress.known is None else progress.known.asks.values():
        if ask.status == "open":
            yield ask_view(progress, ask)


def ask_view(progress: Progress, ask: AskState) -> ApprovalView:
    """A request about one call as a person sees it."""
    rules = progress.rules
    run = progress.run
    named = [one.name for one in progress.books] or [rules.name if rules else ""]
    return ApprovalView(
        approval_id=ask.approval_id,
        session_id=progress.session_id,
        workflow=named[0] if run is not None and ask.step is not None else named[-1],
        step=ask.step or ", ".join(ask.policies),
        title=f"{ask.tool}, asked by {', '.join(ask.policies)}",
        binds={one["path"]: one["value"] for one in ask.show},
        calls=(ask_call(ask),),
        roles=ask.roles,
        quorum=1,
        approved_by=tuple(name for name, _ in ask.votes),
        requested_by=ask.requested_by,
        opened_at=ask.opened_at,
        expires_at=ask.expires_at,
        bypass_roles=(),
        content=ask_digest(progress, ask),
        seen={one["path"]: one["seen"] for one in ask.show},
        policies=ask.policies,
    )


def ask_call(ask: AskState) -> ShownCall:
    """The call that a request is about, as it is shown."""
    return ShownCall(
        ask.step or "", ask.tool, ask.arguments, ask.digest, ask.asked_as, ask.edited_by
    )


def approval_view(progress: Progress, run: RunState, approval: ApprovalState) -> ApprovalView:
    """One request as a person sees it."""
    step = progress.workflow.step(approval.step)
    bypass = None if step.approval is None else step.approval.bypass
    return ApprovalView(
        approval_id=approval.approval_id,
        session_id=progress.session_id,
        workflow=run.workflow,
        step=approval.step,
        title=step.title,
        binds=approval.binds,
        calls=approval.shown,
        roles=approval.roles,
        quorum=approval.quorum,
        approved_by=tuple(name for name, _ in approval.votes),
        requested_by=approval.requested_by,
        opened_at=approval.opened_at,
        expires_at=approval.expires_at,
        bypass_roles=() if bypass is None else tuple(bypass.roles),
        content=content_digest(progress, run, approval),
        escalated=approval.escalated,
    )


def without_votes_of(view: ApprovalView, disabled: Collection[str]) -> ApprovalView:
    """The request with the votes of disabled people apart, for they do not count."""
    void = tuple(name for name in view.approved_by if name in disabled)
    if not void:
        return view
    left = tuple(name for name in view.approved_by if name not in disabled)
    return replace(view, approved_by=left, void_votes=void)


def content_digest(progress: Progress, run: RunState, approval: ApprovalState) -> str:
    """SHA-256, in hex, of what a person is shown when asked to decide.

    Sensitive values count by their commitments: the digest is recorded, and lets nobody guess them.
    """
    shown = sorted([one.step, one.tool, one.digest] for one in approval.shown)
    return digest_of(
        [
            approval.approval_id,
            progress.session_id,
            run.run_id,
            run.hash,
            approval.step,
            progress.recorder.hidden(approval.binds),
            shown,
            approval.expires_at.isoformat(),
        ]
    )


def ask_digest(progress: Progress, ask: AskState) -> str:
    """SHA-256, in hex, of what a person is shown of a single call; as `content_digest`."""
    return digest_of(
        [
            ask.approval_id,
            progress.session_id,
            ask.digest,
            {name: list(roles) for name, roles in ask.policies.items()},
            progress.recorder.hidden([dict(one) for one in ask.show]),
            ask.expires_at.isoformat(),
        ]
    )
