"""What guards can tell apart, and what the types of values allow."""

from __future__ import annotations

import pytest
from support.marked import WORKFLOW, findings, found, unmarked

CHECKED = """inputs: {x: {type: integer, minimum: 0}, kind: {enum: [small, big]}}
steps:
  check: {tool: s.check, args: {a: {equals: inputs.x}, b: {equals: inputs.kind}}}
"""

CASES = {
    "a guard that some values pass": """
  a: {tool: s.a, needs: check, when: inputs.x > 1}
""",
    "a guard that no value passes": """
  a: {tool: s.a, optional: true, success: <WF401>inputs.x < 0}
""",
    "a guard that every value passes": """
  a: {tool: s.a, when: <WF404>inputs.x >= 0}
""",
    "a guard that every value that is there passes": """
  a: {tool: s.a, success: result.ok}
  b: {tool: s.b, needs: a, when: steps.a.result.n >= 0 || steps.a.result.n < 0}
""",
    "a guard on an outcome that the needs settle": """
  a: {tool: s.a, needs: check, when: <WF404>steps.check.outcome == "success"}
""",
    "a guard on an outcome that the needs leave open": """
  a: {tool: s.a, needs: {check: [success, failure]}, when: steps.check.outcome == "success"}
""",
    "a guard on a result that the needs assure": """
  a: {tool: s.a, needs: check, when: <WF404>has(steps.check.result)}
""",
    "an opaque guard": """
  a: {tool: s.a, when: <WF408>inputs.x + 1 > 2}
""",
    "siblings that share out the values": """
  a: {tool: s.a, needs: check, when: inputs.x > 2}
  b: {tool: s.b, needs: check, when: inputs.x <= 2, exclusive: true}
""",
    "siblings that overlap, which none minds": """
  a: {tool: s.a, needs: check, when: inputs.x > 2}
  b: {tool: s.b, needs: check, when: inputs.x <= 3}
""",
    "siblings that overlap, which one minds": """
  a: {tool: s.a, needs: check, when: inputs.x > 2}
  b: {tool: s.b, needs: check, when: inputs.x <= 3, <WF402>exclusive: true}
""",
    "two exclusive siblings are compared once": """
  a: {tool: s.a, needs: check, when: inputs.x > 2, <WF402>exclusive: true}
  b: {tool: s.b, needs: check, when: inputs.x <= 3, exclusive: true}
""",
    "an exclusive step beside one that always starts": """
  a: {tool: s.a, needs: check}
  b: {tool: s.b, needs: check, when: inputs.x <= 3, <WF402>exclusive: true}
""",
    "exclusive steps with other needs": """
  a: {tool: s.a}
  b: {tool: s.b, needs: check, when: inputs.x <= 3, exclusive: true}
""",
    "siblings that leave a value out": """
  a: {tool: s.a, needs: check, when: <WF403>inputs.x > 2}
  b: {tool: s.b, needs: check, when: inputs.x < 2}
""",
    "siblings of several values leave one out, which one minds": """
  a: {tool: s.a, needs: check, when: <WF403>inputs.x > 2 && inputs.kind == "small"}
  b: {tool: s.b, needs: check, when: inputs.kind == "big", exclusive: true}
""",
    "siblings of several values": """
  a: {tool: s.a, needs: check, when: inputs.x > 2}
  b: {tool: s.b, needs: check, when: inputs.kind == "big"}
""",
    "one guarded step": """
  a: {tool: s.a, needs: check, when: inputs.x > 2}
""",
    "a step that starts anyway": """
  a: {tool: s.a, needs: check, when: inputs.x > 2}
  b: {tool: s.b, needs: check, when: inputs.x < 2}
  c: {tool: s.c, needs: check}
""",
    "a step that goes on when they were skipped": """
  a: {tool: s.a, needs: check, when: inputs.x > 2}
  b: {tool: s.b, needs: check, when: inputs.x < 2}
  c: {tool: s.c, needs: {a: [success, skipped], b: [success, skipped]}}
""",
}


@pytest.mark.parametrize("marked", CASES.values(), ids=CASES.keys())
def test_guards_that_say_too_little_or_too_much(marked: str) -> None:
    text, expected = unmarked(WORKFLOW + CHECKED + marked.removeprefix("\n"))
    assert found(text) == expected


def test_a_witness_is_named() -> None:
    text, _ = unmarked(WORKFLOW + CHECKED + CASES["siblings that overlap, which one minds"][1:])
    (one,) = findings(text)
    assert one.message == "'b' is exclusive, but it and 'a' can both start when inputs.x = 3"
    text, _ = unmarked(WORKFLOW + CHECKED + CASES["siblings that leave a value out"][1:])
    (one,) = findings(text)
    assert one.message == "none of 'a' and 'b' starts when inputs.x = 2"


TYPED = """inputs:
  number: {type: number}
  text: {type: string}
  maybe: {type: [string, "null"]}
  flag: {type: boolean}
  texts: {type: array, items: {type: string}}
  kind: {enum: [small, big]}
  open: {type: object, properties: {a: {type: string}}}
  closed: {type: object, properties: {a: {type: string}}, additionalProperties: false}
  free: true
steps:
  a: {tool: s.a}
policies:
  - id: p
    call: a
    check: """

