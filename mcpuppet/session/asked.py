"""What a decision record tells beside the decision: how the call came about that was asked for.

An auditor who makes a decision again has the session's own history, the texts of the rules, and the
record. What the settings said is in none of the former, so the record names it under `settings`, as
far as a decision reads it:

- `hash`: SHA-256 of the settings in force, in hex;
- `roles`: the roles of the principal, sorted;
- `workflow`: where no run was active, the hash of the workflow that told what is always legal;
- `unlisted`, `listed`, `ordered`: where tools that the run does not know can be legal, what becomes
  of a tool that nothing lists, whether some workflow of the principal lists this one, and whether
  one says when it may be called.

That the settings really said so is not proven by the record: it is as good as its place in the
signed tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mcpuppet.session import events as e
from mcpuppet.session.call import Call, Principal, digest_of
from mcpuppet.session.decision import Books
from mcpuppet.session.requests import why_asked
from mcpuppet.session.state import SessionState
from mcpuppet.session.verdict import ApprovalNeeded, AskNeeded, Denied


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where a call was asked for, and what the settings said of it then."""

    node: str
    """The gateway process that decided."""
    credential: str = ""
    """How the principal proved who they are: `stdio`, `api`, or a token's first digits."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    request: str = ""
    """SHA-256 of the tool and the arguments as they were asked for."""
    client_key: str | None = None
    """The idempotency key that the client gave."""


def settings_read(
    settings_hash: str, who: Principal, books: Books, *, idle: bool
) -> dict[str, Any]:
    """What a decision reads of the settings; `idle` where no run was active."""
    read: dict[str, Any] = {"hash": settings_hash, "roles": sorted(who.roles)}
    if idle and books.workflow is not None:
        read["workflow"] = books.workflow.hash
    if books.rules is not None or books.unlisted != "deny":
        read["unlisted"] = books.unlisted
        read["listed"] = books.is_listed
        read["ordered"] = books.is_ordered
    return read


def begun_steps(state: SessionState | None) -> tuple[str, ...]:
    """The steps of the active run that are not pending, as `step:status`."""
    run = None if state is None else state.active_run
    return () if run is None else run.begun


def refused_call(
    state: SessionState,
    call_id: str,
    call: Call,
    who: Principal,
    decision: ApprovalNeeded | Denied,
    there: Circumstances,
) -> e.CallDeferred | e.CallDenied:
    """The event that says that a call is not made, or not yet."""
    if isinstance(decision, ApprovalNeeded):
        return e.CallDeferred(
            call_id=call_id,
            approval_id=decision.approval_id,
            step=decision.step,
            tool=call.tool,
            arguments=call.arguments,
            digest=decision.digest,
            principal=who.name,
            verdicts=decision.verdicts,
            node=there.node,
            credential=there.credential,
            before=begun_steps(state),
            settings=there.settings,
        )
    return e.CallDenied(
        call_id=call_id,
        tool=call.tool,
        arguments=call.arguments,
        digest=digest_of([call.tool, call.on_record]),
        step=decision.step,
        rule=decision.rule,
        reason=decision.reason,
        principal=who.name,
        verdicts=decision.verdicts,
        node=there.node,
        credential=there.credential,
        before=begun_steps(state),
        settings=there.settings,
    )


def shown_values(needed: AskNeeded, call: Call) -> tuple[tuple[str, Any], ...]:
    """What people are shown first: what the policies name, or else every argument."""
    named = dict(pair for one in needed.asks for pair in one.show)
    if named:
        return tuple(named.items())
    return tuple((f"args.{name}", value) for name, value in call.arguments.items())


def opened_request(
    needed: AskNeeded,
    call: Call,
    who: Principal,
    approval_id: str,
    now: datetime,
    seen: Mapping[str, str],
) -> tuple[e.AskOpened, ApprovalNeeded]:
    """One request for everything that asks about a call, and the decision that it makes.

    `seen` tells, for the path of each value that is shown, where it was first seen.
    """
    opened = e.AskOpened(
        approval_id=approval_id,
        step=needed.step,
        tool=call.tool,
        arguments=call.arguments,
        digest=needed.digest,
        policies={one.policy: one.roles for one in needed.asks},
        show=tuple(
            {"path": path, "value": value, "seen": seen[path]}
            for path, value in shown_values(needed, call)
        ),
        requested_by=who.name,
        expires_at=now + min(one.lasts for one in needed.asks),
    )
    return opened, ApprovalNeeded(
        needed.step,
        approval_id,
        ", ".join(opened.policies),
        needed.digest,
        tuple(dict.fromkeys(role for one in needed.asks for role in one.roles)),
        opened.expires_at,
        needed.verdicts,
        why_asked(needed),
    )
