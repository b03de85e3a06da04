"""JSON Schemas: what fits, the sentences about what does not, and what no schema may do."""

from __future__ import annotations

import time
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft201909Validator, Draft202012Validator
from jsonschema.exceptions import SchemaError as LibrarySchemaError

from mcpuppet.errors import InvalidInputError
from mcpuppet.workflow.schema import Schema, SchemaError, compile_schema
from mcpuppet.workflow.schema_plain import is_plain

DRAFT_07 = "http://json-schema.org/draft-07/schema#"


def violations(schema: Schema, value: object) -> list[str]:
    return compile_schema(schema).violations(value)


def refusal_of(schema: Schema) -> SchemaError:
    with pytest.raises(SchemaError) as caught:
        compile_schema(schema)
    return caught.value


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


PAYMENT: Schema = {
    "type": "object",
    "properties": {
        "amount": {"type": "number", "exclusiveMinimum": 0},
        "payee": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{2}$"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["amount"],
    "additionalProperties": False,
}


def test_a_value_that_fits_has_no_violations() -> None:
    assert violations(PAYMENT, {"amount": 1.5, "payee": "IT60", "tags": ["a"]}) == []


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"amount": "x"}, "amount: 'x' is not of type 'number'"),
        ({"amount": True}, "amount: True is not of type 'number'"),
        ({}, "'amount' is a required property"),
        ({"amount": 1, "payee": "it"}, "payee: 'it' does not match '^[A-Z]{2}[0-9]{2}$'"),
        ({"amount": 1, "tags": ["a", 2]}, "tags[1]: 2 is not of type 'string'"),
        ({"amount": 1, "extra": 1}, "'extra': not expected here"),
        (3, "3 is not of type 'object'"),
    ],
)
def test_a_violation_says_where_and_what(value: object, sentence: str) -> None:
    assert violations(PAYMENT, value) == [sentence]


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ({"type": "integer"}, True, False),
        ({"type": "integer"}, 1.0, True),
        ({"type": "number"}, float("nan"), False),
        ({"type": "number", "maximum": 5}, float("inf"), False),
        ({"enum": [1]}, True, False),
        ({"const": [0]}, [False], False),
        ({"pattern": r"^\d+$"}, "12", True),
        ({"pattern": r"^\d+$"}, "12\n", False),
        ({"pattern": "b"}, "abc", True),
        ({"pattern": "b"}, 5, True),
        ({"patternProperties": {"^n_": {"type": "integer"}}}, {"n_a": "x"}, False),
        ({"patternProperties": {"^n_": {}}, "additionalProperties": False}, {"n_a": 1}, True),
        ({"patternProperties": {"^n_": {}}, "additionalProperties": False}, {"m": 1}, False),
        ({"additionalProperties": {"type": "string"}}, {"m": 1}, False),
        ({"propertyNames": {"pattern": "^a"}}, {"b": 1}, False),
        ({"uniqueItems": True}, [1, True, "1", [1], [True], {"a": 1}, {"a": True}], True),
        ({"uniqueItems": True}, [1, 1.0], False),
        ({"uniqueItems": True}, [{"a": [1]}, {"a": [1.0]}], False),
        ({"uniqueItems": False}, [1, 1], True),
        ({"format": "email"}, "nobody", False),
        ({"format": "date"}, "2026-02-30", False),
        ({"format": "uuid"}, "12", False),
        ({"format": "ipv4"}, "1.2.3", False),
        ({"format": "ipv6"}, "::1", True),
        ({"format": "made-up"}, "anything", True),
        (True, object(), True),
        (False, 1, False),
        ({"$defs": {"a": {"type": "string"}}, "$ref": "#/$defs/a"}, 1, False),
        ({"$defs": {"a": {"$anchor": "x", "type": "string"}}, "$ref": "#x"}, 1, False),
        ({"$id": "https://x.test/a", "$defs": {"b": {"$id": "b"}}, "$ref": "b"}, 1, True),
        ({"items": {"$ref": "#"}, "type": "array"}, [[], [[]]], True),
        ({"properties": {"$ref": {"type": "string"}, "pattern": {}}}, {"$ref": 1}, False),
        ({"const": {"$ref": "https://x.test", "$schema": 1}}, 1, False),
        ({"$schema": DRAFT_07, "items": [{"type": "string"}]}, [1], False),
        ({"$schema": DRAFT_07, "definitions": {"a": False}, "$ref": "#/definitions/a"}, 1, False),
    ],
)
def test_values_fit_or_not(schema: Schema, value: object, fits: bool) -> None:
    assert (violations(schema, value) == []) is fits


