"""Policies over what has happened before: `requires`, `forbidden_after` and `within`."""

from __future__ import annotations

from typing import Any

import pytest
from support.fakes import failed, succeeded
from support.play import Play

from mcpuppet.session.decision import Allowed, ApprovalNeeded, Denied
from mcpuppet.session.outcome import Failed, Outcome, Unknown
from mcpuppet.session.remember import MOST_MARKS

UNKNOWN = Unknown("timeout", "no answer within 1 s")
BADLY_ANSWERED = Failed("invalid_result", "the result breaks the output schema")


def rules(policy: str, allow: str = "[bank.*, air.*]") -> Play:
    """A session under a rules file with one policy."""
    body = f"tools: {{allow: {allow}}}\npolicies:\n  - {{id: rule, {policy}}}\n".replace(
        "[bank.*, air.*]", '["bank.*", "air.*"]'
    )
    return Play(rules=body, checked=True)


def workflow(body: str, **inputs: Any) -> Play:
    return Play(body, checked=True, **inputs)


def refused(play: Play, tool: str, **arguments: Any) -> str:
    """Why a call is refused."""
    decision = play.decide(tool, **arguments)
    assert isinstance(decision, Denied), decision
    return decision.reason


def allowed(play: Play, tool: str, **arguments: Any) -> bool:
    return isinstance(play.decide(tool, **arguments), Allowed)


# --- requires -----------------------------------------------------------------------------------


def test_a_required_event_of_a_tool_is_one_of_those_that_its_pattern_matches() -> None:
    play = rules('call: bank.pay, requires: "bank.get_*.success"')
    assert refused(play, "bank.pay") == "bank.get_*.success has to happen first"
    play.call("bank.list")
    assert not allowed(play, "bank.pay")
    play.call("bank.get_balance")
    assert allowed(play, "bank.pay")


@pytest.mark.parametrize(
    ("outcome", "event", "counts"),
    [
        (succeeded(), "success", True),
        (failed(), "success", False),
        (UNKNOWN, "success", False),
        (BADLY_ANSWERED, "success", False),
        (failed(), "failure", True),
        (BADLY_ANSWERED, "failure", True),
        (succeeded(), "failure", False),
        (UNKNOWN, "failure", False),
        (UNKNOWN, "call", True),
    ],
)
def test_what_is_required_must_be_known_to_have_happened(
    outcome: Outcome, event: str, counts: bool
) -> None:
    play = rules(f"call: bank.pay, requires: bank.get.{event}")
    play.call("bank.get", outcome)
    assert allowed(play, "bank.pay") is counts


def test_a_required_call_counts_as_soon_as_it_is_on_its_way() -> None:
    play = rules("call: bank.pay, requires: bank.get.call")
    assert not allowed(play, "bank.pay")
    play.start("bank.get")
    assert allowed(play, "bank.pay")


def test_a_person_who_says_that_it_happened_makes_it_so() -> None:
    play = rules("call: bank.pay, requires: bank.get.success")
    call_id = play.start("bank.get")
    play.end(call_id, UNKNOWN)
    assert not allowed(play, "bank.pay")
    play.do("resolved", call_id, True, "alice", "seen in the ledger")
    assert allowed(play, "bank.pay")


def test_of_several_required_events_one_is_enough() -> None:
    play = rules("call: bank.pay, requires: [bank.get.success, air.get.success]")
    assert refused(play, "bank.pay").startswith("bank.get.success or air.get.success has")
    play.call("air.get")
    assert allowed(play, "bank.pay")


def test_the_same_arguments_are_those_that_are_named() -> None:
    play = rules("call: air.cancel, requires: air.get.success, same: [id]")
    play.call("air.get", id="A", lang="en")
    assert allowed(play, "air.cancel", id="A", lang="de")
    assert refused(play, "air.cancel", id="B").endswith("first, for the same id")
    assert play.legal_tools() == ["bank.*", "air.*"]


def test_with_same_nothing_is_legal_before_anything_was_looked_up() -> None:
    play = rules("call: air.cancel, requires: air.get.success, same: [id]", "[air.get, air.cancel]")
    assert play.legal_tools() == ["air.get"]
    play.call("air.get", id="A")
    assert play.legal_tools() == ["air.get", "air.cancel"]


