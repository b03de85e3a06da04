"""How a workflow picture looks: colours, sizes, and the HTML-like labels Graphviz understands.

Owns every colour and every escape. Hues follow Okabe and Ito's set, so that they stay apart for
colour-blind readers; each state also has a word and a line style. It knows no workflow.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Theme = Literal["light", "dark"]

FONT = "Helvetica"
"""One name only: of a list the layout takes the metrics of another font than the one drawn."""
TITLE_WIDTH = 26
DETAIL_WIDTH = 40
"""Characters after which a label is broken into lines."""
_MAX_LINES = 4
_WORD_HEIGHT = 13
_HEXAGON_PADDING = 8
_EMS = {
    letter: ems
    for letters, ems in (
        ("'ijl", 0.22),
        (" !,./:;I[]ft·|", 0.28),
        ('()-r`"', 0.34),
        ("*Jcksvxyz", 0.5),
        ("_abdeghnopqu0123456789?$", 0.56),
        ("+<=>~FTZ≤≥≠\N{MULTIPLICATION SIGN}", 0.6),
        ("ABEKPSVXY&", 0.67),
        ("CDHNRUw", 0.73),
        ("GOQ", 0.78),
        ("mM%", 0.87),
        ("W@", 1.0),
        ("…", 1.0),
    )
    for letter in letters
}
_XML_FORBIDS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)


@dataclass(frozen=True, slots=True)
class Paint:
    """Outline, fill and text colour of a node, its line style and line width in points."""

    line: str
    fill: str
    ink: str
    style: Literal["solid", "dashed", "dotted"] = "solid"
    width: float = 1.5


@dataclass(frozen=True, slots=True)
class Palette:
    """All colours of one theme."""

    page: str
    ink: str
    muted: str
    surface: str
    edges: Mapping[str, str]
    states: Mapping[str, Paint]
    kinds: Mapping[str, Paint]


_LIGHT = Palette(
    page="#ffffff",
    ink="#1b1f24",
    muted="#57606a",
    surface="#f6f8fa",
    edges={
        "success": "#57606a",
        "failure": "#b84300",
        "timeout": "#b87a00",
        "otherwise": "#7b848d",
        "redo": "#b84300",
        "undo": "#b84300",
        "taken": "#00795a",
    },
    states={
        "legal": Paint("#0072b2", "#ddf0fb", "#06344f", width=2.2),
        "running": Paint("#06344f", "#0072b2", "#ffffff", width=2.2),
        "awaiting": Paint("#b87a00", "#ffefc2", "#4a3300", width=2.2),
        "done": Paint("#00795a", "#d9f2e9", "#053b2d"),
        "failed": Paint("#5a2300", "#b84300", "#ffffff", width=2.2),
        "refused": Paint("#a4477c", "#f6e1ec", "#4e1a38", style="dotted", width=2.2),
        "skipped": Paint("#8c959f", "#f0f1f3", "#57606a", style="dashed", width=1.2),
        "pending": Paint("#8c959f", "#ffffff", "#57606a", width=1.2),
    },
    kinds={
        "tool": Paint("#0072b2", "#f2f9fe", "#1b1f24"),
        "approval": Paint("#b87a00", "#fff6dd", "#3a2900"),
        "guard": Paint("#57606a", "#f6f8fa", "#1b1f24"),
        "undo": Paint("#a4477c", "#fdf4f9", "#4e1a38"),
        "completed": Paint("#00795a", "#eaf8f3", "#053b2d"),
        "failed": Paint("#b84300", "#fdf1ea", "#5a2300"),
        "group": Paint("#8c959f", "#f6f8fa", "#57606a", style="dashed", width=1.2),
    },
)

_DARK = Palette(
    page="#0d1117",
    ink="#e6edf3",
    muted="#9198a1",
    surface="#161b22",
    edges={
        "success": "#9198a1",
        "failure": "#ff8a4c",
        "timeout": "#f0b429",
        "otherwise": "#848d97",
        "redo": "#ff8a4c",
        "undo": "#ff8a4c",
        "taken": "#2bc79a",
    },
    states={
        "legal": Paint("#56b4e9", "#0b2e45", "#d6eefb", width=2.2),
        "running": Paint("#d6eefb", "#56b4e9", "#06202f", width=2.2),
        "awaiting": Paint("#f0b429", "#3d2e00", "#ffefc2", width=2.2),
        "done": Paint("#2bc79a", "#06362a", "#c9f5e6"),
        "failed": Paint("#ffe0cf", "#ff8a4c", "#2b0f00", width=2.2),
        "refused": Paint("#e58fc0", "#3d1b2e", "#fbdcee", style="dotted", width=2.2),
        "skipped": Paint("#6e7681", "#161b22", "#9198a1", style="dashed", width=1.2),
        "pending": Paint("#6e7681", "#0d1117", "#9198a1", width=1.2),
    },
    kinds={
        "tool": Paint("#56b4e9", "#0d1f2d", "#e6edf3"),
        "approval": Paint("#f0b429", "#2b2208", "#ffefc2"),
        "guard": Paint("#9198a1", "#161b22", "#e6edf3"),
        "undo": Paint("#e58fc0", "#27141f", "#fbdcee"),
        "completed": Paint("#2bc79a", "#072119", "#c9f5e6"),
        "failed": Paint("#ff8a4c", "#2a160c", "#ffe0cf"),
        "group": Paint("#6e7681", "#12171e", "#9198a1", style="dashed", width=1.2),
    },
)

PALETTES: Mapping[Theme, Palette] = {"light": _LIGHT, "dark": _DARK}

STATE_PAINTS: Mapping[str, str] = {
    "legal": "legal",
    "running": "running",
    "awaiting approval": "awaiting",
    "held": "awaiting",
    "unknown": "awaiting",
    "done": "done",
    "success": "done",
    "succeeded": "done",
    "approved": "done",
    "bypassed": "done",
    "completed": "done",
    "failed": "failed",
    "failure": "failed",
    "rejected": "failed",
    "expired": "failed",
    "cancelled": "failed",
    "refused": "refused",
    "skipped": "skipped",
    "pending": "pending",
}
"""Which paint a state word gets; other words are painted as pending, and still written out."""


def paint_name(status: str) -> str:
    """The name of the paint for a state word; `awaiting_approval` is the same as with a space."""
    return STATE_PAINTS.get(plain(status), "pending")


def plain(status: str) -> str:
    """A state word in the one spelling used here: lower case, spaces for underscores."""
    return status.lower().replace("_", " ")


def slug(status: str) -> str:
    """A state word as part of a CSS class name."""
    return re.sub(r"[^a-z0-9]+", "-", status.lower()).strip("-") or "none"


def escape(text: str) -> str:
    """Foreign text for an HTML-like label: no markup, and no character that XML or a reader of
    the picture could trip over (controls, lone surrogates, marks that reorder the line)."""
    return html.escape(_XML_FORBIDS.sub("\N{REPLACEMENT CHARACTER}", text))


def attribute(text: str) -> str:
    """Foreign text for a plain attribute such as a tooltip.

    Graphviz puts names for `\\N` and `\\G` there, and how often it undoes a doubled backslash
    depends on the attribute; so a backslash is shown by a sign that only looks like one.
    """
    return escape(text).replace("\\", "\N{REVERSE SOLIDUS OPERATOR}").replace("\n", " ")


def wrapped(text: str, width: int) -> tuple[str, ...]:
    """A text as at most four lines of about `width` characters; what is cut off shows as `…`."""
    lines = textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False) or [""]
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES - 1], lines[_MAX_LINES - 1][: width - 1] + "…"]
    return tuple(lines)


def packed(parts: Iterable[str], width: int = DETAIL_WIDTH) -> tuple[str, ...]:
    """Short phrases joined by a middle dot into lines of about `width` characters."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 3 + len(part) <= width:
            lines[-1] += f" · {part}"
        else:
            lines.extend(wrapped(part, width))
    return tuple(lines)


