"""What a guard means: each node of the syntax tree becomes one Python closure, once.

Owns reading, logic and macros, and hands the rest to `expression_operators`. Knows neither the
grammar nor where the variables come from. The rule that is easy to get wrong: an operand that
decides `&&` or `||` alone absorbs the error of the other, whichever comes first; `all` and `exists`
do the same over the items of a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from mcpuppet.workflow.expression_ast import (
    Binary,
    Call,
    Conditional,
    Has,
    Identifier,
    Index,
    ListLiteral,
    Literal,
    Macro,
    Node,
    Select,
    Unary,
    count_nodes,
    path_text,
    static_path,
)
from mcpuppet.workflow.expression_operators import (
    EvaluationError,
    Evaluator,
    Frame,
    OutOfStepsError,
    arithmetic,
    equality,
    kind_at,
    matches,
    membership,
    minus,
    not_bool,
    ordering,
    size,
    text_test,
)
from mcpuppet.workflow.json_values import a_kind
from mcpuppet.workflow.patterns import compile_pattern

_Scope: TypeAlias = Mapping[str, int]

_MISSING = object()


def compile_node(node: Node, scope: _Scope | None = None) -> Evaluator:
    """The closure that computes a node; `scope` has the depth of each variable a macro binds."""
    scope = scope or {}
    match node:
        case Literal(value=value):
            return lambda _frame: value
        case Identifier() | Select() | Index(index=Literal(value=str())):
            return _path(node, scope)
        case Index():
            return _index(compile_node(node.operand, scope), compile_node(node.index, scope), node)
        case Has():
            return _has(compile_node(node.operand, scope), node)
        case Unary(operator="!"):
            return _not(compile_node(node.operand, scope), node.operand.column)
        case Unary():
            return minus(compile_node(node.operand, scope), node.column)
        case Binary():
            return _binary(node, scope)
        case Conditional():
            return _conditional(node, scope)
        case ListLiteral():
            items = [compile_node(item, scope) for item in node.items]
            return lambda frame: [item(frame) for item in items]
        case Call():
            return _call(node, scope)
        case Macro():
            return _macro(node, scope)


# Reading: identifiers, fields, indexes


def _path(node: Node, scope: _Scope) -> Evaluator:
    """Read a chain of fields in one closure, so that `steps.x.result.score` costs one call."""
    fields: list[Select | Index] = []
    root = node
    while isinstance(root, Select | Index) and _field(root) is not None:
        fields.append(root)
        root = root.operand
    fields.reverse()
    if isinstance(root, Identifier) and root.name not in scope:
        return _variable_path(root, fields)
    if isinstance(root, Identifier):
        return _fields_of(_bound(scope[root.name]), fields)
    return _fields_of(compile_node(root, scope), fields)


def _field(node: Select | Index) -> str | None:
    match node:
        case Select(field=key) | Index(index=Literal(value=str() as key)):
            return key
        case _:
            return None


def _bound(depth: int) -> Evaluator:
    return lambda frame: frame.bound[depth]


def _variable_path(root: Identifier, fields: Sequence[Select | Index]) -> Evaluator:
    keys = (root.name, *(_field(field) for field in fields))

    def read(frame: Frame) -> object:
        value: Any = frame.variables
        try:
            for key in keys:
                if type(value) is not dict and not isinstance(value, Mapping):
                    break
                value = value[key]
            else:
                return value
        except KeyError:
            pass
        if root.name not in frame.variables:
            raise EvaluationError(f"there is no {root.name!r} here", root.column)
        return _walk(frame.variables[root.name], fields)

    return read


def _fields_of(start: Evaluator, fields: Sequence[Select | Index]) -> Evaluator:
    return lambda frame: _walk(start(frame), fields) if fields else start(frame)


def _walk(value: object, fields: Sequence[Select | Index]) -> object:
    for field in fields:
        if not isinstance(value, Mapping):
            sentence = f"{_label(field.operand)} is {a_kind(value)}, not a map"
            raise EvaluationError(sentence, field.column)
        value = value.get(_field(field), _MISSING)
        if value is _MISSING:
            raise EvaluationError(f"{_label(field)} is missing", field.column)
    return value


def _label(node: Node) -> str:
    path = static_path(node)
    if path is not None:
        return path_text(path)
    return f"the field {_field(node)!r}" if isinstance(node, Select | Index) else "the value"


def _index(operand: Evaluator, index: Evaluator, node: Index) -> Evaluator:
    def read(frame: Frame) -> object:
        container: Any = operand(frame)
        key: Any = index(frame)
        kinds = kind_at(container, node.column), kind_at(key, node.column)
        if kinds == ("list", "int"):
            if 0 <= key < len(container):
                return container[key]
            raise EvaluationError("there is no such item in the list", node.column)
        if kinds == ("map", "string"):
            value = container.get(key, _MISSING)
            if value is not _MISSING:
                return value
            raise EvaluationError("there is no such key in the map", node.column)
        raise EvaluationError(f"{a_kind(container)} has no item at {a_kind(key)}", node.column)

    return read


def _has(operand: Evaluator, node: Has) -> Evaluator:
    def test(frame: Frame) -> bool:
        value = operand(frame)
        if isinstance(value, Mapping):
            return node.field in value
        raise EvaluationError(f"{_label(node.operand)} is {a_kind(value)}, not a map", node.column)

    return test


# Logic


def _not(operand: Evaluator, column: int) -> Evaluator:
    def negate(frame: Frame) -> bool:
        value = operand(frame)
        if value is True:
            return False
        if value is False:
            return True
        raise not_bool(value, column)

    return negate


def _logical(node: Binary, first: Evaluator, second: Evaluator) -> Evaluator:
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


def _conditional(node: Conditional, scope: _Scope) -> Evaluator:
    condition = compile_node(node.condition, scope)
    then, otherwise = compile_node(node.then, scope), compile_node(node.otherwise, scope)

    def choose(frame: Frame) -> object:
        value = condition(frame)
        if value is True:
            return then(frame)
        if value is False:
            return otherwise(frame)
        raise not_bool(value, node.condition.column)

    return choose


def _macro(node: Macro, scope: _Scope) -> Evaluator:
    """`all` is && and `exists` is || over the items, with the same absorption of errors."""
    depth = 1 + max(scope.values(), default=-1)
    target = compile_node(node.target, scope)
    predicate = compile_node(node.predicate, {**scope, node.variable: depth})
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


def _binary(node: Binary, scope: _Scope) -> Evaluator:
    left, right = compile_node(node.left, scope), compile_node(node.right, scope)
    match node.operator:
        case "&&" | "||":
            return _logical(node, left, right)
        case "==":
            return equality(left, right, False, node.column)
        case "!=":
            return equality(left, right, True, node.column)
        case "<" | "<=" | ">" | ">=":
            return ordering(node.operator, left, right, node.column)
        case "in":
            return membership(left, right, node.column)
        case "+" | "-" | "*" | "/" | "%":
            return arithmetic(node.operator, left, right, node.column)


def _call(node: Call, scope: _Scope) -> Evaluator:
    if node.function == "size":
        return size(compile_node(node.arguments[0], scope), node.column)
    subject, argument = node.arguments
    if node.function == "matches":
        assert isinstance(argument, Literal)
        pattern = compile_pattern(str(argument.value))
        return matches(compile_node(subject, scope), pattern, node.column)
    operands = compile_node(subject, scope), compile_node(argument, scope)
    return text_test(node.function, *operands, node.column)
