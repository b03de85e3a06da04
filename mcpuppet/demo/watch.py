"""Watching a session from outside, through nothing but the store: state, counters, latest events.

On a terminal the picture is redrawn in place; elsewhere each change is a line of its own. Knows
nothing of who changes the session.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass

import anyio
from rich.live import Live
from rich.text import Text

from mcpuppet.audit.record import OpenedRecord
from mcpuppet.demo.narrator import Narrator, board, legal_text, steps_text
from mcpuppet.demo.stage import Stage
from mcpuppet.session.machine import RUN_ENDS
from mcpuppet.views import SessionView

_POLL_SECONDS = 0.05
_RECENT = 5
_SUBJECTS = ("tool", "step", "workflow", "approval_id", "status")


@dataclass(frozen=True, slots=True)
class Sight:
    """A session at one moment: its state, and the records of its latest run."""

    view: SessionView
    records: tuple[OpenedRecord, ...]

    @property
    def counters(self) -> Mapping[str, int]:
        """How many calls were sent, succeeded and refused, and how many records there are."""
        kinds = Counter(one.kind for one in self.records)
        return {
            "calls": kinds["CallStarted"],
            "succeeded": kinds["CallSucceeded"],
            "refused": kinds["CallDenied"],
            "records": len(self.records),
        }

    def recent(self) -> Iterator[str]:
        """The latest events in words, the newest last."""
        tools = {one.data.get("call_id"): one.data.get("tool") for one in reversed(self.records)}
        return (_event_text(one, tools) for one in self.records[-_RECENT:])


def _event_text(record: OpenedRecord, tools: Mapping[object, object]) -> str:
    """An event on one line: when, which, and what it is about; `tools` is by call."""
    words = "".join(f" {one.lower()}" if one.isupper() else one for one in record.kind).strip()
    about = next((record.data[key] for key in _SUBJECTS if key in record.data), None)
    return f"{record.at:%H:%M:%S}  {words}  {about or tools[record.data['call_id']]}"


class Watch:
    """Looks again and again, and shows what is new."""

    def __init__(self, stage: Stage, live: Live | None) -> None:
        self._stage = stage
        self._live = live
        self._seen: Sight | None = None
        self._looking = anyio.Lock()

    async def until_legal(self, step: str) -> bool:
        """Look until this step is legal; False when the run ends before."""
        while True:
            view = (await self.look()).view
            if any(one.step == step for one in view.legal):
                return True
            if view.status in RUN_ENDS:
                return False
            await anyio.sleep(_POLL_SECONDS)

    async def look_on(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await anyio.sleep(_POLL_SECONDS)

    async def look(self) -> Sight:
        """The session as it is now; shown, if it is not as it was shown last."""
        async with self._looking:
            seen = Sight(await self._stage.view(), self._latest_run())
            if seen != self._seen:
                self._show(seen)
                self._seen = seen
            return seen

    def _latest_run(self) -> tuple[OpenedRecord, ...]:
        records = tuple(self._stage.opened_records())
        starts = [number for number, one in enumerate(records) if one.kind == "RunStarted"]
        return records[starts[-1] :]

    def _show(self, seen: Sight) -> None:
        if self._live is not None:
            picture = board(seen.view, seen.counters, seen.recent())
            self._live.update(picture, refresh=True)
        elif self._seen is not None:
            _tell_changes(self._stage.narrator, self._seen.view, seen.view)


@asynccontextmanager
async def watched(stage: Stage) -> AsyncIterator[Watch]:
    """Show the session as it changes, and as it is when the context is left."""
    console = stage.narrator.console
    redrawn = stage.pace.manner == "timed" and console.is_terminal and not console.is_dumb_terminal
    live = Live(console=console, auto_refresh=False) if redrawn else None
    watch = Watch(stage, live)
    with live or nullcontext():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch.look_on)
            yield watch
            tasks.cancel_scope.cancel()
    if live is None:
        last = await watch.look()
        console.print(board(last.view, last.counters, last.recent()))


def _tell_changes(narrator: Narrator, before: SessionView, after: SessionView) -> None:
    known = {one.id: one.status for one in before.steps}
    changed = [one for one in after.steps if known[one.id] != one.status]
    if changed:
        narrator.line("watch", steps_text(changed))
        narrator.line("", Text("legal: ").append_text(legal_text(after)))
