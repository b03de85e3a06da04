"""Observe mode: calls go through, and what would have refused them is written down."""

from __future__ import annotations

from typing import Any

from support.fakes import failed, succeeded
from support.play import Play

from mcpuppet.session import events as e
from mcpuppet.session.decision import Allowed, Decision, Denied

LINE = """
mode: observe
roles: [boss]
steps:
  one: {tool: a.one}
  two: {tool: a.two, needs: one, args: {n: {type: integer}}}
  ask: {needs: two, approval: {roles: [boss], timeout: 1h}}
  pay: {tool: a.pay, needs: ask}
  left: {tool: a.write, optional: true, needs: one}
  right: {tool: a.write, optional: true, needs: one}
"""


def passed(decision: Decision) -> Allowed:
    assert isinstance(decision, Allowed), decision
    assert decision.asks == ()
    return decision


def rules_noted(decision: Decision) -> list[str]:
    return [one["rule"] for one in passed(decision).would_have_denied]


def test_a_call_before_its_turn_goes_through_and_its_step_advances() -> None:
    play = Play(LINE, checked=True)
    decision = passed(play.decide("a.two", n="x"))
    assert (decision.purpose, decision.step) == ("step", "two")
    assert decision.would_have_denied == (
        {
            "book": "tiny",
            "rule": "needs",
            "reason": "step two first needs one to end in success (it is pending)",
        },
    )
    play.call("a.two", succeeded(), n="x")
    assert play.status("two") == "success"
    started = next(one for one, _ in play.history if isinstance(one, e.CallStarted))
    assert started.would_have_denied == decision.would_have_denied


def test_a_call_in_order_has_nothing_noted() -> None:
    play = Play(LINE, checked=True)
    assert rules_noted(play.decide("a.one")) == []


def test_with_no_pending_step_or_two_the_call_goes_through_free() -> None:
    play = Play(LINE, checked=True)
    play.call("a.one")
    decision = passed(play.decide("a.one"))
    assert (decision.purpose, decision.step) == ("free", None)
    assert rules_noted(decision) == ["done"]
    play = Play(LINE, checked=True)
    decision = passed(play.decide("a.write"))
    assert (decision.purpose, decision.step) == ("free", None)
    assert rules_noted(decision) == ["needs"]
    play.call("a.write")
    assert (play.status("left"), play.status("right")) == ("pending", "pending")


def test_an_approval_is_not_waited_for() -> None:
    play = Play(LINE, checked=True)
    play.call("a.one")
    play.call("a.two", n=1)
    assert play.status("ask") == "running"
    assert rules_noted(play.decide("a.pay")) == ["approval"]
    play.call("a.pay")
    assert play.status("pay") == "success"


def test_a_tool_that_the_workflow_does_not_know_is_still_refused() -> None:
    decision = Play(LINE, checked=True).decide("a.other")
    assert isinstance(decision, Denied)
    assert decision.rule == "unlisted"


def test_policies_are_noted_with_their_reasons_and_count() -> None:
    play = Play(
        """
mode: observe
roles: [boss]
steps: {pay: {tool: a.pay, retry: {attempts: 9, delay: 1s, jitter: false}}}
policies:
  - {id: cap, call: pay, check: args.n < 5}
  - {id: who, call: pay, roles: [boss]}
  - {id: once, call: pay, at_most: 1, per: 1h}
  - {id: word, call: pay, ask: {roles: [boss], timeout: 1h}}
""",
        checked=True,
    )
    assert rules_noted(play.decide("a.pay", n=1)) == ["who", "word"]
    decision = play.decide("a.pay", n=9)
    assert rules_noted(decision) == ["cap", "who", "word"]
    assert passed(decision).would_have_denied[0]["reason"] == "`args.n < 5` does not hold"
    play.call("a.pay", failed(), n=9)
    play.clock.advance(minutes=1)
    assert rules_noted(play.decide("a.pay", n=9)) == ["cap", "who", "once", "word"]
    assert len(play.shared.uses["tiny/once"]) == 1


def test_a_workflow_that_observes_asks_nobody() -> None:
    play = Play(
        "mode: observe\nroles: [boss]\nsteps: {pay: {tool: a.pay}}\n"
        "policies: [{id: word, call: pay, ask: {roles: [boss], timeout: 1h}}]\n",
        checked=True,
    )
    decision = play.decide("a.pay")
    assert passed(decision).would_have_denied == (
        {"book": "tiny", "rule": "word", "reason": "a person has to agree"},
    )
    play.call("a.pay")
    assert play.run.status == "completed"


def test_an_observed_step_is_retried_as_often_as_it_says_and_no_more() -> None:
    play = Play(
        "mode: observe\nsteps:\n  one: {tool: a.one}\n"
        "  two: {tool: a.two, needs: one, retry: {attempts: 3, delay: 1s, jitter: false}}\n",
        checked=True,
    )
    for attempt in (1, 2, 3):
        assert passed(play.decide("a.two")).attempt == attempt
        play.call("a.two", failed())
        play.clock.advance(minutes=1)
    assert play.status("two") == "failure"


def beside(mode: str, **options: Any) -> Play:
    return Play(
        "mode: observe\nsteps: {one: {tool: a.one}, two: {tool: a.two, needs: one}}\n",
        rules=f"mode: {mode}\ntools: {{allow: [b.get]}}\n"
        "policies: [{id: cap, call: a.two, check: args.n < 5}]\n",
        checked=True,
        **options,
    )


def test_rules_that_enforce_refuse_what_an_observing_workflow_lets_pass() -> None:
    play = beside("enforce")
    assert isinstance(play.decide("a.two", n=9), Denied)
    assert rules_noted(play.decide("a.two", n=1)) == ["needs"]
    assert isinstance(play.decide("b.other"), Denied)


def test_rules_that_observe_beside_a_workflow_note_down_theirs_too() -> None:
    play = beside("observe")
    decision = passed(play.decide("a.two", n=9))
    assert [(one["book"], one["rule"]) for one in decision.would_have_denied] == [
        ("tiny", "needs"),
        ("house", "cap"),
    ]
    assert rules_noted(play.decide("b.other")) == ["unlisted"]


def test_rules_that_observe_let_through_what_they_would_ask_about() -> None:
    play = Play(
        rules="mode: observe\nroles: [boss]\ntools: {allow: [a.pay], otherwise: ask}\n"
        "policies: [{id: word, call: a.pay, ask: {roles: [boss], timeout: 1h}}]\n",
        checked=True,
    )
    assert rules_noted(play.decide("a.pay")) == ["word"]
    assert rules_noted(play.decide("b.other")) == ["tools.otherwise"]


def test_rules_that_observe_do_not_loosen_a_workflow_that_enforces() -> None:
    play = Play(
        "steps: {one: {tool: a.one}}\n",
        rules="mode: observe\ntools: {allow: []}\n",
        checked=True,
    )
    play.start("a.one")
    decision = play.decide("a.one")
    assert isinstance(decision, Denied)
    assert decision.rule == "running"


def test_a_tool_that_nothing_lists_is_refused_observed_or_allowed_as_the_settings_say() -> None:
    assert isinstance(Play(unlisted="deny").decide("x.any"), Denied)
    assert rules_noted(Play(unlisted="observe").decide("x.any")) == ["no_run"]
    assert rules_noted(Play(unlisted="allow").decide("x.any")) == []
    play = Play("steps: {one: {tool: a.one}}\n", unlisted="observe", checked=True)
    assert rules_noted(play.decide("x.any")) == ["unlisted"]
    play.call("x.any")
    assert play.status("one") == "pending"
