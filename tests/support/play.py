"""Driving one run through the pure core: calls, outcomes and decisions without store or servers."""

from __future__ import annotations

import itertools
from typing import Any

from mcpuppet.session import events as e
from mcpuppet.session.call import Call, Principal
from mcpuppet.session.consequences import Progress, Source
from mcpuppet.session.decision import Allowed, Decision, decide, legal_calls
from mcpuppet.session.outcome import Outcome
from mcpuppet.session.state import ApprovalState, RunState, SessionState
from mcpuppet.workflow.compiler import CompiledWorkflow, compile_workflow
from mcpuppet.workflow.marking import STATUS_NAMES
from mcpuppet.workflow.parser import parse_workflow
from support.fakes import Clock, Ids, succeeded

AGENT = Principal("agent", frozenset({"worker"}))
HEADER = "mcpuppet: 1\nworkflow: tiny\nversion: 1.0.0\n"


def compiled(body: str) -> CompiledWorkflow:
    """Compile a workflow given without its three header lines."""
    text = body if body.startswith("mcpuppet") else HEADER + body
    parsed = parse_workflow(text, "tiny.yaml")
    assert parsed.definition is not None, [str(one) for one in parsed.findings]
    return compile_workflow(parsed.definition, parsed.text)


class Play:
    """One session with one run, told what happens next."""

    def __init__(self, workflow: CompiledWorkflow | str, **inputs: Any) -> None:
        self.workflow = compiled(workflow) if isinstance(workflow, str) else workflow
        self.clock = Clock()
        self.history: list[tuple[e.Event, Any]] = []
        self._ids = Ids()
        self._numbers = itertools.count(1)
        self._state: SessionState | None = None
        values = {**self.workflow.defaults, **inputs}
        with_opening = self._progress()
        with_opening.open_session(AGENT.name, "0" * 64)
        with_opening.start_run(self.workflow, values, AGENT.name)
        self._keep(with_opening)

    def _progress(self) -> Progress:
        source = Source(self.clock(), self._ids, lambda: 1.0)
        workflow = None if self._state is None else self.workflow
        return Progress("session", self._state, workflow, source)

    def _keep(self, progress: Progress) -> list[e.Event]:
        self._state = progress.state
        self.history += [(event, self.clock()) for event in progress.events]
        return progress.events

    @property
    def state(self) -> SessionState:
        assert self._state is not None
        return self._state

    @property
    def run(self) -> RunState:
        assert self.state.run is not None
        return self.state.run

    def decide(self, tool: str, who: Principal = AGENT, **arguments: Any) -> Decision:
        return decide(self.workflow, self.state, Call(tool, arguments), who, self.clock())

    def legal(self, who: Principal = AGENT) -> list[str]:
        return [
            one.step if one.purpose == "step" else f"{one.step}.compensate"
            for one in legal_calls(self.workflow, self.state, who, self.clock())
            if one.step is not None
        ]

    def start(self, tool: str, **arguments: Any) -> str:
        """Make a call that must be allowed; its outcome is still to come."""
        decision = self.decide(tool, **arguments)
        assert isinstance(decision, Allowed), decision
        call_id = f"call_{next(self._numbers)}"
        progress = self._progress()
        progress.emit(
            e.CallStarted(
                call_id,
                tool,
                arguments,
                decision.digest,
                decision.purpose,
                decision.step,
                decision.attempt,
                decision.counts,
                decision.grants,
                AGENT.name,
                "node",
                decision.verdicts,
            )
        )
        self._keep(progress)
        return call_id

    def end(self, call_id: str, outcome: Outcome | None = None) -> list[e.Event]:
        progress = self._progress()
        progress.call_ended(call_id, outcome or succeeded(), 0.1)
        return self._keep(progress)

    def call(self, tool: str, outcome: Outcome | None = None, **arguments: Any) -> list[e.Event]:
        """A call that is allowed, and its outcome."""
        return self.end(self.start(tool, **arguments), outcome)

    def attempt(self, tool: str, **arguments: Any) -> Decision:
        """A call that is shown to the people who may approve it."""
        decision = self.decide(tool, **arguments)
        if hasattr(decision, "approval_id"):
            progress = self._progress()
            progress.emit(
                e.CallDeferred(
                    "call_shown",
                    decision.approval_id,
                    decision.step,
                    tool,
                    arguments,
                    decision.digest,
                    AGENT.name,
                )
            )
            self._keep(progress)
        return decision

    def approval(self, step: str) -> ApprovalState:
        return self.run.approvals[step]

    def do(self, what: str, *arguments: Any) -> list[e.Event]:
        """Let a person or time act: the name and arguments of a method of `Progress`."""
        progress = self._progress()
        getattr(progress, what)(*arguments)
        return self._keep(progress)

    def approve(self, step: str, *people: str) -> None:
        for person in people or ("alice",):
            self.do("voted", self.approval(step), person, "content", "test")

    def later(self, **parts: float) -> list[e.Event]:
        self.clock.advance(**parts)
        return self.do("time_passed")

    def status(self, step: str) -> str:
        return STATUS_NAMES[self.run.step_status(step)]
