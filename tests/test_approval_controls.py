"""Approvals as controls: escalation, reviews of bypasses, edits, guidance, the client's user."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mcp_types import ElicitResult
from support.client import Desk, Servers, served, text_of
from support.fakes import Clock, FakeServers
from support.gateway import ALICE, BOB, events_of, governed
from support.play import Play

from mcpuppet.audit.history import History, ImpossibleEventError
from mcpuppet.audit.verify import verify_store
from mcpuppet.errors import InvalidInputError, NotAuthorisedError
from mcpuppet.orchestrator import Orchestrator
from mcpuppet.people.deciding import Person
from mcpuppet.session import admin_events as a
from mcpuppet.session import events as e
from mcpuppet.session.decision import ApprovalNeeded
from mcpuppet.session.snapshot import dump_state

pytestmark = pytest.mark.anyio

MANAGER = Person("mia", frozenset({"manager"}))
CHIEF = Person("kim", frozenset({"chief"}))

ESCALATING = """
roles: [boss, manager]
steps:
  ask:
    approval:
      {roles: [boss], timeout: 4h, quorum: 2, on_timeout: escalate, escalate_to: manager, renew: 1}
  pay: {tool: bank.pay, needs: ask}
"""


def kinds(events: list[e.Event]) -> list[str]:
    return [type(one).__name__ for one in events]


# --- escalation ---------------------------------------------------------------------------------


def test_the_first_timeout_asks_others_and_keeps_the_votes() -> None:
    play = Play(ESCALATING, checked=True)
    before = play.approval("ask")
    play.approve("ask", "alice")
    assert kinds(play.later(hours=4)) == ["ApprovalEscalated"]
    after = play.approval("ask")
    assert (after.approval_id, after.roles, after.escalated) == (
        before.approval_id,
        ("manager",),
        True,
    )
    assert after.expires_at == before.expires_at + timedelta(hours=4)
    assert [name for name, _ in after.votes] == ["alice"]
    play.approve("ask", "mia")
    assert play.status("ask") == "success"


def test_the_second_timeout_expires_and_a_renewal_asks_those_who_were_asked_first() -> None:
    play = Play(ESCALATING, checked=True)
    play.later(hours=4)
    assert kinds(play.later(hours=4)) == ["ApprovalExpired", "ApprovalOpened"]
    assert (play.approval("ask").roles, play.approval("ask").escalated) == (("boss",), False)
    play.later(hours=4)
    assert kinds(play.later(hours=4)) == [
        "ApprovalExpired",
        "ApprovalRejected",
        "RunFailing",
        "StepSkipped",
        "RunEnded",
    ]


def test_those_who_are_asked_next_get_their_time_where_nobody_looked_for_long() -> None:
    play = Play(ESCALATING, checked=True)
    play.later(days=3)
    assert play.approval("ask").expires_at == play.clock() + timedelta(hours=4)


async def test_after_an_escalation_only_the_others_decide(tmp_path: Path) -> None:
    clock = Clock()
    async with governed(tmp_path, ESCALATING, clock=clock) as (orchestrator, _):
        people = orchestrator.people
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        (view,) = await people.approvals()
        await people.approve(view.approval_id, ALICE, view.content)
        clock.advance(hours=5)
        view = await people.approval(view.approval_id)
        assert view.escalated
        with pytest.raises(NotAuthorisedError, match="lacks the role manager"):
            await people.approve(view.approval_id, BOB, view.content)
        after = await people.approve(view.approval_id, MANAGER, view.content)
        assert after.legal[0].tool == "bank.pay"


# --- reviews ------------------------------------------------------------------------------------

EMERGENCY = """
roles: [boss, chief]
steps:
  ask:
    approval:
      roles: [boss]
      timeout: 4h
      bypass: {roles: [chief], justification: 5, review_within: 2d}
  pay: {tool: bank.pay, needs: {ask: [approved, bypassed]}}
