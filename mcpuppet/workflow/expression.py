"""The guard language: a text that says when a step may start, parsed once and evaluated often.

A strict subset of CEL: a guard that is accepted here means in CEL what it means here, but for four
functions of our own (`get`, `count`, `given`, `date`), which CEL does not know. Owns the
`Expression` that the rest of the program holds; the grammar is in `expression_parser`, the meaning
in `expression_evaluation`, and the tree that checks and proofs walk in `expression_ast`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from mcpuppet.workflow.expression_ast import (
    Binary,
    Call,
    Conditional,
    ExpressionError,
    Has,
    Identifier,
    Index,
    ListLiteral,
    Literal,
    Macro,
    Node,
    Path,
    Select,
    Unary,
    children_of,
    path_text,
    references_of,
    static_path,
)
from mcpuppet.workflow.expression_evaluation import compile_node
from mcpuppet.workflow.expression_parser import parse
from mcpuppet.workflow.expression_times import in_utc
from mcpuppet.workflow.expression_values import (
    EvaluationError,
    Evaluator,
    Frame,
    PartlyKnown,
    Unknown,
    UnknownFactError,
    json_value,
)
from mcpuppet.workflow.json_values import a_kind, json_equal

__all__ = [
    "Binary",
    "Call",
    "Conditional",
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "Has",
    "Identifier",
    "Index",
    "ListLiteral",
    "Literal",
    "Macro",
    "Node",
    "PartlyKnown",
    "Path",
    "Select",
    "Unary",
    "Unknown",
    "UnknownFactError",
    "children_of",
    "json_equal",
    "parse_expression",
    "path_text",
    "static_path",
    "values_read",
]


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed guard: its text, its tree and the static paths it reads, as ("args", "amount").

    A path is as long as can be told without evaluating: a computed index or a place in a list ends
    it. The variables that `all`, `exists` and `count` bind are not in it.

    Variables hold JSON values, and besides: datetimes (aware) and timedeltas, which can be compared
    and computed with; `Unknown` and `PartlyKnown` for what must be looked up first; and, under
    "given", the function of one JSON value that answers `given(x)`.
    """

    source: str
    ast: Node = field(repr=False)
    references: frozenset[Path] = field(repr=False)
    _evaluator: Evaluator = field(repr=False, compare=False)

    def evaluate(self, variables: Mapping[str, object]) -> object:
        """The value for these variables, a JSON value. Raises EvaluationError if it has none."""
        value = self._evaluator(Frame(variables))
        return value if value is True or value is False else json_value(value, 1)

    def evaluate_bool(self, variables: Mapping[str, object]) -> bool:
        """The truth value; one of another kind is an EvaluationError too."""
        value = self._evaluator(Frame(variables))
        if value is True or value is False:
            return value
        raise EvaluationError(f"the result is {a_kind(value)}, neither true nor false", 1)


def parse_expression(source: str) -> Expression:
    """Parse and compile a guard. Raises ExpressionError with the column of what is wrong."""
    ast = parse(source)
    return Expression(source, ast, frozenset(references_of(ast)), compile_node(ast))


def values_read(expression: Expression, variables: Mapping[str, object]) -> dict[str, object]:
    """The references of a guard that exist, as {"steps.x.result.score": value}, sorted by path.

    JSON values all: a moment is its text, and what is not fully known is left out.
    """
    found: dict[str, object] = {}
    for path in sorted(expression.references):
        value: object = variables
        for key in path:
            if not isinstance(value, Mapping) or key not in value:
                break
            value = value[key]
        else:
            with suppress(EvaluationError):
                found[path_text(path)] = json_value(_spelled(value), 1)
    return found


def _spelled(value: object) -> object:
    if isinstance(value, datetime):
        return in_utc(value).isoformat().replace("+00:00", "Z")
    return value
