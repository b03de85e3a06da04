"""What became of a call, and what a guard may read of its result.

Owns the three outcomes and the reading of a result. Knows no transport: whoever made the call says
which outcome it had. A result is the JSON of an MCP `CallToolResult` (MCP 2025-11-25, server/tools,
"Tool Result"), by its wire names and unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from mcpuppet.session.call import json_fault

MOST_LEVELS = 100
"""How deeply a result may be nested."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The server answered and reported no error."""

    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """The server answered with an error, or nothing was sent to it.

    `reason` is a word for machines: "tool_error" (the result says `isError`), "protocol_error" (a
    JSON-RPC error), "invalid_result" (an answer that breaks MCP or the tool's output schema) or
    "not_sent". `result` is the server's answer where there was one.
    """

    reason: str
    message: str
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The call may have taken effect, and no answer says so.

    `reason` is a word for machines: "timeout", "connection_lost" or "cancelled".
    """

    reason: str
    message: str


Outcome = Succeeded | Failed | Unknown


def result_value(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what guards see of a result.

    The structured content when it is an object; else the only text block, when its text is a JSON
    object; else `{"text": ...}` with the texts of all text blocks, joined by line breaks.
    """
    structured = result.get("structuredContent")
    if isinstance(structured, Mapping):
        return dict(structured)
    texts = _texts(result)
    parsed = _json_object(texts[0]) if len(texts) == 1 else None
    return {"text": "\n".join(texts)} if parsed is None else parsed


def recordable(outcome: Outcome) -> Outcome:
    """The outcome as it can be written down: a result that is no JSON is not kept.

    The call did happen, so it is not one that can be made again without a thought.
    """
    result = None if isinstance(outcome, Unknown) else outcome.result
    fault = None if result is None else json_fault(result, MOST_LEVELS)
    if fault is None:
        return outcome
    if isinstance(outcome, Failed):
        return replace(outcome, result=None)
    return Failed("invalid_result", f"it answered, but the result cannot be recorded: {fault}")


def error_text(result: Mapping[str, Any]) -> str:
    """Return the first text of a result that reports an error, as the tool wrote it."""
    return next(iter(_texts(result)), "the tool reported an error and gave no text")


def _texts(result: Mapping[str, Any]) -> list[str]:
    content = result.get("content")
    blocks = content if isinstance(content, list) else []
    return [
        block["text"]
        for block in blocks
        if isinstance(block, Mapping)
        and block.get("type") == "text"
        and isinstance(block.get("text"), str)
    ]


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and json_fault(value, MOST_LEVELS) is None else None


def _refuse_constant(name: str) -> NoReturn:
    # Python reads NaN and Infinity; RFC 8259 has neither, and a guard could not compare them.
    raise ValueError(f"{name} is not JSON")
