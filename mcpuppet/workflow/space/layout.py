"""Where the parts of a state lie in its one Python int.

From below: the marking (six one-hot bits a step, as `workflow.marking` defines it), one *ready* and
one *held* bit a step, the mode of the run (one-hot), and then only what the workflow can change:
classes of remembered values, counters, the sticky events that a policy reads. Ready and held are
functions of the rest, kept so that a state's legal calls are found without asking every step.
Knows no rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mcpuppet.workflow.classes import GuardClasses
from mcpuppet.workflow.definition import STEP_EVENTS
from mcpuppet.workflow.marking import PENDING, STATUS_BITS

MODES = (
    "new",
    "active",
    "failing",
    "rejecting",
    "timing_out",
    "completed",
    "failed",
    "rejected",
    "timed_out",
)
"""Failing, rejecting and timing_out are one behaviour with three ends."""
MODE_TO_END = 4
"""From `active`, `failing`, ... it is so many bits to `completed`, `failed`, ..."""


@dataclass(frozen=True, slots=True)
class Field:
    """Some adjacent bits of a state, holding a number."""

    shift: int
    width: int

    @property
    def mask(self) -> int:
        return ((1 << self.width) - 1) << self.shift

    def get(self, state: int) -> int:
        return state >> self.shift & ((1 << self.width) - 1)

    def put(self, number: int) -> int:
        return number << self.shift


@dataclass(slots=True)
class Layout:
    """The bits of one workflow's states. Fields are added while the rules are compiled."""

    steps: int
    size: int = 0
    fields: dict[str, Field] = field(default_factory=dict)
    _of: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.size = self.steps * (STATUS_BITS + 2) + len(MODES)

    @property
    def marking(self) -> int:
        """The mask of the marking."""
        return (1 << STATUS_BITS * self.steps) - 1

    def ready(self, index: int) -> int:
        """The bit: pending, its needs hold and its guard too."""
        return 1 << (STATUS_BITS * self.steps + index)

    def held(self, index: int) -> int:
        """The bit: pending, its needs hold, and its guard has no answer."""
        return 1 << ((STATUS_BITS + 1) * self.steps + index)

    def mode(self, name: str) -> int:
        return 1 << ((STATUS_BITS + 2) * self.steps + MODES.index(name))

    def modes(self, names: Iterable[str]) -> int:
        return sum(self.mode(name) for name in names)

    def everywhere(self, status: int) -> int:
        """The bits that say, of each step: it is in `status`."""
        return sum(status << STATUS_BITS * index for index in range(self.steps))

    def add(self, name: str, highest: int) -> Field:
        """The field of that name, made large enough for 0 to `highest` when first asked for."""
        if name not in self.fields:
            width = max(1, highest.bit_length())
            self.fields[name] = Field(self.size, width)
            self.size += width
            kind, rest = name.split(" ", 1)
            group = ".".join(rest.split(".")[:2]) if kind == "data" else rest.split(" ")[0]
            group = f"{kind} {group}"
            self._of[group] = self._of.get(group, 0) | self.fields[name].mask
        return self.fields[name]

    def known(self, name: str) -> int:
        """The mask of a field, 0 if there is none of that name."""
        return self.fields[name].mask if name in self.fields else 0

    def of(self, kind: str, owner: str) -> int:
        """The mask of all fields of a kind of one owner, such as the data of `steps.check`."""
        return self._of.get(f"{kind} {owner}", 0)

    def event(self, step: str, event: str) -> int:
        """The sticky bit of an event, 0 when no policy reads it."""
        return self.known(f"event {step}.{event}")

    def events(self, step: str) -> int:
        return sum(self.event(step, event) for event in STEP_EVENTS)

    def start(self) -> int:
        """The state before the start."""
        return self.everywhere(PENDING) | self.mode("new")


def remembered_paths(classes: GuardClasses) -> Iterator[str]:
    """The paths whose class is kept, as a guard asked later reads them."""
    found: dict[str, None] = {}
    for (step, kind), paths in classes.reads.items():
        for path in paths:
            own = path.startswith(f"steps.{step}.") and kind in ("success", "until")
            if not own and not _is_of_marking(path):
                found[path] = None
    yield from found


def _is_of_marking(path: str) -> bool:
    """Whether the statuses tell it: an outcome, or whether there is a result at all."""
    return path.startswith("steps.") and path.count(".") == 2


def union(masks: Iterable[int]) -> int:
    """All bits of several masks."""
    found = 0
    for mask in masks:
        found |= mask
    return found
