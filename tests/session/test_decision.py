"""What may be called now, and why not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.fakes import failed, succeeded
from support.play import Play

from mcpuppet.session.call import Principal
from mcpuppet.session.decision import Allowed, ApprovalNeeded, Denied

GATED = """
roles: [boss]
inputs: {amount: {type: number}}
steps:
  ask:
    approval: {roles: [boss], quorum: 2, timeout: 1h, binds: [inputs.amount]}
  pay: {tool: bank.pay, needs: ask}
"""


EXACT = """
inputs: {n: {type: integer}}
steps:
  one: {tool: a.one, args: {n: {equals: inputs.n}}}
"""


def denied(decision: object) -> Denied:
    assert isinstance(decision, Denied), decision
    return decision


def test_a_step_before_its_turn_is_denied_with_what_it_needs() -> None:
    play = Play("steps:\n  one: {tool: a.one}\n  two: {tool: a.two, needs: one}\n")
    refusal = denied(play.decide("a.two"))
    assert refusal.rule == "needs"
    assert refusal.reason == "step two first needs one to end in success (it is pending)"


def test_a_tool_that_no_step_uses_is_denied() -> None:
    assert denied(Play("steps:\n  one: {tool: a.one}\n").decide("a.other")).rule == "unlisted"


def test_a_step_is_done_once() -> None:
    play = Play("steps:\n  one: {tool: a.one}\n  two: {tool: a.two}\n")
    play.call("a.one")
    assert denied(play.decide("a.one")).rule == "done"


def test_a_running_step_is_not_started_twice() -> None:
    play = Play("steps:\n  one: {tool: a.one}\n")
    play.start("a.one")
    assert denied(play.decide("a.one")).rule == "running"


def test_tools_that_are_always_legal_never_count_as_steps() -> None:
    play = Play('tools: {always: ["a.get_*"]}\nsteps:\n  one: {tool: a.one}\n')
    decision = play.decide("a.get_balance")
    assert isinstance(decision, Allowed)
    assert decision.purpose == "always"
    play.call("a.get_balance")
    assert play.legal() == ["one"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "argument 'n' is missing"),
        ({"n": 4, "x": 1}, "argument 'x' is not one that this step allows"),
        ({"n": 5}, "must equal inputs.n"),
        ({"n": True}, "must equal inputs.n"),
        ({"n": "4"}, "must equal inputs.n"),
    ],
)
def test_arguments_must_be_exactly_those_the_step_allows(arguments: dict, problem: str) -> None:
    play = Play(
        EXACT,
        n=4,
    )
    refusal = denied(play.decide("a.one", **arguments))
    assert refusal.rule == "args"
    assert problem in refusal.reason
    assert isinstance(play.decide("a.one", n=4), Allowed)
    assert isinstance(play.decide("a.one", n=4.0), Allowed)


def test_true_is_not_one() -> None:
    play = Play(
        EXACT,
        n=1,
    )
    assert denied(play.decide("a.one", n=True)).rule == "args"


def test_an_argument_schema_is_enforced() -> None:
    play = Play('steps:\n  one: {tool: a.one, args: {table: {pattern: "^fact_"}}}\n')
    assert denied(play.decide("a.one", table="dim_x")).rule == "args"
    assert isinstance(play.decide("a.one", table="fact_x"), Allowed)


def test_args_open_lets_other_arguments_pass() -> None:
    play = Play("steps:\n  one: {tool: a.one, args: {n: {type: integer}}, args_open: true}\n")
    assert isinstance(play.decide("a.one", n=1, other=2), Allowed)


def test_one_of_several_tools_does_the_step() -> None:
    play = Play("steps:\n  one: {tool: [a.one, b.one]}\n")
    assert play.legal() == ["one", "one"]
    play.call("b.one")
    assert play.run.status == "completed"


def test_two_steps_with_one_tool_are_told_apart_by_their_arguments() -> None:
    play = Play(
        """
steps:
  facts: {tool: a.load, args: {table: {pattern: "^fact_"}}}
  dims: {tool: a.load, args: {table: {pattern: "^dim_"}}}
"""
    )
    decision = play.decide("a.load", table="dim_x")
    assert isinstance(decision, Allowed)
    assert decision.step == "dims"


def test_join_any_is_satisfied_by_one_need() -> None:
    play = Play(
        """
steps:
  left: {tool: a.left, on_failure: continue}
  right: {tool: a.right, on_failure: continue}
  last: {tool: a.last, needs: {left: success, right: success, join: any}}
"""
    )
    assert "last" not in play.legal()
    play.call("a.left", failed())
    assert "last" not in play.legal()
    play.call("a.right")
    assert play.legal() == ["last"]


# --- policies -----------------------------------------------------------------------------------


def test_requires_refuses_until_the_event_has_happened() -> None:
    play = Play(
        """
