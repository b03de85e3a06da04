"""What a session remembers for its policies: marks, facts and how much was used.

Part of the fold: values in, values out, no guard and no workflow. Memory is bounded, and what no
longer fits errs on the safe side: an event that some policy requires may be forgotten, one that
forbids may not, and a fact that overflows is not known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from mcpuppet.session import events as e
from mcpuppet.session.amounts import amount_text, total
from mcpuppet.session.state import FactState, Memory, OpenCall, SessionState, changed

MOST_MARKS = 1_000
"""How many marks are kept for one workflow or rules file."""


def with_marks(state: SessionState, marks: Iterable[Sequence[str]], at: datetime) -> SessionState:
    """The state after events that some policies ask about, as `[book, mark]`."""
    for book, mark in marks:
        memory = state.remembered(book)
        state = _with_memory(state, book, replace(memory, marks=_marked(memory.marks, mark, at)))
    return state


def _marked(marks: Mapping[str, datetime], mark: str, at: datetime) -> Mapping[str, datetime]:
    kept = {name: moment for name, moment in marks.items() if name != mark}
    if len(kept) >= MOST_MARKS:
        forbids = mark.startswith("!")
        if forbids:  # from here on it forbids for all arguments
            mark = mark.partition(":")[0]
        else:
            oldest = min(
                ((moment, name) for name, moment in kept.items() if not name.startswith("!")),
                default=None,
            )
            if oldest is None:
                return kept
            del kept[oldest[1]]
    kept[mark] = at
    return kept


def without_facts(state: SessionState, facts: Iterable[Sequence[str]]) -> SessionState:
    """The state after events that outdate facts, as `[book, fact]`.

    What a call on its way will read may be outdated too, so that nothing is learned from it.
    """
    gone = {(book, fact) for book, fact in facts}
    for book, fact in sorted(gone):
        memory = state.remembered(book)
        kept = {name: one for name, one in memory.facts.items() if name != fact}
        state = _with_memory(state, book, replace(memory, facts=kept))
    calls = {name: _feeding_less(call, gone) for name, call in state.calls.items()}
    return changed(state, calls=calls)


def _feeding_less(call: OpenCall, gone: Collection[tuple[str, str]]) -> OpenCall:
    feeds = tuple(one for one in call.feeds if (one["book"], one["fact"]) not in gone)
    return call if len(feeds) == len(call.feeds) else replace(call, feeds=feeds)


def without_marks(state: SessionState, book: str) -> SessionState:
    """The state in which nothing has happened yet for a workflow: a run of it begins.

    Calls of an earlier run that are on their way allow nothing in this one; they may forbid.
    """
    calls = {name: _marking_less(call, book) for name, call in state.calls.items()}
    state = changed(state, calls=calls)
    memory = state.memory.get(book)
    return state if memory is None else _with_memory(state, book, replace(memory, marks={}))


def _marking_less(call: OpenCall, book: str) -> OpenCall:
    marks = {
        event: [[of, mark] for of, mark in pairs if of != book or mark.startswith("!")]
        for event, pairs in call.marks.items()
    }
    return replace(call, marks=marks)


def with_fact(state: SessionState, event: e.FactLearned) -> SessionState:
    """The state after a result was remembered."""
    memory = state.remembered(event.book)
    known = memory.facts.get(event.fact) or FactState()
    if event.key is None:
        is_known = event.complete and isinstance(event.value, (list, tuple))  # it can be erased
        values = tuple(event.value) if is_known else ()
        fact = FactState(values=values, known=is_known, overflowed=not event.complete)
    else:
        gone = (event.key, event.drops)
        kept = {key: one for key, one in known.keyed.items() if key not in gone}
        order = tuple(key for key in known.order if key not in gone)
        if event.complete:
            kept, order = {**kept, event.key: event.value}, (*order, event.key)
        fact = FactState(keyed=kept, order=order, known=True)
    return _with_memory(
        state, event.book, replace(memory, facts={**memory.facts, event.fact: fact})
    )


def _with_memory(state: SessionState, book: str, memory: Memory) -> SessionState:
    return changed(state, memory={**state.memory, book: memory})


def with_uses(state: SessionState, uses: Iterable[Mapping[str, Any]]) -> SessionState:
    """The state after a call that limits count; those across sessions are the store's."""
    for use in uses:
        policy, amount = use["policy"], use["amount"]
        if use["scope"] == "run" and state.run is not None:
            used = _raised(state.run.used, policy, amount)
            state = changed(state, run=changed(state.run, used=used))
        elif use["scope"] == "session":
            used = _raised(state.used, f"{use['book']}/{policy}", amount)
            state = changed(state, used=used)
    return state


def _raised(used: Mapping[str, str], name: str, amount: str) -> Mapping[str, str]:
    used_now = total((Decimal(used.get(name, "0")), Decimal(amount)))
    return {**used, name: amount_text(used_now)}
