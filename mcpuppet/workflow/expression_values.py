"""One evaluation of a guard: its budget, how it fails, and the values that are not known.

Owns the errors of a guard without a value, `Unknown` and `PartlyKnown` with the rule that what is
not known is neither present nor absent, and the test for a result that JSON can hold. Knows neither
operators nor the syntax tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from mcpuppet.workflow.json_values import Kind, a_kind, kind_of

MAX_STEPS = 100_000
_SCALARS = frozenset({str, int, float, bool, type(None)})


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


class UnknownFactError(EvaluationError):
    """A guard asks for what is not known yet; `hint`, the caller's words, says what to do."""

    def __init__(self, hint: str, column: int) -> None:
        self.hint = hint
        super().__init__(hint, column)


@dataclass(frozen=True, slots=True)
class Unknown:
    """Stands where a value would be if it were known: to read it is an UnknownFactError."""

    hint: str


class PartlyKnown(dict[str, Any]):
    """A map of which some keys are known: what it does not hold is not absent but unknown."""

    __slots__ = ("hint_for",)

    def __init__(self, known: Mapping[str, Any], hint_for: Callable[[str], str]) -> None:
        super().__init__(known)
        self.hint_for = hint_for


class Frame:
    """One evaluation: the variables, what the macros bound by their depth, and the steps left."""

    __slots__ = ("bound", "left", "variables")

    def __init__(self, variables: Mapping[str, object]) -> None:
        self.variables = variables
        self.bound: dict[int, Any] = {}
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


def known(value: object, column: int) -> Any:
    """A value that was read. Raises UnknownFactError for one that stands for the unknown."""
    if isinstance(value, Unknown):
        raise UnknownFactError(value.hint, column)
    return value


MISSING: Final = object()


def looked_up(container: Mapping[str, object], key: str, column: int) -> Any:
    """The value of a key, or MISSING. Raises UnknownFactError if either is unknown."""
    value = container.get(key, MISSING)
    if value is MISSING and isinstance(container, PartlyKnown):
        raise UnknownFactError(container.hint_for(key), column)
    return known(value, column)


def kind_of_whole(value: object, column: int) -> Kind:
    """The kind of a value that is used whole, which takes knowing all of it."""
    if isinstance(value, PartlyKnown):
        raise EvaluationError("only a part of this map is known; read one of its keys", column)
    return kind_at(known(value, column), column)


def json_value(value: object, column: int) -> object:
    """The value itself, if JSON can hold it and all of it is known; else an EvaluationError."""
    waiting = [value]
    while waiting:
        part: Any = waiting.pop()
        if type(part) in _SCALARS:
            continue
        kind = kind_of_whole(part, column)
        if kind in ("timestamp", "duration"):
            raise EvaluationError(f"a {kind} can be compared and not be a result", column)
        if kind in ("list", "map"):
            waiting.extend(part.values() if kind == "map" else part)
    return value


def not_bool(value: object, column: int) -> EvaluationError:
    """The error of a value that stands where only true and false may stand."""
    return EvaluationError(f"{a_kind(value)} is neither true nor false", column)
