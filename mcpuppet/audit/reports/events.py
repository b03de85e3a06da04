"""Every record of a session in one sentence: what happened, who did it, and what it concerns.

Owns the words for each kind of event. Decides nothing, and shows no values of arguments or results:
those are told with the call or the request.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from mcpuppet.audit.reports.report import EventReport
from mcpuppet.session import admin_events as a
from mcpuppet.session import events as e
from mcpuppet.session.events import time_text

_WHO = ("by", "principal", "requested_by", "node")
_ABOUT = (
    "call_id",
    "review_id",
    "approval_id",
    "step",
    "run_id",
    "rules",
    "target",
    "tool",
    "name",
)
_ADMINISTRATIVE = frozenset(typing.get_args(a.AdminEvent))
_SHORT = 12
"""Digits of a digest or token hash that are shown."""


def event_report(seq: int, event: e.Event, at: datetime) -> EventReport:
    """The record's sentence, and whom and what it names."""
    return EventReport(
        seq=seq,
        at=at,
        kind=e.event_kind(event),
        what=_SENTENCES[type(event)](event),
        who=_first(event, _WHO),
        about=_first(event, _ABOUT),
        credential=_first(event, ("credential",))[:_SHORT],
        channel=_first(event, ("channel",)),
        administrative=type(event) in _ADMINISTRATIVE,
    )


def _first(event: e.Event, names: tuple[str, ...]) -> str:
    """The first of these fields that the event has and that says something."""
    for name in names:
        value = getattr(event, name, None)
        if isinstance(value, tuple):
            value = ", ".join(map(str, value))
        if value:
            return str(value)
    return ""


def _started(it: e.CallStarted) -> str:
    why = f" for step {it.step}, attempt {it.attempt}" if it.step else f" ({it.purpose})"
    missed = _names(str(one.get("rule", "")) for one in it.would_have_denied)
    noted = f"; observing rules would have denied it: {missed}" if missed else ""
    return f"{it.tool} was allowed and called{why}{noted}"


def _fact(it: e.FactLearned) -> str:
    key = f", key {it.key}" if it.key is not None else ""
    more = "" if it.complete else "; there was more than may be kept"
    return f"fact {it.book}/{it.fact}{key} was learned from {it.call_id}{more}"


def _returned(it: e.StepReturned) -> str:
    again = "will be tried again" if it.why == "retry" else "will be asked again"
    return f"step {it.step} {again}, not before {time_text(it.not_before)}: {it.reason}"


def _approval_opened(it: e.ApprovalOpened) -> str:
    return (
        f"approval of step {it.step} was asked for: {it.quorum} of {_names(it.roles)}, until "
        f"{time_text(it.expires_at)}"
    )


def _pruned(it: a.RecordsPruned) -> str:
    return (
        f"the contents of {it.records} records of {it.sessions} sessions before "
        f"{time_text(it.before)} were removed; their hashes stay: {it.reason}"
    )


def _names(names: typing.Iterable[str]) -> str:
    return ", ".join(names)


def _happened(happened: bool) -> str:
    return "it did happen" if happened else "it did not happen"


