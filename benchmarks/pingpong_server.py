"""The server that `call_overhead.py` calls: two tools that answer at once."""

from __future__ import annotations

from mcp.server import MCPServer

server = MCPServer("pingpong")


@server.tool()
def ping(text: str) -> dict[str, str]:
    """Give the text back."""
    return {"text": text}


@server.tool()
def pong(text: str) -> dict[str, str]:
    """Give the text back."""
    return {"text": text}


if __name__ == "__main__":
    server.run("stdio")
