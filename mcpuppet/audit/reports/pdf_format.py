"""A report as PDF, by ReportLab (the extra `pdf`): the same contents as every other format.

Its fonts draw Latin letters; a character that they lack is written as its number, never left out.
The same report gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape

from reportlab import rl_config
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    HRFlowable,
    Image,
    KeepTogether,
    LongTable,
    PageBreak,
    PageTemplate,
    Spacer,
)
from reportlab.platypus import Paragraph as Text
from reportlab.platypus import TableStyle as Style

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
    Tone,
    Word,
)
from mcpuppet.audit.reports.words import fit
from mcpuppet.plain_text import spelling

_FONT, _BOLD = "Vera", "VeraBd"
_MARGIN = 15 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_TALLEST = 165 * mm
_INK, _MUTED, _LINE, _HEAD = "#1b1f24", "#57606a", "#d0d7de", "#eaf1f6"
_COLOURS: dict[Tone, str] = {
    "plain": _INK,
    "good": "#00664c",
    "warn": "#7a5200",
    "bad": "#a01c1c",
    "quiet": _MUTED,
}
_GROUNDS: dict[Tone, str] = {"good": "#dff4ea", "warn": "#fff1cc", "bad": "#fde4e1"}
_LINES: tuple[tuple[Any, ...], ...] = (
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LINEBELOW", (0, 0), (-1, -1), 0.4, HexColor(_LINE)),
    ("LEFTPADDING", (0, 0), (-1, -1), 3),
    ("RIGHTPADDING", (0, 0), (-1, -1), 3),
    ("TOPPADDING", (0, 0), (-1, -1), 2),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
)
_LONGEST_CELL = 2_500
"""Characters of a cell: a row has to fit on a page."""
_LISTED_LINES = 60
"""Lines of a workflow in one piece."""


def pdf_bytes(document: Document) -> bytes:
    """The whole file."""
    _register_fonts()
    written = io.BytesIO()
    template = _Template(written, document)
    template.build(list(_story(document)))
    return written.getvalue()


def _register_fonts() -> None:
    rl_config.invariant = 1  # no time and no random id: the same report gives the same bytes
    for name in (_FONT, _BOLD):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, f"{name}.ttf"))


class _Template(BaseDocTemplate):  # type: ignore[misc] # ReportLab has no types
    """Pages with a foot, whose section titles can be gone to."""

    def __init__(self, written: io.BytesIO, document: Document) -> None:
        super().__init__(
            written,
            pagesize=A4,
            leftMargin=_MARGIN,
            rightMargin=_MARGIN,
            topMargin=_MARGIN,
            bottomMargin=18 * mm,
            title=_fit(f"{document.title}: {document.subject}"),
            author="MCPuppet",
        )
        self._foot = _fit(document.footer)[:110]
        frame = Frame(
            self.leftMargin, self.bottomMargin, self.width, self.height, 0, 0, 0, 0, id="body"
        )
        self.addPageTemplates([PageTemplate(id="page", frames=[frame], onPage=self._draw_foot)])

    def _draw_foot(self, canvas: Any, _template: Any) -> None:
        canvas.saveState()
        canvas.setFont(_FONT, 7)
        canvas.setFillColor(HexColor(_MUTED))
        canvas.drawString(_MARGIN, 10 * mm, self._foot)
        canvas.drawRightString(A4[0] - _MARGIN, 10 * mm, str(canvas.getPageNumber()))
        canvas.restoreState()

    def afterFlowable(self, flowable: Any) -> None:  # noqa: N802 - ReportLab calls it so
        """Enter section titles in the outline."""
        name = getattr(flowable, "section_name", None)
        if name is not None:
            self.canv.bookmarkPage(name)
            self.canv.addOutlineEntry(flowable.getPlainText(), name, 0)


class _CellText(Text):  # type: ignore[misc] # as above
    """A paragraph that is broken into lines once: a table asks again for every page it is split."""

    def breakLines(self, width: Any) -> Any:  # noqa: N802 - ReportLab calls it so
        """The lines for a width."""
        known = getattr(self, "_broken", None)
        if known is None or known[0] != width:
            known = self._broken = (width, super().breakLines(width))
        return known[1]


def _style(size: float, **more: Any) -> ParagraphStyle:
    values = {
        "fontName": _FONT,
        "fontSize": size,
        "leading": size * 1.35,
        "textColor": HexColor(_INK),
        "splitLongWords": 1,
    }
    return ParagraphStyle(f"s{size}", **(values | more))


_BODY = _style(8.5, spaceAfter=3)
_SMALL = _style(6.6)
_SMALL_RIGHT = _style(6.6, alignment=2)
_CODE = _style(6.2, fontName=_FONT)
_TITLE = _style(19, fontName=_BOLD, leading=24)
_SUBJECT = _style(10.5, spaceAfter=6)
_SECTION = _style(12.5, fontName=_BOLD, spaceBefore=12, spaceAfter=3)
_NAME = _style(9, fontName=_BOLD, spaceBefore=7, spaceAfter=2)
_BULLET = _style(8.5, leftIndent=10, bulletIndent=1, spaceAfter=2)
_NUMBER = _style(14, fontName=_BOLD, leading=17)
_ENTRY = _style(9, leading=14)


# --- the parts of a document --------------------------------------------------------------------


def _story(document: Document) -> Iterator[Flowable]:
    yield HRFlowable(width="100%", thickness=4, color=HexColor("#0b4f79"), spaceAfter=8)
    yield Text('<font color="#57606a">MCPuppet</font>', _BODY)
    yield Text(_text(document.title), _TITLE)
    yield Text(f"{_text(document.subject)} &nbsp; {_part(document.verdict)}", _SUBJECT)
    yield from _facts(document.facts)
    yield Text("Contents", _NAME)
    for number, section in enumerate(document.sections, start=1):
        # Page numbers would take laying out everything a second time.
        yield Text(f'<a href="#{section.name}">{number}. {_text(section.title)}</a>', _ENTRY)
    for section in document.sections:
        yield from _section(section)


def _section(section: Section) -> Iterator[Flowable]:
    yield PageBreak() if section.own_page else CondPageBreak(40 * mm)
    title = Text(_text(section.title), _SECTION)
    title.section_name = section.name
    yield title
    yield HRFlowable(width="100%", thickness=1, color=HexColor(_LINE), spaceAfter=5)
    for block in section.blocks:
        yield from _block(block)


def _block(block: Block) -> Iterator[Flowable]:
    match block:
        case Paragraph():
            yield _paragraph(block)
        case Bullets():
            yield from (Text(_inline(one), _BULLET, bulletText="•") for one in block.texts)
        case Facts():
            yield from _facts(block)
        case Figure():
            yield _figure(block)
            yield Spacer(1, 6)
        case Table():
            yield _table(block)
            yield Spacer(1, 8)
        case Listing():
            yield from _listing(block.text)
        case Picture():
            yield KeepTogether([_image(block), Text(_text(block.caption), _SMALL)])


def _paragraph(block: Paragraph) -> Flowable:
    ground = _GROUNDS.get(block.tone)
    colour = HexColor(_COLOURS[block.tone])
    if ground is None:
        return Text(_text(block.text), ParagraphStyle("p", parent=_BODY, textColor=colour))
    style = ParagraphStyle(
        "set off",
        parent=_BODY,
        backColor=HexColor(ground),
        textColor=colour,
        borderPadding=4,
        spaceBefore=6,
        spaceAfter=8,
    )
    return Text(_text(block.text), style)


def _facts(facts: Facts) -> Iterator[Flowable]:
    rows = [
        [Text(f'<font color="{_MUTED}">{_text(name)}</font>', _SMALL), _cell(value, _SMALL)]
        for name, value in facts.rows
    ]
    table = LongTable(
        rows, colWidths=[_WIDTH * 0.18, _WIDTH * 0.82], splitInRow=1, style=Style(_LINES)
    )
    if facts.title is None:
        yield table
    else:
        yield CondPageBreak(25 * mm)
        yield Text(_inline(facts.title), _NAME)
        yield table
    yield Spacer(1, 5)


def _figure(figure: Figure) -> Flowable:
    across = 5
    cells = [
        [
            Text(f'<font color="{_COLOURS[tone]}">{_text(number)}</font>', _NUMBER),
            Text(f'<font color="{_MUTED}">{_text(name)}</font>', _SMALL),
        ]
        for name, number, tone in figure.numbers
    ]
    cells += [[] for _ in range(-len(cells) % across)]
    rows = [cells[at : at + across] for at in range(0, len(cells), across)]
    style = [
        ("BOX", (at, row), (at, row), 0.5, HexColor(_LINE))
        for row in range(len(rows))
        for at in range(across)
    ]
    return LongTable(rows, colWidths=[_WIDTH / across] * across, style=Style(style))


def _table(table: Table) -> Flowable:
    total = sum(table.widths)
    head = [Text(f"<b>{_text(name)}</b>", _SMALL) for name in table.columns]
    rows: list[list[Any]] = [head]
    for row in table.rows:
        rows.append(
            [
                _cell(one, _SMALL_RIGHT if at in table.right else _SMALL)
                for at, one in enumerate(row)
            ]
        )
    return LongTable(
        rows,
        colWidths=[_WIDTH * one / total for one in table.widths],
        repeatRows=1,
        splitInRow=1,
        style=Style([("BACKGROUND", (0, 0), (-1, 0), HexColor(_HEAD)), *_LINES]),
    )


def _listing(text: str) -> Iterator[Flowable]:
    """A text with its lines, in pieces that fit on a page."""
    lines = [_text(line).replace(" ", "&nbsp;") or "&nbsp;" for line in text.splitlines()]
    for at in range(0, len(lines), _LISTED_LINES):
        yield Text("<br/>".join(lines[at : at + _LISTED_LINES]), _CODE)
    yield Spacer(1, 6)


def _image(picture: Picture) -> Flowable:
    data = picture.png()
    width, height = ImageReader(io.BytesIO(data)).getSize()
    scale = min(_WIDTH / width, _TALLEST / height, 1)
    return Image(io.BytesIO(data), width=width * scale, height=height * scale)


# --- texts --------------------------------------------------------------------------------------


def _cell(cell: Cell, style: ParagraphStyle) -> list[Flowable]:
    parts: Sequence[Part] = cell if isinstance(cell, tuple) else (cell,)
    return [_CellText("<br/>".join(_part(one) for one in parts if one != ""), style)]


def _inline(cell: Cell) -> str:
    return " ".join(map(_part, cell)) if isinstance(cell, tuple) else _part(cell)


def _part(part: Part) -> str:
    match part:
        case Word():
            return f'<font name="{_BOLD}" color="{_COLOURS[part.tone]}">{_text(part.text)}</font>'
        case Code():
            return f'<font color="#33414e">{_text(part.text)}</font>'
        case _:
            return _text(part)


def _text(text: str) -> str:
    shown = _fit(text)
    if len(shown) > _LONGEST_CELL:
        shown = f"{shown[:_LONGEST_CELL]}… ({len(shown):,} characters)"
    return escape(shown)


def _fit(text: str) -> str:
    """The text in characters that the font can draw, every other one as its number."""
    shown = fit(text)
    if shown.isascii():
        return shown
    known = _known_characters()
    return "".join(one if ord(one) in known else spelling(one) for one in shown)


def _known_characters() -> Iterable[int]:
    characters: dict[int, int] = pdfmetrics.getFont(_FONT).face.charToGlyph
    return characters
