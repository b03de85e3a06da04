"""Parts of a report's document on a terminal.

Owns layout only; it fits 80 columns and says nothing by colour alone. All texts may come from
outside, so each is printed through `cli.text`.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from mcpuppet.audit.reports.document import (
    Block,
    Bullets,
    Cell,
    Document,
    Facts,
    Figure,
    Listing,
    Paragraph,
    Part,
    Picture,
    Section,
    Table,
    Tone,
    Word,
)
from mcpuppet.audit.reports.words import fit
from mcpuppet.cli.text import plain

_STYLES: dict[Tone, str] = {
    "plain": "",
    "good": "green",
    "warn": "yellow",
    "bad": "bold red",
    "quiet": "dim",
}


def render_document(document: Document, console: Console, left_out: frozenset[str]) -> None:
    """Print a document, but for the sections with these names."""
    console.print(Text.assemble((f"{document.title}: ", "bold"), _part(document.subject)))
    console.print(_part(document.verdict))
    render_blocks((document.facts,), console)
    for section in document.sections:
        if section.name not in left_out:
            render_section(section, console)


def render_section(section: Section, console: Console) -> None:
    """Print one section with its title."""
    console.print()
    console.print(Text(section.title, "bold"))
    render_blocks(section.blocks, console)


def render_blocks(blocks: Iterable[Block], console: Console) -> None:
    """Print parts of a section, indented."""
    for block in blocks:
        _render(block, console)


def _render(block: Block, console: Console) -> None:
    match block:
        case Paragraph():
            _print(console, plain(fit(block.text), _STYLES[block.tone]))
        case Bullets():
            for one in block.texts:
                _print(console, _inline(one))
        case Facts():
            _facts(block, console)
        case Figure():
            for name, number, tone in block.numbers:
                _print(console, Text.assemble(f"{name}: ", (number, _STYLES[tone])))
        case Table():
            console.print(Padding(_table(block), (0, 0, 0, 2)))
        case Listing() | Picture():  # too long for a terminal; every file format has them
            pass


def _facts(facts: Facts, console: Console) -> None:
    if facts.title is not None:
        _print(console, _inline(facts.title))
    for name, value in facts.rows:
        _print(console, Text.assemble(f"{name}: ", _inline(value)), indent=4 if facts.title else 2)


def _table(table: Table) -> RichTable:
    shown = RichTable(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for at, (name, width) in enumerate(zip(table.columns, table.widths, strict=True)):
        shown.add_column(
            name,
            overflow="fold",
            ratio=width,
            justify="right" if at in table.right else "left",
        )
    for row in table.rows:
        shown.add_row(*(_cell(one) for one in row))
    return shown


def _print(console: Console, text: Text, indent: int = 2) -> None:
    text.overflow = "fold"
    console.print(Padding(text, (0, 0, 0, indent), expand=False))


def _cell(cell: Cell) -> Text:
    parts = cell if isinstance(cell, tuple) else (cell,)
    return Text("\n").join(_part(one) for one in parts)


def _inline(cell: Cell) -> Text:
    parts = cell if isinstance(cell, tuple) else (cell,)
    return Text(" ").join(_part(one) for one in parts)


def _part(part: Part) -> Text:
    if isinstance(part, Word):
        return plain(fit(part.text), _STYLES[part.tone])
    return plain(fit(part if isinstance(part, str) else part.text))
