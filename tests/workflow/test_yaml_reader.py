"""Reading YAML: the values, where they stand, and files written to do harm."""

from __future__ import annotations

import time

import pytest

from mcpuppet.workflow.yaml_reader import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_ENTRIES,
    MAX_FINDINGS,
    MAX_NODES,
    Document,
    read_yaml,
)


def read(source: bytes | str) -> Document:
    return read_yaml(source, "f.yaml")


def problems(source: bytes | str) -> list[str]:
    """`CODE line:column` of every finding."""
    return [
        f"{finding.code.number} {finding.place.line}:{finding.place.column}"
        for finding in read(source).findings
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("12:30", "12:30"),
        ("2026-11-22", "2026-11-22"),
        ("1_000", "1_000"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("9007199254740993", 9007199254740993),
    ],
)
def test_scalars_follow_the_yaml_1_2_core_schema(text: str, value: object) -> None:
    document = read(f"key: {text}\n")
    assert document.findings == ()
    assert document.data == {"key": value}
    assert type(document.data["key"]) is type(value)


def test_keys_stay_text() -> None:
    assert read("on: 1\nno: 2\n1: 3\ntrue: 4\n").data == {"on": 1, "no": 2, "1": 3, "true": 4}


@pytest.mark.parametrize("text", [".inf", "-.Inf", ".nan", "1e999"])
def test_numbers_that_json_cannot_carry_are_refused(text: str) -> None:
    assert problems(f"a: {text}\n") == ["WF101 1:4"]


def test_places_of_values_keys_and_list_items() -> None:
    document = read("a:\n  b: [x, {c: 1}]\n  d:\n    - e\n")
    assert str(document.place(("a", "b", 1, "c"))) == "f.yaml:2:14"
    assert str(document.key_place(("a", "b"))) == "f.yaml:2:3"
    assert str(document.key_place(("a", "d", 0))) == "f.yaml:4:7"


def test_a_path_that_is_not_in_the_file_gets_its_nearest_parent() -> None:
    document = read("a:\n  b: 1\n")
    assert str(document.place(("a", "nothing", "deeper"))) == "f.yaml:2:3"
    assert str(document.place(("nothing",))) == "f.yaml:1:1"


def test_columns_inside_text_count_from_its_first_character() -> None:
    document = read("a: plain\nb: 'quoted'\nc: |\n  block\n")
    assert str(document.text_place(("a",), 3)) == "f.yaml:1:6"
    assert str(document.text_place(("b",), 3)) == "f.yaml:2:7"
    assert str(document.text_place(("c",), 3)) == "f.yaml:3:4"


def test_columns_of_quoted_text_with_escapes_before_them_are_not_invented() -> None:
    document = read("a: \"\\u0041bc\"\nb: 'it''s x'\n")
    assert str(document.text_place(("a",), 2)) == "f.yaml:1:4"
    assert str(document.text_place(("b",), 6)) == "f.yaml:2:4"


def test_columns_count_characters_not_bytes() -> None:
    document = read("ключ: значение\n".encode())
    assert str(document.place(("ключ",))) == "f.yaml:1:7"
    document = read('{a: "😀", b: x}\n')
    assert str(document.place(("b",))) == "f.yaml:1:13"


def test_a_byte_order_mark_is_read_over() -> None:
    document = read(b"\xef\xbb\xbfa: 1\n")
    assert document.findings == ()
    assert document.data == {"a": 1}
    assert str(document.key_place(("a",))) == "f.yaml:1:1"


def test_a_byte_order_mark_in_a_text_is_read_over() -> None:
    assert read("\ufeffa: 1\n").data == {"a": 1}


@pytest.mark.parametrize("source", ["", "\n", "# only a comment\n", b""])
def test_an_empty_file_holds_nothing(source: bytes | str) -> None:
    document = read(source)
    assert document.data is None
    assert document.findings == ()


