"""What follows from a change: settling, going back, and the end of a run.

After every change steps are skipped, approvals are opened and the run ends as soon as they can, in
passes over the steps in file order, as the session does; only steps that may be affected are looked
at. A guard outside the decidable fragment forks. A failing run forgets what no `finally` step and
no compensation can read, so that what can happen alike is one state.
"""

from __future__ import annotations

from mcpuppet.workflow.compiled import CompiledWorkflow
from mcpuppet.workflow.compiler import descendants
from mcpuppet.workflow.marking import PENDING, RUNNING, SKIPPED, SUCCESS, status_mask
from mcpuppet.workflow.space.guards import Guards
from mcpuppet.workflow.space.layout import MODE_TO_END, MODES, Layout, union
from mcpuppet.workflow.space.parts import Label, Labels, Part

Found = list[tuple[int, int]]
"""Label numbers, and the settled states they lead to."""

ENDING = MODES[2:5]
_WAIT, _SKIP, _READY, _HOLD, _CHOOSE = range(5)
_SKIP_PENDING = SKIPPED.bit_length() - PENDING.bit_length()
_SKIP_RUNNING = SKIPPED.bit_length() - RUNNING.bit_length()


class Settling:
    """Settles the states of one workflow."""

    def __init__(
        self,
        workflow: CompiledWorkflow,
        layout: Layout,
        parts: tuple[Part, ...],
        guards: Guards,
        labels: Labels,
    ) -> None:
        self._workflow, self._layout, self._guards = workflow, layout, guards
        self._parts, self._labels = parts, labels
        self._marking = layout.marking
        self._pending, self._running = layout.everywhere(PENDING), layout.everywhere(RUNNING)
        self._active, self._ending = layout.mode("active"), layout.modes(ENDING)
        self._busy = union(
            (0 if one.step.optional else one.pending)
            | (0 if one.step.optional and one.step.approval else one.running)
            for one in parts
        )
        rest = [one for one in parts if not one.step.finally_]
        self._finally = union(one.bit for one in parts if one.step.finally_)
        self._dropped = union(one.pending for one in rest)
        self._closed = union(one.running for one in rest if one.step.approval)
        self._kept_skips = [
            (one.pending | one.running, layout.event(one.step.id, "skipped"))
            for one in rest
            if layout.event(one.step.id, "skipped")
        ]
        self._undoable = [one for one in parts if one.undo is not None]
        self._kept_when_ending = self._marking | self._ending | self._read_when_ending()
        depths = _depths(workflow)
        self._in_order = sorted(parts, key=lambda one: depths[one.step.index])

    def _read_when_ending(self) -> int:
        """The bits that decide what a failing run may still do."""
        mask = 0
        for part in self._parts:
            mask |= self._layout.of("covered", part.step.id) | part.compensated
            mask |= union(one.mask for one in (part.success, part.until) if one is not None)
            if part.step.finally_:
                mask |= part.asks | part.ends | part.ready | part.held
            ways = part.calls if part.step.finally_ else ()
            for way in (*ways, *([part.undo] if part.undo else [])):
                mask |= union(one.mask for one in way.gate.limits)
        return mask

    def settle(
        self, found: Found, label: int, state: int, dirty: int, told: list[str] | None = None
    ) -> None:
        """Skip and open what can be, end the run if it is over; `found` gets where that leads.

        `dirty` has a bit for each step whose turn may have come or gone. With `told` the label gets
        everything that happens; else `consequences` can tell it from the two states.
        """
        if state & self._ending:
            gives_up = state & (self._dropped | self._closed)
            state, dirty = self._give_up(state, told), (-1 if gives_up else dirty) & self._finally
        while dirty:
            ahead, dirty = dirty, 0
            while ahead:
                low = ahead & -ahead
                ahead ^= low
                part = self._parts[low.bit_length() - 1]
                if not state & part.pending:
                    continue
                verdict = part.verdicts.get(state & part.asks)
                if verdict is None:
                    verdict = part.verdicts[state & part.asks] = self._verdict(part, state)
                if verdict == _READY and part.step.approval is None:
                    state = state & part.unmark | part.ready
                elif verdict == _WAIT:
                    state &= part.unmark
                elif verdict == _READY:
                    state = state & part.back | part.opened
                    _tell(told, part, "call")
                elif verdict == _HOLD:
                    state = state & part.unmark | part.held
                elif verdict == _SKIP:
                    state = state & part.leave | part.skipped
                    ahead |= part.affected & -low
                    dirty |= part.affected & (low - 1)
                    _tell(told, part, "skipped")
                else:
                    self._choose(found, label, state, ahead | dirty, part, told)
                    return
        if not state & self._busy:
            state = self._finish(state, told)
        found.append((self._with(label, told), state))

    def _choose(
        self,
        found: Found,
        label: int,
        state: int,
        dirty: int,
        part: Part,
        told: list[str] | None,
    ) -> None:
        """A guard outside the decidable fragment: both answers are possible."""
        for answer, decided, more in (
            ("true", state | part.free, part.bit),
            ("false", state & part.leave | part.skipped, part.affected),
        ):
            now = None if told is None else [*told]
            if answer == "false":
                _tell(now, part, "skipped")
            chosen = self._choosing(label, f"?{part.step.id}.when={answer}")
            self.settle(found, chosen, decided, dirty | more, now)

    def _choosing(self, label: int, choice: str) -> int:
        first, *more = self._labels.known[label].events
        first = f"{first[:-1]},{choice}}}" if first.endswith("}") else f"{first}{{{choice}}}"
        return self._labels.number(Label((first, *more)))

    def _with(self, label: int, told: list[str] | None) -> int:
        if told is None:
            return label
        return self._labels.number(Label((*self._labels.known[label].events, *told), is_whole=True))

    def _give_up(self, state: int, told: list[str] | None) -> int:
        """A failing run starts nothing but `finally` steps, and forgets what it cannot use."""
        idle, asked = state & self._dropped, state & self._closed
        if idle or asked:
            self._tell_skips(told, idle | asked)
            state = state ^ idle ^ asked | idle << _SKIP_PENDING | asked << _SKIP_RUNNING
            for mask, event in self._kept_skips:
                state |= event if mask & (idle | asked) else 0
        return state & self._kept_when_ending

    def _verdict(self, part: Part, state: int) -> int:
        step = part.step
        if step.needs and step.needs_are_dead(state):
            return _SKIP
        if not step.needs_hold(state):
            return _WAIT
        guard = part.when
        if guard is None or state & part.released or state & part.free:
            return _READY
        if guard.is_free:
            return _CHOOSE
        answer = self._guards.ask(guard, state)
        return _HOLD if answer is None else _READY if answer else _SKIP

    def _finish(self, state: int, told: list[str] | None) -> int:
        if state & self._ending and any(
            self.is_outstanding(part, state) for part in self._undoable
        ):
            return state
        idle, asked = state & self._pending, state & self._running
        self._tell_skips(told, idle | asked)
        marking = state & self._marking ^ idle ^ asked
        marking |= idle << _SKIP_PENDING | asked << _SKIP_RUNNING
        return marking | (state & (self._active | self._ending)) << MODE_TO_END

    def set_back(self, part: Part, state: int) -> tuple[int, int]:
        """A redo: its steps, unless they are running, and the steps skipped because of them."""
        dirty = 0
        again = [self._parts[index] for index in part.listed]
        again = [one for one in again if not state & one.running]
        skipped = (self._parts[index] for index in part.dependent)
        again += [one for one in skipped if state & status_mask(one.step.index, SKIPPED)]
        for one in again:
            state = state & one.fresh | one.pending
            dirty |= one.bit | one.affected
        return state, dirty

    def lapse(self, part: Part, state: int) -> tuple[int, int]:
        """A grant is as if it had not been given: it is asked for, and what it skipped waits."""
        name, dirty = part.step.id, part.affected
        gone = self._layout.event(name, "approved") | self._layout.event(name, "bypassed")
        state = state & part.back & ~gone | part.running
        for index in descendants(self._workflow, [part.step.index]):
            one = self._parts[index]
            if state & status_mask(index, SKIPPED):
                state = state & one.fresh | one.pending
                dirty |= one.bit | one.affected
        return state, dirty

    @staticmethod
    def is_outstanding(part: Part, state: int) -> bool:
        succeeded = status_mask(part.step.index, SUCCESS)
        return bool(state & succeeded) and not state & part.compensated

    def may_undo(self, part: Part, state: int) -> bool:
        """Outstanding, and no later step is outstanding or may still become so."""
        return self.is_outstanding(part, state) and not any(
            state & self._parts[later].running or self.is_outstanding(self._parts[later], state)
            for later in part.waits_for
        )

    def consequences(self, state: int, label: int, target: int) -> tuple[str, ...]:
        """Everything that happens on an edge, in order: what causes it, then what follows."""
        cause = self._labels.known[label]
        if cause.is_whole:
            return cause.events
        skipped = target & ~state & self._pending << _SKIP_PENDING
        opened = target & ~state & self._running
        return (
            *cause.events,
            *(f"{part.step.id}.skipped" for part in self._in_order if skipped & part.skipped),
            *(
                f"{part.step.id}.call"
                for part in self._in_order
                if opened & part.running and part.step.approval is not None
            ),
        )

    def _tell_skips(self, told: list[str] | None, waiting: int) -> None:
        for part in self._in_order if told is not None and waiting else ():
            if waiting & (part.pending | part.running):
                _tell(told, part, "skipped")


def _tell(told: list[str] | None, part: Part, event: str) -> None:
    if told is not None:
        told.append(f"{part.step.id}.{event}")


def _depths(workflow: CompiledWorkflow) -> list[int]:
    """For each step the length of the longest chain of needs before it."""
    depths: dict[int, int] = {}
    waiting = list(range(len(workflow.steps)))
    while waiting:
        index = waiting[-1]
        needed = [need.step for need in workflow.steps[index].needs]
        missing = [one for one in needed if one not in depths]
        if missing:
            waiting += missing
        else:
            depths[waiting.pop()] = 1 + max((depths[one] for one in needed), default=0)
    return [depths[index] for index in range(len(workflow.steps))]
