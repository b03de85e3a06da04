"""What a report says in numbers of the calls that were sent. Plain values; `figures` counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of the calls that were sent, and how long the answered ones took, in seconds.

    The success rate is succeeded / (succeeded + failed), from 0 to 1; unknown and open calls are
    counted apart. p50 and p95 are nearest-rank percentiles. None stands for "no such call".
    `would_have_denied` counts the calls that rules which only observe objected to.
    """

    name: str
    succeeded: int
    failed: int
    unknown: int
    open: int
    success_rate: float | None
    p50: float | None
    p95: float | None
    max: float | None
    would_have_denied: int = 0


@dataclass(frozen=True, slots=True)
class ObjectionFigures:
    """How many calls that were made a rule which only observes would have denied."""

    book: str
    rule: str
    calls: int


@dataclass(frozen=True, slots=True)
class FiguresReport:
    """Figures of all sent calls, and of those of each tool, step and purpose, by name."""

    overall: Figures
    by_tool: tuple[Figures, ...]
    by_step: tuple[Figures, ...]
    by_purpose: tuple[Figures, ...]
    would_have_denied: tuple[ObjectionFigures, ...]
    """By rule, those with the most calls first."""
