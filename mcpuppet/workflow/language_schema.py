"""The JSON Schema of the language, for editors: made from the models, shipped as a file.

The file is written by `python -m mcpuppet.workflow.language_schema > mcpuppet/workflow.v1.json`; a
test compares the two. It says what shape a file has; what the names in it mean is said by
`workflow.checks`.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, TypeAdapter

from mcpuppet.workflow import definition
from mcpuppet.workflow.definition import format_duration

_File = definition.WorkflowDefinition | definition.RulesDefinition | definition.SharedDefinition


def language_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of workflows, rules files and shared files."""
    generated = TypeAdapter[Any](_File).json_schema()
    models = {one.__name__: one for one in _models()}
    documented = _documented()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:mcpuppet:workflow:1",
        "title": "MCPuppet workflow, rules or shared file",
        "description": "Which calls an AI may make: in the order of a workflow, or under rules.",
        "anyOf": generated["anyOf"],
        "$defs": {
            name: _finished(schema, models[name], documented)
            for name, schema in generated["$defs"].items()
        },
    }


def language_schema_text() -> str:
    """The schema as the shipped file holds it."""
    return json.dumps(language_schema(), indent=2) + "\n"


def _models() -> Iterator[type[BaseModel]]:
    for one in vars(definition).values():
        if isinstance(one, type) and issubclass(one, BaseModel):
            yield one


def _finished(
    schema: Mapping[str, Any], model: type[BaseModel], documented: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    """A model's schema with the sentences of its keys, and without what says nothing."""
    properties: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        key = field.alias or name
        found = {word: part for word, part in schema["properties"][key].items() if word != "title"}
        default = found.pop("default", None)
        if isinstance(field.default, timedelta):
            default = format_duration(field.default)
        if default is not None and default != [] and not isinstance(default, dict):
            found["default"] = default
        if "patternProperties" in found:  # keys of another form are refused
            found["additionalProperties"] = False
        properties[key] = {"description": _sentence(model, name, documented), **found}
    title = model.__name__.removesuffix("Definition")
    return {**schema, "title": title, "properties": properties}


def _sentence(model: type[BaseModel], name: str, documented: Mapping[tuple[str, str], str]) -> str:
    """What stands under a key in the class, or in the base class it is inherited from."""
    return next(
        documented[base.__name__, name]
        for base in model.__mro__
        if (base.__name__, name) in documented
    )


def _documented() -> dict[tuple[str, str], str]:
    """The strings under the keys of all classes.

    Pydantic can collect them too, but only while a class is made, which would double the time that
    every command needs to read workflows.
    """
    found: dict[tuple[str, str], str] = {}
    parsed = ast.parse(inspect.getsource(definition))
    for one in (part for part in parsed.body if isinstance(part, ast.ClassDef)):
        for pair in itertools.pairwise(one.body):
            match pair:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str() as text)),
                ):
                    found[one.name, name] = " ".join(text.split())
    return found


if __name__ == "__main__":
    sys.stdout.write(language_schema_text())