"""


@asynccontextmanager
async def bypassed(folder: Path, clock: Clock) -> AsyncIterator[Orchestrator]:
    async with governed(folder, EMERGENCY, clock=clock) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        (view,) = await orchestrator.people.approvals()
        await orchestrator.people.bypass(view.approval_id, CHIEF, view.content, "on fire")
        await orchestrator.call_tool("s", "bank.pay", {})
        yield orchestrator


async def test_a_bypass_is_reviewed_by_somebody_else_after_its_run_has_ended(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with bypassed(tmp_path, clock) as orchestrator:
        people = orchestrator.people
        status = await orchestrator.status("s")
        assert status.status == "completed"
        (view,) = await people.reviews()
        assert status.reviews == (view,)
        assert (view.bypassed_by, view.roles, view.overdue) == ("kim", ("boss", "chief"), False)
        assert view.due_at == clock() + timedelta(days=2)
        for who, error in ((CHIEF, "somebody else"), (MANAGER, "lacks the role")):
            with pytest.raises(NotAuthorisedError, match=error):
                await people.review(view.review_id, who, justified=True, note="fine")
        with pytest.raises(InvalidInputError, match="needs a note"):
            await people.review(view.review_id, ALICE, justified=False, note=" ")
        after = await people.review(view.review_id, ALICE, justified=False, note="no fire at all")
        assert after.reviews == ()
        assert await people.reviews() == []
        with pytest.raises(InvalidInputError, match="no review"):
            await people.review(view.review_id, BOB, justified=True, note="fine")
        (closed,) = [one for one in events_of(orchestrator, "s") if isinstance(one, e.ReviewClosed)]
        assert (closed.by, closed.justified) == ("alice", False)
        assert verify_store(orchestrator.store.reader).ok


async def test_a_review_that_nobody_made_in_time_is_overdue_and_stays_open(tmp_path: Path) -> None:
    clock = Clock()
    async with bypassed(tmp_path, clock) as orchestrator:
        clock.advance(days=2)
        assert await orchestrator.sweep() == 1
        assert await orchestrator.sweep() == 0
        (view,) = await orchestrator.people.reviews()
        assert view.overdue
        assert kinds(events_of(orchestrator, "s"))[-1] == "ReviewOverdue"
        await orchestrator.people.review(view.review_id, BOB, justified=True, note="there was")
        assert await orchestrator.people.reviews() == []


# --- edits --------------------------------------------------------------------------------------

PAYMENT = """
roles: [boss]
inputs: {to: {type: string}}
steps:
  ask: {approval: {roles: [boss], timeout: 4h, quorum: 2, binds: [inputs.to]}}
  pay:
    tool: bank.pay
    needs: ask
    args: {to: {equals: inputs.to}, amount: {type: integer, maximum: 100}}
policies:
  - {id: even, call: pay, check: args.amount % 2 == 0}
