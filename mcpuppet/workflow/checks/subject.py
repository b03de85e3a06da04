"""What a check looks at: a definition, its file, and what is known of the servers' tools.

Owns the ways to find something in a workflow that several checks share: written expressions, events
and names with their paths. Knows no finding code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import networkx as nx

from mcpuppet.workflow.checks.coverage import Coverage
from mcpuppet.workflow.checks.exploration import Exploration
from mcpuppet.workflow.classes import GuardClasses, guard_classes
from mcpuppet.workflow.definition import (
    APPROVAL_OUTCOMES,
    STEP_EVENTS,
    TOOL_OUTCOMES,
    ArgumentRule,
    Definition,
    Equals,
    Policy,
    Reconcile,
    Step,
    WorkflowDefinition,
)
from mcpuppet.workflow.expression import Expression
from mcpuppet.workflow.findings import Place
from mcpuppet.workflow.graph import (
    StepSets,
    certain_ends,
    certain_successes,
    needs_graph,
    topological_order,
)
from mcpuppet.workflow.yaml_reader import Document, Path

ToolDefinition = Mapping[str, Any]
"""A tool as its server lists it: a JSON object with `inputSchema`."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What is known beyond a file; checks that need what is not known stay silent."""

    servers: frozenset[str] | None = None
    """The names of the configured servers."""
    tools: Mapping[str, ToolDefinition] | None = None
    """What the servers offer, by "server.tool", as they list it or as it was pinned."""
    people: Mapping[str, int] | None = None
    """How many people hold each role."""
    pinned: Mapping[str, ToolDefinition] | None = None
    """The tools as they were pinned, where `tools` are those offered now."""
    answered: frozenset[str] | None = None
    """The servers that listed their tools; None: all of them."""


NOTHING_OUTSIDE = Outside()


@dataclass(frozen=True)
class Subject:
    """One file to check. `tools`, `servers` and `people` are None when nothing is known of them."""

    definition: Definition
    document: Document
    tools: Mapping[str, ToolDefinition] | None = None
    servers: frozenset[str] | None = None
    people: Mapping[str, int] | None = None
    """How many people, whose access is not withdrawn, hold each role."""

    @cached_property
    def graph(self) -> nx.DiGraph[str]:
        return needs_graph(self.definition)

    @cached_property
    def classes(self) -> GuardClasses:
        return guard_classes(self.definition)

    @cached_property
    def certain_ends(self) -> StepSets:
        """What has ended whenever a step starts; only for needs without a cycle."""
        return certain_ends(self.definition)

    @cached_property
    def certain_successes(self) -> StepSets:
        """What has succeeded whenever a step starts; only for needs without a cycle."""
        return certain_successes(self.definition)

    @cached_property
    def below(self) -> StepSets:
        """The steps that depend on each, directly or not; only for needs without a cycle."""
        bits = {name: 1 << number for number, name in enumerate(self.definition.steps)}
        below: dict[str, int] = {}
        for name in reversed(topological_order(self.graph)):
            below[name] = 0
            for dependent in self.graph.successors(name):
                below[name] |= bits[dependent] | below[dependent]
        return StepSets(bits, below)

    @cached_property
    def coverage(self) -> Coverage:
        return Coverage(self.definition)

    @cached_property
    def exploration(self) -> Exploration | None:
        """The states of a run, looked at when first asked for; None for a rules file."""
        if isinstance(self.definition, WorkflowDefinition):
            return Exploration(self.definition)
        return None

    def need_place(self, step: str, needed: str) -> Place:
        """Where `step` names `needed` under its `needs`, in whichever of the three spellings."""
        path: Path = ("steps", step, "needs")
        written = self.document.data["steps"][step]["needs"]
        if isinstance(written, dict):
            return self.document.key_place((*path, needed))
        if isinstance(written, list):
            return self.document.place((*path, written.index(needed)))
        return self.document.place(path)


@dataclass(frozen=True, slots=True)
class Written:
    """An expression, where it stands, and the variables it may read there."""

    path: Path
    expression: Expression
    variables: tuple[str, ...]
    step: str | None
    """The step that it belongs to; None for the expressions of policies and facts."""

    @property
    def key(self) -> str:
        return str(next(part for part in reversed(self.path) if isinstance(part, str)))


_BEFORE = ("inputs", "steps")
_AFTER = ("result", "inputs", "steps")
_READ_FOR = ("args", "inputs", "steps")
_READ = ("result", "args", "inputs", "steps")
_CALL = ("args", "inputs", "user", "facts", "now")
_FACT_KEY = ("args",)


def expressions(definition: Definition) -> Iterator[Written]:
    """Every expression of a file."""
    for name, step in definition.steps.items():
        for keys, expression, variables in _of_step(step):
            yield Written(("steps", name, *keys), expression, variables, name)
    of_call = (*_CALL, "steps") if isinstance(definition, WorkflowDefinition) else _CALL
    for index, policy in enumerate(definition.policies):
        for keys, expression in _of_policy(policy):
            yield Written(("policies", index, *keys), expression, of_call, None)
    for name, fact in definition.facts.items():
        if fact.key is not None:
            yield Written(("facts", name, "key"), fact.key, _FACT_KEY, None)


