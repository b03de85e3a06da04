"""One question: may this tool be called for this step, or to undo it?

Asked with a call, or for any arguments; the checks are the same, in the same order, and each either
passes or words a refusal. `session.decision` chooses which questions to ask.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mcpuppet.session.call import Call, Principal, call_digest
from mcpuppet.session.events import Purpose
from mcpuppet.session.fate import NOTHING, Safety, earlier_key, reading_call
from mcpuppet.session.policies import Consultation, Situation, consult
from mcpuppet.session.reservations import Reserved
from mcpuppet.session.state import ApprovalState, OpenCall, RunState, SessionState
from mcpuppet.session.verdict import Allowed, ApprovalNeeded, Denied, StepDecision, Verdicts
from mcpuppet.workflow.compiled_policy import CompiledPolicy
from mcpuppet.workflow.compiler import ArgumentCheck, CompiledStep, CompiledWorkflow
from mcpuppet.workflow.expression import EvaluationError
from mcpuppet.workflow.json_values import json_equal
from mcpuppet.workflow.marking import (
    APPROVAL_STATUS_NAMES,
    BYPASSED,
    PENDING,
    RUNNING,
    SKIPPED,
    STATUS_NAMES,
    SUCCESS,
    status_mask,
    status_of,
)


@dataclass(slots=True)
class Question(ABC):
    """May this tool be called for this step? Asked with a call, or for any arguments (None)."""

    workflow: CompiledWorkflow
    state: SessionState
    run: RunState
    step: CompiledStep
    tool: str
    principal: Principal
    now: datetime
    reserved: Reserved

    purpose: Purpose = "step"

    @abstractmethod
    def answer(self, call: Call | None) -> StepDecision:
        """The decision on a call, or on the most favourable call there is."""

    def refuse(self, rule: str, reason: str, legal_at: datetime | None = None) -> Denied:
        return Denied(rule, reason, self.step.id, legal_at, book=self.workflow.name)

    def situation(self, call: Call | None, step: CompiledStep | None) -> Situation:
        """What guards and policies look at; `step` is None where policies of steps say nothing."""
        return Situation(
            self.workflow,
            self.state,
            step,
            self.tool,
            self.principal,
            self.now,
            call,
            self.reserved,
        )

    def policies(self, situation: Situation) -> Consultation:
        """What every policy of the call says, what it counts for, and what it holds."""
        scope = "" if situation.step is None else situation.step.id
        return consult(self.workflow.policies.get((scope, self.tool), ()), situation)

    def digest(self, call: Call | None) -> str:
        if call is None:
            return ""
        return call_digest(self.state.session_id, self.workflow.hash, self.step.id, call)


@dataclass(slots=True)
class StepQuestion(Question):
    """May this tool be called as this step?"""

    def answer(self, call: Call | None) -> StepDecision:
        refusal = self._status() or self._turn()
        if refusal is not None:
            return refusal
        asked = self._open_approvals()
        if not self._needs_hold(asked):
            return self.refuse("needs", self._missing_needs())
        situation = self.situation(call, self.step)
        values = situation.values
        refusal = self._when(values) or self._arguments(call, values)
        if refusal is not None:
            return refusal
        digest = self.digest(call)
        grants = self._grants(call, digest, values)
        if isinstance(grants, Denied):
            return grants
        found = self.policies(situation)
        found.objections = [one for one in found.objections if not _ends_with(one[0], asked)]
        if found.objections:
            return found.denied(self.workflow.name, self.step.id)
        safety = self._safety(call, digest, values)
        if isinstance(safety, Denied):
            return safety
        if asked:
            return self._ask(asked[0], call, digest, found.told)
        return Allowed(
            "step",
            self.step.id,
            digest,
            attempt=self.run.count(f"attempt:{self.step.id}") + 1,
            uses=tuple(found.uses),
            locks=tuple(found.locks),
            grants=grants,
            verdicts=found.told,
            asks=tuple(found.asks),
            has_key=self.step.has_key,
            key=safety.key,
            key_argument=self.step.key_argument,
            reconcile=safety.reconcile,
        )

    def _safety(
        self, call: Call | None, digest: str, values: Callable[[], Mapping[str, Any]]
    ) -> Safety | Denied:
        """What goes with the call so that its fate can be settled."""
        step = self.step
        if call is None or not (step.has_key or step.reconcile):
            return NOTHING
        if step.reconcile is not None:
            reading = reading_call(step.reconcile, values)
            if not isinstance(reading, str):
                return Safety(reconcile=reading)
            why = "it could not be found out afterwards what became of this call"
            return self.refuse("on_unknown", f"{why}: {reading}")
        key, is_another = earlier_key(self.state, self.run, step, digest)
        if not is_another:
            return Safety(key)
        return self.refuse(
            "on_unknown",
            f"an earlier call of step {step.id} may have taken effect: call {call.tool} again with "
            "exactly the arguments of that call, so that its server can tell it is the same",
        )

    def _status(self) -> Denied | None:
        step, run = self.step, self.run
        status = status_of(run.marking, step.index)
        if step.id in run.held:
            return self.refuse(
                "held", f"step {step.id} waits for a person: {run.held[step.id].reason}"
            )
        if status == PENDING:
            return None
        if status == RUNNING:
            return self.refuse("running", f"step {step.id} is running")
        if status == SKIPPED:
            return self.refuse("skipped", f"step {step.id} does not apply to this run")
        done = "is done" if status == SUCCESS else f"ended with {STATUS_NAMES[status]}"
        return self.refuse("done", f"step {step.id} {done}")

    def _turn(self) -> Denied | None:
        if self.run.failing and not self.step.finally_:
            return self.refuse("failing", f"the run is ending: {self.run.end_reason}")
        due = self.run.not_before.get(self.step.id)
        if due is not None and due > self.now:
            wait = (due - self.now).total_seconds()
            return self.refuse("not_before", f"step {self.step.id} can go on in {wait:.1f} s", due)
        return None

    def _open_approvals(self) -> tuple[ApprovalState, ...]:
        """Open requests that stand between this step and its needs."""
        if not self.step.approvals or self.step.needs_hold(self.run.marking):
            return ()
        requests = (
            self.run.approvals.get(self.workflow.steps[index].id) for index in self.step.approvals
        )
        return tuple(one for one in requests if one is not None and one.status == "open")

    def _needs_hold(self, asked: tuple[ApprovalState, ...]) -> bool:
        """Whether the needs hold, or would hold if the open requests were granted."""
        marking = self.run.marking
        for approval in asked:
            marking |= status_mask(self.workflow.index[approval.step], SUCCESS)
        return self.step.needs_hold(marking)

    def _missing_needs(self) -> str:
        marking = self.run.marking
        missing = [
            f"{self.workflow.steps[need.step].id} to end in {' or '.join(need.words)}"
            f" (it is {self._now(need.step)})"
            for need in self.step.needs
            if not marking & need.satisfied
        ]
        joined = " or ".join(missing) if self.step.any_join else ", ".join(missing)
        return f"step {self.step.id} first needs {joined}"

    def _now(self, index: int) -> str:
        step = self.workflow.steps[index]
        names = STATUS_NAMES if step.approval is None else APPROVAL_STATUS_NAMES
        return names[status_of(self.run.marking, index)].replace("_", " ")

    def _when(self, values: Callable[[], Mapping[str, Any]]) -> Denied | None:
        guard = self.step.when
        if guard is None or self.step.id in self.run.released:
            return None
        try:
            holds = guard.evaluate_bool(values())
        except EvaluationError as error:
            return self.refuse("when", f"`{guard.source}` cannot be evaluated: {error}")
        return None if holds else self.refuse("when", f"`{guard.source}` does not hold")

    def _arguments(
        self, call: Call | None, values: Callable[[], Mapping[str, Any]]
    ) -> Denied | None:
        if call is None:
            return None
        filled_in = self.step.key_argument
        if filled_in is not None and filled_in in call.arguments:
            reason = f"argument {filled_in!r} is filled in by the gateway: leave it out"
            return self.refuse("args", reason)
        if self.step.args is None:
            return None
        problem = argument_problem(self.step.args, self.step.args_open, call.arguments, values)
        return None if problem is None else self.refuse("args", problem)

    def _grants(
        self, call: Call | None, digest: str, values: Callable[[], Mapping[str, Any]]
    ) -> tuple[str, ...] | Denied:
        """The approvals this call would use up, or why one of them does not cover it."""
        granted: list[str] = []
        for index in self.step.approvals:
            if not status_of(self.run.marking, index) & (SUCCESS | BYPASSED):
                continue
            approval = self.run.approvals[self.workflow.steps[index].id]
            problem = self._grant_problem(approval, call, digest, values)
            if problem is not None:
                return self.refuse("approval", problem)
            granted.append(approval.approval_id)
        return tuple(granted)

    def _grant_problem(
        self,
        approval: ApprovalState,
        call: Call | None,
        digest: str,
        values: Callable[[], Mapping[str, Any]],
    ) -> str | None:
        step, name = self.step.id, approval.approval_id
        used, shown = approval.used.get(step), approval.shown_for(step)
        if used is not None:
            goes_on = self.run.count(f"attempt:{step}") or self.run.count(f"repeat:{step}")
            if not goes_on or (call is not None and digest != used):
                return f"approval {name} has been used for this step; a grant is good for one call"
        if call is not None and shown is not None and shown.digest != digest:
            return f"approval {name} was given for other arguments of {shown.tool}"
        if not _binds_hold(self.workflow.step(approval.step), approval, values):
            return f"the values that approval {name} was given for have changed"
        return None

    def _ask(
        self, approval: ApprovalState, call: Call | None, digest: str, verdicts: Verdicts
    ) -> Denied | ApprovalNeeded:
        shown = approval.shown_for(self.step.id)
        is_other = call is not None and shown is not None and shown.digest != digest
        if is_other and shown is not None and (approval.votes or shown.edited_by):
            return self.refuse(
                "approval",
                f"people are already deciding on {approval.approval_id} with other arguments",
            )
        return ApprovalNeeded(
            self.step.id,
            approval.approval_id,
            approval.step,
            digest,
            approval.roles,
            approval.expires_at,
            verdicts,
        )


@dataclass(slots=True)
class CompensationQuestion(Question):
    """May this tool be called to undo this step?"""

    purpose: Purpose = "compensation"

    def answer(self, call: Call | None) -> StepDecision:
        compensation = self.step.compensation
        assert compensation is not None
        refusal = self._offer()
        if refusal is not None:
            return refusal
        situation = self.situation(call, None)
        if call is not None and compensation.args is not None:
            problem = argument_problem(
                compensation.args, compensation.args_open, call.arguments, situation.values
            )
            if problem is not None:
                return self.refuse("args", problem)
        found = self.policies(situation)
        if found.objections:
            return found.denied(self.workflow.name, self.step.id)
        return Allowed(
            "compensation",
            self.step.id,
            self.digest(call),
            uses=tuple(found.uses),
            locks=tuple(found.locks),
            verdicts=found.told,
            asks=tuple(found.asks),
        )

    def _offer(self) -> Denied | None:
        step, run = self.step, self.run
        if not run.failing:
            return self.refuse("compensation", f"step {step.id} is undone only when the run fails")
        if status_of(run.marking, step.index) != SUCCESS:
            return self.refuse("compensation", f"step {step.id} did not happen")
        if step.id in run.compensated:
            return self.refuse("done", f"step {step.id} has been undone")
        if open_compensation(self.state, run, step.id) is not None:
            return self.refuse("running", f"step {step.id} is being undone")
        first = next(iter(outstanding_before(self.workflow, run, step)), None)
        if first is not None:
            return self.refuse("compensation", f"step {first} has to be undone before {step.id}")
        return None


def open_compensation(state: SessionState, run: RunState, step: str) -> OpenCall | None:
    """The call that is undoing a step of a run at this moment, if there is one."""
    return next(
        (
            call
            for call in state.calls.values()
            if call.run_id == run.run_id and call.step == step and call.purpose == "compensation"
        ),
        None,
    )


def outstanding_before(
    workflow: CompiledWorkflow, run: RunState, step: CompiledStep
) -> Iterator[str]:
    """Later steps that have to be undone, or to end, before `step` may be undone."""
    assert step.compensation is not None
    for index in step.compensation.waits_for:
        later = workflow.steps[index].id
        status = status_of(run.marking, index)
        if status == RUNNING or (status == SUCCESS and later not in run.compensated):
            yield later


def argument_problem(
    rules: tuple[ArgumentCheck, ...],
    is_open: bool,
    arguments: Mapping[str, Any],
    values: Callable[[], Mapping[str, Any]],
) -> str | None:
    """What is wrong with a call's arguments under a step's `args`, or None."""
    if not is_open:
        extra = sorted(set(arguments) - {rule.name for rule in rules})
        if extra:
            return f"argument {extra[0]!r} is not one that this step allows"
    for rule in rules:
        if rule.name not in arguments:
            return f"argument {rule.name!r} is missing"
        problem = _rule_problem(rule, arguments[rule.name], values)
        if problem is not None:
            return problem
    return None


def _rule_problem(
    rule: ArgumentCheck, value: Any, values: Callable[[], Mapping[str, Any]]
) -> str | None:
    if rule.schema is not None:
        violations = rule.schema.violations(value)
        return f"argument {rule.name!r}: {violations[0]}" if violations else None
    assert rule.equals is not None
    try:
        expected = rule.equals.evaluate(values())
    except EvaluationError as error:
        return f"argument {rule.name!r}: `{rule.equals.source}` cannot be evaluated: {error}"
    if json_equal(expected, value):
        return None
    return f"argument {rule.name!r} must equal {rule.equals.source}, which is {expected!r}"


def _ends_with(policy: CompiledPolicy, asked: tuple[ApprovalState, ...]) -> bool:
    """Whether a policy only waits for what one of the open requests would bring about."""
    return policy.kind in ("requires", "within") and any(
        f"{one.step}.approved" in policy.words for one in asked
    )


def _binds_hold(
    step: CompiledStep, approval: ApprovalState, values: Callable[[], Mapping[str, Any]]
) -> bool:
    assert step.approval is not None
    for guard in step.approval.binds:
        try:
            if not json_equal(guard.evaluate(values()), approval.binds[guard.source]):
                return False
        except (EvaluationError, KeyError):
            return False
    return True
