"""The whole story of one call, top to bottom.

Load the session, decide, write the intent down, call the server, write down what became of it and
what follows, and answer with what is legal now. A call never waits for a person, a refusal is an
answer, and whatever cannot be written down is not done.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import anyio

from mcpuppet.audit.fates import Fate, fates
from mcpuppet.audit.log import AuditLog
from mcpuppet.audit.monitor import AuditMonitor
from mcpuppet.audit.provenance import first_seen
from mcpuppet.errors import (
    DownstreamUnavailableError,
    InvalidInputError,
    MCPuppetError,
    NotAuthorisedError,
    StoreError,
    UnknownSessionError,
)
from mcpuppet.headless import WorkflowResult, run_headless
from mcpuppet.ledger import Ledger
from mcpuppet.library import Library
from mcpuppet.people.deciding import People
from mcpuppet.reconciliation import Reconciler
from mcpuppet.redaction.secrets import Scrubber, secrets_of
from mcpuppet.redaction.vault import has_marks, vault_of
from mcpuppet.repeats import KEY, Repeated, client_key, without_key
from mcpuppet.ruling import DefinitionNeeded, Judge, Known, ProvenanceNeeded, Request, Ruling
from mcpuppet.session import events as e
from mcpuppet.session.call import Principal, argument_fault, canonical_json
from mcpuppet.session.consequences import Progress
from mcpuppet.session.decision import Allowed, Denied
from mcpuppet.session.fate import waiting_calls
from mcpuppet.session.outcome import Outcome, Succeeded, Unknown, recordable
from mcpuppet.settings import AGENT, PrincipalSettings, Settings
from mcpuppet.store.nodes import Nodes
from mcpuppet.store.protocol import Store
from mcpuppet.tool_servers import OnProgress, ToolServers, sensitive_places
from mcpuppet.views import (
    CallAnswer,
    SessionView,
    guidance_of,
    legal_now,
    run_status,
    session_view,
    step_note,
)
from mcpuppet.workflow.compiler import CompiledWorkflow

TOOL_WAIT = 30.0
"""Seconds to wait for a server to start when a call needs it."""


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
        self.ledger = Ledger(
            store,
            library,
            nodes,
            node_id,
            clock,
            new_id,
            jitter,
            scrubber=Scrubber(secrets_of(settings.servers)),
            of_tool=partial(sensitive_places, servers),
        )
        self.people = People(self.ledger, store, settings)
        audit_log = AuditLog(store.reader, settings.audit)
        self.audit_monitor = AuditMonitor(store.reader, audit_log.kept)
        self.judge = Judge(settings, library, servers, node_id)
        self.reconciler = Reconciler(self.ledger, store, servers, node_id, new_id)
        self._flights: dict[str, Flight] = {}
        """The calls that this process is making, by the ids of their attempts."""
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
        fault = argument_fault(inputs)
        if fault is not None:
            raise InvalidInputError(f"inputs of {workflow}: {fault}")
        await self.keep_books(who.principal)
        if workflow == who.rules:
            return await self._declare(workflow, inputs, session_id, who)
        compiled = self._startable(workflow, who)
        values = {**compiled.defaults, **inputs}
        violations = compiled.inputs.violations(values)
        if violations:
            raise InvalidInputError(f"inputs of {workflow}: {'; '.join(violations)}")
        await self.library.keep(compiled)

        def start(progress: Progress) -> None:
            self.judge.open(progress, who.principal)
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

    async def _declare(
        self,
        name: str,
        inputs: Mapping[str, Any],
        session_id: str | None,
        who: PrincipalSettings,
    ) -> SessionView:
        """Take in the inputs of the rules file that governs the principal's sessions."""

        def declare(progress: Progress) -> None:
            self.judge.open(progress, who.principal)
            self._check_owner(progress, who.principal.name)
            _check_undeclared(progress, name)
            assert progress.rules is not None
            violations = progress.rules.inputs.violations(dict(inputs))
            if violations:
                raise InvalidInputError(f"inputs of {name}: {'; '.join(violations)}")
            progress.declare_inputs(inputs, who.principal.name)

        _, progress = await self.ledger.change(session_id or self._new_id("ses"), declare)
        return session_view(progress, who.principal)

    async def keep_books(self, who: Principal) -> None:
        """See that the store holds what a call of this principal may begin or adopt."""
        idle = self.judge.idle_workflow(who)
        if idle is not None:
            await self.library.keep(idle)
        rules = self.settings.principal(who.name).rules
        if rules is not None:
            await self.library.keep(self.library.rules[rules])

    def _startable(self, workflow: str, who: PrincipalSettings) -> CompiledWorkflow:
        allowed = [name for name in self.library.workflows if who.may_start(name)]
        if workflow not in self.library.workflows:
            known = ", ".join(allowed) or "none"
            raise InvalidInputError(f"no workflow is called {workflow!r}; there are: {known}")
        if workflow not in allowed:
            raise NotAuthorisedError(f"{who.principal.name} may not start {workflow!r}")
        return self.library.workflows[workflow]

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
        """Write down what time has brought about in sessions nobody looks at; how many changed.

        A session that cannot be changed keeps no other from it; the first such error is raised.
        """
        await self.servers.screen_again()
        due = await self.store.due_sessions(self.ledger.source().now, limit)
        failures: list[MCPuppetError] = []
        for session_id in due:
            try:
                _, progress = await self.ledger.change(session_id, _nothing_more)
                await self.reconciler.sweep(progress)
            except MCPuppetError as error:
                failures.append(error)
        if failures:
            raise failures[0]
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
        credential: str = "api",
    ) -> CallAnswer:
        """Call a tool, if the session may do so now.

        A request that was made before is answered without a call where that one is still being
        made, or where this one is not legal now; see `repeats`. `tool` is `server.tool`, or a bare
        tool name where it is unique. A refusal raises nothing: it is the answer's decision. A
        failed attempt that the workflow retries within 20 s is retried here. Raises StoreError when
        the audit trail cannot be written; whatever was sent by then is recorded as unknown as soon
        as the store can be written again.
        """
        who = self.settings.principal(principal).principal
        await self.keep_books(who)
        self.ledger.join()
        key, fault = client_key(meta)
        flight = Flight(on_progress, without_key(meta))
        try:
            while True:
                name = self._new_id("call")
                request = Request(name, tool, dict(arguments), who, credential, key, fault)
                answer, due = await self._attempt(session_id, request, flight)
                if due is None:
                    flight.answer = answer
                    return answer
                await anyio.sleep(max(0.0, (due - self.ledger.source().now).total_seconds()))
        finally:
            for call_id in flight.call_ids:
                del self._flights[call_id]
            flight.landed.set()

    async def _attempt(
        self, session_id: str, request: Request, flight: Flight
    ) -> tuple[CallAnswer, datetime | None]:
        """One attempt; with the time of the next one, where the workflow wants it made here."""
        self._flights[request.call_id] = flight
        flight.call_ids.append(request.call_id)
        self.ledger.in_flight.add(request.call_id)
        recorded = anyio.Event()
        try:
            ruling, progress = await self._rule(session_id, request)
            if isinstance(ruling, Repeated):
                return await self._repeated(session_id, request, ruling), None
            if not isinstance(ruling.decision, Allowed):
                return _answer(request, ruling, None, progress), None
            outcome, seconds = await self._send(request, ruling, progress, flight, recorded)
            ended = await self._record(session_id, request.call_id, outcome, seconds)
            outcome = _unless_late(outcome, ended)
        finally:
            self.ledger.in_flight.discard(request.call_id)
            recorded.set()
        due = _retry_due(progress, ruling, outcome, ended)
        answer = _answer(request, ruling, outcome, ended)
        if isinstance(outcome, Unknown) and due is None:
            answer = await self._follow(request, ruling, answer, ended)
        return answer, due

    async def _follow(
        self, request: Request, ruling: Ruling, answer: CallAnswer, ended: Progress
    ) -> CallAnswer:
        """The answer, after it was read what became of the call, where the workflow says how."""
        call_id = request.call_id
        if all(one.call_id != call_id for one in waiting_calls(ended.state)):
            return answer
        seen = await self.reconciler.follow(ended, call_id, ruling.call.arguments)
        if call_id in seen.state.calls:  # it is still not known
            found = _answer(request, ruling, answer.outcome, seen)
            return replace(found, note=found.note or answer.note)
        fate = await self._fate(ended.session_id, call_id)
        found = _answer(request, ruling, fate.outcome() or answer.outcome, seen)
        return replace(found, happened=fate.happened)

    async def _repeated(self, session_id: str, request: Request, repeat: Repeated) -> CallAnswer:
        """Answer a request with what becomes, or became, of the call that was made before."""
        flight = self._flights.get(repeat.of) if repeat.how == "attached" else None
        if flight is not None:
            await flight.landed.wait()
        after = await self.ledger.look(session_id)
        assert after is not None
        legal = legal_now(after, request.who)
        told = None if flight is None else flight.answer
        if told is None:
            fate = await self._fate(session_id, repeat.of)
            told = _recorded_answer(session_id, repeat, fate)
            told = replace(told, note=_made_otherwise(repeat, fate))
        return replace(
            told,
            call_id=request.call_id,
            legal=legal,
            changed=legal != repeat.before,
            run_status=run_status(after),
            repeats=repeat.of,
            how=repeat.how,
            guidance=guidance_of(after),
        )

    async def _fate(self, session_id: str, call_id: str) -> Fate:
        """What the audit trail says became of a call."""

        def read() -> Fate:
            with self.store.reader() as reader:
                vault = vault_of(reader, session_id)
                return fates(reader.records(session_id), [call_id], vault)[call_id]

        return await asyncio.to_thread(read)

    async def _rule(self, session_id: str, request: Request) -> tuple[Ruling | Repeated, Progress]:
        """Decide, and write the decision down: as the intent to call, or as a refusal."""
        known = Known()
        while True:
            rule = partial(self.judge.rule, request=request, known=known)
            ruling, progress = await self.ledger.change(session_id, rule)
            match ruling:
                case Ruling() | Repeated():
                    return ruling, progress
                case DefinitionNeeded():
                    known = replace(known, problem=await self._define(ruling.tool))
                case ProvenanceNeeded():
                    seen = await self._first_seen(session_id, progress, ruling)
                    known = replace(known, seen=seen)

    async def _first_seen(
        self, session_id: str, progress: Progress, needed: ProvenanceNeeded
    ) -> Mapping[str, str]:
        """Where each value that people are shown came from, as the audit trail tells."""
        given = progress.state.given

        def search() -> Mapping[str, str]:
            with self.store.reader() as reader:
                vault = vault_of(reader, session_id)
                return first_seen(needed.values, given, reader.records(session_id), vault)

        return await asyncio.to_thread(search)

    async def _define(self, tool: str) -> Denied | None:
        """Have a tool's server list its tools; what keeps the tool from being called."""
        server, _, name = tool.partition(".")
        try:
            tools = await self.servers.tools(server, wait=TOOL_WAIT)
        except DownstreamUnavailableError as error:
            return Denied("server_unavailable", str(error))
        if name in tools:
            return None
        left_out = self.servers.left_out(server, name)
        if left_out is not None:
            return Denied("disabled_tool", f"{tool} is disabled: {left_out}")
        return Denied("unknown_tool", f"server {server} offers no tool {name}")

    async def _send(
        self,
        request: Request,
        ruling: Ruling,
        progress: Progress,
        flight: Flight,
        recorded: anyio.Event,
    ) -> tuple[Outcome, float]:
        """Make the call. A caller that goes away leaves an unknown outcome behind, recorded.

        An answer that comes when that is `recorded` is written down as late.
        """
        definition, decision = ruling.definition, ruling.decision
        assert definition is not None
        assert isinstance(decision, Allowed)
        step = None if decision.step is None else progress.workflow.step(decision.step)
        arguments, meta = ruling.call.arguments, flight.meta
        key = progress.state.calls[request.call_id].key
        if key is not None and decision.key_argument is not None:
            arguments = {**arguments, decision.key_argument: key}
        elif key is not None:
            meta = {**(meta or {}), KEY: key}

        async def came_late(outcome: Outcome, seconds: float) -> None:
            await recorded.wait()
            await self._record(progress.session_id, request.call_id, outcome, seconds)

        # What only reads, or may be made twice, is not worth keeping a server at work for.
        may_stop = decision.purpose == "always" or (
            step is not None and step.retries_unknown and not step.has_key
        )
        started = time.monotonic()
        try:
            outcome = await self.servers.call(
                definition.server,
                definition.name,
                arguments,
                timeout=(step and step.timeout) or self.settings.call_timeout,
                on_progress=flight.on_progress,
                meta=meta,
                digest=definition.digest,
                on_late=None if may_stop else came_late,
            )
        except asyncio.CancelledError:
            gone = Unknown("cancelled", "the caller went away before the server had answered")
            took = time.monotonic() - started
            await self._record(progress.session_id, request.call_id, gone, took)
            raise
        return outcome, time.monotonic() - started

    async def _record(
        self, session_id: str, call_id: str, outcome: Outcome, seconds: float
    ) -> Progress:
        """Write down the outcome and what follows from it."""
        with anyio.CancelScope(shield=True):
            _, progress = await self.ledger.change(
                session_id,
                lambda progress: progress.call_ended(
                    call_id, recordable(outcome), round(seconds, 6)
                ),
            )
        return progress


