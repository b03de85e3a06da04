"""Every finding code: small workflows that have it, with its place, and some that do not.

In `CASES` and `LATER` a code in angle brackets stands where it must be found: `needs: <WF201>b`.
"""

from __future__ import annotations

import random
import re
import time

import pytest
from support.generated import random_workflow

from mcpuppet.workflow.checks import CODES, check
from mcpuppet.workflow.findings import Finding
from mcpuppet.workflow.parser import parse_workflow

HEAD = "mcpuppet: 1\nworkflow: w\nversion: 1.0.0\nroles: [boss, clerk]\n"
ELSEWHERE = {"WF209", "WF303", "WF304", "WF407", "WF510", "WF512", "WF513", "WF901"}
TOOLS = {
    "s.a": {"inputSchema": {"type": "object", "properties": {"amount": {}, "payee": {}}}},
    "s.open": {
        "inputSchema": {"type": "object", "properties": {"x": {}}, "additionalProperties": True}
    },
    "s.silent": {"inputSchema": {"type": "object"}},
}


def findings(body: str, **known: object) -> list[Finding]:
    """What is found in a workflow whose body starts in line 5.

    Left out is what has tests of its own: names that are never used, and what takes the exploration
    of all states, but for steps that no run reaches.
    """
    everything = check(parse_workflow(HEAD + body, "w.yaml"), **known)  # type: ignore[arg-type]
    return [one for one in everything if one.code.number not in ELSEWHERE]


def found(body: str, **known: object) -> list[str]:
    """`CODE line:column` of every finding."""
    return [
        f"{one.code.number} {one.place.line}:{one.place.column}" for one in findings(body, **known)
    ]


def only(body: str, **known: object) -> Finding:
    one, *more = findings(body, **known)
    assert not more
    return one


def unmarked(text: str) -> tuple[str, list[str]]:
    """A workflow without its marks, and the findings that they stand for."""
    plain: list[str] = []
    expected = []
    for number, line in enumerate(text.removeprefix("\n").split("\n"), start=5):
        rest = line
        while mark := re.search(r"<(WF\d+)>", rest):
            expected.append(f"{mark[1]} {number}:{mark.start() + 1}")
            rest = rest[: mark.start()] + rest[mark.end() :]
        plain.append(rest)
    return "\n".join(plain), expected


