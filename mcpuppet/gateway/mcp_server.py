"""MCPuppet as an MCP server: requests in, results out, and word to the client when its list is old.

Owns the protocol's edge for one client: the handlers, what an exception becomes on the wire, the
list barrier, and the two background tasks of a connection. What is listed and what is answered is
made by `surface`, `answers` and `meta_tools`; what is allowed, by the orchestrator.
"""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
from mcp import MCPError
from mcp.server import NotificationOptions, Server, ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.models import InitializationOptions
from mcp.server.session import ServerSession
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    NotificationParams,
    PaginatedRequestParams,
)

from mcpuppet import __version__
from mcpuppet.errors import AuditError, InvalidInputError, MCPuppetError, StoreError
from mcpuppet.gateway.answers import Result, act_answer, call_answer, failure
from mcpuppet.gateway.elicitation import Elicitation
from mcpuppet.gateway.handshake import INSTRUCTIONS
from mcpuppet.gateway.meta_tools import MetaTools
from mcpuppet.gateway.scene import Listing
from mcpuppet.gateway.session_answer import session_answer
from mcpuppet.gateway.surface import Surface, SurfaceKind, surface_for
from mcpuppet.gateway.tool_names import META_TOOLS, START, STATUS
from mcpuppet.session.decision import Denied
from mcpuppet.settings import Settings
from mcpuppet.views import CallAnswer

LIST_WAIT = 3.0
"""Seconds that `tools/list` and `workflow_status` wait for servers that were not asked before."""
WATCH_EVERY = 0.25
"""Seconds between looks for changes made by other processes, by people and by time."""
SWEEP_EVERY = 5.0
"""Seconds between writing down what time has brought about in sessions nobody looks at."""

Context = ServerRequestContext[Any, Any]

_results: ContextVar[list[Result]] = ContextVar("results")


class Bell:
    """Says that a server's tools have changed; rings that nobody has heard yet count as one."""

    def __init__(self) -> None:
        self._rung = anyio.Event()

    def ring(self, _server: str = "") -> None:
        self._rung.set()

    async def heard(self, seconds: float) -> bool:
        """Wait for a ring, at most so long; whether there was one."""
        with anyio.move_on_after(seconds):
            await self._rung.wait()
        if not self._rung.is_set():
            return False
        self._rung = anyio.Event()
        return True


class GatewayServer(Server[None]):
    """An SDK server that says it will tell when its list of tools changes."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """As the SDK's, which announces no changes unless it is told to and is often asked bare."""
        announced = notification_options or NotificationOptions(tools_changed=True)
        return super().create_initialization_options(
            announced, experimental_capabilities, extensions
        )


