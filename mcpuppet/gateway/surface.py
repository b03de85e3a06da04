"""What one client is shown: which tools, under which names, and where its session stands.

Two surfaces, one enforcement: `dynamic` lists the calls that are legal now, `stable` lists every
tool of the workflows that the client may start and of the rules that govern it. Where tools outside
all of them may be called too, both list what every configured server offers. Nothing here refuses a
call: the orchestrator does, whatever was listed. Knows nothing of MCP's messages and connections; a
tool's definition is JSON that passes through unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

import anyio

from mcpuppet.errors import DownstreamUnavailableError, UnknownSessionError
from mcpuppet.gateway.answers import Client
from mcpuppet.gateway.scene import Listing, Outlook, Scene, next_change
from mcpuppet.gateway.tool_names import ToolNames
from mcpuppet.session.consequences import Progress
from mcpuppet.session.decision import LegalCall, unordered_call
from mcpuppet.settings import AGENT
from mcpuppet.settings import Surface as SurfaceSetting
from mcpuppet.tool_servers import OnProgress, ToolDefinition
from mcpuppet.views import (
    ApprovalView,
    CallAnswer,
    approval_view,
    is_pattern,
    legal_now,
    session_view,
)
from mcpuppet.workflow.compiled import CompiledRules, CompiledWorkflow

if TYPE_CHECKING:
    # Importing it takes a third of a second, and a client's handshake must not wait for that.
    from mcpuppet.orchestrator import Orchestrator

SurfaceKind = Literal["dynamic", "stable"]

NAMING_WAIT = 3.0
"""Seconds that the first call waits for servers whose tools only patterns name."""

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


def surface_for(setting: SurfaceSetting, client: str | None) -> SurfaceKind:
    """Which surface a client gets; its name is its own claim, so this is never about safety."""
    if setting != "auto":
        return setting
    name = "-".join((client or "").casefold().split())
    known = any(name == one or name.startswith(f"{one}-") for one in CLIENTS_THAT_LIST_AGAIN)
    return "dynamic" if known else "stable"


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
        self.names = ToolNames()
        self._has_met_all = False
        self._changes_at: datetime | None = None
        self.names.meet(tool for one in self.workflows for tool in self._governed(one))
        if self.rules is not None:
            self.names.meet(self._offered(self.rules.allow))

    @property
    def workflows(self) -> tuple[CompiledWorkflow, ...]:
        """The workflows that this client may start."""
        every = self.orchestrator.library.workflows.values()
        return tuple(one for one in every if self.who.may_start(one.name))

    @property
    def rules(self) -> CompiledRules | None:
        """The rules file that a session of this client adopts."""
        name = self.who.rules
        return None if name is None else self.orchestrator.library.rules[name]

    @property
    def client(self) -> Client:
        """What answers to this client are worded by."""
        return Client(self.names.exposed, bool(self.workflows))

    def _governed(self, workflow: CompiledWorkflow) -> Iterator[str]:
        yield from workflow.tools
        yield from self._always(workflow)

    def _always(self, workflow: CompiledWorkflow) -> Iterator[str]:
        """The tools of `tools.always`."""
        return self._offered(workflow.always)

    def _offered(self, patterns: Iterable[str]) -> Iterator[str]:
        """Tools as written, and for patterns what the servers known by now offer."""
        for pattern in patterns:
            if not is_pattern(pattern):
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
        following = self._rehearsed(known)
        workflow = self._idle_workflow() if following.run is None else following.workflow
        self._changes_at = next_change(following)
        steps = (one for one in legal_now(following, self.who.principal) if one.step is not None)
        free = {one.tool: one for one in self._unordered(following, workflow)}
        return Scene(
            session=known,
            next=following,
            legal=(*steps, *(one for one in free.values() if one.purpose == "free")),
            always=tuple(tool for tool, one in free.items() if one.purpose == "always"),
            workflow=workflow,
        )

    def _rehearsed(self, known: Progress | None) -> Progress:
        """The session as the next call finds it; nothing of this is written."""
        judge, who = self.orchestrator.judge, self.who.principal
        following = Progress(
            "" if known is None else known.session_id,
            None if known is None else known.known,
            None if known is None or known.state.run is None else known.workflow,
            self.orchestrator.ledger.source() if known is None else known.source,
            rules=None if known is None else known.rules,
            reserved=None if known is None else known.reserved,
        )
        judge.open(following, who)
        default = judge.default_workflow(who) if following.state.run is None else None
        if default is not None:
            following.start_run(default, dict(default.defaults), who.name)
        return following

    def _idle_workflow(self) -> CompiledWorkflow | None:
        return self.orchestrator.judge.idle_workflow(self.who.principal)

    def _unordered(
        self, following: Progress, workflow: CompiledWorkflow | None
    ) -> Iterator[LegalCall]:
        """The calls that no step orders now and that are legal for some arguments."""
        rules, who = following.rules, self.who.principal
        judge = self.orchestrator.judge
        always = () if workflow is None else workflow.always
        for tool in dict.fromkeys(self._offered((*always, *self._freely(rules)))):
            found = unordered_call(
                judge.books(workflow, rules, tool, who),
                following.state,
                tool,
                who,
                following.source.now,
                following.reserved,
            )
            if found is not None:
                yield found

    def _freely(self, rules: CompiledRules | None) -> tuple[str, ...]:
        """The tools, or patterns of tools, that may be called without any workflow's order."""
        if rules is None:
            return () if self.orchestrator.settings.unlisted == "deny" else ("*",)
        refuses_others = rules.asks_otherwise is None and not rules.observes
        return rules.allow if refuses_others else (*rules.allow, "*")

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
        await self._meet_all()
        return await self.orchestrator.call_tool(
            self.session(),
            self.names.resolve(name) or name,
            arguments,
            principal=self.principal,
            on_progress=on_progress,
            meta=meta,
            credential="stdio",
        )

    async def elicited_approval(self, approval_id: str) -> ApprovalView | None:
        """An open request of this session that its workflow lets the client's user decide on."""
        known = (
            None
            if self.session_id is None
            else await self.orchestrator.ledger.look(self.session_id)
        )
        run = None if known is None else known.run
        if known is None or run is None or known.state.principal != self.principal:
            return None
        for approval in run.approvals.values():
            if approval.approval_id == approval_id and approval.status == "open":
                elicits = known.workflow.definition.steps[approval.step].elicit
                return approval_view(known, run, approval) if elicits else None
        return None

    async def confirm(self, view: ApprovalView, *, yes: bool, reason: str, channel: str) -> None:
        """Take the word of the client's user; raises what `People.confirm` raises."""
        await self.orchestrator.people.confirm(
            view.approval_id,
            self.principal,
            view.content,
            yes=yes,
            reason=reason,
            channel=channel,
        )

    async def _meet_all(self) -> None:
        """Name what patterns stand for, once: a client may call before it has listed anything.

        Until then a name could mean the tool of the one server that has answered.
        """
        always = (one for workflow in self.workflows for one in workflow.always)
        if not self._has_met_all and any(map(is_pattern, (*always, *self._freely(self.rules)))):
            self._has_met_all = True
            await self.listing("stable", NAMING_WAIT)

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
        tools = (*(one.tool for one in scene.legal), *scene.always)
        self.names.meet(tools)
        found = ((tool, self.definition(tool)) for tool in tools)
        schemas = {
            tool: self._as_called(tool, one.definition)["inputSchema"]
            for tool, one in found
            if one is not None
        }
        known = scene.session
        view = None if known is None else session_view(known, self.who.principal)
        return Outlook(scene, view, schemas, missing)

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
        self.names.meet(tools)
        found = {tool: self.definition(tool) for tool in tools}
        return Listing(
            definitions={
                tool: self._renamed(tool, one.definition)
                for tool, one in found.items()
                if one is not None
            },
            signature=tuple(
                (self.names.exposed(tool), None if one is None else one.digest)
                for tool, one in found.items()
            ),
        )

    def definition(self, tool: str) -> ToolDefinition | None:
        """What a tool's server said of it last."""
        server, _, name = tool.partition(".")
        return (self.orchestrator.servers.known_tools(server) or {}).get(name)

    def _renamed(self, tool: str, definition: Mapping[str, Any]) -> Mapping[str, Any]:
        name, definition = self.names.exposed(tool), self._as_called(tool, definition)
        return definition if definition["name"] == name else {**definition, "name": name}

    def _as_called(self, tool: str, definition: Mapping[str, Any]) -> Mapping[str, Any]:
        """The definition without the argument that the gateway fills in itself."""
        steps = (step for one in self.workflows for step in one.by_tool.get(tool, ()))
        names = {step.key_argument for step in steps}
        name = names.pop() if len(names) == 1 else None
        return definition if name is None else _without_argument(definition, name)

    def _listed(self, kind: SurfaceKind, scene: Scene) -> Iterator[str]:
        if kind == "dynamic":
            yield from scene.always
            yield from (one.tool for one in scene.legal)
            if scene.workflow is not None and scene.workflow.observes and scene.next.run:
                yield from scene.workflow.tools  # whatever order it wants, it refuses nothing
            return
        for workflow in self._shown(kind, scene):
            yield from self._governed(workflow)
        yield from self._offered(self._freely(scene.rules))

    def _shown(self, kind: SurfaceKind, scene: Scene) -> tuple[CompiledWorkflow, ...]:
        current = () if scene.workflow is None else (scene.workflow,)
        if kind == "dynamic":
            return current
        hashes = {one.hash for one in self.workflows}
        # A session may go on with a version of a workflow that is no longer on disk.
        return (*self.workflows, *(one for one in current if one.hash not in hashes))

    def _needed(self, kind: SurfaceKind, scene: Scene) -> Iterator[str]:
        """The servers without which the list would have gaps."""
        for workflow in self._shown(kind, scene):
            whole = kind == "stable" or workflow.observes
            for pattern in workflow.servers if whole else workflow.always:
                yield from self._servers_of(pattern)
        for pattern in self._freely(scene.rules):
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


def _without_argument(definition: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    schema = dict(definition["inputSchema"])
    if isinstance(schema.get("properties"), Mapping):
        kept = {key: one for key, one in schema["properties"].items() if key != name}
        schema["properties"] = kept
    if isinstance(schema.get("required"), list):
        schema["required"] = [one for one in schema["required"] if one != name]
    return {**definition, "inputSchema": schema}
