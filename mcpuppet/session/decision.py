"""May this session make this call now? One table answers that, and what else is legal.

`decide` and `legal_calls` ask the same questions of the same compiled step, in the same order; the
list of legal calls is the decision asked for every tool with the arguments left open. Pure: the
rules, the state, the call, the principal and the time go in, a value comes out.

A session is governed by the workflow of its active run and, beside it, by its rules file. Of what
the two say, a refusal wins over a request to a person, and that over permission.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from mcpuppet.session.call import Call, Principal, call_digest
from mcpuppet.session.observing import noted, observed_step, unasked
from mcpuppet.session.policies import Consultation, Situation, consult
from mcpuppet.session.question import CompensationQuestion, Question, StepQuestion
from mcpuppet.session.requests import settle_asks
from mcpuppet.session.reservations import Reserved
from mcpuppet.session.state import RunState, SessionState
from mcpuppet.session.verdict import (
    Allowed,
    ApprovalNeeded,
    Asked,
    AskNeeded,
    Counted,
    Decision,
    Denied,
    LegalCall,
    StepDecision,
)
from mcpuppet.workflow.compiled import CompiledRules, CompiledWorkflow
from mcpuppet.workflow.compiled_policy import CompiledPolicy
from mcpuppet.workflow.marking import PENDING, SUCCESS, statuses

__all__ = [
    "Allowed",
    "ApprovalNeeded",
    "AskNeeded",
    "Asked",
    "Books",
    "Counted",
    "Decision",
    "Denied",
    "LegalCall",
    "decide",
    "govern",
    "legal_calls",
    "legal_under",
    "unordered_call",
]

Unlisted = Literal["deny", "allow", "observe"]


@dataclass(frozen=True, slots=True)
class Books:
    """The rules that a session is governed by."""

    workflow: CompiledWorkflow | None
    """That of the active run; without a run, the one that says which tools are always legal."""
    rules: CompiledRules | None = None
    unlisted: Unlisted = "deny"
    """What becomes of a tool that occurs in no workflow and no rules file."""
    is_listed: bool = True
    """Whether the tool of the call occurs in a workflow that the principal may start."""
    is_ordered: bool = False
    """Whether one of these workflows says when it may be called."""


def govern(
    books: Books,
    state: SessionState,
    call: Call,
    principal: Principal,
    now: datetime,
    reserved: Reserved | None = None,
) -> Decision:
    """Decide on one call under everything that governs the session; never raises."""
    reserved = reserved or Reserved()
    workflow, rules = books.workflow, books.rules
    answer: Decision = Denied("no_run", f"{principal.name} may start no workflow", unordered=True)
    if workflow is not None:
        answer = _answer(workflow, state, call, principal, now, reserved)
        if isinstance(answer, (Denied, ApprovalNeeded)) and workflow.observes:
            answer = observed_step(workflow, state, call, principal, now, reserved, answer)
        elif isinstance(answer, Allowed) and workflow.observes:
            answer = unasked(workflow, answer)
    if isinstance(answer, Denied) and answer.unordered:
        answer = _free(books, state, call, answer)
    if isinstance(answer, Allowed) and rules is not None:
        answer = _also_under(rules, state, call, principal, now, reserved, answer, workflow)
    if isinstance(answer, Denied) and answer.legal_at is not None and rules is not None:
        answer = _legal_under_both(rules, state, call, principal, answer, answer.legal_at, reserved)
    if isinstance(answer, ApprovalNeeded) and rules is not None and not rules.observes:
        answer = _refused_by(rules, state, call, principal, now, reserved, answer)
    return settle_asks(state, answer, now)


def _legal_under_both(
    rules: CompiledRules,
    state: SessionState,
    call: Call,
    principal: Principal,
    denied: Denied,
    legal_at: datetime,
    reserved: Reserved,
) -> Denied:
    """The refusal of a workflow, with the moment from which the rules file has no objection too."""
    found = _consult_rules(rules, state, call.tool, call, principal, legal_at, reserved)
    if not found.objections or rules.observes or denied.book == rules.name:
        return denied
    return replace(denied, legal_at=found.denied(rules.name, denied.step).legal_at)


def _refused_by(
    rules: CompiledRules,
    state: SessionState,
    call: Call,
    principal: Principal,
    now: datetime,
    reserved: Reserved,
    needed: ApprovalNeeded,
) -> ApprovalNeeded | Denied:
    """The rules file's refusal, if it has one: nobody is asked about what is refused anyway."""
    found = _consult_rules(rules, state, call.tool, call, principal, now, reserved)
    verdicts = (*needed.verdicts, *found.verdicts)
    if found.objections:
        return replace(found.denied(rules.name, needed.step), verdicts=verdicts)
    return replace(needed, verdicts=verdicts)


