"""What somebody could do who can write to the store's file: edit a record. And how to undo it.

The edits go around MCPuppet, straight to the SQLite file. Only the demo uses this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from mcpuppet.audit.record import Record

_UPDATE = "UPDATE record SET body=? WHERE session=? AND seq=?"


def copy_store(source: Path, target: Path) -> None:
    """Make the SQLite file `target` hold just what `source` holds, schema and all.

    Uses SQLite's backup API, so that a write-ahead log beside either file is taken into account.
    """
    with (
        closing(apsw.Connection(str(source))) as old,
        closing(apsw.Connection(str(target))) as new,
        new.backup("main", old, "main") as backup,
    ):
        while not backup.done:
            backup.step()


def as_allowed(record: Record) -> bytes:
    """The body of a record of a denied call, rewritten to say that the call was allowed."""
    fields = json.loads(record.body)
    denied: Mapping[str, Any] = fields["data"]
    fields["kind"] = "CallStarted"
    fields["data"] = {
        **{name: denied[name] for name in ("call_id", "tool", "arguments", "digest", "principal")},
        "purpose": "step",
        "step": denied["step"],
        "attempt": 1,
        "counts": [],
        "grants": [],
        "node": "",
        "verdicts": denied["verdicts"],
    }
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def edit_record(store: Path, record: Record, body: bytes) -> str:
    """Put another body into a record; the database's refusal in words, or "" when it was done."""
    with closing(apsw.Connection(str(store))) as connection:
        try:
            connection.execute(_UPDATE, (body, record.session_id, record.seq))
        except apsw.ConstraintError as error:
            return str(error)
    return ""


def drop_guard(store: Path) -> None:
    """Remove what keeps SQLite itself from changing a record."""
    with closing(apsw.Connection(str(store))) as connection:
        connection.execute("DROP TRIGGER record_is_never_changed")
