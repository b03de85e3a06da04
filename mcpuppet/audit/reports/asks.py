"""What a report says of requests about single calls: who was asked, shown what, and who agreed.

Each method takes one event and says whether it was about such a request; those about the approval
steps of a workflow are not. Accepts any order of events, as the report of a broken chain must.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from mcpuppet.audit.reports.approvals import edit_report
from mcpuppet.audit.reports.decisions import (
    AgreementReport,
    AskReport,
    EscalationReport,
    ShownValue,
)
from mcpuppet.session import events as e


class AsksReading:
    """The requests about single calls, in the order in which they were opened."""

    def __init__(self) -> None:
        self._asks: list[AskReport] = []
        self._places: dict[str, int] = {}

    @property
    def reports(self) -> tuple[AskReport, ...]:
        """Every request, as it stands after the events so far."""
        return tuple(self._asks)

    def open(self, seq: int, event: e.AskOpened, at: datetime, run_id: str | None) -> None:
        """People are asked."""
        self._places[event.approval_id] = len(self._asks)
        self._asks.append(
            AskReport(
                seq=seq,
                approval_id=event.approval_id,
                run_id=run_id,
                step=event.step,
                tool=event.tool,
                arguments=event.arguments,
                digest=event.digest,
                policies={name: tuple(roles) for name, roles in event.policies.items()},
                shown=tuple(_shown(one) for one in event.show),
                requested_by=event.requested_by,
                opened_at=at,
                expires_at=event.expires_at,
            )
        )

    def attempted(self, event: e.CallDeferred) -> bool:
        """The call was attempted, and put off."""
        ask = self._get(event.approval_id)
        return ask is not None and self._change(ask, attempts=(*ask.attempts, event.call_id))

    def agreed(self, event: e.ApprovalVoted, at: datetime) -> bool:
        """One person has agreed, for every policy that a role of theirs fits."""
        ask = self._get(event.approval_id)
        if ask is None:
            return False
        held = set(event.roles)
        policies = tuple(name for name, roles in ask.policies.items() if held & set(roles))
        agreement = AgreementReport(
            by=event.by,
            at=at,
            content=event.content,
            channel=event.channel,
            policies=policies,
            roles=event.roles,
            credential=event.credential,
        )
        return self._change(ask, agreements=(*ask.agreements, agreement))

    def edited(self, event: e.ApprovalEdited, at: datetime) -> bool:
        """A person changed the call."""
        ask = self._get(event.approval_id)
        return ask is not None and self._change(ask, edits=(*ask.edits, edit_report(event, at)))

    def escalated(self, event: e.ApprovalEscalated, at: datetime) -> bool:
        """Others are asked."""
        ask = self._get(event.approval_id)
        if ask is None:
            return False
        escalation = EscalationReport(at, event.roles, event.expires_at)
        return self._change(ask, escalations=(*ask.escalations, escalation))

    def granted(self, event: e.ApprovalGranted, at: datetime) -> bool:
        """Somebody has agreed for every policy."""
        return self._decide(event.approval_id, at, event.by, status="approved")

    def rejected(self, event: e.ApprovalRejected, at: datetime) -> bool:
        """Somebody has refused."""
        return self._decide(
            event.approval_id,
            at,
            (event.by,),
            status="rejected",
            reason=event.reason,
            channel=event.channel,
            credential=event.credential,
        )

    def expired(self, event: e.ApprovalExpired, at: datetime) -> bool:
        """Nobody decided in time, or the call was not made in time."""
        ask = self._get(event.approval_id)
        if ask is None:
            return False
        status = "lapsed" if ask.status == "approved" else "expired"
        return self._change(ask, status=status, ended_at=at)

    def used(self, event: e.CallStarted, at: datetime) -> None:
        """The call was made."""
        for approval_id in event.grants:
            ask = self._get(approval_id)
            if ask is not None:
                self._change(ask, status="used", ended_at=at, used_by=event.call_id)

    def _get(self, approval_id: str) -> AskReport | None:
        index = self._places.get(approval_id)
        return None if index is None else self._asks[index]

    def _decide(self, approval_id: str, at: datetime, by: tuple[str, ...], **changes: Any) -> bool:
        ask = self._get(approval_id)
        if ask is None:
            return False
        seconds = (at - ask.opened_at).total_seconds()
        return self._change(ask, decided_at=at, decided_by=by, seconds_to_decide=seconds, **changes)

    def _change(self, ask: AskReport, **changes: Any) -> bool:
        self._asks[self._places[ask.approval_id]] = replace(ask, **changes)
        return True


def _shown(one: Mapping[str, Any]) -> ShownValue:
    return ShownValue(str(one.get("path", "")), one.get("value"), str(one.get("seen", "")))
