"""The enforced rules of a workflow. A policy only ever refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcpuppet.session.call import Principal
from mcpuppet.session.state import RunState
from mcpuppet.workflow.compiler import CompiledPolicy, CompiledStep
from mcpuppet.workflow.expression import EvaluationError
from mcpuppet.workflow.marking import RUNNING, status_mask


@dataclass(frozen=True, slots=True)
class Situation:
    """What a policy looks at when a call is asked for."""

    run: RunState
    step: CompiledStep | None
    principal: Principal
    variables: Callable[[], Mapping[str, Any]]
    """The expression variables, made when the first policy reads them."""
    knows_arguments: bool
    """False when the question is whether any call of the tool could be legal."""


def objection(policy: CompiledPolicy, situation: Situation) -> str | None:
    """Why a policy refuses, in words for the caller; None when it does not."""
    return _RULES[policy.kind](policy, situation)


def _requires(policy: CompiledPolicy, situation: Situation) -> str | None:
    if situation.run.seen & policy.events:
        return None
    return f"{' or '.join(policy.words)} has to happen first"


def _forbidden_after(policy: CompiledPolicy, situation: Situation) -> str | None:
    if not situation.run.seen & policy.events:
        return None
    return f"not allowed any more after {' or '.join(policy.words)}"


def _mutex(policy: CompiledPolicy, situation: Situation) -> str | None:
    others = policy.running
    if situation.step is not None:
        others &= ~status_mask(situation.step.index, RUNNING)
    if not situation.run.marking & others or _only_exempt_run(policy, situation):
        return None
    return f"only one of {', '.join(policy.words)} may run at a time"


def _only_exempt_run(policy: CompiledPolicy, situation: Situation) -> bool:
    """Whether the running steps were all called by a tool that the policy does not cover."""
    run, own = situation.run, None if situation.step is None else situation.step.id
    return bool(policy.exempt) and all(
        (name, run.current[name].tool) in policy.exempt
        for name in policy.words
        if name != own and run.step_status(name) == RUNNING
    )


def _at_most(policy: CompiledPolicy, situation: Situation) -> str | None:
    if situation.run.count(f"policy:{policy.id}") < policy.limit:
        return None
    times = "once" if policy.limit == 1 else f"{policy.limit} times"
    return f"allowed at most {times} in a run, and used up"


def _roles(policy: CompiledPolicy, situation: Situation) -> str | None:
    if policy.roles & situation.principal.roles:
        return None
    return (
        f"only for the role {' or '.join(policy.words)}; {situation.principal.name} has none of it"
    )


def _check(policy: CompiledPolicy, situation: Situation) -> str | None:
    assert policy.check is not None
    if not situation.knows_arguments and policy.reads_arguments:
        return None
    try:
        holds = policy.check.evaluate_bool(situation.variables())
    except EvaluationError as error:
        return f"`{policy.check.source}` cannot be evaluated: {error}"
    return None if holds else f"`{policy.check.source}` does not hold"


_RULES: Mapping[str, Callable[[CompiledPolicy, Situation], str | None]] = {
    "requires": _requires,
    "forbidden_after": _forbidden_after,
    "mutex": _mutex,
    "at_most": _at_most,
    "roles": _roles,
    "check": _check,
}
