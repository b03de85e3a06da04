"""Counts, success rates and durations of calls, as `report.Figures` defines them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from mcpuppet.audit.report import CallReport, Figures, FiguresReport


def figures_of(calls: Iterable[CallReport]) -> FiguresReport:
    """Figures of all calls that were sent, of each tool and of each step."""
    sent = [one for one in calls if one.outcome is not None]
    tools: dict[str, list[CallReport]] = {}
    steps: dict[str, list[CallReport]] = {}
    for call in sent:
        tools.setdefault(call.tool, []).append(call)
        if call.step is not None:
            steps.setdefault(call.step, []).append(call)
    return FiguresReport(
        overall=_figures("all calls", sent),
        by_tool=tuple(_figures(name, tools[name]) for name in sorted(tools)),
        by_step=tuple(_figures(name, steps[name]) for name in sorted(steps)),
    )


def _figures(name: str, calls: Iterable[CallReport]) -> Figures:
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
    )


def _percentile(ascending: list[float], percent: int) -> float | None:
    """The nearest-rank percentile: the least value that `percent` % of all values do not exceed."""
    if not ascending:
        return None
    return ascending[math.ceil(len(ascending) * percent / 100) - 1]
