"""Guard classes: which values stand for all others, and which guards are opaque."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from mcpuppet.workflow.classes import MISSING, assignments, guard_classes, guards_of, variables
from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.expression import EvaluationError


def workflow(
    when: str, returns: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None, **b: Any
) -> WorkflowDefinition:
    """Step `a`, and step `b` that needs it and has the guard."""
    first = {"tool": "srv.a"} | ({} if returns is None else {"returns": returns})
    second = {"tool": "srv.b", "needs": "a", "when": when} | b
    return WorkflowDefinition.model_validate(
        {
            "mcpuppet": 1,
            "workflow": "w",
            "version": "1.0.0",
            "inputs": inputs or {},
            "steps": {"a": first, "b": second},
        }
    )


def values(when: str, schema: Any) -> tuple[Any, ...]:
    """The classes of `inputs.x` with this schema; `X` in the guard stands for it."""
    definition = workflow(when.replace("X", "inputs.x"), inputs={"x": schema})
    return guard_classes(definition).values["inputs.x"]


NUMBER, INTEGER = {"type": "number"}, {"type": "integer"}


@pytest.mark.parametrize(
    ("when", "schema", "expected"),
    [
        ("X >= 0.8", {"type": "number", "minimum": 0, "maximum": 1}, (0, 0.8, 1)),
        ("X >= 0.8", NUMBER, (-0.19999999999999996, 0.8, 1.8)),
        ("X > 0", {"type": "integer", "minimum": 0}, (0, 1)),
        ("X > 0", {"type": "integer", "exclusiveMinimum": 0}, (1,)),
        ("X > 1", {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, (0.5,)),
        ("X < 3 || X > 5", INTEGER, (2, 3, 4, 5, 6)),
        ("X < 3 || X > 4", INTEGER, (2, 3, 4, 5)),
        ("X < 2.5", INTEGER, (2, 3)),
        ("X == 3", {"type": "integer", "minimum": 3, "maximum": 3}, (3,)),
        ("3 < X && X <= 7", {"type": "integer", "minimum": 5, "maximum": 6}, (5,)),
        ("X != 1 && X in [2, 4]", INTEGER, (0, 1, 2, 3, 4, 5)),
        ("X", {"type": "boolean"}, (True, False)),
        ("X == true", {"type": "boolean"}, (True, False)),
        ('X == "a"', {"type": "string"}, ("a", "other")),
        ('X == "other"', {"type": "string"}, ("other", "")),
        ('X == "other"', {"type": "string", "minLength": 2}, ("other", "aa")),
        ('X in ["a", "b"]', {"type": "string", "minLength": 6}, ("a", "b", "aaaaaa")),
        ('X == "b"', {"enum": ["a", "b", "c", "d"]}, ("a", "b")),
        ("X > 10", {"enum": [1, 5, 20, 30]}, (1, 20)),
        ("X == 5", {"const": 7}, (7,)),
        ("X == null", {"type": ["string", "null"]}, ("other", None)),
        ('X == "a"', True, ("a", "other")),
        ("X == null", True, (None, "other")),
        ("X.y > 1", {"type": "object"}, None),
    ],
)
def test_representatives(when: str, schema: Any, expected: tuple[Any, ...] | None) -> None:
    if expected is None:
        definition = workflow(when.replace("X", "inputs.x"), inputs={"x": schema})
        assert guard_classes(definition).values["inputs.x.y"] == (0, 1, 2, MISSING)
    else:
        assert values(when, schema) == expected


def test_constants_of_all_guards_come_together() -> None:
    definition = workflow(
        "steps.a.result.n > 1", {"n": INTEGER}, success="steps.a.result.n > 5 && result.ok"
    )
    classes = guard_classes(definition)
    assert classes.values["steps.a.result.n"] == (0, 1, 2, 5, 6)
    assert classes.reads["b", "when"] == ("steps.a.result.n",)
    assert classes.reads["b", "success"] == ("steps.a.result.n", "steps.b.result.ok")


def test_a_field_that_no_returns_declares_may_be_missing() -> None:
    classes = guard_classes(workflow("steps.a.result.n > 1", {"m": INTEGER}))
    assert classes.values == {"steps.a.result.n": (0, 1, 2, MISSING)}


def test_a_nested_field_is_certain_only_when_required() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    classes = guard_classes(workflow("steps.a.result.o.n > 1", {"o": schema}))
    assert classes.values["steps.a.result.o.n"] == (1, 2, MISSING)
    classes = guard_classes(workflow("steps.a.result.o.n > 1", {"o": schema | {"required": ["n"]}}))
    assert classes.values["steps.a.result.o.n"] == (1, 2)


def test_presence_and_outcome_are_decidable() -> None:
    classes = guard_classes(
        workflow('has(steps.a.result) && has(steps.a.result.n) || steps.a.outcome == "failure"')
    )
    assert classes.opaque == set()
    assert classes.values == {
        "steps.a.result": ({}, MISSING),
        "steps.a.result.n": ("other", MISSING),
        "steps.a.outcome": ("success", "failure", "skipped", MISSING),
    }


@pytest.mark.parametrize(
    "when",
    [
        "inputs.x + 1 > 2",
        "inputs.x == inputs.y",
        "size(inputs.x) > 1",
        'inputs.x.startsWith("a")',
        'inputs.x < "a"',
        "inputs.x[0] == 1",
        "inputs.x in inputs.y",
        "inputs.x.all(i, i > 1)",
        'inputs.x.y > 1 && inputs.x == "a"',
        'inputs["a b"] == 1',
        "nothing.x == 1",
        "steps.nobody.result.x == 1",
        "has(inputs.x.y.z)",
    ],
)
def test_guards_outside_the_fragment_are_opaque(when: str) -> None:
    classes = guard_classes(workflow(when, inputs={"x": True, "y": True}))
    assert classes.opaque == {("b", "when")}
    assert classes.values == {}
    assert classes.reads == {}


@pytest.mark.parametrize("when", ["true", "!false", "inputs.x ? inputs.y > 1 : 2 < inputs.y"])
def test_logic_over_atoms_is_decidable(when: str) -> None:
    classes = guard_classes(workflow(when, inputs={"x": {"type": "boolean"}, "y": INTEGER}))
    assert classes.opaque == set()


def test_variables_are_nested_and_missing_ones_left_out() -> None:
    assert variables(
        {
            "inputs.x": 1,
            "steps.a.result.o.n": 2,
            "steps.a.result.m": MISSING,
            "steps.b.result.k": 3,
        },
        "b",
    ) == {
        "inputs": {"x": 1},
        "steps": {"a": {"result": {"o": {"n": 2}}}, "b": {"result": {"k": 3}}},
        "result": {"k": 3},
    }
    absent = variables(
        {"steps.a.result": MISSING, "steps.a.result.n": 1, "steps.a.outcome": "failure"}
    )
    assert absent["steps"] == {"a": {"outcome": "failure"}}


def test_no_value_behaves_unlike_every_representative() -> None:
    """Random guards over one number: each value has a representative all guards agree on."""
    rng = random.Random(7)
    for _ in range(200):
        low = rng.choice([None, rng.randint(-3, 3)])
        schema: dict[str, Any] = {"type": rng.choice(["integer", "number"])}
        if low is not None:
            schema[rng.choice(["minimum", "exclusiveMinimum"])] = low
        constants = [rng.choice([rng.randint(-4, 4), rng.randint(-8, 8) / 2]) for _ in range(3)]
        guard = " && ".join(
            f"inputs.x {rng.choice(['<', '<=', '==', '!=', '>', '>='])} {constant}"
            for constant in constants
        )
        definition = workflow(guard, inputs={"x": schema})
        when = dict(guards_of(definition))["b", "when"]
        outcomes = {
            when.evaluate_bool(variables(one))
            for one in assignments(guard_classes(definition), ["inputs.x"])
        }
        step = 1 if schema["type"] == "integer" else 0.25
        tried = (number * step for number in range(-60, 61))
        fitting = [
            x
            for x in tried
            if x >= schema.get("minimum", x) and x > schema.get("exclusiveMinimum", x - 1)
        ]
        assert {when.evaluate_bool(variables({"inputs.x": x})) for x in fitting} == outcomes, guard


def test_every_combination_of_classes_is_given() -> None:
    definition = workflow(
        "inputs.x && inputs.y == 1", inputs={"x": {"type": "boolean"}, "y": INTEGER}
    )
    classes = guard_classes(definition)
    found = [
        (one["inputs.x"], one["inputs.y"]) for one in assignments(classes, ("inputs.x", "inputs.y"))
    ]
    assert found == list(itertools.product((True, False), (0, 1, 2)))


def test_a_missing_value_makes_a_guard_an_error() -> None:
    definition = workflow("steps.a.result.n > 1")
    when = dict(guards_of(definition))["b", "when"]
    with pytest.raises(EvaluationError):
        when.evaluate_bool(variables({"steps.a.result.n": MISSING}))
