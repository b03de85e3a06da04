"""Asking whoever sits at the client for an approval, where the workflow's step names `elicit`.

The question goes through the agent's own client, and so does the answer: it proves that the client
said yes, and not which human did, or whether one did. So it counts as one vote by the user of the
principal, and never where a step does not name it. Protocol: MCP 2025-11-25, client/elicitation,
form mode, within the call that waits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import anyio
from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp_types import ElicitResult

from mcpuppet.errors import InvalidInputError, NotAuthorisedError
from mcpuppet.gateway.surface import Surface
from mcpuppet.session.decision import ApprovalNeeded
from mcpuppet.views import ApprovalView, CallAnswer

WAIT = 50.0
"""Seconds that a client's user has; clients commonly give a call up after 60."""
_LONGEST_QUESTION = 8_000
"""Characters; what is longer is left to the desk, since nothing of it may be cut."""
_LONGEST_REASON = 1_000
_LONGEST_NAME = 64

_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "approve": {"type": "boolean", "title": "Approve exactly this call"},
        "reason": {
            "type": "string",
            "title": "If not, why: the assistant is told",
            "maxLength": _LONGEST_REASON,
        },
    },
    "required": ["approve"],
}


class Elicitation:
    """Asks one client's user, for each content once: nobody is worn out by being asked again."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    async def decided(
        self, context: ServerRequestContext[Any, Any], surface: Surface, answer: CallAnswer
    ) -> bool:
        """Whether the user was asked about a call that waits, and their word was recorded."""
        needed = answer.decision
        if not isinstance(needed, ApprovalNeeded) or not _can_ask(context):
            return False
        view = await surface.elicited_approval(needed.approval_id)
        if view is None or view.content in self._asked:
            return False
        question = _question(view)
        if len(question) > _LONGEST_QUESTION:
            return False
        self._asked.add(view.content)
        said = await _ask(context, question)
        content = said.content if said is not None and said.action == "accept" else None
        if content is None:
            return False
        yes, reason = content.get("approve") is True, _reason(content)
        if not yes and not reason:
            return False
        try:
            await surface.confirm(view, yes=yes, reason=reason, channel=_channel(context))
        except (InvalidInputError, NotAuthorisedError):
            return False  # decided meanwhile, or changed: it is recorded that this came too late
        return True


def _can_ask(context: ServerRequestContext[Any, Any]) -> bool:
    known = context.session.client_capabilities
    asks = None if known is None else known.elicitation
    # A client that names no mode means the form (MCP 2025-11-25, client/elicitation).
    return asks is not None and (asks.form is not None or asks.url is None)


async def _ask(context: ServerRequestContext[Any, Any], question: str) -> ElicitResult | None:
    """The client's answer; None when it gave none in time, or could not."""
    with anyio.move_on_after(WAIT):
        try:
            return await context.session.elicit_form(
                question, _FORM, related_request_id=context.request_id
            )
        except MCPError:
            return None
    return None


def _question(view: ApprovalView) -> str:
    return "\n".join(_lines(view))


def _lines(view: ApprovalView) -> Iterator[str]:
    yield f"MCPuppet asks for approval {view.approval_id}: {_plain(view.title)}"
    for name, value in view.binds.items():
        yield f"{_plain(name)} = {_written(value)}"
    for call in view.calls:
        yield f"Call: {_plain(call.tool)} {_written(call.arguments)}"
        if call.edited_by:
            yield f"(as edited by {_plain(call.edited_by)})"
    if not view.calls:
        yield "No call was attempted yet; the values are what is decided."
    yield f"{len(view.approved_by)} of {view.quorum} have approved. Digest {view.content[:12]}."


def _written(value: Any) -> str:
    """JSON in ASCII: nothing in what the agent wrote can hide, or look like a line of ours."""
    return json.dumps(value, ensure_ascii=True, default=dict)


def _plain(words: str) -> str:
    return _written(words)[1:-1]


def _reason(content: Mapping[str, Any]) -> str:
    reason = content.get("reason")
    return reason.strip()[:_LONGEST_REASON] if isinstance(reason, str) else ""


def _channel(context: ServerRequestContext[Any, Any]) -> str:
    """`elicitation`, and what the client calls itself."""
    client = context.session.client_params
    if client is None:
        return "elicitation"
    name = f"{client.client_info.name} {client.client_info.version}"
    return f"elicitation ({_plain(name)[:_LONGEST_NAME]})"
