"""A state of a run as the flat machine keeps it: words and dicts, nothing packed.

Owns the shape of a state and no rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field

ENDED = ("success", "failure", "skipped", "bypassed")
TERMINAL = ("completed", "failed", "rejected")


@dataclass(frozen=True, slots=True)
class FlatState:
    """One state of a run: all that decides what can happen next."""

    phase: str
    """new, active, failing, rejecting (failing after a rejection), completed, failed, rejected."""
    status: tuple[tuple[str, str], ...]
    """Per step: pending, running, success, failure, skipped or bypassed."""
    data: tuple[tuple[str, int], ...] = ()
    """Per path that a guard may still read, the index of its class."""
    counters: tuple[tuple[str, int], ...] = ()
    events: frozenset[str] = frozenset()
    """The events that happened and that some policy asks about."""
    free: tuple[tuple[str, bool], ...] = ()
    """The opaque `when` guards that were decided."""
    compensated: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The phase and every step that is not pending; not unique."""
        moved = [f"{step} {status}" for step, status in self.status if status != "pending"]
        return f"{self.phase}: {', '.join(moved)}" if moved else self.phase

    def thaw(self) -> Run:
        """A copy to work on."""
        return Run(
            self.phase,
            dict(self.status),
            dict(self.data),
            dict(self.counters),
            set(self.events),
            dict(self.free),
            set(self.compensated),
        )


@dataclass(slots=True)
class Run:
    """A state while it is being worked on."""

    phase: str
    status: dict[str, str]
    data: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)
    free: dict[str, bool] = field(default_factory=dict)
    compensated: set[str] = field(default_factory=set)

    def copy(self) -> Run:
        return Run(
            self.phase,
            dict(self.status),
            dict(self.data),
            dict(self.counters),
            set(self.events),
            dict(self.free),
            set(self.compensated),
        )

    def freeze(self) -> FlatState:
        return FlatState(
            self.phase,
            tuple(self.status.items()),
            tuple(sorted(self.data.items())),
            tuple(sorted((name, count) for name, count in self.counters.items() if count)),
            frozenset(self.events),
            tuple(sorted(self.free.items())),
            frozenset(self.compensated),
        )

    @property
    def failing(self) -> bool:
        return self.phase in ("failing", "rejecting")
