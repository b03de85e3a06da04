"""The rules as executed: values that a decision reads, made once per file by `compiler`.

A step's needs are masks over the marking, a policy knows its events as bits, and nothing is looked
up by name that can be looked up by place. Nothing here knows a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from typing import Any

from mcpuppet.workflow.compiled_policy import CompiledFact, CompiledPolicy
from mcpuppet.workflow.definition import (
    Approval,
    Redo,
    Repeat,
    Retry,
    RulesDefinition,
    WorkflowDefinition,
)
from mcpuppet.workflow.expression import Expression
from mcpuppet.workflow.marking import PENDING, RUNNING, status_of
from mcpuppet.workflow.schema import CompiledSchema
from mcpuppet.workflow.sensitive import (
    NOTHING,
    Pointer,
    Sensitive,
    marked_inputs,
    parse_pointer,
)

RETRY_ON_UNKNOWN = Retry(attempts=3)
"""The attempts of a step with `on_unknown: retry` and no `retry` of its own."""
LONGEST_WAIT_INSIDE = timedelta(seconds=20)
"""Retries whose waits add up to no more than this happen inside one call of the client."""
_MOST_MARKINGS = 1024
"""For how many markings of a workflow it is remembered what they say."""


@dataclass(frozen=True, slots=True)
class Need:
    """One needed step, and the statuses of it (as marking bits) that satisfy or kill the need."""

    step: int
    name: str
    words: tuple[str, ...]
    accepts: int
    """The status bits of the step that satisfy the need."""
    satisfied: int
    """The same as bits of a marking."""
    dead: int


@dataclass(frozen=True, slots=True)
class ArgumentCheck:
    """What one argument must be: equal to an expression, or valid under a schema."""

    name: str
    equals: Expression | None
    schema: CompiledSchema | None


@dataclass(frozen=True, slots=True)
class CompiledCompensation:
    """The call that undoes a step, offered while the run is failing."""

    tool: str
    args: tuple[ArgumentCheck, ...] | None
    args_open: bool
    waits_for: tuple[int, ...]
    """Steps that depend on this one and have a compensation of their own: they go first."""


@dataclass(frozen=True, slots=True)
class CompiledReconcile:
    """The reading call that tells what became of a call, and how its result is read."""

    tool: str
    args: tuple[tuple[str, Expression], ...]
    happened: Expression
    result: Expression | None
    after: timedelta


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
    has_key: bool = False
    """Whether the server is given an idempotency key with every call."""
    key_argument: str | None = None
    """The argument that carries the key; without it, `_meta` does."""
    reconcile: CompiledReconcile | None = None

    def needs_hold(self, marking: int) -> bool:
        """Whether every need (or, with `join: any`, one of them) is satisfied."""
        if self.any_join:
            return any(marking & need.satisfied for need in self.needs)
        return all(marking & need.satisfied for need in self.needs)

    def is_ready(self, statuses: Sequence[int]) -> bool:
        """`needs_hold`, for the statuses of all steps: quicker when many steps are asked."""
        for need in self.needs:
            if statuses[need.step] & need.accepts:
                if self.any_join:
                    return True
            elif not self.any_join:
                return False
        return not (self.any_join and self.needs)

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
class Rulebook:
    """What a workflow and a rules file have in common: identity, inputs, policies and facts."""

    name: str
    version: str
    hash: str
    """SHA-256 of the text, in hex."""
    text: str
    inputs: CompiledSchema
    defaults: Mapping[str, Any]
    observes: bool
    """Whether refusals are only noted down, and the calls made all the same."""
    locks_inputs: bool
    """Whether `given` may be asked: inputs count that were fixed before the first result."""
    facts: Mapping[str, CompiledFact]
    all_policies: tuple[CompiledPolicy, ...]

    @cached_property
    def sensitive_inputs(self) -> tuple[Pointer, ...]:
        """Where among the inputs there are values that are kept out of the audit trail."""
        source = self.inputs.source
        written = source.get("properties") if isinstance(source, Mapping) else None
        return marked_inputs(written) if isinstance(written, Mapping) else ()

    @cached_property
    def watching(self) -> tuple[CompiledPolicy, ...]:
        """The policies that want to know of the calls of some tool."""
        return tuple(policy for policy in self.all_policies if policy.tool_events)

    @cached_property
    def shared_limits(self) -> tuple[CompiledPolicy, ...]:
        """The limits for which other sessions count too."""
        return tuple(one for one in self.all_policies if one.limit and one.limit.is_shared)

    @cached_property
    def shared_mutexes(self) -> tuple[CompiledPolicy, ...]:
        """The mutexes that reach beyond a run."""
        return tuple(one for one in self.all_policies if one.kind == "mutex" and one.scope != "run")


@dataclass(frozen=True)
class CompiledRules(Rulebook):
    """A rules file as executed: it governs the calls of a session that no workflow orders."""

    definition: RulesDefinition
    allow: tuple[str, ...]
    asks_otherwise: CompiledPolicy | None
    """What asks a person about every other tool; None refuses those."""

    def allows(self, tool: str) -> bool:
        """Whether the file lists the tool."""
        return any(fnmatchcase(tool, pattern) for pattern in self.allow)

    def policies_for(self, tool: str) -> tuple[CompiledPolicy, ...]:
        """The policies that limit the calls of a tool."""
        known = self._by_tool.get(tool)
        if known is None:
            known = tuple(
                policy
                for policy in self.all_policies
                if any(fnmatchcase(tool, pattern) for pattern in policy.calls)
            )
            if len(self._by_tool) < _MOST_TOOLS:
                self._by_tool[tool] = known
        return known

    @cached_property
    def _by_tool(self) -> dict[str, tuple[CompiledPolicy, ...]]:
        return {}


_MOST_TOOLS = 4096
"""For how many tools the policies are remembered: names come from clients."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """A policy under which an approval goes stale: steps that may only follow it in time."""

    policy: CompiledPolicy
    approvals: tuple[int, ...]
    """The approval steps that it names."""
    steps: tuple[int, ...]
    """The steps whose calls it limits."""


@dataclass(frozen=True)
class CompiledWorkflow(Rulebook):
    """A workflow as executed, identified by name, version and the hash of its text."""

    definition: WorkflowDefinition
    steps: tuple[CompiledStep, ...]
    index: Mapping[str, int]
    by_tool: Mapping[str, tuple[CompiledStep, ...]]
    by_compensation: Mapping[str, tuple[CompiledStep, ...]]
    policies: Mapping[tuple[str, str], tuple[CompiledPolicy, ...]]
    """For (step id, tool) the policies of that call; step id "" for compensations and `always`."""
    always: tuple[str, ...]
    timed: frozenset[str]
    """The events of steps, as `step.event`, whose time some policy asks for."""
    freshness: tuple[Freshness, ...]
    dependents: Mapping[int, tuple[int, ...]]
    """For each step those that need it directly."""

    @cached_property
    def sensitive(self) -> Mapping[str, Sensitive]:
        """For each tool that a step with `redact` calls, where its calls have sensitive values."""
        found: dict[str, Sensitive] = {}
        for step in self.steps:
            pointers = tuple(map(parse_pointer, self.definition.steps[step.id].redact or ()))
            for tool in step_tools(step) if pointers else ():
                found[tool] = found.get(tool, NOTHING).joined(Sensitive(pointers, pointers))
        return found

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

    @cached_property
    def touching(self) -> tuple[int, ...]:
        """For each step the marking bits that satisfy or kill one of its needs.

        While none of them is set nothing follows for a step that needs something.
        """
        masks = [0] * len(self.steps)
        for step in self.steps:
            for need in step.needs:
                masks[step.index] |= need.satisfied | need.dead
        return tuple(masks)

    @cached_property
    def may_stir(self) -> Callable[[int], bool]:
        """Whether, by a marking, something may follow by itself for a step that is pending.

        Answers are remembered, as those of `is_busy` are: runs pass through the same few markings.
        """
        return lru_cache(_MOST_MARKINGS)(self._may_stir)

    def _may_stir(self, marking: int) -> bool:
        return any(
            (step.needs and step.needs_are_dead(marking))
            or (step.needs_hold(marking) and (step.when is not None or step.approval is not None))
            for step in self.steps
            if status_of(marking, step.index) == PENDING
        )

    @cached_property
    def is_busy(self) -> Callable[[int], bool]:
        """Whether, by a marking, a step still runs, or still has to."""
        return lru_cache(_MOST_MARKINGS)(self._is_busy)

    def _is_busy(self, marking: int) -> bool:
        for step in self.steps:
            status = status_of(marking, step.index)
            if status == RUNNING and (step.approval is None or not step.optional):
                return True
            if status == PENDING and not step.optional:
                return True
        return False

    def uses(self, tool: str) -> bool:
        """Whether a step or compensation uses the tool."""
        return tool in self.by_tool or tool in self.by_compensation

    def orders(self, tool: str) -> bool:
        """Whether a step or compensation uses the tool, or a policy limits it in a run."""
        return self.uses(tool) or ("", tool) in self.policies

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
