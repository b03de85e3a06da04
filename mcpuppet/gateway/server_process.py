"""A downstream server as an operating-system process that exchanges one JSON message per line.

Owns start, stop, the two message streams in the form the MCP SDK's dispatcher reads and writes, the
limit on a message's size, and what happens to all other output. Knows no MCP method. The SDK's own
stdio transport is not used: it holds an endless line in memory, ends on a byte that is not UTF-8,
and logs a traceback for every line that is not JSON.

Framing and shutdown order: MCP 2025-11-25, basic/transports "stdio" and basic/lifecycle "Shutdown".
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from subprocess import PIPE
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from mcp.client.stdio import get_default_environment
from mcp.os.posix.utilities import terminate_posix_process_tree
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCMessage, JSONRPCNotification, jsonrpc_message_adapter

from mcpuppet.gateway.server_settings import ServerSettings
from mcpuppet.redaction.secrets import KNOWN_KEYS, LineScrubber, Scrubber

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Longest line accepted from a server, in bytes; a longer one ends the connection."""

_EXIT_SECONDS = 2.0
_TERMINATE_SECONDS = 1.0
_CLOSED_INPUT = "it closed its input"
"""What is noticed first of a process that ends while something is sent to it."""
_LAST_WORDS_SECONDS = 1.0
_POLL_SECONDS = 0.01
_NOTIFY_SECONDS = 0.1
_LOG_LINE_CHARACTERS = 2_000
_LOG_LINES_PER_SECOND = 50

_STREAM_ENDED = (
    anyio.EndOfStream,
    anyio.ClosedResourceError,
    anyio.BrokenResourceError,
    OSError,
)


class ServerStartError(Exception):
    """The server's process could not be started; the text says why and names the command."""


class ServerLog:
    """Passes a server's loose output to the log, cut and rationed so that a flood cannot hurt.

    At most 50 lines a second of at most 2,000 characters, control characters replaced; what is left
    out is counted. Secrets are replaced first: what is quoted of the output comes from here.
    """

    def __init__(
        self, name: str, log: Callable[[str], None], scrubber: Scrubber = KNOWN_KEYS
    ) -> None:
        self._name = name
        self._log = log
        self._scrubber = scrubber
        self._lines = LineScrubber(scrubber)
        self._second = 0
        self._written = 0
        self.last_line = ""

    def write(self, line: bytes) -> None:
        """Log one line, decoded as UTF-8 with replacement; an empty one is dropped."""
        read = line[: 4 * _LOG_LINE_CHARACTERS].decode("utf-8", "replace")
        text = self._lines.line(read).strip()
        if not text:
            return
        self.last_line = _printable(text[:_LOG_LINE_CHARACTERS])
        self._ration()
        self._written += 1
        if self._written <= _LOG_LINES_PER_SECOND:
            self.note(self.last_line)

    def note(self, text: str) -> None:
        """Log a sentence of our own about this server, never rationed."""
        self._log(f"{self._name}: {self.scrubbed(text)}")

    def scrubbed(self, text: str) -> str:
        """The text without secrets."""
        return self._scrubber.text(text)

    def _ration(self) -> None:
        second = int(time.monotonic())
        if second == self._second:
            return
        left_out = self._written - _LOG_LINES_PER_SECOND
        self._second, self._written = second, 0
        if left_out > 0:
            self.note(f"({left_out} more lines were left out)")


