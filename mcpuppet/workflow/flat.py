"""The flat machine: every reachable state of a run, explored from the definition alone.

A second, independent reading of the language. It shares no code with the compiler or with the part
that decides calls: statuses are words in a dict and rules are plain recursion, written to be
compared with the page that defines them. Tests walk it beside the real thing; checks ask it which
steps can be reached; it can be exported as a `transitions` machine.

What happens is a *label*: `start{inputs.x=1}`, `pay.call`, `pay.success{score=0.8}`, `pay.failure`,
`pay.retry` (a failed attempt with attempts left), `pay.compensate`, and for approvals
`ask.approved | rejected | bypassed | expired`. Values in braces are guard classes (`classes`); a
guard outside the decidable fragment is a free boolean and shows as `?pay.when=true`. After each
label the run settles: steps are skipped, approvals open and the run ends as soon as they can.

Left out, because no state shows it: arguments, roles, `check`, quorum, clocks, and a call whose end
is unknown. Where that matters the machine allows: it may take a label that a real run would refuse.

Choices where the language leaves room: a `success` or `failure` event marks the end of a step, not
an attempt; a redo always takes back the step that asked for it, never a step that is running, and
counts its renewals anew; a failed attempt of a failing run is not repeated, `finally` or not.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from transitions import Machine

from mcpuppet.workflow.classes import Value
from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.flat_rules import Rules
from mcpuppet.workflow.flat_state import FlatState

_LABELS_PER_STATE = 20

Transition: TypeAlias = tuple[FlatState, str, FlatState]


@dataclass(frozen=True, slots=True)
class FlatMachine:
    """The explored part of the state graph. No state has two transitions with the same label."""

    initial: FlatState
    states: tuple[FlatState, ...]
    transitions: tuple[Transition, ...]
    complete: bool
    """False when the limit was reached: states and transitions are then only some of them."""
    values: Mapping[str, Mapping[str, Value]]
    """Per label the class values it carries, by full path such as `steps.s.result.f`."""
    _outgoing: Mapping[FlatState, Mapping[str, FlatState]] = field(repr=False)

    def labels_from(self, state: FlatState) -> Mapping[str, FlatState]:
        """What can happen in a state, and where it leads."""
        return self._outgoing.get(state, {})


def explore(definition: WorkflowDefinition, *, limit: int = 2000) -> FlatMachine:
    """Every state that a run can reach, breadth first, until `limit` states were found.

    Meant for definitions that passed the checks: names must exist and `needs` have no cycle.
    """
    rules = Rules(definition)
    initial = rules.initial()
    outgoing: dict[FlatState, dict[str, FlatState]] = {initial: {}}
    values: dict[str, Mapping[str, Value]] = {}
    waiting = deque([initial])
    room = limit * _LABELS_PER_STATE
    while waiting and len(outgoing) <= limit and room > 0:
        state = waiting.popleft()
        # A product of many classes can make one state's labels endless: read no more than fit.
        for label, carried, target in itertools.islice(rules.moves(state), room):
            room -= 1
            values[label] = carried
            outgoing[state][label] = target
            if target not in outgoing:
                outgoing[target] = {}
                waiting.append(target)
    transitions = tuple(
        (source, label, target)
        for source, labels in outgoing.items()
        for label, target in labels.items()
    )
    complete = not waiting and len(outgoing) <= limit and room > 0
    return FlatMachine(initial, tuple(outgoing), transitions, complete, values, outgoing)


def to_transitions(flat: FlatMachine) -> Machine:
    """The same machine as a `transitions.Machine`: states s0, s1, ..., triggers are the labels.

    The machine is its own model: `machine.trigger(label)` takes a step.
    """
    names = {state: f"s{number}" for number, state in enumerate(flat.states)}
    return Machine(
        states=list(names.values()),
        transitions=[
            {"trigger": label, "source": names[source], "dest": names[target]}
            for source, label, target in flat.transitions
        ],
        initial=names[flat.initial],
        auto_transitions=False,
    )


def callable_steps(flat: FlatMachine) -> frozenset[str]:
    """The steps that some run calls, or, for approvals, opens."""
    events = (label.partition("{")[0] for _, label, _ in flat.transitions)
    return frozenset(event.partition(".")[0] for event in events if "." in event)
