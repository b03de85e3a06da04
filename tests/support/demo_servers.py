"""The gateway as the product wires it, before the demo servers: in memory, on a clock that is set.

Files, settings, rules, store, client and servers are the real ones. Only what carries messages
between gateway and servers is not a process, so that a test of many calls takes no seconds.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp_types import CallToolRequest, CallToolRequestParams, ListToolsRequest
from pydantic import BaseModel, ConfigDict

from mcpuppet.app import load_configured
from mcpuppet.audit.replay.store import replay_store
from mcpuppet.demo.servers import server_settings
from mcpuppet.demo.servers._common import Toolbox
from mcpuppet.errors import DownstreamUnavailableError
from mcpuppet.gateway.mcp_server import Bell, ClientConnection
from mcpuppet.gateway.surface import Surface
from mcpuppet.gateway.tool_catalogue import Tool, outcome_of, read_catalogue
from mcpuppet.library import Library
from mcpuppet.orchestrator import Orchestrator
from mcpuppet.session.outcome import Outcome
from mcpuppet.settings import load_settings
from mcpuppet.store.nodes import Nodes
from mcpuppet.store.sqlite import SqliteStore
from mcpuppet.templates_path import templates_folder
from support.fakes import Clock, Ids


class Raw(BaseModel):
    """A result as it came over the wire."""

    model_config = ConfigDict(extra="allow")


async def call_raw(client: Client, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A call's result with every field that was sent."""
    params = CallToolRequestParams(name=tool, arguments=dict(arguments))
    raw = await client.session.send_request(CallToolRequest(params=params), Raw)
    return raw.model_dump()


@dataclass
class MemoryServers:
    """Demo servers in this process, each behind a real MCP client."""

    clients: Mapping[str, Client]
    listed: dict[str, Mapping[str, Tool]] = field(default_factory=dict)
    held: dict[str, anyio.Event] = field(default_factory=dict)
    """Calls of `server.tool` wait for this before they are sent."""
    on_the_way: anyio.Event = field(default_factory=anyio.Event)
    """Set when a held call has arrived here."""

    async def list_all(self) -> None:
        for server, client in self.clients.items():
            page = await client.session.send_request(ListToolsRequest(), Raw)
            self.listed[server] = read_catalogue(server, page.model_dump()["tools"]).tools

    async def tools(self, server: str, *, wait: float) -> Mapping[str, Tool]:
        if server not in self.listed:
            raise DownstreamUnavailableError(server, "no such server")
        return self.listed[server]

    def known_tools(self, server: str) -> Mapping[str, Tool] | None:
        return self.listed.get(server)

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
        gate = self.held.get(f"{server}.{tool}")
        if gate is not None:
            self.on_the_way.set()
            await gate.wait()
        result = await call_raw(self.clients[server], tool, arguments)
        return outcome_of(self.listed[server][tool], result)


@dataclass
class House:
    """A folder with settings, the gateway in it, and what its servers really did."""

    folder: Path
    orchestrator: Orchestrator
    servers: MemoryServers
    clock: Clock

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def effects(self, tool: str) -> list[dict[str, Any]]:
        """The arguments of every change that a server wrote down for `server.tool`."""
        path = self.state / "effects.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines]
        return [one["arguments"] for one in found if f"{one['server']}.{one['tool']}" == tool]

    def write_state(self, server: str, state: Mapping[str, Any]) -> None:
        """Put something in the place of what a server remembers."""
        self.state.mkdir(exist_ok=True)
        (self.state / f"{server}.json").write_text(json.dumps(state), encoding="utf-8")

    def fail(self, tool: str, times: int, message: str) -> None:
        """Have the next calls of `server.tool` fail before they change anything."""
        self.state.mkdir(exist_ok=True)
        faults = {tool: {"fail": times, "message": message}}
        (self.state / "faults.json").write_text(json.dumps(faults), encoding="utf-8")

    @asynccontextmanager
    async def client(self, session_id: str) -> AsyncIterator[Client]:
        """A real MCP client with a session of its own."""
        log: list[str] = []
        connection = ClientConnection(self.orchestrator.settings, Bell(), log.append)
        connection.attach(Surface(self.orchestrator, session_id=session_id, new_id=str))
        async with Client(connection.server(), mode="legacy") as client:
            yield client
        assert log == []


@asynccontextmanager
async def house(
    folder: Path,
    *files: str,
    rules: str = "",
    roles: Sequence[str] = (),
    texts: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> AsyncIterator[House]:
    """The gateway over shipped `files` and further `texts`, with the servers that they name."""
    workflows = folder / "workflows"
    workflows.mkdir()
    for name in (*files, "bank_vendors.csv"):
        (workflows / name).write_bytes((templates_folder() / name).read_bytes())
    for name, text in (texts or {}).items():
        (workflows / name).write_text(text, encoding="utf-8")
    config = folder / "mcpuppet.yaml"
    names = ("bank", "web", "books")
    document: dict[str, Any] = {
        "servers": {one: server_settings(folder / "state")[one] for one in names},
        "workflows": ["workflows"],
        "principals": {"agent": {"roles": list(roles)}},
    }
    if rules:
        document["rules"] = rules
    config.write_text(json.dumps(document), encoding="utf-8")  # every JSON text is YAML
    settings = load_settings(config)
    compiled, compiled_rules = load_configured(settings)
    clock = Clock() if now is None else Clock(now)
    store, nodes = SqliteStore(settings.store), Nodes(settings.store, "node_1")
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(
                Client(_toolbox(name).build(folder / "state", clock=clock))
            )
            for name in names
        }
        servers = MemoryServers(clients)
        await servers.list_all()
        stack.push_async_callback(store.close)
        stack.callback(nodes.leave)
        orchestrator = Orchestrator(
            settings=settings,
            store=store,
            library=Library(compiled, store, compiled_rules),
            servers=servers,
            nodes=nodes,
            node_id="node_1",
            clock=clock,
            new_id=Ids(),
            jitter=lambda: 0.0,
        )
        yield House(folder, orchestrator, servers, clock)
        assert replay_store(store.reader).mismatches == ()


def _toolbox(name: str) -> Toolbox[Any]:
    toolbox = import_module(f"mcpuppet.demo.servers.{name}").TOOLBOX
    assert isinstance(toolbox, Toolbox)
    return toolbox