steps: {page: {tool: a.page}, act: {tool: a.act}}
policies: [{id: page-first, call: act, requires: page.call}]
"""
    )
    refusal = denied(play.decide("a.act"))
    assert (refusal.rule, refusal.reason) == ("page-first", "page.call has to happen first")
    play.start("a.page")
    assert isinstance(play.decide("a.act"), Allowed)


def test_forbidden_after_refuses_from_the_event_on() -> None:
    play = Play(
        """
steps: {close: {tool: a.close}, write: {tool: a.write, optional: true}, more: {tool: a.more}}
policies: [{id: closed, call: "a.write", forbidden_after: close.success}]
"""
    )
    assert isinstance(play.decide("a.write"), Allowed)
    play.call("a.close")
    assert denied(play.decide("a.write")).rule == "closed"


def test_mutex_refuses_while_the_other_runs() -> None:
    play = Play(
        """
steps: {left: {tool: a.left}, right: {tool: a.right}}
policies: [{id: one-writer, call: [left, right], mutex: true}]
"""
    )
    call = play.start("a.left")
    assert denied(play.decide("a.right")).rule == "one-writer"
    play.end(call)
    assert isinstance(play.decide("a.right"), Allowed)


def test_at_most_counts_every_attempt() -> None:
    play = Play(
        """
steps:
  one: {tool: a.one, retry: {attempts: 5, delay: 1s}, on_failure: continue}
  end: {tool: a.end}
policies: [{id: twice, call: a.one, at_most: 2, per: run}]
"""
    )
    for _ in range(2):
        play.call("a.one", failed())
        play.clock.advance(minutes=1)
    assert denied(play.decide("a.one")).rule == "twice"


def test_roles_are_those_of_the_caller() -> None:
    play = Play(
        """
roles: [payer]
steps: {pay: {tool: a.pay}}
policies: [{id: who, call: pay, roles: [payer]}]
"""
    )
    assert denied(play.decide("a.pay")).rule == "who"
    assert play.legal() == []
    payer = Principal("bot", frozenset({"payer"}))
    assert isinstance(play.decide("a.pay", payer), Allowed)
    assert play.legal(payer) == ["pay"]


@pytest.mark.parametrize("amount", [51, "50", None])
def test_check_refuses_what_it_does_not_allow_and_what_it_cannot_read(amount: object) -> None:
    play = Play(
        "steps: {pay: {tool: a.pay}}\npolicies: [{id: cap, call: pay, check: args.amount <= 50}]\n"
    )
    assert play.legal() == ["pay"]
    assert denied(play.decide("a.pay", amount=amount)).rule == "cap"
    assert denied(play.decide("a.pay")).rule == "cap"
    assert isinstance(play.decide("a.pay", amount=50), Allowed)


def test_a_policy_touches_an_always_tool_only_where_it_names_it_exactly() -> None:
    play = Play(
        """
tools: {always: ["a.get_*"]}
steps: {one: {tool: a.one}}
policies:
  - {id: wide, call: "a.*", check: "false"}
  - {id: exact, call: a.get_secret, check: "false"}
"""
    )
    assert isinstance(play.decide("a.get_balance"), Allowed)
    assert denied(play.decide("a.get_secret")).rule == "exact"
    assert denied(play.decide("a.one")).rule == "wide"


def test_a_limit_counts_calls_of_tools_that_are_always_legal() -> None:
    play = Play(
        """
tools: {always: [a.read]}
steps: {one: {tool: a.one}}
policies: [{id: twice, call: a.read, at_most: 2, per: run}]
"""
    )
    play.call("a.read")
    play.call("a.read")
    assert denied(play.decide("a.read")).rule == "twice"


def test_a_mutex_counts_a_held_step_by_the_tool_that_it_was_called_by() -> None:
    play = Play(
        """
steps:
  left: {tool: [s.left, t.left], success: result.ok}
  right: {tool: s.right}
