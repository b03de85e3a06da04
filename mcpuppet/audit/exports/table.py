"""The audit trail as a table: RFC 4180, one row per record, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from mcpuppet.audit.exports.entry import Entry
from mcpuppet.audit.record import format_instant

COLUMNS = (
    "leaf",
    "session",
    "seq",
    "at",
    "kind",
    "status",
    "who",
    "credential",
    "tool",
    "step",
    "rule",
    "reason",
    "call_id",
    "digest",
    "seconds",
    "node",
    "hash",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """A header and a row per entry; a cell may hold line breaks, as RFC 4180 allows."""
    yield _row(COLUMNS)
    for entry in entries:
        yield _row(_cells(entry))


def safe_cell(value: object) -> str:
    """The text of a cell, which no spreadsheet takes for a formula.

    A `'` stands before what one would (OWASP, "CSV Injection").
    """
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _cells(entry: Entry) -> tuple[object, ...]:
    return (
        entry.leaf,
        entry.session_id,
        entry.seq,
        None if entry.at is None else format_instant(entry.at),
        entry.kind,
        entry.status,
        entry.who,
        entry.credential,
        entry.tool,
        entry.step,
        entry.rule,
        entry.reason,
        entry.call_id,
        entry.digest,
        entry.seconds,
        entry.node,
        entry.hash,
    )


def _row(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([_printable(safe_cell(one)) for one in cells])
    return text.getvalue().removesuffix("\r\n")


def _printable(text: str) -> str:
    # Foreign JSON may hold lone surrogates, which no file in UTF-8 can.
    return text.encode("utf-8", "replace").decode("utf-8")
