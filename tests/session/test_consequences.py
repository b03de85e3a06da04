"""What follows from outcomes, people and time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.fakes import failed, succeeded
from support.play import Play

from mcpuppet.session import events as e
from mcpuppet.session.fold import fold
from mcpuppet.session.outcome import Failed, Unknown
from mcpuppet.session.snapshot import dump_state, load_state

LINE = """
steps:
  first: {tool: a.first}
  second: {tool: a.second, needs: first}
"""


def kinds(events: list[e.Event]) -> list[str]:
    return [e.event_kind(event) for event in events]


def test_a_run_completes_when_every_step_is_done() -> None:
    play = Play(LINE)
    assert play.legal() == ["first"]
    play.call("a.first")
    assert play.legal() == ["second"]
    play.call("a.second")
    assert play.run.status == "completed"
    assert play.legal() == []


def test_the_state_is_the_fold_of_its_events_and_survives_a_snapshot() -> None:
    play = Play(LINE)
    play.call("a.first", succeeded(x=1))
    folded = fold("session", play.history)
    assert folded is not None
    assert dump_state(folded) == dump_state(play.state)
    assert dump_state(load_state(dump_state(play.state))) == dump_state(play.state)


def test_events_survive_their_records() -> None:
    play = Play("roles: [boss]\nsteps:\n  ask: {approval: {roles: [boss], timeout: 1h}}\n")
    play.approve("ask")
    for event, _ in play.history:
        assert e.event_from(e.event_kind(event), e.event_data(event)) == event


def test_an_unhandled_failure_skips_what_is_left_and_fails_the_run() -> None:
    play = Play(LINE)
    play.call("a.first", failed())
    assert play.status("second") == "skipped"
    assert play.run.status == "failed"
    assert "it broke" in (play.run.end_reason or "")


def test_a_failure_that_a_need_names_is_handled() -> None:
    play = Play(
        """
steps:
  try: {tool: a.try}
  rescue: {tool: a.rescue, needs: {try: failure}}
"""
    )
    play.call("a.try", failed())
    assert play.legal() == ["rescue"]
    play.call("a.rescue")
    assert play.run.status == "completed"


def test_a_step_whose_needs_are_dead_is_skipped_transitively() -> None:
    play = Play(
        """
steps:
  try: {tool: a.try}
  rescue: {tool: a.rescue, needs: {try: failure}}
  after: {tool: a.after, needs: rescue}
"""
    )
    play.call("a.try")
    assert (play.status("rescue"), play.status("after")) == ("skipped", "skipped")
    assert play.run.status == "completed"


def test_a_guard_that_errors_holds_its_step_until_a_person_settles_it() -> None:
    play = Play(
        """
steps:
  look: {tool: a.look}
  act: {tool: a.act, needs: look, when: steps.look.result.score > 1}
"""
    )
    play.call("a.look", succeeded(other=1))
    assert play.legal() == []
    assert play.run.status == "active"
    assert "score" in play.run.held["act"].reason
    play.do("released", "act", True, "alice", "looked at it")
    assert play.legal() == ["act"]
    play.call("a.act")
    assert play.run.status == "completed"


def test_a_held_guard_read_as_false_skips_the_step() -> None:
    play = Play(
        """
steps:
  look: {tool: a.look}
  act: {tool: a.act, needs: look, when: steps.look.result.score > 1}
"""
    )
    play.call("a.look")
    play.do("released", "act", False, "alice", "no")
    assert play.run.status == "completed"


def test_a_result_without_a_declared_field_fails_the_step_and_is_not_retried() -> None:
    play = Play(
        """
steps:
  look: {tool: a.look, returns: {score: {type: number}}, retry: {attempts: 3}}
"""
    )
    play.call("a.look", succeeded(other=1))
    assert play.status("look") == "failure"


@pytest.mark.parametrize("value", ["high", True, None])
def test_a_result_of_the_wrong_type_fails_the_step(value: object) -> None:
    play = Play("steps:\n  look: {tool: a.look, returns: {score: {type: number}}}\n")
    play.call("a.look", succeeded(score=value))
    assert play.status("look") == "failure"


def test_a_success_guard_decides_whether_the_step_is_done() -> None:
    play = Play("steps:\n  look: {tool: a.look, success: result.ok}\n")
    play.call("a.look", succeeded(ok=False))
    assert play.status("look") == "failure"


def test_a_success_guard_that_errors_holds_the_step_and_a_person_decides() -> None:
    play = Play("steps:\n  look: {tool: a.look, success: result.ok}\n")
    call = play.start("a.look")
    play.end(call, succeeded())
    assert play.run.held["look"].call_id == call
    play.do("resolved", call, True, "alice", "it is fine")
    assert play.run.status == "completed"


def test_retries_wait_longer_each_time_and_end_in_failure() -> None:
    play = Play(
        """
