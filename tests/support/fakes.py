"""Hand-written fakes: a clock that is set, ids that count, and servers made of functions."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

from mcpuppet.errors import DownstreamUnavailableError
from mcpuppet.session.outcome import Failed, Outcome, Succeeded
from mcpuppet.workflow.schema import CompiledSchema, compile_schema
from mcpuppet.workflow.sensitive import NOTHING, Sensitive, marked_places

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **parts: float) -> None:
        self.now += timedelta(**parts)


class Ids:
    """Ids that count, so that a failing test can be read."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers)}"


@dataclass(frozen=True)
class FakeTool:
    """A tool as a server would list it."""

    server: str
    name: str
    definition: Mapping[str, Any]
    input_schema: CompiledSchema
    digest: str = "0" * 64
    sensitive: Sensitive = NOTHING


Behaviour = Callable[[dict[str, Any]], Outcome | Awaitable[Outcome]]


def succeeded(**result: Any) -> Succeeded:
    """A result with structured content and nothing else."""
    return Succeeded({"content": [], "structuredContent": result, "isError": False})


def failed(message: str = "it broke") -> Failed:
    """A tool that reports an error."""
    return Failed("tool_error", message)


@dataclass
class FakeServers:
    """Servers that answer with what a test gave them, and remember what reached them."""

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    schemas: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    not_listed_yet: bool = False
    """Whether no server has listed its tools yet."""
    down: set[str] = field(default_factory=set)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    arrived: anyio.Event = field(default_factory=anyio.Event)

    def offer(
        self, tool: str, behaviour: Behaviour | None = None, schema: dict[str, Any] | None = None
    ) -> None:
        self.behaviours[tool] = behaviour or (lambda arguments: succeeded())
        self.schemas[tool] = schema or {"type": "object"}

    async def tools(self, server: str, *, wait: float) -> Mapping[str, FakeTool]:
        if server in self.down:
            raise DownstreamUnavailableError(server, "it is switched off")
        self.not_listed_yet = False
        return self.known_tools(server) or {}

    def known_tools(self, server: str) -> Mapping[str, FakeTool] | None:
        if self.not_listed_yet:
            return None
        return {
            tool.partition(".")[2]: self._tool(tool)
            for tool in self.behaviours
            if tool.startswith(f"{server}.")
        }

    def left_out(self, server: str, tool: str) -> str | None:
        return None

    async def screen_again(self) -> None:
        """Nothing is ever left out."""

    def _tool(self, tool: str) -> FakeTool:
        server, _, name = tool.partition(".")
        schema = self.schemas[tool]
        definition = {"name": name, "description": f"Fake {name}.", "inputSchema": schema}
        sensitive = Sensitive(marked_places(schema), marked_places(self.outputs.get(tool)))
        compiled = compile_schema(schema)
        return FakeTool(server, name, definition, compiled, sensitive=sensitive)

    async def call(
        self,
        server: str,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout: timedelta | None,
        on_progress: Any,
        meta: Mapping[str, Any] | None = None,
        digest: str | None = None,
        on_late: Any = None,
    ) -> Outcome:
        self.calls.append((f"{server}.{tool}", dict(arguments)))
        self.arrived.set()
        outcome = self.behaviours[f"{server}.{tool}"](dict(arguments))
        return outcome if not isinstance(outcome, Awaitable) else await outcome
