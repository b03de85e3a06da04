"""Driving sessions through the pure core: calls, outcomes, decisions, without store or servers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping
from typing import Any

from mcpuppet.session import events as e
from mcpuppet.session.asked import (
    Circumstances,
    opened_request,
    refused_call,
    settings_read,
    shown_values,
)
from mcpuppet.session.call import Call, Principal
from mcpuppet.session.consequences import Progress, Source
from mcpuppet.session.decision import (
    Allowed,
    ApprovalNeeded,
    AskNeeded,
    Books,
    Decision,
    Unlisted,
    govern,
    legal_calls,
    legal_under,
)
from mcpuppet.session.fold import fold
from mcpuppet.session.intent import start_call
from mcpuppet.session.outcome import Outcome
from mcpuppet.session.reservations import LockHolder, Reservations, Reserved, Use
from mcpuppet.session.snapshot import dump_state, load_state
from mcpuppet.session.state import ApprovalState, AskState, RunState, SessionState
from mcpuppet.workflow.compiler import (
    CompiledRules,
    CompiledWorkflow,
    compile_rules,
    compile_workflow,
)
from mcpuppet.workflow.definition import RulesDefinition, WorkflowDefinition
from mcpuppet.workflow.marking import STATUS_NAMES
from mcpuppet.workflow.parser import parse_workflow
from support.fakes import Clock, Ids, succeeded

AGENT = Principal("agent", frozenset({"worker"}))
HEADER = "mcpuppet: 1\nworkflow: tiny\nversion: 1.0.0\n"
RULES_HEADER = "mcpuppet: 1\nrules: house\nversion: 1.0.0\n"


def compiled(body: str) -> CompiledWorkflow:
    """Compile a workflow given without its three header lines."""
    text = body if body.startswith("mcpuppet") else HEADER + body
    parsed = parse_workflow(text, "tiny.yaml")
    assert isinstance(parsed.definition, WorkflowDefinition), [str(one) for one in parsed.findings]
    return compile_workflow(parsed.definition, parsed.text)


def compiled_rules(body: str, files: Mapping[str, bytes] | None = None) -> CompiledRules:
    """Compile a rules file given without its three header lines; `files` lie beside it."""
    text = body if body.startswith("mcpuppet") else RULES_HEADER + body
    parsed = parse_workflow(text, "house.yaml", (files or {}).__getitem__)
    assert isinstance(parsed.definition, RulesDefinition), [str(one) for one in parsed.findings]
    return compile_rules(parsed.definition, parsed.bundle, parsed.fact_files)


class Shared:
    """What sessions share, as a store would keep it: counted uses and held locks."""

    def __init__(self) -> None:
        self.uses: dict[str, list[Use]] = {}
        self.locks: dict[str, LockHolder] = {}

    def reserved(self) -> Reserved:
        """Everything that is reserved, as one look at the store would find it."""
        uses = {key: tuple(found) for key, found in self.uses.items()}
        asked = (dict.fromkeys(uses), frozenset(self.locks))
        return Reserved(Reservations(uses, dict(self.locks)), asked)

    def keep(self, progress: Progress, before: SessionState | None) -> None:
        """Take over what one change of a session claims and gives up."""
        held = frozenset() if before is None else before.locks
        for lock, call_id in held - progress.state.locks:
            assert self.locks.pop(lock) == LockHolder(progress.session_id, call_id)
        for use in progress.uses:
            self.uses.setdefault(use.key, []).append(Use(progress.source.now, use.amount))
        for event in progress.events:
            for lock in event.locks if isinstance(event, e.CallStarted) else ():
                assert lock not in self.locks
                self.locks[lock] = LockHolder(progress.session_id, event.call_id)


class Play:
    """One session, told what happens next; with a workflow it begins with a run of it.

    With `checked` every state is taken through its snapshot, and compared with the fold of the
    records, before the session goes on.
    """

    def __init__(
        self,
        workflow: CompiledWorkflow | str | None = None,
        *,
        rules: CompiledRules | str | None = None,
        unlisted: Unlisted = "deny",
        checked: bool = False,
        shared: Shared | None = None,
        clock: Clock | None = None,
        session_id: str = "session",
        **inputs: Any,
    ) -> None:
        self._workflow = compiled(workflow) if isinstance(workflow, str) else workflow
        self.rules = compiled_rules(rules) if isinstance(rules, str) else rules
        self.shared = shared or Shared()
        self.clock = clock or Clock()
        self.history: list[tuple[e.Event, Any]] = []
        self._unlisted: Unlisted = unlisted
        self._checked = checked
        self._session_id = session_id
        self._ids = Ids()
        self._numbers = itertools.count(1)
        self._state: SessionState | None = None
        progress = self._progress()
        progress.open_session(AGENT.name, "0" * 64)
        if self.rules is not None:
            progress.adopt_rules(self.rules)
        self._keep(progress)
        if self._workflow is not None:
            self.restart(**inputs)

    def restart(self, **inputs: Any) -> None:
        """Begin a run of the workflow."""
        self.do("start_run", self.workflow, {**self.workflow.defaults, **inputs}, AGENT.name)

    def _progress(self) -> Progress:
        source = Source(self.clock(), self._ids, lambda: 1.0)
        return Progress(
            self._session_id,
            self._state,
            None if self._state is None else self._workflow,
            source,
            rules=None if self._state is None else self.rules,
            reserved=self.shared.reserved(),
        )

    def _keep(self, progress: Progress) -> list[e.Event]:
        self.shared.keep(progress, self._state)
        self._state = progress.state
        self.history += [(event, self.clock()) for event in progress.events]
        if self._checked:
            self._state = self._reloaded()
        return progress.events

    def _reloaded(self) -> SessionState:
        """The state as another process would have it, which is the fold of what was recorded."""
        written = dump_state(self.state)
        recorded = (
            (e.event_from(e.event_kind(one), json.loads(json.dumps(e.event_data(one)))), at)
            for one, at in self.history
        )
        folded = fold(self._session_id, recorded)
        assert folded == self.state
        assert dump_state(folded) == written
        assert load_state(written) == self.state
        return load_state(written)

    @property
    def workflow(self) -> CompiledWorkflow:
        assert self._workflow is not None
        return self._workflow

    @property
    def books(self) -> Books:
        return Books(self._workflow, self.rules, self._unlisted, is_listed=False)

    @property
    def state(self) -> SessionState:
        assert self._state is not None
        return self._state

    @property
    def run(self) -> RunState:
        assert self.state.run is not None
        return self.state.run

    def _there(self, who: Principal) -> Circumstances:
        idle = self.state.active_run is None
        return Circumstances("node", "api", settings_read("0" * 64, who, self.books, idle=idle))

    def decide(self, tool: str, who: Principal = AGENT, **arguments: Any) -> Decision:
        call, reserved = Call(tool, arguments), self.shared.reserved()
        return govern(self.books, self.state, call, who, self.clock(), reserved)

    def legal(self, who: Principal = AGENT) -> list[str]:
        return [
            one.step if one.purpose == "step" else f"{one.step}.compensate"
            for one in legal_calls(
                self.workflow, self.state, who, self.clock(), self.shared.reserved()
            )
            if one.step is not None
        ]

    def legal_tools(self, who: Principal = AGENT) -> list[str]:
        """Everything listed as legal, those a person may have to agree to with a question mark."""
        found = legal_under(self.books, self.state, who, self.clock(), self.shared.reserved())
        return [f"{one.tool}?" if one.asks else one.tool for one in found]

    def start(self, tool: str, **arguments: Any) -> str:
        """Make a call that must be allowed; its outcome is still to come."""
        decision = self.decide(tool, **arguments)
        assert isinstance(decision, Allowed), decision
        call_id = f"call_{next(self._numbers)}"
        progress = self._progress()
        start_call(progress, call_id, Call(tool, arguments), AGENT, decision, self._there(AGENT))
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
        if isinstance(decision, ApprovalNeeded):
            progress = self._progress()
            told = ("call_shown", Call(tool, arguments), AGENT)
            progress.emit(refused_call(self.state, *told, decision, self._there(AGENT)))
            self._keep(progress)
        return decision

    def ask(self, tool: str, **arguments: Any) -> AskState:
        """A call that people are asked about."""
        decision = self.decide(tool, **arguments)
        assert isinstance(decision, AskNeeded), decision
        progress = self._progress()
        call = Call(tool, arguments)
        seen = {path: "not seen before" for path, _ in shown_values(decision, call)}
        name = self._ids("apr")
        opened, needed = opened_request(decision, call, AGENT, name, self.clock(), seen)
        progress.emit(opened)
        told = (f"call_shown_{name}", call, AGENT)
        progress.emit(refused_call(progress.state, *told, needed, self._there(AGENT)))
        self._keep(progress)
        return self.state.asks[opened.approval_id]

    def agree(self, ask: AskState, person: str, roles: Collection[str]) -> None:
        """One person agrees to a call."""
        self.do("agreed", ask, person, frozenset(roles), "content", "test")

    def approval(self, step: str) -> ApprovalState:
        return self.run.approvals[step]

    def do(self, what: str, *arguments: Any, **named: Any) -> list[e.Event]:
        """Let a person or time act: the name and arguments of a method of `Progress`."""
        progress = self._progress()
        getattr(progress, what)(*arguments, **named)
        return self._keep(progress)

    def approve(self, step: str, *people: str) -> None:
        for person in people or ("alice",):
            self.do("voted", self.approval(step), person, "content", "test")

    def later(self, **parts: float) -> list[e.Event]:
        self.clock.advance(**parts)
        return self.do("time_passed")

    def status(self, step: str) -> str:
        return STATUS_NAMES[self.run.step_status(step)]
