"""WF406: expressions that use a value as something that its declared type says it never is.

Types come from `inputs`, `returns`, `facts` and literals; of everything else nothing is known and
nothing is claimed. Whole and other numbers count as one type: which of them a value is shows only
in a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mcpuppet.workflow import expression_ast as ast
from mcpuppet.workflow.checks.subject import Subject, Written, expressions, suggest
from mcpuppet.workflow.checks.value_types import (
    Known,
    ValueType,
    is_one_of,
    kinds,
    of_schema,
    of_value,
    union,
)
from mcpuppet.workflow.definition import Definition, Fact
from mcpuppet.workflow.findings import Code, Finding

GUARD_TYPE = Code(
    "WF406",
    "guard-type",
    "error",
    about="An expression compares or uses a value as something that its declared type is not.",
    help="compare it with a value of its type, or correct the type under `inputs` or `returns`",
)

_BOOL, _NUMBER, _STRING = kinds("bool"), kinds("number"), kinds("string")
_TRUTHS = frozenset({"when", "success", "until", "check", "unless", "happened"})
_ORDERED = ("number", "string", "timestamp", "duration")
_RESULTS: Mapping[str, Mapping[tuple[str, str], str]] = {
    "+": {
        ("number", "number"): "number",
        ("string", "string"): "string",
        ("list", "list"): "list",
        ("timestamp", "duration"): "timestamp",
        ("duration", "timestamp"): "timestamp",
        ("duration", "duration"): "duration",
    },
    "-": {
        ("number", "number"): "number",
        ("timestamp", "timestamp"): "duration",
        ("timestamp", "duration"): "timestamp",
        ("duration", "duration"): "duration",
    },
    "*": {("number", "number"): "number"},
    "/": {("number", "number"): "number"},
    "%": {("number", "number"): "number"},
}
_TEXTS = frozenset({"string"})
_FUNCTIONS: Mapping[str, tuple[frozenset[str], Known]] = {
    "size": (frozenset({"string", "list", "map"}), _NUMBER),
    "startsWith": (_TEXTS, _BOOL),
    "endsWith": (_TEXTS, _BOOL),
    "contains": (_TEXTS, _BOOL),
    "matches": (_TEXTS, _BOOL),
    "timestamp": (_TEXTS, kinds("timestamp")),
    "date": (_TEXTS, kinds("timestamp")),
    "duration": (_TEXTS, kinds("duration")),
}
"""Per function the kinds that its arguments may have, and what it gives."""


def guard_type(subject: Subject) -> Iterator[Finding]:
    """WF406: see the module."""
    variables = _variables(subject.definition)
    for written in expressions(subject.definition):
        for problem in _problems(written, _in_step(subject.definition, written, variables)):
            place = subject.document.text_place(written.path, problem.column)
            yield Finding(GUARD_TYPE, place, problem.message, problem.help)


def _variables(definition: Definition) -> dict[str, ValueType]:
    """The types of the variables that are the same in every expression."""
    steps = {
        name: _object({"outcome": {"type": "string"}, "result": _object(step.returns or {})})
        for name, step in definition.steps.items()
    }
    facts = {name: _fact(fact) for name, fact in definition.facts.items()}
    user = {"name": {"type": "string"}, "roles": {"type": "array", "items": {"type": "string"}}}
    return {
        "inputs": of_schema(_object(definition.inputs)),
        "steps": of_schema(_object(steps)),
        "facts": of_schema(_object(facts)),
        "user": of_schema(_object(user)),
        "args": kinds("map"),
        "now": kinds("timestamp"),
    }


def _object(fields: Mapping[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": fields}


def _fact(fact: Fact) -> dict[str, object]:
    if fact.keep is None:
        return {"type": "array"}
    kept = {**_object(dict.fromkeys(fact.keep, True)), "additionalProperties": False}
    return {"type": "object", "additionalProperties": kept}


def _in_step(
    definition: Definition, written: Written, variables: Mapping[str, ValueType]
) -> Mapping[str, ValueType]:
    if written.step is None or "result" not in written.variables:
        return variables
    if "on_unknown" in written.path:  # it is the result of another tool
        return variables
    returns = definition.steps[written.step].returns or {}
    return {**variables, "result": of_schema(_object(returns))}


@dataclass(frozen=True, slots=True)
class _Problem:
    column: int
    message: str
    help: str | None = None


def _problems(written: Written, variables: Mapping[str, ValueType]) -> list[_Problem]:
    inference = _Inference(variables)
    node = written.expression.ast
    if written.key in _TRUTHS and written.path[-2] != "args":  # an argument may have any name
        inference.expect(node, _BOOL)
    elif written.key == "sum":
        inference.expect(node, _NUMBER)
    else:
        inference.type_of(node)
    return inference.problems


@dataclass(slots=True)
class _Inference:
    """One walk over one expression. `variables` includes those that a macro binds."""

    variables: Mapping[str, ValueType]
    problems: list[_Problem] = field(default_factory=list)

    def _find(self, column: int, message: str, help: str | None = None) -> None:
        self.problems.append(_Problem(column, message, help))

    def expect(self, node: ast.Node, wanted: Known) -> None:
        """Find that a value can be none of the wanted kinds."""
        found = self.type_of(node)
        if found is not None and found.kinds.isdisjoint(wanted.kinds):
            self._find(_start(node), f"{_named(node)} is {found.words()}, not {wanted.words()}")

    def type_of(self, node: ast.Node) -> ValueType:
        """The type of a node; problems inside it are found on the way."""
        match node:
            case ast.Literal(value=value):
                return of_value(value)
            case ast.Identifier(name=name):
                return self.variables.get(name)
            case ast.Select() | ast.Has() | ast.Index(index=ast.Literal(value=str())):
                found = self._field(node)
                return _BOOL if isinstance(node, ast.Has) else found
            case ast.Index():
                return self._item(node)
            case ast.Unary():
                wanted = _BOOL if node.operator == "!" else _NUMBER
                self.expect(node.operand, wanted)
                return wanted
            case ast.Binary():
                return self._binary(node)
            case ast.Conditional():
                self.expect(node.condition, _BOOL)
                return union([self.type_of(node.then), self.type_of(node.otherwise)])
            case ast.ListLiteral(items=items):
                inner = union([self.type_of(item) for item in items])
                return Known(frozenset({"list"}), None, inner)
            case ast.Call():
                return self._call(node)
            case ast.Macro():
                return self._macro(node)

    def _field(self, node: ast.Select | ast.Has | ast.Index) -> ValueType:
        found = self.type_of(node.operand)
        if found is None:
            return None
        name = _field_name(node)
        if "map" not in found.kinds:
            self._find(node.column, f"{_named(node.operand)} is {found.words()}: it has no fields")
            return None
        if found.lacks(name):
            help = suggest(name, found.fields(), "fields")
            self._find(node.column, f"{_named(node.operand)} has no field {name!r}", help)
            return None
        return found.field(name)

    def _item(self, node: ast.Index) -> ValueType:
        found, index = self.type_of(node.operand), self.type_of(node.index)
        if found is None:
            return None
        if found.kinds.isdisjoint({"list", "map"}):
            self._find(node.column, f"{_named(node.operand)} is {found.words()}: it has no items")
            return None
        if found.kinds == {"list"}:
            if index is not None and "number" not in index.kinds:
                self._find(node.column, f"the place in a list is a number, not {index.words()}")
            return found.items
        return of_schema((found.schema or {}).get("additionalProperties"))

    def _binary(self, node: ast.Binary) -> ValueType:
        if node.operator in ("&&", "||"):
            self.expect(node.left, _BOOL)
            self.expect(node.right, _BOOL)
            return _BOOL
        left, right = self.type_of(node.left), self.type_of(node.right)
        if node.operator in _RESULTS:
            return self._arithmetic(node, left, right)
        if left is not None and right is not None:
            self._compare(node, left, right)
        return _BOOL

    def _compare(self, node: ast.Binary, left: Known, right: Known) -> None:
        match node.operator:
            case "in":
                self._membership(node, left, right)
            case "==" | "!=":
                self._equality(node.left, left, node.right, right, node.column)
            case _:
                common = left.kinds & right.kinds
                if common.isdisjoint(_ORDERED):
                    self._find(node.column, f"{_both(node, left, right)}: they have no order")

    def _equality(
        self, node: ast.Node, left: Known, other: ast.Node, right: Known, column: int
    ) -> None:
        if (
            "null" in left.kinds | right.kinds
        ):  # a test for null is never wrong, only sometimes idle
            return
        if left.kinds.isdisjoint(right.kinds):
            is_left, is_right = f"{_named(node)} is {left.words()}", right.words()
            self._find(column, f"{is_left} and {_named(other)} {is_right}: they are never equal")
            return
        for listed, literal in ((left, other), (right, node)):
            values = listed.values()
            if isinstance(literal, ast.Literal) and values is not None:
                self._listed_value(node if listed is left else other, values, literal)

    def _listed_value(self, node: ast.Node, values: list[object], literal: ast.Literal) -> None:
        if not isinstance(node, ast.Literal) and not is_one_of(literal.value, values):
            message = f"{_named(node)} is never {_named(literal)}"
            self._find(literal.column, message, f"it is one of: {', '.join(map(_text, values))}")

    def _membership(self, node: ast.Binary, left: Known, right: Known) -> None:
        if right.kinds.isdisjoint({"list", "map"}):
            self._find(node.column, f"{_named(node.right)} is {right.words()}: it has no items")
        elif right.kinds == {"map"} and "string" not in left.kinds:
            message = f"{_named(node.left)} is {left.words()}, and the keys of an object are text"
            self._find(node.column, message)
        elif isinstance(node.right, ast.ListLiteral):
            for item in node.right.items:
                of_item = self.type_of(item)
                if of_item is not None:
                    self._equality(node.left, left, item, of_item, item.column)
        elif (
            right.kinds == {"list"}
            and right.items is not None
            and right.items.kinds.isdisjoint(left.kinds)
        ):
            items = f"{_named(node.right)} holds {right.items.words()}"
            self._find(node.column, f"{items}: {_named(node.left)} is {left.words()}")

    def _arithmetic(self, node: ast.Binary, left: ValueType, right: ValueType) -> ValueType:
        if left is None or right is None:
            return None
        results = {
            result
            for (one, other), result in _RESULTS[node.operator].items()
            if one in left.kinds and other in right.kinds
        }
        if not results:
            message = f"{_both(node, left, right)}: `{node.operator}` has no meaning for them"
            self._find(node.column, message)
            return None
        return Known(frozenset(results))

    def _call(self, node: ast.Call) -> ValueType:
        accepted, result = _FUNCTIONS.get(node.function, (None, None))
        name: str = node.function
        if name == "get":
            return self._get(node)
        for argument in node.arguments:
            if accepted is None:
                self.type_of(argument)
            else:
                self.expect(argument, Known(accepted))
        return _BOOL if name == "given" else result

    def _get(self, node: ast.Call) -> ValueType:
        """The read of `get` may miss its field: only the rest of it is looked at."""
        read, default = node.arguments
        found = _Inference(self.variables).type_of(read)
        return union([found, self.type_of(default)])

    def _macro(self, node: ast.Macro) -> ValueType:
        target = self.type_of(node.target)
        if target is not None and "list" not in target.kinds:
            message = f"{_named(node.target)} is {target.words()}: {node.name}() asks for a list"
            self._find(node.column, message)
        item = target.items if target is not None else None
        inner = _Inference({**self.variables, node.variable: item}, self.problems)
        inner.expect(node.predicate, _BOOL)
        name: str = node.name
        return _NUMBER if name == "count" else _BOOL


def _start(node: ast.Node) -> int:
    """The column where a path begins; of any other node its own."""
    while isinstance(node, ast.Select | ast.Index):
        node = node.operand
    return node.column


def _field_name(node: ast.Select | ast.Has | ast.Index) -> str:
    if isinstance(node, ast.Index):
        assert isinstance(node.index, ast.Literal)
        return str(node.index.value)
    return node.field


def _both(node: ast.Binary, left: Known, right: Known) -> str:
    return f"{_named(node.left)} is {left.words()} and {_named(node.right)} {right.words()}"


def _named(node: ast.Node) -> str:
    """A part of an expression, as a sentence names it."""
    if isinstance(node, ast.Literal):
        return _text(node.value)
    path = ast.static_path(node) if not isinstance(node, ast.Has) else None
    return "this" if path is None else f"`{ast.path_text(path)}`"


def _text(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