@dataclass(slots=True)
class Flight:
    """One client's call with all its attempts, for those who ask for the same meanwhile."""

    on_progress: OnProgress | None
    meta: Mapping[str, Any] | None
    call_ids: list[str] = field(default_factory=list)
    landed: anyio.Event = field(default_factory=anyio.Event)
    answer: CallAnswer | None = None
    """What the client was answered; None where it went away, or there was no answer."""


def _unless_late(outcome: Outcome, ended: Progress) -> Outcome:
    """The outcome, unless the call counted as lost by the time that it came."""
    if not any(isinstance(one, e.LateOutcome) for one in ended.events):
        return outcome
    return Unknown(
        "gateway_lost",
        "the call counted as lost before its answer came, which is recorded for the person who "
        "settles it",
    )


def _recorded_answer(session_id: str, repeat: Repeated, fate: Fate) -> CallAnswer:
    """The answer to a call as its records tell it; what is legal now is not in it."""
    call = fate.started
    if call is None:
        raise StoreError(f"the record of call {repeat.of} cannot be read")
    unrecorded = Unknown("not_recorded", "its outcome could not be recorded")
    return CallAnswer(
        session_id=session_id,
        call_id=repeat.of,
        tool=call.tool,
        decision=Allowed(call.purpose, call.step, call.digest, call.attempt),
        outcome=fate.outcome() or unrecorded,
        legal=(),
        changed=False,
        run_status="",
        happened=fate.happened,
    )