@pytest.mark.parametrize(
    ("looked_up", "used", "same"),
    [
        ({"id": 1}, {"id": 1.0}, True),
        ({"id": [{"n": 2.0}]}, {"id": [{"n": 2}]}, True),
        ({"id": 1}, {"id": True}, False),
        ({"id": 1}, {"id": "1"}, False),
        ({"id": 1}, {"id": 1.5}, False),
        ({"id": None}, {}, False),
        ({"id": "a"}, {"id": "A"}, False),
        ({"id": "a", "kind": "b"}, {"id": "b", "kind": "a"}, False),
        ({}, {}, True),
    ],
)
def test_two_arguments_are_the_same_where_json_calls_them_equal(
    looked_up: dict[str, Any], used: dict[str, Any], same: bool
) -> None:
    play = rules("call: air.cancel, requires: air.get.success, same: [id, kind]")
    play.call("air.get", **looked_up)
    assert allowed(play, "air.cancel", **used) is same
    closed = rules("call: air.pay, forbidden_after: air.close.success, same: [id, kind]")
    closed.call("air.close", **looked_up)
    assert allowed(closed, "air.pay", **used) is not same


def test_what_happened_in_one_run_is_not_known_in_the_next() -> None:
    play = workflow("""
tools: {always: [a.look]}
steps: {pay: {tool: a.pay}}
policies: [{id: rule, call: pay, requires: a.look.success}]
""")
    play.call("a.look")
    play.call("a.pay")
    play.restart()
    assert not allowed(play, "a.pay")
    play.call("a.look")
    assert allowed(play, "a.pay")


def test_a_call_of_an_earlier_run_that_ends_in_this_one_allows_nothing() -> None:
    play = workflow("""
tools: {always: [a.look]}
steps: {pay: {tool: a.pay}}
policies: [{id: rule, call: pay, requires: a.look.success}]
""")
    late = play.start("a.look")
    play.do("cancelled", "alice", "wrong customer")
    play.restart()
    play.end(late)
    assert not allowed(play, "a.pay")


def test_a_call_of_an_earlier_run_that_ends_in_this_one_still_forbids() -> None:
    play = workflow("""
tools: {always: [a.close]}
steps: {pay: {tool: a.pay}}
policies: [{id: rule, call: pay, forbidden_after: a.close.success}]
""")
    late = play.start("a.close")
    play.do("cancelled", "alice", "wrong customer")
    play.restart()
    assert allowed(play, "a.pay")
    play.end(late)
    assert not allowed(play, "a.pay")


def test_a_rules_file_remembers_across_the_runs_beside_it() -> None:
    play = Play(
        "steps: {one: {tool: a.one}}\n",
        rules="tools: {allow: [bank.get, bank.pay]}\n"
        "policies: [{id: rule, call: bank.pay, requires: bank.get.success}]\n",
        checked=True,
    )
    play.call("bank.get")
    play.call("a.one")
    play.restart()
    assert allowed(play, "bank.pay")


# --- forbidden_after ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "event", "forbids"),
    [
        (succeeded(), "success", True),
        (failed(), "success", False),
        (UNKNOWN, "success", True),
        (BADLY_ANSWERED, "success", True),
        (failed(), "failure", True),
        (UNKNOWN, "failure", True),
        (succeeded(), "failure", False),
        (failed(), "call", True),
    ],
)
def test_what_may_have_happened_forbids(outcome: Outcome, event: str, forbids: bool) -> None:
    play = rules(f'call: bank.pay, forbidden_after: "bank.clo*.{event}"')
    assert allowed(play, "bank.pay")
    play.call("bank.close", outcome)
    assert allowed(play, "bank.pay") is not forbids
    if forbids:
        assert refused(play, "bank.pay") == f"not allowed any more after bank.clo*.{event}"


def test_a_call_that_only_the_same_arguments_forbid_is_legal_for_others() -> None:
    play = rules("call: bank.pay, forbidden_after: bank.close.success, same: [account]")
    play.call("bank.close", account="A")
    assert not allowed(play, "bank.pay", account="A")
    assert allowed(play, "bank.pay", account="B")
    assert "bank.*" in play.legal_tools()


