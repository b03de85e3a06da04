"""How a downstream server is started: the values a settings file gives, without any MCP import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One downstream server that speaks MCP over its standard input and output.

    `env` is added to the few variables that every server gets (HOME, LOGNAME, PATH, SHELL, TERM and
    USER); nothing else of MCPuppet's own environment is passed on. `cwd` None is MCPuppet's own
    directory. `connect_timeout` covers the start, the handshake and the first list of tools.
    """

    name: str
    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    connect_timeout: timedelta = timedelta(seconds=20)