"""
CAROL = Person("carol", frozenset({"boss"}))


@asynccontextmanager
async def asked(folder: Path) -> AsyncIterator[tuple[Orchestrator, FakeServers, str]]:
    async with governed(folder, PAYMENT, clock=Clock()) as (orchestrator, servers):
        await orchestrator.start_workflow("tiny", {"to": "Jane"}, session_id="s")
        answer = await orchestrator.call_tool("s", "bank.pay", {"to": "Jane", "amount": 90})
        assert isinstance(answer.decision, ApprovalNeeded)
        yield orchestrator, servers, answer.decision.approval_id


async def edit(orchestrator: Orchestrator, approval_id: str, who: Person, **arguments: Any) -> None:
    view = await orchestrator.people.approval(approval_id)
    await orchestrator.people.edit(
        approval_id, who, view.content, view.calls[0].digest, arguments, "less will do"
    )


async def vote(orchestrator: Orchestrator, approval_id: str, who: Person) -> None:
    view = await orchestrator.people.approval(approval_id)
    await orchestrator.people.approve(approval_id, who, view.content)


async def test_an_edited_call_is_what_is_approved_and_what_is_sent(tmp_path: Path) -> None:
    async with asked(tmp_path) as (orchestrator, servers, approval):
        await vote(orchestrator, approval, ALICE)
        await edit(orchestrator, approval, BOB, to="Jane", amount=20)
        view = await orchestrator.people.approval(approval)
        assert view.approved_by == ()
        assert (view.calls[0].arguments["amount"], view.calls[0].edited_by) == (20, "bob")
        with pytest.raises(NotAuthorisedError, match="own edit"):
            await vote(orchestrator, approval, BOB)
        waits = await orchestrator.call_tool("s", "bank.pay", {"to": "Jane", "amount": 90})
        assert waits.status == "awaiting_approval"
        assert (await orchestrator.people.approval(approval)).calls == view.calls
        await vote(orchestrator, approval, ALICE)
        await vote(orchestrator, approval, CAROL)
        answer = await orchestrator.call_tool("s", "bank.pay", {"to": "Jane", "amount": 90})
        assert answer.status == "succeeded"
        assert servers.calls == [("bank.pay", {"to": "Jane", "amount": 20})]
        assert answer.edit is not None
        assert list(answer.edit.changes()) == [("amount", 90, 20)]
        (started,) = [one for one in events_of(orchestrator, "s") if isinstance(one, e.CallStarted)]
        assert started.arguments == {"to": "Jane", "amount": 20}
        assert verify_store(orchestrator.store.reader).ok


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"to": "Mallory", "amount": 20}, "must equal inputs.to"),
        ({"to": "Jane", "amount": 102}, "maximum"),
        ({"to": "Jane", "amount": 21}, "does not hold"),
        ({"to": "Jane"}, "is missing"),
        ({"to": "Jane", "amount": 20, "more": 1}, "not one that this step allows"),
        ({"to": "Jane", "amount": 90}, "shown already"),
        ({"to": "Jane", "amount": float("nan")}, "nan"),
    ],
)
async def test_arguments_that_would_be_refused_are_no_edit(
    tmp_path: Path, arguments: dict[str, Any], why: str
) -> None:
    async with asked(tmp_path) as (orchestrator, _, approval):
        with pytest.raises(InvalidInputError, match=why):
            await edit(orchestrator, approval, BOB, **arguments)
        found = events_of(orchestrator, "s")
        assert "ApprovalEdited" not in kinds(found)
        assert isinstance(found[-1], a.DecisionRefused)


async def test_the_model_cannot_take_an_edit_back(tmp_path: Path) -> None:
    async with asked(tmp_path) as (orchestrator, servers, approval):
        await edit(orchestrator, approval, BOB, to="Jane", amount=20)
        other = await orchestrator.call_tool("s", "bank.pay", {"to": "Jane", "amount": 88})
        assert other.status == "denied"
        assert (await orchestrator.people.approval(approval)).calls[0].arguments["amount"] == 20
        assert servers.calls == []


async def test_nothing_is_edited_that_was_not_attempted(tmp_path: Path) -> None:
    async with governed(tmp_path, PAYMENT, clock=Clock()) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {"to": "Jane"}, session_id="s")
        (view,) = await orchestrator.people.approvals()
        with pytest.raises(InvalidInputError, match="shows no call"):
            await orchestrator.people.edit(view.approval_id, BOB, view.content, "", {"amount": 2})


ASKING = """rules: house
version: 1.0.0
roles: [boss]
tools: {allow: [bank.pay]}
policies:
  - id: large
    call: bank.pay
    unless: args.n < 5
    ask: {roles: [boss], timeout: 1h, show: [args.n]}
"""


async def test_a_request_about_one_call_can_be_edited_and_then_needs_somebody_else(
    tmp_path: Path,
) -> None:
    """Also where nobody would have been asked about the edited call."""
    servers = FakeServers()
    servers.offer("bank.pay")
    async with governed(tmp_path, rules=ASKING, servers=servers, clock=Clock()) as (gateway, _):
        await gateway.call_tool("s", "bank.pay", {"n": 9})
        (view,) = await gateway.people.approvals()
        await edit(gateway, view.approval_id, BOB, n=4)
        assert (await gateway.call_tool("s", "bank.pay", {"n": 9})).status == "awaiting_approval"
        with pytest.raises(NotAuthorisedError, match="own edit"):
            await vote(gateway, view.approval_id, BOB)
        shown = await gateway.people.approval(view.approval_id)
        assert (shown.binds, shown.policies) == ({"args.n": 4}, {"large": ("boss",)})
        assert "bob" in shown.seen["args.n"]
        await vote(gateway, view.approval_id, ALICE)
        answer = await gateway.call_tool("s", "bank.pay", {"n": 9})
        assert (answer.status, servers.calls) == ("succeeded", [("bank.pay", {"n": 4})])
        again = await gateway.call_tool("s", "bank.pay", {"n": 8})
        assert again.status == "awaiting_approval"
        assert verify_store(gateway.store.reader).ok


# --- guidance -----------------------------------------------------------------------------------

REWORK = """
roles: [boss]
steps:
  write: {tool: doc.write}
  ask:
    needs: write
    approval: {roles: [boss], timeout: 4h}
    on: {rejected: {redo: [write], max: 1}}
  send: {tool: doc.send, needs: ask}
