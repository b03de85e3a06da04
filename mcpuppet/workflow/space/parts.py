"""One step, ready to be explored: every mask and field that its changes need.

Also the two small values that changes are made of. Knows where things lie, not when they happen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mcpuppet.workflow.compiled import CompiledStep, CompiledWorkflow
from mcpuppet.workflow.compiler import descendants
from mcpuppet.workflow.marking import ENDED, PENDING, RUNNING, SKIPPED, status_mask
from mcpuppet.workflow.space.gates import Gate, Gates
from mcpuppet.workflow.space.guards import Guard, Guards
from mcpuppet.workflow.space.layout import Layout, union

_ANY_STATUS = PENDING | RUNNING | ENDED


@dataclass(frozen=True, slots=True)
class Label:
    """What happens on an edge: the events that cause it, in order."""

    events: tuple[str, ...]
    is_whole: bool = False
    """Whether what follows by settling is among the events; else the two states tell it."""


class Labels:
    """Every label of one workflow, by number."""

    def __init__(self) -> None:
        self.known: list[Label] = []
        self._numbers: dict[Label, int] = {}

    def number(self, label: Label) -> int:
        """The number of a label, given when it is first asked for."""
        found = self._numbers.get(label)
        if found is None:
            found = self._numbers[label] = len(self.known)
            self.known.append(label)
        return found


@dataclass(frozen=True, slots=True)
class Change:
    """The effect of something on a state, before settling: `state & keep | put`."""

    label: int
    keep: int
    put: int
    dirty: int
    """One bit for each step whose turn may have come or gone."""
    redo: bool = False
    """Whether the step then sets back the steps of its redo."""


@dataclass(frozen=True, slots=True)
class CallWay:
    """One way to call a step: tools under the same policies make one way."""

    tools: tuple[str, ...]
    label: int
    gate: Gate
    keep: int
    put: int


@dataclass(slots=True)
class Part:
    """One step's place in a state."""

    step: CompiledStep
    bit: int
    pending: int
    running: int
    ready: int
    held: int
    unmark: int
    """Keeps all but the ready and held bits."""
    back: int
    """Keeps what stays when the step returns to pending: all but status, marks and attempts."""
    leave: int
    """Keeps what stays when the step ends: also without its counters and its released guard."""
    fresh: int
    """Keeps what stays when the step is set back: also without its events and its result."""
    skipped: int
    opened: int
    released: int
    free: int
    when: Guard | None
    bypass: Guard | None
    success: Guard | None
    until: Guard | None
    asks: int
    """The bits that decide what becomes of the step while it is pending."""
    ends: int
    """The bits that decide what it may come to while it is running."""
    affected: int
    listed: tuple[int, ...]
    """The steps that a redo sets back, unless they are running."""
    dependent: tuple[int, ...]
    """The steps that a redo sets back if they were skipped."""
    compensated: int
    waits_for: tuple[int, ...]
    """Steps that have to be undone, or to end, before this one is undone."""
    calls: tuple[CallWay, ...] = ()
    undo: CallWay | None = None
    verdicts: dict[int, int] = field(default_factory=dict)
    changes: dict[int, tuple[Change, ...]] = field(default_factory=dict)


def reserve(
    workflow: CompiledWorkflow, layout: Layout, gates: Gates, guards: Guards, attempts: bool
) -> None:
    """Add the fields of all steps to the layout."""
    for step in workflow.steps:
        name = step.id
        if step.retry is not None and (attempts or gates.counted(name)):
            layout.add(f"attempts {name}", step.retry.attempts)
        if step.repeat is not None and (step.repeat.max or 1) > 1:
            layout.add(f"repeats {name}", (step.repeat.max or 1) - 1)
        if step.redo is not None and step.redo.max:
            layout.add(f"redos {name}", step.redo.max)
        if step.approval is not None and step.approval.renew:
            layout.add(f"renewals {name}", step.approval.renew)
        when = guards.find((name, "when"))
        if when is not None:
            layout.add(f"free {name}" if when.is_free else f"released {name}", 1)
        if step.compensation is not None:
            layout.add(f"compensated {name}", 1)


