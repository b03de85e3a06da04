"""Checks against the servers' tools: names, arguments, types, results and pins.

Where a code in angle brackets stands, it must be found, and nothing else anywhere.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mcpuppet.lockfile import read_lock
from mcpuppet.workflow.checks import pins, tool_schemas, tools
from mcpuppet.workflow.checks.subject import Subject
from mcpuppet.workflow.definition import RulesDefinition, WorkflowDefinition
from mcpuppet.workflow.findings import Finding
from mcpuppet.workflow.parser import validate_document
from mcpuppet.workflow.yaml_reader import read_yaml

EXAMPLES = Path(__file__).parent / "examples"
HEAD = "mcpuppet: 1\nworkflow: w\nversion: 1.0.0\n"
RULES = "mcpuppet: 1\nrules: r\nversion: 1.0.0\n"
CHECKS = (
    tools.unknown_tool,
    tools.unknown_argument,
    tool_schemas.argument_type,
    tool_schemas.result_field,
)


def tool(
    arguments: dict[str, Any] | None = None, result: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A tool's definition, from the properties of its two schemas."""
    definition: dict[str, Any] = {"inputSchema": {"type": "object", **more}}
    if arguments is not None:
        definition["inputSchema"]["properties"] = arguments
    if result is not None:
        definition["outputSchema"] = {"type": "object", "properties": result, **more}
    return definition


TOOLS = {
    "bank.pay": tool(
        {
            "amount": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000},
            "count": {"type": "integer"},
            "currency": {"$ref": "#/$defs/Currency"},
            "note": {"anyOf": [{"type": "string", "maxLength": 10}, {"type": "null"}]},
            "tags": {"type": "array", "maxItems": 3},
        },
        {"id": {"type": "string"}, "fee": {"anyOf": [{"type": "number"}, {"type": "null"}]}},
        **{"$defs": {"Currency": {"enum": ["EUR", "USD"]}}},
    ),
    "bank.need": tool({"a": {}, "b": {}}, required=["a", "b"]),
    "bank.get_list": tool(
        {"account": {}},
        {"items": {"type": "array", "items": {"$ref": "#/$defs/Item"}}, "next": {"type": "string"}},
        **{"$defs": {"Item": {"type": "object", "properties": {"name": {"type": "string"}}}}},
    ),
    "bank.silent": tool(),
    "bank.open": tool({"x": {}}, {"x": {}}, additionalProperties=True),
}


def subject_of(text: str, **known: Any) -> Subject:
    document = read_yaml(text, "w.yaml")
    model = RulesDefinition if "rules" in document.data else WorkflowDefinition
    definition, findings = validate_document(document, model)
    assert definition is not None, findings
    return Subject(definition, document, **{"tools": TOOLS, **known})


def findings(text: str, **known: Any) -> list[Finding]:
    subject = subject_of(text, **known)
    return list(dict.fromkeys(one for check in CHECKS for one in check(subject)))


def found(text: str, **known: Any) -> set[str]:
    return {
        f"{one.code.number} {one.place.line}:{one.place.column}" for one in findings(text, **known)
    }


def unmarked(text: str) -> tuple[str, set[str]]:
    """A text without its marks, and the findings that they stand for."""
    lines, expected = [], set()
    for number, line in enumerate(text.split("\n"), start=1):
        rest = line
        while mark := re.search(r"<(WF\d+)>", rest):
            expected.add(f"{mark[1]} {number}:{mark.start() + 1}")
            rest = rest[: mark.start()] + rest[mark.end() :]
        lines.append(rest)
    return "\n".join(lines), expected


