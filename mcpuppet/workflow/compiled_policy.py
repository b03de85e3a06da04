"""Policies and facts as executed: names turned into bits and patterns, once per file.

What they mean for a call is told by `session.policies`; this module knows no run and no session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, Literal

from mcpuppet.workflow.definition import Fact, Policy, parse_duration
from mcpuppet.workflow.expression import Expression
from mcpuppet.workflow.hours import Hours
from mcpuppet.workflow.marking import event_bit

PolicyKind = Literal[
    "requires",
    "mutex",
    "forbidden_after",
    "limit",
    "within",
    "hours",
    "roles",
    "check",
    "ask",
]
LimitScope = Literal["run", "session", "user", "period"]
MutexScope = Literal["run", "workflow", "server"]

ASK_LASTS = timedelta(hours=4)
"""How long a request stays open where a file asks without saying for how long."""


@dataclass(frozen=True, slots=True)
class ToolEvent:
    """`<server.tool>.call | success | failure`, where the tool may be a pattern."""

    pattern: str
    event: str

    def is_of(self, tool: str) -> bool:
        return fnmatchcase(tool, self.pattern)


@dataclass(frozen=True, slots=True)
class Limit:
    """How much there may be of something: calls, or the sum of an amount."""

    amount: Expression | None
    """What one call counts for; None counts calls."""
    most: Decimal
    scope: LimitScope
    period: timedelta | None = None
    """The length of the sliding period, where `scope` is one."""

    @property
    def is_shared(self) -> bool:
        """Whether other sessions count too."""
        return self.scope in ("user", "period")


@dataclass(frozen=True, slots=True)
class CompiledAsk:
    """Who decides on a call, for how long the request is open, and what is shown."""

    roles: tuple[str, ...]
    lasts: timedelta
    show: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """One enforced rule. Which of the fields count follows from `kind`."""

    id: str
    kind: PolicyKind
    calls: tuple[str, ...] = ()
    """The steps and tool patterns that it limits, tool sets replaced by their patterns."""
    events: int = 0
    """Sticky event bits: of which one must (requires) or none may (forbidden_after) be set."""
    tool_events: tuple[ToolEvent, ...] = ()
    same: tuple[str, ...] = ()
    """Arguments that must be those of the earlier call."""
    words: tuple[str, ...] = ()
    """The events or roles as written, for the sentence of a refusal."""
    running: int = 0
    """Marking bits of the steps that must not be running (mutex)."""
    exempt: frozenset[tuple[str, str]] = frozenset()
    """(step, tool) of such steps that the policy does not cover: they have several tools."""
    scope: MutexScope = "run"
    limit: Limit | None = None
    within: timedelta = timedelta(0)
    hours: Hours | None = None
    roles: frozenset[str] = frozenset()
    check: Expression | None = None
    unless: Expression | None = None
    ask: CompiledAsk | None = None
    """For `ask`, and for a limit that may be passed when a person agrees."""

    @property
    def reads_arguments(self) -> bool:
        """Whether what it says depends on the arguments of the call."""
        guards = (self.check, self.unless, self.limit and self.limit.amount)
        return bool(self.same) or any(
            path[0] == "args" for guard in guards if guard for path in guard.references
        )

    def mark(self, digest: str = "") -> str:
        """Under which name a session remembers that one of `tool_events` happened.

        With `same` the digest tells for which arguments. A mark that forbids starts with `!`.
        """
        name = f"{'!' if self.kind == 'forbidden_after' else ''}{self.id}"
        return f"{name}:{digest}" if self.same else name


@dataclass(frozen=True, slots=True)
class CompiledFact:
    """What is remembered of the results of a tool: a mapping by key, or a set of values."""

    name: str
    tool: str | None
    key: Expression | None
    keep: tuple[str, ...] | None
    take: tuple[str, ...] | None
    """The way to the values in a result: field names, and "[]" for every item of a list."""
    until: tuple[ToolEvent, ...]
    most: int
    values: tuple[Any, ...] | None = None
    """The values of a fact that comes from a file."""

    @property
    def hint(self) -> str:
        """The read that makes the fact known."""
        return f"call {self.tool} first"

    def hint_for(self, key: str) -> str:
        """The read that makes the fact known for one key."""
        if self.key is None or not self.key.source.startswith("args."):
            return self.hint
        return f"call {self.tool}({self.key.source.removeprefix('args.')}={key!r}) first"


def tool_event(word: str) -> ToolEvent | None:
    """The tool event that a word names; None for the event of a step, which has one dot only."""
    pattern, _, event = word.rpartition(".")
    return ToolEvent(pattern, event) if "." in pattern else None


def compile_fact(name: str, fact: Fact, file_values: Mapping[str, tuple[Any, ...]]) -> CompiledFact:
    """A fact that the checks found no error in; `file_values` holds those that come from files."""
    return CompiledFact(
        name=name,
        tool=fact.from_,
        key=fact.key,
        keep=None if fact.keep is None else tuple(fact.keep),
        take=None if fact.take is None else take_path(fact.take),
        until=tuple(event for word in fact.until or () if (event := tool_event(word))),
        most=fact.max,
        values=file_values.get(name),
    )


def take_path(take: str) -> tuple[str, ...]:
    """`result.items[].name` as ("items", "[]", "name")."""
    words = take.replace("[]", ".[]").split(".")
    return tuple(word for word in words[1:] if word)


def compile_policy(
    policy: Policy, calls: tuple[str, ...], index: Mapping[str, int]
) -> CompiledPolicy:
    """A policy that the checks found no error in; `index` gives each step its place.

    A mutex still lacks the steps that it keeps apart: they follow from the whole workflow.
    """
    asks = None
    if policy.ask is not None:
        asks = CompiledAsk(tuple(policy.ask.roles), policy.ask.timeout, tuple(policy.ask.show))
    elif policy.over == "ask":
        lasts = policy.timeout or ASK_LASTS
        asks = CompiledAsk(tuple(policy.roles or ()), lasts, tuple(policy.show or ()))
    kind, words = _kind(policy), _words(policy)
    return CompiledPolicy(
        id=policy.id,
        kind=kind,
        calls=calls,
        events=_event_mask(index, words) if kind in _EVENT_KINDS else 0,
        tool_events=_tool_events(words) if kind in _EVENT_KINDS else (),
        same=tuple(policy.same or ()),
        words=words,
        scope=policy.scope or "run",
        limit=_limit(policy),
        within=policy.within or timedelta(0),
        hours=policy.hours,
        roles=frozenset(words) if kind == "roles" else frozenset(),
        check=policy.check,
        unless=policy.unless,
        ask=asks,
    )


_EVENT_KINDS = frozenset({"requires", "forbidden_after", "within"})


def _kind(policy: Policy) -> PolicyKind:
    if policy.at_most is not None or policy.cooldown is not None:
        return "limit"
    kinds: tuple[PolicyKind, ...] = (
        "requires",
        "mutex",
        "forbidden_after",
        "within",
        "hours",
        "roles",
        "check",
        "ask",
    )
    for kind in kinds:
        if getattr(policy, kind) is not None:
            return kind
    raise ValueError(f"policy {policy.id!r} has no condition")


def _words(policy: Policy) -> tuple[str, ...]:
    return tuple(policy.requires or policy.forbidden_after or policy.of or policy.roles or ())


def _limit(policy: Policy) -> Limit | None:
    if policy.cooldown is not None:
        return Limit(None, Decimal(1), "period", policy.cooldown)
    if policy.at_most is None:
        return None
    most = Decimal(str(policy.at_most))
    match policy.per or "run":
        case "run" | "session" | "user" as scope:
            return Limit(policy.sum, most, scope)
        case period:
            return Limit(policy.sum, most, "period", parse_duration(period))


def _tool_events(words: Iterable[str]) -> tuple[ToolEvent, ...]:
    return tuple(event for word in words if (event := tool_event(word)) is not None)


def _event_mask(index: Mapping[str, int], words: Iterable[str]) -> int:
    mask = 0
    for word in words:
        step, _, event = word.rpartition(".")
        if step in index:
            mask |= event_bit(index[step], event)
    return mask
