"""What an expression may read: inputs, ended steps, and the call at hand.

A step that has not ended is absent, so reading it is an error, and an error never opens anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from mcpuppet.session.call import Principal, comparable_json
from mcpuppet.session.state import FactState, RunState, SessionState
from mcpuppet.workflow.compiled import CompiledWorkflow, Rulebook
from mcpuppet.workflow.compiled_policy import CompiledFact
from mcpuppet.workflow.expression import PartlyKnown, Unknown
from mcpuppet.workflow.marking import (
    APPROVAL_STATUS_NAMES,
    ENDED,
    STATUS_BITS,
    STATUS_NAMES,
)

_STATUS_MASK = (1 << STATUS_BITS) - 1


class _Variables(dict[str, Any]):
    """The variables, with those that cost something made when an expression first reads them."""

    __slots__ = ("_book", "_principal", "_run", "_state")

    def __init__(
        self,
        book: Rulebook,
        state: SessionState | None,
        run: RunState | None,
        principal: Principal | None,
    ) -> None:
        super().__init__(inputs=_inputs(book, state, run))
        if book.locks_inputs and state is not None:
            self["given"] = _Given(state.given)
        self._book = book
        self._state = state
        self._run = run
        self._principal = principal

    def __missing__(self, name: str) -> Any:
        value = self._made(name)
        self[name] = value
        return value

    def _made(self, name: str) -> Any:
        if name == "steps" and isinstance(self._book, CompiledWorkflow) and self._run is not None:
            return _steps(self._book, self._run)
        if name == "user" and self._principal is not None:
            return {"name": self._principal.name, "roles": sorted(self._principal.roles)}
        if name == "facts" and self._state is not None:
            return _facts(self._book, self._state)
        raise KeyError(name)


def variables(
    book: Rulebook,
    run: RunState | None,
    *,
    state: SessionState | None = None,
    arguments: Mapping[str, Any] | None = None,
    principal: Principal | None = None,
    result: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """The variables of an expression: `inputs`, `steps`, and the others where they are given."""
    values = _Variables(book, state, run, principal)
    if arguments is not None:
        values["args"] = arguments
    if result is not None:
        values["result"] = result
    if now is not None:
        values["now"] = now
    return values


def _inputs(book: Rulebook, state: SessionState | None, run: RunState | None) -> Mapping[str, Any]:
    if isinstance(book, CompiledWorkflow):
        return {} if run is None else run.inputs
    if state is None or state.rules is None:
        return {}
    return {**book.defaults, **state.rules.inputs}


def _facts(book: Rulebook, state: SessionState) -> dict[str, Any]:
    """What is remembered; what is not known carries the read that would make it known."""
    memory = state.remembered(book.name).facts
    return {name: _fact(fact, memory.get(name)) for name, fact in book.facts.items()}


def _fact(fact: CompiledFact, known: FactState | None) -> Any:
    if fact.values is not None:
        return list(fact.values)
    if fact.key is not None:
        return PartlyKnown({} if known is None else known.keyed, fact.hint_for)
    if known is None or not known.known:
        return Unknown(fact.hint)
    return list(known.values)


class _Given:
    """Whether a value is, exactly, one that was declared before any result reached the model."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._known: frozenset[bytes] | None = None

    def __call__(self, value: object) -> bool:
        if self._known is None:
            self._known = frozenset(map(comparable_json, _leaves(self._given)))
        return comparable_json(value) in self._known


def _leaves(value: Any) -> Iterator[Any]:
    """The values of inputs: each whole, and what lists and mappings hold."""
    inner = value.values() if isinstance(value, Mapping) else value
    for one in inner:
        yield one
        if isinstance(one, (Mapping, list)):
            yield from _leaves(one)


def _steps(workflow: CompiledWorkflow, run: RunState) -> dict[str, dict[str, Any]]:
    marking, results = run.marking, run.results
    known: dict[str, dict[str, Any]] = {}
    for step in workflow.steps:
        status = marking & _STATUS_MASK
        marking >>= STATUS_BITS
        if status & ENDED:
            names = STATUS_NAMES if step.approval is None else APPROVAL_STATUS_NAMES
            known[step.id] = {"outcome": names[status]}
            if step.id in results:
                known[step.id]["result"] = results[step.id]
    return known
