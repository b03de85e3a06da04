"""What a check noticed, and where: the values every validator part yields.

Codes are stable and public (`WF` + three digits, grouped by hundreds: 1 file and shape, 2
references and types, 3 graph, 4 guards and arguments, 5 approvals, policies and retries, 6 refuted
properties, 7 pinned tools, 9 limits). This module knows no check; `workflow/checks` does.
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
    about: str
    """What is found, in one sentence that needs no example."""
    help: str
    """What to do about it, in one line."""
    can_be_ignored: bool = True
    """False for what the compiler and later checks rely on: no comment may make them skip it."""
    beyond_file: bool = False
    """Found only where something outside the file is known too, such as the servers' tools."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a check noticed: what, where, how bad, and what would have been accepted."""

    code: Code
    place: Place
    message: str
    help: str | None = None
    trace: tuple[str, ...] = ()
    """The events that lead to what was found, one sentence each, in their order."""

    @property
    def severity(self) -> Severity:
        return self.code.severity

    def __str__(self) -> str:
        line = f"{self.place}: {self.code.number} {self.severity} {self.code.slug}: {self.message}"
        return line if self.help is None else f"{line}\n    help: {self.help}"


YAML_SYNTAX = Code(
    "WF101",
    "yaml-syntax",
    "error",
    about="The file is not one YAML document in UTF-8, or holds a value that JSON cannot carry.",
    help="put right what the parser stumbled over; text with `: `, ` #`, brackets or braces "
    "belongs in quotes",
    can_be_ignored=False,
)
DUPLICATE_KEY = Code(
    "WF102",
    "duplicate-key",
    "error",
    about="A key stands twice in one mapping, or two policies or two properties have one id.",
    help="keep one of the two, or give one of them another name",
    can_be_ignored=False,
)
UNKNOWN_KEY = Code(
    "WF103",
    "unknown-key",
    "error",
    about="A key that the language does not have at this place; nothing would ever read it.",
    help="use one of the keys that are accepted here",
    can_be_ignored=False,
)
WRONG_TYPE = Code(
    "WF104",
    "wrong-type",
    "error",
    about="A value has another type or form than its key takes, or the key is for the other kind "
    "of step.",
    help="write the value in the form that the message names",
    can_be_ignored=False,
)
MISSING_KEY = Code(
    "WF105",
    "missing-key",
    "error",
    about="A key that is required here is missing, or of keys that exclude each other not exactly "
    "one is given.",
    help="add the key that the message names",
    can_be_ignored=False,
)
ANCHORS_OR_TAGS = Code(
    "WF106",
    "anchors-or-tags",
    "error",
    about="The file uses a YAML anchor, alias or tag, which would make it mean more than it shows.",
    help="write the value out where it is needed",
    can_be_ignored=False,
)
TOO_DEEP_OR_BIG = Code(
    "WF107",
    "too-deep-or-big",
    "error",
    about="The file is larger than 4 MiB, nested deeper than 32 levels, has too many values or too "
    "many mistakes to go on.",
    help="split the file, or flatten what is nested",
    can_be_ignored=False,
)
BAD_DURATION = Code(
    "WF108",
    "bad-duration",
    "error",
    about="A duration is not a whole number with a unit, or is longer than 3650 days.",
    help="write 500ms, 30s, 5m, 4h or 2d",
    can_be_ignored=False,
)
NOT_SUPPORTED = Code(
    "WF109",
    "not-supported-yet",
    "error",
    about="A key of the language that this version reads but does not carry out; accepting it "
    "would promise what nobody enforces.",
    help="leave the key out until a version supports it",
    can_be_ignored=False,
)
BAD_EXPRESSION = Code(
    "WF110",
    "bad-expression",
    "error",
    about="An expression cannot be read: its syntax, a function that does not exist, or its size.",
    help="correct the expression where the caret points",
    can_be_ignored=False,
)
BAD_SCHEMA = Code(
    "WF111",
    "bad-schema",
    "error",
    about="A JSON Schema is not valid, or asks for something that is never done here, such as "
    "fetching a remote reference.",
    help="correct the schema at the place that the message names",
    can_be_ignored=False,
)
DUPLICATE_WORKFLOW = Code(
    "WF112",
    "duplicate-workflow",
    "error",
    about="Two files of one project have the same name, so it would not be known which is meant.",
    help="rename one of them",
    can_be_ignored=False,
)
IGNORE_WITHOUT_REASON = Code(
    "WF113",
    "ignore-without-reason",
    "warning",
    about="A comment asks to ignore a finding but does not say why; without a reason it drops "
    "nothing.",
    help="write the reason after the brackets: `# mcpuppet: ignore[WF511] used from next month`",
    can_be_ignored=False,
)
UNUSED_IGNORE = Code(
    "WF114",
    "unused-ignore",
    "warning",
    about="A comment asks to ignore a finding that is not there (any more).",
    help="remove the comment, or move it to the line of the finding or directly above",
    can_be_ignored=False,
)
BAD_IGNORE = Code(
    "WF115",
    "bad-ignore",
    "warning",
    about="A comment asks to ignore a code that does not exist or cannot be ignored, or is not "
    "written as `# mcpuppet: ignore[CODE] reason`.",
    help="name codes that can be ignored; `mcpuppet explain` lists them",
    can_be_ignored=False,
)
BAD_INCLUDE = Code(
    "WF116",
    "bad-include",
    "error",
    about="A file that `use` or `from_file` names cannot be taken over, or does not fit the rest.",
    help="name a file of the right kind inside the folder of the workflow; links are not followed",
    can_be_ignored=False,
)
SHARED_TOOL = Code(
    "WF210",
    "shared-tool",
    "error",
    about="One principal may use a tool through two workflows, and so could pick the laxer rules.",
    help="if it is meant, list the tool under `shared_tools` in the settings",
    can_be_ignored=False,
)
FURTHER_CODES = (DUPLICATE_WORKFLOW, SHARED_TOOL)
"""Codes of several files: found where they are read together, not in one of them."""
