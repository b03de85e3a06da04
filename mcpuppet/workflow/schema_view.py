"""What can be told of a JSON Schema without a value: kinds, finite values, fields, bounds.

Every answer is one-sided, so that a check may rely on it: keywords that are not understood, open
objects and references outside `$defs` count as "anything". Judging a value is `schema`'s work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mcpuppet.workflow.json_values import json_equal
from mcpuppet.workflow.schema import SchemaError, compile_schema
from mcpuppet.workflow.schema_check import Schema

ALL_KINDS: Final = frozenset(
    {"null", "boolean", "integer", "fraction", "string", "array", "object"}
)
"""The kinds of JSON value; `number` is an integer or a fraction."""

_DEEPEST = 16
_MOST_PARTS = 10_000
_DEFINITIONS = ("$defs", "definitions")
_ADDS_FIELDS = frozenset({"allOf", "if", "dependentSchemas", "patternProperties", "$dynamicRef"})


class _Whole:
    """A whole schema, and how many of its parts may still be looked at.

    Alternatives that refer to alternatives double with each level, and tools are foreign.
    """

    __slots__ = ("left", "schema")

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.left = _MOST_PARTS


@dataclass(frozen=True, slots=True)
class SchemaView:
    """A schema, or a part of one, together with the whole schema that its references mean."""

    schema: Schema
    whole: _Whole
    depth: int = 0
    """How many references and alternatives were followed to come here."""

    def kinds(self) -> frozenset[str]:
        """The kinds that a value can have."""
        schema = self.schema
        if isinstance(schema, bool):
            return ALL_KINDS if schema else frozenset()
        if self._is_too_far():
            return ALL_KINDS
        if "$ref" in schema:  # its siblings can only narrow, and draft-07 ignores them
            target = self._target()
            return ALL_KINDS if target is None else target.kinds()
        found = _declared_kinds(schema)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                found &= frozenset().union(*(one.kinds() for one in self._parts(keyword)))
        for part in self._parts("allOf"):
            found &= part.kinds()
        return found

    def values(self) -> list[Any] | None:
        """All values that `const` and `enum` leave; None when there is no such list."""
        schema = self.schema
        if isinstance(schema, bool) or self._is_too_far():
            return None
        if "$ref" in schema:
            target = self._target()
            return None if target is None else target.values()
        if "const" in schema:
            return [schema["const"]]
        listed = schema.get("enum")
        if isinstance(listed, list):
            return list(listed)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return _joined([one.values() for one in self._parts(keyword)])
        return [None] if schema.get("type") == "null" else None

    def fields(self) -> dict[str, SchemaView] | None:
        """The fields of an object by name; None when there may be others.

        A schema that lists properties and is silent about others is taken as complete: the common
        reason for a name that is not listed is a misspelt name.
        """
        schema = self.schema
        if isinstance(schema, bool) or self._is_too_far() or _ADDS_FIELDS & schema.keys():
            return None
        if "$ref" in schema:
            target = self._target()
            return None if target is None else target.fields()
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                objects = [one for one in self._parts(keyword) if "object" in one.kinds()]
                return objects[0].fields() if len(objects) == 1 else None
        properties = schema.get("properties")
        if not isinstance(properties, Mapping):
            return None
        if schema.get("additionalProperties", False) is not False:
            return None
        return {name: self._below(one) for name, one in properties.items()}

    def items(self) -> SchemaView | None:
        """The schema of every item of a list, if there is one for all."""
        schema = self.schema
        if isinstance(schema, bool) or self._is_too_far():
            return None
        if "$ref" in schema:
            target = self._target()
            return None if target is None else target.items()
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                lists = [one for one in self._parts(keyword) if "array" in one.kinds()]
                return lists[0].items() if len(lists) == 1 else None
        items = schema.get("items")
        if not isinstance(items, (Mapping, bool)) or "prefixItems" in schema:
            return None
        return self._below(items)

    def refused(self, values: Sequence[Any]) -> list[Any]:
        """Those of the values that certainly do not fit."""
        try:
            compiled = compile_schema(self._standing_alone())
        except SchemaError:
            return []
        return [value for value in values if compiled.violations(value)]

    def bounds(self, low: str, high: str) -> tuple[float, float]:
        """The numbers under two keywords such as `minLength` and `maxLength`."""
        schema = {} if isinstance(self.schema, bool) or self._is_too_far() else self.schema
        if "$ref" in schema:
            target = self._target()
            return (-math.inf, math.inf) if target is None else target.bounds(low, high)
        return _number(schema.get(low), -math.inf), _number(schema.get(high), math.inf)

    def listed(self, name: str) -> SchemaView | None:
        """The schema of a field that is listed under `properties`, whatever else there may be."""
        schema = {} if isinstance(self.schema, bool) else self.schema
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or name not in properties:
            return None
        return self._below(properties[name])

    def _is_too_far(self) -> bool:
        return self.depth > _DEEPEST or self.whole.left <= 0

    def _below(self, schema: Any) -> SchemaView:
        self.whole.left -= 1
        is_schema = isinstance(schema, (Mapping, bool))
        return SchemaView(schema if is_schema else True, self.whole, self.depth + 1)

    def _parts(self, keyword: str) -> list[SchemaView]:
        listed = {} if isinstance(self.schema, bool) else self.schema
        parts = listed.get(keyword, ())
        return [self._below(one) for one in parts] if isinstance(parts, Sequence) else []

    def _target(self) -> SchemaView | None:
        """What `$ref` means, if it names a definition of the whole schema."""
        root = self.whole.schema
        if isinstance(self.schema, bool) or isinstance(root, bool):
            return None
        match str(self.schema["$ref"]).split("/"):
            case ["#", ("$defs" | "definitions") as group, name]:
                definitions = root.get(group)
                if isinstance(definitions, Mapping) and name in definitions:
                    return self._below(definitions[name])
        return None

    def _standing_alone(self) -> Schema:
        root = self.whole.schema
        if isinstance(self.schema, bool) or isinstance(root, bool):
            return self.schema
        kept = (*_DEFINITIONS, "$schema")
        return {**{key: root[key] for key in kept if key in root}, **self.schema}


def whole(schema: Any) -> SchemaView:
    """The view of a whole schema; what is none is a schema of anything."""
    known: Schema = schema if isinstance(schema, (Mapping, bool)) else True
    return SchemaView(known, _Whole(known))


def conflict(ours: SchemaView, theirs: SchemaView) -> str | None:
    """Why no value at all can fit both, in words that follow "the tool"; None if one may."""
    mine, other = ours.kinds(), theirs.kinds()
    if not mine or not other:
        return None  # a schema that refuses everything: its author said so
    common = mine & other
    if not common:
        return f"takes {kind_words(other)}, and this is {kind_words(mine)}"
    allowed = theirs.values()
    if allowed and len(ours.refused(allowed)) == len(allowed):
        return f"takes only {value_words(allowed)}, none of which fits here"
    values = ours.values()
    if values and len(theirs.refused(values)) == len(values):
        return f"does not take {value_words(values)}"
    return _bounds_conflict(common, ours, theirs)


def refused_values(ours: SchemaView, theirs: SchemaView) -> list[Any]:
    """Of the values that `const` and `enum` of ours leave, those that certainly fit not theirs."""
    values = ours.values() or []
    never_meant = ours.refused(values)
    return theirs.refused([value for value in values if value not in never_meant])


def kind_words(kinds: frozenset[str]) -> str:
    """Kinds as a sentence names them: `a string or null`."""
    if kinds == ALL_KINDS:
        return "anything"
    words = []
    if "fraction" in kinds:
        words.append("a number")
    elif "integer" in kinds:
        words.append("an integer")
    names = {"string": "a string", "boolean": "true or false", "array": "a list"}
    names |= {"object": "an object", "null": "null"}
    words += [word for kind, word in names.items() if kind in kinds]
    return " or ".join(words)


def value_words(values: Sequence[Any]) -> str:
    """Some values as a sentence lists them."""
    shown = ", ".join(repr(value) for value in values[:6])
    return shown if len(values) <= 6 else f"{shown} and {len(values) - 6} more"


def _declared_kinds(schema: Mapping[str, Any]) -> frozenset[str]:
    found = ALL_KINDS
    declared = schema.get("type")
    if declared is not None:
        found &= kinds_of_type(declared)
    for values in ([schema["const"]] if "const" in schema else None, schema.get("enum")):
        if isinstance(values, list):
            found &= {json_kind(value) for value in values}
    return found


def kinds_of_type(declared: str | Sequence[str]) -> frozenset[str]:
    """The kinds that the keyword `type` names."""
    names = {declared} if isinstance(declared, str) else set(declared)
    return frozenset(names | {"integer", "fraction"} if "number" in names else names) & ALL_KINDS


def json_kind(value: Any) -> str:
    """The one of ALL_KINDS that a value has; 1.0 is an integer, as in JSON Schema."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "fraction"
        case str():
            return "string"
        case Mapping():
            return "object"
        case _:
            return "array"


