"""Calls that a person has to agree to: granted, refused, being decided, or to be asked about.

All policies that ask about one call make one request, bound to the digest of the call. Agreement is
good for one call; a refusal stands for that very call, so that asking again cannot wear people out.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from mcpuppet.session.state import AskState, SessionState, StepCall
from mcpuppet.session.verdict import Allowed, ApprovalNeeded, AskNeeded, Decision, Denied

MOST_OPEN = 20
"""How many calls of one session may wait for people at a time."""


def settle_asks(state: SessionState, answer: Decision, now: datetime) -> Decision:
    """The answer, once what people were asked and said is taken into account."""
    if not isinstance(answer, Allowed):
        return answer
    edited = _edited_request(state, answer.digest, now)
    if not answer.asks and edited is None:
        return answer
    wanted = {one.policy for one in answer.asks}
    if edited is not None:  # whoever edited it is its author, and others have to agree
        wanted |= set(edited.policies)
    agreed = _agreed_for_retry(state, answer, wanted, now)
    if agreed is not None:
        policies = tuple(sorted(wanted))
        return replace(answer, asks=(), agreed=policies, agreed_until=agreed.agreed_until)
    ask = _request_for(state, answer.digest, wanted, now)
    if ask is None:
        return _ask(state, answer)
    if ask.status == "rejected":
        asked = {one.policy: one.book for one in answer.asks if one.policy in ask.policies}
        policy = next(iter(asked or ask.policies))
        reason = f"a person said no; guidance: {ask.reason}"
        book = asked.get(policy, "")
        return Denied(policy, reason, answer.step, None, answer.verdicts, book)
    if ask.status == "open":
        return ApprovalNeeded(
            answer.step,
            ask.approval_id,
            ", ".join(ask.policies),
            answer.digest,
            ask.roles,
            ask.expires_at,
            answer.verdicts,
            why_asked(answer),
        )
    grants = (*answer.grants, ask.approval_id)
    return replace(
        answer,
        asks=(),
        grants=grants,
        agreed=tuple(sorted(wanted)),
        agreed_until=ask.expires_at,
    )


def _agreed_for_retry(
    state: SessionState, answer: Allowed, wanted: set[str], now: datetime
) -> StepCall | None:
    """The last attempt of a step, if this is another one of the very call people agreed to."""
    run = state.active_run
    if run is None or answer.step is None or answer.attempt < 2:
        return None
    last = run.current.get(answer.step)
    if last is None or last.agreed_until is None or now >= last.agreed_until:
        return None
    return last if last.digest == answer.digest and wanted <= set(last.agreed) else None


def _edited_request(state: SessionState, digest: str, now: datetime) -> AskState | None:
    """The request about a call that a person has changed into this one."""
    for ask in state.asks.values():
        if ask.asked_as and ask.digest == digest:
            return ask if ask.status == "rejected" or now < ask.expires_at else None
    return None


def _request_for(
    state: SessionState, digest: str, wanted: set[str], now: datetime
) -> AskState | None:
    """The request about this call that covers every policy that asks now.

    One that was rejected counts for each of its policies: that more ask by now changes no mind.
    """
    in_order = sorted(
        state.asks.values(), key=lambda one: (one.status != "rejected", one.approval_id)
    )
    for ask in in_order:
        if ask.digest != digest:
            continue
        if ask.status == "rejected" and not wanted.isdisjoint(ask.policies):
            return ask
        if ask.status != "rejected" and wanted <= set(ask.policies) and now < ask.expires_at:
            return ask
    return None


def _ask(state: SessionState, answer: Allowed) -> Decision:
    waiting = sum(one.status == "open" for one in state.asks.values())
    if waiting >= MOST_OPEN:
        first = answer.asks[0]
        reason = f"people have {waiting} calls of this session to decide on already"
        return Denied(first.policy, reason, answer.step, None, answer.verdicts, first.book)
    return AskNeeded(answer.step, answer.digest, answer.asks, answer.verdicts)


def why_asked(answer: Allowed | AskNeeded) -> str:
    """Why each policy asks, in words for the caller."""
    return "; ".join(dict.fromkeys(one.reason for one in answer.asks))