CASES = {
    "a step is enough": """
steps:
  a: {tool: s.a}
""",
    "policy ids are given once": """
steps:
  a: {tool: s.a}
policies:
  - {id: p, call: a, mutex: true}
  - {id: <WF102>p, call: a, mutex: true}
""",
    "property ids are given once": """
steps:
  a: {tool: s.a}
properties:
  - {id: p, exists: a.call}
  - {id: <WF102>p, exists: a.call}
""",
    "a policy and a property may share an id": """
steps:
  a: {tool: s.a}
policies:
  - {id: p, call: a, mutex: true}
properties:
  - {id: p, exists: a.call}
""",
    "join is reserved": """
steps:
  <WF104>join: {tool: s.a}
""",
    "keys of tools on an approval": """
steps:
  a:
    approval: {roles: [boss], timeout: 1h}
    <WF104>args: {}
    <WF104>retry: {attempts: 2}
    <WF104>timeout: 1s
    on: {<WF104>failure: {redo: a, max: 1}}
""",
    "one way to settle an unknown outcome": """
steps:
  a: {tool: s.a, <WF105>on_unknown: {}}
  b:
    tool: s.b
    <WF105>on_unknown: {retry_with_key: {}, reconcile: {tool: s.r, happened: result.x}}
  d: {tool: s.d, on_unknown: {retry_with_key: {arg: k}}, args: {<WF104>k: true}}
""",
    "reconcile is no word alone": """
steps:
  a: {tool: s.a, on_unknown: <WF104>reconcile}
""",
    "what a reading call may read": """
steps:
  a:
    tool: s.a
    on_unknown:
      reconcile:
        tool: s.r
        args: {x: args.x, y: <WF203>result.y}
        happened: <WF406>args
        result: result.whole
""",
    "keys of approvals on a tool": """
steps:
  a:
    tool: s.a
    on: {<WF104>rejected: {redo: a, max: 1}}
""",
    "precedes takes two events": """
steps:
  a: {tool: s.a}
properties:
  - {id: p, precedes: <WF104>[a.call]}
""",
    "an event may be a list": """
steps:
  a: {tool: s.a}
properties:
  - {id: p, precedes: [[a.call, a.failure], a.success]}
""",
    "a step of no kind": """
steps:
  <WF105>a: {title: x}
""",
    "a step of both kinds": """
steps:
  <WF105>a: {tool: s.a, approval: {roles: [boss], timeout: 1h}}
""",
    "a policy without condition": """
steps:
  a: {tool: s.a}
policies:
  - <WF105>{id: p, call: a}
""",
    "a policy with two conditions": """
steps:
  a: {tool: s.a}
policies:
  - <WF105>{id: p, call: a, mutex: true, roles: [boss]}
""",
    "at_most without per": """
steps:
  a: {tool: s.a}
policies:
  - {id: p, call: a, <WF105>at_most: 1}
""",
    "scope without mutex": """
steps:
  a: {tool: s.a}
policies:
  - {id: p, call: a, roles: [boss], <WF105>scope: run}
""",
    "at_most with per": """
steps:
  a: {tool: s.a}
policies:
  - {id: p, call: a, at_most: 1, per: session}
""",
    "escalate to nobody": """
steps:
  a: {approval: {roles: [boss], timeout: 1h, on_timeout: <WF105>escalate}}
""",
    "escalate_to without escalate": """
steps:
  a: {approval: {roles: [boss], timeout: 1h, <WF105>escalate_to: boss}}
""",
    "a call whose user is asked": """
steps:
  a: {tool: s.a, <WF104>elicit: true}
""",
    "a property without claim": """
steps:
  a: {tool: s.a}
properties:
  - <WF105>{id: p}
""",
    "at_most of nothing": """
steps:
  a: {tool: s.a}
properties:
  - {id: p, <WF105>at_most: 0}
""",
    "unless without precedes": """
steps:
  a: {tool: s.a}
properties:
  - {id: p, exists: a.call, <WF105>unless: a.failure}
""",
    "complete properties": """
steps:
  a: {tool: s.a}
  b: {tool: s.b}
properties:
  - {id: p, concurrent: never, of: [a, b]}
  - {id: q, at_most: 0, of: a.failure}
""",
    "needs word": """
steps:
  a: {tool: s.a, needs: <WF201>b}
""",
    "needs list": """
steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: [a, <WF201>c]}
""",
    "needs map": """
steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: {a: success, <WF201>c: failure}}
""",
    "redo": """
steps:
  a: {tool: s.a, on: {failure: {redo: [a, <WF201>z], max: 1}}}
""",
    "call and requires": """
steps:
  a: {tool: s.a}
policies:
  - {id: p, call: [a, <WF201>z], requires: <WF201>y.call}
""",
    "properties": """
steps:
  a: {tool: s.a}
properties:
  - {id: p, precedes: [[a.call, <WF201>z.call], <WF201>y.call]}
  - {id: q, concurrent: never, of: [a, <WF201>x]}
""",
    "guard": """
steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: a, when: steps.<WF201>z.outcome == 'x'}
""",
    "role of an approval": """
steps:
  a: {approval: {roles: [boss, <WF202>nobody], timeout: 1h}}
""",
    "role of a bypass": """
steps:
  a:
    approval:
      roles: [boss]
      timeout: 1h
      bypass: {roles: [<WF202>x], justification: 1}
""",
    "role of a policy": """
steps:
  a: {tool: s.a}
policies:
  - {id: p, call: a, roles: [clerk, <WF202>x]}
""",
    "guard reads an unknown input": """
inputs: {amount: {type: integer}}
steps:
  a: {tool: s.a, when: inputs.<WF203>amuont > 1}
""",
    "guard reads an input": """
inputs: {amount: {type: integer}}
steps:
  a: {tool: s.a, when: inputs.amount > 1}
""",
    "binds reads an unknown input": """
inputs: {x: true}
steps:
  a: {approval: {roles: [boss], timeout: 1h, binds: [inputs.x, inputs.<WF203>y]}}
""",
    "when: result": """
steps:
  a: {tool: s.a, when: "true && <WF203>result.x"}
""",
    "success: args": """
steps:
  a: {tool: s.a, success: result.x && <WF203>args.y}
""",
    "equals: args": """
steps:
  a: {tool: s.a, args: {x: {equals: <WF203>args.y}}}
""",
    "check: result": """
steps:
  a: {tool: s.a}
policies:
  - {id: p, call: a, check: args.x == user.name && <WF203>result.y}
""",
    "a variable of all is known, others are not": """
steps:
  a: {tool: s.a, success: 'result.xs.all(x, x > 1 && <WF203>y > 1)'}
""",
    "steps have a result and an outcome": """
steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: a, when: steps.a.<WF203>resutl.x}
""",
    "approvals have no result": """
inputs: {n: true}
steps:
  a: {approval: {roles: [boss], timeout: 1h, binds: [inputs.n]}}
  b: {tool: s.b, needs: a, when: steps.a.<WF203>result.x}
""",
    "a tool is not approved": """
steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: {a: [success, <WF204>approved]}}
""",
    "an approval has no success": """
steps:
  a: {approval: {roles: [boss], timeout: 1h}}
  b: {tool: s.b, needs: {a: <WF204>success}}
""",
    "no bypass, never bypassed": """
inputs: {n: true}
steps:
  a: {approval: {roles: [boss], timeout: 1h, binds: [inputs.n]}}
  b: {tool: s.b, needs: {a: [approved, <WF204>bypassed]}}
""",
    "unknown cannot be needed": """
steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: {a: [success, <WF204>unknown]}}
""",
    "expired and call are no outcomes": """
inputs: {n: true}
steps:
  a: {approval: {roles: [boss], timeout: 1h, binds: [inputs.n]}}
  b: {tool: s.b, needs: {a: [approved, <WF204>expired, <WF204>call]}}
""",
    "events of policies": """
steps:
  a: {tool: s.a}
policies:
  - {id: p, call: a, requires: [a.call, <WF204>a.approved, <WF204>a]}
""",
    "events of properties": """
steps:
  a: {approval: {roles: [boss], timeout: 1h}}
properties:
  - {id: p, precedes: [a.expired, <WF204>a.success], unless: a.rejected}
""",
    "a cycle": """
steps:
  a: {tool: s.a, needs: c}
  b: {tool: s.b, needs: [<WF301>a]}
  c: {tool: s.c, needs: {b: success}}
""",
    "a loop": """
steps:
  a: {tool: s.a, needs: <WF301>a}
""",
    "an all-join of branches that exclude each other": """
inputs: {x: {type: integer}}
steps:
  a: {tool: s.a, when: <WF403>inputs.x > 1}
  b: {tool: s.b, when: inputs.x < 1}
  <WF302>c: {tool: s.c, needs: [a, b]}
""",
    "an all-join of branches that overlap": """
inputs: {x: {type: integer}}
steps:
  a: {tool: s.a, when: inputs.x > 1}
  b: {tool: s.b, when: inputs.x < 3}
  c: {tool: s.c, needs: [a, b]}
""",
    "an approval that never opens": """
steps:
  a: {tool: s.a}
  <WF302>b: {needs: a, when: <WF401>false, approval: {roles: [boss], timeout: 1h}}
""",
    "redo without max": """
steps:
  a: {tool: s.a, on: {<WF305>failure: {redo: a}}}
""",
    "repeat without max": """
steps:
  a: {tool: s.a, <WF305>repeat: {until: result.ok}}
""",
    "until never true": """
steps:
  a:
    tool: s.a
    returns: {n: {type: integer, maximum: 3}}
    repeat: {max: 2, until: <WF305>result.n > 3}
""",
    "bounded loops": """
steps:
  a:
    tool: s.a
    returns: {n: {type: integer, maximum: 4}}
    repeat: {max: 2, until: result.n > 3}
    on: {failure: {redo: a, max: 1}}
""",
    "a redo that keeps the approval of its step": """
inputs: {n: true}
steps:
  a: {approval: {roles: [boss], timeout: 1h, binds: [inputs.n]}}
  b: {tool: s.b, needs: a, on: {failure: {redo: <WF309>[b], max: 1}}}
""",
    "a redo of the approval too": """
inputs: {n: true}
steps:
  a: {approval: {roles: [boss], timeout: 1h, binds: [inputs.n]}}
  b: {tool: s.b, needs: a, on: {failure: {redo: [a, b], max: 1}}}
""",
    "a redo takes back its own step, listed or not": """
inputs: {n: true}
steps:
  x: {tool: s.x}
  a: {approval: {roles: [boss], timeout: 1h, binds: [inputs.n]}}
  b: {tool: s.b, needs: [a, x], on: {failure: {redo: <WF309>x, max: 1}}}
""",
    "a rejection is no grant": """
steps:
  a: {approval: {roles: [boss], timeout: 1h}}
  b: {tool: s.b, needs: {a: rejected}}
  c: {tool: s.c, needs: b, on: {failure: {redo: [b], max: 1}}}
""",
    "a guard reads a step that is not needed": """
steps:
  a: {tool: s.a}
  b: {tool: s.b, when: steps.<WF405>a.result.x > 1}
""",
    "a guard reads a step that may have failed": """
steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: {a: [success, failure]}, when: steps.<WF405>a.result.x > 1}
""",
    "a guard reads its own step": """
steps:
  a: {tool: s.a, success: steps.<WF405>a.result.x > 1}
""",
    "an argument reads a step that is not needed": """
steps:
  a: {tool: s.a}
  b: {tool: s.b, args: {x: {equals: steps.<WF405>a.result.x}}}
""",
    "a guard asks for the outcome first": """
steps:
  a: {tool: s.a}
  b:
    tool: s.b
    needs: {a: [success, failure]}
    when: steps.a.outcome == "success" && steps.a.result.x > 1
""",
    "a guard tests with has first": """
steps:
  a: {tool: s.a}
  b:
    tool: s.b
    needs: {a: [success, failure]}
    when: has(steps.a.result.x) && steps.a.result.x > 1
""",
    "a guard reads a certain predecessor, a compensation its own step": """
steps:
  a: {tool: s.a}
  b: {tool: s.b, needs: a}
  c:
    tool: s.c
    needs: b
    when: steps.a.result.x > 1
    compensate: {tool: s.u, args: {x: {equals: steps.c.result.x}}}
""",
    "a glob that matches no tool": """
steps:
  a: {tool: s.a}
policies:
  - {id: p, call: ["s.*", <WF511>"t.*"], mutex: true}
""",
    "globs may name compensations and tools that are always there": """
tools: {always: ["t.get_*"]}
steps:
  a: {tool: s.a, compensate: {tool: u.undo}}
policies:
  - {id: p, call: ["t.get_x", "t.*", "u.undo"], roles: [boss]}
""",
    "a policy on an approval": """
steps:
  a: {approval: {roles: [boss], timeout: 1h}}
policies:
  - {id: p, call: <WF511>a, mutex: true}
""",
    "a retry after a timeout": """
steps:
  a: {tool: s.a, retry: {attempts: 2, on: [error, <WF522>timeout]}}
""",
    "a retry of what may happen twice": """
steps:
  a: {tool: s.a, on_unknown: retry, retry: {attempts: 2, on: [timeout]}}
""",
}

