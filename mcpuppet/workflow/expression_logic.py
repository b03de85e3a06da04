"""What decides and what repeats: `!`, `&&`, `||`, `?:`, `all`, `exists` and `count`, as closures.

Owns the rule that is easy to get wrong: an operand that decides `&&` or `||` alone absorbs the
error of the other, whichever comes first; `all` and `exists` do the same over the items of a list.
What is unknown is an error like any other here; only a spent budget is never absorbed.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcpuppet.workflow.expression_ast import Binary, Conditional, Macro, count_nodes
from mcpuppet.workflow.expression_values import (
    EvaluationError,
    Evaluator,
    Frame,
    OutOfStepsError,
    not_bool,
)
from mcpuppet.workflow.json_values import a_kind


def negation(operand: Evaluator, column: int) -> Evaluator:
    """`!`."""

    def negate(frame: Frame) -> bool:
        value = operand(frame)
        if value is True:
            return False
        if value is False:
            return True
        raise not_bool(value, column)

    return negate


def logical(node: Binary, first: Evaluator, second: Evaluator) -> Evaluator:
    """`&&` and `||`: an operand that decides alone wins over an error of the other one."""
    decisive = node.operator == "||"
    neutral = not decisive
    left_column, right_column = node.left.column, node.right.column

    def evaluate(frame: Frame) -> bool:
        failure: EvaluationError | None = None
        try:
            left = first(frame)
            if left is decisive:
                return decisive
            if left is not neutral:
                failure = not_bool(left, left_column)
        except OutOfStepsError:
            raise
        except EvaluationError as error:
            failure = error
        if failure is None:
            right = second(frame)
            if right is True or right is False:
                return right
            raise not_bool(right, right_column)
        return absorb(frame, failure)

    def absorb(frame: Frame, failure: EvaluationError) -> bool:
        try:
            right = second(frame)
        except OutOfStepsError:
            raise
        except EvaluationError:
            raise failure from None
        if right is decisive:
            return decisive
        raise failure

    return evaluate


def conditional(
    node: Conditional, condition: Evaluator, then: Evaluator, otherwise: Evaluator
) -> Evaluator:
    """`?:`, which evaluates only the branch that it chooses."""

    def choose(frame: Frame) -> object:
        value = condition(frame)
        if value is True:
            return then(frame)
        if value is False:
            return otherwise(frame)
        raise not_bool(value, node.condition.column)

    return choose


def count(node: Macro, target: Evaluator, predicate: Evaluator, depth: int) -> Evaluator:
    """How many items satisfy the predicate; an error about any of them is an error."""
    cost = count_nodes(node.predicate)

    def counted(frame: Frame) -> int:
        found = 0
        for item in _items(target(frame), node):
            frame.spend(cost)
            frame.bound[depth] = item
            value = predicate(frame)
            if value is True:
                found += 1
            elif value is not False:
                raise not_bool(value, node.predicate.column)
        return found

    return counted


def quantifier(node: Macro, target: Evaluator, predicate: Evaluator, depth: int) -> Evaluator:
    """`all` is && and `exists` is || over the items, with the same absorption of errors."""
    cost = count_nodes(node.predicate)
    decisive = node.name == "exists"

    def fold(frame: Frame) -> bool:
        failure: EvaluationError | None = None
        for item in _items(target(frame), node):
            frame.spend(cost)
            frame.bound[depth] = item
            try:
                value = predicate(frame)
                if value is decisive:
                    return decisive
                if value is not (not decisive):
                    raise not_bool(value, node.predicate.column)
            except OutOfStepsError:
                raise
            except EvaluationError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return not decisive

    return fold


def _items(value: object, node: Macro) -> Sequence[object]:
    if isinstance(value, list | tuple):
        return value
    raise EvaluationError(f"{node.name}() asks for a list, not {a_kind(value)}", node.column)
