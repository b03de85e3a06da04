"""Checks that every name names something: steps, tool sets, roles, inputs, facts and events."""

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
from mcpuppet.workflow.definition import Policy, RulesDefinition, Step
from mcpuppet.workflow.findings import Code, Finding, Place
from mcpuppet.workflow.yaml_reader import Path

UNKNOWN_STEP = Code(
    "WF201",
    "unknown-step",
    "error",
    about="A step is named that the file does not have.",
    help="correct the name, or add the step",
    can_be_ignored=False,
)
UNKNOWN_ROLE = Code(
    "WF202",
    "unknown-role",
    "error",
    about="A role is named that `roles` at the top of the file does not list.",
    help="correct the name, or list the role",
    can_be_ignored=False,
)
UNKNOWN_INPUT = Code(
    "WF203",
    "unknown-input",
    "error",
    about="An expression reads something that does not exist where it stands: an input, a "
    "variable or a part of a step.",
    help="correct the name, or declare the input under `inputs`",
    can_be_ignored=False,
)
UNKNOWN_EVENT = Code(
    "WF204",
    "unknown-event",
    "error",
    about="An event or outcome is named that its step cannot have: it would never happen.",
    help="name an event that the step has, as in `pay.success` or `approve.approved`",
    can_be_ignored=False,
)
UNKNOWN_FACT = Code(
    "WF211",
    "unknown-fact",
    "error",
    about="An expression reads a fact that `facts` does not declare.",
    help="correct the name, or declare the fact under `facts`",
    can_be_ignored=False,
)
GIVEN_WITHOUT_LOCK = Code(
    "WF212",
    "given-without-lock",
    "error",
    about="`given(x)` is asked in a file whose inputs are never locked: the result of a tool could "
    "have put the value there.",
    help="add `given: inputs_before_first_result` to the file",
    can_be_ignored=False,
)
UNKNOWN_TOOL_SET = Code(
    "WF213",
    "unknown-tool-set",
    "error",
    about="A word without a dot stands where tools are meant, and no tool set has that name.",
    help="write `server.tool`, or the name of a set under `tools.sets`",
    can_be_ignored=False,
)

TOOL_EVENTS = ("call", "success", "failure")
"""The events of a tool, whatever step or rule it is called under."""

_USER_FIELDS = ("name", "roles")
"""What an expression may read of whoever calls."""

Part = tuple[str, int]
"""One key of a path that an expression reads, and its column."""


def unknown_step(subject: Subject) -> Iterator[Finding]:
    """WF201: a step id under `needs`, `redo`, `call`, `of` or in an event that no step has."""
    for name, place in _named_steps(subject):
        if name not in subject.definition.steps:
            yield _no_such_step(subject, name, place)
    if isinstance(subject.definition, RulesDefinition):
        return
    steps, sets = subject.definition.steps, subject.definition.tools.sets
    for name, place in _named_without_dot(subject):
        if name not in steps and name not in sets:
            kinds, all_kinds = ("step or tool set", "steps and sets") if sets else ("step", "steps")
            help = suggest(name, [*steps, *sets], all_kinds)
            yield Finding(UNKNOWN_STEP, place, f"there is no {kinds} {name!r}", help)


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
    for index, claim in enumerate(definition.properties):
        for at, one in enumerate((claim.of if claim.concurrent else None) or ()):
            yield one, subject.document.place(("properties", index, "of", at))
    for event_path, event in event_names(definition):
        if event.count(".") == 1 and event_path[0] != "facts" and not _is_of_set(subject, event):
            yield event.partition(".")[0], subject.document.place(event_path)


def _is_of_set(subject: Subject, event: str) -> bool:
    """Such an event is no event: another finding says so, as it does for any in a rules file."""
    is_rules = isinstance(subject.definition, RulesDefinition)
    return is_rules or event.partition(".")[0] in subject.definition.tools.sets


def _named_without_dot(subject: Subject) -> Iterator[tuple[str, Place]]:
    for index, policy in enumerate(subject.definition.policies):
        for at, call in enumerate(policy.call):
            if "." not in call:
                yield call, subject.document.place(("policies", index, "call", at))


def unknown_tool_set(subject: Subject) -> Iterator[Finding]:
    """WF213: a word under `tools`, or under `call` of a rules file, that names no tool set."""
    sets = subject.definition.tools.sets
    for name, place in _named_sets(subject):
        if name not in sets:
            help = suggest(name, sets, "tool sets") if sets else "write `server.tool`"
            yield Finding(UNKNOWN_TOOL_SET, place, f"there is no tool set {name!r}", help)


def _named_sets(subject: Subject) -> Iterator[tuple[str, Place]]:
    is_rules = isinstance(subject.definition, RulesDefinition)
    for index, word in enumerate(subject.definition.listed_tools):
        if "." not in word:
            path: Path = ("tools", "allow" if is_rules else "always", index)
            yield word, subject.document.place(path)
    if is_rules:
        yield from _named_without_dot(subject)