def decide(
    workflow: CompiledWorkflow,
    state: SessionState,
    call: Call,
    principal: Principal,
    now: datetime,
    reserved: Reserved | None = None,
) -> Decision:
    """Decide on one call under a workflow alone; never raises for anything a caller can send."""
    return govern(Books(workflow), state, call, principal, now, reserved)


def _answer(
    workflow: CompiledWorkflow,
    state: SessionState,
    call: Call,
    principal: Principal,
    now: datetime,
    reserved: Reserved,
) -> StepDecision:
    """What a workflow says, requests about single calls not settled yet."""
    run = state.active_run
    refusals: list[Denied | ApprovalNeeded] = []
    if run is not None:
        for question in _questions(workflow, state, run, call.tool, principal, now, reserved):
            answer = question.answer(call)
            if isinstance(answer, Allowed):
                return _after(refusals, answer)
            refusals.append(answer)
    if not refusals and workflow.is_always(call.tool):
        return _always(workflow, state, call, principal, now, reserved)
    best = _best(refusals)
    if best is None:
        return _unlisted(workflow, state, call.tool)
    return _after([one for one in refusals if one is not best], best)


def _after(refusals: list[Denied | ApprovalNeeded], answer: StepDecision) -> StepDecision:
    """The answer, with what was said of the other steps that use the tool as well."""
    before = tuple(verdict for one in refusals for verdict in one.verdicts)
    return replace(answer, verdicts=(*before, *answer.verdicts)) if before else answer


def _free(books: Books, state: SessionState, call: Call, refusal: Denied) -> Decision:
    """What becomes of a call that no workflow orders."""
    rules = books.rules
    if rules is None:
        if books.is_listed or books.unlisted == "deny":
            return refusal
        allowed = Allowed("free", None, call_digest(state.session_id, "", "", call))
        return allowed if books.unlisted == "allow" else noted(allowed, refusal)
    allowed = Allowed("free", None, call_digest(state.session_id, rules.hash, "", call))
    # A pattern does not open what a workflow orders: the model could leave the order out.
    if call.tool in rules.allow or (rules.allows(call.tool) and not books.is_ordered):
        return allowed
    if books.is_ordered or (refusal.rule == "no_run" and books.is_listed):
        return refusal
    otherwise = rules.asks_otherwise
    reason = f"{rules.name} does not list the tool {call.tool}"
    if otherwise is None or otherwise.ask is None:
        refusal = Denied("unlisted", reason, book=rules.name)
        return noted(allowed, refusal) if rules.observes else refusal
    ask = otherwise.ask
    asked = Asked(otherwise.id, ask.roles, ask.lasts, reason, (), rules.name)
    if rules.observes:
        return noted(allowed, Denied(otherwise.id, reason, book=rules.name))
    return replace(allowed, asks=(asked,))


