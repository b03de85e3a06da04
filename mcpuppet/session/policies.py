"""The enforced rules: what each policy says about one call. A policy only ever refuses, or asks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from mcpuppet.session.amounts import amount_of, amount_text, total
from mcpuppet.session.call import Call, Principal, comparable_json
from mcpuppet.session.environment import variables
from mcpuppet.session.reservations import (
    LockHolder,
    Reserved,
    Use,
    first_moment_within,
    lock_key,
    use_key,
    window_start,
)
from mcpuppet.session.state import RunState, SessionState
from mcpuppet.session.verdict import Asked, Counted, Denied, Verdicts
from mcpuppet.workflow.compiled import CompiledStep, Rulebook
from mcpuppet.workflow.compiled_policy import CompiledPolicy
from mcpuppet.workflow.definition import format_duration
from mcpuppet.workflow.expression import EvaluationError, Expression
from mcpuppet.workflow.hours import Hours
from mcpuppet.workflow.marking import RUNNING, status_mask


@dataclass(slots=True)
class Situation:
    """What guards and policies of one file look at when a call is asked for."""

    book: Rulebook
    state: SessionState
    step: CompiledStep | None
    tool: str
    principal: Principal
    now: datetime
    call: Call | None
    """None when the question is whether any call of the tool could be legal."""
    reserved: Reserved
    run: RunState | None = field(init=False)
    _values: Mapping[str, Any] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.run = self.state.active_run

    def values(self) -> Mapping[str, Any]:
        """The expression variables, made when something first reads them."""
        if self._values is None:
            self._values = variables(
                self.book,
                self.run,
                state=self.state,
                arguments=None if self.call is None else self.call.arguments,
                principal=self.principal,
                now=self.now,
            )
        return self._values


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a policy does not let a call pass, and from when on it may."""

    reason: str
    legal_at: datetime | None = None


_MOST_OPENINGS = 32
"""How many opening times are tried before those of several policies count as never meeting."""


@dataclass(slots=True)
class Consultation:
    """What all policies of a call say, and what the call counts for and holds."""

    verdicts: list[Mapping[str, Any]] = field(default_factory=list)
    objections: list[tuple[CompiledPolicy, Objection]] = field(default_factory=list)
    asks: list[Asked] = field(default_factory=list)
    uses: list[Counted] = field(default_factory=list)
    locks: list[str] = field(default_factory=list)
    hours: list[Hours] = field(default_factory=list)
    """When the call may be made, whether or not it may be made now."""

    @property
    def told(self) -> Verdicts:
        return tuple(self.verdicts)

    def denied(self, book: str, step: str | None) -> Denied:
        """The refusal that the first objection makes; it ends once none is left."""
        policy, objection = self.objections[0]
        return Denied(policy.id, objection.reason, step, self._legal_at(), self.told, book)

    def _legal_at(self) -> datetime | None:
        """When time alone will have ended every objection; None when it will not."""
        moments = [one.legal_at for _, one in self.objections]
        known = [moment for moment in moments if moment is not None]
        at = max(known) if len(known) == len(moments) else None
        for _ in range(_MOST_OPENINGS):
            closed = next((one for one in self.hours if at and not one.open_at(at)), None)
            if at is None or closed is None:
                return at
            at = closed.next_opening(at)
        return None

    def refusals(self, book: str, step: str | None) -> list[Denied]:
        """Every objection and request as a refusal, objections first."""
        denied = [
            Denied(policy.id, one.reason, step, one.legal_at, self.told, book)
            for policy, one in self.objections
        ]
        asked = [Denied(one.policy, one.reason, step, None, self.told, book) for one in self.asks]
        return denied + asked


def consult(policies: Iterable[CompiledPolicy], situation: Situation) -> Consultation:
    """Ask every policy that limits a call."""
    found = Consultation()
    for policy in policies:
        objection = _RULES[policy.kind](policy, situation)
        found.verdicts.append(_verdict(policy, situation, objection))
        if policy.hours is not None:
            found.hours.append(policy.hours)
        if objection is not None and policy.ask is not None:
            found.asks.append(_asked(policy, situation, objection.reason))
        elif objection is not None:
            found.objections.append((policy, objection))
        if situation.call is not None:
            _reserve(policy, situation, objection, found)
    return found