LATER = {
    "tests": """
<WF109>tests: []
steps:
  a: {tool: s.a}
""",
    "a property of the events of a tool": """
steps:
  a: {tool: s.a}
properties:
  - {id: p, precedes: [<WF109>s.a.success, a.failure]}
""",
    "what is carried out": """
mode: observe
steps:
  a: {tool: s.a, on_unknown: hold, exclusive: false}
  b: {tool: s.b, on_unknown: retry}
policies:
  - {id: excluded, call: [a, b], mutex: true, scope: server}
  - {id: counted, call: a, at_most: 1, per: 1d}
  - {id: added-up, call: a, sum: args.x, at_most: 1.5, per: user, over: ask, roles: [boss]}
  - {id: slow, call: a, cooldown: 1h}
  - {id: by-day, call: a, hours: "mon-fri 08:00-18:00 Europe/Rome"}
  - {id: after, call: b, forbidden_after: s.a.failure, same: [x]}
  - {id: soon-after, call: b, within: 1h, of: a.success}
  - {id: asked, call: a, ask: {roles: [boss], timeout: 1h}, unless: args.x > 1}
""",
}


@pytest.mark.parametrize("marked", CASES.values(), ids=CASES.keys())
def test_findings_and_their_places(marked: str) -> None:
    body, expected = unmarked(marked)
    assert found(body) == expected


