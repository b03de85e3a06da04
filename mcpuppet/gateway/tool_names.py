"""By which names a client knows tools: its own spelling of every `server.tool` it was ever shown.

Knows nothing of sessions: which tools there are, and which are listed, is told by `surface`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from mcpuppet.views import is_pattern

START, STATUS, ACT = "workflow_start", "workflow_status", "workflow_act"
META_TOOLS = (START, STATUS, ACT)
"""The tools that MCPuppet itself offers: always listed, first, and never renamed."""


def exposed_names(tools: Iterable[str]) -> dict[str, str]:
    """A name without the server for each `server.tool`, wherever it is the only one of that name.

    Tools that collide, with each other or with a meta-tool, are all called `server__tool` instead,
    and `server.tool` if even that is taken, so that no server can take over another one's name.
    """
    wanted = dict.fromkeys(tools, 0)
    while True:
        names = {tool: _spelling(tool, level) for tool, level in wanted.items()}
        uses = Counter(names.values()) + Counter(META_TOOLS)
        taken = [tool for tool, name in names.items() if uses[name] > 1 and wanted[tool] < 2]
        if not taken:
            return names
        for tool in taken:
            wanted[tool] += 1


def _spelling(tool: str, level: int) -> str:
    server, _, name = tool.partition(".")
    return (name, f"{server}__{name}", tool)[level]


class ToolNames:
    """The names of one client. None is ever forgotten, so names do not flap."""

    def __init__(self) -> None:
        self._tools: dict[str, None] = {}
        self._exposed: Mapping[str, str] = {}
        self._full: Mapping[str, str] = {}

    def meet(self, tools: Iterable[str]) -> None:
        """Name tools that were not known before."""
        before = len(self._tools)
        self._tools.update(dict.fromkeys(tools))
        if len(self._tools) > before:
            self._exposed = exposed_names(self._tools)
            self._full = {name: tool for tool, name in self._exposed.items()}

    def exposed(self, tool: str) -> str:
        """The name by which a client knows `server.tool`, or a pattern of such tools."""
        if not is_pattern(tool):
            return self._exposed.get(tool, tool)
        server, _, name = tool.partition(".")
        alike = [one for one in self._tools if fnmatchcase(one, tool)]
        if is_pattern(server) or not alike:
            return tool
        bare = all(self._exposed[one] == one.partition(".")[2] for one in alike)
        return name if bare and name != "*" else tool

    def resolve(self, name: str) -> str | None:
        """The full name of a tool a client may know, or None; `server.tool` is understood too."""
        return self._full.get(name) or (name if name in self._exposed else None)
