"""`mcpuppet validate`: findings, formats and exit codes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from support.project import Project

SARIF = json.loads(
    (Path(__file__).parents[1] / "data" / "sarif-schema-2.1.0.json").read_text(encoding="utf-8")
)
"""The schema of OASIS, SARIF 2.1.0 with errata 01."""

IDLE = 'policies: [{id: idle, call: "nobody.*", at_most: 1, per: session}]'
GOOD = "mcpuppet: 1\nworkflow: good\nversion: 1.0.0\nsteps:\n  only: {tool: bank.pay}\n"
BAD = """mcpuppet: 1
workflow: bad
version: 1.0.0
steps:
  pay: {tool: bank.pay, needs: chek}
  check: {tool: bank.check, timout: 3s}
"""


@pytest.fixture(autouse=True)
def _outside_github(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("GITHUB_ACTIONS", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(variable, raising=False)


def put(project: Project, **files: str) -> None:
    (project.folder / "workflows").mkdir()
    for name, text in files.items():
        (project.folder / "workflows" / f"{name}.yaml").write_text(text)


def test_workflows_without_findings_pass(project: Project) -> None:
    put(project, good=GOOD)
    result = project.run("validate")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "1 file: no errors, no warnings\n"


def test_every_finding_of_every_file_is_listed_with_its_place(project: Project) -> None:
    put(project, bad=BAD, worse="workflow: [", good=GOOD)
    result = project.run("validate")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"""\
error[WF103]: steps.check has no key 'timout'
 --> {Path("workflows", "bad.yaml")}:6:29
5 |   pay: {{tool: bank.pay, needs: chek}}
6 |   check: {{tool: bank.check, timout: 3s}}
  |                             ^^^^^^
  = help: did you mean 'timeout'?

