"""The intent to call: one event that says everything that follows from the call being made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcpuppet.session import events as e
from mcpuppet.session.amounts import amount_text
from mcpuppet.session.asked import Circumstances, begun_steps
from mcpuppet.session.call import Call, Principal
from mcpuppet.session.consequences import Progress
from mcpuppet.session.environment import variables
from mcpuppet.session.fate import new_key
from mcpuppet.session.verdict import Allowed, Counted
from mcpuppet.session.watching import watched
from mcpuppet.workflow.compiled import Rulebook


def start_call(
    progress: Progress,
    call_id: str,
    call: Call,
    who: Principal,
    decision: Allowed,
    there: Circumstances,
) -> None:
    """Write the intent into the session, and what it reserves beside it."""

    def values(book: Rulebook) -> Mapping[str, Any]:
        return variables(
            book,
            progress.run,
            state=progress.state,
            arguments=call.arguments,
            principal=who,
            now=progress.source.now,
        )

    noticed = watched(progress.books, call, values)
    progress.uses = [one for one in decision.uses if one.scope in ("user", "period")]
    progress.emit(
        e.CallStarted(
            call_id=call_id,
            tool=call.tool,
            arguments=call.arguments,
            digest=decision.digest,
            purpose=decision.purpose,
            step=decision.step,
            attempt=decision.attempt,
            uses=tuple(_counted(one) for one in decision.uses),
            grants=decision.grants,
            principal=who.name,
            node=there.node,
            verdicts=decision.verdicts,
            locks=decision.locks,
            marks=noticed.marks,
            forgets=noticed.forgets,
            feeds=tuple(noticed.feeds),
            agreed=decision.agreed,
            agreed_until=decision.agreed_until,
            would_have_denied=decision.would_have_denied,
            credential=there.credential,
            before=begun_steps(progress.known),
            settings=there.settings,
            request=there.request,
            key=_key(progress, call_id, decision),
            client_key=there.client_key,
            reconcile=decision.reconcile,
        )
    )


def _key(progress: Progress, call_id: str, decision: Allowed) -> str | None:
    """The idempotency key that the server is given: that of the first attempt."""
    run = progress.run
    if not decision.has_key or run is None or decision.step is None:
        return None
    return decision.key or new_key(progress.session_id, run.run_id, decision.step, call_id)


def _counted(use: Counted) -> dict[str, Any]:
    amount = amount_text(use.amount)
    return {"book": use.book, "policy": use.policy, "scope": use.scope, "amount": amount}
