"""Defaults, counting, given values, and facts that are not known: `get`, `count`, `given`."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mcpuppet.workflow.expression import (
    Call,
    EvaluationError,
    ExpressionError,
    Identifier,
    Literal,
    Macro,
    PartlyKnown,
    Unknown,
    UnknownFactError,
    parse_expression,
    values_read,
)

READ_FIRST = "call bank.get_scheduled first"


def read_reservation(key: str) -> str:
    return f"call air.get_reservation(id={key}) first"


VALUES: dict[str, Any] = {
    "xs": [1, 2, 3, 4],
    "mixed": [1, "a"],
    "maps": [{"a": 1}, {"b": 2}],
    "m": {"a": {"b": 1}, "none": None, "s": "x", "list": [{"a": 1}]},
    "args": {"id": "R1", "other": "R2", "key": "a"},
    "facts": {
        "payees": Unknown(READ_FIRST),
        "known": ["ann"],
        "reservation": PartlyKnown(
            {"R1": {"cabin": "economy", "price": Unknown("look at the price")}}, read_reservation
        ),
    },
}


def value_of(source: str, **more: object) -> object:
    return parse_expression(source).evaluate({**VALUES, **more})


def failure_of(source: str, **more: object) -> EvaluationError:
    with pytest.raises(EvaluationError) as caught:
        value_of(source, **more)
    return caught.value


# get


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("get(m.a.b, 9)", 1),
        ("get(m.a.c, 9)", 9),
        ("get(m.x.y.z, 9)", 9),
        ("get(m['x'].y, 9)", 9),
        ("get(m[args.key].b, 9)", 1),
        ("get(m[args.id].b, 9)", 9),
        ("get(m.list[0].a, 9)", 1),
        ("get(m.list[0].z, 9)", 9),
        ("get(m.none, 9)", None),
        ("get(m.x, get(m.y, 8))", 8),
        ("get(m.a.b, nowhere)", 1),
        ("maps.all(v, get(v.a, 1) == 1)", True),
        ("get(m.x, [1]) == [1]", True),
    ],
)
def test_get_replaces_a_missing_field_on_the_way(source: str, expected: object) -> None:
    assert value_of(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "get(nowhere.a, 9)",
        "get(m.none.x, 9)",
        "get(m.s.x, 9)",
        "get(m.list[7].a, 9)",
        "get(m.list['a'], 9)",
        "get(m.x[args.missing], 9)",
        "get(m[args.missing], 9)",
        "get(m[1], 9)",
        "get(m.x, m.y)",
    ],
)
def test_get_hides_no_other_error(source: str) -> None:
    failure_of(source)


# count


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("count(x, xs, x > 2)", 2),
        ("count(x, xs, x > 9)", 0),
        ("count(x, [], nowhere)", 0),
        ("count(x, xs, count(y, xs, y < x) > 0)", 3),
        ("count(x, maps, has(x.a)) == 1", True),
        ("count(xs, xs, xs == 1)", 1),
    ],
)
def test_count_is_how_many_items_satisfy_the_condition(source: str, expected: object) -> None:
    assert value_of(source) == expected


@pytest.mark.parametrize(
    "source",
    ["count(x, mixed, x > 0)", "count(x, maps, x.a == 1)", "count(x, xs, x)", "count(x, m, true)"],
)
def test_an_error_about_any_item_is_an_error_of_the_count(source: str) -> None:
    failure_of(source)


def test_counting_keeps_to_the_budget() -> None:
    started = time.process_time()
    error = failure_of("count(a, many, count(b, many, a == b) > 0) > 0", many=list(range(1_000)))
    assert "100,000 steps" in error.message
    assert time.process_time() - started < 2


# given


def test_given_asks_the_function_among_the_variables() -> None:
    asked: list[object] = []

    def is_given(value: object) -> bool:
        asked.append(value)
        return value == "R1"

    assert value_of("given(args.id)", given=is_given) is True
    assert value_of("given(args.other) || given([1])", given=is_given) is False
    assert asked == ["R1", "R2", [1]]


@pytest.mark.parametrize(
    ("source", "variables"),
    [
        ("given(args.id)", {}),
        ("given(args.id)", {"given": True}),
        ("given(args.id)", {"given": lambda _value: 1}),
        ("given(args.missing)", {"given": lambda _value: True}),
        ("given(facts.payees)", {"given": lambda _value: True}),
        ("given(facts.reservation)", {"given": lambda _value: True}),
        ('given(date("2026-01-01"))', {"given": lambda _value: True}),
        ("given", {"given": lambda _value: True}),
        ("given == given", {"given": lambda _value: True}),
    ],
)
def test_given_without_an_answer_has_no_value(source: str, variables: dict[str, object]) -> None:
    failure_of(source, **variables)


# Unknown values


@pytest.mark.parametrize(
    "source",
    [
        "facts.payees",
        "facts.payees == 1",
        "facts.payees != null",
        "'ann' in facts.payees",
        "facts.payees in [1]",
        "has(facts.payees)",
        "has(facts.payees.x)",
        "get(facts.payees, 1)",
        "get(facts.payees.x, 1)",
        "facts['payees']",
        "facts['pay' + 'ees']",
        "size(facts.payees) > 0",
        "facts.payees.all(x, true)",
        "count(x, facts.payees, true)",
        "facts.payees ? 1 : 2",
        "!facts.payees",
        "facts.payees.x == 1",
        "facts.payees && true",
        "false || facts.payees",
        "[facts.payees]",
        "facts",
        "facts == facts",
        "[1].exists(x, facts.payees == x)",
        "maybe.exists(x, x == 1)",
        "maybe[0] == 1",
        "1 in maybe",
        "alone",
    ],
)
def test_to_read_the_unknown_says_what_to_do(source: str) -> None:
    unknown = Unknown(READ_FIRST)
    variables = {"maybe": [unknown], "alone": unknown, "facts": {"payees": unknown}}
    error = failure_of(source, **variables)
    assert isinstance(error, UnknownFactError)
    assert error.hint == error.message == READ_FIRST
    assert str(error) == f"column {error.column}: {READ_FIRST}"


@pytest.mark.parametrize(
    "source",
    [
        "facts.reservation['R2'].cabin == 'economy'",
        "facts.reservation[args.other].cabin == 'economy'",
        "facts.reservation.R2.cabin == 'economy'",
        "has(facts.reservation.R2)",
        "has(facts.reservation.R2.cabin)",
        "get(facts.reservation.R2, 1)",
        "get(facts.reservation[args.other].cabin, 1)",
        "args.other in facts.reservation",
        "!(args.other in facts.reservation)",
    ],
)
def test_a_key_that_is_not_known_is_not_absent(source: str) -> None:
    error = failure_of(source)
    assert isinstance(error, UnknownFactError)
    assert error.hint == "call air.get_reservation(id=R2) first"


@pytest.mark.parametrize(
    "source",
    [
        "facts.reservation",
        "[facts.reservation]",
        "facts.reservation == facts.reservation",
        "facts.reservation == m",
        "m in [facts.reservation]",
        "size(facts.reservation)",
    ],
)
def test_a_map_that_is_known_in_part_is_not_used_whole(source: str) -> None:
    assert "only a part of this map is known" in failure_of(source).message


def test_what_is_known_is_read_as_ever() -> None:
    assert value_of("facts.reservation[args.id].cabin == 'economy'") is True
    assert value_of("args.id in facts.reservation") is True
    assert value_of("has(facts.reservation.R1.cabin) && !has(facts.reservation.R1.x)") is True
    assert value_of("get(facts.reservation.R1.x, 7)") == 7
    assert value_of("'ann' in facts.known") is True
    assert failure_of("facts.reservation[args.id].price > 1").message == "look at the price"


def test_an_operand_that_decides_absorbs_the_unknown_as_any_error() -> None:
    assert value_of("'ann' in facts.payees || 'ann' in facts.known") is True
    assert value_of("false && facts.payees == 1") is False
    assert value_of("[1, 2].exists(x, x == 1 ? facts.payees == 1 : true)") is True
    assert isinstance(failure_of("'bob' in facts.payees || 'bob' in facts.known"), UnknownFactError)


def test_only_the_values_that_are_known_are_shown() -> None:
    source = "args.id in facts.payees || facts.known == facts.reservation[args.id] || given(xs)"
    assert values_read(parse_expression(source), {**VALUES, "given": print}) == {
        "args.id": "R1",
        "facts.known": ["ann"],
        "xs": [1, 2, 3, 4],
    }


# Syntax


@pytest.mark.parametrize(
    ("source", "references"),
    [
        ("get(steps.x.result.a, inputs.d)", {("steps", "x", "result", "a"), ("inputs", "d")}),
        ("get(facts.r[args.id].at, 1)", {("facts", "r"), ("args", "id")}),
        ("count(x, inputs.xs, x.a == args.n)", {("inputs", "xs"), ("args", "n")}),
        ("count(x, x.list, x.a)", {("x", "list")}),
        ("args.a in facts.payees || given(args.a)", {("args", "a"), ("facts", "payees")}),
        (
            'timestamp(facts.r[args.id].at) < now - duration("1h")',
            {("facts", "r"), ("args", "id"), ("now",)},
        ),
    ],
)
def test_references_see_into_the_functions(source: str, references: set[object]) -> None:
    assert parse_expression(source).references == references


def test_the_functions_are_calls_and_count_is_a_macro() -> None:
    assert parse_expression("given(a)").ast == Call("given", (Identifier("a", 7),), 1)
    assert parse_expression("count(x, a, true)").ast == Macro(
        "count", Identifier("a", 10), "x", Literal(True, 13), 1
    )


@pytest.mark.parametrize(
    ("source", "column"),
    [
        ("get(a, 1)", 5),
        ("get(1, 1)", 5),
        ("get(a.b)", 1),
        ("get(size(a), 1)", 5),
        ("count(1, xs, true)", 7),
        ("count(xs, true)", 1),
        ("xs.count(x, true)", 4),
        ("m.get(a.b, 1)", 3),
        ("given()", 1),
        ("x.given(1)", 3),
    ],
)
def test_a_function_that_is_not_called_as_it_must_be_is_refused(source: str, column: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(source)
    assert caught.value.column == column


@pytest.mark.parametrize(
    "source",
    [
        "a" * 1_000_000,
        '"' + "a" * 1_000_000 + '"',
        "(" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        " && ".join(["a"] * 10_000),
        " && ".join(["a"] * 500),
        "count(x, " * 400,
        "get(a." * 600,
        "get(a.b, " * 100 + "1" + ")" * 100,
        "-" * 4_000 + "1",
        "9" * 4_096,
    ],
)
def test_a_text_out_of_all_proportion_is_refused_at_once_with_a_column(source: str) -> None:
    started = time.process_time()
    with pytest.raises(ExpressionError) as caught:
        parse_expression(source)
    assert caught.value.column >= 1
    assert time.process_time() - started < 0.5


def test_long_texts_that_are_compared_in_a_loop_run_out_of_budget() -> None:
    one, other = "a" * 1_000_000, "a" * 999_999 + "b"
    started = time.process_time()
    failure_of("many.exists(x, one == other)", many=list(range(20_000)), one=one, other=other)
    failure_of("many.exists(x, one > other)", many=list(range(20_000)), one=one, other=other)
    assert time.process_time() - started < 2
