"""`mcpuppet validate` with settings: pinned tools, tools that servers offer now, and people."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from support.listing_server import SERVER
from support.project import Project

AMOUNT = {"type": "object", "properties": {"amount": {"type": "number"}}}
PAY: dict[str, Any] = {"name": "pay", "description": "Pay.", "inputSchema": AMOUNT}
WORKFLOW = """mcpuppet: 1
workflow: paying
version: 1.0.0
steps:
  pay: {tool: bank.pay, args: {amount: {type: number}}}
"""


@pytest.fixture(name="bank")
def _bank(project: Project) -> Project:
    (project.folder / "bank.py").write_text(SERVER)
    server = {"command": sys.executable, "args": ["bank.py", "tools.json"], "cwd": "."}
    (project.folder / "mcpuppet.yaml").write_text(json.dumps({"servers": {"bank": server}}))
    (project.folder / "workflows").mkdir(exist_ok=True)
    (project.folder / "workflows" / "paying.yaml").write_text(WORKFLOW)
    offer(project, PAY)
    return project


def offer(project: Project, *tools: dict[str, Any]) -> None:
    (project.folder / "tools.json").write_text(json.dumps(tools))


def found(project: Project, *arguments: str) -> tuple[int, list[str]]:
    """The exit code of `validate` and the codes that it reports."""
    result = project.run("validate", *arguments, "--json")
    return result.exit_code, [one["code"] for one in json.loads(result.stdout)["findings"]]


def test_servers_are_started_and_their_tools_compared(bank: Project) -> None:
    assert found(bank, "--servers") == (0, [])
    offer(bank, {**PAY, "name": "transfer"})
    assert found(bank, "--servers") == (1, ["WF205"])
    assert found(bank) == (0, []), "without --servers nothing is started"


def test_an_argument_of_another_type_is_found(bank: Project) -> None:
    of_text = {"type": "object", "properties": {"amount": {"type": "string"}}}
    offer(bank, {**PAY, "inputSchema": of_text})
    assert found(bank, "--servers") == (1, ["WF207"])


def test_pinned_tools_are_compared_without_starting_anything(bank: Project) -> None:
    assert bank.run("pin").exit_code == 0
    offer(bank)
    (bank.folder / "workflows" / "paying.yaml").write_text(WORKFLOW.replace("amount:", "amuont:"))
    assert found(bank, "-c", "mcpuppet.yaml") == (1, ["WF206"])


def test_a_tool_that_changed_since_it_was_pinned_is_found(bank: Project) -> None:
    assert bank.run("pin").exit_code == 0
    offer(bank, {**PAY, "description": "Pay, and tell everybody."})
    assert found(bank, "--servers") == (1, ["WF702"])
    assert bank.run("pin", "--accept").exit_code == 0
    assert found(bank, "--servers") == (0, [])


def test_a_server_that_does_not_answer_is_named_and_fails(bank: Project) -> None:
    (bank.folder / "bank.py").write_text("raise SystemExit('no money')")
    result = bank.run("validate", "--servers")
    assert result.exit_code == 1
    assert "bank" in result.stderr


def test_a_quorum_of_more_people_than_hold_the_role_is_found(bank: Project) -> None:
    approval = "  ask: {approval: {roles: [boss], quorum: 2, timeout: 1h}}\n"
    workflow = WORKFLOW.replace("pay: {", "pay: {needs: ask, ") + approval
    workflow = workflow.replace("steps:", "roles: [boss]\nsteps:")
    (bank.folder / "workflows" / "paying.yaml").write_text(workflow)
    assert "WF502" not in found(bank, "-c", "mcpuppet.yaml")[1], "nobody is known yet"
    added = bank.run("user", "add", "ann", "--role", "boss", "-c", "mcpuppet.yaml")
    assert added.exit_code == 0, added.stderr
    code, codes = found(bank, "-c", "mcpuppet.yaml")
    assert code == 1
    assert "WF502" in codes
