"""What people do at the desk with a token: decide, edit, review, cancel, reopen and resolve.

Each gives the sentence that tells the person what became of it. Whether this person may is decided
where it is recorded (`people`), never here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from mcpuppet.app import Desk, utc_now
from mcpuppet.cli.desk import at_desk
from mcpuppet.cli.edge import NotDecidedError
from mcpuppet.cli.looking import held_in
from mcpuppet.cli.pages import approval_page, edit_page, show
from mcpuppet.errors import InvalidInputError
from mcpuppet.people.deciding import Person
from mcpuppet.session.state import ShownCall
from mcpuppet.views import ApprovalView, SessionView, legal_sentence

_CALL_PREFIX = "call_"
_MOST_SESSIONS = 1000
"""How many sessions are searched for a held call, the one changed last first."""


def as_person(
    config: Path,
    token: str,
    action: str,
    target: str,
    work: Callable[[Desk, Person], Awaitable[str]],
) -> str:
    """Check the token before anything is looked at or shown; whatever is refused is recorded."""

    async def checked(desk: Desk) -> str:
        person = await desk.people.authenticate(token, action, target)
        async with desk.people.attempt(action, target, person):
            return await work(desk, person)

    return at_desk(config, checked)


@dataclass(frozen=True, slots=True)
class Edit:
    """Other arguments for the call that is asked about."""

    arguments: Mapping[str, Any] | None
    """All of them; None leaves those that are shown."""
    changes: Mapping[str, Any]
    """Single arguments to set."""
    step: str | None
    """The step whose call is meant, where several are shown."""
    note: str


def approve(
    config: Path,
    token: str,
    approval_id: str,
    *,
    digest: str | None,
    justification: str | None,
    asking: bool,
) -> str:
    """Vote for a request, or bypass it when there is a justification.

    The request is shown on stderr, and with `asking` the person may still say no. The vote is for
    exactly what was shown. Raises NotDecidedError after a no, or when the content has another
    digest than `digest`, and what `People.approve` and `People.bypass` raise.
    """

    async def work(desk: Desk, person: Person) -> str:
        view = await desk.people.approval(approval_id)
        await _check_digest(desk, person, action, view, digest)
        show(approval_page(view, utc_now()), stderr=True)
        question = "Approve exactly this?" if justification is None else "Bypass exactly this?"
        if asking and not typer.confirm(question, err=True):
            raise NotDecidedError(f"{approval_id} was not decided")
        if justification is not None:
            after = await desk.people.bypass(approval_id, person, view.content, justification)
            return f"{approval_id}: bypassed by {person.name}. {_legal(after)}"
        after = await desk.people.approve(approval_id, person, view.content)
        still = next((one for one in after.approvals if one.approval_id == approval_id), None)
        if view.policies:
            return f"{approval_id}: {_agreed(view, person, still is not None)}"
        if still is not None:
            votes = f"{len(still.approved_by)} of {still.quorum}"
            return f"{approval_id}: approved by {person.name} ({votes}); others must too."
        return f"{approval_id}: approved by {person.name}. {_legal(after)}"

    action = "approve" if justification is None else "bypass"
    return as_person(config, token, action, approval_id, work)


async def _check_digest(
    desk: Desk, person: Person, action: str, view: ApprovalView, digest: str | None
) -> None:
    """Raise NotDecidedError unless the request shows what the person was shown."""
    if digest is None or digest == view.content:
        return
    words = f"{view.approval_id} shows something else by now, of digest {view.content}"
    await desk.people.refuse(action, view.approval_id, person, words)
    raise NotDecidedError(f"{words}: look at it again")


def edit(
    config: Path,
    token: str,
    approval_id: str,
    edited: Edit,
    *,
    digest: str | None,
    asking: bool,
) -> str:
    """Put other arguments in place of those that are asked about.

    What is asked about is shown on stderr, and what it would become. Raises what `approve` and
    `People.edit` raise.
    """

    async def work(desk: Desk, person: Person) -> str:
        view = await desk.people.approval(approval_id)
        await _check_digest(desk, person, "edit", view, digest)
        call = _call_of(view, edited.step)
        before = call.arguments if edited.arguments is None else edited.arguments
        arguments = {**before, **edited.changes}
        show(approval_page(view, utc_now()), stderr=True)
        show(edit_page(call, arguments), stderr=True)
        if asking and not typer.confirm("Change the call to this?", err=True):
            raise NotDecidedError(f"{approval_id} was not changed")
        after = await desk.people.edit(
            approval_id, person, view.content, call.digest, arguments, edited.note
        )
        now = next((one for one in after.approvals if one.approval_id == approval_id), None)
        shown = "" if now is None else f" It shows digest {now.content} now."
        return (
            f"{approval_id}: {call.tool} edited by {person.name}; nobody has approved it yet."
            f"{shown}"
        )

    return as_person(config, token, "edit", approval_id, work)


def _call_of(view: ApprovalView, step: str | None) -> ShownCall:
    """The shown call that is meant; raises InvalidInputError when that is not one."""
    calls = [one for one in view.calls if step in (None, one.step)]
    if len(calls) == 1:
        return calls[0]
    if not view.calls:
        raise InvalidInputError(
            f"{view.approval_id} shows no call: only one that was attempted can be edited"
        )
    steps = ", ".join(one.step for one in view.calls)
    raise InvalidInputError(f"say whose call is meant with --call STEP; there are: {steps}")


def review(config: Path, token: str, review_id: str, *, justified: bool, note: str) -> str:
    """Say whether a bypass was justified; raises what `People.review` raises."""

    async def work(desk: Desk, person: Person) -> str:
        await desk.people.review(review_id, person, justified=justified, note=note)
        what = "justified" if justified else "not justified"
        return f"{review_id}: {what}, says {person.name}."

    return as_person(config, token, "review", review_id, work)


def deny(config: Path, token: str, approval_id: str, reason: str) -> str:
    """Deny a request; raises what `People.deny` raises."""

    async def work(desk: Desk, person: Person) -> str:
        after = await desk.people.deny(approval_id, person, reason)
        return f"{approval_id}: denied by {person.name}. {_legal(after)}"

    return as_person(config, token, "deny", approval_id, work)


def reopen(config: Path, token: str, session_id: str, note: str) -> str:
    """Let a session's inputs be declared anew; raises what `People.reopen_inputs` raises."""

    async def work(desk: Desk, person: Person) -> str:
        if not note.strip():
            raise InvalidInputError('reopening needs a note for the audit trail: --note "..."')
        after = await desk.people.reopen_inputs(session_id, person, note)
        return f"{session_id}: inputs reopened by {person.name}. {_legal(after)}"

    return as_person(config, token, "reopen", session_id, work)


