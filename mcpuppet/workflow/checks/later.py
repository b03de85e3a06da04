"""WF109: keys of the language that this version reads but does not carry out yet.

Accepting such a key silently would let a file promise what nobody enforces.
"""

from __future__ import annotations

from collections.abc import Iterator

from mcpuppet.workflow.checks.subject import Subject, event_names
from mcpuppet.workflow.findings import NOT_SUPPORTED, Finding
from mcpuppet.workflow.yaml_reader import Path


def not_supported_yet(subject: Subject) -> Iterator[Finding]:
    """WF109: every key and value whose meaning comes in a later version."""
    for path, what in _found(subject):
        yield Finding(
            NOT_SUPPORTED, subject.document.key_place(path), f"{what} is not supported yet"
        )
    for path, event in event_names(subject.definition):
        if path[0] == "properties" and event.count(".") > 1:
            yield Finding(
                NOT_SUPPORTED,
                subject.document.place(path),
                f"{event!r}: properties of the events of tools are not supported yet",
                "name a step: `<step>.success`",
            )


def _found(subject: Subject) -> Iterator[tuple[Path, str]]:
    if subject.definition.tests is not None:
        yield ("tests",), "`tests`"
