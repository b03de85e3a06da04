"""The ruling on one request: what is decided, and the events that say so.

Between the pure decision (`session.decision`) and the story of a call (`orchestrator`): finds out
which tool is meant, holds the arguments to what can be recorded and to the tool's own schema, and
words the outcome as an event of the session. Reads no store and calls no server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcpuppet.library import Library
from mcpuppet.session import events as e
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
    Decision,
    Denied,
    LegalCall,
    decide,
)
from mcpuppet.settings import Settings
from mcpuppet.tool_servers import ToolDefinition, ToolServers
from mcpuppet.views import legal_now
from mcpuppet.workflow.compiler import CompiledWorkflow


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for: a tool by its full or bare name, with arguments."""

    call_id: str
    tool: str
    arguments: Mapping[str, Any]
    who: Principal


@dataclass(frozen=True, slots=True)
class Ruling:
    """What was decided, about which call, and what was legal before."""

    decision: Decision
    call: Call
    definition: ToolDefinition | None
    """The tool as its server lists it, where the call is allowed."""
    before: tuple[LegalCall, ...]


@dataclass(frozen=True, slots=True)
class DefinitionNeeded:
    """The ruling depends on the definition of a tool whose server has not been asked yet."""

    tool: str


class Judge:
    """Rules on requests; `node_id` names this process in the intent to call."""

    def __init__(
        self, settings: Settings, library: Library, servers: ToolServers, node_id: str
    ) -> None:
        self.settings = settings
        self.library = library
        self.servers = servers
        self._node_id = node_id

    def rule(
        self, progress: Progress, request: Request, problem: Denied | None
    ) -> Ruling | DefinitionNeeded:
        """Decide, and say so in an event; `problem` is what kept the tool from being defined."""
        who = request.who
        progress.open_session(who.name, self.settings.hash)
        before = legal_now(progress, who)
        if progress.state.principal != who.name:
            return self._ruled(
                progress, request, Denied("owner", "the session belongs to somebody else"), before
            )
        fault = argument_fault(request.arguments)
        if fault is not None:
            return self._ruled(progress, request, Denied("arguments", fault), before)
        default = self.default_workflow(who) if progress.state.run is None else None
        if default is not None:
            progress.start_run(default, dict(default.defaults), who.name)
        workflow = progress.workflow if progress.run is not None else self.idle_workflow(who)
        tool = self._resolve(workflow, request.tool)
        if isinstance(tool, Denied):
            return self._ruled(progress, request, tool, before)
        call = Call(tool, request.arguments)
        decision = self._decide(progress, workflow, call, who)
        if isinstance(decision, Denied) or problem is not None:
            return self._write(progress, request, problem or decision, call, None, before)
        definition = self._definition(tool)
        if definition is None:
            return DefinitionNeeded(tool)
        decision = _held_to_schema(decision, definition, call)
        decision = _held_to_size(decision, call)
        return self._write(progress, request, decision, call, definition, before)

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
        if workflow is None:
            return Denied("no_run", f"{who.name} may start no workflow")
        if progress.run is None:
            ended = progress.state.run
            if ended is not None and not workflow.is_always(call.tool):
                return Denied("no_run", f"the run of {ended.workflow} is over ({ended.status})")
        return decide(workflow, progress.state, call, who, progress.source.now)

    def _ruled(
        self,
        progress: Progress,
        request: Request,
        refusal: Denied,
        before: tuple[LegalCall, ...],
    ) -> Ruling:
        """A refusal before it is clear which call is meant."""
        arguments = {} if refusal.rule == "arguments" else request.arguments
        call = Call(request.tool, arguments)
        return self._write(progress, request, refusal, call, None, before)

    def _write(
        self,
        progress: Progress,
        request: Request,
        decision: Decision,
        call: Call,
        definition: ToolDefinition | None,
        before: tuple[LegalCall, ...],
    ) -> Ruling:
        progress.emit(self._event(request, decision, call))
        return Ruling(decision, call, definition, before)

    def _event(self, request: Request, decision: Decision, call: Call) -> e.Event:
        match decision:
            case Allowed():
                return e.CallStarted(
                    call_id=request.call_id,
                    tool=call.tool,
                    arguments=call.arguments,
                    digest=decision.digest,
                    purpose=decision.purpose,
                    step=decision.step,
                    attempt=decision.attempt,
                    counts=decision.counts,
                    grants=decision.grants,
                    principal=request.who.name,
                    node=self._node_id,
                    verdicts=decision.verdicts,
                )
            case ApprovalNeeded():
                return e.CallDeferred(
                    call_id=request.call_id,
                    approval_id=decision.approval_id,
                    step=decision.step,
                    tool=call.tool,
                    arguments=call.arguments,
                    digest=decision.digest,
                    principal=request.who.name,
                )
            case Denied():
                text = canonical_json(call.arguments)
                return e.CallDenied(
                    call_id=request.call_id,
                    tool=call.tool,
                    arguments=call.arguments if len(text) <= MAX_SHOWN_BYTES else None,
                    digest=digest_of([call.tool, call.arguments]),
                    step=decision.step,
                    rule=decision.rule,
                    reason=decision.reason,
                    principal=request.who.name,
                    verdicts=decision.verdicts,
                )


def _held_to_size(decision: Decision, call: Call) -> Decision:
    """The decision, unless people would have to approve more than they can be shown."""
    if not isinstance(decision, ApprovalNeeded):
        return decision
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
