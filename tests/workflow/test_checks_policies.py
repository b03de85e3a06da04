"""The form of policies, who decides and who may call, and whether times can be kept."""

from __future__ import annotations

import pytest
from support.marked import WORKFLOW, findings, found, unmarked

HEAD = WORKFLOW + "roles: [boss, clerk]\n"
STEPS = """inputs: {x: {type: number}}
steps:
  ok: {approval: {roles: [boss], timeout: 1h, renew: 1, binds: [inputs.x]}}
  a: {tool: s.a, args: {x: {equals: inputs.x}}, timeout: 5m, needs: ok}
  b: {tool: s.b, needs: a, timeout: 5m}
policies:
  - {id: everyone, call: a, roles: [boss, clerk]}
"""

POLICIES = {
    "limits": """
  - {id: p, call: a, at_most: 3, per: session}
  - {id: q, call: a, sum: args.x, at_most: 2.5, per: 1d}
  - {id: r, call: a, at_most: 0, per: session}
""",
    "a limit of nothing": """
  - {id: p, call: a, <WF105>sum: args.x}
  - {id: q, call: a, <WF105>at_most: 3}
  - <WF105>{id: r, call: a, <WF105>per: 1d}
""",
    "calls are counted in whole numbers": """
  - {id: p, call: a, at_most: <WF104>2.5, per: session}
""",
    "no time at all": """
  - {id: p, call: a, cooldown: <WF108>0s}
  - {id: q, call: a, at_most: 1, per: <WF108>0s}
  - {id: r, call: b, within: <WF108>0s, of: a.success}
""",
    "asking above a limit": """
  - {id: p, call: b, at_most: 3, per: user, over: ask, roles: [boss], timeout: 1h, show: [args.x]}
  - {id: q, call: b, at_most: 3, per: session, <WF105>over: ask}
  - {id: r, call: b, roles: [boss, clerk], <WF105>timeout: 1h, <WF105>show: [args.x]}
  - <WF105>{id: s, call: b, <WF105>over: ask, roles: [boss]}
""",
    "asking": """
  - {id: p, call: b, ask: {roles: [boss], timeout: 1h, show: [args.x]}, unless: args.x > 1}
  - {id: q, call: b, check: args.x > 1, <WF105>unless: args.x > 2}
""",
    "the same arguments": """
  - {id: p, call: b, forbidden_after: s.x.failure, same: [x]}
  - {id: q, call: b, within: 1h, of: [<WF104>a.success, s.b.success], same: [x]}
  - {id: r, call: b, check: args.x > 1, <WF105>same: [x]}
""",
    "what a scope and a time belong to": """
  - {id: p, call: b, mutex: true, scope: server}
  - {id: q, call: b, roles: [boss], <WF105>scope: server}
  - {id: r, call: b, <WF105>within: 1h}
  - <WF105>{id: s, call: b, <WF105>of: a.success}
""",
}


@pytest.mark.parametrize("marked", POLICIES.values(), ids=POLICIES.keys())
def test_the_form_of_policies(marked: str) -> None:
    text, expected = unmarked(HEAD + STEPS + marked.removeprefix("\n"))
    of_form = {"WF104", "WF105", "WF108"}
    assert [one for one in found(text) if one.split()[0] in of_form] == expected


PEOPLE = {
    "somebody else decides": """
  - {id: p, call: a, roles: [clerk]}
""",
    "only callers decide": """
  - {id: p, call: s.*, roles: [boss]}
""",
    "who is asked may not be a caller only": """
  - {id: p, call: b, roles: [boss]}
  - {id: q, call: b, ask: {roles: <WF501>[boss], timeout: 1h}}
  - {id: r, call: b, at_most: 1, per: session, over: ask, roles: <WF501>[boss]}
  - {id: s, call: b, ask: {roles: [boss, clerk], timeout: 1h}}
""",
    "one caller need not be a decider": """
  - {id: p, call: s.*, roles: [boss, clerk]}
""",
    "nobody may call": """
  - {id: p, call: b, roles: [clerk]}
  - {id: q, call: b, roles: [boss]}
""",
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("somebody else decides", []),
        ("only callers decide", ["WF501 7:26"]),
        ("who is asked may not be a caller only", None),
        ("nobody may call", ["WF520 9:3"]),
        ("one caller need not be a decider", []),
    ],
)
def test_who_calls_and_who_decides(name: str, expected: list[str] | None) -> None:
    text, marked = unmarked(HEAD + STEPS + PEOPLE[name].removeprefix("\n"))
    assert found(text) == (marked if expected is None else expected)