def _verdict(
    policy: CompiledPolicy, situation: Situation, objection: Objection | None
) -> Mapping[str, Any]:
    """What a policy says, with what it read that the session's own history does not tell."""
    verdict: dict[str, Any] = {"rule": policy.id, "ok": objection is None}
    if situation.call is None:
        return verdict
    if policy.limit is not None and policy.limit.is_shared:
        verdict["key"] = use_key(situation.book.name, policy, situation.principal)
        verdict["used"] = amount_text(total(one.amount for one in _counted(policy, situation)))
        verdict["most"] = amount_text(policy.limit.most)
    elif policy.kind == "mutex" and policy.scope != "run":
        verdict["key"] = lock_key(situation.book.name, policy, situation.tool)
        holder = situation.reserved.holder(verdict["key"])
        verdict["holder"] = holder and [holder.session_id, holder.call_id]
    return verdict


def _asked(policy: CompiledPolicy, situation: Situation, reason: str) -> Asked:
    ask = policy.ask
    assert ask is not None
    shown = () if situation.call is None else tuple(_shown(ask.show, situation))
    return Asked(policy.id, ask.roles, ask.lasts, reason, shown, situation.book.name)


def _shown(show: Iterable[Expression], situation: Situation) -> Iterable[tuple[str, Any]]:
    for expression in show:
        try:
            yield expression.source, expression.evaluate(situation.values())
        except EvaluationError:
            yield expression.source, None


def _reserve(
    policy: CompiledPolicy,
    situation: Situation,
    objection: Objection | None,
    found: Consultation,
) -> None:
    """Note what a call counts for, and what it holds while it is on its way."""
    if policy.limit is not None:
        try:
            amount = _amount(policy, situation)
        except ValueError:
            return  # then the policy has objected, or only observes
        found.uses.append(
            Counted(
                book=situation.book.name,
                policy=policy.id,
                scope=policy.limit.scope,
                amount=amount,
                key=use_key(situation.book.name, policy, situation.principal),
                period=policy.limit.period,
                most=policy.limit.most if objection is None else None,
            )
        )
    elif policy.kind == "mutex" and policy.scope != "run" and objection is None:
        key = lock_key(situation.book.name, policy, situation.tool)
        if key not in found.locks:
            found.locks.append(key)


# --- events -------------------------------------------------------------------------------------


def _requires(policy: CompiledPolicy, situation: Situation) -> Objection | None:
    if situation.run is not None and situation.run.seen & policy.events:
        return None
    if policy.tool_events and _marked_at(policy, situation) is not None:
        return None
    return Objection(f"{_one_of(policy)} has to happen first{_for_same(policy)}")


def _forbidden_after(policy: CompiledPolicy, situation: Situation) -> Objection | None:
    run = situation.run
    happened = run is not None and run.seen & policy.events
    if happened or _marked_at(policy, situation) is not None:
        return Objection(f"not allowed any more after {_one_of(policy)}{_for_same(policy)}")
    unknown = None if run is None else _unknown_step(policy, run)
    if unknown is not None:
        words = f"not allowed after {_one_of(policy)}, and what became of {unknown} is not known"
        return Objection(words)
    return None


def _unknown_step(policy: CompiledPolicy, run: RunState) -> str | None:
    """A step whose last call may have been one of a policy's events, until a person settles it."""
    for word in policy.words:
        step, _, event = word.rpartition(".")
        hold = run.held.get(step)
        if hold is not None and hold.call_id is not None and event in ("success", "failure"):
            return step
    return None


def _within(policy: CompiledPolicy, situation: Situation) -> Objection | None:
    moments = [] if situation.run is None else _times(policy, situation.run)
    marked = _marked_at(policy, situation)
    if marked is not None:
        moments.append(marked)
    limit = format_duration(policy.within)
    if not moments:
        return Objection(f"{_one_of(policy)} has to happen first, at most {limit} before")
    if situation.now < max(moments) + policy.within:
        return None
    return Objection(f"{_one_of(policy)} happened more than {limit} ago")


def _times(policy: CompiledPolicy, run: RunState) -> list[datetime]:
    return [run.times[word] for word in policy.words if word in run.times]


