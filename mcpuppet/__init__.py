"""MCPuppet: a governance gateway between AI applications and their MCP tools."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = ["MCPuppetError", "Orchestrator", "Settings", "load_settings", "open_orchestrator"]

_HOMES = {
    "MCPuppetError": "mcpuppet.errors",
    "Orchestrator": "mcpuppet.orchestrator",
    "Settings": "mcpuppet.settings",
    "load_settings": "mcpuppet.settings",
    "open_orchestrator": "mcpuppet.app",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line starts without all of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mcpuppet' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
