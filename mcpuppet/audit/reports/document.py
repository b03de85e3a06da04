"""A report as a document: sections of sentences, facts and tables, for whatever writes it down.

What a report says is decided once (`report_contents`, `period_contents`); HTML, Markdown and PDF
only write it. Texts in it come from outside and are not yet fit for any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Tone = Literal["plain", "good", "warn", "bad", "quiet"]


@dataclass(frozen=True, slots=True)
class Word:
    """A short text with a meaning that is also shown by its colour, such as a status."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Code:
    """Text of a machine: an id, a digest, arguments."""

    text: str


Part = str | Word | Code
Cell = Part | tuple[Part, ...]
"""Several parts stand on lines of their own."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or some; any tone but `plain` sets it off."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    texts: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, one below the other."""

    rows: tuple[tuple[str, Cell], ...]
    title: Cell | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """Numbers that are seen at a glance."""

    numbers: tuple[tuple[str, str, Tone], ...]
    """What is counted, the count, and its tone."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below a heading; `widths` are the columns' shares of the page's width."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    widths: tuple[int, ...]
    right: frozenset[int] = frozenset()
    """Columns of numbers."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A text with lines, such as a workflow."""

    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing: SVG made by this program from checked workflows, and a way to get it as PNG."""

    svg: str
    png: Callable[[], bytes]
    caption: str


Block = Paragraph | Bullets | Facts | Figure | Table | Listing | Picture


@dataclass(frozen=True, slots=True)
class Section:
    """A part with a title; `name` is its anchor. `own_page` begins a page where it is printed."""

    name: str
    title: str
    blocks: tuple[Block, ...]
    own_page: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report; `summary` stands before the contents."""

    title: str
    subject: str
    verdict: Word
    facts: Facts
    sections: tuple[Section, ...] = field(default_factory=tuple)
    footer: str = ""
