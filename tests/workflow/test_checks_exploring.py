"""Checks on all states of a run: what they find, where, and by which trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpuppet.workflow.checks import check
from mcpuppet.workflow.findings import Finding
from mcpuppet.workflow.parser import parse_workflow

HEAD = "mcpuppet: 1\nworkflow: w\nversion: 1.0.0\nroles: [boss]\n"
OURS = ("WF302", "WF303", "WF304", "WF407", "WF510", "WF512", "WF513", "WF901")
WORKFLOWS = Path(__file__).parents[2] / "workflows"


def findings(body: str) -> list[Finding]:
    """What these checks find in a workflow whose body starts in line 5."""
    found = check(parse_workflow(HEAD + body, "w.yaml"))
    return [one for one in found if one.code.number in OURS]


def codes(body: str) -> list[str]:
    """`CODE line` of every finding."""
    return [f"{one.code.number} {one.place.line}" for one in findings(body)]


def only(body: str) -> Finding:
    (one,) = findings(body)
    return one


# What no run calls


def test_branches_that_exclude_each_other_are_not_joined_by_all() -> None:
    assert codes("""inputs: {x: {type: integer}}
steps:
  a: {tool: s.a, when: inputs.x > 1}
  b: {tool: s.b, when: inputs.x < 1}
  c: {tool: s.c, needs: [a, b]}
  d: {tool: s.d, needs: c}
""") == ["WF302 9", "WF302 10"]


def test_policies_that_wait_for_each_other_are_a_deadlock_and_their_steps_reachable() -> None:
    one, other = findings("""steps:
  a: {tool: s.a}
  b: {tool: s.b}
  c: {tool: s.c, needs: b}
policies:
  - {id: p, call: a, requires: b.success}
  - {id: q, call: b, requires: a.success}
""")
    assert [str(found).partition(" error ")[2] for found in (one, other)] == [
        "policy-deadlock: step 'a' can never be called: whenever its turn comes, "
        "policy 'p' refuses it",
        "policy-deadlock: step 'b' can never be called: whenever its turn comes, "
        "policy 'q' refuses it",
    ]
    assert (one.place.line, other.place.line) == (10, 11)
    assert one.trace == ("start",)


def test_a_step_that_only_policies_together_refuse_is_reported_at_the_first() -> None:
    assert codes("""inputs: {x: {type: boolean}}
steps:
  a: {tool: s.a, when: inputs.x}
  b: {tool: s.b, when: "!inputs.x"}
  c: {tool: s.c}
policies:
  - {id: p, call: c, requires: a.success}
  - {id: q, call: c, requires: b.success}
""") == ["WF510 11"]


def test_a_limit_of_none_is_a_deadlock() -> None:
    assert codes("""steps:
  a: {tool: s.a}
policies:
  - {id: p, call: a, at_most: 0, per: run}
""") == ["WF510 8"]


# Runs that do not finish


def test_a_required_step_that_was_skipped_strands_the_run() -> None:
    one = only("""inputs: {x: {type: boolean}}
steps:
  check: {tool: s.check, when: inputs.x}
  pay: {tool: s.pay}
policies:
  - {id: checked, call: pay, requires: check.success}
""")
    assert (one.code.number, one.place.line) == ("WF510", 10)
    assert one.trace == ("start{inputs.x=false}", "check.skipped")
    assert "requires check.success, which then cannot happen" in one.message


def test_a_limit_that_retries_use_up_is_a_dead_end() -> None:
    one = only("""steps:
  a: {tool: s.a, retry: {attempts: 2}}
policies:
  - {id: p, call: a, at_most: 1, per: run}
""")
    assert (one.code.number, one.place.line) == ("WF303", 6)
    assert one.trace == ("start", "a.call", "a.retry")


def test_a_legal_call_after_which_the_run_cannot_finish_is_the_point_of_no_return() -> None:
    one = only("""steps:
  export: {tool: s.export}
  delete: {tool: s.delete}
  tell: {tool: s.tell, needs: delete, on_failure: continue}
policies:
  - {id: p, call: export, forbidden_after: delete.call}
""")
    assert (one.code.number, one.place.line) == ("WF304", 6)
    assert one.trace == ("start", "delete.call", "delete.success")
    assert one.message.startswith("after 'delete.success' the run cannot finish")


def test_a_compensation_that_a_policy_refuses_is_a_dead_end() -> None:
    assert codes("""steps:
  a: {tool: s.a, compensate: {tool: s.undo}}
  b: {tool: s.b, needs: a}
policies:
  - {id: p, call: s.undo, forbidden_after: b.failure}
""") == ["WF303 6"]


def test_time_people_and_values_may_refuse_without_stranding_a_run() -> None:
    assert (
        codes("""steps:
  a: {tool: s.a}
policies:
  - {id: p, call: a, roles: [boss]}
  - {id: q, call: a, at_most: 1, per: 1d}
  - {id: r, call: a, hours: "mon-fri 08:00-18:00 Europe/Rome"}
""")
        == []
    )


def test_a_guard_that_misses_a_value_does_not_strand_a_run() -> None:
    assert (
        codes("""steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: a, when: steps.a.result.n > 1}
policies:
  - {id: p, call: a, at_most: 1, per: run}
""")
        == []
    )


# Calls that may be meant for two steps


def ambiguous(one: str, other: str) -> bool:
    """Whether two steps of one tool with these `args` are found ambiguous."""
    return codes(f"""inputs: {{name: {{type: string}}, n: {{type: integer}}}}
steps:
  a: {{tool: s.t, args: {one}}}
  b: {{tool: s.t, args: {other}}}
