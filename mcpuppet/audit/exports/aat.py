"""The audit trail in the vocabulary of the Agent Audit Trail, one record a line.

Format: draft-sharif-agent-audit-trail-06, an individual Internet-Draft. `prev_hash` is made as its
section 6.1 says, the SHA-256 of the JCS (RFC 8785) form of the record before. Records are not
signed: what proves them is the tree that `record_hash` is a leaf of. The draft has no word for a
call that waits for people, so that is an escalation, nor for an allowed call whose outcome is not
known yet, so an intent is `success` before execution, as in its own examples.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from mcpuppet import __version__
from mcpuppet.audit.exports.entry import Entry
from mcpuppet.audit.record import format_instant

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "mcpuppet.dev")
_OUTCOMES = {
    "success": "success",
    "info": "success",
    "failure": "failure",
    "denied": "denied",
    "waiting": "escalated",
    "unknown": "timeout",
}
_RESPONSES = ("CallSucceeded", "CallFailed", "CallBecameUnknown", "LateOutcome")
_DECISIONS = ("CallDenied", "ApprovalVoted", "ApprovalGranted", "ApprovalRejected", "CallResolved")
_ESCALATIONS = ("CallDeferred", "AskOpened", "ApprovalOpened", "ApprovalEscalated", "ReviewOpened")


def aat_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """One record per entry; each session is a trail of its own, and begins without a parent."""
    session, parent, prev = "", None, None
    for entry in entries:
        if entry.session_id != session:
            session, parent, prev = entry.session_id, None, None
        record = _record(entry, parent, prev)
        canonical = _jcs(record)
        parent, prev = record["record_id"], hashlib.sha256(canonical).hexdigest()
        yield canonical.decode("utf-8")


def _record(entry: Entry, parent: str | None, prev: str | None) -> dict[str, Any]:
    return {
        "record_id": str(uuid.uuid5(_NAMESPACE, f"{entry.session_id}/{entry.seq}")),
        "timestamp": "" if entry.at is None else format_instant(entry.at)[:-4] + "Z",
        "agent_id": entry.who or "mcpuppet",
        "agent_version": __version__,
        "session_id": entry.session_id,
        "action_type": _action(entry.kind),
        "action_detail": _detail(entry),
        "outcome": _OUTCOMES[entry.status],
        "trust_level": "L2",
        "parent_record_id": parent,
        "prev_hash": prev,
        "record_phase": _phase(entry.kind),
    }


def _detail(entry: Entry) -> dict[str, Any]:
    """What the draft leaves open; only text, so that no number has two spellings."""
    detail = {
        "event": entry.kind,
        "tool": entry.tool,
        "step": entry.step,
        "call_id": entry.call_id,
        "argument_digest": entry.digest,
        "rule": entry.rule,
        "reason": entry.reason,
        "credential": entry.credential,
        "record_hash": entry.hash,
    }
    return {name: value for name, value in detail.items() if value}


def _action(kind: str) -> str:
    if kind == "CallStarted":
        return "tool_call"
    if kind in _RESPONSES:
        return "tool_response"
    if kind in _DECISIONS:
        return "decision"
    if kind in _ESCALATIONS:
        return "escalation"
    return "error" if kind in ("StepFailed", "StepHeld", "Unreadable") else "lifecycle"


def _phase(kind: str) -> str:
    if kind == "CallStarted" or kind in _DECISIONS or kind in _ESCALATIONS:
        return "pre_execution"
    return "post_execution" if kind in _RESPONSES else "concurrent"


def _jcs(record: dict[str, Any]) -> bytes:
    """RFC 8785 for records whose keys are ASCII and whose values are text, null or such records.

    For those it is what Python writes with sorted keys; a lone surrogate, which JCS refuses, is
    replaced.
    """
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "replace")
