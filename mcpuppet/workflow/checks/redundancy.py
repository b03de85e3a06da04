"""Checks of what the `needs` graph says twice, and of what a redo leaves behind.

Both work on sets of steps as the bits of one int, so that thousands of steps take no time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mcpuppet.workflow.checks.subject import Subject
from mcpuppet.workflow.definition import Step
from mcpuppet.workflow.findings import Code, Finding
from mcpuppet.workflow.graph import topological_order, wanted_outcomes
from mcpuppet.workflow.yaml_reader import Path

STALE_AFTER_REDO = Code(
    "WF308",
    "stale-after-redo",
    "warning",
    about="A redo takes back a step, but not one that may have been started with its outcome: that "
    "one keeps what the step gave before.",
    help="add the step to the `redo` list, or let it need the step that asks for the redo",
)
REDUNDANT_NEEDS = Code(
    "WF310",
    "redundant-needs",
    "info",
    about="A step needs another one whose success a third, which it needs too, already waits for.",
    help="leave the need out: the other one implies it",
)

_SUCCESSES = frozenset({"success"})


@dataclass(frozen=True, slots=True)
class _Redo:
    step: str
    again: Sequence[str]
    path: Path


def stale_after_redo(subject: Subject) -> Iterator[Finding]:
    """WF308: a step that may have been started before a redo takes back what it depends on."""
    redos = list(_redos(subject.definition.steps))
    after = _surely_after(subject) if redos else {}
    names = tuple(subject.definition.steps)
    bits, below = subject.below.bits, subject.below.sets
    for redo in redos:
        kept, dependent = bits[redo.step], 0
        for name in set(redo.again) - {redo.step}:
            kept |= bits[name]
            dependent |= below[name]
        doubtful = dependent & ~kept & ~after[redo.step]
        for name in _names_of(doubtful, names):
            if subject.definition.steps[name].finally_:
                continue  # it comes last, whatever was done before
            if not subject.certain_ends.contains(name, redo.step):
                yield _stale(subject, redo, name)
                break


def _stale(subject: Subject, redo: _Redo, name: str) -> Finding:
    source = next(one for one in redo.again if subject.below.contains(one, name))
    return Finding(
        STALE_AFTER_REDO,
        subject.document.place(redo.path),
        f"{name!r} may have been started before {redo.step!r} asks for this redo, "
        f"and would keep what {source!r} gave the first time",
        f"add {name!r} to the list, or let it need {redo.step!r}",
    )


def _redos(steps: Mapping[str, Step]) -> Iterator[_Redo]:
    for name, step in steps.items():
        for outcome in ("failure", "rejected") if step.on is not None else ():
            redo = getattr(step.on, outcome)
            if redo is not None:
                yield _Redo(name, redo.redo, ("steps", name, "on", outcome, "redo"))


def _surely_after(subject: Subject) -> Mapping[str, int]:
    """For each step, steps that never start before it has ended: found fast, and not all of them.

    A chain of needs that all must hold and that no skipped step satisfies leads to each of them;
    only the first need may be met by any outcome.
    """
    bits = subject.below.bits
    started: dict[str, int] = {}
    after: dict[str, int] = {}
    for name in reversed(topological_order(subject.graph)):
        started[name] = after[name] = 0
        for dependent in subject.graph.successors(name):
            if _is_all_join(subject, dependent):
                found = bits[dependent] | started[dependent]
                after[name] |= found
                if "skipped" not in subject.graph.edges[name, dependent]["outcomes"]:
                    started[name] |= found
    return after


def _is_all_join(subject: Subject, name: str) -> bool:
    needs = subject.definition.steps[name].needs
    return needs is not None and needs.join == "all"


def _names_of(bits: int, names: Sequence[str]) -> Iterator[str]:
    while bits:
        yield names[(bits & -bits).bit_length() - 1]
        bits &= bits - 1


def redundant_needs(subject: Subject) -> Iterator[Finding]:
    """WF310: a need that another need of the same step implies, with the same outcome.

    Only chains of plain successes of tool steps count, and no step that a redo may take back: the
    need of an approval also uses up its grant, and after a redo the two may differ.
    """
    steps, bits = subject.definition.steps, subject.below.bits
    redone = {name for redo in _redos(steps) for name in (redo.step, *redo.again)}
    succeeded: dict[str, int] = {}
    for name in topological_order(subject.graph):
        needed = [
            one
            for one, outcomes in wanted_outcomes(subject.definition, steps[name]).items()
            if outcomes == _SUCCESSES and _is_all_join(subject, name)
        ]
        implied = 0
        for one in needed:
            implied |= succeeded[one]
        succeeded[name] = implied
        for one in needed:
            succeeded[name] |= bits[one]
        for one in needed:
            if implied & bits[one] and one not in redone:
                through = next(other for other in needed if succeeded[other] & bits[one])
                yield Finding(
                    REDUNDANT_NEEDS,
                    subject.need_place(name, one),
                    f"{name!r} need not name {one!r}: {through!r}, which it needs, "
                    f"starts only after its success",
                    REDUNDANT_NEEDS.help,
                )
