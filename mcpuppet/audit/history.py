"""A session's records as a history: events of the right form that can have happened in this order.

Owns what can be said against a history without deciding anything again: a record's data must have
the types of its event, the event must be one that the fold accepts, and what it refers to (a call,
an approval, a vote) must have come before it. Deliberately does not know the workflow, so it cannot
say whether a decision was the right one.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Literal

from mcpuppet.audit.record import OpenedRecord, parse_instant
from mcpuppet.errors import AuditError
from mcpuppet.session import events as e
from mcpuppet.session.fold import apply
from mcpuppet.session.snapshot import dump_state
from mcpuppet.session.state import ApprovalState, AskState, SessionState

_LONGEST = 1e9
"""Seconds: no call takes thirty years, and larger numbers have no place on a clock."""


class ImpossibleEventError(AuditError):
    """Record `seq` holds an event that cannot have happened there."""

    def __init__(self, seq: int, what: str) -> None:
        self.seq = seq
        super().__init__(what)


def fold_records(records: Iterable[OpenedRecord]) -> bytes:
    """Fold one session's records, in order, into the bytes that a store keeps as its state.

    Raises ImpossibleEventError at the first event that cannot have happened, and AuditError when
    there is no record.
    """
    history: History | None = None
    for opened in records:
        history = history or History(opened.session_id)
        history.take(opened.seq, event_of(opened), opened.at)
    if history is None:
        raise AuditError("there is no record")
    return history.snapshot()


def event_of(opened: OpenedRecord) -> e.Event:
    """The event that a record seals; raises ImpossibleEventError unless all its types are right."""
    forms = _FORMS.get(opened.kind, {})
    for name, value in opened.data.items():
        if name in forms and not forms[name](value):
            what = f"the field {name!r} of its {opened.kind} has a value of the wrong form"
            raise ImpossibleEventError(opened.seq, what)
    try:
        return e.event_from(opened.kind, opened.data)
    except AuditError as error:
        raise ImpossibleEventError(opened.seq, str(error)) from error


class History:
    """Follows one session's events, in order, and refuses the first that cannot have happened."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._state: SessionState | None = None
        self._calls: set[str] = set()
        self._started: set[str] = set()
        self._ended: set[str] = set()

    def take(self, seq: int, event: e.Event, at: datetime) -> None:
        """Fold one more event; raises ImpossibleEventError, after which nothing more follows."""
        problem = self._problem(event)
        if problem is not None:
            raise ImpossibleEventError(seq, problem)
        try:
            self._state = apply(self._session_id, self._state, event, at)
        except AuditError as error:
            raise ImpossibleEventError(seq, str(error)) from error
        except Exception as error:  # a forged event must be reported, whatever it does to the fold
            what = f"its {e.event_kind(event)} cannot be folded: {error}"
            raise ImpossibleEventError(seq, what) from error
        self._note(event)

    def snapshot(self) -> bytes:
        """The canonical bytes of the state so far; raises AuditError before the first event."""
        if self._state is None:
            raise AuditError("there is no record")
        return dump_state(self._state)

    def _problem(self, event: e.Event) -> str | None:
        """What the event refers to that has not come before it."""
        match event:
            case e.CallStarted():
                return self._new(event.call_id) or self._unknown_grant(event)
            case e.CallDenied() | e.CallDeferred():
                return self._new(event.call_id)
            case e.CallSucceeded() | e.CallFailed() | e.CallBecameUnknown():
                return self._not_open(event.call_id)
            case e.CallResolved():
                return self._not_waiting(event.call_id)
            case e.StepHeld() | e.StepCompensated():
                return None if event.call_id is None else self._not_ended(event.call_id)
            case e.ApprovalVoted():
                return self._vote(event)
            case e.ApprovalGranted():
                return self._grant(event)
            case e.ApprovalBypassed():
                return self._not_asked(event) or self._own_decision(event.step, event.by)
            case e.ApprovalRejected():
                return self._not_asked(event)
            case e.ApprovalExpired():
                return self._not_asked(event, ("open", "approved", "bypassed"))
            case e.AskOpened():
                return self._opened_before(event)
        return None

    def _note(self, event: e.Event) -> None:
        match event:
            case e.CallStarted():
                self._calls.add(event.call_id)
                self._started.add(event.call_id)
            case e.CallDenied() | e.CallDeferred():
                self._calls.add(event.call_id)
            case e.CallSucceeded() | e.CallFailed() | e.CallBecameUnknown():
                self._ended.add(event.call_id)

    def _new(self, call_id: str) -> str | None:
        return f"call {call_id!r} was decided before" if call_id in self._calls else None

    def _not_open(self, call_id: str) -> str | None:
        if call_id not in self._started:
            return f"call {call_id!r} ends, but it was never started"
        return f"call {call_id!r} ends a second time" if call_id in self._ended else None

    def _not_ended(self, call_id: str) -> str | None:
        return None if call_id in self._ended else f"call {call_id!r} had not ended before"

    def _not_waiting(self, call_id: str) -> str | None:
        """A person settles a call of unknown outcome, or one whose result holds its step."""
        call = None if self._state is None else self._state.calls.get(call_id)
        run = None if self._state is None else self._state.active_run
        held = set() if run is None else {hold.call_id for hold in run.held.values()}
        if call_id in held or (call is not None and call.unknown):
            return None
        return f"call {call_id!r} did not wait to be settled"

    def _approvals(self) -> Mapping[str, ApprovalState]:
        """The latest request of each approval step of the active run."""
        run = None if self._state is None else self._state.active_run
        return {} if run is None else run.approvals

    def _asks(self) -> Mapping[str, AskState]:
        """The requests about single calls, by id."""
        return {} if self._state is None else self._state.asks

    def _opened_before(self, event: e.AskOpened) -> str | None:
        known = {one.approval_id for one in self._approvals().values()} | set(self._asks())
        if event.approval_id not in known:
            return None
        return f"approval {event.approval_id!r} is opened a second time"

    def _unknown_grant(self, event: e.CallStarted) -> str | None:
        requests: list[ApprovalState | AskState] = [*self._approvals().values()]
        requests += self._asks().values()
        given = {one.approval_id for one in requests if one.status in ("approved", "bypassed")}
        missing = sorted(set(event.grants) - given)
        return f"the call uses approval {missing[0]!r}, which was not given" if missing else None

    def _vote(self, event: e.ApprovalVoted) -> str | None:
        ask = self._asks().get(event.approval_id)
        if ask is not None:
            if event.by in {name for name, _ in ask.votes}:
                return f"{event.by!r} votes for {event.approval_id!r} a second time"
            return _own(event.by, ask.requested_by)
        for step, approval in self._approvals().items():
            if approval.approval_id == event.approval_id:
                if event.by in {name for name, _ in approval.votes}:
                    return f"{event.by!r} votes for {event.approval_id!r} a second time"
                return self._own_decision(step, event.by)
        return None  # the fold refuses a vote for a request that is not open

    def _own_decision(self, step: str, by: str) -> str | None:
        approval = self._approvals()[step]
        return _own(by, approval.requested_by) if approval.separation else None

    def _not_asked(
        self,
        event: e.ApprovalGranted | e.ApprovalRejected | e.ApprovalBypassed | e.ApprovalExpired,
        statuses: tuple[str, ...] = ("open",),
    ) -> str | None:
        requests: Mapping[str, ApprovalState | AskState] = {
            **{one.approval_id: one for one in self._approvals().values()},
            **self._asks(),
        }
        asked = requests.get(event.approval_id)
        if asked is not None and asked.status in statuses:
            return None
        return f"approval {event.approval_id!r} of step {event.step!r} was not open"

    def _grant(self, event: e.ApprovalGranted) -> str | None:
        problem = self._not_asked(event)
        if problem is not None:
            return problem
        ask = self._asks().get(event.approval_id)
        approval = ask or self._approvals()[event.step]
        voters = {name for name, _ in approval.votes}
        if set(event.by) != voters:
            return f"approval {event.approval_id!r} is granted by others than those who voted"
        if isinstance(approval, AskState):
            missing = sorted(set(approval.policies) - approval.agreed)
            return f"nobody agreed for policy {missing[0]!r}" if missing else None
        if len(voters) < approval.quorum:
            return (
                f"approval {event.approval_id!r} is granted by {len(voters)} of the "
                f"{approval.quorum} people it needs"
            )
        return None


