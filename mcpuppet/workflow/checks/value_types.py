"""What is known of the type of a value before a run: read off JSON Schemas and literals.

`None` stands for a value of which nothing is known; nothing is ever claimed about such a value. The
kinds are those of `json_values`, with one kind for all numbers. Knows no expression.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from mcpuppet.workflow.json_values import json_equal, kind_of

_KINDS = {
    "null": "null",
    "boolean": "bool",
    "integer": "number",
    "number": "number",
    "string": "string",
    "array": "list",
    "object": "map",
}
_NOT_LOOKED_INTO = frozenset({"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "not"})
_WORDS = {
    "null": "null",
    "bool": "true or false",
    "number": "a number",
    "string": "a string",
    "list": "a list",
    "map": "an object",
    "timestamp": "a moment",
    "duration": "a length of time",
}


@dataclass(frozen=True, slots=True)
class Known:
    """A value of one of some kinds; `schema` says more of it, `items` of the items of a list."""

    kinds: frozenset[str]
    schema: Mapping[str, Any] | None = None
    items: ValueType = None

    def words(self) -> str:
        """The kinds, as a sentence names them."""
        return " or ".join(word for kind, word in _WORDS.items() if kind in self.kinds)

    def values(self) -> list[Any] | None:
        """All values that it can be, if the schema lists them."""
        schema = self.schema or {}
        if "const" in schema:
            return [schema["const"]]
        return list(schema["enum"]) if "enum" in schema else None

    def field(self, name: str) -> ValueType:
        """The type of a field of an object."""
        schema = self.schema or {}
        properties = schema.get("properties", {})
        if name in properties:
            return of_schema(properties[name])
        is_plain = "patternProperties" not in schema
        return of_schema(schema.get("additionalProperties")) if is_plain else None

    def lacks(self, name: str) -> bool:
        """Whether it is an object that can have no such field."""
        schema = self.schema or {}
        return (
            self.kinds == {"map"}
            and schema.get("additionalProperties") is False
            and name not in schema.get("properties", {})
            and _NOT_LOOKED_INTO.isdisjoint(schema)
            and "patternProperties" not in schema
        )

    def fields(self) -> list[str]:
        """The fields that an object is declared to have."""
        return list((self.schema or {}).get("properties", {}))


ValueType: TypeAlias = Known | None


def kinds(*names: str) -> Known:
    """A type of which only its kinds are known."""
    return Known(frozenset(names))


def of_schema(schema: object) -> ValueType:
    """The type that a JSON Schema declares, as far as `type`, `enum` and `const` tell."""
    if not isinstance(schema, Mapping):
        return None
    found = _declared_kinds(schema)
    return Known(found, schema, of_schema(schema.get("items"))) if found else None


def _declared_kinds(schema: Mapping[str, Any]) -> frozenset[str] | None:
    declared = schema.get("type")
    words = [declared] if isinstance(declared, str) else declared
    by_type = None if words is None else frozenset(_KINDS[word] for word in words)
    if "const" in schema:
        return frozenset({_kind_of(schema["const"])})
    if "enum" in schema:
        listed = frozenset(map(_kind_of, schema["enum"]))
        return listed if by_type is None else listed & by_type
    return by_type


def of_value(value: object) -> Known:
    """The type of one value."""
    return Known(frozenset({_kind_of(value)}), {"const": value})


def _kind_of(value: object) -> str:
    kind = kind_of(value)
    return "number" if kind in ("int", "double") else kind


def union(types: Iterable[ValueType]) -> ValueType:
    """What a value is that may be of any of these types; nothing is known of it without any."""
    found: frozenset[str] = frozenset()
    for one in types:
        if one is None:
            return None
        found |= one.kinds
    return Known(found) if found else None


def is_one_of(value: object, values: Iterable[object]) -> bool:
    """Whether a value equals one of some values, as JSON values do."""
    return any(json_equal(value, one) for one in values)
