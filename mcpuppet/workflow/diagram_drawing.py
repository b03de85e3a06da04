"""One workflow as DOT text: every shape and line of its chart, with its words and colours.

State changes colours, line styles and words in cells of a fixed size, never a size, so that nothing
moves while a run goes on. Nodes carry `id="step-<id>"` and classes such as `kind-tool state-done`
into the SVG, lines `id="edge-…"` and `edge-failure`.
"""

from __future__ import annotations

from collections.abc import Iterator

import graphviz

from mcpuppet.workflow.definition import Step, WorkflowDefinition
from mcpuppet.workflow.diagram_chart import (
    START,
    Chart,
    Diamond,
    End,
    Group,
    Joint,
    end_node,
    step_node,
    undo_node,
)
from mcpuppet.workflow.diagram_graph import chart_of
from mcpuppet.workflow.diagram_lines import add_lines
from mcpuppet.workflow.diagram_live import LiveState
from mcpuppet.workflow.diagram_page import page_legend, page_title
from mcpuppet.workflow.diagram_palette import Paint, Palette, paint_name, slug
from mcpuppet.workflow.diagram_policies import (
    CLOCKS,
    MARK,
    Subject,
    condition_of,
    policies_of,
    policy_words,
    subject_of,
)
from mcpuppet.workflow.diagram_style import (
    FONT,
    Line,
    attribute,
    font,
    hexagon_size,
    node_label,
    node_lines,
    packed,
    row,
    table,
    wrapped,
)
from mcpuppet.workflow.diagram_words import humanised, joined, step_facts, step_title

WORD_WIDTHS = {"tool": 92, "approval": 118, "guard": 48, "undo": 92, "end": 62}
"""Points that the state word of each kind may take."""
_CHIP_WIDTH = 40
"""Characters in a line about time."""


def workflow_dot(definition: WorkflowDefinition, palette: Palette, live: LiveState | None) -> str:
    """The DOT text of a workflow without errors, in the state `live` if given."""
    return _Drawing(definition, palette, live).dot()


