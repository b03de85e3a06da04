"""A checked definition becomes a `CompiledWorkflow`: a bit-marking transition system.

Everything that can be worked out once per workflow is worked out here, so that a decision is bit
tests and a few expressions: which statuses satisfy a need, which policies touch which call, which
result fields a guard will ever read. Nothing here knows a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

from mcpuppet.workflow.definition import (
    Approval,
    ArgumentRule,
    Compensate,
    Equals,
    Policy,
    Redo,
    Repeat,
    Retry,
    Step,
    WorkflowDefinition,
)
from mcpuppet.workflow.expression import Expression
from mcpuppet.workflow.marking import (
    BYPASSED,
    ENDED,
    FAILURE,
    OUTCOME_STATUS,
    RUNNING,
    SUCCESS,
    event_bit,
    status_mask,
    status_masks,
)
from mcpuppet.workflow.schema import CompiledSchema, compile_schema

RETRY_ON_UNKNOWN = Retry(attempts=3)
"""The attempts of a step with `on_unknown: retry` and no `retry` of its own."""
LONGEST_WAIT_INSIDE = timedelta(seconds=20)
"""Retries whose waits add up to no more than this happen inside one call of the client."""

PolicyKind = Literal["requires", "mutex", "forbidden_after", "at_most", "roles", "check"]


@dataclass(frozen=True, slots=True)
class Need:
    """One needed step, and the statuses of it (as marking bits) that satisfy or kill the need."""

    step: int
    words: tuple[str, ...]
    satisfied: int
    dead: int


@dataclass(frozen=True, slots=True)
class ArgumentCheck:
    """What one argument must be: equal to an expression, or valid under a schema."""

    name: str
    equals: Expression | None
    schema: CompiledSchema | None


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """One enforced rule, its step names and events turned into bits."""

    id: str
    kind: PolicyKind
    events: int = 0
    """Sticky event bits: of which one must (requires) or none may (forbidden_after) be set."""
    words: tuple[str, ...] = ()
    """The events or roles as written, for the sentence of a refusal."""
    running: int = 0
    """Marking bits of the steps that must not be running (mutex)."""
    exempt: frozenset[tuple[str, str]] = frozenset()
    """(step, tool) of such steps that the policy does not cover: they have several tools."""
    limit: int = 0
    roles: frozenset[str] = frozenset()
    check: Expression | None = None

    @property
    def reads_arguments(self) -> bool:
        return self.check is not None and any(path[0] == "args" for path in self.check.references)


@dataclass(frozen=True, slots=True)
class CompiledCompensation:
    """The call that undoes a step, offered while the run is failing."""

    tool: str
    args: tuple[ArgumentCheck, ...] | None
    args_open: bool
    waits_for: tuple[int, ...]
    """Steps that depend on this one and have a compensation of their own: they go first."""


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """One step, ready to be decided on."""

    id: str
    index: int
    title: str
    tools: tuple[str, ...]
    approval: Approval | None
    needs: tuple[Need, ...]
    any_join: bool
    when: Expression | None
    args: tuple[ArgumentCheck, ...] | None
    args_open: bool
    returns: tuple[tuple[str, CompiledSchema], ...]
    success: Expression | None
    timeout: timedelta | None
    retry: Retry | None
    repeat: Repeat | None
    redo: Redo | None
    failure_is_handled: bool
    retries_unknown: bool
    compensation: CompiledCompensation | None
    finally_: bool
    optional: bool
    approvals: tuple[int, ...]
    """Approval steps whose grant a call of this step uses up."""
    kept: frozenset[str] | None
    """Result fields that some expression reads; None keeps the whole result."""

    def needs_hold(self, marking: int) -> bool:
        """Whether every need (or, with `join: any`, one of them) is satisfied."""
        if self.any_join:
            return any(marking & need.satisfied for need in self.needs)
        return all(marking & need.satisfied for need in self.needs)

    def needs_are_dead(self, marking: int) -> bool:
        """Whether the needs can no longer hold, short of a redo."""
        if self.any_join:
            return all(marking & need.dead for need in self.needs)
        return any(marking & need.dead for need in self.needs)

    @property
    def retries_inside(self) -> bool:
        """Whether a failed attempt is repeated within the client's own call."""
        return self.retry is not None and longest_wait(self.retry) <= LONGEST_WAIT_INSIDE


