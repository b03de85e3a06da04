"""How the text of a workflow picture looks: sizes, and the HTML-like labels Graphviz understands.

Owns every escape of what goes into DOT. It knows no workflow; colours come in.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mcpuppet.workflow.diagram_metrics import text_width

FONT = "Helvetica"
"""One name only: of a list the layout takes the metrics of another font than the one drawn."""
TITLE_WIDTH = 26
DETAIL_WIDTH = 40
"""Characters after which a label is broken into lines."""
_MAX_LINES = 4
_CLOCK_WIDTH = 26
"""Points that the clock and the outline add to the text of a chip."""
_SLACK = 1.04
"""The layout counts some characters wider than they are."""
_WORD_HEIGHT = 13
WORD_SIZE = 8
"""Points of the state word; no other text of a node has this size. Graphviz knows whole points."""
_HEXAGON_PADDING = 8
_XML_FORBIDS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)


def clean(text: str) -> str:
    """Foreign text without the characters that XML or a reader of the picture could trip over:
    controls, lone surrogates, marks that reorder the line."""
    return _XML_FORBIDS.sub("\N{REPLACEMENT CHARACTER}", text)


def escape(text: str) -> str:
    """Foreign text for an HTML-like label, clean and without markup."""
    return html.escape(clean(text))


def attribute(text: str) -> str:
    """Foreign text for a plain attribute such as a tooltip.

    Graphviz puts names for `\\N` and `\\G` there, and how often it undoes a doubled backslash
    depends on the attribute; so a backslash is shown by a sign that only looks like one.
    """
    return escape(text).replace("\\", "\N{REVERSE SOLIDUS OPERATOR}").replace("\n", "&#10;")


def wrapped(text: str, width: int, most: int = _MAX_LINES) -> tuple[str, ...]:
    """A text as at most `most` lines of about `width` characters; what is cut off shows as `…`."""
    # Far more than can be shown: wrapping a text of any length would take as long.
    shown = " ".join(text[: 2 * width * (most + 1)].split())
    lines = textwrap.wrap(shown, width, break_on_hyphens=False) or [""]
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][: width - 1] + "…"]
    return tuple(lines)


def packed(
    parts: Iterable[str], width: int = DETAIL_WIDTH, most: int = _MAX_LINES
) -> tuple[str, ...]:
    """Short phrases joined by a middle dot into lines of about `width` characters.

    A phrase that is longer takes at most `most` lines.
    """
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 3 + len(part) <= width:
            lines[-1] += f" · {part}"
        else:
            lines.extend(wrapped(part, width, most))
    return tuple(lines)


def font(text: str, size: float, colour: str, *, bold: bool = False) -> str:
    """Foreign text in a size (points) and colour."""
    # Names are put for `\\N` and `\\G` in HTML-like labels too, after entities have been read.
    # An element without any text is a syntax error to Graphviz.
    shown = escape(text).replace("\\", "\\\\") or "&#160;"
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
    """One line of text in a node; size in points. With `clock` it is a chip with a clock in it."""

    text: str
    size: float
    bold: bool = False
    clock: bool = False

    @property
    def height(self) -> float:
        """Points that the layout gives the line, cell padding included."""
        return self.size * 1.2 + (8 if self.clock else 2)

    @property
    def width(self) -> float:
        """Points that the line takes in Helvetica, rounded up a little."""
        width = text_width(self.text, self.size, bold=self.bold)
        return width * _SLACK + (_CLOCK_WIDTH if self.clock else 0)


def node_lines(
    title: str,
    subtitles: Sequence[str] = (),
    clocks: Sequence[str] = (),
    details: Sequence[str] = (),
) -> tuple[Line, ...]:
    """What stands in a node below its state word; `clocks` are the lines about time."""
    return (
        *(Line(text, 13, bold=True) for text in wrapped(title, TITLE_WIDTH)),
        *(Line(text, 10) for text in subtitles),
        *(Line(text, 9, clock=True) for text in clocks),
        *(Line(text, 9) for text in details),
    )


def node_label(word: str, word_width: int, lines: Sequence[Line], line: str, ink: str) -> str:
    """The label of a node. The word's cell has a fixed size: another word moves nothing."""
    state = (
        f'<TR><TD FIXEDSIZE="TRUE" WIDTH="{word_width}" HEIGHT="{_WORD_HEIGHT}">'
        f"{font(word, WORD_SIZE, ink, bold=True)}</TD></TR>"
    )
    return table([state, *(row(_cell(one, line, ink)) for one in lines)])


def _cell(one: Line, line: str, ink: str) -> str:
    return clock_chip(one, line, ink) if one.clock else font(one.text, one.size, ink, bold=one.bold)


def clock_chip(text: Line, line: str, ink: str) -> str:
    """A cell's content: a clock and a text in an outline of the colour `line`.

    The clock is a table whose borders are its hands: no font can be relied on to have a clock. The
    chip has a fixed size, or it would be stretched to the width of the node.
    """
    width, height = round(text.width), round(text.height) - 3
    words = font(text.text, text.size, ink)
    return (
        f'<TABLE FIXEDSIZE="TRUE" WIDTH="{width}" HEIGHT="{height}" STYLE="ROUNDED" BORDER="1" '
        f'COLOR="{line}" CELLBORDER="0" CELLPADDING="1" CELLSPACING="0">'
        f'<TR><TD WIDTH="15">{_clock(line)}</TD><TD>{words}</TD></TR></TABLE>'
    )


def _clock(line: str) -> str:
    side = '<TD WIDTH="4" HEIGHT="4"></TD>'
    hands = f'<TD WIDTH="4" HEIGHT="4" BORDER="1" SIDES="LB" COLOR="{line}"></TD>'
    return (
        f'<TABLE FIXEDSIZE="TRUE" WIDTH="11" HEIGHT="11" STYLE="ROUNDED" BORDER="1" COLOR="{line}" '
        'CELLBORDER="0" CELLPADDING="0" CELLSPACING="0">'
        f"<TR>{side}{hands}</TR><TR>{side}{side}</TR></TABLE>"
    )


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


def slug_id(text: str) -> str:
    """Foreign text as part of an id in HTML-like labels: every other character is an underscore."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)
