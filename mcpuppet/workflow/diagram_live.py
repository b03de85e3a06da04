"""Where one run is, as far as a picture shows it, and which lines of the chart it went along.

Words in, words out: whoever has a session's state turns it into these words. Colours are elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mcpuppet.workflow.diagram_graph import Chart, Diamond, Edge, EndKind, end_node
from mcpuppet.workflow.diagram_style import plain

_UNMOVED = frozenset({"pending", "skipped", "refused"})
_OUTCOMES_OF_STATUS: Mapping[str, frozenset[str]] = {
    "done": frozenset({"success", "approved", "bypassed"}),
    "succeeded": frozenset({"success"}),
    "failed": frozenset({"failure", "rejected"}),
}


@dataclass(frozen=True, slots=True)
class LiveState:
    """Where one run is: a state word per step, refused calls per step, and how the run ended.

    A step that is not named is pending. The undo of step `x` goes by the name `undo-x`. `end` is
    `completed`, `rejected`, `failed` or `cancelled`, and None while the run goes on.
    """

    statuses: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    end: str | None = None

    def status(self, name: str) -> str:
        """The state word of a step, lower case; `refused` for a pending step with refused calls."""
        status = plain(self.statuses.get(name, "pending"))
        return "refused" if status == "pending" and self.refused.get(name) else status

    def took(self, edge: Edge, chart: Chart) -> bool:
        """Whether the run went along this line of the chart."""
        if edge.source is not None:
            status = self.status(edge.source)
            if not edge.outcomes & _OUTCOMES_OF_STATUS.get(status, {status}):
                return False
        if edge.head.startswith("end-"):
            return edge.head == end_node(self._end_shown(chart)) and self.end is not None
        return edge.target is None or self.status(edge.target) not in _UNMOVED

    def decided(self, diamond: Diamond, chart: Chart) -> str:
        """`done` for a diamond whose guards have been asked, else `pending`."""
        taken = [self.took(edge, chart) for edge in chart.edges if edge.head == diamond.id]
        return "done" if (any(taken) if diamond.any_of else all(taken)) else "pending"

    def end_status(self, end: EndKind, chart: Chart) -> str:
        """How the run ended, for the end it reached, else `pending`."""
        return plain(self.end) if self.end and end == self._end_shown(chart) else "pending"

    def _end_shown(self, chart: Chart) -> EndKind:
        """The end of the chart to light up: `failed` stands for every bad end that is not drawn."""
        return next((end for end in chart.ends if end == self.end), "failed")
