"""What people decide: approvals, denials, bypasses, cancellations, and unknown outcomes.

Every decision here needs a person, and a person is whoever holds a token that `user add` gave out.
Nothing in this module can be reached over MCP. A decision is bound to the content that the person
was shown: when that has changed, the decision is refused and has to be looked at again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from mcpuppet.errors import InvalidInputError, NotAuthorisedError, UnknownSessionError
from mcpuppet.ledger import Ledger
from mcpuppet.session.consequences import Progress
from mcpuppet.session.environment import variables
from mcpuppet.session.state import ApprovalState, AskState
from mcpuppet.settings import Settings
from mcpuppet.store.protocol import Store, User
from mcpuppet.views import (
    ApprovalView,
    SessionView,
    approval_views,
    ask_digest,
    content_digest,
    session_view,
)
from mcpuppet.workflow.definition import Bypass
from mcpuppet.workflow.expression import EvaluationError
from mcpuppet.workflow.marking import PENDING

TOKEN_PREFIX = "mcpp_"  # noqa: S105 - a mark for secret scanners, not a secret
ADMIN = "admin"
"""The role of those who may add people."""
_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whose token was checked."""

    name: str
    roles: frozenset[str]


def token_hash(token: str) -> bytes:
    """What is kept of a token: its SHA-256. Tokens hold 256 random bits, so no salt is needed."""
    return hashlib.sha256(token.strip().encode("utf-8", "replace")).digest()


