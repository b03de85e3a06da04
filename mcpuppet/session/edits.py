"""Calls whose arguments a person has changed while deciding on them.

What was stored and shown is what is dispatched: the client makes its call again as it first did,
and the edited one takes its place, before anything is decided about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcpuppet.session.call import Call, call_digest
from mcpuppet.session.recording import Recorder
from mcpuppet.session.state import ApprovalState, AskState, RunState, SessionState, ShownCall
from mcpuppet.workflow.compiled import CompiledWorkflow, Rulebook
from mcpuppet.workflow.json_values import json_equal

_GOOD = frozenset({"open", "approved", "bypassed"})
"""The states of a step's request in which the call that it shows is the one that counts."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A call that takes the place of the one that was asked for."""

    approval_id: str
    by: str
    call: Call
    asked: Mapping[str, Any]
    """The arguments as the client gave them."""

    def changes(self) -> Iterator[tuple[str, Any, Any]]:
        """Each argument that differs: its name, the value asked for, and the value now.

        A value that is not there is `ABSENT`.
        """
        names = dict.fromkeys((*self.asked, *self.call.arguments))
        for name in names:
            before = self.asked.get(name, ABSENT)
            after = self.call.arguments.get(name, ABSENT)
            if before is ABSENT or after is ABSENT or not json_equal(before, after):
                yield name, before, after


class _Absent:
    """The value of an argument that is not given."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()


def edited_call(state: SessionState, books: tuple[Rulebook | None, ...], call: Call) -> Edit | None:
    """The edited call in whose place `call` was asked for; None when nobody has edited it.

    `books` are the workflow and the rules file that govern the call.
    """
    run = state.active_run
    for approval in () if run is None else run.approvals.values():
        if run is not None and approval.status in _GOOD:
            for shown in approval.shown:
                if shown.asked_as and shown.asked_as == _digest(state, run.hash, shown.step, call):
                    edited = Call(shown.tool, shown.arguments)
                    return Edit(approval.approval_id, shown.edited_by, edited, call.arguments)
    hashes = ("", *(one.hash for one in books if one is not None))
    for ask in state.asks.values():
        if ask.asked_as and any(
            ask.asked_as == _digest(state, one, ask.step or "", call) for one in hashes
        ):
            edited = Call(ask.tool, ask.arguments)
            return Edit(ask.approval_id, ask.edited_by, edited, call.arguments)
    return None


def _digest(state: SessionState, book_hash: str, step: str, call: Call) -> str:
    return call_digest(state.session_id, book_hash, step, call)


def as_edited(
    state: SessionState,
    books: tuple[Rulebook | None, ...],
    request: ApprovalState | AskState,
    shown: ShownCall,
    arguments: Mapping[str, Any],
    recorder: Recorder,
    workflow: CompiledWorkflow | None,
) -> tuple[Call, str] | None:
    """A shown call with other arguments, and its digest, made as that of the shown call was.

    What was sensitive in the shown call is so in the other one. None when the shown digest is not
    one that these rules give.
    """
    run = state.active_run
    hashes = ("", *(one.hash for one in books if one is not None))
    if isinstance(request, ApprovalState):
        hashes = (_hash_of(run),)
    for like in (shown.arguments, {}):
        call = recorder.call(shown.tool, shown.arguments, workflow, like)
        for one in hashes:
            if _digest(state, one, shown.step, call) == shown.digest:
                edited = recorder.call(shown.tool, arguments, workflow, like)
                return edited, _digest(state, one, shown.step, edited)
    return None


def _hash_of(run: RunState | None) -> str:
    return "" if run is None else run.hash
