"""A workflow as a flow chart: which shapes there are and which lines join them. No colours, no DOT.

The chart says what the definition says. Every need is one line, with three readings that make it
shorter: steps with the same needs share the diamond of their guards; a need on `skipped` of a
guarded step is the diamond's other way out; steps that start and are waited for together are one
group. An unhandled failure gets no line: the octagon `failed` stands for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from mcpuppet.workflow.definition import Policy, Step, WorkflowDefinition
from mcpuppet.workflow.diagram_words import (
    duration_words,
    guard_prefixes,
    guard_subject,
    outcome_words,
    policies_of,
    readable,
    step_title,
)
from mcpuppet.workflow.graph import needs_graph, topological_order, wanted_outcomes

EdgeKind = Literal["success", "failure", "timeout", "otherwise", "redo", "undo"]
EndKind = Literal["completed", "rejected", "failed"]

START = "start"
_GOOD = frozenset({"success", "approved", "bypassed"})


@dataclass(frozen=True, slots=True)
class Diamond:
    """One branching: the steps whose guards are asked at the same moment, after the same needs."""

    id: str
    subject: str
    branches: Mapping[str, str]
    """For each guarded step the words of its guard."""
    any_of: bool
    """Whether one need is enough to ask the guards."""


@dataclass(frozen=True, slots=True)
class Group:
    """Steps that may run side by side: the same needs, and the same steps wait for them all."""

    id: str
    members: tuple[str, ...]
    mutex: Policy | None
    """The policy that forbids their overlap, when there is one for exactly these steps."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A line between two shapes (or groups), by their ids.

    It has been taken when step `source` ended in one of `outcomes` and step `target` then moved;
    None asks nothing of that side.
    """

    tail: str
    head: str
    kind: EdgeKind
    label: str = ""
    source: str | None = None
    outcomes: frozenset[str] = frozenset()
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """All shapes and lines of a picture; steps and undo boxes follow from the definition."""

    diamonds: tuple[Diamond, ...]
    groups: tuple[Group, ...]
    ends: tuple[EndKind, ...]
    edges: tuple[Edge, ...]


def step_node(name: str) -> str:
    return f"step-{name}"


def undo_node(name: str) -> str:
    return f"undo-{name}"


def end_node(end: EndKind) -> str:
    return f"end-{end}"


def chart_of(definition: WorkflowDefinition) -> Chart:
    """The flow chart of a definition that the checks found no error in."""
    return _Charter(definition).chart()


class _Charter:
    """Reads the definition once, then yields lines; the tables are what every line needs."""

    def __init__(self, definition: WorkflowDefinition) -> None:
        self.definition = definition
        self.needs = {
            name: dict(wanted_outcomes(definition, step)) for name, step in definition.steps.items()
        }
        self.order = topological_order(needs_graph(definition))
        self.diamonds = tuple(self._diamonds())
        self.diamond_of = {name: one for one in self.diamonds for name in one.branches}
        self.groups = tuple(self._groups())
        self.group_of = {name: one for one in self.groups for name in one.members}

    def chart(self) -> Chart:
        edges = list(dict.fromkeys(self._edges()))
        ends: tuple[EndKind, ...] = ("completed", "rejected", "failed")
        if not any(edge.head == end_node("rejected") for edge in edges):
            ends = ("completed", "failed")
        return Chart(self.diamonds, self.groups, ends, tuple(edges))

    def _join_key(self, name: str) -> tuple[object, str]:
        """Equal for steps that wait for the same."""
        needs = self.definition.steps[name].needs
        return frozenset(self.needs[name].items()), "all" if needs is None else needs.join

    def _diamonds(self) -> Iterator[Diamond]:
        siblings: dict[object, list[str]] = {}
        for name, step in self.definition.steps.items():
            if step.when is not None:
                siblings.setdefault(self._join_key(name), []).append(name)
        for names in siblings.values():
            guards = [guard for one in names if (guard := self.definition.steps[one].when)]
            prefixes = guard_prefixes(guards)
            words = {
                one: readable(guard, prefixes) for one, guard in zip(names, guards, strict=True)
            }
            yield Diamond(
                f"guard-{names[0]}", guard_subject(guards), words, not self._joins_all(names[0])
            )

    def _groups(self) -> Iterator[Group]:
        alike: dict[object, list[str]] = {}
        for name, step in self.definition.steps.items():
            if step.when is None:
                key = (self._join_key(name), self._dependents(name))
                alike.setdefault(key, []).append(name)
        for names in alike.values():
            if len(names) > 1 and self._is_clean_group(names):
                yield Group(f"group-{names[0]}", tuple(names), self._mutex_of(names))

    def _dependents(self, name: str) -> frozenset[tuple[str, frozenset[str]]]:
        return frozenset(
            (other, needs[name]) for other, needs in self.needs.items() if name in needs
        )

    def _is_clean_group(self, names: list[str]) -> bool:
        """Waited for by someone who wants all of them to succeed, and never sent back."""
        dependents = self._dependents(names[0])
        return (
            all(_is_tool(self.definition.steps[name]) for name in names)
            and bool(dependents)
            and all(outcomes == {"success"} for _, outcomes in dependents)
            and all(self._joins_all(other) for other, _ in dependents)
        )

    def _joins_all(self, name: str) -> bool:
        needs = self.definition.steps[name].needs
        return needs is None or needs.join == "all"

    def _mutex_of(self, names: list[str]) -> Policy | None:
        for policy in self.definition.policies:
            limited = [name for name in self.definition.steps if policy in self._policies(name)]
            if policy.mutex and limited == names:
                return policy
        return None

    def _policies(self, name: str) -> tuple[Policy, ...]:
        return policies_of(self.definition, name)

    def _edges(self) -> Iterator[Edge]:
        for name in self.definition.steps:
            yield from self._edges_into(name)
        for name, step in self.definition.steps.items():
            yield from self._redo_edges(name, step)
            yield from self._undo_edges(name, step)
            yield from self._end_edges(name, step)

    def _edges_into(self, name: str) -> Iterator[Edge]:
        diamond = self.diamond_of.get(name)
        head = diamond.id if diamond else self._box(name)
        target = None if diamond or name in self.group_of else name
        if not self.needs[name]:
            yield Edge(START, head, "success", target=target)
        for needed, outcomes in self.needs[name].items():
            yield from self._need_edges(name, needed, outcomes, head, target)
        if diamond:
            words = diamond.branches[name]
            yield Edge(diamond.id, step_node(name), "success", words, target=name)

    def _need_edges(
        self, name: str, needed: str, outcomes: frozenset[str], head: str, target: str | None
    ) -> Iterator[Edge]:
        diamond = self.diamond_of.get(needed)
        if diamond and "skipped" in outcomes:
            words = "otherwise"
            if len(diamond.branches) > 1:
                words = f"{step_title(needed, self.definition.steps[needed])} skipped"
            yield Edge(diamond.id, head, "otherwise", words, needed, frozenset({"skipped"}), target)
            outcomes -= {"skipped"}
        elif self._stands_for_other_way_out(name, needed) or self._is_drawn_by_group(needed):
            return
        if outcomes:
            tail, words = self._box(needed), self._need_words(needed, outcomes)
            yield Edge(tail, head, _kind(outcomes), words, needed, outcomes, target)

    def _stands_for_other_way_out(self, name: str, needed: str) -> bool:
        """Whether a diamond after `needed` alone leads to `name`, which draws the need."""
        return self._joins_all(name) and any(
            "skipped" in outcomes
            and other in self.diamond_of
            and self.needs[other] == {needed: self.needs[name][needed]}
            for other, outcomes in self.needs[name].items()
        )

    def _is_drawn_by_group(self, needed: str) -> bool:
        """Whether the line of the group's first member stands for this one's need."""
        group = self.group_of.get(needed)
        return group is not None and group.members[0] != needed

    def _need_words(self, needed: str, outcomes: frozenset[str]) -> str:
        if needed in self.group_of:
            return "all done"
        return "" if outcomes == {"success"} else outcome_words(outcomes)

    def _box(self, name: str) -> str:
        """The shape that lines of a step meet: its group, if it is in one."""
        group = self.group_of.get(name)
        return group.id if group else step_node(name)

    def _redo_edges(self, name: str, step: Step) -> Iterator[Edge]:
        if step.on is None:
            return
        for outcome, redo in (("failure", step.on.failure), ("rejected", step.on.rejected)):
            if redo is not None:
                most = "" if redo.max is None else f" ≤ {redo.max}"
                first = next(one for one in self.order if one in redo.redo)
                words = f"{outcome}: redo{most}"
                yield Edge(
                    step_node(name), step_node(first), "redo", words, name, frozenset({outcome})
                )

    def _undo_edges(self, name: str, step: Step) -> Iterator[Edge]:
        if step.compensate is not None:
            undo = undo_node(name)
            yield Edge(step_node(name), undo, "undo", "if the run fails", target=undo)
            yield Edge(undo, end_node("failed"), "undo", source=undo, outcomes=_GOOD)

    def _end_edges(self, name: str, step: Step) -> Iterator[Edge]:
        used = {one for _, outcomes in self._dependents(name) for one in outcomes}
        last = _outcomes_that_go_on(step) - used
        if last:
            words = "" if last == {"success"} else outcome_words(last)
            yield Edge(step_node(name), end_node("completed"), _kind(last), words, name, last)
        if step.approval is not None and "rejected" not in used and step.on_failure == "fail":
            yield from self._rejection_edges(name, step)

    def _rejection_edges(self, name: str, step: Step) -> Iterator[Edge]:
        tail, end = step_node(name), end_node("rejected")
        yield Edge(tail, end, "failure", "rejected", name, frozenset({"rejected"}))
        if step.approval is not None and step.approval.on_timeout == "reject":
            words = f"timeout {duration_words(step.approval.timeout)}"
            yield Edge(tail, end, "timeout", words, name, frozenset({"expired"}))


def _is_tool(step: Step) -> bool:
    return step.approval is None


def _outcomes_that_go_on(step: Step) -> frozenset[str]:
    """The outcomes after which the run may still complete when no step waits for them."""
    if step.approval is None:
        outcomes = {"success"} | ({"failure"} if step.on_failure == "continue" else set())
    else:
        outcomes = {"approved"} | ({"rejected"} if step.on_failure == "continue" else set())
        outcomes |= {"bypassed"} if step.approval.bypass else set()
    return frozenset(outcomes)


def _kind(outcomes: frozenset[str]) -> EdgeKind:
    if outcomes & _GOOD:
        return "success"
    return "failure" if outcomes & {"failure", "rejected"} else "otherwise"