class _Drawing:
    """One drawing in the making: the definition, its chart, the colours, and the DOT so far."""

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
            label=page_title(self.definition, self.palette, self.live),
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
        for joint in self.chart.joints:
            self._add_joint(page, joint)
        page.subgraph(self._ends())
        add_lines(page, self.chart, self.palette, self.live)
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
                "rankdir": self._direction(),
                "nodesep": "0.6",
                "ranksep": "0.42",
                "pad": "0.2",
                "label": page_legend(
                    self.definition, self.chart, palette, live=self.live is not None
                ),
                "labelloc": "b",
                "tooltip": attribute(self.definition.title or self.definition.workflow),
            },
            node_attr={"fontname": FONT, "margin": "0.14,0.06", "height": "0.3", "width": "0.3"},
            edge_attr={"fontname": FONT, "arrowsize": "0.8"},
        )

    def _direction(self) -> str:
        """From left to right in rows, where the picture would else be a long thin line."""
        return "LR" if max(self.chart.rows.values()) else "TB"

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
        order = "in parallel"
        if group.mutex is not None:
            order = f"any order, {MARK} {policy_words(self.definition, group.mutex)}"
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
        lines = self._step_lines(name, step)
        tooltip = "\n".join(self._step_tooltip(name, step))
        if step.approval is None:
            self._add_node(graph, step_node(name), "tool", name, lines=lines, tooltip=tooltip)
            return
        width, height = hexagon_size(WORD_WIDTHS["approval"], lines)
        size = {"width": f"{width / 72:.3f}", "height": f"{height / 72:.3f}", "fixedsize": "true"}
        self._add_node(
            graph, step_node(name), "approval", name, lines=lines, tooltip=tooltip, **size
        )

    def _step_lines(self, name: str, step: Step) -> tuple[Line, ...]:
        facts = step_facts(step)
        clocks, rules = self._limits(subject_of(name, step), name)
        needs: list[str] = []
        if step.needs is not None and step.needs.join == "any":
            needs.append(f"any of: {joined(step.needs.outcomes)}")
        return node_lines(
            step_title(name, step),
            packed(step.tool or (), 30),
            (*packed(facts.clocks, _CHIP_WIDTH, 2), *packed(clocks, _CHIP_WIDTH, 2)),
            (*packed((*facts.details, *needs), most=2), *packed(rules, most=2)),
        )

    def _limits(self, subject: Subject, name: str) -> tuple[list[str], list[str]]:
        """The words of the policies on a step: of those about time, and of the others."""
        group = self.grouped.get(name)
        clocks: list[str] = []
        rules: list[str] = []
        for policy in policies_of(self.definition, subject):
            if group is None or policy != group.mutex:
                words = f"{MARK} {policy_words(self.definition, policy, name)}"
                (clocks if condition_of(policy) in CLOCKS else rules).append(words)
        return clocks, rules

    def _step_tooltip(self, name: str, step: Step) -> Iterator[str]:
        """Everything that the box says, in full."""
        yield f"{step_title(name, step)} ({name})"
        if step.description:
            yield step.description
        if step.tool:
            yield f"tool: {joined(step.tool)}"
        facts = step_facts(step)
        yield from (*facts.clocks, *facts.details)
        yield from self._policy_tooltip(subject_of(name, step), name)

    def _policy_tooltip(self, subject: Subject, name: str) -> Iterator[str]:
        for policy in policies_of(self.definition, subject):
            yield f"{MARK} {policy.id}: {policy_words(self.definition, policy, name, full=True)}"

    def _add_undo(self, page: graphviz.Digraph, name: str, tool: str) -> None:
        subject = Subject("", [tool])
        clocks, rules = self._limits(subject, undo_node(name))
        self._add_node(
            page,
            undo_node(name),
            "undo",
            undo_node(name),
            lines=node_lines(
                humanised(tool.rpartition(".")[2]),
                packed([tool], 30),
                packed(clocks, _CHIP_WIDTH, 2),
                packed(rules, most=2),
            ),
            tooltip="\n".join(
                (f"{tool}: undoes {name} when the run fails", *self._policy_tooltip(subject, ""))
            ),
            peripheries="2",
        )

    def _add_diamond(self, page: graphviz.Digraph, diamond: Diamond) -> None:
        self._add_node(
            page,
            diamond.id,
            "guard",
            diamond.id,
            lines=node_lines(wrapped(diamond.subject, 24, 1)[0]),
            tooltip="\n".join(f"{name}: {words}" for name, words in diamond.branches.items()),
            margin="0.02,0",
        )

    def _add_joint(self, page: graphviz.Digraph, joint: Joint) -> None:
        paint, word = self.palette.kinds["guard"], "any of" if joint.any_of else "all of"
        page.node(
            joint.id,
            label=table([row(font(word, 9, paint.ink))]),
            shape="box",
            id=joint.id,
            tooltip=f"{word} the steps before",
            **{"class": "kind-joint"},
            **_painted(paint, rounded=True),
        )

    def _add_node(
        self,
        graph: graphviz.Digraph,
        node: str,
        kind: str,
        status_name: str,
        *,
        lines: tuple[Line, ...],
        tooltip: str,
        **more: str,
    ) -> None:
        status = self._status(status_name)
        paint = self.palette.kinds[kind] if status is None else self._state_paint(status)
        shown = kind if status is None else self._word(kind, status, status_name)
        shape = _SHAPES[kind]
        classes = f"kind-{kind}" if status is None else f"kind-{kind} state-{slug(status)}"
        graph.node(
            node,
            label=node_label(shown.upper(), WORD_WIDTHS[kind], lines, paint.line, paint.ink),
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
        if kind == "undo":
            return f"undo · {status}"
        if kind == "approval" and status != "awaiting approval":
            return f"approval · {status}"
        return "legal now" if status == "legal" else status

    def _state_paint(self, status: str) -> Paint:
        return self.palette.states[paint_name(status)]

    def _ends(self) -> graphviz.Digraph:
        rank = graphviz.Digraph()
        shared = [end for end in self.chart.ends if end.only_after is None]
        if len(shared) == len(self.chart.ends):
            rank.attr(rank="same")
        for end in self.chart.ends:
            self._add_end(rank, end)
        failed = end_node("failed")
        if not any(edge.head == failed for edge in self.chart.edges):
            # Without a line of its own the octagon would float to the top.
            last = shared[-2].id if len(shared) > 1 else self.chart.edges[-1].tail
            rank.edge(last, failed, style="invis")
        return rank

    def _add_end(self, rank: graphviz.Digraph, end: End) -> None:
        good = end.kind == "completed"
        kind, status = ("completed" if good else "failed"), self._end_status(end)
        paint = self.palette.kinds[kind] if status is None else self._state_paint(status)
        shown = "end" if status is None else status
        state = "" if status is None else f" state-{slug(status)}"
        details = ("any other failure",) if end.kind == "failed" else ()
        lines = node_lines(end.kind, details=details)
        rank.node(
            end.id,
            label=node_label(shown.upper(), WORD_WIDTHS["end"], lines, paint.line, paint.ink),
            shape="ellipse" if good else "octagon",
            peripheries="2",
            fixedsize="true",
            width="1.5",
            height="0.8",
            id=end.id,
            tooltip=f"the run has ended: {end.kind}",
            **{"class": f"kind-end{state}"},
            **_painted(paint),
        )

    def _end_status(self, end: End) -> str | None:
        return None if self.live is None else self.live.end_status(end, self.chart)


_SHAPES = {"tool": "box", "approval": "hexagon", "undo": "box", "guard": "diamond"}


def _painted(paint: Paint, *, rounded: bool = False) -> dict[str, str]:
    styles = ["rounded"] if rounded else []
    styles += ["filled"] if paint.style == "solid" else ["filled", paint.style]
    return {
        "style": ",".join(styles),
        "color": paint.line,
        "fillcolor": paint.fill,
        "penwidth": f"{paint.width:g}",
    }
