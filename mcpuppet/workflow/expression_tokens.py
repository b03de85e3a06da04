"""The words of the guard language: numbers, texts, names and symbols, each with its column.

Owns spelling alone (CEL's: langdef.md, "Syntax" and "String and Bytes Values"): what cannot be a
word of a guard is refused here, and which words may follow each other is the parser's.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal as OneOf

from mcpuppet.workflow.expression_ast import ExpressionError

TokenKind = OneOf["number", "string", "name", "symbol", "end"]

_SPACE = re.compile(r"[ \t\n\r\f]*")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SYMBOL = re.compile(r"==|!=|<=|>=|&&|\|\||[<>!+\-*/%?:.,()\[\]]")
_STRING = re.compile(r"""(?P<raw>[rR]?)(?P<quote>["'])""")
_ESCAPE = re.compile(
    r"""\\(?:(?P<plain>[abfnrtv\\?"'`])|[xX](?P<hex>[0-9A-Fa-f]{2})|u(?P<u4>[0-9A-Fa-f]{4})"""
    r"""|U(?P<u8>[0-9A-Fa-f]{8})|(?P<octal>[0-3][0-7]{2}))"""
)
_PLAIN_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the source; `value` is set for numbers and strings. Columns count from 1."""

    kind: TokenKind
    text: str
    column: int
    value: int | float | str = ""


def tokens_of(source: str) -> list[Token]:
    """The words of a guard, with an "end" after the last. Raises ExpressionError."""
    tokens: list[Token] = []
    at = _skip_space(source, 0)
    while at < len(source):
        token, at = _token(source, at)
        tokens.append(token)
        at = _skip_space(source, at)
    tokens.append(Token("end", "the end", len(source) + 1))
    return tokens


def _skip_space(source: str, at: int) -> int:
    space = _SPACE.match(source, at)
    assert space is not None
    return space.end()


def _token(source: str, at: int) -> tuple[Token, int]:
    if opening := _STRING.match(source, at):
        return _string(source, opening)
    if name := _NAME.match(source, at):
        return _name(source, name)
    if number := _NUMBER.match(source, at):
        return _number(source, number)
    if symbol := _SYMBOL.match(source, at):
        return _symbol(source, symbol)
    raise ExpressionError(f"unexpected character {source[at]!r}", at + 1, _help_for(source[at]))


def _help_for(character: str) -> str | None:
    known = {
        "=": "write == to compare",
        "&": "write && for 'and'",
        "|": "write || for 'or'",
        "{": "map literals are not part of the guard language",
        "`": 'write a["odd-name"] for a field whose name is not a word',
    }
    return known.get(character)


def _name(source: str, match: re.Match[str]) -> tuple[Token, int]:
    if match[0].lower() in ("b", "br", "rb") and source[match.end() : match.end() + 1] in (
        "'",
        '"',
    ):
        raise ExpressionError("bytes are not part of the guard language", match.start() + 1)
    return Token("name", match[0], match.start() + 1), match.end()


def _symbol(source: str, match: re.Match[str]) -> tuple[Token, int]:
    if source.startswith("//", match.start()):
        raise ExpressionError("comments are not accepted inside a guard", match.start() + 1)
    return Token("symbol", match[0], match.start() + 1), match.end()


def _number(source: str, match: re.Match[str]) -> tuple[Token, int]:
    text, column = match[0], match.start() + 1
    if _NAME.match(source, match.end()):
        raise ExpressionError(
            f"{source[match.start() : match.end() + 1]!r} does not start a number",
            column,
            "write whole numbers as 12 and others as 1.5 or 1e3; no u, no 0x",
        )
    if text.isdigit():
        return Token("number", text, column, int(text)), match.end()
    value = float(text)
    if math.isinf(value):
        raise ExpressionError("the number is too large", column)
    return Token("number", text, column, value), match.end()


def _string(source: str, opening: re.Match[str]) -> tuple[Token, int]:
    column, quote = opening.start() + 1, opening["quote"]
    if source.startswith(quote * 3, opening.start("quote")):
        raise ExpressionError("triple quotes are not accepted", column, f"use single {quote}")
    characters: list[str] = []
    at = opening.end()
    while at < len(source) and source[at] != quote:
        text, at = _string_part(source, at, bool(opening["raw"]))
        characters.append(text)
    if at >= len(source):
        raise ExpressionError("the text is not closed", column, f"end it with {quote}")
    value = "".join(characters)
    return Token("string", source[opening.start() : at + 1], column, value), at + 1


def _string_part(source: str, at: int, raw: bool) -> tuple[str, int]:
    character = source[at]
    if character in "\r\n":
        raise ExpressionError("a text may not run over the end of a line", at + 1, "write \\n")
    if "\ud800" <= character <= "\udfff":
        raise ExpressionError("half a surrogate pair is not a character", at + 1)
    if raw or character != "\\":
        return character, at + 1
    escape = _ESCAPE.match(source, at)
    if escape is None:
        raise ExpressionError(
            f"unknown escape {source[at : at + 2]!r} in a text".replace("\\\\", "\\"),
            at + 1,
            'double the backslash, or write r"..." for a text without escapes',
        )
    return _escaped(escape), escape.end()


def _escaped(escape: re.Match[str]) -> str:
    if plain := escape["plain"]:
        return _PLAIN_ESCAPES.get(plain, plain)
    if octal := escape["octal"]:
        return chr(int(octal, 8))
    code = int(escape["hex"] or escape["u4"] or escape["u8"], 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise ExpressionError(f"{escape[0]} is not a Unicode character", escape.start() + 1)
    return chr(code)