_SENTENCES: Mapping[type, Callable[[Any], str]] = {
    e.SessionOpened: lambda it: f"the session was opened for {it.principal}",
    e.RulesAdopted: lambda it: f"rules file {it.rules} {it.version} came into force",
    e.InputsDeclared: lambda it: f"inputs of {it.rules} were declared",
    e.InputsReopened: lambda it: f"inputs may be declared anew: {it.note}",
    e.RunStarted: lambda it: f"a run of workflow {it.workflow} {it.version} began",
    e.CallDenied: lambda it: f"{it.tool} was refused by {it.rule}: {it.reason}",
    e.CallDeferred: lambda it: f"{it.tool} was put off until people decide on {it.approval_id}",
    e.CallStarted: _started,
    e.CallSucceeded: lambda it: f"the call succeeded ({it.result_bytes} bytes)",
    e.CallFailed: lambda it: f"the call failed: {it.reason}: {it.message}",
    e.CallBecameUnknown: lambda it: f"the outcome is unknown: {it.reason}: {it.message}",
    e.CallResolved: lambda it: f"a person settled the call: {_happened(it.happened)}: {it.note}",
    e.CallReconciled: lambda it: f"{it.by_call} told of the call: {_happened(it.happened)}",
    e.CallRepeated: lambda it: f"the request repeats {it.of}; {it.how}, not called again",
    e.LateOutcome: lambda it: f"an answer came late and was not applied: {it.outcome}",
    e.FactLearned: _fact,
    e.StepSucceeded: lambda it: f"step {it.step} succeeded",
    e.StepFailed: lambda it: f"step {it.step} failed: {it.reason}",
    e.StepReturned: _returned,
    e.StepHeld: lambda it: f"step {it.step} waits for a person: {it.reason}",
    e.StepReleased: lambda it: (
        f"a person settled step {it.step}: {'ready' if it.ready else 'not ready'}: {it.note}"
    ),
    e.StepSkipped: lambda it: f"step {it.step} was skipped: {it.reason}",
    e.StepsRedone: lambda it: f"steps {_names(it.reset)} are to be done again, for {it.cause}",
    e.StepCompensated: lambda it: f"step {it.step} was undone",
    e.ApprovalOpened: _approval_opened,
    e.ApprovalVoted: lambda it: f"a person approved (roles: {_names(it.roles) or 'not recorded'})",
    e.ApprovalEdited: lambda it: f"a person changed the arguments of {it.tool}: {it.note}",
    e.ApprovalEscalated: lambda it: (
        f"nobody decided in time; {_names(it.roles)} are asked, until {time_text(it.expires_at)}"
    ),
    e.ApprovalGranted: lambda _: "the request was granted",
    e.ApprovalRejected: lambda it: f"the request was rejected: {it.reason}",
    e.ApprovalBypassed: lambda it: f"step {it.step} was BYPASSED: {it.justification}",
    e.ApprovalExpired: lambda _: "the request expired, or its grant was not used in time",
    e.AskOpened: lambda it: (
        f"agreement to one call of {it.tool} was asked for by {_names(it.policies)}, until "
        f"{time_text(it.expires_at)}"
    ),
    e.ReviewOpened: lambda it: (
        f"the bypass of {it.step} by {it.bypassed_by} has to be reviewed by {_names(it.roles)}, "
        f"until {time_text(it.due_at)}"
    ),
    e.ReviewOverdue: lambda _: "the review is overdue",
    e.ReviewClosed: lambda it: (
        f"the bypass was found {'justified' if it.justified else 'UNJUSTIFIED'}: {it.note}"
    ),
    e.RunFailing: lambda it: f"the run fails and will end as {it.ends_as}: {it.reason}",
    e.RunEnded: lambda it: f"the run ended as {it.status}: {it.reason}",
    a.UserAdded: lambda it: (
        f"{it.name} {it.note or 'was added'}, with roles {_names(it.roles) or 'none'}"
    ),
    a.UserRolesChanged: lambda it: f"{it.name} holds the roles {_names(it.roles) or 'none'} now",
    a.UserDisabled: lambda it: f"{it.name} may decide nothing any more: {it.reason}",
    a.TokenRotated: lambda it: f"{it.name} was given a new token",
    a.DecisionRefused: lambda it: (
        f"an attempt to {it.action} {it.target} by {it.by or 'nobody known'} was refused: "
        f"{it.reason}"
    ),
    a.ToolPinned: lambda it: f"the definition of {it.tool} ({it.digest[:_SHORT]}) was accepted",
    a.ToolChanged: lambda it: (
        f"{it.tool} CHANGED: {it.found[:_SHORT]} instead of the accepted {it.pinned[:_SHORT]}"
    ),
    a.SigningKeyCreated: lambda it: f"the key that signs checkpoints was made: {it.verifier_key}",
    a.RecordsPruned: _pruned,
    a.ValuesDisclosed: lambda it: f"{len(it.commitments)} redacted values were read: {it.reason}",
    a.ValuesErased: lambda it: f"{len(it.commitments)} redacted values were erased: {it.reason}",
}
