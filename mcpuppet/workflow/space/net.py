"""The rules of a run on packed states: what can happen in a state, and where that leads.

`Net.successors` is asked for every state of an exploration, so what does not depend on the whole
state is worked out once and remembered: the verdict on a pending step, by the bits that its needs
and guard read; the changes of a running one, by its counters and guards. What then remains for each
edge is a few masks, and settling only the steps that may be affected.

A failing run forgets what no `finally` step and no compensation can read. A held guard is asked
again when what it reads changes. Left out: a compensation that fails (it may be called again),
approvals whose `binds` cannot be read, and cancelling, which a person may do in every state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mcpuppet.workflow.compiled import CompiledWorkflow, Freshness
from mcpuppet.workflow.marking import BYPASSED, RUNNING, STATUS_BITS, SUCCESS, status_mask
from mcpuppet.workflow.space.changes import Outcomes
from mcpuppet.workflow.space.gates import Gate, Gates
from mcpuppet.workflow.space.guards import Guards
from mcpuppet.workflow.space.layout import MODES, Layout
from mcpuppet.workflow.space.parts import CallWay, Change, Label, Labels, Part, make_parts, reserve
from mcpuppet.workflow.space.settling import ENDING, Found, Settling

_OVER = MODES[5:]


@dataclass(frozen=True, slots=True)
class Model:
    """What an exploration takes into account beyond the rules of the workflow."""

    timeout: bool = False
    """The run may time out in every state."""
    unknown: bool = False
    """The outcome of every call may be unknown until a person says whether it has happened."""
    attempts: bool = False
    """Count the attempts of every step: exact numbers of calls, for more states."""
    without: frozenset[str] = frozenset()
    """Policies that are not enforced, by id."""


class Net:
    """One workflow's transition system."""

    def __init__(self, workflow: CompiledWorkflow, model: Model) -> None:
        self.workflow, self.model = workflow, model
        self._labels = Labels()
        self.layout = layout = Layout(len(workflow.steps))
        self.gates = Gates(workflow, model.without, layout)
        self._guards = guards = Guards(workflow, layout)
        reserve(workflow, layout, self.gates, guards, model.attempts)
        self.parts = make_parts(workflow, layout, guards)
        self._set_calls()
        self._outcomes = Outcomes(layout, guards, self._labels, unknown=model.unknown)
        self._settling = Settling(workflow, layout, self.parts, guards, self._labels)
        self.is_cut = guards.has_more_combinations("inputs.") or any(
            self._outcomes.may_be_cut(part) for part in self.parts
        )
        """Whether some classes of values are not looked at, as there are too many."""
        self.start = layout.start()
        self._new, self._active = layout.mode("new"), layout.mode("active")
        self._ending, self._over = layout.modes(ENDING), layout.modes(_OVER)
        self._running = layout.everywhere(RUNNING)
        self._steps = (1 << layout.steps) - 1
        self._ready_shift = layout.steps * STATUS_BITS
        self._held_shift = self._ready_shift + layout.steps

    def _set_calls(self) -> None:
        for part in self.parts:
            part.calls = tuple(self._ways(part))
            if part.step.compensation is not None:
                tool = part.step.compensation.tool
                label = self._labels.number(Label((f"{part.step.id}.compensate",)))
                gate = self.gates.gate("", tool)
                part.undo = CallWay((tool,), label, gate, -1, part.compensated)
        self._undoable = [one for one in self.parts if one.undo is not None]
        self._idle = [
            (self._labels.number(Label((f"{tool}.call",))), gate)
            for tool, gate in self.gates.idle_tools()
        ]
        self.idle_labels = frozenset(label for label, _ in self._idle)
        """The labels of calls that move nothing but a counter."""

    def _ways(self, part: Part) -> Iterator[CallWay]:
        """The different ways to call a step, one for each set of policies on its tools."""
        name = part.step.id
        groups: dict[tuple[Gate, int], list[str]] = {}
        for tool in part.step.tools:
            key = (self.gates.gate(name, tool), self.gates.covering(name, tool))
            groups.setdefault(key, []).append(tool)
        keep = ~(part.pending | part.ready)
        for (gate, covered), tools in groups.items():
            shown = f"{name}.call" if len(groups) == 1 else f"{name}.call{{tool={tools[0]}}}"
            label = self._labels.number(Label((shown,)))
            yield CallWay(tuple(tools), label, gate, keep, part.opened | covered)

    @property
    def labels(self) -> list[Label]:
        """Every label met so far, by number."""
        return self._labels.known

    def is_over(self, state: int) -> bool:
        return bool(state & self._over)

    def consequences(self, state: int, label: int, target: int) -> tuple[str, ...]:
        """Everything that happens on an edge, in order: what causes it, then what follows."""
        return self._settling.consequences(state, label, target)

    # What can happen

    def successors(self, state: int) -> Found:
        """Everything that can happen: label numbers, and the settled states they lead to."""
        found: Found = []
        if state & self._over:
            return found
        if state & self._new:
            return list(self._starts(state))
        ready = state >> self._ready_shift & self._steps
        while ready:
            low = ready & -ready
            ready ^= low
            for way in self.parts[low.bit_length() - 1].calls:
                if not way.gate.refuses(state):
                    found.append((way.label, (state & way.keep | way.put) + way.gate.added))
        running = state & self._running
        while running:
            low = running & -running
            running ^= low
            part = self.parts[low.bit_length() // STATUS_BITS]
            key = state & part.ends
            changes = part.changes.get(key)
            if changes is None:
                changes = part.changes[key] = self._outcomes.of(part, state)
            for change in changes:
                self._follow(found, part, state, change)
        self._rarer(found, state)
        return found

    def _follow(self, found: Found, part: Part, state: int, change: Change) -> None:
        target = state & change.keep | change.put
        if change.redo:
            target, dirty = self._settling.set_back(part, target)
            self._settling.settle(found, change.label, target, change.dirty | dirty, [])
        else:
            self._settling.settle(found, change.label, target, change.dirty)

    def _rarer(self, found: Found, state: int) -> None:
        held = state >> self._held_shift & self._steps
        while held:
            low = held & -held
            held ^= low
            self._release(found, self.parts[low.bit_length() - 1], state)
        if state & self._ending:
            for part in self._undoable:
                if (
                    part.undo
                    and self._settling.may_undo(part, state)
                    and not part.undo.gate.refuses(state)
                ):
                    target = (state | part.compensated) + part.undo.gate.added
                    self._settling.settle(found, part.undo.label, target, 0)
        else:
            self._pass_time(found, state)
        for label, gate in self._idle:
            if not gate.refuses(state):
                found.append((label, state + gate.added))

    def _undo(self, found: Found, part: Part, state: int) -> None:
        way = part.undo
        if way and self._settling.may_undo(part, state) and not way.gate.refuses(state):
            target = (state | part.compensated) + way.gate.added
            self._settling.settle(found, way.label, target, 0)

    def _pass_time(self, found: Found, state: int) -> None:
        for fresh in self.workflow.freshness:
            if self._may_go_stale(fresh, state):
                self._go_stale(found, fresh, state)
        if self.model.timeout:
            target = state & ~self._active | self.layout.mode("timing_out")
            self._settling.settle(found, self._labels.number(Label(("run.timeout",))), target, 0)

    def _may_go_stale(self, fresh: Freshness, state: int) -> bool:
        """Whether a step waits for approvals that were given some time ago."""
        words = {(SUCCESS, "approved"), (BYPASSED, "bypassed")}
        return any(state & self.parts[index].pending for index in fresh.steps) and any(
            state & status_mask(index, status)
            for index in fresh.approvals
            for status, word in words
            if f"{self.parts[index].step.id}.{word}" in fresh.policy.words
        )

    def _go_stale(self, found: Found, fresh: Freshness, state: int) -> None:
        """Grants that were not used in time are asked for again, or are rejections."""
        told: list[str] = []
        dirty = 0
        for part in (self.parts[index] for index in fresh.approvals):
            if state & status_mask(part.step.index, SUCCESS | BYPASSED):
                state, lapsed = self._settling.lapse(part, state)
                change = self._outcomes.expired(part, state)
                state = state & change.keep | change.put
                state, more = self._settling.set_back(part, state) if change.redo else (state, 0)
                dirty |= lapsed | change.dirty | more
                told += self.labels[change.label].events
        label = self._labels.number(Label((told[0],)))
        self._settling.settle(found, label, state, dirty, told[1:])

    def _starts(self, state: int) -> Iterator[tuple[int, int]]:
        seen: set[int] = set()
        for chosen in self._guards.combinations("inputs."):
            target = state & ~self._new | self._active | self._guards.put(chosen)
            if target not in seen:
                seen.add(target)
                shown = ",".join(f"{k}={v}" for k, v in self._guards.shown(chosen).items())
                label = self._labels.number(Label((f"start{{{shown}}}" if shown else "start",)))
                found: Found = []
                self._settling.settle(found, label, target, self._steps)
                yield from found

    def _release(self, found: Found, part: Part, state: int) -> None:
        """A person says how the guard that holds a step is to be read."""
        name = part.step.id
        ready = self._labels.number(Label((f"{name}.released{{ready=true}}",)))
        self._settling.settle(found, ready, state | part.released, part.bit)
        not_ready = self._labels.number(Label((f"{name}.released{{ready=false}}",)))
        self._settling.settle(found, not_ready, state & part.leave | part.skipped, part.affected)

    def refusals(self, state: int) -> Iterator[tuple[Part, tuple[str, ...]]]:
        """The calls whose turn it is and that policies refuse, with the policies that do."""
        ready = state >> self._ready_shift & self._steps
        while ready:
            low = ready & -ready
            ready ^= low
            part = self.parts[low.bit_length() - 1]
            for way in part.calls:
                if way.gate.refuses(state):
                    yield part, way.gate.refusing(state)
        for part in self._undoable if state & self._ending else ():
            if part.undo and part.undo.gate.refuses(state) and self._settling.may_undo(part, state):
                yield part, part.undo.gate.refusing(state)
