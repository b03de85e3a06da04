"""A report as GitHub Flavored Markdown: sections, lists and tables; no text breaks out of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mcpuppet.audit.reports.document import (
    Block,
    Bullets,
    Cell,
    Code,
    Document,
    Facts,
    Figure,
    Listing,
    Paragraph,
    Part,
    Picture,
    Section,
    Table,
    Word,
)
from mcpuppet.audit.reports.words import fit

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~$@&])")
"""What Markdown reads: emphasis, links, HTML, tables, mentions and entities. Escaped wherever it
stands."""
_LINE_START = re.compile(r"^(\s*)([-=]|\d+(?=[.)]))")
_BARE_LINK = re.compile(r"(?i)\b(https?|ftp|mailto|www)([:.])")
"""What GFM makes a link of by itself."""


def markdown_chunks(document: Document) -> Iterator[str]:
    """The text, piece by piece."""
    yield f"# {_text(document.title)}\n\n{_text(document.subject)} — {_part(document.verdict)}\n\n"
    yield from _facts(document.facts)
    yield "## Contents\n\n"
    for number, section in enumerate(document.sections, start=1):
        yield f"{number}. [{_text(section.title)}](#{_anchor(section.title)})\n"
    for section in document.sections:
        yield from _section(section)
    yield f"\n---\n\n{_text(document.footer)}\n"


def _anchor(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def _section(section: Section) -> Iterator[str]:
    yield f"\n## {_text(section.title)}\n\n"
    for block in section.blocks:
        yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph():
            quote = "> " if block.tone in ("good", "warn", "bad") else ""
            yield f"{quote}{_start(_text(block.text))}\n\n"
        case Bullets():
            yield from (f"- {_start(_inline(one))}\n" for one in block.texts)
            yield "\n"
        case Facts():
            yield from _facts(block)
        case Figure():
            yield "| " + " | ".join(_text(name) for name, _, _ in block.numbers) + " |\n"
            yield "|" + " ---: |" * len(block.numbers) + "\n"
            yield "| " + " | ".join(_text(number) for _, number, _ in block.numbers) + " |\n\n"
        case Table():
            yield from _table(block)
        case Listing():
            yield from _listing(block.text)
        case Picture():
            yield f"*{_text(block.caption)} The HTML and PDF forms of this report show it.*\n\n"


def _facts(facts: Facts) -> Iterator[str]:
    if facts.title is not None:
        yield f"### {_inline(facts.title)}\n\n"
    yield "| | |\n| --- | --- |\n"
    for name, value in facts.rows:
        yield f"| {_text(name)} | {_cell(value)} |\n"
    yield "\n"


def _table(table: Table) -> Iterator[str]:
    yield "| " + " | ".join(map(_text, table.columns)) + " |\n"
    sides = (" ---: |" if at in table.right else " --- |" for at in range(len(table.columns)))
    yield f"|{''.join(sides)}\n"
    for row in table.rows:
        yield "| " + " | ".join(map(_cell, row)) + " |\n"
    yield "\n"


def _listing(text: str) -> Iterator[str]:
    """A fence longer than any run of backticks in the text."""
    shown = fit(text, keep="\n\t")
    longest = max((len(one) for one in re.findall(r"`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}yaml\n{shown}{'' if shown.endswith(chr(10)) else chr(10)}{fence}\n\n"


def _cell(cell: Cell) -> str:
    return "<br>".join(map(_part, cell)) if isinstance(cell, tuple) else _part(cell)


def _inline(cell: Cell) -> str:
    return " ".join(map(_part, cell)) if isinstance(cell, tuple) else _part(cell)


def _part(part: Part) -> str:
    match part:
        case Word():
            return f"**{_text(part.text)}**"
        case Code():
            return _text(part.text)
        case _:
            return _text(part)


def _text(text: str) -> str:
    """The text as Markdown that shows just this text, on one line."""
    escaped = _SPECIAL.sub(r"\\\1", fit(text).strip())
    # An empty comment between the letters and the colon keeps a URL from becoming a link.
    return _BARE_LINK.sub(r"\1<!-- -->\2", escaped)


def _start(text: str) -> str:
    """The text at the start of a line, where it could begin a list or a heading."""
    return _LINE_START.sub(r"\1\\\2", text)
