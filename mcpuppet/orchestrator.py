"""The whole story of one call, top to bottom.

Load the session, decide, write the intent down, call the server, write down what became of it and
what follows, and answer with what is legal now. A call never waits for a person, a refusal is an
answer, and whatever cannot be written down is not done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import anyio

from mcpuppet.audit.monitor import AuditMonitor
from mcpuppet.errors import (
    DownstreamUnavailableError,
    InvalidInputError,
    NotAuthorisedError,
    UnknownSessionError,
)
from mcpuppet.headless import WorkflowResult, run_headless
from mcpuppet.ledger import Ledger
from mcpuppet.library import Library
from mcpuppet.people import People
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
from mcpuppet.session.outcome import Outcome, Succeeded, Unknown
from mcpuppet.settings import AGENT, PrincipalSettings, Settings
from mcpuppet.store.nodes import Nodes
from mcpuppet.store.protocol import Store
from mcpuppet.tool_servers import OnProgress, ToolDefinition, ToolServers
from mcpuppet.views import (
    CallAnswer,
    SessionView,
    legal_now,
    run_status,
    session_view,
    step_note,
)
from mcpuppet.workflow.compiler import CompiledWorkflow

TOOL_WAIT = 30.0
"""Seconds to wait for a server to start when a call needs it."""


@dataclass(frozen=True, slots=True)
class _Ruling:
    """What was decided on one attempt, and the state around it."""

    decision: Decision
    progress: Progress
    before: tuple[LegalCall, ...]


class Orchestrator:
    """Governs sessions: starts runs, decides on calls and makes them, and takes people's word."""

    def __init__(
        self,
        *,
        settings: Settings,
        store: Store,
        library: Library,
        servers: ToolServers,
        nodes: Nodes,
        node_id: str,
        clock: Callable[[], datetime],
        new_id: Callable[[str], str],
        jitter: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.store = store
        self.library = library
        self.servers = servers
        self.ledger = Ledger(store, library, nodes, node_id, clock, new_id, jitter)
        self.people = People(self.ledger, store, settings)
        self.audit_monitor = AuditMonitor(store.reader)
        self._node_id = node_id
        self._new_id = new_id

    # --- sessions and runs ----------------------------------------------------------------------

    async def start_workflow(
        self,
        workflow: str,
        inputs: Mapping[str, Any],
        *,
        session_id: str | None = None,
        principal: str = AGENT,
    ) -> SessionView:
        """Begin a run, in a new session unless one is named.

        Raises InvalidInputError for an unknown workflow, inputs that do not fit or a run that is
        still active, and NotAuthorisedError for a workflow the principal may not start.
        """
        who = self.settings.principal(principal)
        compiled = self._startable(workflow, who)
        values = {**compiled.defaults, **inputs}
        violations = compiled.inputs.violations(values)
        if violations:
            raise InvalidInputError(f"inputs of {workflow}: {'; '.join(violations)}")
        await self.library.keep(compiled)

        def start(progress: Progress) -> None:
            progress.open_session(principal, self.settings.hash)
            self._check_owner(progress, principal)
            run = progress.run
            if run is not None:
                raise InvalidInputError(
                    f"session {progress.session_id} is still in a run of {run.workflow}; "
                    "a person can end it with `mcpuppet cancel`"
                )
            progress.start_run(compiled, values, principal)

        _, progress = await self.ledger.change(session_id or self._new_id("ses"), start)
        return session_view(progress, who.principal)

    def _startable(self, workflow: str, who: PrincipalSettings) -> CompiledWorkflow:
        allowed = [name for name in self.library.workflows if who.may_start(name)]
        if workflow not in self.library.workflows:
            known = ", ".join(allowed) or "none"
            raise InvalidInputError(f"no workflow is called {workflow!r}; there are: {known}")
        if workflow not in allowed:
            raise NotAuthorisedError(f"{who.principal.name} may not start {workflow!r}")
        return self.library.workflows[workflow]

    def default_workflow(self, who: Principal) -> CompiledWorkflow | None:
        """The workflow that the first call of a session begins by itself, if there is one.

        That is the default of the settings, where this principal may start it without inputs.
        """
        workflow = self.idle_workflow(who)
        if workflow is None or workflow.name != self.settings.default_workflow:
            return None
        return None if workflow.inputs.violations(dict(workflow.defaults)) else workflow

    def idle_workflow(self, who: Principal) -> CompiledWorkflow | None:
        """The workflow that says, while no run is active, which tools are always legal."""
        allowed = self.settings.principal(who.name)
        names = [name for name in self.library.workflows if allowed.may_start(name)]
        default = self.settings.default_workflow
        first = default if default in names else next(iter(names), None)
        return None if first is None else self.library.workflows[first]

    @staticmethod
    def _check_owner(progress: Progress, principal: str) -> None:
        if progress.state.principal != principal:
            raise UnknownSessionError(progress.session_id)

    async def status(self, session_id: str, *, principal: str | None = None) -> SessionView:
        """The session as it is now; raises UnknownSessionError.

        With `principal`, only that principal's own sessions are known.
        """
        progress = await self.ledger.look(session_id)
        if progress is None:
            raise UnknownSessionError(session_id)
        if principal is not None:
            self._check_owner(progress, principal)
        who = self.settings.principal(progress.state.principal)
        return session_view(progress, who.principal)

    async def execute_workflow(
        self,
        template: str,
        session_id: str,
        data: Mapping[str, Any],
        *,
        principal: str = AGENT,
    ) -> WorkflowResult:
        """Run every legal step of a workflow without a client, as far as it goes.

        The inputs and missing arguments are taken from `data`; see `headless`. Called again, it
        goes on where it stopped. Raises what `start_workflow` raises.
        """
        who = self.settings.principal(principal)
        inputs = frozenset(self._startable(template, who).definition.inputs)
        return await run_headless(self, inputs, template, session_id, data, who.principal)

    async def sweep(self, limit: int = 100) -> int:
        """Write down what time has brought about in sessions nobody looks at; how many changed."""
        due = await self.store.due_sessions(self.ledger.source().now, limit)
        for session_id in due:
            await self.ledger.change(session_id, _nothing_more)
        return len(due)

    # --- one call -------------------------------------------------------------------------------

    async def call_tool(
        self,
        session_id: str,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        principal: str = AGENT,
        on_progress: OnProgress | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> CallAnswer:
        """Call a tool, if the session may do so now.

        `tool` is `server.tool`, or a bare tool name where it is unique. A refusal raises nothing:
        it is the answer's decision. A failed attempt that the workflow retries within 20 s is
        retried here. Raises StoreError when the audit trail cannot be written; whatever was sent by
        then is recorded as unknown as soon as the store can be written again.
        """
        who = self.settings.principal(principal).principal
        default = self.default_workflow(who)
        if default is not None:
            await self.library.keep(default)
        while True:
            answer, due = await self._attempt(
                session_id, tool, dict(arguments), who, on_progress, meta
            )
            if due is None:
                return answer
            await anyio.sleep(max(0.0, (due - self.ledger.source().now).total_seconds()))

    async def _attempt(
        self,
        session_id: str,
        tool: str,
        arguments: dict[str, Any],
        who: Principal,
        on_progress: OnProgress | None,
        meta: Mapping[str, Any] | None,
    ) -> tuple[CallAnswer, datetime | None]:
        """One attempt; with the time of the next one, where the workflow wants it made here."""
        call_id = self._new_id("call")
        self.ledger.join()
        self.ledger.in_flight.add(call_id)
        try:
            ruling, definition = await self._rule(session_id, call_id, tool, arguments, who)
            if not isinstance(ruling.decision, Allowed) or definition is None:
                return self._answer(call_id, tool, ruling, None, ruling.progress, who), None
            outcome, seconds = await self._send(
                session_id, call_id, ruling, definition, arguments, on_progress, meta
            )
            ended = await self._record(session_id, call_id, outcome, seconds)
            answer = self._answer(call_id, definition_name(definition), ruling, outcome, ended, who)
            return answer, self._retry_due(ruling.decision, outcome, ended)
        finally:
            self.ledger.in_flight.discard(call_id)

    async def _rule(
        self, session_id: str, call_id: str, tool: str, arguments: dict[str, Any], who: Principal
    ) -> tuple[_Ruling, ToolDefinition | None]:
        """Decide, and write the decision down: as the intent to call, or as a refusal."""
        problem: Denied | None = None
        definition: ToolDefinition | None = None
        while True:
            known = definition

            def judge(
                progress: Progress,
                known: ToolDefinition | None = known,
                problem: Denied | None = problem,
            ) -> _Ruling | str:
                return self._judge(progress, call_id, tool, arguments, who, known, problem)

            ruling, _ = await self.ledger.change(session_id, judge)
            if isinstance(ruling, _Ruling):
                return ruling, definition
            try:
                definition = await self._definition(ruling)
            except DownstreamUnavailableError as error:
                problem = Denied("server_unavailable", str(error))
            else:
                if definition is None:
                    problem = Denied("unknown_tool", f"no server offers the tool {ruling}")

    async def _definition(self, tool: str) -> ToolDefinition | None:
        server, _, name = tool.partition(".")
        known = self.servers.known_tools(server)
        if known is None or name not in known:
            known = await self.servers.tools(server, wait=TOOL_WAIT)
        return known.get(name)

    def _judge(
        self,
        progress: Progress,
        call_id: str,
        tool: str,
        arguments: dict[str, Any],
        who: Principal,
        definition: ToolDefinition | None,
        problem: Denied | None,
    ) -> _Ruling | str:
        """The decision as events; or the name of the tool whose definition is needed first."""
        progress.open_session(who.name, self.settings.hash)
        before = legal_now(progress, who)
        default = self.default_workflow(who)
        if default is not None and progress.state.run is None:
            progress.start_run(default, dict(default.defaults), who.name)
        workflow = progress.workflow if progress.run is not None else self.idle_workflow(who)
        named = self._resolve(workflow, tool)
        fault = argument_fault(arguments)
        if fault is not None:
            decision: Decision = Denied("arguments", fault)
            named, arguments = tool, {}
        elif isinstance(named, Denied):
            decision, named = named, tool
        else:
            decision = self._decide(progress, workflow, Call(named, arguments), who)
            if not isinstance(decision, Denied):
                if problem is None and (definition is None or definition_name(definition) != named):
                    return named
                decision = problem or _schema_problem(decision, definition, arguments)
                decision = _too_large_to_show(decision, arguments)
        self._write(progress, call_id, Call(named, arguments), decision, who)
        return _Ruling(decision, progress, before)

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
        if progress.state.principal != who.name:
            return Denied("owner", "the session belongs to somebody else")
        if workflow is None:
            return Denied("no_run", f"{who.name} may start no workflow")
        if progress.run is None:
            ended = progress.state.run
            if ended is not None and not workflow.is_always(call.tool):
                return Denied("no_run", f"the run of {ended.workflow} is over ({ended.status})")
        return decide(workflow, progress.state, call, who, progress.source.now)

    def _write(
        self, progress: Progress, call_id: str, call: Call, decision: Decision, who: Principal
    ) -> None:
        match decision:
            case Allowed():
                progress.emit(
                    e.CallStarted(
                        call_id=call_id,
                        tool=call.tool,
                        arguments=call.arguments,
                        digest=decision.digest,
                        purpose=decision.purpose,
                        step=decision.step,
                        attempt=decision.attempt,
                        counts=decision.counts,
                        grants=decision.grants,
                        principal=who.name,
                        node=self._node_id,
                        verdicts=decision.verdicts,
                    )
                )
            case ApprovalNeeded():
                progress.emit(
                    e.CallDeferred(
                        call_id=call_id,
                        approval_id=decision.approval_id,
                        step=decision.step,
                        tool=call.tool,
                        arguments=call.arguments,
                        digest=decision.digest,
                        principal=who.name,
                    )
                )
            case Denied():
                text = canonical_json(call.arguments)
                progress.emit(
                    e.CallDenied(
                        call_id=call_id,
                        tool=call.tool,
                        arguments=call.arguments if len(text) <= MAX_SHOWN_BYTES else None,
                        digest=digest_of([call.tool, call.arguments]),
                        step=decision.step,
                        rule=decision.rule,
                        reason=decision.reason,
                        principal=who.name,
                        verdicts=decision.verdicts,
                    )
                )

    async def _send(
        self,
        session_id: str,
        call_id: str,
        ruling: _Ruling,
        definition: ToolDefinition,
        arguments: dict[str, Any],
        on_progress: OnProgress | None,
        meta: Mapping[str, Any] | None,
    ) -> tuple[Outcome, float]:
        """Make the call. A caller that goes away leaves an unknown outcome behind, recorded."""
        assert isinstance(ruling.decision, Allowed)
        step = ruling.decision.step
        timeout = None if step is None else ruling.progress.workflow.step(step).timeout
        started = time.monotonic()
        try:
            outcome = await self.servers.call(
                definition.server,
                definition.name,
                arguments,
                timeout=timeout or self.settings.call_timeout,
                on_progress=on_progress,
                meta=meta,
                digest=definition.digest,
            )
        except asyncio.CancelledError:
            gone = Unknown("cancelled", "the caller went away before the server had answered")
            with anyio.CancelScope(shield=True):
                await self._record(session_id, call_id, gone, time.monotonic() - started)
            raise
        return outcome, time.monotonic() - started

    async def _record(
        self, session_id: str, call_id: str, outcome: Outcome, seconds: float
    ) -> Progress:
        """Write down the outcome and what follows from it."""
        with anyio.CancelScope(shield=True):
            _, progress = await self.ledger.change(
                session_id,
                lambda progress: progress.call_ended(call_id, outcome, round(seconds, 6)),
            )
        return progress

    def _retry_due(
        self, decision: Allowed, outcome: Outcome, progress: Progress
    ) -> datetime | None:
        """When the next attempt is due, if the workflow retries this step inside the call."""
        run = progress.run
        if decision.step is None or run is None or isinstance(outcome, Succeeded):
            return None
        if not progress.workflow.step(decision.step).retries_inside:
            return None
        return run.not_before.get(decision.step)

    def _answer(
        self,
        call_id: str,
        tool: str,
        ruling: _Ruling,
        outcome: Outcome | None,
        after: Progress,
        who: Principal,
    ) -> CallAnswer:
        legal = legal_now(after, who)
        return CallAnswer(
            session_id=after.session_id,
            call_id=call_id,
            tool=tool,
            decision=ruling.decision,
            outcome=outcome,
            legal=legal,
            changed=legal != ruling.before,
            run_status=run_status(after),
            note="" if outcome is None else step_note(after, ruling.decision),
        )


def _nothing_more(progress: Progress) -> None:
    """A change that adds nothing to what time has brought about."""


def _too_large_to_show(decision: Decision, arguments: dict[str, Any]) -> Decision:
    """The decision, unless people would have to approve more than they can be shown."""
    if not isinstance(decision, ApprovalNeeded):
        return decision
    size = len(canonical_json(arguments))
    if size <= MAX_SHOWN_BYTES:
        return decision
    reason = f"the arguments have {size:,} bytes; people are shown at most {MAX_SHOWN_BYTES:,}"
    return Denied("arguments", reason, decision.step)


def definition_name(definition: ToolDefinition) -> str:
    """The full name of a tool, `server.tool`."""
    return f"{definition.server}.{definition.name}"


def _schema_problem(
    decision: Decision, definition: ToolDefinition | None, arguments: dict[str, Any]
) -> Decision:
    """The decision, unless the arguments break the tool's own input schema."""
    violations = [] if definition is None else definition.input_schema.violations(arguments)
    if not violations:
        return decision
    step = decision.step if isinstance(decision, (Allowed, ApprovalNeeded)) else None
    return Denied("schema", f"arguments of the tool: {'; '.join(violations)}", step)
