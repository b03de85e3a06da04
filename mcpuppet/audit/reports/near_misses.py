"""Calls that rules which only observe would have denied: found across sessions, or in one.

For deciding whether such rules can be enforced. Reads few records of a store, and verifies none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from mcpuppet.audit.history import event_of
from mcpuppet.audit.reader import OpenReader
from mcpuppet.audit.record import Record, open_record
from mcpuppet.errors import AuditError
from mcpuppet.session.events import CallStarted

Rule = tuple[str, str]
"""The file that a rule stands in, and its name."""


@dataclass(slots=True)
class NearMisses:
    """How many calls of one session would have been denied, and by which rules."""

    calls: int = 0
    rules: Counter[Rule] = field(default_factory=Counter)
    """The calls that each rule objected to."""


def near_misses(open_reader: OpenReader, session_id: str | None = None) -> dict[str, NearMisses]:
    """By session, the calls that would have been denied; sessions without one are left out.

    Records that cannot be read are passed over: `mcpuppet audit verify` tells of those. Raises
    StoreError when the store cannot be read.
    """
    found: dict[str, NearMisses] = {}
    with open_reader() as reader:
        for record in reader.observed(session_id):
            rules = set(_rules(record))
            if rules:
                misses = found.setdefault(record.session_id, NearMisses())
                misses.calls += 1
                misses.rules.update(rules)
    return found


def _rules(record: Record) -> Iterator[Rule]:
    try:
        event = event_of(open_record(record.body))
    except AuditError:
        return
    if isinstance(event, CallStarted):
        for one in event.would_have_denied:
            yield str(one.get("book", "")), str(one.get("rule", ""))
