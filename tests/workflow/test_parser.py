"""From text to a definition: every mistake of shape has a code, a place and a sentence."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from mcpuppet.workflow.definition import Needs, RulesDefinition, WorkflowDefinition
from mcpuppet.workflow.parser import ParsedWorkflow, parse_workflow
from mcpuppet.workflow.yaml_reader import MAX_FINDINGS

HEAD = "mcpuppet: 1\nworkflow: w\nversion: 1.0.0\n"
STEP = "steps:\n  a: {tool: s.a}\n"


def parse(body: str) -> ParsedWorkflow:
    """Parse a workflow whose body starts in line 4."""
    return parse_workflow(HEAD + body, "w.yaml")


def found(body: str) -> list[str]:
    return [
        f"{one.code.number} {one.place.line}:{one.place.column}" for one in parse(body).findings
    ]


def test_a_good_file_gives_a_definition_its_text_and_no_finding() -> None:
    parsed = parse(STEP)
    assert parsed.findings == ()
    assert parsed.definition is not None
    assert parsed.definition.steps["a"].tool == ["s.a"]
    assert parsed.text == HEAD + STEP


def test_bytes_with_a_byte_order_mark_are_read() -> None:
    parsed = parse_workflow(b"\xef\xbb\xbf" + (HEAD + STEP).encode(), "w.yaml")
    assert parsed.definition is not None
    assert not parsed.text.startswith("\ufeff")


def test_words_that_older_yaml_reads_as_booleans_are_text() -> None:
    parsed = parse(
        "roles: [no, on]\nsteps:\n  on: {tool: s.a, on: {failure: {redo: on, max: 1}}}\n"
    )
    assert parsed.definition is not None
    assert parsed.definition.roles == ["no", "on"]
    assert parsed.definition.steps["on"].on is not None


@pytest.mark.parametrize(
    ("needs", "outcomes", "join"),
    [
        ("b", {"b": ()}, "all"),
        ("[b, c]", {"b": (), "c": ()}, "all"),
        ("{b: success}", {"b": ("success",)}, "all"),
        (
            "{b: [success, failure], c: skipped, join: any}",
            {"b": ("success", "failure"), "c": ("skipped",)},
            "any",
        ),
    ],
)
def test_the_three_spellings_of_needs(needs: str, outcomes: object, join: str) -> None:
    parsed = parse(f"steps:\n  a: {{tool: s.a, needs: {needs}}}\n")
    assert parsed.definition is not None
    assert parsed.definition.steps["a"].needs == Needs(outcomes=outcomes, join=join)  # type: ignore[arg-type]


def test_durations_are_read() -> None:
    parsed = parse(f"timeout: 2d\n{STEP}")
    assert parsed.definition is not None
    assert parsed.definition.timeout == timedelta(days=2)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("steps: {}\n", ["WF104 4:8"]),
        ("steps: []\n", ["WF104 4:8"]),
        ("", ["WF105 1:1"]),
        ("steps:\n  a: {tol: s.a}\n", ["WF103 5:7"]),
        ("stpes: {}\n" + STEP, ["WF103 4:1"]),
        ("steps:\n  A: {tool: s.a}\n", ["WF104 5:3"]),
        ("steps:\n  a: {tool: nodot}\n", ["WF104 5:13"]),
        ("steps:\n  a: {tool: [s.a, nodot]}\n", ["WF104 5:19"]),
        ("steps:\n  a: {tool: s.a, timeout: 5 minutes}\n", ["WF108 5:27"]),
        ("steps:\n  a: {tool: s.a, timeout: 5}\n", ["WF108 5:27"]),
        ("steps:\n  a: {tool: s.a, when: 'x ==='}\n", ["WF110 5:29"]),
        ("steps:\n  a: {tool: s.a, when: x ===}\n", ["WF110 5:28"]),
        ("steps:\n  a: {tool: s.a, when: 5}\n", ["WF104 5:24"]),
        ("steps:\n  a: {tool: s.a, args: {x: {equals: '1 +'}}}\n", ["WF110 5:41"]),
        ("steps:\n  a: {tool: s.a, returns: {x: {type: nmber}}}\n", ["WF111 5:38"]),
        ("steps:\n  a: {tool: s.a, retry: {attempts: 0}}\n", ["WF104 5:36"]),
        ("steps:\n  a: {tool: s.a, retry: {attempts: true}}\n", ["WF104 5:36"]),
        ("steps:\n  a: {tool: s.a, retry: {attempts: 010x}}\n", ["WF104 5:36"]),
        ("steps:\n  a: {tool: s.a, needs: []}\n", ["WF104 5:25"]),
        ("steps:\n  a: {tool: s.a, needs: {join: any}}\n", ["WF104 5:25"]),
        ("steps:\n  a: {tool: s.a, needs: {b: success, join: some}}\n", ["WF104 5:44"]),
        ("steps:\n  a: {tool: s.a, needs: 5}\n", ["WF104 5:25"]),
        ("steps:\n  a: {approval: {roles: []}}\n", ["WF105 5:7", "WF104 5:25"]),
        (f"mode: of\n{STEP}", ["WF104 4:7"]),
        (f"roles: boss\n{STEP}", ["WF104 4:8"]),
        (f"policies:\n  - {{call: a}}\n{STEP}", ["WF105 5:5"]),
        (f"policies:\n  - {{id: p, call: []}}\n{STEP}", ["WF104 5:19"]),
        (f"policies:\n  - {{id: p, call: a, at_mots: 1}}\n{STEP}", ["WF103 5:22"]),
        (f"steps:\n  a: {{tool: s.a}}\n{STEP}", ["WF102 6:1"]),
        ("steps:\n  a: &x {tool: s.a}\n  b: *x\n", ["WF106 5:6", "WF106 6:6", "WF104 6:6"]),
        ("rules: x\n", ["WF103 4:1"]),
        (f"shared: x\n{STEP}", ["WF103 4:1"]),
        (f"use: a.yaml\n{STEP}", ["WF116 4:6"]),
    ],
)
def test_mistakes_of_shape_and_their_places(body: str, expected: list[str]) -> None:
    assert sorted(found(body)) == sorted(expected)
    assert parse(body).definition is None


@pytest.mark.parametrize("source", ["", "# nothing\n", "[]", "text", "5", "- a"])
def test_a_file_that_is_no_mapping_is_one_finding(source: str) -> None:
    parsed = parse_workflow(source, "w.yaml")
    assert parsed.definition is None
    assert len(parsed.findings) == 1


def test_the_kind_of_a_file_is_said_by_one_of_three_keys() -> None:
    workflow = parse(STEP)
    rules = parse_workflow("mcpuppet: 1\nrules: r\nversion: 1.0.0\n", "r.yaml")
    shared = parse_workflow("mcpuppet: 1\nshared: s\nroles: [boss]\n", "s.yaml")
    assert isinstance(workflow.definition, WorkflowDefinition)
    assert isinstance(rules.definition, RulesDefinition)
    assert (shared.definition, shared.findings) == (None, ())
    assert shared.shared is not None
    assert shared.shared.roles == ["boss"]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("mcpuppet: 1\nsteps: {}\n", "WF105 1:1"),
        ("mcpuppet: 1\nworkflow: w\nrules: r\n", "WF103 3:1"),
        ("rules: r\nshared: s\nworkflow: w\n", "WF103 1:1"),
    ],
)
def test_a_file_of_no_kind_or_of_two_is_one_finding_that_names_the_keys(
    text: str, finding: str
) -> None:
    (one,) = parse_workflow(text, "w.yaml").findings
    assert f"{one.code.number} {one.place.line}:{one.place.column}" == finding
    assert "rules" in one.message
    assert "`workflow`" in one.message


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ("steps: {}\n", ["WF103 4:1"]),
        ("use: a.yaml\n", ["WF103 4:1"]),
        ("policies: [{call: a}]\n", ["WF105 4:12"]),
        ("roles: [Boss]\n", ["WF104 4:9"]),
        ("tools: {sets: {readers: [nodot]}}\n", ["WF104 4:26"]),
        ("tools: {allow: [s.a]}\n", ["WF103 4:9"]),
    ],
)
def test_mistakes_of_shape_in_a_shared_file(body: str, places: list[str]) -> None:
    parsed = parse_workflow(f"mcpuppet: 1\nshared: s\ndescription: d\n{body}", "s.yaml")
    assert parsed.shared is None
    assert [
        f"{one.code.number} {one.place.line}:{one.place.column}" for one in parsed.findings
    ] == places


def test_of_very_many_mistakes_of_shape_the_first_are_listed() -> None:
    findings = parse(STEP + "".join(f"key{number}: 1\n" for number in range(300))).findings
    assert len(findings) == MAX_FINDINGS + 1
    assert (findings[-1].code.number, findings[-1].place.line) == ("WF107", 106)
    assert "300 mistakes" in findings[-1].message


@pytest.mark.parametrize("version", ["2", "0", "'1'", "1.0.0", "[1]"])
def test_only_schema_version_1_is_read(version: str) -> None:
    parsed = parse_workflow(f"mcpuppet: {version}\nworkflow: w\nversion: 1.0.0\n{STEP}", "w.yaml")
    assert [f"{one.code.number} {one.place}" for one in parsed.findings] == ["WF104 w.yaml:1:11"]


@pytest.mark.parametrize(
    ("body", "help"),
    [
        ("steps:\n  a: {tol: s.a}\n", "did you mean 'tool'?"),
        ("steps:\n  a: {tool: s.a, finaly: true}\n", "did you mean 'finally'?"),
        (f"polices: []\n{STEP}", "did you mean 'policies'?"),
        (
            "steps:\n  a: {approval: {rols: [x], roles: [x], timeout: 1h}}\n",
            "did you mean 'roles'?",
        ),
        (
            "steps:\n  a: {tool: s.a, on: {failure: {rdo: a, redo: a, max: 1}}}\n",
            "did you mean 'redo'?",
        ),
        (f"policies:\n  - {{id: p, call: a, mutx: true}}\n{STEP}", "did you mean 'mutex'?"),
        (f"tools: {{alway: []}}\n{STEP}", "did you mean 'always'?"),
        ("steps:\n  a: {tool: s.a, compensate: {tool: s.b, arg: {}}}\n", "did you mean 'args'?"),
        (
            "steps:\n  a: {tool: s.a, repeat: {until: 'true', zzz: 1}}\n",
            "accepted keys: every, max, until",
        ),
    ],
)
def test_unknown_keys_name_the_one_that_was_meant(body: str, help: str) -> None:
    findings = parse(body).findings
    assert [one.code.number for one in findings] == ["WF103"]
    assert findings[0].help == help


def test_a_bad_duration_says_how_one_is_written() -> None:
    (one,) = parse("steps:\n  a: {tool: s.a, timeout: soon}\n").findings
    assert "500ms, 30s, 5m, 4h or 2d" in str(one.help)


def test_columns_inside_an_expression_are_those_of_the_file() -> None:
    body = "steps:\n  a:\n    tool: s.a\n    when: inputs.x > 1 && nothing(2)\n"
    (one,) = parse(body).findings
    assert str(one.place) == "w.yaml:7:27"


def test_an_expression_over_several_lines_is_placed_at_its_start() -> None:
    body = "steps:\n  a:\n    tool: s.a\n    when: >\n      inputs.x > 1 &&\n      nothing(2)\n"
    (one,) = parse(body).findings
    assert str(one.place) == "w.yaml:7:11"


def test_all_mistakes_are_reported_at_once() -> None:
    body = "steps:\n  a: {tool: nodot, timeout: x, zzz: 1}\n  b: {tool: s.b, when: '&&'}\n"
    assert sorted(one.split()[0] for one in found(body)) == ["WF103", "WF104", "WF108", "WF110"]


def test_what_is_shown_of_a_wrong_value_is_short() -> None:
    (one,) = parse(f"title: {{x: {'y' * 10_000}}}\n{STEP}").findings
    assert len(one.message) < 300
    for value in ("z" * 10_000, "9" * 30_000):
        for body in (
            f"workflow: {value}\n",
            f"steps:\n  a: {{tool: {value}}}\n",
            f"steps:\n  a: {{tool: s.a, timeout: {value}}}\n",
            f"steps:\n  a: {{tool: s.a, {value}: 1}}\n",
            f"roles: [{value}]\n{STEP}",
        ):
            assert all(len(str(one)) < 1_000 for one in parse(body).findings), body[:40]


@pytest.mark.parametrize("seed", range(20))
def test_spoiled_files_give_findings_and_never_an_exception(seed: int) -> None:
    rng = random.Random(seed)
    good = (
        HEAD
        + """inputs: {x: {type: integer, minimum: 0}}
steps:
  a: {tool: s.a, returns: {n: {type: number}}, retry: {attempts: 2, on: [error]}}
  b:
    needs: {a: [success, failure], join: any}
    approval: {roles: [boss], timeout: 1h, binds: [inputs.x]}
    when: inputs.x > 1 && steps.a.result.n < 0.5
policies:
  - {id: p, call: [a, "s.*"], at_most: 2, per: run}
"""
    )
    alphabet = "{}[]:,'\"&*!|>%@`#-? \n\t\x00\u2028é0a"
    for _ in range(60):
        text = list(good)
        for _ in range(rng.randint(1, 4)):
            text[rng.randrange(len(text))] = rng.choice(alphabet)
        parsed = parse_workflow("".join(text), "w.yaml")
        assert (parsed.definition is None) == bool(parsed.findings)
