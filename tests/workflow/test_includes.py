"""What a file takes over from others: shared files, the values of facts, and the bundle of all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpuppet.workflow.definition import RulesDefinition, WorkflowDefinition
from mcpuppet.workflow.fact_files import MAX_ROWS
from mcpuppet.workflow.includes import MAX_INCLUDES
from mcpuppet.workflow.parser import ParsedWorkflow, parse_bundle, parse_workflow
from mcpuppet.workflow.source import IncludeError, Read
from mcpuppet.workflow.yaml_reader import MAX_BYTES, MAX_NODES
from mcpuppet.workflow_folder import folder_reader

HEAD = "mcpuppet: 1\nworkflow: w\nversion: 1.0.0\n"
RULES = "mcpuppet: 1\nrules: r\nversion: 1.0.0\n"
STEPS = "steps:\n  a: {tool: s.a}\n"
SHARED = """mcpuppet: 1
shared: common
roles: [boss, clerk]
tools:
  sets:
    readers: ["s.get_*"]
policies:
  - {id: one, call: readers, at_most: 1, per: run}
  - {id: two, call: s.pay, roles: [boss]}
"""


def reader(**files: bytes | str) -> Read:
    """Gives the files by path; in the names of the arguments `__` is a slash, `_yaml` an ending."""

    def read(path: str) -> bytes:
        name = path.replace("/", "__").replace(".", "_")
        if name not in files:
            raise IncludeError("does not exist")
        content = files[name]
        return content if isinstance(content, bytes) else content.encode()

    return read


def found(parsed: ParsedWorkflow) -> list[str]:
    return [f"{one.code.number} {one.place}" for one in parsed.findings]


def using(body: str, **files: bytes | str) -> ParsedWorkflow:
    return parse_workflow(HEAD + body + STEPS, "flows/w.yaml", reader(**files))


def test_a_shared_file_adds_its_roles_sets_and_policies_after_the_own_ones() -> None:
    body = """roles: [clerk]
tools: {sets: {writers: [s.put]}}
policies:
  - {id: own, call: a, at_most: 1, per: run}
