"""Limits: how often, how much, and from when on again."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from support.fakes import Clock, failed, succeeded
from support.play import AGENT, Play, Shared, compiled, compiled_rules

from mcpuppet.session.call import Principal
from mcpuppet.session.decision import Allowed, AskNeeded, Denied
from mcpuppet.session.outcome import Outcome, Unknown

LOST = Unknown("timeout", "no answer")


def rules(*policies: str, mode: str = "enforce", **options: Any) -> Play:
    """A session under a rules file with these policies; `a.*` is allowed."""
    lines = "".join(f"  - {{{one}}}\n" for one in policies)
    body = f'mode: {mode}\nroles: [boss]\ntools: {{allow: ["a.*"]}}\npolicies:\n{lines}'
    return Play(rules=body, checked=True, **options)


def denied(play: Play, tool: str, who: Principal = AGENT, **arguments: Any) -> Denied:
    decision = play.decide(tool, who, **arguments)
    assert isinstance(decision, Denied), decision
    return decision


def allowed(play: Play, tool: str, who: Principal = AGENT, **arguments: Any) -> bool:
    return isinstance(play.decide(tool, who, **arguments), Allowed)


# --- what is counted over -----------------------------------------------------------------------


def test_a_limit_per_run_is_new_with_each_run() -> None:
    play = Play(
        "tools: {always: [a.read]}\nsteps: {one: {tool: a.one}}\n"
        "policies: [{id: twice, call: a.read, at_most: 2, per: run}]\n",
        checked=True,
    )
    play.call("a.read")
    play.call("a.read")
    refusal = denied(play, "a.read")
    assert refusal.reason == "allowed at most 2 times in a run, and used up"
    assert refusal.legal_at is None
    play.call("a.one")
    play.restart()
    assert allowed(play, "a.read")


def test_a_limit_per_session_outlives_runs_and_versions_of_the_file() -> None:
    body = (
        "tools: {always: [a.read]}\nsteps: {one: {tool: a.one}}\n"
        "policies: [{id: once, call: a.read, at_most: 1, per: session}]\n"
    )
    play = Play(body, checked=True)
    play.call("a.read")
    play.call("a.one")
    play._workflow = compiled(f"title: A new version\n{body}")
    play.restart()
    assert denied(play, "a.read").rule == "once"
    assert allowed(Play(body, shared=play.shared), "a.read")


def test_a_limit_per_user_counts_all_sessions_of_one_principal_for_ever() -> None:
    play = rules("id: once, call: a.pay, at_most: 1, per: user")
    other = Play(rules=play.rules, checked=True, shared=play.shared, session_id="other")
    play.call("a.pay")
    refusal = denied(other, "a.pay")
    assert refusal.reason == "allowed at most once for one user, and used up"
    assert refusal.legal_at is None
    assert other.legal_tools() == ["a.*"]
    assert allowed(other, "a.pay", Principal("somebody else"))


def test_a_limit_per_period_counts_all_sessions_of_everybody() -> None:
    play = rules("id: twice, call: a.pay, at_most: 2, per: 1h")
    other = Play(
        rules=play.rules, checked=True, shared=play.shared, clock=play.clock, session_id="other"
    )
    play.call("a.pay")
    other.call("a.pay")
    for one in (play, other):
        assert denied(one, "a.pay").reason == "allowed at most 2 times within 1h, and used up"
        assert not allowed(one, "a.pay", Principal("somebody else"))


def test_limits_of_one_name_in_two_files_are_two_limits() -> None:
    shared = Shared()
    body = "policies: [{id: once, call: a.pay, at_most: 1, per: 1h}]\n"
    play = Play(
        f"steps: {{pay: {{tool: a.pay}}}}\n{body}",
        rules=f"tools: {{allow: [a.pay]}}\n{body}",
        checked=True,
        shared=shared,
    )
    play.call("a.pay")
    assert {key: len(uses) for key, uses in shared.uses.items()} == {
        "tiny/once": 1,
        "house/once": 1,
    }


# --- periods ------------------------------------------------------------------------------------


def legal_exactly_at(play: Play, tool: str, **arguments: Any) -> timedelta:
    """How long until a refused call is legal; it is so at that moment and not before."""
    now = play.clock.now
    at = denied(play, tool, **arguments).legal_at
    assert at is not None
    play.clock.now = at - timedelta(microseconds=1)
    assert not allowed(play, tool, **arguments)
    play.clock.now = at
    assert allowed(play, tool, **arguments)
    play.clock.now = now
    return at - now


def test_a_period_slides_and_says_when_the_call_fits_again() -> None:
    play = rules("id: cap, call: a.pay, sum: args.n, at_most: 10, per: 1h")
    for n in (4, 3, 3):
        play.call("a.pay", n=n)
        play.clock.advance(minutes=10)
    assert legal_exactly_at(play, "a.pay", n=4) == timedelta(minutes=30)
    assert legal_exactly_at(play, "a.pay", n=4.5) == timedelta(minutes=40)
    assert legal_exactly_at(play, "a.pay", n=10) == timedelta(minutes=50)
    assert denied(play, "a.pay", n=10.5).legal_at is None
    reason = denied(play, "a.pay", n=1).reason
    assert reason == "args.n may come to at most 10 within 1h, and 10 is used already"


def test_a_cooldown_ends_to_the_microsecond() -> None:
    play = rules("id: pause, call: a.pay, cooldown: 10m")
    play.call("a.pay")
    play.clock.advance(minutes=3, microseconds=7)
    wait = legal_exactly_at(play, "a.pay")
    assert wait == timedelta(minutes=7, microseconds=-7)


def test_a_clock_that_is_set_back_frees_nothing() -> None:
    play = rules("id: once, call: a.pay, at_most: 1, per: 1h")
    play.call("a.pay")
    play.clock.advance(hours=-5)
    assert denied(play, "a.pay").legal_at == play.clock() + timedelta(hours=6)


def test_what_has_left_the_period_counts_no_more() -> None:
    play = rules("id: once, call: a.pay, at_most: 1, per: 1h")
    for _ in range(3):
        play.call("a.pay")
        play.clock.advance(hours=1)


# --- amounts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("per", ["session", "user", "1d"])
def test_decimal_amounts_are_exact(per: str) -> None:
    play = rules(f"id: cap, call: a.pay, sum: args.n, at_most: 0.3, per: {per}")
    for _ in range(3):
        assert allowed(play, "a.pay", n=0.1)
        play.call("a.pay", n=0.1)
    assert not allowed(play, "a.pay", n=1e-20)
    assert allowed(play, "a.pay", n=0)


@pytest.mark.parametrize("per", ["session", "user", "1d"])
def test_the_smallest_amount_too_much_is_too_much(per: str) -> None:
    play = rules(f"id: cap, call: a.pay, sum: args.n, at_most: 1000000000000000, per: {per}")
    play.call("a.pay", n=10**15)
    assert not allowed(play, "a.pay", n=1e-20)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"n": -1}, "only finite ones from 0 on are"),
        ({"n": -0.01}, "only finite ones from 0 on are"),
        ({"n": "10"}, "it is not a number"),
        ({"n": True}, "it is not a number"),
        ({"n": None}, "it is not a number"),
        ({"n": [5]}, "it is not a number"),
        ({"n": 10**30}, "amounts below 10**30"),
        ({"n": 10**4000}, "amounts"),
        ({"n": 1e-21}, "at most 20 decimal places"),
        ({"n": float("nan")}, "only finite ones from 0 on are"),
        ({"n": float("inf")}, "only finite ones from 0 on are"),
        ({}, "`args.n` cannot be read"),
    ],
)
@pytest.mark.parametrize("per", ["session", "1d"])
def test_what_is_no_amount_is_refused_with_a_sentence(
    arguments: dict[str, Any], sentence: str, per: str
) -> None:
    play = rules(f"id: cap, call: a.pay, sum: args.n, at_most: 100, per: {per}")
    refusal = denied(play, "a.pay", **arguments)
    assert refusal.rule == "cap"
    assert sentence in refusal.reason


def test_the_sum_may_be_worked_out() -> None:
    play = rules('id: cap, call: a.pay, sum: "args.n * args.price", at_most: 10, per: session')
    play.call("a.pay", n=2.0, price=3.5)
    assert denied(play, "a.pay", n=2.0, price=1.75).reason.endswith("and 7 is used already")
    assert allowed(play, "a.pay", n=2.0, price=1.5)


def test_a_limit_of_nothing_allows_nothing() -> None:
    play = rules("id: never, call: a.pay, at_most: 0, per: 1h")
    assert denied(play, "a.pay").legal_at is None


# --- what counts --------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [succeeded(), failed(), LOST])
def test_every_outcome_counts_and_so_does_a_call_on_its_way(outcome: Outcome) -> None:
    for per in ("session", "user", "1h"):
        play = rules(f"id: once, call: a.pay, at_most: 1, per: {per}")
        call_id = play.start("a.pay")
        assert not allowed(play, "a.pay")
        play.end(call_id, outcome)
        assert not allowed(play, "a.pay")


def test_what_a_person_says_did_not_happen_has_counted_all_the_same() -> None:
    play = rules("id: once, call: a.pay, at_most: 1, per: 1h")
    call_id = play.start("a.pay")
    play.end(call_id, LOST)
    play.do("resolved", call_id, False, "alice", "it never arrived")
    assert not allowed(play, "a.pay")


def test_a_refused_call_counts_for_nothing() -> None:
    play = rules(
        "id: once, call: a.pay, at_most: 1, per: 1h", "id: small, call: a.pay, check: args.n < 5"
    )
    assert not allowed(play, "a.pay", n=9)
    assert play.shared.uses == {}
    assert allowed(play, "a.pay", n=1)


def test_each_attempt_of_a_step_counts() -> None:
    play = Play(
        """