def _marked_at(policy: CompiledPolicy, situation: Situation) -> datetime | None:
    """When the tool event that a policy asks about last happened, for these arguments."""
    if not policy.tool_events:
        return None
    marks = situation.state.remembered(situation.book.name).marks
    if policy.kind == "forbidden_after":  # more events than could be told apart
        overflowed = marks.get(f"!{policy.id}")
        if overflowed is not None:
            return overflowed
    if not policy.same:
        return marks.get(policy.mark())
    if situation.call is None:  # some arguments may do
        wanted = policy.mark("")
        if policy.kind == "forbidden_after":
            return None
        return max((at for name, at in marks.items() if name.startswith(wanted)), default=None)
    # A value can have become a sensitive one since: then the mark was made of it as it is.
    spelled = (situation.call.on_record, situation.call.arguments)
    moments = (marks.get(policy.mark(same_digest(policy, one))) for one in spelled)
    return max((at for at in moments if at is not None), default=None)


def same_digest(policy: CompiledPolicy, arguments: Mapping[str, Any]) -> str:
    """What makes two calls the same for a policy: the named arguments, missing ones as missing."""
    values = [[name, arguments[name]] for name in policy.same if name in arguments]
    return hashlib.sha256(comparable_json(values)).hexdigest()[:32]


def _one_of(policy: CompiledPolicy) -> str:
    return " or ".join(policy.words)


def _for_same(policy: CompiledPolicy) -> str:
    return f", for the same {' and '.join(policy.same)}" if policy.same else ""


# --- limits and locks ---------------------------------------------------------------------------


def _limit(policy: CompiledPolicy, situation: Situation) -> Objection | None:
    limit = policy.limit
    assert limit is not None
    if situation.call is None and policy.ask is not None and limit.amount is not None:
        return Objection("a person may have to agree")
    try:
        amount = _amount(policy, situation)
    except ValueError as error:
        return Objection(str(error))
    if limit.period is not None:
        return _period_limit(policy, situation, amount)
    used = _used(policy, situation)
    if total((used, amount)) <= limit.most:
        return None
    return Objection(f"{_limit_words(policy)}, {_used_words(policy, used)}")


def _period_limit(
    policy: CompiledPolicy, situation: Situation, amount: Decimal
) -> Objection | None:
    limit = policy.limit
    assert limit is not None
    assert limit.period is not None
    counted = _counted(policy, situation)
    used = total(one.amount for one in counted)
    if total((used, amount)) <= limit.most:
        return None
    at = first_moment_within(counted, amount, limit.most, limit.period)
    words = f"{_limit_words(policy)}, {_used_words(policy, used)}"
    return Objection(words, at)


def _amount(policy: CompiledPolicy, situation: Situation) -> Decimal:
    """What the call counts for; raises ValueError with a sentence where that cannot be told."""
    assert policy.limit is not None
    counted = policy.limit.amount
    if counted is None:
        return Decimal(1)
    if situation.call is None:
        return Decimal(0)
    try:
        return amount_of(counted.evaluate(situation.values()))
    except EvaluationError as error:
        raise ValueError(f"`{counted.source}` cannot be read: {error}") from error
    except ValueError as error:
        raise ValueError(f"`{counted.source}` cannot be counted: {error}") from error


def _used(policy: CompiledPolicy, situation: Situation) -> Decimal:
    assert policy.limit is not None
    match policy.limit.scope:
        case "run":
            run = situation.run
            return Decimal(0 if run is None else run.used.get(policy.id, "0"))
        case "session":
            return Decimal(situation.state.used.get(f"{situation.book.name}/{policy.id}", "0"))
        case _:
            return total(one.amount for one in _counted(policy, situation))


def _counted(policy: CompiledPolicy, situation: Situation) -> tuple[Use, ...]:
    """The uses across sessions that count now."""
    key = use_key(situation.book.name, policy, situation.principal)
    since = window_start(policy, situation.now)
    known = situation.reserved.uses(key, since)
    return known if since is None else tuple(one for one in known if one.at > since)


_SCOPE_WORDS = {"run": "in a run", "session": "in a session", "user": "for one user"}


