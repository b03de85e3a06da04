"""The words inside a workflow picture: guards, limits and approvals in few characters.

Text only. What is drawn where is `diagram_graph`'s, how it looks is `diagram_style`'s; policies
have words of their own in `diagram_policies`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from mcpuppet.workflow.definition import Approval, Retry, Step, format_duration
from mcpuppet.workflow.expression import Expression

_TOKEN = re.compile(
    r"""(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<sign>>=|<=|==|!=|&&|\|\||!)"""
)
_SIGNS = {">=": "≥", "<=": "≤", "==": "=", "!=": "≠", "&&": "and", "||": "or", "!": "not"}
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
    """`a, b or c`; a dash for no words."""
    *rest, end = tuple(words) or ("-",)
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


@dataclass(frozen=True, slots=True)
class Facts:
    """What a box says of its step: about time, and about everything else."""

    clocks: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


def step_facts(step: Step) -> Facts:
    """The small facts about a step: limits of time, attempts, who decides, what success means."""
    facts = _tool_facts(step) if step.approval is None else _approval_facts(step.approval)
    place = []
    if step.optional:
        place.append("optional")
    if step.finally_:
        place.append("finally: even while the run fails")
    if step.exclusive:
        place.append("exclusive")
    if step.unknown_word is not None:
        place.append(f"outcome unknown: {step.unknown_word.replace('_', ' ')}")
    if step.elicit:
        place.append("asked through the client too")
    return Facts(facts.clocks, (*facts.details, *place))


def _tool_facts(step: Step) -> Facts:
    clocks, details = [], []
    if step.timeout is not None:
        clocks.append(f"timeout {duration_words(step.timeout)}")
    if step.retry is not None:
        clocks.append(_retry_words(step.retry))
    if step.repeat is not None:
        most = "" if step.repeat.max is None else f" ≤ {step.repeat.max}"
        every = f" every {duration_words(step.repeat.every)}" if step.repeat.every else ""
        clocks.append(f"repeat{most}{every}")
        details.append(f"until {bare(step.repeat.until)}")
    if step.success is not None:
        details.append(f"success: {bare(step.success)}")
    return Facts(tuple(clocks), tuple(details))


def _retry_words(retry: Retry) -> str:
    waits = f", {duration_words(retry.delay)} apart" if retry.attempts > 1 and retry.delay else ""
    return f"{counted(retry.attempts, 'attempt')}{waits}"


def _approval_facts(approval: Approval) -> Facts:
    """Who, how many, how long, and the way around it."""
    clocks = [f"decided within {duration_words(approval.timeout)}"]
    details = [f"{approval.quorum} of: {joined(approval.roles)}"]
    if approval.on_timeout == "escalate":
        clocks.append(f"then escalates to {approval.escalate_to}")
    if approval.renew:
        clocks.append(f"renewed ≤ {approval.renew}")
    if approval.binds:
        details.append(f"for this {joined((bare(one) for one in approval.binds), 'and')}")
    if not approval.separation:
        details.append("requester may decide")
    if approval.bypass is not None:
        when = f" if {bare(approval.bypass.when)}" if approval.bypass.when else ""
        details.append(f"bypass: {joined(approval.bypass.roles)}{when}")
        if approval.bypass.review_within is not None:
            review = duration_words(approval.bypass.review_within)
            clocks.append(f"a bypass is reviewed within {review}")
    return Facts(tuple(clocks), tuple(details))


def bare(expression: Expression) -> str:
    """An expression without the prefixes that go without saying in it."""
    return readable(expression, guard_prefixes([expression]))


def counted(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
