"""Policies that ask: one request per call, who has to agree, and what an answer is good for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from support.fakes import failed, succeeded
from support.play import AGENT, Play

from mcpuppet.session.asks import MOST_REJECTED
from mcpuppet.session.decision import Allowed, ApprovalNeeded, AskNeeded, Decision, Denied
from mcpuppet.session.requests import MOST_OPEN

ALLOW = 'roles: [boss, owner]\ntools: {allow: ["a.*"]}\n'
ONE = f"{ALLOW}policies: [{{id: one, call: a.pay, ask: {{roles: [boss], timeout: 4h}}}}]\n"
TWO = f"""{ALLOW}policies:
  - {{id: one, call: a.pay, ask: {{roles: [boss], timeout: 4h, show: [args.to]}}}}
  - {{id: two, call: "a.p*", ask: {{roles: [owner, boss2], timeout: 1h}}, unless: args.n < 5}}
""".replace("[boss, owner]", "[boss, owner, boss2]")


def ruled(body: str) -> Play:
    return Play(rules=body, checked=True)


def reason(decision: Decision) -> str:
    assert isinstance(decision, Denied), decision
    return decision.reason


# --- unless -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "asks"),
    [({"n": 4}, False), ({"n": 5}, True), ({"n": "4"}, True), ({"n": None}, True), ({}, True)],
)
def test_what_cannot_be_told_to_hold_asks(arguments: dict[str, Any], asks: bool) -> None:
    play = ruled(TWO.replace('"a.p*"', "a.post"))
    assert isinstance(play.decide("a.post", **arguments), AskNeeded) is asks


def test_an_unless_that_is_no_truth_asks() -> None:
    play = ruled(TWO.replace("args.n < 5", "args.n").replace('"a.p*"', "a.post"))
    assert isinstance(play.decide("a.post", n=True), Allowed)
    assert isinstance(play.decide("a.post", n=1), AskNeeded)


def test_a_tool_that_may_ask_is_listed_as_such() -> None:
    assert Play(rules=ONE.replace('"a.*"', "a.pay, a.get")).legal_tools() == ["a.pay?", "a.get"]


# --- one request --------------------------------------------------------------------------------


def test_all_policies_that_ask_about_a_call_make_one_request() -> None:
    play = ruled(TWO)
    decision = play.decide("a.pay", n=9, to="x")
    assert isinstance(decision, AskNeeded)
    assert [one.policy for one in decision.asks] == ["one", "two"]
    ask = play.ask("a.pay", n=9, to="x")
    assert dict(ask.policies) == {"one": ("boss",), "two": ("owner", "boss2")}
    assert ask.roles == ("boss", "owner", "boss2")
    assert ask.expires_at == play.clock() + timedelta(hours=1)
    again = play.decide("a.pay", n=9, to="x")
    assert isinstance(again, ApprovalNeeded)
    assert (again.approval_id, again.approval_step) == (ask.approval_id, "one, two")


def test_each_policy_needs_somebody_with_a_fitting_role() -> None:
    play = ruled(TWO)
    ask = play.ask("a.pay", n=9, to="x")
    play.agree(ask, "alice", ["boss"])
    assert play.state.asks[ask.approval_id].agreed == {"one"}
    assert isinstance(play.decide("a.pay", n=9, to="x"), ApprovalNeeded)
    play.agree(play.state.asks[ask.approval_id], "carol", ["boss"])
    assert isinstance(play.decide("a.pay", n=9, to="x"), ApprovalNeeded)
    play.agree(play.state.asks[ask.approval_id], "bob", ["owner"])
    assert isinstance(play.decide("a.pay", n=9, to="x"), Allowed)


def test_one_person_with_both_roles_is_enough() -> None:
    play = ruled(TWO)
    play.agree(play.ask("a.pay", n=9, to="x"), "alice", ["boss", "boss2"])
    assert isinstance(play.decide("a.pay", n=9, to="x"), Allowed)


def test_a_grant_is_good_for_one_call_with_exactly_these_arguments() -> None:
    play = ruled(ONE)
    ask = play.ask("a.pay", to="x", n=1)
    play.agree(ask, "alice", ["boss"])
    for other in ({"to": "y", "n": 1}, {"to": "x"}, {"to": "x", "n": 1.0}, {"to": "x", "n": True}):
        assert isinstance(play.decide("a.pay", **other), AskNeeded)
    decision = play.decide("a.pay", n=1, to="x")
    assert isinstance(decision, Allowed)
    assert decision.grants == (ask.approval_id,)
    play.start("a.pay", to="x", n=1)
    assert play.state.asks == {}
    assert isinstance(play.decide("a.pay", to="x", n=1), AskNeeded)


def test_verdicts_of_all_policies_go_with_the_call_that_was_agreed_to() -> None:
    play = ruled(TWO)
    play.agree(play.ask("a.pay", n=1, to="x"), "alice", ["boss"])
    decision = play.decide("a.pay", n=1, to="x")
    assert isinstance(decision, Allowed)
    assert decision.verdicts == ({"rule": "one", "ok": False}, {"rule": "two", "ok": True})


# --- answers ------------------------------------------------------------------------------------


def test_a_rejected_call_stays_rejected_with_the_reason() -> None:
    play = ruled(ONE)
    play.do("refused", play.ask("a.pay", to="x"), "alice", "we do not know x")
    play.later(days=30)
    assert reason(play.decide("a.pay", to="x")) == "a person said no; guidance: we do not know x"
    assert isinstance(play.decide("a.pay", to="y"), AskNeeded)


def test_a_rejected_call_stays_so_when_a_further_policy_asks_about_it() -> None:
    play = ruled(
        TWO.replace("unless: args.n < 5", 'unless: now < timestamp("2026-01-05T10:00:00Z")')
    )
    play.do("refused", play.ask("a.pay", to="x"), "alice", "no")
    play.clock.advance(hours=2)
    assert reason(play.decide("a.pay", to="x")) == "a person said no; guidance: no"


def test_a_policy_that_asks_only_now_makes_a_new_request() -> None:
    play = ruled(
        TWO.replace("unless: args.n < 5", 'unless: now < timestamp("2026-01-05T10:00:00Z")')
    )
    first = play.ask("a.pay", to="x")
    play.agree(first, "alice", ["boss"])
    assert isinstance(play.decide("a.pay", to="x"), Allowed)
    play.clock.advance(hours=2)
    second = play.ask("a.pay", to="x")
    assert set(second.policies) == {"one", "two"}
    assert set(play.state.asks) == {second.approval_id}


def test_a_request_that_covers_more_than_what_asks_now_is_good() -> None:
    play = ruled(
        TWO.replace("unless: args.n < 5", 'unless: now >= timestamp("2026-01-05T09:30:00Z")')
    )
    ask = play.ask("a.pay", to="x")
    play.agree(ask, "alice", ["boss", "owner"])
    play.clock.advance(minutes=45)
    assert isinstance(play.decide("a.pay", to="x"), Allowed)


def test_an_open_request_expires_and_is_asked_anew() -> None:
    play = ruled(ONE)
    ask = play.ask("a.pay")
    play.clock.advance(hours=4, microseconds=-1)
    assert isinstance(play.decide("a.pay"), ApprovalNeeded)
    play.clock.advance(microseconds=1)
    assert isinstance(play.decide("a.pay"), AskNeeded)
    assert [type(one).__name__ for one in play.do("time_passed")] == ["ApprovalExpired"]
    assert ask.approval_id not in play.state.asks


def test_a_grant_expires_as_long_after_it_was_given_as_the_request_was_open() -> None:
    play = ruled(ONE)
    ask = play.ask("a.pay")
    play.clock.advance(hours=3)
    play.agree(ask, "alice", ["boss"])
    play.clock.advance(hours=4, microseconds=-1)
    assert isinstance(play.decide("a.pay"), Allowed)
    play.clock.advance(microseconds=1)
    assert isinstance(play.decide("a.pay"), AskNeeded)


def test_a_session_has_so_many_people_decide_and_no_more() -> None:
    play = ruled(ONE)
    for n in range(MOST_OPEN):
        play.ask("a.pay", n=n)
    refusal = reason(play.decide("a.pay", n=-1))
    assert refusal == "people have 20 calls of this session to decide on already"
    assert isinstance(play.decide("a.pay", n=0), ApprovalNeeded)
    play.do("refused", next(iter(play.state.asks.values())), "alice", "no")
    assert isinstance(play.decide("a.pay", n=-1), AskNeeded)


def test_of_too_many_rejections_the_oldest_are_forgotten_in_every_process() -> None:
    play = ruled(ONE)
    for n in range(MOST_REJECTED + 5):
        play.clock.advance(seconds=1)
        play.do("refused", play.ask("a.pay", n=n), "alice", "no")
    kept = sorted(ask.arguments["n"] for ask in play.state.asks.values())
    assert kept[-MOST_REJECTED:] == list(range(5, MOST_REJECTED + 5))
    assert len(kept) <= MOST_REJECTED + 1


# --- beside other rules -------------------------------------------------------------------------


def test_a_policy_that_refuses_wins_over_one_that_asks_before_and_after_the_grant() -> None:
    hard = "{id: hard, call: a.pay, check: 'args.n < 5 && now < timestamp(inputs.end)'}"
    ends = 'inputs: {end: {type: string, default: "2026-01-05T10:00:00Z"}}\n'
    play = ruled(ends + ONE.replace("}}]", f"}}}}, {hard}]"))
    assert reason(play.decide("a.pay", n=9)).endswith("does not hold")
    play.agree(play.ask("a.pay", n=1), "alice", ["boss"])
    assert isinstance(play.decide("a.pay", n=1), Allowed)
    play.clock.advance(hours=2)
    assert reason(play.decide("a.pay", n=1)).endswith("does not hold")


def test_a_workflow_and_rules_that_both_ask_make_one_request_even_under_one_name() -> None:
    policy = "policies: [{id: one, call: a.pay, ask: {roles: [%s], timeout: 4h}}]\n"
    play = Play(
        "roles: [boss]\nsteps: {pay: {tool: a.pay}}\n" + policy % "boss",
        rules="roles: [owner]\ntools: {allow: [a.pay]}\n" + policy % "owner",
        checked=True,
    )
    ask = play.ask("a.pay")
    assert dict(ask.policies) == {"one": ("boss",), "house/one": ("owner",)}
    play.agree(ask, "alice", ["boss"])
    assert isinstance(play.decide("a.pay"), ApprovalNeeded)
    play.agree(play.state.asks[ask.approval_id], "bob", ["owner"])
    assert isinstance(play.decide("a.pay"), Allowed)


IN_A_RUN = """
roles: [boss]
steps: {look: {tool: a.look}, pay: {tool: a.pay, needs: look}}
policies: [{id: one, call: pay, ask: {roles: [boss], timeout: 4h}}]
"""


def test_nobody_is_asked_about_a_step_before_its_turn() -> None:
    play = Play(IN_A_RUN, checked=True)
    assert isinstance(play.decide("a.pay"), Denied)
    play.call("a.look", succeeded())
    assert isinstance(play.decide("a.pay"), AskNeeded)


def test_requests_about_the_steps_of_a_run_end_with_it_and_refusals_do_not() -> None:
    play = Play(IN_A_RUN, checked=True)
    play.call("a.look")
    play.ask("a.pay", n=1)
    play.agree(play.ask("a.pay", n=2), "alice", ["boss"])
    play.do("refused", play.ask("a.pay", n=3), "alice", "never")
    play.do("cancelled", "alice", "enough")
    assert [ask.status for ask in play.state.asks.values()] == ["rejected"]
    play.restart()
    play.call("a.look")
    assert isinstance(play.decide("a.pay", n=2), AskNeeded)
    assert reason(play.decide("a.pay", n=3)) == "a person said no; guidance: never"


def test_what_is_not_listed_may_be_asked_about() -> None:
    play = ruled("roles: [boss]\ntools: {allow: [a.get], otherwise: ask}\n")
    assert isinstance(play.decide("a.get"), Allowed)
    ask = play.ask("b.wipe", n=1)
    assert dict(ask.policies) == {"tools.otherwise": ("boss",)}
    play.agree(ask, "alice", ["boss"])
    decision = play.decide("b.wipe", n=1)
    assert isinstance(decision, Allowed)
    assert (decision.purpose, decision.step) == ("free", None)
    assert isinstance(play.decide("b.wipe", n=2), AskNeeded)


def test_who_asks_is_recorded() -> None:
    assert ruled(ONE).ask("a.pay").requested_by == AGENT.name


def test_what_people_agreed_to_is_good_for_the_retries_of_the_very_call() -> None:
    play = Play(
        "roles: [boss]\n"
        "steps:\n  pay: {tool: bank.pay, retry: {attempts: 3, delay: 1s, jitter: false}}\n"
        "policies:\n  - {id: ask, call: pay, ask: {roles: [boss], timeout: 1h}}\n"
    )
    play.agree(play.ask("bank.pay", amount=1), "alice", ["boss"])
    play.call("bank.pay", failed(), amount=1)
    play.clock.advance(seconds=2)
    again = play.decide("bank.pay", amount=1)
    assert isinstance(again, Allowed)
    assert (again.attempt, again.agreed) == (2, ("ask",))
    assert isinstance(play.decide("bank.pay", amount=2), AskNeeded)
