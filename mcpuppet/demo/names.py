"""The names of the scenes: all that the command line has to know of them before it plays any."""

from __future__ import annotations

from enum import StrEnum


class SceneName(StrEnum):
    """A scene of the demo, in the order in which they are played."""

    WORKFLOW = "workflow"
    VIOLATION = "violation"
    APPROVAL = "approval"
    MONITORING = "monitoring"
    AUDIT = "audit"
