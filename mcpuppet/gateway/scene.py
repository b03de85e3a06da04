"""The values between a session and what its client is shown: scene, list, and outlook.

Plain values; how they come about is told by `surface`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mcpuppet.session.consequences import Progress
from mcpuppet.session.decision import LegalCall
from mcpuppet.views import SessionView, run_status
from mcpuppet.workflow.compiled import CompiledRules, CompiledWorkflow, Rulebook

_LOOK_AGAIN = timedelta(seconds=1)
"""After which a list is looked at again where rates, hours or deadlines may have changed it."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The session at one moment, as far as a list or a status depends on it."""

    session: Progress | None
    """None while nothing has been recorded."""
    next: Progress
    """The session as the next call finds it: begun, under its rules, in its default workflow."""
    legal: tuple[LegalCall, ...]
    """Patterns of tools replaced by the tools that the servers known by now offer."""
    always: tuple[str, ...]
    """Tools that are legal in every state, by full name."""
    workflow: CompiledWorkflow | None
    """The workflow of the run; without a run, the one that says which tools are always legal."""

    @property
    def rules(self) -> CompiledRules | None:
        """The rules file that governs the session."""
        return self.next.rules

    @property
    def status(self) -> str:
        return "idle" if self.session is None else run_status(self.session)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a client is listed, meta-tools not included.

    `signature` is what has to differ for a client to be told to list again: names, and digests of
    the definitions (None while the tool's server has not answered).
    """

    definitions: Mapping[str, Mapping[str, Any]]
    """By full name; the JSON as the server gave it, under the name it is exposed by."""
    signature: tuple[tuple[str, str | None], ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    """Servers that could not be asked, and why."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """Everything that a status tells."""

    scene: Scene
    view: SessionView | None
    """None while nothing has been recorded."""
    schemas: Mapping[str, Mapping[str, Any]]
    """Input schemas by full name, of the tools whose servers have answered."""
    missing: Mapping[str, str]
    """Servers that could not be asked, and why."""


def next_change(following: Progress) -> datetime | None:
    """When time alone may make another call legal."""
    now, run = following.source.now, following.run
    due = [] if run is None else [one for one in run.not_before.values() if one > now]
    if any(_depends_on_time(book) for book in following.books):
        due.append(now + _LOOK_AGAIN)
    return min(due, default=None)


def _depends_on_time(book: Rulebook) -> bool:
    return any(
        policy.kind in ("hours", "within") or (policy.limit is not None and policy.limit.period)
        for policy in book.all_policies
    )
