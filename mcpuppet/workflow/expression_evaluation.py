"""What a guard means: each node of the syntax tree becomes one Python closure, once.

Owns reading, and hands the rest to `expression_logic` and `expression_operators`. Knows neither the
grammar nor where the variables come from.
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
    children_of,
    path_text,
    static_path,
)
from mcpuppet.workflow.expression_logic import (
    conditional,
    count,
    logical,
    negation,
    quantifier,
)
from mcpuppet.workflow.expression_operators import (
    arithmetic,
    equality,
    given,
    matches,
    membership,
    minus,
    ordering,
    size,
    text_test,
    time_reading,
)
from mcpuppet.workflow.expression_times import TIME_READERS
from mcpuppet.workflow.expression_values import (
    MISSING,
    EvaluationError,
    Evaluator,
    Frame,
    Unknown,
    kind_at,
    known,
    looked_up,
)
from mcpuppet.workflow.json_values import a_kind
from mcpuppet.workflow.patterns import compile_pattern

_Scope: TypeAlias = Mapping[str, int]


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
            return negation(compile_node(node.operand, scope), node.operand.column)
        case Unary():
            return minus(compile_node(node.operand, scope), node.column)
        case Binary():
            return _binary(node, scope)
        case Conditional():
            branches = (compile_node(child, scope) for child in children_of(node))
            return conditional(node, *branches)
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
        return _fields_of(_bound(scope[root.name], root.column), fields)
    return _fields_of(compile_node(root, scope), fields)


def _field(node: Select | Index) -> str | None:
    match node:
        case Select(field=key) | Index(index=Literal(value=str() as key)):
            return key
        case _:
            return None


def _bound(depth: int, column: int) -> Evaluator:
    return lambda frame: known(frame.bound[depth], column)


def _variable_path(root: Identifier, fields: Sequence[Select | Index]) -> Evaluator:
    name, keys = root.name, [_field(field) for field in fields]

    def read(frame: Frame) -> object:
        try:
            value: Any = frame.variables[name]
            for key in keys:
                if type(value) is not dict and not isinstance(value, Mapping):
                    break
                value = value[key]
            else:
                if type(value) is not Unknown:
                    return value
        except KeyError:
            pass
        if name not in frame.variables:
            raise EvaluationError(f"there is no {name!r} here", root.column)
        return _walk(known(frame.variables[name], root.column), fields)

    return read


def _fields_of(start: Evaluator, fields: Sequence[Select | Index]) -> Evaluator:
    return lambda frame: _walk(start(frame), fields) if fields else start(frame)


def _walk(value: object, fields: Sequence[Select | Index]) -> object:
    for field in fields:
        value = _field_of(value, field)
        if value is MISSING:
            raise EvaluationError(f"{_label(field)} is missing", field.column)
    return value


def _field_of(value: object, field: Select | Index) -> object:
    """The value of a field that is written out, or MISSING."""
    if isinstance(value, Mapping):
        return looked_up(value, str(_field(field)), field.column)
    sentence = f"{_label(field.operand)} is {a_kind(value)}, not a map"
    raise EvaluationError(sentence, field.column)


def _label(node: Node) -> str:
    path = static_path(node)
    if path is not None:
        return path_text(path)
    return f"the field {_field(node)!r}" if isinstance(node, Select | Index) else "the value"


def _index(operand: Evaluator, index: Evaluator, node: Index) -> Evaluator:
    def read(frame: Frame) -> object:
        value = _item_of(operand(frame), index(frame), node)
        if value is MISSING:
            raise EvaluationError("there is no such key in the map", node.column)
        return value

    return read


def _item_of(container: Any, key: Any, node: Index) -> object:
    """The item at a computed place, or MISSING for a key that a map does not have."""
    kinds = kind_at(container, node.column), kind_at(key, node.column)
    if kinds == ("list", "int"):
        if 0 <= key < len(container):
            return known(container[key], node.column)
        raise EvaluationError("there is no such item in the list", node.column)
    if kinds == ("map", "string"):
        return looked_up(container, key, node.column)
    raise EvaluationError(f"{a_kind(container)} has no item at {a_kind(key)}", node.column)


def _has(operand: Evaluator, node: Has) -> Evaluator:
    def test(frame: Frame) -> bool:
        value = operand(frame)
        if isinstance(value, Mapping):
            return looked_up(value, node.field, node.column) is not MISSING
        raise EvaluationError(f"{_label(node.operand)} is {a_kind(value)}, not a map", node.column)

    return test


def _get(path: Node, default: Evaluator, scope: _Scope) -> Evaluator:
    """`get(path, default)`: the default replaces a missing field and no other error."""
    read = _if_present(path, scope)

    def choose(frame: Frame) -> object:
        value = read(frame)
        return default(frame) if value is MISSING else value

    return choose


def _if_present(node: Node, scope: _Scope) -> Evaluator:
    """Read a chain of fields, giving MISSING where one is missing; its root must have a value."""
    if not isinstance(node, Select | Index):
        return compile_node(node, scope)
    operand = _if_present(node.operand, scope)
    if isinstance(node, Select) or _field(node) is not None:
        step = _step(operand, node)
    else:
        step = _computed_step(operand, compile_node(node.index, scope), node)
    return step


def _step(operand: Evaluator, node: Select | Index) -> Evaluator:
    def read(frame: Frame) -> object:
        value = operand(frame)
        return value if value is MISSING else _field_of(value, node)

    return read


def _computed_step(operand: Evaluator, index: Evaluator, node: Index) -> Evaluator:
    def read(frame: Frame) -> object:
        value, key = operand(frame), index(frame)
        return value if value is MISSING else _item_of(value, key, node)

    return read


def _macro(node: Macro, scope: _Scope) -> Evaluator:
    depth = 1 + max(scope.values(), default=-1)
    target = compile_node(node.target, scope)
    predicate = compile_node(node.predicate, {**scope, node.variable: depth})
    if node.name == "count":
        return count(node, target, predicate, depth)
    return quantifier(node, target, predicate, depth)


def _binary(node: Binary, scope: _Scope) -> Evaluator:
    left, right = compile_node(node.left, scope), compile_node(node.right, scope)
    match node.operator:
        case "&&" | "||":
            return logical(node, left, right)
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
    if len(node.arguments) == 1:
        return _call_of_one(node, compile_node(node.arguments[0], scope))
    subject, argument = node.arguments
    if node.function == "get":
        return _get(subject, compile_node(argument, scope), scope)
    if node.function == "matches":
        assert isinstance(argument, Literal)
        pattern = compile_pattern(str(argument.value))
        return matches(compile_node(subject, scope), pattern, node.column)
    operands = compile_node(subject, scope), compile_node(argument, scope)
    return text_test(node.function, *operands, node.column)


def _call_of_one(node: Call, operand: Evaluator) -> Evaluator:
    if node.function == "size":
        return size(operand, node.column)
    if node.function == "given":
        return given(operand, node.column)
    (argument,) = node.arguments
    if isinstance(argument, Literal) and isinstance(argument.value, str):
        moment = TIME_READERS[node.function](argument.value)
        return lambda _frame: moment
    return time_reading(node.function, operand, node.column)
