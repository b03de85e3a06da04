"""What `sessions`, `show` and `approvals` look up, once or as it changes. Nothing is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import anyio

from mcpuppet.app import Desk
from mcpuppet.audit.fates import Fate, fates
from mcpuppet.audit.reports.near_misses import NearMisses, near_misses
from mcpuppet.cli.desk import at_desk
from mcpuppet.errors import UnknownSessionError
from mcpuppet.redaction.vault import vault_of
from mcpuppet.session.consequences import Progress
from mcpuppet.session.machine import RUN_ENDS
from mcpuppet.session.outcome import result_value
from mcpuppet.session.state import AskState, FactState
from mcpuppet.store.protocol import SessionRow, User
from mcpuppet.views import ApprovalView, ReviewView, SessionView, session_view, without_votes_of
from mcpuppet.workflow.compiled import Rulebook

SeenT = TypeVar("SeenT")

_NOTHING_KNOWN = FactState()
_MOST_SHOWN = 400
"""Characters of a late result that are shown."""
_EVERY = 2**62
"""More sessions than a store can hold."""
_POLL = 0.2
"""Seconds between two looks at whether anybody has written to the store."""
_POLLS_PER_LOOK = 5
"""Time alone changes sessions too, so every second is looked at, news or not."""


@dataclass(frozen=True, slots=True)
class HeldView:
    """Something that waits for a person to settle it with `mcpuppet resolve`."""

    target: str
    """The id of the call whose outcome is not known, else of the step that is held."""
    step: str | None
    reason: str
    late: str = ""
    """What the tool answered after the call counted as unknown, if it did."""


@dataclass(frozen=True, slots=True)
class RulesView:
    """The rules file that governs a session, and the inputs it was told."""

    name: str
    version: str
    inputs: Mapping[str, Any]
    declared: bool
    locked: bool
    """Whether a tool's result came before they were declared, so that only a person opens them."""


@dataclass(frozen=True, slots=True)
class FactView:
    """What a session remembers of one fact of its workflow or rules file."""

    book: str
    fact: str
    known: bool
    overflowed: bool
    keyed: Mapping[str, Any]
    values: tuple[Any, ...]
    hint: str
    """The read that makes it known."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A session, what is held in it, and what its rules make of it."""

    session: SessionView
    held: tuple[HeldView, ...]
    rules: RulesView | None = None
    facts: tuple[FactView, ...] = ()
    decided: tuple[AskState, ...] = ()
    """Requests about single calls that people have decided, and that still count."""
    near_misses: NearMisses | None = None
    """The calls that rules which only observe would have denied; None when there are none."""


def sessions(config: Path, status: str | None, limit: int) -> list[SessionRow]:
    """The sessions that were changed last."""
    return at_desk(config, lambda desk: desk.store.sessions(limit=limit, status=status))


def sessions_that_would_deny(
    config: Path, status: str | None, limit: int
) -> list[tuple[SessionRow, NearMisses]]:
    """The sessions with calls that observing rules would have denied, the last changed first."""

    async def work(desk: Desk) -> list[tuple[SessionRow, NearMisses]]:
        found = await asyncio.to_thread(near_misses, desk.store.reader)
        rows = await desk.store.sessions(limit=_EVERY, status=status) if found else []
        chosen = ((row, found[row.session_id]) for row in rows if row.session_id in found)
        return list(islice(chosen, limit))

    return at_desk(config, work)


def users(config: Path) -> list[User]:
    """Everybody who was given a token."""
    return at_desk(config, lambda desk: desk.store.users())


def session(config: Path, session_id: str) -> Sight:
    """One session as it is now; raises UnknownSessionError."""
    return at_desk(config, lambda desk: _look(desk, session_id))


def watch_session(
    config: Path, session_id: str, show: Callable[[Sight], None], timeout: float | None
) -> bool:
    """Show the session whenever it has changed, until its run ends.

    False when `timeout` seconds passed first. Raises UnknownSessionError.
    """

    async def work(desk: Desk) -> bool:
        with anyio.move_on_after(timeout) as scope:
            await _watch(desk, lambda: _look(desk, session_id), show, _has_ended)
        return not scope.cancelled_caught

    return at_desk(config, work)


def reviews(config: Path) -> tuple[ReviewView, ...]:
    """Every bypass that nobody has reviewed yet, the one due first first."""

    async def work(desk: Desk) -> tuple[ReviewView, ...]:
        return tuple(await desk.people.reviews())

    return at_desk(config, work)


