"""Policies in a picture: which steps each one limits, and its words.

Text only, made from the definition. `MARK` stands before a policy's words, so that an enforced rule
can be told from a fact about the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase

from mcpuppet.workflow.definition import (
    POLICY_CONDITIONS,
    Definition,
    Policy,
    Step,
    expand_sets,
    parse_duration,
)
from mcpuppet.workflow.diagram_words import bare, duration_words, joined, step_title

MARK = "\N{SECTION SIGN}"
CLOCKS = frozenset({"within", "cooldown", "hours"})
"""The conditions that are about time alone."""

_LONGEST_CHECK = 40
_PERIODS = {"1m": "minute", "1h": "hour", "1d": "day", "7d": "week"}
_SCOPES = {"workflow": " in any run of the workflow", "server": " in any run on the server"}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a policy is read for: a step with its tools, or (without a name) tools alone."""

    name: str
    tools: Sequence[str]


def subject_of(name: str, step: Step) -> Subject:
    """A step as policies see it."""
    return Subject(name, step.tool or ())


def limits(definition: Definition, policy: Policy, subject: Subject) -> bool:
    """Whether a policy limits a step or tools; a word without a dot names a step or a tool set.

    Tools alone are those of undo calls: only a policy that names them exactly limits them.
    """
    words = expand_sets(policy.call, definition.tools.sets)
    if not subject.name:
        return any(tool in words for tool in subject.tools)
    return any(
        any(fnmatchcase(tool, word) for tool in subject.tools)
        if "." in word
        else word == subject.name
        for word in words
    )


def policies_of(definition: Definition, subject: Subject) -> tuple[Policy, ...]:
    """The policies that limit a step or tools, in the file's order."""
    return tuple(one for one in definition.policies if limits(definition, one, subject))


def condition_of(policy: Policy) -> str:
    """The key that makes the policy's condition."""
    return next(key for key in POLICY_CONDITIONS if getattr(policy, key) is not None)


def policy_words(
    definition: Definition, policy: Policy, name: str = "", *, full: bool = False
) -> str:
    """One policy as it reads on the step it limits, or (`full`) with nothing left out."""
    words = _WORDS[condition_of(policy)](_Reading(definition, policy, name, full))
    if policy.same:
        words += f" for the same {joined(policy.same, 'and')}"
    if policy.over == "ask":
        words += f", beyond it {_asking(policy.roles or (), policy.timeout)}"
    unless = policy.unless
    return words if unless is None else f"{words} unless {bare(unless)}"


@dataclass(frozen=True, slots=True)
class _Reading:
    definition: Definition
    policy: Policy
    name: str
    full: bool


def _requires(one: _Reading) -> str:
    return f"needs {joined(one.policy.requires or ())}"


def _mutex(one: _Reading) -> str:
    others = [
        step_title(other, step)
        for other, step in one.definition.steps.items()
        if other != one.name and limits(one.definition, one.policy, subject_of(other, step))
    ]
    where = _SCOPES.get(one.policy.scope or "run", "")
    if one.name and len(others) > 1 and not one.full:
        return f"one at a time of {len(others) + 1} steps{where}"
    if one.name and others:
        return f"never during {joined(others)}{where}"
    return f"one at a time{where}"


def _forbidden_after(one: _Reading) -> str:
    return f"not after {joined(one.policy.forbidden_after or ())}"


def _sum(one: _Reading) -> str:
    total = "" if one.policy.sum is None else bare(one.policy.sum)
    return f"total {total} ≤ {_most(one)}"


def _at_most(one: _Reading) -> str:
    return f"max {_most(one)}"


def _most(one: _Reading) -> str:
    most = 0 if one.policy.at_most is None else one.policy.at_most
    return f"{most:.15g}{_period(one.policy.per)}"


def _period(per: str | None) -> str:
    if per is None or per in ("run", "session", "user"):
        return f" per {per}" if per else ""
    return f" per {_PERIODS.get(per) or duration_words(parse_duration(per))}"


def _within(one: _Reading) -> str:
    within = "" if one.policy.within is None else duration_words(one.policy.within)
    return f"within {within} of {_events_words(one.policy.of or ())}"


def _events_words(events: Sequence[str]) -> str:
    """`approve` for several events of one step, else the events as written."""
    steps = {event.rpartition(".")[0] for event in events}
    return steps.pop() if len(steps) == 1 and len(events) > 1 else joined(events)


def _cooldown(one: _Reading) -> str:
    return "" if one.policy.cooldown is None else f"{duration_words(one.policy.cooldown)} apart"


def _hours(one: _Reading) -> str:
    return "" if one.policy.hours is None else one.policy.hours.source


def _roles(one: _Reading) -> str:
    return f"only {joined(one.policy.roles or ())}"


def _check(one: _Reading) -> str:
    """The condition, or the policy's id where a box would be filled with the condition."""
    check = one.policy.check
    if check is None:
        return ""
    words = bare(check)
    return words if one.full or len(words) <= _LONGEST_CHECK else f"rule {one.policy.id}"


def _ask(one: _Reading) -> str:
    ask = one.policy.ask
    return "" if ask is None else _asking(ask.roles, ask.timeout)


def _asking(roles: Sequence[str], timeout: timedelta | None) -> str:
    return f"asks {joined(roles)}" + (f" within {duration_words(timeout)}" if timeout else "")


_WORDS: Mapping[str, Callable[[_Reading], str]] = {
    "requires": _requires,
    "mutex": _mutex,
    "forbidden_after": _forbidden_after,
    "sum": _sum,
    "at_most": _at_most,
    "within": _within,
    "cooldown": _cooldown,
    "hours": _hours,
    "roles": _roles,
    "check": _check,
    "ask": _ask,
}


def unseen_policies(definition: Definition) -> Iterator[Policy]:
    """The policies that limit no step and no undo call: those of always-legal tools, mostly."""
    subjects = [subject_of(name, step) for name, step in definition.steps.items()]
    subjects += [
        Subject("", [step.compensate.tool]) for step in definition.steps.values() if step.compensate
    ]
    for policy in definition.policies:
        if not any(limits(definition, policy, subject) for subject in subjects):
            yield policy
