"""What has happened in a session: frozen facts, named in the past tense.

A session is the fold of its events (`session.state.apply`). An event says everything that the fold
needs, so that folding asks no guard, no clock and no workflow. When it happened, and in which
session, is told by the record that seals it.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from mcpuppet.errors import AuditError

Purpose = Literal["step", "always", "compensation"]
RunEnd = Literal["completed", "failed", "rejected", "cancelled", "timed_out"]


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A principal began a governed conversation."""

    principal: str
    settings: str
    """SHA-256 of the settings in force, in hex."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """One execution of one workflow began; `steps` gives every step its place in the marking."""

    run_id: str
    workflow: str
    version: str
    hash: str
    inputs: Mapping[str, Any]
    steps: tuple[str, ...]
    principal: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class CallDenied:
    """A call was refused: a violation. Nothing was sent."""

    call_id: str
    tool: str
    arguments: Mapping[str, Any] | None
    digest: str
    step: str | None
    rule: str
    reason: str
    principal: str
    verdicts: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class CallDeferred:
    """A call whose only unmet need is an approval was shown to the people who may approve."""

    call_id: str
    approval_id: str
    step: str
    tool: str
    arguments: Mapping[str, Any]
    digest: str
    principal: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The intent to call: durable before the first byte goes to the server."""

    call_id: str
    tool: str
    arguments: Mapping[str, Any]
    digest: str
    purpose: Purpose
    step: str | None
    attempt: int
    counts: tuple[str, ...]
    """Policies whose counter this call raises."""
    grants: tuple[str, ...]
    """Approvals whose single use this call is."""
    principal: str
    node: str
    """The gateway process that made the call."""
    verdicts: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class CallSucceeded:
    """The server answered without an error."""

    call_id: str
    result: Mapping[str, Any] | None
    """The result as it came; None when it was larger than what a record keeps."""
    result_digest: str
    result_bytes: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class CallFailed:
    """The server answered with an error, or provably never received the call."""

    call_id: str
    reason: str
    message: str
    result: Mapping[str, Any] | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class CallBecameUnknown:
    """The call was sent and its effect cannot be known."""

    call_id: str
    reason: str
    message: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class CallResolved:
    """A person said what became of a call, or how a held guard is to be read."""

    call_id: str
    happened: bool
    by: str
    note: str


@dataclass(frozen=True, slots=True)
class StepSucceeded:
    """A step is done; `kept` holds the result fields that expressions read."""

    step: str
    kept: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step has failed for good."""

    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class StepReturned:
    """A step went back to pending: a retry, or the next round of a poll."""

    step: str
    why: Literal["retry", "repeat"]
    reason: str
    not_before: datetime


@dataclass(frozen=True, slots=True)
class StepHeld:
    """A step waits for a person: its call is unknown, or a guard could not be evaluated."""

    step: str
    reason: str
    call_id: str | None


@dataclass(frozen=True, slots=True)
class StepReleased:
    """A person settled a step that a guard held."""

    step: str
    ready: bool
    by: str
    note: str


@dataclass(frozen=True, slots=True)
class StepSkipped:
    """A step will not run."""

    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class StepsRedone:
    """Bounded rework: steps went back to pending because `cause` failed or was rejected."""

    cause: str
    reset: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepCompensated:
    """The call that undoes a step succeeded."""

    step: str
    call_id: str


@dataclass(frozen=True, slots=True)
class ApprovalOpened:
    """People are asked for a decision on these values."""

    approval_id: str
    step: str
    binds: Mapping[str, Any]
    roles: tuple[str, ...]
    quorum: int
    requested_by: str
    separation: bool
    asked: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ApprovalVoted:
    """A person approved exactly the content with this digest."""

    approval_id: str
    by: str
    content: str
    channel: str


@dataclass(frozen=True, slots=True)
class ApprovalGranted:
    """Enough people approved."""

    approval_id: str
    step: str
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApprovalRejected:
    """A person denied, or nobody decided in time."""

    approval_id: str
    step: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class ApprovalBypassed:
    """A person passed over the approval in an emergency, and said why."""

    approval_id: str
    step: str
    by: str
    justification: str


@dataclass(frozen=True, slots=True)
class ApprovalExpired:
    """Nobody decided in time."""

    approval_id: str
    step: str


@dataclass(frozen=True, slots=True)
class RunFailing:
    """The run will not complete: steps marked `finally` and compensations may still happen."""

    ends_as: RunEnd
    step: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run is over."""

    status: RunEnd
    reason: str
    by: str | None = None


Event = (
    SessionOpened
    | RunStarted
    | CallDenied
    | CallDeferred
    | CallStarted
    | CallSucceeded
    | CallFailed
    | CallBecameUnknown
    | CallResolved
    | StepSucceeded
    | StepFailed
    | StepReturned
    | StepHeld
    | StepReleased
    | StepSkipped
    | StepsRedone
    | StepCompensated
    | ApprovalOpened
    | ApprovalVoted
    | ApprovalGranted
    | ApprovalRejected
    | ApprovalBypassed
    | ApprovalExpired
    | RunFailing
    | RunEnded
)

_TYPES: Mapping[str, type[Event]] = {one.__name__: one for one in typing.get_args(Event)}
_FIELDS: Mapping[str, tuple[str, ...]] = {
    name: tuple(field.name for field in dataclasses.fields(one)) for name, one in _TYPES.items()
}
_REVIVE: Mapping[str, Mapping[str, str]] = {
    name: {
        field.name: field.type.partition("[")[0]
        for field in dataclasses.fields(one)
        if str(field.type).partition("[")[0] in ("datetime", "tuple")
    }
    for name, one in _TYPES.items()
}


def event_kind(event: Event) -> str:
    """The name an event has in its record."""
    return type(event).__name__


def event_data(event: Event) -> dict[str, Any]:
    """An event as JSON data; times become RFC 3339 text in UTC."""
    data: dict[str, Any] = {}
    for name in _FIELDS[type(event).__name__]:
        value = getattr(event, name)
        data[name] = time_text(value) if isinstance(value, datetime) else value
    return data


def event_from(kind: str, data: Mapping[str, Any]) -> Event:
    """The event that `event_data` gave; raises AuditError when the data does not fit the kind."""
    try:
        revive = _REVIVE[kind]
        values = {name: _revived(revive.get(name), value) for name, value in data.items()}
        return _TYPES[kind](**values)
    except KeyError:
        raise AuditError(f"no event is called {kind!r}") from None
    except (TypeError, ValueError) as error:
        raise AuditError(f"the data of a {kind} does not fit: {error}") from None


def _revived(kind: str | None, value: Any) -> Any:
    if kind == "datetime":
        return time_from(value)
    return tuple(value) if kind == "tuple" else value


def time_text(moment: datetime) -> str:
    """RFC 3339 with microseconds and `Z`, so that texts sort as times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def time_from(text: str) -> datetime:
    """The moment that `time_text` wrote."""
    return datetime.fromisoformat(text)