ARGUMENTS = {
    "another type": "amount: <WF207>{type: string}",
    "an integer is a number": "amount: {type: integer}",
    "some numbers are integers": "count: {type: number}",
    "a fraction is no integer": "count: <WF207>{const: 1.5}",
    "a constant that is refused": "amount: <WF207>{const: 0}",
    "a constant that is taken": "amount: {const: 1}",
    "one of several values is refused": "currency: <WF207>{enum: [EUR, GBP]}",
    "an enum that the own type has narrowed": "currency: {enum: [EUR, 5], type: string}",
    "no common value": "currency: <WF207>{pattern: '^[a-z]+$'}",
    "values that fit": "currency: {enum: [EUR]}",
    "ranges that do not meet": "amount: <WF207>{type: number, minimum: 1001}",
    "ranges that only touch at an open end": "amount: <WF207>{type: number, maximum: 0}",
    "ranges that meet": "amount: {type: number, minimum: 1000}",
    "lists that are too long": "tags: <WF207>{type: array, minItems: 4}",
    "null is one of the alternatives": "note: {type: 'null'}",
    "a boolean is no alternative": "note: <WF207>{type: boolean}",
    "a literal of another type": "amount: {equals: <WF207>'\"ten\"'}",
    "a literal that is taken": "currency: {equals: '\"EUR\"'}",
    "a literal that is refused": "currency: {equals: <WF207>'\"GBP\"'}",
    "an input of another type": "amount: {equals: <WF207>inputs.name}",
    "an input that may fit": "amount: {equals: inputs.amount}",
    "a part of an input": "amount: {equals: <WF207>inputs.payment.payee}",
    "an input of any type": "amount: {equals: inputs.anything}",
    "a computed value": "amount: {equals: inputs.amount + 1}",
    "a result that the tool declares": "amount: {equals: <WF207>steps.list.result.next}",
    "a result that the step declares": "amount: {equals: <WF207>steps.said.result.text}",
    "a schema of anything": "amount: true",
}


@pytest.mark.parametrize("argument", ARGUMENTS.values(), ids=ARGUMENTS)
def test_types_of_arguments(argument: str) -> None:
    text, expected = unmarked(f"""{HEAD}
inputs:
  name: {{type: string}}
  amount: {{type: [number, string]}}
  payment: {{type: object, properties: {{payee: {{type: string}}}}}}
  anything: {{}}
steps:
  list: {{tool: bank.get_list}}
  said: {{tool: bank.silent, returns: {{text: {{type: string}}}}}}
  pay:
    tool: bank.pay
    args:
      {argument}
""")
    assert found(text) == expected


def test_a_conflict_says_what_the_tool_takes() -> None:
    (one,) = findings(
        f"{HEAD}steps:\n  a: {{tool: bank.pay, args: {{currency: {{const: GBP}}}}}}\n"
    )
    assert one.message == "argument 'currency': tool 'bank.pay' takes only 'EUR', 'USD', " + (
        "none of which fits here"
    )


REQUIRED = {
    "closed args": "tool: bank.need, <WF207>args: {a: {}}",
    "open args": "tool: bank.need, args: {a: {}}, args_open: true",
    "no args at all": "tool: bank.need",
    "all of them": "tool: bank.need, args: {a: {}, b: {}}",
    "a compensation": "tool: bank.silent, compensate: {tool: bank.need, <WF207>args: {b: {}}}",
}


@pytest.mark.parametrize("step", REQUIRED.values(), ids=REQUIRED)
def test_required_arguments_that_cannot_be_carried(step: str) -> None:
    text, expected = unmarked(f"{HEAD}steps:\n  a: {{{step}}}\n")
    assert found(text) == expected


RETURNS = {
    "a field that is not declared": "returns: {<WF208>fees: {}}",
    "a field of another type": "returns: {id: <WF208>{type: integer}}",
    "a field that may have the type": "returns: {fee: {type: number}}",
    "a guard on a field that is missing": "success: result.<WF208>fees > 1",
    "a guard on a declared field": "success: result.fee > 1",
    "a field of a text": "success: result.id.<WF208>part == 1",
    "a guard that asks first": "success: has(result.fees) && result.fees > 1",
}


