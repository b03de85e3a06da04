"""What the kinds of value are in Python, and when two values are equal.

Python thinks that `True` is `1`; JSON and CEL do not. This module owns that difference and knows
neither guards nor schemas. Two kinds are not JSON's: guards compute with moments and lengths of
time, which meet JSON values in comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal[
    "null", "bool", "int", "double", "string", "list", "map", "timestamp", "duration"
]

_KINDS: dict[type, Kind] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "double",
    str: "string",
    list: "list",
    tuple: "list",
    dict: "map",
}
_DERIVED: tuple[tuple[type, Kind], ...] = (
    *((base, _KINDS[base]) for base in (str, int, float, list, tuple)),
    (datetime, "timestamp"),
    (timedelta, "duration"),
)
_NUMBERS = frozenset({"int", "double"})
_SCALARS = frozenset({str, int, float, bool, type(None)})


def kind_of(value: object) -> Kind:
    """The kind of a JSON value, an aware datetime or a timedelta; a TypeError for all else."""
    kind = _KINDS.get(type(value))
    return _kind_of_derived(value) if kind is None else kind


def a_kind(value: object) -> str:
    """The kind of a value as a sentence names it: "an int", "a list", "a datetime"."""
    try:
        kind: str = kind_of(value)
    except TypeError:
        kind = type(value).__name__
    return f"an {kind}" if kind == "int" else f"a {kind}"


def json_equal(
    left: object,
    right: object,
    spend: Callable[[int], None] | None = None,
    kind_at: Callable[[object], Kind] = kind_of,
) -> bool:
    """JSON equality, deep: 1 equals 1.0, true never equals 1, different kinds are never equal.

    Lists and maps may be nested to any depth. `spend` is told of the elements of each before they
    are compared, and may raise to end a comparison that is too long; so may `kind_at` for a value
    that must not be compared. Raises TypeError for a value that has no kind.
    """
    if type(left) is type(right) and type(left) in _SCALARS:
        return left == right
    pending = [(left, right)]
    while pending:
        one, other = pending.pop()
        kind, other_kind = kind_at(one), kind_at(other)
        if kind != other_kind and not (kind in _NUMBERS and other_kind in _NUMBERS):
            return False
        if kind in {"list", "map"}:
            if spend is not None:
                spend(_length(one))
            parts = _pairs(one, other)
            if parts is None:
                return False
            pending.extend(parts)
        elif _comparable(one) != _comparable(other):
            return False
    return True


def _comparable(value: object) -> object:
    """Moments in UTC: two moments of one zone are equal to Python if their wall clocks are."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _pairs(one: object, other: object) -> list[tuple[object, object]] | None:
    """The elements to compare of two lists or two maps, or None if they cannot be equal."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if one.keys() != other.keys():
            return None
        return [(value, other[key]) for key, value in one.items()]
    assert isinstance(one, list | tuple)
    assert isinstance(other, list | tuple)
    return list(zip(one, other, strict=True)) if len(one) == len(other) else None


def _length(container: object) -> int:
    assert isinstance(container, Mapping | list | tuple)
    return len(container)


def _kind_of_derived(value: object) -> Kind:
    if isinstance(value, Mapping):
        return "map"
    if isinstance(value, datetime) and value.utcoffset() is None:
        raise TypeError("a datetime without a time zone is no moment")
    for base, kind in _DERIVED:
        if isinstance(value, base):
            return kind
    raise TypeError(f"{type(value).__name__} is not a JSON value")
