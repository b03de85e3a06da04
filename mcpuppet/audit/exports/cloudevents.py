"""The audit trail as CloudEvents 1.0 in their JSON form, one event a line.

The type is `dev.mcpuppet.` and the kind of the record, the subject its session, and the data what
the record says. `mcpuppethash` and `mcpuppetleaf` tie the event to the record and the tree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from mcpuppet.audit.exports.entry import Entry
from mcpuppet.audit.record import format_instant

SOURCE = "urn:mcpuppet"


def cloudevents_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """One event per entry; the id is the record's place in its session."""
    for entry in entries:
        yield json.dumps(_event(entry), separators=(",", ":"))


def _event(entry: Entry) -> dict[str, Any]:
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"{entry.session_id}/{entry.seq}",
        "source": SOURCE,
        "type": f"dev.mcpuppet.{entry.kind}",
        "subject": entry.session_id,
    }
    if entry.at is not None:
        event["time"] = format_instant(entry.at)
    return event | {
        "mcpuppethash": entry.hash,
        "mcpuppetleaf": entry.leaf,
        "datacontenttype": "application/json",
        "data": dict(entry.data),
    }
