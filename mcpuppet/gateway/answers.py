"""What a client is answered: results and texts, made from what was decided and what happened.

Plain JSON in the shape of an MCP `CallToolResult` (MCP 2025-11-25, server/tools, "Tool Result").
Decides nothing. Every answer says what is legal now, as text for the model and as data.

A refusal of a tool that has an `outputSchema` carries no structured content: the TypeScript SDK's
client (1.x) holds structured content to that schema even when the result reports an error, and its
user would see a protocol failure instead of the reason. The data is in `_meta` in every case.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from mcpuppet.session.decision import Allowed, ApprovalNeeded, Denied, LegalCall
from mcpuppet.session.edits import ABSENT
from mcpuppet.session.outcome import Failed, Outcome, Succeeded, Unknown
from mcpuppet.views import CallAnswer, legal_sentence

DECISION = "dev.mcpuppet/decision"
"""The key under `_meta` of what was decided and what is legal now."""

Exposed = Callable[[str], str]
"""From `server.tool` to the name that the client knows."""

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Client:
    """Who is answered: the names it knows, and whether there is a workflow that it may start."""

    exposed: Exposed
    may_start: bool


_GOING_ON = frozenset({"active", "waiting_approval", "failing"})


def call_answer(answer: CallAnswer, client: Client, has_output_schema: bool) -> Result:
    """The result of a call: the server's own, or why there is none, and what is legal now."""
    passed = _passed_through(answer.outcome)
    if passed is not None and answer.how and has_output_schema:
        passed = {**passed, "isError": "structuredContent" not in passed}
    details = decision_details(answer, client.exposed)
    if passed is not None:
        result = {**passed, "content": [*passed["content"], text(_legal(answer, client))]}
    else:
        words = f"{_why_not(answer, client.exposed)}\n{_legal(answer, client)}"
        result = failure(words)
        if answer.status == "succeeded" and not has_output_schema:
            result["isError"] = False
        if not has_output_schema:
            result["structuredContent"] = details
    result["_meta"] = {**(result.get("_meta") or {}), DECISION: details}
    return result


def act_answer(answer: CallAnswer, client: Client) -> Result:
    """The same for a call made through `workflow_act`, whose own schema wraps the tool's result."""
    result = call_answer(answer, client, has_output_schema=True)
    own = result.get("structuredContent")
    details = decision_details(answer, client.exposed)
    return {**result, "structuredContent": details | {"result": own}}


def decision_details(answer: CallAnswer, exposed: Exposed) -> dict[str, Any]:
    """What was decided, as data; `legal` may name patterns of tools."""
    details: dict[str, Any] = {
        "status": answer.status,
        "call_id": answer.call_id,
        "session_id": answer.session_id,
        "tool": exposed(answer.tool),
        "legal": list(dict.fromkeys(exposed(one.tool) for one in answer.legal)),
    }
    match answer.decision:
        case Denied() as denied:
            details["rule"] = denied.rule
            details["book"] = denied.book or None
            details["step"] = denied.step
            details["legal_at"] = None if denied.legal_at is None else moment(denied.legal_at)
        case ApprovalNeeded() as needed:
            details["step"] = needed.step
            details["approval_id"] = needed.approval_id
            details["approval_step"] = needed.approval_step
            details["roles"] = list(needed.roles)
            details["expires_at"] = moment(needed.expires_at)
            details["poll_with"] = "workflow_status"
        case Allowed() as allowed if allowed.would_have_denied:
            details["would_have_denied"] = [dict(one) for one in allowed.would_have_denied]
    if answer.guidance and not answer.allowed:
        details["guidance"] = dict(answer.guidance)
    if answer.edit is not None:
        details["edited"] = {
            "approval_id": answer.edit.approval_id,
            "by": answer.edit.by,
            "arguments": dict(answer.edit.call.arguments),
        }
    if answer.note:
        details["note"] = answer.note
    if answer.reason:
        details["reason"] = answer.reason
    if answer.how:
        details["repeats"] = answer.repeats
        details["how"] = answer.how
    return details


def legal_text(legal: tuple[LegalCall, ...], status: str, client: Client) -> str:
    """What is legal now, in the client's own names."""
    named = tuple(replace(one, tool=client.exposed(one.tool)) for one in legal)
    if named or status in _GOING_ON:
        return legal_sentence(named, status)
    over = "No run is active" if status == "idle" else f"The run is over ({_words(status)})"
    if not client.may_start:
        return f"Legal now: nothing. {over}, and there is no workflow to begin."
    return f"{over}: call workflow_start to begin {'one' if status == 'idle' else 'another'}."


