"""The ruling on one request: what is decided, and the events that say so.

Between the pure decision (`session.decision`) and the story of a call (`orchestrator`): finds out
which tool is meant, holds the arguments to what can be recorded and to the tool's own schema, and
words the outcome as an event of the session. Reads no store and calls no server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mcpuppet.errors import UnknownSessionError
from mcpuppet.library import Library
from mcpuppet.repeats import KEY, Repeat, Repeated, Repeats
from mcpuppet.session import events as e
from mcpuppet.session.admin_events import ADMINISTRATION
from mcpuppet.session.asked import (
    Circumstances,
    opened_request,
    refused_call,
    settings_read,
    shown_values,
)
from mcpuppet.session.call import (
    MAX_SHOWN_BYTES,
    Call,
    Principal,
    argument_fault,
    canonical_json,
    digest_of,
)
from mcpuppet.session.consequences import Progress
from mcpuppet.session.decision import (
    Allowed,
    ApprovalNeeded,
    AskNeeded,
    Books,
    Decision,
    Denied,
    LegalCall,
    govern,
)
from mcpuppet.session.edits import Edit, edited_call
from mcpuppet.session.intent import start_call
from mcpuppet.settings import Settings
from mcpuppet.tool_servers import ToolDefinition, ToolServers
from mcpuppet.views import legal_now
from mcpuppet.workflow.compiled import CompiledRules, CompiledWorkflow

_NOT_SHOWN = (
    "the arguments hold what looks like a secret, or a mark such as [secret:...] for one: people "
    "cannot be shown what they would approve"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for: a tool by its full or bare name, with arguments."""

    call_id: str
    tool: str
    arguments: Mapping[str, Any]
    who: Principal
    credential: str = ""
    """How `who` proved who they are: `stdio`, `api`, or a token's first digits."""
    key: str | None = None
    """The idempotency key that the client gave."""
    key_fault: str = ""
    """What is wrong with what the client gave as one."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What was decided, about which call, and what was legal before."""

    decision: Decision
    call: Call
    definition: ToolDefinition | None
    """The tool as its server lists it, where the call is allowed."""
    before: tuple[LegalCall, ...]
    edit: Edit | None = None
    """How a person has changed the call that was asked for, where one has."""


@dataclass(frozen=True, slots=True)
class DefinitionNeeded:
    """The ruling depends on the definition of a tool whose server has not been asked yet."""

    tool: str


