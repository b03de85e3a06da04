"""A session's state, as values. How events lead from one state to the next is told by `fold`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, TypeVar

from mcpuppet.session.machine import RUN_ENDS
from mcpuppet.workflow.marking import (
    PENDING,
    STATUS_NAMES,
    status_of,
    statuses,
)

BY_TIME = "time"
"""Who rejects what nobody has decided in time; no person is called so."""


@dataclass(frozen=True, slots=True)
class ShownCall:
    """A call that the people who may approve were shown."""

    step: str
    tool: str
    arguments: Mapping[str, Any]
    digest: str
    asked_as: str = ""
    """The digest of the call as the client made it, where a person has edited it since."""
    edited_by: str = ""


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
    escalated: bool = False
    """Whether others are asked by now than at first."""
    editors: tuple[str, ...] = ()
    """Everybody who has edited the call that is shown: authors, who may not vote for it."""

    def shown_for(self, step: str) -> ShownCall | None:
        return next((one for one in self.shown if one.step == step), None)


@dataclass(frozen=True, slots=True)
class AskState:
    """A person is asked about one call: by which policies, what is shown, who has agreed."""

    approval_id: str
    step: str | None
    tool: str
    arguments: Mapping[str, Any]
    digest: str
    policies: Mapping[str, tuple[str, ...]]
    """For each policy that asks the roles of which one has to agree."""
    show: tuple[Mapping[str, Any], ...]
    requested_by: str
    opened_at: datetime
    expires_at: datetime
    status: str = "open"
    """open | approved | rejected"""
    votes: tuple[tuple[str, str], ...] = ()
    """(person, digest of the content that the person saw)."""
    agreed: frozenset[str] = frozenset()
    """The policies for which somebody with a fitting role has agreed."""
    agreed_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each person who has agreed, the policies that their roles fit."""
    reason: str = ""
    """Why it was rejected."""
    asked_as: str = ""
    """The digest of the call as the client made it, where a person has edited it since."""
    edited_by: str = ""
    editors: tuple[str, ...] = ()
    """Everybody who has edited the call: authors, who may not vote for it."""

    @property
    def roles(self) -> tuple[str, ...]:
        """All roles that may take part in the decision."""
        return tuple(dict.fromkeys(role for roles in self.policies.values() for role in roles))


