"""Checks of what rules rest on: facts that a call could forge, and arguments they overlook.

They compare names, as nothing else tells what a tool does: what they find is worth a look and no
more than that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mcpuppet.workflow.checks.coverage import called_tools, is_pattern
from mcpuppet.workflow.checks.subject import Subject
from mcpuppet.workflow.definition import Equals, Policy
from mcpuppet.workflow.expression import Expression
from mcpuppet.workflow.findings import Code, Finding
from mcpuppet.workflow.yaml_reader import Path

FACT_CAN_BE_FORGED = Code(
    "WF523",
    "fact-can-be-forged",
    "warning",
    about="A tool that may be called can fill what a fact is read from: an instruction planted in "
    "a result could launder a value through it.",
    help="let a policy ask about the calls of that tool, or check them; `until` alone does not "
    "help, as the fact is read again",
)
SIBLING_ARGUMENT = Code(
    "WF524",
    "sibling-argument",
    "warning",
    about="A rule looks at one argument, and the tool takes another one that does the same.",
    help="let the rule look at the other argument too, or refuse calls that carry it",
    beyond_file=True,
)

_READING = frozenset({"get", "list", "read", "search", "find", "fetch", "query", "lookup", "show"})
_WRITING = frozenset(
    {
        *("add", "create", "update", "set", "schedule", "delete", "put", "write", "insert", "edit"),
        *(
            "upsert",
            "save",
            "store",
            "post",
            "send",
            "append",
            "register",
            "import",
            "book",
            "make",
        ),
        *("remove", "replace", "change", "modify", "upload", "record", "invite", "rename"),
    }
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_FAMILIES = (
    frozenset(
        {
            *("to", "recipient", "recipients", "cc", "bcc", "reply_to", "replyto", "forward_to"),
            *("participants", "attendees", "invitees", "addressee", "addressees"),
        }
    ),
    frozenset({"url", "urls", "uri", "uris", "link", "links", "webhook", "callback_url"}),
    frozenset({"path", "paths", "file", "files", "filename", "file_path", "filepath"}),
)
"""Arguments that can each carry what a rule on another one of them means to limit."""


def fact_can_be_forged(subject: Subject) -> Iterator[Finding]:
    """WF523: a fact whose source another tool that may be called can fill, going by its name."""
    writers = _writers(subject) if subject.definition.facts else {}
    for name, fact in subject.definition.facts.items():
        if fact.from_ is None:
            continue
        server, about = _subject_of(fact.from_)
        for tool, words in writers.get((server, next(iter(about), "")), ()):
            if about <= words and not _is_held(subject, tool):
                yield Finding(
                    FACT_CAN_BE_FORGED,
                    subject.document.key_place(("facts", name)),
                    f"{tool!r} may be called and may fill what the fact {name!r} reads: an "
                    f"instruction planted in a result could launder a value through it",
                    f"let a policy ask about {tool!r}, or check what it is called with",
                )
                break


def _writers(subject: Subject) -> Mapping[tuple[str, str], list[tuple[str, frozenset[str]]]]:
    """The tools that may be called and write, by their server and each word of their name."""
    found: dict[tuple[str, str], list[tuple[str, frozenset[str]]]] = {}
    for tool in sorted(_callable_tools(subject)):
        server, _, name = tool.partition(".")
        words = _words(name)
        if words[0] in _WRITING:
            stems = frozenset(map(_stem, words))
            for stem in stems:
                found.setdefault((server, stem), []).append((tool, stems))
    return found


def _callable_tools(subject: Subject) -> set[str]:
    """The tools that may be called, as far as their names are known."""
    found = {tool for _, tool in called_tools(subject.definition)}
    for listed in subject.coverage.tools:
        if not is_pattern(listed):
            found.add(listed)
        else:
            found |= {tool for tool in subject.tools or () if fnmatchcase(tool, listed)}
    return found


def _subject_of(source: str) -> tuple[str, frozenset[str]]:
    """The server of a reading tool, and the words for what it reads."""
    server, _, name = source.partition(".")
    first, *others = _words(name)
    return server, frozenset(map(_stem, others if first in _READING else [first, *others]))


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)] or [name]


def _stem(word: str) -> str:
    """A word without its ending: plural, past or participle."""
    for ending, shortest in (("ies", 5), ("ed", 5), ("ing", 6), ("es", 5), ("s", 4), ("e", 4)):
        if word.endswith(ending) and len(word) >= shortest and not word.endswith("ss"):
            return word[: -len(ending)]
    return word.removesuffix("y")


def _is_held(subject: Subject, tool: str) -> bool:
    """Whether a policy asks about the calls of a tool, or looks at their values."""
    steps: list[str | None] = [
        name for name, step in subject.definition.steps.items() if tool in (step.tool or ())
    ]
    return all(
        any(
            policy.ask is not None or policy.check is not None
            for _, policy in subject.coverage.policies_on(step, tool)
        )
        for step in steps or [None]
    )


# Arguments beside those that a rule reads


@dataclass(frozen=True, slots=True)
class _Call:
    """A call whose arguments are known: the tool, and the step if there is one."""

    step: str | None
    tool: str
    free: tuple[str, ...]
    """The arguments that a caller may choose."""


def sibling_argument(subject: Subject) -> Iterator[Finding]:
    """WF524: a rule reads an argument, and the tool takes a sibling of it that no rule reads."""
    for call in _calls(subject) if subject.tools is not None else ():
        policies = subject.coverage.policies_on(call.step, call.tool)
        read = {name for _, policy in policies for name, _ in _arguments_read(policy)}
        for index, policy in policies:
            yield from _overlooked(subject, call, (index, policy), read)


def _overlooked(
    subject: Subject, call: _Call, numbered: tuple[int, Policy], read: set[str]
) -> Iterator[Finding]:
    index, policy = numbered
    for name, key in _arguments_read(policy):
        others = [other for other in call.free if other not in read and _are_siblings(name, other)]
        if others:
            path: Path = ("policies", index, key)
            yield Finding(
                SIBLING_ARGUMENT,
                subject.document.place(path),
                f"policy {policy.id!r} looks at {name!r} of {call.tool!r}, "
                f"which also takes {' and '.join(map(repr, others))}",
                SIBLING_ARGUMENT.help,
            )
            return


def _calls(subject: Subject) -> Iterator[_Call]:
    tools = subject.tools or {}
    for name, step in subject.definition.steps.items():
        for tool in step.tool or ():
            known = _properties(tools.get(tool))
            if step.args is not None and not step.args_open:
                known = tuple(one for one in known if one in step.args)
            fixed = {one for one, rule in (step.args or {}).items() if isinstance(rule, Equals)}
            yield _Call(name, tool, tuple(one for one in known if one not in fixed))
    listed = _callable_tools(subject) - {tool for _, tool in called_tools(subject.definition)}
    for tool in sorted(listed):
        yield _Call(None, tool, _properties(tools.get(tool)))


def _properties(tool: Mapping[str, object] | None) -> tuple[str, ...]:
    schema = (tool or {}).get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return tuple(properties) if isinstance(properties, Mapping) else ()


def _arguments_read(policy: Policy) -> Iterator[tuple[str, str]]:
    """The arguments that a policy judges a call by, and the key under which it does."""
    guards: tuple[tuple[str, Expression | None], ...] = (
        ("check", policy.check),
        ("unless", policy.unless),
        ("sum", policy.sum),
    )
    for key, guard in guards:
        for path in sorted(guard.references) if guard is not None else ():
            if path[0] == "args" and len(path) > 1:
                yield path[1], key
    for name in policy.same or ():
        yield name, "same"


def _are_siblings(name: str, other: str) -> bool:
    one, two = "_".join(_words(name)), "_".join(_words(other))
    if one == two:
        return False
    return _stem(one) == _stem(two) or any({one, two} <= family for family in _FAMILIES)