def _words(status: str) -> str:
    return status.replace("_", " ")


def failure(words: str) -> Result:
    """A result that reports an error to the model."""
    return {"content": [text(words)], "isError": True}


def text(words: str) -> dict[str, str]:
    """A block of text."""
    return {"type": "text", "text": words}


def moment(at: datetime) -> str:
    """A time as people and programs read it: UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def how_to_decide(approval_id: str) -> str:
    """How a person decides; nothing that a model can call does it."""
    return f'`mcpuppet approve {approval_id}` or `mcpuppet deny {approval_id} --reason "..."`'


def _passed_through(outcome: Outcome | None) -> Mapping[str, Any] | None:
    """The server's own result, where it sent one that a client may be given."""
    if isinstance(outcome, Succeeded):
        return outcome.result
    if isinstance(outcome, Failed) and outcome.reason == "tool_error":
        return outcome.result
    return None


def _repeat_note(answer: CallAnswer) -> str:
    """That nothing was called, where a request was made before."""
    if not answer.how:
        return ""
    if answer.how == "attached":
        known = "this waited for its answer"
    else:
        known = "the recorded outcome is replayed"
    return f"This repeats {answer.repeats}: nothing was called again, and {known}.\n"


def _legal(answer: CallAnswer, client: Client) -> str:
    legal = _repeat_note(answer) + legal_text(answer.legal, answer.run_status, client)
    legal = f"{answer.note}\n{legal}" if answer.note else legal
    edited = _edited(answer)
    return f"{edited}\n{legal}" if edited else legal


def _edited(answer: CallAnswer) -> str:
    """How a person changed the call, where one did."""
    edit = answer.edit
    if edit is None:
        return ""
    changes = "; ".join(f"{name}: {_was(a)} -> {_was(b)}" for name, a, b in edit.changes())
    return (
        f"A person ({edit.by}) changed the arguments of this call ({changes}): what MCPuppet "
        "decides on and sends are the changed ones. Tell the user, and do not change them back."
    )


def _was(value: object) -> str:
    return "nothing" if value is ABSENT else json.dumps(value, default=dict)


def _guidance(answer: CallAnswer) -> str:
    """What people said when they denied approvals of this run."""
    if isinstance(answer.decision, Allowed):
        return ""
    return "".join(
        f"\nA person denied {step}; guidance: {reason}" for step, reason in answer.guidance.items()
    )


def _why_not(answer: CallAnswer, exposed: Exposed) -> str:
    match answer.decision, answer.outcome:
        case (Denied() as denied, _):
            return _refusal(denied, exposed(answer.tool)) + _guidance(answer)
        case (ApprovalNeeded() as needed, _):
            return _waiting(needed, exposed(answer.tool)) + _guidance(answer)
        case (_, Unknown(message=message)):
            return _not_known(message, answer)
        case _:
            return "The call failed." if answer.note else f"The call failed: {answer.reason}."


def _refusal(denied: Denied, tool: str) -> str:
    where = f" in {denied.book}" if denied.book else ""
    if denied.step is not None:
        where = f" of step {denied.step}"
    when = "" if denied.legal_at is None else f" It may be called from {moment(denied.legal_at)}."
    return (
        f"Refused: {denied.reason}.{when}\n"
        f"Rule: {denied.rule}{where}. {tool} was not called, and nothing has changed."
    )


def _waiting(needed: ApprovalNeeded, tool: str) -> str:
    people = " or ".join(needed.roles)
    return (
        f"Awaiting approval: {needed.approval_step} needs a person with the role {people} to "
        f"decide first. {tool} was not called yet.\n"
        f"Approval {needed.approval_id} is open until {moment(needed.expires_at)} and shows "
        f"exactly these arguments. A person decides with {how_to_decide(needed.approval_id)}.\n"
        f"Do not wait here: tell the user, and call workflow_status to see whether it was decided. "
        f"Then call {tool} again with the same arguments: it goes through once. Other arguments "
        "need a new approval."
    )


def _not_known(message: str, answer: CallAnswer) -> str:
    if answer.happened is not None:
        took = "took effect" if answer.happened else "did not take effect"
        return f"There was no answer ({message}), but it was found out since that the call {took}."
    step = getattr(answer.decision, "step", None)
    if step is None or any(one.step == step for one in answer.legal):
        return f"The outcome is not known: {message}. It may be called again."
    return (
        f"The outcome is not known: {message}.\n"
        f"Do not call it again: it may have taken effect. Step {step} is held until a person says "
        f"what happened, with `mcpuppet resolve {answer.repeats or answer.call_id}` and "
        "`--happened` or `--did-not-happen`."
    )