def font(text: str, size: float, colour: str, *, bold: bool = False) -> str:
    """Foreign text in a size (points) and colour."""
    # Names are put for `\\N` and `\\G` in HTML-like labels too, after entities have been read.
    shown = escape(text).replace("\\", "\\\\")
    inner = f"<B>{shown}</B>" if bold else shown
    return f'<FONT POINT-SIZE="{size:g}" COLOR="{colour}">{inner}</FONT>'


def table(rows: Iterable[str], *, spacing: int = 0) -> str:
    """An HTML-like label: one borderless table of ready-made rows, `spacing` points apart."""
    body = "".join(rows)
    return (
        f'<<TABLE BORDER="0" CELLBORDER="0" CELLPADDING="1" CELLSPACING="{spacing}">{body}</TABLE>>'
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text in a node; size in points."""

    text: str
    size: float
    bold: bool = False

    @property
    def height(self) -> float:
        """Points that the layout gives the line, cell padding included."""
        return self.size * 1.2 + 2

    @property
    def width(self) -> float:
        """Points that the line takes in Helvetica, rounded up a little."""
        ems = sum(_EMS.get(letter, 0.6) for letter in self.text)
        return ems * self.size * (1.08 if self.bold else 1.0)


def node_lines(title: str, subtitles: Sequence[str], details: Sequence[str]) -> tuple[Line, ...]:
    """What stands in a node below its state word."""
    return (
        *(Line(text, 13, bold=True) for text in wrapped(title, TITLE_WIDTH)),
        *(Line(text, 10) for text in subtitles),
        *(Line(text, 9) for text in details),
    )


def node_label(word: str, word_width: int, lines: Sequence[Line], ink: str) -> str:
    """The label of a node. The word's cell has a fixed size: another word moves nothing."""
    state = (
        f'<TR><TD FIXEDSIZE="TRUE" WIDTH="{word_width}" HEIGHT="{_WORD_HEIGHT}">'
        f"{font(word, 8.5, ink, bold=True)}</TD></TR>"
    )
    rows = (row(font(line.text, line.size, ink, bold=line.bold)) for line in lines)
    return table([state, *rows])


def hexagon_size(word_width: int, lines: Sequence[Line]) -> tuple[float, float]:
    """Width and height, in points, of the smallest hexagon whose sides no line of text crosses.

    Graphviz would take the ellipse around the label, which is half as large again. The hexagon has
    its full width at half its height, and half of it at the top and the bottom.
    """
    rows = [(float(word_width), float(_WORD_HEIGHT + 2))]
    rows += [(line.width, line.height) for line in lines]
    text_height = sum(height for _, height in rows)
    total = text_height + 2 * _HEXAGON_PADDING
    top, width = -text_height / 2, 0.0
    for row_width, row_height in rows:
        farthest = max(abs(top), abs(top + row_height))
        width = max(width, (row_width + _HEXAGON_PADDING) / (1 - farthest / total))
        top += row_height
    return width, total


def row(cell: str) -> str:
    """A table row of one cell."""
    return f"<TR><TD>{cell}</TD></TR>"


def edge_label(text: str, colour: str) -> str:
    """The label of an edge, with air between it and the line."""
    lines = (row(font(line, 10, colour)) for line in wrapped(text, TITLE_WIDTH))
    return table(lines, spacing=2) if text else ""
