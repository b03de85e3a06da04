"""A workflow, with or without the state of one run, as a picture: `to_dot`, then `draw`.

Owns the DOT text: `diagram_graph` says which shapes and lines there are, `diagram_words` what is
written on them, `diagram_style` how they look, `diagram_engine` draws. The only home of graphviz.

The same definition gives the same bytes on every machine. State changes colours, line styles and
words in cells of a fixed size, never a size, so that nothing moves while a run goes on. Nodes carry
`id="step-<id>"` and classes such as `kind-tool state-done` into the SVG.
"""

from __future__ import annotations

from collections.abc import Iterable

import graphviz

from mcpuppet.workflow.definition import Step, WorkflowDefinition
from mcpuppet.workflow.diagram_engine import Format, RenderError, draw
from mcpuppet.workflow.diagram_graph import (
    START,
    Chart,
    Diamond,
    Edge,
    EndKind,
    Group,
    chart_of,
    end_node,
    step_node,
    undo_node,
)
from mcpuppet.workflow.diagram_live import LiveState
from mcpuppet.workflow.diagram_page import page_legend, page_title
from mcpuppet.workflow.diagram_style import (
    FONT,
    PALETTES,
    Line,
    Paint,
    Palette,
    Theme,
    attribute,
    edge_label,
    font,
    hexagon_size,
    node_label,
    node_lines,
    packed,
    paint_name,
    row,
    slug,
    table,
)
from mcpuppet.workflow.diagram_words import (
    approval_lines,
    humanised,
    joined,
    policies_of,
    policy_words,
    step_title,
    tool_lines,
)

__all__ = ["Format", "LiveState", "RenderError", "Theme", "draw", "to_dot"]

_WORD_WIDTHS = {"tool": 78, "approval": 112, "guard": 48, "undo": 92, "end": 62}
"""Points that the state word of each kind may take."""
_EDGE_STYLES = {
    "success": "solid",
    "failure": "dashed",
    "timeout": "dotted",
    "otherwise": "dashed",
    "redo": "dashed",
    "undo": "dashed",
}


def to_dot(
    definition: WorkflowDefinition, *, theme: Theme = "light", live: LiveState | None = None
) -> str:
    """The DOT text of a definition that the checks found no error in, in the state `live` if given.

    The text is the same for the same arguments, on every machine.
    """
    return _Picture(definition, PALETTES[theme], live).dot()


