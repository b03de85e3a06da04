"""The three tools of MCPuppet itself: how they are described, and what they answer.

`workflow_start` begins a run, `workflow_status` shows it, `workflow_act` makes a call that a client
with an old list could not make by name. None of them can grant, edit or switch off anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mcpuppet.gateway.answers import Exposed, Result, how_to_decide, legal_text, moment, text
from mcpuppet.gateway.surface import ACT, START, STATUS, Outlook, Scene
from mcpuppet.views import ApprovalView, SessionView, StepView
from mcpuppet.workflow.compiler import CompiledWorkflow
from mcpuppet.workflow.schema import CompiledSchema, compile_schema

_STRING = {"type": "string"}
_STRINGS = {"type": "array", "items": _STRING}
_STRING_OR_NULL = {"type": ["string", "null"]}


def _object(required: Sequence[str] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def _array_of(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "array", "items": _object(required, **properties)}


_TOOLS = _array_of("tool", tool=_STRING, step=_STRING_OR_NULL, purpose=_STRING, input_schema={})

_SESSION_SCHEMA = _object(
    ("session_id", "status", "steps", "legal", "always", "approvals", "held", "missing_servers"),
    session_id=_STRING_OR_NULL,
    status=_STRING,
    workflow=_STRING_OR_NULL,
    version=_STRING_OR_NULL,
    run_id=_STRING_OR_NULL,
    end_reason=_STRING_OR_NULL,
    steps=_array_of(
        "id",
        "status",
        id=_STRING,
        title=_STRING,
        kind=_STRING,
        status=_STRING,
        tools=_STRINGS,
        detail=_STRING_OR_NULL,
    ),
    legal=_TOOLS,
    always=_TOOLS,
    approvals=_array_of(
        "approval_id",
        approval_id=_STRING,
        step=_STRING,
        title=_STRING,
        roles=_STRINGS,
        quorum={"type": "integer"},
        approved_by=_STRINGS,
        expires_at=_STRING,
        how_to_decide=_STRING,
    ),
    held=_array_of("step", "reason", step=_STRING, reason=_STRING_OR_NULL),
    open_calls=_STRINGS,
    missing_servers=_array_of("server", "reason", server=_STRING, reason=_STRING),
)

_ACT_INPUT = _object(
    ("tool",),
    tool={"type": "string", "description": "The tool's name, as workflow_status gives it."},
    arguments={"type": "object", "description": "Its arguments; {} if left out."},
)

_ACT_OUTPUT = _object(
    ("status", "call_id", "session_id", "tool", "legal"),
    status={
        "type": "string",
        "enum": ["succeeded", "failed", "unknown", "denied", "awaiting_approval"],
    },
    call_id=_STRING,
    session_id=_STRING,
    tool=_STRING,
    legal=_STRINGS,
    reason=_STRING,
    result={"description": "What the tool returned as structured content, if it did."},
)

_NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}


def _start_input(names: Sequence[str]) -> dict[str, Any]:
    known = {"enum": list(names)} if names else {}
    return _object(
        ("workflow",),
        workflow={"type": "string", "description": "The workflow to begin."} | known,
        inputs={"type": "object", "description": "Its inputs, by name; {} if it has none."},
    )


class MetaTools:
    """The definitions of the three tools for one client, and the check of their arguments."""

    def __init__(self, workflows: Sequence[CompiledWorkflow]) -> None:
        self.definitions = tuple(_definitions(workflows))
        self._inputs: Mapping[str, CompiledSchema] = {
            one["name"]: compile_schema(one["inputSchema"]) for one in self.definitions
        }

    def violations(self, tool: str, arguments: Mapping[str, Any]) -> list[str]:
        """What is wrong with the arguments of one of the three tools."""
        return self._inputs[tool].violations(dict(arguments))


def _definitions(workflows: Sequence[CompiledWorkflow]) -> Iterator[dict[str, Any]]:
    yield {
        "name": START,
        "title": "Start a workflow",
        "description": _start_description(workflows),
        "inputSchema": _start_input([one.name for one in workflows]),
        "outputSchema": _SESSION_SCHEMA,
        "annotations": {"readOnlyHint": False, "destructiveHint": False, "openWorldHint": False},
    }
    yield {
        "name": STATUS,
        "title": "Show where the workflow stands",
        "description": (
            "Shows the run: the state of every step, the calls that are legal now with their input "
            "schemas, the approvals that people have to decide, and what is held and why."
        ),
        "inputSchema": _NOTHING,
        "outputSchema": _SESSION_SCHEMA,
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    }
    yield {
        "name": ACT,
        "title": "Call a legal tool",
        "description": (
            "Calls a tool by name, under the same rules as a direct call. Use it for a call that "
            "is legal now while the tool is missing from your list of tools."
        ),
        "inputSchema": _ACT_INPUT,
        "outputSchema": _ACT_OUTPUT,
    }


def _start_description(workflows: Sequence[CompiledWorkflow]) -> str:
    if not workflows:
        return "Begins a run of a workflow. There is no workflow that this connection may start."
    lines = (f"- {_one_workflow(one)}" for one in workflows)
    return "Begins a run of a workflow, in this session. The workflows are:\n" + "\n".join(lines)


def _one_workflow(workflow: CompiledWorkflow) -> str:
    definition = workflow.definition
    about = ". ".join(
        one.strip().rstrip(".") for one in (definition.title, definition.description) if one
    )
    inputs = json.dumps(definition.inputs) if definition.inputs else "none"
    return f"{workflow.name}: {about + '. ' if about else ''}Inputs: {inputs}"


def session_answer(outlook: Outlook, session_id: str | None, exposed: Exposed) -> Result:
    """The answer of `workflow_start` and `workflow_status`: the session as data and as text."""
    data = _session_data(outlook, session_id, exposed)
    return {
        "content": [text("\n".join(_session_lines(outlook.scene, data, exposed)))],
        "structuredContent": data,
        "isError": False,
    }


def _session_data(outlook: Outlook, session_id: str | None, exposed: Exposed) -> dict[str, Any]:
    scene, schemas = outlook.scene, outlook.schemas
    view = outlook.view
    steps = () if view is None else view.steps
    return {
        "session_id": session_id,
        "status": scene.status,
        **_run_data(view),
        "steps": [_step_data(one, exposed) for one in steps],
        "legal": [
            _tool_data(one.tool, one.step, one.purpose, exposed, schemas) for one in scene.legal
        ],
        "always": [_tool_data(one, None, "always", exposed, schemas) for one in outlook.always],
        "approvals": [_approval_data(one) for one in (() if view is None else view.approvals)],
        "held": [{"step": one.id, "reason": one.detail} for one in steps if one.status == "held"],
        "open_calls": [] if view is None else list(view.open_calls),
        "missing_servers": [{"server": one, "reason": why} for one, why in outlook.missing.items()],
    }


def _run_data(view: SessionView | None) -> dict[str, Any]:
    names = ("workflow", "version", "run_id", "end_reason")
    return {name: None if view is None else getattr(view, name) for name in names}


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


def _session_lines(scene: Scene, data: Mapping[str, Any], exposed: Exposed) -> Iterator[str]:
    yield _headline(data)
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
    if data["held"]:
        held = ", ".join(one["step"] for one in data["held"])
        yield f"Held until a person settles it with `mcpuppet resolve`: {held}."
    for one in data["missing_servers"]:
        yield f"Server {one['server']} cannot be used yet: {one['reason']}."
    for one in (*data["legal"], *data["always"]):
        if one["input_schema"] is not None:
            yield f"Input of {one['tool']}: {json.dumps(one['input_schema'])}"
    if data["always"]:
        yield f"Always legal: {', '.join(one['tool'] for one in data['always'])}."
    yield legal_text(scene.legal, scene.status, exposed)


def _headline(data: Mapping[str, Any]) -> str:
    if data["workflow"] is None:
        return "No run has been started in this session."
    ended = f" ({data['end_reason']})" if data["end_reason"] else ""
    return (
        f"Session {data['session_id']}: {data['workflow']} {data['version']} is "
        f"{data['status'].replace('_', ' ')}{ended}."
    )
