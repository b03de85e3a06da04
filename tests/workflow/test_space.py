"""The packed exploration, on workflows small enough to be followed by hand."""

from __future__ import annotations

from support.play import compiled

from mcpuppet.workflow.marking import PENDING, SKIPPED, SUCCESS
from mcpuppet.workflow.space import Model, Space, explore

APPROVAL = "approval: {roles: [boss], timeout: 1h"


def space(body: str, max_states: int = 10_000, **model: object) -> Space:
    return explore(compiled(body), max_states=max_states, model=Model(**model))  # type: ignore[arg-type]


def after(explored: Space, *causes: str) -> int:
    """The state after these causes."""
    number = 0
    for cause in causes:
        known = {explored.label(label): target for label, target in explored.edges(number)}
        assert cause in known, (cause, sorted(known))
        number = known[cause]
    return number


def causes(explored: Space, *taken: str) -> list[str]:
    """What can happen after these causes."""
    return sorted(explored.label(label) for label, _ in explored.edges(after(explored, *taken)))


def told(explored: Space, *taken: str) -> tuple[str, ...]:
    """Everything that the last of these causes brings with it."""
    *before, last = taken
    number = after(explored, *before)
    return next(
        explored.events(number, label, target)
        for label, target in explored.edges(number)
        if explored.label(label) == last
    )


def test_one_step_has_five_states() -> None:
    one = space("steps:\n  a: {tool: s.a}\n")
    modes = [one.mode(number) for number in range(len(one.states))]
    assert modes == ["new", "active", "active", "completed", "failed"]
    assert one.complete
    assert one.size == 4


def test_a_trace_tells_every_event_in_order() -> None:
    one = space("""
steps:
  a: {tool: s.a, returns: {ok: {type: boolean}}}
  b: {tool: s.b, needs: a, when: steps.a.result.ok}
  c: {tool: s.c, needs: b}
  ask: {approval: {roles: [boss], timeout: 1h}, needs: {c: skipped}}
""")
    asked = after(one, "start", "a.call", "a.success{ok=false}")
    assert one.trace(asked) == (
        "start",
        "a.call",
        "a.success{ok=false}",
        "b.skipped",
        "c.skipped",
        "ask.call",
    )
    assert one.cause(asked) == "a.success{ok=false}"


def test_an_event_is_named_by_what_becomes_of_the_step() -> None:
    one = space("""
steps:
  a:
    tool: s.a
    returns: {ok: {type: boolean}, done: {type: boolean}}
    success: result.ok
    repeat: {max: 2, until: result.done}
    retry: {attempts: 2}
""")
    assert causes(one, "start", "a.call") == [
        "a.failure",
        "a.repeat{ok=true,done=false}",
        "a.retry",
        "a.success{ok=true,done=true}",
    ]


def test_attempts_are_counted_when_asked_for() -> None:
    body = "steps:\n  a: {tool: s.a, retry: {attempts: 3}}\n"
    again = ("a.call", "a.retry")
    free = space(body)
    assert after(free, "start", *again) == after(free, "start")
    counted = space(body, attempts=True)
    assert causes(counted, "start", *again, *again, "a.call") == ["a.failure", "a.success"]


def test_attempts_are_counted_where_a_limit_counts_calls() -> None:
    one = space("""
steps:
  a: {tool: s.a, retry: {attempts: 5}}
policies:
  - {id: p, call: a, at_most: 2, per: run}
""")
    again = ("a.call", "a.retry")
    assert causes(one, "start", *again, *again) == []


def test_a_held_step_is_settled_by_a_person_either_way() -> None:
    one = space(
        "steps:\n  a: {tool: s.a}\n  b: {tool: s.b, needs: a, when: steps.a.result.n > 1}\n"
    )
    held = ("start", "a.call", "a.success{n=missing}")
    assert causes(one, *held) == ["b.released{ready=false}", "b.released{ready=true}"]
    assert causes(one, *held, "b.released{ready=true}") == ["b.call"]
    assert told(one, *held, "b.released{ready=false}")[1:] == ("b.skipped",)


def test_a_result_that_cannot_be_judged_is_resolved_by_a_person() -> None:
    one = space("steps:\n  a: {tool: s.a, success: result.n > 1}\n")
    running = ("start", "a.call")
    assert causes(one, *running) == [
        "a.failure",
        "a.resolved{happened=false}",
        "a.resolved{happened=true}",
        "a.success{n=2}",
    ]
    assert told(one, *running, "a.resolved{happened=true}")[1] == "a.success"
    assert after(one, *running, "a.resolved{happened=false}") == after(one, "start")


def test_unknown_outcomes_are_resolved_where_asked_for() -> None:
    body = "steps:\n  a: {tool: s.a, returns: {n: {type: integer}}}\n"
    assert not any("resolved" in one for one in causes(space(body), "start", "a.call"))
    assert "a.resolved{happened=true}" in causes(space(body, unknown=True), "start", "a.call")


def test_a_run_may_time_out_in_every_state_where_asked_for() -> None:
    body = """
steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: a}
  last: {tool: s.last, finally: true}
"""
    assert "run.timeout" not in causes(space(body), "start")
    one = space(body, timeout=True)
    assert told(one, "start", "run.timeout") == ("run.timeout", "a.skipped", "b.skipped")
    over = after(one, "start", "run.timeout", "last.call", "last.success")
    assert one.mode(over) == "timed_out"


def test_a_guard_outside_the_fragment_holds_or_not() -> None:
    one = space("""
inputs: {x: {type: integer}, y: {type: integer}}
steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: a, when: inputs.x > inputs.y}
""")
    assert causes(one, "start", "a.call") == [
        "a.failure",
        "a.success{?b.when=false}",
        "a.success{?b.when=true}",
    ]
    assert causes(one, "start", "a.call", "a.success{?b.when=true}") == ["b.call"]


