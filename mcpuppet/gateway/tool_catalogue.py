"""What a downstream server's answers mean: the tools it lists, and the results of their calls.

Owns which tools are usable, with the reason for each that is not, and the outcome a result stands
for. Definitions and results stay the JSON the server sent, unknown fields included: MCP's types
judge them and never rewrite them. Knows nothing of processes and connections.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp_types.methods import validate_server_result
from mcp_types.version import LATEST_HANDSHAKE_VERSION
from pydantic import ValidationError

from mcpuppet.session.outcome import Failed, Succeeded, error_text
from mcpuppet.workflow.schema import CompiledSchema, SchemaError, compile_schema
from mcpuppet.workflow.sensitive import NOTHING, Sensitive, marked_places
from mcpuppet.workflow.tool_pins import json_digest

# MCP 2025-11-25, server/tools, "Tool Names".
_TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a downstream server offers.

    `definition` is the tool as listed, complete and unchanged; `digest` is the SHA-256 (hex) of its
    canonical JSON (sorted keys, no spaces, UTF-8). `read_only` is the server's own claim
    (`annotations.readOnlyHint`): a hint to show, never a reason to trust.
    """

    server: str
    name: str
    definition: Mapping[str, Any]
    input_schema: CompiledSchema
    output_schema: CompiledSchema | None
    digest: str
    read_only: bool
    sensitive: Sensitive = NOTHING
    """Where its schemas mark values that are not to be recorded."""

    @property
    def qualified(self) -> str:
        """The tool's name among all servers: `server.tool`."""
        return f"{self.server}.{self.name}"


@dataclass(frozen=True, slots=True)
class RejectedTool:
    """A listed tool that cannot be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that one listing of a server's tools said."""

    tools: Mapping[str, Tool] = field(default_factory=dict)
    rejected: tuple[RejectedTool, ...] = ()

    def differs_from(self, other: Catalogue | None) -> bool:
        """Return whether a reader of `other` would now see something else."""
        return other is None or self._facts() != other._facts()

    def _facts(self) -> tuple[object, ...]:
        return {name: tool.digest for name, tool in self.tools.items()}, self.rejected


def read_catalogue(server: str, listed: Sequence[Any]) -> Catalogue:
    """Sort listed tools into usable and rejected; one bad tool never spoils the others."""
    tools: dict[str, Tool] = {}
    rejected: list[RejectedTool] = []
    for position, definition in enumerate(listed, start=1):
        entry = _read_tool(server, definition, position)
        if isinstance(entry, Tool) and entry.name in tools:
            entry = RejectedTool(entry.name, "listed twice; the first definition is used")
        if isinstance(entry, Tool):
            tools[entry.name] = entry
        else:
            rejected.append(entry)
    return Catalogue(tools, tuple(rejected))


def outcome_of(tool: Tool, result: Mapping[str, Any]) -> Succeeded | Failed:
    """Return the outcome that a server's answer to `tools/call` stands for.

    A result that reports an error is not held to the output schema (MCP 2025-11-25, server/tools,
    "Output Schema" speaks of structured results only).
    """
    fault = _mcp_fault("tools/call", result)
    if fault is None and result.get("isError") is True:
        return Failed("tool_error", error_text(result), result)
    fault = fault or _schema_fault(tool, result)
    if fault is not None:
        return Failed("invalid_result", f"{tool.qualified} answered, but {fault}", result)
    return Succeeded(result)


def _read_tool(server: str, definition: Any, position: int) -> Tool | RejectedTool:
    name = definition.get("name") if isinstance(definition, dict) else None
    shown = name if isinstance(name, str) else f"(tool {position} of the list)"
    fault = _mcp_fault("tools/list", {"tools": [definition]}, skip=2)
    if fault is None and not _TOOL_NAME.fullmatch(shown):
        fault = "its name is not 1 to 128 of the characters A-Z a-z 0-9 _ - ."
    if fault is not None:
        return RejectedTool(shown, fault)
    try:
        return _compile_tool(server, definition)
    except SchemaError as error:
        return RejectedTool(shown, f"its schema cannot be used: {error}")
    except RecursionError:
        return RejectedTool(shown, "its schema is nested too deeply")


def _compile_tool(server: str, definition: Mapping[str, Any]) -> Tool:
    output = definition.get("outputSchema")
    annotations = definition.get("annotations") or {}
    return Tool(
        server=server,
        name=definition["name"],
        definition=definition,
        input_schema=compile_schema(definition["inputSchema"]),
        output_schema=None if output is None else compile_schema(output),
        digest=json_digest(definition),
        read_only=annotations.get("readOnlyHint") is True,
        sensitive=Sensitive(marked_places(definition["inputSchema"]), marked_places(output)),
    )


def _schema_fault(tool: Tool, result: Mapping[str, Any]) -> str | None:
    if tool.output_schema is None:
        return None
    if "structuredContent" not in result:
        return "without the structuredContent that its outputSchema promises"
    try:
        violations = tool.output_schema.violations(result["structuredContent"])
    except RecursionError:
        return "its structuredContent is nested too deeply to be checked"
    if not violations:
        return None
    return f"its structuredContent breaks its outputSchema: {'; '.join(violations)}"


def _mcp_fault(method: str, result: Mapping[str, Any], skip: int = 0) -> str | None:
    """Say what MCP itself forbids about a result, by the check that MCP servers apply as well.

    An answer that passes here can be handed on by MCPuppet's own server; one that does not would
    make that server's whole answer fail. `skip` is how many steps of the faulty place to leave out.
    """
    try:
        validate_server_result(method, LATEST_HANDSHAKE_VERSION, result)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][skip:])
        return f"it is not valid MCP: {where}: {first['msg']}" if where else first["msg"]
    return None