def test_every_duplicate_key_is_reported_and_the_first_value_kept() -> None:
    source = "a: 1\nb: 2\na: 3\nc: {d: 1, d: {e: 1}}\na: 4\n"
    assert problems(source) == ["WF102 3:1", "WF102 4:11", "WF102 5:1"]
    assert read(source).data == {"a": 1, "b": 2, "c": {"d": 1}}
    assert read(source).findings[0].help == "the first is on line 1"


def test_a_duplicate_key_does_not_spoil_what_stands_inside_its_value() -> None:
    source = "a: {x: 1}\na: {x: 2, y: 3}\nb: 5\n"
    document = read(source)
    assert problems(source) == ["WF102 2:1"]
    assert document.data == {"a": {"x": 1}, "b": 5}
    assert str(document.place(("a", "x"))) == "f.yaml:1:8"


def test_anchors_aliases_and_tags_are_refused() -> None:
    assert problems("a: &x 1\nb: *x\nc: !!str 2\nd: !mine {e: 1}\n") == [
        "WF106 1:4",
        "WF106 2:4",
        "WF106 3:4",
        "WF106 4:4",
    ]


def test_merge_keys_are_refused() -> None:
    assert problems("a: &x {b: 1}\nc:\n  <<: *x\n") == ["WF106 1:4", "WF106 3:7"]


@pytest.mark.parametrize("source", ["*x : 1\n", "&x a: 1\n", "!!str a: 1\n"])
def test_anchors_aliases_and_tags_on_keys_are_refused(source: str) -> None:
    assert problems(source)[0] == "WF106 1:1"


def test_a_second_document_is_refused() -> None:
    assert problems("a: 1\n---\nb: 2\n") == ["WF101 2:1"]


@pytest.mark.parametrize("source", ["? [a]\n: 1\n", "{[a]: 1}\n", "? {a: 1}\n: 1\n"])
def test_keys_that_are_not_text_are_refused(source: str) -> None:
    assert [one[:5] for one in problems(source)] == ["WF101"]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\u2028"])
def test_lines_are_those_of_yaml_whatever_ends_them(end: str) -> None:
    lines = ["a: 1", "b: [", "\x00"]
    assert problems(end.join(lines)) == ["WF101 3:1"]
    assert problems(end.join(lines[:2]).encode() + end.encode() + b"\xff") == ["WF101 3:1"]


def test_parts_of_other_documents_keep_their_places() -> None:
    own = read_yaml("policies:\n  - {id: x}\n", "own.yaml")
    other = read_yaml("\npolicies: [{id: y, check: 'a + b'}]\n", "other.yaml")
    whole = own.with_parts(
        {"policies": [{"id": "x"}, {"id": "y", "check": "a + b"}]},
        {("policies", 1): (other, ("policies", 0))},
    )
    assert str(whole.place(("policies", 0, "id"))) == "own.yaml:2:10"
    assert str(whole.place(("policies", 1, "id"))) == "other.yaml:2:17"
    assert str(whole.key_place(("policies", 1, "id"))) == "other.yaml:2:13"
    assert str(whole.key_place(("policies", 1))) == "other.yaml:2:12"
    assert str(whole.text_place(("policies", 1, "check"), 5)) == "other.yaml:2:32"
    assert str(whole.place(("policies", 1, "nothing"))) == "other.yaml:2:12"
    assert str(whole.place(("policies", 2))) == "own.yaml:2:3"


def test_tabs_as_indentation_are_explained() -> None:
    document = read("a:\n\tb: 1\n")
    assert [str(finding.place) for finding in document.findings] == ["f.yaml:2:1"]
    assert document.findings[0].help == "indent with spaces, not tabs"


def test_an_unquoted_expression_inside_braces_is_explained() -> None:
    document = read("a: {check: x in [1, 2}\n")
    assert document.data is None
    assert "in quotes" in str(document.findings[0].help)


def test_nul_and_control_characters_are_refused_with_their_place() -> None:
    assert problems("a: 1\nb: x\x00y\n") == ["WF101 2:5"]
    assert problems("a: \x1b[31m\n") == ["WF101 1:4"]
    assert problems("é😀: \x00") == ["WF101 1:5"]
    assert "U+0000" in read("a: \x00").findings[0].message


