"""Breadth first through a workflow's transition system, and the graph that was found.

States are numbered in the order of discovery, so a state's parent gives a shortest trace. Edges lie
in flat arrays: a state costs about 200 bytes.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mcpuppet.workflow.compiled import CompiledWorkflow
from mcpuppet.workflow.marking import status_of
from mcpuppet.workflow.space.layout import MODES
from mcpuppet.workflow.space.net import Model, Net

_EDGES_PER_STATE = 20


@dataclass(frozen=True, slots=True)
class Space:
    """The explored state graph. A state is an int, or its number in `states`."""

    net: Net
    states: Sequence[int]
    """In the order of discovery: the first is the state before the start."""
    complete: bool
    """False when a limit was reached: states and edges are then only some of them."""
    seconds: float
    _parents: array[int]
    _parent_labels: array[int]
    _first_edges: array[int]
    """For each expanded state where its edges start, and where the last ones end."""
    _labels: array[int]
    _targets: array[int]

    @property
    def left_out(self) -> tuple[str, ...]:
        """The policies that were treated as never refusing: they may refuse now, not for ever."""
        return self.net.gates.left_out

    @property
    def size(self) -> int:
        """How many edges there are."""
        return len(self._targets)

    def edges(self, number: int) -> Iterator[tuple[int, int]]:
        """The edges from a state: label number and number of the target."""
        if number + 1 >= len(self._first_edges):
            return
        for edge in range(self._first_edges[number], self._first_edges[number + 1]):
            yield self._labels[edge], self._targets[edge]

    def label(self, label: int) -> str:
        """What causes an edge, as in `check.success{score=0.8}`."""
        return self.net.labels[label].events[0]

    def events(self, number: int, label: int, target: int) -> tuple[str, ...]:
        """Everything that happens on an edge, in order: its cause, skipped and opened steps."""
        return self.net.consequences(self.states[number], label, self.states[target])

    def trace(self, number: int) -> tuple[str, ...]:
        """A shortest way to a state, from the start: every event on it."""
        found: list[str] = []
        for source, label, target in self._way_to(number):
            found += self.events(source, label, target)
        return tuple(found)

    def cause(self, number: int) -> str:
        """What a shortest trace to a state ends with, without what follows by itself."""
        return self.label(self._parent_labels[number])

    def _way_to(self, number: int) -> list[tuple[int, int, int]]:
        way = []
        while number:
            way.append((self._parents[number], self._parent_labels[number], number))
            number = self._parents[number]
        return way[::-1]

    def parent(self, number: int) -> int:
        """The state that a state was first reached from; the first is its own."""
        return self._parents[number]

    def mode(self, number: int) -> str:
        """One of `layout.MODES`: new, active, failing, ..., completed, failed, ..."""
        return next(one for one in MODES if self.states[number] & self.net.layout.mode(one))

    def ends(self, number: int) -> bool:
        """Whether the run is over."""
        return self.net.is_over(self.states[number])

    def status(self, number: int, step: int) -> int:
        """The status bit of a step, as in `workflow.marking`."""
        return status_of(self.states[number], step)


def explore(
    workflow: CompiledWorkflow, *, max_states: int = 200_000, model: Model | None = None
) -> Space:
    """Every state that a run can reach, breadth first, until `max_states` were found.

    The workflow must have passed the checks of `needs`: they have no cycle.
    """
    started = time.perf_counter()
    net = Net(workflow, model or Model())
    states, numbers = [net.start], {net.start: 0}
    parents, parent_labels = array("I", [0]), array("I", [0])
    firsts, labels, targets = array("I", [0]), array("I"), array("I")
    room = max_states * _EDGES_PER_STATE
    number = 0
    while number < len(states) <= max_states and len(targets) <= room:
        for label, target in net.successors(states[number]):
            at = numbers.get(target)
            if at is None:
                at = numbers[target] = len(states)
                states.append(target)
                parents.append(number)
                parent_labels.append(label)
            labels.append(label)
            targets.append(at)
        number += 1
        firsts.append(len(targets))
    return Space(
        net=net,
        states=states,
        complete=number == len(states) and not net.is_cut,
        seconds=time.perf_counter() - started,
        _parents=parents,
        _parent_labels=parent_labels,
        _first_edges=firsts,
        _labels=labels,
        _targets=targets,
    )
