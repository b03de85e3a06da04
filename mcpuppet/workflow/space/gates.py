"""The policies of a run, as tests on a state's bits.

A policy is *modelled* when what it reads is part of a run: `requires` and `forbidden_after` on
events of steps, `mutex` within the run, `at_most` per run. Every other policy depends on time, on
values, on people or on other runs: it may refuse now but not for ever, and is treated as never
refusing. `Gates.left_out` names those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mcpuppet.workflow.compiled import CompiledWorkflow
from mcpuppet.workflow.compiled_policy import CompiledPolicy
from mcpuppet.workflow.marking import RUNNING, status_mask
from mcpuppet.workflow.space.layout import Layout

LimitKind = Literal["any", "none", "below"]


@dataclass(frozen=True, slots=True)
class Limit:
    """One policy's test of one call: some bit of the mask is set, none is, or it is below."""

    policy: str
    kind: LimitKind
    mask: int
    bound: int = 0
    one: int = 0
    """What a call adds to a counter."""

    def refuses(self, state: int) -> bool:
        if self.kind == "any":
            return not state & self.mask
        if self.kind == "none":
            return bool(state & self.mask)
        return state & self.mask >= self.bound


@dataclass(frozen=True, slots=True)
class Gate:
    """All limits of one call: the same tests, ordered for speed, and each by itself."""

    limits: tuple[Limit, ...]
    blocked: int
    """None of these bits may be set."""
    others: tuple[Limit, ...]
    added: int
    """What the call adds to counters."""

    def refuses(self, state: int) -> bool:
        return bool(state & self.blocked) or any(one.refuses(state) for one in self.others)

    def refusing(self, state: int) -> tuple[str, ...]:
        """The policies that refuse the call in a state."""
        return tuple(one.policy for one in self.limits if one.refuses(state))


class Gates:
    """The modelled policies of a workflow, for each call."""

    def __init__(self, workflow: CompiledWorkflow, without: frozenset[str], layout: Layout) -> None:
        self._workflow = workflow
        self._layout = layout
        policies = workflow.all_policies
        self.left_out = tuple(one.id for one in policies if not is_modelled(one))
        self.enforced = tuple(one for one in policies if is_modelled(one) and one.id not in without)
        self._ids = frozenset(one.id for one in self.enforced)
        for one in self.enforced:
            self._reserve(one)

    def _reserve(self, policy: CompiledPolicy) -> None:
        for event in policy.words if policy.kind in ("requires", "forbidden_after") else ():
            self._layout.add(f"event {event}", 1)
        if policy.limit is not None:
            self._layout.add(f"policy {policy.id}", int(policy.limit.most))
        for step, _ in policy.exempt:
            self._layout.add(f"covered {step} {policy.id}", 1)

    def gate(self, step: str, tool: str) -> Gate:
        """What a call passes through; `step` is "" for compensations and read-only tools."""
        limits = tuple(
            self._limit(policy, step)
            for policy in self._workflow.policies.get((step, tool), ())
            if policy.id in self._ids
        )
        blocked = 0
        for one in limits:
            blocked |= one.mask if one.kind == "none" else 0
        others = tuple(one for one in limits if one.kind != "none")
        return Gate(limits, blocked, others, sum(one.one for one in limits))

    def _limit(self, policy: CompiledPolicy, step: str) -> Limit:
        if policy.kind == "requires":
            return Limit(policy.id, "any", self._events(policy))
        if policy.kind == "forbidden_after":
            return Limit(policy.id, "none", self._events(policy))
        if policy.kind == "mutex":
            return Limit(policy.id, "none", self._others_running(policy, step))
        assert policy.limit is not None
        field = self._layout.fields[f"policy {policy.id}"]
        bound = field.put(int(policy.limit.most))
        return Limit(policy.id, "below", field.mask, bound, field.put(1))

    def _events(self, policy: CompiledPolicy) -> int:
        mask = 0
        for word in policy.words:
            mask |= self._layout.known(f"event {word}")
        return mask

    def _others_running(self, policy: CompiledPolicy, step: str) -> int:
        """The bits that say: a call of another step that a mutex covers is running."""
        index, mask = self._workflow.index, policy.running
        for name in {name for name, _ in policy.exempt}:  # running alone does not tell by what
            mask &= ~status_mask(index[name], RUNNING)
            mask |= self._layout.known(f"covered {name} {policy.id}")
        own = self._layout.known(f"covered {step} {policy.id}")
        return mask & ~own & ~(status_mask(index[step], RUNNING) if step else 0)

    def covering(self, step: str, tool: str) -> int:
        """The bits to set for a call that only some mutexes of its step cover."""
        mask = 0
        for policy in self._workflow.policies.get((step, tool), ()):
            mask |= self._layout.known(f"covered {step} {policy.id}")
        return mask

    def counted(self, step: str) -> bool:
        """Whether some counter counts the calls of a step."""
        tools = self._workflow.step(step).tools
        return any(self.gate(step, tool).added for tool in tools)

    def idle_tools(self) -> Iterator[tuple[str, Gate]]:
        """Read-only tools whose calls use up a counter that calls of steps share."""
        shared = {
            policy.id
            for (step, _), table in self._workflow.policies.items()
            for policy in table
            if step and policy.limit is not None
        }
        for step, tool in self._workflow.policies:
            if not step and self._workflow.is_always(tool):
                gate = self.gate("", tool)
                if any(one.one and one.policy in shared for one in gate.limits):
                    yield tool, gate


def is_modelled(policy: CompiledPolicy) -> bool:
    """Whether the states of a run tell if a policy refuses."""
    if policy.kind == "mutex":
        return policy.scope == "run"
    if policy.limit is not None:
        limit = policy.limit
        return limit.scope == "run" and limit.amount is None and policy.ask is None
    is_of_events = policy.kind in ("requires", "forbidden_after")
    return is_of_events and not policy.tool_events and not policy.same