def _redo_lists(step: Step) -> Iterator[tuple[Path, Sequence[str]]]:
    if step.on is not None and step.on.failure is not None:
        yield ("on", "failure", "redo"), step.on.failure.redo
    if step.on is not None and step.on.rejected is not None:
        yield ("on", "rejected", "redo"), step.on.rejected.redo


def unknown_role(subject: Subject) -> Iterator[Finding]:
    """WF202: a role that `roles` of the file does not list."""
    known = frozenset(subject.definition.roles)
    for path, role in named_roles(subject):
        if role not in known:
            help = suggest(role, known, "roles") if known else f"add `roles: [{role}]` to the file"
            place = subject.document.place(path)
            yield Finding(UNKNOWN_ROLE, place, f"there is no role {role!r}", help)


def named_roles(subject: Subject) -> Iterator[tuple[Path, str]]:
    """Every role that the file names somewhere else than under `roles`, with its path."""
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
    """WF203 (and WF201, WF211): what expressions read must exist where they stand."""
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
            f"{_why(subject, root)}here an expression reads {_words(written.variables)}",
        )
    elif root == "inputs" and inner and inner[0][0] not in subject.definition.inputs:
        name, column = inner[0]
        yield Finding(
            UNKNOWN_INPUT,
            subject.document.text_place(written.path, column),
            f"there is no input {name!r}",
            suggest(name, subject.definition.inputs, "inputs"),
        )
    elif root == "facts" and inner and inner[0][0] not in subject.definition.facts:
        name, column = inner[0]
        yield Finding(
            UNKNOWN_FACT,
            subject.document.text_place(written.path, column),
            f"there is no fact {name!r}",
            suggest(name, subject.definition.facts, "facts"),
        )
    elif root == "user" and inner and inner[0][0] not in _USER_FIELDS:
        name, column = inner[0]
        yield Finding(
            UNKNOWN_INPUT,
            subject.document.text_place(written.path, column),
            f"`user` has no {name!r}",
            suggest(name, _USER_FIELDS, "fields"),
        )
    elif root == "steps" and inner:
        yield from _check_step_path(subject, written, inner)


def _why(subject: Subject, root: str) -> str:
    is_of_rules = root == "steps" and isinstance(subject.definition, RulesDefinition)
    return "a rules file has no steps; " if is_of_rules else ""


def given_without_lock(subject: Subject) -> Iterator[Finding]:
    """WF212: `given(x)` is asked, but the inputs are never locked."""
    if subject.definition.given is not None:
        return
    for written in expressions(subject.definition):
        for call in calls_of("given", written.expression.ast):
            yield Finding(
                GIVEN_WITHOUT_LOCK,
                subject.document.text_place(written.path, call.column),
                f"`{written.key}` asks what was given, but nothing locks the inputs",
                "add `given: inputs_before_first_result` to the file",
            )


def calls_of(function: str, node: ast.Node) -> Iterator[ast.Call]:
    """Every call of a function in a tree."""
    if isinstance(node, ast.Call) and node.function == function:
        yield node
    for child in ast.children_of(node):
        yield from calls_of(function, child)


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
    """WF204: an event that is none of a step or a tool, or that never happens."""
    for path, text in event_names(subject.definition):
        wrong = _wrong_event(subject, text, of_tool_only=path[0] == "facts")
        if wrong is not None:
            yield Finding(UNKNOWN_EVENT, subject.document.place(path), *wrong)


_TOOL_EVENT_HELP = "name a tool: `<server.tool>.success`"


def _wrong_event(
    subject: Subject, text: str, *, of_tool_only: bool
) -> tuple[str, str | None] | None:
    """What is wrong with the event that a text names, and what would be accepted."""
    source, dot, event = text.rpartition(".")
    if not dot:
        return f"{text!r} is not an event", "an event is `<step>.<event>`"
    if "." in source:
        if event in TOOL_EVENTS:
            return None
        return f"a tool has no event {event!r}", suggest(event, TOOL_EVENTS, "events")
    if source in subject.definition.tools.sets:
        return f"{source!r} is a tool set, and a set has no events", _TOOL_EVENT_HELP
    if isinstance(subject.definition, RulesDefinition):
        return f"{text!r} is an event of a step, and a rules file has no steps", _TOOL_EVENT_HELP
    if of_tool_only:
        return f"{text!r} is an event of a step; a fact ends with one of a tool", _TOOL_EVENT_HELP
    return _wrong_step_event(subject.definition.steps.get(source), source, event)


def _wrong_step_event(step: Step | None, name: str, event: str) -> tuple[str, str | None] | None:
    if step is None or event in events_of(step):  # a step that is not there is WF201
        return None
    kind = "approval" if step.approval is not None else "tool"
    return f"{kind} step {name!r} has no event {event!r}", suggest(event, events_of(step), "events")
