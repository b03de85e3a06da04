"""The settings file, and what it says about workflows together."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.gateway import tiny

from mcpuppet.app import load_configured
from mcpuppet.errors import InvalidInputError, InvalidWorkflowError
from mcpuppet.settings import load_settings

SERVERS = "servers: {a: {command: python}}\nworkflows: [one.yaml, two.yaml]\n"


def configured(folder: Path, settings: str) -> Path:
    (folder / "one.yaml").write_text(tiny("steps:\n  pay: {tool: a.pay}\n", "one"))
    (folder / "two.yaml").write_text(tiny("steps:\n  pay: {tool: a.pay}\n", "two"))
    path = folder / "mcpuppet.yaml"
    path.write_text(settings)
    return path


def test_a_tool_that_two_workflows_hold_is_a_finding_at_its_step(tmp_path: Path) -> None:
    with pytest.raises(InvalidWorkflowError) as raised:
        load_configured(load_settings(configured(tmp_path, SERVERS)))
    (finding,) = raised.value.findings
    assert finding.code.number == "WF210"
    assert str(finding.place) == f"{tmp_path / 'two.yaml'}:5:8"
    assert "agent may use a.pay in one as well" in finding.message


@pytest.mark.parametrize(
    "further",
    [
        "shared_tools: [a.pay]\n",
        "principals: {agent: {allowed_workflows: [one]}, other: {allowed_workflows: [two]}}\n",
    ],
)
def test_it_is_none_when_acknowledged_or_for_two_principals(tmp_path: Path, further: str) -> None:
    settings = load_settings(configured(tmp_path, SERVERS + further))
    assert set(load_configured(settings)[0]) == {"one", "two"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("servers: {a: {comand: x}}\n", ":1:15: WF103 error unknown-key"),
        ("servers: {a: {command: x, command: y}}\n", "WF102 error duplicate-key"),
        ("list_barrier: soon\n", ":1:15: WF108 error bad-duration"),
        ("surface: loud\n", ":1:10: WF104 error wrong-type"),
        ("principals: {agent: {roles: admin}}\n", "WF104 error wrong-type"),
    ],
)
def test_a_mistake_in_the_settings_has_a_place(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mcpuppet.yaml"
    path.write_text(text)
    with pytest.raises(InvalidWorkflowError, match=problem):
        load_settings(path)


@pytest.mark.parametrize(
    "further", ["default_workflow: none\n", "principals: {x: {allowed_workflows: [none]}}\n"]
)
def test_a_workflow_that_is_named_must_be_there(tmp_path: Path, further: str) -> None:
    settings = load_settings(configured(tmp_path, SERVERS + "shared_tools: [a.pay]\n" + further))
    with pytest.raises(InvalidInputError, match="none"):
        load_configured(settings)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load_settings(configured(tmp_path, SERVERS))
    assert settings.store == tmp_path / "mcpuppet.db"
    assert settings.workflows == (tmp_path / "one.yaml", tmp_path / "two.yaml")


RULES = """mcpuppet: 1
rules: free
version: 1.0.0
tools: {allow: [ALLOWED]}
"""


@pytest.mark.parametrize(("allowed", "count"), [("a.pay", 1), ("a.*", 0)])
def test_a_rules_file_that_names_what_a_workflow_orders_is_a_finding(
    tmp_path: Path, allowed: str, count: int
) -> None:
    settings = "servers: {a: {command: python}}\nworkflows: [one.yaml, free.yaml]\nrules: free\n"
    path = configured(tmp_path, settings)
    (tmp_path / "free.yaml").write_text(RULES.replace("ALLOWED", f"'{allowed}'"))
    if count == 0:
        assert set(load_configured(load_settings(path))[1]) == {"free"}
        return
    with pytest.raises(InvalidWorkflowError) as raised:
        load_configured(load_settings(path))
    (finding,) = raised.value.findings
    assert finding.code.number == "WF210"
    assert "free.yaml" in str(finding.place)
