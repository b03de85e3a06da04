"""The values of facts that come from a file: one column of a CSV file, or a JSON list.

Owns the two formats (CSV as in RFC 4180 with a header row; JSON as in RFC 8259) and what is refused
in them. What is read never depends on chance: a doubtful row is a mistake and not a guess.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from mcpuppet.workflow.json_values import kind_of
from mcpuppet.workflow.source import IncludeError

ENDINGS = (".csv", ".json")
MAX_ROWS = 100_000
_MAX_TEXT = 1_000
_COLUMNS_SHOWN = 12


def fact_values(path: str, content: bytes, column: str | None, most: int) -> tuple[Any, ...]:
    """The distinct values of a file in the order in which they come, at most `most`.

    `column` names the column of a CSV file and is None for JSON. Raises IncludeError.
    """
    text = _decoded(content)
    if path.endswith(".csv"):
        return _distinct(_column_of(text, column), most)
    if column is not None:
        raise IncludeError("is JSON, which has no columns", "leave `column` out")
    return _distinct(_list_in(text), most)


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise IncludeError(f"is not UTF-8 in line {line}", "save the file as UTF-8") from error


def _column_of(text: str, column: str | None) -> Iterator[str]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        at = _index_of(header, column)
        for row in rows:
            if row:  # an empty line is no row
                yield _cell(row, at, len(header), rows.line_num)
    except csv.Error as error:
        raise IncludeError(f"is not CSV in line {rows.line_num}: {error}") from error


def _index_of(header: list[str], column: str | None) -> int:
    columns = ", ".join(repr(one[:60]) for one in header[:_COLUMNS_SHOWN])
    help = f"its columns are {columns}" if header else "its first row has to name the columns"
    if column is None:
        raise IncludeError("is CSV, and `column` does not say which column", help)
    if header.count(column) != 1:
        number = "no column" if column not in header else "more than one column"
        raise IncludeError(f"has {number} {column[:60]!r}", help)
    return header.index(column)


def _cell(row: list[str], at: int, columns: int, line: int) -> str:
    if len(row) != columns:
        raise IncludeError(f"has {len(row)} values for {columns} columns in line {line}")
    if not row[at]:
        raise IncludeError(f"has no value in line {line}", "give the value or remove the line")
    return row[at]


def _list_in(text: str) -> Iterator[Any]:
    try:
        values = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise IncludeError(f"is not JSON in line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise IncludeError("has a number or a nesting that cannot be read") from error
    if not isinstance(values, list):
        raise IncludeError("is not a list", 'write a list of values: ["a", "b"]')
    for number, value in enumerate(values, 1):
        if not _is_usable(value):
            raise IncludeError(f"has an item (number {number}) that is no text, number or boolean")
        yield value


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _is_usable(value: object) -> bool:
    if isinstance(value, str):
        return not any("\ud800" <= one <= "\udfff" for one in value)  # JSON can spell half a pair
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, (bool, int))


def _distinct(values: Iterable[Any], most: int) -> tuple[Any, ...]:
    found: dict[tuple[str, Any], Any] = {}
    for number, value in enumerate(values, 1):
        if number > MAX_ROWS:
            raise IncludeError(f"has more than {MAX_ROWS:,} values")
        if isinstance(value, str) and len(value) > _MAX_TEXT:
            raise IncludeError(f"has a value of more than {_MAX_TEXT:,} characters")
        found.setdefault((_family(value), value), value)
        if len(found) > most:
            raise IncludeError(
                f"has more than {most:,} distinct values",
                "set `max` of the fact, to 10,000 at most",
            )
    return tuple(found.values())


def _family(value: object) -> str:
    """What keeps true from 1, which Python thinks equal; 1 and 1.0 are equal in JSON too."""
    kind = kind_of(value)
    return "number" if kind in ("int", "double") else kind
