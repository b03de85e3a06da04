"""The demo's AI: a scripted MCP client on a gateway process of its own.

It does what any client does: it starts `mcpuppet serve`, shakes hands, keeps its list of tools up
to date and calls tools by name. It knows nothing of workflows beyond what it is answered.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.session import IncomingMessage
from mcp.client.stdio import stdio_client
from mcp.types import (
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    TextContent,
    ToolListChangedNotification,
)

from mcpuppet import __version__
from mcpuppet.demo.folder import DemoFolder, import_path
from mcpuppet.gateway.answers import DECISION
from mcpuppet.gateway.tool_names import META_TOOLS, START

_ANSWER_SECONDS: Final = 60.0
_LIST_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the AI was answered."""

    status: str
    """succeeded | failed | unknown | denied | awaiting_approval"""
    texts: tuple[str, ...]
    """The text blocks; the last line of the last one says what is legal now."""
    result: Mapping[str, Any]
    """The tool's own structured result; empty when nothing was called."""
    details: Mapping[str, Any]
    """What MCPuppet says of its decision, as data."""

    @property
    def lines(self) -> tuple[str, ...]:
        """MCPuppet's words; without the tool's own text, which is in `result` too."""
        texts = self.texts[-1:] if self.status == "succeeded" else self.texts
        return tuple(line for text in texts for line in text.splitlines())

    @property
    def approval_id(self) -> str:
        """The approval that the call waits for; empty when it waits for none."""
        return str(self.details.get("approval_id", ""))


class Ai:
    """One conversation: what is listed to it, and the calls it makes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tools: tuple[str, ...] = ()
        self._listed = anyio.Event()

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools listed now; the three that MCPuppet itself always lists are left out."""
        return tuple(name for name in self._tools if name not in META_TOOLS)

    async def list_again(self) -> None:
        """Ask for the list of tools, as a client does at the start and whenever it has changed."""
        listed = await self._client.list_tools()
        self._tools = tuple(tool.name for tool in listed.tools)
        told, self._listed = self._listed, anyio.Event()
        told.set()

    async def is_listed(self, tool: str) -> bool:
        """Whether a tool is in the list, or gets there within some seconds."""
        with anyio.move_on_after(_LIST_SECONDS):
            while tool not in self._tools:
                await self._listed.wait()
        return tool in self._tools

    async def start(self, workflow: str, inputs: Mapping[str, Any]) -> Answer:
        """Begin a run."""
        return await self.call(START, {"workflow": workflow, "inputs": dict(inputs)})

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> Answer:
        """Call a tool, listed or not."""
        # `Client.call_tool` wants to check the result against the list of tools, and warns when the
        # tool has just left it.
        params = CallToolRequestParams(name=tool, arguments=dict(arguments))
        request = CallToolRequest(params=params)
        return _answer(await self._client.session.send_request(request, CallToolResult))


@asynccontextmanager
async def conversation(folder: DemoFolder) -> AsyncIterator[Ai]:
    """A gateway process on the demo's settings, and an AI connected to it.

    What the gateway and the servers write to stderr is added to `serve.log` in the folder.
    """
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcpuppet", "serve", "--config", str(folder.config), "--surface", "dynamic"],
        env=import_path(),
        cwd=folder.root,
    )

    async def on_message(message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            # A gateway that is gone is noticed, and told, by the next call.
            with suppress(MCPError):
                await ai.list_again()

    with folder.log.open("a", encoding="utf-8") as log:
        client = Client(
            stdio_client(parameters, errlog=log),
            mode="legacy",
            client_info=Implementation(name="mcpuppet-demo", version=__version__),
            message_handler=on_message,
            read_timeout_seconds=_ANSWER_SECONDS,
        )
        ai = Ai(client)
        async with client:
            await ai.list_again()
            yield ai


def _answer(result: CallToolResult) -> Answer:
    details = (result.meta or {}).get(DECISION, {})
    fallback = "failed" if result.is_error else "succeeded"
    return Answer(
        status=details.get("status", fallback),
        texts=tuple(one.text for one in result.content if isinstance(one, TextContent)),
        result=result.structured_content or {},
        details=details,
    )
