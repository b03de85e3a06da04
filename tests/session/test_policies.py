"""Policies over the call at hand: who makes it, when, with which values, and what runs beside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.fakes import Clock, failed, succeeded
from support.play import AGENT, Play, Shared

from mcpuppet.session.call import Principal
from mcpuppet.session.decision import Allowed, Denied
from mcpuppet.session.outcome import Unknown

LOST = Unknown("connection_lost", "the server is gone")
ROME = 'hours: "mon-fri 08:00-18:00 Europe/Rome"'


def denied(play: Play, tool: str, who: Principal = AGENT, **arguments: Any) -> Denied:
    decision = play.decide(tool, who, **arguments)
    assert isinstance(decision, Denied), decision
    return decision


def allowed(play: Play, tool: str, who: Principal = AGENT, **arguments: Any) -> bool:
    return isinstance(play.decide(tool, who, **arguments), Allowed)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


# --- hours --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-03-27T07:59:59.999999+01:00", False),
        ("2026-03-27T08:00:00+01:00", True),
        ("2026-03-27T17:59:59.999999+01:00", True),
        ("2026-03-27T18:00:00+01:00", False),
        ("2026-03-28T12:00:00+01:00", False),  # Saturday
        ("2026-03-30T06:00:00+00:00", True),  # the clocks went forward the day before
        ("2026-03-30T05:59:59+00:00", False),
        ("2026-03-30T16:00:00+00:00", False),
        ("2026-10-26T06:30:00+00:00", False),  # and back
        ("2026-10-26T07:00:00+00:00", True),
    ],
)
def test_hours_are_those_of_the_place_all_year(moment: str, is_open: bool) -> None:
    play = Play(
        f"steps: {{pay: {{tool: a.pay}}}}\npolicies:\n  - id: office\n    call: pay\n    {ROME}\n",
        clock=Clock(at(moment)),
        checked=True,
    )
    assert allowed(play, "a.pay") is is_open
    assert (play.legal() == ["pay"]) is is_open
    if not is_open:
        opens = denied(play, "a.pay").legal_at
        assert opens is not None
        play.clock.now = opens - timedelta(microseconds=1)
        assert not allowed(play, "a.pay")
        play.clock.now = opens
        assert allowed(play, "a.pay")


def test_a_refusal_ends_when_the_last_of_the_policies_that_object_lets_go() -> None:
    play = Play(
        rules='tools: {allow: ["a.*"]}\npolicies:\n'
        f"  - id: office\n    call: a.pay\n    {ROME}\n"
        "  - {id: pause, call: a.pay, cooldown: 30m}\n"
        "  - {id: day, call: a.pay, at_most: 1, per: 3d}\n",
        clock=Clock(at("2026-03-27T17:45:00+01:00")),
        checked=True,
    )
    play.call("a.pay")
    play.clock.advance(minutes=20)
    refusal = denied(play, "a.pay")
    # three days later it is 18:45 already, as the clocks went forward: the office is closed
    assert (refusal.rule, refusal.legal_at) == ("office", at("2026-03-31T08:00:00+02:00"))
    play.clock.now = at("2026-03-31T07:59:59.999999+02:00")
    assert not allowed(play, "a.pay")
    play.clock.advance(microseconds=1)
    assert allowed(play, "a.pay")


def test_a_refusal_that_no_time_ends_says_so() -> None:
    play = Play(
        rules='roles: [boss]\ntools: {allow: ["a.*"]}\npolicies:\n'
        "  - {id: pause, call: a.pay, cooldown: 30m}\n"
        "  - {id: who, call: a.pay, requires: a.look.success}\n",
        checked=True,
    )
    play.call("a.look")
    play.call("a.pay")
    assert denied(play, "a.pay").legal_at == play.clock() + timedelta(minutes=30)
    other = Play(rules=play.rules, shared=play.shared, session_id="other")
    assert [one["ok"] for one in denied(other, "a.pay").verdicts] == [False, False]
    assert denied(other, "a.pay").legal_at is None


def test_opening_hours_that_never_meet_promise_no_moment() -> None:
    play = Play(
        rules="tools: {allow: [a.pay]}\npolicies:\n"
        '  - {id: early, call: a.pay, hours: "mon 08:00-09:00 UTC"}\n'
        '  - {id: late, call: a.pay, hours: "mon 17:00-18:00 UTC"}\n'
    )
    assert denied(play, "a.pay").legal_at is None


# --- roles and check ----------------------------------------------------------------------------


def test_any_of_the_roles_will_do_and_the_refusal_names_them() -> None:
    play = Play(
        rules="roles: [payer, boss]\ntools: {allow: [a.pay]}\n"
        "policies: [{id: who, call: a.pay, roles: [payer, boss]}]\n",
        checked=True,
    )
    refusal = denied(play, "a.pay")
    assert refusal.reason == "only for the role payer or boss; agent has none of it"
    assert play.legal_tools() == []
    boss = Principal("agent", frozenset({"boss", "other"}))
    assert allowed(play, "a.pay", boss)
    assert play.legal_tools(boss) == ["a.pay"]


@pytest.mark.parametrize(
    ("check", "holds"),
    [
        ("args.n <= inputs.most", True),
        ("args.n > inputs.most", False),
        ('user.name == "agent" && "worker" in user.roles', True),
        ('"boss" in user.roles', False),
        ('steps.look.outcome == "success"', True),
        ("steps.look.result.limit > args.n", True),
        ("steps.pay.outcome == 'pending'", False),
        ('now < timestamp("2026-01-05T09:00:01Z")', True),
        ('now < timestamp("2026-01-05T09:00:00Z")', False),
        ("args.m == 1", False),
        ("args.n", False),
        ("facts.seen[args.name].limit == 7", True),
        ('facts.seen["else"].limit == 7', False),
    ],
)
def test_a_check_reads_the_call_and_refuses_what_it_cannot_read(check: str, holds: bool) -> None:
    play = Play(
        f"""