""")
    assert "worse.yaml:1:" in result.stdout
    assert "3 files: " in result.stderr


def test_concise_is_one_line_for_each_finding(project: Project) -> None:
    put(project, bad=BAD)
    (line,) = project.run("validate", "-f", "concise").stdout.splitlines()
    place = f"{Path('workflows', 'bad.yaml')}:6:29"
    assert line == f"{place}: WF103 error unknown-key: steps.check has no key 'timout'"


@pytest.mark.parametrize("option", [("--json",), ("--format", "json")])
def test_json_has_every_part_of_a_finding(project: Project, option: tuple[str, ...]) -> None:
    put(project, bad=BAD)
    result = project.run("validate", *option)
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (document["ok"], document["files"], document["ignored"]) == (False, 1, {})
    assert document["findings"] == [
        {
            "file": str(Path("workflows", "bad.yaml")),
            "line": 6,
            "column": 29,
            "code": "WF103",
            "slug": "unknown-key",
            "severity": "error",
            "message": "steps.check has no key 'timout'",
            "help": "did you mean 'timeout'?",
            "trace": [],
        }
    ]


def test_tools_are_checked_against_the_servers_of_the_settings_that_are_named(
    project: Project,
) -> None:
    put(project, good=GOOD)
    (project.folder / "mcpuppet.yaml").write_text("servers: {banks: {command: bank}}\n")
    assert project.run("validate").exit_code == 0
    result = project.run("validate", "--config", "mcpuppet.yaml")
    assert result.exit_code == 1
    assert "WF205" in result.stdout


def test_warnings_fail_only_when_strict(project: Project) -> None:
    put(project, good=f"{GOOD}{IDLE}\n")
    lenient, strict = project.run("validate"), project.run("validate", "--strict")
    assert (lenient.exit_code, strict.exit_code) == (0, 1)
    assert "warning[WF511]: policy 'idle' limits nothing" in lenient.stdout
    assert lenient.stderr == "1 file: 1 warning\n"


def test_what_is_not_there_cannot_pass(project: Project) -> None:
    (project.folder / "empty").mkdir()
    for path, problem in (("missing", "does not exist"), ("empty", "holds no workflow")):
        result = project.run("validate", path)
        assert result.exit_code == 2
        assert problem in result.stderr


def test_nothing_in_a_file_acts_on_the_terminal(project: Project) -> None:
    put(project, bad=GOOD + '"\\e[31m[red]\\u202Ekey": 1\n')
    result = project.run("validate")
    assert result.exit_code == 1
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert "[red]" in result.stdout


def test_what_a_comment_ignores_is_counted(project: Project) -> None:
    put(project, good=f"{GOOD}{IDLE} # mcpuppet: ignore[WF511] nobody comes next month\n")
    result = project.run("validate", "--strict")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "1 file: no errors, no warnings; 1 finding ignored\n"
    assert json.loads(project.run("validate", "--json").stdout)["ignored"] == {"WF511": 1}


def test_inside_github_actions_findings_become_annotations(project: Project) -> None:
    put(project, bad=BAD)
    by_itself = project.run("validate", GITHUB_ACTIONS="true").stdout
    assert by_itself == project.run("validate", "-f", "github").stdout
    assert by_itself.startswith("::error title=WF103 unknown-key,file=workflows/bad.yaml,line=6,")
    asked = project.run("validate", "-f", "concise", GITHUB_ACTIONS="true").stdout
    assert "::error" not in asked


def test_annotations_name_files_from_the_top_of_the_checkout(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(project, bad=BAD)
    monkeypatch.chdir(project.folder / "workflows")
    top = str(project.folder)
    said = project.run("validate", "bad.yaml", "-f", "github", GITHUB_WORKSPACE=top).stdout
    assert "file=workflows/bad.yaml," in said


def test_the_sarif_log_fits_the_published_schema(project: Project) -> None:
    put(project, bad=BAD, good=f"{GOOD}{IDLE}\n", worse="workflow: [", empty="")
    result = project.run("validate", "-f", "sarif")
    log = json.loads(result.stdout)
    jsonschema.Draft4Validator(SARIF).validate(log)
    found = [(one["ruleId"], one["level"]) for one in log["runs"][0]["results"]]
    assert ("WF103", "error") in found
    assert ("WF511", "warning") in found
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    for one in log["runs"][0]["results"]:
        assert rules[one["ruleIndex"]]["id"] == one["ruleId"]


def test_junit_has_a_suite_for_every_file(project: Project) -> None:
    put(project, bad=BAD, good=GOOD)
    root = ElementTree.fromstring(project.run("validate", "-f", "junit").stdout)
    counts = {one.get("name"): one.get("failures") for one in root.iter("testsuite")}
    assert counts == {
        str(Path("workflows", "bad.yaml")): "1",
        str(Path("workflows", "good.yaml")): "0",
    }


def test_junit_fails_where_the_command_fails(project: Project) -> None:
    put(project, good=f"{GOOD}{IDLE}\n")
    for options, failures in (((), 0), (("--strict",), 1)):
        result = project.run("validate", "-f", "junit", *options)
        assert len(list(ElementTree.fromstring(result.stdout).iter("failure"))) == failures
        assert result.exit_code == failures


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names there are text")
@pytest.mark.parametrize("form", ["full", "concise", "json", "github", "sarif", "junit"])
def test_a_file_may_be_named_with_any_bytes(project: Project, form: str) -> None:
    name = os.fsdecode(b"\xff\x1b[31m, :%.yaml")
    (project.folder / name).write_text(BAD)
    result = project.run("validate", name, "-f", form)
    assert result.exit_code == 1, result.output
    assert "WF103" in result.stdout
    assert "\x1b" not in result.stdout
    result.stdout.encode("utf-8")
    if form == "sarif":
        log = json.loads(result.stdout)
        jsonschema.Draft4Validator(SARIF).validate(log)
        place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "%FF%1B%5B31m%2C%20%3A%25.yaml"