WRONG = {
    'inputs.number < "1"': (
        "<",
        '`inputs.number` is a number and "1" a string: they have no order',
    ),
    "inputs.number": ("inputs", "`inputs.number` is a number, not true or false"),
    "!inputs.text": ("inputs", "`inputs.text` is a string, not true or false"),
    "inputs.flag && inputs.text": ("inputs.text", "`inputs.text` is a string, not true or false"),
    "inputs.text == 1": ("==", "`inputs.text` is a string and 1 a number: they are never equal"),
    'inputs.kind == "huge"': ('"huge"', '`inputs.kind` is never "huge"'),
    'inputs.kind in ["small", "huge"]': ('"huge"', '`inputs.kind` is never "huge"'),
    "inputs.number in inputs.texts": (
        "in inputs.texts",
        "`inputs.texts` holds a string: `inputs.number` is a number",
    ),
    "inputs.text in inputs.number": ("in inputs.n", "`inputs.number` is a number: it has no items"),
    "inputs.number in inputs.open": (
        "in inputs.o",
        "`inputs.number` is a number, and the keys of an object are text",
    ),
    "inputs.text - 1 == 0": (
        "- 1",
        "`inputs.text` is a string and 1 a number: `-` has no meaning for them",
    ),
    "-inputs.text == 1": ("inputs", "`inputs.text` is a string, not a number"),
    "inputs.closed.b": ("b", "`inputs.closed` has no field 'b'"),
    'inputs.closed["b"]': ("[", "`inputs.closed` has no field 'b'"),
    "has(inputs.closed.b)": ("b)", "`inputs.closed` has no field 'b'"),
    "inputs.text.a": ("a", "`inputs.text` is a string: it has no fields"),
    "inputs.number[0]": ("[", "`inputs.number` is a number: it has no items"),
    "inputs.texts[inputs.text] == inputs.text": (
        "[",
        "the place in a list is a number, not a string",
    ),
    "inputs.texts.all(t, t > 1)": ("> 1", "`t` is a string and 1 a number: they have no order"),
    "inputs.text.all(t, true)": ("all", "`inputs.text` is a string: all() asks for a list"),
    "inputs.texts.exists(t, t)": ("t)", "`t` is a string, not true or false"),
    "size(inputs.number) > 1": ("inputs", "`inputs.number` is a number, not a string or a list"),
    'inputs.texts.contains("a")': ("inputs", "`inputs.texts` is a list, not a string"),
    "now > inputs.text": (
        "> i",
        "`now` is a moment and `inputs.text` a string: they have no order",
    ),
    'now - duration("1h") < 5': ("< 5", "this is a moment and 5 a number: they have no order"),
    'now - timestamp("2026-01-01T00:00:00Z") < 5': (
        "< 5",
        "this is a length of time and 5 a number: they have no order",
    ),
    "timestamp(inputs.number) < now": ("inputs", "`inputs.number` is a number, not a string"),
    "inputs.flag ? inputs.text : inputs.number": (
        "?",
        "this is a number or a string, not true or false",
    ),
}


def _column(expression: str, part: str) -> int:
    return expression.rindex(part) if part in {"a", "b"} else expression.index(part)


@pytest.mark.parametrize(("expression", "told"), WRONG.items(), ids=WRONG.keys())
def test_a_value_used_as_what_it_is_not(expression: str, told: tuple[str, str]) -> None:
    part, message = told
    wrong = [one for one in findings(_with(expression)) if one.code.number == "WF406"]
    assert [one.message[: len(message)] for one in wrong] == [message]
    start = len("    check: '")
    assert wrong[0].place.column == start + _column(expression, part) + 1


def _with(expression: str) -> str:
    quoted = expression.replace("'", "''")
    return f"{WORKFLOW}{TYPED}'{quoted}'\n"


@pytest.mark.parametrize(
    "expression",
    [
        "inputs.number < 1.5 && inputs.number * 2 < 10",
        "inputs.number == 1",
        "inputs.maybe == null || inputs.maybe == 'x'",
        "inputs.text == null",
        "inputs.text < 'b' && inputs.text + 'x' == 'ax'",
        "inputs.kind == 'small' || inputs.kind in ['big']",
        "inputs.text in inputs.texts && 'a' in inputs.open",
        "inputs.open.b > 1 && inputs.closed.a == 'x'",
        "inputs.free.a > 1 && inputs.free == 'x'",
        "args.x > 1 && args.x == 'a'",
        "'boss' in user.roles && user.name != ''",
        "inputs.texts.all(t, t.startsWith('a')) && inputs.texts[0] == 'b'",
        "size(inputs.texts) == size(inputs.text)",
        "now - timestamp(inputs.text) <= duration('24h')",
        "now + duration('1h') > date('2026-01-01')",
        "get(inputs.closed.b, 'x') == 'x'",
        "count(t, inputs.texts, t == 'a') > 1",
        "inputs.flag ? inputs.number > 1 : inputs.flag",
        "steps.a.result.anything > 1",
    ],
)
def test_what_may_fit_is_let_be(expression: str) -> None:
    assert [one.message for one in findings(_with(expression)) if one.code.number == "WF406"] == []


def test_results_have_the_types_of_returns() -> None:
    text, expected = unmarked(
        WORKFLOW
        + """steps:
  a:
    tool: s.a
    returns: {n: {type: integer}, who: {type: object, properties: {name: {type: string}}}}
    success: result.n <WF406>> "1"
    repeat: {max: 2, until: size(<WF406>result.n) > 1}
  b:
    tool: s.b
    needs: a
    when: steps.a.result.who.name <WF406>> 1 || steps.a.outcome <WF406>== 1
"""
    )
    assert found(text) == expected