def _of_policy(policy: Policy) -> Iterator[tuple[Path, Expression]]:
    for key, one in (("check", policy.check), ("unless", policy.unless), ("sum", policy.sum)):
        if one is not None:
            yield (key,), one
    for index, one in enumerate(policy.show or ()):
        yield ("show", index), one
    for index, one in enumerate(policy.ask.show if policy.ask else ()):
        yield ("ask", "show", index), one


def _of_step(step: Step) -> Iterator[tuple[Path, Expression, tuple[str, ...]]]:
    if step.when is not None:
        yield ("when",), step.when, _BEFORE
    if step.success is not None:
        yield ("success",), step.success, _AFTER
    if step.repeat is not None:
        yield ("repeat", "until"), step.repeat.until, _AFTER
    yield from _equals(("args",), step.args)
    if step.reconcile is not None:
        yield from _of_reconcile(step.reconcile)
    if step.compensate is not None:
        yield from _equals(("compensate", "args"), step.compensate.args)
    if step.approval is None:
        return
    for index, value in enumerate(step.approval.binds):
        yield ("approval", "binds", index), value, _BEFORE
    if step.approval.bypass is not None and step.approval.bypass.when is not None:
        yield ("approval", "bypass", "when"), step.approval.bypass.when, _BEFORE


def _of_reconcile(one: Reconcile) -> Iterator[tuple[Path, Expression, tuple[str, ...]]]:
    path: Path = ("on_unknown", "reconcile")
    for name, expression in one.args.items():
        yield (*path, "args", name), expression, _READ_FOR
    yield (*path, "happened"), one.happened, _READ
    if one.result is not None:
        yield (*path, "result"), one.result, _READ


def _equals(
    path: Path, rules: Mapping[str, ArgumentRule] | None
) -> Iterator[tuple[Path, Expression, tuple[str, ...]]]:
    for name, rule in (rules or {}).items():
        if isinstance(rule, Equals):
            yield (*path, name, "equals"), rule.equals, _BEFORE


def event_names(definition: Definition) -> Iterator[tuple[Path, str]]:
    """Every event that a policy, property or fact names, with its path."""
    for index, policy in enumerate(definition.policies):
        for key in ("requires", "forbidden_after", "of"):
            yield from _listed(("policies", index, key), getattr(policy, key))
    for index, claim in enumerate(definition.properties):
        keys = ["precedes", "unless", "responds", "excludes", "exists", "always_ends_with"]
        if claim.concurrent is None:  # `of` of `concurrent` names steps
            keys.append("of")
        for key in keys:
            yield from _listed(("properties", index, key), getattr(claim, key))
    for name, fact in definition.facts.items():
        yield from _listed(("facts", name, "until"), fact.until)


def _listed(path: Path, names: Iterable[str | list[str]] | None) -> Iterator[tuple[Path, str]]:
    for index, name in enumerate(names or ()):
        if isinstance(name, str):
            yield (*path, index), name
        else:
            yield from _listed((*path, index), name)


def outcomes_of(step: Step) -> tuple[str, ...]:
    """The outcomes that a step can have, in the order of the language."""
    known = TOOL_OUTCOMES if step.approval is None else APPROVAL_OUTCOMES
    if step.approval is not None and step.approval.bypass is None:
        known -= {"bypassed"}
    return tuple(event for event in STEP_EVENTS if event in known)


def events_of(step: Step) -> tuple[str, ...]:
    """The events that a step can have, in the order of the language."""
    more = {"call"} if step.approval is None else {"call", "expired"}
    return tuple(event for event in STEP_EVENTS if event in more | set(outcomes_of(step)))


_MOST_COMPARED = 200
_LONGEST_COMPARED = 200
"""Comparing words is slow, and a file may hold many and long ones, each with a finding."""


def suggest(word: str, accepted: Iterable[str], kind: str) -> str | None:
    """A help line: the closest accepted word, else what there is to choose from."""
    known = sorted(set(accepted))
    compared = known[:_MOST_COMPARED] if len(word) <= _LONGEST_COMPARED else []
    close = difflib.get_close_matches(word, compared, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if not known:
        return f"there are no {kind}"
    return f"{kind}: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}"


class Suggestions:
    """The help lines of a check that may need very many: a hundred, then none."""

    def __init__(self, accepted: Iterable[str], kind: str) -> None:
        self._accepted = sorted(set(accepted))
        self._kind = kind
        self._left = 100

    def help(self, word: str) -> str | None:
        """What `suggest` says."""
        self._left -= 1
        return suggest(word, self._accepted, self._kind) if self._left >= 0 else None
