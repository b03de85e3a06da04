"""Opens the desk for one command: settings, store and sessions, but no server and no MCP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio

from mcpuppet.app import Desk, open_desk
from mcpuppet.cli.config import read_settings
from mcpuppet.errors import InvalidInputError

ResultT = TypeVar("ResultT")


def at_desk(
    config: Path, work: Callable[[Desk], Awaitable[ResultT]], *, new_store: bool = False
) -> ResultT:
    """Do `work` at the desk that the settings file describes.

    Raises InvalidInputError when there is no such file, or no store and `new_store` is not set: to
    look something up must not make a store where a path was mistyped.
    """
    settings = read_settings(config)
    if not new_store and not settings.store.exists():
        raise InvalidInputError(
            f"there is no store {settings.store} yet; `mcpuppet serve` and `mcpuppet user add` "
            "make it"
        )

    async def run() -> ResultT:
        async with open_desk(settings) as desk:
            return await work(desk)

    return anyio.run(run)
