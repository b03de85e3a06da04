"""Schemas of the everyday kind, recognised without the library.

The library checks a schema against the schema of schemas, which takes a hundred times longer than
reading it, and a large workflow has thousands of them. What is recognised here is valid in every
supported draft; everything else is left to the library, which also words what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def is_plain(schema: object) -> bool:
    """Whether a schema (JSON data, as deep as its reader allows) is surely valid in shape."""
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict):
        return False
    return all(name in _VALID and _VALID[name](value) for name, value in schema.items())


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_type(value: Any) -> bool:
    if isinstance(value, str):
        return value in _TYPES
    return _are_names(value) and bool(value) and set(value) <= _TYPES


def _are_names(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return False
    return len(set(value)) == len(value)


def _are_schemas(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_plain, value.values()))


def _is_choice(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_plain, value))


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_anything(_value: Any) -> bool:
    return True


_VALID: Mapping[str, Callable[[Any], bool]] = {
    "type": _is_type,
    "enum": _is_list,
    "const": _is_anything,
    "default": _is_anything,
    "examples": _is_list,
    **dict.fromkeys(("title", "description", "format", "pattern", "$comment"), _is_text),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _is_number),
    "multipleOf": lambda value: _is_number(value) and value > 0,
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _is_count),
    **dict.fromkeys(("minProperties", "maxProperties"), _is_count),
    **dict.fromkeys(("uniqueItems", "readOnly", "writeOnly"), _is_flag),
    "required": _are_names,
    "properties": _are_schemas,
    **dict.fromkeys(("additionalProperties", "items", "not"), is_plain),
    **dict.fromkeys(("anyOf", "oneOf", "allOf"), _is_choice),
}
