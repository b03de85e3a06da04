"""What a flow chart is made of, as values: shapes, lines, and the ids that they are known by.

Which of them a workflow has is worked out by `diagram_graph`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mcpuppet.workflow.definition import Policy

EdgeKind = Literal["success", "failure", "timeout", "bypass", "otherwise", "redo", "undo"]
EndKind = Literal["completed", "rejected", "failed"]

START = "start"


@dataclass(frozen=True, slots=True)
class Diamond:
    """One branching: the steps whose guards are asked at the same moment, after the same needs."""

    id: str
    subject: str
    branches: Mapping[str, str]
    """For each guarded step the words of its guard."""
    any_of: bool
    """Whether one need is enough to ask the guards."""


@dataclass(frozen=True, slots=True)
class Joint:
    """The point where the lines of many steps meet, when several steps wait for all the same."""

    id: str
    any_of: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Steps that may run side by side: the same needs, and the same steps wait for them all."""

    id: str
    members: tuple[str, ...]
    mutex: Policy | None
    """The policy that forbids their overlap, when there is one for exactly these steps."""


@dataclass(frozen=True, slots=True)
class End:
    """A way in which a run ends; with `only_after`, the one that a single step leads to."""

    id: str
    kind: EndKind
    only_after: str | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """A line between two shapes (or groups), by their ids.

    It has been taken when step `source` ended in one of `outcomes` and step `target` then moved;
    None asks nothing of that side.
    """

    tail: str
    head: str
    kind: EdgeKind
    label: str = ""
    source: str | None = None
    outcomes: frozenset[str] = frozenset()
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """All shapes and lines of a picture; steps and undo boxes follow from the definition."""

    diamonds: tuple[Diamond, ...]
    groups: tuple[Group, ...]
    joints: tuple[Joint, ...]
    ends: tuple[End, ...]
    edges: tuple[Edge, ...]
    rows: Mapping[str, int]
    """For each shape the row it belongs to, counted from 0; a chart that is not long has one."""


def step_node(name: str) -> str:
    return f"step-{name}"


def undo_node(name: str) -> str:
    return f"undo-{name}"


def end_node(end: EndKind, after: str | None = None) -> str:
    return f"end-{end}" if after is None else f"end-{end}-{after}"