def test_a_quorum_needs_as_many_people() -> None:
    text = HEAD + STEPS.replace("timeout: 1h,", "timeout: 1h, quorum: 2,")
    assert found(text) == []
    assert found(text, people={"boss": 2}) == []
    assert found(text, people={"boss": 1, "clerk": 5}) == ["WF502 7:55"]
    (one,) = findings(text, people={})
    assert one.message == ("2 people have to decide on 'ok', and 0 people hold the role 'boss'")


def test_what_is_asked_needs_a_person_to_decide_it() -> None:
    asks = "  - {id: p, call: b, ask: {roles: [boss], timeout: 1h}}\n"
    assert found(HEAD + STEPS + asks, people={"boss": 1}) == []
    assert found(HEAD + STEPS + asks, people={"clerk": 1}) == ["WF502 7:26", "WF502 12:35"]


@pytest.mark.parametrize(
    ("step", "is_found"),
    [
        ("{tool: s.a, needs: ok}", True),
        ("{tool: s.a, needs: ok, args: {x: {type: number}}}", True),
        ("{tool: s.a, needs: ok, args: {}, args_open: true}", True),
        ("{tool: s.a, needs: {ok: rejected}}", False),
        ("{tool: s.a, needs: ok, args: {x: {const: 1}, y: {enum: [1]}}}", False),
        ("{tool: s.a, needs: ok, args: {}}", False),
    ],
)
def test_an_approval_that_fixes_nothing(step: str, is_found: bool) -> None:
    text = f"{WORKFLOW}roles: [boss]\nsteps:\n  ok: {{approval: {{roles: [boss], timeout: 1h}}}}\n"
    assert found(f"{text}  a: {step}\n") == (["WF507 6:8"] if is_found else [])


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ("{id: p, call: b, within: 2m, of: ok.approved}", []),
        ("{id: p, call: b, within: 2m, of: a.call}\n  - {id: q, call: b, cooldown: 1h}", []),
        (
            "{id: p, call: b, within: 30m, of: a.success}\n  - {id: q, call: s.*, cooldown: 1h}",
            ["WF515 12:22"],
        ),
        ("{id: p, call: b, within: 56m, of: a.success}\n  - {id: q, call: s.*, cooldown: 1h}", []),
        (
            "{id: p, call: b, within: 56m, of: a.call}\n  - {id: q, call: s.*, cooldown: 1h}",
            ["WF515 12:22"],
        ),
        ("{id: p, call: b, within: 1h, of: a.call}\n  - {id: q, call: s.*, cooldown: 1h}", []),
        ("{id: p, call: b, within: 1m, of: ok.approved}\n  - {id: q, call: s.*, cooldown: 1h}", []),
        ("{id: q, call: s.*, cooldown: 31d}", ["WF515 9:3"]),
        (
            '{id: p, call: b, hours: "mon-fri 08:00-18:00 Europe/Rome"}\n'
            '  - {id: q, call: s.*, hours: "sat 08:00-18:00 Europe/Rome"}',
            ["WF515 9:3"],
        ),
        (
            '{id: p, call: b, hours: "mon-fri 08:00-18:00 Europe/Rome"}\n'
            '  - {id: q, call: s.*, hours: "fri 12:00-24:00 America/New_York"}',
            ["WF515 9:3"],
        ),
        (
            '{id: p, call: b, hours: "mon-fri 08:00-18:00 Europe/Rome"}\n'
            '  - {id: q, call: s.*, hours: "fri 11:00-24:00 America/New_York"}',
            [],
        ),
    ],
)
def test_times_that_cannot_all_be_kept(policies: str, expected: list[str]) -> None:
    assert found(f"{HEAD}{STEPS}  - {policies}\n") == expected


