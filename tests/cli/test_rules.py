"""What people see of rules at the command line: requests, near-misses, facts and inputs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.fakes import FakeServers, succeeded
from support.gateway import ALICE
from support.project import SENDING, Project

from mcpuppet.orchestrator import Orchestrator

RULES = """
rules: bank
version: 1.0.0
roles: [boss, auditor]
given: inputs_before_first_result
inputs:
  payees: {type: array, items: {type: string}}
tools: {allow: [bank.read, bank.send]}
facts:
  known: {from: bank.read, take: "result.names[]", max: 10}
policies:
  - id: new-payee
    call: bank.send
    ask: {roles: [boss], timeout: 4h, show: [args.to]}
    unless: given(args.to)
"""
TWO = (
    RULES
    + """
  - id: large
    call: bank.send
    ask: {roles: [auditor], timeout: 4h}
    unless: args.amount < 10
"""
)
OBSERVING = RULES + "mode: observe\n"
HOSTILE = "mallory \x1b[2J \u202eevil"


def servers() -> FakeServers:
    behind = FakeServers()
    behind.offer("bank.read", lambda _: succeeded(names=["mallory", HOSTILE]))
    behind.offer("bank.send")
    return behind


def called(project: Project, *calls: dict[str, Any], rules: str = RULES) -> str:
    """A session that has read the names and then made these payments; gives its id."""

    async def work(orchestrator: Orchestrator, _: FakeServers) -> str:
        await orchestrator.call_tool("ses_bank", "bank.read", {})
        for arguments in calls:
            await orchestrator.call_tool("ses_bank", "bank.send", arguments)
        return "ses_bank"

    return project.play(None, work, rules, servers())


def paid(project: Project, rules: str = RULES, **arguments: Any) -> str:
    """What becomes of a payment that the model asks for now."""

    async def pay(orchestrator: Orchestrator, _: FakeServers) -> str:
        return (await orchestrator.call_tool("ses_bank", "bank.send", arguments)).status

    return project.play(None, pay, rules, servers())


def request(project: Project) -> dict[str, Any]:
    (one,) = json.loads(project.run("approvals", "--json").stdout)["approvals"]
    found: dict[str, Any] = one
    return found


def test_a_request_shows_the_call_who_decides_and_where_its_values_come_from(
    project: Project,
) -> None:
    called(project, {"to": "mallory", "amount": 5}, rules=TWO.replace("amount < 10", "amount < 1"))
    one = request(project)
    assert one["policies"] == {"new-payee": ["boss"], "large": ["auditor"]}
    seen = "first seen in the result of bank.read; not declared at the start"
    assert one["seen"]["args.to"] == seen
    page = project.run("approvals").stdout
    for part in ("bank.send", 'to = "mallory"', "amount = 5", "new-payee, by boss", seen):
        assert part in page
    assert "large, by auditor" in page


def test_where_a_value_comes_from_is_shown_before_it_is_decided(project: Project) -> None:
    session = called(project, {"to": "mallory"})
    result = project.run(
        "approve", request(project)["approval_id"], "--yes", token=project.user("ann")
    )
    assert "first seen in the result of bank.read" in result.stderr
    assert result.stderr.index("first seen") < result.stderr.index("digest")
    assert "agreed by ann for new-payee. bank.send may be called once" in result.stdout
    assert "agreed      bank.send" in project.run("show", session).stdout
    assert paid(project, to="mallory") == "succeeded"
    assert paid(project, to="mallory") == "awaiting_approval"


def test_each_policy_needs_somebody_with_its_role(project: Project) -> None:
    called(project, {"to": "mallory", "amount": 50}, rules=TWO)
    approval = request(project)["approval_id"]
    first = project.run("approve", approval, "--yes", token=project.user("ann"))
    assert "agreed by ann for new-payee; others must agree too (large)." in first.stdout
    assert paid(project, TWO, to="mallory", amount=50) == "awaiting_approval"
    project.run("approve", approval, "--yes", token=project.user("bob", "auditor"))
    assert paid(project, TWO, to="mallory", amount=50) == "succeeded"


def test_a_denial_stands_and_is_shown(project: Project) -> None:
    session = called(project, {"to": "mallory"})
    approval = request(project)["approval_id"]
    result = project.run("deny", approval, "--reason", "who?", token=project.user("ann"))
    assert result.exit_code == 0, result.stderr
    assert paid(project, to="mallory") == "denied"
    shown = json.loads(project.run("show", session, "--json").stdout)
    assert [(one["status"], one["reason"]) for one in shown["decided"]] == [("rejected", "who?")]


def test_a_session_tells_its_rules_inputs_and_facts(project: Project) -> None:
    async def declare(orchestrator: Orchestrator, _: FakeServers) -> None:
        await orchestrator.start_workflow("bank", {"payees": ["dora"]}, session_id="ses_bank")

    project.play(None, declare, RULES, servers())
    before = json.loads(project.run("show", "ses_bank", "--json").stdout)
    assert before["rules"]["inputs"] == {"payees": ["dora"]}
    assert [(one["fact"], one["known"]) for one in before["facts"]] == [("known", False)]
    assert "not known yet: call bank.read first" in project.run("show", "ses_bank").stdout
    called(project)
    (fact,) = json.loads(project.run("show", "ses_bank", "--json").stdout)["facts"]
    assert (fact["known"], fact["values"]) == (True, ["mallory", HOSTILE])
    page = project.run("show", "ses_bank").stdout
    for part in ("bank 1.0.0", 'payees = ["dora"]', "bank/known: 2 values", "Legal now: bank.read"):
        assert part in page


def test_a_person_opens_locked_inputs_again(project: Project) -> None:
    session = called(project)
    assert "mcpuppet reopen" in project.run("show", session).stdout
    token = project.user("ann")
    blank = project.run("reopen", session, "--note", " ", token=token)
    assert (blank.exit_code, "note" in blank.stderr) == (2, True)
    done = project.run("reopen", session, "--note", "she named them", token=token)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"{session}: inputs reopened by ann.")
    assert json.loads(project.run("show", session, "--json").stdout)["rules"]["locked"] is False
    assert "InputsReopened" in project.kinds(session)


@pytest.mark.parametrize("token", ["", "mcpp_guessed"])
def test_an_agents_shell_cannot_open_inputs_again(project: Project, token: str) -> None:
    session = called(project)
    project.user("ann")
    result = project.run("reopen", session, "--note", "please", token=token)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "InputsReopened" not in project.kinds(session)


def test_reopening_an_unknown_session_is_said_in_a_sentence(project: Project) -> None:
    called(project)
    result = project.run("reopen", "nobody", "--note", "x", token=project.user("ann"))
    assert (result.exit_code, "no session 'nobody'" in result.stderr) == (2, True)


def test_only_sessions_with_calls_that_would_have_been_denied_are_listed(project: Project) -> None:
    assert json.loads(_would_deny_after_plain_call(project)) == {"sessions": []}
    session = called(project, {"to": "a"}, {"to": "b"}, rules=OBSERVING)
    (row,) = json.loads(project.run("sessions", "--would-deny", "--json").stdout)["sessions"]
    assert row["session_id"] == session
    assert row["would_have_denied"] == {
        "calls": 2,
        "rules": [{"book": "bank", "rule": "new-payee", "calls": 2}],
    }
    page = project.run("sessions", "--would-deny").stdout
    assert "bank/new-payee 2" in page
    assert "ses_other" not in page
    assert json.loads(
        project.run("sessions", "--would-deny", "--json", "--status", "active").stdout
    ) == {"sessions": []}
    shown = json.loads(project.run("show", session, "--json").stdout)
    assert shown["would_have_denied"] == row["would_have_denied"]
    assert "2 calls made all the same (bank/new-payee 2)" in project.run("show", session).stdout


def _would_deny_after_plain_call(project: Project) -> str:
    async def send(orchestrator: Orchestrator, _: FakeServers) -> None:
        # An argument that looks like the mark of such a call is none.
        look = {"would_have_denied": [{"book": "b", "rule": "r", "reason": "x"}]}
        await orchestrator.start_workflow("sending", {}, session_id="ses_other")
        await orchestrator.call_tool("ses_other", "post.send", look)

    project.play(SENDING, send)
    return project.run("sessions", "--would-deny", "--json").stdout


def test_the_report_tells_of_rules_requests_and_facts(project: Project) -> None:
    async def work(orchestrator: Orchestrator, _: FakeServers) -> str:
        people, session = orchestrator.people, "ses_bank"
        await orchestrator.call_tool(session, "bank.read", {})
        await orchestrator.call_tool(session, "bank.send", {"to": "mallory"})
        (view,) = await people.approvals()
        await people.approve(view.approval_id, ALICE, view.content)
        await orchestrator.call_tool(session, "bank.send", {"to": "mallory"})
        await people.reopen_inputs(session, ALICE, "she named them")
        return session

    report = project.run("report", project.play(None, work, RULES, servers()))
    assert report.exit_code == 0, report.stdout
    for part in (
        "bank 1.0.0",
        "inputs reopened",
        "she named them",
        "bank.send: used",
        "policy new-payee: boss",
        "first seen in the result of bank.read",
        "for new-payee",
        "bank/known",
        "free",
    ):
        assert part in report.stdout, part


def test_near_misses_are_reported_with_rule_and_reason(project: Project) -> None:
    session = called(project, {"to": "a"}, {"to": "b"}, rules=OBSERVING)
    page = project.run("report", session).stdout
    assert "Would have been denied" in page
    assert "bank/new-payee: `given(args.to)` does not hold" in " ".join(page.split())
    assert "Calls that would have been denied: 2 (bank/new-payee 2)" in page
    figures = json.loads(project.run("report", session, "--json").stdout)["figures"]
    assert figures["overall"]["would_have_denied"] == 2
    assert figures["would_have_denied"] == [{"book": "bank", "rule": "new-payee", "calls": 2}]


@pytest.mark.parametrize("command", ["approvals", "show", "approve", "report", "sessions"])
def test_hostile_text_in_a_call_is_spelled_out(project: Project, command: str) -> None:
    session = called(project, {"to": HOSTILE})
    token = project.user("ann")
    arguments = {
        "approvals": ("approvals",),
        "show": ("show", session),
        "approve": ("approve", request(project)["approval_id"], "--yes"),
        "report": ("report", session),
        "sessions": ("sessions", "--would-deny"),
    }[command]
    result = project.run(*arguments, token=token)
    output = result.stdout + result.stderr
    assert result.exit_code == 0
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert command == "sessions" or "\\u202eevil" in output
