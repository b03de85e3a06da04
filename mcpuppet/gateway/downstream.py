"""MCPuppet as an MCP client of the real servers: one owner task and one process for each server.

Owns when a server is started, when it is tried again, the fresh list of its tools, and the outcome
of every call. Does not know workflows, sessions or decisions: a call that arrives here has been
allowed and recorded.

Each server's task alone enters and leaves that server's connection, so whatever a server does ends
only its own connection, and calls come from any task. The handshake era of MCP (2025-11-25 and
older) is spoken: every server understands `initialize`, and nothing has to be probed first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Protocol, Self

import anyio
from anyio.abc import TaskGroup
from mcp import MCPError

from mcpuppet.errors import DownstreamUnavailableError
from mcpuppet.gateway.server_connection import (
    Connection,
    InvalidAnswerError,
    ProgressCallback,
    describe,
    leaf,
)
from mcpuppet.gateway.server_process import (
    ServerLog,
    ServerProcess,
    ServerStartError,
    start_server,
)
from mcpuppet.gateway.server_settings import ServerSettings
from mcpuppet.gateway.tool_catalogue import Catalogue, RejectedTool, Tool, read_catalogue
from mcpuppet.redaction.secrets import Scrubber, secrets_of
from mcpuppet.session.outcome import Failed, Outcome
from mcpuppet.tool_servers import OnLate

__all__ = [
    "Downstreams",
    "ProgressCallback",
    "RejectedTool",
    "ServerState",
    "ServerStatus",
    "Tool",
]

ServerState = Literal["idle", "connecting", "ready", "failed"]

_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 5.0
_REFRESH_PAUSE_SECONDS = 0.1
_SHUTTING_DOWN = "MCPuppet is shutting down"
# What belongs to one hop: the progress token is ours to choose, the others describe the connection.
_HOP_META = "progressToken"
_HOP_META_PREFIX = "io.modelcontextprotocol/"


class Screen(Protocol):
    """Judges which of the tools that a server lists may be used."""

    async def screen(self, catalogue: Catalogue) -> Catalogue:
        """What may be used of a listing; whatever this raises keeps the server from being used."""
        ...

    def has_changed(self) -> bool:
        """Whether the same listing could be judged otherwise by now."""
        ...


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What a person may know of a server; `error` is the last failure, also while it is retried."""

    name: str
    state: ServerState
    error: str | None
    tool_count: int
    rejected: tuple[RejectedTool, ...]


@dataclass(slots=True)
class _Attempt:
    """One try to connect and the connection it led to; the next try is another object."""

    wanted: anyio.Event = field(default_factory=anyio.Event)
    done: anyio.Event = field(default_factory=anyio.Event)
    connection: Connection | None = None
    error: str = ""

    def succeed(self, connection: Connection) -> None:
        self.connection = connection
        self.done.set()

    def close(self, reason: str) -> None:
        """Tell those who wait, to be connected or to be answered; the first reason stays."""
        if self.error:
            return
        self.error = reason
        if self.connection is not None:
            self.connection.bury(reason)
        self.done.set()


