"""What each format makes of awkward findings: long lines, wide text, places not in a file."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from rich.cells import cell_len

from mcpuppet.cli.finding_codes import all_codes
from mcpuppet.cli.finding_github import github
from mcpuppet.cli.finding_junit import junit
from mcpuppet.cli.finding_lines import concise, full
from mcpuppet.cli.finding_sarif import sarif
from mcpuppet.workflow.findings import BAD_DURATION, SHARED_TOOL, Finding, Place

FILE = "w.yaml"


def at(line: int, column: int, message: str = "wrong", **more: object) -> Finding:
    return Finding(BAD_DURATION, Place(FILE, line, column), message, **more)  # type: ignore[arg-type]


def marked(text: str, column: int, width: int = 100) -> str:
    """What stands above the carets when a line is shown."""
    page = full(at(1, column), {FILE: (text,)}, width).plain.splitlines()
    source, carets = page[2].removeprefix("1 | "), page[3].removeprefix("  | ")
    before, under = carets.index("^"), len(carets)
    cells = "".join(one * cell_len(one) for one in source)  # wide characters, once for each cell
    assert cell_len(source) <= max(width, 8)
    return "".join(dict.fromkeys(cells[before:under])) if cells[before:under] else ""


@pytest.mark.parametrize(
    ("line", "column", "expected"),
    [
        ("timeout: ab", 10, "ab"),
        ("\ttimeout: ab", 11, "ab"),
        ("日本語: ab", 6, "ab"),
        ("{日本: '語', x: ab}", 14, "ab"),
        ("ab: \u202e\x1b cd", 8, "cd"),
        ("a\u0301b: cd", 6, "cd"),
        ("x: bn.py", 4, "bn.py"),
        ("x: 'say'", 4, "'say"),
        ("x: ", 40, ""),
        ("", 1, ""),
    ],
)
def test_the_caret_stands_under_the_word(line: str, column: int, expected: str) -> None:
    assert marked(line, column) == expected


@pytest.mark.parametrize("column", [1, 2, 250, 498, 499, 500])
@pytest.mark.parametrize("filler", ["x ", "日 "])
def test_a_long_line_is_cut_around_the_caret(column: int, filler: str) -> None:
    line = filler * 250
    line = f"{line[: column - 1]}!{line[column:]}"
    assert marked(line, column, width=60) == "!"


@pytest.mark.parametrize(("line", "column"), [(0, 1), (2, 1), (99, 9), (1, 0)])
def test_a_place_that_is_not_in_the_file_is_only_named(line: int, column: int) -> None:
    finding = at(line, column)
    assert f"--> {FILE}:{line}:{column}" in full(finding, {FILE: ("a: 1",)}, 100).plain
    assert full(finding, {}, 100).plain.count("\n") == 2


def test_line_numbers_are_aligned() -> None:
    lines = tuple(f"a{number}: 1" for number in range(1, 20))
    shown = full(at(10, 1), {FILE: lines}, 100).plain.splitlines()
    assert shown[1:] == [
        "  --> w.yaml:10:1",
        " 9 | a9: 1",
        "10 | a10: 1",
        "   | ^^^",
    ]


def test_help_and_trace_follow_the_line() -> None:
    finding = at(1, 1, help="write 30s", trace=("start", "a.call"))
    assert full(finding, {FILE: ("a",)}, 100).plain.splitlines()[-4:] == [
        "  = help: write 30s",
        "  = trace:",
        "      1. start",
        "      2. a.call",
    ]


def test_nothing_in_a_message_acts_on_a_terminal() -> None:
    finding = at(1, 1, "a\x1b[31m\nb", help="\u202e", trace=("\x07",))
    for page in (full(finding, {FILE: ("\x1b[2J",)}, 100), concise(finding)):
        assert not set(page.plain) & {"\x1b", "\u202e", "\x07"}


def test_github_commands_are_escaped() -> None:
    finding = Finding(BAD_DURATION, Place("a,b:c%.yaml", 2, 3), "50% :: a\nb\rc", "x,y")
    assert github(finding) == (
        "::error title=WF108 bad-duration,file=a%2Cb%3Ac%25.yaml,line=2,col=3"
        "::50%25 :: a%0Ab%0Dc%0Ax,y"
    )


def test_sarif_text_is_never_a_link_or_a_placeholder() -> None:
    finding = at(1, 1, "see [here](http://x) or {0}", help="roles: [a]")
    (result,) = sarif([finding], all_codes(), {}, "1")["runs"][0]["results"]
    assert result["message"]["text"] == "see \\[here](http://x) or {{0}} (roles: [a])"


def test_sarif_fingerprints_outlive_lines_added_above() -> None:
    def prints(*findings: Finding, lines: tuple[str, ...]) -> list[str]:
        results = sarif(findings, all_codes(), {FILE: lines}, "1")["runs"][0]["results"]
        return [one["partialFingerprints"]["mcpuppetFinding/v1"] for one in results]

    before = prints(at(1, 1), lines=("a: 1",))
    assert before == prints(at(3, 1), lines=("", "", "a:  1"))
    twice = prints(at(1, 1), at(2, 1), lines=("a: 1", "a: 1"))
    assert twice[0] == before[0]
    assert len(set(twice)) == 2
    assert prints(at(1, 1), lines=("b: 1",)) != before


def test_sarif_places_outside_the_folder_are_whole() -> None:
    finding = Finding(SHARED_TOOL, Place("/some where/else.yaml", 1, 1), "x")
    (result,) = sarif([finding], all_codes(), {}, "1")["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": "file:///some%20where/else.yaml"}


def test_junit_is_xml_whatever_a_message_holds() -> None:
    awkward = "".join(map(chr, [*range(0x20), *b"<&>\"']", 0x7F, 0xD800, 0xFFFE, 0xFFFF, 0x1F600]))
    finding = at(1, 1, awkward, help=awkward, trace=(awkward,))
    text = junit({awkward: [finding]}, frozenset({"error"}))
    failure = ElementTree.fromstring(text).find(".//failure")
    assert failure is not None
    assert failure.get("type") == "WF108"
    text.encode("utf-8")
