"""The three tools of MCPuppet itself, and how they are described.

`workflow_start` begins a run or declares the inputs of the rules in force, `workflow_status` shows
both, `workflow_act` makes a call that a client with an old list could not make by name. None of
them can grant, edit or switch off anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mcpuppet.gateway.tool_names import ACT, START, STATUS
from mcpuppet.workflow.compiled import CompiledRules, CompiledWorkflow
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
    (
        "session_id",
        "status",
        "rules",
        "steps",
        "legal",
        "always",
        "approvals",
        "asks",
        "held",
        "missing_servers",
    ),
    session_id=_STRING_OR_NULL,
    status=_STRING,
    workflow=_STRING_OR_NULL,
    version=_STRING_OR_NULL,
    run_id=_STRING_OR_NULL,
    end_reason=_STRING_OR_NULL,
    rules={
        "type": ["object", "null"],
        "properties": {
            "name": _STRING,
            "version": _STRING,
            "inputs": {"type": "object"},
            "declared": {"type": "boolean"},
            "locked": {"type": "boolean"},
        },
    },
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
    asks=_array_of(
        "approval_id",
        "tool",
        "status",
        approval_id=_STRING,
        tool=_STRING,
        arguments={"type": "object"},
        status={"type": "string", "enum": ["open", "approved", "rejected"]},
        policies={"type": "object"},
        expires_at=_STRING,
        reason=_STRING,
        how_to_decide=_STRING,
    ),
    guidance={"type": "object"},
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


def _start_input(names: Sequence[str], *, rules: bool) -> dict[str, Any]:
    known = {"enum": list(names)} if names else {}
    what = "The workflow to begin, or the rules to declare the inputs of."
    about = what if rules else "The workflow to begin."
    return _object(
        ("workflow",),
        workflow={"type": "string", "description": about} | known,
        inputs={"type": "object", "description": "Its inputs, by name; {} if it has none."},
    )


class MetaTools:
    """The definitions of the three tools for one client, and the check of their arguments.

    `rules` is the rules file that governs the client's session, if one does.
    """

    def __init__(
        self, workflows: Sequence[CompiledWorkflow], rules: CompiledRules | None = None
    ) -> None:
        declarable = rules if rules is not None and rules.definition.inputs else None
        self.definitions = tuple(_definitions(workflows, declarable))
        self._inputs: Mapping[str, CompiledSchema] = {
            one["name"]: compile_schema(one["inputSchema"]) for one in self.definitions
        }

    def violations(self, tool: str, arguments: Mapping[str, Any]) -> list[str]:
        """What is wrong with the arguments of one of the three tools."""
        return self._inputs[tool].violations(dict(arguments))


def _definitions(
    workflows: Sequence[CompiledWorkflow], rules: CompiledRules | None
) -> Iterator[dict[str, Any]]:
    names = [one.name for one in (*workflows, *([] if rules is None else [rules]))]
    yield {
        "name": START,
        "title": "Start a workflow",
        "description": _start_description(workflows, rules),
        "inputSchema": _start_input(names, rules=rules is not None),
        "outputSchema": _SESSION_SCHEMA,
        "annotations": {"readOnlyHint": False, "destructiveHint": False, "openWorldHint": False},
    }
    yield {
        "name": STATUS,
        "title": "Show where the workflow stands",
        "description": (
            "Shows the session: the rules in force and their inputs, the state of every step of "
            "the run, the calls that are legal now with their input schemas, what people have to "
            "decide or have decided, and what is held and why."
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


def _start_description(workflows: Sequence[CompiledWorkflow], rules: CompiledRules | None) -> str:
    lines = ["Begins a run of a workflow. There is no workflow that this connection may start."]
    if workflows:
        lines = ["Begins a run of a workflow, in this session. The workflows are:"]
        lines += (f"- {_one_book(one)}" for one in workflows)
    if rules is not None:
        lines.append(_rules_description(rules))
    return "\n".join(lines)


def _rules_description(rules: CompiledRules) -> str:
    locked = ""
    if rules.locks_inputs:
        locked = " before the first call of a tool: once a tool has answered they are locked"
    return (
        "With the name of the rules that govern this session it declares their inputs instead, "
        f"once{locked}. Declare what the user said, not what a tool returned. The rules are:\n"
        f"- {_one_book(rules)}"
    )


def _one_book(book: CompiledWorkflow | CompiledRules) -> str:
    definition = book.definition
    about = ". ".join(
        one.strip().rstrip(".") for one in (definition.title, definition.description) if one
    )
    inputs = json.dumps(definition.inputs) if definition.inputs else "none"
    return f"{book.name}: {about + '. ' if about else ''}Inputs: {inputs}"
