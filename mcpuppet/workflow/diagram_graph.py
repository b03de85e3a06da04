"""A workflow as a flow chart: which shapes there are and which lines join them. No colours, no DOT.

The chart says what the definition says. Every need is one line (two, where an approval may be
bypassed), with three readings that make it shorter: steps with the same needs share the diamond of
their guards; a need on `skipped` of a guarded step is the diamond's other way out; steps that start
and are waited for together are one group. An unhandled failure gets no line: the octagon `failed`
stands for all of them.

Where many lines would lead to one end, each of them gets a small end of its own: long lines through
a large picture can be neither followed nor drawn in time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from graphlib import TopologicalSorter

from mcpuppet.workflow.definition import Policy, Step, WorkflowDefinition
from mcpuppet.workflow.diagram_chart import (
    START,
    Chart,
    Diamond,
    Edge,
    EdgeKind,
    End,
    EndKind,
    Group,
    Joint,
    end_node,
    step_node,
    undo_node,
)
from mcpuppet.workflow.diagram_policies import policies_of, subject_of
from mcpuppet.workflow.diagram_words import (
    duration_words,
    guard_prefixes,
    guard_subject,
    outcome_words,
    readable,
    step_title,
)
from mcpuppet.workflow.graph import wanted_outcomes

MANY_LINES = 8
"""More lines than this to one end, and each gets an end of its own."""
LONG = 16
"""Steps on the longest way from which a narrow chart is broken into rows."""
ROW = 8
"""Steps on the longest way in one row."""
_FEWEST_JOINED = 3
"""With fewer steps on either side a joint makes nothing clearer."""
_GOOD = frozenset({"success", "approved", "bypassed"})


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
        order = TopologicalSorter(self.needs).static_order()
        self.depths = _depths(order, self.needs)
        depth, width = max(self.depths.values()), max(Counter(self.depths.values()).values())
        self.is_long = depth >= LONG and depth >= 4 * width
        self.diamonds = tuple(self._diamonds())
        self.diamond_of = {name: one for one in self.diamonds for name in one.branches}
        self.groups = tuple(self._groups())
        self.joint_of = dict(self._joints())
        self.group_of = {name: one for one in self.groups for name in one.members}

    def chart(self) -> Chart:
        edges = tuple(dict.fromkeys(self._edges()))
        crowded = self._crowded(edges)
        ends = tuple(self._shared_ends(edges, crowded))
        if crowded:
            edges = tuple(_with_own_end(one, crowded) for one in edges if not _to_failed(one))
            ends += tuple(dict.fromkeys(_own_ends(edges, crowded)))
        joints = tuple(dict.fromkeys(self.joint_of.values()))
        return Chart(self.diamonds, self.groups, joints, ends, edges, dict(self._rows(ends)))

    def _rows(self, ends: Iterable[End]) -> Iterator[tuple[str, int]]:
        """A long narrow chart is broken into rows, as a long line of text is."""
        rows = {
            name: (depth - 1) // ROW if self.is_long else 0 for name, depth in self.depths.items()
        }
        yield START, 0
        for name, number in rows.items():
            yield step_node(name), number
            yield undo_node(name), number
        yield from ((one.id, rows[next(iter(one.branches))]) for one in self.diamonds)
        yield from ((one.id, rows[one.members[0]]) for one in self.groups)
        yield from ((joint.id, rows[name]) for name, joint in reversed(self.joint_of.items()))
        for end in ends:
            yield end.id, max(rows.values()) if end.only_after is None else rows[end.only_after]

    def _crowded(self, edges: Iterable[Edge]) -> frozenset[EndKind]:
        """The ends that too many lines lead to."""
        lines = Counter(edge.head for edge in edges)
        most = 1 if self.is_long else MANY_LINES
        kinds: tuple[EndKind, ...] = ("completed", "rejected", "failed")
        return frozenset(kind for kind in kinds if lines[end_node(kind)] > most)

    def _shared_ends(self, edges: Iterable[Edge], crowded: frozenset[EndKind]) -> Iterator[End]:
        if "completed" not in crowded:
            yield End(end_node("completed"), "completed")
        reached = any(edge.head == end_node("rejected") for edge in edges)
        if reached and "rejected" not in crowded:
            yield End(end_node("rejected"), "rejected")
        yield End(end_node("failed"), "failed")

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
        return policies_of(self.definition, subject_of(name, self.definition.steps[name]))

    def _edges(self) -> Iterator[Edge]:
        for name in self.definition.steps:
            yield from self._edges_into(name)
        for name, step in self.definition.steps.items():
            yield from self._redo_edges(name, step)
            yield from self._undo_edges(name, step)
            yield from self._end_edges(name, step)

    def _joints(self) -> Iterator[tuple[str, Joint]]:
        """The joint of every step that has one: where it makes the lines fewer."""
        alike: dict[object, list[str]] = {}
        grouped = {name for group in self.groups for name in group.members}
        for name in self.definition.steps:
            if name not in self.diamond_of and name not in grouped:
                alike.setdefault(self._join_key(name), []).append(name)
        for names in alike.values():
            if len(names) >= _FEWEST_JOINED and len(self.needs[names[0]]) >= _FEWEST_JOINED:
                joint = Joint(f"join-{names[0]}", not self._joins_all(names[0]))
                yield from ((name, joint) for name in names)

    def _edges_into(self, name: str) -> Iterator[Edge]:
        diamond, joint = self.diamond_of.get(name), self.joint_of.get(name)
        if joint is not None:
            yield Edge(joint.id, step_node(name), "success", target=name)
        meeting = diamond or joint
        head = self._box(name) if meeting is None else meeting.id
        target = None if meeting or name in self.group_of else name
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
        for some in _told_apart(outcomes):
            tail, words = self._box(needed), self._need_words(needed, some)
            yield Edge(tail, head, _kind(some), words, needed, some, target)

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
                first = min(redo.redo, key=self.depths.__getitem__)
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
        for last in _told_apart(_outcomes_that_go_on(step) - used):
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


def _depths(order: Iterable[str], needs: Mapping[str, Mapping[str, object]]) -> dict[str, int]:
    """For each step how many steps the longest way to it has, itself included."""
    depths: dict[str, int] = {}
    for name in order:
        depths[name] = 1 + max((depths[needed] for needed in needs[name]), default=0)
    return depths


def _to_failed(edge: Edge) -> bool:
    """A line from an undo box: that the run has failed after it goes without saying."""
    return edge.head == end_node("failed")


def _with_own_end(edge: Edge, crowded: frozenset[EndKind]) -> Edge:
    kind = next((one for one in crowded if edge.head == end_node(one)), None)
    return edge if kind is None else replace(edge, head=end_node(kind, edge.source))


def _own_ends(edges: Iterable[Edge], crowded: frozenset[EndKind]) -> Iterator[End]:
    for edge in edges:
        for kind in crowded:
            if edge.source is not None and edge.head == end_node(kind, edge.source):
                yield End(edge.head, kind, edge.source)


def _told_apart(outcomes: frozenset[str]) -> Iterator[frozenset[str]]:
    """The outcomes of one line; to be bypassed is another matter than to be decided on."""
    bypassed = outcomes & {"bypassed"}
    if outcomes - bypassed:
        yield outcomes - bypassed
    if bypassed:
        yield bypassed


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
    if outcomes == {"bypassed"}:
        return "bypass"
    if outcomes & _GOOD:
        return "success"
    return "failure" if outcomes & {"failure", "rejected"} else "otherwise"