@pytest.mark.parametrize("step", RETURNS.values(), ids=RETURNS)
def test_fields_of_results(step: str) -> None:
    text, expected = unmarked(f"{HEAD}steps:\n  a:\n    tool: bank.pay\n    {step}\n")
    assert found(text) == expected


def test_reads_of_other_steps_results() -> None:
    text, expected = unmarked(f"""{HEAD}
steps:
  list: {{tool: bank.get_list}}
  either: {{tool: [bank.get_list, bank.pay]}}
  quiet: {{tool: bank.silent}}
  b:
    tool: bank.silent
    needs: [list, either, quiet]
    when: >-
      steps.either.result.id == "x" || steps.quiet.result.y == 1
  c:
    tool: bank.silent
    needs: list
    when: steps.list.result.<WF208>item == 1
  d:
    tool: bank.silent
    needs: either
    when: steps.either.result.<WF208>fees == 1
policies:
  - {{id: p, call: c, check: 'steps.list.result.<WF208>nxt == "x"'}}
""")
    assert found(text) == expected


def test_a_result_that_is_open_proves_nothing() -> None:
    text = f"{HEAD}steps:\n  a: {{tool: bank.open, returns: {{y: {{}}}}, success: result.z == 1}}\n"
    assert found(text) == set()


FACTS = {
    "from": "from: <WF205>bank.get_lists, take: result.x",
    "keep": "from: bank.get_list, key: args.account, keep: [next, <WF208>prev]",
    "key": "from: bank.get_list, key: args.<WF206>acount, keep: [next]",
    "key of a result": "from: bank.get_list, key: result.<WF208>id, keep: [next]",
    "take": 'from: bank.get_list, take: "result.items[].name"',
    "take of a missing field": 'from: bank.get_list, take: <WF208>"result.items[].iban"',
    "take of items of a text": 'from: bank.get_list, take: <WF208>"result.next[]"',
    "take of an unknown result": 'from: bank.silent, take: "result.a[].b"',
    "until": "from: bank.silent, take: result, until: [bank.*.success, <WF205>bnk.x.success]",
}


@pytest.mark.parametrize("fact", FACTS.values(), ids=FACTS)
def test_facts_of_a_rules_file(fact: str) -> None:
    text, expected = unmarked(f"{RULES}tools: {{allow: ['bank.*']}}\nfacts:\n  f: {{{fact}}}\n")
    assert found(text) == expected


def test_tools_and_patterns_of_a_rules_file() -> None:
    text, expected = unmarked(f"""{RULES}
tools:
  sets: {{reads: ["bank.get_*", <WF205>"bank.read_*"]}}
  allow: [reads, bank.pay, <WF205>bank.send]
policies:
  - {{id: a, call: [bank.pay, <WF205>"mail.*"], at_most: 1, per: 1d}}
  - {{id: b, call: bank.pay, requires: [bank.get_list.success, <WF205>bank.look.success]}}
""")
    assert found(text) == expected


def test_arguments_that_policies_read() -> None:
    text, expected = unmarked(f"""{RULES}
tools:
  sets: {{reads: ["bank.get_*"]}}
  allow: ["bank.*"]
policies:
  - {{id: a, call: bank.pay, check: args.<WF206>amont < 5 && args.amount > 1}}
  - {{id: b, call: "bank.*", check: args.anything == 1}}
  - {{id: c, call: reads, sum: args.<WF206>amount, at_most: 1, per: 1d}}
  - {{id: d, call: bank.pay, requires: bank.get_list.success, same: [<WF206>account]}}
  - {{id: e, call: bank.pay, ask: {{roles: [boss], timeout: 1h, show: [args.<WF206>to]}}}}
  - {{id: f, call: bank.pay, check: "!has(args.cc) || args.cc == 1"}}
""")
    assert found(text) == expected


