"""Data against a model, with a place in the file for every mistake of shape.

Pydantic says what is wrong and at which key path; `yaml_reader` knows where that path stands in the
file. This module joins the two and knows nothing of what the models mean.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mcpuppet.workflow.definition import PATTERN_WORDS
from mcpuppet.workflow.findings import (
    BAD_DURATION,
    BAD_EXPRESSION,
    BAD_SCHEMA,
    MISSING_KEY,
    TOO_DEEP_OR_BIG,
    UNKNOWN_KEY,
    WRONG_TYPE,
    Code,
    Finding,
)
from mcpuppet.workflow.yaml_reader import MAX_FINDINGS, Document, Path

ModelT = TypeVar("ModelT", bound=BaseModel)

_CODES: Mapping[str, Code] = {
    "extra_forbidden": UNKNOWN_KEY,
    "missing": MISSING_KEY,
    "bad_duration": BAD_DURATION,
    "bad_expression": BAD_EXPRESSION,
    "bad_schema": BAD_SCHEMA,
}
_DURATION_HELP = "a whole number and a unit: 500ms, 30s, 5m, 4h or 2d"
_EXPECTED = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "a mapping"),
    "list_type": "a list",
    "string_type": "text",
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
}
"""What would have been accepted, in the words of people who write files."""
_MAX_COMPARED = 100
"""Comparing words is slow, and a key may be as long as a file."""


def validate_document(
    document: Document, model: type[ModelT]
) -> tuple[ModelT | None, tuple[Finding, ...]]:
    """Validate a document's data against a model, and place what is wrong."""
    try:
        return model.model_validate(document.data), ()
    except ValidationError as error:
        return None, tuple(dict.fromkeys(_findings(document, model, error)))


def _findings(
    document: Document, model: type[BaseModel], error: ValidationError
) -> Iterator[Finding]:
    errors = error.errors(include_url=False)
    for one in errors[:MAX_FINDINGS]:
        yield _finding(document, model, one)
    if len(errors) > MAX_FINDINGS:
        place = document.place(_data_path(document.data, errors[MAX_FINDINGS]["loc"]))
        message = f"{len(errors):,} mistakes: the first {MAX_FINDINGS} are listed"
        yield Finding(TOO_DEEP_OR_BIG, place, message)


def _finding(document: Document, model: type[BaseModel], error: Any) -> Finding:
    kind, context = error["type"], error.get("ctx", {})
    is_key = error["loc"][-1:] == ("[key]",)  # pydantic's mark: the key itself is wrong
    path = _data_path(document.data, error["loc"], keep_last=is_key or kind == "missing")
    code = _CODES.get(kind, WRONG_TYPE)
    where = _named(path)
    if is_key:
        return Finding(
            code, document.key_place(path[:-1]), f"{_named(path[:-1])}: {_sentence(error)}"
        )
    if kind == "extra_forbidden":
        return _unknown_key(document, model, path)
    if kind == "missing":
        message = f"{_named(path[:-1])} lacks the key {path[-1]!r}"
        return Finding(code, document.key_place(path[:-1]), message)
    if kind == "bad_expression":
        place = document.text_place(path, context["column"])
        return Finding(code, place, f"{where}: {context['problem']}", context.get("help"))
    if kind == "bad_schema":
        place = document.place((*path, *context["path"]))
        return Finding(code, place, f"{where}: {context['problem']}")
    if kind == "bad_duration":
        help = context.get("help", _DURATION_HELP)
        return Finding(code, document.place(path), f"{where}: {error['msg']}", help)
    return Finding(code, document.place(path), f"{where}: {_sentence(error)}")


def _sentence(error: Any) -> str:
    expected = _EXPECTED.get(error["type"])
    if expected is not None:
        return f"expected {expected}, found {brief(error['input'])}"
    message: str = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    if error["type"] == "string_pattern_mismatch":
        words = PATTERN_WORDS.get(error["ctx"]["pattern"])
        shape = f"match {error['ctx']['pattern']}" if words is None else f"have the form of {words}"
        return f"{brief(error['input'])} does not {shape}"
    if message != error["msg"]:
        return f"expected {message}, found {brief(error['input'])}"
    return message[:1].lower() + message[1:]


def _named(path: Path) -> str:
    """A path as people read it; of a very long key only the beginning."""
    return ".".join(str(part)[:60] for part in path) or "the file"


def brief(value: object) -> str:
    """A value as a message names it: short, whatever it is."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown_key(document: Document, model: type[BaseModel], path: Path) -> Finding:
    key = str(path[-1])
    accepted = sorted(_accepted_keys(model, path[:-1]))
    close = difflib.get_close_matches(key[:_MAX_COMPARED], accepted, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}?" if close else f"accepted keys: {', '.join(accepted)}"
    message = f"{_named(path[:-1])} has no key {brief(key)}"
    return Finding(UNKNOWN_KEY, document.key_place(path), message, hint)


def _data_path(data: Any, loc: tuple[str | int, ...], *, keep_last: bool = False) -> Path:
    """Drop what pydantic adds to a location: union members and validator names.

    Such a part names no entry of the data. The name of a missing key does not either, and is kept
    where it is the last.
    """
    path: list[str | int] = []
    for position, part in enumerate(loc):
        if isinstance(data, dict) and part in data:
            path.append(part)
            data = data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            path.append(part)
            data = data[part]
        elif keep_last and isinstance(data, dict) and position == len(loc) - 1:
            path.append(part)
    return tuple(path)


def _accepted_keys(model: type[BaseModel], path: Path) -> set[str]:
    """The keys that the models accept at `path`."""
    candidates: set[Any] = {model}
    for part in path:
        candidates = {
            inner for one in candidates for inner in _models_in(_annotation_below(one, part), part)
        }
    return {
        field.alias or name
        for one in candidates
        if isinstance(one, type) and issubclass(one, BaseModel)
        for name, field in one.model_fields.items()
    }


def _annotation_below(model: Any, part: str | int) -> Any:
    if isinstance(model, type) and issubclass(model, BaseModel):
        for name, field in model.model_fields.items():
            if (field.alias or name) == part:
                return field.annotation
        return None
    return model


def _models_in(annotation: Any, part: str | int) -> Iterator[Any]:
    """The models, and the containers of models, that an annotation can hold."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        yield from _models_in(arguments[0], part)
    elif origin in (typing.Union, types.UnionType):
        for argument in arguments:
            yield from _models_in(argument, part)
    elif origin in (dict, list):
        yield _Below(arguments[-1])
    elif isinstance(annotation, _Below):
        yield from _models_in(annotation.annotation, part)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation


@dataclass(frozen=True)
class _Below:
    """One level inside a mapping or list: the next path part selects an entry of it."""

    annotation: Any
