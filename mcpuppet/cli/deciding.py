"""What people do at the desk with a token: add users, decide, cancel, reopen and resolve.

Each gives the sentence that tells the person what became of it. Whether this person may is decided
where it is recorded (`people`), never here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import typer

from mcpuppet.app import Desk, utc_now
from mcpuppet.cli.desk import at_desk
from mcpuppet.cli.edge import NotDecidedError
from mcpuppet.cli.looking import held_in
from mcpuppet.cli.pages import approval_page, show
from mcpuppet.errors import InvalidInputError
from mcpuppet.people import Person
from mcpuppet.views import ApprovalView, SessionView, legal_sentence

_CALL_PREFIX = "call_"
_MOST_SESSIONS = 1000
"""How many sessions are searched for a held call, the one changed last first."""


def _as_person(config: Path, token: str, work: Callable[[Desk, Person], Awaitable[str]]) -> str:
    """Check the token before anything is looked at or shown."""

    async def checked(desk: Desk) -> str:
        return await work(desk, await desk.people.authenticate(token))

    return at_desk(config, checked)


def add_user(config: Path, token: Callable[[], str], name: str, roles: tuple[str, ...]) -> str:
    """Add a person and give their token; `token` is asked for unless they are the first one."""

    async def work(desk: Desk) -> str:
        first = not await desk.people.has_users()
        by = None if first else await desk.people.authenticate(token())
        return await desk.people.add_user(name, roles, by)

    return at_desk(config, work, new_store=True)


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
        if digest is not None and digest != view.content:
            raise NotDecidedError(
                f"{approval_id} shows something else by now, of digest {view.content}: "
                "look at it again"
            )
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

    return _as_person(config, token, work)


def deny(config: Path, token: str, approval_id: str, reason: str) -> str:
    """Deny a request; raises what `People.deny` raises."""

    async def work(desk: Desk, person: Person) -> str:
        after = await desk.people.deny(approval_id, person, reason)
        return f"{approval_id}: denied by {person.name}. {_legal(after)}"

    return _as_person(config, token, work)


def reopen(config: Path, token: str, session_id: str, note: str) -> str:
    """Let a session's inputs be declared anew; raises what `People.reopen_inputs` raises."""
    if not note.strip():
        raise InvalidInputError('reopening needs a note for the audit trail: --note "..."')

    async def work(desk: Desk, person: Person) -> str:
        after = await desk.people.reopen_inputs(session_id, person, note)
        return f"{session_id}: inputs reopened by {person.name}. {_legal(after)}"

    return _as_person(config, token, work)


def cancel(config: Path, token: str, session_id: str, reason: str) -> str:
    """End the active run of a session; raises what `People.cancel` raises."""

    async def work(desk: Desk, person: Person) -> str:
        after = await desk.people.cancel(session_id, person, reason)
        return f"{session_id}: cancelled by {person.name}. {_legal(after)}"

    return _as_person(config, token, work)


def resolve(
    config: Path, token: str, session_id: str | None, target: str, *, happened: bool, note: str
) -> str:
    """Settle a call, or with its session a step; raises what `People.resolve` raises."""

    async def work(desk: Desk, person: Person) -> str:
        where = session_id or await _session_of(desk, target)
        after = await desk.people.resolve(where, target, person, happened, note)
        what = "happened" if happened else "did not happen"
        return f"{target}: {what}, says {person.name}. {_legal(after)}"

    return _as_person(config, token, work)


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
