"""What an expression may read: inputs, ended steps, and the call at hand.

A step that has not ended is absent, so reading it is an error, and an error never opens anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcpuppet.session.call import Principal
from mcpuppet.session.state import RunState
from mcpuppet.workflow.compiler import CompiledWorkflow
from mcpuppet.workflow.marking import (
    APPROVAL_STATUS_NAMES,
    ENDED,
    STATUS_BITS,
    STATUS_NAMES,
)

_STATUS_MASK = (1 << STATUS_BITS) - 1


class _Variables(dict[str, Any]):
    """The variables, with those that cost something made when an expression first reads them."""

    __slots__ = ("_principal", "_run", "_workflow")

    def __init__(
        self, workflow: CompiledWorkflow, run: RunState, principal: Principal | None
    ) -> None:
        super().__init__(inputs=run.inputs)
        self._workflow = workflow
        self._run = run
        self._principal = principal

    def __missing__(self, name: str) -> Any:
        if name == "steps":
            value: Any = _steps(self._workflow, self._run)
        elif name == "user" and self._principal is not None:
            value = {"name": self._principal.name, "roles": sorted(self._principal.roles)}
        else:
            raise KeyError(name)
        self[name] = value
        return value


def variables(
    workflow: CompiledWorkflow,
    run: RunState,
    *,
    arguments: Mapping[str, Any] | None = None,
    principal: Principal | None = None,
    result: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The variables of an expression: `inputs`, `steps`, and the others where they are given."""
    values = _Variables(workflow, run, principal)
    if arguments is not None:
        values["args"] = arguments
    if result is not None:
        values["result"] = result
    return values


def _steps(workflow: CompiledWorkflow, run: RunState) -> dict[str, dict[str, Any]]:
    marking, results = run.marking, run.results
    known: dict[str, dict[str, Any]] = {}
    for step in workflow.steps:
        status = marking & _STATUS_MASK
        marking >>= STATUS_BITS
        if status & ENDED:
            names = STATUS_NAMES if step.approval is None else APPROVAL_STATUS_NAMES
            known[step.id] = {"outcome": names[status]}
            if step.id in results:
                known[step.id]["result"] = results[step.id]
    return known
