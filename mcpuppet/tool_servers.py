"""What the orchestrator needs of the servers behind it; `gateway.downstream` implements it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol

from mcpuppet.session.outcome import Outcome
from mcpuppet.workflow.schema import CompiledSchema

OnProgress = Callable[[float, float | None, str | None], Awaitable[None]]
"""Called with progress, total (None when not known) and message."""


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
    ) -> Outcome:
        """Call a tool once. Raises nothing but the caller's own cancellation."""
        ...
