"""What stands around a workflow picture: its title above, and below it how to read it."""

from __future__ import annotations

from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.diagram_style import Paint, Palette, font, row, table
from mcpuppet.workflow.diagram_words import counted

_LEGEND_WIDTH = 84
_LEGEND_STATES = (
    ("legal", "Legal now"),
    ("running", "Running"),
    ("awaiting", "Awaiting approval"),
    ("done", "Done"),
    ("failed", "Failed"),
    ("refused", "Refused call"),
    ("skipped", "Skipped"),
)
_LEGEND_KINDS = (
    ("tool", "Tool step"),
    ("approval", "Human approval"),
    ("guard", "Guard"),
    ("undo", "Undo"),
    ("group", "Parallel group"),
    ("completed", "End: completed"),
    ("failed", "End: failed"),
)
_GRAMMAR = (
    "rounded box = tool · hexagon = human approval · diamond = guard · double box = undo · "
    "dashed box = parallel group · double ellipse / octagon = end",
    "solid = success · dashed = failure, skip or undo · dotted = timeout · several arrows into a "
    "step: all must hold, unless it says “any of”",
    "a failure that no arrow leaves with ends the run: undo steps are offered in reverse order, "
    "then the run has failed",
)


def page_title(definition: WorkflowDefinition, palette: Palette) -> str:
    """The workflow's name, version and size."""
    facts = [f"v{definition.version}", counted(len(definition.steps), "step")]
    facts += [counted(len(definition.roles), "role")] if definition.roles else []
    facts += ["observe mode: nothing is refused"] if definition.mode == "observe" else []
    name = font(definition.workflow, 14, palette.ink, bold=True)
    rest = font(" · ".join(facts), 10.5, palette.muted)
    return table([row(f"{name}&#160;&#160;{rest}")])


def page_legend(palette: Palette, *, live: bool) -> str:
    """The colours of states (or, without a run, of kinds) and the grammar; always the same size."""
    samples = [(palette.kinds[name], word) for name, word in _LEGEND_KINDS]
    if live:
        samples = [(palette.states[name], word) for name, word in _LEGEND_STATES]
    cells = "".join(_sample(paint, word) for paint, word in samples)
    chips = (
        '<TABLE BORDER="0" CELLBORDER="1.5" CELLSPACING="4" CELLPADDING="0">'
        f"<TR>{cells}</TR></TABLE>"
    )
    return table([row(chips), *(row(font(line, 8.5, palette.muted)) for line in _GRAMMAR)])


def _sample(paint: Paint, word: str) -> str:
    return (
        f'<TD FIXEDSIZE="TRUE" WIDTH="{_LEGEND_WIDTH}" HEIGHT="18" COLOR="{paint.line}" '
        f'BGCOLOR="{paint.fill}">{font(word, 8.5, paint.ink)}</TD>'
    )