use: common/p.yaml
"""
    parsed = using(body, common__p_yaml=SHARED)
    assert parsed.findings == ()
    assert isinstance(parsed.definition, WorkflowDefinition)
    assert parsed.definition.roles == ["clerk", "boss"]
    assert parsed.definition.tools.sets == {"writers": ["s.put"], "readers": ["s.get_*"]}
    assert [one.id for one in parsed.definition.policies] == ["own", "one", "two"]
    assert [one["id"] for one in parsed.document.data["policies"]] == ["own", "one", "two"]


def test_every_merged_part_has_its_place_in_the_file_it_was_written_in() -> None:
    body = "roles: [clerk]\npolicies:\n  - {id: own, call: a, mutex: true}\nuse: common/p.yaml\n"
    document = using(body, common__p_yaml=SHARED).document
    assert str(document.place(("roles", 0))) == "flows/w.yaml:4:9"
    assert str(document.place(("roles", 1))) == "flows/common/p.yaml:3:9"
    assert str(document.place(("policies", 0, "id"))) == "flows/w.yaml:6:10"
    assert str(document.key_place(("policies", 1, "call"))) == "flows/common/p.yaml:8:15"
    assert str(document.place(("policies", 2, "roles", 0))) == "flows/common/p.yaml:9:36"
    assert str(document.key_place(("tools", "sets", "readers"))) == "flows/common/p.yaml:6:5"
    assert str(document.place(("tools", "sets", "readers", 0))) == "flows/common/p.yaml:6:15"
    assert str(document.place(("steps", "a", "tool"))) == "flows/w.yaml:9:13"


def test_rules_use_several_files_in_their_order() -> None:
    more = "mcpuppet: 1\nshared: more\npolicies: [{id: three, call: s.b, mutex: true}]\n"
    parsed = parse_workflow(
        RULES + "use: [m.yaml, p.yaml]\n", "r.yaml", reader(p_yaml=SHARED, m_yaml=more)
    )
    assert isinstance(parsed.definition, RulesDefinition)
    assert [one.id for one in parsed.definition.policies] == ["three", "one", "two"]
    assert parsed.definition.tools.sets == {"readers": ["s.get_*"]}
    assert str(parsed.document.place(("policies", 0))) == "m.yaml:3:12"
    assert list(parsed.texts) == ["r.yaml", "m.yaml", "p.yaml"]


def test_tool_sets_of_one_name_must_hold_the_same_tools() -> None:
    body = "tools: {sets: {readers: ['s.get_*']}}\nuse: p.yaml\n"
    assert using(body, p_yaml=SHARED).findings == ()
    parsed = using(body.replace("get", "read"), p_yaml=SHARED)
    assert parsed.definition is None
    assert found(parsed) == ["WF116 flows/p.yaml:6:5"]
    assert "flows/w.yaml:4:16" in parsed.findings[0].message


def test_mistakes_in_a_shared_file_are_placed_there() -> None:
    parsed = using("use: p.yaml\n", p_yaml=SHARED.replace("at_most", "at_mots"))
    assert parsed.definition is None
    assert found(parsed) == ["WF103 flows/p.yaml:8:30"]
    assert found(using("use: p.yaml\n", p_yaml="shared: [")) == ["WF101 flows/p.yaml:1:10"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("../p.yaml", "leads out of the folder"),
        ("a/../p.yaml", "leads out of the folder"),
        ("/p.yaml", "not a path from the folder"),
        ("C:/p.yaml", "not a path from the folder"),
        ("a\\p.yaml", "not a path from the folder"),
        ("./p.yaml", "not written as a plain path"),
        ("a//p.yaml", "not written as a plain path"),
        ("p.yaml/", "not written as a plain path"),
        ("''", "not written as a plain path"),
        ("x" * 300 + ".yaml", "not written as a plain path"),
        ('"a\\0.yaml"', "not written as a plain path"),
        ("p.json", "does not end in .yaml or .yml"),
        ("gone.yaml", "does not exist"),
        ("w.yaml", "is not a shared file"),
        ("two.yaml", "is not a shared file"),
        ("empty.yaml", "is not a shared file"),
        ("list.yaml", "is not a shared file"),
        ("nested.yaml", "has a `use` itself"),
    ],
)
def test_what_cannot_be_used_is_said_at_the_entry(path: str, words: str) -> None:
    parsed = using(
        f"use:\n  - p.yaml\n  - {path}\n",
        p_yaml=SHARED,
        w_yaml=HEAD + STEPS,
        two_yaml=SHARED + "rules: r\n",
        empty_yaml="",
        list_yaml="[]",
        nested_yaml=SHARED + "use: p.yaml\n",
    )
    assert parsed.definition is None
    assert found(parsed) == ["WF116 flows/w.yaml:6:5"]
    assert words in parsed.findings[0].message


def test_a_file_that_is_used_twice_is_a_finding() -> None:
    assert found(using("use: [p.yaml, p.yaml]\n", p_yaml=SHARED)) == ["WF116 flows/w.yaml:4:15"]


def test_only_so_many_files_bytes_and_values_are_read() -> None:
    many = {f"p{number}_yaml": "mcpuppet: 1\nshared: s\n" for number in range(MAX_INCLUDES + 1)}
    paths = ", ".join(one.replace("_", ".") for one in many)
    (one,) = using(f"use: [{paths}]\n", **many).findings
    assert "32 files are the most" in one.message
    half = "#" * (MAX_BYTES // 2) + "\n" + SHARED
    (one,) = using("use: [a.yaml, b.yaml]\n", a_yaml=half, b_yaml=half).findings
    assert "bytes" in one.message
    row = f"[{'r,' * 999}],"
    roles = f"mcpuppet: 1\nshared: s\nroles: [{row * (MAX_NODES // 1900)}]\n"
    parsed = using("use: [a.yaml, b.yaml]\n", a_yaml=roles, b_yaml=roles)
    refused = [one for one in parsed.findings if "values and keys" in one.message]
    assert [one.place.file for one in refused] == ["flows/b.yaml"]


def facts(fact: str, **files: bytes | str) -> ParsedWorkflow:
    return parse_workflow(f"{RULES}facts:\n  v: {fact}\n", "r.yaml", reader(**files))


@pytest.mark.parametrize(
    ("fact", "content", "values"),
    [
        ("{from_file: v.csv, column: iban}", "name,iban\na,1\nb,02\n", ("1", "02")),
        ("{from_file: v.csv, column: iban}", "iban\r\n1\r\n\r\n1\r\n", ("1",)),
        ("{from_file: v.csv, column: iban}", b"\xef\xbb\xbfiban\n1", ("1",)),
        ("{from_file: v.csv, column: a b}", '"a b"\n"x,\n""y"\n', ('x,\n"y',)),
        ("{from_file: v.csv, column: iban}", "iban\na\u2028b\n", ("a\u2028b",)),
        ("{from_file: v.csv, column: iban}", "iban\n", ()),
        ("{from_file: v.json}", '["a", 1, 1.5, true, 1.0, "a"]', ("a", 1, 1.5, True)),
        ("{from_file: v.json}", "[]", ()),
        ("{from_file: v.json, max: 2}", '["a", "b", "a"]', ("a", "b")),
    ],
)
def test_the_values_of_a_fact_come_from_its_file(
    fact: str, content: bytes | str, values: tuple[Any, ...]
) -> None:
    name = "v_csv" if "csv" in fact else "v_json"
    parsed = facts(fact, **{name: content})
    assert parsed.findings == ()
    assert parsed.fact_files == {"v": values}
    assert [type(one) for one in parsed.fact_files["v"]] == [type(one) for one in values]


@pytest.mark.parametrize(
    ("fact", "content", "words"),
    [
        ("{from_file: v.csv}", "a,b\n", "`column` does not say which column"),
        ("{from_file: v.csv, column: c}", "a,b\n1,2\n", "no column 'c'"),
        ("{from_file: v.csv, column: a}", "a,a\n1,2\n", "more than one column 'a'"),
        ("{from_file: v.csv, column: a}", "", "no column 'a'"),
        ("{from_file: v.csv, column: a}", "a,b\n1,2\n3\n", "1 values for 2 columns in line 3"),
        ("{from_file: v.csv, column: a}", "a,b\n1,2\n,3\n", "no value in line 3"),
        ("{from_file: v.csv, column: a}", 'a\n"1\n', "not CSV in line 2"),
        ("{from_file: v.csv, column: a}", "a\n" + "x" * 200_000, "not CSV in line 2"),
        ("{from_file: v.csv, column: a}", "a\n" + "x" * 2_000, "more than 1,000 characters"),
        ("{from_file: v.csv, column: a}", b"a\n\xff\n", "not UTF-8 in line 2"),
        ("{from_file: v.csv, column: a, max: 2}", "a\n1\n2\n3\n", "more than 2 distinct"),
        ("{from_file: v.csv, column: a}", "a\n" + "1\n" * (MAX_ROWS + 1), "more than 100,000"),
        ("{from_file: v.json, column: a}", "[]", "has no columns"),
        ("{from_file: v.json}", "[1,\n", "not JSON in line 2"),
        ("{from_file: v.json}", "{}", "is not a list"),
        ("{from_file: v.json}", "[1, [2]]", "number 2"),
        ("{from_file: v.json}", "[null]", "number 1"),
        ("{from_file: v.json}", "[1e999]", "number 1"),
        ("{from_file: v.json}", "[NaN]", "cannot be read"),
        ("{from_file: v.json}", '["\\ud800"]', "number 1"),
        ("{from_file: v.json}", "[" * 100_000, "cannot be read"),
        ("{from_file: v.json}", "[" + "9" * 10_000 + "]", "cannot be read"),
        ("{from_file: v.json}", b"\xff", "not UTF-8 in line 1"),
        ("{from_file: v.txt}", "", "does not end in .csv or .json"),
        ("{from_file: ../v.csv, column: a}", "", "leads out of the folder"),
        ("{from_file: gone.csv, column: a}", "", "does not exist"),
    ],
)
def test_a_file_that_gives_a_fact_no_values_is_a_finding(
    fact: str, content: bytes | str, words: str
) -> None:
    name = "v_csv" if "v.csv" in fact else "v_json"
    parsed = facts(fact, **{name: content})
    assert parsed.definition is None
    assert found(parsed) == ["WF116 r.yaml:5:18"]
    assert words in parsed.findings[0].message


WITH_FILES = RULES + "use: p.yaml\nfacts: {v: {from_file: v.csv, column: a}}\n"


def bundled(file: str = "r.yaml", text: str = WITH_FILES, **files: bytes | str) -> str:
    files = {"p_yaml": SHARED, "v_csv": "a\n1\n", **files}
    parsed = parse_workflow(text, file, reader(**files))
    assert parsed.definition is not None
    return parsed.bundle


def test_the_bundle_of_a_file_that_takes_nothing_over_is_its_text() -> None:
    assert using("").bundle == HEAD + STEPS


def test_the_bundle_holds_every_file_and_is_canonical() -> None:
    bundle = bundled()
    content = json.loads(bundle)
    assert content == {
        "mcpuppet_bundle": 1,
        "file": "r.yaml",
        "text": WITH_FILES,
        "files": {"p.yaml": SHARED, "v.csv": "a\n1\n"},
    }
    assert bundle == json.dumps(content, sort_keys=True, separators=(",", ":"))


def test_the_bundle_changes_with_every_part_and_not_with_the_folder() -> None:
    assert bundled("some/folder/r.yaml") == bundled()
    assert bundled(v_csv=b"\xef\xbb\xbfa\n1\n") == bundled()
    others = [
        bundled("other.yaml"),
        bundled(text=WITH_FILES + "title: x\n"),
        bundled(v_csv="a\n2\n"),
        bundled(p_yaml=SHARED + "# more\n"),
    ]
    assert len({bundled(), *others}) == 5


def test_a_bundle_is_read_again_without_any_file() -> None:
    bundle = bundled()
    first = parse_workflow(WITH_FILES, "r.yaml", reader(p_yaml=SHARED, v_csv="a\n1\n"))
    again = parse_bundle(bundle, "recorded")
    assert again.definition == first.definition
    assert (again.bundle, again.fact_files) == (bundle, {"v": ("1",)})
    assert str(again.document.place(("policies", 0))) == "p.yaml:8:5"
    plain = parse_bundle(HEAD + STEPS, "recorded")
    assert plain.definition is not None
    assert plain.bundle == HEAD + STEPS


def test_a_bundle_that_lacks_a_file_never_reads_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.yaml").write_text(SHARED)
    monkeypatch.chdir(tmp_path)
    content = json.loads(bundled())
    del content["files"]["p.yaml"]
    parsed = parse_bundle(json.dumps(content, sort_keys=True, separators=(",", ":")), "recorded")
    assert parsed.definition is None
    assert "not part of what was recorded" in parsed.findings[0].message


@pytest.mark.parametrize(
    "text",
    [
        '{"file":"x","mcpuppet_bundle":1,"text":"","files":5}',
        '{"file":"x","mcpuppet_bundle":1,"text":"","files":{"a":1}}',
        '{"file":' * 50_000,
        '{"file": {}, "workflow": w, "mcpuppet": 1, "version": 1.0.0, "steps": {a: {tool: s.a}}}',
    ],
)
def test_what_is_no_bundle_is_read_as_the_file_that_it_is(text: str) -> None:
    parsed = parse_bundle(text, "recorded")
    assert parsed.definition is None
    assert parsed.findings
    assert parsed.bundle == text


def _write(folder: Path) -> None:
    (folder / "common").mkdir()
    (folder / "common" / "p.yaml").write_text(SHARED)


def _link_to_file(folder: Path) -> str:
    (folder / "link.yaml").symlink_to(folder / "common" / "p.yaml")
    return "link.yaml"


def _link_to_folder(folder: Path) -> str:
    (folder / "other").symlink_to(folder / "common")
    return "other/p.yaml"


def _dangling_link(folder: Path) -> str:
    (folder / "link.yaml").symlink_to(folder / "gone")
    return "link.yaml"


def _folder(folder: Path) -> str:
    (folder / "x.yaml").mkdir()
    return "x.yaml"


def _file_as_folder(folder: Path) -> str:
    return "common/p.yaml/x.yaml"


def _pipe(folder: Path) -> str:
    os.mkfifo(folder / "x.yaml")
    return "x.yaml"


def _too_long(folder: Path) -> str:
    (folder / "x.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    return "x.yaml"


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (_link_to_file, "'link.yaml', which is a link"),
        (_link_to_folder, "'other', which is a link"),
        (_dangling_link, "which is a link"),
        (_folder, "cannot be read: Is a directory|is not an ordinary file"),
        (_file_as_folder, "cannot be read: Not a directory"),
        (_pipe, "is not an ordinary file"),
        (_too_long, "more than 4,194,304 bytes"),
        (lambda folder: "gone.yaml", "does not exist"),
        (lambda folder: "x" * 256, "cannot be read: File name too long"),
    ],
)
def test_the_folder_gives_no_links_folders_pipes_or_endless_files(
    prepare: Callable[[Path], str], words: str, tmp_path: Path
) -> None:
    _write(tmp_path)
    with pytest.raises(IncludeError, match=words):
        folder_reader(tmp_path)(prepare(tmp_path))


def test_the_folder_gives_files_in_it_even_if_it_is_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    _write(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert folder_reader(tmp_path / "link")("common/p.yaml") == SHARED.encode()
