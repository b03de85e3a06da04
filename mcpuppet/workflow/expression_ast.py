"""The syntax tree of the guard language, and what can be read off it without evaluating.

Owns the node types, the error of a text that is not a guard, and the static paths a tree reads. It
does not parse (`expression_parser`) and does not evaluate (`expression`). Other code analyses these
trees, so the node types are public and `Node` is the complete union: match it exhaustively.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal as OneOf
from typing import TypeAlias

from mcpuppet.errors import InvalidInputError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYWORDS = frozenset({"true", "false", "null", "in"})

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1

UnaryOperator = OneOf["!", "-"]
BinaryOperator = OneOf["||", "&&", "==", "!=", "<", "<=", ">", ">=", "in", "+", "-", "*", "/", "%"]
FunctionName = OneOf[
    "size",
    "startsWith",
    "endsWith",
    "contains",
    "matches",
    "timestamp",
    "duration",
    "date",
    "get",
    "given",
]
MacroName = OneOf["all", "exists", "count"]
Path: TypeAlias = tuple[str, ...]


class ExpressionError(InvalidInputError):
    """A text is not a guard: what is wrong, the column (from 1, in characters), what would do."""

    def __init__(self, message: str, column: int, help: str | None = None) -> None:
        self.message = message
        self.column = column
        self.help = help
        sentence = f"column {column}: {message}"
        super().__init__(sentence if help is None else f"{sentence}; {help}")


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, text, true, false or null. A negative number is one literal, as in CEL."""

    value: bool | int | float | str | None
    column: int


@dataclass(frozen=True, slots=True)
class Identifier:
    """A variable such as `inputs`, or the bound variable of an enclosing Macro."""

    name: str
    column: int


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`; the column is that of the field's name."""

    operand: Node
    field: str
    column: int


@dataclass(frozen=True, slots=True)
class Has:
    """`has(operand.field)`: whether the map `operand` has the field."""

    operand: Node
    field: str
    column: int


@dataclass(frozen=True, slots=True)
class Index:
    """`operand[index]`; the column is that of the bracket."""

    operand: Node
    index: Node
    column: int


@dataclass(frozen=True, slots=True)
class Unary:
    """`!operand` or `-operand`."""

    operator: UnaryOperator
    operand: Node
    column: int


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`; the column is that of the operator."""

    operator: BinaryOperator
    left: Node
    right: Node
    column: int


@dataclass(frozen=True, slots=True)
class Conditional:
    """`condition ? then : otherwise`; the column is that of the question mark."""

    condition: Node
    then: Node
    otherwise: Node
    column: int


@dataclass(frozen=True, slots=True)
class ListLiteral:
    """`[a, b]`."""

    items: tuple[Node, ...]
    column: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function; a receiver is the first argument, so `size(x)` and `x.size()` are the same node.

    The second argument of `matches` is always a text Literal that RE2 accepts, and the first of
    `get` a Select or Index. A text Literal given to `timestamp`, `duration` or `date` is one.
    """

    function: FunctionName
    arguments: tuple[Node, ...]
    column: int


@dataclass(frozen=True, slots=True)
class Macro:
    """`target.all(variable, predicate)`, `exists` alike; `count(variable, target, predicate)`."""

    name: MacroName
    target: Node
    variable: str
    predicate: Node
    column: int


Node: TypeAlias = (
    Literal
    | Identifier
    | Select
    | Has
    | Index
    | Unary
    | Binary
    | Conditional
    | ListLiteral
    | Call
    | Macro
)


def children_of(node: Node) -> tuple[Node, ...]:
    """The direct sub-expressions of a node, from left to right."""
    match node:
        case Literal() | Identifier():
            return ()
        case Select() | Has() | Unary():
            return (node.operand,)
        case Index():
            return (node.operand, node.index)
        case Binary():
            return (node.left, node.right)
        case Conditional():
            return (node.condition, node.then, node.otherwise)
        case ListLiteral():
            return node.items
        case Call():
            return node.arguments
        case Macro():
            return (node.target, node.predicate)


def count_nodes(node: Node) -> int:
    """How many nodes a tree has."""
    return 1 + sum(count_nodes(child) for child in children_of(node))


def static_path(node: Node) -> Path | None:
    """The path a node spells without computing anything, such as `steps.x["result"]`, or None.

    Only text counts as a key: the place in a list (`xs[0]`) ends a path.
    """
    match node:
        case Identifier():
            return (node.name,)
        case Select() | Has():
            return _extended(node.operand, node.field)
        case Index(index=Literal(value=str() as key)):
            return _extended(node.operand, key)
        case _:
            return None


def path_text(path: Path) -> str:
    """A path as a guard spells it: `steps.x.result`, with `["odd key"]` where a key is no name."""
    first, *keys = path
    return first + "".join(
        f".{key}" if _NAME.fullmatch(key) and key not in _KEYWORDS else f"[{json.dumps(key)}]"
        for key in keys
    )


def references_of(node: Node, bound: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Every longest static path that a tree reads, except those of `bound` variables."""
    path = static_path(node)
    if path is not None:
        if path[0] not in bound:
            yield path
    elif isinstance(node, Macro):
        yield from references_of(node.target, bound)
        yield from references_of(node.predicate, bound | {node.variable})
    else:
        for child in children_of(node):
            yield from references_of(child, bound)


def _extended(operand: Node, key: str) -> Path | None:
    path = static_path(operand)
    return None if path is None else (*path, key)
