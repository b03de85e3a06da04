"""What the six kinds of JSON value are in Python, and when two of them are equal.

Python thinks that `True` is `1`; JSON and CEL do not. This module owns that difference and knows
neither guards nor schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["null", "bool", "int", "double", "string", "list", "map"]

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
_NUMBERS = frozenset({"int", "double"})
_SCALARS = frozenset({str, int, float, bool, type(None)})


def kind_of(value: object) -> Kind:
    """The kind of a JSON value. Raises TypeError for anything that JSON cannot hold."""
    kind = _KINDS.get(type(value))
    return _kind_of_derived(value) if kind is None else kind


def a_kind(value: object) -> str:
    """The kind of a value as a sentence names it: "an int", "a list", "a datetime"."""
    try:
        kind: str = kind_of(value)
    except TypeError:
        kind = type(value).__name__
    return f"an {kind}" if kind == "int" else f"a {kind}"


def json_equal(left: object, right: object, spend: Callable[[int], None] | None = None) -> bool:
    """JSON equality, deep: 1 equals 1.0, true never equals 1, different kinds are never equal.

    Lists and maps may be nested to any depth. `spend` is told of the elements of each before they
    are compared, and may raise to end a comparison that is too long. Raises TypeError for a value
    that JSON cannot hold.
    """
    if type(left) is type(right) and type(left) in _SCALARS:
        return left == right
    pending = [(left, right)]
    while pending:
        one, other = pending.pop()
        kind, other_kind = kind_of(one), kind_of(other)
        if kind != other_kind and not (kind in _NUMBERS and other_kind in _NUMBERS):
            return False
        if kind in {"list", "map"}:
            if spend is not None:
                spend(_length(one))
            parts = _pairs(one, other)
            if parts is None:
                return False
            pending.extend(parts)
        elif one != other:
            return False
    return True


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
    for base in (str, int, float, list, tuple):
        if isinstance(value, base):
            return _KINDS[base]
    raise TypeError(f"{type(value).__name__} is not a JSON value")