def test_at_most_five_violations_are_told_and_no_long_value_is_repeated() -> None:
    told = violations({"items": {"type": "integer"}}, ["secret" * 100] * 50)
    assert len(told) == 5
    assert told[0] == "[0]: a string of 600 characters is not of type 'integer'"
    assert all("secretsecret" not in sentence for sentence in told)


def test_long_names_are_cut() -> None:
    told = violations({"additionalProperties": False}, {"x" * 5_000: 1})
    assert len(told[0]) <= 200
    told = violations({"additionalProperties": {"type": "string"}}, {"x" * 5_000: 1})
    assert len(told[0]) <= 450


@pytest.mark.parametrize(
    "schema",
    [
        {"items": {"$ref": "#"}, "type": "array"},
        {"type": "string"},
        {"uniqueItems": True},
        {"const": [[1]]},
        {"enum": [[[1]]]},
    ],
)
def test_a_value_nested_ten_thousand_deep_is_a_violation_and_no_crash(schema: Schema) -> None:
    assert violations(schema, nested(10_000)) == ["the value is nested too deeply to be checked"]


def test_a_schema_that_refers_to_itself_without_end_lets_nothing_pass() -> None:
    assert violations({"$ref": "#"}, 1) == ["the value is nested too deeply to be checked"]


@pytest.mark.parametrize("schema", [{"pattern": "a"}, {"patternProperties": {"a": {}}}])
def test_text_that_is_not_unicode_does_not_fit(schema: Schema) -> None:
    assert len(violations(schema, "\ud800" if "pattern" in schema else {"\ud800": 1})) == 1  # type: ignore[operator]


@pytest.mark.parametrize("schema", [{"multipleOf": 0.1}, {"type": "string"}])
def test_a_number_of_thousands_of_digits_is_a_violation_and_no_crash(schema: Schema) -> None:
    assert len(violations(schema, 10**5_000)) == 1


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "^(a+)+$"},
        {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False},
        {"propertyNames": {"pattern": "^(a+)+$"}},
        {"$schema": DRAFT_07, "pattern": "^(a+)+$"},
        {"$ref": "#/$defs/p", "$defs": {"p": {"pattern": "^(a+)+$"}}},
        {
            "$schema": DRAFT_07,
            "allOf": [{"$ref": "#/definitions/p"}],
            "definitions": {
                "p": {"pattern": "^(a+)+$", "not": {"$ref": "#/definitions/never"}},
                "never": False,
            },
        },
    ],
)
def test_a_pattern_that_explodes_elsewhere_is_linear_here(schema: Schema) -> None:
    text = "a" * 50_000 + "b"
    by_name = "patternProperties" in schema or "propertyNames" in schema  # type: ignore[operator]
    started = time.perf_counter()
    assert len(violations(schema, {text: 1} if by_name else text)) == 1
    assert time.perf_counter() - started < 1


def test_a_reference_to_the_root_keeps_the_linear_patterns() -> None:
    schema: Schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"child": {"$ref": "#"}, "name": {"pattern": "^(a+)+$"}},
    }
    started = time.perf_counter()
    assert len(violations(schema, {"child": {"child": {"name": "a" * 50_000 + "b"}}})) == 1
    assert time.perf_counter() - started < 1