steps:
  look: {tool: a.look, retry: {attempts: 3, delay: 10s, backoff: 2, jitter: false}}
"""
    )
    play.call("a.look", failed())
    assert play.run.not_before["look"] == play.clock() + timedelta(seconds=10)
    assert play.decide("a.look").rule == "not_before"
    play.clock.advance(seconds=10)
    play.call("a.look", failed())
    assert play.run.not_before["look"] == play.clock() + timedelta(seconds=20)
    play.clock.advance(seconds=20)
    play.call("a.look", failed())
    assert play.status("look") == "failure"


def test_an_invalid_result_is_never_made_again_by_itself() -> None:
    play = Play("steps:\n  look: {tool: a.look, retry: {attempts: 3}}\n")
    play.call("a.look", Failed("invalid_result", "not what the schema says"))
    assert play.status("look") == "failure"


def test_an_unknown_outcome_holds_the_step_until_a_person_settles_it() -> None:
    play = Play(LINE)
    call = play.start("a.first")
    play.end(call, Unknown("timeout", "no answer in 30 s"))
    assert play.legal() == []
    assert play.decide("a.first").rule == "held"
    play.do("resolved", call, True, "alice", "found it in the ledger")
    assert play.legal() == ["second"]
    assert play.state.calls == {}


def test_an_unknown_call_that_did_not_happen_may_be_made_again() -> None:
    play = Play(LINE)
    call = play.start("a.first")
    play.end(call, Unknown("timeout", "no answer in 30 s"))
    play.do("resolved", call, False, "alice", "nothing in the ledger")
    assert play.legal() == ["first"]


def test_an_unknown_outcome_is_retried_where_the_workflow_says_so() -> None:
    play = Play("steps:\n  look: {tool: a.look, on_unknown: retry}\n")
    play.call("a.look", Unknown("timeout", "no answer"))
    play.clock.advance(minutes=2)
    assert play.legal() == ["look"]


def test_polling_returns_the_step_until_its_condition_holds() -> None:
    play = Play("steps:\n  wait: {tool: a.wait, repeat: {max: 3, until: result.done, every: 5s}}\n")
    play.call("a.wait", succeeded(done=False))
    assert play.legal() == []
    play.clock.advance(seconds=5)
    play.call("a.wait", succeeded(done=True))
    assert play.run.status == "completed"


def test_polling_fails_after_its_last_round() -> None:
    play = Play("steps:\n  wait: {tool: a.wait, repeat: {max: 2, until: result.done}}\n")
    play.call("a.wait", succeeded(done=False))
    play.call("a.wait", succeeded(done=False))
    assert play.status("wait") == "failure"


REWORK = """
steps:
  draft: {tool: a.draft}
  check: {tool: a.check, needs: draft, on: {failure: {redo: [draft, check], max: 1}}}
  branch: {tool: a.branch, needs: {check: failure}}
"""


def test_rework_sets_steps_back_within_its_budget() -> None:
    play = Play(REWORK)
    play.call("a.draft")
    play.call("a.check", failed())
    assert play.legal() == ["draft"]
    play.call("a.draft")
    play.call("a.check", failed())
    assert play.status("check") == "failure"
    assert play.legal() == ["branch"]


def test_rework_brings_back_steps_that_were_skipped_because_of_it() -> None:
    play = Play(
        """
steps:
  draft: {tool: a.draft}
  praise: {tool: a.praise, needs: draft, when: steps.draft.result.good}
  check: {tool: a.check, needs: draft, on: {failure: {redo: [draft, check], max: 1}}}
"""
    )
    play.call("a.draft", succeeded(good=False))
    assert play.status("praise") == "skipped"
    play.call("a.check", failed())
    assert play.status("praise") == "pending"
    play.call("a.draft", succeeded(good=True))
    assert set(play.legal()) == {"praise", "check"}


UNDO = """
steps:
  one: {tool: a.one, compensate: {tool: a.undo_one}}
  two: {tool: a.two, needs: one, compensate: {tool: a.undo_two}}
  three: {tool: a.three, needs: two}
  tidy: {tool: a.tidy, finally: true, needs: {one: success}}
