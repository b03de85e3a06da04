"""Eight small MCP servers over stdio that the templates, the demo and the tests govern.

This package names the servers and says how to start them. It imports none of them, so that asking
costs nothing and `python -m mcpuppet.demo.servers.<name>` runs each module exactly once. The
servers keep no order among their own tools: order is what a workflow adds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final, TypedDict

__all__ = [
    "FAULTS_VARIABLE",
    "SERVER_NAMES",
    "STATE_VARIABLE",
    "ServerSettings",
    "server_settings",
]

SERVER_NAMES: Final = (
    "data",
    "customer",
    "finance",
    "pipeline",
    "operations",
    "bank",
    "web",
    "books",
)
STATE_VARIABLE: Final = "MCPUPPET_DEMO_STATE"
FAULTS_VARIABLE: Final = "MCPUPPET_DEMO_FAULTS"


class ServerSettings(TypedDict):
    """How one server is started: the shape of an entry under `servers:` in a settings file."""

    command: str
    args: list[str]
    env: dict[str, str]


def server_settings(directory: Path) -> dict[str, ServerSettings]:
    """Return, by server name, how to start the eight servers on one state directory."""
    return {name: _settings(name, directory.absolute()) for name in SERVER_NAMES}


def _settings(name: str, directory: Path) -> ServerSettings:
    return {
        "command": sys.executable,
        "args": ["-m", f"{__name__}.{name}"],
        "env": {STATE_VARIABLE: str(directory)},
    }