def _own(by: str, requested_by: str) -> str | None:
    return f"{by!r} decides on what {by!r} has asked for" if by == requested_by else None


_Form = Callable[[Any], bool]


def _form(hint: Any) -> _Form:
    """Whether a JSON value may become a field with this type hint."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is UnionType:
        forms = tuple(_form(one) for one in inner)
        return lambda value: any(fits(value) for fits in forms)
    if origin is Literal:
        return lambda value: isinstance(value, str) and value in inner
    if origin is tuple:
        item = _form(inner[0])
        return lambda value: isinstance(value, list) and all(map(item, value))
    return _PLAIN_FORMS[origin or hint]


def _is_instant(value: object) -> bool:
    try:
        parse_instant(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


def _is_seconds(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 <= value <= _LONGEST


_PLAIN_FORMS: Mapping[Any, _Form] = {
    str: lambda value: isinstance(value, str),
    bool: lambda value: isinstance(value, bool),
    int: lambda value: isinstance(value, int) and not isinstance(value, bool),
    float: _is_seconds,
    datetime: _is_instant,
    Mapping: lambda value: isinstance(value, dict),
    Any: lambda _value: True,
    NoneType: lambda value: value is None,
}
_FORMS: Mapping[str, Mapping[str, _Form]] = {
    kind.__name__: {name: _form(hint) for name, hint in typing.get_type_hints(kind).items()}
    for kind in typing.get_args(e.Event)
}
