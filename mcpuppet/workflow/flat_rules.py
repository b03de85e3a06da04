"""The rules of a run, for the flat machine: what can happen in a state, and where that leads.

`flat` explores with them and says what a label is, and which choices were made where the language
leaves room. Knows nothing of compiled workflows, decisions or stored sessions, on purpose.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from mcpuppet.workflow.classes import (
    MISSING,
    GuardClasses,
    GuardKey,
    GuardKind,
    Value,
    guard_classes,
    guards_of,
    variables,
)
from mcpuppet.workflow.definition import Policy, Redo, Step, WorkflowDefinition
from mcpuppet.workflow.expression import EvaluationError, Expression
from mcpuppet.workflow.flat_state import ENDED, TERMINAL, FlatState, Run

_APPROVAL_WORDS = {"success": "approved", "failure": "rejected"}
_FREE = (True, False)


@dataclass(frozen=True, slots=True)
class _Happening:
    """Something that can happen: its event, the values it carries, and the run before settling."""

    event: str
    run: Run
    values: Mapping[str, Value] = field(default_factory=dict)
    free: tuple[tuple[str, bool], ...] = ()


class Rules:
    """The rules of the language, for one definition."""

    def __init__(self, definition: WorkflowDefinition) -> None:
        self._steps = definition.steps
        self._classes: GuardClasses = guard_classes(definition)
        self._guards: Mapping[GuardKey, Expression] = dict(guards_of(definition))
        self._remembered = frozenset(
            path
            for (step, kind), paths in self._classes.reads.items()
            for path in paths
            if kind in ("when", "bypass") or not path.startswith(f"steps.{step}.")
        )
        self._needed_by: dict[str, set[str]] = {name: set() for name in self._steps}
        for name, step in self._steps.items():
            for needed in step.needs.outcomes if step.needs else ():
                self._needed_by[needed].add(name)
        self._policies = {
            name: [policy for policy in definition.policies if _matches(policy, name, step)]
            for name, step in self._steps.items()
        }
        self._asked = frozenset(
            event
            for policy in definition.policies
            for event in (*(policy.requires or ()), *(policy.forbidden_after or ()))
        )

    def initial(self) -> FlatState:
        """The state before the start, when the inputs are not known yet."""
        return Run("new", dict.fromkeys(self._steps, "pending")).freeze()

    def moves(self, state: FlatState) -> Iterator[tuple[str, Mapping[str, Value], FlatState]]:
        """Everything that can happen in a state: label, values carried, and the settled target."""
        for happening in self._happenings(state.thaw()):
            for free, settled in self._settle(happening.run):
                label = _label(happening, (*happening.free, *free))
                yield label, happening.values, settled.freeze()

    def _happenings(self, run: Run) -> Iterator[_Happening]:
        if run.phase == "new":
            yield from self._starts(run)
        if run.phase == "new" or run.phase in TERMINAL:
            return
        for name, step in self._steps.items():
            status = run.status[name]
            if step.approval is None and status == "pending" and self._callable(run, name):
                yield self._call(run.copy(), name)
            elif step.approval is None and status == "running":
                yield from self._ends(run, name)
            elif status == "running":
                yield from self._decisions(run, name)
            elif self._compensable(run, name):
                after = run.copy()
                after.compensated.add(name)
                yield _Happening(f"{name}.compensate", after)

    # Starting and calling

    def _starts(self, run: Run) -> Iterator[_Happening]:
        for chosen in self._combinations("inputs."):
            after = run.copy()
            after.phase = "active"
            after.data.update(chosen)
            yield _Happening("start", after, self._values(chosen))

    def _callable(self, run: Run, name: str) -> bool:
        return (
            self._needs(run, self._steps[name]) is True
            and self._when(run, name) is True
            and all(self._permits(run, policy) for policy in self._policies[name])
        )

    def _call(self, run: Run, name: str) -> _Happening:
        run.status[name] = "running"
        self._note(run, f"{name}.call")
        for policy in self._policies[name]:
            if _is_run_limit(policy):
                counter = f"policy {policy.id}"
                run.counters[counter] = run.counters.get(counter, 0) + 1
        return _Happening(f"{name}.call", run)

    def _permits(self, run: Run, policy: Policy) -> bool:
        if policy.requires is not None:
            return any(event in run.events for event in policy.requires)
        if policy.forbidden_after is not None:
            return all(event not in run.events for event in policy.forbidden_after)
        if policy.mutex:
            return not any(
                status == "running" and policy in self._policies[other]
                for other, status in run.status.items()
            )
        if policy.at_most is not None and _is_run_limit(policy):
            return run.counters.get(f"policy {policy.id}", 0) < policy.at_most
        return True

    # What a call comes to

    def _ends(self, run: Run, name: str) -> Iterator[_Happening]:
        for chosen in self._combinations(f"steps.{name}.result."):
            for free in self._free_results(name):
                yield self._success(run.copy(), name, chosen, free)
        yield self._failure(run.copy(), name)

    def _free_results(self, name: str) -> Iterator[dict[str, bool]]:
        kinds = [kind for step, kind in self._opaque(name) if kind in ("success", "until")]
        for choice in itertools.product(_FREE, repeat=len(kinds)):
            yield dict(zip(kinds, choice, strict=True))

    def _success(
        self, run: Run, name: str, chosen: Mapping[str, int], free: Mapping[str, bool]
    ) -> _Happening:
        event, values, shown = f"{name}.success", self._values(chosen), tuple(free.items())
        succeeded = self._ask(run, name, "success", chosen, free)
        enough = self._ask(run, name, "until", chosen, free) if succeeded else False
        if succeeded is None or enough is None:  # held, until a person says what it came to
            return _Happening(event, run, values, shown)
        if not succeeded:  # the tool did answer: asking again is not what `retry` is for
            self._fail(run, name)
        elif enough:
            run.status[name] = "success"
            run.data.update({path: at for path, at in chosen.items() if path in self._remembered})
            self._clear_counters(run, name)
            self._note(run, event)
        else:
            self._repeat(run, name)
        return _Happening(event, run, values, shown)

    def _repeat(self, run: Run, name: str) -> None:
        repeat = self._steps[name].repeat
        used = run.counters.get(f"{name} repeats", 0) + 1
        if repeat is None or run.failing or (repeat.max is not None and used >= repeat.max):
            self._fail(run, name)
            return
        self._clear_counters(run, name)
        run.status[name] = "pending"
        if repeat.max is not None:
            run.counters[f"{name} repeats"] = used

    def _failure(self, run: Run, name: str) -> _Happening:
        retry = self._steps[name].retry
        used = run.counters.get(f"{name} attempts", 0) + 1
        if retry is not None and used < retry.attempts and not run.failing:
            run.counters[f"{name} attempts"] = used
            run.status[name] = "pending"
            return _Happening(f"{name}.retry", run)
        self._fail(run, name)
        return _Happening(f"{name}.failure", run)

    def _fail(self, run: Run, name: str) -> None:
        """A step fails, or an approval is rejected, for good: redo, or carry the consequence."""
        step, used = self._steps[name], run.counters.get(f"{name} redos", 0)
        outcome = "failure" if step.approval is None else "rejected"
        redo = _redo_of(step, outcome)
        self._clear_counters(run, name)
        if redo is not None and not run.failing and (redo.max is None or used < redo.max):
            if redo.max is not None:
                run.counters[f"{name} redos"] = used + 1
            self._redo(run, name, redo.redo)
            return
        run.status[name] = "failure"
        self._note(run, f"{name}.{outcome}")
        if run.phase == "active" and not self._is_handled(name, outcome):
            run.phase = "failing" if outcome == "failure" else "rejecting"

    def _is_handled(self, name: str, outcome: str) -> bool:
        return self._steps[name].on_failure == "continue" or any(
            outcome in step.needs.outcomes.get(name, ())
            for step in self._steps.values()
            if step.needs is not None
        )

    def _redo(self, run: Run, asking: str, listed: Sequence[str]) -> None:
        run.status[asking] = "pending"
        again = [asking, *(name for name in listed if run.status[name] != "running")]
        for name in again:
            run.status[name] = "pending"
            self._clear_counters(run, name)
            run.data = {p: at for p, at in run.data.items() if not p.startswith(f"steps.{name}.")}
            run.events = {event for event in run.events if not event.startswith(f"{name}.")}
        for name in self._dependents(again):
            if run.status[name] == "skipped":
                run.status[name] = "pending"
                run.events.discard(f"{name}.skipped")
        run.free.clear()

    def _dependents(self, names: Iterable[str]) -> set[str]:
        """The steps that need one of `names`, directly or through others."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            direct = self._needed_by[waiting.pop()] - found
            found |= direct
            waiting += direct
        return found

    def _clear_counters(self, run: Run, name: str) -> None:
        for kind in ("attempts", "repeats", "renewals"):
            run.counters.pop(f"{name} {kind}", None)

    # Approvals

    def _decisions(self, run: Run, name: str) -> Iterator[_Happening]:
        approved = run.copy()
        approved.status[name] = "success"
        self._note(approved, f"{name}.approved")
        yield _Happening(f"{name}.approved", approved)
        rejected = run.copy()
        self._fail(rejected, name)
        yield _Happening(f"{name}.rejected", rejected)
        if self._may_bypass(run, name):
            bypassed = run.copy()
            bypassed.status[name] = "bypassed"
            self._note(bypassed, f"{name}.bypassed")
            yield _Happening(f"{name}.bypassed", bypassed)
        yield _Happening(f"{name}.expired", self._expired(run.copy(), name))

    def _may_bypass(self, run: Run, name: str) -> bool:
        approval = self._steps[name].approval
        if approval is None or approval.bypass is None:
            return False
        return (name, "bypass") in self._classes.opaque or self._ask(run, name, "bypass") is True

    def _expired(self, run: Run, name: str) -> Run:
        approval = self._steps[name].approval
        used = run.counters.get(f"{name} renewals", 0)
        self._note(run, f"{name}.expired")
        if approval is not None and used < approval.renew:
            run.counters[f"{name} renewals"] = used + 1
        else:
            self._fail(run, name)
        return run

    # Compensation

    def _compensable(self, run: Run, name: str) -> bool:
        """Outstanding, and no step that came after it is outstanding or may still become so."""
        return (
            run.failing
            and self._outstanding(run, name)
            and not any(
                self._outstanding(run, later)
                or (run.status[later] == "running" and self._steps[later].compensate is not None)
                for later in self._dependents([name])
            )
        )

    def _outstanding(self, run: Run, name: str) -> bool:
        return (
            run.status[name] == "success"
            and self._steps[name].compensate is not None
            and name not in run.compensated
        )

    # Settling

    def _settle(self, run: Run) -> Iterator[tuple[tuple[tuple[str, bool], ...], Run]]:
        """Skip and open until nothing changes, then end the run if it is over.

        Yields one result, or, where opaque guards must be decided, one for each choice.
        """
        open_ends: list[tuple[tuple[tuple[str, bool], ...], Run]] = [((), run)]
        while open_ends:
            choices, branch = open_ends.pop()
            undecided = self._settle_decided(branch)
            if undecided is None:
                self._finish(branch)
                yield choices, branch
                continue
            for choice in _FREE:
                decided = branch.copy()
                decided.free[undecided] = choice
                open_ends.append(((*choices, (f"{undecided}.when", choice)), decided))

    def _settle_decided(self, run: Run) -> str | None:
        """Skip and open until nothing changes, or until the guard of the step returned is free."""
        if run.failing:
            self._give_up(run)
        changed = run.phase not in TERMINAL
        while changed:
            changed = False
            for name in self._steps:
                verdict = self._verdict(run, name)
                if verdict == "choose":
                    return name
                if verdict is not None:
                    run.status[name] = "running" if verdict == "call" else "skipped"
                    self._note(run, f"{name}.{verdict}")
                    changed = True
        return None

    def _verdict(self, run: Run, name: str) -> str | None:
        """What becomes of a step at once: skipped, call (an approval opens), choose, or nothing."""
        if run.status[name] != "pending":
            return None
        needs = self._needs(run, self._steps[name])
        if needs is not True:
            return None if needs is None else "skipped"
        if (name, "when") in self._classes.opaque and name not in run.free:
            return "choose"
        when = self._when(run, name)
        if when is False:
            return "skipped"
        return "call" if when and self._steps[name].approval is not None else None

    def _needs(self, run: Run, step: Step) -> bool | None:
        """True: they hold. False: they can no longer hold. None: that is open."""
        if step.needs is None:
            return True
        met = [self._need(run, name, words) for name, words in step.needs.outcomes.items()]
        if step.needs.join == "any":
            return True if True in met else None if None in met else False
        return False if False in met else None if None in met else True

    def _need(self, run: Run, name: str, words: Sequence[str]) -> bool | None:
        outcome = self._outcome(run, name)
        return None if outcome is None else outcome in (words or ("success", "approved"))

    def _outcome(self, run: Run, name: str) -> str | None:
        status = run.status[name]
        if status not in ENDED:
            return None
        return status if self._steps[name].approval is None else _APPROVAL_WORDS.get(status, status)

    def _give_up(self, run: Run) -> None:
        """A failing run starts nothing but `finally` steps."""
        for name, step in self._steps.items():
            idle = run.status[name] == "pending"
            is_open = run.status[name] == "running" and step.approval is not None
            if not step.finally_ and (idle or is_open):
                run.status[name] = "skipped"
                self._note(run, f"{name}.skipped")

    def _finish(self, run: Run) -> None:
        if run.phase in TERMINAL or any(self._keeps_open(run, name) for name in self._steps):
            return
        if run.failing and any(self._outstanding(run, name) for name in self._steps):
            return
        for name, status in run.status.items():
            run.status[name] = status if status in ENDED else "skipped"
        ends = {"active": "completed", "failing": "failed", "rejecting": "rejected"}
        run.phase = ends[run.phase]

    def _keeps_open(self, run: Run, name: str) -> bool:
        step, status = self._steps[name], run.status[name]
        if step.optional and (step.approval is not None or status == "pending"):
            return False
        return status not in ENDED

    # Guards

    def _when(self, run: Run, name: str) -> bool | None:
        if name in run.free:
            return run.free[name]
        return self._ask(run, name, "when")

    def _ask(
        self,
        run: Run,
        name: str,
        kind: GuardKind,
        chosen: Mapping[str, int] | None = None,
        free: Mapping[str, bool] | None = None,
    ) -> bool | None:
        """What a guard says; True when there is none, None when it has no answer."""
        guard = self._guards.get((name, kind))
        if guard is None:
            return True
        if free is not None and kind in free:
            return free[kind]
        known = self._values(run.data | dict(chosen or {}))
        for other in self._steps_read(guard):
            outcome = self._outcome(run, other)
            known[f"steps.{other}.outcome"] = MISSING if outcome is None else outcome
            if outcome == "success":
                known.setdefault(f"steps.{other}.result", {})
        try:
            return guard.evaluate_bool(variables(known, name))
        except EvaluationError:
            return None

    def _steps_read(self, guard: Expression) -> set[str]:
        return {path[1] for path in guard.references if path[0] == "steps"} & self._steps.keys()

    def _opaque(self, name: str) -> list[GuardKey]:
        return sorted(key for key in self._classes.opaque if key[0] == name)

    def _combinations(self, prefix: str) -> Iterator[dict[str, int]]:
        """Every choice of a class for each path that starts with `prefix`."""
        paths = [path for path in self._classes.values if path.startswith(prefix)]
        sizes = (range(len(self._classes.values[path])) for path in paths)
        for combination in itertools.product(*sizes):
            yield dict(zip(paths, combination, strict=True))

    def _values(self, chosen: Mapping[str, int]) -> dict[str, Value]:
        return {path: self._classes.values[path][index] for path, index in chosen.items()}

    def _note(self, run: Run, event: str) -> None:
        if event in self._asked:
            run.events.add(event)


def _matches(policy: Policy, name: str, step: Step) -> bool:
    """Whether a policy limits every call of a step; approvals are not calls."""
    return step.tool is not None and all(
        any(fnmatchcase(tool, call) if "." in call else call == name for call in policy.call)
        for tool in step.tool
    )


def _is_run_limit(policy: Policy) -> bool:
    return policy.at_most is not None and policy.sum is None and policy.per == "run"


def _redo_of(step: Step, outcome: str) -> Redo | None:
    if step.on is None:
        return None
    return step.on.failure if outcome == "failure" else step.on.rejected


def _label(happening: _Happening, free: Sequence[tuple[str, bool]]) -> str:
    shown = [
        f"{_short(path)}={'missing' if value is MISSING else json.dumps(value)}"
        for path, value in happening.values.items()
    ]
    shown += [f"?{guard}={json.dumps(choice)}" for guard, choice in free]
    return f"{happening.event}{{{','.join(shown)}}}" if shown else happening.event


def _short(path: str) -> str:
    """`score` for `steps.check.result.score`; inputs keep their whole path."""
    return path if path.startswith("inputs.") else path.split(".", 3)[3]
