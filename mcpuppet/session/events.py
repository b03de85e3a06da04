"""What has happened in a session: frozen facts, named in the past tense.

A session is the fold of its events (`session.state.apply`). An event says everything that the fold
needs, so that folding asks no guard, no clock and no workflow. When it happened, and in which
session, is told by the record that seals it.
"""

from __future__ import annotations

import dataclasses
import operator
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from mcpuppet.errors import AuditError
from mcpuppet.session import admin_events as a

Purpose = Literal["step", "always", "compensation", "free", "reconcile"]
"""What a call is for; `free` is a call that no workflow orders, `reconcile` one that finds out what
became of another."""
RunEnd = Literal["completed", "failed", "rejected", "cancelled", "timed_out"]


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A principal began a governed conversation."""

    principal: str
    settings: str
    """SHA-256 of the settings in force, in hex."""


@dataclass(frozen=True, slots=True)
class RulesAdopted:
    """A rules file governs the session from here on."""

    rules: str
    version: str
    hash: str


@dataclass(frozen=True, slots=True)
class InputsDeclared:
    """The inputs of the session's rules file were given."""

    rules: str
    inputs: Mapping[str, Any]
    principal: str


@dataclass(frozen=True, slots=True)
class InputsReopened:
    """A person let inputs be declared anew, although results have reached the model."""

    by: str
    note: str
    credential: str = ""
    channel: str = ""


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
    timed: tuple[str, ...] = ()
    """The events, as `step.event`, whose time some policy asks for."""
    gives: bool = False
    """Whether its inputs count as given, if no result has reached the model yet."""


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
    node: str = ""
    arguments_bytes: int = 0
    """How long the arguments were as JSON, where they are not kept."""
    credential: str = ""
    before: tuple[str, ...] = ()
    """The steps that were not pending, as `step:status`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the settings said of it: see `session.asked`."""


@dataclass(frozen=True, slots=True)
class CallDeferred:
    """A call that people have to agree to was shown to those who may."""

    call_id: str
    approval_id: str
    step: str | None
    tool: str
    arguments: Mapping[str, Any]
    digest: str
    principal: str
    verdicts: tuple[Mapping[str, Any], ...] = ()
    node: str = ""
    credential: str = ""
    before: tuple[str, ...] = ()
    """The steps that were not pending, as `step:status`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the settings said of it: see `session.asked`."""


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The intent to call: durable before the first byte goes to the server."""

    call_id: str
    tool: str
    arguments: Mapping[str, Any] | None
    """None when they were longer than what a record keeps."""
    digest: str
    purpose: Purpose
    step: str | None
    attempt: int
    uses: tuple[Mapping[str, Any], ...]
    """What it counts for: `{"book", "policy", "scope", "amount"}`, the amount as decimal text."""
    grants: tuple[str, ...]
    """Approvals whose single use this call is."""
    principal: str
    node: str
    """The gateway process that made the call."""
    verdicts: tuple[Mapping[str, Any], ...] = ()
    locks: tuple[str, ...] = ()
    """What no other session's call may hold until this one has ended."""
    marks: Mapping[str, Any] = field(default_factory=dict)
    """Per event of the call (`call`, `success`, `failure`, `unknown`) the `[book, mark]` to set."""
    forgets: Mapping[str, Any] = field(default_factory=dict)
    """Per event of the call the `[book, fact]` that are not to be relied on any more."""
    feeds: tuple[Mapping[str, Any], ...] = ()
    """The facts that its result is read for: `{"book", "fact", "key"}`."""
    agreed: tuple[str, ...] = ()
    """The policies that ask about this call and for which people have agreed."""
    agreed_until: datetime | None = None
    would_have_denied: tuple[Mapping[str, Any], ...] = ()
    """What only observing rules objected to: `{"book", "rule", "reason"}`."""
    credential: str = ""
    """How the principal proved who they are: `stdio`, `api`, or a token's first digits."""
    before: tuple[str, ...] = ()
    """The steps that were not pending, as `step:status`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the settings said of it: see `session.asked`."""
    request: str = ""
    """SHA-256 of the tool and the arguments as they were asked for: what repeats are known by."""
    key: str | None = None
    """The idempotency key that the server is given."""
    client_key: str | None = None
    """The idempotency key that the client gave; it tells repeats, and goes no further."""
    arguments_bytes: int = 0
    """How long the arguments were as JSON, where they are not kept."""
    reconcile: Mapping[str, Any] | None = None
    """The call that can tell what became of this one: `{"tool", "arguments", "after"}`, the last
    in seconds."""


@dataclass(frozen=True, slots=True)
class FactLearned:
    """A result was remembered: under a key, or as values of a set."""

    book: str
    fact: str
    key: str | None
    value: Any
    """The kept fields under the key; for a set the list of its values."""
    call_id: str
    complete: bool = True
    """False when there is more than may be kept: that set, or key, is not known then."""
    drops: str | None = None
    """The key that was learned first, where it makes room for this one."""


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
    credential: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class CallReconciled:
    """A reading call told what became of a call whose outcome was unknown."""

    call_id: str
    happened: bool
    by_call: str
    result: Mapping[str, Any] | None = None
    """What counts as the result of the call, where the reading tells it."""


@dataclass(frozen=True, slots=True)
class CallRepeated:
    """A request that was made before was answered without making the call again."""

    call_id: str
    of: str
    """The call that was made."""
    how: Literal["attached", "replayed"]
    """Whether it waited for the call in flight, or was given the recorded outcome."""
    principal: str
    credential: str = ""
    key: str | None = None


