"""Files of the language in which the expected findings stand where they must be found.

`needs: <WF201>b` expects WF201 at the `b`; the mark itself is no part of the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mcpuppet.workflow.checks import check
from mcpuppet.workflow.findings import Finding
from mcpuppet.workflow.parser import parse_workflow

WORKFLOW = "mcpuppet: 1\nworkflow: w\nversion: 1.0.0\n"
RULES = "mcpuppet: 1\nrules: r\nversion: 1.0.0\n"

_FILES = {"x.csv": b"y\n1\n", "x.json": b"[1]"}
"""What `from_file` finds beside the file."""
_MARK = re.compile(r"<(WF\d+)>")


def unmarked(text: str) -> tuple[str, list[str]]:
    """A file without its marks, and `CODE line:column` of the findings that they stand for."""
    plain, expected = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        rest = line
        while mark := _MARK.search(rest):
            expected.append(f"{mark[1]} {number}:{mark.start() + 1}")
            rest = rest[: mark.start()] + rest[mark.end() :]
        plain.append(rest)
    return "\n".join(plain), expected


def findings(text: str, **known: Mapping[str, Any]) -> list[Finding]:
    """What is found in a file without marks; `known` as `check` takes it."""
    return check(parse_workflow(text, "w.yaml", _FILES.__getitem__), **known)  # type: ignore[arg-type]


def found(text: str, **known: Mapping[str, Any]) -> list[str]:
    """`CODE line:column` of every finding."""
    return [
        f"{one.code.number} {one.place.line}:{one.place.column}" for one in findings(text, **known)
    ]
