"""Comments that ignore findings: where they count, what they may drop, and what is said of them."""

from __future__ import annotations

import random

import pytest

from mcpuppet.workflow.checks import CODES, check, examine
from mcpuppet.workflow.findings import Code, Finding, Place
from mcpuppet.workflow.ignores import MAX_IGNORES, Ignores, ignores_in
from mcpuppet.workflow.parser import parse_workflow

HEAD = "mcpuppet: 1\nworkflow: w\nversion: 1.0.0\ntitle: t\nsteps:\n  a: {tool: s.a}\n"
IDLE = '  - {id: idle, call: "t.*", mutex: true}'
"""A policy that matches no tool: WF511 at its `call`."""
WHY = "# mcpuppet: ignore[WF511] the tool comes next month"


def found(text: str) -> list[str]:
    """`CODE line` of every finding."""
    return [f"{one.code.number} {one.place.line}" for one in check(parse_workflow(text, "w.yaml"))]


def only(text: str) -> Finding:
    one, *more = check(parse_workflow(text, "w.yaml"))
    assert not more
    return one


def test_a_comment_on_the_line_drops_the_finding() -> None:
    assert found(f"{HEAD}policies:\n{IDLE}\n") == ["WF511 8"]
    assert found(f"{HEAD}policies:\n{IDLE} {WHY}\n") == []


def test_a_comment_of_its_own_counts_for_the_line_below() -> None:
    assert found(f"{HEAD}policies:\n  {WHY}\n{IDLE}\n") == []
    assert found(f"{HEAD}policies:\n  {WHY}\n  # and it is urgent\n{IDLE}\n") == []
    assert found(f"{HEAD}policies:\n  {WHY}\n\n{IDLE}\n") == ["WF114 8", "WF511 10"]


def test_what_is_dropped_is_still_told() -> None:
    examined = examine(parse_workflow(f"{HEAD}policies:\n{IDLE} {WHY}\n", "w.yaml"))
    assert [one.code.number for one in examined.ignored] == ["WF511"]


def test_several_codes_in_one_comment() -> None:
    both = '  - {id: p, call: ["t.*"], mutex: true}  # mcpuppet: ignore[WF511, WF302] why\n'
    assert found(f"{HEAD}policies:\n{both}") == ["WF114 8"]


@pytest.mark.parametrize("end", ["", "   ", " -", ":"])
def test_without_a_reason_nothing_is_dropped(end: str) -> None:
    text = f"{HEAD}policies:\n{IDLE} # mcpuppet: ignore[WF511]{end}\n"
    assert found(text) == ["WF511 8", "WF113 8"]


@pytest.mark.parametrize(
    ("comment", "message", "help"),
    [
        ("ignore[WF999] why", "there is no code 'WF999'", None),
        ("ignore[wf511] why", "there is no code 'wf511'", "did you mean WF511?"),
        ("ignore[everything you can see] why", "there is no code 'everything you ca...'", None),
        ("ignore[WF101] why", "WF101 cannot be ignored: yaml-syntax", None),
        ("ignore[WF201] why", "WF201 cannot be ignored: unknown-step", None),
        ("ignore[WF210] why", "WF210 cannot be ignored: shared-tool", None),
        ("ignore[] why", "no code to ignore is named", None),
        ("ignore WF511", "no code to ignore is named", None),
        ("ignore", "no code to ignore is named", None),
    ],
)
def test_what_cannot_be_ignored_is_said(comment: str, message: str, help: str | None) -> None:
    one = only(f"{HEAD}# mcpuppet: {comment}\n")
    assert (one.code.number, one.message) == ("WF115", message)
    assert help is None or one.help == help


@pytest.mark.parametrize(
    "comment",
    ["# mcpuppet: 1", "# to drop it, write # mcpuppet: ignore[WF511] x", "#ignore[WF511]"],
)
def test_other_comments_are_only_comments(comment: str) -> None:
    assert found(f"{HEAD}{comment}\n") == []


@pytest.mark.parametrize(
    "text",
    [
        f"title: 'one {WHY}'\n",
        f'title: "one {WHY}"\n',
        f"title: 'one\n  {WHY}'\n",
        f"title: |\n  one\n  {WHY}\n",
        f"title: >-\n  {WHY}\n\n  {WHY}\n",
    ],
)
def test_text_in_a_scalar_is_no_comment(text: str) -> None:
    assert ignores_in(text, "w.yaml") == ()
    assert len(ignores_in(f"{text}a: 1 {WHY}\n", "w.yaml")) == 1


