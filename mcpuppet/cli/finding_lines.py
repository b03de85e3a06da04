"""Findings as people read them: one line each, or with the line of the file and a caret below it.

Nothing from a file acts on the terminal: hidden characters are spelled out, tabs become spaces, and
columns are counted in the cells that a terminal gives to each character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from mcpuppet.cli.text import plain
from mcpuppet.workflow.findings import Finding

_STYLES = {"error": "bold red", "warning": "bold yellow", "info": "bold cyan"}
_EDGE = "blue"
_TAB = "    "
_MORE = "..."
_WORD = re.compile(r"\"[^\"]*\"|'[^']*'|[\w.*?-]*\w|\S")


def show(page: Text) -> None:
    """Print a page on stdout, as it is."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(page, soft_wrap=True)


def concise(finding: Finding) -> Text:
    """One line for one finding."""
    return plain(
        f"{finding.place}: {finding.code.number} {finding.severity} {finding.code.slug}: "
        f"{finding.message}"
    )


def full(finding: Finding, texts: Mapping[str, Sequence[str]], width: int) -> Text:
    """A finding with the line that it is about; `texts` has the lines of each file.

    `width` is how many cells the line may take; a longer one is cut around the caret.
    """
    page = Text()
    page.append(f"{finding.severity}[{finding.code.number}]", _STYLES[finding.severity])
    page.append_text(plain(f": {finding.message}", "bold")).append("\n")
    lines = texts.get(finding.place.file, ())
    number = finding.place.line
    margin = len(str(number))
    page.append(f"{' ' * margin}--> ", _EDGE).append_text(plain(str(finding.place))).append("\n")
    if 0 < number <= len(lines):
        before = lines[number - 2] if number > 1 else ""
        page.append_text(_source(before, lines[number - 1], finding, margin, width))
    indent = " " * margin
    if finding.help is not None:
        _note(page, indent, "help").append(" ").append_text(plain(finding.help)).append("\n")
    if finding.trace:
        _note(page, indent, "trace").append("\n")
    for step, words in enumerate(finding.trace, start=1):
        page.append(f"{indent}     {step}. ").append_text(plain(words)).append("\n")
    return page


def _note(page: Text, indent: str, label: str) -> Text:
    return page.append(f"{indent} = ", _EDGE).append(f"{label}:", "bold")


def _source(before: str, line: str, finding: Finding, margin: int, width: int) -> Text:
    number, column = finding.place.line, min(finding.place.column, len(line) + 1)
    shown, start, length = _cut(line, column - 1, width)
    page = Text()
    if before.strip():
        earlier, _, _ = _cut(before, 0, width)
        _row(page, str(number - 1).rjust(margin), earlier)
    _row(page, str(number), shown)
    page.append(f"{' ' * margin} | ", _EDGE).append(" " * start)
    return page.append("^" * length, _STYLES[finding.severity]).append("\n")


def _row(page: Text, number: str, shown: str) -> None:
    page.append(f"{number} | ", _EDGE).append(f"{shown}\n")


def _cut(line: str, at: int, width: int) -> tuple[str, int, int]:
    """The part of a line around the character `at`, and where and how long its underline is.

    Both are in cells. The underline covers the word that begins there.
    """
    cells = [_cell(one) for one in line]
    word = _WORD.match(line, at)
    end = at if word is None else word.end()
    first, last = _window(cells, at, width)
    head = _MORE if first > 0 else ""
    tail = _MORE if last < len(cells) else ""
    shown = f"{head}{''.join(cells[first:last])}{tail}"
    start = cell_len(head + "".join(cells[first:at]))
    return shown, start, max(1, cell_len("".join(cells[at : min(end, last)])))


def _cell(character: str) -> str:
    return _TAB if character == "\t" else plain(character).plain


def _window(cells: Sequence[str], at: int, width: int) -> tuple[int, int]:
    """Which of the characters are shown: as many as fit, with `at` among them."""
    widths = [cell_len(one) for one in cells]
    if sum(widths) <= width:
        return 0, len(cells)
    room = max(1, width - 2 * len(_MORE))
    first = at
    taken = 0
    while first > 0 and taken + widths[first - 1] <= room // 2:
        first -= 1
        taken += widths[first]
    last = first
    taken = 0
    while last < len(cells) and (last <= at or taken + widths[last] <= room):
        taken += widths[last]
        last += 1
    return first, last