@pytest.mark.parametrize("marked", LATER.values(), ids=LATER.keys())
def test_what_is_not_carried_out_yet_is_refused(marked: str) -> None:
    body, expected = unmarked(marked)
    assert found(body) == expected


def test_a_cycle_is_printed_as_a_walk() -> None:
    one = only("steps:\n  a: {tool: s.a, needs: b}\n  b: {tool: s.b, needs: a}\n")
    assert one.message == "steps wait for each other: a -> b -> a"


@pytest.mark.parametrize(
    ("body", "help"),
    [
        ("steps:\n  draft: {tool: s.a}\n  b: {tool: s.b, needs: drfat}\n", "did you mean 'draft'?"),
        ("steps:\n  a: {tool: s.a, needs: zzz}\n", "steps: a"),
        ("steps:\n  a: {approval: {roles: [bosss], timeout: 1h}}\n", "did you mean 'boss'?"),
        (
            "inputs: {amount: true}\nsteps:\n  a: {tool: s.a, when: inputs.amout}\n",
            "did you mean 'amount'?",
        ),
        ("steps:\n  a: {tool: s.a, when: inputs.amout}\n", "there are no inputs"),
        (
            "steps:\n  a: {tool: s.a, success: args.x}\n",
            "here an expression reads `result`, `inputs` and `steps`",
        ),
        (
            "steps:\n  a: {tool: s.a}\n  b: {tool: s.b, needs: {a: sucess}}\n",
            "did you mean 'success'?",
        ),
    ],
)
def test_help_names_what_would_be_accepted(body: str, help: str) -> None:
    assert only(body).help == help