def _also_under(
    rules: CompiledRules,
    state: SessionState,
    call: Call,
    principal: Principal,
    now: datetime,
    reserved: Reserved,
    allowed: Allowed,
    workflow: CompiledWorkflow | None,
) -> Decision:
    """The permission, as far as the policies of the rules file agree."""
    found = _consult_rules(rules, state, call.tool, call, principal, now, reserved)
    merged = replace(
        allowed,
        uses=(*allowed.uses, *found.uses),
        locks=tuple(dict.fromkeys((*allowed.locks, *found.locks))),
        verdicts=(*allowed.verdicts, *found.verdicts),
    )
    if rules.observes:
        return noted(merged, *found.refusals(rules.name, allowed.step))
    if found.objections:
        return replace(found.denied(rules.name, allowed.step), verdicts=merged.verdicts)
    return replace(merged, asks=(*allowed.asks, *_told_apart(rules, workflow, found)))


def _told_apart(
    rules: CompiledRules, workflow: CompiledWorkflow | None, found: Consultation
) -> Iterator[Asked]:
    """What the rules ask, where the workflow has a policy of the same id under a longer name."""
    taken = {one.id for one in workflow.all_policies} if workflow and found.asks else ()
    for one in found.asks:
        name = f"{rules.name}/{one.policy}" if one.policy in taken else one.policy
        yield replace(one, policy=name)


def _consult_rules(
    rules: CompiledRules,
    state: SessionState,
    tool: str,
    call: Call | None,
    principal: Principal,
    now: datetime,
    reserved: Reserved,
) -> Consultation:
    situation = Situation(rules, state, None, tool, principal, now, call, reserved)
    return consult(rules.policies_for(tool), situation)


def legal_under(
    books: Books,
    state: SessionState,
    principal: Principal,
    now: datetime,
    reserved: Reserved | None = None,
) -> tuple[LegalCall, ...]:
    """Every call that is legal now for some arguments, `tools.always` not included.

    Those of the active run come first, in file order; then the tools, or patterns of tools, that
    the rules file allows.
    """
    reserved = reserved or Reserved()
    rules = books.rules
    of_run: tuple[LegalCall, ...] = ()
    if books.workflow is not None:
        of_run = legal_calls(books.workflow, state, principal, now, reserved)
    if rules is None:
        return of_run
    free = (LegalCall(tool, None, "free") for tool in rules.allow)
    found: list[LegalCall] = []
    for legal in (*of_run, *(one for one in free if not _is_ordered(books, state, one.tool))):
        said = _consult_rules(rules, state, legal.tool, None, principal, now, reserved)
        if not said.objections or rules.observes:
            found.append(replace(legal, asks=legal.asks or bool(said.asks)))
    return tuple(found)


def unordered_call(
    books: Books,
    state: SessionState,
    tool: str,
    principal: Principal,
    now: datetime,
    reserved: Reserved | None = None,
) -> LegalCall | None:
    """A call of a tool that no step orders now, if one is legal for some arguments.

    `tool` is no pattern, and `books.is_listed` is about it. None for the tools of the active run's
    steps: `legal_under` tells of those.
    """
    if _is_ordered(books, state, tool):
        return None
    answer = _unordered(books, state, tool)
    if not isinstance(answer, Allowed):
        return None
    legal = LegalCall(tool, None, answer.purpose, bool(answer.asks))
    rules = books.rules
    if rules is None:
        return legal
    said = _consult_rules(rules, state, tool, None, principal, now, reserved or Reserved())
    if rules.observes:
        return legal
    return None if said.objections else replace(legal, asks=legal.asks or bool(said.asks))


def _unordered(books: Books, state: SessionState, tool: str) -> Decision:
    """What is said of a tool that no step orders now, before the rules file's policies."""
    workflow = books.workflow
    if workflow is None:
        return _free(books, state, Call(tool, {}), Denied("no_run", ""))
    if not workflow.is_always(tool):
        return _free(books, state, Call(tool, {}), _unlisted(workflow, state, tool))
    if state.active_run is None and workflow.policies.get(("", tool)):
        return Denied("no_run", "")
    return Allowed("always", None, "")


def _is_ordered(books: Books, state: SessionState, tool: str) -> bool:
    """Whether the workflow of the active run says when the tool may be called."""
    workflow = books.workflow
    if workflow is None or state.active_run is None:
        return False
    return workflow.uses(tool)


