"""Checks of the `needs` graph and of what leads back into it: cycles, reach, loops and redo."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from mcpuppet.workflow.checks.exploration import called_steps
from mcpuppet.workflow.checks.subject import Subject
from mcpuppet.workflow.classes import GuardKey, assignments, variables
from mcpuppet.workflow.definition import Definition, Redo, Step
from mcpuppet.workflow.expression import EvaluationError, Expression
from mcpuppet.workflow.findings import Code, Finding
from mcpuppet.workflow.graph import find_cycle, topological_order, wanted_outcomes

NEEDS_CYCLE = Code(
    "WF301",
    "needs-cycle",
    "error",
    about="Steps need each other in a circle, so none of them can ever start.",
    help="drop one of the needs; to do steps again, use `on: {failure: {redo: ...}}`",
    can_be_ignored=False,
)
UNREACHABLE_STEP = Code(
    "WF302",
    "unreachable-step",
    "error",
    about="No run ever comes to this step: its needs or its guard cannot be satisfied.",
    help="loosen what keeps it from starting, or remove the step",
)
UNBOUNDED_LOOP = Code(
    "WF305",
    "unbounded-loop",
    "error",
    about="A step may be repeated or redone without end, or until something that never happens.",
    help="give the loop a `max`, and an `until` that some result satisfies",
    can_be_ignored=False,
)
REDO_WITHOUT_APPROVAL = Code(
    "WF309",
    "redo-without-approval",
    "error",
    about="After a redo a step could never be called again, as the approval it needs is used up.",
    help="list the approval under `redo` too",
)

_MOST_ASSIGNMENTS = 10_000
_GRANTS = frozenset({"approved", "bypassed"})


def needs_cycle(subject: Subject) -> Iterator[Finding]:
    """WF301: steps that wait for each other; one cycle is shown."""
    cycle = find_cycle(subject.graph)
    if cycle is not None:
        yield Finding(
            NEEDS_CYCLE,
            subject.need_place(cycle[1], cycle[0]),
            f"steps wait for each other: {' -> '.join(cycle)}",
            "drop one of these needs; to do steps again, use `on: {failure: {redo: ...}}`",
        )


def unreachable_step(subject: Subject) -> Iterator[Finding]:
    """WF302: a step that no run calls.

    First by structure: guards that are never true by themselves, and needs that can never hold
    because of them. Then exactly, where all states can be explored; a step whose turn comes and
    that a policy always refuses is WF510.
    """
    startable = _startable(subject)
    for name, step in subject.definition.steps.items():
        reason = "its guard or needs cannot hold"
        if name in startable:
            if not _is_never_reached(subject, name):
                continue
            reason = "what it needs cannot happen together"
        verb = "call" if step.approval is None else "open"
        yield Finding(
            UNREACHABLE_STEP,
            subject.document.key_place(("steps", name)),
            f"no run can {verb} step {name!r}: {reason}",
            "look at its needs and guard, and at those of the steps it needs",
        )


def _is_never_reached(subject: Subject, name: str) -> bool:
    """Whether no run comes to a step, and it is not only for what policies refuse before it."""
    explored = subject.exploration
    if explored is None or not explored.is_complete or name in explored.called:
        return False
    if not explored.blocked:
        return True
    without = explored.without_policies
    return without.complete and name not in called_steps(without)


def _startable(subject: Subject) -> frozenset[str]:
    """The least fixpoint of "guard and needs can hold": one pass, as needs come first."""
    found: set[str] = set()
    for name in topological_order(subject.graph):
        when = subject.definition.steps[name].when
        if _needs_can_hold(subject.definition, name, found) and (
            when is None or not _never_true(subject, (name, "when"), when)
        ):
            found.add(name)
    return frozenset(found)


def _needs_can_hold(definition: Definition, name: str, found: set[str]) -> bool:
    step = definition.steps[name]
    if step.needs is None:
        return True
    holds = [
        needed in found or "skipped" in outcomes
        for needed, outcomes in wanted_outcomes(definition, step).items()
    ]
    return any(holds) if step.needs.join == "any" else all(holds)


def unbounded_loop(subject: Subject) -> Iterator[Finding]:
    """WF305: a `redo` or `repeat` without `max`, or an `until` that no result satisfies."""
    for name, step in subject.definition.steps.items():
        for outcome, redo in _redos(step):
            if redo.max is None:
                yield Finding(
                    UNBOUNDED_LOOP,
                    subject.document.key_place(("steps", name, "on", outcome)),
                    f"step {name!r} may be redone without end",
                    "add `max: 2` beside `redo`",
                )
        if step.repeat is not None and step.repeat.max is None:
            yield Finding(
                UNBOUNDED_LOOP,
                subject.document.key_place(("steps", name, "repeat")),
                f"step {name!r} may be repeated without end",
                "add `max: 5` beside `until`",
            )
        if step.repeat is not None and _never_true(subject, (name, "until"), step.repeat.until):
            yield Finding(
                UNBOUNDED_LOOP,
                subject.document.place(("steps", name, "repeat", "until")),
                f"no result that {name!r} may return makes `until` true",
                "compare it with the types and limits under `returns`",
            )


def _redos(step: Step) -> Iterator[tuple[str, Redo]]:
    if step.on is not None and step.on.failure is not None:
        yield "failure", step.on.failure
    if step.on is not None and step.on.rejected is not None:
        yield "rejected", step.on.rejected


def _never_true(subject: Subject, key: GuardKey, guard: Expression) -> bool:
    paths = subject.classes.reads.get(key)
    if paths is None:  # outside the decidable fragment: nothing is claimed
        return False
    tried = 0
    for assignment in itertools.islice(assignments(subject.classes, paths), _MOST_ASSIGNMENTS):
        tried += 1
        if _is_true(guard, variables(assignment, key[0])):
            return False
    return tried < _MOST_ASSIGNMENTS


def _is_true(guard: Expression, values: dict[str, object]) -> bool:
    try:
        return guard.evaluate_bool(values)
    except EvaluationError:
        return False


def redo_without_approval(subject: Subject) -> Iterator[Finding]:
    """WF309: a redo takes back a step but not the approval whose single grant that step used."""
    for name, step in subject.definition.steps.items():
        for outcome, redo in _redos(step):
            again = {name, *redo.redo}
            for redone, approval in _used_grants(subject.definition, again):
                yield Finding(
                    REDO_WITHOUT_APPROVAL,
                    subject.document.place(("steps", name, "on", outcome, "redo")),
                    f"after this redo step {redone!r} could never be called again: "
                    f"the grant of {approval!r} is used up",
                    f"redo the approval too: add {approval!r} to the list",
                )


def _used_grants(definition: Definition, again: set[str]) -> Iterator[tuple[str, str]]:
    for name, step in definition.steps.items():
        if name not in again:
            continue
        for needed, outcomes in wanted_outcomes(definition, step).items():
            is_approval = definition.steps[needed].approval is not None
            if is_approval and needed not in again and outcomes & _GRANTS:
                yield name, needed