def test_bytes_that_are_not_utf8_are_refused_with_their_place() -> None:
    assert problems("a: 1\nb: é".encode() + b"\xff") == ["WF101 2:5"]
    assert problems(b"\xff\xfea\x00:\x00") == ["WF101 1:1"]


def test_a_lone_surrogate_is_refused() -> None:
    assert [one[:5] for one in problems("a: \ud800\n")] == ["WF101"]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_a_hundred_thousand_openings_are_refused_at_once(opening: str) -> None:
    started = time.perf_counter()
    assert [one[:5] for one in problems(opening * 100_000)] == ["WF107"]
    assert time.perf_counter() - started < 5


def test_a_hundred_thousand_balanced_brackets_are_refused_at_once() -> None:
    assert [one[:5] for one in problems("[" * 100_000 + "]" * 100_000)] == ["WF107"]


def test_the_deepest_nesting_that_is_read() -> None:
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH).findings == ()
    assert problems("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) == [f"WF107 1:{MAX_DEPTH + 1}"]


def test_a_hundred_thousand_nested_keys_are_refused_at_once() -> None:
    assert problems("? " * 100_000) == ["WF101 1:3"]


def test_an_alias_bomb_is_not_expanded() -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert set(problems("\n".join(lines))[:-1]) > {"WF106 1:5", "WF106 2:5"}


def test_a_file_past_the_size_limit_is_not_read() -> None:
    started = time.perf_counter()
    assert problems("a: " + "x" * 5_000_000) == ["WF107 1:1"]
    assert time.perf_counter() - started < 1
    assert read("#" * (MAX_BYTES - 1)).findings == ()


def test_a_file_with_too_many_values_is_refused() -> None:
    full = "[" + "1," * (MAX_ENTRIES - 1) + "],"
    assert [one[:5] for one in problems("[" + full * (MAX_NODES // MAX_ENTRIES + 1) + "]")] == [
        "WF107"
    ]
    assert read("[" + full * (MAX_NODES // MAX_ENTRIES - 1) + "]").findings == ()
    assert [one[:5] for one in problems("[" + "1," * (MAX_ENTRIES + 1) + "]")] == ["WF107"]
    assert read_yaml("{a: 1}", "f.yaml", 3).findings == ()
    (one,) = read_yaml("{a: 1}", "f.yaml", 2).findings
    assert (one.code.number, str(one.place)) == ("WF107", "f.yaml:1:5")


def test_a_very_long_number_is_text_or_refused_but_never_slow() -> None:
    started = time.perf_counter()
    document = read("a: " + "9" * 1_000_000)
    assert isinstance(document.data["a"], str) or document.findings
    assert time.perf_counter() - started < 2


def test_findings_without_end_are_cut_off() -> None:
    document = read("".join("a: 1\n" for _ in range(50_000)))
    assert len(document.findings) == MAX_FINDINGS + 1
    assert "reading stops" in document.findings[-1].message


def test_a_message_never_carries_a_whole_file() -> None:
    document = read(f"a: {'9' * 100_000}\n? {'k' * 100_000}\n: 1\n? {'k' * 100_000}\n: 2\n")
    assert all(len(finding.message) < 200 for finding in document.findings)


@pytest.mark.parametrize("text", ["a: [1, 2", "a: 'x", "a: b: c", "%YAML 9.9\n---\na: 1", "a: @x"])
def test_broken_yaml_is_one_finding_with_a_place(text: str) -> None:
    document = read(text)
    assert [finding.code.number for finding in document.findings] == ["WF101"]
    assert document.findings[0].place.line >= 1


@pytest.mark.parametrize(
    ("text", "place"), [("a: [", "1:5"), ("a: [\n", "1:5"), ("\n\na: {b", "3:6")]
)
def test_what_is_missing_at_the_end_is_placed_inside_the_file(text: str, place: str) -> None:
    assert problems(text) == [f"WF101 {place}"]