@dataclass(frozen=True, slots=True)
class FactState:
    """What a session remembers of one fact."""

    keyed: Mapping[str, Any] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    """The keys, the one learned first first: a snapshot does not keep the order of a mapping."""
    values: tuple[Any, ...] = ()
    known: bool = False
    """Whether there was a read since the session began, or since the fact was last outdated."""
    overflowed: bool = False
    """There was more than the fact may hold: what is not in it may exist all the same."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a session remembers for the policies of one workflow or rules file."""

    marks: Mapping[str, datetime] = field(default_factory=dict)
    """When the events of tools that policies ask about last happened."""
    facts: Mapping[str, FactState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RulesState:
    """The rules file that governs a session, and the inputs it was told."""

    name: str
    version: str
    hash: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    declared: bool = False


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
    digest: str = ""
    agreed: tuple[str, ...] = ()
    """The policies that ask about it and for which people have agreed: good for its retries too."""
    agreed_until: datetime | None = None
    key: str | None = None
    """The idempotency key that the server was given."""


@dataclass(frozen=True, slots=True)
class ReviewState:
    """A bypass that a person has to review."""

    review_id: str
    approval_id: str
    step: str
    bypassed_by: str
    justification: str
    roles: tuple[str, ...]
    opened_at: datetime
    due_at: datetime
    overdue: bool = False
    """Whether it is recorded that nobody reviewed it in time."""


@dataclass(frozen=True, slots=True)
class RecentRefusal:
    """A refused decision that is not recorded again for a while."""

    what: str
    """SHA-256, in hex, of who was refused what, and why."""
    at: datetime


@dataclass(frozen=True, slots=True)
class RecentCall:
    """A call that has ended, by what a repeat of its request would be known."""

    call_id: str
    request: str
    key: str | None
    """The idempotency key that the client gave."""
    ended_at: datetime
    run_id: str | None = None
    """The run it was made in; None for a call that no workflow orders."""
    answered: bool = True
    """Whether its caller was still there when it ended."""


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
    locks: tuple[str, ...] = ()
    """What it keeps other sessions' calls from holding."""
    marks: Mapping[str, Any] = field(default_factory=dict)
    forgets: Mapping[str, Any] = field(default_factory=dict)
    feeds: tuple[Mapping[str, Any], ...] = ()
    request: str = ""
    key: str | None = None
    client_key: str | None = None
    reconcile: Mapping[str, Any] | None = None
    read_at: datetime | None = None
    """When the call that tells what became of this one is due; None when nobody waits for it."""
    readings: int = 0
    """How many such calls were made."""


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
    timed: frozenset[str] = frozenset()
    """The events, as `step.event`, whose time is kept."""
    times: Mapping[str, datetime] = field(default_factory=dict)
    used: Mapping[str, str] = field(default_factory=dict)
    """For each policy with a limit per run how much was used, as decimal text."""
    ends_as: str | None = None
    failing_since: datetime | None = None
    end_reason: str | None = None
    guidance: Mapping[str, str] = field(default_factory=dict)
    """For each approval step that a person denied last, the reason: it is told to the model."""

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

    @property
    def begun(self) -> tuple[str, ...]:
        """The steps that are not pending, as `step:status`, in file order."""
        return _begun(self.steps, self.marking)


@lru_cache(maxsize=1024)
def _begun(steps: tuple[str, ...], marking: int) -> tuple[str, ...]:
    known = zip(steps, statuses(marking, len(steps)), strict=True)
    return tuple(f"{step}:{STATUS_NAMES[one]}" for step, one in known if one != PENDING)


@dataclass(frozen=True)
class SessionState:
    """One governed conversation: at most one active run, and the calls that are not settled."""

    session_id: str
    principal: str
    opened_at: datetime
    run: RunState | None = None
    calls: Mapping[str, OpenCall] = field(default_factory=dict)
    runs: int = 0
    rules: RulesState | None = None
    exposed: bool = False
    """Whether a result of a tool has reached the model since inputs could last be given."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """The inputs that were fixed before any result reached the model."""
    memory: Mapping[str, Memory] = field(default_factory=dict)
    """What is remembered, per workflow or rules file."""
    used: Mapping[str, str] = field(default_factory=dict)
    """How much was used of limits per session, by `book/policy`, as decimal text."""
    asks: Mapping[str, AskState] = field(default_factory=dict)
    """The requests about single calls that are open, granted and not used yet, or rejected."""
    reviews: Mapping[str, ReviewState] = field(default_factory=dict)
    """The bypasses that nobody has reviewed yet."""
    recent: tuple[RecentCall, ...] = ()
    """The calls that ended last, the newest last."""
    refusals: tuple[RecentRefusal, ...] = ()
    """The decisions that were refused within the last minute, the newest last."""

    @property
    def active_run(self) -> RunState | None:
        run = self.run  # asked for many times with every event, so spelled out
        return run if run is not None and run.status not in RUN_ENDS else None

    @property
    def locks(self) -> frozenset[tuple[str, str]]:
        """Everything that the session's open calls hold, as (lock, call id)."""
        return frozenset((lock, one.call_id) for one in self.calls.values() for lock in one.locks)

    def remembered(self, book: str) -> Memory:
        """What is remembered for a workflow or rules file."""
        return self.memory.get(book) or _NOTHING


_NOTHING = Memory()

StateT = TypeVar("StateT", RunState, SessionState)


def changed(before: StateT, /, **changes: Any) -> StateT:
    """The same state with other values, as `dataclasses.replace` would give it.

    That takes five times as long over so many fields, and every event changes a state. What is
    cached with a run follows from its steps, which stay the same.
    """
    assert changes.keys() <= before.__dataclass_fields__.keys()
    after = object.__new__(type(before))
    after.__dict__.update(before.__dict__)
    after.__dict__.update(changes)
    return after
