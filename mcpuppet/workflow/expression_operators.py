"""The operators and functions of the guard language, as closures over their operands.

Owns what CEL's operators mean for JSON values, moments and lengths of time (langdef.md, "Runtime
errors", "Equality", "Overflow"). Knows no syntax tree: `expression_evaluation` joins these along
one. Every test for a number goes through `kind_of`, for which true is no number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from mcpuppet.workflow.expression_ast import INT_MAX, INT_MIN, BinaryOperator, FunctionName
from mcpuppet.workflow.expression_times import (
    TIME_READERS,
    between,
    earlier,
    in_utc,
    later,
    within_limit,
)
from mcpuppet.workflow.expression_values import (
    MISSING,
    EvaluationError,
    Evaluator,
    Frame,
    PartlyKnown,
    json_value,
    kind_at,
    kind_of_whole,
    looked_up,
    not_bool,
)
from mcpuppet.workflow.json_values import Kind, a_kind, json_equal
from mcpuppet.workflow.patterns import Pattern

# Text is searched and copied much faster than nodes are evaluated: so many characters are a step.
_CHARACTERS_PER_STEP = 128

# Comparison and arithmetic

_ORDER: dict[BinaryOperator, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBERS = frozenset({int, float})
_ORDERED_KINDS = frozenset(
    {
        ("duration", "duration"),
        ("string", "string"),
        ("int", "int"),
        ("int", "double"),
        ("double", "int"),
        ("double", "double"),
    }
)


def equality(left: Evaluator, right: Evaluator, negated: bool, column: int) -> Evaluator:
    """`==`, or `!=` if `negated`: values of different kinds are unequal, which is no error."""

    def compare(frame: Frame) -> bool:
        one, other = left(frame), right(frame)
        if type(one) is str and type(other) is str:
            if len(one) > _CHARACTERS_PER_STEP:
                frame.spend(len(one) // _CHARACTERS_PER_STEP)
            return (one == other) is not negated
        return _equal(one, other, frame, column) is not negated

    return compare


def _equal(one: object, other: object, frame: Frame, column: int) -> bool:
    return json_equal(one, other, frame.spend, lambda value: kind_of_whole(value, column))


def ordering(symbol: BinaryOperator, left: Evaluator, right: Evaluator, column: int) -> Evaluator:
    """`<`, `<=`, `>` or `>=`: numbers with numbers; text (by code point) and times with alike."""
    holds = _ORDER[symbol]

    def compare(frame: Frame) -> bool:
        one: Any = left(frame)
        other: Any = right(frame)
        if type(one) in _NUMBERS and type(other) in _NUMBERS:
            return holds(one, other)
        kinds = kind_at(one, column), kind_at(other, column)
        if kinds in _ORDERED_KINDS:
            if kinds == ("string", "string"):
                frame.spend(len(one) // _CHARACTERS_PER_STEP)
            return holds(one, other)
        if isinstance(one, datetime) and isinstance(other, datetime):
            return holds(in_utc(one), in_utc(other))
        raise EvaluationError(f"{a_kind(one)} and {a_kind(other)} have no order", column)

    return compare


def membership(left: Evaluator, right: Evaluator, column: int) -> Evaluator:
    """`in`: equal to an item of a list, or a key of a map."""

    def test(frame: Frame) -> bool:
        wanted, container = left(frame), right(frame)
        if isinstance(container, Mapping):
            if isinstance(wanted, str):
                return looked_up(container, wanted, column) is not MISSING
            raise EvaluationError(f"{a_kind(wanted)} is never a key of a map", column)
        if not isinstance(container, list | tuple):
            raise EvaluationError(f"{a_kind(container)} has no items", column)
        frame.spend(len(container))
        return any(_equal(wanted, item, frame, column) for item in container)

    return test


def _within_64_bits(compute: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def checked(one: int, other: int) -> int:
        if INT_MIN <= one <= INT_MAX and INT_MIN <= other <= INT_MAX:
            result = compute(one, other)
            if INT_MIN <= result <= INT_MAX:
                return result
        raise OverflowError

    return checked


def _quotient(one: int, other: int) -> int:
    """Towards zero, where Python rounds down."""
    quotient = abs(one) // abs(other)
    return quotient if (one < 0) == (other < 0) else -quotient


def _remainder(one: int, other: int) -> int:
    """With the sign of the dividend; CEL refuses it where the quotient would overflow."""
    if (one, other) == (INT_MIN, -1):
        raise OverflowError
    remainder = abs(one) % abs(other)
    return -remainder if one < 0 else remainder


_Operation: TypeAlias = Callable[[Any, Any], object]

_ARITHMETIC: dict[BinaryOperator, dict[tuple[Kind, Kind], _Operation]] = {
    "+": {
        ("int", "int"): _within_64_bits(operator.add),
        ("double", "double"): operator.add,
        ("string", "string"): operator.add,
        ("list", "list"): lambda one, other: [*one, *other],
        ("timestamp", "duration"): later,
        ("duration", "timestamp"): lambda one, other: later(other, one),
        ("duration", "duration"): lambda one, other: within_limit(one + other),
    },
    "-": {
        ("int", "int"): _within_64_bits(operator.sub),
        ("double", "double"): operator.sub,
        ("timestamp", "timestamp"): between,
        ("timestamp", "duration"): earlier,
        ("duration", "duration"): lambda one, other: within_limit(one - other),
    },
    "*": {
        ("int", "int"): _within_64_bits(operator.mul),
        ("double", "double"): operator.mul,
    },
    # Python refuses to divide a double by zero and CEL has infinity: a guard is better off without.
    "/": {
        ("int", "int"): _within_64_bits(_quotient),
        ("double", "double"): operator.truediv,
    },
    "%": {("int", "int"): _within_64_bits(_remainder)},
}


def arithmetic(symbol: BinaryOperator, left: Evaluator, right: Evaluator, column: int) -> Evaluator:
    """`+ - * / %`: both sides of one kind, or times; whole numbers keep to 64 bits."""
    operations = _ARITHMETIC[symbol]

    def compute(frame: Frame) -> object:
        one: Any = left(frame)
        other: Any = right(frame)
        kind = kind_at(one, column)
        operation = operations.get((kind, kind_at(other, column)))
        if operation is None:
            sentence = f"{a_kind(one)} {symbol} {a_kind(other)} has no meaning"
            raise EvaluationError(sentence, column)
        if kind in {"string", "list"}:
            frame.spend((len(one) + len(other)) // _CHARACTERS_PER_STEP)
        return _computed(operation, one, other, column)

    return compute


def _computed(compute: _Operation, one: Any, other: Any, column: int) -> object:
    try:
        return compute(one, other)
    except OverflowError:
        raise EvaluationError(_overflow(one, other), column) from None
    except ZeroDivisionError:
        raise EvaluationError("division by zero", column) from None


def _overflow(one: object, other: object) -> str:
    if isinstance(one, datetime | timedelta) and isinstance(other, datetime | timedelta):
        return "the result is outside the years 0001 to 9999, or longer than 292 years"
    return "a whole number does not fit into 64 bits"


def minus(operand: Evaluator, column: int) -> Evaluator:
    """The sign in front of a number."""
    subtract = _within_64_bits(operator.sub)

    def negate(frame: Frame) -> object:
        value: Any = operand(frame)
        kind = kind_at(value, column)
        if kind == "double":
            return -value
        if kind == "int":
            return _computed(subtract, 0, value, column)
        raise EvaluationError(f"minus {a_kind(value)} has no meaning", column)

    return negate


# Functions

_TEXT_TESTS: dict[FunctionName, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
}


def _text(value: object, frame: Frame, column: int) -> str:
    if isinstance(value, str):
        frame.spend(len(value) // _CHARACTERS_PER_STEP)
        return value
    raise EvaluationError(f"expected a string here, not {a_kind(value)}", column)


def size(operand: Evaluator, column: int) -> Evaluator:
    """The code points of a text, the items of a list, the keys of a map."""

    def measure(frame: Frame) -> int:
        value: Any = operand(frame)
        kind = kind_at(value, column)
        if isinstance(value, PartlyKnown):
            raise EvaluationError("only a part of this map is known: it has no size", column)
        if kind in ("string", "list", "map"):
            return len(value)
        raise EvaluationError(f"{a_kind(value)} has no size", column)

    return measure


def text_test(
    function: FunctionName, subject: Evaluator, argument: Evaluator, column: int
) -> Evaluator:
    """`startsWith`, `endsWith` or `contains`."""
    holds = _TEXT_TESTS[function]

    def test(frame: Frame) -> bool:
        one, other = subject(frame), argument(frame)
        return holds(_text(one, frame, column), _text(other, frame, column))

    return test


def time_reading(function: FunctionName, operand: Evaluator, column: int) -> Evaluator:
    """`timestamp`, `duration` or `date` of a text."""
    read = TIME_READERS[function]

    def convert(frame: Frame) -> object:
        text = _text(operand(frame), frame, column)
        try:
            return read(text)
        except ValueError as error:
            raise EvaluationError(f"the text of {function}() {error}", column) from None

    return convert


def given(operand: Evaluator, column: int) -> Evaluator:
    """`given(x)`: the answer of the function that the caller put among the variables."""

    def ask(frame: Frame) -> bool:
        value = json_value(operand(frame), column)
        asked = frame.variables.get("given")
        if not callable(asked):
            raise EvaluationError("given() has no given values to compare with here", column)
        answer = asked(value)
        if answer is True or answer is False:
            return answer
        raise not_bool(answer, column)

    return ask


def matches(subject: Evaluator, pattern: Pattern, column: int) -> Evaluator:
    """Whether the pattern is found anywhere in a text, as in CEL."""

    def test(frame: Frame) -> bool:
        try:
            return pattern.found_in(_text(subject(frame), frame, column))
        except UnicodeEncodeError:
            raise EvaluationError("the text is not valid Unicode", column) from None

    return test
