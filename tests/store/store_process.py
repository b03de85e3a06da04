"""A process of its own on a store, run by the tests: `store_process.py ROLE STORE ARGUMENT`.

Every acknowledged append is one line "session seq hash" on stdout, written after the store
answered and in one piece, so that a process killed at any moment has printed no half-truth.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from mcpuppet.errors import SessionChangedError, StoreError
from mcpuppet.store.nodes import Nodes
from mcpuppet.store.protocol import NEW_SESSION, Head, NewRecord, SessionIndex
from mcpuppet.store.sqlite import SqliteStore

INDEX = SessionIndex("agent", "running", None, (), None)


async def append(store: SqliteStore, session_id: str, head: Head) -> Head:
    event = NewRecord("call", datetime.now(UTC), {"pid": os.getpid(), "filling": "x" * 500})
    new = await store.append(session_id, head, [event], b"%d" % (head.seq + 1), INDEX)
    os.write(1, f"{session_id} {new.seq} {new.hash.hex()}\n".encode())
    return new


async def race(store: SqliteStore, length: int) -> None:
    """Append to one session, against all other processes, until it has `length` records."""
    head = NEW_SESSION
    while head.seq < length:
        try:
            head = await append(store, "contended", head)
        except SessionChangedError:
            head = await store.head("contended") or NEW_SESSION


async def load(store: SqliteStore, sessions: int) -> None:
    """Append to many sessions at once, for ever."""

    async def one(session_id: str) -> None:
        head = NEW_SESSION
        while True:
            head = await append(store, session_id, head)

    await asyncio.gather(*(one(f"{os.getpid()}-{n}") for n in range(sessions)))


async def fill(store: SqliteStore, size: int) -> None:
    """Append until no file may grow beyond `size` bytes any more; print the refusal."""
    await store.head("s")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    head = NEW_SESSION
    try:
        while True:
            head = await append(store, "s", head)
    except StoreError as error:
        refusal = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.write(1, f"refused: {refusal}\n".encode())
    await append(store, "s", await store.head("s") or NEW_SESSION)


async def read_only(store: SqliteStore, user: int) -> None:
    """Become `user` (root may write everything) and try to append."""
    if os.geteuid() == 0:
        os.seteuid(user)
    try:
        await append(store, "s", NEW_SESSION)
    except StoreError as error:
        os.write(1, f"refused: {error}\n".encode())


def live(path: Path, node_id: str) -> None:
    node = Nodes(path, node_id)
    node.join()
    os.write(1, b"joined\n")
    signal.pause()


def main(role: str, path: Path, argument: str) -> None:
    if role == "live":
        live(path, argument)
    roles = {"race": race, "load": load, "fill": fill, "read_only": read_only}
    asyncio.run(roles[role](SqliteStore(path), int(argument)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
