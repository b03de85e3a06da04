"""What is to be remembered of a call, worked out before it is made.

Policies ask about events of tools and facts are read from results. Which of them a call concerns
depends on its arguments, so it is written into the intent to call, and the fold needs no rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mcpuppet.session.call import Call, canonical_json
from mcpuppet.session.policies import same_digest
from mcpuppet.workflow.compiled import Rulebook
from mcpuppet.workflow.compiled_policy import CompiledFact
from mcpuppet.workflow.expression import EvaluationError, Expression

MOST_KEPT_BYTES = 16 * 1024
"""What a fact keeps under one key, in bytes of JSON, at most."""
MOST_SET_BYTES = 256 * 1024
"""What the values of a set may have together, in bytes of JSON."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The marks to set and the facts to forget, per event of the call, and the facts it feeds."""

    marks: dict[str, list[list[str]]] = field(default_factory=dict)
    forgets: dict[str, list[list[str]]] = field(default_factory=dict)
    feeds: list[Mapping[str, Any]] = field(default_factory=list)


Values = Callable[[Rulebook], Mapping[str, Any]]


def watched(books: Iterable[Rulebook], call: Call, values: Values) -> Watched:
    """What is to be remembered of a call; `values` gives the expression variables of a book."""
    found = Watched()
    for book in books:
        _watch_events(book, call, found)
        for fact in book.facts.values():
            _watch_fact(book, fact, call, values, found)
    return found


def _watch_events(book: Rulebook, call: Call, found: Watched) -> None:
    for policy in book.watching:
        for event in policy.tool_events:
            if event.is_of(call.tool):
                mark = policy.mark(same_digest(policy, call.on_record) if policy.same else "")
                forbids = policy.kind == "forbidden_after"
                for word in _moments(event.event, forbids):
                    found.marks.setdefault(word, []).append([book.name, mark])


def _watch_fact(
    book: Rulebook, fact: CompiledFact, call: Call, values: Values, found: Watched
) -> None:
    for event in fact.until:
        if event.is_of(call.tool):
            for word in _moments(event.event, True):
                found.forgets.setdefault(word, []).append([book.name, fact.name])
    if fact.tool != call.tool:
        return
    feed = {"book": book.name, "fact": fact.name}
    if fact.key is None:
        found.feeds.append({**feed, "key": None})
    elif any(path[0] == "result" for path in fact.key.references):
        found.feeds.append({**feed, "key": None, "args": _read_by(fact.key, call.arguments)})
    else:
        key = key_of(fact.key, values(book))
        if key is not None:
            found.feeds.append({**feed, "key": key})


def _read_by(key: Expression, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a key reads which is known only with the result."""
    read = [path for path in key.references if path[0] == "args"]
    if any(len(path) == 1 for path in read):
        return dict(arguments)
    return {name: arguments[name] for _, name, *_ in read if name in arguments}


def key_of(key: Expression, values: Mapping[str, Any]) -> str | None:
    """The key under which something is remembered; None where it is no text."""
    try:
        found = key.evaluate(values)
    except EvaluationError:
        return None
    return found if isinstance(found, str) else None


def _moments(event: str, careful: bool) -> tuple[str, ...]:
    """When an event counts: where careful, a call of unknown outcome may have had it."""
    return (event, "unknown") if careful and event != "call" else (event,)


def learned(fact: CompiledFact, result: Mapping[str, Any]) -> tuple[Any, bool]:
    """What a fact keeps of a result, and whether that is all of it."""
    if fact.take is not None:
        return _values(fact, result)
    kept = (
        dict(result)
        if fact.keep is None
        else {name: result[name] for name in fact.keep if name in result}
    )
    return kept, len(canonical_json(kept)) <= MOST_KEPT_BYTES


def _values(fact: CompiledFact, result: Mapping[str, Any]) -> tuple[list[Any], bool]:
    assert fact.take is not None
    found: list[Any] = []
    seen: set[bytes] = set()
    size = 0
    try:
        for value in _walk(result, fact.take):
            text = canonical_json(value)
            if text not in seen:
                seen.add(text)
                found.append(value)
                size += len(text)
            if len(found) > fact.most or size > MOST_SET_BYTES:
                return [], False
    except LookupError:
        return [], False
    return found, True


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """The values at a path; raises LookupError where the result has another shape."""
    if not path:
        yield value
    elif path[0] == "[]":
        if not isinstance(value, list):
            raise LookupError(path)
        for item in value:
            yield from _walk(item, path[1:])
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _walk(value[path[0]], path[1:])
    else:
        raise LookupError(path)
