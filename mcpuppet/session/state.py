"""A session's state, as values. How events lead from one state to the next is told by `fold`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from mcpuppet.session.machine import RUN_ENDS
from mcpuppet.workflow.marking import (
    status_of,
)


@dataclass(frozen=True, slots=True)
class ShownCall:
    """A call that the people who may approve were shown."""

    step: str
    tool: str
    arguments: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class ApprovalState:
    """A request for a decision: what was asked, who answered, what was used."""

    approval_id: str
    step: str
    binds: Mapping[str, Any]
    roles: tuple[str, ...]
    quorum: int
    requested_by: str
    separation: bool
    asked: int
    opened_at: datetime
    expires_at: datetime
    status: str = "open"
    shown: tuple[ShownCall, ...] = ()
    votes: tuple[tuple[str, str], ...] = ()
    """(person, digest of the content that the person saw)."""
    used: Mapping[str, str] = field(default_factory=dict)
    """For each dependent step that has used the grant, the digest of its call."""

    def shown_for(self, step: str) -> ShownCall | None:
        return next((one for one in self.shown if one.step == step), None)


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a step waits for a person, and the call it is about, if it is about one."""

    reason: str
    call_id: str | None


@dataclass(frozen=True, slots=True)
class StepCall:
    """The call that a step was last started by."""

    call_id: str
    tool: str


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call whose outcome is not recorded yet, or not known."""

    call_id: str
    tool: str
    digest: str
    purpose: str
    step: str | None
    attempt: int
    node: str
    started_at: datetime
    run_id: str | None
    """The run it was made in; a later run of the session has nothing to do with it."""
    unknown: bool = False


@dataclass(frozen=True)
class RunState:
    """One execution of one workflow."""

    run_id: str
    workflow: str
    version: str
    hash: str
    inputs: Mapping[str, Any]
    steps: tuple[str, ...]
    principal: str
    started_at: datetime
    expires_at: datetime
    status: str
    marking: int
    seen: int = 0
    """Sticky event bits."""
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    current: Mapping[str, StepCall] = field(default_factory=dict)
    """For each step that was called, its latest call: only that one can still move the step."""
    not_before: Mapping[str, datetime] = field(default_factory=dict)
    held: Mapping[str, Hold] = field(default_factory=dict)
    released: frozenset[str] = frozenset()
    approvals: Mapping[str, ApprovalState] = field(default_factory=dict)
    """The latest request of each approval step, by step id."""
    compensated: frozenset[str] = frozenset()
    ends_as: str | None = None
    failing_since: datetime | None = None
    end_reason: str | None = None

    @cached_property
    def index(self) -> Mapping[str, int]:
        return {name: number for number, name in enumerate(self.steps)}

    @property
    def ended(self) -> bool:
        return self.status in RUN_ENDS

    @property
    def failing(self) -> bool:
        return self.status == "failing"

    def step_status(self, step: str) -> int:
        """The status bit of a step."""
        return status_of(self.marking, self.index[step])

    def count(self, counter: str) -> int:
        return self.counters.get(counter, 0)


@dataclass(frozen=True, slots=True)
class SessionState:
    """One governed conversation: at most one active run, and the calls that are not settled."""

    session_id: str
    principal: str
    opened_at: datetime
    run: RunState | None = None
    calls: Mapping[str, OpenCall] = field(default_factory=dict)
    runs: int = 0

    @property
    def active_run(self) -> RunState | None:
        return self.run if self.run is not None and not self.run.ended else None
