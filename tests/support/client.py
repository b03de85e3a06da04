"""A real MCP client in memory, in front of the real orchestrator, with fake servers behind it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp_types import (
    CallToolRequest,
    CallToolRequestParams,
    Implementation,
    PingRequest,
    ToolListChangedNotification,
)
from pydantic import BaseModel, ConfigDict

from mcpuppet.errors import DownstreamUnavailableError
from mcpuppet.gateway.mcp_server import Bell, ClientConnection
from mcpuppet.gateway.surface import Surface
from mcpuppet.gateway.tool_names import META_TOOLS
from mcpuppet.orchestrator import Orchestrator
from mcpuppet.session import events as e
from mcpuppet.session.outcome import Outcome
from mcpuppet.settings import Unlisted
from support.fakes import Clock, FakeServers, FakeTool
from support.gateway import events_of, governed


class Raw(BaseModel):
    """A result as it came over the wire."""

    model_config = ConfigDict(extra="allow")

    def json_object(self) -> dict[str, Any]:
        return self.model_dump()


@dataclass
class Servers(FakeServers):
    """Fake servers that can also be asleep, report progress, and define tools in any way."""

    asleep: set[str] = field(default_factory=set)
    slow: bool = False
    """Whether sleeping servers let those who ask wait."""
    asked: list[str] = field(default_factory=list)
    more: dict[str, dict[str, Any]] = field(default_factory=dict)
    metas: list[Mapping[str, Any] | None] = field(default_factory=list)
    steps_reported: int = 0

    async def tools(self, server: str, *, wait: float) -> Mapping[str, FakeTool]:
        self.asked.append(server)
        if server in self.asleep:
            await anyio.sleep(wait if self.slow else 0)
            raise DownstreamUnavailableError(server, "it is still starting")
        return await super().tools(server, wait=wait)

    def known_tools(self, server: str) -> Mapping[str, FakeTool] | None:
        return None if server in self.asleep else super().known_tools(server)

    def _tool(self, tool: str) -> FakeTool:
        made = super()._tool(tool)
        definition = {**made.definition, **self.more.get(tool, {})}
        return replace(made, definition=definition, digest=json.dumps(definition))

    async def call(self, server: str, tool: str, arguments: Any, **more: Any) -> Outcome:
        self.metas.append(more.get("meta"))
        for number in range(self.steps_reported):
            if more["on_progress"] is not None:
                await more["on_progress"](float(number), 3.0, f"part {number}")
        return await super().call(server, tool, arguments, **more)


@dataclass
class Desk:
    """One connected client and everything around it."""

    orchestrator: Orchestrator
    servers: Servers
    bell: Bell
    surface: Surface
    log: list[str]
    story: list[str] = field(default_factory=list)
    changed: anyio.Event = field(default_factory=anyio.Event)
    on_change: Callable[[], Awaitable[None]] | None = None
    client: Client = field(init=False)

    async def heard(self, message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            self.story.append("changed")
            self.changed.set()
            if self.on_change is not None:
                await self.on_change()

    async def names(self) -> list[str]:
        return [one.name for one in (await self.client.list_tools()).tools]

    async def listed(self) -> list[str]:
        """What is listed besides the three meta-tools, which always come first."""
        names = await self.names()
        assert tuple(names[:3]) == META_TOOLS
        return names[3:]

    async def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
        raw = await self.client.session.send_request(request, Raw)
        self.story.append(f"answered {tool}")
        return raw.json_object()

    async def start(self, workflow: str = "tiny", **inputs: Any) -> dict[str, Any]:
        return await self.call("workflow_start", workflow=workflow, inputs=inputs)

    async def some_looks(self) -> None:
        """Give the watcher, which looks every millisecond in such a test, time for many looks."""
        for _ in range(50):
            await ping(self.client)

    async def told(self) -> None:
        """Wait until the client has been told that its list is old."""
        with anyio.fail_after(5):
            await self.changed.wait()
        self.changed = anyio.Event()

    def events(self) -> list[e.Event]:
        assert self.surface.session_id is not None
        return events_of(self.orchestrator, self.surface.session_id)

    def kinds(self) -> list[type[e.Event]]:
        return [type(one) for one in self.events()]


async def until(holds: Callable[[], Any]) -> None:
    """Wait for something that sets no event."""
    with anyio.fail_after(5):
        while not holds():  # noqa: ASYNC110 - it sets no event
            await anyio.sleep(0.01)


async def ping(client: Client) -> None:
    await client.session.send_request(PingRequest(), Raw)


def text_of(result: dict[str, Any]) -> str:
    return "\n".join(one["text"] for one in result["content"] if one["type"] == "text")


@asynccontextmanager
async def connected(
    orchestrator: Orchestrator,
    servers: Servers,
    *,
    surface: str = "dynamic",
    client: str = "test",
    barrier: float = 0.0,
    session_id: str | None = None,
    prefix: str = "ses",
    elicitation: Any = None,
) -> AsyncIterator[Desk]:
    """A client connected to the given orchestrator; `elicitation` answers questions to its user."""
    settings = replace(
        orchestrator.settings, surface=surface, list_barrier=timedelta(seconds=barrier)
    )
    bell, log, minted = Bell(), [], iter(range(1, 9))
    connection = ClientConnection(settings, bell, log.append)
    view = Surface(
        orchestrator, session_id=session_id, new_id=lambda kind: f"{prefix}_{next(minted)}"
    )
    connection.attach(view)
    desk = Desk(orchestrator, servers, bell, view, log)
    desk.client = Client(
        connection.server(),
        mode="legacy",
        client_info=Implementation(name=client, version="1"),
        message_handler=desk.heard,
        elicitation_callback=elicitation,
    )
    async with desk.client:
        yield desk


@asynccontextmanager
async def served(
    folder: Path,
    *bodies: str,
    servers: Servers | None = None,
    clock: Clock | None = None,
    default: str | None = None,
    node: str = "node_1",
    rules: str | None = None,
    unlisted: Unlisted = "deny",
    **more: Any,
) -> AsyncIterator[Desk]:
    """A client connected to an orchestrator of its own."""
    servers = Servers() if servers is None else servers
    async with (
        governed(
            folder,
            *bodies,
            servers=servers,
            clock=clock,
            default=default,
            node=node,
            rules=rules,
            unlisted=unlisted,
        ) as (orchestrator, _),
        connected(orchestrator, servers, **more) as desk,
    ):
        yield desk
