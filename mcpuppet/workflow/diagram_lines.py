"""The lines of a picture: how each kind looks, and where a long picture is broken into rows.

A line from one row to another is drawn as people draw it on paper: it ends in a small circle with a
number, and goes on from the circle with the same number in the other row.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from operator import itemgetter

import graphviz

from mcpuppet.workflow.diagram_chart import START, Chart, Edge, step_node
from mcpuppet.workflow.diagram_live import LiveState
from mcpuppet.workflow.diagram_palette import Palette
from mcpuppet.workflow.diagram_style import attribute, edge_label, font, row, table

_STYLES = {
    "success": "solid",
    "failure": "dashed",
    "timeout": "dotted",
    "bypass": "dotted",
    "otherwise": "dashed",
    "redo": "dashed",
    "undo": "dashed",
}


def add_lines(
    page: graphviz.Digraph, chart: Chart, palette: Palette, live: LiveState | None
) -> None:
    """Draw every line of the chart; its shapes are drawn already."""
    _Lines(page, chart, palette, live).add()


class _Lines:
    def __init__(
        self, page: graphviz.Digraph, chart: Chart, palette: Palette, live: LiveState | None
    ) -> None:
        self.page = page
        self.chart = chart
        self.palette = palette
        self.live = live
        self.members = {
            group.id: tuple(step_node(name) for name in group.members) for group in chart.groups
        }
        self.row_starts = [(0, START)]
        """Where each row is entered, with the number of the row."""

    def add(self) -> None:
        broken = 0
        for edge in self.chart.edges:
            if self.chart.rows[edge.tail] == self.chart.rows[edge.head]:
                self._add_line(edge)
            else:
                broken += 1
                self._add_broken(edge, str(broken))
        self._keep_rows_in_order()

    def _keep_rows_in_order(self) -> None:
        starts = graphviz.Digraph()
        starts.attr(rank="same")
        nodes = [node for _, node in sorted(self.row_starts, key=itemgetter(0))]
        for above, below in pairwise(nodes):
            starts.edge(below, above, style="invis")  # Graphviz counts these from below
        if len(nodes) > 1:
            self.page.subgraph(starts)

    def _add_line(self, edge: Edge) -> None:
        attributes = self._attributes(edge)
        (tail, *tails), (head, *heads) = self._ends(edge.tail), self._ends(edge.head)
        attributes |= self._clipped(edge.tail, edge.head)
        if edge.kind == "redo":
            # Written from the earlier step with the arrow at its tail, so that a line that leads
            # back does not turn the ranks upside down.
            self.page.edge(head, tail, dir="back", **attributes)
            return
        self.page.edge(tail, head, **attributes)
        self._keep_beside((one, head) for one in tails)
        self._keep_beside((tail, one) for one in heads)

    def _add_broken(self, edge: Edge, number: str) -> None:
        attributes = self._attributes(edge)
        out, back = f"out-{number}", f"in-{number}"
        where = f"goes on at {number}"
        self._add_circle(out, number, f"{edge.head}: {where}")
        self._add_circle(back, number, f"comes from {edge.tail}")
        (tail, *tails), (head, *heads) = self._ends(edge.tail), self._ends(edge.head)
        self.page.edge(tail, out, **attributes, **self._clipped(edge.tail, out))
        self._keep_beside((one, out) for one in tails)
        rest = attributes | {"id": f"{attributes['id']}--on", "label": ""}
        self.page.edge(back, head, **rest, **self._clipped(back, edge.head))
        self._keep_beside((back, one) for one in heads)
        self.row_starts.append((self.chart.rows[edge.head], back))

    def _add_circle(self, node: str, number: str, tooltip: str) -> None:
        paint = self.palette.kinds["guard"]
        self.page.node(
            node,
            label=table([row(font(number, 9, paint.ink, bold=True))]),
            shape="circle",
            fixedsize="true",
            width="0.32",
            style="filled",
            fillcolor=paint.fill,
            color=paint.line,
            id=node,
            tooltip=attribute(tooltip),
            **{"class": "kind-connector"},
        )

    def _attributes(self, edge: Edge) -> dict[str, str]:
        taken = self.live is not None and self.live.took(edge, self.chart)
        text = self.palette.edge_inks.get(edge.kind, self.palette.ink)
        return {
            "color": self.palette.edges["taken" if taken else edge.kind],
            "label": edge_label(edge.label, text),
            "style": _STYLES[edge.kind],
            "penwidth": "2.4" if taken else "1.2",
            "id": "--".join((f"edge-{edge.tail}", edge.head, edge.kind, edge.source or START)),
            "weight": "2" if edge.tail.startswith("guard-") and edge.kind == "success" else "1",
            "class": f"edge-{edge.kind}" + (" taken" if taken else ""),
            "tooltip": attribute(f"{edge.tail} to {edge.head}: {edge.label or 'success'}"),
        }

    def _ends(self, node: str) -> tuple[str, ...]:
        """The shapes that a line to or from this one is drawn between: a group has several."""
        return self.members.get(node, (node,))

    def _clipped(self, tail: str, head: str) -> dict[str, str]:
        """A line to or from a group ends at the group's frame."""
        clipped = {"ltail": f"cluster_{tail}"} if tail in self.members else {}
        return clipped | ({"lhead": f"cluster_{head}"} if head in self.members else {})

    def _keep_beside(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Keeps a group's members side by side."""
        for tail, head in pairs:
            self.page.edge(tail, head, style="invis")