def _limit_words(policy: CompiledPolicy) -> str:
    limit = policy.limit
    assert limit is not None
    if limit.period is None:
        span = _SCOPE_WORDS[limit.scope]
    else:
        span = f"within {format_duration(limit.period)}"
    most = amount_text(limit.most)
    if limit.amount is not None:
        return f"{limit.amount.source} may come to at most {most} {span}"
    return f"allowed at most {'once' if limit.most == 1 else f'{most} times'} {span}"


def _used_words(policy: CompiledPolicy, used: Decimal) -> str:
    assert policy.limit is not None
    if policy.limit.amount is None and used >= policy.limit.most:
        return "and used up"
    return f"and {amount_text(used)} is used already"


def _mutex(policy: CompiledPolicy, situation: Situation) -> Objection | None:
    if policy.scope != "run":
        return _lock(policy, situation)
    run = situation.run
    if run is None:
        return None
    others = policy.running
    if situation.step is not None:
        others &= ~status_mask(situation.step.index, RUNNING)
    if not run.marking & others or _only_exempt_run(policy, situation, run):
        return None
    return Objection(f"only one of {', '.join(policy.words)} may run at a time")


def _lock(policy: CompiledPolicy, situation: Situation) -> Objection | None:
    key, state = lock_key(situation.book.name, policy, situation.tool), situation.state
    holder = situation.reserved.holder(key)
    if holder is None:
        return None
    is_own = holder.session_id == state.session_id
    if is_own and (key, holder.call_id) not in state.locks:
        return None  # it has ended in this very change
    if is_own and _is_own_retry(situation, holder):
        return None
    where = "of this session" if is_own else "elsewhere"
    names = ", ".join(policy.words)
    return Objection(f"only one of {names} may run at a time; one {where} has not ended yet")


def _is_own_retry(situation: Situation, holder: LockHolder) -> bool:
    """Whether the lock is held by an earlier attempt of the very step, whose end is not known."""
    if situation.run is None or situation.step is None:
        return False
    last = situation.run.current.get(situation.step.id)
    return last is not None and last.call_id == holder.call_id


def _only_exempt_run(policy: CompiledPolicy, situation: Situation, run: RunState) -> bool:
    """Whether the running steps were all called by a tool that the policy does not cover."""
    own = None if situation.step is None else situation.step.id
    return bool(policy.exempt) and all(
        (name, run.current[name].tool) in policy.exempt
        for name in policy.words
        if name != own and run.step_status(name) == RUNNING
    )


# --- time, people, values -----------------------------------------------------------------------


def _hours(policy: CompiledPolicy, situation: Situation) -> Objection | None:
    hours = policy.hours
    assert hours is not None
    if hours.open_at(situation.now):
        return None
    opens = hours.next_opening(situation.now)
    return Objection(f"allowed {hours.source} only", opens)


def _roles(policy: CompiledPolicy, situation: Situation) -> Objection | None:
    if policy.roles & situation.principal.roles:
        return None
    who = situation.principal.name
    return Objection(f"only for the role {' or '.join(policy.words)}; {who} has none of it")


def _check(policy: CompiledPolicy, situation: Situation) -> Objection | None:
    assert policy.check is not None
    if situation.call is None and policy.reads_arguments:
        return None
    try:
        holds = policy.check.evaluate_bool(situation.values())
    except EvaluationError as error:
        return Objection(f"`{policy.check.source}` cannot be evaluated: {error}")
    return None if holds else Objection(f"`{policy.check.source}` does not hold")


def _ask(policy: CompiledPolicy, situation: Situation) -> Objection | None:
    """Asks unless something holds; what cannot be told to hold does not."""
    unless = policy.unless
    if unless is None:
        return Objection("a person has to agree")
    if situation.call is None and policy.reads_arguments:
        return Objection("a person may have to agree")
    try:
        holds = unless.evaluate_bool(situation.values())
    except EvaluationError as error:
        return Objection(f"`{unless.source}` cannot be told to hold: {error}")
    return None if holds else Objection(f"`{unless.source}` does not hold")


_RULES: Mapping[str, Callable[[CompiledPolicy, Situation], Objection | None]] = {
    "requires": _requires,
    "forbidden_after": _forbidden_after,
    "within": _within,
    "limit": _limit,
    "mutex": _mutex,
    "hours": _hours,
    "roles": _roles,
    "check": _check,
    "ask": _ask,
}