def test_a_step_whose_outcome_is_unknown_forbids_until_a_person_settles_it() -> None:
    play = workflow("""
steps: {close: {tool: a.close}, write: {tool: a.write}}
policies: [{id: rule, call: write, forbidden_after: close.success}]
""")
    call_id = play.start("a.close")
    assert allowed(play, "a.write")
    play.end(call_id, UNKNOWN)
    assert refused(play, "a.write").endswith("and what became of close is not known")
    assert play.legal() == []
    play.do("resolved", call_id, False, "alice", "the file is open")
    assert allowed(play, "a.write")


def test_a_step_that_is_held_by_its_guard_forbids_nothing() -> None:
    play = workflow("""
steps:
  look: {tool: a.look}
  close: {tool: a.close, needs: look, when: steps.look.result.n > 1, optional: true}
  write: {tool: a.write, needs: look}
policies: [{id: rule, call: write, forbidden_after: close.success}]
""")
    play.call("a.look", succeeded())
    assert play.run.held["close"].call_id is None
    assert allowed(play, "a.write")


def test_with_too_many_arguments_to_tell_apart_all_are_forbidden() -> None:
    play = Play(
        rules='tools: {allow: ["bank.*"]}\n'
        "policies: [{id: rule, call: bank.pay, forbidden_after: bank.close.call, same: [n]}]\n"
    )
    for number in range(MOST_MARKS):
        play.start("bank.close", n=number)
    assert allowed(play, "bank.pay", n=MOST_MARKS)
    play.start("bank.close", n=MOST_MARKS)
    assert not allowed(play, "bank.pay", n=MOST_MARKS)
    assert not allowed(play, "bank.pay", n=MOST_MARKS + 1)
    assert not allowed(play, "bank.pay", n=0)
    assert len(play.state.memory["house"].marks) <= MOST_MARKS + 1


def test_of_too_many_required_events_the_oldest_is_forgotten_in_every_process() -> None:
    play = Play(
        rules='tools: {allow: ["air.*"]}\n'
        "policies: [{id: rule, call: air.cancel, requires: air.get.call, same: [n]}]\n"
    )
    for number in range(MOST_MARKS):
        play.clock.advance(seconds=1)
        play.start("air.get", n=number)
    play._state = play._reloaded()
    play.clock.advance(seconds=1)
    play.start("air.get", n=MOST_MARKS)
    play._reloaded()
    assert not allowed(play, "air.cancel", n=0)
    assert all(allowed(play, "air.cancel", n=number) for number in (1, 7, 500, MOST_MARKS))


# --- within -------------------------------------------------------------------------------------

FRESH = """
roles: [boss]
steps:
  ask: {approval: {roles: [boss], timeout: 1h, renew: 1}}
  pay: {tool: bank.pay, needs: ask}
  report: {tool: a.report, needs: {ask: rejected}}
policies: [{id: rule, call: pay, within: 15m, of: ask.approved}]
"""


def test_a_fresh_event_of_a_tool_is_one_that_is_younger_than_the_time() -> None:
    play = rules("call: bank.pay, within: 15m, of: bank.quote.success")
    assert refused(play, "bank.pay") == "bank.quote.success has to happen first, at most 15m before"
    play.call("bank.quote")
    play.clock.advance(minutes=15, microseconds=-1)
    assert allowed(play, "bank.pay")
    assert play.legal_tools() == ["bank.*", "air.*"]
    play.clock.advance(microseconds=1)
    assert refused(play, "bank.pay") == "bank.quote.success happened more than 15m ago"
    play.call("bank.quote", failed())
    assert not allowed(play, "bank.pay")
    play.call("bank.quote")
    assert allowed(play, "bank.pay")


def test_within_counts_for_the_same_arguments_only() -> None:
    play = rules("call: bank.pay, within: 15m, of: bank.quote.success, same: [to]")
    play.call("bank.quote", to="A")
    play.clock.advance(minutes=10)
    play.call("bank.quote", to="B")
    play.clock.advance(minutes=10)
    assert not allowed(play, "bank.pay", to="A")
    assert allowed(play, "bank.pay", to="B")


def test_of_two_events_the_later_one_counts() -> None:
    play = rules("call: bank.pay, within: 15m, of: [bank.quote.success, air.quote.success]")
    play.call("air.quote")
    play.clock.advance(minutes=10)
    play.call("bank.quote")
    play.clock.advance(minutes=14)
    assert allowed(play, "bank.pay")
    play.clock.advance(minutes=1)
    assert not allowed(play, "bank.pay")


