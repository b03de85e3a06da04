"""Guard classes: the few values that stand for all values, as far as guards can tell.

A guard is *decidable* when it is built with `&&`, `||`, `!` and `?:` from atoms that each read one
path: `path op literal`, `literal op path`, `path in [literals]`, `has(path)`, or the bare boolean
`path`. Between and at the constants that the atoms of a path name, all of them are constant; so one
representative below, at, between and above every constant is enough, and evaluating a guard on
representatives is exact. Representatives are clipped by the schema under `inputs` or `returns`:
`type`, `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `enum` and `const`. Other
keywords (`pattern`, `multipleOf`, ...) are not looked at, which can only leave in a value too many.

Text is compared for equality only: one representative for each constant, one for any other text.
A field that a guard reads and no schema promises also has the class MISSING. A value there of a
type that no constant has behaves as MISSING does for every atom but `has`.

Every other guard (arithmetic, two paths compared, functions, order of texts, lists) is *opaque*: to
be treated as a free boolean. So are guards that read both a value and a part of that same value.

Paths are written `inputs.x`, `steps.s.result.f` and `steps.s.outcome`; `steps.s.result` stands for
the presence of a result, which `has` may ask. Owns no state of a run.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from mcpuppet.workflow import expression_ast as ast
from mcpuppet.workflow.definition import (
    APPROVAL_OUTCOMES,
    STEP_EVENTS,
    TOOL_OUTCOMES,
    Definition,
    Step,
)
from mcpuppet.workflow.expression import Expression


class Missing(Enum):
    """The class of a field that is not there."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
