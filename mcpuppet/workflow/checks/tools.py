"""Checks against what the servers offer: the names of servers, tools and arguments.

What the tools' schemas say of types and results is checked by `tool_schemas`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from mcpuppet.workflow import expression_ast as ast
from mcpuppet.workflow.checks.references import Part, path_parts, paths_read
from mcpuppet.workflow.checks.subject import (
    Subject,
    Written,
    event_names,
    expressions,
    suggest,
)
from mcpuppet.workflow.definition import ArgumentRule, Equals, Policy, RulesDefinition
from mcpuppet.workflow.findings import Code, Finding, Place
from mcpuppet.workflow.schema_view import whole
from mcpuppet.workflow.yaml_reader import Path

UNKNOWN_TOOL = Code(
    "WF205",
    "unknown-tool",
    "error",
    about="A file names a server or a tool that no configured server offers.",
    help="correct the name, or configure the server that offers the tool",
    beyond_file=True,
)
UNKNOWN_ARGUMENT = Code(
    "WF206",
    "unknown-argument",
    "error",
    about="A file names an argument that the tool does not take.",
    help="use a name from the tool's inputSchema",
    beyond_file=True,
)

_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a step, or its compensation, lays down for the arguments of one tool."""

    path: Path
    tool: str
    rules: Mapping[str, ArgumentRule] | None
    is_open: bool
    step: str
    given: bool = False
    """Whether the gateway makes the call itself: nobody gives another argument."""


def unknown_tool(subject: Subject) -> Iterator[Finding]:
    """WF205: a tool, or a pattern of tools, that no configured server offers."""
    for path, pattern in named_tools(subject):
        server = pattern.partition(".")[0]
        place = subject.document.place(path)
        if subject.servers is not None and not _matches(subject.servers, server):
            help = suggest(server, subject.servers, "servers")
            yield Finding(UNKNOWN_TOOL, place, f"no server {server!r} is configured", help)
        elif subject.tools is not None and not _may_be_offered(subject, pattern):
            matching = "a tool that matches" if _WILD & set(pattern) else "the tool"
            help = suggest(pattern, subject.tools, "tools")
            yield Finding(UNKNOWN_TOOL, place, f"no server offers {matching} {pattern!r}", help)


def unknown_argument(subject: Subject) -> Iterator[Finding]:
    """WF206: `args`, a policy or a fact names an argument that the tool does not take."""
    for one in laid_down(subject):
        for name in one.rules or ():
            place = subject.document.key_place((*one.path, name))
            yield from _unknown_argument(subject, [one.tool], name, place)
    for index, policy in enumerate(subject.definition.policies):
        for at, name in enumerate(policy.same or ()):
            place = subject.document.place(("policies", index, "same", at))
            yield from _unknown_argument(subject, _called_tools(subject, policy), name, place)
    for written in expressions(subject.definition):
        if written.step is None or "on_unknown" in written.path:
            yield from _unknown_reads(subject, written)
    for step_name, step in subject.definition.steps.items():
        if step.key_argument is not None:
            path: Path = ("steps", step_name, "on_unknown", "retry_with_key", "arg")
            place = subject.document.place(path)
            yield from _unknown_argument(subject, step.tool or (), step.key_argument, place)


def _unknown_argument(
    subject: Subject, tools: Sequence[str], name: str, place: Place
) -> Iterator[Finding]:
    """A finding when every one of the tools lists its arguments, and none has this one."""
    known = [arguments_of(subject, tool) for tool in tools]
    if not known or any(one is None or name in one for one in known):
        return
    accepted = {argument for one in known for argument in one or ()}
    words = " and ".join(repr(tool) for tool in tools[:3])
    message = f"tool {words} takes no argument {name!r}"
    yield Finding(UNKNOWN_ARGUMENT, place, message, suggest(name, accepted, "arguments"))


def _unknown_reads(subject: Subject, written: Written) -> Iterator[Finding]:
    for parts in certain_reads(written.expression.ast):
        if parts[0][0] == "args" and len(parts) > 1:
            name, column = parts[1]
            place = subject.document.text_place(written.path, column)
            yield from _unknown_argument(subject, _tools_at(subject, written.path), name, place)


def _tools_at(subject: Subject, path: Path) -> list[str]:
    """The tools whose calls the expression of a policy or a fact reads."""
    match path:
        case ("policies", int(index), *_):
            return _called_tools(subject, subject.definition.policies[index])
        case ("facts", str(name), *_):
            return matching_tools(subject, subject.definition.facts[name].from_ or "")
        case ("steps", str(name), *_):
            return list(subject.definition.steps[name].tool or ())
        case _:
            return []


