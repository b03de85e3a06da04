"""Checks of what guards can tell apart: never true, always true, both true, none true.

Each asks the guard classes of `workflow.classes`: the few values that stand for all values as far
as the guards in question can see. A guard outside that decidable fragment is reported once (WF408)
and nothing else is claimed about it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mcpuppet.workflow.checks.subject import Subject
from mcpuppet.workflow.classes import (
    MISSING,
    GuardClasses,
    GuardKey,
    Value,
    assignments,
    guard_classes,
    guards_of,
    variables,
)
from mcpuppet.workflow.definition import Step
from mcpuppet.workflow.expression import EvaluationError, Expression
from mcpuppet.workflow.findings import Code, Finding, Place
from mcpuppet.workflow.graph import wanted_outcomes
from mcpuppet.workflow.yaml_reader import Path

NEVER_TRUE = Code(
    "WF401",
    "guard-never-true",
    "error",
    about="No value that a guard may read makes it true: the step never starts, or never succeeds.",
    help="compare the guard with the types and limits under `inputs` and `returns`",
)
OVERLAP = Code(
    "WF402",
    "guard-overlap",
    "error",
    about="A step is `exclusive`, and for some value it and a step with the same needs both start.",
    help="make the guards exclude each other, or drop `exclusive`",
)
GAP = Code(
    "WF403",
    "guard-gap",
    "warning",
    about="Steps with the same needs share out the values between them, and for some value none "
    "of them starts.",
    help="cover the value in one of the guards, or add a step for all other values",
)
ALWAYS_TRUE = Code(
    "WF404",
    "guard-always-true",
    "warning",
    about="A guard is true for every value that it may read, and so guards nothing.",
    help="drop the guard, or compare it with the types and limits under `inputs` and `returns`",
)
OPAQUE = Code(
    "WF408",
    "opaque-guard",
    "info",
    about="A guard computes, or compares two values: checks and proofs take it to be true or false "
    "at will. What they prove holds; a counterexample may be one that no values lead to.",
    help="compare one value with constants, as in `inputs.amount > 100`, where that says the same",
)

_MOST_ASSIGNMENTS = 2_000
"""For one guard, or for the guards of steps with the same needs."""
_MOST_EVALUATIONS = 50_000
"""By one check of one file, well below a second; past it nothing is claimed."""
_COST_OF_CLASSES = 10
"""Working out the classes of some guards takes as long as so many evaluations."""
_SUCCESSES = frozenset({"success", "approved"})
_PATHS: Mapping[str, Path] = {
    "when": ("when",),
    "success": ("success",),
    "until": ("repeat", "until"),
    "bypass": ("approval", "bypass", "when"),
}


class _Budget:
    """How many evaluations are left for one check of one file."""

    def __init__(self) -> None:
        self.left = _MOST_EVALUATIONS

    def takes(self, classes: GuardClasses, paths: Iterable[str], guards: int) -> bool:
        """Whether all values of `paths` may be tried on so many guards."""
        combinations = 1
        for path in paths:
            combinations *= len(classes.values[path])
            if combinations > _MOST_ASSIGNMENTS:
                self.left -= _MOST_ASSIGNMENTS
                return False
        self.left -= combinations * guards + _COST_OF_CLASSES
        return self.left >= 0


def constant_guard(subject: Subject) -> Iterator[Finding]:
    """WF401 and WF404: a guard that is never true, or always. An `until` like that is WF305."""
    budget = _Budget()
    for key, guard in guards_of(subject.definition):
        if key[1] == "until":
            continue
        verdict = _constant_verdict(subject, key, guard, budget)
        if verdict is True and key[1] == "when":
            yield _constant(subject, key, ALWAYS_TRUE, f"the guard of {key[0]!r} is always true")
        elif verdict is False:
            yield _constant(subject, key, NEVER_TRUE, _never(key))


def _never(key: GuardKey) -> str:
    step, kind = key
    match kind:
        case "success":
            return f"no result that {step!r} may return makes `success` true"
        case "bypass":
            return f"no value makes the bypass of {step!r} possible"
        case _:
            return f"no value makes the guard of {step!r} true"


def _constant(subject: Subject, key: GuardKey, code: Code, message: str) -> Finding:
    return Finding(code, _place(subject, key), message, code.help)


def _place(subject: Subject, key: GuardKey) -> Place:
    return subject.document.place(("steps", key[0], *_PATHS[key[1]]))


def _constant_verdict(
    subject: Subject, key: GuardKey, guard: Expression, budget: _Budget
) -> bool | None:
    """True for a guard that is always true, False for one that never is, None for any other."""
    classes = guard_classes(subject.definition, [(key, guard)])
    if key not in classes.reads:
        return None
    if key[1] in ("when", "bypass"):
        classes = _after_needs(subject, key[0], classes)
    paths = classes.reads[key]
    if not budget.takes(classes, paths, 1):
        return None
    values = (_value(guard, one, key[0]) is True for one in assignments(classes, paths))
    first = next(values, None)
    return first if all(value is first for value in values) else None


def _value(guard: Expression, assignment: Mapping[str, Value], step: str) -> bool | None:
    try:
        return guard.evaluate_bool(variables(assignment, step))
    except EvaluationError:
        return None


def _after_needs(subject: Subject, name: str, classes: GuardClasses) -> GuardClasses:
    """Without the outcomes of needed steps with which the step would not come to its guard."""
    step = subject.definition.steps[name]
    if step.needs is None or step.needs.join == "any":
        return classes
    values = dict(classes.values)
    for needed, outcomes in wanted_outcomes(subject.definition, step).items():
        outcome, result = f"steps.{needed}.outcome", f"steps.{needed}.result"
        if outcome in values:
            values[outcome] = tuple(one for one in values[outcome] if one in outcomes)
        if result in values and outcomes <= _SUCCESSES:
            values[result] = tuple(one for one in values[result] if one is not MISSING)
    return replace(classes, values=values)


def opaque_guard(subject: Subject) -> Iterator[Finding]:
    """WF408: a guard that the checks and proofs cannot look into."""
    for key in sorted(subject.classes.opaque):
        step, kind = key
        word = "guard" if kind == "when" else f"`{_PATHS[kind][-1]}`"
        yield Finding(
            OPAQUE,
            _place(subject, key),
            f"the {word} of {step!r} is taken to be true or false at will",
            OPAQUE.help,
        )


# Steps with the same needs


@dataclass(frozen=True, slots=True)
class _Siblings:
    """Steps with the same needs; `classes` are those of all guards among them together."""

    steps: Mapping[str, Step]
    classes: GuardClasses

    @property
    def all_are_decidable(self) -> bool:
        return all((name, "when") in self.classes.reads for name in self.steps)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that one of the guards reads."""
        read = (self.classes.reads.get((name, "when"), ()) for name in self.steps)
        return tuple(dict.fromkeys(itertools.chain.from_iterable(read)))


