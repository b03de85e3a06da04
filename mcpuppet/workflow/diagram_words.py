"""The words inside a workflow picture: guards, limits, approvals and policies in few characters.

Text only. What is drawn where is `diagram_graph`'s, how it looks is `diagram_style`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase

from mcpuppet.workflow.definition import (
    POLICY_CONDITIONS,
    Approval,
    Policy,
    Step,
    WorkflowDefinition,
    format_duration,
)
from mcpuppet.workflow.expression import Expression

_TOKEN = re.compile(
    r"""(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<sign>>=|<=|==|!=|&&|\|\||!)"""
)
_SIGNS = {">=": "≥", "<=": "≤", "==": "=", "!=": "≠", "&&": "and", "||": "or", "!": "not"}
_LONGEST_CHECK = 40
_PERIODS = {"1m": "minute", "1h": "hour", "1d": "day", "7d": "week"}
_UNITS = {"ms": "ms", "s": "s", "m": "min", "h": "h", "d": "d"}
_OUTCOME_ORDER = ("success", "approved", "bypassed", "skipped", "failure", "rejected", "expired")


def duration_words(duration: timedelta) -> str:
    """A duration for people: `4 h`, `15 min`."""
    number, unit = re.fullmatch(r"(\d+)([a-z]+)", format_duration(duration)).groups()  # type: ignore[union-attr] # format_duration always has this form
    return f"{number} {_UNITS[unit]}"


def humanised(identifier: str) -> str:
    """`fraud_check` as `Fraud check`."""
    return identifier.replace("_", " ").capitalize()


def step_title(name: str, step: Step) -> str:
    """What a step is called in pictures."""
    return step.title or humanised(name)


def joined(words: Iterable[str], last: str = "or") -> str:
    """`a, b or c`."""
    *rest, end = words
    return f"{', '.join(rest)} {last} {end}" if rest else end


def outcome_words(outcomes: Iterable[str]) -> str:
    """Outcomes in their usual order, as `success or failure`."""
    return joined(sorted(outcomes, key=_OUTCOME_ORDER.index))


def readable(expression: Expression, prefixes: Sequence[str] = ()) -> str:
    """A guard with mathematical signs, and without those prefixes of paths that go without saying.

    Texts in quotes are left as they are.
    """
    pieces = (_piece(match, prefixes) for match in _split(expression.source))
    return " ".join("".join(pieces).split())


def _split(source: str) -> Iterator[tuple[str, str]]:
    position = 0
    for match in _TOKEN.finditer(source):
        yield "code", source[position : match.start()]
        yield str(match.lastgroup), match[0]
        position = match.end()
    yield "code", source[position:]


def _piece(part: tuple[str, str], prefixes: Sequence[str]) -> str:
    kind, text = part
    if kind == "text":
        return text
    if kind == "sign":
        return f" {_SIGNS[text]} "
    for prefix in prefixes:
        text = re.sub(rf"(?<![\w.]){re.escape(prefix)}", "", text)
    return text


def guard_subject(guards: Sequence[Expression]) -> str:
    """What the guards of one branching look at, such as `score`, or `decide` for many things."""
    reads = {path for guard in guards for path in guard.references}
    prefixes = guard_prefixes(guards)
    subject = ".".join(min(reads)) if len(reads) == 1 else "decide"
    for prefix in prefixes:
        subject = subject.removeprefix(prefix)
    return subject


def guard_prefixes(guards: Sequence[Expression]) -> tuple[str, ...]:
    """The prefixes that say nothing, because every path that the guards read begins with them."""
    heads = {path[: _head_length(path)] for guard in guards for path in guard.references}
    if len(heads) != 1:
        return ()
    (head,) = heads
    return (".".join(head) + ".",) if head else ()


def _head_length(path: tuple[str, ...]) -> int:
    if path[0] == "steps" and len(path) > 3 and path[2] == "result":
        return 3
    return 1 if path[0] in ("inputs", "args", "result") and len(path) > 1 else 0


def tool_lines(step: Step) -> tuple[str, ...]:
    """The small facts about a tool step: attempts, time limits, polling, what success means."""
    facts: list[str] = []
    if step.timeout is not None:
        facts.append(f"timeout {duration_words(step.timeout)}")
    if step.retry is not None:
        facts.append(counted(step.retry.attempts, "attempt"))
    if step.repeat is not None:
        most = "" if step.repeat.max is None else f" ≤ {step.repeat.max}"
        every = f" every {duration_words(step.repeat.every)}" if step.repeat.every else ""
        facts += [f"repeat{most}{every}", f"until {_bare(step.repeat.until)}"]
    if step.success is not None:
        facts.append(f"success: {_bare(step.success)}")
    return (*facts, *_place_in_run(step))


def approval_lines(step: Step, approval: Approval) -> tuple[str, ...]:
    """The small facts about an approval: who, how many, how long, and the way around it."""
    facts = [
        f"{approval.quorum} of: {joined(approval.roles)}",
        duration_words(approval.timeout),
    ]
    if approval.on_timeout == "escalate":
        facts.append(f"then escalates to {approval.escalate_to}")
    if approval.binds:
        facts.append(f"for this {joined((_bare(one) for one in approval.binds), 'and')}")
    if approval.renew:
        facts.append(f"renewed ≤ {approval.renew}")
    if not approval.separation:
        facts.append("requester may decide")
    if approval.bypass is not None:
        when = f" if {_bare(approval.bypass.when)}" if approval.bypass.when else ""
        facts.append(f"bypass: {joined(approval.bypass.roles)}{when}")
    return (*facts, *_place_in_run(step))


def _place_in_run(step: Step) -> Iterator[str]:
    if step.optional:
        yield "optional"
    if step.finally_:
        yield "even while the run fails"


def _bare(expression: Expression) -> str:
    return readable(expression, guard_prefixes([expression]))


def counted(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def policies_of(definition: WorkflowDefinition, name: str) -> tuple[Policy, ...]:
    """The policies that limit a step: a word without a dot names a step, one with a dot tools."""
    tools = definition.steps[name].tool or []
    return tuple(
        policy
        for policy in definition.policies
        if any(
            any(fnmatchcase(tool, word) for tool in tools) if "." in word else word == name
            for word in policy.call
        )
    )


def policy_words(definition: WorkflowDefinition, policy: Policy, name: str) -> str:
    """One policy as it reads on the step it limits."""
    kind = next(key for key in POLICY_CONDITIONS if getattr(policy, key) is not None)
    words = _condition_words(definition, policy, name)[kind]
    return f"{words} unless {_bare(policy.unless)}" if policy.unless else words


def _condition_words(definition: WorkflowDefinition, policy: Policy, name: str) -> dict[str, str]:
    per = f" per {_PERIODS.get(policy.per, policy.per)}" if policy.per else ""
    most = f"{policy.at_most:g}" if policy.at_most is not None else ""
    within = duration_words(policy.within) if policy.within else ""
    return {
        "requires": f"needs {joined(policy.requires or ['-'])}",
        "mutex": _mutex_words(definition, policy, name),
        "forbidden_after": f"not after {joined(policy.forbidden_after or ['-'])}",
        "sum": f"total {str(policy.sum).removeprefix('args.')} ≤ {most}{per}",
        "at_most": f"max {most}{per}",
        "within": f"within {within} of {_events_words(policy.of or ['-'])}",
        "cooldown": f"{duration_words(policy.cooldown)} apart" if policy.cooldown else "",
        "hours": str(policy.hours),
        "roles": f"only {joined(policy.roles or ['-'])}",
        "check": _check_words(policy),
        "ask": f"asks {joined(policy.ask.roles)}" if policy.ask else "",
    }


def _check_words(policy: Policy) -> str:
    """The condition, or the policy's id where a box would be filled with the condition."""
    words = _bare(policy.check) if policy.check else ""
    return words if len(words) <= _LONGEST_CHECK else f"rule {policy.id}"


def _mutex_words(definition: WorkflowDefinition, policy: Policy, name: str) -> str:
    others = [
        step_title(other, step)
        for other, step in definition.steps.items()
        if other != name and policy in policies_of(definition, other)
    ]
    where = {"workflow": " in any run", "server": " on the server"}.get(policy.scope or "run", "")
    return f"never during {joined(others)}{where}" if others else f"one at a time{where}"


def _events_words(events: Sequence[str]) -> str:
    """`approve` for several events of one step, else the events as written."""
    steps = {event.rpartition(".")[0] for event in events}
    return steps.pop() if len(steps) == 1 and len(events) > 1 else joined(events)