def test_alternatives_of_alternatives_stop_when_too_many_references_were_followed() -> None:
    levels: dict[str, object] = {
        f"d{at}": {"anyOf": [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(40)
    }
    schema: Schema = {"$defs": {**levels, "d40": {"type": "string"}}, "$ref": "#/$defs/d0"}
    compiled = compile_schema(schema)
    assert compiled.violations(1) == ["checking the value follows more than 20,000 references"]
    assert compiled.violations("x") == []


def test_ten_thousand_different_objects_are_compared_at_once() -> None:
    started = time.perf_counter()
    assert violations({"uniqueItems": True}, [{"a": at} for at in range(10_000)]) == []
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("schema", "path", "word"),
    [
        ({"$ref": "https://evil.test/x"}, ("$ref",), "ever fetched"),
        ({"$ref": "file:///etc/passwd"}, ("$ref",), "ever fetched"),
        ({"items": {"$ref": "other.json"}}, ("items", "$ref"), "ever fetched"),
        ({"$dynamicRef": "https://evil.test/x"}, ("$dynamicRef",), "ever fetched"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, ("$ref",), "ever fetched"),
        ({"$id": "https://x.test/a", "$ref": "b"}, ("$ref",), "ever fetched"),
        ({"$ref": "#/$defs/a"}, ("$ref",), "not in this schema"),
        ({"$ref": "#a"}, ("$ref",), "not in this schema"),
        ({"enum": [{"pattern": "("}], "$ref": "#/enum/0"}, ("$ref",), "lead to a schema"),
        (
            {"properties": {"a": {"pattern": "(?=a)"}}},
            ("properties", "a", "pattern"),
            "look-around",
        ),
        ({"pattern": r"(a)\1"}, ("pattern",), "back-references"),
        ({"pattern": "(a{1000}){1000}"}, ("pattern",), "repetition"),
        ({"patternProperties": {"(": {}}}, ("patternProperties",), "cannot be used"),
        ({"$defs": {"a": {"pattern": "("}}}, ("$defs", "a", "pattern"), "cannot be used"),
        ({"type": "text"}, ("type",), "'text'"),
        ({"properties": {"a": 1}}, ("properties", "a"), "1"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, ("$schema",), "draft-07"),
        ({"not": {"$schema": DRAFT_07}}, ("not", "$schema"), "whole schema"),
        ({"minimum": float("nan")}, ("minimum",), "finite"),
        ({"default": object()}, ("default",), "JSON value"),
        ({"a": {1: 2}}, ("a",), "not text"),
        (
            {"patternProperties": {"a": {}}, "unevaluatedProperties": False},
            ("unevaluatedProperties",),
            "patternProperties",
        ),
        ([], (), "object, true or false"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_its_place(
    schema: Schema, path: tuple[str, ...], word: str
) -> None:
    error = refusal_of(schema)
    assert error.path == path
    assert word in error.message
    assert isinstance(error, InvalidInputError)


def test_a_schema_that_is_too_deep_or_too_big_is_refused() -> None:
    deep: Schema = True
    for _ in range(5_000):
        deep = {"not": deep}
    assert "64 levels" in refusal_of(deep).message
    assert "20,000" in refusal_of({"enum": list(range(20_001))}).message


def test_a_schema_may_be_changed_after_it_was_compiled_without_effect() -> None:
    schema: dict[str, object] = {"type": "string"}
    compiled = compile_schema(schema)
    schema["type"] = "integer"
    assert compiled.violations("x") == []
    assert compiled.source == {"type": "string"}


PLAIN_OR_NOT = [
    {"type": "string", "minLength": 1},
    {"type": ["string", "null"]},
    {"type": []},
    {"type": ["string", "string"]},
    {"type": "text"},
    {"enum": [1, "a", None]},
    {"enum": "a"},
    {"minimum": True},
    {"minimum": "1"},
    {"minLength": -1},
    {"minLength": 1.0},
    {"multipleOf": 0},
    {"multipleOf": 0.5},
    {"required": ["a", "a"]},
    {"required": ["a", "b"]},
    {"properties": {"a": {"type": "number"}, "b": True}},
    {"properties": {"a": {"type": "nothing"}}},
    {"properties": ["a"]},
    {"items": {"type": "number"}},
    {"items": [{"type": "number"}]},
    {"anyOf": []},
    {"anyOf": [{"type": "number"}, {"const": 1}]},
    {"not": 1},
    {"uniqueItems": "yes"},
    {"title": 1},
    {"examples": 3},
]


@pytest.mark.parametrize("schema", PLAIN_OR_NOT, ids=str)
def test_what_is_recognised_as_plain_is_valid_in_every_draft(schema: dict[str, Any]) -> None:
    for draft in (Draft7Validator, Draft201909Validator, Draft202012Validator):
        try:
            draft.check_schema(schema)
        except LibrarySchemaError:
            assert not is_plain(schema)


def test_everyday_schemas_are_recognised_as_plain() -> None:
    assert is_plain({"type": "object", "properties": {"a": {"type": "number", "minimum": 0}}})
    assert is_plain({"enum": ["welcome", "welcome_b2b"], "title": "Template"})


def test_a_schema_that_was_seen_before_does_not_hide_a_name_that_is_no_text() -> None:
    compile_schema({"properties": {"1": {"type": "number"}}})
    with pytest.raises(SchemaError, match="not text"):
        compile_schema({"properties": {1: {"type": "number"}}})  # type: ignore[dict-item]
