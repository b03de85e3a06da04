"""The operators and functions of the guard language, as closures over their operands.

Owns what CEL's operators mean for JSON values (langdef.md, "Runtime errors", "Equality",
"Overflow"), the error of a guard without a value, and the budget of an evaluation. Knows no syntax
tree: `expression_evaluation` joins these along one. Every test for a number goes through `kind_of`,
for which true is no number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from mcpuppet.workflow.expression_ast import INT_MAX, INT_MIN, BinaryOperator, FunctionName
from mcpuppet.workflow.json_values import Kind, a_kind, json_equal, kind_of
from mcpuppet.workflow.patterns import Pattern

MAX_STEPS = 100_000
# Text is searched and copied much faster than nodes are evaluated: so many characters are a step.
_CHARACTERS_PER_STEP = 128


class EvaluationError(Exception):
    """A guard has no value for these variables; the message names no value and is safe to show.

    Not an MCPuppetError: nobody's request fails by it. The session catches it where it evaluates
    guards, and holds the step; `column` (from 1, in characters) says which part had no value.
    """

    def __init__(self, message: str, column: int) -> None:
        self.message = message
        self.column = column
        super().__init__(f"column {column}: {message}")


class OutOfStepsError(EvaluationError):
    """The budget is spent: no operand absorbs this error, or the work would go on."""


class Frame:
    """One evaluation: the variables, what the macros bound by their depth, and the steps left."""

    __slots__ = ("bound", "left", "variables")

    def __init__(self, variables: Mapping[str, object]) -> None:
        self.variables = variables
        self.bound: dict[int, object] = {}
        self.left = MAX_STEPS

    def spend(self, steps: int) -> None:
        """Take steps from the budget. Raises OutOfStepsError when it is overdrawn."""
        self.left -= steps
        if self.left < 0:
            raise OutOfStepsError(f"the evaluation takes more than {MAX_STEPS:,} steps", 1)


Evaluator: TypeAlias = Callable[[Frame], object]


def kind_at(value: object, column: int) -> Kind:
    """The kind of a value; one that JSON cannot hold is an EvaluationError."""
    try:
        return kind_of(value)
    except TypeError as error:
        raise EvaluationError(str(error), column) from None


def not_bool(value: object, column: int) -> EvaluationError:
    """The error of a value that stands where only true and false may stand."""
    return EvaluationError(f"{a_kind(value)} is neither true nor false", column)


# Comparison and arithmetic

_ORDER: dict[BinaryOperator, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ORDERED = frozenset({(str, str), (int, int), (int, float), (float, int), (float, float)})
_ORDERED_KINDS = frozenset(
    {
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
            return (one == other) is not negated
        return _equal(one, other, frame, column) is not negated

    return compare


def _equal(one: object, other: object, frame: Frame, column: int) -> bool:
    try:
        return json_equal(one, other, frame.spend)
    except TypeError as error:
        raise EvaluationError(str(error), column) from None


def ordering(symbol: BinaryOperator, left: Evaluator, right: Evaluator, column: int) -> Evaluator:
    """`<`, `<=`, `>` or `>=`: numbers with numbers, text with text (by code point)."""
    holds = _ORDER[symbol]

    def compare(frame: Frame) -> bool:
        one, other = left(frame), right(frame)
        if (type(one), type(other)) in _ORDERED:
            return holds(one, other)
        kinds = kind_at(one, column), kind_at(other, column)
        if kinds in _ORDERED_KINDS:
            return holds(one, other)
        raise EvaluationError(f"{a_kind(one)} and {a_kind(other)} have no order", column)

    return compare


def membership(left: Evaluator, right: Evaluator, column: int) -> Evaluator:
    """`in`: equal to an item of a list, or a key of a map."""

    def test(frame: Frame) -> bool:
        wanted, container = left(frame), right(frame)
        if isinstance(container, Mapping):
            if isinstance(wanted, str):
                return wanted in container
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


_ARITHMETIC: dict[BinaryOperator, dict[Kind, Callable[[Any, Any], object]]] = {
    "+": {
        "int": _within_64_bits(operator.add),
        "double": operator.add,
        "string": operator.add,
        "list": lambda one, other: [*one, *other],
    },
    "-": {"int": _within_64_bits(operator.sub), "double": operator.sub},
    "*": {"int": _within_64_bits(operator.mul), "double": operator.mul},
    # Python refuses to divide a double by zero and CEL has infinity: a guard is better off without.
    "/": {"int": _within_64_bits(_quotient), "double": operator.truediv},
    "%": {"int": _within_64_bits(_remainder)},
}


def arithmetic(symbol: BinaryOperator, left: Evaluator, right: Evaluator, column: int) -> Evaluator:
    """`+ - * / %`: both sides of one kind; whole numbers keep to 64 bits."""
    operations = _ARITHMETIC[symbol]

    def compute(frame: Frame) -> object:
        one: Any = left(frame)
        other: Any = right(frame)
        kind, other_kind = kind_at(one, column), kind_at(other, column)
        if kind != other_kind or kind not in operations:
            sentence = f"{a_kind(one)} {symbol} {a_kind(other)} has no meaning"
            raise EvaluationError(sentence, column)
        if kind in {"string", "list"}:
            frame.spend((len(one) + len(other)) // _CHARACTERS_PER_STEP)
        return _computed(operations[kind], one, other, column)

    return compute


def _computed(compute: Callable[[Any, Any], object], one: Any, other: Any, column: int) -> object:
    try:
        return compute(one, other)
    except OverflowError:
        raise EvaluationError("a whole number does not fit into 64 bits", column) from None
    except ZeroDivisionError:
        raise EvaluationError("division by zero", column) from None


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


def matches(subject: Evaluator, pattern: Pattern, column: int) -> Evaluator:
    """Whether the pattern is found anywhere in a text, as in CEL."""

    def test(frame: Frame) -> bool:
        try:
            return pattern.found_in(_text(subject(frame), frame, column))
        except UnicodeEncodeError:
            raise EvaluationError("the text is not valid Unicode", column) from None

    return test