class ClientConnection:
    """One client: answers its requests, and keeps its list of tools from going stale.

    The surface may be attached after the client has shaken hands; requests wait for it. `log` gets
    one text at a time.
    """

    def __init__(self, settings: Settings, bell: Bell, log: Callable[[str], None]) -> None:
        self._settings = settings
        self._bell = bell
        self._log = log
        self.wanted = anyio.Event()
        """Set once the client has shaken hands, so that it is time to attach a surface."""
        self.gone = anyio.Event()
        """Set once the client has been answered for the last time."""
        self._attached = anyio.Event()
        self._asked = anyio.Event()
        self._peer: ServerSession | None = None
        self._kind: SurfaceKind = "stable"
        self._listed: Listing | None = None
        self._announced: Listing | None = None
        self._lists_begun = 0
        self._lists_open = 0
        self._newest_list = 0
        self._list_served = anyio.Event()
        self._looked_at: tuple[int, int] | None = None
        self._complaint = ""
        self._elicitation = Elicitation()

    def attach(self, surface: Surface) -> None:
        """Give the connection what it answers from."""
        self._surface = surface
        self._meta_tools = MetaTools(surface.workflows, surface.rules)
        self._attached.set()

    def close(self) -> None:
        """Say that the client is gone."""
        self.gone.set()
        self.wanted.set()

    def server(self) -> GatewayServer:
        """The MCP server that answers this one client."""
        server = GatewayServer(
            "mcpuppet",
            version=__version__,
            title="MCPuppet",
            instructions=INSTRUCTIONS,
            lifespan=self._lifespan,
            on_list_tools=self._on_list_tools,
            on_call_tool=self._on_call_tool,
        )
        server.add_notification_handler(
            "notifications/initialized", NotificationParams, self._on_initialized
        )
        server.middleware.append(_sent_unchanged)
        return server

    # --- requests -------------------------------------------------------------------------------

    async def _on_initialized(self, _context: Context, _params: NotificationParams) -> None:
        self.wanted.set()

    async def _on_list_tools(
        self, context: Context, _params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        with self._fenced("tools/list"):
            await self._ready(context)
            try:
                _results.get().append({"tools": await self._list()})
            except MCPuppetError as error:
                raise MCPError(INTERNAL_ERROR, str(error)) from error
        return ListToolsResult(tools=[])

    async def _on_call_tool(
        self, context: Context, params: CallToolRequestParams
    ) -> CallToolResult:
        with self._fenced("tools/call"):
            await self._ready(context)
            try:
                result = await self._call(context, params.name, params.arguments or {})
            except (StoreError, AuditError) as error:
                self._log(f"tools/call {params.name}: {error}")
                result = failure(_not_recorded(error))
            except MCPuppetError as error:
                result = failure(str(error))
            _results.get().append(result)
        return CallToolResult(content=[])

    @contextmanager
    def _fenced(self, what: str) -> Iterator[None]:
        """Keep the words of an unforeseen exception from the client; the log gets all of them."""
        try:
            yield
        except MCPError:
            raise
        except Exception:  # noqa: BLE001 - the protocol's edge: whatever went wrong, fail closed
            self._log(f"{what} failed:\n{traceback.format_exc()}")
            raise MCPError(INTERNAL_ERROR, "internal error; MCPuppet's log says more") from None

    async def _ready(self, context: Context) -> None:
        self._peer = context.session
        client = context.session.client_params
        name = None if client is None else client.client_info.name
        self._kind = surface_for(self._settings.surface, name)
        self.wanted.set()
        await self._attached.wait()
        self._asked.set()

    async def _call(self, context: Context, name: str, arguments: Mapping[str, Any]) -> Result:
        if name not in META_TOOLS:
            return await self._direct_call(context, name, arguments)
        violations = self._meta_tools.violations(name, arguments)
        if violations:
            raise InvalidInputError(f"{name} cannot use these arguments: {'; '.join(violations)}")
        if name == STATUS:
            return await self._session(wait=LIST_WAIT)
        if name == START:
            await self._surface.start(arguments["workflow"], arguments.get("inputs", {}))
            await self._bring_up_to_date()
            return await self._session(wait=None)
        wanted = arguments.get("arguments", {})
        answer = await self._govern(context, arguments["tool"], wanted)
        return act_answer(answer, self._surface.client)

    async def _direct_call(
        self, context: Context, name: str, arguments: Mapping[str, Any]
    ) -> Result:
        answer = await self._govern(context, name, arguments)
        refused = answer.decision if isinstance(answer.decision, Denied) else None
        if refused and refused.rule == "unknown_tool" and self._surface.names.resolve(name) is None:
            # MCP 2025-11-25, server/tools, "Error Handling". It has been recorded as denied.
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {name}")
        definition = self._surface.definition(answer.tool)
        has_output_schema = definition is not None and "outputSchema" in definition.definition
        return call_answer(answer, self._surface.client, has_output_schema)

    async def _govern(
        self, context: Context, name: str, arguments: Mapping[str, Any]
    ) -> CallAnswer:
        meta = dict((context.params or {}).get("_meta") or {})
        progress = context.session.report_progress if "progressToken" in meta else None
        answer = await self._surface.call(name, arguments, progress, meta)
        if await self._elicitation.decided(context, self._surface, answer):
            answer = replace(
                await self._surface.call(name, arguments, progress, meta), changed=True
            )
        # What rules say of each tool that a pattern stands for is known only to the list itself.
        by_tool = self._kind == "dynamic" and self._surface.rules is not None
        if answer.changed or by_tool:
            await self._bring_up_to_date()
        return answer

    async def _session(self, wait: float | None) -> Result:
        outlook = await self._surface.outlook(self._kind, wait)
        return session_answer(outlook, self._surface.session_id, self._surface.client)

    # --- the client's list ----------------------------------------------------------------------

    async def _list(self) -> list[Mapping[str, Any]]:
        self._lists_begun += 1
        number = self._lists_begun
        self._lists_open += 1
        try:
            listing = await self._surface.listing(self._kind, LIST_WAIT)
        finally:
            self._lists_open -= 1
        if number > self._newest_list:
            self._newest_list = number
            self._listed = self._announced = listing
        served, self._list_served = self._list_served, anyio.Event()
        served.set()
        return [*self._meta_tools.definitions, *listing.definitions.values()]

    async def _bring_up_to_date(self) -> None:
        """Tell the client that its list is old, and give it a moment to list again.

        A model that answers at once would otherwise take its next turn with the old list. The wait
        ends with a list begun after the change, or with what is legal now, whoever asked for it;
        so calls that change something at the same time do not wait for each other.
        """
        begun = self._lists_begun
        current = await self._announce_if_old()
        if current is None or self._kind == "stable":
            return
        with anyio.move_on_after(self._settings.list_barrier.total_seconds()):
            while self._newest_list <= begun and not _same(self._listed, current):
                await self._list_served.wait()

    async def _announce_if_old(self) -> Listing | None:
        """What should be listed now, if the client has been listed something else."""
        if self._listed is None or self._peer is None:
            return None
        current = await self._surface.listing_now(self._kind)
        if _same(self._listed, current):
            return None
        if not _same(self._announced, current):
            self._announced = current
            await self._peer.send_tool_list_changed()
        return current

    # --- in the background ----------------------------------------------------------------------

    @asynccontextmanager
    async def _lifespan(self, _server: Server[None]) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            tasks.start_soon(self._sweep)
            yield
            tasks.cancel_scope.cancel()

    async def _watch(self) -> None:
        """Notice changes made elsewhere: an approval, another process, time, a server's tools."""
        await self._asked.wait()
        while True:
            rung = await self._bell.heard(WATCH_EVERY)
            await self._tried(partial(self._look_around, rung))

    async def _look_around(self, rung: bool) -> None:
        if self._lists_open:  # the client is about to learn of it anyway
            self._looked_at = None
            return
        seen = (await self._surface.version(), self._newest_list)
        if rung or seen != self._looked_at or self._surface.time_is_up():
            await self._announce_if_old()
            self._looked_at = seen

    async def _sweep(self) -> None:
        await self._asked.wait()
        while True:
            await anyio.sleep(SWEEP_EVERY)
            await self._tried(self._surface.sweep)

    async def _tried(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do a piece of background work; a failure is logged once and the next try comes anyway."""
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - a failed look must not end the connection
            expected = isinstance(error, MCPuppetError)
            complaint = str(error) if expected else traceback.format_exc()
            if complaint != self._complaint:
                self._log(complaint)
            self._complaint = complaint
        else:
            self._complaint = ""


def _same(one: Listing | None, other: Listing) -> bool:
    return one is not None and one.signature == other.signature


def _not_recorded(error: MCPuppetError) -> str:
    return (
        f"The call failed, because MCPuppet could not use its audit trail: {error}. "
        "What cannot be recorded is not done; if the tool was reached already, its outcome counts "
        "as unknown. Tell the user, and do not repeat the call before workflow_status works again."
    )


async def _sent_unchanged(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Send what a handler put down, instead of what the SDK makes of it.

    The SDK drops every field that its models do not know. What a server said of a tool or answered
    to a call was held to MCP when it arrived, and belongs to that server and the client.
    """
    kept: list[Result] = []
    token = _results.set(kept)
    try:
        result = await call_next(ctx)
    finally:
        _results.reset(token)
    return kept[0] if kept else result
