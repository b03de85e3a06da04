"""The packed exploration compared with the flat machine, which shares no rule with it.

Left out of the comparison: what people say about held steps, as the flat machine leaves them held;
numbers of attempts, as the space lets any failed attempt be the last; what a failing run forgets.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.generated import _Draft, _Dumper
from support.play import compiled

from mcpuppet.workflow.compiled import CompiledWorkflow
from mcpuppet.workflow.flat import FlatMachine
from mcpuppet.workflow.flat import explore as explore_flat
from mcpuppet.workflow.flat_state import FlatState
from mcpuppet.workflow.marking import STATUS_NAMES
from mcpuppet.workflow.space import Space, explore

WORKFLOWS = 200
BATCH = 20
MOST_STATES = 150
FOLDER = Path(__file__).parents[2] / "workflows"

Seen = tuple[Any, ...]


def of_flat(state: FlatState) -> Seen:
    """What both machines keep of a state."""
    if state.phase != "active":
        over = state.phase in ("completed", "failed", "rejected", "new")
        return state.phase, state.status, frozenset() if over else state.compensated
    status = dict(state.status)
    counts_for = {"attempts": (), "repeats": ("pending", "running"), "renewals": ("running",)}
    counters = {
        (name, count)
        for name, count in state.counters
        if name.startswith("policy ")
        or status[name.split()[0]] in counts_for.get(name.split()[1], STATUS_NAMES.values())
    }
    return "active", state.status, state.data, frozenset(counters), state.events, state.free


def of_space(space: Space, number: int) -> Seen:
    """The same of a packed state."""
    steps = space.net.workflow.steps
    status = tuple((one.id, STATUS_NAMES[space.status(number, one.index)]) for one in steps)
    found = {
        name: field.get(space.states[number])
        for name, field in space.net.layout.fields.items()
        if field.get(space.states[number])
    }

    def of(kind: str) -> dict[str, int]:
        prefix = f"{kind} "
        return {
            name.removeprefix(prefix): value
            for name, value in found.items()
            if name.startswith(prefix)
        }

    mode = space.mode(number)
    if mode != "active":
        return mode, status, frozenset(of("compensated"))
    counters = {(f"policy {name}", count) for name, count in of("policy").items()}
    for kind in ("repeats", "redos", "renewals"):
        counters |= {(f"{name} {kind}", count) for name, count in of(kind).items()}
    data = tuple(sorted((path, index - 1) for path, index in of("data").items()))
    free = tuple((name, True) for name in sorted(of("free")))
    return "active", status, data, frozenset(counters), frozenset(of("event")), free


def without_people(space: Space) -> set[int]:
    """The numbers of the states that are reached without anybody's word on a held step."""
    found, waiting = {0}, [0]
    while waiting:
        for label, target in space.edges(waiting.pop()):
            is_word = ".released{" in space.label(label) or ".resolved{" in space.label(label)
            if not is_word and target not in found:
                found.add(target)
                waiting.append(target)
    return found


def covers_some_tools_only(workflow: CompiledWorkflow) -> bool:
    return any(
        len({workflow.policies[step.id, tool] for tool in step.tools}) > 1
        for step in workflow.steps
    )


def may_refuse_a_retry(workflow: CompiledWorkflow) -> bool:
    """Then the last attempt, after which the flat machine lets a step fail, may never be made."""
    return any(
        policy.kind in ("limit", "requires", "forbidden_after")
        and workflow.step(step).retry is not None
        for (step, _), policies in workflow.policies.items()
        for policy in policies
        if step
    )


def draft(seed: int) -> tuple[CompiledWorkflow, FlatMachine]:
    """A generated workflow that is small enough; checks may find fault with it, as with a deadlock.

    Steps that can wait for a value for ever, and rules that strand a run, are wanted here.
    """
    rng = random.Random(seed)
    while True:
        text = yaml.dump(_Draft(rng).workflow(), Dumper=_Dumper, sort_keys=False)
        workflow = compiled(text)
        flat = explore_flat(workflow.definition, limit=MOST_STATES)
        if flat.complete:
            return workflow, flat


def compare(workflow: CompiledWorkflow, flat: FlatMachine) -> str:
    """Assert that both reach the same states; tells how much was compared."""
    space = explore(workflow, max_states=100_000)
    assert space.complete
    expected = {of_flat(state) for state in flat.states}
    actual = {of_space(space, number) for number in without_people(space)}
    if covers_some_tools_only(workflow):
        # The flat machine never takes the tool that a policy covers, and so leaves counters alone.
        assert {one[:2] for one in expected} <= {one[:2] for one in actual}
        return "included"
    if may_refuse_a_retry(workflow):
        assert expected <= actual
        return "included"
    assert actual == expected
    return "equal"


@pytest.mark.parametrize("batch", range(WORKFLOWS // BATCH))
def test_both_reach_the_same_states_of_generated_workflows(batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        compare(*draft(seed))


@pytest.mark.parametrize(
    "name",
    ["customer_onboarding", "data_pipeline", "emergency_response", "financial_processing"],
)
def test_both_reach_the_same_states_of_the_templates(name: str) -> None:
    workflow = compiled((FOLDER / f"{name}.yaml").read_text())
    compare(workflow, explore_flat(workflow.definition))