class People:
    """Takes decisions from people, each checked against their token, their roles and the rules."""

    def __init__(self, ledger: Ledger, store: Store, settings: Settings) -> None:
        self._ledger = ledger
        self._store = store
        self._settings = settings

    # --- who ------------------------------------------------------------------------------------

    async def has_users(self) -> bool:
        """Whether anybody has been added yet."""
        return bool(await self._store.users())

    async def add_user(self, name: str, roles: tuple[str, ...], by: Person | None = None) -> str:
        """Add a person and return the token, which is shown this once and kept only as a hash.

        The first person of a store may be added by anybody and becomes an admin as well; everybody
        else is added `by` an admin, so that an agent with a shell cannot make itself a person.
        Raises NotAuthorisedError without one, and InvalidInputError for a name that is taken or a
        person without a role.
        """
        if not name.isprintable() or not 0 < len(name) <= _NAME_LENGTH or name != name.strip():
            raise InvalidInputError(f"a user's name has 1 to {_NAME_LENGTH} printable characters")
        if not roles:
            raise InvalidInputError("a user needs at least one role: --role finance")
        if name in self._settings.principals:
            raise InvalidInputError(f"{name!r} is the name of a principal in the settings")
        users = await self._store.users()
        if users and (by is None or ADMIN not in by.roles):
            raise NotAuthorisedError(f"only a person with the role {ADMIN} may add people")
        if not users:
            roles = tuple(dict.fromkeys((*roles, ADMIN)))
        if any(one.name == name for one in users):
            raise InvalidInputError(f"there is a user {name!r} already")
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        created = self._ledger.source().now
        await self._store.put_user(User(name, roles, token_hash(token), False, created))
        return token

    async def authenticate(self, token: str) -> Person:
        """The person who holds this token; raises NotAuthorisedError for any other text."""
        user = await self._store.user_by_token_hash(token_hash(token)) if token.strip() else None
        if user is None or user.disabled:
            raise NotAuthorisedError("this token belongs to nobody who may decide")
        return Person(user.name, frozenset(user.roles))

    # --- approvals ------------------------------------------------------------------------------

    async def approvals(self) -> list[ApprovalView]:
        """Every open request, the oldest first."""
        views: list[ApprovalView] = []
        for session_id in dict.fromkeys(one for one, _ in await self._store.open_approvals()):
            progress = await self._ledger.look(session_id)
            if progress is not None:
                views.extend(approval_views(progress))
        return sorted(views, key=lambda view: view.opened_at)

    async def approval(self, approval_id: str) -> ApprovalView:
        """One open request; raises InvalidInputError when there is none of this id."""
        session_id = await self._store.approval_session(approval_id)
        progress = None if session_id is None else await self._ledger.look(session_id)
        for view in () if progress is None else approval_views(progress):
            if view.approval_id == approval_id:
                return view
        raise InvalidInputError(
            f"no approval {approval_id!r} is open; `mcpuppet approvals` lists those that are"
        )

    async def approve(
        self, approval_id: str, person: Person, content: str, channel: str = "cli"
    ) -> SessionView:
        """Vote for an approval as it was shown: `content` is the digest of what was on show.

        Raises NotAuthorisedError when this person may not approve it, and InvalidInputError when it
        is not open or shows something else by now.
        """

        def vote(progress: Progress, approval: ApprovalState | AskState) -> None:
            self._check_voter(approval, person)
            self._check_content(progress, approval, content)
            if isinstance(approval, AskState):
                progress.agreed(approval, person.name, person.roles, content, channel)
            else:
                progress.voted(approval, person.name, content, channel)

        return await self._decide(approval_id, vote)

    async def deny(self, approval_id: str, person: Person, reason: str) -> SessionView:
        """Deny an approval; one denial decides. The reason reaches the model as guidance."""
        if not reason.strip():
            raise InvalidInputError('a denial needs a reason: --reason "..."')

        def vote(progress: Progress, approval: ApprovalState | AskState) -> None:
            if not person.roles & set(approval.roles):
                raise NotAuthorisedError(_needs_role(person, approval.roles))
            if isinstance(approval, AskState):
                progress.refused(approval, person.name, reason.strip())
            else:
                progress.denied(approval, person.name, reason.strip())

        return await self._decide(approval_id, vote)

    async def bypass(
        self, approval_id: str, person: Person, content: str, justification: str
    ) -> SessionView:
        """Pass over an approval in an emergency, where the workflow lets this person do so."""

        def vote(progress: Progress, approval: ApprovalState | AskState) -> None:
            if isinstance(approval, AskState):
                raise NotAuthorisedError("a request about a single call cannot be bypassed")
            step = progress.workflow.step(approval.step)
            bypass = None if step.approval is None else step.approval.bypass
            if bypass is None:
                raise NotAuthorisedError(f"the workflow lets nobody bypass {approval.step}")
            self._check_bypass(progress, bypass, person, justification.strip())
            self._check_separation(approval, person)
            self._check_content(progress, approval, content)
            progress.bypassed(approval, person.name, justification.strip())

        return await self._decide(approval_id, vote)

    async def _decide(
        self, approval_id: str, vote: Callable[[Progress, ApprovalState | AskState], None]
    ) -> SessionView:
        session_id = await self._store.approval_session(approval_id)
        if session_id is None:
            await self.approval(approval_id)
            raise InvalidInputError(f"approval {approval_id!r} is not open")

        def change(progress: Progress) -> None:
            of_run = () if progress.run is None else progress.run.approvals.values()
            for approval in (*of_run, *progress.state.asks.values()):
                if approval.approval_id == approval_id and approval.status == "open":
                    vote(progress, approval)
                    return
            raise InvalidInputError(f"approval {approval_id!r} is not open any more")

        _, progress = await self._ledger.change(session_id, change)
        return self._view(progress)

    @staticmethod
    def _check_voter(approval: ApprovalState | AskState, person: Person) -> None:
        if not person.roles & set(approval.roles):
            raise NotAuthorisedError(_needs_role(person, approval.roles))
        People._check_separation(approval, person)
        if any(name == person.name for name, _ in approval.votes):
            raise NotAuthorisedError(f"{person.name} has approved this already; others must too")

    @staticmethod
    def _check_separation(approval: ApprovalState | AskState, person: Person) -> None:
        separated = isinstance(approval, AskState) or approval.separation
        if separated and person.name == approval.requested_by:
            raise NotAuthorisedError(f"{person.name} asked for this and may not decide it")

    @staticmethod
    def _check_content(
        progress: Progress, approval: ApprovalState | AskState, content: str
    ) -> None:
        if isinstance(approval, AskState):
            shown = ask_digest(progress.session_id, approval)
        else:
            assert progress.run is not None
            shown = content_digest(progress.session_id, progress.run, approval)
        if content != shown:
            raise InvalidInputError(
                f"approval {approval.approval_id!r} shows something else by now: look at it again"
            )

    @staticmethod
    def _check_bypass(
        progress: Progress, bypass: Bypass, person: Person, justification: str
    ) -> None:
        if not person.roles & set(bypass.roles):
            raise NotAuthorisedError(_needs_role(person, tuple(bypass.roles)))
        if len(justification) < bypass.justification:
            raise InvalidInputError(
                f"a justification has at least {bypass.justification} characters; "
                f"this one has {len(justification)}"
            )
        if bypass.when is None:
            return
        assert progress.run is not None
        try:
            holds = bypass.when.evaluate_bool(variables(progress.workflow, progress.run))
        except EvaluationError as error:
            raise NotAuthorisedError(f"`{bypass.when.source}` cannot be read: {error}") from error
        if not holds:
            raise NotAuthorisedError(f"a bypass needs `{bypass.when.source}`, which does not hold")

    # --- runs -----------------------------------------------------------------------------------

    async def cancel(self, session_id: str, person: Person, reason: str) -> SessionView:
        """End the active run of a session."""

        def change(progress: Progress) -> None:
            if progress.known is None:
                raise UnknownSessionError(session_id)
            if progress.run is None:
                raise InvalidInputError(f"session {session_id!r} has no active run")
            progress.cancelled(person.name, reason.strip() or "cancelled")

        _, progress = await self._ledger.change(session_id, change)
        return self._view(progress)

    async def reopen_inputs(self, session_id: str, person: Person, note: str) -> SessionView:
        """Let the inputs of a session's rules file be declared anew: they count as given again."""

        def change(progress: Progress) -> None:
            if progress.known is None:
                raise UnknownSessionError(session_id)
            progress.reopen_inputs(person.name, note.strip())

        _, progress = await self._ledger.change(session_id, change)
        return self._view(progress)

    async def resolve(
        self, session_id: str, target: str, person: Person, happened: bool, note: str
    ) -> SessionView:
        """Settle a held call (`call_…`), or a step that a guard holds (by its id).

        `happened` says that the call took effect, or that the guard is to be read as true.
        """

        def change(progress: Progress) -> None:
            if progress.known is None:
                raise UnknownSessionError(session_id)
            run = progress.run
            held = {} if run is None else dict(run.held)
            call = progress.state.calls.get(target)
            if (call is not None and call.unknown) or target in {
                hold.call_id for hold in held.values()
            }:
                progress.resolved(target, happened, person.name, note)
            elif run is not None and target in held and run.step_status(target) == PENDING:
                progress.released(target, happened, person.name, note)
            else:
                waiting = [hold.call_id or step for step, hold in held.items()]
                raise InvalidInputError(
                    f"{target!r} does not wait to be settled in {session_id!r}; "
                    f"these do: {', '.join(waiting) or 'none'}"
                )

        _, progress = await self._ledger.change(session_id, change)
        return self._view(progress)

    def _view(self, progress: Progress) -> SessionView:
        name = progress.state.principal
        return session_view(progress, self._settings.principal(name).principal)


def _needs_role(person: Person, roles: tuple[str, ...]) -> str:
    return f"{person.name} lacks the role {' or '.join(roles)} that decides this"