@dataclass(frozen=True)
class CompiledWorkflow:
    """The rules as executed, identified by name, version and the hash of their text."""

    name: str
    version: str
    hash: str
    """SHA-256 of the workflow's text, in hex."""
    text: str
    definition: WorkflowDefinition
    steps: tuple[CompiledStep, ...]
    index: Mapping[str, int]
    by_tool: Mapping[str, tuple[CompiledStep, ...]]
    by_compensation: Mapping[str, tuple[CompiledStep, ...]]
    policies: Mapping[tuple[str, str], tuple[CompiledPolicy, ...]]
    """For (step id, tool) the policies of that call; step id "" for compensations and `always`."""
    always: tuple[str, ...]
    inputs: CompiledSchema
    defaults: Mapping[str, Any]

    @cached_property
    def tools(self) -> tuple[str, ...]:
        """Every tool a step or compensation names, as `server.tool`, in file order."""
        named = (tool for step in self.steps for tool in step_tools(step))
        return tuple(dict.fromkeys(named))

    @cached_property
    def servers(self) -> tuple[str, ...]:
        """The servers this workflow's tools live on."""
        patterns = (*self.tools, *self.always)
        return tuple(dict.fromkeys(tool.partition(".")[0] for tool in patterns))

    @cached_property
    def starts_without_inputs(self) -> bool:
        """Whether every input has a default that is valid."""
        return not self.inputs.violations(dict(self.defaults))

    def is_always(self, tool: str) -> bool:
        """Whether `tool` is legal in every state and never counts as a step."""
        return any(fnmatchcase(tool, pattern) for pattern in self.always)

    def step(self, name: str) -> CompiledStep:
        return self.steps[self.index[name]]


def step_tools(step: CompiledStep) -> tuple[str, ...]:
    """The tools of a step and of its compensation."""
    return step.tools if step.compensation is None else (*step.tools, step.compensation.tool)


def longest_wait(retry: Retry) -> timedelta:
    """The sum of all waits between a step's attempts, without jitter."""
    return sum((delay_before(retry, n) for n in range(1, retry.attempts)), timedelta(0))


def delay_before(retry: Retry, attempts_made: int) -> timedelta:
    """The wait after `attempts_made` attempts: `delay * backoff**(n - 1)`, at most `max_delay`."""
    longest = retry.max_delay.total_seconds()
    seconds = retry.delay.total_seconds() * min(retry.backoff ** (attempts_made - 1), 1e9)
    return timedelta(seconds=min(seconds, longest))


