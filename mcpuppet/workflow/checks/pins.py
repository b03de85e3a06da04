"""Checks against the tools that were pinned: whether what a server offers is still that.

They need the tools that servers offer now, and so run only where servers were asked. No comment in
a file can drop their findings: a changed tool is accepted in the lock file, for all files at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from mcpuppet.workflow.checks.subject import Subject, ToolDefinition
from mcpuppet.workflow.checks.tools import tools_of_steps
from mcpuppet.workflow.definition import RulesDefinition
from mcpuppet.workflow.findings import Code, Finding
from mcpuppet.workflow.tool_pins import changes, pin_digest
from mcpuppet.workflow.yaml_reader import Path

TOOL_REMOVED = Code(
    "WF701",
    "tool-removed",
    "error",
    about="A tool that the file uses and the lock file pins is no longer offered.",
    help="if that is meant: `mcpuppet pin --accept`, and take the tool out of the file",
    can_be_ignored=False,
)
TOOL_CHANGED = Code(
    "WF702",
    "tool-schema-changed",
    "error",
    about="A tool that the file uses is no longer what it was when it was pinned.",
    help="read the change; if it is fine: `mcpuppet pin --accept`",
    can_be_ignored=False,
)


def drifted_tools(
    subject: Subject,
    pinned: Mapping[str, ToolDefinition],
    answered: frozenset[str] | None = None,
) -> Iterator[Finding]:
    """WF701 and WF702: pinned tools, used by a file, that servers no longer offer as they were.

    `subject.tools` are the tools offered now, and `answered` the servers that listed theirs; None:
    all did. Of the tools of any other server nothing is said.
    """
    offered = subject.tools or {}
    for tool, path in _used(subject, pinned).items():
        if answered is not None and tool.partition(".")[0] not in answered:
            continue
        place = subject.document.place(path)
        if tool not in offered:
            message = f"tool {tool!r} is pinned, and its server no longer offers it"
            yield Finding(TOOL_REMOVED, place, message, TOOL_REMOVED.help)
        elif pin_digest(offered[tool]) != pin_digest(pinned[tool]):
            what = "; ".join(changes(pinned[tool], offered[tool]))
            message = f"tool {tool!r} has changed since it was pinned: {what}"
            yield Finding(TOOL_CHANGED, place, message, TOOL_CHANGED.help)


def _used(subject: Subject, pinned: Mapping[str, ToolDefinition]) -> dict[str, Path]:
    """The pinned tools that calls of a file may reach, each with where it is named first."""
    found: dict[str, Path] = {}
    for path, pattern in _patterns(subject):
        for tool in pinned:
            if fnmatchcase(tool, pattern):
                found.setdefault(tool, path)
    return found


def _patterns(subject: Subject) -> Iterator[tuple[Path, str]]:
    yield from tools_of_steps(subject)
    definition = subject.definition
    listed = "allow" if isinstance(definition, RulesDefinition) else "always"
    for at, pattern in enumerate(definition.listed_tools):
        for one in definition.tools.sets.get(pattern, [pattern]):
            yield ("tools", listed, at), one
    for name, fact in definition.facts.items():
        if fact.from_ is not None:
            yield ("facts", name, "from"), fact.from_