def cancel(config: Path, token: str, session_id: str, reason: str) -> str:
    """End the active run of a session; raises what `People.cancel` raises."""

    async def work(desk: Desk, person: Person) -> str:
        after = await desk.people.cancel(session_id, person, reason)
        return f"{session_id}: cancelled by {person.name}. {_legal(after)}"

    return as_person(config, token, "cancel", session_id, work)


def resolve(
    config: Path, token: str, session_id: str | None, target: str, *, happened: bool, note: str
) -> str:
    """Settle a call, or with its session a step; raises what `People.resolve` raises."""

    async def work(desk: Desk, person: Person) -> str:
        where = session_id or await _session_of(desk, target)
        after = await desk.people.resolve(where, target, person, happened, note)
        what = "happened" if happened else "did not happen"
        return f"{target}: {what}, says {person.name}. {_legal(after)}"

    return as_person(config, token, "resolve", target, work)


async def _session_of(desk: Desk, call_id: str) -> str:
    if not call_id.startswith(_CALL_PREFIX):
        raise InvalidInputError(
            f"{call_id!r} is no call (`{_CALL_PREFIX}…`); a step needs its session: --session"
        )
    for row in await desk.store.sessions(limit=_MOST_SESSIONS):
        progress = await desk.ledger.look(row.session_id)
        if progress is not None and any(one.target == call_id for one in held_in(progress)):
            return row.session_id
    raise InvalidInputError(
        f"no call {call_id!r} waits to be settled; `mcpuppet show SESSION` lists what does"
    )


def _agreed(view: ApprovalView, person: Person, is_open: bool) -> str:
    """What a vote for a single call came to; somebody has to agree for each policy that asks."""
    policies = [name for name, roles in view.policies.items() if person.roles & set(roles)]
    agreed = f"agreed by {person.name} for {', '.join(policies)}"
    if is_open:
        others = sorted(set(view.policies) - set(policies))
        return f"{agreed}; others must agree too ({', '.join(others)})."
    return f"{agreed}. {view.calls[0].tool} may be called once with exactly these arguments."


def _legal(after: SessionView) -> str:
    return legal_sentence(after.legal, after.status)