def make_parts(workflow: CompiledWorkflow, layout: Layout, guards: Guards) -> tuple[Part, ...]:
    """The parts of all steps, without their calls; the layout must be complete."""
    readers, free_readers = _readers(workflow, guards)
    parts = []
    for step in workflow.steps:
        forgotten = union(layout.known(f"free {name}") for name in free_readers[step.index])
        parts.append(_part(workflow, layout, guards, step, readers[step.index], forgotten))
    return tuple(parts)


def _part(
    workflow: CompiledWorkflow,
    layout: Layout,
    guards: Guards,
    step: CompiledStep,
    affected: int,
    forgotten: int,
) -> Part:
    name, index = step.id, step.index
    when, bypass = guards.find((name, "when")), guards.find((name, "bypass"))
    judging = [guards.find((name, "success")), guards.find((name, "until"))]
    decided = layout.known(f"free {name}") | layout.known(f"released {name}")
    marks = layout.ready(index) | layout.held(index)
    gone = status_mask(index, _ANY_STATUS) | marks | layout.of("covered", name)
    attempts = layout.known(f"attempts {name}")
    renewals = layout.known(f"renewals {name}")
    counters = attempts | layout.known(f"repeats {name}") | renewals
    goes_stale = any(index in one.approvals for one in workflow.freshness)
    over = gone | (counters & ~renewals if goes_stale else counters) | decided | forgotten
    listed, dependent = _redone(workflow, step)
    return Part(
        step=step,
        bit=1 << index,
        pending=status_mask(index, PENDING),
        running=status_mask(index, RUNNING),
        ready=layout.ready(index),
        held=layout.held(index),
        unmark=~marks,
        back=~(gone | attempts),
        leave=~over,
        fresh=~(over | counters | layout.events(name) | layout.of("data", f"steps.{name}")),
        skipped=status_mask(index, SKIPPED) | layout.event(name, "skipped"),
        opened=status_mask(index, RUNNING) | layout.event(name, "call"),
        released=layout.known(f"released {name}"),
        free=layout.known(f"free {name}"),
        when=when,
        bypass=bypass,
        success=judging[0],
        until=judging[1],
        asks=union(status_mask(need.step, ENDED) for need in step.needs) | decided | _mask(when),
        ends=counters
        | layout.modes(("active", "failing", "rejecting", "timing_out"))
        | layout.known(f"redos {name}")
        | union(_mask(guard) for guard in (bypass, *judging)),
        affected=affected,
        listed=listed,
        dependent=dependent,
        compensated=layout.known(f"compensated {name}"),
        waits_for=() if step.compensation is None else step.compensation.waits_for,
    )


def _mask(guard: Guard | None) -> int:
    return 0 if guard is None else guard.mask


def _readers(workflow: CompiledWorkflow, guards: Guards) -> tuple[list[int], list[list[str]]]:
    """Per step: the steps whose turn depends on it, as bits, and those with a free guard on it."""
    affected = [0] * len(workflow.steps)
    free: list[list[str]] = [[] for _ in workflow.steps]
    for step in workflow.steps:
        for need in step.needs:
            affected[need.step] |= 1 << step.index
        when = guards.find((step.id, "when"))
        for read in when.steps if when is not None else ():
            affected[read] |= 1 << step.index
            if when is not None and when.is_free:
                free[read].append(step.id)
    return affected, free


def _redone(
    workflow: CompiledWorkflow, step: CompiledStep
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if step.redo is None:
        return (), ()
    listed = {step.index, *(workflow.index[name] for name in step.redo.redo)}
    return tuple(sorted(listed)), tuple(sorted(descendants(workflow, listed) - listed))
