"""Running a workflow without a client: every legal step, in order, as far as it goes.

Arguments come from the step's `equals` rules, then from the caller's data, by the names in the
tool's own input schema. What stops it is said: an approval, a missing argument, a hold, a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import anyio

from mcpuppet.errors import DownstreamUnavailableError, UnknownSessionError
from mcpuppet.ledger import Ledger
from mcpuppet.session.call import Principal
from mcpuppet.session.consequences import Progress
from mcpuppet.session.decision import ApprovalNeeded, LegalCall
from mcpuppet.session.environment import variables
from mcpuppet.tool_servers import ToolServers
from mcpuppet.views import CallAnswer, SessionView, approval_views, legal_now, run_status
from mcpuppet.workflow.compiler import ArgumentCheck
from mcpuppet.workflow.expression import EvaluationError

TOOL_WAIT = 30.0
"""Seconds to wait for a server to start when a step needs its tool."""
LONGEST_WAIT = timedelta(seconds=30)
"""A poll or a retry that is due later than this ends the run-through as `waiting`."""


@dataclass(frozen=True, slots=True)
class WorkflowResult:
    """How far a workflow got.

    `status` is how the run ended (completed, failed, rejected, cancelled, timed_out), or why it
    stopped: awaiting_approval, missing_argument, denied, held, waiting or server_unavailable.
    """

    session_id: str
    status: str
    results: Mapping[str, Mapping[str, Any]]
    """What the calls made now returned, by step id."""
    reason: str = ""
    approvals: tuple[str, ...] = ()
    """The open approvals that the run waits for."""
    missing: tuple[str, ...] = ()
    """Arguments that neither the workflow nor the data gives, as `step.argument`."""


class Governor(Protocol):
    """What running headless needs of the orchestrator."""

    ledger: Ledger
    servers: ToolServers

    async def start_workflow(
        self,
        workflow: str,
        inputs: Mapping[str, Any],
        *,
        session_id: str | None = None,
        principal: str = ...,
    ) -> SessionView: ...

    async def call_tool(
        self,
        session_id: str,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        principal: str = ...,
    ) -> CallAnswer: ...


async def run_headless(
    governor: Governor,
    inputs: frozenset[str],
    template: str,
    session_id: str,
    data: Mapping[str, Any],
    principal: Principal,
) -> WorkflowResult:
    """Start the workflow, or carry on with the session's run of it, and go as far as possible.

    `inputs` names the workflow's inputs, which are taken from `data` at the start. Raises what
    `start_workflow` raises.
    """
    loaded = await governor.ledger.load(session_id)
    run = None if loaded is None else loaded.state.active_run
    if run is None or run.workflow != template:
        given = {name: value for name, value in data.items() if name in inputs}
        await governor.start_workflow(
            template, given, session_id=session_id, principal=principal.name
        )
    return await _Headless(governor, session_id, data, principal).go()


class _Headless:
    """One run-through."""

    def __init__(
        self, governor: Governor, session_id: str, data: Mapping[str, Any], principal: Principal
    ) -> None:
        self._governor = governor
        self._session_id = session_id
        self._data = data
        self._principal = principal
        self._results: dict[str, Mapping[str, Any]] = {}

    async def go(self) -> WorkflowResult:
        while True:
            progress = await self._look()
            legal = [one for one in legal_now(progress, self._principal) if one.step is not None]
            if legal:
                stopped = await self._make(progress, legal[0])
                if stopped is not None:
                    return stopped
                continue
            due = _next_due(progress)
            if due is None or due - progress.source.now > LONGEST_WAIT:
                return self._why_stopped(progress, due)
            await anyio.sleep(max(0.0, (due - progress.source.now).total_seconds()))

    async def _look(self) -> Progress:
        progress = await self._governor.ledger.look(self._session_id)
        if progress is None:
            raise UnknownSessionError(self._session_id)
        return progress

    async def _make(self, progress: Progress, legal: LegalCall) -> WorkflowResult | None:
        """Make one legal call; a result when the run-through has to stop here."""
        try:
            arguments, missing = await self._arguments(progress, legal)
        except (DownstreamUnavailableError, EvaluationError) as error:
            return self._stopped("server_unavailable", str(error))
        if missing:
            names = tuple(f"{legal.step}.{name}" for name in missing)
            reason = f"{legal.tool} needs {', '.join(missing)}: put it into the data"
            return self._stopped("missing_argument", reason, missing=names)
        answer = await self._governor.call_tool(
            self._session_id, legal.tool, arguments, principal=self._principal.name
        )
        if isinstance(answer.decision, ApprovalNeeded):
            asked = (answer.decision.approval_id,)
            return self._stopped("awaiting_approval", answer.reason, approvals=asked)
        if not answer.allowed:
            return self._stopped("denied", answer.reason)
        if legal.purpose == "compensation" and answer.status != "succeeded":
            reason = f"{legal.tool} did not undo {legal.step}: {answer.reason}"
            return self._stopped(answer.run_status, reason)
        if answer.result is not None and legal.step is not None:
            self._results[legal.step] = answer.result
        return None

    async def _arguments(
        self, progress: Progress, legal: LegalCall
    ) -> tuple[dict[str, Any], list[str]]:
        """The arguments of a call, and the names of those that nobody gives."""
        rules, is_open = _rules(progress, legal)
        assert progress.run is not None
        values = variables(progress.workflow, progress.run)
        server, _, name = legal.tool.partition(".")
        tools = await self._governor.servers.tools(server, wait=TOOL_WAIT)
        if name not in tools:
            raise DownstreamUnavailableError(server, f"it offers no tool {name!r}")
        schema = tools[name].definition.get("inputSchema", {})
        arguments = {rule.name: rule.equals.evaluate(values) for rule in rules or () if rule.equals}
        listed = {rule.name for rule in rules or ()}
        filled_in = _filled_in(progress, legal)
        for name in schema.get("properties", {}):
            permitted = rules is None or is_open or name in listed
            if name == filled_in:
                continue
            if name in self._data and name not in arguments and permitted:
                arguments[name] = self._data[name]
        required = [*schema.get("required", ()), *(rule.name for rule in rules or ())]
        given = {*arguments, filled_in}
        return arguments, [one for one in dict.fromkeys(required) if one not in given]

    def _why_stopped(self, progress: Progress, due: datetime | None) -> WorkflowResult:
        run = progress.state.run
        if run is None or run.ended:
            reason = "" if run is None else run.end_reason or ""
            return self._stopped(run_status(progress), reason)
        if run.held:
            step, hold = next(iter(run.held.items()))
            return self._stopped("held", f"step {step} waits for a person: {hold.reason}")
        approvals = tuple(one.approval_id for one in approval_views(progress) if not one.policies)
        if approvals:
            reason = "a person has to decide; then run it again to go on"
            return self._stopped("awaiting_approval", reason, approvals=approvals)
        if due is not None:
            return self._stopped("waiting", f"the next attempt is due at {due.isoformat()}")
        return self._stopped("denied", "no step is legal for this principal now")

    def _stopped(
        self,
        status: str,
        reason: str,
        *,
        approvals: tuple[str, ...] = (),
        missing: tuple[str, ...] = (),
    ) -> WorkflowResult:
        return WorkflowResult(
            self._session_id, status, dict(self._results), reason, approvals, missing
        )


def _filled_in(progress: Progress, legal: LegalCall) -> str | None:
    """The argument that the gateway gives itself."""
    if legal.step is None or legal.purpose != "step":
        return None
    return progress.workflow.step(legal.step).key_argument


def _rules(progress: Progress, legal: LegalCall) -> tuple[tuple[ArgumentCheck, ...] | None, bool]:
    assert legal.step is not None
    step = progress.workflow.step(legal.step)
    if legal.purpose == "compensation" and step.compensation is not None:
        return step.compensation.args, step.compensation.args_open
    return step.args, step.args_open


def _next_due(progress: Progress) -> datetime | None:
    run = progress.run
    return None if run is None else min(run.not_before.values(), default=None)
