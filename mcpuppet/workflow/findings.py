"""What a check noticed, and where: the values every validator part yields.

Codes are stable and public (`WF` + three digits, grouped by hundreds: 1 file and shape, 2
references and types, 3 graph, 4 guards and arguments, 5 approvals, policies and retries). This
module knows no check; `workflow/checks` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a file; line and column count from 1, the column in characters."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Code:
    """A public finding code: `number` such as "WF301", a slug, and how bad it is."""

    number: str
    slug: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a check noticed: what, where, how bad, and what would have been accepted."""

    code: Code
    place: Place
    message: str
    help: str | None = None

    @property
    def severity(self) -> Severity:
        return self.code.severity

    def __str__(self) -> str:
        line = f"{self.place}: {self.code.number} {self.severity} {self.code.slug}: {self.message}"
        return line if self.help is None else f"{line}\n    help: {self.help}"


YAML_SYNTAX = Code("WF101", "yaml-syntax", "error")
DUPLICATE_KEY = Code("WF102", "duplicate-key", "error")
UNKNOWN_KEY = Code("WF103", "unknown-key", "error")
WRONG_TYPE = Code("WF104", "wrong-type", "error")
MISSING_KEY = Code("WF105", "missing-key", "error")
ANCHORS_OR_TAGS = Code("WF106", "anchors-or-tags", "error")
TOO_DEEP_OR_BIG = Code("WF107", "too-deep-or-big", "error")
BAD_DURATION = Code("WF108", "bad-duration", "error")
NOT_SUPPORTED = Code("WF109", "not-supported-yet", "error")
BAD_EXPRESSION = Code("WF110", "bad-expression", "error")
BAD_SCHEMA = Code("WF111", "bad-schema", "error")
DUPLICATE_WORKFLOW = Code("WF112", "duplicate-workflow", "error")
SHARED_TOOL = Code("WF210", "shared-tool", "error")
"""These two are of several files: found where they are read together, not in one of them."""