def test_a_redo_tells_what_is_skipped_again() -> None:
    one = space("""
steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: {a: failure}}
  c: {tool: s.c, needs: {a: [success, failure]}, on: {failure: {redo: [c], max: 1}}}
  d: {tool: s.d, needs: {b: success, c: success}}
""")
    way = ("start", "a.call", "a.success", "c.call", "c.failure")
    assert told(one, "start", "a.call", "a.success") == ("a.success", "b.skipped", "d.skipped")
    assert told(one, *way) == ("c.failure", "d.skipped")
    assert causes(one, *way) == ["c.call"]


def test_an_expiry_for_good_is_a_rejection_too() -> None:
    one = space(f"steps:\n  a: {{{APPROVAL}, renew: 1}}}}\n  b: {{tool: s.b, needs: a}}\n")
    assert told(one, "start", "a.expired") == ("a.expired",)
    last = told(one, "start", "a.expired", "a.expired")
    assert last == ("a.expired", "a.rejected", "b.skipped")
    assert one.mode(after(one, "start", "a.expired", "a.expired")) == "rejected"


FRESH = f"""
steps:
  ask: {{{APPROVAL}, renew: RENEW}}}}
  pay: {{tool: s.pay, needs: ask}}
policies:
  - {{id: fresh, call: pay, within: 15m, of: ask.approved}}
"""


def test_a_grant_that_goes_stale_is_asked_for_again() -> None:
    one = space(FRESH.replace("RENEW", "1"))
    granted = ("start", "ask.approved")
    assert causes(one, *granted) == ["ask.expired", "pay.call"]
    again = (*granted, "ask.expired", "ask.approved")
    assert told(one, *again, "ask.expired") == ("ask.expired", "ask.rejected", "pay.skipped")
    assert one.left_out == ("fresh",)


def test_a_stale_grant_that_cannot_be_renewed_is_rejected() -> None:
    one = space(FRESH.replace("RENEW", "0"))
    assert one.mode(after(one, "start", "ask.approved", "ask.expired")) == "rejected"


def test_policies_of_the_run_refuse_and_others_are_left_out() -> None:
    one = space("""
roles: [boss]
steps:
  a: {tool: s.a}
  b: {tool: s.b}
  c: {tool: s.c}
policies:
  - {id: first, call: b, requires: a.success}
  - {id: never, call: c, forbidden_after: a.call}
  - {id: apart, call: [a, c], mutex: true}
  - {id: wide, call: [a, c], mutex: true, scope: workflow}
  - {id: daily, call: a, at_most: 0, per: 1d}
  - {id: role, call: a, roles: [boss]}
""")
    assert causes(one, "start") == ["a.call", "c.call"]
    assert causes(one, "start", "c.call") == ["c.failure", "c.success"]
    assert causes(one, "start", "a.call", "a.success") == ["b.call"]
    assert one.left_out == ("wide", "daily", "role")


def test_policies_can_be_taken_away() -> None:
    body = """
steps:
  a: {tool: s.a}
policies:
  - {id: none, call: a, at_most: 0, per: run}
"""
    assert causes(space(body), "start") == []
    assert causes(space(body, without=frozenset({"none"})), "start") == ["a.call"]


def test_tools_under_different_policies_are_different_calls() -> None:
    one = space("""
steps:
  a: {tool: [s.a, t.a]}
  b: {tool: s.b}
policies:
  - {id: apart, call: "s.*", mutex: true}
""")
    assert causes(one, "start") == ["a.call{tool=s.a}", "a.call{tool=t.a}", "b.call"]
    assert "b.call" not in causes(one, "start", "a.call{tool=s.a}")
    assert "b.call" in causes(one, "start", "a.call{tool=t.a}")


def test_a_read_only_tool_can_use_up_a_shared_limit() -> None:
    one = space("""
tools: {always: [s.look]}
steps:
  a: {tool: s.a}
policies:
  - {id: p, call: [a, s.look], at_most: 1, per: run}
""")
    assert causes(one, "start") == ["a.call", "s.look.call"]
    assert causes(one, "start", "s.look.call") == []


def test_a_policy_may_keep_a_step_from_being_undone() -> None:
    one = space("""
steps:
  a: {tool: s.a, compensate: {tool: s.undo}}
  b: {tool: s.b, needs: a}
policies:
  - {id: p, call: s.undo, forbidden_after: b.failure}
""")
    failed = ("start", "a.call", "a.success", "b.call", "b.failure")
    assert causes(one, *failed) == []
    assert one.mode(after(one, *failed)) == "failing"


def test_statuses_can_be_read_from_a_state() -> None:
    one = space("steps:\n  a: {tool: s.a}\n  b: {tool: s.b, needs: {a: failure}}\n  c: {tool: s.c}")
    number = after(one, "start", "a.call", "a.success")
    assert [one.status(number, step) for step in range(3)] == [SUCCESS, SKIPPED, PENDING]
    assert not one.ends(number)


def test_an_exploration_stops_at_its_limit() -> None:
    body = "steps:\n" + "".join(f"  s{n}: {{tool: s.t{n}}}\n" for n in range(12))
    one = space(body, max_states=500)
    assert not one.complete
    assert 500 < len(one.states) < 600
    assert one.trace(len(one.states) - 1)[0] == "start"


def test_too_many_classes_are_not_claimed_to_be_complete() -> None:
    inputs = ", ".join(f"x{n}: {{type: integer}}" for n in range(9))
    when = " && ".join(f"inputs.x{n} > 0" for n in range(9))
    one = space(f"inputs: {{{inputs}}}\nsteps:\n  a: {{tool: s.a, when: {when}}}\n")
    assert not one.complete
