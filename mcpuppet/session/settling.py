"""A session that moves on: events of one cause, and what follows by itself.

After every cause the run is *settled*: steps that can no longer run are skipped, approvals whose
turn it is are opened, and a run that has nothing left to do ends. Pure: the time, new ids and the
jitter of a retry come in with `Source`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mcpuppet.errors import AuditError, UnknownSessionError
from mcpuppet.session import events as e
from mcpuppet.session.call import Call
from mcpuppet.session.environment import variables
from mcpuppet.session.fold import apply
from mcpuppet.session.recording import Recorder, sensitive_fields
from mcpuppet.session.reservations import Reserved
from mcpuppet.session.state import RunState, SessionState
from mcpuppet.session.verdict import Counted
from mcpuppet.workflow.compiled import (
    CompiledRules,
    CompiledStep,
    CompiledWorkflow,
    Rulebook,
)
from mcpuppet.workflow.expression import EvaluationError
from mcpuppet.workflow.marking import (
    PENDING,
    RUNNING,
    SUCCESS,
    status_of,
    statuses,
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where time, ids and jitter come from, as values."""

    now: datetime
    new_id: Callable[[str], str]
    jitter: Callable[[], float]
    """A number in [0, 1)."""


class Settling:
    """Events that follow from one cause, and the state they lead to.

    `known` is the state before, None for a session that is not opened yet; `workflow` is the one of
    its latest run, `rules` the rules file that governs it, each None when there is none; `reserved`
    is what sessions share, and `recorder` how events are written down.
    """

    def __init__(
        self,
        session_id: str,
        known: SessionState | None,
        workflow: CompiledWorkflow | None,
        source: Source,
        *,
        rules: CompiledRules | None = None,
        reserved: Reserved | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.session_id = session_id
        self.known = known
        self.source = source
        self.rules = rules
        self.reserved = reserved or Reserved()
        self.recorder = recorder or Recorder()
        self.events: list[e.Event] = []
        self.records: list[Mapping[str, Any]] = []
        """The data of each event as its record holds it."""
        self.uses: list[Counted] = []
        """What a call that was started here counts for across sessions."""
        self._workflow = workflow

    @property
    def state(self) -> SessionState:
        if self.known is None:
            raise UnknownSessionError(self.session_id)
        return self.known

    @property
    def workflow(self) -> CompiledWorkflow:
        if self._workflow is None:
            raise AuditError("nothing follows from a workflow before a run was started")
        return self._workflow

    @property
    def run(self) -> RunState | None:
        return None if self.known is None else self.known.active_run

    @property
    def books(self) -> tuple[Rulebook, ...]:
        """What governs the session now: the workflow of the active run, and the rules file."""
        of_run = () if self.run is None else (self.workflow,)
        return of_run if self.rules is None else (*of_run, self.rules)

    @property
    def all_books(self) -> tuple[Rulebook, ...]:
        """What governs the session, and governed the latest run."""
        return tuple(one for one in (self._workflow, self.rules) if one is not None)

    def emit(self, event: e.Event) -> None:
        """Add an event and fold it into the state."""
        prepared = self.recorder.prepared(event)
        event = prepared.event
        places = sensitive_fields(self.recorder, event, self.known, self._workflow, self.all_books)
        self.known = apply(self.session_id, self.known, event, self.source.now)
        self.events.append(event)
        self.records.append(self.recorder.data(prepared, places))

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Call:
        """A call in this session, with its arguments as records will show them."""
        return self.recorder.call(tool, arguments, self._workflow)

    def open_session(self, principal: str, settings: str) -> None:
        """Begin the session, unless it has begun."""
        if self.known is None:
            self.emit(e.SessionOpened(principal, settings))

    def adopt_rules(self, rules: CompiledRules) -> None:
        """Have a rules file govern the session, unless one does."""
        if self.state.rules is None:
            self.rules = rules
            self.emit(e.RulesAdopted(rules.name, rules.version, rules.hash))

    def declare_inputs(self, inputs: Mapping[str, Any], principal: str) -> None:
        """Take in the inputs of the rules file, which are valid."""
        assert self.rules is not None
        self.emit(e.InputsDeclared(self.rules.name, inputs, principal))

    def reopen_inputs(
        self, person: str, note: str, credential: str = "", channel: str = ""
    ) -> None:
        """A person lets inputs be declared anew."""
        self.emit(e.InputsReopened(person, note, credential, channel))

    def start_run(
        self, workflow: CompiledWorkflow, inputs: Mapping[str, Any], principal: str
    ) -> None:
        """Begin a run of a workflow whose inputs are valid."""
        self._workflow = workflow
        self.emit(
            e.RunStarted(
                run_id=self.source.new_id("run"),
                workflow=workflow.name,
                version=workflow.version,
                hash=workflow.hash,
                inputs=inputs,
                steps=tuple(step.id for step in workflow.steps),
                principal=principal,
                expires_at=self.source.now + workflow.definition.timeout,
                timed=tuple(sorted(workflow.timed)),
                gives=workflow.locks_inputs,
            )
        )
        self.settle()

    def settle(self) -> None:
        """Let everything follow that follows without anybody's doing, until nothing more does."""
        while (run := self.run) is not None and self._settle_steps(run):
            pass
        if run is not None:
            self._end_if_done(run)

    def _settle_steps(self, now: RunState) -> bool:
        """One pass over the steps of the run as it is now; True when some step changed."""
        if not now.failing and not self.workflow.may_stir(now.marking):
            return False
        before = count = len(self.events)
        steps, touching = self.workflow.steps, self.workflow.touching
        run, known = now, statuses(now.marking, len(steps))
        for step in steps:
            if len(self.events) > count:
                assert self.run is not None
                run, count = self.run, len(self.events)
                known = statuses(run.marking, len(steps))
            status = known[step.index]
            if run.failing and not step.finally_:
                if status == PENDING or (status == RUNNING and step.approval is not None):
                    self.emit(e.StepSkipped(step.id, "the run is ending"))
            elif status == PENDING and (not step.needs or run.marking & touching[step.index]):
                self._settle_pending(step, run)
        return len(self.events) > before

    def _settle_pending(self, step: CompiledStep, run: RunState) -> None:
        if step.needs and step.needs_are_dead(run.marking):
            self.emit(e.StepSkipped(step.id, "what it needs can no longer happen"))
            return
        if step.id in run.not_before or not step.needs_hold(run.marking):
            return
        if step.when is not None and step.id not in run.released:
            try:
                if not step.when.evaluate_bool(variables(self.workflow, run, state=self.state)):
                    self.emit(e.StepSkipped(step.id, f"`{step.when.source}` does not hold"))
                    return
            except EvaluationError as error:
                self._hold_guard(step, run, f"`{step.when.source}` cannot be evaluated: {error}")
                return
        if step.approval is not None:
            binds = self._binds(step)
            if isinstance(binds, str):
                self._hold_guard(step, run, binds)
            else:
                self._open(step, 1, binds)

    def _hold_guard(self, step: CompiledStep, run: RunState, reason: str) -> None:
        hold = run.held.get(step.id)
        if hold is None or hold.reason != reason:
            self.emit(e.StepHeld(step.id, reason, None))

    def _binds(self, step: CompiledStep) -> dict[str, Any] | str:
        """The values that a decision would hold for, or why one of them cannot be read."""
        assert step.approval is not None
        assert self.run is not None
        values = variables(self.workflow, self.run, state=self.state)
        try:
            return {guard.source: guard.evaluate(values) for guard in step.approval.binds}
        except EvaluationError as error:
            return f"a bound value cannot be read: {error}"

    def _open(self, step: CompiledStep, asked: int, binds: Mapping[str, Any]) -> None:
        """Ask for a decision."""
        approval, run = step.approval, self.run
        assert approval is not None
        assert run is not None
        self.emit(
            e.ApprovalOpened(
                approval_id=self.source.new_id("apr"),
                step=step.id,
                binds=binds,
                roles=tuple(approval.roles),
                quorum=approval.quorum,
                requested_by=run.principal,
                separation=approval.separation,
                asked=asked,
                expires_at=self.source.now + approval.timeout,
            )
        )

    def _end_if_done(self, run: RunState) -> None:
        if self.workflow.is_busy(run.marking) or (run.failing and self._left_to_undo(run)):
            return
        for step in self.workflow.steps:
            if status_of(run.marking, step.index) & (PENDING | RUNNING):
                self.emit(e.StepSkipped(step.id, "the run is over and it was optional"))
        if run.failing:
            self.emit(e.RunEnded(end_of(run), run.end_reason or ""))
        else:
            self.emit(e.RunEnded("completed", "every step that had to be done is done"))

    def _left_to_undo(self, run: RunState) -> bool:
        return any(
            step.compensation is not None
            and status_of(run.marking, step.index) == SUCCESS
            and step.id not in run.compensated
            for step in self.workflow.steps
        )


def end_of(run: RunState) -> e.RunEnd:
    ends: Mapping[str | None, e.RunEnd] = {"rejected": "rejected", "timed_out": "timed_out"}
    return ends.get(run.ends_as, "failed")
