"""What somebody could do who can write to the store's file: change records. And how to undo it.

The edits go around MCPuppet, straight to the SQLite file. Only the demo uses this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from mcpuppet.audit.record import Record, leaf_hash

_UPDATE = "UPDATE record SET body=? WHERE session=? AND seq=?"
_LATER = "SELECT seq, body FROM record WHERE session=? AND seq>? ORDER BY seq"
_RESEAL = "UPDATE record SET body=?, hash=? WHERE session=? AND seq=?"
_HEAD = "UPDATE session SET head=? WHERE id=?"


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


def as_harmless(record: Record) -> bytes:
    """The body of a record of a denied call, rewritten to be about another tool.

    A denied call leaves no trace in the session's state, so nothing else has to change.
    """
    fields = json.loads(record.body)
    fields["data"]["tool"] = "finance.fraud_check"
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def rewrite_from(store: Path, record: Record, body: bytes) -> int:
    """Put another body into a record, and seal it and all after it anew; gives their number."""
    with closing(apsw.Connection(str(store))) as connection, connection:
        sealed = [(record.seq, body)]
        later_rows: list[Any] = connection.execute(
            _LATER, (record.session_id, record.seq)
        ).fetchall()
        for seq, later in later_rows:
            fields = json.loads(later)
            fields["prev"] = leaf_hash(sealed[-1][1]).hex()
            sealed.append((seq, json.dumps(fields, separators=(",", ":")).encode("ascii")))
        for seq, one in sealed:
            connection.execute(_RESEAL, (one, leaf_hash(one), record.session_id, seq))
        connection.execute(_HEAD, (leaf_hash(sealed[-1][1]), record.session_id))
    return len(sealed)


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