def _joined(lists: Sequence[list[Any] | None]) -> list[Any] | None:
    joined: list[Any] = []
    for values in lists:
        if values is None:
            return None
        joined += [one for one in values if not any(json_equal(one, known) for known in joined)]
    return joined


def _number(value: Any, otherwise: float) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number else otherwise


_SIZES = {"string": ("minLength", "maxLength"), "array": ("minItems", "maxItems")}


def _bounds_conflict(common: frozenset[str], ours: SchemaView, theirs: SchemaView) -> str | None:
    if common <= {"integer", "fraction"}:
        return _range_conflict(ours, theirs)
    (kind, *others) = common
    if others or kind not in _SIZES:
        return None
    (low, high), (their_low, their_high) = (view.bounds(*_SIZES[kind]) for view in (ours, theirs))
    if max(low, their_low) <= min(high, their_high):
        return None
    keyword = _SIZES[kind][0] if their_low > high else _SIZES[kind][1]
    limit = their_low if their_low > high else their_high
    return f"wants {keyword} {limit:g}, which nothing that fits here has"


def _range_conflict(ours: SchemaView, theirs: SchemaView) -> str | None:
    low, low_open = _edge(ours, theirs, 0)
    high, high_open = _edge(ours, theirs, 1)
    if low < high or (low == high and not (low_open or high_open)):
        return None
    return "takes other numbers than fit here: " + _range_words(theirs)


def _edge(ours: SchemaView, theirs: SchemaView, end: int) -> tuple[float, bool]:
    """The narrower of all lower (0) or upper (1) bounds, and whether it is exclusive."""
    pick = max if end == 0 else min
    closed = pick(view.bounds("minimum", "maximum")[end] for view in (ours, theirs))
    exclusive = pick(
        view.bounds("exclusiveMinimum", "exclusiveMaximum")[end] for view in (ours, theirs)
    )
    edge = pick(closed, exclusive)
    return edge, edge == exclusive


def _range_words(view: SchemaView) -> str:
    words = []
    for keys in (("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")):
        for key, number in zip(keys, view.bounds(*keys), strict=True):
            if math.isfinite(number):
                words.append(f"{key} {number:g}")
    return ", ".join(words)
