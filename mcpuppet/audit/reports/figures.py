"""Counts, success rates and durations of calls, as `key_figures.Figures` defines them.

Keeps eight bytes for each answered call and each grouping of it, and no call.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from mcpuppet.audit.reports.calls import CallReport
from mcpuppet.audit.reports.key_figures import Figures, FiguresReport, ObjectionFigures


def figures_of(calls: Iterable[CallReport]) -> FiguresReport:
    """Figures of all calls that were sent: of each tool, step, purpose and observing rule."""
    reading = FiguresReading()
    for call in calls:
        reading.take(call)
    return reading.report()


class FiguresReading:
    """Takes calls one by one, of any number of sessions, and gives their figures."""

    def __init__(self) -> None:
        self._overall = _Group()
        self._tools: dict[str, _Group] = {}
        self._steps: dict[str, _Group] = {}
        self._purposes: dict[str, _Group] = {}
        self._objections: Counter[tuple[str, str]] = Counter()

    def take(self, call: CallReport, *, workflow: str = "") -> None:
        """Count a call, if it was sent; with `workflow`, its step goes by `workflow/step`."""
        if call.outcome is None:
            return
        self._overall.take(call)
        self._tools.setdefault(call.tool, _Group()).take(call)
        if call.step is not None:
            step = f"{workflow}/{call.step}" if workflow else call.step
            self._steps.setdefault(step, _Group()).take(call)
        if call.purpose is not None:
            self._purposes.setdefault(call.purpose, _Group()).take(call)
        # A rule that objected to one call twice has objected to one call.
        self._objections.update({(one.book, one.rule) for one in call.would_have_denied})

    def report(self) -> FiguresReport:
        """The figures of all calls so far."""
        objections = sorted(self._objections.items(), key=lambda one: (-one[1], one[0]))
        return FiguresReport(
            overall=self._overall.figures("all calls"),
            by_tool=_by_name(self._tools),
            by_step=_by_name(self._steps),
            by_purpose=_by_name(self._purposes),
            would_have_denied=tuple(
                ObjectionFigures(book, rule, calls) for (book, rule), calls in objections
            ),
        )


def _by_name(groups: Mapping[str, _Group]) -> tuple[Figures, ...]:
    return tuple(groups[name].figures(name) for name in sorted(groups))


class _Group:
    """The calls of one name."""

    __slots__ = ("_counts", "_missed", "_times")

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._times = array("d")
        self._missed = 0

    def take(self, call: CallReport) -> None:
        self._counts[call.outcome or "open"] += 1
        self._missed += bool(call.would_have_denied)
        if call.outcome in ("succeeded", "failed") and call.seconds is not None:
            self._times.append(call.seconds)

    def figures(self, name: str) -> Figures:
        times = sorted(self._times)
        succeeded, failed = self._counts["succeeded"], self._counts["failed"]
        ended = succeeded + failed
        return Figures(
            name=name,
            succeeded=succeeded,
            failed=failed,
            unknown=self._counts["unknown"],
            open=self._counts["open"],
            success_rate=succeeded / ended if ended else None,
            p50=_percentile(times, 50),
            p95=_percentile(times, 95),
            max=times[-1] if times else None,
            would_have_denied=self._missed,
        )


def _percentile(ascending: Sequence[float], percent: int) -> float | None:
    """The nearest-rank percentile: the least value that `percent` % of all values do not exceed."""
    if not ascending:
        return None
    return ascending[math.ceil(len(ascending) * percent / 100) - 1]
