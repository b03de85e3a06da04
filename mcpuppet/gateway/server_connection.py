"""One MCP session with one server process: the handshake, the list of tools, and calls.

Owns what is sent and which outcome each way to end a call has. Knows no reconnecting: a connection
that was lost stays lost. The handshake is the SDK's; other requests go through its dispatcher and
not through its typed session, whose models drop the fields they do not know.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import anyio
from mcp import ClientSession, MCPError
from mcp.client.session import IncomingMessage
from mcp.shared.dispatcher import CallOptions, ProgressFnT
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types import CONNECTION_CLOSED, Implementation, ToolListChangedNotification
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from mcpuppet import __version__
from mcpuppet.gateway.late_answers import LateAnswers
from mcpuppet.gateway.server_process import ServerProcess
from mcpuppet.gateway.tool_catalogue import Tool, outcome_of
from mcpuppet.session.outcome import Failed, Outcome, Unknown
from mcpuppet.tool_servers import OnLate

ProgressCallback = Callable[[float, float | None, str | None], Awaitable[None]]

_EPITAPH_SECONDS = 1.5
_LAST_WORD_SECONDS = 5.0
_MAX_PAGES = 1_000
_CLIENT = Implementation(name="mcpuppet", version=__version__)


class InvalidAnswerError(Exception):
    """A server's answer cannot be used; the text says which and why."""


class Connection:
    """A session with a started server; to be entered and left by one and the same task."""

    def __init__(self, process: ServerProcess) -> None:
        self._process = process
        self._late = LateAnswers()
        process.reader.on_message = self._late.see
        # The SDK numbers the handshake itself, from 1 on.
        self._numbers = itertools.count(1_000)
        self._dispatcher = JSONRPCDispatcher(process.reader, process.writer)
        self._session = ClientSession(
            dispatcher=self._dispatcher, message_handler=self._on_message, client_info=_CLIENT
        )
        self._leaving = False
        self._over = anyio.Event()
        self._epitaph = "the connection was closed"
        self.tools_changed = anyio.Event()

    async def __aenter__(self) -> Self:
        await self._session.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self._leaving = True
        try:
            await self._session.__aexit__(exc_type, exc_val, exc_tb)
        finally:
            self._late.close()

    @property
    def lost(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._leaving or self._process.ended.is_set()

    def bury(self, epitaph: str) -> None:
        """Tell the calls that were in flight why they got no answer."""
        self._epitaph = epitaph
        self._over.set()

    async def initialize(self) -> None:
        """Shake hands; raises what the SDK raises for a refusal or an answer that is not MCP."""
        await self._session.initialize()

    async def list_tools(self) -> list[Any]:
        """Return the tools as listed, all pages of them."""
        tools: list[Any] = []
        cursor: Any = None
        for _ in range(_MAX_PAGES):
            page = await self._request("tools/list", {"cursor": cursor} if cursor else None)
            listed = page.get("tools")
            if not isinstance(listed, list):
                raise InvalidAnswerError("its answer to tools/list holds no list of tools")
            tools += listed
            cursor = page.get("nextCursor")
            if not cursor:
                return tools
        raise InvalidAnswerError(f"its list of tools does not end after {_MAX_PAGES} pages")

    async def call(
        self,
        tool: Tool,
        params: Mapping[str, Any],
        timeout: timedelta | None,
        on_progress: ProgressCallback | None,
        on_late: OnLate | None = None,
    ) -> Outcome:
        """Send one `tools/call`; a timeout or cancellation is passed on to the server.

        With `on_late` a timeout is not: the server goes on, and its answer is handed on when it
        comes. So is one that comes in spite of a cancellation.
        """
        number = next(self._numbers)
        if on_late is not None:
            self._late.expect(number, tool, on_late)
        seconds = None if timeout is None else timeout.total_seconds()
        try:
            with anyio.move_on_after(seconds):
                outcome = await self._answer(tool, params, on_progress, number, on_late is None)
                self._late.settle(number)
                return outcome
        except anyio.get_cancelled_exc_class():
            if on_late is not None:
                self._late.give_up(number)
                await self._tell_to_stop(number)
            raise
        self._late.give_up(number)
        told = " and was told to stop" if on_late is None else ""
        return Unknown(
            "timeout",
            f"{tool.qualified} did not answer within {seconds:g} s{told}; "
            "whether it took effect is not known",
        )

    async def _answer(
        self,
        tool: Tool,
        params: Mapping[str, Any],
        on_progress: ProgressCallback | None,
        number: int,
        stops: bool,
    ) -> Outcome:
        """Wait for the answer; with `stops` the server is told when nobody waits any more."""
        try:
            result = await self._request("tools/call", params, on_progress, number, stops)
            return outcome_of(tool, result)
        except MCPError as error:
            return await self._outcome_of_error(tool, error)
        except PydanticSerializationError as error:
            return Failed("not_sent", f"the arguments cannot be written as JSON: {error}")

    async def _tell_to_stop(self, number: int) -> None:
        """Pass a cancellation on, as the SDK would if it did not forget the request with it."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(_LAST_WORD_SECONDS):
            params = {"requestId": number, "reason": "caller cancelled"}
            await self._dispatcher.notify("notifications/cancelled", params)

    async def deliver_late(self, complain: Callable[[str], None]) -> None:
        """Hand on late answers, until cancelled; `complain` gets a sentence where that fails."""
        await self._late.deliver(complain)

    async def _outcome_of_error(self, tool: Tool, error: MCPError) -> Outcome:
        # A server may answer with the same code that the SDK gives for a closed connection.
        if error.code != CONNECTION_CLOSED or not self.lost:
            message = f"{tool.qualified} was refused by its server: {error.message} ({error.code})"
            return Failed("protocol_error", message)
        with anyio.move_on_after(_EPITAPH_SECONDS):
            await self._over.wait()
        return Unknown(
            "connection_lost",
            f"server {tool.server!r} was lost during {tool.name}: {self._epitaph}; "
            "whether the call took effect is not known",
        )

    async def _request(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        on_progress: ProgressCallback | None = None,
        number: int | None = None,
        stops: bool = True,
    ) -> dict[str, Any]:
        options: CallOptions = {
            "request_id": next(self._numbers) if number is None else number,
            "cancel_on_abandon": stops,
        }
        if on_progress is not None:
            options["on_progress"] = _as_coroutine(on_progress)
        return await self._dispatcher.send_raw_request(method, params, options)

    async def _on_message(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self.tools_changed.set()


def _as_coroutine(on_progress: ProgressCallback) -> ProgressFnT:
    async def forward(progress: float, total: float | None, message: str | None) -> None:
        await on_progress(progress, total, message)

    return forward


def leaf(error: BaseException) -> BaseException:
    """Return the first exception inside nested exception groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def describe(error: BaseException) -> str:
    """Say in half a sentence what a server did wrong."""
    match leaf(error):
        case MCPError() as refusal:
            return f"it refused: {refusal.message} ({refusal.code})"
        case ValidationError() as invalid:
            first = invalid.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return f"its answer is not valid MCP: {where}: {first['msg']}"
        case TimeoutError():
            return "it did not answer in time"
        case other:
            return str(other) or type(other).__name__
