"""Rules files, facts, tool sets and the events of tools."""

from __future__ import annotations

import pytest
from support.marked import RULES, WORKFLOW, findings, found, unmarked

HEAD = RULES + "roles: [owner]\n"
TOOLS = (
    "tools: {sets: {pay: [bank.send, bank.plan]}, allow: [pay, bank.get, air.get, air.cancel]}\n"
)

CASES = {
    "rules as they are meant": """
given: inputs_before_first_result
inputs: {payees: {type: array, items: {type: string}}}
facts:
  known: {from: bank.get, take: "result[].iban", max: 500}
  booked: {from: air.get, key: args.id, keep: [cabin, made], until: "air.*.success"}
  allowed: {from_file: x.csv, column: y}
policies:
  - id: new
    call: pay
    ask: {roles: [owner], timeout: 4h}
    unless: args.to in facts.known || given(args.to)
  - {id: cap, call: pay, sum: args.amount, at_most: 3000, per: 1d, over: ask, roles: [owner]}
  - {id: looked, call: air.cancel, requires: air.get.success, same: [id]}
  - id: fresh
    call: air.cancel
    check: now - timestamp(facts.booked[args.id].made) <= duration("24h")
  - {id: alone, call: "bank.*", mutex: true, scope: server}
""",
    "words of a run": """
policies:
  - {id: p, call: pay, at_most: 1, per: <WF104>run}
  - {id: q, call: pay, mutex: true, scope: <WF104>run}
  - <WF104>{id: r, call: pay, mutex: true}
  - {id: s, call: pay, requires: <WF204>look.success}
  - {id: t, call: pay, check: <WF203>steps.a.result.x}
<WF104>properties:
  - {id: x, can_complete: true}
""",
    "events of tools": """
policies:
  - {id: p, call: pay, requires: [air.get.success, "air.*.failure", air.get.call]}
  - {id: q, call: pay, forbidden_after: [<WF204>air.get.approved, <WF204>pay.success, <WF204>air]}
  - {id: r, call: pay, within: 1h, of: <WF517>air.gte.success}
""",
    "unknown names": """
policies:
  - {id: p, call: <WF213>pya, roles: [<WF202>owners]}
  - {id: q, call: pay, ask: {roles: [<WF202>nobody], timeout: 1h}, unless: facts.<WF211>paid}
""",
    "given without a lock": """
policies:
  - {id: p, call: pay, ask: {roles: [owner], timeout: 1h}, unless: args.x && <WF212>given(args.to)}
""",
    "what an expression of a policy reads": """
policies:
  - {id: p, call: pay, sum: <WF203>result.x, at_most: 1, per: user}
  - {id: q, call: pay, ask: {roles: [owner], timeout: 1h, show: [args.x, <WF203>result.y]}}
  - {id: r, call: pay, sum: args.x <WF406>== 1, at_most: 1, per: user}
""",
    "facts of no or two sources": """
facts:
  <WF105>a: {take: result}
  <WF105>b: {from: bank.get, from_file: x.json, take: result}
""",
    "facts of tools": """
facts:
  <WF105>a: {from: bank.get}
  <WF105>b: {from: bank.get, key: args.id}
  <WF105>c: {from: bank.get, keep: [x]}
  <WF105>d: {from: bank.get, key: args.id, keep: [x], take: result}
  e: {from: bank.get, take: result, <WF104>column: x}
  f: {from: bank.get, key: <WF203>inputs.x, keep: [x]}
  g: {from: bank.get, take: result, until: [<WF204>look.success, <WF517>bank.put.success]}
  h: {from: <WF517>bank.gte, take: result}
""",
    "facts of files": """
facts:
  a: {from_file: x.csv, column: y, max: 10}
  b: {from_file: x.json}
  c: {from_file: x.csv, column: y, <WF104>take: result, <WF104>until: bank.get.success}
""",
    "what a fact keeps": """
facts:
  booked: {from: air.get, key: args.id, keep: [cabin]}
  known: {from: bank.get, take: "result[].iban"}
policies:
  - {id: p, call: pay, check: 'facts.booked[args.id].<WF406>cabn == 1'}
  - {id: q, call: pay, check: facts.known.<WF406>x}
""",
    "roles that leave nobody": """
policies:
  - {id: p, call: bank.get, roles: [owner]}
""",
}


@pytest.mark.parametrize("marked", CASES.values(), ids=CASES.keys())
def test_rules_files(marked: str) -> None:
    text, expected = unmarked(HEAD + TOOLS + marked.removeprefix("\n"))
    # Not every case has a use for the role.
    assert [one for one in found(text) if not one.startswith("WF209 ")] == expected


def test_asking_about_all_other_tools_needs_roles_to_ask() -> None:
    text, expected = unmarked(RULES + "tools: {allow: [bank.get], otherwise: <WF105>ask}\n")
    assert found(text) == expected
    assert found(HEAD + "tools: {allow: [bank.get], otherwise: ask}\n") == []