def guard_overlap(subject: Subject) -> Iterator[Finding]:
    """WF402: a step is `exclusive`, and yet a step with the same needs may start beside it."""
    budget = _Budget()
    for steps in _groups(subject):
        for pair in _exclusive_pairs(steps):
            yield from _overlap(subject, {name: steps[name] for name in pair}, budget)
            if budget.left < 0:
                return


def _exclusive_pairs(steps: Mapping[str, Step]) -> Iterator[tuple[str, str]]:
    """Each `exclusive` step with every other, two exclusive ones once."""
    exclusive = [name for name, step in steps.items() if step.exclusive]
    others = [name for name, step in steps.items() if not step.exclusive]
    yield from itertools.product(exclusive, others)
    yield from itertools.combinations(exclusive, 2)


def _overlap(subject: Subject, pair: Mapping[str, Step], budget: _Budget) -> Iterator[Finding]:
    siblings = _siblings(subject, pair)
    guarded = [name for name, step in pair.items() if step.when is not None]
    if any((name, "when") not in siblings.classes.reads for name in guarded):
        return
    name, other = pair
    place = subject.document.key_place(("steps", name, "exclusive"))
    if not budget.takes(siblings.classes, siblings.paths, len(guarded)):
        message = f"that {name!r} and {other!r} never both start is not decided: too many values"
        yield Finding(OPAQUE, place, message, "compare with fewer constants")
        return
    for assignment in assignments(siblings.classes, siblings.paths):
        if all(
            step.when is None or _value(step.when, assignment, name) for name, step in pair.items()
        ):
            yield Finding(
                OVERLAP,
                place,
                f"{name!r} is exclusive, but it and {other!r} can both start{_when(assignment)}",
                OVERLAP.help,
            )
            return