def text_hash(text: str) -> str:
    """The identity of a workflow's text: SHA-256 of its UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def compile_workflow(definition: WorkflowDefinition, text: str) -> CompiledWorkflow:
    """Compile a definition that the checks found no error in."""
    index = {name: number for number, name in enumerate(definition.steps)}
    kept = _kept_fields(definition)
    steps = tuple(_compile_step(definition, index, name, kept) for name in definition.steps)
    return CompiledWorkflow(
        name=definition.workflow,
        version=definition.version,
        hash=text_hash(text),
        text=text,
        definition=definition,
        steps=steps,
        index=index,
        by_tool=_grouped((tool, step) for step in steps for tool in step.tools),
        by_compensation=_grouped(
            (step.compensation.tool, step) for step in steps if step.compensation
        ),
        policies=_compile_policies(definition, index),
        always=tuple(definition.tools.always),
        inputs=compile_schema(_inputs_schema(definition)),
        defaults={
            name: schema["default"]
            for name, schema in definition.inputs.items()
            if isinstance(schema, dict) and "default" in schema
        },
    )


def _grouped(pairs: Iterable[tuple[str, CompiledStep]]) -> dict[str, tuple[CompiledStep, ...]]:
    groups: dict[str, list[CompiledStep]] = {}
    for tool, step in pairs:
        groups.setdefault(tool, []).append(step)
    return {tool: tuple(steps) for tool, steps in groups.items()}


def _inputs_schema(definition: WorkflowDefinition) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(definition.inputs),
        "required": list(definition.inputs),
        "additionalProperties": False,
    }


def _compile_step(
    definition: WorkflowDefinition,
    index: Mapping[str, int],
    name: str,
    kept: Mapping[str, frozenset[str] | None],
) -> CompiledStep:
    step = definition.steps[name]
    needs = _compile_needs(step, index)
    return CompiledStep(
        id=name,
        index=index[name],
        title=step.title or name.replace("_", " ").capitalize(),
        tools=tuple(step.tool or ()),
        approval=step.approval,
        needs=needs,
        any_join=step.needs is not None and step.needs.join == "any",
        when=step.when,
        args=_compile_arguments(step.args),
        args_open=step.args_open,
        returns=tuple((field, compile_schema(one)) for field, one in (step.returns or {}).items()),
        success=step.success,
        timeout=step.timeout,
        retry=_retry(definition, step),
        repeat=step.repeat,
        redo=_redo(step),
        failure_is_handled=_failure_is_handled(definition, name),
        retries_unknown=_retries_unknown(definition, step),
        compensation=_compile_compensation(definition, index, name),
        finally_=step.finally_,
        optional=step.optional,
        approvals=tuple(
            need.step
            for need in needs
            if definition.steps[_name(index, need.step)].approval
            and need.satisfied & status_mask(need.step, SUCCESS | BYPASSED)
        ),
        kept=kept[name],
    )


def _name(index: Mapping[str, int], number: int) -> str:
    return next(name for name, one in index.items() if one == number)


def _compile_needs(step: Step, index: Mapping[str, int]) -> tuple[Need, ...]:
    if step.needs is None:
        return ()
    return tuple(
        _compile_need(index[name], words or ("success",))
        for name, words in step.needs.outcomes.items()
    )


def _compile_need(step: int, words: tuple[str, ...]) -> Need:
    statuses = 0
    for word in words:
        statuses |= OUTCOME_STATUS[word]
    return Need(step, words, status_mask(step, statuses), status_mask(step, ENDED & ~statuses))


def _compile_arguments(
    rules: Mapping[str, ArgumentRule] | None,
) -> tuple[ArgumentCheck, ...] | None:
    if rules is None:
        return None
    return tuple(
        ArgumentCheck(name, rule.equals, None)
        if isinstance(rule, Equals)
        else ArgumentCheck(name, None, compile_schema(rule))
        for name, rule in rules.items()
    )


def _retry(definition: WorkflowDefinition, step: Step) -> Retry | None:
    if step.retry is None and _retries_unknown(definition, step):
        return RETRY_ON_UNKNOWN
    return step.retry


def _retries_unknown(definition: WorkflowDefinition, step: Step) -> bool:
    """Retrying an unknown outcome is safe where asked for, or where the tools only read."""
    if step.on_unknown is not None:
        return step.on_unknown == "retry"
    return bool(step.tool) and all(
        any(fnmatchcase(tool, pattern) for pattern in definition.tools.always)
        for tool in step.tool or ()
    )


def _redo(step: Step) -> Redo | None:
    if step.on is None:
        return None
    return step.on.rejected if step.approval else step.on.failure


def _failure_is_handled(definition: WorkflowDefinition, name: str) -> bool:
    """Whether some step waits for this failure (or rejection), or the author said to go on."""
    if definition.steps[name].on_failure == "continue":
        return True
    return any(
        OUTCOME_STATUS[word] == FAILURE
        for other in definition.steps.values()
        if other.needs is not None
        for word in other.needs.outcomes.get(name, ())
    )


def _compile_compensation(
    definition: WorkflowDefinition, index: Mapping[str, int], name: str
) -> CompiledCompensation | None:
    compensate: Compensate | None = definition.steps[name].compensate
    if compensate is None:
        return None
    return CompiledCompensation(
        tool=compensate.tool,
        args=_compile_arguments(compensate.args),
        args_open=compensate.args_open,
        waits_for=tuple(
            index[other]
            for other in _descendants(definition, name)
            if definition.steps[other].compensate is not None
        ),
    )


def _descendants(definition: WorkflowDefinition, name: str) -> set[str]:
    found: set[str] = set()
    frontier = [name]
    while frontier:
        current = frontier.pop()
        for other, step in definition.steps.items():
            if step.needs is not None and current in step.needs.outcomes and other not in found:
                found.add(other)
                frontier.append(other)
    return found


def descendants(workflow: CompiledWorkflow, indexes: Iterable[int]) -> set[int]:
    """The steps that depend, through any number of needs, on one of the given steps."""
    return {
        workflow.index[name]
        for index in indexes
        for name in _descendants(workflow.definition, workflow.steps[index].id)
    }


def _compile_policies(
    definition: WorkflowDefinition, index: Mapping[str, int]
) -> dict[tuple[str, str], tuple[CompiledPolicy, ...]]:
    policies = [(one, _compile_policy(definition, index, one)) for one in definition.policies]
    table: dict[tuple[str, str], tuple[CompiledPolicy, ...]] = {}
    for name, step in definition.steps.items():
        for tool in step.tool or ():
            table[name, tool] = tuple(
                compiled for policy, compiled in policies if _covers(policy, name, tool)
            )
    outside = {step.compensate.tool for step in definition.steps.values() if step.compensate}
    outside |= {word for policy in definition.policies for word in policy.call if "." in word}
    for tool in outside:
        table["", tool] = tuple(compiled for policy, compiled in policies if tool in policy.call)
    return table


def _covers(policy: Policy, step: str, tool: str) -> bool:
    """A word without a dot names a step, one with a dot is a tool pattern."""
    return any(fnmatchcase(tool, word) if "." in word else word == step for word in policy.call)


def _compile_policy(
    definition: WorkflowDefinition, index: Mapping[str, int], policy: Policy
) -> CompiledPolicy:
    if policy.requires is not None:
        words = tuple(policy.requires)
        return CompiledPolicy(policy.id, "requires", _event_mask(index, words), words)
    if policy.forbidden_after is not None:
        words = tuple(policy.forbidden_after)
        return CompiledPolicy(policy.id, "forbidden_after", _event_mask(index, words), words)
    if policy.mutex is not None:
        covered = tuple(_covered_steps(definition, policy))
        return CompiledPolicy(
            policy.id,
            "mutex",
            words=covered,
            running=status_masks((index[name] for name in covered), RUNNING),
            exempt=frozenset(
                (name, tool)
                for name in covered
                for tool in definition.steps[name].tool or ()
                if not _covers(policy, name, tool)
            ),
        )
    if policy.at_most is not None:
        return CompiledPolicy(policy.id, "at_most", limit=int(policy.at_most))
    if policy.roles is not None:
        roles = tuple(policy.roles)
        return CompiledPolicy(policy.id, "roles", words=roles, roles=frozenset(roles))
    if policy.check is not None:
        return CompiledPolicy(policy.id, "check", check=policy.check)
    raise ValueError(f"policy {policy.id!r} has no condition that is supported")


def _covered_steps(definition: WorkflowDefinition, policy: Policy) -> Iterator[str]:
    for name, step in definition.steps.items():
        if any(_covers(policy, name, tool) for tool in step.tool or ()):
            yield name


def _event_mask(index: Mapping[str, int], words: Iterable[str]) -> int:
    mask = 0
    for word in words:
        step, _, event = word.rpartition(".")
        mask |= event_bit(index[step], event)
    return mask


def _kept_fields(definition: WorkflowDefinition) -> dict[str, frozenset[str] | None]:
    """For each step the result fields that expressions read; None when one reads the whole."""
    kept: dict[str, set[str] | None] = {name: set() for name in definition.steps}
    for path in _all_references(definition):
        if path[0] != "steps":
            continue
        names = [path[1]] if len(path) > 1 else list(kept)
        for name in names:
            fields = kept.get(name)
            if len(path) == 2 or (len(path) == 3 and path[2] == "result") or len(path) == 1:
                kept[name] = None
            elif fields is not None and path[2] == "result":
                fields.add(path[3])
    return {name: None if one is None else frozenset(one) for name, one in kept.items()}


def _all_references(definition: WorkflowDefinition) -> Iterator[tuple[str, ...]]:
    for expression in expressions(definition):
        yield from expression.references


def expressions(definition: WorkflowDefinition) -> Iterator[Expression]:
    """Every expression of a workflow, in file order."""
    for step in definition.steps.values():
        for guard in (step.when, step.success, step.repeat.until if step.repeat else None):
            if guard is not None:
                yield guard
        rules = [step.args or {}, (step.compensate.args or {}) if step.compensate else {}]
        yield from (
            one.equals for group in rules for one in group.values() if isinstance(one, Equals)
        )
        if step.approval is not None:
            yield from step.approval.binds
            if step.approval.bypass is not None and step.approval.bypass.when is not None:
                yield step.approval.bypass.when
    yield from (policy.check for policy in definition.policies if policy.check is not None)
