"""Tools are held to the definitions that were accepted; one that has changed is disabled.

A tool's description tells the model what to do, so a server that changes it after the tool was
accepted changes what the model does. Accepted is what `mcpuppet.lock` pins; of a tool that is not
in it, the definition that this store has seen first. Whatever is pinned or found changed is in the
administration log before the tool can be listed or called.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mcpuppet.gateway.tool_catalogue import Catalogue, RejectedTool, Tool
from mcpuppet.ledger import Ledger
from mcpuppet.lockfile import LOCK_NAME, read_lock
from mcpuppet.session.admin_events import ADMINISTRATION, ToolChanged, ToolPinned
from mcpuppet.session.consequences import Progress
from mcpuppet.store.protocol import Pin, Store
from mcpuppet.workflow.tool_pins import pin_digest

FIRST_USE = "first use"

_Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class _Findings:
    """What one look at a server's tools came to."""

    pinned: tuple[ToolPinned, ...]
    changed: tuple[ToolChanged, ...]


class Pins:
    """The accepted definition of each tool, for one gateway process.

    `lock` is where the lock file is or would be; it is read again when it has changed. Raises
    InvalidInputError when it cannot be read: what it pins is then not known.
    """

    def __init__(self, lock: Path, store: Store, ledger: Ledger, node_id: str) -> None:
        self._lock = lock
        self._store = store
        self._ledger = ledger
        self._node_id = node_id
        self._told: set[tuple[str, str, str]] = set()
        """Changes that this process has recorded, as (tool, pinned, found)."""
        self._stamp = self._lock_stamp()
        self._locked = self._read_lock()

    def has_changed(self) -> bool:
        """Whether the lock file is another one by now; it is read again if so.

        Raises InvalidInputError when it cannot be read; until it can, the old one counts.
        """
        stamp = self._lock_stamp()
        if stamp == self._stamp:
            return False
        self._locked = self._read_lock()
        self._stamp = stamp
        return True

    async def screen(self, catalogue: Catalogue) -> Catalogue:
        """The catalogue without the tools that are no longer what was accepted.

        A tool that is seen for the first time is pinned. Raises StoreError when that cannot be
        written down; nothing may then be used.
        """
        found = await self._found(catalogue)
        if found.pinned or found.changed:
            await self._record(found)
            found = await self._found(catalogue)  # another process may have been first
        changed = {one.tool for one in found.changed}
        if not changed:
            return catalogue
        kept = {name: one for name, one in catalogue.tools.items() if one.qualified not in changed}
        refused = (
            RejectedTool(name, _why(self._lock))
            for name, one in catalogue.tools.items()
            if one.qualified in changed
        )
        return replace(catalogue, tools=kept, rejected=(*catalogue.rejected, *refused))

    async def _found(self, catalogue: Catalogue) -> _Findings:
        known = await self._store.pins()
        pinned: list[ToolPinned] = []
        changed: list[ToolChanged] = []
        for tool in catalogue.tools.values():
            digest, locked = pin_digest(tool.definition), self._locked.get(tool.qualified)
            accepted = locked or known.get(tool.qualified)
            if accepted is not None and accepted != digest:
                changed.append(ToolChanged(tool.qualified, accepted, digest, self._node_id))
            elif known.get(tool.qualified) != digest:
                pinned.append(ToolPinned(tool.qualified, digest, self._source(tool)))
        return _Findings(tuple(pinned), tuple(changed))

    def _source(self, tool: Tool) -> str:
        return LOCK_NAME if tool.qualified in self._locked else FIRST_USE

    async def _record(self, found: _Findings) -> None:
        told = {(one.tool, one.pinned, one.found) for one in found.changed} - self._told
        changed = [one for one in found.changed if (one.tool, one.pinned, one.found) in told]

        events: list[ToolPinned | ToolChanged] = [*found.pinned, *changed]

        def work(progress: Progress) -> None:
            if events:
                progress.open_session(ADMINISTRATION, "")
            for event in events:
                progress.emit(event)

        rows = [Pin(one.tool, one.digest, first=one.by == FIRST_USE) for one in found.pinned]
        await self._ledger.change(ADMINISTRATION, work, lambda _: rows)
        self._told |= told

    def _read_lock(self) -> Mapping[str, str]:
        lock = read_lock(self._lock)
        tools = {} if lock is None else lock.tools
        return {name: pin_digest(definition) for name, definition in tools.items()}

    def _lock_stamp(self) -> _Stamp:
        try:
            found = os.stat(self._lock)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _why(lock: Path) -> str:
    return (
        f"its definition is not the one that was accepted: `mcpuppet pin` shows what has changed, "
        f"`mcpuppet pin --accept` accepts it into {lock.name}"
    )