""") == ["WF407 8"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{x: {const: 1}}", "{x: {const: 2}}"),
        ("{x: {const: 1}}", "{x: {const: true}}"),
        ("{x: {enum: [a, b]}}", "{x: {enum: [c]}}"),
        ("{x: {enum: [a, b]}}", "{x: {pattern: '^c'}}"),
        ("{x: {type: string}}", "{x: {type: number}}"),
        ("{x: {type: number, maximum: 5}}", "{x: {type: number, exclusiveMinimum: 5}}"),
        ("{x: {type: integer, maximum: 4}}", "{x: {type: number, minimum: 5}}"),
        ("{x: {pattern: '^fact_'}}", "{x: {pattern: '^dim_'}}"),
        ("{x: {pattern: '^a\\.b'}}", "{x: {pattern: '^a\\.c'}}"),
        ("{x: {equals: '\"a\"'}}", "{x: {equals: '\"b\"'}}"),
        ("{x: {equals: '\"a_\" + inputs.name'}}", "{x: {equals: '\"b_\" + inputs.name'}}"),
        ("{x: {equals: '\"a_\" + inputs.name'}}", "{x: {pattern: '^b'}}"),
        ("{x: {type: string}}", "{x: {type: string}, y: {}}"),
    ],
)
def test_steps_are_told_apart_by_their_arguments(one: str, other: str) -> None:
    assert not ambiguous(one, other)
    assert not ambiguous(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{x: {const: 1}}", "{x: {const: 1.0}}"),
        ("{x: {enum: [a, b]}}", "{x: {enum: [b, c]}}"),
        ("{x: {type: number, maximum: 5}}", "{x: {type: number, minimum: 5}}"),
        ("{x: {maximum: 5}}", "{x: {minimum: 6}}"),  # a text is neither
        ("{x: {pattern: '^a'}}", "{x: {pattern: '^ab'}}"),
        ("{x: {pattern: '^ab*'}}", "{x: {pattern: '^ac'}}"),
        ("{x: {pattern: '^a|b'}}", "{x: {pattern: '^c'}}"),
        ("{x: {pattern: 'a'}}", "{x: {pattern: '^b'}}"),
        ("{x: {equals: inputs.name}}", "{x: {const: a}}"),
        ("{x: {equals: inputs.n + 1}}", "{x: {equals: inputs.n + 2}}"),
    ],
)
def test_what_is_not_provably_different_is_ambiguous(one: str, other: str) -> None:
    assert ambiguous(one, other)
    assert ambiguous(other, one)


def test_open_arguments_take_what_the_other_step_demands() -> None:
    assert codes("""steps:
  a: {tool: s.t, args: {x: {const: 1}, y: {}}}
  b: {tool: s.t, args: {x: {const: 1}}, args_open: true}
""") == ["WF407 7"]


def test_steps_that_are_never_ready_together_may_share_a_tool() -> None:
    assert codes("steps:\n  a: {tool: s.t}\n  b: {tool: s.t, needs: a}\n") == []
    assert (
        codes("""inputs: {x: {type: boolean}}
steps:
  a: {tool: s.t, when: inputs.x}
  b: {tool: s.t, when: "!inputs.x"}
""")
        == []
    )
    assert (
        codes("""steps:
  a: {tool: s.t}
  b: {tool: s.t}
policies:
  - {id: p, call: b, requires: [a.success, a.failure]}
""")
        == []
    )


# Policies that do nothing


def test_a_mutex_of_steps_one_after_the_other_is_vacuous() -> None:
    assert codes("""steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: a}
policies:
  - {id: p, call: [a, b], mutex: true}
""") == ["WF512 9"]


def test_a_requires_that_only_another_policy_sees_to_is_vacuous() -> None:
    assert codes("""steps:
  a: {tool: s.a}
  b: {tool: s.b}
policies:
  - {id: p, call: b, requires: a.success}
  - {id: q, call: b, requires: a.call}
""") == ["WF512 10"]


def test_a_requires_that_needs_see_to_is_implied() -> None:
    one = only("""steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: a}
policies:
  - {id: p, call: b, requires: a.call}
""")
    assert (one.code.number, one.code.severity, one.place.line) == ("WF513", "info", 9)


def test_a_limit_of_one_call_is_of_use_where_an_outcome_may_be_unknown() -> None:
    assert (
        codes("""steps:
  a: {tool: s.a}
policies:
  - {id: p, call: a, at_most: 1, per: run}
""")
        == []
    )


# Limits


def test_of_a_workflow_that_is_too_large_nothing_is_claimed() -> None:
    steps = "".join(f"  s{n}: {{tool: s.t{n}}}\n" for n in range(12))
    one = only(f"steps:\n{steps}policies:\n  - {{id: p, call: s1, at_most: 0, per: run}}\n")
    assert (one.code.number, one.code.severity, one.place.line) == ("WF901", "info", 2)


def test_rules_files_have_no_runs() -> None:
    text = "mcpuppet: 1\nrules: r\nversion: 1.0.0\ntools: {allow: s.a}\n"
    text += "policies:\n  - {id: p, call: s.a, requires: s.b.success}\n"
    assert [one for one in check(parse_workflow(text, "r.yaml")) if one.code.number in OURS] == []


@pytest.mark.parametrize(
    "name",
    ["customer_onboarding", "data_pipeline", "emergency_response", "financial_processing"],
)
def test_the_templates_have_no_errors_and_no_warnings_of_these(name: str) -> None:
    found = check(parse_workflow((WORKFLOWS / f"{name}.yaml").read_text(), f"{name}.yaml"))
    assert [str(one) for one in found if one.severity == "error"] == []
    assert {one.code.number for one in found} & set(OURS) <= {"WF513"}
