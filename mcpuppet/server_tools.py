"""Asks the configured servers which tools they offer, once, and ends them again.

For commands that compare files with servers. Calls no tool, and knows no workflow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from mcpuppet.errors import DownstreamUnavailableError
from mcpuppet.gateway.downstream import Downstreams
from mcpuppet.gateway.server_settings import ServerSettings
from mcpuppet.settings import Settings

_GRACE_SECONDS = 5.0
"""The server's own time limit has the better words, so it is left to run out first."""


@dataclass(frozen=True, slots=True)
class ListedTools:
    """What the servers said. A server is either among `answered` or has a sentence in `errors`."""

    tools: Mapping[str, Mapping[str, Any]]
    """"server.tool" to its definition as in `tools/list`; the unusable ones are left out."""
    answered: frozenset[str]
    errors: tuple[str, ...]
    """For each server that did not list its tools, why."""
    left_out: tuple[str, ...]
    """For each tool that cannot be used, why."""


@dataclass(slots=True)
class _Asked:
    tools: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    errors: dict[str, str] = field(default_factory=dict)


async def listed_tools(
    settings: Settings,
    names: Iterable[str] | None = None,
    *,
    log: Callable[[str], None] = lambda _: None,
) -> ListedTools:
    """Start the servers of the settings (those with these `names`; None: all), list their tools.

    All are asked at the same time, each for at most its `connect_timeout`, and have ended when this
    returns. Nothing is raised for a server that fails. `log` gets what servers write to stderr.
    """
    wanted = None if names is None else frozenset(names)
    servers = [one for one in settings.servers if wanted is None or one.name in wanted]
    asked = _Asked()
    async with Downstreams(servers, log=log) as downstreams:
        async with anyio.create_task_group() as tasks:
            for server in servers:
                tasks.start_soon(_ask, downstreams, server, asked)
        status = downstreams.status()
    return ListedTools(
        tools=dict(sorted(asked.tools.items())),
        answered=frozenset(asked.answered),
        errors=tuple(asked.errors[one.name] for one in servers if one.name in asked.errors),
        left_out=tuple(
            f"tool {server.name}.{tool.name} is left out: {tool.reason}"
            for server in status
            for tool in server.rejected
        ),
    )


async def _ask(downstreams: Downstreams, server: ServerSettings, asked: _Asked) -> None:
    wait = server.connect_timeout.total_seconds() + _GRACE_SECONDS
    try:
        tools = await downstreams.tools(server.name, wait=wait)
    except DownstreamUnavailableError as error:
        asked.errors[server.name] = str(error)
        return
    asked.answered.add(server.name)
    asked.tools |= {tool.qualified: tool.definition for tool in tools.values()}