def approvals(config: Path) -> tuple[ApprovalView, ...]:
    """Every open request, the oldest first."""
    return at_desk(config, _approvals)


def watch_approvals(config: Path, show: Callable[[tuple[ApprovalView, ...]], None]) -> None:
    """Show the open requests whenever they have changed, until interrupted."""
    at_desk(config, lambda desk: _watch(desk, lambda: _approvals(desk), show, lambda _: False))


async def _approvals(desk: Desk) -> tuple[ApprovalView, ...]:
    return tuple(await desk.people.approvals())


async def _look(desk: Desk, session_id: str) -> Sight:
    progress = await desk.ledger.look(session_id)
    if progress is None:
        raise UnknownSessionError(session_id)
    who = desk.settings.principal(progress.state.principal).principal
    missed = await asyncio.to_thread(near_misses, desk.store.reader, session_id)
    view, void = session_view(progress, who), await desk.people.users.disabled()
    return Sight(
        replace(view, approvals=tuple(without_votes_of(one, void) for one in view.approvals)),
        await _with_late_answers(desk, session_id, held_in(progress)),
        _rules(progress),
        tuple(fact for book in progress.books for fact in _facts(progress, book)),
        tuple(one for one in progress.state.asks.values() if one.status != "open"),
        missed.get(session_id),
    )


async def _with_late_answers(
    desk: Desk, session_id: str, held: tuple[HeldView, ...]
) -> tuple[HeldView, ...]:
    """What is held, with the answers that came too late to count: for whoever settles it."""
    if not held:
        return held

    def read() -> Mapping[str, Fate]:
        with desk.store.reader() as reader:
            vault = vault_of(reader, session_id)
            return fates(reader.records(session_id), [one.target for one in held], vault)

    found = await asyncio.to_thread(read)
    return tuple(replace(one, late=_late_words(found[one.target])) for one in held)


def _late_words(fate: Fate) -> str:
    late = fate.late
    if late is None:
        return ""
    after = "" if late.seconds is None else f" after {late.seconds:.1f} s"
    if late.outcome == "failed":
        return f"the outcome came{after}: failed: {late.message}"
    if late.result is None:
        return f"the outcome came{after}: succeeded, with a result of {late.result_bytes:,} bytes"
    text = json.dumps(result_value(late.result), ensure_ascii=False)
    shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
    return f"the outcome came{after}: succeeded: {shown}"


def _rules(progress: Progress) -> RulesView | None:
    state, rules = progress.state, progress.rules
    if state.rules is None or rules is None:
        return None
    locked = rules.locks_inputs and state.exposed
    known = state.rules
    return RulesView(known.name, known.version, known.inputs, known.declared, locked)


def _facts(progress: Progress, book: Rulebook) -> Iterator[FactView]:
    remembered = progress.state.remembered(book.name).facts
    for fact in book.facts.values():
        if fact.values is not None:  # it comes from a file
            yield FactView(book.name, fact.name, True, False, {}, fact.values, "")
            continue
        state = remembered.get(fact.name, _NOTHING_KNOWN)
        known = bool(state.keyed) or (state.known and not state.overflowed)
        yield FactView(
            book.name, fact.name, known, state.overflowed, state.keyed, state.values, fact.hint
        )


def held_in(progress: Progress) -> tuple[HeldView, ...]:
    """What waits to be settled in a session: calls of unknown outcome, and steps that are held."""
    run = progress.run
    holds = {} if run is None else run.held
    held = [HeldView(hold.call_id or step, step, hold.reason) for step, hold in holds.items()]
    known = {one.target for one in held}
    held += [
        HeldView(call.call_id, call.step, f"the outcome of {call.tool} is not known")
        for call in progress.state.calls.values()
        if call.unknown and call.call_id not in known
    ]
    return tuple(held)


def _has_ended(sight: Sight) -> bool:
    return sight.session.status in RUN_ENDS


async def _watch(
    desk: Desk,
    look: Callable[[], Awaitable[SeenT]],
    show: Callable[[SeenT], None],
    done: Callable[[SeenT], bool],
) -> None:
    shown: SeenT | None = None
    while True:
        # Read first: what is written while we look is then news.
        version = await desk.store.data_version()
        seen = await look()
        if seen != shown:
            show(seen)
            shown = seen
        if done(seen):
            return
        await _news(desk, version)


async def _news(desk: Desk, version: int) -> None:
    """Return when the store has moved on from `version`, and after a second in any case."""
    for _ in range(_POLLS_PER_LOOK):
        await anyio.sleep(_POLL)
        if await desk.store.data_version() != version:
            return
