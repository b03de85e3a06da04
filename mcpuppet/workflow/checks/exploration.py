"""What checks ask of the states of a workflow: each exploration done once, and only when asked for.

Knows which states are dead ends, which runs can no longer finish and what policies refuse; knows no
finding code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from mcpuppet.workflow.compiled import CompiledWorkflow
from mcpuppet.workflow.compiled_policy import CompiledPolicy
from mcpuppet.workflow.compiler import compile_workflow
from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.space import Model, Space, explore
from mcpuppet.workflow.space.layout import union

MOST_STATES = 20_000
"""So many states take a fraction of a second; `validate` claims nothing about larger ones."""
STATES_TIMES_STEPS = 1_000_000
"""A state of a large workflow takes longer and more room: of those fewer are explored."""
FEWEST_STATES = 500
"""So few states of so large a workflow would tell nothing: then none is looked at."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The turn of a step has come, in a state, and these policies refuse its call."""

    state: int
    """The state's number in its space."""
    step: str
    policies: frozenset[str]


@dataclass(frozen=True, slots=True)
class Stranded:
    """A run that can no longer finish."""

    root: int
    """The first state on the way from which no end can be reached."""
    end: int
    """Where nothing can happen any more."""
    refused: tuple[Refused, ...]


class Exploration:
    """The explorations of one workflow."""

    def __init__(self, definition: WorkflowDefinition) -> None:
        self._definition = definition

    @cached_property
    def workflow(self) -> CompiledWorkflow:
        return compile_workflow(self._definition, "")

    @cached_property
    def space(self) -> Space:
        """All states, under all policies that are a matter of the run alone."""
        return self._explore(Model())

    @cached_property
    def with_unknown_outcomes(self) -> Space:
        """As `space`, where people also settle calls whose outcome is unknown."""
        return self._explore(Model(unknown=True))

    @cached_property
    def policies(self) -> dict[str, CompiledPolicy]:
        """The policies that `space` enforces."""
        return {one.id: one for one in self.space.net.gates.enforced}

    @cached_property
    def without_policies(self) -> Space:
        return self._explore(Model(without=frozenset(self.policies)))

    def under(self, policy: str) -> Space:
        """All states under one policy alone, with unknown outcomes."""
        return self._explore(Model(unknown=True, without=frozenset(self.policies) - {policy}))

    @property
    def most(self) -> int:
        """How many states of the workflow are looked at; 0 where too few could be."""
        most = min(MOST_STATES, STATES_TIMES_STEPS // len(self._definition.steps))
        return most if most >= FEWEST_STATES else 0

    @cached_property
    def is_complete(self) -> bool:
        """Whether `space` holds every state; of one that does not nothing is claimed."""
        return self.most > 0 and self.space.complete

    def _explore(self, model: Model) -> Space:
        return explore(self.workflow, max_states=self.most, model=model)

    @cached_property
    def refused(self) -> tuple[Refused, ...]:
        """Every refusal in `space` of a call whose turn has come."""
        return tuple(refusals(self.space))

    @cached_property
    def called(self) -> frozenset[str]:
        return called_steps(self.space)

    @cached_property
    def blocked(self) -> dict[str, tuple[Refused, ...]]:
        """Steps that no run calls although their turn comes, and how they are refused."""
        found: dict[str, list[Refused]] = {}
        for one in self.refused:
            if one.step not in self.called:
                found.setdefault(one.step, []).append(one)
        return {step: tuple(refused) for step, refused in found.items()}

    @cached_property
    def stranded(self) -> tuple[Stranded, ...]:
        """Every dead end, in the order of discovery, with the point of no return before it."""
        space = self.space
        if not self.policies:  # needs without a cycle and bounded loops always come to an end
            return ()
        finishing = _finishing(space)
        refused: dict[int, list[Refused]] = {}
        for one in self.refused:
            refused.setdefault(one.state, []).append(one)
        found = []
        for number in range(len(space.states)):
            if number not in finishing and _is_dead_end(space, number):
                root = number
                while space.parent(root) and space.parent(root) not in finishing:
                    root = space.parent(root)
                found.append(Stranded(root, number, tuple(refused.get(number, ()))))
        return tuple(found)


def called_steps(space: Space) -> frozenset[str]:
    """The steps that some run calls, or, for approvals, opens."""
    ever = union(space.states)
    return frozenset(part.step.id for part in space.net.parts if ever & part.running)


def refusals(space: Space) -> Iterator[Refused]:
    """Every refusal, in the order of discovery, of a call whose turn has come."""
    for number, state in enumerate(space.states):
        for part, policies in space.net.refusals(state):
            yield Refused(number, part.step.id, frozenset(policies))


def refusing_alone(space: Space) -> frozenset[str]:
    """The policies without which some call would be legal that is not."""
    return frozenset(
        policy for one in refusals(space) if len(one.policies) == 1 for policy in one.policies
    )


def _is_dead_end(space: Space, number: int) -> bool:
    idle = space.net.idle_labels
    return not space.ends(number) and all(label in idle for label, _ in space.edges(number))


def _finishing(space: Space) -> set[int]:
    """The states from which some end can be reached."""
    sources: list[list[int]] = [[] for _ in space.states]
    for number in range(len(space.states)):
        for _, target in space.edges(number):
            sources[target].append(number)
    waiting = [number for number in range(len(space.states)) if space.ends(number)]
    found = set(waiting)
    while waiting:
        for source in sources[waiting.pop()]:
            if source not in found:
                found.add(source)
                waiting.append(source)
    return found
