"""`mcpuppet audit disclose` and `audit erase`: who may, what is recorded, and what is left."""

from __future__ import annotations

import json

import pytest
from support.fakes import FakeServers
from support.project import Project

from mcpuppet.orchestrator import Orchestrator

WORKFLOW = """mcpuppet: 1
workflow: signup
version: 1.0.0
inputs:
  email: {type: string, redact: true}
steps:
  create: {tool: crm.create, args: {email: {equals: inputs.email}}}
"""
EMAIL = "jane.roe@example.com"


@pytest.fixture
def session(project: Project) -> str:
    """A session whose records hold one hidden value."""

    async def sign_up(orchestrator: Orchestrator, _: FakeServers) -> str:
        view = await orchestrator.start_workflow("signup", {"email": EMAIL})
        await orchestrator.call_tool(view.session_id, "crm.create", {"email": EMAIL})
        return view.session_id

    return project.play(WORKFLOW, sign_up)


def test_values_are_disclosed_to_an_auditor_and_that_is_recorded(
    project: Project, session: str
) -> None:
    token = project.user("otto", "auditor")
    result = project.run(
        "audit", "disclose", session, "--all", "--reason", "complaint", "--json", token=token
    )
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)["values"]
    assert list(values.values()) == [EMAIL]
    assert "1 value disclosed, and recorded" in result.stderr
    (commitment,) = values
    one = project.run(
        "audit", "disclose", session, commitment[:8], "--reason", "again", token=token
    )
    assert one.stdout == f'{commitment} "{EMAIL}"\n'


def test_nobody_else_is_told_anything(project: Project, session: str) -> None:
    project.user("ada", "admin")
    token = project.user("ann", "boss")
    arguments = ("audit", "disclose", session, "--all", "--reason", "curious")
    for given in (token, "mcpp_wrong"):
        refused = project.run(*arguments, token=given)
        assert refused.exit_code == 1
        assert EMAIL not in refused.output


def test_an_erasure_is_asked_about_and_leaves_a_trail_that_verifies(
    project: Project, session: str
) -> None:
    token = project.user("ada", "admin")
    arguments = ("audit", "erase", session, "--all", "--reason", "forget me")
    unsure = project.run(*arguments, token=token)
    assert unsure.exit_code == 1
    assert "nothing was erased; --yes erases" in unsure.stderr
    result = project.run(*arguments, "--yes", token=token)
    assert result.exit_code == 0, result.stderr
    assert f"1 value erased, and recorded in session {session}" in result.stderr
    assert project.run("audit", "verify").exit_code == 0
    again = project.run(*arguments, "--yes", token=token)
    assert "holds no value" in again.stderr
    for file in project.folder.glob("mcpuppet.db*"):
        if file.is_file():
            assert EMAIL.encode() not in file.read_bytes()


def test_an_auditor_may_not_erase(project: Project, session: str) -> None:
    project.user("ada", "admin")
    token = project.user("otto", "auditor")
    refused = project.run(
        "audit", "erase", session, "--all", "--reason", "no", "--yes", token=token
    )
    assert refused.exit_code == 1
    assert "role admin" in refused.stderr


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ((), "name the values"),
        (("--all", "12345678"), "name the values"),
        (("123",), "first 8"),
        (("ffffffffffff",), "no value is kept"),
    ],
)
def test_what_is_to_be_disclosed_has_to_be_named(
    project: Project, session: str, given: tuple[str, ...], what: str
) -> None:
    token = project.user("otto", "auditor")
    refused = project.run("audit", "disclose", session, *given, "--reason", "r", token=token)
    assert refused.exit_code == 2
    assert what in refused.stderr


def test_a_session_that_does_not_exist_is_said_to_be_unknown(
    project: Project, session: str
) -> None:
    token = project.user("otto", "auditor")
    result = project.run("audit", "disclose", "nope", "--all", "--reason", "r", token=token)
    assert result.exit_code == 2
    assert "nope" in result.stderr
