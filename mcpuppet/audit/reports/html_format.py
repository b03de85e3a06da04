"""A report as one self-contained HTML page, for a screen and for paper.

Nothing is loaded from anywhere and there is no script; the page's own security policy allows its
one style sheet, by hash, and nothing else. Every text is escaped, hidden characters spelled out.
"""

from __future__ import annotations

import base64
import hashlib
import html
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

_STYLE = """\
:root{color-scheme:light;--ink:#1b1f24;--muted:#57606a;--line:#d0d7de;--soft:#f6f8fa;
--good:#00664c;--good-bg:#dff4ea;--warn:#7a5200;--warn-bg:#fff1cc;--bad:#a01c1c;--bad-bg:#fde4e1}
*{box-sizing:border-box}
body{margin:0;background:#fff;color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif}
header,nav,main,footer{max-width:76rem;margin:0 auto;padding:0 1.5rem}
header{padding-top:2rem;border-top:6px solid #0b4f79}
header p.brand{margin:0;color:var(--muted);letter-spacing:.04em}
h1{font-size:1.9rem;line-height:1.2;margin:.2rem 0 .3rem}
h2{font-size:1.25rem;margin:2.5rem 0 .6rem;padding-bottom:.25rem;
border-bottom:2px solid var(--line)}
h3{font-size:1rem;margin:1.4rem 0 .35rem}
p{margin:.4rem 0;max-width:60rem}
p.good,p.warn,p.bad{padding:.5rem .75rem;border-left:4px solid;border-radius:2px}
p.good{background:var(--good-bg);border-color:var(--good)}
p.warn{background:var(--warn-bg);border-color:var(--warn)}
p.bad{background:var(--bad-bg);border-color:var(--bad)}
.quiet{color:var(--muted)}
p.subject{font-size:1.15rem;overflow-wrap:anywhere;margin:0 0 .8rem}
.word{display:inline-block;overflow-wrap:normal;padding:.05rem .5rem;border-radius:1rem;
font-weight:600;font-size:.86em;
background:var(--soft);border:1px solid var(--line)}
.word.good{color:var(--good);background:var(--good-bg);border-color:#9bd3bd}
.word.warn{color:var(--warn);background:var(--warn-bg);border-color:#e3c474}
.word.bad{color:var(--bad);background:var(--bad-bg);border-color:#e9a8a1}
code,pre{font:.88em/1.45 ui-monospace,SFMono-Regular,Consolas,"DejaVu Sans Mono",monospace}
code{overflow-wrap:anywhere}
pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:.75rem 1rem;
white-space:pre-wrap;overflow-wrap:anywhere}
nav ol{columns:2;column-gap:3rem;margin:.25rem 0 0;padding-left:1.4rem}
nav h2{margin-top:1.5rem}
nav a{color:#0b4f79;text-decoration:none}
nav a:hover{text-decoration:underline}
ul.said{padding-left:1.2rem;max-width:62rem}
ul.said li{margin:.25rem 0}
div.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.6rem;
margin:.8rem 0 1rem}
div.numbers div{border:1px solid var(--line);border-left-width:5px;border-radius:6px;
padding:.45rem .7rem;background:#fff}
div.numbers b{display:block;font-size:1.6rem;line-height:1.15;font-variant-numeric:tabular-nums}
div.numbers span{color:var(--muted);font-size:.86rem}
div.numbers .good{border-left-color:var(--good)}
div.numbers .warn{border-left-color:#c78a00}
div.numbers .bad{border-left-color:var(--bad)}
div.numbers .bad b{color:var(--bad)}
table{border-collapse:collapse;width:100%;table-layout:fixed;margin:.6rem 0 1.2rem;font-size:.9rem}
th,td{text-align:left;vertical-align:top;padding:.38rem .6rem .38rem .4rem;overflow-wrap:anywhere;
border-bottom:1px solid var(--line)}
thead th{overflow-wrap:normal;background:#eaf1f6;border-bottom:2px solid #b8c9d6;font-size:.86em}
td.right,th.right{text-align:right;font-variant-numeric:tabular-nums}
td div+div{margin-top:.15rem}
table.facts th{font-weight:600;color:var(--muted);white-space:normal}
table.facts caption{caption-side:top;text-align:left;font-weight:600;font-size:1rem;
padding:.3rem 0 .25rem}
table.facts caption>*{margin-right:.6rem}
figure{margin:1rem 0;border:1px solid var(--line);border-radius:8px;overflow-x:auto;padding:.5rem}
figure svg{display:block;margin:0 auto;height:auto;max-width:100%}
figcaption{color:var(--muted);font-size:.88rem;padding:.25rem .25rem 0}
footer{color:var(--muted);font-size:.85rem;border-top:1px solid var(--line);margin-top:2.5rem;
padding-top:.75rem;padding-bottom:2rem;overflow-wrap:anywhere}
@media (max-width:45rem){nav ol{columns:1}main{overflow-x:auto}}
@page{size:A4;margin:16mm 13mm 18mm;
@bottom-right{content:counter(page) " / " counter(pages);font:8pt Helvetica,Arial,sans-serif}
@bottom-left{content:"MCPuppet compliance report";font:8pt Helvetica,Arial,sans-serif}}
@media print{
body{font-size:9.5pt;line-height:1.4;-webkit-print-color-adjust:exact;print-color-adjust:exact}
header,nav,main,footer{max-width:none;padding:0}header{padding-top:4mm}
h1{font-size:20pt}h2{font-size:13pt;margin:7mm 0 2mm}h3{font-size:10.5pt}
h2,h3,caption,thead{break-after:avoid}tr,figure,div.numbers div{break-inside:avoid}
thead{display:table-header-group}table{font-size:7.8pt;margin:1.5mm 0 4mm}
table.facts caption{font-size:9.5pt}p,ul.said{orphans:3;widows:3;max-width:none}
section.page{break-before:page}figure{border:0;padding:0;overflow:visible}
figure svg{max-height:150mm;max-width:100%}section>p{break-after:avoid}
.word{padding:0 .35rem}pre{font-size:7.5pt}nav a{color:inherit}
div.numbers{grid-template-columns:repeat(5,1fr);gap:2mm}div.numbers b{font-size:14pt}
}
"""