class _Picture:
    """One picture in the making: the definition, its chart, the colours, and the DOT so far."""

    def __init__(
        self, definition: WorkflowDefinition, palette: Palette, live: LiveState | None
    ) -> None:
        self.definition = definition
        self.chart: Chart = chart_of(definition)
        self.palette = palette
        self.live = live
        self.grouped = {name: group for group in self.chart.groups for name in group.members}

    def dot(self) -> str:
        graph = self._canvas()
        page = graphviz.Digraph("cluster_page")
        page.attr(
            label=page_title(self.definition, self.palette),
            labelloc="t",
            pencolor="none",
            margin="10",
        )
        self._add_start(page)
        for group in self.chart.groups:
            page.subgraph(self._group(group))
        for name, step in self.definition.steps.items():
            if name not in self.grouped:
                self._add_step(page, name, step)
            if step.compensate is not None:
                self._add_undo(page, name, step.compensate.tool)
        for diamond in self.chart.diamonds:
            self._add_diamond(page, diamond)
        page.subgraph(self._ends())
        for edge in self.chart.edges:
            self._add_edge(page, edge)
        graph.subgraph(page)
        return str(graph.source)

    def _canvas(self) -> graphviz.Digraph:
        palette = self.palette
        return graphviz.Digraph(
            self.definition.workflow,
            graph_attr={
                "bgcolor": palette.page,
                "fontname": FONT,
                "compound": "true",
                "rankdir": "TB",
                "nodesep": "0.6",
                "ranksep": "0.42",
                "pad": "0.2",
                "label": page_legend(self.palette, live=self.live is not None),
                "labelloc": "b",
                "tooltip": attribute(self.definition.title or self.definition.workflow),
            },
            node_attr={"fontname": FONT, "margin": "0.14,0.06", "height": "0.3", "width": "0.3"},
            edge_attr={"fontname": FONT, "arrowsize": "0.8"},
        )

    def _add_start(self, page: graphviz.Digraph) -> None:
        ink = self.palette.ink
        page.node(
            START,
            label="",
            shape="circle",
            width="0.17",
            height="0.17",
            fixedsize="true",
            style="filled",
            fillcolor=ink,
            color=ink,
            id=START,
            tooltip="start",
            **{"class": "kind-start"},
        )

    def _group(self, group: Group) -> graphviz.Digraph:
        paint = self.palette.kinds["group"]
        order = "any order, one at a time" if group.mutex else "in parallel"
        title = font(order, 10, paint.ink, bold=True)
        rest = font("all must finish", 9, paint.ink)
        cluster = graphviz.Digraph(f"cluster_{group.id}")
        cluster.attr(
            label=table([row(f"{title}&#160;&#160;{rest}")]),
            labeljust="l",
            style="rounded,dashed,filled",
            pencolor=paint.line,
            fillcolor=paint.fill,
            margin="12",
            id=group.id,
            tooltip=attribute(group.mutex.id if group.mutex else order),
            **{"class": "kind-group"},
        )
        for name in group.members:
            self._add_step(cluster, name, self.definition.steps[name])
        return cluster

    def _add_step(self, graph: graphviz.Digraph, name: str, step: Step) -> None:
        limits = packed(self._policy_facts(name, step))
        tooltip = step.description or f"{name}: {joined(step.tool or ['human approval'])}"
        if step.approval is None:
            subtitles, facts = packed(step.tool or (), 30), packed(tool_lines(step))
            lines = node_lines(step_title(name, step), subtitles, (*facts, *limits))
            self._add_node(
                graph,
                step_node(name),
                "tool",
                name,
                shape="box",
                word="tool",
                lines=lines,
                tooltip=tooltip,
            )
            return
        facts = packed(approval_lines(step, step.approval))
        lines = node_lines(step_title(name, step), (), (*facts, *limits))
        width, height = hexagon_size(_WORD_WIDTHS["approval"], lines)
        self._add_node(
            graph,
            step_node(name),
            "approval",
            name,
            shape="hexagon",
            word="approval",
            lines=lines,
            tooltip=tooltip,
            fixedsize="true",
            width=f"{width / 72:.3f}",
            height=f"{height / 72:.3f}",
        )

    def _policy_facts(self, name: str, step: Step) -> Iterable[str]:
        group = self.grouped.get(name)
        if step.needs is not None and step.needs.join == "any":
            yield f"any of: {joined(step.needs.outcomes, 'or')}"
        for policy in policies_of(self.definition, name):
            if group is None or policy != group.mutex:
                yield policy_words(self.definition, policy, name)

    def _add_undo(self, page: graphviz.Digraph, name: str, tool: str) -> None:
        self._add_node(
            page,
            undo_node(name),
            "undo",
            undo_node(name),
            shape="box",
            word="undo",
            lines=node_lines(humanised(tool.rpartition(".")[2]), packed([tool], 30), ()),
            tooltip=f"undoes {name} when the run fails",
            peripheries="2",
        )

    def _add_diamond(self, page: graphviz.Digraph, diamond: Diamond) -> None:
        self._add_node(
            page,
            diamond.id,
            "guard",
            diamond.id,
            shape="diamond",
            word="guard",
            lines=node_lines(diamond.subject, (), ()),
            tooltip="; ".join(f"{name}: {words}" for name, words in diamond.branches.items()),
            margin="0.02,0",
        )

    def _add_node(
        self,
        graph: graphviz.Digraph,
        node: str,
        kind: str,
        status_name: str,
        *,
        shape: str,
        word: str,
        lines: tuple[Line, ...],
        tooltip: str,
        **more: str,
    ) -> None:
        status = self._status(status_name)
        paint = self.palette.kinds[kind] if status is None else self._state_paint(status)
        shown = word if status is None else self._word(kind, status, status_name)
        classes = f"kind-{kind}" if status is None else f"kind-{kind} state-{slug(status)}"
        graph.node(
            node,
            label=node_label(shown.upper(), _WORD_WIDTHS[kind], lines, paint.ink),
            shape=shape,
            id=node,
            tooltip=attribute(tooltip),
            **{"class": classes},
            **_painted(paint, rounded=shape == "box"),
            **more,
        )

    def _status(self, name: str) -> str | None:
        """The state word of a step, undo box or diamond; None in a picture without state."""
        if self.live is None:
            return None
        diamond = next((one for one in self.chart.diamonds if one.id == name), None)
        return self.live.status(name) if diamond is None else self.live.decided(diamond, self.chart)

    def _word(self, kind: str, status: str, name: str) -> str:
        if self.live is not None and status == "refused":
            return f"refused \N{MULTIPLICATION SIGN}{self.live.refused.get(name, 1)}"
        if status == "pending":
            return kind
        if kind == "undo":
            return f"undo · {status}"
        if kind == "approval" and status != "awaiting approval":
            return f"approval · {status}"
        return "legal now" if status == "legal" else status

    def _state_paint(self, status: str) -> Paint:
        return self.palette.states[paint_name(status)]

    def _ends(self) -> graphviz.Digraph:
        rank = graphviz.Digraph()
        rank.attr(rank="same")
        for end in self.chart.ends:
            self._add_end(rank, end)
        if not any(edge.head == end_node("failed") for edge in self.chart.edges):
            # Without a line of its own the octagon would float to the top.
            rank.edge(end_node(self.chart.ends[-2]), end_node("failed"), style="invis")
        return rank

    def _add_end(self, rank: graphviz.Digraph, end: EndKind) -> None:
        good = end == "completed"
        kind, status = ("completed" if good else "failed"), self._end_status(end)
        paint = self.palette.kinds[kind] if status is None else self._state_paint(status)
        shown = "end" if status in (None, "pending") else str(status)
        state = "" if status is None else f" state-{slug(status)}"
        lines = node_lines(end, (), ("any other failure",) if end == "failed" else ())
        rank.node(
            end_node(end),
            label=node_label(shown.upper(), _WORD_WIDTHS["end"], lines, paint.ink),
            shape="ellipse" if good else "octagon",
            peripheries="2",
            fixedsize="true",
            width="1.5",
            height="0.8",
            id=end_node(end),
            tooltip=f"the run has ended: {end}",
            **{"class": f"kind-end{state}"},
            **_painted(paint),
        )

    def _end_status(self, end: EndKind) -> str | None:
        return None if self.live is None else self.live.end_status(end, self.chart)

    def _add_edge(self, page: graphviz.Digraph, edge: Edge) -> None:
        taken = self.live is not None and self.live.took(edge, self.chart)
        colour = self.palette.edges["taken" if taken else edge.kind]
        text = self.palette.ink if edge.kind in ("success", "otherwise") else colour
        (tail, *tails), (head, *heads) = self._members(edge.tail), self._members(edge.head)
        attributes = {
            "color": colour,
            "label": edge_label(edge.label, text),
            "style": _EDGE_STYLES[edge.kind],
            "penwidth": "2.4" if taken else "1.2",
            "id": "--".join((edge.tail, edge.head, edge.kind, edge.source or START)),
            "weight": "2" if edge.tail.startswith("guard-") and edge.kind == "success" else "1",
            "class": f"edge-{edge.kind}" + (" taken" if taken else ""),
            "tooltip": attribute(f"{edge.tail} to {edge.head}: {edge.label or 'success'}"),
        }
        if tails:
            attributes["ltail"] = f"cluster_{edge.tail}"
        if heads:
            attributes["lhead"] = f"cluster_{edge.head}"
        if edge.kind == "redo":
            # Written from the earlier step with the arrow at its tail, so that a line that leads
            # back does not turn the ranks upside down.
            page.edge(head, tail, dir="back", **attributes)
            return
        page.edge(tail, head, **attributes)
        for other in (*((one, head) for one in tails), *((tail, one) for one in heads)):
            page.edge(*other, style="invis")  # keeps a group's members side by side

    def _members(self, node: str) -> tuple[str, ...]:
        for group in self.chart.groups:
            if group.id == node:
                return tuple(step_node(name) for name in group.members)
        return (node,)


def _painted(paint: Paint, *, rounded: bool = False) -> dict[str, str]:
    styles = ["rounded"] if rounded else []
    styles += ["filled"] if paint.style == "solid" else ["filled", paint.style]
    return {
        "style": ",".join(styles),
        "color": paint.line,
        "fillcolor": paint.fill,
        "penwidth": f"{paint.width:g}",
    }
