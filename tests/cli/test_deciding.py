"""What people decide at the command line, and that nobody else can."""

from __future__ import annotations

import json

import pytest
from support.fakes import FakeServers
from support.project import PAYMENT, PAYMENT_BY_TWO, Project

from mcpuppet.orchestrator import Orchestrator

VALUES = {"amount": 4200, "payee": "DE12 Jane"}


def status_of_paying(project: Project, session: str, workflow: str = PAYMENT) -> tuple[str, int]:
    """What becomes of the payment when the model calls again, and how many calls were sent."""

    async def pay(orchestrator: Orchestrator, servers: FakeServers) -> tuple[str, int]:
        answer = await orchestrator.call_tool(session, "bank.pay", VALUES)
        return answer.status, len(servers.calls)

    return project.play(workflow, pay)


def test_an_approval_given_in_another_terminal_lets_the_call_through(project: Project) -> None:
    session, approval = project.asked()
    result = project.run("approve", approval, "--yes", token=project.user("ann"))
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{approval}: approved by ann. Legal now: bank.pay.\n"
    assert status_of_paying(project, session) == ("succeeded", 1)


def test_the_request_is_shown_before_it_is_approved(project: Project) -> None:
    _, approval = project.asked()
    shown = project.run("approve", approval, "--yes", token=project.user("ann")).stderr
    for part in (approval, "bank.pay", "amount = 4200", 'payee = "DE12 Jane"', "0 of 1", "boss"):
        assert part in shown


def test_a_quorum_needs_that_many_people(project: Project) -> None:
    session, approval = project.asked(PAYMENT_BY_TWO)
    ann, bob = project.user("ann"), project.user("bob")
    first = project.run("approve", approval, "--yes", token=ann)
    assert "approved by ann (1 of 2)" in first.stdout
    assert status_of_paying(project, session, PAYMENT_BY_TWO) == ("awaiting_approval", 0)
    again = project.run("approve", approval, "--yes", token=ann)
    assert again.exit_code == 1
    assert "others must too" in again.stderr
    assert project.run("approve", approval, "--yes", token=bob).exit_code == 0
    assert status_of_paying(project, session, PAYMENT_BY_TWO) == ("succeeded", 1)


def test_a_request_is_approved_by_its_digest_without_a_terminal(project: Project) -> None:
    _, approval = project.asked()
    token = project.user("ann")
    (request,) = json.loads(project.run("approvals", "--json").stdout)["approvals"]
    result = project.run("approve", approval, "--digest", request["digest"], token=token)
    assert result.exit_code == 0, result.stderr


def test_another_digest_is_refused(project: Project) -> None:
    session, approval = project.asked()
    before = project.kinds(session)
    result = project.run("approve", approval, "--digest", "0" * 64, token=project.user("ann"))
    assert result.exit_code == 1
    assert "shows something else by now" in result.stderr
    assert project.kinds(session) == [*before, "DecisionRefused"]


def test_nothing_is_approved_unseen_where_nobody_can_be_asked(project: Project) -> None:
    session, approval = project.asked()
    before = project.kinds(session)
    result = project.run("approve", approval, token=project.user("ann"))
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert project.kinds(session) == before


def test_a_person_without_the_role_is_refused(project: Project) -> None:
    session, approval = project.asked()
    before = project.kinds(session)
    result = project.run("approve", approval, "--yes", token=project.user("eve", "intern"))
    assert result.exit_code == 1
    assert "lacks the role boss" in result.stderr
    assert project.kinds(session) == [*before, "DecisionRefused"]


def test_an_approval_that_is_not_open_cannot_be_decided(project: Project) -> None:
    _, approval = project.asked()
    token = project.user("ann")
    project.run("deny", approval, "--reason", "too much", token=token)
    for arguments in (("approve", approval, "--yes"), ("deny", approval, "--reason", "no")):
        result = project.run(*arguments, token=token)
        assert result.exit_code == 2
        assert "is open" in result.stderr


