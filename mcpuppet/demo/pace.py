"""How fast the demo goes: without a break, with pauses to read in, or one key press at a time.

Knows nothing of what is shown; scenes say where a person would like to stop and look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import anyio
import anyio.to_thread

Manner = Literal["auto", "timed", "step"]

_BEAT = 1.5
"""Seconds that an answer stays before the next one, when a person watches."""
_WORD = 0.12
"""Seconds for a word of a paragraph; most people need no longer for plain text."""


class StoppedError(Exception):
    """The onlooker ended the demo."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`speed` 2 halves every pause.

    `wait_for_key` blocks until a key was pressed, and says whether the demo is to go on.
    """

    manner: Manner
    speed: float
    wait_for_key: Callable[[], bool]

    async def read(self, text: str) -> None:
        """Leave time to read a paragraph; none unless somebody watches."""
        await self._pause(len(text.split()) * _WORD)

    async def step(self, announce: Callable[[], None]) -> None:
        """A whole step is done: with `step`, announce that a key is awaited, and wait for it.

        Raises StoppedError when the onlooker ends the demo instead.
        """
        if self.manner != "step":
            await self._pause(_BEAT)
            return
        announce()
        if not await anyio.to_thread.run_sync(self.wait_for_key):
            raise StoppedError

    async def _pause(self, seconds: float) -> None:
        if self.manner == "timed":
            await anyio.sleep(seconds / self.speed)
