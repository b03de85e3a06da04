"""A workflow as a Mermaid flow chart, for places that draw Mermaid, such as code hosts and wikis.

Owns Mermaid's syntax and its escapes. Every character of foreign text but letters, digits and a few
signs is written as a number, so that no title, guard or id can mean anything to Mermaid.
Rules files become one box: Mermaid has no tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mcpuppet.workflow.definition import Definition, RulesDefinition, Step, WorkflowDefinition
from mcpuppet.workflow.diagram_chart import START, Chart, Edge, End, step_node, undo_node
from mcpuppet.workflow.diagram_graph import chart_of
from mcpuppet.workflow.diagram_live import LiveState
from mcpuppet.workflow.diagram_palette import PALETTES, Palette, Theme, paint_name, plain
from mcpuppet.workflow.diagram_policies import (
    MARK,
    Subject,
    policies_of,
    policy_words,
    subject_of,
    unseen_policies,
)
from mcpuppet.workflow.diagram_style import clean, wrapped
from mcpuppet.workflow.diagram_words import humanised, joined, step_facts, step_title

_HARMLESS = re.compile(r"[A-Za-z0-9 .,\u00a1-\uffff]")
_SHAPES = {
    "start": ('>"', '"]'),
    "tool": ('("', '")'),
    "approval": ('{{"', '"}}'),
    "guard": ('{"', '"}'),
    "undo": ('[["', '"]]'),
    "completed": ('(["', '"])'),
    "failed": ('[/"', '"\\]'),
}
_ARROWS = {"success": "-->", "timeout": "-.->", "bypass": "-.->"}
_DASHED = "stroke-dasharray:6 4"


def to_mermaid(
    definition: Definition, *, theme: Theme = "light", live: LiveState | None = None
) -> str:
    """The Mermaid text of a definition that the checks found no error in.

    The colours of `auto` are the light ones, with dark text on them, on any page.
    """
    palette = PALETTES[theme]
    if isinstance(definition, RulesDefinition):
        lines = list(_rules_lines(definition))
    else:
        lines = _Flow(definition, palette, live).lines()
    return "\n".join(["flowchart TB", *(f"  {line}" for line in lines)]) + "\n"


def _text(parts: Iterable[str]) -> str:
    """Foreign texts, a line each, inside the quotes of a label."""
    lines = (line for part in parts for line in wrapped(part, 44, 3))
    return "<br/>".join("".join(map(_character, clean(line))) for line in lines)


def _character(one: str) -> str:
    return one if _HARMLESS.match(one) else f"#{ord(one)};"


def _node(name: str) -> str:
    """An id that no word of Mermaid is the beginning of."""
    return "n_" + re.sub(r"[^a-z0-9]", "_", name)


class _Flow:
    def __init__(
        self, definition: WorkflowDefinition, palette: Palette, live: LiveState | None
    ) -> None:
        self.definition = definition
        self.chart: Chart = chart_of(definition)
        self.palette = palette
        self.live = live
        self.grouped = {name for group in self.chart.groups for name in group.members}
        self.used: set[str] = set()

    def lines(self) -> list[str]:
        body = [*self._shapes(), *self._edges()]
        return [*self._head(), *body, *self._classes()]

    def _head(self) -> Iterator[str]:
        """What holds for the whole workflow, in the box it starts from: there is no other place."""
        name = f"{self.definition.title or self.definition.workflow} v{self.definition.version}"
        facts = [name, f"mode {self.definition.mode}"]
        if self.definition.tools.always:
            facts.append(f"always legal: {joined(self.definition.tools.always, 'and')}")
        facts += [] if self.live is None else self.live.caption
        for policy in unseen_policies(self.definition):
            words = policy_words(self.definition, policy)
            facts.append(f"{MARK} {policy.id}, on {joined(policy.call, 'and')}: {words}")
        yield self._box(START, "start", facts)

    def _shapes(self) -> Iterator[str]:
        for group in self.chart.groups:
            order = "in parallel"
            if group.mutex is not None:
                order = f"any order, {MARK} {policy_words(self.definition, group.mutex)}"
            yield f'subgraph {_node(group.id)}["{_text([f"{order}, all must finish"])}"]'
            for name in group.members:
                yield f"  {self._step(name, self.definition.steps[name])}"
            yield "end"
            yield f"class {_node(group.id)} group"
            self.used.add("group")
        for name, step in self.definition.steps.items():
            if name not in self.grouped:
                yield self._step(name, step)
            if step.compensate is not None:
                yield self._undo(name, step.compensate.tool)
        for diamond in self.chart.diamonds:
            yield self._box(diamond.id, "guard", [diamond.subject])
        for end in self.chart.ends:
            yield self._end(end)

    def _step(self, name: str, step: Step) -> str:
        kind = "tool" if step.approval is None else "approval"
        facts = step_facts(step)
        lines = [step_title(name, step), *(step.tool or ()), *facts.clocks, *facts.details]
        lines += self._policies(subject_of(name, step), name)
        return self._box(step_node(name), kind, lines, self._status(name))

    def _undo(self, name: str, tool: str) -> str:
        lines = [f"undo: {humanised(tool.rpartition('.')[2])}", tool]
        lines += self._policies(Subject("", [tool]), "")
        return self._box(undo_node(name), "undo", lines, self._status(undo_node(name)))

    def _policies(self, subject: Subject, name: str) -> Iterator[str]:
        for policy in policies_of(self.definition, subject):
            yield f"{MARK} {policy_words(self.definition, policy, name)}"

    def _end(self, end: End) -> str:
        kind = "completed" if end.kind == "completed" else "failed"
        status = None if self.live is None else self.live.end_status(end, self.chart)
        return self._box(end.id, kind, [end.kind], status)

    def _status(self, name: str) -> str | None:
        return None if self.live is None else self.live.status(name)

    def _box(self, node: str, kind: str, lines: list[str], status: str | None = None) -> str:
        style = kind if status is None else f"state_{paint_name(status)}"
        self.used.add(style)
        words = lines if status is None else [plain(status).upper(), *lines]
        opening, closing = _SHAPES[kind]
        return f"{_node(node)}{opening}{_text(words)}{closing}:::{style}"

    def _edges(self) -> Iterator[str]:
        dashed = []
        for number, edge in enumerate(self.chart.edges):
            yield self._edge(edge)
            if edge.kind not in _ARROWS:
                dashed.append(str(number))
        if dashed:
            yield f"linkStyle {','.join(dashed)} {_DASHED}"

    def _edge(self, edge: Edge) -> str:
        arrow = _ARROWS.get(edge.kind, "-->")
        words = f'|"{_text([edge.label])}"|' if edge.label else ""
        return f"{_node(edge.tail)} {arrow}{words} {_node(edge.head)}"

    def _classes(self) -> Iterator[str]:
        states = {f"state_{name}": paint for name, paint in self.palette.states.items()}
        paints = {**self.palette.kinds, "start": self.palette.kinds["guard"], **states}
        for style, paint in paints.items():
            if style in self.used:
                yield (
                    f"classDef {style} fill:{paint.fill},stroke:{paint.line},color:{paint.ink},"
                    f"stroke-width:{paint.width:g}px"
                )


def _rules_lines(definition: RulesDefinition) -> Iterator[str]:
    facts = [f"{definition.title or definition.rules} v{definition.version}"]
    facts.append(f"allowed: {joined(definition.tools.allow, 'and')}")
    facts.append(f"anything else: {definition.tools.otherwise}")
    facts += [f"remembers {name}" for name in definition.facts]
    for policy in definition.policies:
        words = policy_words(definition, policy)
        facts.append(f"{MARK} {joined(policy.call, 'and')}: {words}")
    yield f'n_rules["{_text(facts)}"]'
