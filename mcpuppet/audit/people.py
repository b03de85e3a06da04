"""The people whom a store holds, compared with what the administration log tells of them.

Somebody with write access to the store could slip in a person, give one more roles, or enable one
again: none of that is in the log. Whether the log itself is whole is checked elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from mcpuppet.audit.history import event_of
from mcpuppet.audit.reader import KnownUser, SessionReader
from mcpuppet.audit.record import ChainBreak, open_record
from mcpuppet.session import admin_events as a
from mcpuppet.session.events import Event

_ADMIN = "admin"
_OLDER = (
    "; if the store is older than this log, the next change of people by an admin records "
    "everybody, such as `mcpuppet user rotate` of their own token"
)
_People = dict[str, KnownUser]


def people_breaks(reader: SessionReader) -> Iterator[ChainBreak]:
    """Yield a break for each person who is not as the administration log says, by name.

    A break at seq 0 is about a person of whom the log does not tell at all.
    """
    told: _People = {}
    seqs: dict[str, int] = {}
    try:
        for seq, event in _events(reader):
            problem = _problem(told, event)
            if problem is not None:
                yield ChainBreak(a.ADMINISTRATION, seq, problem)
            name = _take(told, event)
            if name is not None:
                seqs[name] = seq
        held = {one.name: one for one in reader.users()}
    except Exception as error:  # noqa: BLE001 - a spoilt row must be reported, whatever it raises
        what = f"the people cannot be compared with the administration log: {error}"
        yield ChainBreak(a.ADMINISTRATION, 0, what)
        return
    for name in sorted({*told, *held}):
        for what in _differences(name, told.get(name), held.get(name)):
            yield ChainBreak(a.ADMINISTRATION, seqs.get(name, 0), what if told else what + _OLDER)


def _events(reader: SessionReader) -> Iterator[tuple[int, Event]]:
    for record in reader.records(a.ADMINISTRATION):
        if record.body:  # of a pruned record nothing but the hash is left
            opened = open_record(record.body)
            yield opened.seq, event_of(opened)


def _take(told: _People, event: Event) -> str | None:
    """Follow one event; the name of the person that it changed."""
    match event:
        case a.UserAdded():
            told[event.name] = KnownUser(event.name, event.roles, event.credential, False)
        case a.UserRolesChanged() if event.name in told:
            told[event.name] = replace(told[event.name], roles=event.roles)
        case a.UserDisabled() if event.name in told:
            told[event.name] = replace(told[event.name], disabled=True)
        case a.TokenRotated() if event.name in told:
            told[event.name] = replace(told[event.name], credential=event.credential)
        case _:
            return None
    return event.name


def _problem(told: Mapping[str, KnownUser], event: Event) -> str | None:
    """Why an event about a person cannot have been written by MCPuppet at that point."""
    match event:
        case a.UserAdded(name=name) if name in told:
            return f"person {name!r} is added a second time"
        case a.UserAdded(name=name, by=None):
            return f"nobody added {name!r}, who is not the first person" if told else None
        case a.UserAdded(by=str(by)):
            return _not_admin(told, by)
        case a.UserRolesChanged() | a.UserDisabled() | a.TokenRotated():
            known = told.get(event.name)
            if known is None or known.disabled:
                return f"person {event.name!r} is changed, and could not be"
            is_own = isinstance(event, a.TokenRotated) and event.by == event.name
            return None if is_own else _not_admin(told, event.by)
    return None


def _not_admin(told: Mapping[str, KnownUser], by: str) -> str | None:
    known = told.get(by)
    if known is not None and _ADMIN in known.roles and not known.disabled:
        return None
    return f"{by!r} changes people, and was no admin then"


def _differences(name: str, told: KnownUser | None, held: KnownUser | None) -> Iterator[str]:
    if told is None:
        yield f"person {name!r} is in the store, and no record tells that they were added"
    elif held is None:
        yield f"person {name!r} is not in the store, and the administration log tells of them"
    else:
        if told.roles != held.roles:
            yield (
                f"person {name!r} holds the roles {', '.join(held.roles)} in the store, and "
                f"{', '.join(told.roles)} by the administration log"
            )
        if told.credential != held.credential:
            yield f"person {name!r} has another token in the store than the administration log says"
        if told.disabled != held.disabled:
            word = "disabled" if held.disabled else "enabled"
            yield f"person {name!r} is {word} in the store, and not by the administration log"