policies: [{id: one-writer, call: "s.*", mutex: true}]
"""
    )
    play.call("s.left", succeeded())
    assert denied(play.decide("s.right")).rule == "one-writer"


# --- approvals ----------------------------------------------------------------------------------


def test_a_gated_call_waits_for_the_quorum_and_is_then_legal_once() -> None:
    play = Play(GATED, amount=10)
    waiting = play.attempt("bank.pay", to="x")
    assert isinstance(waiting, ApprovalNeeded)
    play.approve("ask", "alice")
    assert isinstance(play.decide("bank.pay", to="x"), ApprovalNeeded)
    play.approve("ask", "bob")
    assert isinstance(play.decide("bank.pay", to="x"), Allowed)
    play.call("bank.pay", to="x")
    assert play.run.status == "completed"


def test_one_person_who_votes_twice_is_not_a_quorum() -> None:
    play = Play(GATED, amount=10)
    play.approve("ask", "alice")
    play.approve("ask", "alice")
    assert play.status("ask") == "running"


def test_a_grant_is_good_only_for_the_call_that_was_shown() -> None:
    play = Play(GATED, amount=10)
    play.attempt("bank.pay", to="x")
    play.approve("ask", "alice", "bob")
    refusal = denied(play.decide("bank.pay", to="mallory"))
    assert (refusal.rule, "other arguments" in refusal.reason) == ("approval", True)


def test_another_call_cannot_slip_in_while_people_decide() -> None:
    play = Play(GATED, amount=10)
    play.attempt("bank.pay", to="x")
    play.approve("ask", "alice")
    assert denied(play.decide("bank.pay", to="mallory")).rule == "approval"


def test_before_the_first_vote_the_shown_call_may_be_corrected() -> None:
    play = Play(GATED, amount=10)
    play.attempt("bank.pay", to="typo")
    play.attempt("bank.pay", to="x")
    assert [one.arguments for one in play.approval("ask").shown] == [{"to": "x"}]


def test_a_used_grant_is_good_for_the_retry_of_the_same_call_only() -> None:
    play = Play(
        """
roles: [boss]
steps:
  ask: {approval: {roles: [boss], timeout: 1h}}
  pay: {tool: bank.pay, needs: ask, retry: {attempts: 2, delay: 1s}}
"""
    )
    play.approve("ask")
    play.call("bank.pay", failed(), to="x")
    play.clock.advance(seconds=5)
    assert denied(play.decide("bank.pay", to="mallory")).rule == "approval"
    assert isinstance(play.decide("bank.pay", to="x"), Allowed)


def test_a_denial_ends_the_run_as_rejected_and_never_as_completed() -> None:
    play = Play(GATED, amount=10)
    play.do("denied", play.approval("ask"), "alice", "wrong payee")
    assert play.run.status == "rejected"
    assert "wrong payee" in (play.run.end_reason or "")
    assert play.status("pay") == "skipped"


def test_an_approval_that_nobody_decides_expires_as_rejected() -> None:
    play = Play(GATED, amount=10)
    events = play.later(hours=1)
    assert [type(one).__name__ for one in events[:2]] == ["ApprovalExpired", "ApprovalRejected"]
    assert play.run.status == "rejected"


def test_renew_asks_again_before_it_rejects() -> None:
    play = Play(GATED.replace("timeout: 1h", "timeout: 1h, renew: 1"), amount=10)
    first = play.approval("ask").approval_id
    play.later(hours=1)
    assert play.approval("ask").approval_id != first
    assert play.run.status == "waiting_approval"
    play.later(hours=1)
    assert play.run.status == "rejected"


def test_bound_values_that_have_changed_spoil_the_grant() -> None:
    play = Play(
        """
roles: [boss]
steps:
  quote: {tool: a.quote}
  ask: {needs: quote, approval: {roles: [boss], timeout: 1h, binds: [steps.quote.result.price]}}
  check: {tool: a.check, needs: ask, on: {failure: {redo: [quote, check], max: 1}}}
  pay: {tool: a.pay, needs: {ask: approved, check: success}}
"""
    )
    play.call("a.quote", succeeded(price=10))
    play.approve("ask")
    play.call("a.check", failed())
    play.call("a.quote", succeeded(price=99))
    refusal = denied(play.decide("a.check"))
    assert refusal.rule == "approval"


def test_a_bypass_lets_the_dependent_step_go_on_where_it_says_so() -> None:
    play = Play(
        """
roles: [boss, oncall]
steps:
  ask: {approval: {roles: [boss], timeout: 1h, bypass: {roles: [oncall], justification: 5}}}
  act: {tool: a.act, needs: {ask: [approved, bypassed]}}
  later: {tool: a.later, needs: ask, optional: true}
"""
    )
    play.do("bypassed", play.approval("ask"), "oncall", "the house is on fire")
    assert play.legal() == ["act"]
    assert play.status("later") == "skipped"


def test_a_retry_says_when_the_call_will_be_legal() -> None:
    play = Play("steps:\n  one: {tool: a.one, retry: {attempts: 2, delay: 40s, jitter: false}}\n")
    play.call("a.one", failed())
    assert denied(play.decide("a.one")).legal_at == play.clock() + timedelta(seconds=40)


SHIPPED = [
    path for path in sorted(Path("workflows").glob("*.yaml")) if "\nsteps:" in path.read_text()
]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_workflows_have_something_to_do_first(path: Path) -> None:
    play = Play(
        path.read_text(),
        name="Ada",
        email="ada@example.com",
        amount=10,
        payee="DE00123456789012",
        severity="sev1",
        summary="x",
        host="h",
        service="s",
    )
    everyone = Principal("all", frozenset(play.workflow.definition.roles))
    assert play.legal(everyone)