def test_an_approval_that_is_not_renewed_can_become_stale() -> None:
    text = HEAD + STEPS + "  - {id: p, call: a, within: 2m, of: [ok.approved, ok.rejected]}\n"
    assert found(text) == []
    assert found(text.replace("renew: 1, ", "")) == ["WF516 12:39"]


COMPENSATED = """steps:
  check: {tool: s.check}
  a: {tool: s.a, needs: check, compensate: {tool: s.undo}}
  <WF521>b: {tool: s.b, needs: check}
  reads: {tool: s.reads, needs: check}
  last: {tool: s.last, needs: [a, b, reads]}
"""
TOOLS = {f"s.{name}": {} for name in ("check", "a", "b", "undo", "last")} | {
    "s.reads": {"annotations": {"readOnlyHint": True}}
}


def test_an_effect_that_stays_when_another_is_undone() -> None:
    text, expected = unmarked(WORKFLOW + COMPENSATED)
    assert found(text, tools=TOOLS) == expected
    assert found(text) == []
    assert found(text.replace(", compensate: {tool: s.undo}", ""), tools=TOOLS) == []
    passed_over = text.replace("reads]}", "reads], on_failure: continue}")
    assert found(passed_over, tools=TOOLS) == []


REDONE = {
    "all that depends is redone": """
  b: {tool: s.b, needs: a, on: {failure: {redo: [a, b], max: 1}}}
  c: {tool: s.c, needs: b}
""",
    "a step beside": """
  b: {tool: s.b, needs: a, on: {failure: {redo: <WF308>[a, b], max: 1}}}
  c: {tool: s.c, needs: a}
""",
    "a step between": """
  b: {tool: s.b, needs: c, on: {failure: {redo: <WF308>[a], max: 1}}}
  c: {tool: s.c, needs: a}
""",
    "a step that may come before": """
  b: {tool: s.b, needs: a, on: {failure: {redo: <WF308>[a], max: 1}}}
  c: {tool: s.c, needs: {a: success, b: success, join: any}}
""",
    "a step that comes after, however it comes": """
  b: {tool: s.b, needs: a, on: {failure: {redo: [a], max: 1}}}
  c: {tool: s.c, needs: {b: success}}
  d: {tool: s.d, needs: {b: failure}}
  e: {tool: s.e, needs: {c: success, d: success, join: any}}
""",
    "implied needs": """
  b: {tool: s.b, needs: a}
  c: {tool: s.c, needs: [<WF310>a, b]}
  d: {tool: s.d, needs: {<WF310>a: success, c: success}}
""",
    "needs that others do not imply": """
  b: {tool: s.b, needs: {a: [success, failure]}}
  c: {tool: s.c, needs: [a, b]}
  e: {tool: s.e, needs: {a: success, c: success, join: any}}
  f: {tool: s.f, needs: [a, e]}
""",
}


@pytest.mark.parametrize("marked", REDONE.values(), ids=REDONE.keys())
def test_what_a_redo_leaves_behind_and_needs_that_say_nothing(marked: str) -> None:
    text, expected = unmarked(WORKFLOW + "steps:\n  a: {tool: s.a}\n" + marked[1:])
    assert found(text) == expected


def test_names_that_nothing_uses() -> None:
    text, expected = unmarked(
        WORKFLOW
        + """roles: [<WF209>idle, caller, asked, read]
inputs: {<WF209>idle: true, bound: true}
steps:
  a: {tool: s.a, args: {x: {equals: inputs.bound}}}
policies:
  - {id: p, call: a, roles: [caller, asked]}
  - {id: q, call: a, at_most: 1, per: session, over: ask, roles: [asked, read]}
  - {id: r, call: a, check: '"read" in user.roles'}
"""
    )
    assert found(text) == expected