Value: TypeAlias = Any
"""A JSON value, or MISSING."""
GuardKind = Literal["when", "success", "until", "bypass"]
GuardKey: TypeAlias = tuple[str, GuardKind]
"""The step a guard belongs to, and which of its guards it is."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ORDER = frozenset({"<", "<=", ">", ">="})
_EQUALITY = frozenset({"==", "!="})


@dataclass(frozen=True, slots=True)
class GuardClasses:
    """The representatives of every path that a decidable guard reads."""

    values: Mapping[str, tuple[Value, ...]]
    """Per path its representatives; MISSING comes last."""
    reads: Mapping[GuardKey, tuple[str, ...]]
    """The paths of each decidable guard; an opaque guard has no entry."""
    opaque: frozenset[GuardKey]


@dataclass(frozen=True, slots=True)
class _Atom:
    """What one comparison tells about a path: the constants, or only that presence is asked."""

    path: str
    constants: tuple[Value, ...] = ()
    presence: bool = False


class _OpaqueError(Exception):
    """A guard is outside the decidable fragment."""


def guards_of(definition: Definition) -> Iterator[tuple[GuardKey, Expression]]:
    """Every guard that can steer a run, in the order of the file."""
    for name, step in definition.steps.items():
        if step.when is not None:
            yield (name, "when"), step.when
        if step.success is not None:
            yield (name, "success"), step.success
        if step.repeat is not None:
            yield (name, "until"), step.repeat.until
        if step.approval and step.approval.bypass and step.approval.bypass.when is not None:
            yield (name, "bypass"), step.approval.bypass.when


def guard_classes(
    definition: Definition, guards: Iterable[tuple[GuardKey, Expression]] | None = None
) -> GuardClasses:
    """Work out the representatives that guards, or all guards of a workflow, together need."""
    atoms: dict[GuardKey, list[_Atom]] = {}
    opaque: set[GuardKey] = set()
    for key, guard in guards_of(definition) if guards is None else guards:
        try:
            atoms[key] = [_checked(definition, atom) for atom in _atoms(guard.ast, key[0])]
        except _OpaqueError:
            opaque.add(key)
    for key in _reading_parts_of_values(atoms):
        opaque.add(key)
        del atoms[key]
    constants: dict[str, list[Value]] = {}
    for atom in itertools.chain.from_iterable(atoms.values()):
        constants.setdefault(atom.path, []).extend(atom.constants)
    return GuardClasses(
        {path: _values(definition, path, found) for path, found in constants.items()},
        {key: _paths(own) for key, own in atoms.items()},
        frozenset(opaque),
    )


def variables(assignment: Mapping[str, Value], step: str | None = None) -> dict[str, Any]:
    """The variables of an evaluation under `assignment`, from path to value; MISSING is left out.

    With `step`, the result of that step is also `result`, as its `success` and `until` read it.
    """
    tree: dict[str, Any] = {"inputs": {}, "steps": {}}
    missing = {path for path, value in assignment.items() if value is MISSING}
    for path, value in assignment.items():
        *parents, last = path.split(".")
        if ".".join(parents[:3]) in missing:  # a part of a result that is missing as a whole
            continue
        below = tree
        for part in parents:
            below = below.setdefault(part, {})
        if value is not MISSING:
            below.setdefault(last, value)
    if step is not None:
        tree["result"] = tree["steps"].get(step, {}).get("result", {})
    return tree


def assignments(classes: GuardClasses, paths: Sequence[str]) -> Iterator[dict[str, Value]]:
    """Every combination of representatives of `paths`."""
    for combination in itertools.product(*(classes.values[path] for path in paths)):
        yield dict(zip(paths, combination, strict=True))


def _atoms(node: ast.Node, step: str) -> Iterator[_Atom]:
    """The atoms of a guard of `step`; raises `_OpaqueError` outside the fragment."""
    match node:
        case ast.Literal(value=bool()):
            return
        case ast.Unary(operator="!"):
            yield from _atoms(node.operand, step)
        case ast.Binary(operator="&&" | "||"):
            yield from _atoms(node.left, step)
            yield from _atoms(node.right, step)
        case ast.Conditional():
            for part in (node.condition, node.then, node.otherwise):
                yield from _atoms(part, step)
        case ast.Binary(operator="in", right=ast.ListLiteral(items=items)):
            yield _Atom(_path(node.left, step), tuple(_constant(item) for item in items))
        case ast.Binary():
            yield _comparison(node, step)
        case ast.Has():
            yield _Atom(_path(node, step), presence=True)
        case _:
            yield _Atom(_path(node, step), (True, False))


def _comparison(node: ast.Binary, step: str) -> _Atom:
    literal, other = (
        (node.left, node.right) if isinstance(node.left, ast.Literal) else (node.right, node.left)
    )
    constant = _constant(literal)
    if node.operator in _EQUALITY or (node.operator in _ORDER and _is_number(constant)):
        return _Atom(_path(other, step), (constant,))
    raise _OpaqueError


def _constant(node: ast.Node) -> Value:
    if isinstance(node, ast.Literal):
        return node.value
    raise _OpaqueError


def _path(node: ast.Node, step: str) -> str:
    path = ast.static_path(node)
    if path is None or not all(_NAME.fullmatch(part) for part in path):
        raise _OpaqueError
    if path[0] == "result":
        path = ("steps", step, *path)
    if path[0] == "steps" and len(path) == 3 and path[2] == "outcome":
        return ".".join(path)
    if path[0] == "steps" and len(path) > 2 and path[2] == "result":
        return ".".join(path)
    if path[0] == "inputs" and len(path) > 1:
        return ".".join(path)
    raise _OpaqueError


def _checked(definition: Definition, atom: _Atom) -> _Atom:
    """Refuse paths without meaning, and `has(a.b)` where `a` itself may be missing."""
    parts = atom.path.split(".")
    if parts[0] == "steps" and parts[1] not in definition.steps:
        raise _OpaqueError
    if _is_whole_result(atom.path) and not atom.presence:
        raise _OpaqueError
    top = 2 if parts[0] == "inputs" else 4
    if atom.presence and len(parts) > top and not _declared(definition, ".".join(parts[:-1]))[1]:
        raise _OpaqueError
    return atom


def _reading_parts_of_values(atoms: Mapping[GuardKey, Iterable[_Atom]]) -> list[GuardKey]:
    paths = {atom.path for own in atoms.values() for atom in own if not _is_whole_result(atom.path)}
    clashing: set[str] = set()
    for path in paths:
        parts = path.split(".")
        above = {".".join(parts[:length]) for length in range(2, len(parts))} & paths
        clashing |= above | ({path} if above else set())
    return [key for key, own in atoms.items() if any(atom.path in clashing for atom in own)]


def _is_whole_result(path: str) -> bool:
    return path.endswith(".result") and path.count(".") == 2


def _paths(atoms: Iterable[_Atom]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(atom.path for atom in atoms))


def _values(definition: Definition, path: str, constants: Sequence[Value]) -> tuple[Value, ...]:
    if path.endswith(".outcome") and path.count(".") == 2:
        return (*_outcomes(definition.steps[path.split(".")[1]]), MISSING)
    if _is_whole_result(path):
        return ({}, MISSING)
    schema, promised = _declared(definition, path)
    values = _representatives(schema, constants)
    return values if promised else (*values, MISSING)


def _outcomes(step: Step) -> tuple[str, ...]:
    known = TOOL_OUTCOMES if step.approval is None else APPROVAL_OUTCOMES
    return tuple(event for event in STEP_EVENTS if event in known)


def _declared(definition: Definition, path: str) -> tuple[Mapping[str, Any], bool]:
    """The schema at a path (empty when none is declared), and whether a value is always there."""
    parts = path.split(".")
    if parts[0] == "inputs":
        fields: Mapping[str, Any] = definition.inputs
        names = parts[1:]
    else:
        fields = definition.steps[parts[1]].returns or {}
        names = parts[3:]
    schema, promised = fields.get(names[0], {}), names[0] in fields
    for name in names[1:]:
        properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
        promised = promised and name in properties and name in schema.get("required", ())
        schema = properties.get(name, {})
    return (schema if isinstance(schema, dict) else {}), promised


def _representatives(schema: Mapping[str, Any], constants: Sequence[Value]) -> tuple[Value, ...]:
    if "const" in schema:
        return (schema["const"],)
    numbers = sorted({value for value in constants if _is_number(value)})
    if "enum" in schema:
        return _one_of_each_kind(schema["enum"], constants, numbers)
    values = {
        (_type_of(value), repr(value)): value
        for kind in _types(schema, constants)
        for value in _of_type(kind, schema, constants, numbers)
    }
    return tuple(values.values())


def _types(schema: Mapping[str, Any], constants: Sequence[Value]) -> tuple[str, ...]:
    declared = schema.get("type")
    if declared is not None:
        return (declared,) if isinstance(declared, str) else tuple(declared)
    known = dict.fromkeys(_type_of(constant) for constant in constants)
    return tuple(known) if set(known) - {"null"} else (*known, "string")


def _of_type(
    kind: str, schema: Mapping[str, Any], constants: Sequence[Value], numbers: Sequence[float]
) -> list[Value]:
    match kind:
        case "boolean":
            return [True, False]
        case "number" | "integer":
            return _numbers(schema, numbers, whole=kind == "integer")
        case "string":
            texts = [value for value in constants if isinstance(value, str)]
            return [*dict.fromkeys(texts), *_other_texts(schema, texts)]
        case "null":
            return [None]
        case "array":
            return [[]]
        case _:
            return [{}]


def _other_texts(schema: Mapping[str, Any], texts: Sequence[str]) -> list[str]:
    """A text that is none of `texts`, as long as the schema asks; none when there is none."""
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    letters = (chr(ord("a") + number) for number in range(len(texts) + 1))
    candidates = ("other", "", *(letter * max(1, shortest) for letter in letters))
    fitting = (text for text in candidates if shortest <= len(text) <= longest)
    return [text for text in fitting if text not in texts][:1]


def _one_of_each_kind(
    values: Iterable[Value], constants: Sequence[Value], numbers: Sequence[float]
) -> tuple[Value, ...]:
    """Of an `enum`, every value that is a constant, and one for each class of the others."""
    kept: dict[tuple[str, str], Value] = {}
    for value in values:
        kind = _type_of(value)
        if kind == "boolean" or any(
            constant == value for constant in constants if _type_of(constant) == kind
        ):
            place = repr(value)
        else:
            below = sum(number < value for number in numbers) if kind == "number" else 0
            place = f"other {below}"
        kept.setdefault((kind, place), value)
    return tuple(kept.values())


def _numbers(
    schema: Mapping[str, Any], constants: Sequence[float], *, whole: bool
) -> list[int | float]:
    """One number below, at, between and above the constants, as far as the schema has any."""
    edges = [-math.inf, *constants, math.inf]
    found: list[int | float | None] = []
    for low, high in itertools.pairwise(edges):
        found.append(_number_between(schema, low, high, whole=whole))
        if high != math.inf and _allowed(schema, high, whole=whole):
            found.append(high)
    return [number for number in found if number is not None]


def _allowed(schema: Mapping[str, Any], number: float, *, whole: bool) -> bool:
    return (
        (not whole or number == math.floor(number))
        and schema.get("minimum", -math.inf) <= number <= schema.get("maximum", math.inf)
        and schema.get("exclusiveMinimum", -math.inf) < number
        and number < schema.get("exclusiveMaximum", math.inf)
    )


def _number_between(
    schema: Mapping[str, Any], low: float, high: float, *, whole: bool
) -> int | float | None:
    """A number strictly between two bounds; the schema's own bounds first, as they read best."""
    low = max(low, schema.get("exclusiveMinimum", -math.inf))
    high = min(high, schema.get("exclusiveMaximum", math.inf))
    for bound in ("minimum", "maximum"):
        edge = schema.get(bound)
        if edge is not None and low < edge < high and _allowed(schema, edge, whole=whole):
            return edge  # type: ignore[no-any-return]  # the schema was checked: a number
    low, high = max(low, schema.get("minimum", low)), min(high, schema.get("maximum", high))
    number = _inside(low, high, whole=whole)
    return number if low < number < high and _allowed(schema, number, whole=whole) else None


def _inside(low: float, high: float, *, whole: bool) -> int | float:
    """A number in the middle of an open interval, or one from its only end."""
    if low == -math.inf and high == math.inf:
        return 0
    if low == -math.inf:
        return math.ceil(high) - 1 if whole else high - 1
    if high == math.inf:
        return math.floor(low) + 1 if whole else low + 1
    return math.floor(low) + 1 if whole else (low + high) / 2


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _type_of(value: Value) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case None:
            return "null"
        case list():
            return "array"
        case _:
            return "object"
