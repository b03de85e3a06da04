"""Running a workflow without a client, while rules govern the session beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fakes import FakeServers
from support.gateway import ALICE, governed

pytestmark = pytest.mark.anyio

LINE = """
steps:
  first: {tool: a.first}
  second: {tool: a.second, needs: first}
"""
RULES = """
rules: r
version: 1.0.0
roles: [boss]
tools: {allow: ["bank.*", bank.read]}
"""
ASKING = (
    RULES
    + """
policies:
  - {id: ask-me, call: [a.second, bank.send], ask: {roles: [boss], timeout: 1h}}
"""
)


def servers() -> FakeServers:
    behind = FakeServers()
    for tool in ("bank.read", "bank.send"):
        behind.offer(tool)
    return behind


async def test_tools_that_only_rules_allow_are_never_called(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE, rules=RULES, servers=servers()) as (orchestrator, behind):
        result = await orchestrator.execute_workflow("tiny", "ses_1", {})
        assert result.status == "completed"
        assert [tool for tool, _ in behind.calls] == ["a.first", "a.second"]


async def test_a_step_that_rules_ask_about_waits_for_a_person_and_then_goes_on(
    tmp_path: Path,
) -> None:
    async with governed(tmp_path, LINE, rules=ASKING, servers=servers()) as (orchestrator, behind):
        result = await orchestrator.execute_workflow("tiny", "ses_1", {})
        assert result.status == "awaiting_approval"
        (approval_id,) = result.approvals
        view = await orchestrator.people.approval(approval_id)
        await orchestrator.people.approve(approval_id, ALICE, view.content)
        result = await orchestrator.execute_workflow("tiny", "ses_1", {})
        assert result.status == "completed"
        assert [tool for tool, _ in behind.calls] == ["a.first", "a.second"]


async def test_a_request_about_another_call_is_no_reason_to_wait(tmp_path: Path) -> None:
    policy = "{id: staff, call: second, roles: [worker]}"
    body = f"{LINE}roles: [worker]\npolicies: [{policy}]\n"
    async with governed(tmp_path, body, rules=ASKING, servers=servers()) as (orchestrator, _):
        await orchestrator.call_tool("ses_1", "bank.send", {})
        result = await orchestrator.execute_workflow("tiny", "ses_1", {})
        assert (result.status, result.approvals) == ("denied", ())
