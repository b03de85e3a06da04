"""The flat machine, on workflows small enough to be followed by hand."""

from __future__ import annotations

import ast
import random
from pathlib import Path

import pytest
from support.generated import MOST_STATES, random_workflow

import mcpuppet.workflow
from mcpuppet.workflow.flat import FlatMachine, callable_steps, explore, to_transitions
from mcpuppet.workflow.flat_state import FlatState
from mcpuppet.workflow.parser import parse_workflow

APPROVAL = "approval: {roles: [boss], timeout: 1h"


def machine(body: str, limit: int = 2000) -> FlatMachine:
    text = f"mcpuppet: 1\nworkflow: w\nversion: 1.0.0\n{body}"
    parsed = parse_workflow(text, "w.yaml")
    assert parsed.definition is not None, parsed.findings
    return explore(parsed.definition, limit=limit)


def after(flat: FlatMachine, *labels: str) -> FlatState:
    """The state after these labels; an IndexError-free failure names the label that did not fit."""
    state = flat.initial
    for label in labels:
        assert label in flat.labels_from(state), (label, list(flat.labels_from(state)))
        state = flat.labels_from(state)[label]
    return state


def labels(flat: FlatMachine, *taken: str) -> list[str]:
    return sorted(flat.labels_from(after(flat, *taken)))


def statuses(flat: FlatMachine, *taken: str) -> dict[str, str]:
    return dict(after(flat, *taken).status)


def test_one_step_has_five_states() -> None:
    flat = machine("steps:\n  a: {tool: s.a}")
    assert [state.name for state in flat.states] == [
        "new",
        "active",
        "active: a running",
        "completed: a success",
        "failed: a failure",
    ]
    assert [label for _, label, _ in flat.transitions] == [
        "start",
        "a.call",
        "a.success",
        "a.failure",
    ]
    assert flat.complete


def test_branches_that_exclude_each_other_go_by_the_classes_of_the_score() -> None:
    flat = machine("""
steps:
  a: {tool: s.a, returns: {score: {type: number, minimum: 0, maximum: 1}}}
  low: {tool: s.low, needs: a, when: steps.a.result.score < 0.8}
  high: {tool: s.high, needs: a, when: steps.a.result.score >= 0.8}
""")
    assert labels(flat, "start", "a.call") == [
        "a.failure",
        "a.success{score=0.8}",
        "a.success{score=0}",
        "a.success{score=1}",
    ]
    assert labels(flat, "start", "a.call", "a.success{score=0}") == ["low.call"]
    assert labels(flat, "start", "a.call", "a.success{score=0.8}") == ["high.call"]
    assert labels(flat, "start", "a.call", "a.success{score=1}") == ["high.call"]
    assert flat.values["a.success{score=0.8}"] == {"steps.a.result.score": 0.8}


def test_inputs_are_chosen_at_the_start() -> None:
    flat = machine("""
inputs: {x: {type: integer, minimum: 0}, unread: {type: string}}
steps:
  a: {tool: s.a, when: inputs.x > 0}
  b: {tool: s.b}
""")
    assert labels(flat) == ["start{inputs.x=0}", "start{inputs.x=1}"]
    assert labels(flat, "start{inputs.x=0}") == ["b.call"]
    assert labels(flat, "start{inputs.x=1}") == ["a.call", "b.call"]


def test_steps_without_needs_interleave() -> None:
    flat = machine("steps:\n  a: {tool: s.a}\n  b: {tool: s.b}")
    assert labels(flat, "start", "a.call") == ["a.failure", "a.success", "b.call"]
    assert after(flat, "start", "a.call", "a.success", "b.call", "b.success") == after(
        flat, "start", "b.call", "a.call", "b.success", "a.success"
    )


