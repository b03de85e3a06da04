"""A rules file as one card: which calls are allowed, what is remembered, and what limits what.

Rules have no order, so there is nothing to draw lines between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import graphviz

from mcpuppet.workflow.definition import Fact, Policy, RulesDefinition
from mcpuppet.workflow.diagram_page import page_title
from mcpuppet.workflow.diagram_palette import Palette
from mcpuppet.workflow.diagram_policies import CLOCKS, MARK, condition_of, policy_words
from mcpuppet.workflow.diagram_style import (
    FONT,
    Line,
    attribute,
    clock_chip,
    font,
    packed,
    slug_id,
    wrapped,
)
from mcpuppet.workflow.diagram_words import bare, joined

_LEFT, _RIGHT = 34, 62
"""Characters in the two columns."""
_OTHERWISE = {
    "deny": "every other call is refused",
    "ask": "every other call asks a person",
}


def rules_dot(definition: RulesDefinition, palette: Palette) -> str:
    """The DOT text of a rules file that the checks found no error in."""
    graph = graphviz.Digraph(
        definition.rules,
        graph_attr={
            "bgcolor": palette.page,
            "fontname": FONT,
            "pad": "0.2",
            "label": page_title(definition, palette, None),
            "labelloc": "t",
            "tooltip": attribute(definition.title or definition.rules),
        },
    )
    graph.node(
        "rules",
        label=_Card(definition, palette).label(),
        shape="plain",
        fontname=FONT,
        id="rules",
        tooltip=attribute(definition.description or f"rules: {definition.rules}"),
        **{"class": "kind-rules"},
    )
    return str(graph.source)


class _Card:
    def __init__(self, definition: RulesDefinition, palette: Palette) -> None:
        self.definition = definition
        self.palette = palette

    def label(self) -> str:
        line, rows = self.palette.kinds["tool"].line, "".join(self._rows())
        return (
            f'<<TABLE BORDER="1" CELLBORDER="1" CELLSPACING="0" CELLPADDING="5" COLOR="{line}">'
            f"{rows}</TABLE>>"
        )

    def _rows(self) -> Iterator[str]:
        yield self._heading("ALLOWED, IN ANY ORDER")
        for tool in self.definition.tools.allow:
            yield self._row(f"allow-{tool}", [tool], self._set_lines(tool))
        otherwise = _OTHERWISE[self.definition.tools.otherwise]
        yield self._row("otherwise", ["anything else"], [otherwise])
        if self.definition.facts:
            yield self._heading("REMEMBERED IN THE SESSION")
        for name, fact in self.definition.facts.items():
            full = "; ".join(_fact_words(fact))
            yield self._row(f"fact-{name}", [name], packed(_fact_words(fact), _RIGHT), full)
        if self.definition.policies:
            yield self._heading(f"{MARK} POLICIES, BY THE CALLS THEY LIMIT")
        for calls, policies in self._by_calls().items():
            yield self._policies_row(calls, policies)

    def _set_lines(self, word: str) -> Iterable[str]:
        """What a tool set holds; of a pattern nothing more is to be said."""
        held = self.definition.tools.sets.get(word)
        return ["allowed"] if held is None else packed([f"allowed: {held[0]}", *held[1:]], _RIGHT)

    def _by_calls(self) -> dict[tuple[str, ...], list[Policy]]:
        groups: dict[tuple[str, ...], list[Policy]] = {}
        for policy in self.definition.policies:
            groups.setdefault(tuple(policy.call), []).append(policy)
        return groups

    def _policies_row(self, calls: tuple[str, ...], policies: list[Policy]) -> str:
        cells = "".join(self._policy(policy) for policy in policies)
        inner = f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2">{cells}</TABLE>'
        left = self._lines(packed(calls, _LEFT), bold=True)
        return f'<TR><TD ALIGN="LEFT" {self._border()}>{left}</TD>{self._right(inner)}</TR>'

    def _policy(self, policy: Policy) -> str:
        ink = self.palette.ink
        words = policy_words(self.definition, policy, full=True)
        if condition_of(policy) in CLOCKS:
            chip = Line(wrapped(f"{MARK} {words}", _RIGHT, 1)[0], 9, clock=True)
            shown = clock_chip(chip, self.palette.kinds["approval"].line, ink)
        else:
            shown = self._lines(wrapped(f"{MARK} {words}", _RIGHT, 3))
        return (
            f'<TR><TD ALIGN="LEFT" ID="policy-{slug_id(policy.id)}" '
            f'TITLE="{attribute(f"{policy.id}: {words}")}">{shown}</TD></TR>'
        )

    def _heading(self, text: str) -> str:
        paint = self.palette.kinds["tool"]
        shown = font(text, 8, self.palette.muted, bold=True)
        return (
            f'<TR><TD COLSPAN="2" ALIGN="LEFT" COLOR="{paint.line}" BGCOLOR="{paint.fill}">'
            f"{shown}</TD></TR>"
        )

    def _row(self, name: str, left: list[str], right: Iterable[str], full: str = "") -> str:
        title = attribute(full or " ".join(left))
        shown = self._lines([line for one in left for line in wrapped(one, _LEFT, 3)], bold=True)
        return (
            f'<TR><TD ALIGN="LEFT" {self._border()} ID="{slug_id(name)}" TITLE="{title}">'
            f"{shown}</TD>{self._right(self._lines(right))}</TR>"
        )

    def _right(self, content: str) -> str:
        return f'<TD ALIGN="LEFT" {self._border()}>{content}</TD>'

    def _border(self) -> str:
        return f'COLOR="{self.palette.kinds["group"].line}"'

    def _lines(self, lines: Iterable[str], *, bold: bool = False) -> str:
        shown = (font(one, 9, self.palette.ink, bold=bold) for one in lines)
        return '<BR ALIGN="LEFT"/>'.join(shown) + '<BR ALIGN="LEFT"/>'


def _fact_words(fact: Fact) -> Iterator[str]:
    if fact.from_ is not None:
        yield f"from {fact.from_}"
    if fact.from_file is not None:
        yield f"from the file {fact.from_file}"
    if fact.column is not None:
        yield f"column {fact.column}"
    if fact.key is not None:
        yield f"by {bare(fact.key)}"
    if fact.keep is not None:
        yield f"keeps {joined(fact.keep, 'and')}"
    if fact.take is not None:
        yield f"takes {fact.take}"
    if fact.until is not None:
        yield f"until {joined(fact.until)}"
    yield f"at most {fact.max:,}"
