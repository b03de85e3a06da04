"""Lists unusable tools beside usable ones, and answers in every way a server should not."""

from __future__ import annotations

from typing import Any

from wire import answer, refuse, serve, text, tool

COUNT = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOLS: list[Any] = [
    tool("kept", **{"annotations": {"readOnlyHint": True, "x-team": "ops"}, "x-rank": 7}),
    tool("counted", outputSchema=COUNT),
    tool("extra"),
    tool("tool_error"),
    tool("protocol_error"),
    tool("own_32000"),
    tool("not_mcp"),
    tool("huge"),
    tool("big"),
    {"name": "no_type", "inputSchema": {"properties": {}}},
    {"inputSchema": {"type": "object"}},
    "not even an object",
    tool("remote", inputSchema={"type": "object", "$ref": "https://example.test/schema.json"}),
    {
        "name": "lookahead",
        "inputSchema": {
            "type": "object",
            "properties": {"a": {"type": "string", "pattern": "(?=a)b"}},
        },
    },
    tool("has space"),
    tool("array_output", outputSchema={"type": "array"}),
    tool("kept", description="a second definition of the same name"),
]


def call(message: dict[str, Any]) -> None:
    if message["method"] != "tools/call":
        return
    params = message["params"]
    match params["name"]:
        case "counted":
            answer(message, text("", **params["arguments"]))
        case "extra":
            block = {"type": "text", "text": "hi", "x-colour": "red"}
            answer(message, {"content": [block], "x-cost": 0.5, "_meta": {"a/b": None}})
        case "tool_error":
            answer(message, text("no such file", isError=True))
        case "protocol_error":
            refuse(message, -32602, "bad arguments")
        case "own_32000":
            refuse(message, -32000, "Connection closed")
        case "not_mcp":
            answer(message, {"content": [{"type": "hologram"}]})
        case "huge":
            answer(message, text("x" * (17 * 2**20)))
        case "big":
            answer(message, text("x" * (8 * 2**20)))
        case _:
            answer(message, text("ok"))


serve(lambda _: {"tools": TOOLS}, call)
