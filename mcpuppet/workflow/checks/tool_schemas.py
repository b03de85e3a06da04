"""Checks against the schemas of the tools: types of arguments, and fields of results.

Only what is certainly wrong is reported: a schema that leaves something open proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mcpuppet.workflow import expression_ast as ast
from mcpuppet.workflow.checks.subject import Subject, Written, expressions, suggest
from mcpuppet.workflow.checks.tools import Arguments, certain_reads, laid_down
from mcpuppet.workflow.definition import ArgumentRule, Equals, Step
from mcpuppet.workflow.findings import Code, Finding, Place
from mcpuppet.workflow.schema_view import (
    SchemaView,
    conflict,
    kind_words,
    refused_values,
    value_words,
    whole,
)
from mcpuppet.workflow.yaml_reader import Path

ARGUMENT_TYPE = Code(
    "WF207",
    "argument-type",
    "error",
    about="No call can satisfy both `args` and the schema of the tool's arguments.",
    help="let `args` allow what the tool's inputSchema takes",
    beyond_file=True,
)
RESULT_FIELD = Code(
    "WF208",
    "result-field",
    "error",
    about="A field of a result is used that the tool does not declare, or not with this type.",
    help="use a field of the tool's outputSchema, with the type it has there",
    beyond_file=True,
)

_PLACES = re.compile(r"\[\]|[A-Za-z_][A-Za-z0-9_]*")


def argument_type(subject: Subject) -> Iterator[Finding]:
    """WF207: `args` can never carry what the tool's input schema wants."""
    for one in laid_down(subject):
        schema = (subject.tools or {}).get(one.tool, {}).get("inputSchema")
        if one.rules is None or not isinstance(schema, Mapping):
            continue
        yield from _never_carried(subject, one, schema)
        for name in one.rules:
            theirs = whole(schema).listed(name)
            if theirs is not None:
                yield from _argument_conflict(subject, one, name, theirs)


def _never_carried(
    subject: Subject, one: Arguments, schema: Mapping[str, object]
) -> Iterator[Finding]:
    required = schema.get("required")
    if one.is_open or not isinstance(required, list):
        return
    filled_in = None if one.given else subject.definition.steps[one.step].key_argument
    for name in required:
        if name in (one.rules or ()) or name == filled_in:
            continue
        message = f"tool {one.tool!r} requires the argument {name!r}, and `args` "
        message += "does not give it" if one.given else "refuses it"
        help = f"add {name!r} to `args`" + ("" if one.given else ", or set `args_open: true`")
        yield Finding(ARGUMENT_TYPE, _place_of(subject, one), message, help)


def _place_of(subject: Subject, one: Arguments) -> Place:
    """Where the arguments are laid down; without a key for them, where the call is."""
    return subject.document.key_place(one.path if one.rules or not one.given else one.path[:-1])


def _argument_conflict(
    subject: Subject, one: Arguments, name: str, theirs: SchemaView
) -> Iterator[Finding]:
    rule = (one.rules or {})[name]
    ours = _rule_schema(subject, rule)
    if ours is None:
        return
    problem = conflict(ours, theirs)
    if problem is None and not isinstance(rule, Equals):
        refused = refused_values(ours, theirs)
        problem = f"does not take {value_words(refused)}" if refused else None
    if problem is not None:
        is_nested = isinstance(rule, Equals) and not one.given
        path = (*one.path, name, *(("equals",) if is_nested else ()))
        message = f"argument {name!r}: tool {one.tool!r} {problem}"
        yield Finding(ARGUMENT_TYPE, subject.document.place(path), message, ARGUMENT_TYPE.help)


def _rule_schema(subject: Subject, rule: ArgumentRule) -> SchemaView | None:
    return _expected(subject, rule.equals.ast) if isinstance(rule, Equals) else whole(rule)


def _expected(subject: Subject, node: ast.Node) -> SchemaView | None:
    """What is known of the value of an expression: a literal, an input or a declared result."""
    if isinstance(node, ast.Literal):
        return whole({"const": node.value})
    match ast.static_path(node):
        case ("inputs", name, *fields) if name in subject.definition.inputs:
            return _at(whole(subject.definition.inputs[name]), fields)
        case ("steps", step, "result", name, *fields) if step in subject.definition.steps:
            return _result_field(subject, subject.definition.steps[step], name, fields)
        case _:
            return None


def _result_field(
    subject: Subject, step: Step, name: str, fields: Sequence[str]
) -> SchemaView | None:
    if name in (step.returns or {}):
        return _at(whole((step.returns or {})[name]), fields)
    outputs = _outputs(subject, step.tool or ())
    return _at(outputs[0].schema, [name, *fields]) if outputs and len(outputs) == 1 else None


def _at(view: SchemaView, fields: Sequence[str]) -> SchemaView | None:
    for field in fields:
        inner = (view.fields() or {}).get(field)
        if inner is None:
            return None
        view = inner
    return view


def result_field(subject: Subject) -> Iterator[Finding]:
    """WF208: `returns`, an expression or a fact uses a field that the results do not have."""
    yield from _returns(subject)
    for written in expressions(subject.definition):
        for parts in certain_reads(written.expression.ast):
            yield from _read_fields(subject, written, parts)
    yield from _facts(subject)