def guard_gap(subject: Subject) -> Iterator[Finding]:
    """WF403: steps share out values between them, and leave some to none of them.

    They do where one is `exclusive`, or where all read the same one value. Where a step goes on
    when some of them were skipped, that none starts is taken to be meant.
    """
    budget = _Budget()
    passed_over = _passed_over(subject)
    for steps in _groups(subject):
        if any(step.when is None for step in steps.values()) or passed_over & steps.keys():
            continue
        siblings = _siblings(subject, steps)
        if not siblings.all_are_decidable:
            continue
        is_shared = any(step.exclusive for step in steps.values())
        paths = siblings.paths
        if is_shared or all(siblings.classes.reads[name, "when"] == paths[:1] for name in steps):
            yield from _gap(subject, siblings, budget)


def _passed_over(subject: Subject) -> frozenset[str]:
    return frozenset(
        needed
        for step in subject.definition.steps.values()
        for needed, outcomes in (step.needs.outcomes if step.needs else {}).items()
        if "skipped" in outcomes
    )


def _gap(subject: Subject, siblings: _Siblings, budget: _Budget) -> Iterator[Finding]:
    if not budget.takes(siblings.classes, siblings.paths, len(siblings.steps)):
        return
    for assignment in assignments(siblings.classes, siblings.paths):
        if all(
            step.when is not None and _value(step.when, assignment, name) is False
            for name, step in siblings.steps.items()
        ):
            first, *others = siblings.steps
            yield Finding(
                GAP,
                _place(subject, (first, "when")),
                f"none of {_listed([first, *others])} starts{_when(assignment)}",
                GAP.help,
            )
            return


def _groups(subject: Subject) -> Iterator[Mapping[str, Step]]:
    """The steps with the same needs, where there are two or more."""
    groups: dict[object, dict[str, Step]] = {}
    for name, step in subject.definition.steps.items():
        wanted = frozenset(wanted_outcomes(subject.definition, step).items())
        join = "all" if step.needs is None else step.needs.join
        groups.setdefault((wanted, join), {})[name] = step
    return (steps for steps in groups.values() if len(steps) > 1)


def _siblings(subject: Subject, steps: Mapping[str, Step]) -> _Siblings:
    guards: list[tuple[GuardKey, Expression]] = [
        ((name, "when"), step.when) for name, step in steps.items() if step.when is not None
    ]
    classes = guard_classes(subject.definition, guards)
    return _Siblings(steps, _after_needs(subject, next(iter(steps)), classes))


def _when(assignment: Mapping[str, Value]) -> str:
    """The values of a witness, as the end of a sentence."""
    if not assignment:
        return ""
    values = (
        f"{path} is missing" if value is MISSING else f"{path} = {_shown(value)}"
        for path, value in assignment.items()
    )
    return f" when {' and '.join(values)}"


def _shown(value: Value) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name) for name in names[:4]]
    if len(names) > 4:
        return f"{', '.join(shown)} and {len(names) - 4} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
