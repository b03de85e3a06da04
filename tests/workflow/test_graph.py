"""The needs graph: cycles, an order, and what is certain before a step."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.graph import (
    ancestors,
    certain_ends,
    certain_successes,
    descendants,
    find_cycle,
    needs_graph,
    topological_order,
)


def definition(**needs: object) -> WorkflowDefinition:
    """A workflow of tool steps; the value of each is its `needs`, or None."""
    steps = {
        name: {"tool": f"srv.{name}"} | ({} if one is None else {"needs": one})
        for name, one in needs.items()
    }
    return WorkflowDefinition.model_validate(
        {"mcpuppet": 1, "workflow": "w", "version": "1.0.0", "steps": steps}
    )


def test_edges_lead_from_the_needed_step_and_carry_its_outcomes() -> None:
    graph = needs_graph(definition(a=None, b="a", c={"a": ["success", "failure"], "b": "skipped"}))
    assert dict(graph.edges["a", "b"]) == {"outcomes": frozenset({"success"})}
    assert dict(graph.edges["a", "c"]) == {"outcomes": frozenset({"success", "failure"})}
    assert dict(graph.edges["b", "c"]) == {"outcomes": frozenset({"skipped"})}


def test_needs_that_name_no_step_are_left_out() -> None:
    assert list(needs_graph(definition(a="nothing")).edges) == []


def test_a_graph_without_cycle_has_none() -> None:
    assert find_cycle(needs_graph(definition(a=None, b="a", c=["a", "b"]))) is None


@pytest.mark.parametrize(
    ("needs", "cycle"),
    [
        ({"a": "a"}, ("a", "a")),
        ({"a": "c", "b": "a", "c": "b"}, ("a", "b", "c", "a")),
        ({"x": None, "b": ["x", "c"], "c": "b"}, ("b", "c", "b")),
    ],
)
def test_a_cycle_is_closed_and_starts_at_its_first_step(
    needs: dict[str, object], cycle: tuple[str, ...]
) -> None:
    assert find_cycle(needs_graph(definition(**needs))) == cycle


def test_a_ring_of_diamonds_with_exponentially_many_cycles_is_quick() -> None:
    needs: dict[str, object] = {}
    for n in range(200):
        needs |= {f"l{n}": f"t{n}", f"r{n}": f"t{n}", f"t{(n + 1) % 200}": [f"l{n}", f"r{n}"]}
    started = time.perf_counter()
    assert find_cycle(needs_graph(definition(**needs))) is not None
    assert time.perf_counter() - started < 2


def test_the_order_puts_needs_first_and_keeps_the_order_of_the_file() -> None:
    graph = needs_graph(definition(z="m", y=None, m="y", a=None))
    assert topological_order(graph) == ("y", "m", "z", "a")


def test_ancestors_and_descendants_are_transitive() -> None:
    graph = needs_graph(definition(a=None, b="a", c="b", d=None))
    assert ancestors(graph, "c") == {"a", "b"}
    assert descendants(graph, "a") == {"b", "c"}


def test_all_joins_unite_and_any_joins_intersect_what_is_certain() -> None:
    certain = certain_successes(
        definition(
            root=None,
            left="root",
            right="root",
            both=["left", "right"],
            either={"left": "success", "right": "success", "join": "any"},
        )
    )
    assert certain["both"] == {"root", "left", "right"}
    assert certain["either"] == {"root"}


def test_an_outcome_other_than_success_makes_an_end_certain_but_no_success() -> None:
    workflow = definition(a=None, b="a", c={"b": ["success", "failure"]}, d={"b": "failure"})
    assert certain_successes(workflow)["c"] == {"a"}
    assert certain_successes(workflow)["d"] == {"a"}
    assert certain_ends(workflow)["c"] == {"a", "b"}


def test_behind_a_step_that_may_be_skipped_nothing_is_certain() -> None:
    workflow = definition(a=None, b="a", c={"b": ["success", "skipped"]})
    assert certain_successes(workflow)["c"] == set()
    assert certain_ends(workflow)["c"] == {"b"}


def test_certain_successes_agree_with_walking_every_way_to_start() -> None:
    """Against the definition itself: what every minimal set of successes has in common."""
    for seed in range(30):
        rng = random.Random(seed)
        needs: dict[str, object] = {}
        for n in range(7):
            chosen = rng.sample(sorted(needs), min(n, rng.randint(0, 3)))
            join = rng.choice(["all", "any"])
            needs[f"s{n}"] = dict.fromkeys(chosen, "success") | {"join": join} if chosen else None
        certain = certain_successes(definition(**needs))
        for name in needs:
            assert certain[name] == frozenset.intersection(*_ways(needs, name))


def _ways(needs: dict[str, object], name: str) -> list[frozenset[str]]:
    """Every set of steps that succeeded, and no more, for the needs of `name` to hold."""
    one = needs[name]
    if one is None:
        return [frozenset()]
    assert isinstance(one, dict)
    names = [needed for needed in one if needed != "join"]
    each = [[way | {needed} for way in _ways(needs, needed)] for needed in names]
    if one["join"] == "any":
        return list(itertools.chain.from_iterable(each))
    return [frozenset().union(*ways) for ways in itertools.product(*each)]


def test_a_thousand_steps_are_quick() -> None:
    needs: dict[str, object] = {"s0": None}
    for n in range(1, 1_000):
        needs[f"s{n}"] = [f"s{m}" for m in range(max(0, n - 5), n)]
    workflow = definition(**needs)
    started = time.perf_counter()
    assert len(certain_successes(workflow)["s999"]) == 999
    assert time.perf_counter() - started < 3
