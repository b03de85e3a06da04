"""JSON Schemas, ours and those of foreign tools, made safe to run on values from anywhere.

Owns which schemas are accepted (drafts 2020-12, 2019-09 and 07; nothing is ever fetched; patterns
are RE2's) and the sentences about a value that does not fit. Validation itself is the jsonschema
library's, with every keyword replaced that would run Python's own regular expressions or compare
all items with all others. `schema_check` reads a schema before it is used; this module knows
nothing of tools and workflows.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any

from jsonschema import Draft7Validator, Draft201909Validator, Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry

from mcpuppet.workflow.json_values import kind_of
from mcpuppet.workflow.patterns import compile_pattern
from mcpuppet.workflow.schema_check import Schema, SchemaError, checked_copy

__all__ = ["CompiledSchema", "Schema", "SchemaError", "compile_schema"]

MAX_VIOLATIONS = 5
MAX_CHARACTERS = 200
# A schema may follow this many references for one value: alternatives that refer to alternatives
# double the work with each level.
MAX_REFERENCES = 20_000

# Only what the library checks without optional packages, so that every installation agrees.
_FORMATS = FormatChecker(formats=("email", "date", "uuid", "ipv4", "ipv6"))

_references_left: ContextVar[list[int]] = ContextVar("references_left")


class _TooManyReferencesError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class CompiledSchema:
    """A schema ready to use; `source` is a private copy of what was given, without `$schema`."""

    source: Schema
    _validator: Any = field(repr=False, compare=False)
    _fits_plainly: Callable[[object], bool] | None = field(default=None, repr=False, compare=False)
    """For a schema of a type and bounds, as most are, whether a value is sure to fit."""

    def violations(self, value: object) -> list[str]:
        """At most five sentences on what does not fit, such as "amount: 'x' is not of type
        'number'"; none if the value (as `json.loads` gives it) fits.

        A value longer than 200 characters is described and not quoted. A value that cannot be
        judged (nested too deeply, not Unicode) does
        not fit.
        """
        if self._fits_plainly is not None and self._fits_plainly(value):
            return []
        _references_left.set([MAX_REFERENCES])
        try:
            errors = islice(self._validator.iter_errors(value), MAX_VIOLATIONS)
            return [_sentence(error) for error in errors]
        except RecursionError:
            return ["the value is nested too deeply to be checked"]
        except _TooManyReferencesError:
            return [f"checking the value follows more than {MAX_REFERENCES:,} references"]
        except (ValueError, OverflowError):
            # Half a surrogate pair in a text, or a number with thousands of digits.
            return ["the value has a text or a number that cannot be checked"]


def compile_schema(schema: Schema) -> CompiledSchema:
    """Check a schema and make it ready. Raises SchemaError with the path of what is wrong in it.

    Small schemas are remembered by their text: a workflow writes the same few again and again.
    """
    try:
        text = json.dumps(schema, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return _compiled(schema)  # it is no JSON, and refused with the reason
    if len(text) > _REMEMBERED_CHARACTERS or json.loads(text) != schema:  # JSON makes 1 a name "1"
        return _compiled(schema)
    return _remembered(text)


_REMEMBERED_CHARACTERS = 500


@lru_cache(maxsize=4096)
def _remembered(text: str) -> CompiledSchema:
    return _compiled(json.loads(text))


def _compiled(schema: Schema) -> CompiledSchema:
    copy, dialect = checked_copy(schema)
    validator = _VALIDATORS[dialect](copy, format_checker=_FORMATS, registry=Registry())
    return CompiledSchema(copy, validator, _plain_test(copy))


_PLAIN_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def _plain_test(schema: Schema) -> Callable[[object], bool] | None:
    """Whether a value is sure to fit, for a schema that asks for one plain type within bounds."""
    if not isinstance(schema, Mapping) or not schema.keys() <= {"type", "minimum", "maximum"}:
        return None
    name = schema.get("type")
    if not isinstance(name, str) or name not in _PLAIN_TYPES:
        return None
    types = _PLAIN_TYPES[name]
    if name in ("string", "boolean"):  # `type` and not `isinstance`, for true is no number
        return (lambda value: type(value) in types) if len(schema) == 1 else None
    least: Any = schema.get("minimum", -sys.float_info.max)  # below are no numbers of JSON
    most: Any = schema.get("maximum", sys.float_info.max)
    return lambda value: type(value) in types and least <= value <= most


def _sentence(error: ValidationError) -> str:
    where = "".join(_place(part) for part in error.absolute_path).removeprefix(".")
    message = error.message
    quoted = repr(error.instance)
    if len(quoted) > MAX_CHARACTERS:
        message = message.replace(quoted, _description(error.instance))
    return f"{_short(where)}: {_short(message)}" if where else _short(message)


def _place(part: str | int) -> str:
    return f"[{part}]" if isinstance(part, int) else f".{part}"


def _short(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"


def _description(value: object) -> str:
    match value:
        case str():
            return f"a string of {len(value):,} characters"
        case list():
            return f"a list of {len(value):,} items"
        case dict():
            return f"an object of {len(value):,} fields"
        case _:
            return f"a long {kind_of(value)}"


# Keywords, in the form that jsonschema calls


def _found(pattern: str, text: str) -> bool:
    return compile_pattern(pattern).found_in(text)


def _pattern(
    _validator: Validator, pattern: str, instance: object, _schema: Schema
) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _found(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Schema], instance: object, _schema: Schema
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, schema in patterns.items():
        for name, value in instance.items():
            if _found(pattern, name):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, additional: Schema, instance: object, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict) or additional is True:
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extra = [
        name
        for name in instance
        if name not in known and not any(_found(pattern, name) for pattern in patterns)
    ]
    if additional is False and extra:
        yield ValidationError(f"{', '.join(map(repr, extra))}: not expected here")
    elif additional is not False:
        for name in extra:
            yield from validator.descend(instance[name], additional, path=name)


def _unique_items(
    _validator: Validator, wanted: bool, instance: object, _schema: Schema
) -> Iterator[ValidationError]:
    if not wanted or not isinstance(instance, list):
        return
    if len({_identity(item) for item in instance}) < len(instance):
        yield ValidationError(f"{instance!r} has items that are equal")


def _identity(value: object) -> object:
    """Something hashable that two JSON values share exactly if they are equal."""
    match value:
        case bool():
            return ("bool", value)
        case list():
            return ("list", *map(_identity, value))
        case dict():
            return frozenset((key, _identity(item)) for key, item in value.items())
        case _:
            return value


def _counted(keyword: Any) -> Any:
    """A keyword that refers to another schema, made to stop when too many were followed."""

    def follow(
        validator: Validator, reference: str, instance: object, schema: Schema
    ) -> Iterator[ValidationError]:
        left = _references_left.get()
        left[0] -= 1
        if left[0] < 0:
            raise _TooManyReferencesError
        yield from keyword(validator, reference, instance, schema) or ()

    return follow


def _is_number(_checker: object, instance: object) -> bool:
    """Python's JSON reader lets NaN and infinity in, which no minimum or maximum would refuse."""
    if isinstance(instance, float):
        return math.isfinite(instance)
    return isinstance(instance, int) and not isinstance(instance, bool)


def _safe(base: Any) -> Any:
    """The library's validator of a draft, with our keywords in place of its own."""
    keywords: dict[str, Any] = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    }
    for name in ("$ref", "$dynamicRef", "$recursiveRef"):
        if name in base.VALIDATORS:
            keywords[name] = _counted(base.VALIDATORS[name])
    numbers = base.TYPE_CHECKER.redefine("number", _is_number)
    return extend(base, keywords, type_checker=numbers)  # type: ignore[no-untyped-call]  # no stub


_VALIDATORS = {
    "2020-12": _safe(Draft202012Validator),
    "2019-09": _safe(Draft201909Validator),
    "draft-07": _safe(Draft7Validator),
}
