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

from mcpuppet.workflow.classes import GuardClasses, guard_classes
from mcpuppet.workflow.definition import (
    APPROVAL_OUTCOMES,
    STEP_EVENTS,
    TOOL_OUTCOMES,
    ArgumentRule,
    Equals,
    Step,
    WorkflowDefinition,
)
from mcpuppet.workflow.expression import Expression
from mcpuppet.workflow.findings import Place
from mcpuppet.workflow.graph import needs_graph
from mcpuppet.workflow.yaml_reader import Document, Path

ToolDefinition = Mapping[str, Any]
"""A tool as its server lists it: a JSON object with `inputSchema`."""


@dataclass(frozen=True)
class Subject:
    """One workflow to check. `tools` and `servers` are None when nothing is known of them."""

    definition: WorkflowDefinition
    document: Document
    tools: Mapping[str, ToolDefinition] | None = None
    servers: frozenset[str] | None = None

    @cached_property
    def graph(self) -> nx.DiGraph[str]:
        return needs_graph(self.definition)

    @cached_property
    def classes(self) -> GuardClasses:
        return guard_classes(self.definition)

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
    """The step that it belongs to; None for the expressions of policies."""

    @property
    def key(self) -> str:
        return str(next(part for part in reversed(self.path) if isinstance(part, str)))


_BEFORE = ("inputs", "steps")
_AFTER = ("result", "inputs", "steps")
_CALL = ("args", "inputs", "user", "steps")


def expressions(definition: WorkflowDefinition) -> Iterator[Written]:
    """Every expression of a workflow."""
    for name, step in definition.steps.items():
        for keys, expression, variables in _of_step(step):
            yield Written(("steps", name, *keys), expression, variables, name)
    for index, policy in enumerate(definition.policies):
        for key, guard in (("check", policy.check), ("unless", policy.unless)):
            if guard is not None:
                yield Written(("policies", index, key), guard, _CALL, None)


def _of_step(step: Step) -> Iterator[tuple[Path, Expression, tuple[str, ...]]]:
    if step.when is not None:
        yield ("when",), step.when, _BEFORE
    if step.success is not None:
        yield ("success",), step.success, _AFTER
    if step.repeat is not None:
        yield ("repeat", "until"), step.repeat.until, _AFTER
    yield from _equals(("args",), step.args)
    if step.compensate is not None:
        yield from _equals(("compensate", "args"), step.compensate.args)
    if step.approval is None:
        return
    for index, value in enumerate(step.approval.binds):
        yield ("approval", "binds", index), value, _BEFORE
    if step.approval.bypass is not None and step.approval.bypass.when is not None:
        yield ("approval", "bypass", "when"), step.approval.bypass.when, _BEFORE


def _equals(
    path: Path, rules: Mapping[str, ArgumentRule] | None
) -> Iterator[tuple[Path, Expression, tuple[str, ...]]]:
    for name, rule in (rules or {}).items():
        if isinstance(rule, Equals):
            yield (*path, name, "equals"), rule.equals, _BEFORE


def event_names(definition: WorkflowDefinition) -> Iterator[tuple[Path, str]]:
    """Every event that a policy or property names, with its path."""
    for index, policy in enumerate(definition.policies):
        for key in ("requires", "forbidden_after", "of"):
            yield from _listed(("policies", index, key), getattr(policy, key))
    for index, claim in enumerate(definition.properties):
        keys = ["precedes", "unless", "responds", "excludes", "exists", "always_ends_with"]
        if claim.concurrent is None:  # `of` of `concurrent` names steps
            keys.append("of")
        for key in keys:
            yield from _listed(("properties", index, key), getattr(claim, key))


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
"""Comparing words is slow, and a file may hold thousands of them, each with a finding."""


def suggest(word: str, accepted: Iterable[str], kind: str) -> str | None:
    """A help line: the closest accepted word, else what there is to choose from."""
    known = sorted(set(accepted))
    close = difflib.get_close_matches(word, known[:_MOST_COMPARED], n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if not known:
        return f"there are no {kind}"
    return f"{kind}: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}"
