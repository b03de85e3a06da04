"""Editing the call that people are asked about: could it go through, and what is shown of it?

The edited call is held to everything that can be known without its server: what can be recorded,
the step's rules for arguments, guards and policies. They are asked again when it is made, and the
tool's own schema then too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mcpuppet.errors import InvalidInputError
from mcpuppet.session.call import (
    MAX_SHOWN_BYTES,
    Call,
    Principal,
    argument_fault,
    canonical_json,
)
from mcpuppet.session.consequences import Progress
from mcpuppet.session.deciding import Proof
from mcpuppet.session.decision import ApprovalNeeded, AskNeeded, Books, Decision, Denied, govern
from mcpuppet.session.edits import as_edited
from mcpuppet.session.state import ApprovalState, AskState, SessionState, ShownCall
from mcpuppet.views import ask_call
from mcpuppet.workflow.compiled import CompiledWorkflow
from mcpuppet.workflow.json_values import json_equal

_NOT_KNOWN_HERE = ("no_run", "unlisted")
"""Refusals that depend on workflows which are configured where calls are made, and not here."""


def edit_request(
    progress: Progress,
    request: ApprovalState | AskState,
    call_digest: str,
    arguments: Mapping[str, Any],
    *,
    principal: Principal,
    person: str,
    note: str,
    proof: Proof,
) -> None:
    """Put `arguments` in place of those of the shown call with the digest `call_digest`.

    `principal` is who would make the call. Raises InvalidInputError when no such call is shown, or
    the edited one would be refused.
    """
    shown = _shown(request, call_digest)
    _check_arguments(shown, arguments)
    books = (_workflow(progress), progress.rules)
    edited = as_edited(
        progress.state,
        books,
        request,
        shown,
        dict(arguments),
        progress.recorder,
        _workflow(progress),
    )
    if edited is None:
        raise InvalidInputError(
            f"the rules that {request.approval_id} was opened under are not those of the session "
            "any more: it cannot be edited"
        )
    call, digest = edited
    if call.secret:
        raise InvalidInputError(
            "the arguments hold what looks like a secret, which is shown to nobody and never kept: "
            "such a call cannot be approved"
        )
    policies: Mapping[str, Any] = {}
    show: tuple[Mapping[str, Any], ...] = ()
    if isinstance(request, AskState):
        needed = _asked_anew(progress, request, call, principal)
        policies = {**request.policies, **_policies(needed)}
        show = tuple(_show(request, needed, call, person))
    progress.edited(
        request,
        shown,
        call,
        digest,
        person=person,
        note=note,
        proof=proof,
        policies=policies,
        show=show,
    )
    if isinstance(request, ApprovalState):
        decision = _decision(progress, progress.state, call, principal)
        if isinstance(decision, Denied) or decision.step != shown.step:
            _refuse_unless_later(decision, shown.step)


def _shown(request: ApprovalState | AskState, call_digest: str) -> ShownCall:
    calls = (ask_call(request),) if isinstance(request, AskState) else request.shown
    if not calls:
        raise InvalidInputError(
            f"{request.approval_id} shows no call: only one that was attempted can be edited"
        )
    for one in calls:
        if one.digest == call_digest:
            return one
    raise InvalidInputError(f"{request.approval_id} shows no call of digest {call_digest!r}")


def _check_arguments(shown: ShownCall, arguments: Mapping[str, Any]) -> None:
    fault = argument_fault(arguments)
    if fault is not None:
        raise InvalidInputError(fault)
    text = canonical_json(arguments)
    if len(text) > MAX_SHOWN_BYTES:
        raise InvalidInputError(
            f"the arguments have {len(text):,} bytes; people are shown at most {MAX_SHOWN_BYTES:,}"
        )
    if text == canonical_json(shown.arguments):
        raise InvalidInputError("these are the arguments that are shown already")


def _workflow(progress: Progress) -> CompiledWorkflow | None:
    return None if progress.run is None else progress.workflow


def _decision(
    progress: Progress, state: SessionState, call: Call, principal: Principal
) -> Decision:
    books = Books(_workflow(progress), progress.rules)
    return govern(books, state, call, principal, progress.source.now, progress.reserved)


def _asked_anew(
    progress: Progress, request: AskState, call: Call, principal: Principal
) -> AskNeeded | None:
    """Who would be asked about the edited call; None when nobody would, or that is not known."""
    others = {name: one for name, one in progress.state.asks.items() if one is not request}
    decision = _decision(progress, replace(progress.state, asks=others), call, principal)
    match decision:
        case AskNeeded():
            return decision
        case ApprovalNeeded():
            raise InvalidInputError(f"{decision.approval_id} asks about exactly this call already")
        case Denied(rule=rule) if progress.run is None and rule in _NOT_KNOWN_HERE:
            return None
        case Denied():
            _refuse_unless_later(decision, request.step)
    return None


def _refuse_unless_later(decision: Decision, step: str | None) -> None:
    if not isinstance(decision, Denied):
        raise InvalidInputError(f"the edited call would not be one of step {step}")
    if decision.legal_at is None:  # what only time stands against may be legal once it is made
        raise InvalidInputError(f"the edited call would be refused: {decision.reason}")


def _policies(needed: AskNeeded | None) -> dict[str, Any]:
    return {} if needed is None else {one.policy: one.roles for one in needed.asks}


def _show(
    request: AskState, needed: AskNeeded | None, call: Call, person: str
) -> Iterator[Mapping[str, Any]]:
    """What is shown first of the edited call, and where each value was seen."""
    asks = () if needed is None else needed.asks
    named = dict(pair for one in asks for pair in one.show)
    values = named or {f"args.{name}": value for name, value in call.arguments.items()}
    before = {one["path"]: one for one in request.show}
    for path, value in values.items():
        known = before.get(path)
        if known is not None and json_equal(known["value"], value):
            yield known
        else:
            yield {"path": path, "value": value, "seen": f"set by {person}, who edited the call"}
