"""The process that serves one client over its standard input and output.

Owns signals, the threads that read and write, and the order of starting and stopping. The SDK's own
stdio transport is not used: its reader cannot be cancelled while it waits for input, so a process
told to end would stay until the client writes another line.

The client's handshake is answered before the workflows are read, the store is touched or any server
is started, as a rule even before this module is imported (`handshake`). Framing: MCP 2025-11-25,
basic/transports, "stdio".
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from mcp.server.runner import serve_loop
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST, PARSE_ERROR, jsonrpc_message_adapter

from mcpuppet.errors import MCPuppetError
from mcpuppet.gateway.handshake import Handshake
from mcpuppet.gateway.mcp_server import Bell, ClientConnection
from mcpuppet.gateway.server_connection import leaf
from mcpuppet.gateway.streams import complain, make_pipe_unblocking, read_lines, write_all
from mcpuppet.gateway.surface import Surface
from mcpuppet.settings import Settings

_WAITING_MESSAGES = 64

_Inbound = MemoryObjectSendStream[SessionMessage | Exception]


async def serve_stdio(settings: Settings, handshake: Handshake, *, session_id: str | None) -> int:
    """Serve one client until its input ends or the process is told to end; returns 0.

    `session_id` names the session to go on with; without it the client's first call begins one.
    SIGTERM and SIGINT end the process within about 5 seconds: calls in flight are recorded as
    unknown, and the servers are ended. Raises InvalidInputError or InvalidWorkflowError when the
    workflows of the settings cannot be used.
    """
    bell = Bell()
    connection = ClientConnection(settings, bell, complain)
    try:
        async with anyio.create_task_group() as tasks:
            serving = anyio.CancelScope()
            tasks.start_soon(_end_on_signal, serving.cancel)
            tasks.start_soon(_serve, connection, handshake, serving)
            await connection.wanted.wait()
            if not connection.gone.is_set():
                await _govern(settings, session_id, connection, bell)
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        cause = leaf(group)
        if isinstance(cause, MCPuppetError):
            raise cause from None
        raise
    return 0


async def _govern(
    settings: Settings, session_id: str | None, connection: ClientConnection, bell: Bell
) -> None:
    """Open the orchestrator, answer from it, and close it after the last answer.

    What is recorded meanwhile is signed now and then, and all of it at the end.
    """
    # Importing the engine and its checks is slow, and the client has its handshake by now.
    from mcpuppet.app import new_id, open_audit_log, open_orchestrator  # noqa: PLC0415
    from mcpuppet.audit.keeping import CheckpointKeeper  # noqa: PLC0415

    keeper = CheckpointKeeper(open_audit_log(settings, complain), complain)
    try:
        async with (
            open_orchestrator(settings, on_tools_changed=bell.ring, log=complain) as orchestrator,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(keeper.keep, orchestrator.store.data_version)
            connection.attach(Surface(orchestrator, session_id=session_id, new_id=new_id))
            await connection.gone.wait()
            tasks.cancel_scope.cancel()
    finally:
        await keeper.finish()  # closing wrote down what became of the calls in flight


async def _serve(
    connection: ClientConnection, handshake: Handshake, serving: anyio.CancelScope
) -> None:
    """Exchange messages until stdin ends or `serving` is cancelled; no handler runs afterwards."""
    server = connection.server()
    loop = asyncio.get_running_loop()
    inbound, reader = anyio.create_memory_object_stream[SessionMessage | Exception](
        _WAITING_MESSAGES
    )
    try:
        with serving:
            writer = _Writer(handshake, loop)
            threading.Thread(
                target=_read, args=(handshake, loop, inbound, writer), daemon=True
            ).start()
            async with server.lifespan(server) as state:
                await serve_loop(server, reader, writer, lifespan_state=state)
    finally:
        connection.close()


async def _end_on_signal(end: Callable[[], None]) -> None:
    """On duty to the last, so that a second signal does not cut short what the first began."""
    if sys.platform == "win32":
        return  # SIGTERM cannot be caught there, and Ctrl-C is Python's own KeyboardInterrupt
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            end()


def _read(
    handshake: Handshake, loop: asyncio.AbstractEventLoop, inbound: _Inbound, writer: _Writer
) -> None:
    """The reading thread: hand on one message at a time, and wait for room to hand on more."""
    # Once the connection is over nobody listens any more, or the loop is closed.
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, RuntimeError):
        for line in read_lines(handshake.source, handshake.read):
            if not line.strip():
                continue
            message = _parse(line)
            if message is None:
                writer.put(_refusal(line))
            else:
                asyncio.run_coroutine_threadsafe(inbound.send(message), loop).result()
        loop.call_soon_threadsafe(inbound.close)


def _parse(line: bytes) -> SessionMessage | None:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        complain(f"a line on stdin is not a JSON-RPC message: {line[:200]!r}")
        return None


def _refusal(line: bytes) -> bytes:
    """The answer to what is no message: with the request's id where one can be read.

    Without an answer a client would wait for it. Source: JSON-RPC 2.0, section 5.1.
    """
    try:
        found = json.loads(line)
        number = found.get("id") if isinstance(found, dict) else None
    except (ValueError, RecursionError):
        number, code = None, PARSE_ERROR
    else:
        code = INVALID_REQUEST
    error = {"code": code, "message": "this is not a JSON-RPC message that can be read"}
    known = number if type(number) in (int, str) else None
    return json.dumps({"jsonrpc": "2.0", "id": known, "error": error}).encode() + b"\n"


class _Writer:
    """Messages to the client, written by a thread: a client that does not read holds up no one.

    The thread is not the event loop's own kind, for which the process would wait when it ends.
    """

    def __init__(self, handshake: Handshake, loop: asyncio.AbstractEventLoop) -> None:
        self._sink = handshake.sink
        self._answered = handshake.answered
        self._loop = loop
        self._lines: queue.SimpleQueue[tuple[bytes, asyncio.Future[None] | None] | None]
        self._lines = queue.SimpleQueue()
        self._closed = False
        self._turn = threading.Lock()
        self._unwritten = 0
        """Lines that the thread has still to write; they go first."""
        self._is_pipe = make_pipe_unblocking(handshake.sink)
        threading.Thread(target=self._write, daemon=True).start()

    async def send(self, item: SessionMessage, /) -> None:
        """Write one message, whole even if the caller is cancelled.

        Raises BrokenResourceError when the client reads no more.
        """
        if self._closed:
            raise anyio.ClosedResourceError
        if self._answered is not None and getattr(item.message, "id", None) == self._answered:
            self._answered = None
            return
        line = item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
        try:
            rest = self._write_at_once(line)
        except OSError:
            raise anyio.BrokenResourceError from None
        if rest:
            written = self._loop.create_future()
            self._enqueue(rest, written)
            await written

    def put(self, line: bytes) -> None:
        """Write a line in its turn, from any thread, and do not wait for it."""
        self._enqueue(line, None)

    def _enqueue(self, line: bytes, written: asyncio.Future[None] | None) -> None:
        with self._turn:
            self._unwritten += 1
            self._lines.put((line, written))

    def _write_at_once(self, line: bytes) -> bytes:
        """Write what a pipe takes without waiting, if nothing else is in its way; what is left.

        Handing every line to the thread and back costs more than writing it.
        """
        if not self._is_pipe or not self._turn.acquire(blocking=False):
            return line
        try:
            return line if self._unwritten else line[os.write(self._sink, line) :]
        except BlockingIOError:
            return line
        finally:
            self._turn.release()

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._lines.put(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _write(self) -> None:
        while (job := self._lines.get()) is not None:
            line, written = job
            try:
                write_all(self._sink, line)
                fault = None
            except OSError as error:
                fault = error
            with self._turn:
                self._unwritten -= 1
            if written is not None:
                with suppress(RuntimeError):  # the loop may be closed by now
                    self._loop.call_soon_threadsafe(_settle, written, fault)


def _settle(written: asyncio.Future[None], fault: OSError | None) -> None:
    if written.done():
        return
    if fault is None:
        written.set_result(None)
    else:
        written.set_exception(anyio.BrokenResourceError())