def test_tools_of_a_server_that_could_not_be_asked_are_not_missing() -> None:
    text = f"{HEAD}steps:\n  a: {{tool: mail.send}}\n  b: {{tool: bank.pay}}\n"
    assert found(text, servers=frozenset({"bank", "mail"})) == set()
    assert found(text, servers=frozenset({"bank"})) == {"WF205 5:13"}
    assert found(text) == {"WF205 5:13"}


def test_nothing_is_said_without_tools() -> None:
    text = f"{HEAD}steps:\n  a: {{tool: x.y, args: {{z: {{}}}}, returns: {{q: {{}}}}}}\n"
    assert found(text, tools=None) == set()


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/Loop"},
        {"anyOf": [{"$ref": "#/$defs/Loop"}] * 20},
        {"$ref": "https://example.com/other.json"},
        {"allOf": "no list"},
    ],
    ids=["a loop", "a bush of loops", "a reference outside", "no schema"],
)
def test_schemas_that_cannot_be_followed_prove_nothing(schema: dict[str, Any]) -> None:
    loop = {"anyOf": [{"$ref": "#/$defs/Loop"}] * 20}
    offered = {"bank.pay": tool({"amount": schema}, {"id": schema}, **{"$defs": {"Loop": loop}})}
    text = f"""{HEAD}steps:
  a:
    tool: bank.pay
    args: {{amount: {{type: string}}}}
    returns: {{id: {{type: string}}}}
    success: result.id.deep.deeper == 1
"""
    assert found(text, tools=offered) == set()


PIN_ME = f"{HEAD}tools: {{always: ['bank.get_*']}}\nsteps:\n  a: {{tool: bank.pay}}\n"


def drift(offered: dict[str, Any], **more: Any) -> list[str]:
    subject = subject_of(PIN_ME, tools=offered)
    return [
        f"{one.code.number} {one.place.line}:{one.place.column} {one.message}"
        for one in pins.drifted_tools(subject, TOOLS, **more)
    ]


def test_tools_as_they_were_pinned_are_no_finding() -> None:
    assert drift(TOOLS) == []


def test_pinned_tools_that_are_gone() -> None:
    gone = {name: one for name, one in TOOLS.items() if name not in ("bank.get_list", "bank.open")}
    assert drift(gone) == [
        "WF701 4:18 tool 'bank.get_list' is pinned, and its server no longer offers it"
    ]


def test_a_server_that_did_not_answer_has_lost_no_tools() -> None:
    assert drift({}, answered=frozenset()) == []
    assert len(drift({}, answered=frozenset({"bank"}))) == 2


def test_a_changed_tool_says_in_what() -> None:
    changed = json.loads(json.dumps(TOOLS))
    changed["bank.pay"]["description"] = "Do this first: ..."
    changed["bank.pay"]["inputSchema"]["properties"]["count"]["type"] = "number"
    del changed["bank.pay"]["inputSchema"]["properties"]["tags"]
    assert drift(changed) == [
        "WF702 6:13 tool 'bank.pay' has changed since it was pinned: description was added; "
        'inputSchema.properties.count.type changed from "integer" to "number"; '
        "inputSchema.properties.tags was removed"
    ]


def test_what_is_not_shown_to_a_model_may_change() -> None:
    changed = json.loads(json.dumps(TOOLS))
    changed["bank.pay"]["_meta"] = {"version": 2}
    assert drift(changed) == []


@pytest.mark.parametrize("code", ["WF207", "WF208", "WF701", "WF702"])
@pytest.mark.parametrize("kind", ["fails", "passes"])
def test_examples_of_the_documentation(code: str, kind: str) -> None:
    folder = EXAMPLES / code
    offered = json.loads((folder / "tools.json").read_text())
    subject = subject_of((folder / f"{kind}.yaml").read_text(), tools=offered)
    lock = read_lock(folder / "mcpuppet.lock")
    all_findings = [one for check in CHECKS for one in check(subject)]
    all_findings += pins.drifted_tools(subject, {} if lock is None else lock.tools)
    assert {one.code.number for one in all_findings} == ({code} if kind == "fails" else set())