inputs: {{most: {{type: integer}}}}
facts: {{seen: {{from: a.look, key: args.name, keep: [limit]}}}}
steps: {{look: {{tool: a.look}}, pay: {{tool: a.pay, needs: look}}}}
policies:
  - id: rule
    call: pay
    check: >-
      {check}
""",
        checked=True,
        most=5,
    )
    play.call("a.look", succeeded(limit=7), name="x")
    assert allowed(play, "a.pay", n=3, name="x") is holds


def test_the_sentence_of_a_check_tells_false_from_unreadable() -> None:
    play = Play(
        rules="tools: {allow: [a.pay]}\npolicies: [{id: cap, call: a.pay, check: args.n < 5}]\n"
    )
    assert denied(play, "a.pay", n=5).reason == "`args.n < 5` does not hold"
    assert denied(play, "a.pay", n="1").reason.startswith("`args.n < 5` cannot be evaluated: ")
    assert play.legal_tools() == ["a.pay"]


# --- mutex in a run -----------------------------------------------------------------------------

TWO_WRITERS = """
steps:
  left: {tool: a.left, optional: true}
  right: {tool: a.right, optional: true}
  end: {tool: a.end}
policies: [{id: one-writer, call: [left, right], mutex: true%s}]
"""


def test_a_mutex_of_a_run_is_kept_while_the_outcome_is_unknown() -> None:
    play = Play(TWO_WRITERS % "", checked=True)
    call_id = play.start("a.left")
    play.end(call_id, LOST)
    assert denied(play, "a.right").rule == "one-writer"
    play.do("resolved", call_id, False, "alice", "it never arrived")
    assert allowed(play, "a.right")


# --- mutex beyond the run -----------------------------------------------------------------------


def two_sessions(scope: str) -> tuple[Play, Play]:
    shared, clock, body = Shared(), Clock(), TWO_WRITERS % f", scope: {scope}"
    one, other = (
        Play(body, checked=True, shared=shared, clock=clock, session_id=name) for name in "12"
    )
    return one, other


@pytest.mark.parametrize("ending", [succeeded(), failed()])
def test_a_mutex_of_a_workflow_excludes_other_sessions_until_the_call_ends(ending: Any) -> None:
    one, other = two_sessions("workflow")
    call_id = one.start("a.left")
    assert denied(other, "a.right").reason.endswith("one elsewhere has not ended yet")
    assert denied(other, "a.left").rule == "one-writer"
    assert denied(one, "a.right").reason.endswith("one of this session has not ended yet")
    assert other.legal() == ["end"]
    one.end(call_id, ending)
    assert allowed(other, "a.right")
    assert "right" in other.legal()


def test_a_mutex_is_kept_while_unknown_and_released_by_the_person_who_settles_it() -> None:
    one, other = two_sessions("workflow")
    call_id = one.start("a.left")
    one.end(call_id, LOST)
    assert not allowed(other, "a.right")
    one.do("resolved", call_id, True, "alice", "it is in the ledger")
    assert allowed(other, "a.right")


def test_the_end_of_a_run_does_not_release_what_its_running_call_holds() -> None:
    one, other = two_sessions("workflow")
    call_id = one.start("a.left")
    one.do("cancelled", "alice", "enough")
    one.restart()
    assert not allowed(other, "a.right")
    assert not allowed(one, "a.right")
    one.end(call_id, LOST)
    assert not allowed(other, "a.right")
    one.do("resolved", call_id, False, "alice", "it never arrived")
    assert allowed(other, "a.right")
    assert allowed(one, "a.right")


def test_a_mutex_of_a_server_excludes_other_tools_of_it_and_no_other_server() -> None:
    shared, clock = Shared(), Clock()
    body = (
        'tools: {allow: ["a.*", "b.*"]}\n'
        'policies: [{id: one, call: ["a.*", "b.*"], mutex: true, scope: server}]\n'
    )
    one, other = (
        Play(rules=body, checked=True, shared=shared, clock=clock, session_id=name) for name in "12"
    )
    call_id = one.start("a.write")
    assert denied(other, "a.read").rule == "one"
    assert allowed(other, "b.read")
    assert other.legal_tools() == ["b.*"]
    one.end(call_id)
    assert allowed(other, "a.read")


def test_a_retry_after_an_unknown_outcome_takes_over_the_lock() -> None:
    shared, clock = Shared(), Clock()
    body = """
steps:
  write: {tool: a.write, on_unknown: retry, retry: {attempts: 3, delay: 1s, jitter: false}}
policies: [{id: one, call: write, mutex: true, scope: workflow}]
"""
    one, other = (
        Play(body, checked=True, shared=shared, clock=clock, session_id=name) for name in "12"
    )
    one.call("a.write", LOST)
    assert one.status("write") == "pending"
    clock.advance(seconds=1)
    again = one.start("a.write")
    assert not allowed(other, "a.write")
    one.end(again)
    assert one.run.status == "completed"
    assert allowed(other, "a.write")


def test_a_lock_that_the_same_change_gives_up_is_free() -> None:
    shared, clock = Shared(), Clock()
    one = Play(
        TWO_WRITERS % ", scope: workflow", checked=True, shared=shared, clock=clock, session_id="1"
    )
    before = shared.reserved
    call_id = one.start("a.left")
    stale = before()
    one.end(call_id)
    shared.reserved = lambda: stale  # type: ignore[method-assign]
    assert allowed(one, "a.right")
