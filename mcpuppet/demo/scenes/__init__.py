"""The scenes of the demo, in the order in which they are played. Each can be played alone."""

from __future__ import annotations

from mcpuppet.demo.names import SceneName
from mcpuppet.demo.scenes import approval, audit, monitoring, violation, workflow
from mcpuppet.demo.stage import Scene

__all__ = ["SCENES"]

SCENES: tuple[Scene, ...] = (
    Scene(SceneName.WORKFLOW, "The AI is shown only what is legal now", workflow.play),
    Scene(SceneName.VIOLATION, "The AI tries to pay before it may", violation.play),
    Scene(SceneName.APPROVAL, "Two people decide, and just that is done, once", approval.play),
    Scene(SceneName.MONITORING, "People watch while the AI works", monitoring.play),
    Scene(SceneName.AUDIT, "Somebody rewrites the past, and is found out", audit.play),
)