def _made_otherwise(repeat: Repeated, fate: Fate) -> str:
    """That a person had changed the call, where the client asks again for what it first asked."""
    call, asked = fate.started, repeat.call
    if call is None or call.arguments is None:
        return ""
    pairs = ((fate.asked, asked.on_record), (call.arguments, asked.arguments))
    if any(canonical_json(one) == canonical_json(other) for one, other in pairs):
        return ""
    made = "" if has_marks(call.arguments) else f": {json.dumps(call.arguments, default=dict)}"
    return f"A person had changed the arguments of that call: it was made with others{made}."


def _retry_due(
    before: Progress, ruling: Ruling, outcome: Outcome, after: Progress
) -> datetime | None:
    """When the next attempt is due, if the workflow retries this step inside the call."""
    step = ruling.decision.step
    if step is None or isinstance(outcome, Succeeded) or before.run is None or after.run is None:
        return None
    if after.run.run_id != before.run.run_id:  # somebody ended the run, and another one began
        return None
    if not after.workflow.step(step).retries_inside:
        return None
    return after.run.not_before.get(step)


def _answer(
    request: Request, ruling: Ruling, outcome: Outcome | None, after: Progress
) -> CallAnswer:
    legal = legal_now(after, request.who)
    return CallAnswer(
        session_id=after.session_id,
        call_id=request.call_id,
        tool=ruling.call.tool,
        decision=ruling.decision,
        outcome=outcome,
        legal=legal,
        changed=legal != ruling.before,
        run_status=run_status(after),
        note="" if outcome is None else step_note(after, ruling.decision),
        edit=ruling.edit,
        guidance=guidance_of(after),
    )


def _check_undeclared(progress: Progress, name: str) -> None:
    """Inputs are declared once, and before the model has read anything that could move it."""
    rules = progress.state.rules
    if rules is None or rules.name != name:
        raise InvalidInputError(f"session {progress.session_id} is not governed by {name}")
    if progress.state.exposed:
        raise InvalidInputError(
            f"the inputs of {name} are locked: a tool's result has been delivered in this session; "
            "only a person can open them again, with `mcpuppet reopen`"
        )
    if rules.declared:
        raise InvalidInputError(f"the inputs of {name} have been declared in this session")


def _nothing_more(progress: Progress) -> None:
    """A change that adds nothing to what time has brought about."""
