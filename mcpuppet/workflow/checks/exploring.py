"""Checks that look at every state of a run: what can happen at all, and whether it ends well.

Only for workflows that were explored as a whole: of a larger one WF901 says what stays undecided,
and nothing else is claimed. Policies that depend on time, values or people are taken not to refuse:
they may refuse now, not for ever. So are calls of unknown outcome, which people settle.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from mcpuppet.workflow.checks.disjoint import never_the_same_call
from mcpuppet.workflow.checks.exploration import (
    Exploration,
    Refused,
    Stranded,
    refusals,
    refusing_alone,
)
from mcpuppet.workflow.checks.subject import Subject
from mcpuppet.workflow.findings import Code, Finding, Place

DEAD_END = Code(
    "WF303",
    "dead-end",
    "error",
    about="A run can come to a point where steps are left and policies refuse all of them.",
    help="let the policy pass there, or let the run end without the step: `optional: true`",
)
CANNOT_FINISH = Code(
    "WF304",
    "cannot-finish",
    "error",
    about="After a call that is legal, something that must still be done never can be.",
    help="have what must come first come first, with `needs`, or make the later step `optional`",
)
AMBIGUOUS_CALL = Code(
    "WF407",
    "ambiguous-call",
    "error",
    about="Two steps with one tool can be ready together, and a call may be meant for either.",
    help="tell them apart by an argument under `args`, or let one need the other",
)
POLICY_DEADLOCK = Code(
    "WF510",
    "policy-deadlock",
    "error",
    about="A policy keeps a step from ever being called, in every run or once a run took some way.",
    help="name an event that certainly happens before the step, or loosen the policy",
)
POLICY_VACUOUS = Code(
    "WF512",
    "policy-vacuous",
    "warning",
    about="A policy refuses nothing that is not refused anyway.",
    help="remove it, or find out which calls it was meant for",
)
POLICY_IMPLIED = Code(
    "WF513",
    "policy-implied",
    "info",
    about="What a policy requires has always happened already, because of `needs`.",
    help="keep it as a safeguard against later changes of `needs`, or remove it",
)
STATE_LIMIT = Code(
    "WF901",
    "state-limit-reached",
    "info",
    about="A workflow has too many states to look at each, so some questions stay undecided.",
    help="fewer steps side by side make fewer states: let some of them need others",
)


def state_limit_reached(subject: Subject) -> Iterator[Finding]:
    """WF901: what stays undecided of a workflow that is too large."""
    explored = subject.exploration
    if explored is not None and not explored.is_complete:
        many = f"more than {explored.most:,} states" if explored.most else "too many steps"
        yield Finding(
            STATE_LIMIT,
            subject.document.place(("workflow",)),
            f"{many}: not decided is whether every step can be reached, "
            "every run can finish, every call is meant for one step, and every policy makes sense",
        )


def dead_end(subject: Subject) -> Iterator[Finding]:
    """WF303: nothing can happen any more, but steps are left."""
    for explored, stranded, refused in _stuck(subject):
        if stranded.root == stranded.end and not _is_by_requires(explored, refused):
            yield Finding(
                DEAD_END,
                _step_place(subject, refused.step),
                f"a run can get stuck: step {refused.step!r} is left, "
                f"but {_refusal(refused)} and nothing else can happen",
                trace=explored.space.trace(stranded.root),
            )


def cannot_finish(subject: Subject) -> Iterator[Finding]:
    """WF304: a point of no return; only its timeout ends such a run."""
    for explored, stranded, refused in _stuck(subject):
        if stranded.root != stranded.end and not _is_by_requires(explored, refused):
            yield Finding(
                CANNOT_FINISH,
                _step_place(subject, refused.step),
                f"after {explored.space.cause(stranded.root)!r} the run cannot finish: "
                f"step {refused.step!r} is left, but {_refusal(refused)}",
                trace=explored.space.trace(stranded.root),
            )


def policy_deadlock(subject: Subject) -> Iterator[Finding]:
    """WF510: a step that a policy refuses in every run, or in runs without the required event."""
    explored = _explored(subject)
    if explored is None:
        return
    for step, refused in explored.blocked.items():
        always = frozenset.intersection(*(one.policies for one in refused))
        yield Finding(
            POLICY_DEADLOCK,
            _policy_place(subject, always or refused[0].policies),
            f"step {step!r} can never be called: whenever its turn comes, {_refusal(refused[0])}",
            trace=explored.space.trace(refused[0].state),
        )
    for _, stranded, one in _stuck(subject):
        if _is_by_requires(explored, one):
            (policy,) = one.policies
            events = " or ".join(explored.policies[policy].words)
            yield Finding(
                POLICY_DEADLOCK,
                _policy_place(subject, one.policies),
                f"step {one.step!r} gets stuck in some runs: policy {policy!r} requires {events}, "
                "which then cannot happen",
                trace=explored.space.trace(stranded.root),
            )


def ambiguous_call(subject: Subject) -> Iterator[Finding]:
    """WF407: two steps that one call can be meant for."""
    explored = _explored(subject)
    if explored is None:
        return
    pairs = dict(_pairs(explored))
    space = explored.space
    for number in range(len(space.states)) if pairs else ():
        legal = sorted({label for label, _ in space.edges(number)})
        for pair in itertools.combinations(legal, 2):
            names = pairs.pop(pair, None)
            if names is not None:
                one, other, tool = names
                yield Finding(
                    AMBIGUOUS_CALL,
                    _step_place(subject, other),
                    f"steps {one!r} and {other!r} can be ready together, "
                    f"and a call of {tool!r} may be meant for either",
                    trace=space.trace(number),
                )
        if not pairs:
            return


def policy_vacuous(subject: Subject) -> Iterator[Finding]:
    """WF512 and WF513: a policy without which the same calls were legal in the same states.

    A call whose outcome is unknown can be made again once a person says that it has not happened;
    a policy that then refuses is of use.
    """
    explored = _explored(subject)
    if explored is None or explored.blocked:
        return
    idle = _idle_policies(explored)
    for policy in [one for one in idle if explored.policies[one].kind == "requires"]:
        alone = explored.under(policy)
        if alone.complete and not any(refusals(alone)):
            idle.remove(policy)
            yield Finding(
                POLICY_IMPLIED,
                _policy_place(subject, {policy}),
                f"policy {policy!r} never refuses: the needs of the steps already see to "
                f"{' or '.join(explored.policies[policy].words)}",
            )
    for policy in idle:
        yield Finding(
            POLICY_VACUOUS,
            _policy_place(subject, {policy}),
            f"policy {policy!r} never refuses a call that would be legal without it",
        )


def _idle_policies(explored: Exploration) -> list[str]:
    """The policies on steps that never refuse alone, with or without unknown outcomes."""
    tables = explored.workflow.policies.items()
    of_calls = {
        policy.id for (step, _), table in tables for policy in table if step in explored.called
    }
    idle = [one for one in explored.policies if one in of_calls]
    alone = {next(iter(one.policies)) for one in explored.refused if len(one.policies) == 1}
    idle = [one for one in idle if one not in alone]
    if not idle:
        return []
    wider = explored.with_unknown_outcomes
    if not wider.complete:
        return []
    alone |= refusing_alone(wider)
    return [one for one in idle if one not in alone]


def _explored(subject: Subject) -> Exploration | None:
    explored = subject.exploration
    return explored if explored is not None and explored.is_complete else None


def _stuck(subject: Subject) -> Iterator[tuple[Exploration, Stranded, Refused]]:
    """The first way in which each step gets stuck, for steps that other runs do call."""
    explored = _explored(subject)
    seen: set[tuple[str, frozenset[str]]] = set()
    for stranded in explored.stranded if explored is not None else ():
        for one in stranded.refused:
            key = (one.step, one.policies)
            if explored is not None and one.step not in explored.blocked and key not in seen:
                seen.add(key)
                yield explored, stranded, one


def _is_by_requires(explored: Exploration, refused: Refused) -> bool:
    """Whether one policy alone is to blame, as the event that it requires cannot happen."""
    kinds = [explored.policies[policy].kind for policy in refused.policies]
    return kinds == ["requires"]


def _refusal(refused: Refused) -> str:
    names = sorted(refused.policies)
    if len(names) == 1:
        return f"policy {names[0]!r} refuses it"
    return f"policies {', '.join(map(repr, names))} refuse it"


def _step_place(subject: Subject, step: str) -> Place:
    return subject.document.key_place(("steps", step))


def _policy_place(subject: Subject, names: frozenset[str] | set[str]) -> Place:
    policies = subject.definition.policies
    index = next(index for index, policy in enumerate(policies) if policy.id in names)
    return subject.document.place(("policies", index))


def _pairs(
    explored: Exploration,
) -> Iterator[tuple[tuple[int, int], tuple[str, str, str]]]:
    """Labels of calls of one tool for two steps whose arguments may be the same."""
    steps = explored.workflow.definition.steps
    ways: dict[str, list[tuple[int, str]]] = {}
    for part in explored.space.net.parts:
        for way in part.calls:
            for tool in way.tools:
                ways.setdefault(tool, []).append((way.label, part.step.id))
    for tool, known in ways.items():
        for (label, one), (further, other) in itertools.combinations(known, 2):
            if one != other and not never_the_same_call(steps[one], steps[other]):
                yield (min(label, further), max(label, further)), (one, other, tool)
