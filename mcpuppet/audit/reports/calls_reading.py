"""What a report says of calls: from the events of each to one `CallReport`.

Accepts any order of events, as the report of a broken chain must.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from mcpuppet.audit.reports.calls import (
    CallReport,
    LateOutcomeReport,
    Objection,
    Reconciliation,
    RepeatReport,
    Resolution,
)
from mcpuppet.session import events as e

_Decided = e.CallDenied | e.CallDeferred | e.CallStarted


class CallsReading:
    """The calls of a session, in the order in which they were decided."""

    def __init__(self) -> None:
        self._calls: list[CallReport] = []
        self._places: dict[str, int] = {}
        self._repeats: list[RepeatReport] = []

    @property
    def reports(self) -> tuple[CallReport, ...]:
        """Every call, with what has become of it by now."""
        return tuple(self._calls)

    @property
    def repeats(self) -> tuple[RepeatReport, ...]:
        """The requests that were answered without making the call again."""
        return tuple(self._repeats)

    def denied(self, seq: int, event: e.CallDenied, at: datetime, run_id: str | None) -> None:
        """A call was refused."""
        self._add(seq, event, at, run_id, "denied", rule=event.rule, reason=event.reason)

    def deferred(self, seq: int, event: e.CallDeferred, at: datetime, run_id: str | None) -> None:
        """A call was put off until people decide."""
        asked = event.approval_id
        self._add(seq, event, at, run_id, "awaiting_approval", approval_id=asked)

    def started(self, seq: int, event: e.CallStarted, at: datetime, run_id: str | None) -> None:
        """A call was allowed, and is being made."""
        self._add(
            seq,
            event,
            at,
            run_id,
            "allowed",
            purpose=event.purpose,
            attempt=event.attempt,
            approvals_used=event.grants,
            would_have_denied=tuple(_objection(one) for one in event.would_have_denied),
            outcome="open",
            started_at=at,
            agreed=event.agreed,
            key=event.key,
        )

    def succeeded(self, event: e.CallSucceeded) -> None:
        """The server answered without an error."""
        self._change(
            event.call_id,
            outcome="succeeded",
            seconds=event.seconds,
            result_digest=event.result_digest,
            result_bytes=event.result_bytes,
        )

    def failed(self, event: e.CallFailed) -> None:
        """The server answered with an error, or was never reached."""
        error = f"{event.reason}: {event.message}"
        self._change(event.call_id, outcome="failed", seconds=event.seconds, error=error)

    def became_unknown(self, event: e.CallBecameUnknown) -> None:
        """Its effect cannot be known."""
        error = f"{event.reason}: {event.message}"
        self._change(event.call_id, outcome="unknown", seconds=event.seconds, error=error)

    def resolved(self, call_id: str, resolution: Resolution) -> None:
        """A person said what became of it."""
        self._change(call_id, resolution=resolution)

    def reconciled(self, event: e.CallReconciled, at: datetime) -> None:
        """A reading call told what became of it."""
        told = Reconciliation(event.by_call, event.happened, at)
        self._change(event.call_id, reconciliation=told)

    def repeated(self, seq: int, event: e.CallRepeated, at: datetime) -> None:
        """The same request came again."""
        repeat = RepeatReport(
            seq=seq,
            at=at,
            call_id=event.call_id,
            of=event.of,
            how=event.how,
            principal=event.principal,
            credential=event.credential,
            key=event.key,
        )
        self._repeats.append(repeat)
        index = self._places.get(event.of)
        if index is not None:
            self._change(event.of, repeats=(*self._calls[index].repeats, repeat))

    def answered_late(self, event: e.LateOutcome, at: datetime) -> None:
        """An answer came after the call had become unknown."""
        late = LateOutcomeReport(
            at=at,
            outcome=event.outcome,
            message=event.message,
            result_digest=event.result_digest,
            result_bytes=event.result_bytes,
            seconds=event.seconds,
        )
        self._change(event.call_id, late=late)

    def _add(
        self,
        seq: int,
        event: _Decided,
        at: datetime,
        run_id: str | None,
        decision: Literal["allowed", "denied", "awaiting_approval"],
        **details: Any,
    ) -> None:
        self._places[event.call_id] = len(self._calls)
        self._calls.append(
            CallReport(
                seq=seq,
                run_id=run_id,
                call_id=event.call_id,
                tool=event.tool,
                step=event.step,
                principal=event.principal,
                digest=event.digest,
                decision=decision,
                decided_at=at,
                arguments=event.arguments,
                credential=event.credential,
                node=event.node,
                before=event.before,
                **details,
            )
        )

    def _change(self, call_id: str, **changes: Any) -> None:
        index = self._places.get(call_id)
        if index is not None:
            self._calls[index] = replace(self._calls[index], **changes)


def _objection(one: Mapping[str, Any]) -> Objection:
    return Objection(*(str(one.get(name, "")) for name in ("book", "rule", "reason")))