@dataclass(frozen=True, slots=True)
class LateOutcome:
    """An answer came after the call counted as unknown: kept for people, and never applied."""

    call_id: str
    outcome: Literal["succeeded", "failed"]
    message: str
    result: Mapping[str, Any] | None
    result_digest: str
    result_bytes: int
    seconds: float | None


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
    credential: str = ""
    channel: str = ""


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
    roles: tuple[str, ...] = ()
    """The roles that the person held then."""
    credential: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalEdited:
    """A person changed the arguments of the call that is asked about; the votes so far are void."""

    approval_id: str
    step: str | None
    """The step of the call, where the request is about a step's call."""
    tool: str
    arguments: Mapping[str, Any]
    digest: str
    replaces: str
    """The digest of the call as it was shown before."""
    by: str
    note: str
    credential: str = ""
    channel: str = ""
    policies: Mapping[str, Any] = field(default_factory=dict)
    """For a request about a single call, who is asked about the edited one: policy to roles."""
    show: tuple[Mapping[str, Any], ...] = ()
    """For a request about a single call, what is shown first of the edited one."""


@dataclass(frozen=True, slots=True)
class ApprovalEscalated:
    """Nobody decided in time, and others are asked."""

    approval_id: str
    step: str
    roles: tuple[str, ...]
    expires_at: datetime


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
    credential: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalBypassed:
    """A person passed over the approval in an emergency, and said why."""

    approval_id: str
    step: str
    by: str
    justification: str
    credential: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class ReviewOpened:
    """A bypass has to be reviewed by a person."""

    review_id: str
    approval_id: str
    step: str
    bypassed_by: str
    justification: str
    roles: tuple[str, ...]
    """The roles of which one has to review it."""
    due_at: datetime


@dataclass(frozen=True, slots=True)
class ReviewOverdue:
    """Nobody reviewed a bypass in time; it still has to be reviewed."""

    review_id: str


@dataclass(frozen=True, slots=True)
class ReviewClosed:
    """A person reviewed a bypass."""

    review_id: str
    by: str
    justified: bool
    note: str
    credential: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalExpired:
    """Nobody decided in time, or a grant was not used in time."""

    approval_id: str
    step: str
    reset: tuple[str, ...] = ()
    """Steps that were skipped because of the grant, and are pending again."""


@dataclass(frozen=True, slots=True)
class AskOpened:
    """A person is asked about one call; `policies` maps each policy that asks to its roles."""

    approval_id: str
    step: str | None
    tool: str
    arguments: Mapping[str, Any]
    digest: str
    policies: Mapping[str, Any]
    show: tuple[Mapping[str, Any], ...]
    """What is shown first: `{"path", "value", "seen"}`, with where the value was first seen."""
    requested_by: str
    expires_at: datetime


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
    credential: str = ""
    channel: str = ""


Event = (
    SessionOpened
    | RulesAdopted
    | InputsDeclared
    | InputsReopened
    | RunStarted
    | CallDenied
    | CallDeferred
    | CallStarted
    | CallSucceeded
    | CallFailed
    | CallBecameUnknown
    | CallResolved
    | CallReconciled
    | CallRepeated
    | LateOutcome
    | FactLearned
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
    | ApprovalEdited
    | ApprovalEscalated
    | ApprovalGranted
    | ApprovalRejected
    | ApprovalBypassed
    | ApprovalExpired
    | AskOpened
    | ReviewOpened
    | ReviewOverdue
    | ReviewClosed
    | RunFailing
    | RunEnded
    | a.AdminEvent
)

_TYPES: Mapping[str, type[Event]] = {one.__name__: one for one in typing.get_args(Event)}
_FIELDS: Mapping[str, tuple[str, ...]] = {
    name: tuple(field.name for field in dataclasses.fields(one)) for name, one in _TYPES.items()
}


def _form(hint: Any) -> str:
    """The outermost type of a hint, as it is written: `tuple[str, ...]`, `datetime | None`."""
    return str(hint).partition("[")[0].partition(" ")[0]


_VALUES: Mapping[str, Callable[[Event], tuple[Any, ...]]] = {
    name: operator.attrgetter(*names, names[0]) for name, names in _FIELDS.items()
}
"""The values of an event's fields at once; the first a second time, for one alone is no tuple."""
_REVIVE: Mapping[str, Mapping[str, str]] = {
    name: {
        field.name: _form(field.type)
        for field in dataclasses.fields(one)
        if _form(field.type) in ("datetime", "tuple")
    }
    for name, one in _TYPES.items()
}


_TIMES: Mapping[str, tuple[str, ...]] = {
    name: tuple(field for field, form in forms.items() if form == "datetime")
    for name, forms in _REVIVE.items()
}


def event_kind(event: Event) -> str:
    """The name an event has in its record."""
    return type(event).__name__


def event_data(event: Event) -> dict[str, Any]:
    """An event as JSON data; times become RFC 3339 text in UTC."""
    kind = type(event).__name__
    data: dict[str, Any] = dict(zip(_FIELDS[kind], _VALUES[kind](event), strict=False))
    for name in _TIMES[kind]:
        if data[name] is not None:
            data[name] = time_text(data[name])
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
        return None if value is None else time_from(value)
    return tuple(value) if kind == "tuple" else value


def time_text(moment: datetime) -> str:
    """RFC 3339 with microseconds and `Z`, so that texts sort as times do."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:-6] + "Z"


def time_from(text: str) -> datetime:
    """The moment that `time_text` wrote."""
    return datetime.fromisoformat(text)