def test_a_comment_after_a_quoted_hash_counts() -> None:
    (one,) = ignores_in(f"title: 'say # mcpuppet: ignore[WF302] x' {WHY}\n", "w.yaml")
    assert (one.numbers, one.place.column) == (("WF511",), 42)


@pytest.mark.parametrize("header", ["|", ">-", "|2"])
def test_a_comment_beside_the_mark_of_a_block_scalar_counts(header: str) -> None:
    (one,) = ignores_in(f"title: {header} {WHY}\n   text\n", "w.yaml")
    assert one.line == 1


@pytest.mark.parametrize("broken", ["steps: [", "a: 'open", "\tx: 1", "a: b: c", "x: \x07"])
def test_a_file_that_cannot_be_read_keeps_its_findings(broken: str) -> None:
    findings = check(parse_workflow(f"{WHY}\n{broken} {WHY}\n", "w.yaml"))
    assert "WF101" in {one.code.number for one in findings}
    assert "WF114" not in {one.code.number for one in findings}


def test_an_ignored_error_does_not_keep_the_other_checks_away() -> None:
    text = HEAD + (
        "  b: {tool: s.b, retry: {attempts: 2, on: [timeout]}} # mcpuppet: ignore[WF522] it is so\n"
        "  c: {tool: s.c, needs: {b: skipped}}\n"
    )
    assert found(text) == ["WF302 8"]


def test_while_checks_are_missing_no_comment_is_called_unused() -> None:
    assert found(f"{HEAD}  b: {{tool: s.b, needs: z}} {WHY}\n") == ["WF201 7"]


def test_what_only_servers_can_tell_is_never_called_unused() -> None:
    text = HEAD.replace("{tool: s.a}", "{tool: s.a} # mcpuppet: ignore[WF205] not installed yet")
    assert found(text) == []
    assert check(parse_workflow(text, "w.yaml"), tools={}) == []


def test_findings_of_another_file_are_dropped_by_its_own_comments() -> None:
    code = next(one for one in CODES if one.number == "WF511")
    here, there = (Finding(code, Place(file, 1, 4), "idle") for file in ("here", "there"))
    ignores = Ignores({"here": "a: 1\n", "there": f"a: 1 {WHY}\n"}, CODES)
    sifted = ignores.sift([here, there])
    assert (sifted.kept, sifted.ignored) == ((here,), (there,))
    assert list(ignores.remarks("here", sifted.ignored)) == []


@pytest.mark.parametrize("seed", range(30))
def test_any_bytes_can_be_searched_for_comments(seed: int) -> None:
    rng = random.Random(seed)
    parts = [b"# mcpuppet: ignore[WF511] x", b"\n", b"'", b'"', b"|\n ", b"\xff", b"\x00", b"\t"]
    parts += [b"a: ", b"- ", b"{", b"]", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"#", b" ", b"\r", b"&"]
    for _ in range(100):
        source = b"".join(rng.choice(parts) for _ in range(rng.randint(1, 30)))
        check(parse_workflow(source, "w.yaml"))
    check(parse_workflow(f"a: \ud800 {WHY}", "w.yaml"))


def test_only_so_many_comments_count() -> None:
    text = HEAD + f"policies:\n{IDLE} {WHY}\n" + f"{WHY}\n" * MAX_IGNORES
    numbers = [one.code.number for one in check(parse_workflow(text, "w.yaml"))]
    assert numbers.count("WF114") == MAX_IGNORES - 1
    assert numbers.count("WF115") == 1
    late = HEAD + f"{WHY}\n" * MAX_IGNORES + f"policies:\n{IDLE} {WHY}\n"
    assert "WF511" in {one.code.number for one in check(parse_workflow(late, "w.yaml"))}


def test_codes_of_files_and_shapes_cannot_be_ignored() -> None:
    def must_stay(code: Code) -> bool:
        return code.number[2] in "16"

    assert [one.number for one in CODES if must_stay(one) and one.can_be_ignored] == []
