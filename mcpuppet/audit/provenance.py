"""Where a value came from: the first place in a session's audit trail that holds it.

Evidence for the person who is asked, never a gate: a value that was written in another way, or put
together from parts, is not found. Says so where a result was too large to be recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mcpuppet.audit.record import Record, open_record
from mcpuppet.redaction.vault import Vault
from mcpuppet.session import events as e
from mcpuppet.workflow.json_values import json_equal

_SHORTEST_TEXT = 2
"""A single character is everywhere."""
_SURELY_ITSELF = 12
"""Texts of this length count as parts of words too; shorter ones, and numbers, stand alone."""


def first_seen(
    values: Iterable[tuple[str, Any]],
    given: Mapping[str, Any],
    records: Iterable[Record],
    vault: Vault,
) -> dict[str, str]:
    """For each (path, value) a sentence on where the value was first seen.

    `vault` knows the values that the records do not show.
    """
    origins = _Origins(records, vault)
    return {path: _sentence(value, given, origins) for path, value in values}


def _sentence(value: Any, given: Mapping[str, Any], origins: _Origins) -> str:
    declared = next((name for name, one in given.items() if _holds(one, value, whole=True)), None)
    seen = origins.of(value)
    if declared is not None:
        return f"declared at the start, in the input {declared}"
    return f"{seen}; not declared at the start"


class _Origins:
    """The results and inputs of a session, in the order in which they came."""

    def __init__(self, records: Iterable[Record], vault: Vault) -> None:
        self._vault = vault
        self._found: list[tuple[str, Any]] = []
        self._unrecorded: list[str] = []
        tools: dict[str, str] = {}
        for record in records:
            self._take_in(record, tools)

    def _take_in(self, record: Record, tools: dict[str, str]) -> None:
        opened = self._vault.opened(open_record(record.body))
        event = e.event_from(opened.kind, opened.data)
        match event:
            case e.CallStarted():
                tools[event.call_id] = event.tool
            case e.CallSucceeded() | e.CallFailed():
                tool = tools.get(event.call_id, "a tool")
                if isinstance(event, e.CallFailed):
                    self._found.append((f"first seen in an error of {tool}", event.message))
                if event.result is not None:
                    self._found.append((f"first seen in the result of {tool}", event.result))
                elif isinstance(event, e.CallSucceeded):
                    self._unrecorded.append(tool)
            case e.RunStarted() | e.InputsDeclared():
                self._found.append(("first seen in inputs", event.inputs))
            case _:
                pass

    def of(self, value: Any) -> str:
        for words, content in self._found:
            if _holds(content, value, whole=False):
                return words
        if self._unrecorded:
            names = ", ".join(dict.fromkeys(self._unrecorded))
            return f"not seen before, unless in a result of {names} that was too large to keep"
        return "not seen before in this session"


def _holds(content: Any, value: Any, *, whole: bool) -> bool:
    """Whether `content` holds `value`; with `whole` only as a value of its own."""
    for one in _values(content):
        if json_equal(one, value):
            return True
        if not whole and isinstance(one, str) and _mentions(one, value):
            return True
    return False


def _mentions(text: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return False
    wanted = value if isinstance(value, str) else repr(value)
    if len(wanted) < _SHORTEST_TEXT or wanted not in text:
        return len(wanted) < _SHORTEST_TEXT and wanted.isdigit() and _stands_alone(wanted, text)
    return len(wanted) >= _SURELY_ITSELF or _stands_alone(wanted, text)


def _stands_alone(wanted: str, text: str) -> bool:
    """Whether a text occurs with no letter or digit beside it: 900 is not in 1900 or 9000."""
    at = text.find(wanted)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(wanted) : at + len(wanted) + 1]
        if not before.isalnum() and not after.isalnum():
            return True
        at = text.find(wanted, at + 1)
    return False


def _values(content: Any) -> Iterator[Any]:
    pending = [content]
    while pending:
        value = pending.pop()
        yield value
        if isinstance(value, Mapping):
            pending.extend((*value, *value.values()))
        elif isinstance(value, list):
            pending.extend(value)