def test_tools_that_no_server_offers() -> None:
    body = "steps:\n  a: {tool: [s.a, s.b], compensate: {tool: s.undo}}\n"
    assert found(body, tools=TOOLS) == ["WF205 6:19", "WF205 6:44"]
    assert found(body) == []


def test_servers_that_are_not_configured() -> None:
    body = "steps:\n  a: {tool: s.a}\n  b: {tool: t.b}\n"
    assert found(body, servers=frozenset({"s"})) == ["WF205 7:13"]
    assert found(body, servers=frozenset({"s", "t"})) == []


def test_arguments_that_a_tool_does_not_take() -> None:
    body, expected = unmarked("""
steps:
  a:
    tool: s.a
    args: {amount: {}, <WF206>pay: {}}
    compensate: {tool: s.a, args: {<WF206>q: {}}}
""")
    assert found(body, tools=TOOLS) == expected
    assert found(body) == []
    assert findings(body, tools=TOOLS)[0].help == "did you mean 'payee'?"


def test_open_and_silent_schemas_take_any_argument() -> None:
    body = "steps:\n  a: {tool: s.open, args: {y: {}}}\n  b: {tool: s.silent, args: {y: {}}}\n"
    assert found(body, tools=TOOLS) == []


def test_a_workflow_too_big_to_explore_is_checked_by_its_structure() -> None:
    body = "inputs: {x: {type: integer}}\nsteps:\n"
    body += "".join(f"  s{n}: {{tool: s.t}}\n" for n in range(12))
    assert found(body) == []
    assert found(
        body
        + """  never: {tool: s.t, when: inputs.x > 1 && inputs.x < 1}
  after: {tool: s.t, needs: never}
  either: {tool: s.t, needs: {never: success, s0: success, join: any}}
  instead: {tool: s.t, needs: {never: skipped}}
"""
    ) == ["WF302 19:3", "WF401 19:28", "WF302 20:3"]


def test_a_thousand_steps_are_checked_in_seconds() -> None:
    body = "inputs: {x: {type: integer}}\nsteps:\n  s0: {tool: s.t}\n"
    body += "".join(
        f"  s{n}: {{tool: s.t, needs: s{n - 1}, when: inputs.x != {n % 7}}}\n"
        for n in range(1, 1_000)
    )
    started = time.perf_counter()
    assert found(body) == []
    assert time.perf_counter() - started < 20


def test_what_the_parser_found_is_part_of_the_findings() -> None:
    assert found("steps:\n  a: {tol: s.a}\n") == ["WF103 6:7"]
    assert found("steps: [") == ["WF101 5:9"]


def test_findings_are_ordered_by_place_and_given_once() -> None:
    result = found(
        "policies:\n  - {id: p, call: z, requires: z.call}\nsteps:\n  a: {tool: s.a, needs: y}\n"
    )
    assert result == ["WF201 6:19", "WF201 6:32", "WF201 8:25"]


def test_codes_are_unique_and_sorted() -> None:
    numbers = [code.number for code in CODES]
    assert numbers == sorted(set(numbers))
    assert len({code.slug for code in CODES}) == len(CODES)


@pytest.mark.parametrize("seed", range(15))
def test_spoiled_workflows_give_findings_and_never_an_exception(seed: int) -> None:
    """Words of good workflows are swapped; whatever comes out must be reported, not raised."""
    rng = random.Random(seed)
    words = random_workflow(rng).split(" ")
    for _ in range(20):
        spoiled = list(words)
        for _ in range(rng.randint(1, 3)):
            spoiled[rng.randrange(len(words))] = rng.choice(words)
        check(parse_workflow(" ".join(spoiled), "spoiled.yaml"), tools=TOOLS)
