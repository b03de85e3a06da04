"""The `needs` graph of a workflow: cycles, an order, and what has certainly happened before a step.

The only home of networkx. It knows which step names which other step under `needs`; it knows no
guard, no policy and no state of a run. Needs that name no step are left out: `workflow.checks`
reports them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import networkx as nx

from mcpuppet.workflow.definition import Definition, Step

_SUCCESSES = frozenset({"success", "approved"})


def needs_graph(definition: Definition) -> nx.DiGraph[str]:
    """One node per step in the file's order, and an edge from each needed step to the one in need.

    Edges carry `outcomes`, the frozenset of outcomes that satisfy the need.
    """
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(definition.steps)
    for name, step in definition.steps.items():
        for needed, outcomes in wanted_outcomes(definition, step).items():
            graph.add_edge(needed, name, outcomes=outcomes)
    return graph


def wanted_outcomes(definition: Definition, step: Step) -> Mapping[str, frozenset[str]]:
    """For each existing step that `step` needs, the outcomes that satisfy the need."""
    if step.needs is None:
        return {}
    return {
        needed: frozenset(outcomes) or frozenset({_success_of(definition.steps[needed])})
        for needed, outcomes in step.needs.outcomes.items()
        if needed in definition.steps
    }


def _success_of(step: Step) -> str:
    return "success" if step.approval is None else "approved"


def find_cycle(graph: nx.DiGraph[str]) -> tuple[str, ...] | None:
    """One cycle, closed (`a, b, a`) and starting at the earliest of its steps, or None.

    Strongly connected components first: enumerating all cycles can take exponential time.
    """
    for component in nx.strongly_connected_components(graph):
        inner = graph.subgraph(component)
        if len(component) > 1 or any(inner.edges):
            return _from_earliest(graph, [edge[0] for edge in nx.find_cycle(inner)])
    return None


def _from_earliest(graph: nx.DiGraph[str], cycle: list[str]) -> tuple[str, ...]:
    position = {name: index for index, name in enumerate(graph)}
    start = min(range(len(cycle)), key=lambda index: position[cycle[index]])
    return (*cycle[start:], *cycle[:start], cycle[start])


def topological_order(graph: nx.DiGraph[str]) -> tuple[str, ...]:
    """Every step after the steps it needs; among equals the file's order decides.

    Raises `networkx.NetworkXUnfeasible` when the graph has a cycle.
    """
    position = {name: index for index, name in enumerate(graph)}
    return tuple(nx.lexicographical_topological_sort(graph, key=position.__getitem__))


def ancestors(graph: nx.DiGraph[str], step: str) -> frozenset[str]:
    """The steps that may end before `step` starts: those it needs, and those they need."""
    return frozenset(nx.ancestors(graph, step))


def descendants(graph: nx.DiGraph[str], step: str) -> frozenset[str]:
    """The steps that need `step`, directly or through others."""
    return frozenset(nx.descendants(graph, step))


@dataclass(frozen=True, slots=True)
class StepSets:
    """A set of steps for each step, as the bits of one int each: thousands of steps stay small."""

    bits: Mapping[str, int]
    sets: Mapping[str, int]

    def __getitem__(self, step: str) -> frozenset[str]:
        return frozenset(name for name, bit in self.bits.items() if self.sets[step] & bit)

    def contains(self, step: str, other: str) -> bool:
        """Whether `other` is in the set of `step`."""
        return bool(self.sets[step] & self.bits[other])


def certain_ends(definition: Definition) -> StepSets:
    """For each step, those that have ended, with whatever outcome, whenever its needs hold."""
    return _certain(definition, lambda _outcomes: True)


def certain_successes(definition: Definition) -> StepSets:
    """For each step, those that have ended in success or approved whenever its needs hold."""
    return _certain(definition, lambda outcomes: outcomes <= _SUCCESSES)


def _certain(definition: Definition, counts: Callable[[frozenset[str]], bool]) -> StepSets:
    """Dominators, generalised to graphs whose nodes join their edges by AND or by OR.

    What a need makes certain is the needed step itself, if the named outcomes `count`, and, unless
    it may have been skipped, all that was certain when that step started. Those sets are united
    when all needs must hold and intersected when any may. One pass in topological order computes
    it; sets are the bits of an int, one per step. Plain dominators would be right for `any` only.
    Raises `networkx.NetworkXUnfeasible` when the needs have a cycle.
    """
    bits = {name: 1 << index for index, name in enumerate(definition.steps)}
    certain: dict[str, int] = {}
    for name in topological_order(needs_graph(definition)):
        step = definition.steps[name]
        given = [
            (bits[needed] if counts(outcomes) else 0)
            | (0 if "skipped" in outcomes else certain[needed])
            for needed, outcomes in wanted_outcomes(definition, step).items()
        ]
        certain[name] = _join(given, any_of=step.needs is not None and step.needs.join == "any")
    return StepSets(bits, certain)


def _join(sets: list[int], *, any_of: bool) -> int:
    if not sets:
        return 0
    joined = sets[0]
    for one in sets[1:]:
        joined = joined & one if any_of else joined | one
    return joined
