"""Many findings, and many steps: what is listed, and how long it takes at most."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from support.marked import WORKFLOW, findings

from mcpuppet.workflow.checks.guard_classes import guard_overlap
from mcpuppet.workflow.checks.subject import Subject
from mcpuppet.workflow.findings import Finding
from mcpuppet.workflow.parser import parse_workflow


def numbers(found: list[Finding]) -> Counter[str]:
    return Counter(one.code.number for one in found)


def test_a_hundred_errors_of_one_kind_are_enough() -> None:
    text = WORKFLOW + "steps:\n  a: {tool: s.a}\n"
    text += "".join(f"  b{n}: {{tool: s.b, needs: nothing{n}}}\n" for n in range(150))
    found = findings(text)
    assert numbers(found) == {"WF201": 100, "WF107": 1}
    assert str(found[-1]).startswith("w.yaml:106:")


def test_of_warnings_a_hundred_are_listed_and_all_are_counted() -> None:
    text = WORKFLOW + "steps:\n  a: {tool: s.a}\npolicies:\n"
    text += "".join(f"  - {{id: p{n}, call: t.x, mutex: true}}\n" for n in range(150))
    found = findings(text)
    assert numbers(found) == {"WF511": 101}
    assert found[0].message == "50 more like these are not listed"


def test_errors_are_found_behind_a_hundred_warnings() -> None:
    guards = "".join(f"  a{n}: {{tool: s.a{n}, when: true}}\n" for n in range(150))
    text = f"{WORKFLOW}steps:\n{guards}  z: {{tool: s.z, optional: true, success: false}}\n"
    found = numbers(findings(text))
    assert (found["WF404"], found["WF401"]) == (101, 1)


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("steps:\n  a: {tool: s.a}\n", "  b%d: {tool: s.b, needs: nothing%d}\n"),
        ("steps:\n  a: {tool: s.a}\n", "  b%d: {tool: s.b, when: inputs.x%d}\n"),
        ("steps:\n  a: {tool: s.a}\npolicies:\n", "  - {id: p%d, call: t.x%d, roles: [nobody]}\n"),
        ("steps:\n  a: {tool: s.a}\npolicies:\n", "  - {id: p%d, call: a, requires: s.x%d.call}\n"),
    ],
)
def test_thousands_of_unknown_names_do_not_take_long(head: str, line: str) -> None:
    text = WORKFLOW + head + "".join(line % (n, n) for n in range(3_000))
    started = time.process_time()
    assert len(findings(text)) < 400
    assert time.process_time() - started < 8  # parsing included; it would be minutes


def test_very_many_siblings_are_not_compared_for_ever() -> None:
    text = WORKFLOW + "inputs: {x: {type: integer}}\nsteps:\n  s: {tool: s.s}\n"
    text += "".join(
        f"  a{n}: {{tool: s.a{n}, needs: s, when: inputs.x == {n}, exclusive: true}}\n"
        for n in range(3_000)
    )
    parsed = parse_workflow(text, "w.yaml")
    assert parsed.definition is not None
    started = time.process_time()
    (one,) = guard_overlap(Subject(parsed.definition, parsed.document))
    assert time.process_time() - started < 5  # in full it would be an hour
    assert one.message.endswith("is not decided: too many values")
