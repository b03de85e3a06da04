"""The lifecycles of a step and of a run, as two shared `transitions` machines.

The compiled workflow decides *which* change is legal now; these machines make sure that *every*
change is one that a step or a run can make at all. They are built once, hold no model, and are
asked through `Event.trigger` with a throw-away cell; as their transitions have no conditions, the
answers are remembered.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from transitions import Machine, MachineError

from mcpuppet.workflow.marking import STATUS_NAMES

StepChange = Literal["start", "succeed", "fail", "skip", "bypass", "again", "reset", "lapse"]
RunChange = Literal[
    "start",
    "wait",
    "resume",
    "fail",
    "complete",
    "end_failed",
    "end_rejected",
    "cancel",
    "time_out",
]
RUN_ENDS = ("completed", "failed", "rejected", "cancelled", "timed_out")


def _machine(states: list[str], table: list[tuple[str, str | list[str], str]]) -> Machine:
    return Machine(
        model=None,
        states=states,
        initial=states[0],
        auto_transitions=False,
        transitions=[
            {"trigger": trigger, "source": source, "dest": dest} for trigger, source, dest in table
        ],
    )


STEP_MACHINE = _machine(
    ["pending", "running", "success", "failure", "skipped", "bypassed"],
    [
        ("start", "pending", "running"),
        ("succeed", "running", "success"),
        ("fail", "running", "failure"),
        ("bypass", "running", "bypassed"),
        ("again", "running", "pending"),
        ("skip", ["pending", "running"], "skipped"),
        ("lapse", ["success", "bypassed"], "running"),
        ("reset", ["pending", "success", "failure", "skipped", "bypassed"], "pending"),
    ],
)

RUN_MACHINE = _machine(
    ["created", "active", "waiting_approval", "failing", *RUN_ENDS],
    [
        ("start", "created", "active"),
        ("wait", ["active", "waiting_approval"], "waiting_approval"),
        ("wait", "failing", "failing"),
        ("resume", ["active", "waiting_approval"], "active"),
        ("resume", "failing", "failing"),
        ("fail", ["active", "waiting_approval"], "failing"),
        ("complete", ["active", "waiting_approval"], "completed"),
        ("end_failed", "failing", "failed"),
        ("end_rejected", "failing", "rejected"),
        ("time_out", "failing", "timed_out"),
        ("cancel", ["active", "waiting_approval", "failing"], "cancelled"),
    ],
)

_STATUS_BY_NAME = {name: status for status, name in STATUS_NAMES.items()}


class LifecycleError(Exception):
    """A step or run was asked to make a change that its lifecycle does not have."""


class _Cell:
    """What `transitions` needs of a model: a place for the state's name."""

    __slots__ = ("state",)

    def __init__(self, state: str) -> None:
        self.state = state


def _after(machine: Machine, state: str, change: str) -> str:
    cell = _Cell(state)
    try:
        machine.events[change].trigger(cell)
    except MachineError:
        raise LifecycleError(f"{change!r} is not a change that {state!r} can make") from None
    return cell.state


@cache
def step_after(status: int, change: StepChange) -> int:
    """The status bit of a step after a change; raises LifecycleError where there is none."""
    return _STATUS_BY_NAME[_after(STEP_MACHINE, STATUS_NAMES[status], change)]


@cache
def run_after(status: str, change: RunChange) -> str:
    """The status of a run after a change; raises LifecycleError where there is none."""
    return _after(RUN_MACHINE, status, change)