def test_skipping_goes_on_transitively_and_an_outcome_map_stops_it() -> None:
    flat = machine("""
steps:
  a: {tool: s.a, returns: {ok: {type: boolean}}}
  b: {tool: s.b, needs: a, when: steps.a.result.ok}
  c: {tool: s.c, needs: b}
  d: {tool: s.d, needs: {c: [success, skipped]}}
""")
    taken = ("start", "a.call", "a.success{ok=false}")
    assert statuses(flat, *taken) == {
        "a": "success",
        "b": "skipped",
        "c": "skipped",
        "d": "pending",
    }
    assert labels(flat, *taken) == ["d.call"]


def test_an_any_join_starts_at_the_first_and_gives_up_at_the_last() -> None:
    flat = machine("""
steps:
  a: {tool: s.a, on_failure: continue}
  b: {tool: s.b, on_failure: continue}
  c: {tool: s.c, needs: {a: success, b: success, join: any}}
""")
    assert "c.call" in labels(flat, "start", "a.call", "a.success")
    assert "c.call" not in labels(flat, "start", "a.call", "a.failure")
    ended = after(flat, "start", "a.call", "a.failure", "b.call", "b.failure")
    assert ended.name == "completed: a failure, b failure, c skipped"


def test_a_guard_that_misses_a_value_holds_its_step_and_the_run() -> None:
    flat = machine(
        "steps:\n  a: {tool: s.a}\n  b: {tool: s.b, needs: a, when: steps.a.result.n > 1}"
    )
    held = after(flat, "start", "a.call", "a.success{n=missing}")
    assert held.name == "active: a success"
    assert flat.labels_from(held) == {}


def test_approvals_open_by_themselves_and_are_decided() -> None:
    flat = machine(f"roles: [boss]\nsteps:\n  a: {{{APPROVAL}}}}}\n  b: {{tool: s.b, needs: a}}")
    assert labels(flat, "start") == ["a.approved", "a.expired", "a.rejected"]
    assert labels(flat, "start", "a.approved") == ["b.call"]
    assert after(flat, "start", "a.rejected").name == "rejected: a failure, b skipped"
    assert after(flat, "start", "a.expired").name == "rejected: a failure, b skipped"


def test_an_expired_approval_reopens_as_often_as_it_may() -> None:
    flat = machine(f"steps:\n  a: {{{APPROVAL}, renew: 2}}}}")
    twice = after(flat, "start", "a.expired", "a.expired")
    assert twice.name == "active: a running"
    assert after(flat, "start", "a.expired", "a.expired", "a.expired").phase == "rejected"
    assert after(flat, "start", "a.expired", "a.approved").phase == "completed"


def test_a_bypass_is_offered_where_its_guard_holds() -> None:
    flat = machine(f"""
inputs: {{urgent: {{type: boolean}}}}
steps:
  a: {{{APPROVAL}, bypass: {{roles: [boss], justification: 9, when: inputs.urgent}}}}}}
  b: {{tool: s.b, needs: {{a: bypassed}}}}
""")
    assert "a.bypassed" not in labels(flat, "start{inputs.urgent=false}")
    assert labels(flat, "start{inputs.urgent=true}", "a.bypassed") == ["b.call"]
    assert after(flat, "start{inputs.urgent=true}", "a.approved").phase == "completed"


def test_a_rejection_that_is_needed_somewhere_is_handled() -> None:
    flat = machine(f"steps:\n  a: {{{APPROVAL}}}}}\n  b: {{tool: s.b, needs: {{a: rejected}}}}")
    assert labels(flat, "start", "a.rejected") == ["b.call"]
    assert after(flat, "start", "a.approved").name == "completed: a success, b skipped"


def test_attempts_are_used_up_and_counted_anew_after_a_success() -> None:
    flat = machine("""
steps:
  a:
    tool: s.a
    returns: {ok: {type: boolean}}
    retry: {attempts: 2}
    repeat: {max: 2, until: result.ok}
""")
    once = ("start", "a.call", "a.retry", "a.call")
    assert labels(flat, *once) == ["a.failure", "a.success{ok=false}", "a.success{ok=true}"]
    assert after(flat, *once, "a.failure").phase == "failed"
    assert "a.retry" in labels(flat, *once, "a.success{ok=false}", "a.call")


