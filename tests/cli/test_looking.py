"""What `sessions`, `show` and `approvals` tell, and that no text in it deceives."""

from __future__ import annotations

import json

import pytest
from support.fakes import FakeServers, succeeded
from support.project import SENDING, Project

from mcpuppet.orchestrator import Orchestrator

HOSTILE = (
    "[bold red]JP[/] :smile: \x1b[2J\x1b]0;gone\x07 \u202eevil\u2066 \u200bzero\r\nsecond [link=x]"
)


def test_sessions_are_listed_the_last_changed_first(project: Project) -> None:
    session, _ = project.asked()
    result = project.run("sessions", "--json")
    (row,) = json.loads(result.stdout)["sessions"]
    assert row["session_id"] == session
    assert (row["workflow"], row["status"]) == ("payment", "waiting_approval")
    assert set(row) == {
        "session_id",
        "principal",
        "workflow",
        "status",
        "records",
        "opened_at",
        "updated_at",
    }
    assert session in project.run("sessions").stdout
    assert project.run("sessions", "--status", "completed", "--json").stdout == (
        '{\n  "sessions": []\n}\n'
    )


def test_a_session_is_shown_with_all_that_waits(project: Project) -> None:
    session, approval = project.asked()
    document = json.loads(project.run("show", session, "--json").stdout)
    assert document["status"] == "waiting_approval"
    assert [(one["id"], one["status"]) for one in document["steps"]] == [
        ("ask", "awaiting_approval"),
        ("pay", "pending"),
    ]
    assert [one["approval_id"] for one in document["approvals"]] == [approval]
    page = project.run("show", session).stdout
    for part in (session, "payment 1.0.0", "awaiting_approval", approval, "bank.pay"):
        assert part in page


def test_what_is_held_is_shown_with_the_command_that_settles_it(project: Project) -> None:
    session, call = project.unsure()
    (held,) = json.loads(project.run("show", session, "--json").stdout)["held"]
    assert (held["target"], held["step"]) == (call, "send")
    page = project.run("show", session).stdout
    assert f"mcpuppet resolve {call} --happened | --did-not-happen" in page


def test_an_answer_that_came_late_is_shown_to_whoever_settles_the_call(project: Project) -> None:
    session, call = project.unsure()

    async def answer(orchestrator: Orchestrator, _: FakeServers) -> None:
        late = succeeded(receipt="R-77")
        await orchestrator.ledger.change(
            session, lambda progress: progress.came_late(call, late, 61.5)
        )

    project.play(SENDING, answer)
    (held,) = json.loads(project.run("show", session, "--json").stdout)["held"]
    assert held["late"] == 'the outcome came after 61.5 s: succeeded: {"receipt": "R-77"}'
    page = project.run("show", session).stdout
    assert "R-77" in page
    assert "counts for nothing until you say so" in " ".join(page.split())


def test_requests_are_shown_with_all_that_is_decided(project: Project) -> None:
    session, approval = project.asked()
    (one,) = json.loads(project.run("approvals", "--json").stdout)["approvals"]
    assert (one["approval_id"], one["session_id"]) == (approval, session)
    assert one["values"] == {"inputs.amount": 4200, "inputs.payee": "DE12 Jane"}
    (call,) = one["calls"]
    assert (call["tool"], call["step"]) == ("bank.pay", "pay")
    assert call["arguments"] == {"amount": 4200, "payee": "DE12 Jane"}
    assert (one["roles"], one["quorum"], one["approved_by"]) == (["boss"], 1, [])
    assert (one["requested_by"], one["bypass_roles"]) == ("agent", ["commander"])
    page = project.run("approvals").stdout
    for part in (approval, session, "bank.pay", "amount = 4200", "0 of 1", "agent", one["digest"]):
        assert part in page
    assert "in 3 h 59 min" in page


def test_a_long_value_is_shown_whole(project: Project) -> None:
    payee = "x" * 3000 + "END"
    project.asked(payee=payee)
    assert payee in project.run("approvals").stdout
    assert payee in project.run("approvals", COLUMNS="40").stdout


def test_without_requests_nothing_waits(project: Project) -> None:
    project.user("ann")
    assert project.run("approvals").stdout == "Nothing waits for a person.\n"
    assert json.loads(project.run("approvals", "--json").stdout) == {"approvals": []}


@pytest.mark.parametrize("command", ["approvals", "show", "approve", "report"])
@pytest.mark.parametrize("color", ["NO_COLOR", "FORCE_COLOR"])
def test_hostile_text_is_spelled_out(project: Project, command: str, color: str) -> None:
    session, approval = project.asked(payee=HOSTILE)
    token = project.user("ann")
    arguments = {
        "approvals": ("approvals",),
        "show": ("show", session),
        "approve": ("approve", approval, "--yes"),
        "report": ("report", session),
    }[command]
    result = project.run(*arguments, token=token, **{"NO_COLOR": "", color: "1"})
    output = result.stdout + result.stderr
    assert result.exit_code == 0
    flat = "".join(output.split())
    assert "[boldred]JP[/]:smile:" in flat
    assert "[link=x]" in flat
    for hidden in ("\x1b[2J", "\x1b]0", "\x07", "\u202e", "\u2066", "\u200b", "\r"):
        assert hidden not in output
    assert "\\u202e" in flat


def test_json_is_ascii_so_that_it_cannot_act_on_a_terminal(project: Project) -> None:
    session, _ = project.asked(payee=HOSTILE)
    for arguments in (("approvals",), ("show", session), ("report", session)):
        output = project.run(*arguments, "--json").stdout
        assert output.isascii()
        assert all(one.isprintable() for one in output.split("\n"))
        assert json.dumps(HOSTILE) in output


def test_watching_ends_with_the_run(project: Project) -> None:
    async def send(orchestrator: Orchestrator, _: FakeServers) -> str:
        session = (await orchestrator.start_workflow("sending", {})).session_id
        await orchestrator.call_tool(session, "post.send", {})
        return session

    session = project.play(SENDING, send)
    result = project.run("show", session, "--watch", "--json")
    assert result.exit_code == 0
    assert [json.loads(line)["status"] for line in result.stdout.splitlines()] == ["completed"]


@pytest.mark.parametrize("form", [("--json",), ()])
def test_watching_in_vain_times_out(project: Project, form: tuple[str, ...]) -> None:
    session, approval = project.asked()
    result = project.run("show", session, "--watch", "--timeout", "0.1", *form)
    assert result.exit_code == 4
    assert approval in result.stdout
    assert "has not ended within 0.1 s" in result.stderr


def test_an_unknown_session_is_said_in_a_sentence(project: Project) -> None:
    project.asked()
    for arguments in (("show", "nope"), ("report", "nope"), ("show", "nope", "--watch")):
        result = project.run(*arguments)
        assert result.exit_code == 2
        assert result.stderr == "error: no session 'nope'; `mcpuppet sessions` lists them\n"
