"""The audit trail in the Common Event Format, version 0, one event a line.

Format: Micro Focus Security ArcSight Common Event Format, "Implementing ArcSight Common Event
Format (CEF)", revision 25. In the header `|` and `\\` are escaped, in extension values `=` and
`\\`; line breaks are written as `\\n`, all else that is not printable ASCII as `\\u` and a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mcpuppet import __version__
from mcpuppet.audit.exports.entry import Entry

_SEVERITY = {"info": 1, "success": 1, "waiting": 3, "unknown": 7, "failure": 6, "denied": 8}
_LONGEST = 1023
"""Characters of an extension value; what CEF allows for `msg`, the longest of those used."""
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def cef_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """One event per entry; the device's own id of an event is the record's place in its session."""
    for entry in entries:
        head = ("CEF:0", "MCPuppet", "MCPuppet", __version__, entry.kind, _name(entry))
        header = "|".join(_header(one) for one in head)
        yield f"{header}|{_SEVERITY[entry.status]}|{' '.join(_extension(entry))}"


def _name(entry: Entry) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", entry.kind).lower()
    return f"{words}: {entry.tool}" if entry.tool else words


def _extension(entry: Entry) -> Iterator[str]:
    millis = None if entry.at is None else int(entry.at.timestamp() * 1000)
    fields: tuple[tuple[str, object], ...] = (
        ("rt", millis),
        ("externalId", f"{entry.session_id}/{entry.seq}"),
        ("suser", entry.who),
        ("outcome", entry.status),
        ("act", entry.tool),
        ("reason", entry.rule),
        ("msg", entry.reason),
        ("dvchost", entry.node),
        ("cs1Label", "session"),
        ("cs1", entry.session_id),
        ("cs2Label", "step"),
        ("cs2", entry.step),
        ("cs3Label", "argumentDigest"),
        ("cs3", entry.digest),
        ("cs4Label", "recordHash"),
        ("cs4", entry.hash),
        ("cs5Label", "credential"),
        ("cs5", entry.credential),
        ("cn1Label", "leaf"),
        ("cn1", entry.leaf),
    )
    for name, value in fields:
        if value not in (None, ""):
            yield f"{name}={_value(str(value))}"


def _header(text: str) -> str:
    return _ascii(text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " "))


def _value(text: str) -> str:
    cut = text if len(text) <= _LONGEST else text[:_LONGEST]
    escaped = cut.replace("\\", "\\\\").replace("=", "\\=")
    return _ascii(escaped.replace("\r", "\\r").replace("\n", "\\n"))


def _ascii(text: str) -> str:
    """The text without what a terminal or a parser of lines could take for something else."""
    return _UNPRINTABLE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text)
