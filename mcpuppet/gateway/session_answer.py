"""What `workflow_start` and `workflow_status` answer: the session as data and as text.

The shape of the data is described by `meta_tools`. Decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mcpuppet.gateway.answers import (
    Client,
    Exposed,
    Result,
    how_to_decide,
    legal_text,
    moment,
    text,
)
from mcpuppet.gateway.scene import Outlook, Scene
from mcpuppet.session.state import AskState
from mcpuppet.views import ApprovalView, SessionView, StepView


def session_answer(outlook: Outlook, session_id: str | None, client: Client) -> Result:
    """The answer of `workflow_start` and `workflow_status`: the session as data and as text."""
    data = _session_data(outlook, session_id, client.exposed)
    return {
        "content": [text("\n".join(_session_lines(outlook.scene, data, client)))],
        "structuredContent": data,
        "isError": False,
    }


def _session_data(outlook: Outlook, session_id: str | None, exposed: Exposed) -> dict[str, Any]:
    scene, schemas = outlook.scene, outlook.schemas
    view = outlook.view
    steps = () if view is None else view.steps
    approvals = () if view is None else view.approvals
    return {
        "session_id": session_id,
        "status": scene.status,
        **_run_data(view),
        "rules": _rules_data(scene),
        "steps": [_step_data(one, exposed) for one in steps],
        "legal": [
            _tool_data(one.tool, one.step, one.purpose, exposed, schemas) for one in scene.legal
        ],
        "always": [_tool_data(one, None, "always", exposed, schemas) for one in scene.always],
        "approvals": [_approval_data(one) for one in approvals if not one.policies],
        "asks": [_ask_data(one, exposed) for one in scene.next.state.asks.values()],
        "guidance": {} if view is None else dict(view.guidance),
        "held": [{"step": one.id, "reason": one.detail} for one in steps if one.status == "held"],
        "open_calls": [] if view is None else list(view.open_calls),
        "missing_servers": [{"server": one, "reason": why} for one, why in outlook.missing.items()],
    }


def _run_data(view: SessionView | None) -> dict[str, Any]:
    names = ("workflow", "version", "run_id", "end_reason")
    return {name: None if view is None else getattr(view, name) for name in names}


def _rules_data(scene: Scene) -> dict[str, Any] | None:
    """The rules file in force; None without one."""
    state = scene.next.state
    if scene.rules is None or state.rules is None:
        return None
    return {
        "name": state.rules.name,
        "version": state.rules.version,
        "inputs": dict(state.rules.inputs),
        "declared": state.rules.declared,
        "locked": scene.rules.locks_inputs and state.exposed,
    }


def _step_data(step: StepView, exposed: Exposed) -> dict[str, Any]:
    return {
        "id": step.id,
        "title": step.title,
        "kind": step.kind,
        "status": step.status,
        "tools": [exposed(tool) for tool in step.tools],
        "detail": step.detail,
    }


def _tool_data(
    tool: str,
    step: str | None,
    purpose: str,
    exposed: Exposed,
    schemas: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    return {
        "tool": exposed(tool),
        "step": step,
        "purpose": purpose,
        "input_schema": schemas.get(tool),
    }


def _approval_data(approval: ApprovalView) -> dict[str, Any]:
    return {
        "approval_id": approval.approval_id,
        "step": approval.step,
        "title": approval.title,
        "roles": list(approval.roles),
        "quorum": approval.quorum,
        "approved_by": list(approval.approved_by),
        "expires_at": moment(approval.expires_at),
        "how_to_decide": how_to_decide(approval.approval_id),
    }


def _ask_data(ask: AskState, exposed: Exposed) -> dict[str, Any]:
    """A call that people are asked about, or have decided on."""
    return {
        "approval_id": ask.approval_id,
        "tool": exposed(ask.tool),
        "arguments": dict(ask.arguments),
        "status": ask.status,
        "policies": {name: list(roles) for name, roles in ask.policies.items()},
        "expires_at": moment(ask.expires_at),
        "reason": ask.reason,
        "how_to_decide": how_to_decide(ask.approval_id) if ask.status == "open" else "",
    }


def _session_lines(scene: Scene, data: Mapping[str, Any], client: Client) -> Iterator[str]:
    yield _headline(data)
    yield from _rules_lines(scene)
    for step in data["steps"]:
        detail = f": {step['detail']}" if step["detail"] else ""
        tools = f" [{', '.join(step['tools'])}]" if step["tools"] else ""
        yield f"- {step['id']}{tools} is {step['status'].replace('_', ' ')}{detail}"
    for one in data["approvals"]:
        yield (
            f"Approval {one['approval_id']} ({one['title']}): {len(one['approved_by'])} of "
            f"{one['quorum']} by {' or '.join(one['roles'])}, until {one['expires_at']}. "
            f"A person decides with {one['how_to_decide']}."
        )
    for one in data["asks"]:
        yield _ask_line(one)
    for step, guidance in data["guidance"].items():
        yield f"A person denied {step}; guidance: {guidance}"
    if data["held"]:
        held = ", ".join(one["step"] for one in data["held"])
        yield f"Held until a person settles it with `mcpuppet resolve`: {held}."
    for one in data["missing_servers"]:
        yield f"Server {one['server']} cannot be used yet: {one['reason']}."
    for one in (*data["legal"], *data["always"]):
        if one["input_schema"] is not None and one["purpose"] != "free":
            yield f"Input of {one['tool']}: {json.dumps(one['input_schema'])}"
    if data["always"]:
        yield f"Always legal: {', '.join(one['tool'] for one in data['always'])}."
    yield legal_text(scene.legal, scene.status, client)


def _rules_lines(scene: Scene) -> Iterator[str]:
    rules, state = scene.rules, scene.next.state
    if rules is None or state.rules is None:
        return
    yield f"The rules {state.rules.name} {state.rules.version} govern this session."
    if not rules.definition.inputs:
        return
    if state.rules.declared:
        yield f"Their inputs were declared: {json.dumps(dict(state.rules.inputs))}"
    elif rules.locks_inputs and state.exposed:
        yield (
            "Their inputs are locked: a tool's result has been delivered before they were "
            "declared. Only a person can open them again, with `mcpuppet reopen`."
        )
    else:
        name = state.rules.name
        yield f'Their inputs can be declared: workflow_start(workflow="{name}", inputs).'


def _ask_line(ask: Mapping[str, Any]) -> str:
    call = f"{ask['tool']} with {_shortened(json.dumps(ask['arguments']))}"
    if ask["status"] == "rejected":
        said_no = f"Approval {ask['approval_id']}: a person said no to {call}"
        return f"{said_no}; guidance: {ask['reason']}"
    if ask["status"] == "approved":
        return (
            f"Approval {ask['approval_id']} was given: until {ask['expires_at']} exactly this call "
            f"goes through, once: {call}."
        )
    people = "; ".join(f"{name} by {' or '.join(who)}" for name, who in ask["policies"].items())
    return (
        f"Approval {ask['approval_id']} is open until {ask['expires_at']}: {call}. To be agreed: "
        f"{people}. A person decides with {ask['how_to_decide']}."
    )


_LONGEST_ARGUMENTS = 300
"""Characters of a call's arguments in a text; the data has all of them."""


def _shortened(words: str) -> str:
    return words if len(words) <= _LONGEST_ARGUMENTS else f"{words[:_LONGEST_ARGUMENTS]}…"


def _headline(data: Mapping[str, Any]) -> str:
    if data["workflow"] is None:
        return "No run has been started in this session."
    ended = f" ({data['end_reason']})" if data["end_reason"] else ""
    return (
        f"Session {data['session_id']}: {data['workflow']} {data['version']} is "
        f"{data['status'].replace('_', ' ')}{ended}."
    )