"""


def test_compensations_are_offered_in_reverse_order_of_dependency() -> None:
    play = Play(UNDO)
    play.call("a.one")
    play.call("a.two")
    play.call("a.three", failed())
    assert play.run.status == "failing"
    assert set(play.legal()) == {"two.compensate", "tidy"}
    assert play.decide("a.undo_one").rule == "compensation"
    play.call("a.undo_two")
    assert set(play.legal()) == {"one.compensate", "tidy"}
    play.call("a.undo_one")
    assert play.legal() == ["tidy"]
    play.call("a.tidy")
    assert play.run.status == "failed"


def test_a_failed_compensation_stays_on_offer_until_a_day_has_passed() -> None:
    play = Play(UNDO)
    play.call("a.one")
    play.call("a.two", failed())
    play.call("a.tidy")
    play.call("a.undo_one", failed())
    assert play.legal() == ["one.compensate"]
    play.later(hours=24)
    assert play.run.status == "failed"


def test_a_compensation_is_not_legal_before_the_run_fails() -> None:
    play = Play(UNDO)
    play.call("a.one")
    assert play.decide("a.undo_one").rule == "compensation"


def test_optional_steps_do_not_keep_a_run_open() -> None:
    play = Play("steps:\n  must: {tool: a.must}\n  may: {tool: a.may, optional: true}\n")
    assert set(play.legal()) == {"must", "may"}
    play.call("a.must")
    assert play.run.status == "completed"
    assert play.status("may") == "skipped"


def test_a_run_that_takes_too_long_fails_but_its_last_steps_stay_legal() -> None:
    play = Play(
        "timeout: 1h\nsteps:\n  must: {tool: a.must}\n  tidy: {tool: a.tidy, finally: true}\n"
    )
    play.later(hours=1)
    assert play.run.status == "failing"
    assert play.legal() == ["tidy"]
    play.call("a.tidy")
    assert play.run.status == "timed_out"


def test_the_outcome_of_a_call_is_recorded_even_after_the_run_was_cancelled() -> None:
    play = Play(LINE)
    call = play.start("a.first")
    play.do("cancelled", "alice", "stop")
    assert kinds(play.end(call)) == ["CallSucceeded"]
    assert play.run.status == "cancelled"
    assert play.status("first") == "running"


def test_large_results_are_recorded_by_length_and_digest() -> None:
    play = Play(
        """
steps:
  look: {tool: a.look}
  act: {tool: a.act, when: steps.look.result.n > 1, needs: look}
"""
    )
    events = play.call("a.look", succeeded(n=2, big="x" * 100_000))
    assert isinstance(events[0], e.CallSucceeded)
    assert events[0].result is None
    assert events[0].result_bytes > 100_000
    assert play.legal() == ["act"]


def test_a_step_may_have_any_name() -> None:
    play = Play("steps:\n  mapping: {tool: a.one}\n  values: {tool: a.two, needs: mapping}\n")
    play.call("a.one")
    play.call("a.two")
    assert play.run.status == "completed"


def test_a_call_of_an_earlier_run_means_nothing_to_the_next_one() -> None:
    play = Play(LINE)
    old = play.start("a.first")
    play.do("cancelled", "alice", "stop")
    play.do("start_run", play.workflow, {}, "agent")
    new = play.start("a.first")
    assert kinds(play.end(old)) == ["CallSucceeded"]
    assert play.status("first") == "running"
    play.end(new)
    assert play.legal() == ["second"]


def test_an_unknown_call_of_an_earlier_run_is_settled_without_touching_the_next_one() -> None:
    play = Play(LINE)
    old = play.start("a.first")
    play.end(old, Unknown("timeout", "no answer"))
    play.do("cancelled", "alice", "stop")
    play.do("start_run", play.workflow, {}, "agent")
    play.start("a.first")
    assert kinds(play.do("resolved", old, True, "alice", "found it")) == ["CallResolved"]
    assert play.status("first") == "running"


def test_a_settled_earlier_attempt_does_not_move_a_step_that_runs_again() -> None:
    play = Play(
        "steps:\n  one: {tool: a.one, on_unknown: retry, retry: {attempts: 3, delay: 1s}}\n"
        "  two: {tool: a.two, needs: one}\n"
    )
    first = play.start("a.one")
    play.end(first, Unknown("timeout", "no answer"))
    play.clock.advance(seconds=5)
    second = play.start("a.one")
    assert kinds(play.do("resolved", first, False, "alice", "no")) == ["CallResolved"]
    assert play.status("one") == "running"
    play.end(second)
    assert play.legal() == ["two"]


def test_a_request_that_cannot_be_renewed_is_rejected() -> None:
    play = Play(
        """
roles: [boss]
steps:
  price: {tool: a.price}
  ask:
    needs: price
    approval: {roles: [boss], timeout: 1h, renew: 1, binds: [steps.price.result.x]}
  check: {tool: a.check, needs: price, on: {failure: {redo: [price], max: 1}}}
  buy: {tool: a.buy, needs: [ask, check]}
"""
    )
    play.call("a.price", succeeded(x=1))
    play.call("a.check", failed())
    play.later(hours=2)
    assert play.approval("ask").status == "rejected"
    assert play.later(hours=2) == []


def test_an_undo_that_was_answered_badly_is_not_offered_again() -> None:
    play = Play(UNDO)
    play.call("a.one")
    play.call("a.two", failed())
    play.call("a.tidy")
    call = play.start("a.undo_one")
    play.end(call, Failed("invalid_result", "not what the schema says"))
    assert play.legal() == []
    play.do("resolved", call, True, "alice", "the money is back")
    assert play.run.status == "failed"
