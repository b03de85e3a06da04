"""`mcpuppet validate`: findings, formats and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.project import Project

GOOD = "mcpuppet: 1\nworkflow: good\nversion: 1.0.0\nsteps:\n  only: {tool: bank.pay}\n"
BAD = """mcpuppet: 1
workflow: bad
version: 1.0.0
steps:
  pay: {tool: bank.pay, needs: chek}
  check: {tool: bank.check, timout: 3s}
"""


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
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert lines[0] == (
        f"{Path('workflows', 'bad.yaml')}:6:29: WF103 error unknown-key: "
        "steps.check has no key 'timout'"
    )
    assert lines[1] == "    help: did you mean 'timeout'?"
    assert any("worse.yaml" in line for line in lines)
    assert "3 files: " in result.stderr


def test_concise_leaves_out_the_help(project: Project) -> None:
    put(project, bad=BAD)
    lines = project.run("validate", "-f", "concise").stdout.splitlines()
    assert len(lines) == 1
    assert "WF103 error" in lines[0]


@pytest.mark.parametrize("option", [("--json",), ("--format", "json")])
def test_json_has_every_part_of_a_finding(project: Project, option: tuple[str, ...]) -> None:
    put(project, bad=BAD)
    result = project.run("validate", *option)
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (document["ok"], document["files"]) == (False, 1)
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
    put(project, good=GOOD + 'policies: [{id: idle, call: "nobody.*", at_most: 1, per: run}]\n')
    lenient, strict = project.run("validate"), project.run("validate", "--strict")
    assert (lenient.exit_code, strict.exit_code) == (0, 1)
    assert "WF511 warning policy-never-applies" in lenient.stdout
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