def legal_calls(
    workflow: CompiledWorkflow,
    state: SessionState,
    principal: Principal,
    now: datetime,
    reserved: Reserved | None = None,
) -> tuple[LegalCall, ...]:
    """Every call of a step or compensation that is legal now for some arguments, in file order."""
    run = state.active_run
    if run is None:
        return ()
    answers = (
        (question, question.answer(None))
        for question in _open_questions(
            workflow, state, run, principal, now, reserved or Reserved()
        )
    )
    return tuple(
        LegalCall(question.tool, question.step.id, question.purpose, bool(answer.asks))
        for question, answer in answers
        if isinstance(answer, Allowed)
    )


def _open_questions(
    workflow: CompiledWorkflow,
    state: SessionState,
    run: RunState,
    principal: Principal,
    now: datetime,
    reserved: Reserved,
) -> Iterator[Question]:
    """The questions that the marking alone does not answer with no."""
    known = statuses(run.marking, len(workflow.steps))
    for step, status in zip(workflow.steps, known, strict=True):
        if status == PENDING and step.is_ready(known):
            for tool in step.tools:
                yield StepQuestion(workflow, state, run, step, tool, principal, now, reserved)
        elif status == SUCCESS and step.compensation is not None and run.failing:
            tool = step.compensation.tool
            yield CompensationQuestion(workflow, state, run, step, tool, principal, now, reserved)


def _questions(
    workflow: CompiledWorkflow,
    state: SessionState,
    run: RunState,
    tool: str,
    principal: Principal,
    now: datetime,
    reserved: Reserved,
) -> Iterator[Question]:
    for step in workflow.by_tool.get(tool, ()):
        yield StepQuestion(workflow, state, run, step, tool, principal, now, reserved)
    for step in workflow.by_compensation.get(tool, ()):
        yield CompensationQuestion(workflow, state, run, step, tool, principal, now, reserved)


def _always(
    workflow: CompiledWorkflow,
    state: SessionState,
    call: Call,
    principal: Principal,
    now: datetime,
    reserved: Reserved,
) -> Allowed | Denied:
    digest = call_digest(state.session_id, workflow.hash, "", call)
    policies: tuple[CompiledPolicy, ...] = workflow.policies.get(("", call.tool), ())
    if not policies:
        return Allowed("always", None, digest)
    if state.active_run is None:
        return Denied("no_run", f"{call.tool} is limited by a policy: start a run first")

    situation = Situation(workflow, state, None, call.tool, principal, now, call, reserved)
    found = consult(policies, situation)
    if found.objections:
        return found.denied(workflow.name, None)
    return Allowed(
        "always",
        None,
        digest,
        uses=tuple(found.uses),
        locks=tuple(found.locks),
        verdicts=found.told,
        asks=tuple(found.asks),
    )


_RANK = {"done": 0, "skipped": 0, "compensation": 1, "failing": 2, "needs": 3, "running": 4}


def _best(refusals: list[Denied | ApprovalNeeded]) -> Denied | ApprovalNeeded | None:
    """Of several refusals the one that came closest to a legal call."""
    for refusal in refusals:
        if isinstance(refusal, ApprovalNeeded):
            return refusal
    denied = [one for one in refusals if isinstance(one, Denied)]
    return max(denied, key=lambda one: _RANK.get(one.rule, 9), default=None)


def _unlisted(workflow: CompiledWorkflow, state: SessionState, tool: str) -> Denied:
    if state.active_run is not None:
        reason = f"no step of {workflow.name} uses the tool {tool}"
        return Denied("unlisted", reason, book=workflow.name, unordered=True)
    ended = state.run
    if ended is not None:
        return Denied(
            "no_run", f"the run of {ended.workflow} is over ({ended.status})", unordered=True
        )
    return Denied("no_run", "no run is active: start a workflow first", unordered=True)
