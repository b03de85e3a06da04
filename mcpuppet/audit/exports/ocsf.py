"""The audit trail as OCSF 1.8.0 events of class API Activity (6003) with the profile AI Operation.

One JSON object a line. Schema: https://schema.ocsf.io/1.8.0/classes/api_activity. MCPuppet does not
know the model behind a client, so no `ai_model` is given. A record is an activity of its own name
(`activity_id` 99): a tool call is none of create, read, update and delete, which OCSF tells apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from mcpuppet import __version__
from mcpuppet.audit.exports.entry import Entry

_CLASS, _CATEGORY, _OTHER = 6003, 6, 99
_STATUS = {
    "success": (1, "Success"),
    "failure": (2, "Failure"),
    "denied": (2, "Failure"),
    "unknown": (0, "Unknown"),
    "waiting": (_OTHER, "Waiting"),
    "info": (_OTHER, "Recorded"),
}
_SEVERITY = {
    "info": (1, "Informational"),
    "success": (1, "Informational"),
    "waiting": (2, "Low"),
    "failure": (3, "Medium"),
    "unknown": (3, "Medium"),
    "denied": (4, "High"),
}


def ocsf_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """One event per entry; a pruned record has the time 0, for its own is not known any more."""
    for entry in entries:
        yield json.dumps(_event(entry), separators=(",", ":"))


def _event(entry: Entry) -> dict[str, Any]:
    status_id, status = _STATUS[entry.status]
    severity_id, severity = _SEVERITY[entry.status]
    event: dict[str, Any] = {
        "class_uid": _CLASS,
        "class_name": "API Activity",
        "category_uid": _CATEGORY,
        "category_name": "Application Activity",
        "activity_id": _OTHER,
        "activity_name": entry.kind,
        "type_uid": _CLASS * 100 + _OTHER,
        "type_name": f"API Activity: {entry.kind}",
        "time": 0 if entry.at is None else int(entry.at.timestamp() * 1000),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "metadata": _metadata(entry),
        "actor": _actor(entry),
        "api": _api(entry),
        "src_endpoint": {"name": entry.node or "mcpuppet"},
        "unmapped": {"data": json.dumps(entry.data), "hash": entry.hash, "step": entry.step},
    }
    if entry.rule:
        event["status_code"] = entry.rule
    if entry.reason:
        event["status_detail"] = event["message"] = _clean(entry.reason)
    if entry.seconds is not None:
        event["duration"] = int(entry.seconds * 1000)
    return event


def _metadata(entry: Entry) -> dict[str, Any]:
    return {
        "version": "1.8.0",
        "profiles": ["ai_operation"],
        "product": {"name": "MCPuppet", "vendor_name": "MCPuppet", "version": __version__},
        "uid": f"{entry.session_id}/{entry.seq}",
        "sequence": entry.leaf,
        "correlation_uid": entry.session_id,
        "event_code": entry.kind,
    }


def _actor(entry: Entry) -> dict[str, Any]:
    user: dict[str, Any] = {"name": _clean(entry.who) or "mcpuppet"}
    if entry.credential:
        user["credential_uid"] = entry.credential
    return {"user": user, "session": {"uid": entry.session_id}}


def _api(entry: Entry) -> dict[str, Any]:
    server, _, _ = entry.tool.partition(".")
    api: dict[str, Any] = {"operation": _clean(entry.tool) or entry.kind}
    if entry.tool:
        api["service"] = {"name": _clean(server)}
    if entry.call_id:
        api["request"] = {"uid": entry.call_id}
    return api


def _clean(text: str) -> str:
    """The text as any JSON reader takes it: foreign JSON may hold lone surrogates."""
    return text.encode("utf-8", "replace").decode("utf-8")
