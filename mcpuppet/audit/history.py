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

from mcpuppet.audit.decisions import decision_problem, unknown_grant
from mcpuppet.audit.record import OpenedRecord, parse_instant
from mcpuppet.errors import AuditError
from mcpuppet.session import events as e
from mcpuppet.session.call import canonical_json
from mcpuppet.session.fold import apply
from mcpuppet.session.snapshot import dump_state
from mcpuppet.session.state import SessionState

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
        self._made: dict[str, tuple[str, str | None]] = {}
        """For each call that was started, who made it and the key that they gave."""
        self._unknown: set[str] = set()
        self._late: set[str] = set()
        self._read: dict[str, str] = {}
        """For each reading call that is to tell, the call that it tells of."""

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
                return (
                    self._new(event.call_id)
                    or unknown_grant(self._state, event)
                    or self._reads_nothing(event)
                )
            case e.CallRepeated():
                return self._new(event.call_id) or self._repeats_nothing(event)
            case e.LateOutcome():
                return self._not_late(event.call_id)
            case e.CallReconciled():
                return self._not_waiting(event.call_id) or self._not_told(event)
            case e.CallDenied() | e.CallDeferred():
                return self._new(event.call_id)
            case e.CallSucceeded() | e.CallFailed() | e.CallBecameUnknown():
                return self._not_open(event.call_id)
            case e.CallResolved():
                return self._not_waiting(event.call_id)
            case e.StepHeld() | e.StepCompensated():
                return None if event.call_id is None else self._not_ended(event.call_id)
        return decision_problem(self._state, event)

    def _note(self, event: e.Event) -> None:
        match event:
            case e.CallStarted():
                self._calls.add(event.call_id)
                self._started.add(event.call_id)
                self._made[event.call_id] = (event.principal, event.client_key)
                if event.purpose == "reconcile" and event.step is not None:
                    self._read[event.call_id] = self._current(event.step)
            case e.CallDenied() | e.CallDeferred() | e.CallRepeated():
                self._calls.add(event.call_id)
            case e.CallSucceeded():
                self._ended.add(event.call_id)
            case e.CallFailed():
                self._ended.add(event.call_id)
                self._read.pop(event.call_id, None)
            case e.CallBecameUnknown():
                self._ended.add(event.call_id)
                self._unknown.add(event.call_id)
                self._read.pop(event.call_id, None)
            case e.CallReconciled():
                self._read.pop(event.by_call, None)
            case e.LateOutcome():
                self._late.add(event.call_id)

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

    def _current(self, step: str) -> str:
        """The call that a step of the active run was last started by."""
        run = None if self._state is None else self._state.active_run
        return "" if run is None or step not in run.current else run.current[step].call_id

    def _reads_nothing(self, event: e.CallStarted) -> str | None:
        """A reading call is the one that the intent to the call it is about has named."""
        if event.purpose != "reconcile":
            return None
        of = "" if event.step is None else self._current(event.step)
        about = None if self._state is None else self._state.calls.get(of)
        named = None if about is None or not about.unknown else about.reconcile
        if (
            named is not None
            and named["tool"] == event.tool
            and _may_be_equal(named["arguments"], event.arguments)
        ):
            return None
        return f"call {event.call_id!r} reads what became of a call that does not wait for it"

    def _not_told(self, event: e.CallReconciled) -> str | None:
        if event.by_call in self._ended and self._read.get(event.by_call) == event.call_id:
            return None
        return f"call {event.by_call!r} cannot tell what became of call {event.call_id!r}"

    def _repeats_nothing(self, event: e.CallRepeated) -> str | None:
        """A repeat is of a call that its own principal made, with the same key if it gives one."""
        made = self._made.get(event.of)
        if made is None:
            return f"call {event.call_id!r} repeats {event.of!r}, which was never started"
        if made[0] != event.principal or event.key not in (None, made[1]):
            return f"call {event.call_id!r} repeats {event.of!r}, which was asked for otherwise"
        if (event.of in self._ended) != (event.how == "replayed"):
            when = "had ended" if event.how == "attached" else "had not ended"
            return f"call {event.call_id!r} was {event.how} to {event.of!r}, which {when} by then"
        return None

    def _not_late(self, call_id: str) -> str | None:
        if call_id not in self._unknown:
            return f"an answer to call {call_id!r} came late, which never counted as unknown"
        return f"call {call_id!r} is answered late a second time" if call_id in self._late else None


_REDACTED = (b'{"$c":"', b"<redacted:")
"""How what records do not show begins."""


def _may_be_equal(one: Any, other: Any) -> bool:
    """Whether two values are equal, as far as records show them."""
    texts = (canonical_json(one), canonical_json(other))
    return texts[0] == texts[1] or any(mark in text for text in texts for mark in _REDACTED)


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