class MessageReader:
    """The messages a server writes, as a stream for the MCP SDK; other lines go to the log."""

    def __init__(
        self, stream: ByteReceiveStream, log: ServerLog, on_end: Callable[[str], None]
    ) -> None:
        self._stream = stream
        self._log = log
        self._on_end = on_end
        self._partial = bytearray()
        self._lines: deque[bytes] = deque()
        self.on_message: Callable[[JSONRPCMessage], None] = lambda _: None
        """Told of each message before it is received."""

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message; raises `EndOfStream` when there will be none."""
        while True:
            while self._lines:
                message = self._parse(self._lines.popleft())
                if message is not None:
                    self.on_message(message.message)
                    return message
            await self._fill()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _fill(self) -> None:
        try:
            chunk = await self._stream.receive()
        except _STREAM_ENDED:
            self._on_end("")
            raise anyio.EndOfStream from None
        self._partial += chunk
        if b"\n" in chunk:
            *lines, rest = bytes(self._partial).split(b"\n")
            self._lines.extend(lines)
            self._partial = bytearray(rest)
        if len(self._partial) > MAX_MESSAGE_BYTES:
            self._on_end(f"it sent a message longer than {MAX_MESSAGE_BYTES // 2**20} MiB")
            raise anyio.EndOfStream

    def _parse(self, line: bytes) -> SessionMessage | None:
        try:
            return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
        except ValueError:
            self._log.write(b"(stdout, not an MCP message) " + line if line.strip() else b"")
            return None


class MessageWriter:
    """The messages a server reads, as a stream for the MCP SDK."""

    def __init__(self, stream: ByteSendStream, on_end: Callable[[str], None]) -> None:
        self._stream = stream
        self._on_end = on_end

    async def send(self, item: SessionMessage, /) -> None:
        """Write one message; raises `BrokenResourceError` when the server reads no more.

        A message that cannot be written as JSON raises pydantic's `PydanticSerializationError`
        before any byte leaves. A cancelled send is still written whole or not at all: asyncio
        takes the whole line into its buffer before it waits. So a notification waits only a moment
        for a server that does not read: a caller that gives up is not held by saying so.
        """
        line = item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
        patience = _NOTIFY_SECONDS if isinstance(item.message, JSONRPCNotification) else None
        try:
            with anyio.move_on_after(patience):
                await self._stream.send(line)
        except _STREAM_ENDED:
            self._on_end(_CLOSED_INPUT)
            raise anyio.BrokenResourceError from None

    async def aclose(self) -> None:
        with suppress(*_STREAM_ENDED):
            await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


class ServerProcess:
    """A started server: `reader` and `writer` for messages, and `ended` once either is useless."""

    def __init__(self, process: Process, log: ServerLog) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stderr = process.stderr
        self._stderr_ended = anyio.Event()
        self._log = log
        self._fault = ""
        self.ended = anyio.Event()
        self.reader = MessageReader(process.stdout, log, self._end)
        self.writer = MessageWriter(process.stdin, self._end)

    def _end(self, fault: str) -> None:
        self._fault = self._fault or fault
        self.ended.set()

    async def last_words(self) -> str:
        """Say how the connection ended, with the last line of stderr; waits at most 1 second."""
        if self._fault not in ("", _CLOSED_INPUT):
            return self._fault
        with anyio.move_on_after(_LAST_WORDS_SECONDS):
            await self._exited()
            await self._stderr_ended.wait()
        if self._process.returncode is None and self._fault:
            return self._fault
        return self.with_last_line(_how_it_ended(self._process.returncode))

    def with_last_line(self, sentence: str) -> str:
        """Add the last line of the server's stderr to a sentence."""
        last = self._log.last_line
        return f"{sentence}; its last output was: {last}" if last else sentence

    async def read_stderr(self) -> None:
        """Log stderr line by line until it ends."""
        partial = b""
        with suppress(*_STREAM_ENDED):
            while True:
                *lines, partial = (partial + await self._stderr.receive()).split(b"\n")
                for line in lines:
                    self._log.write(line)
                if len(partial) > 4 * _LOG_LINE_CHARACTERS:
                    self._log.write(partial)
                    partial = b""
        self._log.write(partial)
        self._stderr_ended.set()

    async def stop(self) -> None:
        """End the process and all it started: its input closes, then SIGTERM, then SIGKILL.

        Takes at most about 4 seconds.
        """
        await self.writer.aclose()
        with anyio.move_on_after(_EXIT_SECONDS):
            await self._exited()
        if sys.platform == "win32":
            with suppress(ProcessLookupError):
                self._process.kill()
        else:
            # Also after a clean exit: whatever the server left running in its group ends with it.
            await terminate_posix_process_tree(self._process, _TERMINATE_SECONDS)
        with anyio.move_on_after(_TERMINATE_SECONDS):
            await self._process.aclose()

    async def _exited(self) -> None:
        # Polled, because asyncio's own wait() lasts until a grandchild closes the pipes as well.
        while self._process.returncode is None:  # noqa: ASYNC110 - there is no event to wait for
            await anyio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def start_server(settings: ServerSettings, log: ServerLog) -> AsyncIterator[ServerProcess]:
    """Start a server; leaving the block ends it, also when the block is cancelled.

    Raises:
        ServerStartError: the command cannot be run.
    """
    process = ServerProcess(await _spawn(settings), log)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(process.read_stderr)
        try:
            yield process
        finally:
            with anyio.CancelScope(shield=True):
                await process.stop()
            tasks.cancel_scope.cancel()


async def _spawn(settings: ServerSettings) -> Process:
    environment = get_default_environment() | dict(settings.env)
    command = settings.command
    if sys.platform == "win32":
        # CreateProcess does not look for npx.cmd when asked for npx.
        command = shutil.which(command, path=environment.get("PATH")) or command
    try:
        # Shielded: a start that is cancelled half-way would leave a process nobody knows of.
        with anyio.CancelScope(shield=True):
            process = await anyio.open_process(
                [command, *settings.args],
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                cwd=settings.cwd,
                env=environment,
                start_new_session=True,
            )
    except (OSError, ValueError) as error:
        raise ServerStartError(_why_not_started(settings, error)) from error
    return process


def _why_not_started(settings: ServerSettings, error: Exception) -> str:
    if settings.cwd is not None and not os.path.isdir(settings.cwd):
        return f"its working directory {settings.cwd!r} does not exist"
    if isinstance(error, FileNotFoundError):
        return f"its command {settings.command!r} was not found; name a program on PATH or a path"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"its command {settings.command!r} cannot be run: {reason}"


def _how_it_ended(return_code: int | None) -> str:
    if return_code is None:
        return "it closed its output"
    if return_code >= 0:
        return f"it exited with code {return_code}"
    with suppress(ValueError):
        return f"it was ended by {signal.Signals(-return_code).name}"
    return f"it was ended by signal {-return_code}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