def html_chunks(document: Document) -> Iterator[str]:
    """The page, piece by piece."""
    yield from _head(document)
    yield f'<header>\n<p class="brand">MCPuppet</p>\n<h1>{_text(document.title)}</h1>\n'
    yield f'<p class="subject">{_text(document.subject)} {_part(document.verdict)}</p>\n'
    yield from _facts(document.facts)
    yield "</header>\n<nav>\n<h2>Contents</h2>\n<ol>\n"
    for section in document.sections:
        yield f'<li><a href="#{section.name}">{_text(section.title)}</a></li>\n'
    yield "</ol>\n</nav>\n<main>\n"
    for section in document.sections:
        yield from _section(section)
    yield f"</main>\n<footer>{_text(document.footer)}</footer>\n</body>\n</html>\n"


def _head(document: Document) -> Iterator[str]:
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    yield f"style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\">\n"
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield '<meta name="referrer" content="no-referrer">\n'
    yield f"<title>{_text(document.title)}: {_text(document.subject)}</title>\n"
    yield f"<style>{_STYLE}</style>\n</head>\n<body>\n"


def _section(section: Section) -> Iterator[str]:
    page = ' class="page"' if section.own_page else ""
    yield f'<section{page} id="{section.name}">\n<h2>{_text(section.title)}</h2>\n'
    for block in section.blocks:
        yield from _block(block)
    yield "</section>\n"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph():
            kind = "" if block.tone == "plain" else f' class="{block.tone}"'
            yield f"<p{kind}>{_text(block.text)}</p>\n"
        case Bullets():
            yield '<ul class="said">\n'
            yield from (f"<li>{_inline(one)}</li>\n" for one in block.texts)
            yield "</ul>\n"
        case Facts():
            yield from _facts(block)
        case Figure():
            yield '<div class="numbers">\n'
            for name, number, tone in block.numbers:
                yield f'<div class="{tone}"><b>{_text(number)}</b>'
                yield f"<span>{_text(name)}</span></div>\n"
            yield "</div>\n"
        case Table():
            yield from _table(block)
        case Listing():
            yield f"<pre>{_text(block.text, keep=_LINES)}</pre>\n"
        case Picture():
            yield f"<figure>\n{block.svg.strip()}\n"
            yield f"<figcaption>{_text(block.caption)}</figcaption>\n</figure>\n"


_LINES = "\n\t"


def _facts(facts: Facts) -> Iterator[str]:
    yield '<table class="facts">\n'
    if facts.title is not None:
        yield f"<caption>{_inline(facts.title)}</caption>\n"
    yield '<colgroup><col width="17%"><col width="83%"></colgroup>\n<tbody>\n'
    for name, value in facts.rows:
        yield f'<tr><th scope="row">{_text(name)}</th><td>{_cell(value)}</td></tr>\n'
    yield "</tbody>\n</table>\n"


def _table(table: Table) -> Iterator[str]:
    total = sum(table.widths)
    columns = "".join(f'<col width="{100 * one / total:.1f}%">' for one in table.widths)
    yield f"<table>\n<colgroup>{columns}</colgroup>\n<thead><tr>"
    for number, name in enumerate(table.columns):
        yield f'<th scope="col"{_side(table, number)}>{_text(name)}</th>'
    yield "</tr></thead>\n<tbody>\n"
    for row in table.rows:
        cells = (f"<td{_side(table, at)}>{_cell(one)}</td>" for at, one in enumerate(row))
        yield f"<tr>{''.join(cells)}</tr>\n"
    yield "</tbody>\n</table>\n"


def _side(table: Table, column: int) -> str:
    return ' class="right"' if column in table.right else ""


def _cell(cell: Cell) -> str:
    if not isinstance(cell, tuple):
        return _part(cell)
    return "".join(f"<div>{_part(one)}</div>" for one in cell)


def _inline(cell: Cell) -> str:
    return " ".join(map(_part, cell)) if isinstance(cell, tuple) else _part(cell)


def _part(part: Part) -> str:
    match part:
        case Word():
            return f'<span class="word {part.tone}">{_text(part.text)}</span>'
        case Code():
            return f"<code>{_text(part.text)}</code>" if part.text else ""
        case _:
            return _text(part)


def _text(text: str, *, keep: str = "") -> str:
    return html.escape(fit(text, keep=keep))
