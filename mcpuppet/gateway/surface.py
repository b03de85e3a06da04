"""What one client is shown: which tools, under which names, and where its session stands.

Two surfaces, one enforcement: `dynamic` lists the calls that are legal now, `stable` lists every
tool of the workflows that the client may start. Nothing here refuses a call: the orchestrator does,
whatever was listed. Knows nothing of MCP's messages and connections; a tool's definition is JSON
that passes through unchanged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

import anyio

from mcpuppet.errors import DownstreamUnavailableError, UnknownSessionError
from mcpuppet.session.consequences import Progress
from mcpuppet.session.decision import LegalCall
from mcpuppet.settings import AGENT
from mcpuppet.settings import Surface as SurfaceSetting
from mcpuppet.tool_servers import OnProgress, ToolDefinition
from mcpuppet.views import CallAnswer, SessionView, legal_now, run_status, session_view
from mcpuppet.workflow.compiler import CompiledWorkflow

if TYPE_CHECKING:
    # Importing it takes a third of a second, and a client's handshake must not wait for that.
    from mcpuppet.orchestrator import Orchestrator

START, STATUS, ACT = "workflow_start", "workflow_status", "workflow_act"
META_TOOLS = (START, STATUS, ACT)
"""The tools that MCPuppet itself offers: always listed, first, and never renamed."""

SurfaceKind = Literal["dynamic", "stable"]

CLIENTS_THAT_LIST_AGAIN = (
    "claude-code",
    "visual-studio-code",
    "cursor",
    "windsurf",
    "cline",
    "roo-code",
    "kilo-code",
    "opencode",
    "mcp-inspector",
)
"""Clients that are known to act on `notifications/tools/list_changed`.