def certain_reads(node: ast.Node) -> Iterator[tuple[Part, ...]]:
    """The paths that an expression reads and nowhere asks whether they are there."""
    tested = set(_tested(node))
    for parts in paths_read(node):
        keys = tuple(key for key, _ in parts)
        if not any(keys[:length] in tested for length in range(1, len(keys) + 1)):
            yield parts


def _tested(node: ast.Node) -> Iterator[tuple[str, ...]]:
    """The paths in `has(path)` and `get(path, default)`."""
    asked: list[ast.Node] = [node] if isinstance(node, ast.Has) else []
    if isinstance(node, ast.Call) and node.function == "get":
        asked = [*node.arguments[:1]]
    for one in asked:
        parts = path_parts(one)
        if parts is not None:
            yield tuple(key for key, _ in parts)
    for child in ast.children_of(node):
        yield from _tested(child)


def named_tools(subject: Subject) -> Iterator[tuple[Path, str]]:
    """Every tool, and every pattern of tools, that a file names."""
    yield from tools_of_steps(subject)
    definition = subject.definition
    for name, patterns in definition.tools.sets.items():
        for at, pattern in enumerate(patterns):
            yield ("tools", "sets", name, at), pattern
    listed = "allow" if isinstance(definition, RulesDefinition) else "always"
    for at, pattern in enumerate(definition.listed_tools):
        yield from _dotted(("tools", listed, at), pattern)
    for index, policy in enumerate(definition.policies):
        for at, call in enumerate(policy.call):
            yield from _dotted(("policies", index, "call", at), call)
    for path, event in event_names(definition):
        yield from _dotted(path, event.rpartition(".")[0])
    for name, fact in definition.facts.items():
        if fact.from_ is not None:
            yield ("facts", name, "from"), fact.from_


def tools_of_steps(subject: Subject) -> Iterator[tuple[Path, str]]:
    """The tools that the steps call."""
    for name, step in subject.definition.steps.items():
        for index, tool in enumerate(step.tool or ()):
            yield ("steps", name, "tool", index), tool
        if step.compensate is not None:
            yield ("steps", name, "compensate", "tool"), step.compensate.tool
        if step.reconcile is not None:
            yield ("steps", name, "on_unknown", "reconcile", "tool"), step.reconcile.tool


def _dotted(path: Path, name: str) -> Iterator[tuple[Path, str]]:
    """A name without a dot is a step's, or that of a set of tools."""
    if "." in name:
        yield path, name


def laid_down(subject: Subject) -> Iterator[Arguments]:
    """What every step and compensation lays down for each of its tools."""
    for name, step in subject.definition.steps.items():
        for tool in step.tool or ():
            yield Arguments(("steps", name, "args"), tool, step.args, step.args_open, name)
        undo = step.compensate
        if undo is not None:
            path: Path = ("steps", name, "compensate", "args")
            yield Arguments(path, undo.tool, undo.args, undo.args_open, name)
        read = step.reconcile
        if read is not None:
            given = {key: Equals(equals=one) for key, one in read.args.items()}
            path = ("steps", name, "on_unknown", "reconcile", "args")
            yield Arguments(path, read.tool, given, False, name, given=True)


def arguments_of(subject: Subject, tool: str) -> Mapping[str, Any] | None:
    """The arguments a tool lists; None when nothing is known of it, or when it takes others too."""
    definition = (subject.tools or {}).get(tool, {})
    return whole(definition.get("inputSchema")).fields()


def matching_tools(subject: Subject, *patterns: str) -> list[str]:
    """The offered tools that one of the patterns matches."""
    tools = subject.tools or {}
    return [tool for tool in tools if any(fnmatchcase(tool, one) for one in patterns)]


def _called_tools(subject: Subject, policy: Policy) -> list[str]:
    """The tools of the calls that a policy limits."""
    patterns: list[str] = []
    for call in policy.call:
        step = subject.definition.steps.get(call)
        named = subject.definition.tools.sets.get(call, [call])
        patterns += named if step is None else step.tool or ()
    return matching_tools(subject, *patterns)


def _matches(names: Iterable[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _may_be_offered(subject: Subject, pattern: str) -> bool:
    """Whether a listed tool matches, or one of a server whose tools could not be listed."""
    tools = subject.tools or {}
    listed = {tool.partition(".")[0] for tool in tools}
    unlisted = (subject.servers or frozenset()) - listed
    return _matches(tools, pattern) or _matches(unlisted, pattern.partition(".")[0])
