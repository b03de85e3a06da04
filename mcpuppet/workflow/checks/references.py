"""Checks that every name names something: steps, roles, inputs, variables and events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mcpuppet.workflow import expression_ast as ast
from mcpuppet.workflow.checks.subject import (
    Subject,
    Written,
    event_names,
    events_of,
    expressions,
    outcomes_of,
    suggest,
)
from mcpuppet.workflow.definition import Policy, Step
from mcpuppet.workflow.findings import Code, Finding, Place
from mcpuppet.workflow.yaml_reader import Path

UNKNOWN_STEP = Code("WF201", "unknown-step", "error")
UNKNOWN_ROLE = Code("WF202", "unknown-role", "error")
UNKNOWN_INPUT = Code("WF203", "unknown-input", "error")
UNKNOWN_EVENT = Code("WF204", "unknown-event", "error")

Part = tuple[str, int]
"""One key of a path that an expression reads, and its column."""


def unknown_step(subject: Subject) -> Iterator[Finding]:
    """WF201: a step id under `needs`, `redo`, `call`, `of` or in an event that no step has."""
    for name, place in _named_steps(subject):
        if name not in subject.definition.steps:
            yield _no_such_step(subject, name, place)


def _no_such_step(subject: Subject, name: str, place: Place) -> Finding:
    help = suggest(name, subject.definition.steps, "steps")
    return Finding(UNKNOWN_STEP, place, f"there is no step {name!r}", help)


def _named_steps(subject: Subject) -> Iterator[tuple[str, Place]]:
    definition = subject.definition
    for name, step in definition.steps.items():
        for needed in step.needs.outcomes if step.needs else ():
            yield needed, subject.need_place(name, needed)
        for path, listed in _redo_lists(step):
            for index, one in enumerate(listed):
                yield one, subject.document.place(("steps", name, *path, index))
    for index, policy in enumerate(definition.policies):
        for at, call in enumerate(policy.call):
            if "." not in call:
                yield call, subject.document.place(("policies", index, "call", at))
    for index, claim in enumerate(definition.properties):
        for at, one in enumerate((claim.of if claim.concurrent else None) or ()):
            yield one, subject.document.place(("properties", index, "of", at))
    for event_path, event in event_names(definition):
        if event.count(".") == 1:
            yield event.partition(".")[0], subject.document.place(event_path)


def _redo_lists(step: Step) -> Iterator[tuple[Path, Sequence[str]]]:
    if step.on is not None and step.on.failure is not None:
        yield ("on", "failure", "redo"), step.on.failure.redo
    if step.on is not None and step.on.rejected is not None:
        yield ("on", "rejected", "redo"), step.on.rejected.redo


def unknown_role(subject: Subject) -> Iterator[Finding]:
    """WF202: a role that `roles` of the file does not list."""
    known = subject.definition.roles
    for path, role in _named_roles(subject):
        if role not in known:
            help = suggest(role, known, "roles") if known else f"add `roles: [{role}]` to the file"
            place = subject.document.place(path)
            yield Finding(UNKNOWN_ROLE, place, f"there is no role {role!r}", help)


def _named_roles(subject: Subject) -> Iterator[tuple[Path, str]]:
    for name, step in subject.definition.steps.items():
        if step.approval is None:
            continue
        path: Path = ("steps", name, "approval")
        yield from _each((*path, "roles"), step.approval.roles)
        if step.approval.escalate_to is not None:
            yield (*path, "escalate_to"), step.approval.escalate_to
        if step.approval.bypass is not None:
            yield from _each((*path, "bypass", "roles"), step.approval.bypass.roles)
    for index, policy in enumerate(subject.definition.policies):
        yield from _roles_of_policy(("policies", index), policy)


def _roles_of_policy(path: Path, policy: Policy) -> Iterator[tuple[Path, str]]:
    yield from _each((*path, "roles"), policy.roles or ())
    if policy.ask is not None:
        yield from _each((*path, "ask", "roles"), policy.ask.roles)


def _each(path: Path, names: Iterable[str]) -> Iterator[tuple[Path, str]]:
    for index, name in enumerate(names):
        yield (*path, index), name


def unknown_input(subject: Subject) -> Iterator[Finding]:
    """WF203 (and WF201): what expressions read must exist where they stand."""
    for written in expressions(subject.definition):
        for parts in paths_read(written.expression.ast):
            yield from _check_path(subject, written, parts)


def paths_read(node: ast.Node, bound: frozenset[str] = frozenset()) -> Iterator[tuple[Part, ...]]:
    """Every longest static path of a tree with the column of each key, without bound variables."""
    parts = path_parts(node)
    if parts is not None:
        if parts[0][0] not in bound:
            yield parts
    elif isinstance(node, ast.Macro):
        yield from paths_read(node.target, bound)
        yield from paths_read(node.predicate, bound | {node.variable})
    else:
        for child in ast.children_of(node):
            yield from paths_read(child, bound)


def path_parts(node: ast.Node) -> tuple[Part, ...] | None:
    """The keys of a path such as `steps.x["result"]` with their columns, or None."""
    match node:
        case ast.Identifier():
            return ((node.name, node.column),)
        case ast.Select() | ast.Has():
            key, column = node.field, node.column
        case ast.Index(index=ast.Literal(value=str() as text)):
            key, column = text, node.column
        case _:
            return None
    before = path_parts(node.operand)
    return None if before is None else (*before, (key, column))


def _check_path(subject: Subject, written: Written, parts: tuple[Part, ...]) -> Iterator[Finding]:
    (root, column), inner = parts[0], parts[1:]
    if root not in written.variables:
        yield Finding(
            UNKNOWN_INPUT,
            subject.document.text_place(written.path, column),
            f"`{written.key}` cannot read {root!r}",
            f"here an expression reads {_words(written.variables)}",
        )
    elif root == "inputs" and inner and inner[0][0] not in subject.definition.inputs:
        name, column = inner[0]
        yield Finding(
            UNKNOWN_INPUT,
            subject.document.text_place(written.path, column),
            f"there is no input {name!r}",
            suggest(name, subject.definition.inputs, "inputs"),
        )
    elif root == "steps" and inner:
        yield from _check_step_path(subject, written, inner)


def _check_step_path(
    subject: Subject, written: Written, inner: tuple[Part, ...]
) -> Iterator[Finding]:
    (name, column), fields = inner[0], inner[1:]
    step = subject.definition.steps.get(name)
    if step is None:
        place = subject.document.text_place(written.path, column)
        yield _no_such_step(subject, name, place)
        return
    known = ("outcome",) if step.approval is not None else ("result", "outcome")
    if fields and fields[0][0] not in known:
        field, column = fields[0]
        kind = "approval" if step.approval is not None else "tool"
        yield Finding(
            UNKNOWN_INPUT,
            subject.document.text_place(written.path, column),
            f"{kind} step {name!r} has no {field!r}",
            f"an expression reads its {_words(known)}",
        )


def _words(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def unknown_outcome(subject: Subject) -> Iterator[Finding]:
    """WF204: an outcome under `needs` that a step of that kind cannot have."""
    for name, step in subject.definition.steps.items():
        for needed, words in (step.needs.outcomes if step.needs else {}).items():
            for index, word in enumerate(words):
                source = subject.definition.steps.get(needed)
                if source is not None and word not in outcomes_of(source):
                    place = subject.document.place(("steps", name, "needs", needed, index))
                    yield _no_such_outcome(needed, source, word, place)


def _no_such_outcome(needed: str, step: Step, word: str, place: Place) -> Finding:
    if word == "unknown":
        message = "`unknown` cannot be needed: it holds the step until a person settles it"
    elif word == "bypassed" and step.approval is not None:
        message = f"approval {needed!r} has no `bypass`, so it is never bypassed"
    else:
        kind = "approval" if step.approval is not None else "tool"
        message = f"{kind} step {needed!r} has no outcome {word!r}"
    return Finding(UNKNOWN_EVENT, place, message, suggest(word, outcomes_of(step), "outcomes"))


def unknown_event(subject: Subject) -> Iterator[Finding]:
    """WF204: an event of a policy or property that is no `step.event`, or that never happens."""
    for path, text in event_names(subject.definition):
        name, dot, event = text.partition(".")
        step = subject.definition.steps.get(name)
        place = subject.document.place(path)
        if not dot:
            message = f"{text!r} is not an event"
            yield Finding(UNKNOWN_EVENT, place, message, "an event is `<step>.<event>`")
        elif step is not None and "." not in event and event not in events_of(step):
            kind = "approval" if step.approval is not None else "tool"
            message = f"{kind} step {name!r} has no event {event!r}"
            yield Finding(UNKNOWN_EVENT, place, message, suggest(event, events_of(step), "events"))