def test_a_stale_approval_is_asked_again_while_that_lasts_and_is_then_rejected() -> None:
    play = workflow(FRESH)
    play.approve("ask")
    first = play.approval("ask").approval_id
    assert play.status("report") == "skipped"
    play.later(minutes=15, microseconds=-1)
    assert (play.status("ask"), allowed(play, "bank.pay")) == ("success", True)
    events = play.later(microseconds=1)
    assert [type(one).__name__ for one in events][:2] == ["ApprovalExpired", "ApprovalOpened"]
    assert play.status("ask") == "running"
    assert play.status("report") == "pending"
    assert play.approval("ask").approval_id != first
    assert not allowed(play, "bank.pay")
    play.approve("ask")
    assert allowed(play, "bank.pay")
    play.later(minutes=15)
    assert (play.status("ask"), play.status("pay")) == ("failure", "skipped")
    assert play.legal() == ["report"]


def test_a_step_that_waits_for_the_rejection_comes_back_and_runs_in_the_end() -> None:
    play = workflow(FRESH)
    play.approve("ask")
    play.later(minutes=15)
    play.do("denied", play.approval("ask"), "alice", "no")
    assert play.legal() == ["report"]
    play.call("a.report")
    assert play.run.status == "completed"


@pytest.mark.parametrize("rule", ["requires: ask.approved", "within: 15m, of: ask.approved"])
def test_a_call_that_waits_for_an_approval_is_shown_to_those_who_decide(rule: str) -> None:
    play = workflow(FRESH.replace("within: 15m, of: ask.approved", rule))
    assert isinstance(play.attempt("bank.pay", to="x"), ApprovalNeeded)
    assert [one.arguments for one in play.approval("ask").shown] == [{"to": "x"}]
    play.approve("ask")
    assert not allowed(play, "bank.pay", to="mallory")
    assert allowed(play, "bank.pay", to="x")


def test_a_policy_that_waits_for_something_else_refuses_before_people_are_shown_the_call() -> None:
    play = workflow(FRESH.replace("within: 15m, of: ask.approved", "requires: [report.success]"))
    assert not allowed(play, "bank.pay")
    assert refused(play, "bank.pay") == "report.success has to happen first"


def test_an_approval_that_was_used_in_time_is_left_alone() -> None:
    play = workflow(FRESH)
    play.approve("ask")
    call_id = play.start("bank.pay")
    assert play.later(hours=3) == []
    play.end(call_id)
    assert play.run.status == "completed"


def test_a_policy_of_longer_time_does_not_rest_on_an_approval_that_has_lapsed() -> None:
    play = workflow("""
roles: [boss]
steps:
  ask: {approval: {roles: [boss], timeout: 1h, renew: 5}}
  pay: {tool: bank.pay, needs: ask}
  note: {tool: bank.note, optional: true}
policies:
  - {id: short, call: pay, within: 15m, of: ask.approved}
  - {id: long, call: note, within: 2h, of: ask.approved}
""")
    play.approve("ask")
    assert allowed(play, "bank.note")
    play.later(minutes=15)
    assert refused(play, "bank.note").startswith("ask.approved has to happen first")


def test_what_is_done_anew_has_to_be_fresh_anew() -> None:
    play = workflow("""
steps:
  quote: {tool: a.quote}
  check: {tool: a.check, needs: quote, on: {failure: {redo: [quote], max: 1}}}
  pay: {tool: a.pay, optional: true}
  end: {tool: a.end}
policies: [{id: rule, call: pay, within: 1h, of: quote.success}]
""")
    play.call("a.quote")
    assert allowed(play, "a.pay")
    play.call("a.check", failed())
    assert play.status("quote") == "pending"
    assert not allowed(play, "a.pay")


def test_the_time_of_an_expiry_is_kept() -> None:
    play = workflow("""
roles: [boss]
steps:
  ask: {approval: {roles: [boss], timeout: 1h, renew: 1}}
  pay: {tool: a.pay}
policies: [{id: rule, call: pay, within: 10m, of: ask.expired}]
""")
    assert not allowed(play, "a.pay")
    play.later(hours=1)
    assert allowed(play, "a.pay")
    play.clock.advance(minutes=10)
    assert not allowed(play, "a.pay")


def test_only_the_events_that_a_policy_asks_for_have_their_times_kept() -> None:
    play = workflow(FRESH)
    play.approve("ask")
    assert dict(play.run.times) == {"ask.approved": play.clock()}
