"""What people decide: approvals, edits, bypasses and their reviews, the ends of runs, outcomes.

Every decision here needs a person, and a person is whoever holds a token that `user add` gave out.
Nothing in this module can be reached over MCP but `confirm`, which only the workflow's own word
opens. A decision is bound to the content that the person was shown: when that has changed, the
decision is refused and has to be looked at again. Every refusal is recorded (`attempts`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from mcpuppet.errors import InvalidInputError, NotAuthorisedError, UnknownSessionError
from mcpuppet.ledger import Ledger
from mcpuppet.people.attempts import Attempts
from mcpuppet.people.editing import edit_request
from mcpuppet.people.entitlement import (
    Request,
    check_bypass,
    check_content,
    check_once,
    check_requester,
    check_reviewer,
    check_role,
    check_separation,
    check_voter,
)
from mcpuppet.people.users import ADMIN, TOKEN_PREFIX, USER_OF, Person, Users, token_hash
from mcpuppet.session.admin_events import ADMINISTRATION, DecisionRefused
from mcpuppet.session.consequences import Progress
from mcpuppet.session.deciding import Proof
from mcpuppet.session.state import AskState, OpenCall, RunState
from mcpuppet.settings import Settings
from mcpuppet.store.protocol import Store
from mcpuppet.views import (
    ApprovalView,
    ReviewView,
    SessionView,
    approval_views,
    review_views,
    session_view,
    without_votes_of,
)
from mcpuppet.workflow.marking import PENDING, RUNNING

__all__ = ["ADMIN", "TOKEN_PREFIX", "People", "Person", "token_hash"]

Vote = Callable[[Progress, Request, Person, frozenset[str]], None]
"""What becomes of an open request: the person, and the people whose votes do not count."""


class People:
    """Takes decisions from people, each checked against their token, their roles and the rules."""

    def __init__(self, ledger: Ledger, store: Store, settings: Settings) -> None:
        self._ledger = ledger
        self._store = store
        self._settings = settings
        self._attempts = Attempts(ledger, store, settings.hash)
        self.users = Users(ledger, store, settings, self._attempts)

    # --- who ------------------------------------------------------------------------------------

    async def has_users(self) -> bool:
        """Whether anybody has been added yet."""
        return await self.users.has_any()

    async def add_user(self, name: str, roles: tuple[str, ...], by: Person | None = None) -> str:
        """Add a person and return their token; see `Users.add`."""
        return await self.users.add(name, roles, by)

    async def authenticate(
        self, token: str, action: str = "authenticate", target: str = "", channel: str = "cli"
    ) -> Person:
        """The person who holds this token; raises NotAuthorisedError for any other text."""
        return await self.users.authenticate(token, action, target, channel)

    def attempt(
        self,
        action: str,
        target: str,
        person: Person,
        channel: str = "cli",
        session_id: str | None = None,
    ) -> AbstractAsyncContextManager[None]:
        """Record it if what is done inside is refused; every decision is made inside of one."""
        return self._attempts.attempt(
            action,
            target,
            by=person.name,
            credential=person.credential,
            channel=channel,
            session_id=session_id,
        )

    async def refuse(
        self, action: str, target: str, person: Person, reason: str, channel: str = "cli"
    ) -> None:
        """Record a refusal that was found out before a decision was tried."""
        await self._attempts.record(
            DecisionRefused(action, target, person.name, person.credential, channel, reason)
        )

    # --- approvals ------------------------------------------------------------------------------

    async def approvals(self) -> list[ApprovalView]:
        """Every open request, the oldest first."""
        disabled = await self.users.disabled()
        views: list[ApprovalView] = []
        for session_id in dict.fromkeys(one for one, _ in await self._store.open_approvals()):
            progress = await self._ledger.look(session_id)
            if progress is not None:
                views.extend(approval_views(progress))
        views.sort(key=lambda view: view.opened_at)
        return [without_votes_of(view, disabled) for view in views]

    async def approval(self, approval_id: str) -> ApprovalView:
        """One open request; raises InvalidInputError when there is none of this id.

        What time has brought about is written down first, so that what is shown can be decided.
        """
        session_id = await self._store.approval_session(approval_id)
        if session_id is not None:
            _, progress = await self._ledger.change(session_id, _nothing_more)
            disabled = await self.users.disabled()
            for view in approval_views(progress):
                if view.approval_id == approval_id:
                    return without_votes_of(view, disabled)
        raise InvalidInputError(_no_approval(approval_id))

    async def approve(
        self, approval_id: str, person: Person, content: str, channel: str = "cli"
    ) -> SessionView:
        """Vote for an approval as it was shown: `content` is the digest of what was on show.

        Raises NotAuthorisedError when this person may not approve it, and InvalidInputError when it
        is not open or shows something else by now. Votes of people who were disabled since they
        voted do not count.
        """

        def vote(progress: Progress, request: Request, who: Person, void: frozenset[str]) -> None:
            check_voter(request, who)
            check_content(progress, request, content)
            if isinstance(request, AskState):
                progress.agreed(
                    request,
                    who.name,
                    who.roles,
                    content,
                    channel,
                    credential=who.credential,
                    void=void,
                )
            else:
                progress.voted(
                    request,
                    who.name,
                    content,
                    channel,
                    roles=who.roles,
                    credential=who.credential,
                    void=void,
                )

        return await self._decide("approve", approval_id, person, channel, vote)

    async def deny(
        self, approval_id: str, person: Person, reason: str, channel: str = "cli"
    ) -> SessionView:
        """Deny an approval; one denial decides. The reason reaches the model as guidance."""

        def vote(progress: Progress, request: Request, who: Person, void: frozenset[str]) -> None:
            del void
            check_role(request, who)
            if not reason.strip():
                raise InvalidInputError('a denial needs a reason: --reason "..."')
            proof = Proof(who.credential, channel)
            if isinstance(request, AskState):
                progress.refused(request, who.name, reason.strip(), proof)
            else:
                progress.denied(request, who.name, reason.strip(), proof)

        return await self._decide("deny", approval_id, person, channel, vote)

    async def edit(
        self,
        approval_id: str,
        person: Person,
        content: str,
        call_digest: str,
        arguments: Mapping[str, Any],
        note: str = "",
        channel: str = "cli",
    ) -> SessionView:
        """Put other arguments in place of those of the shown call with the digest `call_digest`.

        All votes are void then, and whoever edited the call may not vote for it where requester and
        approver are to be different people, nor ever for a request about a single call. Raises what
        `approve` raises, and InvalidInputError for arguments that would be refused.
        """

        def vote(progress: Progress, request: Request, who: Person, void: frozenset[str]) -> None:
            del void
            check_role(request, who)
            check_requester(request, who)
            check_content(progress, request, content)
            principal = self._settings.principal(progress.state.principal).principal
            edit_request(
                progress,
                request,
                call_digest,
                arguments,
                principal=principal,
                person=who.name,
                note=note.strip(),
                proof=Proof(who.credential, channel),
            )

        return await self._decide("edit", approval_id, person, channel, vote)

    async def bypass(
        self,
        approval_id: str,
        person: Person,
        content: str,
        justification: str,
        channel: str = "cli",
    ) -> SessionView:
        """Pass over an approval in an emergency, where the workflow lets this person do so."""

        def vote(progress: Progress, request: Request, who: Person, void: frozenset[str]) -> None:
            del void
            if isinstance(request, AskState):
                raise NotAuthorisedError("a request about a single call cannot be bypassed")
            step = progress.workflow.step(request.step)
            bypass = None if step.approval is None else step.approval.bypass
            if bypass is None:
                raise NotAuthorisedError(f"the workflow lets nobody bypass {request.step}")
            check_bypass(progress, bypass, who, justification.strip())
            check_separation(request, who)
            check_content(progress, request, content)
            proof = Proof(who.credential, channel)
            progress.bypassed(request, who.name, justification.strip(), proof)

        return await self._decide("bypass", approval_id, person, channel, vote)

    async def confirm(
        self,
        approval_id: str,
        principal: str,
        content: str,
        *,
        yes: bool,
        reason: str,
        channel: str,
    ) -> SessionView:
        """Take the word of whoever sits at a principal's own client, where a step names `elicit`.

        It counts as one vote, by `user of PRINCIPAL`, for exactly what was shown; a no with a
        reason denies. It proves that the client said so, and not which human. Raises what `approve`
        raises.
        """
        somebody = Person(f"{USER_OF}{principal}", frozenset())

        def vote(progress: Progress, request: Request, who: Person, void: frozenset[str]) -> None:
            elicits = not isinstance(request, AskState) and (
                progress.workflow.definition.steps[request.step].elicit
            )
            if isinstance(request, AskState) or not elicits:
                raise NotAuthorisedError("the workflow does not let the client's user decide this")
            if request.requested_by != principal:
                raise NotAuthorisedError(f"{principal} did not ask for this")
            check_once(request, who)
            check_content(progress, request, content)
            if yes:
                progress.voted(request, who.name, content, channel, void=void)
            elif reason.strip():
                progress.denied(request, who.name, reason.strip(), Proof("", channel))
            else:
                raise InvalidInputError("a denial needs a reason")

        return await self._decide("confirm", approval_id, somebody, channel, vote)

    async def _decide(
        self, action: str, approval_id: str, person: Person, channel: str, vote: Vote
    ) -> SessionView:
        async with self.attempt(action, approval_id, person, channel):
            who = await self.users.standing(person)
            session_id = await self._store.approval_session(approval_id)
            if session_id is None:
                raise InvalidInputError(_no_approval(approval_id))
            # Written down first: what a refusal below raises must not keep it from being so.
            await self._ledger.change(session_id, _nothing_more)
            void = await self.users.disabled()

            def change(progress: Progress) -> None:
                of_run = () if progress.run is None else progress.run.approvals.values()
                for request in (*of_run, *progress.state.asks.values()):
                    if request.approval_id == approval_id and request.status == "open":
                        vote(progress, request, who, void)
                        return
                raise InvalidInputError(f"approval {approval_id!r} is not open any more")

            _, progress = await self._ledger.change(session_id, change)
        return self._view(progress, void)

    # --- reviews --------------------------------------------------------------------------------

    async def reviews(self) -> list[ReviewView]:
        """Every bypass that nobody has reviewed yet, the one due first first."""
        views: list[ReviewView] = []
        for session_id in dict.fromkeys(one for one, _ in await self._store.open_reviews()):
            progress = await self._ledger.look(session_id)
            if progress is not None:
                views.extend(review_views(progress))
        return sorted(views, key=lambda view: (view.due_at, view.review_id))

    async def review(
        self, review_id: str, person: Person, *, justified: bool, note: str, channel: str = "cli"
    ) -> SessionView:
        """Say whether a bypass was justified; whoever bypassed may not say so.

        Raises NotAuthorisedError for a person without a fitting role, and InvalidInputError when no
        such review is open or there is no note.
        """
        async with self.attempt("review", review_id, person, channel):
            who = await self.users.standing(person)
            session_id = await self._store.review_session(review_id)
            if session_id is None:
                raise InvalidInputError(
                    f"no review {review_id!r} is open; `mcpuppet reviews` lists those that are"
                )

            def change(progress: Progress) -> None:
                review = progress.state.reviews.get(review_id)
                if review is None:
                    raise InvalidInputError(f"review {review_id!r} is not open any more")
                check_reviewer(review, who)
                if not note.strip():
                    raise InvalidInputError('a review needs a note: --note "..."')
                proof = Proof(who.credential, channel)
                progress.reviewed(
                    review, who.name, justified=justified, note=note.strip(), proof=proof
                )

            _, progress = await self._ledger.change(session_id, change)
        return self._view(progress)

    # --- runs -----------------------------------------------------------------------------------

    async def cancel(
        self, session_id: str, person: Person, reason: str, channel: str = "cli"
    ) -> SessionView:
        """End the active run of a session."""

        def change(progress: Progress, who: Person) -> None:
            if progress.run is None:
                raise InvalidInputError(f"session {session_id!r} has no active run")
            proof = Proof(who.credential, channel)
            progress.cancelled(who.name, reason.strip() or "cancelled", proof)

        return await self._act("cancel", session_id, session_id, person, channel, change)

    async def reopen_inputs(
        self, session_id: str, person: Person, note: str, channel: str = "cli"
    ) -> SessionView:
        """Let the inputs of a session's rules file be declared anew: they count as given again."""

        def change(progress: Progress, who: Person) -> None:
            progress.reopen_inputs(who.name, note.strip(), who.credential, channel)

        return await self._act("reopen", session_id, session_id, person, channel, change)

    async def resolve(
        self,
        session_id: str,
        target: str,
        person: Person,
        happened: bool,
        note: str,
        channel: str = "cli",
    ) -> SessionView:
        """Settle a held call (`call_…`), or a step that a guard holds (by its id).

        `happened` says that the call took effect, or that the guard is to be read as true; that is
        refused of a call that its workflow has made again meanwhile.
        """

        def change(progress: Progress, who: Person) -> None:
            proof = Proof(who.credential, channel)
            run = progress.run
            held = {} if run is None else dict(run.held)
            call = progress.state.calls.get(target)
            if happened and call is not None and call.unknown:
                _check_not_made_again(run, call)
            if (call is not None and call.unknown) or target in {
                hold.call_id for hold in held.values()
            }:
                progress.resolved(target, happened, who.name, note, proof)
            elif run is not None and target in held and run.step_status(target) == PENDING:
                progress.released(target, happened, who.name, note, proof)
            else:
                waiting = [hold.call_id or step for step, hold in held.items()]
                raise InvalidInputError(
                    f"{target!r} does not wait to be settled in {session_id!r}; "
                    f"these do: {', '.join(waiting) or 'none'}"
                )

        return await self._act("resolve", target, session_id, person, channel, change)

    async def _act(
        self,
        action: str,
        target: str,
        session_id: str,
        person: Person,
        channel: str,
        work: Callable[[Progress, Person], None],
    ) -> SessionView:
        """Let a person change a session."""
        async with self.attempt(action, target, person, channel, session_id):
            who = await self.users.standing(person)

            def change(progress: Progress) -> None:
                if progress.known is None or session_id == ADMINISTRATION:
                    raise UnknownSessionError(session_id)
                work(progress, who)

            _, progress = await self._ledger.change(session_id, change)
        return self._view(progress)

    def _view(self, progress: Progress, void: frozenset[str] = frozenset()) -> SessionView:
        name = progress.state.principal
        view = session_view(progress, self._settings.principal(name).principal)
        if not void:
            return view
        return replace(view, approvals=tuple(without_votes_of(one, void) for one in view.approvals))


def _check_not_made_again(run: RunState | None, call: OpenCall) -> None:
    """Raise InvalidInputError where a word on this call would not keep its step from being done."""
    if run is None or call.step is None or call.step in run.held or call.run_id != run.run_id:
        return
    if call.purpose == "step" and run.step_status(call.step) in (PENDING, RUNNING):
        raise InvalidInputError(
            f"step {call.step} does not wait for {call.call_id} to be settled: its workflow makes "
            "the call again where the outcome is unknown (`on_unknown`). If nothing more is to be "
            "called, end the run with `mcpuppet cancel`"
        )


def _no_approval(approval_id: str) -> str:
    return f"no approval {approval_id!r} is open; `mcpuppet approvals` lists those that are"


def _nothing_more(progress: Progress) -> None:
    """A change that adds nothing to what time has brought about."""
