"""The guard language: a text that says when a step may start, parsed once and evaluated often.

A strict subset of CEL: a guard that is accepted here means in CEL what it means here. Owns the
`Expression` that the rest of the program holds; the grammar is in `expression_parser`, the meaning
in `expression_evaluation`, and the tree that checks and proofs walk in `expression_ast`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
from mcpuppet.workflow.expression_operators import EvaluationError, Evaluator, Frame
from mcpuppet.workflow.expression_parser import parse
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
    "Path",
    "Select",
    "Unary",
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
    it. The variables that `all` and `exists` bind are not in it.
    """

    source: str
    ast: Node = field(repr=False)
    references: frozenset[Path] = field(repr=False)
    _evaluator: Evaluator = field(repr=False, compare=False)

    def evaluate(self, variables: Mapping[str, object]) -> object:
        """The value for these variables (JSON values). Raises EvaluationError if it has none."""
        return self._evaluator(Frame(variables))

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
    """The references of a guard that exist, as {"steps.x.result.score": value}, sorted by path."""
    found: dict[str, object] = {}
    for path in sorted(expression.references):
        value: object = variables
        for key in path:
            if not isinstance(value, Mapping) or key not in value:
                break
            value = value[key]
        else:
            found[path_text(path)] = value
    return found