By `clientInfo.name` in lower case with dashes, alone or followed by a dash and more (`cursor` is
also `cursor-vscode`). From the npm package mcp-client-capabilities 0.0.14, from reports on Claude
Code since 2.1, and for the Inspector from its own code. Every other client gets the stable surface:
a client that keeps its first list can work with that one, and with the other it could not. That
holds for Claude Desktop (`claude-ai`, `local-agent-mode-…`), Codex, Gemini CLI, Goose and Zed.
"""

_GLOB_CHARACTERS = frozenset("*?[")


def surface_for(setting: SurfaceSetting, client: str | None) -> SurfaceKind:
    """Which surface a client gets; its name is its own claim, so this is never about safety."""
    if setting != "auto":
        return setting
    name = "-".join((client or "").casefold().split())
    known = any(name == one or name.startswith(f"{one}-") for one in CLIENTS_THAT_LIST_AGAIN)
    return "dynamic" if known else "stable"


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


@dataclass(frozen=True, slots=True)
class Scene:
    """The session at one moment, as far as a list or a status depends on it."""

    session: Progress | None
    """None while nothing has been recorded."""
    legal: tuple[LegalCall, ...]
    workflow: CompiledWorkflow | None
    """The workflow of the run; without a run, the one that says which tools are always legal."""
    running: bool

    @property
    def status(self) -> str:
        return "idle" if self.session is None else run_status(self.session)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a client is listed, meta-tools not included.

    `signature` is what has to differ for a client to be told to list again: names, and digests of
    the definitions (None while the tool's server has not answered).
    """

    definitions: Mapping[str, Mapping[str, Any]]
    """By full name; the JSON as the server gave it, under the name it is exposed by."""
    signature: tuple[tuple[str, str | None], ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    """Servers that could not be asked, and why."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """Everything that a status tells."""

    scene: Scene
    view: SessionView | None
    """None while nothing has been recorded."""
    always: tuple[str, ...]
    """Tools that are legal in every state, by full name."""
    schemas: Mapping[str, Mapping[str, Any]]
    """Input schemas by full name, of the tools whose servers have answered."""
    missing: Mapping[str, str]
    """Servers that could not be asked, and why."""


class Surface:
    """One client's view: its session, the names of its tools, and what is listed now."""

    def __init__(
        self,
        orchestrator: Orchestrator,
        *,
        session_id: str | None,
        new_id: Callable[[str], str],
        principal: str = AGENT,
    ) -> None:
        self.orchestrator = orchestrator
        self.session_id = session_id
        self.principal = principal
        self.who = orchestrator.settings.principal(principal)
        self._new_id = new_id
        self._tools: dict[str, None] = {}
        self._exposed: Mapping[str, str] = {}
        self._full: Mapping[str, str] = {}
        self._changes_at: datetime | None = None
        self._meet(tool for one in self.workflows for tool in self._governed(one))

    @property
    def workflows(self) -> tuple[CompiledWorkflow, ...]:
        """The workflows that this client may start."""
        every = self.orchestrator.library.workflows.values()
        return tuple(one for one in every if self.who.may_start(one.name))

    # --- names ----------------------------------------------------------------------------------

    def exposed(self, tool: str) -> str:
        """The name by which a client knows `server.tool`."""
        return self._exposed.get(tool, tool)

    def resolve(self, name: str) -> str | None:
        """The full name of a tool a client may know, or None; `server.tool` is understood too."""
        return self._full.get(name) or (name if name in self._exposed else None)

    def _meet(self, tools: Iterable[str]) -> None:
        """Name tools that were not known before. None is ever forgotten, so names do not flap."""
        before = len(self._tools)
        self._tools.update(dict.fromkeys(tools))
        if len(self._tools) > before:
            self._exposed = exposed_names(self._tools)
            self._full = {name: tool for tool, name in self._exposed.items()}

    def _governed(self, workflow: CompiledWorkflow) -> Iterator[str]:
        yield from workflow.tools
        yield from self._always(workflow)

    def _always(self, workflow: CompiledWorkflow) -> Iterator[str]:
        """The tools of `tools.always`: as written, or what the servers known by now offer."""
        for pattern in workflow.always:
            if not _GLOB_CHARACTERS & set(pattern):
                yield pattern
                continue
            for server in self._servers_of(pattern):
                for name in self.orchestrator.servers.known_tools(server) or ():
                    if fnmatchcase(f"{server}.{name}", pattern):
                        yield f"{server}.{name}"

    def _servers_of(self, pattern: str) -> Iterator[str]:
        wanted = pattern.partition(".")[0]
        for server in self.orchestrator.settings.servers:
            if fnmatchcase(server.name, wanted):
                yield server.name

    # --- the session ----------------------------------------------------------------------------

    def session(self) -> str:
        """This client's session; minted when first needed, and never shared with another client."""
        if self.session_id is None:
            self.session_id = self._new_id("ses")
        return self.session_id

    async def scene(self) -> Scene:
        """Where the session stands; raises UnknownSessionError if it is somebody else's."""
        ledger = self.orchestrator.ledger
        known = None if self.session_id is None else await ledger.look(self.session_id)
        if known is not None and known.state.principal != self.principal:
            raise UnknownSessionError(known.session_id)
        who = self.who.principal
        if known is not None and known.run is not None:
            due = (one for one in known.run.not_before.values() if one > known.source.now)
            self._changes_at = min(due, default=None)
            return Scene(known, legal_now(known, who), known.workflow, True)
        self._changes_at = None
        fresh = known is None or known.state.run is None
        legal = self._first_legal() if fresh else ()
        return Scene(known, legal, self._idle_workflow(), False)

    def _idle_workflow(self) -> CompiledWorkflow | None:
        return self.orchestrator.judge.idle_workflow(self.who.principal)

    def _first_legal(self) -> tuple[LegalCall, ...]:
        """What is legal at once because the first call begins the default workflow."""
        workflow = self.orchestrator.judge.default_workflow(self.who.principal)
        if workflow is None:
            return ()
        rehearsal = Progress("", None, None, self.orchestrator.ledger.source())
        rehearsal.open_session(self.principal, self.orchestrator.settings.hash)
        rehearsal.start_run(workflow, dict(workflow.defaults), self.principal)
        return legal_now(rehearsal, self.who.principal)

    async def start(self, workflow: str, inputs: Mapping[str, Any]) -> None:
        """Begin a run; raises what `Orchestrator.start_workflow` raises."""
        await self.orchestrator.start_workflow(
            workflow, inputs, session_id=self.session(), principal=self.principal
        )

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        on_progress: OnProgress | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> CallAnswer:
        """Call a tool by the name it is exposed by; any other name is recorded as refused."""
        return await self.orchestrator.call_tool(
            self.session(),
            self.resolve(name) or name,
            arguments,
            principal=self.principal,
            on_progress=on_progress,
            meta=meta,
        )

    async def version(self) -> int:
        """A number that differs after something was recorded; 0 while there is no session."""
        return 0 if self.session_id is None else await self.orchestrator.store.data_version()

    def time_is_up(self) -> bool:
        """Whether time alone has made a call legal since the session was last looked at."""
        due = self._changes_at
        return due is not None and self.orchestrator.ledger.source().now >= due

    async def sweep(self) -> None:
        """Let the orchestrator write down what time has brought about, once there is a session."""
        if self.session_id is not None:
            await self.orchestrator.sweep()

    # --- what is listed -------------------------------------------------------------------------

    async def outlook(self, kind: SurfaceKind, wait: float | None) -> Outlook:
        """Where the session stands and what its legal calls look like.

        Waits like `listing`; with None it asks no server.
        """
        scene = await self.scene()
        missing: Mapping[str, str] = {}
        if wait is not None:
            missing = await self._reach(self._unknown(self._needed(kind, scene)), wait)
            scene = await self.scene()
        always = tuple(self.always_legal(scene))
        self._meet(always)
        tools = (*(one.tool for one in scene.legal), *always)
        found = ((tool, self.definition(tool)) for tool in tools)
        schemas = {tool: one.definition["inputSchema"] for tool, one in found if one is not None}
        known = scene.session
        view = None if known is None else session_view(known, self.who.principal)
        return Outlook(scene, view, always, schemas, missing)

    async def listing(self, kind: SurfaceKind, wait: float) -> Listing:
        """What is listed now, after waiting at most `wait` seconds for servers not asked before."""
        scene = await self.scene()
        unknown = self._unknown(self._needed(kind, scene))
        if not unknown:
            return self._listing_of(kind, scene)
        missing = await self._reach(unknown, wait)
        return replace(await self.listing_now(kind), missing=missing)

    async def listing_now(self, kind: SurfaceKind) -> Listing:
        """What is listed now, of the servers that are known by now; starts nothing."""
        return self._listing_of(kind, await self.scene())

    def _listing_of(self, kind: SurfaceKind, scene: Scene) -> Listing:
        tools = tuple(dict.fromkeys(self._listed(kind, scene)))
        self._meet(tools)
        found = {tool: self.definition(tool) for tool in tools}
        return Listing(
            definitions={
                tool: self._renamed(tool, one.definition)
                for tool, one in found.items()
                if one is not None
            },
            signature=tuple(
                (self.exposed(tool), None if one is None else one.digest)
                for tool, one in found.items()
            ),
        )

    def definition(self, tool: str) -> ToolDefinition | None:
        """What a tool's server said of it last."""
        server, _, name = tool.partition(".")
        return (self.orchestrator.servers.known_tools(server) or {}).get(name)

    def _renamed(self, tool: str, definition: Mapping[str, Any]) -> Mapping[str, Any]:
        name = self.exposed(tool)
        return definition if definition["name"] == name else {**definition, "name": name}

    def _listed(self, kind: SurfaceKind, scene: Scene) -> Iterator[str]:
        if kind == "dynamic":
            yield from self.always_legal(scene)
            yield from (one.tool for one in scene.legal)
            return
        for workflow in self._shown(kind, scene):
            yield from self._governed(workflow)

    def _shown(self, kind: SurfaceKind, scene: Scene) -> tuple[CompiledWorkflow, ...]:
        current = () if scene.workflow is None else (scene.workflow,)
        if kind == "dynamic":
            return current
        hashes = {one.hash for one in self.workflows}
        # A session may go on with a version of a workflow that is no longer on disk.
        return (*self.workflows, *(one for one in current if one.hash not in hashes))

    def always_legal(self, scene: Scene) -> Iterator[str]:
        """The tools of `tools.always` that are legal now: rules for a step or a policy go first."""
        workflow = scene.workflow
        if workflow is None:
            return
        for tool in self._always(workflow):
            if tool in workflow.tools and scene.running:
                continue
            if scene.running or not workflow.policies.get(("", tool)):
                yield tool

    def _needed(self, kind: SurfaceKind, scene: Scene) -> Iterator[str]:
        """The servers without which the list would have gaps."""
        for workflow in self._shown(kind, scene):
            patterns = workflow.servers if kind == "stable" else workflow.always
            for pattern in patterns:
                yield from self._servers_of(pattern)
        for one in scene.legal:
            yield one.tool.partition(".")[0]

    def _unknown(self, servers: Iterable[str]) -> tuple[str, ...]:
        """Those that have never listed their tools."""
        known_tools = self.orchestrator.servers.known_tools
        return tuple(one for one in dict.fromkeys(servers) if known_tools(one) is None)

    async def _reach(self, servers: Iterable[str], wait: float) -> dict[str, str]:
        """Ask servers for their tools, at once; those that do not answer, and why."""
        missing: dict[str, str] = {}

        async def ask(server: str) -> None:
            try:
                await self.orchestrator.servers.tools(server, wait=wait)
            except DownstreamUnavailableError as error:
                missing[server] = error.reason

        async with anyio.create_task_group() as tasks:
            for server in servers:
                tasks.start_soon(ask, server)
        return missing
