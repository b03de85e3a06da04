"""A process of its own on a store, run by the tests: `store_process.py ROLE STORE ARGUMENT`.

Every acknowledged append is one line "session seq hash" on stdout, written after the store
answered and in one piece, so that a process killed at any moment has printed no half-truth.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from mcpuppet.errors import ClaimRefusedError, SessionChangedError, StoreError
from mcpuppet.store.nodes import Nodes
from mcpuppet.store.protocol import (
    NEW_SESSION,
    Head,
    LockClaim,
    NewRecord,
    SessionIndex,
    UseClaim,
)
from mcpuppet.store.sqlite import SqliteStore

INDEX = SessionIndex("agent", "running", None, (), None)
SPENDINGS = 25


def event() -> NewRecord:
    return NewRecord("call", datetime.now(UTC), {"pid": os.getpid(), "filling": "x" * 500})


async def append(store: SqliteStore, session_id: str, head: Head) -> Head:
    new = await store.append(session_id, head, [event()], b"%d" % (head.seq + 1), INDEX)
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


async def claim(store: SqliteStore, claims: list[UseClaim | LockClaim]) -> str:
    """Claim in a session of this process, from where it ends; "granted" or "refused"."""
    session_id = str(os.getpid())
    head = await store.head(session_id) or NEW_SESSION
    try:
        await store.append(session_id, head, [event()], b"", INDEX, claims=claims)
    except ClaimRefusedError:
        return "refused"
    return "granted"


async def starting_shot(store: SqliteStore) -> None:
    """Wait, with the store open, until all processes are told to go on."""
    await store.head("s")
    os.write(1, b"ready\n")
    await asyncio.to_thread(sys.stdin.readline)


async def use(store: SqliteStore, limit: int) -> None:
    """Use "rate" once, of which there are `limit` in an hour."""
    await starting_shot(store)
    now = datetime.now(UTC)
    wanted = UseClaim("rate", now, Decimal(1), now - timedelta(hours=1), Decimal(limit))
    os.write(1, f"{await claim(store, [wanted])}\n".encode())


async def spend(store: SqliteStore, cap: int) -> None:
    """Spend random amounts against a cap per hour and one for ever; say what was answered."""
    await starting_shot(store)
    for _ in range(SPENDINGS):
        now = datetime.now(UTC)
        amount = Decimal(random.randint(1, 999)).scaleb(-2)
        hour = UseClaim("hour", now, amount, now - timedelta(hours=1), Decimal(cap))
        ever = UseClaim("ever", now, amount, None, Decimal(cap))
        os.write(1, f"{await claim(store, [hour, ever])} {amount}\n".encode())


async def lock(store: SqliteStore, _argument: int) -> None:
    """Try once to hold "lock"."""
    await starting_shot(store)
    answer = await claim(store, [LockClaim("lock", "call-1")])
    os.write(1, f"{answer} {os.getpid()}\n".encode())
    await asyncio.to_thread(sys.stdin.readline)


def live(path: Path, node_id: str) -> None:
    node = Nodes(path, node_id)
    node.join()
    os.write(1, b"joined\n")
    signal.pause()


def main(role: str, path: Path, argument: str) -> None:
    if role == "live":
        live(path, argument)
    roles = {"race": race, "load": load, "fill": fill, "read_only": read_only}
    claiming = {"use": use, "spend": spend, "lock": lock}
    asyncio.run((roles | claiming)[role](SqliteStore(path), int(argument)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
