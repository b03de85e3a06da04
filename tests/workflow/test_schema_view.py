"""What is said of a schema is true of every value: tried on random schemas and values."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from mcpuppet.workflow.schema import compile_schema
from mcpuppet.workflow.schema_view import conflict, kind_words, refused_values, whole

VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, -1, 3.0, 0.5, 1.5, 10, 11),
    *("", "a", "b", "abc", "abcdef", "EUR"),
    *([], [1], ["a", "b"], [1, 2, 3, 4]),
    *({}, {"x": 1}, {"x": "a", "y": None}),
]
TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]
DEFINITIONS = {
    "Text": {"type": "string", "minLength": 2},
    "Few": {"enum": ["a", "b", 1]},
    "Maybe": {"anyOf": [{"type": "integer", "minimum": 2}, {"type": "null"}]},
    "Loop": {"anyOf": [{"$ref": "#/$defs/Loop2"}, {"type": "string"}]},
    "Loop2": {"allOf": [{"$ref": "#/$defs/Text"}]},
}


def random_schema(source: random.Random, depth: int = 0) -> dict[str, Any]:
    kind = source.randrange(9 if depth < 2 else 6)
    if kind == 0:
        return {"type": source.sample(TYPES, source.randint(1, 3))}
    if kind == 1:
        return {"enum": source.sample(VALUES, source.randint(1, 3))}
    if kind == 2:
        return {"const": source.choice(VALUES), "type": source.choice(TYPES)}
    if kind == 3:
        low, high = sorted(source.choices([-1, 0, 0.5, 1, 2, 10], k=2))
        keys = source.choice([("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")])
        return {
            "type": source.choice(["integer", "number"]),
            **dict(zip(keys, (low, high), strict=True)),
        }
    if kind == 4:
        text = source.random() < 0.5
        keys = ("minLength", "maxLength") if text else ("minItems", "maxItems")
        bounds = sorted(source.choices(range(5), k=2))
        return {"type": "string" if text else "array", **dict(zip(keys, bounds, strict=True))}
    if kind == 5:
        return {"$ref": f"#/$defs/{source.choice(list(DEFINITIONS))}"}
    keyword = ("anyOf", "oneOf", "allOf")[kind - 6]
    return {keyword: [random_schema(source, depth + 1) for _ in range(source.randint(1, 3))]}


def schemas(seed: int, number: int) -> list[dict[str, Any]]:
    source = random.Random(seed)
    made = [random_schema(source) for _ in range(number)]
    return [{**one, "$defs": DEFINITIONS} if "$ref" in repr(one) else one for one in made]


def fitting(schema: dict[str, Any]) -> list[Any]:
    compiled = compile_schema(schema)
    return [value for value in VALUES if not compiled.violations(value)]


def contains(values: list[Any], wanted: Any) -> bool:
    return any(type(one) is type(wanted) and one == wanted for one in values)


def test_schemas_in_conflict_have_no_value_in_common() -> None:
    pool = [(schema, fitting(schema)) for schema in schemas(1, 28)]
    conflicts = 0
    for (ours, mine), (theirs, other) in itertools.combinations(pool, 2):
        if conflict(whole(ours), whole(theirs)) is not None:
            conflicts += 1
            assert not [one for one in mine if contains(other, one)], (ours, theirs)
    assert conflicts > 60


def test_refused_values_fit_ours_and_not_theirs() -> None:
    source = random.Random(2)
    refused = 0
    for theirs in schemas(2, 60):
        ours = {"enum": source.sample(VALUES, 4)}
        fits = fitting(theirs)
        for value in refused_values(whole(ours), whole(theirs)):
            refused += 1
            assert contains(ours["enum"], value)
            assert not contains(fits, value)
    assert refused > 60


def test_values_and_kinds_leave_nothing_out() -> None:
    for schema in schemas(3, 120):
        view, fits = whole(schema), fitting(schema)
        listed = view.values()
        if listed is not None:
            assert all(value in listed for value in fits), schema
        for value in fits:
            assert whole({"const": value}).kinds() <= view.kinds(), (schema, value)


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        ({"properties": {"a": {}}}, ["a"]),
        ({"properties": {"a": {}}, "additionalProperties": False}, ["a"]),
        ({"properties": {"a": {}}, "additionalProperties": {}}, None),
        ({"properties": {"a": {}}, "patternProperties": {}}, None),
        ({"properties": {"a": {}}, "allOf": [{"properties": {"b": {}}}]}, None),
        ({"type": "object"}, None),
        ({"anyOf": [{"properties": {"a": {}}, "type": "object"}, {"type": "null"}]}, ["a"]),
        ({"anyOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}, None),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"a": {}}}}}, ["a"]),
        ({"$ref": "#/$defs/B", "$defs": {}}, None),
        (True, None),
        ("no schema", None),
    ],
)
def test_fields_are_known_only_where_there_are_no_others(
    schema: Any, fields: list[str] | None
) -> None:
    known = whole(schema).fields()
    assert (None if known is None else list(known)) == fields


def test_a_bush_of_references_is_left_at_some_point() -> None:
    levels = {str(level): {"anyOf": [{"$ref": f"#/$defs/{level + 1}"}] * 8} for level in range(15)}
    view = whole({"$ref": "#/$defs/0", "$defs": {**levels, "15": {"type": "string"}}})
    assert len(view.kinds()) > 1
    assert view.values() is None


def test_kinds_are_named_as_people_do() -> None:
    assert kind_words(whole({"type": ["number", "null"]}).kinds()) == "a number or null"
    assert kind_words(whole(True).kinds()) == "anything"
