"""Which values of a call are not to stand in the audit trail: where they are, as paths.

Owns the two ways to say so: JSON Pointers (RFC 6901) under `redact`, and marks in JSON Schemas.
Knows no value: what becomes of one that stands at such a path is told by `redaction.vault`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Pointer = tuple[str, ...]
"""The tokens of a path, unescaped. `*` stands for every item of a list; `ANY` for every member."""

ANY = "\0any"
"""Every item of a list and every field of an object; no pointer that is written can spell it."""
WHOLE: Pointer = ()
ITEMS = "*"

MOST_POINTERS = 500
"""A schema that marks more places than that is taken to be sensitive as a whole."""
MOST_LEVELS = 32

MARKS: Mapping[str, Any] = {"x-sensitive": True, "writeOnly": True, "format": "password"}
"""What marks a value in a schema, of a tool or of an input."""
_INPUT_MARKS: Mapping[str, Any] = {**MARKS, "redact": True}

_SAME_PLACE = ("allOf", "anyOf", "oneOf")
_SAME_PLACE_ONE = ("if", "then", "else", "not")
_ANY_MEMBER = ("additionalProperties", "unevaluatedProperties", "additionalItems", "contains")


class PointerError(ValueError):
    """A text is no JSON Pointer; the message says what would be one."""


@dataclass(frozen=True, slots=True)
class Sensitive:
    """Where a tool's calls have values that are not to be recorded."""

    arguments: tuple[Pointer, ...] = ()
    results: tuple[Pointer, ...] = ()
    """Within what guards see of a result."""

    def __bool__(self) -> bool:
        return bool(self.arguments or self.results)

    def joined(self, other: Sensitive) -> Sensitive:
        """The places of both."""
        return Sensitive(
            _each_once(self.arguments, other.arguments), _each_once(self.results, other.results)
        )


NOTHING = Sensitive()


def parse_pointer(text: str) -> Pointer:
    """The tokens of a JSON Pointer (RFC 6901, section 3); raises PointerError for other texts."""
    if text == "":
        return WHOLE
    if not text.startswith("/"):
        raise PointerError(
            f"{text!r} is no JSON Pointer: it starts with `/`, as in `/customer/email`"
        )
    return tuple(_token(text, one) for one in text[1:].split("/"))


def _token(text: str, token: str) -> str:
    if "~" in token.replace("~0", "").replace("~1", ""):
        raise PointerError(
            f"{text!r} is no JSON Pointer: `~` is written `~0`, and `/` in a name `~1`"
        )
    return token.replace("~1", "/").replace("~0", "~")


def inner(pointers: Iterable[Pointer], token: str, *, item: bool) -> tuple[Pointer, ...]:
    """The pointers as seen from inside: from the field or item that `token` names."""
    return tuple(
        one[1:]
        for one in pointers
        if one and (one[0] in (token, ANY) or (item and one[0] == ITEMS))
    )


def found(value: Any, pointers: tuple[Pointer, ...]) -> Iterator[Any]:
    """The values of a JSON document at these places."""
    if WHOLE in pointers:
        yield value
        return
    if not pointers:
        return
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from found(one, inner(pointers, name, item=False))
    elif isinstance(value, (list, tuple)):
        for number, one in enumerate(value):
            yield from found(one, inner(pointers, str(number), item=True))


def marked_inputs(schemas: Mapping[str, Any]) -> tuple[Pointer, ...]:
    """Where the inputs of a workflow or rules file are marked; `redact: true` counts there too."""
    return _each_once(
        tuple(
            (name, *one)
            for name, schema in schemas.items()
            for one in _marked(schema, _INPUT_MARKS)
        )
    )


def marked_places(schema: Any) -> tuple[Pointer, ...]:
    """Where a tool's own schema marks values: `x-sensitive`, `writeOnly`, `format: password`."""
    return _marked(schema, MARKS)


def _marked(schema: Any, marks: Mapping[str, Any]) -> tuple[Pointer, ...]:
    places: dict[Pointer, None] = {}
    for pointer in _walk(schema, schema, WHOLE, marks, frozenset()):
        places[pointer] = None
        if len(places) > MOST_POINTERS:
            return (WHOLE,)
    return (WHOLE,) if WHOLE in places else tuple(places)


def _walk(
    schema: Any, root: Any, at: Pointer, marks: Mapping[str, Any], followed: frozenset[str]
) -> Iterator[Pointer]:
    if not isinstance(schema, Mapping):
        return
    if any(schema.get(name) == value and name in schema for name, value in marks.items()):
        yield at
        return
    for step, one in _inside(schema):
        # What lies deeper, or comes round again, is no place of its own: it is all hidden.
        if len(at) < MOST_LEVELS:
            yield from _walk(one, root, (*at, *step), marks, followed)
        elif _mentions(one, marks):
            yield at
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        target = _resolved(root, reference)
        if reference not in followed:
            yield from _walk(target, root, at, marks, followed | {reference})
        elif _mentions(target, marks):
            yield at


def _inside(schema: Mapping[str, Any]) -> Iterator[tuple[Pointer, Any]]:
    """The schemas inside a schema, each with the way to the values it is about."""
    for name in _SAME_PLACE:
        yield from ((WHOLE, one) for one in _as_list(schema.get(name)))
    yield from ((WHOLE, schema[name]) for name in _SAME_PLACE_ONE if name in schema)
    yield from (((name,), one) for name, one in _as_mapping(schema.get("properties")).items())
    yield from (((ANY,), one) for one in _as_mapping(schema.get("patternProperties")).values())
    yield from ((WHOLE, one) for one in _as_mapping(schema.get("dependentSchemas")).values())
    yield from (((ANY,), schema[name]) for name in _ANY_MEMBER if name in schema)
    items = schema.get("items")
    tuples = schema.get("prefixItems") or (items if isinstance(items, list) else ())
    yield from (((str(number),), one) for number, one in enumerate(_as_list(tuples)))
    if isinstance(items, Mapping):
        yield (ITEMS,), items


def _mentions(schema: Any, marks: Mapping[str, Any]) -> bool:
    """Whether a mark stands anywhere inside a schema."""
    pending = [schema]
    while pending:
        one = pending.pop()
        if isinstance(one, Mapping):
            if any(name in one and one[name] == value for name, value in marks.items()):
                return True
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)
    return False


def _resolved(root: Any, reference: str) -> Any:
    """The sub-schema that a local reference names; None where it names none by its path."""
    try:
        tokens = parse_pointer(reference[1:])
    except PointerError:
        return None
    here = root
    for token in tokens:
        if isinstance(here, Mapping) and token in here:
            here = here[token]
        elif isinstance(here, list) and token.isdigit() and int(token) < len(here):
            here = here[int(token)]
        else:
            return None
    return here


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _each_once(*groups: tuple[Pointer, ...]) -> tuple[Pointer, ...]:
    return tuple(dict.fromkeys(one for group in groups for one in group))
