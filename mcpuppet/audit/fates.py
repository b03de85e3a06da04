"""What the audit trail says became of a call: read back from the records of its session.

For answering a request that was made before, for judging what a reading call found, and for people
who settle a call. Verifies nothing, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mcpuppet.audit.history import event_of
from mcpuppet.audit.record import Record, open_record
from mcpuppet.errors import AuditError
from mcpuppet.redaction.vault import Vault, has_marks
from mcpuppet.session import events as e
from mcpuppet.session.call import Call, call_digest
from mcpuppet.session.outcome import Failed, Outcome, Succeeded, Unknown


@dataclass(slots=True)
class Fate:
    """One call as it was recorded; what has not been recorded is None."""

    started: e.CallStarted | None = None
    asked: Any = None
    """The arguments as the record shows them."""
    ended: e.CallSucceeded | e.CallFailed | e.CallBecameUnknown | None = None
    settled: e.CallResolved | e.CallReconciled | None = None
    late: e.LateOutcome | None = None

    def outcome(self) -> Outcome | None:
        """The outcome that was recorded; None while there is none."""
        if isinstance(self.settled, e.CallReconciled) and self.settled.result is not None:
            return Succeeded(as_result(self.settled.result))
        match self.ended:
            case e.CallSucceeded(result=None, result_bytes=size):
                return Succeeded(_too_large(size))
            case e.CallSucceeded(result=Mapping() as result):
                return Succeeded(result)
            case e.CallFailed() as failed:
                return Failed(failed.reason, failed.message, failed.result)
            case e.CallBecameUnknown() as unknown:
                return Unknown(unknown.reason, unknown.message)
            case _:
                return None

    @property
    def happened(self) -> bool | None:
        """What was found out afterwards about a call of unknown outcome."""
        return None if self.settled is None else self.settled.happened

    def arguments(self, session_id: str, workflow_hash: str) -> Mapping[str, Any] | None:
        """The call's arguments; None where the record does not hold them as they were."""
        call = self.started
        if call is None or call.step is None or call.arguments is None:
            return None
        if has_marks(call.arguments):  # a secret, or a value that was erased
            return None
        made = Call(call.tool, call.arguments, self.asked)
        same = call_digest(session_id, workflow_hash, call.step, made) == call.digest
        return call.arguments if same else None


def as_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """An object as the result of a tool."""
    return {"content": [], "structuredContent": dict(result), "isError": False}


def _too_large(size: int) -> dict[str, Any]:
    words = (
        f"The call succeeded. Its result of {size:,} bytes was too large to be recorded, "
        "and cannot be given again."
    )
    return {"content": [{"type": "text", "text": words}], "isError": False}


def fates(records: Iterable[Record], call_ids: Collection[str], vault: Vault) -> dict[str, Fate]:
    """What the records of a session say of some of its calls; every id asked for is in the answer.

    `vault` knows the values that the records do not show.

    Records that cannot be read are passed over: `mcpuppet audit verify` tells of those.
    """
    found = {call_id: Fate() for call_id in call_ids}
    marks = [call_id.encode() for call_id in call_ids]
    for record in records:
        if any(mark in record.body for mark in marks):  # most records are of other calls
            _take_in(record, found, vault)
    return found


def _take_in(record: Record, found: Mapping[str, Fate], vault: Vault) -> None:
    try:
        opened = open_record(record.body)
        event = event_of(vault.opened(opened))
    except AuditError:
        return
    fate = found.get(getattr(event, "call_id", ""))
    if fate is None:
        return
    match event:
        case e.CallStarted():
            fate.started = event
            fate.asked = opened.data.get("arguments")
        case e.CallSucceeded() | e.CallFailed() | e.CallBecameUnknown():
            fate.ended = event
        case e.CallResolved() | e.CallReconciled():
            fate.settled = event
        case e.LateOutcome():
            fate.late = event
        case _:
            pass