@dataclass(frozen=True, slots=True)
class ProvenanceNeeded:
    """People are to be asked, and have to be told where these values came from."""

    values: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What was found out for a ruling since it was first asked for."""

    problem: Denied | None = None
    """What kept the tool from being defined."""
    seen: Mapping[str, str] | None = None
    """For the values that people are shown, by path, where each was first seen."""


class Judge:
    """Rules on requests; `node_id` names this process in the intent to call."""

    def __init__(
        self, settings: Settings, library: Library, servers: ToolServers, node_id: str
    ) -> None:
        self.settings = settings
        self.library = library
        self.servers = servers
        self._node_id = node_id
        self._repeats = Repeats(node_id, settings.replay_window)

    def rule(
        self, progress: Progress, request: Request, known: Known
    ) -> Ruling | Repeated | DefinitionNeeded | ProvenanceNeeded:
        """Decide, and say so in an event."""
        who = request.who
        self.open(progress, who)
        before = legal_now(progress, who)
        fault = _fault(progress, request)
        if fault is not None:
            return self._ruled(progress, request, fault, before)
        default = self.default_workflow(who) if progress.state.run is None else None
        if default is not None:
            progress.start_run(default, dict(default.defaults), who.name)
        workflow = progress.workflow if progress.run is not None else self.idle_workflow(who)
        tool = self._resolve(workflow, request.tool)
        if isinstance(tool, Denied):
            return self._ruled(progress, request, tool, before)
        definition = self._definition(tool)
        if definition is None and progress.recorder.vault and known.problem is None:
            return DefinitionNeeded(tool)  # it tells which arguments digests are not made of
        call = asked = progress.call(tool, request.arguments)
        name = digest_of([tool, call.on_record])
        repeat = self._repeats.by_key(progress.state, request.key, name)
        if repeat is not None:
            return self._repeated(progress, request, repeat, asked, before)
        edit = edited_call(progress.state, (workflow, progress.rules), call)
        if edit is not None:
            call = progress.call(edit.call.tool, edit.call.arguments)
        decision = self._decide(progress, workflow, call, who)
        if request.key is None:  # with a key of its own it is another call, however alike
            repeat = self._repeats.by_request(progress.state, decision, name, progress.source.now)
        if repeat is not None:
            return self._repeated(progress, request, repeat, asked, before)
        if isinstance(decision, Denied) or known.problem is not None:
            refused = known.problem or decision
            return self._write(progress, request, refused, call, None, before, edit)
        if definition is None:
            return DefinitionNeeded(tool)
        decision = _held_to_schema(decision, definition, _filled_in(workflow, decision, call))
        decision = _held_to_what_is_shown(decision, call)
        if isinstance(decision, AskNeeded):
            shown = shown_values(decision, call)
            if known.seen is None or any(path not in known.seen for path, _ in shown):
                return ProvenanceNeeded(shown)
            name, now = progress.source.new_id("apr"), progress.source.now
            opened, decision = opened_request(decision, call, who, name, now, known.seen)
            progress.emit(opened)
        return self._write(progress, request, decision, call, definition, before, edit)

    def _repeated(
        self,
        progress: Progress,
        request: Request,
        repeat: Repeat | Denied,
        call: Call,
        before: tuple[LegalCall, ...],
    ) -> Ruling | Repeated:
        """Write down that a request is answered without a call of its own."""
        if isinstance(repeat, Denied):
            return self._write(progress, request, repeat, call, None, before)
        of, how = repeat
        progress.emit(
            e.CallRepeated(
                request.call_id, of, how, request.who.name, request.credential, request.key
            )
        )
        return Repeated(of, how, call, before)

    def open(self, progress: Progress, who: Principal) -> None:
        """Begin the session if it has not begun, and have the rules of the settings govern it."""
        if progress.session_id == ADMINISTRATION:
            raise UnknownSessionError(ADMINISTRATION)  # the log of the installation is nobody's
        progress.open_session(who.name, self.settings.hash)
        name = self.settings.principal(who.name).rules
        if name is not None and progress.state.principal == who.name:
            progress.adopt_rules(self.library.rules[name])

    def default_workflow(self, who: Principal) -> CompiledWorkflow | None:
        """The workflow that the first call of a session begins by itself, if there is one.

        That is the default of the settings, where this principal may start it without inputs.
        """
        workflow = self.idle_workflow(who)
        if workflow is None or workflow.name != self.settings.default_workflow:
            return None
        return workflow if workflow.starts_without_inputs else None

    def idle_workflow(self, who: Principal) -> CompiledWorkflow | None:
        """The workflow that says, while no run is active, which tools are always legal."""
        allowed = self.settings.principal(who.name)
        names = [name for name in self.library.workflows if allowed.may_start(name)]
        default = self.settings.default_workflow
        first = default if default in names else next(iter(names), None)
        return None if first is None else self.library.workflows[first]

    def _definition(self, tool: str) -> ToolDefinition | None:
        server, _, name = tool.partition(".")
        return (self.servers.known_tools(server) or {}).get(name)

    def _resolve(self, workflow: CompiledWorkflow | None, tool: str) -> str | Denied:
        """The full name of a tool: as it is, or the only one that ends in a bare name."""
        server, dot, _ = tool.partition(".")
        if dot and any(one.name == server for one in self.settings.servers):
            return tool
        candidates = sorted(self._named(workflow, tool))
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            return Denied("ambiguous_tool", f"{tool} is one of {', '.join(candidates)}: say which")
        return Denied("unknown_tool", f"no tool is called {tool}")

    def _named(self, workflow: CompiledWorkflow | None, tool: str) -> set[str]:
        listed = () if workflow is None else workflow.tools
        found = {one for one in listed if one.partition(".")[2] == tool}
        if found:
            return found
        return {
            f"{server.name}.{tool}"
            for server in self.settings.servers
            if tool in (self.servers.known_tools(server.name) or {})
            or (workflow is not None and f"{server.name}.{tool}" in workflow.always)
        }

    def _decide(
        self, progress: Progress, workflow: CompiledWorkflow | None, call: Call, who: Principal
    ) -> Decision:
        books = self.books(workflow, progress.rules, call.tool, who)
        now = progress.source.now
        return govern(books, progress.state, call, who, now, progress.reserved)

    def books(
        self,
        workflow: CompiledWorkflow | None,
        rules: CompiledRules | None,
        tool: str,
        who: Principal,
    ) -> Books:
        """What governs a call of `tool` by a principal."""
        unlisted = self.settings.unlisted
        if rules is None and unlisted == "deny":
            return Books(workflow)  # what no step uses is refused, wherever else it occurs
        may_start = self.settings.principal(who.name).may_start
        allowed = [one for one in self.library.workflows.values() if may_start(one.name)]
        return Books(
            workflow,
            rules,
            unlisted,
            is_listed=any(one.uses(tool) or one.is_always(tool) for one in allowed),
            is_ordered=any(one.orders(tool) for one in allowed),
        )

    def _ruled(
        self,
        progress: Progress,
        request: Request,
        refusal: Denied,
        before: tuple[LegalCall, ...],
    ) -> Ruling:
        """A refusal before it is clear which call is meant."""
        arguments = {} if refusal.rule == "arguments" else request.arguments
        call = progress.call(request.tool, arguments)
        return self._write(progress, request, refusal, call, None, before)

    def _write(
        self,
        progress: Progress,
        request: Request,
        decision: Decision,
        call: Call,
        definition: ToolDefinition | None,
        before: tuple[LegalCall, ...],
        edit: Edit | None = None,
    ) -> Ruling:
        if isinstance(decision, AskNeeded):
            raise AssertionError("people are asked before this is written down")  # noqa: TRY004 - not a type
        call_id, who = request.call_id, request.who
        asked = call if edit is None else progress.call(call.tool, request.arguments)
        there = self._circumstances(progress, request, asked)
        if isinstance(decision, Allowed):
            start_call(progress, call_id, call, who, decision, there)
        else:
            progress.emit(refused_call(progress.state, call_id, call, who, decision, there))
        return Ruling(decision, call, definition, before, edit)

    def _circumstances(self, progress: Progress, request: Request, call: Call) -> Circumstances:
        """What the record of a decision tells beside it."""
        idle = progress.run is None
        workflow = self.idle_workflow(request.who) if idle else progress.workflow
        books = self.books(workflow, progress.rules, call.tool, request.who)
        read = settings_read(self.settings.hash, request.who, books, idle=idle)
        name = digest_of([call.tool, call.on_record])
        return Circumstances(self._node_id, request.credential, read, name, request.key)


def _fault(progress: Progress, request: Request) -> Denied | None:
    """What is wrong with a request, whatever it asks for."""
    if progress.state.principal != request.who.name:
        return Denied("owner", "the session belongs to somebody else")
    fault = argument_fault(request.arguments)
    if fault is not None:
        return Denied("arguments", fault)
    if request.key is not None and not progress.recorder.keeps(request.key):
        words = f"{KEY} looks like a secret, which is not recorded: take a random one, like a UUID"
        return Denied("idempotency_key", words)
    return Denied("idempotency_key", request.key_fault) if request.key_fault else None


def _filled_in(workflow: CompiledWorkflow | None, decision: Decision, call: Call) -> Call:
    """The call as the tool's schema sees it: with the argument that the gateway fills in."""
    if workflow is None or decision.step is None:
        return call
    name = workflow.step(decision.step).key_argument
    return call if name is None else replace(call, arguments={**call.arguments, name: "0" * 64})


def _held_to_what_is_shown(decision: Decision, call: Call) -> Decision:
    """The decision, unless people would have to approve more than they can be shown."""
    if not isinstance(decision, (ApprovalNeeded, AskNeeded)):
        return decision
    if call.secret:  # its digest, too, is that of every call with another secret in this place
        return Denied("arguments", _NOT_SHOWN, decision.step)
    size = len(canonical_json(call.arguments))
    if size <= MAX_SHOWN_BYTES:
        return decision
    reason = f"the arguments have {size:,} bytes; people are shown at most {MAX_SHOWN_BYTES:,}"
    return Denied("arguments", reason, decision.step)


def _held_to_schema(decision: Decision, definition: ToolDefinition, call: Call) -> Decision:
    """The decision, unless the arguments break the tool's own input schema."""
    violations = definition.input_schema.violations(dict(call.arguments))
    if not violations:
        return decision
    step = None if isinstance(decision, Denied) else decision.step
    return Denied("schema", f"arguments of the tool: {'; '.join(violations)}", step)
