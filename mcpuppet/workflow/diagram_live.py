"""Where one run is, as far as a picture shows it, and which lines of the chart it went along.

Words in, words out: whoever has a session's state turns it into these words. Colours are elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mcpuppet.workflow.diagram_chart import Chart, Diamond, Edge, End, EndKind
from mcpuppet.workflow.diagram_palette import plain

_UNMOVED = frozenset({"pending", "skipped", "refused"})
_OUTCOMES_OF_STATUS: Mapping[str, frozenset[str]] = {
    "done": frozenset({"success", "approved", "bypassed"}),
    "succeeded": frozenset({"success"}),
    "undone": frozenset({"success"}),
    "failed": frozenset({"failure", "rejected"}),
}


@dataclass(frozen=True, slots=True)
class LiveState:
    """Where one run is: a state word per step, refused calls per step, and how the run ended.

    A step that is not named is pending. The undo of step `x` goes by the name `undo-x`. `end` is
    `completed`, `rejected`, `failed`, `cancelled` or `timed_out`, and None while the run goes on.
    `redone` names the steps whose failure or rejection sent the run back. `caption` says whose
    state it is and of when, in one or more lines.
    """

    statuses: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    end: str | None = None
    redone: frozenset[str] = frozenset()
    caption: tuple[str, ...] = ()

    def status(self, name: str) -> str:
        """The state word of a step, lower case; `refused` for a pending step with refused calls."""
        status = plain(self.statuses.get(name, "pending"))
        return "refused" if status == "pending" and self.refused.get(name) else status

    def took(self, edge: Edge, chart: Chart) -> bool:
        """Whether the run went along this line of the chart."""
        if edge.kind == "redo":
            return edge.source in self.redone
        if not self._came_out(edge):
            return False
        end = next((one for one in chart.ends if one.id == edge.head), None)
        if end is not None:
            return self.end is not None and end.kind == self._end_shown(chart)
        return edge.target is None or self.status(edge.target) not in _UNMOVED

    def _came_out(self, edge: Edge) -> bool:
        """Whether the step that the line leaves ended in one of the line's outcomes."""
        if edge.source is None:
            return True
        status = self.status(edge.source)
        return bool(edge.outcomes & _OUTCOMES_OF_STATUS.get(status, {status}))

    def decided(self, diamond: Diamond, chart: Chart) -> str:
        """`done` for a diamond whose guards have been asked, else `pending`."""
        taken = [self.took(edge, chart) for edge in chart.edges if edge.head == diamond.id]
        return "done" if (any(taken) if diamond.any_of else all(taken)) else "pending"

    def end_status(self, end: End, chart: Chart) -> str:
        """How the run ended, for the ends it reached, else `pending`."""
        if not self.end or end.kind != self._end_shown(chart):
            return "pending"
        if end.only_after is not None:
            lines = (edge for edge in chart.edges if edge.head == end.id)
            return plain(self.end) if any(self.took(edge, chart) for edge in lines) else "pending"
        return plain(self.end)

    def _end_shown(self, chart: Chart) -> EndKind:
        """The end of the chart to light up: `failed` stands for every bad end that is not drawn."""
        return next((end.kind for end in chart.ends if end.kind == self.end), "failed")