class _Server:
    """One server's owner: `run` is its task, everything else may be used from any task."""

    def __init__(
        self,
        settings: ServerSettings,
        on_tools_changed: Callable[[str], None] | None,
        screen: Screen | None,
        log: Callable[[str], None],
        scrubber: Scrubber,
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self.connect_seconds = settings.connect_timeout.total_seconds()
        self.catalogue: Catalogue | None = None
        self._listed: Catalogue | None = None
        self._screen = screen
        self._on_tools_changed = on_tools_changed
        self._log = ServerLog(settings.name, log, scrubber)
        self._state: ServerState = "idle"
        self._error: str | None = None
        self._attempt = _Attempt()
        self._not_before = float("-inf")
        self._delay = _FIRST_DELAY_SECONDS

    def status(self) -> ServerStatus:
        catalogue = self.catalogue or Catalogue()
        return ServerStatus(
            name=self.name,
            state=self._state,
            error=self._error,
            tool_count=len(catalogue.tools),
            rejected=catalogue.rejected,
        )

    async def connection(self, wait: float) -> Connection:
        """Return the live connection, asking for one and waiting `wait` seconds if need be."""
        attempt = self._current_attempt()
        if not attempt.done.is_set():
            attempt.wanted.set()
            with anyio.move_on_after(wait):
                await attempt.done.wait()
        connection = attempt.connection
        if connection is None or connection.lost:
            reason = attempt.error or self._why_waiting(connection, wait)
            raise DownstreamUnavailableError(self.name, reason)
        return connection

    def _current_attempt(self) -> _Attempt:
        connection = self._attempt.connection
        if connection is not None and connection.lost and not self._attempt.error:
            # The owner still winds it down: whoever comes now waits for the connection after it.
            self._attempt = _Attempt()
        return self._attempt

    def _why_waiting(self, connection: Connection | None, wait: float) -> str:
        if connection is not None:
            return "its connection was lost before the call was sent"
        before = f"; before that, {self._error}" if self._error else ""
        return f"it is still starting after {wait:g} s{before}"

    async def run(self) -> None:
        """Connect whenever a connection is wanted; ends only by cancellation."""
        try:
            while True:
                await self._attempt.wanted.wait()
                await anyio.sleep(max(0.0, self._not_before - anyio.current_time()))
                await self._attempt_once(self._attempt)
        finally:
            self._state = "idle"
            self._attempt.close(_SHUTTING_DOWN)

    async def _attempt_once(self, attempt: _Attempt) -> None:
        self._state = "connecting"
        try:
            async with start_server(self.settings, self._log) as process:
                self._fail(attempt, await self._converse(process, attempt))
        except ServerStartError as error:
            self._fail(attempt, str(error))
        except Exception as error:  # noqa: BLE001 - the edge that keeps one server's fault its own
            self._fail(attempt, describe(error))
        finally:
            attempt.close(_SHUTTING_DOWN)

    def _fail(self, attempt: _Attempt, reason: str) -> None:
        reason = self._log.scrubbed(reason)
        attempt.close(reason)
        if self._attempt is attempt:
            self._attempt = _Attempt()
        self._not_before = anyio.current_time() + self._delay
        self._delay = min(2 * self._delay, _LONGEST_DELAY_SECONDS)
        self._state, self._error = "failed", reason
        self._log.note(reason)

    async def _converse(self, process: ServerProcess, attempt: _Attempt) -> str:
        """Use a started server until it ends, and return why it ended."""
        try:
            async with Connection(process) as connection:
                with anyio.fail_after(self.connect_seconds):
                    await connection.initialize()
                    await self._adopt(read_catalogue(self.name, await connection.list_tools()))
                self._state, self._error = "ready", None
                self._delay = _FIRST_DELAY_SECONDS
                attempt.succeed(connection)
                await self._follow(connection, process)
        except Exception as error:  # noqa: BLE001 - a server can answer anything at all
            if not process.ended.is_set():
                return process.with_last_line(self._why_not_ready(error))
        return await process.last_words()

    def _why_not_ready(self, error: Exception) -> str:
        if isinstance(leaf(error), TimeoutError):
            return f"it did not get ready within {self.connect_seconds:g} s"
        return describe(error)

    async def _follow(self, connection: Connection, process: ServerProcess) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_fresh, connection)
            tasks.start_soon(connection.deliver_late, self._log.note)
            await process.ended.wait()
            tasks.cancel_scope.cancel()

    async def _keep_fresh(self, connection: Connection) -> None:
        while True:
            await connection.tools_changed.wait()
            # One listing answers a burst of notifications, and a server that announces a change in
            # answer to every listing cannot keep us busy.
            await anyio.sleep(_REFRESH_PAUSE_SECONDS)
            connection.tools_changed = anyio.Event()
            await self._refresh(connection)

    async def _refresh(self, connection: Connection) -> None:
        try:
            with anyio.fail_after(self.connect_seconds):
                listed = await connection.list_tools()
        except (MCPError, InvalidAnswerError, TimeoutError) as error:
            self._log.note(f"its tools could not be listed again: {describe(error)}")
            return
        await self._adopt(read_catalogue(self.name, listed))

    async def screen_again(self) -> None:
        """Judge the tools that were listed last anew: other definitions may be accepted by now."""
        if self._listed is not None:
            await self._adopt(self._listed)

    def _without_secrets(self, listed: Catalogue) -> Catalogue:
        """The catalogue, with nothing in the words about tools that nobody may read."""
        scrubbed = self._log.scrubbed
        words = ((scrubbed(one.name), scrubbed(one.reason)) for one in listed.rejected)
        return replace(listed, rejected=tuple(RejectedTool(*one) for one in words))

    async def _adopt(self, listed: Catalogue) -> None:
        listed = self._without_secrets(listed)
        self._listed = listed
        catalogue = listed if self._screen is None else await self._screen.screen(listed)
        if not catalogue.differs_from(self.catalogue):
            return
        self.catalogue = catalogue
        for tool in catalogue.rejected:
            self._log.note(f"tool {tool.name!r} is left out: {tool.reason}")
        if self._on_tools_changed is not None:
            self._on_tools_changed(self.name)


