"""From text to the syntax tree of the guard language, a strict subset of CEL.

Accepts less than CEL (https://github.com/google/cel-spec, doc/langdef.md) and never means something
else: what is left out, such as unsigned numbers, bytes, map literals, comments and most functions,
is refused with a word; `get`, `count`, `given` and `date` are not CEL's but ours. Owns the grammar
and the limits on size; knows nothing of the values that a guard will be asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from mcpuppet.workflow.expression_ast import (
    INT_MAX,
    INT_MIN,
    Binary,
    BinaryOperator,
    Call,
    Conditional,
    ExpressionError,
    FunctionName,
    Has,
    Identifier,
    Index,
    ListLiteral,
    Literal,
    Macro,
    MacroName,
    Node,
    Select,
    Unary,
    UnaryOperator,
    children_of,
)
from mcpuppet.workflow.expression_times import TIME_READERS
from mcpuppet.workflow.expression_tokens import Token, tokens_of
from mcpuppet.workflow.patterns import PatternError, compile_pattern

MAX_CHARACTERS = 4_096
MAX_DEPTH = 32
MAX_NODES = 500

_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_KEYWORDS = frozenset({*_CONSTANTS, "in"})
# Words that CEL keeps for later (langdef.md, "Syntax"); they may name a field, not a variable.
_RESERVED = frozenset(
    {
        *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let"),
        *("loop", "package", "namespace", "return", "var", "void", "while"),
    }
)

_BINARY: dict[str, tuple[int, BinaryOperator]] = {
    "||": (1, "||"),
    "&&": (2, "&&"),
    **{symbol: (3, symbol) for symbol in ("==", "!=", "<", "<=", ">", ">=", "in")},
    "+": (4, "+"),
    "-": (4, "-"),
    "*": (5, "*"),
    "/": (5, "/"),
    "%": (5, "%"),
}
_RELATION = 3
_UNARY: dict[str, UnaryOperator] = {"!": "!", "-": "-"}
_METHODS: dict[str, FunctionName] = {
    "size": "size",
    "startsWith": "startsWith",
    "endsWith": "endsWith",
    "contains": "contains",
    "matches": "matches",
}
_MACROS: dict[str, MacroName] = {"all": "all", "exists": "exists"}
_FUNCTIONS: dict[str, tuple[FunctionName, int]] = {
    "size": ("size", 1),
    "timestamp": ("timestamp", 1),
    "duration": ("duration", 1),
    "date": ("date", 1),
    "given": ("given", 1),
    "get": ("get", 2),
}
_FUNCTIONS_HELP = (
    "guards know has(a.b), get(a.b, default), size(x), x.size(), s.startsWith(t), s.endsWith(t), "
    's.contains(t), s.matches("pattern"), list.all(v, condition), list.exists(v, condition), '
    "count(v, list, condition), timestamp(s), date(s), duration(s) and given(x)"
)


def parse(source: str) -> Node:
    """The syntax tree of a guard. Raises ExpressionError, also for one that is too long or deep."""
    if len(source) > MAX_CHARACTERS:
        raise ExpressionError(
            f"the expression has {len(source):,} characters",
            MAX_CHARACTERS + 1,
            f"at most {MAX_CHARACTERS:,} are accepted",
        )
    parser = _Parser(tokens_of(source))
    node = parser.whole()
    _check_depth(node)
    return node


class _Parser:
    """Recursive descent over the tokens; `_nesting` keeps Python's own stack out of reach."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._nesting = 0
        self._nodes = 0

    def whole(self) -> Node:
        node = self._expression()
        if self._next.kind != "end":
            self._refuse("an operator or the end")
        return node

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _take_if(self, symbol: str) -> Token | None:
        token = self._next
        return self._take() if token.kind == "symbol" and token.text == symbol else None

    def _expect(self, symbol: str) -> Token:
        return self._take_if(symbol) or self._refuse(repr(symbol))

    def _refuse(self, wanted: str) -> NoReturn:
        found = self._next
        text = found.text if found.kind == "end" else repr(found.text)
        raise ExpressionError(f"unexpected {text}", found.column, f"expected {wanted}")

    def _made(self, node: Node) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ExpressionError(
                "the expression has too many parts",
                node.column,
                f"at most {MAX_NODES} are accepted",
            )
        return node

    def _expression(self) -> Node:
        self._nesting += 1
        if self._nesting > MAX_DEPTH:
            raise _too_deep(self._next.column)
        node = self._conditional()
        self._nesting -= 1
        return node

    def _conditional(self) -> Node:
        condition = self._binary(1)
        mark = self._take_if("?")
        if mark is None:
            return condition
        then = self._binary(1)
        self._expect(":")
        return self._made(Conditional(condition, then, self._expression(), mark.column))

    def _binary(self, least: int) -> Node:
        """Precedence climbing: operators of level `least` and tighter, each to the left."""
        left = self._unary()
        while (level := self._level()) >= least:
            token = self._take()
            right = self._binary(level + 1)
            left = self._made(Binary(_BINARY[token.text][1], left, right, token.column))
            if level == self._level() == _RELATION:
                # CEL compares the truth value of the first comparison, which nobody means.
                self._refuse("one comparison; join two with &&")
        return left

    def _level(self) -> int:
        token = self._next
        if token.kind in ("symbol", "name") and token.text in _BINARY:
            return _BINARY[token.text][0]
        return 0

    def _unary(self) -> Node:
        sign = self._take_if("!") or self._take_if("-")
        if sign is None:
            return self._member(self._primary())
        if sign.text == "-" and self._next.kind == "number":
            return self._member(self._number(self._take(), sign))
        if self._next.kind == "symbol" and self._next.text in _UNARY:
            # CEL refuses some pairs of signs, and drops others without looking at the operand.
            self._refuse("a value (a second sign needs parentheses)")
        operand = self._member(self._primary())
        return self._made(Unary(_UNARY[sign.text], operand, sign.column))

    def _member(self, node: Node) -> Node:
        while True:
            if self._take_if("."):
                node = self._field_or_method(node)
            elif bracket := self._take_if("["):
                index = self._expression()
                self._expect("]")
                node = self._made(Index(node, index, bracket.column))
            else:
                return node

    def _field_or_method(self, operand: Node) -> Node:
        name = self._expect_name("the name of a field")
        if not self._take_if("("):
            return self._made(Select(operand, name.text, name.column))
        if name.text in _MACROS:
            return self._macro(_MACROS[name.text], operand, self._arguments(name, 2), name)
        if name.text not in _METHODS:
            raise ExpressionError(f"unknown function {name.text!r}", name.column, _FUNCTIONS_HELP)
        wanted = 0 if name.text == "size" else 1
        return self._call(_METHODS[name.text], (operand, *self._arguments(name, wanted)), name)

    def _expect_name(self, wanted: str) -> Token:
        if self._next.kind != "name" or self._next.text in _KEYWORDS:
            self._refuse(wanted)
        return self._take()

    def _primary(self) -> Node:
        token = self._next
        if token.kind == "number":
            return self._number(self._take())
        if token.kind == "string":
            return self._made(Literal(self._take().value, token.column))
        if token.kind == "name":
            return self._named()
        if self._take_if("("):
            node = self._expression()
            self._expect(")")
            return node
        if self._take_if("["):
            return self._made(ListLiteral(tuple(self._until("]")), token.column))
        return self._refuse("a value")

    def _number(self, token: Token, minus: Token | None = None) -> Node:
        assert not isinstance(token.value, str)
        value, column = (
            (token.value, token.column) if minus is None else (-token.value, minus.column)
        )
        if isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
            raise ExpressionError("the number does not fit into 64 bits", column)
        return self._made(Literal(value, column))

    def _named(self) -> Node:
        if self._next.text in _CONSTANTS:
            token = self._take()
            return self._made(Literal(_CONSTANTS[token.text], token.column))
        name = self._expect_name("a value")
        if self._take_if("("):
            return self._function(name)
        if name.text in _RESERVED:
            raise ExpressionError(f"{name.text!r} is a reserved word", name.column)
        return self._made(Identifier(name.text, name.column))

    def _function(self, name: Token) -> Node:
        if name.text == "has":
            return self._has(name)
        if name.text == "count":
            variable, target, predicate = self._arguments(name, 3)
            return self._macro("count", target, (variable, predicate), name)
        if name.text not in _FUNCTIONS:
            raise ExpressionError(f"unknown function {name.text!r}", name.column, _FUNCTIONS_HELP)
        function, wanted = _FUNCTIONS[name.text]
        return self._call(function, self._arguments(name, wanted), name)

    def _has(self, name: Token) -> Node:
        (argument,) = self._arguments(name, 1)
        if not isinstance(argument, Select):
            raise ExpressionError("has() asks for a field", argument.column, "write has(a.b)")
        return self._made(Has(argument.operand, argument.field, argument.column))

    def _macro(
        self, macro: MacroName, target: Node, arguments: Sequence[Node], name: Token
    ) -> Node:
        variable, predicate = arguments
        if not isinstance(variable, Identifier):
            example = "count(v, list, v > 0)" if macro == "count" else f"list.{macro}(v, v > 0)"
            raise ExpressionError(
                f"{macro}() starts with the name of a variable",
                variable.column,
                f"write {example}",
            )
        return self._made(Macro(macro, target, variable.name, predicate, name.column))

    def _call(self, function: FunctionName, arguments: Sequence[Node], name: Token) -> Node:
        if function == "matches":
            _check_pattern(arguments[1])
        elif function == "get":
            _check_field(arguments[0])
        elif function in TIME_READERS:
            _check_time(function, arguments[0])
        return self._made(Call(function, tuple(arguments), name.column))

    def _arguments(self, name: Token, wanted: int) -> list[Node]:
        arguments = self._until(")")
        if len(arguments) != wanted:
            raise ExpressionError(
                f"{name.text}() is given {len(arguments)} arguments",
                name.column,
                f"expected {wanted} between the parentheses",
            )
        return arguments

    def _until(self, closing: str) -> list[Node]:
        """Expressions parted by commas, up to and with the closing symbol."""
        items: list[Node] = []
        if self._take_if(closing):
            return items
        items.append(self._expression())
        while self._take_if(","):
            items.append(self._expression())
        self._expect(closing)
        return items


def _check_pattern(node: Node) -> None:
    if not (isinstance(node, Literal) and isinstance(node.value, str)):
        raise ExpressionError(
            "the pattern of matches() must be written out", node.column, 'write x.matches("^a+$")'
        )
    try:
        compile_pattern(node.value)
    except PatternError as error:
        raise ExpressionError(f"the pattern cannot be used: {error}", node.column) from None


def _check_field(node: Node) -> None:
    if not isinstance(node, Select | Index):
        raise ExpressionError(
            "get() asks for a field and what to take when it is missing",
            node.column,
            "write get(a.b, 0)",
        )


def _check_time(function: FunctionName, node: Node) -> None:
    if isinstance(node, Literal) and isinstance(node.value, str):
        try:
            TIME_READERS[function](node.value)
        except ValueError as error:
            raise ExpressionError(f"the text of {function}() {error}", node.column) from None


def _check_depth(root: Node) -> None:
    waiting = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _too_deep(node.column)
        waiting.extend((child, depth + 1) for child in children_of(node))


def _too_deep(column: int) -> ExpressionError:
    return ExpressionError(
        "the expression is nested too deeply",
        column,
        f"at most {MAX_DEPTH} levels are accepted; group long chains with parentheses",
    )