def test_a_repeat_ends_with_its_condition_or_fails_at_its_last_call() -> None:
    flat = machine("""
steps:
  a: {tool: s.a, repeat: {max: 3, until: result.ok}, returns: {ok: {type: boolean}}}
""")
    again = ("a.call", "a.success{ok=false}")
    assert labels(flat, "start", *again, *again) == ["a.call"]
    assert after(flat, "start", *again, *again, "a.call", "a.success{ok=true}").phase == "completed"
    assert after(flat, "start", *again, *again, *again).phase == "failed"


def test_a_false_success_guard_is_a_failure_and_one_that_errs_holds_the_call() -> None:
    flat = machine("steps:\n  a: {tool: s.a, success: result.n > 1}")
    running = after(flat, "start", "a.call")
    assert flat.labels_from(running)["a.success{n=missing}"] == running
    assert after(flat, "start", "a.call", "a.success{n=0}").phase == "failed"
    assert after(flat, "start", "a.call", "a.success{n=2}").phase == "completed"


REDO = """
steps:
  draft: {tool: s.draft, returns: {n: {type: integer, minimum: 0}}}
  extra: {tool: s.extra, needs: draft, when: steps.draft.result.n > 0}
  more: {tool: s.more, needs: extra}
  check: {tool: s.check, needs: draft, on: {failure: {redo: [draft], max: 1}}}
"""


def test_a_redo_takes_back_its_steps_and_those_skipped_after_them() -> None:
    flat = machine(REDO)
    taken = ("start", "draft.call", "draft.success{n=0}", "check.call")
    assert statuses(flat, *taken)["more"] == "skipped"
    assert statuses(flat, *taken, "check.failure") == dict.fromkeys(
        ["draft", "extra", "more", "check"], "pending"
    )
    assert labels(flat, *taken, "check.failure") == ["draft.call"]


def test_a_redo_budget_is_not_given_back() -> None:
    flat = machine(REDO)
    once = ("draft.call", "draft.success{n=0}", "check.call", "check.failure")
    assert after(flat, "start", *once, *once).phase == "failed"


def test_a_redo_leaves_running_steps_and_finished_dependents_alone() -> None:
    flat = machine(REDO)
    taken = ("start", "draft.call", "draft.success{n=1}", "check.call")
    assert statuses(flat, *taken, "extra.call", "check.failure")["extra"] == "running"
    assert statuses(flat, *taken, "extra.call", "extra.success", "check.failure") == {
        "draft": "pending",
        "extra": "success",
        "more": "pending",
        "check": "pending",
    }


def test_a_rejection_can_be_reworked() -> None:
    flat = machine(f"""
steps:
  draft: {{tool: s.draft}}
  ask: {{needs: draft, {APPROVAL}}}, on: {{rejected: {{redo: [draft, ask], max: 1}}}}}}
""")
    taken = ("start", "draft.call", "draft.success", "ask.rejected")
    assert labels(flat, *taken) == ["draft.call"]
    assert after(flat, *taken, *taken[1:]).phase == "rejected"


FAILING = f"""
steps:
  a: {{tool: s.a}}
  slow: {{tool: s.slow, retry: {{attempts: 3}}}}
  ask: {{{APPROVAL}}}}}
  later: {{tool: s.later, needs: a}}
  cleanup: {{tool: s.cleanup, needs: {{a: failure}}, finally: true}}
  bad: {{tool: s.bad}}
"""


def test_a_failing_run_skips_what_has_not_started_and_closes_approvals() -> None:
    flat = machine(FAILING)
    failing = ("start", "slow.call", "bad.call", "bad.failure")
    assert after(flat, *failing).name == (
        "failing: a skipped, slow running, ask skipped, later skipped, cleanup skipped, bad failure"
    )
    assert labels(flat, *failing) == ["slow.failure", "slow.success"]
    assert after(flat, *failing, "slow.success").phase == "failed"
    assert after(flat, *failing, "slow.failure").phase == "failed"


