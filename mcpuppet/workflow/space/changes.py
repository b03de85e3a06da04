"""What a running step may come to: the changes that its outcome or its decision makes.

Worked out once for each combination of the bits that matter to the step, and remembered in its
part. Choices: attempts are counted only where a counter of a policy or the caller of `explore`
asks for it, as a failed attempt may be the last one at any time (a result that its schema does not
allow is never retried); a result that cannot be judged leaves its step running until a person says
what it came to; classes that lead to the same state by
the same event are one change, with the first one's label.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from mcpuppet.workflow.marking import BYPASSED, FAILURE, PENDING, SUCCESS, status_mask
from mcpuppet.workflow.space.guards import Guard, Guards
from mcpuppet.workflow.space.layout import Layout
from mcpuppet.workflow.space.parts import Change, Label, Labels, Part

_BOTH = (True, False)


class Outcomes:
    """Works out the changes of running steps."""

    def __init__(
        self,
        layout: Layout,
        guards: Guards,
        labels: Labels,
        *,
        unknown: bool,
    ) -> None:
        self._layout = layout
        self._guards = guards
        self._labels = labels
        self._unknown = unknown
        self._active = layout.mode("active")
        self._fails = {
            "failure": layout.mode("failing"),
            "rejected": layout.mode("rejecting"),
        }

    def of(self, part: Part, state: int) -> tuple[Change, ...]:
        """The changes that may end, or send back, a step that is running in this state."""
        made = self._ends if part.step.approval is None else self._decisions
        distinct: dict[tuple[tuple[str, ...], int, int, bool], Change] = {}
        for change in made(part, state):
            events = self._labels.known[change.label].events
            names = tuple(event.partition("{")[0] for event in events)
            distinct.setdefault((names, change.keep, change.put, change.redo), change)
        return tuple(distinct.values())

    def may_be_cut(self, part: Part) -> bool:
        """Whether there are more classes of results than are looked at."""
        return self._guards.has_more_combinations(f"steps.{part.step.id}.result.")

    # Calls

    def _ends(self, part: Part, state: int) -> Iterator[Change]:
        name, may_be_held = part.step.id, self._unknown
        for chosen in self._guards.combinations(f"steps.{name}.result."):
            for free in self._free_answers(part):
                change = self._judged(part, state, chosen, free)
                if change is None:
                    may_be_held = True
                else:
                    yield change
        yield self._failed(part, state, f"{name}.failure", "failure")
        if part.step.retry is not None and self._may_retry(part, state):
            attempts = self._raised(f"attempts {name}", state)
            yield self._returned(part, f"{name}.retry", attempts, keep=part.back)
        if may_be_held:
            yield from self._resolved(part, state)

    def _free_answers(self, part: Part) -> Iterator[Mapping[str, bool]]:
        guards = {"success": part.success, "until": part.until}
        kinds = [kind for kind, guard in guards.items() if guard is not None and guard.is_free]
        for answers in itertools.product(_BOTH, repeat=len(kinds)):
            yield dict(zip(kinds, answers, strict=True))

    def _judged(
        self, part: Part, state: int, chosen: Mapping[str, int], free: Mapping[str, bool]
    ) -> Change | None:
        """What a result comes to; None when it cannot be judged."""
        shown = self._guards.shown(chosen) | {
            f"?{kind}": "true" if answer else "false" for kind, answer in free.items()
        }
        values = self._guards.values(chosen)

        def holds(guard: Guard | None) -> bool | None:
            if guard is None:
                return True
            return free[guard.key[1]] if guard.is_free else self._guards.ask(guard, state, values)

        succeeded, done = holds(part.success), holds(part.until)
        if succeeded is None or (succeeded and done is None):
            return None
        if not succeeded:
            return self._failed(part, state, f"{part.step.id}.failure", "failure")
        if not done:
            return self._polled(part, state, shown)
        return self._succeeded(part, _shown(part, "success", shown), self._guards.put(chosen))

    def _succeeded(self, part: Part, label: str, data: int) -> Change:
        put = self._ended(part, SUCCESS, "success") | data
        return self._change(Label((label,)), part.leave, put, part.affected)

    def _polled(self, part: Part, state: int, shown: Mapping[str, str]) -> Change:
        """The result is not the one waited for: another round, while there is one."""
        repeat, name = part.step.repeat, part.step.id
        field = self._layout.fields.get(f"repeats {name}")
        rounds = 1 if field is None else field.get(state) + 1
        if repeat is None or field is None or not state & self._active:
            return self._failed(part, state, f"{part.step.id}.failure", "failure")
        if rounds >= (repeat.max or 1):
            return self._failed(part, state, f"{part.step.id}.failure", "failure")
        keep = part.back & ~field.mask
        return self._returned(part, _shown(part, "repeat", shown), field.put(rounds), keep=keep)

    def _returned(self, part: Part, label: str, counters: int, *, keep: int) -> Change:
        put = status_mask(part.step.index, PENDING) | counters
        return self._change(Label((label,)), keep, put, part.bit)

    def _may_retry(self, part: Part, state: int) -> bool:
        field = self._layout.fields.get(f"attempts {part.step.id}")
        if part.step.retry is None or not state & self._active:
            return False
        return (0 if field is None else field.get(state)) + 1 < part.step.retry.attempts

    def _raised(self, counter: str, state: int) -> int:
        """The bits of a counter that is one higher, or as high as it gets."""
        field = self._layout.fields.get(counter)
        if field is None:
            return 0
        return field.put(min(field.get(state) + 1, (1 << field.width) - 1))

    def _resolved(self, part: Part, state: int) -> Iterator[Change]:
        """A person says what became of a call: it has happened, without a result, or it has not."""
        name, happened = part.step.id, self._ended(part, SUCCESS, "success")
        label = Label((f"{name}.resolved{{happened=true}}", f"{name}.success"))
        yield self._change(label, part.leave, happened, part.affected)
        attempts = self._raised(f"attempts {name}", state)
        yield self._returned(part, f"{name}.resolved{{happened=false}}", attempts, keep=part.back)

    # Decisions

    def _decisions(self, part: Part, state: int) -> Iterator[Change]:
        name = part.step.id
        approved = self._ended(part, SUCCESS, "approved")
        yield self._change(Label((f"{name}.approved",)), part.leave, approved, part.affected)
        yield self._failed(part, state, f"{name}.rejected", "rejected")
        if self._may_bypass(part, state):
            bypassed = self._ended(part, BYPASSED, "bypassed")
            yield self._change(Label((f"{name}.bypassed",)), part.leave, bypassed, part.affected)
        yield self.expired(part, state)

    def _may_bypass(self, part: Part, state: int) -> bool:
        approval, guard = part.step.approval, part.bypass
        if approval is None or approval.bypass is None:
            return False
        return guard is None or guard.is_free or self._guards.ask(guard, state) is True

    def expired(self, part: Part, state: int) -> Change:
        """Nobody decided in time: asked again, or rejected."""
        name = part.step.id
        field = self._layout.fields.get(f"renewals {name}")
        event = self._layout.event(name, "expired")
        if field is None or part.step.approval is None:
            return self._expired_for_good(part, state)
        if field.get(state) >= part.step.approval.renew:
            return self._expired_for_good(part, state)
        put = field.put(field.get(state) + 1) | event
        return self._change(Label((f"{name}.expired",)), ~field.mask, put, 0)

    def _expired_for_good(self, part: Part, state: int) -> Change:
        name = part.step.id
        event = self._layout.event(name, "expired")
        return self._failed(
            part, state, f"{name}.expired", "rejected", also=(f"{name}.rejected",), events=event
        )

    # Ends

    def _failed(
        self,
        part: Part,
        state: int,
        label: str,
        outcome: str,
        also: tuple[str, ...] = (),
        events: int = 0,
    ) -> Change:
        """A failure or rejection for good: redo, or end, and fail the run if nobody handles it."""
        put = self._ended(part, FAILURE, outcome) | events
        keep, what = part.leave, Label((label, *also))
        redone = self._redo_left(part, state)
        if redone:
            mask = self._layout.known(f"redos {part.step.id}")
            return self._change(what, keep & ~mask, put | redone, part.affected, redo=True)
        if state & self._active and not part.step.failure_is_handled:
            keep, put = keep & ~self._active, put | self._fails[outcome]
        return self._change(what, keep, put, part.affected)

    def _redo_left(self, part: Part, state: int) -> int:
        """The bits of the raised redo counter; 0 when there is no redo left."""
        field = self._layout.fields.get(f"redos {part.step.id}")
        if field is None or part.step.redo is None or not state & self._active:
            return 0
        used = field.get(state)
        return field.put(used + 1) if used < (part.step.redo.max or 0) else 0

    def _ended(self, part: Part, status: int, event: str) -> int:
        return status_mask(part.step.index, status) | self._layout.event(part.step.id, event)

    def _change(
        self, label: Label, keep: int, put: int, dirty: int, *, redo: bool = False
    ) -> Change:
        return Change(self._labels.number(label), keep, put, dirty, redo)


def _shown(part: Part, event: str, values: Mapping[str, str]) -> str:
    """`check.success{score=0.8}`, or without braces when no value matters."""
    inside = ",".join(f"{name}={value}" for name, value in values.items())
    return f"{part.step.id}.{event}{{{inside}}}" if inside else f"{part.step.id}.{event}"
