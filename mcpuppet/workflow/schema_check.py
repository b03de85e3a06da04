"""Reads a JSON Schema before it is used, and refuses what could not be run safely.

Owns the bounds of a schema, the walk over its sub-schemas, and the rule that nothing is fetched: a
reference must end at a sub-schema of the same document. Knows nothing of the values to validate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from jsonschema import Draft7Validator, Draft201909Validator, Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError as LibrarySchemaError
from referencing import Registry, Specification
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT7, DRAFT201909, DRAFT202012

from mcpuppet.errors import InvalidInputError
from mcpuppet.workflow.patterns import PatternError, compile_pattern
from mcpuppet.workflow.schema_plain import is_plain

Schema: TypeAlias = Mapping[str, object] | bool
Dialect: TypeAlias = Literal["2020-12", "2019-09", "draft-07"]
Path: TypeAlias = tuple[str | int, ...]

MAX_DEPTH = 64
MAX_VALUES = 20_000

_DIALECTS: dict[str, Dialect] = {
    "https://json-schema.org/draft/2020-12/schema": "2020-12",
    "https://json-schema.org/draft/2019-09/schema": "2019-09",
    "http://json-schema.org/draft-07/schema": "draft-07",
    "https://json-schema.org/draft-07/schema": "draft-07",
}
_META: dict[Dialect, Any] = {
    "2020-12": Draft202012Validator,
    "2019-09": Draft201909Validator,
    "draft-07": Draft7Validator,
}
_SPECIFICATIONS: dict[Dialect, Specification[Any]] = {
    "2020-12": DRAFT202012,
    "2019-09": DRAFT201909,
    "draft-07": DRAFT7,
}
# Where sub-schemas stand, in any of the drafts.
_ONE = frozenset(
    {
        *("additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if"),
        *("items", "not", "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties"),
    }
)
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
_MAPS = frozenset(
    {
        *("$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties"),
        "properties",
    }
)
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class SchemaError(InvalidInputError):
    """A JSON Schema cannot be used: what is wrong, and the path of keys to it inside the schema."""

    def __init__(self, message: str, path: Path = ()) -> None:
        self.message = message
        self.path = path
        super().__init__(f"{'.'.join(map(str, path))}: {message}" if path else message)


@dataclass(frozen=True, slots=True)
class _Place:
    """A sub-schema: where it stands, and what resolves its references."""

    schema: dict[str, Any]
    path: Path
    resolver: Any


def checked_copy(schema: Schema) -> tuple[Schema, Dialect]:
    """A plain copy of a schema without `$schema`, and its draft. Raises SchemaError."""
    copy = _Copier().copied(schema, ())
    if isinstance(copy, bool):
        return copy, "2020-12"
    if not isinstance(copy, dict):
        raise SchemaError("a schema is an object, true or false")
    dialect = _dialect(copy)
    _check_shape(copy, dialect)
    places = list(_places(copy, _SPECIFICATIONS[dialect]))
    _check_places(places)
    return copy, dialect


class _Copier:
    """Copies JSON into dicts and lists of our own, within bounds."""

    def __init__(self) -> None:
        self._values = 0

    def copied(self, value: object, path: Path) -> object:
        self._values += 1
        if self._values > MAX_VALUES:
            raise SchemaError(f"the schema has more than {MAX_VALUES:,} values")
        if len(path) > MAX_DEPTH:
            raise SchemaError(f"the schema is nested more than {MAX_DEPTH} levels deep", path[:8])
        match value:
            case Mapping():
                return {
                    _name(key, path): self.copied(item, (*path, key)) for key, item in value.items()
                }
            case list() | tuple():
                return [self.copied(item, (*path, at)) for at, item in enumerate(value)]
            case float() if not math.isfinite(value):
                raise SchemaError("a number must be finite", path)
            case str() | bool() | int() | float() | None:
                return value
            case _:
                raise SchemaError(f"a {type(value).__name__} is not a JSON value", path)


def _name(key: object, path: Path) -> str:
    if isinstance(key, str):
        return key
    raise SchemaError(f"the name {key!r} is not text; put it in quotes", path)


def _dialect(schema: dict[str, Any]) -> Dialect:
    named = schema.pop("$schema", None)
    if named is None:
        return "2020-12"
    dialect = _DIALECTS.get(named.removesuffix("#")) if isinstance(named, str) else None
    if dialect is None:
        raise SchemaError(
            "this draft of JSON Schema is not supported; known are " + ", ".join(_META),
            ("$schema",),
        )
    return dialect


def _check_shape(schema: dict[str, Any], dialect: Dialect) -> None:
    if is_plain(schema):
        return
    try:
        # No formats: the one called "regex" would try the patterns with Python's own engine.
        _META[dialect].check_schema(schema, format_checker=FormatChecker(formats=()))
    except LibrarySchemaError as error:
        raise SchemaError(error.message[:200], tuple(error.absolute_path)) from None
    except RecursionError:
        raise SchemaError("the schema is nested too deeply") from None


def _places(schema: dict[str, Any], specification: Specification[Any]) -> Iterator[_Place]:
    """Every sub-schema that is an object, the whole one first."""
    registry: Registry[Any] = Registry()
    resolver = registry.resolver_with_root(specification.create_resource(schema))
    waiting = [_Place(schema, (), resolver)]
    while waiting:
        place = waiting.pop()
        yield place
        for path, child in _children(place.schema):
            inner = place.resolver.in_subresource(specification.create_resource(child))
            waiting.append(_Place(child, (*place.path, *path), inner))


def _children(schema: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for keyword, value in schema.items():
        if keyword in _ONE and isinstance(value, dict):
            yield (keyword,), value
        elif keyword in _LISTS and isinstance(value, list):
            yield from _objects(keyword, enumerate(value))
        elif keyword in _MAPS and isinstance(value, dict):
            yield from _objects(keyword, value.items())


def _objects(keyword: str, items: Any) -> Iterator[tuple[Path, dict[str, Any]]]:
    for key, value in items:
        if isinstance(value, dict):
            yield (keyword, key), value


def _check_places(places: list[_Place]) -> None:
    known = {id(place.schema) for place in places}
    for place in places:
        _check_patterns(place)
        for keyword in _REFERENCES:
            if keyword in place.schema:
                _check_reference(place, keyword, known)
        if "$schema" in place.schema:
            # The library would continue with the named draft's own, unguarded keywords.
            raise SchemaError("only the whole schema may name a draft", (*place.path, "$schema"))
    _check_unevaluated(places)


def _check_patterns(place: _Place) -> None:
    patterns: list[tuple[Path, str]] = [
        (("patternProperties",), pattern) for pattern in place.schema.get("patternProperties", {})
    ]
    if "pattern" in place.schema:
        patterns.append((("pattern",), place.schema["pattern"]))
    for path, pattern in patterns:
        try:
            compile_pattern(pattern)
        except PatternError as error:
            message = f"the pattern {pattern[:80]!r} cannot be used: {error}"
            raise SchemaError(message, (*place.path, *path)) from None


def _check_reference(place: _Place, keyword: str, known: set[int]) -> None:
    reference = cast(str, place.schema[keyword])
    path = (*place.path, keyword)
    try:
        target = place.resolver.lookup(reference).contents
    except (Unresolvable, ValueError):
        raise SchemaError(_unresolved(reference), path) from None
    if not isinstance(target, bool) and id(target) not in known:
        raise SchemaError(f"{reference[:80]!r} does not lead to a schema", path)


def _unresolved(reference: str) -> str:
    if reference.startswith("#"):
        return f"{reference[:80]!r} is not in this schema"
    return (
        f"{reference[:80]!r} is outside of this schema, and nothing is ever fetched; "
        "copy it under $defs and refer to #/$defs/name"
    )


def _check_unevaluated(places: list[_Place]) -> None:
    """The library finds evaluated properties with Python's own regular expressions."""
    if not any("patternProperties" in place.schema for place in places):
        return
    for place in places:
        if "unevaluatedProperties" in place.schema:
            raise SchemaError(
                "unevaluatedProperties cannot be used together with patternProperties; "
                "additionalProperties can",
                (*place.path, "unevaluatedProperties"),
            )