def test_a_bypass_needs_its_role_and_a_justification(project: Project) -> None:
    session, approval = project.asked()
    token = project.user("kim", "commander")
    bare = project.run("approve", approval, "--yes", "--bypass", token=token)
    assert bare.exit_code == 2
    assert "go together" in bare.stderr
    arguments = ("approve", approval, "--yes", "--bypass", "--justification")
    short = project.run(*arguments, "because", token=token)
    assert short.exit_code == 2
    assert "at least 20 characters" in short.stderr
    boss = project.run(*arguments, "the bank closes in a minute", token=project.user("ann"))
    assert boss.exit_code == 1
    done = project.run(*arguments, "the bank closes in a minute", token=token)
    assert done.exit_code == 0
    assert "bypassed by kim" in done.stdout
    assert "Bypassed" in "".join(project.kinds(session))


def test_a_denial_ends_the_request_with_its_reason(project: Project) -> None:
    session, approval = project.asked()
    result = project.run("deny", approval, "--reason", "wrong payee", token=project.user("ann"))
    assert result.exit_code == 0
    assert f"{approval}: denied by ann." in result.stdout
    assert "wrong payee" in project.run("report", session, "--json").stdout
    assert status_of_paying(project, session) == ("denied", 0)


def test_a_person_ends_a_run(project: Project) -> None:
    session, _ = project.asked()
    token = project.user("ann")
    result = project.run("cancel", session, "--reason", "not today", token=token)
    assert result.exit_code == 0
    shown = json.loads(project.run("show", session, "--json").stdout)
    assert (shown["status"], shown["end_reason"]) == ("cancelled", "not today")
    assert project.run("cancel", session, token=token).exit_code == 2


@pytest.mark.parametrize("form", ["call alone", "session and call", "option"])
def test_a_person_settles_a_call_of_unknown_outcome(project: Project, form: str) -> None:
    session, call = project.unsure()
    words = {
        "call alone": (call,),
        "session and call": (session, call),
        "option": (call, "--session", session),
    }
    token = project.user("ann")
    result = project.run("resolve", *words[form], "--happened", "--note", "seen", token=token)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{call}: happened, says ann.")
    assert json.loads(project.run("show", session, "--json").stdout)["status"] == "completed"


def test_a_call_that_did_not_happen_may_be_made_again(project: Project) -> None:
    session, call = project.unsure()
    result = project.run("resolve", call, "--did-not-happen", token=project.user("ann"))
    assert result.exit_code == 0
    assert f"{call}: did not happen, says ann." in result.stdout
    assert json.loads(project.run("show", session, "--json").stdout)["held"] == []


def test_what_does_not_wait_cannot_be_settled(project: Project) -> None:
    session, _ = project.unsure()
    token = project.user("ann")
    for words, problem in (
        (("call_99",), "no call 'call_99' waits"),
        (("send",), "a step needs its session"),
        ((session, "nothing"), "does not wait to be settled"),
        (("nobody", "call_99"), "no session 'nobody'"),
        ((session, "one", "two"), "one call or step at a time"),
        ((session, "one", "--session", session), "one call or step at a time"),
    ):
        result = project.run("resolve", *words, "--happened", token=token)
        assert result.exit_code == 2, words
        assert problem in result.stderr


def test_whether_it_happened_must_be_said(project: Project) -> None:
    _, call = project.unsure()
    result = project.run("resolve", call, token=project.user("ann"))
    assert result.exit_code == 2
    assert "--happened" in result.stderr