def test_only_the_name_and_the_roles_of_the_caller_can_be_read() -> None:
    text, expected = unmarked(
        HEAD
        + TOOLS
        + """policies:
  - {id: p, call: pay, check: 'user.name == "a" && user.<WF203>role == "owner"'}
  - {id: q, call: pay, check: '"owner" in user.roles'}
"""
    )
    assert [one for one in found(text) if not one.startswith("WF209 ")] == expected


def test_a_listed_word_without_a_dot_is_a_set() -> None:
    assert found(RULES + "tools: {sets: {pay: [bank.send]}, allow: [pay, pya]}\n") == ["WF213 4:48"]
    workflow = WORKFLOW + "tools: {always: [look]}\nsteps:\n  a: {tool: s.a}\n"
    (one,) = findings(workflow)
    assert (one.code.number, one.help) == ("WF213", "write `server.tool`")


def test_a_step_and_a_set_do_not_share_a_name() -> None:
    text, expected = unmarked(
        WORKFLOW
        + """tools: {sets: {<WF102>a: [s.b], b: [s.c]}}
steps:
  a: {tool: s.a}
  c: {tool: s.c}
policies:
  - {id: p, call: [b, c], mutex: true}
  - {id: q, call: <WF201>d, mutex: true}
"""
    )
    assert found(text) == expected


def test_a_policy_on_a_set_whose_tools_nothing_calls() -> None:
    text, expected = unmarked(
        WORKFLOW
        + """tools: {sets: {far: [t.a, "t.b*"], near: [t.a, "s.*"]}}
steps:
  a: {tool: s.a}
policies:
  - {id: p, call: <WF511>far, at_most: 1, per: session}
  - {id: q, call: near, at_most: 1, per: session}
"""
    )
    assert found(text) == expected


@pytest.mark.parametrize(
    ("source", "tool", "is_found"),
    [
        ("bank.get_payees", "bank.add_payee", True),
        ("bank.list_payees", "bank.update_payees", True),
        ("bank.get_scheduled", "bank.schedule_payment", True),
        ("bank.getPayees", "bank.addPayee", True),
        ("bank.get_payees", "bank.get_payees_page", False),
        ("bank.get_payees", "bank.add_note", False),
        ("bank.get_payees", "crm.add_payee", False),
        ("bank.get", "bank.add", False),
    ],
)
def test_facts_that_a_call_could_fill(source: str, tool: str, is_found: bool) -> None:
    tools = f"tools: {{allow: [{source}, {tool}]}}\n"
    text = f"{RULES}{tools}facts:\n  f: {{from: {source}, take: result}}\n"
    assert found(text) == (["WF523 6:3"] if is_found else [])


def test_a_pattern_allows_the_tools_that_servers_are_known_to_have() -> None:
    facts = "facts:\n  f: {from: bank.get_payees, take: result}\n"
    text = f'{RULES}tools: {{allow: ["bank.*"]}}\n{facts}'
    assert found(text) == []
    assert found(text, tools={"bank.add_payee": {}, "bank.get_payees": {}}) == ["WF523 6:3"]


def _tool(*arguments: str) -> dict[str, object]:
    return {"inputSchema": {"type": "object", "properties": {name: {} for name in arguments}}}


@pytest.mark.parametrize(
    ("policies", "arguments", "is_found"),
    [
        ('check: args.to == "a"', ("to", "bcc", "body"), True),
        ('check: args.to == "a"', ("to", "body"), False),
        ('check: args.to == "a" && !has(args.bcc)', ("to", "bcc"), False),
        ("requires: mail.send.call, same: [recipient]", ("recipient", "recipients"), True),
        ("check: args.body != ''", ("to", "bcc", "body"), False),
    ],
)
def test_arguments_that_a_rule_overlooks(
    policies: str, arguments: tuple[str, ...], is_found: bool
) -> None:
    policy = f"  - {{id: p, call: mail.send, {policies}}}\n"
    text = f"{RULES}tools: {{allow: [mail.send]}}\npolicies:\n{policy}"
    places = [one.split()[0] for one in found(text, tools={"mail.send": _tool(*arguments)})]
    assert places == (["WF524"] if is_found else [])


def test_arguments_that_a_step_does_not_let_through_are_not_overlooked() -> None:
    text = (
        WORKFLOW
        + """steps:
  a: {tool: mail.send, args: {to: {type: string}, cc: {equals: '"boss"'}}}
policies:
  - {id: p, call: a, check: args.to == "x"}
"""
    )
    tools = {"mail.send": _tool("to", "cc", "bcc")}
    assert found(text, tools=tools) == []
    assert found(text.replace("}}}", "}}, args_open: true}"), tools=tools) == ["WF524 7:29"]
