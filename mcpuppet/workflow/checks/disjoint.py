"""Whether two steps of one tool can ever be meant by the same call.

Owns what is provable from `args`: constants, `enum`, ranges of numbers, beginnings of text, types,
and an argument that one step demands and the other refuses. What cannot be proved disjoint is taken
to overlap. A `pattern` without `type` is read as "a text that fits".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcpuppet.workflow import expression_ast as ast
from mcpuppet.workflow.definition import ArgumentRule, Equals, Step
from mcpuppet.workflow.json_values import json_equal
from mcpuppet.workflow.schema import compile_schema
from mcpuppet.workflow.schema_view import ALL_KINDS, json_kind, kinds_of_type

_META = frozenset(".^$*+?{}[]()|\\")
_QUANTIFIERS = frozenset("*?{+")


@dataclass(frozen=True, slots=True)
class _Values:
    """A set that contains every value an argument may have."""

    listed: tuple[Any, ...] | None = None
    """All of them, where they can be listed."""
    types: frozenset[str] = ALL_KINDS
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    prefix: str = ""
    """How every text among them begins."""
    schema: Any = True


def never_the_same_call(one: Step, other: Step) -> bool:
    """Whether no arguments fit both steps, whatever the inputs and results are."""
    if one.args is None or other.args is None:
        return False
    if _demands_what_is_refused(one, other) or _demands_what_is_refused(other, one):
        return True
    shared = one.args.keys() & other.args.keys()
    return any(_are_disjoint(_values(one.args[n]), _values(other.args[n])) for n in shared)


def _demands_what_is_refused(one: Step, other: Step) -> bool:
    """Every argument that `args` lists must be there; others only where `args_open`."""
    return not other.args_open and bool((one.args or {}).keys() - (other.args or {}).keys())


def _values(rule: ArgumentRule) -> _Values:
    if isinstance(rule, Equals):
        return _of_expression(rule.equals.ast)
    return _of_schema(rule) if isinstance(rule, dict) else _Values(schema=rule)


def _of_expression(node: ast.Node) -> _Values:
    if isinstance(node, ast.Literal):
        return _Values(listed=(node.value,))
    if isinstance(node, ast.Binary) and node.operator == "+":
        left = _of_expression(node.left)
        text = left.listed[0] if left.listed else left.prefix
        if isinstance(text, str) and text:
            return _Values(types=frozenset({"string"}), prefix=text)
    return _Values()


def _of_schema(schema: Mapping[str, Any]) -> _Values:
    if "const" in schema:
        return _Values(listed=(schema["const"],), schema=schema)
    if "enum" in schema:
        return _Values(listed=tuple(schema["enum"]), schema=schema)
    low, open_low = _bound(schema, "minimum", "exclusiveMinimum", max)
    high, open_high = _bound(schema, "maximum", "exclusiveMaximum", min)
    return _Values(
        types=_types(schema),
        low=-math.inf if low is None else low,
        high=math.inf if high is None else high,
        open_low=open_low,
        open_high=open_high,
        prefix=_prefix(schema.get("pattern", "")),
        schema=schema,
    )


def _bound(
    schema: Mapping[str, Any], closed: str, opened: str, tighter: Any
) -> tuple[float | None, bool]:
    known = [schema[key] for key in (closed, opened) if key in schema]
    if not known:
        return None, False
    bound = tighter(known)
    return bound, schema.get(opened) == bound


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    declared = schema.get("type")
    if declared is None:
        return frozenset({"string"}) if "pattern" in schema else ALL_KINDS
    return kinds_of_type(declared)


def _prefix(pattern: str) -> str:
    """The literal text that every match of a pattern begins with; "" when none is evident."""
    if not pattern.startswith("^") or "|" in pattern:
        return ""
    found: list[str] = []
    rest = pattern[1:]
    while rest:
        length = 2 if rest[0] == "\\" and len(rest) > 1 and not rest[1].isalnum() else 1
        if length == 1 and rest[0] in _META:
            break
        if rest[length : length + 1] and rest[length] in _QUANTIFIERS:
            break
        found.append(rest[length - 1])
        rest = rest[length:]
    return "".join(found)


def _are_disjoint(one: _Values, other: _Values) -> bool:
    if one.listed is not None:
        return not any(_may_have(other, value) for value in one.listed)
    if other.listed is not None:
        return not any(_may_have(one, value) for value in other.listed)
    common = one.types & other.types
    if common <= {"integer", "fraction"}:
        return not common or not _ranges_meet(one, other)
    if common == {"string"}:
        return not _begins_alike(one.prefix, other.prefix)
    return False


def _may_have(values: _Values, value: Any) -> bool:
    if values.listed is not None and not any(json_equal(value, one) for one in values.listed):
        return False
    if isinstance(value, str) and not value.startswith(values.prefix):
        return False
    if json_kind(value) not in values.types:
        return False
    return not compile_schema(values.schema).violations(value)


def _ranges_meet(one: _Values, other: _Values) -> bool:
    low, high = max(one.low, other.low), min(one.high, other.high)
    touches_open = any(
        (each.open_low and each.low == low) or (each.open_high and each.high == low)
        for each in (one, other)
    )
    return low < high or (low == high and not touches_open)


def _begins_alike(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
