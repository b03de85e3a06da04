"""The JSON Schema of the language: up to date, and right about what is accepted."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mcpuppet.templates_path import templates_folder
from mcpuppet.workflow import definition
from mcpuppet.workflow.definition import RulesDefinition, SharedDefinition, WorkflowDefinition
from mcpuppet.workflow.language_schema import language_schema, language_schema_text
from mcpuppet.workflow.parser import validate_document
from mcpuppet.workflow.yaml_reader import read_yaml

SCHEMA = language_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
MODELS = {"workflow": WorkflowDefinition, "rules": RulesDefinition, "shared": SharedDefinition}
EXAMPLES = Path(__file__).parent / "examples"
TEMPLATES = sorted(templates_folder().glob("*.yaml"))
PASSING = sorted(
    path for path in EXAMPLES.glob("WF*/passes*/**/*.yaml") if path.name != "mcpuppet.yaml"
) + sorted(EXAMPLES.glob("WF*/passes.yaml"))

HEAD = "mcpuppet: 1\nworkflow: w\nversion: 1.0.0\n"
STEPS = HEAD + "steps: {a: {tool: s.t}}\n"
RULES = "mcpuppet: 1\nrules: r\nversion: 1.0.0\n"
SHARED = "mcpuppet: 1\nshared: s\n"


def step(keys: str) -> str:
    return f"{HEAD}steps: {{a: {{tool: s.t, {keys}}}}}\n"


def policy(keys: str) -> str:
    return f"{STEPS}policies: [{{id: p, call: a, {keys}}}]\n"


def loaded(text: str) -> Any:
    document = read_yaml(text, "w.yaml")
    assert not document.findings
    return document.data


def accepted_by_models(text: str) -> bool:
    document = read_yaml(text, "w.yaml")
    kind = next((key for key in MODELS if key in document.data), "workflow")
    read, _ = validate_document(document, MODELS[kind])
    return read is not None


def test_the_shipped_file_is_what_the_models_give() -> None:
    shipped = files("mcpuppet").joinpath("workflow.v1.json").read_text(encoding="utf-8")
    assert shipped == language_schema_text(), (
        "run: python -m mcpuppet.workflow.language_schema > mcpuppet/workflow.v1.json"
    )


def test_it_is_a_schema_with_an_id_of_its_own() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == "urn:mcpuppet:workflow:1"


def test_every_key_has_a_sentence_and_every_part_a_title() -> None:
    for name, part in SCHEMA["$defs"].items():
        assert part["title"], name
        assert part["description"], name
        for key, schema in part["properties"].items():
            assert schema["description"].endswith("."), f"{name}.{key}"


def test_every_model_of_a_file_is_in_it() -> None:
    written = {
        name
        for name, one in vars(definition).items()
        if isinstance(one, type) and issubclass(one, definition.Section)
    }
    shared_bases = {"Section", "Governed"}
    spelled_out = {"Needs", "Equals"}
    assert set(SCHEMA["$defs"]) == written - shared_bases - spelled_out


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_the_templates_are_valid(path: Path) -> None:
    VALIDATOR.validate(loaded(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", PASSING, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_the_passing_examples_are_valid(path: Path) -> None:
    VALIDATOR.validate(loaded(path.read_text(encoding="utf-8")))


ACCEPTED = {
    "the least workflow": STEPS,
    "the least rules file": RULES,
    "the least shared file": SHARED,
    "needs as a word": step("needs: b"),
    "needs as a list": step("needs: [b, c]"),
    "needs as a mapping": step("needs: {b: failure, c: [success, skipped], join: any}"),
    "one of several tools": f"{HEAD}steps: {{a: {{tool: [s.t, s.u]}}}}\n",
    "a guard that is a boolean": step("when: true"),
    "a guard": step("when: inputs.x > 1"),
    "finally": step("finally: true"),
    "an argument that equals": step("args: {x: {equals: inputs.y}}"),
    "an argument that equals a truth value": step("args: {x: {equals: true}}"),
    "arguments with schemas": step("args: {x: {type: string}, y: true, z: {const: {equals: 1}}}"),
    "a key without a value": step("title: ~"),
    "a duration": step("timeout: 500ms"),
    "one event": policy("requires: b.success"),
    "several events": policy("forbidden_after: [b.success, b.failure]"),
    "a limit over a period": policy("at_most: 2, per: 12h"),
    "a limit over a session": policy("at_most: 2, per: session"),
    "a sum": policy("sum: args.x, at_most: 2.5, per: 1d, over: ask, timeout: 1h, show: [args.x]"),
    "opening hours": policy("hours: mon-fri 08:00-18:00 Europe/Rome"),
    "an ask": policy("ask: {roles: [b], timeout: 1h, show: [args.x]}, unless: args.x < 3"),
    "alternatives in a claim": f"{STEPS}properties: [{{id: p, precedes: [[a.x, b.x], c.x]}}]\n",
    "allowed tools": RULES + 'tools: {allow: ["s.*", reads], sets: {reads: [s.r]}}\n',
    "one allowed tool": RULES + "tools: {allow: s.t}\n",
    "no allowed tool": RULES + "tools: {allow: []}\n",
    "a fact with a key": RULES
    + "facts: {f: {from: s.t, key: args.x, keep: [y], until: s.t.call}}\n",
    "a fact that is a set": RULES + 'facts: {f: {from: s.t, take: "result.a[].b"}}\n',
    "one shared file": STEPS + "use: common.yaml\n",
    "shared policies": SHARED + "policies: [{id: p, call: s.t, mutex: true}]\n",
}

REFUSED = {
    "nothing": "mcpuppet: 1\n",
    "another version": STEPS.replace("mcpuppet: 1", "mcpuppet: 2"),
    "a version that is a number": STEPS.replace("1.0.0", "1.0"),
    "a workflow without steps": HEAD,
    "a workflow with no step": HEAD + "steps: {}\n",
    "rules with steps": RULES + "steps: {a: {tool: s.t}}\n",
    "a name with capitals": STEPS.replace("workflow: w", "workflow: Pay"),
    "an unknown key": STEPS + "stps: {}\n",
    "an unknown key of a step": step("timout: 3s"),
    "a step id with capitals": f"{HEAD}steps: {{A: {{tool: s.t}}}}\n",
    "a tool without its server": f"{HEAD}steps: {{a: {{tool: t}}}}\n",
    "no tool in a list": f"{HEAD}steps: {{a: {{tool: []}}}}\n",
    "finally_ as the models call it": step("finally_: true"),
    "needs of nothing": step("needs: []"),
    "needs that are a number": step("needs: 3"),
    "needs with nothing but join": step("needs: {join: any}"),
    "needs with another join": step("needs: {b: success, join: some}"),
    "a guard that is a number": step("when: 3"),
    "a duration without a unit": step("timeout: 30"),
    "a duration of another unit": step("timeout: 3 weeks"),
    "an argument that is text": step("args: {x: text}"),
    "equals and more": step("args: {x: {equals: inputs.y, type: string}}"),
    "a schema that is a list": f"{STEPS}inputs: {{x: []}}\n",
    "an input with capitals": f"{STEPS}inputs: {{X: {{}}}}\n",
    "an approval without roles": f"{HEAD}steps: {{a: {{approval: {{timeout: 1h}}}}}}\n",
    "an approval without timeout": f"{HEAD}steps: {{a: {{approval: {{roles: [b]}}}}}}\n",
    "a retry without attempts": step("retry: {delay: 1s}"),
    "a policy without an id": f"{STEPS}policies: [{{call: a, mutex: true}}]\n",
    "a policy that calls nothing": f"{STEPS}policies: [{{id: p, call: [], mutex: true}}]\n",
    "a limit over nothing known": policy("at_most: 1, per: fortnight"),
    "a limit below zero": policy("at_most: -1, per: run"),
    "hours that are a list": policy("hours: [mon]"),
    "a way to values that is none": RULES + "facts: {f: {from: s.t, take: answer.x}}\n",
    "from_ as the models call it": RULES + "facts: {f: {from_: s.t, take: result}}\n",
    "a shared file with steps": SHARED + "steps: {a: {tool: s.t}}\n",
    "a shared file with inputs": SHARED + "inputs: {}\n",
}


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_models_accept_is_valid(text: str) -> None:
    assert accepted_by_models(text)
    VALIDATOR.validate(loaded(text))


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_the_models_refuse_is_not_valid(text: str) -> None:
    assert not accepted_by_models(text)
    assert not VALIDATOR.is_valid(loaded(text))
