"""Checks of the form of facts: where the values come from, and which keys go with that.

What a file holds, and whether `column` goes with it, is told where the file is read.
"""

from __future__ import annotations

from collections.abc import Iterator

from mcpuppet.workflow.checks.shape import counted
from mcpuppet.workflow.checks.subject import Subject
from mcpuppet.workflow.definition import Fact
from mcpuppet.workflow.findings import MISSING_KEY, WRONG_TYPE, Finding

_OF_TOOL_ONLY = ("key", "keep", "take", "until")


def form_of_facts(subject: Subject) -> Iterator[Finding]:
    """WF105 and WF104: a fact has one source, and the keys of that source."""
    for name, fact in subject.definition.facts.items():
        sources = [key for key, one in (("from", fact.from_), ("from_file", fact.from_file)) if one]
        if len(sources) != 1:
            yield Finding(
                MISSING_KEY,
                subject.document.key_place(("facts", name)),
                f"fact {name!r} has {counted(sources, 'source')}",
                "exactly one of: `from: server.tool`, `from_file: file.csv`",
            )
        elif fact.from_ is not None:
            yield from _from_tool(subject, name, fact)
        else:
            yield from _from_file(subject, name, fact)


def _from_tool(subject: Subject, name: str, fact: Fact) -> Iterator[Finding]:
    if fact.column is not None:
        yield _misplaced(subject, name, "column", "facts from files")
    missing = _missing(fact)
    if missing is not None:
        message = f"fact {name!r} {missing}"
        help = (
            "`key: args.id` with `keep: [field]` remembers fields by key, "
            "`take: result.items[].name` a set of values"
        )
        yield Finding(MISSING_KEY, subject.document.key_place(("facts", name)), message, help)


def _missing(fact: Fact) -> str | None:
    is_keyed = fact.key is not None or fact.keep is not None
    if is_keyed and fact.take is not None:
        return "is both a mapping (`key`, `keep`) and a set (`take`)"
    if not is_keyed and fact.take is None:
        return "says nothing of what to remember"
    if is_keyed and (fact.key is None or fact.keep is None):
        has, lacks = ("keep", "key") if fact.key is None else ("key", "keep")
        return f"has `{has}` without `{lacks}`"
    return None


def _from_file(subject: Subject, name: str, fact: Fact) -> Iterator[Finding]:
    for key in _OF_TOOL_ONLY:
        if key in fact.model_fields_set:
            yield _misplaced(subject, name, key, "facts from tools")


def _misplaced(subject: Subject, name: str, key: str, whom: str) -> Finding:
    return Finding(
        WRONG_TYPE,
        subject.document.key_place(("facts", name, key)),
        f"fact {name!r}: `{key}` is for {whom} only",
    )