def test_a_finally_step_stays_legal_while_the_run_is_failing() -> None:
    flat = machine(FAILING)
    taken = ("start", "a.call", "bad.call", "bad.failure", "a.failure")
    assert labels(flat, *taken) == ["cleanup.call"]
    assert after(flat, *taken, "cleanup.call", "cleanup.success").phase == "failed"
    assert after(flat, *taken, "cleanup.call", "cleanup.failure").phase == "failed"


def test_a_finally_approval_stays_open_and_a_later_rejection_does_not_change_the_end() -> None:
    flat = machine(f"steps:\n  bad: {{tool: s.bad}}\n  ask: {{{APPROVAL}}}, finally: true}}")
    taken = ("start", "bad.call", "bad.failure")
    assert labels(flat, *taken) == ["ask.approved", "ask.expired", "ask.rejected"]
    assert after(flat, *taken, "ask.rejected").phase == "failed"


def test_compensations_are_offered_from_the_last_step_back() -> None:
    flat = machine("""
steps:
  a: {tool: s.a, compensate: {tool: s.undo_a}}
  b: {tool: s.b, needs: a}
  c: {tool: s.c, needs: b, compensate: {tool: s.undo_c}}
  other: {tool: s.other, needs: a, compensate: {tool: s.undo_other}}
  bad: {tool: s.bad, needs: [c, other]}
""")
    done = [f"{name}.{event}" for name in ("a", "b", "c", "other") for event in ("call", "success")]
    failed = ("start", *done, "bad.call", "bad.failure")
    assert labels(flat, *failed) == ["c.compensate", "other.compensate"]
    assert labels(flat, *failed, "c.compensate") == ["other.compensate"]
    assert labels(flat, *failed, "c.compensate", "other.compensate") == ["a.compensate"]
    everything = (*failed, "other.compensate", "c.compensate", "a.compensate")
    assert after(flat, *everything).phase == "failed"


def test_nothing_is_compensated_unless_the_run_fails() -> None:
    flat = machine(
        "steps:\n  a: {tool: s.a, compensate: {tool: s.undo}}\n  b: {tool: s.b, needs: a}"
    )
    assert labels(flat, "start", "a.call", "a.success") == ["b.call"]
    assert after(flat, "start", "a.call", "a.success", "b.call", "b.success").phase == "completed"


def test_optional_steps_end_with_the_run_unless_they_are_running() -> None:
    flat = machine(f"""
steps:
  a: {{tool: s.a}}
  maybe: {{tool: s.maybe, optional: true}}
  ask: {{{APPROVAL}}}, optional: true}}
""")
    assert after(flat, "start", "a.call", "a.success").name == (
        "completed: a success, maybe skipped, ask skipped"
    )
    assert after(flat, "start", "maybe.call", "a.call", "a.success").phase == "active"


def test_a_mutex_keeps_two_steps_apart_but_never_blocks_the_step_itself() -> None:
    flat = machine("""
steps:
  a: {tool: s.a, retry: {attempts: 2}}
  b: {tool: s.b}
  c: {tool: t.c}
policies:
  - {id: m, call: "s.*", mutex: true}
""")
    assert labels(flat, "start", "a.call") == ["a.retry", "a.success", "c.call"]
    assert "a.call" in labels(flat, "start", "a.call", "a.retry")
    assert "b.call" in labels(flat, "start", "a.call", "a.success")


def test_at_most_counts_every_attempt_of_all_matched_steps() -> None:
    flat = machine("""
steps:
  a: {tool: s.a, retry: {attempts: 3}, on_failure: continue}
  b: {tool: s.b}
policies:
  - {id: m, call: [a, b], at_most: 2, per: run}
""")
    assert labels(flat, "start", "a.call", "a.retry", "a.call", "a.success") == []
    assert labels(flat, "start", "a.call", "a.retry", "b.call") == ["b.failure", "b.success"]


