"""One record of the audit trail as every export sees it: who did what, to what, and how it ended.

An outcome names only its call, so what is known of the call is carried over from its intent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from mcpuppet.audit.reader import SessionReader
from mcpuppet.audit.record import OpenedRecord, Record, open_record
from mcpuppet.errors import AuditError

Status = Literal["success", "failure", "denied", "waiting", "unknown", "info"]

_STATUS: Mapping[str, Status] = {
    "CallDenied": "denied",
    "CallDeferred": "waiting",
    "CallSucceeded": "success",
    "CallFailed": "failure",
    "CallBecameUnknown": "unknown",
    "AskOpened": "waiting",
    "ApprovalOpened": "waiting",
    "ApprovalRejected": "denied",
    "DecisionRefused": "denied",
    "ToolChanged": "denied",
    "StepFailed": "failure",
    "StepHeld": "unknown",
    "RunFailing": "failure",
    "ReviewOverdue": "failure",
}
_GOOD_ENDS = ("completed",)
_PERSON = ("by", "bypassed_by")
_REASON = ("reason", "justification", "message", "note")


@dataclass(frozen=True, slots=True)
class Entry:
    """One record, read. Of a pruned record, and of one that cannot be read, `kind` says so."""

    leaf: int
    session_id: str
    seq: int
    hash: str
    kind: str
    at: datetime | None
    data: Mapping[str, Any]
    prev: str = ""
    who: str = ""
    """The principal who called, or the person who decided."""
    credential: str = ""
    tool: str = ""
    step: str = ""
    call_id: str = ""
    digest: str = ""
    status: Status = "info"
    rule: str = ""
    reason: str = ""
    seconds: float | None = None
    node: str = ""


@dataclass(slots=True)
class _Session:
    """What is carried from record to record of one session."""

    principal: str = ""
    calls: dict[str, Mapping[str, Any]] = field(default_factory=dict)


def entries(
    reader: SessionReader,
    session_ids: Iterable[str],
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[Entry]:
    """The records of these sessions, session by session, whose time is in [since, until)."""
    for session_id in session_ids:
        known = _Session()
        for leaf, record in reader.session_log(session_id):
            entry = _entry(leaf, record, known)
            if _is_within(entry.at, since, until):
                yield entry


def _is_within(at: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    if at is None:  # when it was is not known, so it is never left out
        return True
    return (since is None or at >= since) and (until is None or at < until)


def _entry(leaf: int, record: Record, known: _Session) -> Entry:
    place = (leaf, record.session_id, record.seq, record.hash.hex())
    if not record.body:
        return Entry(*place, "Pruned", None, {})
    try:
        opened = open_record(record.body)
    except AuditError as error:
        return Entry(*place, "Unreadable", None, {}, reason=str(error))
    return _read(place, opened, known)


def _read(place: tuple[int, str, int, str], opened: OpenedRecord, known: _Session) -> Entry:
    data = opened.data
    call_id = _text(data, "call_id")
    call: Mapping[str, Any] = known.calls.get(call_id, {})
    if opened.kind == "SessionOpened":
        known.principal = _text(data, "principal")
    elif opened.kind in ("CallStarted", "CallDeferred"):
        known.calls[call_id] = data
    both = (data, call)
    seconds = data.get("seconds")
    return Entry(
        *place,
        opened.kind,
        opened.at,
        data,
        prev=opened.prev.hex(),
        who=_first(_PERSON, data) or _first(("principal",), *both) or known.principal,
        credential=_first(("credential",), *both),
        tool=_first(("tool",), *both),
        step=_first(("step",), *both),
        call_id=call_id,
        digest=_first(("digest",), *both),
        status=_status(opened.kind, data),
        rule=_text(data, "rule"),
        reason=_first(_REASON, data),
        seconds=float(seconds) if isinstance(seconds, (int, float)) else None,
        node=_first(("node",), *both),
    )


def _status(kind: str, data: Mapping[str, Any]) -> Status:
    if kind == "RunEnded":
        return "success" if data.get("status") in _GOOD_ENDS else "failure"
    if kind == "ReviewClosed" and data.get("justified") is False:
        return "failure"
    return _STATUS.get(kind, "info")


def _first(names: Iterable[str], *sources: Mapping[str, Any]) -> str:
    return next((text for name in names for one in sources if (text := _text(one, name))), "")


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if isinstance(value, list):
        return ", ".join(one for one in value if isinstance(one, str))
    return value if isinstance(value, str) else ""
