"""The two streams of a process that serves MCP: a private copy for the protocol, nobody else's.

stdout carries nothing but protocol: while it is served, file descriptor 1 leads to stderr and 0 is
empty. Knows bytes and lines, and no message.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Longest line accepted from a client, in bytes; a longer one ends the connection."""

_READ_BYTES = 64 * 1024


@contextmanager
def private_streams() -> Iterator[tuple[int, int]]:
    """Copies of stdin and stdout for the protocol; meanwhile 0 is empty and 1 leads to stderr."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # there is no stderr
        os.dup2(nothing, 1)
    # What was printed before and is still in Python's buffer must not reach the client either.
    sys.stdout.flush()
    try:
        yield source, sink
    finally:
        sys.stdout.flush()
        os.dup2(source, 0)
        os.dup2(sink, 1)
        os.close(nothing)
        # The copies stay open: a thread may still wait on them, and would then use another file.


def read_chunk(source: int) -> bytes:
    """What has arrived, at least one byte; empty when nothing will arrive any more."""
    try:
        return os.read(source, _READ_BYTES)
    except OSError:  # the terminal or the peer is gone
        return b""


def write_all(sink: int, data: bytes) -> None:
    """Write all of `data`, waiting for room; raises OSError when nobody reads any more."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(sink, rest) :]
        except BlockingIOError:
            select.select([], [sink], [])


def make_pipe_unblocking(sink: int) -> bool:
    """Let writes to a pipe return instead of waiting; False for what is not a pipe of our own.

    A terminal or a file may be shared with other processes, which would not expect it.
    """
    if sys.platform == "win32" or not stat.S_ISFIFO(os.fstat(sink).st_mode):
        return False
    os.set_blocking(sink, False)
    return True


def read_lines(source: int, already_read: bytes = b"") -> Iterator[bytes]:
    """The lines of a stream without their ends, until it ends or one is too long."""
    partial = bytearray(already_read)
    while True:
        if b"\n" in partial:
            *lines, rest = bytes(partial).split(b"\n")
            yield from lines
            partial = bytearray(rest)
        if len(partial) > MAX_MESSAGE_BYTES:
            complain(f"the client sent a message longer than {MAX_MESSAGE_BYTES // 2**20} MiB")
            return
        chunk = read_chunk(source)
        if not chunk:
            return
        partial += chunk


def complain(words: str) -> None:
    """One text for whoever reads stderr."""
    print(words, file=sys.stderr, flush=True)  # noqa: T201 - stdout belongs to the protocol
