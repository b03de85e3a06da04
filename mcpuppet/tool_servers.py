"""What the orchestrator needs of the servers behind it; `gateway.downstream` implements it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol

from mcpuppet.session.outcome import Outcome
from mcpuppet.workflow.schema import CompiledSchema
from mcpuppet.workflow.sensitive import NOTHING, Sensitive

OnProgress = Callable[[float, float | None, str | None], Awaitable[None]]
"""Called with progress, total (None when not known) and message."""
OnLate = Callable[[Outcome, float], Awaitable[None]]
"""Called with the outcome of a call that nobody waits for any more, and the seconds it took."""


class ToolDefinition(Protocol):
    """A tool as its server lists it."""

    @property
    def server(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def definition(self) -> Mapping[str, Any]:
        """The tool's JSON, complete and unchanged."""
        ...

    @property
    def input_schema(self) -> CompiledSchema: ...

    @property
    def digest(self) -> str:
        """SHA-256 of the definition, in hex."""
        ...

    @property
    def sensitive(self) -> Sensitive:
        """Where its schemas mark values that are not to be recorded."""
        ...


class ToolServers(Protocol):
    """The downstream servers, seen from above."""

    async def tools(self, server: str, *, wait: float) -> Mapping[str, ToolDefinition]:
        """A server's tools by name; connects if need be, for at most `wait` seconds.

        Raises DownstreamUnavailableError when the server is unknown or cannot be used.
        """
        ...

    def known_tools(self, server: str) -> Mapping[str, ToolDefinition] | None:
        """The tools a server listed last, without connecting; None if it never did."""
        ...

    def left_out(self, server: str, tool: str) -> str | None:
        """Why a tool that the server lists cannot be used; None if it does not list it."""
        ...

    async def screen_again(self) -> None:
        """Judge anew which of the listed tools may be used, if other ones may be by now."""
        ...

    async def call(
        self,
        server: str,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout: timedelta | None,
        on_progress: OnProgress | None,
        meta: Mapping[str, Any] | None = None,
        digest: str | None = None,
        on_late: OnLate | None = None,
    ) -> Outcome:
        """Call a tool once. Raises nothing but the caller's own cancellation.

        With `on_late` an answer that comes after the outcome counted as unknown is handed on.
        """
        ...


def sensitive_places(servers: ToolServers, tool: str) -> Sensitive:
    """Where a tool's schemas mark values that are not to be recorded, as far as they are known."""
    server, _, name = tool.partition(".")
    definition = (servers.known_tools(server) or {}).get(name)
    return NOTHING if definition is None else definition.sensitive
