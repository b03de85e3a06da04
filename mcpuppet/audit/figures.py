"""Counts, success rates and durations of calls, as `report.Figures` defines them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from mcpuppet.audit.report import CallReport, Figures, FiguresReport, ObjectionFigures


def figures_of(calls: Iterable[CallReport]) -> FiguresReport:
    """Figures of all calls that were sent: of each tool, step, purpose and observing rule."""
    sent = [one for one in calls if one.outcome is not None]
    return FiguresReport(
        overall=_figures("all calls", sent),
        by_tool=_grouped(sent, lambda call: call.tool),
        by_step=_grouped(sent, lambda call: call.step),
        by_purpose=_grouped(sent, lambda call: call.purpose),
        would_have_denied=tuple(_objections(sent)),
    )


def _grouped(
    calls: Iterable[CallReport], name_of: Callable[[CallReport], str | None]
) -> tuple[Figures, ...]:
    groups: dict[str, list[CallReport]] = {}
    for call in calls:
        name = name_of(call)
        if name is not None:
            groups.setdefault(name, []).append(call)
    return tuple(_figures(name, groups[name]) for name in sorted(groups))


def _objections(calls: Iterable[CallReport]) -> Iterable[ObjectionFigures]:
    """For each rule the number of calls: one that it objected to twice is one."""
    counted = Counter(
        rule for call in calls for rule in {(one.book, one.rule) for one in call.would_have_denied}
    )
    for (book, rule), count in sorted(counted.items(), key=lambda one: (-one[1], one[0])):
        yield ObjectionFigures(book, rule, count)


def _figures(name: str, calls: Sequence[CallReport]) -> Figures:
    counts = dict.fromkeys(("succeeded", "failed", "unknown", "open"), 0)
    times: list[float] = []
    for call in calls:
        counts[call.outcome or "open"] += 1
        if call.outcome in ("succeeded", "failed") and call.seconds is not None:
            times.append(call.seconds)
    times.sort()
    ended = counts["succeeded"] + counts["failed"]
    return Figures(
        name=name,
        **counts,
        success_rate=counts["succeeded"] / ended if ended else None,
        p50=_percentile(times, 50),
        p95=_percentile(times, 95),
        max=times[-1] if times else None,
        would_have_denied=sum(bool(call.would_have_denied) for call in calls),
    )


def _percentile(ascending: list[float], percent: int) -> float | None:
    """The nearest-rank percentile: the least value that `percent` % of all values do not exceed."""
    if not ascending:
        return None
    return ascending[math.ceil(len(ascending) * percent / 100) - 1]
