"""Who may decide on an open request: the rules, each of which passes or refuses in words.

Nothing here changes or records anything; `people` asks before it lets a word count.
"""

from __future__ import annotations

from mcpuppet.errors import InvalidInputError, NotAuthorisedError
from mcpuppet.people.users import Person
from mcpuppet.session.consequences import Progress
from mcpuppet.session.environment import variables
from mcpuppet.session.state import ApprovalState, AskState, ReviewState
from mcpuppet.views import ask_digest, content_digest
from mcpuppet.workflow.definition import Bypass
from mcpuppet.workflow.expression import EvaluationError

Request = ApprovalState | AskState


def check_role(request: Request, person: Person) -> None:
    """The person holds one of the roles that decide; raises NotAuthorisedError."""
    if not person.roles & set(request.roles):
        raise NotAuthorisedError(_needs_role(person, request.roles))


def check_voter(request: Request, person: Person) -> None:
    """The person may vote for the request; raises NotAuthorisedError."""
    check_role(request, person)
    check_separation(request, person)
    check_once(request, person)


def check_once(request: Request, person: Person) -> None:
    """The person has not voted yet; raises NotAuthorisedError."""
    if any(name == person.name for name, _ in request.votes):
        raise NotAuthorisedError(f"{person.name} has approved this already; others must too")


def _is_separated(request: Request) -> bool:
    return isinstance(request, AskState) or request.separation


def check_requester(request: Request, person: Person) -> None:
    """The person did not ask for this, where that matters; raises NotAuthorisedError."""
    if _is_separated(request) and person.name == request.requested_by:
        raise NotAuthorisedError(f"{person.name} asked for this and may not decide it")


def check_separation(request: Request, person: Person) -> None:
    """Whoever asked, or wrote the arguments, does not decide."""
    check_requester(request, person)
    if _is_separated(request) and person.name in request.editors:
        raise NotAuthorisedError(
            f"{person.name} has edited the call, and may not decide on their own edit"
        )


def check_content(progress: Progress, request: Request, content: str) -> None:
    """The request shows what the person was shown; raises InvalidInputError."""
    if isinstance(request, AskState):
        shown = ask_digest(progress, request)
    else:
        assert progress.run is not None
        shown = content_digest(progress, progress.run, request)
    if content != shown:
        raise InvalidInputError(
            f"approval {request.approval_id!r} shows something else by now: look at it again"
        )


def check_bypass(progress: Progress, bypass: Bypass, person: Person, justification: str) -> None:
    """The person may bypass now; raises NotAuthorisedError or InvalidInputError."""
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


def check_reviewer(review: ReviewState, person: Person) -> None:
    """The person may review the bypass; raises NotAuthorisedError."""
    if not person.roles & set(review.roles):
        raise NotAuthorisedError(_needs_role(person, review.roles))
    if person.name == review.bypassed_by:
        raise NotAuthorisedError(f"{person.name} bypassed the approval: somebody else reviews it")


def _needs_role(person: Person, roles: tuple[str, ...]) -> str:
    return f"{person.name} lacks the role {' or '.join(roles)} that decides this"