"""


async def test_the_reason_of_a_denial_is_quoted_as_guidance_until_it_is_approved(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, REWORK) as desk:
        people = desk.orchestrator.people
        await desk.start()
        await desk.call("write", text="a")
        (view,) = await people.approvals()
        await people.deny(view.approval_id, ALICE, "too long")
        assert "guidance: too long" in text_of(await desk.call("send"))
        status = await desk.call("workflow_status")
        assert "A person denied ask; guidance: too long" in text_of(status)
        assert status["structuredContent"]["guidance"] == {"ask": "too long"}
        await desk.call("write", text="b")
        assert "guidance: too long" in text_of(await desk.call("send"))
        (view,) = await people.approvals()
        await people.deny(view.approval_id, BOB, "still too long")
        assert "guidance: still too long" in text_of(await desk.call("send"))
        status = await desk.call("workflow_status")
        assert "guidance: still too long" in text_of(status)
        rejected = [one for one in desk.events() if isinstance(one, e.ApprovalRejected)]
        assert [(one.by, one.reason) for one in rejected] == [
            ("alice", "too long"),
            ("bob", "still too long"),
        ]


# --- elicitation --------------------------------------------------------------------------------

ELICITING = """
roles: [boss]
inputs: {to: {type: string}}
steps:
  ask: {approval: {roles: [boss], timeout: 4h, binds: [inputs.to]}, elicit: true}
  pay: {tool: bank.pay, needs: ask}
