"""Checks against what the configured servers offer: their names, tools and input schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mcpuppet.workflow.checks.subject import Subject, suggest
from mcpuppet.workflow.findings import Code, Finding
from mcpuppet.workflow.yaml_reader import Path

UNKNOWN_TOOL = Code("WF205", "unknown-tool", "error")
UNKNOWN_ARGUMENT = Code("WF206", "unknown-argument", "error")


def unknown_tool(subject: Subject) -> Iterator[Finding]:
    """WF205: a tool that no configured server offers."""
    for path, tool in _named_tools(subject):
        server = tool.partition(".")[0]
        place = subject.document.place(path)
        if subject.servers is not None and server not in subject.servers:
            help = suggest(server, subject.servers, "servers")
            yield Finding(UNKNOWN_TOOL, place, f"no server {server!r} is configured", help)
        elif subject.tools is not None and tool not in subject.tools:
            help = suggest(tool, subject.tools, "tools")
            yield Finding(UNKNOWN_TOOL, place, f"no server offers the tool {tool!r}", help)


def unknown_argument(subject: Subject) -> Iterator[Finding]:
    """WF206: `args` names an argument that the tool does not take."""
    for path, tools, arguments in _named_arguments(subject):
        for tool in tools:
            known = _closed_properties((subject.tools or {}).get(tool))
            for name in arguments:
                if known is not None and name not in known:
                    yield Finding(
                        UNKNOWN_ARGUMENT,
                        subject.document.key_place((*path, name)),
                        f"tool {tool!r} takes no argument {name!r}",
                        suggest(name, known, "arguments"),
                    )


def _named_tools(subject: Subject) -> Iterator[tuple[Path, str]]:
    for name, step in subject.definition.steps.items():
        for index, tool in enumerate(step.tool or ()):
            yield ("steps", name, "tool", index), tool
        if step.compensate is not None:
            yield ("steps", name, "compensate", "tool"), step.compensate.tool


def _named_arguments(subject: Subject) -> Iterator[tuple[Path, list[str], list[str]]]:
    for name, step in subject.definition.steps.items():
        yield ("steps", name, "args"), list(step.tool or ()), list(step.args or ())
        if step.compensate is not None:
            path: Path = ("steps", name, "compensate", "args")
            yield path, [step.compensate.tool], list(step.compensate.args or ())


def _closed_properties(tool: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The arguments a tool names; None when it names none, or says that it takes others too.

    A schema silent about additional properties is taken as closed: the common reason for an
    argument that is not listed is a misspelt name.
    """
    schema = (tool or {}).get("inputSchema")
    if not isinstance(schema, Mapping) or not isinstance(schema.get("properties"), Mapping):
        return None
    is_open = schema.get("additionalProperties", False) is not False
    return None if is_open or "patternProperties" in schema else schema["properties"]