@dataclass(frozen=True, slots=True)
class _Output:
    """The declared results of a tool."""

    tool: str
    schema: SchemaView


def _outputs(subject: Subject, tools: Sequence[str]) -> list[_Output] | None:
    """What each of the tools declares; None when one of them declares nothing."""
    found = []
    for tool in tools:
        schema = (subject.tools or {}).get(tool, {}).get("outputSchema")
        if not isinstance(schema, Mapping):
            return None
        found.append(_Output(tool, whole(schema)))
    return found


def _returns(subject: Subject) -> Iterator[Finding]:
    for name, step in subject.definition.steps.items():
        for tool in step.tool or ():
            for output in _outputs(subject, [tool]) or ():
                for field, schema in (step.returns or {}).items():
                    path: Path = ("steps", name, "returns", field)
                    yield from _declared_field(subject, path, output, whole(schema))


def _declared_field(
    subject: Subject, path: Path, output: _Output, ours: SchemaView
) -> Iterator[Finding]:
    field = str(path[-1])
    missing = _missing(output.schema, [field])
    if missing is not None:
        yield _no_field(subject.document.key_place(path), output.tool, missing)
        return
    theirs = (output.schema.fields() or {}).get(field)
    if theirs is None or not theirs.kinds() or not ours.kinds():
        return
    if not theirs.kinds() & ours.kinds():
        words = f"{kind_words(theirs.kinds())}, and not {kind_words(ours.kinds())}"
        message = f"the field {field!r} in results of {output.tool!r} is {words}"
        yield Finding(RESULT_FIELD, subject.document.place(path), message, RESULT_FIELD.help)


def _read_fields(
    subject: Subject, written: Written, parts: Sequence[tuple[str, int]]
) -> Iterator[Finding]:
    tools, start = _source_of(subject, written, [key for key, _ in parts])
    outputs = _outputs(subject, tools)
    misses = [
        (one.tool, _missing(one.schema, [key for key, _ in parts[start:]])) for one in outputs or ()
    ]
    if misses and all(miss is not None for _, miss in misses):
        tool, miss = misses[0]
        assert miss is not None
        column = parts[start + miss.index][1]
        yield _no_field(subject.document.text_place(written.path, column), tool, miss)


def _source_of(
    subject: Subject, written: Written, keys: Sequence[str]
) -> tuple[Sequence[str], int]:
    """The tools whose results a path reads, and how many keys stand before the first field."""
    steps = subject.definition.steps
    match keys:
        case ["steps", name, "result", _, *_] if name in steps:
            return steps[name].tool or (), 3
        case ["result", _, *_] if "on_unknown" in written.path and written.step is not None:
            read = steps[written.step].reconcile
            return [] if read is None else [read.tool], 1
        case ["result", _, *_] if written.step is not None:
            return steps[written.step].tool or (), 1
        case ["result", _, *_] if written.path[0] == "facts":
            source = subject.definition.facts[str(written.path[1])].from_
            return [source] if source else (), 1
        case _:
            return (), 0


def _facts(subject: Subject) -> Iterator[Finding]:
    for name, fact in subject.definition.facts.items():
        for output in _outputs(subject, [fact.from_] if fact.from_ else []) or ():
            for at, field in enumerate(fact.keep or ()):
                path: Path = ("facts", name, "keep", at)
                yield from _fact_field(subject, path, output, [field])
            if fact.take is not None:
                path = ("facts", name, "take")
                yield from _fact_field(subject, path, output, _PLACES.findall(fact.take)[1:])


def _fact_field(
    subject: Subject, path: Path, output: _Output, fields: Sequence[str]
) -> Iterator[Finding]:
    missing = _missing(output.schema, fields)
    if missing is not None:
        yield _no_field(subject.document.place(path), output.tool, missing)


@dataclass(frozen=True, slots=True)
class _Missing:
    """A path of fields that ends too early."""

    index: int
    """Which of the fields is not there."""
    field: str
    holder: str
    """What should have it."""
    known: tuple[str, ...] | None
    """The fields that are there; None when the holder has none at all."""
    kinds: frozenset[str]


def _missing(schema: SchemaView, fields: Sequence[str]) -> _Missing | None:
    """Where a path of fields (`[]`: the items of a list) certainly leads to nothing."""
    view, holder = schema, "result"
    for index, field in enumerate(fields):
        wanted = "array" if field == "[]" else "object"
        if wanted not in view.kinds():
            return _Missing(index, field, holder, None, view.kinds())
        if wanted == "array":
            inner, known = view.items(), None
        else:
            known = view.fields()
            inner = (known or {}).get(field)
        if inner is None:
            if known is None:
                return None
            return _Missing(index, field, holder, tuple(known), view.kinds())
        view, holder = inner, f"{holder}{field if field == '[]' else f'.{field}'}"
    return None


def _no_field(place: Place, tool: str, missing: _Missing) -> Finding:
    if missing.known is None:
        what = "items" if missing.field == "[]" else f"field {missing.field!r}"
        message = f"`{missing.holder}` of {tool!r} is {kind_words(missing.kinds)}: it has no {what}"
        return Finding(RESULT_FIELD, place, message, RESULT_FIELD.help)
    message = f"`{missing.holder}` of {tool!r} has no field {missing.field!r}"
    return Finding(RESULT_FIELD, place, message, suggest(missing.field, missing.known, "fields"))
