"""The first answer to a client, given before the MCP library is there.

Importing the library takes a second or more, and some clients give a server little longer than
that. So an `initialize` request that comes first and is plainly in order is answered from here; the
library then gets the same request, and its own answer, which says the same, is not sent again.
Everything else is left to the library. Source: MCP 2025-11-25, basic/lifecycle, "Initialization".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcpuppet import __version__
from mcpuppet.gateway.streams import MAX_MESSAGE_BYTES, read_chunk, write_all

INSTRUCTIONS = (
    "MCPuppet governs the tools of this connection: workflows and rules say which call is legal "
    "when. workflow_start begins a workflow, or takes the inputs of the rules before your first "
    "call, and lists them. Only the calls named under 'Legal now' work; every answer ends with "
    "them, and workflow_status shows them with their input schemas. A refused call has done "
    "nothing: read its reason and do what is legal instead. Approvals are given by people outside "
    "this conversation: when a call answers that it awaits approval, tell the user, look at "
    "workflow_status later, and make the same call with the same arguments again. If a tool you "
    "may call is not in your list, call it through workflow_act."
)
VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""The protocol revisions that begin with a handshake; the newest is offered to all others."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """A client's streams after its first message was read."""

    source: int
    sink: int
    read: bytes
    """Everything read so far, which is still to be handed to the library."""
    answered: int | str | None
    """The id of the `initialize` request that has its answer; None when it has none yet."""


def shake_hands(source: int, sink: int) -> Handshake | None:
    """Read a client's first message and answer it if it is a handshake; None if it hung up."""
    read = bytearray()
    while b"\n" not in read and len(read) <= MAX_MESSAGE_BYTES:
        chunk = read_chunk(source)
        if not chunk:
            return None
        read += chunk
    request = _request(bytes(read).partition(b"\n")[0])
    if request is None:
        return Handshake(source, sink, bytes(read), None)
    try:
        write_all(sink, json.dumps(answer(request), separators=(",", ":")).encode() + b"\n")
    except OSError:
        return None
    return Handshake(source, sink, bytes(read), request["id"])


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to an `initialize` request."""
    wanted = request["params"]["protocolVersion"]
    return {
        "jsonrpc": "2.0",
        "id": request["id"],
        "result": {
            "capabilities": {"tools": {"listChanged": True}},
            "instructions": INSTRUCTIONS,
            "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[-1],
            "serverInfo": {"name": "mcpuppet", "title": "MCPuppet", "version": __version__},
        },
    }


def _request(line: bytes) -> dict[str, Any] | None:
    """The line as an `initialize` request, if it is one that the library is sure to accept."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.keys() != {"jsonrpc", "id", "method", "params"}:
        return None
    if message["jsonrpc"] != "2.0" or message["method"] != "initialize":
        return None
    if type(message["id"]) not in (int, str) or not _are_params(message["params"]):
        return None
    return message


def _are_params(params: object) -> bool:
    if not isinstance(params, dict) or not params.keys() <= _PARAMS:
        return False
    client, capabilities = params.get("clientInfo"), params.get("capabilities")
    return (
        isinstance(params.get("protocolVersion"), str)
        and isinstance(client, dict)
        and isinstance(client.get("name"), str)
        and isinstance(client.get("version"), str)
        and client.keys() <= {"name", "version", "title"}
        and isinstance(client.get("title", ""), str)
        and isinstance(capabilities, dict)
        and all(isinstance(one, dict) for one in capabilities.values())
    )


_PARAMS = {"protocolVersion", "capabilities", "clientInfo"}
