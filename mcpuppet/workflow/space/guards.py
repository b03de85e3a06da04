"""Guards asked of packed states.

A guard reads some bits of a state (its mask) and, for `success` and `until`, the result at hand.
Owns the way from bits back to the values that an expression is evaluated on; decides nothing.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from mcpuppet.workflow.classes import (
    MISSING,
    GuardClasses,
    GuardKey,
    Value,
    guard_classes,
    guards_of,
    variables,
)
from mcpuppet.workflow.compiled import CompiledWorkflow
from mcpuppet.workflow.expression import EvaluationError, Expression
from mcpuppet.workflow.marking import (
    APPROVAL_STATUS_NAMES,
    ENDED,
    STATUS_NAMES,
    SUCCESS,
    status_mask,
    status_of,
)
from mcpuppet.workflow.space.layout import Field, Layout, remembered_paths

MOST_COMBINATIONS = 4_096
"""Of the classes of one result (or of the inputs): more are not looked at."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard, the bits of a state that its answer depends on, and the steps it reads."""

    key: GuardKey
    expression: Expression
    mask: int
    data: tuple[tuple[str, Field], ...]
    steps: tuple[int, ...]
    is_free: bool
    """Outside the decidable fragment: it may hold or not."""


class Guards:
    """The guards of one workflow."""

    def __init__(self, workflow: CompiledWorkflow, layout: Layout) -> None:
        self._workflow = workflow
        self.classes: GuardClasses = guard_classes(workflow.definition)
        for path in remembered_paths(self.classes):
            layout.add(f"data {path}", len(self.classes.values[path]))
        self._layout = layout
        self._guards = {
            key: self._guard(key, expression) for key, expression in guards_of(workflow.definition)
        }

    def _guard(self, key: GuardKey, expression: Expression) -> Guard:
        index, names = self._workflow.index, {path[1:2] for path in expression.references}
        steps = tuple(sorted(index[one[0]] for one in names if one and one[0] in index))
        if ("steps",) in expression.references:
            steps = tuple(range(len(index)))
        paths = self.classes.reads.get(key, ())
        fields = self._layout.fields
        data = tuple((path, fields[f"data {path}"]) for path in paths if f"data {path}" in fields)
        mask = sum(one.mask for _, one in data)
        for step in steps:
            mask |= status_mask(step, ENDED)
        return Guard(key, expression, mask, data, steps, key in self.classes.opaque)

    def find(self, key: GuardKey) -> Guard | None:
        return self._guards.get(key)

    def ask(self, guard: Guard, state: int, own: Mapping[str, Value] | None = None) -> bool | None:
        """What a guard says of a state; None when it has no answer. `own` is the result judged."""
        known: dict[str, Value] = {} if own is None else dict(own)
        for path, place in guard.data:
            number = place.get(state)
            if number:
                known[path] = self.classes.values[path][number - 1]
        for step in guard.steps:
            self._outcome(known, step, state)
        try:
            return guard.expression.evaluate_bool(variables(known, guard.key[0]))
        except EvaluationError:
            return None

    def _outcome(self, known: dict[str, Value], index: int, state: int) -> None:
        step, status = self._workflow.steps[index], status_of(state, index)
        if status & ENDED:
            names = STATUS_NAMES if step.approval is None else APPROVAL_STATUS_NAMES
            known[f"steps.{step.id}.outcome"] = names[status]
        if status == SUCCESS and step.approval is None:
            known.setdefault(f"steps.{step.id}.result", {})

    def combinations(self, prefix: str) -> Iterator[Mapping[str, int]]:
        """Choices of a class for every path that starts so, as indexes; see MOST_COMBINATIONS."""
        paths = self._below.get(prefix, ())
        sizes = (range(len(self.classes.values[path])) for path in paths)
        for combination in itertools.islice(itertools.product(*sizes), MOST_COMBINATIONS):
            yield dict(zip(paths, combination, strict=True))

    def has_more_combinations(self, prefix: str) -> bool:
        sizes = (len(self.classes.values[path]) for path in self._below.get(prefix, ()))
        return math.prod(sizes) > MOST_COMBINATIONS

    @cached_property
    def _below(self) -> Mapping[str, list[str]]:
        """The paths by what they start with: `inputs.`, or `steps.x.result.`."""
        found: dict[str, list[str]] = {}
        for path in self.classes.values:
            parts = path.split(".")
            start = "inputs." if parts[0] == "inputs" else ".".join((*parts[:3], ""))
            if path.startswith(start):
                found.setdefault(start, []).append(path)
        return found

    def values(self, chosen: Mapping[str, int]) -> dict[str, Value]:
        return {path: self.classes.values[path][index] for path, index in chosen.items()}

    def put(self, chosen: Mapping[str, int]) -> int:
        """The bits that remember a choice, as far as it is remembered."""
        fields = self._layout.fields
        return sum(
            fields[f"data {path}"].put(index + 1)
            for path, index in chosen.items()
            if f"data {path}" in fields
        )

    def shown(self, chosen: Mapping[str, int]) -> dict[str, str]:
        """A choice for a label: `score` for `steps.check.result.score`, inputs by whole path."""
        return {
            path if path.startswith("inputs.") else path.split(".", 3)[3]: _json(value)
            for path, value in self.values(chosen).items()
        }


def _json(value: Value) -> str:
    return "missing" if value is MISSING else json.dumps(value)