steps:
  pay: {tool: a.pay, retry: {attempts: 5, delay: 1s, jitter: false}, on_failure: continue}
policies: [{id: twice, call: pay, at_most: 2, per: 1h}]
""",
        checked=True,
    )
    for _ in range(2):
        play.call("a.pay", failed())
        play.clock.advance(minutes=1)
    assert denied(play, "a.pay").rule == "twice"
    assert play.legal() == []


def test_all_calls_that_a_policy_covers_count_together() -> None:
    play = rules("id: twice, call: [a.pay, a.send], at_most: 2, per: session")
    play.call("a.pay")
    play.call("a.send")
    assert not allowed(play, "a.pay")
    assert allowed(play, "a.other")


# --- over: ask ----------------------------------------------------------------------------------

OVER = (
    "id: cap, call: a.pay, sum: args.n, at_most: 10, per: 1d, "
    "over: ask, roles: [boss], show: [args.n]"
)


def test_what_goes_over_the_limit_is_asked_and_counts_once_a_person_has_agreed() -> None:
    play = rules(OVER)
    play.call("a.pay", n=8)
    assert isinstance(play.decide("a.pay", n=3), AskNeeded)
    ask = play.ask("a.pay", n=3)
    assert ask.show == ({"path": "args.n", "value": 3, "seen": "not seen before"},)
    play.agree(ask, "alice", ["boss"])
    decision = play.decide("a.pay", n=3)
    assert isinstance(decision, Allowed)
    assert [use.most for use in decision.uses] == [None]
    play.call("a.pay", n=3)
    assert sum(use.amount for use in play.shared.uses["house/cap"]) == Decimal(11)
    assert isinstance(play.decide("a.pay", n=0), AskNeeded)
    play.clock.advance(days=1)
    assert allowed(play, "a.pay", n=10)


def test_an_amount_that_cannot_be_counted_is_asked_too_and_counts_for_nothing() -> None:
    play = rules(OVER)
    ask = play.ask("a.pay", n="eleven")
    play.agree(ask, "alice", ["boss"])
    play.call("a.pay", n="eleven")
    assert play.shared.uses == {}
    assert play.state.asks == {}


def test_a_second_limit_that_does_not_ask_still_refuses_what_a_person_agreed_to() -> None:
    play = rules(OVER, "id: hard, call: a.pay, sum: args.n, at_most: 12, per: 1d")
    play.call("a.pay", n=8)
    ask = play.ask("a.pay", n=4)
    play.agree(ask, "alice", ["boss"])
    decision = play.decide("a.pay", n=4)
    assert isinstance(decision, Allowed)
    assert {use.policy: use.most for use in decision.uses} == {"cap": None, "hard": Decimal(12)}
    play.call("a.pay", n=0.5)
    assert denied(play, "a.pay", n=4).rule == "hard"


# --- observe ------------------------------------------------------------------------------------


def test_rules_that_observe_count_and_never_refuse() -> None:
    play = rules("id: once, call: a.pay, at_most: 1, per: 1h", mode="observe")
    for over in (False, True, True):
        decision = play.decide("a.pay")
        assert isinstance(decision, Allowed)
        assert [one["rule"] for one in decision.would_have_denied] == ["once"] * over
        play.call("a.pay")
    assert len(play.shared.uses["house/once"]) == 3


def test_rules_that_observe_never_ask() -> None:
    play = rules(OVER, mode="observe")
    decision = play.decide("a.pay", n=11)
    assert isinstance(decision, Allowed)
    assert decision.would_have_denied[0]["reason"] == (
        "args.n may come to at most 10 within 1d, and 0 is used already"
    )
    assert isinstance(play.decide("a.pay", n="x"), Allowed)


def test_a_new_version_of_a_rules_file_has_the_same_limits() -> None:
    play = rules("id: once, call: a.pay, at_most: 1, per: 1h")
    play.call("a.pay")
    assert play.rules is not None
    text = play.rules.text.replace("1.0.0", "2.0.0")
    newer = Play(rules=compiled_rules(text), shared=play.shared, clock=Clock(), session_id="new")
    assert denied(newer, "a.pay").rule == "once"