@pytest.mark.parametrize("token", ["", "mcpp_guessed", "mcpp_\udcff"])
def test_an_agents_shell_without_a_token_gets_nowhere(project: Project, token: str) -> None:
    session, approval = project.asked()
    project.user("ann")
    before = project.kinds(session)
    people = project.run("user", "list").stdout
    for arguments in (
        ("approve", approval, "--yes"),
        ("approve", approval, "--yes", "--bypass", "--justification", "it is really urgent"),
        ("deny", approval, "--reason", "no"),
        ("cancel", session),
        ("resolve", session, "call_1", "--happened"),
        ("resolve", "call_1", "--did-not-happen"),
    ):
        result = project.run(*arguments, token=token)
        assert result.exit_code == 1, arguments
        assert result.stdout == ""
        assert "token" in result.stderr
    assert project.kinds(session) == before
    assert project.run("user", "list").stdout == people
    tried = project.kinds("administration").count("DecisionRefused")
    assert tried == (5 if token else 0)  # the two resolves of one call are the same attempt
    assert status_of_paying(project, session) == ("awaiting_approval", 0)


# --- edits and reviews --------------------------------------------------------------------------

FREE = PAYMENT.replace("amount: {equals: inputs.amount}", "amount: {type: number}")
EMERGENCY = PAYMENT.replace("justification: 20}", "justification: 20, review_within: 1d}")


def test_a_call_is_edited_and_somebody_else_approves_it(project: Project) -> None:
    session, approval = project.asked(FREE)
    ann, bob = project.user("ann"), project.user("bob")
    edited = project.run("approve", approval, "--set", "amount=42", "--yes", token=ann)
    assert edited.exit_code == 0, edited.stderr
    assert "edited by ann; nobody has approved it yet" in edited.stdout
    assert "amount = 42" in edited.stderr
    (shown,) = json.loads(project.run("approvals", "--json").stdout)["approvals"]
    assert (shown["calls"][0]["arguments"]["amount"], shown["calls"][0]["edited_by"]) == (42, "ann")
    own = project.run("approve", approval, "--yes", token=ann)
    assert own.exit_code == 1
    assert "own edit" in own.stderr
    assert "as edited by ann" in project.run("approvals").stdout
    assert project.run("approve", approval, "--yes", token=bob).exit_code == 0
    assert status_of_paying(project, session, FREE) == ("succeeded", 1)
    assert "ApprovalEdited" in project.kinds(session)


def test_an_edit_comes_from_a_file(project: Project) -> None:
    _, approval = project.asked(FREE)
    ann = project.user("ann")
    file = project.folder / "call.json"
    for text, why in (("[1]", "a JSON object"), ("{", "is not JSON")):
        file.write_text(text)
        wrong = project.run("approve", approval, "--edit", "call.json", "--yes", token=ann)
        assert wrong.exit_code == 2
        assert why in wrong.stderr
    file.write_text('{"amount": 7, "payee": "DE12 Jane"}')
    done = project.run("approve", approval, "--edit", "call.json", "--yes", token=ann)
    assert done.exit_code == 0, done.stderr
    assert "amount = 7" in project.run("approvals").stdout
    for wrong_value in ("amount", "amount=x", "=3"):
        assert project.run("approve", approval, "--set", wrong_value, "--yes").exit_code == 2


def test_a_bypass_is_listed_until_somebody_else_reviewed_it(project: Project) -> None:
    session, approval = project.asked(EMERGENCY)
    ann, kim = project.user("ann"), project.user("kim", "commander")
    why = "the bank closes in a minute"
    arguments = ("approve", approval, "--yes", "--bypass", "--justification", why)
    assert project.run(*arguments, token=kim).exit_code == 0
    (row,) = json.loads(project.run("reviews", "--json").stdout)["reviews"]
    assert (row["bypassed_by"], row["justification"], row["overdue"]) == ("kim", why, False)
    assert row["review_id"] in project.run("reviews").stdout
    assert row["review_id"] in project.run("show", session).stdout
    judge = ("review", row["review_id"], "--unjustified", "--note", "it was open all day")
    own = project.run(*judge, token=kim)
    assert own.exit_code == 1
    assert "somebody else reviews it" in own.stderr
    done = project.run(*judge, token=ann)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"{row['review_id']}: not justified, says ann.\n"
    assert project.run("reviews").stdout == "No bypass waits to be reviewed.\n"
    assert project.run(*judge, token=ann).exit_code == 2
    assert project.kinds(session)[-1] == "ReviewClosed"