def test_requires_and_forbidden_after_look_at_events_of_this_run() -> None:
    flat = machine("""
steps:
  a: {tool: s.a}
  b: {tool: s.b}
  c: {tool: s.c}
policies:
  - {id: r, call: b, requires: [a.success, c.failure]}
  - {id: f, call: c, forbidden_after: a.call}
""")
    assert labels(flat, "start") == ["a.call", "c.call"]
    assert labels(flat, "start", "a.call") == ["a.failure", "a.success"]
    assert labels(flat, "start", "a.call", "a.success") == ["b.call"]


def test_a_redo_takes_back_the_events_of_its_steps() -> None:
    flat = machine("""
steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: a, on: {failure: {redo: [a, b], max: 1}}}
  c: {tool: s.c}
policies:
  - {id: r, call: c, requires: a.success}
""")
    assert labels(flat, "start", "a.call", "a.success") == ["b.call", "c.call"]
    assert labels(flat, "start", "a.call", "a.success", "b.call", "b.failure") == ["a.call"]


def test_a_step_that_a_redo_brings_back_was_not_skipped() -> None:
    flat = machine(
        REDO
        + """  last: {tool: s.last}
policies:
  - {id: r, call: last, requires: more.skipped}
"""
    )
    skipped = ("start", "draft.call", "draft.success{n=0}", "check.call")
    assert "last.call" in labels(flat, *skipped)
    assert labels(flat, *skipped, "check.failure") == ["draft.call"]


def test_a_redo_leaves_a_listed_step_alone_while_it_is_running() -> None:
    flat = machine("""
steps:
  a: {tool: s.a}
  b: {tool: s.b}
  c:
    tool: s.c
    needs: {a: success, b: success, join: any}
    on: {failure: {redo: [a, b], max: 1}}
""")
    redone = ("start", "a.call", "a.success", "b.call", "c.call", "c.failure")
    assert statuses(flat, *redone) == {"a": "pending", "b": "running", "c": "pending"}


def test_a_failing_run_repeats_nothing() -> None:
    flat = machine("""
steps:
  a: {tool: s.a, repeat: {max: 3, until: result.ok}, returns: {ok: {type: boolean}}}
  bad: {tool: s.bad}
""")
    taken = ("start", "a.call", "bad.call", "bad.failure", "a.success{ok=false}")
    assert after(flat, *taken).name == "failed: a failure, bad failure"


def test_an_opaque_guard_is_asked_anew_after_a_redo() -> None:
    flat = machine("""
inputs: {x: {type: string}}
steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: a, when: size(inputs.x) > 1}
  c: {tool: s.c, needs: a, on: {failure: {redo: [a], max: 1}}}
""")
    redone = ("start", "a.call", "a.success{?b.when=false}", "c.call", "c.failure", "a.call")
    assert "a.success{?b.when=true}" in labels(flat, *redone)


def test_a_policy_on_some_tools_of_a_step_does_not_block_it() -> None:
    flat = machine("""
steps:
  a: {tool: [s.a, t.a]}
  b: {tool: s.b, needs: {a: failure}}
policies:
  - {id: m, call: "s.*", at_most: 0, per: run}
""")
    assert labels(flat, "start") == ["a.call"]
    assert labels(flat, "start", "a.call", "a.failure") == []


def test_opaque_guards_are_free_booleans() -> None:
    flat = machine("""
inputs: {x: {type: string}}
steps:
  a: {tool: s.a, success: size(result.t) > 1}
  b: {tool: s.b, needs: a, when: inputs.x.startsWith("q")}
""")
    assert labels(flat, "start", "a.call") == [
        "a.failure",
        "a.success{?success=false}",
        "a.success{?success=true,?b.when=false}",
        "a.success{?success=true,?b.when=true}",
    ]
    yes = ("start", "a.call", "a.success{?success=true,?b.when=true}")
    assert labels(flat, *yes) == ["b.call"]