class Downstreams:
    """All downstream servers; an async context manager that starts no process when entered.

    Leaving it ends every server process within about 4 seconds. `on_tools_changed` is called with a
    server's name whenever `known_tools` of it has become different, the first listing included;
    `log` gets one line of text at a time, each with the server's name in front. What `screen` takes
    out of a listing is neither listed nor called.
    """

    def __init__(
        self,
        servers: Sequence[ServerSettings],
        *,
        on_tools_changed: Callable[[str], None] | None = None,
        screen: Screen | None = None,
        log: Callable[[str], None],
    ) -> None:
        scrubber = Scrubber(secrets_of(servers))
        self._servers = {
            settings.name: _Server(settings, on_tools_changed, screen, log, scrubber)
            for settings in servers
        }
        self._screen = screen
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        tasks: TaskGroup = await self._exit.enter_async_context(anyio.create_task_group())
        self._exit.callback(tasks.cancel_scope.cancel)
        for server in self._servers.values():
            tasks.start_soon(server.run, name=f"downstream {server.settings.name}")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        # The exception is not handed to the task group, which would wrap it in an ExceptionGroup.
        await self._exit.aclose()

    async def tools(self, server: str, *, wait: float) -> Mapping[str, Tool]:
        """Return a server's usable tools by name, connecting first if need be.

        Raises:
            DownstreamUnavailableError: the server is unknown, cannot be used, or is not ready after
                `wait` seconds; a connection that is being made goes on being made.
        """
        owner = self._owner(server)
        await owner.connection(wait)
        return _tools(owner.catalogue)

    def known_tools(self, server: str) -> Mapping[str, Tool] | None:
        """Return the tools a server listed last, or None if it never did; starts nothing."""
        owner = self._servers.get(server)
        return None if owner is None or owner.catalogue is None else _tools(owner.catalogue)

    async def call(
        self,
        server: str,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout: timedelta | None,
        on_progress: ProgressCallback | None,
        meta: Mapping[str, Any] | None = None,
        digest: str | None = None,
        on_late: OnLate | None = None,
    ) -> Outcome:
        """Call a tool, once, and return what became of it.

        `timeout` counts from when the server is connected; connecting takes at most the server's
        `connect_timeout`. `meta` is sent as `_meta`, without what belongs to a single hop. With
        `digest`, nothing is sent when the server now defines the tool in another way. A cancelled
        call is cancelled at the server as well before the cancellation goes on; what it did is then
        unknown. With `on_late` a call that times out is not cancelled, and an answer that still
        comes is handed on: see `late_answers`.
        """
        try:
            owner = self._owner(server)
            connection = await owner.connection(owner.connect_seconds)
        except DownstreamUnavailableError as error:
            return Failed("not_sent", str(error))
        definition = _find(owner, tool)
        if isinstance(definition, Failed):
            return definition
        if digest is not None and digest != definition.digest:
            return Failed("not_sent", f"the definition of {definition.qualified} has changed")
        params: dict[str, Any] = {"name": tool, "arguments": dict(arguments)}
        if forwarded := _forwarded(meta or {}):
            params["_meta"] = forwarded
        return await connection.call(definition, params, timeout, on_progress, on_late)

    def left_out(self, server: str, tool: str) -> str | None:
        """Return why a tool that the server lists cannot be used; None if it does not list it."""
        owner = self._servers.get(server)
        rejected = () if owner is None or owner.catalogue is None else owner.catalogue.rejected
        return next((one.reason for one in rejected if one.name == tool), None)

    async def screen_again(self) -> None:
        """Judge the listed tools anew where others may be accepted by now."""
        if self._screen is None or not self._screen.has_changed():
            return
        for server in self._servers.values():
            await server.screen_again()

    def status(self) -> list[ServerStatus]:
        """Return each server's status, in the order of the settings."""
        return [server.status() for server in self._servers.values()]

    def _owner(self, server: str) -> _Server:
        if server not in self._servers:
            names = ", ".join(sorted(self._servers)) or "none"
            raise DownstreamUnavailableError(server, f"no such server; configured are: {names}")
        return self._servers[server]


def _tools(catalogue: Catalogue | None) -> Mapping[str, Tool]:
    return MappingProxyType(dict(catalogue.tools) if catalogue else {})


def _find(owner: _Server, name: str) -> Tool | Failed:
    catalogue = owner.catalogue or Catalogue()
    if name in catalogue.tools:
        return catalogue.tools[name]
    for tool in catalogue.rejected:
        if tool.name == name:
            return Failed("not_sent", f"{owner.name}.{name} is left out: {tool.reason}")
    names = ", ".join(sorted(catalogue.tools)) or "none"
    return Failed("not_sent", f"server {owner.name!r} has no tool {name!r}; its tools are: {names}")


def _forwarded(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in meta.items()
        if key != _HOP_META and not key.startswith(_HOP_META_PREFIX)
    }
