"""What the hand-written servers share: JSON-RPC by the line; without the SDK they start fast."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

Message = dict[str, Any]


def send(message: Message) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(request: Message, result: Any) -> None:
    send({"id": request["id"], "result": result})


def refuse(request: Message, code: int, message: str) -> None:
    send({"id": request["id"], "error": {"code": code, "message": message}})


def text(words: str, **more: Any) -> Message:
    return {"content": [{"type": "text", "text": words}], **more}


def tool(name: str, **more: Any) -> Message:
    return {"name": name, "inputSchema": {"type": "object"}} | more


def handshake(request: Message) -> None:
    result = {
        "protocolVersion": request["params"]["protocolVersion"],
        "capabilities": {"tools": {"listChanged": True}},
        "serverInfo": {"name": "hand-written", "version": "1"},
    }
    answer(request, result)


def messages() -> Iterator[Message]:
    for line in sys.stdin:
        yield json.loads(line)


def serve(list_tools: Callable[[Message], Any], call: Callable[[Message], None]) -> None:
    """Answer until standard input ends; `call` gets every message that is not about starting."""
    for message in messages():
        match message.get("method"):
            case "initialize":
                handshake(message)
            case "tools/list":
                answer(message, list_tools(message))
            case "notifications/initialized":
                pass
            case _:
                call(message)