def test_a_limit_stops_the_exploration_and_is_told() -> None:
    body = "steps:\n" + "".join(f"  s{n}: {{tool: s.t}}\n" for n in range(12))
    flat = machine(body, limit=100)
    assert not flat.complete
    assert len(flat.states) <= 120


def test_more_classes_than_fit_are_not_all_read() -> None:
    inputs = "".join(f"  i{n}: {{type: integer}}\n" for n in range(12))
    guard = " || ".join(f"inputs.i{n} > 1 && inputs.i{n} < 5" for n in range(12))
    flat = machine(f"inputs:\n{inputs}steps:\n  a: {{tool: s.a, when: {guard}}}\n", limit=50)
    assert not flat.complete


def test_a_long_chain_of_skips_does_not_recurse() -> None:
    steps = "  s0: {tool: s.t, when: false}\n"
    steps += "".join(f"  s{n}: {{tool: s.t, needs: s{n - 1}}}\n" for n in range(1, 3_000))
    flat = machine(f"steps:\n{steps}")
    assert [state.phase for state in flat.states] == ["new", "completed"]


def test_callable_steps_are_those_of_the_labels() -> None:
    flat = machine(f"""
steps:
  a: {{tool: s.a}}
  ask: {{{APPROVAL}}}, needs: a}}
  never: {{tool: s.never, needs: a, when: false}}
""")
    assert callable_steps(flat) == {"a", "ask"}


def test_the_exported_machine_walks_like_the_explored_one() -> None:
    flat = machine(REDO)
    exported = to_transitions(flat)
    names = {state: f"s{number}" for number, state in enumerate(flat.states)}
    rng = random.Random(1)
    state = flat.initial
    while flat.labels_from(state):
        label = rng.choice(sorted(flat.labels_from(state)))
        state = flat.labels_from(state)[label]
        assert exported.trigger(label)
        assert exported.state == names[state]
    assert set(exported.states) == set(names.values())
    assert not any(trigger.startswith("to_") for trigger in exported.events)


@pytest.mark.parametrize("seed", range(25))
def test_generated_workflows_keep_the_invariants(seed: int) -> None:
    parsed = parse_workflow(random_workflow(random.Random(seed)), "generated.yaml")
    assert parsed.definition is not None
    flat = explore(parsed.definition, limit=MOST_STATES)
    assert flat.complete
    for state in flat.states:
        status = dict(state.status)
        running = [name for name, one in status.items() if one == "running"]
        if state.phase in ("completed", "failed", "rejected"):
            assert not flat.labels_from(state)
            assert "pending" not in status.values()
            assert not running
        for name in running:
            assert any(label.startswith(f"{name}.") for label in flat.labels_from(state))
    assert callable_steps(flat) == set(parsed.definition.steps)


def test_the_same_seed_gives_the_same_workflow() -> None:
    assert random_workflow(random.Random(5)) == random_workflow(random.Random(5))


def test_the_flat_machine_shares_no_code_with_what_it_is_compared_to() -> None:
    folder = Path(mcpuppet.workflow.__file__).parent
    waiting, seen = ["flat"], set()
    while waiting:
        module = waiting.pop()
        seen.add(module)
        for node in ast.walk(ast.parse((folder / f"{module}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mcpuppet."):
                assert str(node.module).startswith(("mcpuppet.workflow", "mcpuppet.errors"))
                inner = str(node.module).removeprefix("mcpuppet.workflow").lstrip(".")
                names = [inner] if inner else [alias.name for alias in node.names]
                found = {name for name in names if (folder / f"{name}.py").exists()}
                waiting += sorted(found - seen - set(waiting))
    assert not seen & {"compiler", "marking", "machine"}
