"""May this session make this call now? One table answers that, and what else is legal.

`decide` and `legal_calls` ask the same questions of the same compiled step, in the same order; the
list of legal calls is the decision asked for every tool with the arguments left open. Pure: the
workflow, the state, the call, the principal and the time go in, a value comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from mcpuppet.session.call import Call, Principal, call_digest
from mcpuppet.session.environment import variables
from mcpuppet.session.policies import Situation, objection
from mcpuppet.session.question import CompensationQuestion, Question, StepQuestion
from mcpuppet.session.state import RunState, SessionState
from mcpuppet.session.verdict import Allowed, ApprovalNeeded, Decision, Denied, LegalCall
from mcpuppet.workflow.compiler import CompiledWorkflow
from mcpuppet.workflow.marking import PENDING, SUCCESS, status_of

__all__ = ["Allowed", "ApprovalNeeded", "Decision", "Denied", "LegalCall", "decide", "legal_calls"]


def decide(
    workflow: CompiledWorkflow,
    state: SessionState,
    call: Call,
    principal: Principal,
    now: datetime,
) -> Decision:
    """Decide on one call; never raises for anything a caller can send."""
    run = state.active_run
    refusals: list[Denied | ApprovalNeeded] = []
    if run is not None:
        for question in _questions(workflow, state, run, call.tool, principal, now):
            answer = question.answer(call)
            if isinstance(answer, Allowed):
                return answer
            refusals.append(answer)
    if not refusals and workflow.is_always(call.tool):
        return _always(workflow, state, run, call, principal)
    return _best(refusals) or _unlisted(workflow, run, call.tool)


def legal_calls(
    workflow: CompiledWorkflow, state: SessionState, principal: Principal, now: datetime
) -> tuple[LegalCall, ...]:
    """Every call of a step or compensation that is legal now for some arguments, in file order."""
    run = state.active_run
    if run is None:
        return ()
    return tuple(
        LegalCall(question.tool, question.step.id, question.purpose)
        for question in _open_questions(workflow, state, run, principal, now)
        if isinstance(question.answer(None), Allowed)
    )


def _open_questions(
    workflow: CompiledWorkflow,
    state: SessionState,
    run: RunState,
    principal: Principal,
    now: datetime,
) -> Iterator[Question]:
    """The questions that the marking alone does not answer with no."""
    marking = run.marking
    for step in workflow.steps:
        status = status_of(marking, step.index)
        if status == PENDING and step.needs_hold(marking):
            for tool in step.tools:
                yield StepQuestion(workflow, state, run, step, tool, principal, now)
        elif status == SUCCESS and step.compensation is not None and run.failing:
            tool = step.compensation.tool
            yield CompensationQuestion(workflow, state, run, step, tool, principal, now)


def _questions(
    workflow: CompiledWorkflow,
    state: SessionState,
    run: RunState,
    tool: str,
    principal: Principal,
    now: datetime,
) -> Iterator[Question]:
    for step in workflow.by_tool.get(tool, ()):
        yield StepQuestion(workflow, state, run, step, tool, principal, now)
    for step in workflow.by_compensation.get(tool, ()):
        yield CompensationQuestion(workflow, state, run, step, tool, principal, now)


def _always(
    workflow: CompiledWorkflow,
    state: SessionState,
    run: RunState | None,
    call: Call,
    principal: Principal,
) -> Decision:
    digest = call_digest(state.session_id, workflow.hash, "", call)
    policies = workflow.policies.get(("", call.tool), ())
    if not policies:
        return Allowed("always", None, digest)
    if run is None:
        return Denied("no_run", f"{call.tool} is limited by a policy: start a run first")

    def values() -> Mapping[str, Any]:
        return variables(workflow, run, arguments=call.arguments, principal=principal)

    situation = Situation(run, None, principal, values, knows_arguments=True)
    for policy in policies:
        reason = objection(policy, situation)
        if reason is not None:
            return Denied(policy.id, reason)
    return Allowed(
        "always", None, digest, counts=tuple(p.id for p in policies if p.kind == "at_most")
    )


_RANK = {"done": 0, "skipped": 0, "compensation": 1, "failing": 2, "needs": 3, "running": 4}


def _best(refusals: list[Denied | ApprovalNeeded]) -> Decision | None:
    """Of several refusals the one that came closest to a legal call."""
    for refusal in refusals:
        if isinstance(refusal, ApprovalNeeded):
            return refusal
    denied = [one for one in refusals if isinstance(one, Denied)]
    return max(denied, key=lambda one: _RANK.get(one.rule, 9), default=None)


def _unlisted(workflow: CompiledWorkflow, run: RunState | None, tool: str) -> Denied:
    if run is None:
        return Denied("no_run", "no run is active: start a workflow first")
    return Denied("unlisted", f"no step of {workflow.name} uses the tool {tool}")