"""
Answer = Callable[[Any, Any], Any]


def answering(asked: list[str], action: str, **content: Any) -> Answer:
    async def answer(_: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action=action, content=content or None)  # type: ignore[arg-type]

    return answer


@asynccontextmanager
async def eliciting(
    folder: Path, answer: Answer | None, flow: str = ELICITING
) -> AsyncIterator[Desk]:
    async with served(folder, flow, servers=Servers(), elicitation=answer) as desk:
        await desk.start("tiny", to="Jane\n\u202e")
        yield desk


async def test_the_clients_user_says_yes_and_the_call_goes_on(tmp_path: Path) -> None:
    questions: list[str] = []
    async with eliciting(tmp_path, answering(questions, "accept", approve=True)) as desk:
        answer = await desk.call("pay", amount=5)
        assert not answer.get("isError"), text_of(answer)
        assert desk.servers.calls == [("bank.pay", {"amount": 5})]
        (question,) = questions
        assert 'bank.pay {"amount": 5}' in question
        assert "\u202e" not in question
        assert '"Jane\\n\\u202e"' in question
        (voted,) = [one for one in desk.events() if isinstance(one, e.ApprovalVoted)]
        assert (voted.by, voted.channel) == ("user of agent", "elicitation (test 1)")
        assert verify_store(desk.orchestrator.store.reader).ok


async def test_a_no_with_a_reason_denies(tmp_path: Path) -> None:
    said = answering([], "accept", approve=False, reason="wrong Jane")
    async with eliciting(tmp_path, said) as desk:
        answer = await desk.call("pay", amount=5)
        assert "guidance: wrong Jane" in text_of(answer)
        (rejected,) = [one for one in desk.events() if isinstance(one, e.ApprovalRejected)]
        assert (rejected.by, rejected.reason) == ("user of agent", "wrong Jane")
        assert desk.servers.calls == []


@pytest.mark.parametrize(
    "answer",
    [
        ("cancel", {}),
        ("decline", {}),
        ("accept", {"approve": False}),
        ("accept", {"approve": "true"}),
        ("accept", {"approve": 1}),
        ("accept", {}),
    ],
)
async def test_whatever_is_no_clear_answer_changes_nothing_and_is_not_asked_again(
    tmp_path: Path, answer: tuple[str, dict[str, Any]]
) -> None:
    questions: list[str] = []
    async with eliciting(tmp_path, answering(questions, answer[0], **answer[1])) as desk:
        for _ in range(3):
            assert "Awaiting approval" in text_of(await desk.call("pay", amount=5))
        assert len(questions) == 1
        counted = Counter(desk.kinds())
        assert not counted[e.ApprovalVoted]
        assert not counted[e.ApprovalRejected]


async def test_a_client_that_cannot_ask_is_not_asked(tmp_path: Path) -> None:
    async with eliciting(tmp_path, None) as desk:
        assert "Awaiting approval" in text_of(await desk.call("pay", amount=5))


async def test_a_yes_is_one_vote_of_a_quorum(tmp_path: Path) -> None:
    flow = ELICITING.replace("timeout: 4h", "timeout: 4h, quorum: 2")
    said = answering([], "accept", approve=True)
    async with eliciting(tmp_path, said, flow) as desk:
        assert "Awaiting approval" in text_of(await desk.call("pay", amount=5))
        people = desk.orchestrator.people
        (view,) = await people.approvals()
        assert view.approved_by == ("user of agent",)
        await people.approve(view.approval_id, ALICE, view.content)
        await desk.call("pay", amount=5)
        assert desk.servers.calls == [("bank.pay", {"amount": 5})]


# --- histories that cannot have happened --------------------------------------------------------

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def followed(play: Play) -> History:
    history = History("session")
    for seq, (event, at) in enumerate(play.history, 1):
        history.take(seq, event, at)
    return history


def test_every_new_event_is_followed() -> None:
    play = Play(ESCALATING, checked=True)
    play.approve("ask", "alice")
    play.later(hours=4)
    play.approve("ask", "mia")
    assert followed(play).snapshot() == dump_state(play.state)


def escalated(play: Play) -> e.ApprovalEscalated:
    known = play.approval("ask")
    later = known.expires_at + timedelta(hours=4)
    return e.ApprovalEscalated(known.approval_id, "ask", ("manager",), later)


def test_a_forged_escalation_is_found() -> None:
    play = Play(ESCALATING)
    event = escalated(play)
    history = followed(play)
    for wrong, why in (
        (replace(event, approval_id="apr_9"), "not open"),
        (replace(event, step="pay"), "not open"),
        (replace(event, expires_at=play.approval("ask").expires_at), "without more time"),
    ):
        with pytest.raises(ImpossibleEventError, match=why):
            history.take(9, wrong, NOW)
    history.take(9, event, NOW)
    later = event.expires_at + timedelta(hours=1)
    with pytest.raises(ImpossibleEventError, match="second time"):
        history.take(10, replace(event, expires_at=later), NOW)


def test_a_forged_edit_is_found() -> None:
    play = Play(PAYMENT, to="Jane")
    play.attempt("bank.pay", to="Jane", amount=90)
    known = play.approval("ask")
    arguments = {"to": "Jane", "amount": 20}
    event = e.ApprovalEdited(
        known.approval_id, "pay", "bank.pay", arguments, "1" * 64, known.shown[0].digest, "bob", ""
    )
    voted = e.ApprovalVoted(known.approval_id, "alice", "content", "cli")
    history = followed(play)
    for wrong, why in (
        (replace(event, approval_id="apr_9"), "was not open"),
        (replace(event, replaces="2" * 64), "did not show"),
        (replace(event, by="agent"), "has asked for"),
    ):
        with pytest.raises(ImpossibleEventError, match=why):
            history.take(9, wrong, NOW)
    history.take(9, voted, NOW)
    history.take(10, event, NOW)
    with pytest.raises(ImpossibleEventError, match="has edited"):
        history.take(11, replace(voted, by="bob"), NOW)
    history.take(11, replace(voted, by="carol"), NOW)
    granted = e.ApprovalGranted(known.approval_id, "ask", ("alice", "carol"))
    with pytest.raises(ImpossibleEventError, match="others than those who voted"):
        history.take(12, granted, NOW)  # what alice said before the edit is void


def test_a_forged_review_is_found() -> None:
    play = Play(EMERGENCY)
    opened = e.ReviewOpened("rev_9", "apr_1", "ask", "kim", "fire", ("boss",), NOW)
    known = play.approval("ask")
    with pytest.raises(ImpossibleEventError, match="not bypassed"):
        followed(play).take(9, replace(opened, approval_id=known.approval_id), NOW)
    play.do("bypassed", known, "kim", "fire")
    (review,) = play.state.reviews.values()
    closed = e.ReviewClosed(review.review_id, "boris", True, "fine")
    history = followed(play)
    for wrong, why in (
        (replace(closed, by="kim"), "of their own"),
        (replace(closed, review_id="rev_8"), "was not open"),
        (e.ReviewOverdue("rev_8"), "was not open"),
    ):
        with pytest.raises(ImpossibleEventError, match=why):
            history.take(9, wrong, NOW)
    history.take(9, e.ReviewOverdue(review.review_id), NOW)
    with pytest.raises(ImpossibleEventError, match="second time"):
        history.take(10, e.ReviewOverdue(review.review_id), NOW)
    history.take(10, closed, NOW)
    with pytest.raises(ImpossibleEventError, match="was not open"):
        history.take(11, closed, NOW)


def test_a_review_goes_through_a_snapshot() -> None:
    play = Play(EMERGENCY, checked=True)
    play.do("bypassed", play.approval("ask"), "kim", "fire")
    play.call("bank.pay")
    play.later(days=3)
    (review,) = play.state.reviews.values()
    assert review.overdue
    play.do("reviewed", review, "boris", justified=False, note="no fire")
    assert play.state.reviews == {}
