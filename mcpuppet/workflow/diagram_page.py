"""What stands around a workflow picture: its title above, and below it how to read it.

The legend explains what occurs and nothing else. In a picture of a run it depends on the workflow
alone, not on how far the run is, so that it takes the same room all the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mcpuppet.workflow.definition import Definition, WorkflowDefinition
from mcpuppet.workflow.diagram_chart import Chart
from mcpuppet.workflow.diagram_live import LiveState
from mcpuppet.workflow.diagram_palette import Paint, Palette
from mcpuppet.workflow.diagram_policies import (
    CLOCKS,
    MARK,
    condition_of,
    policy_words,
    unseen_policies,
)
from mcpuppet.workflow.diagram_style import Line, clock_chip, font, packed, row, table, wrapped
from mcpuppet.workflow.diagram_words import counted, duration_words, joined, step_facts

_PAGE_CHARACTERS = 96
_LEGEND_CHARACTERS = 124
_SAMPLES_A_ROW = 4
_SAMPLE_WIDTH = 134
_SMALL = 8
"""Points of the text around a picture."""
_STATES = (
    ("legal", "Legal now"),
    ("running", "Running"),
    ("awaiting", "Awaiting a person"),
    ("done", "Done"),
    ("failed", "Failed or rejected"),
    ("refused", "Refused calls"),
    ("skipped", "Skipped"),
    ("pending", "Pending"),
)
_KINDS = (
    ("tool", "Rounded box: tool call"),
    ("approval", "Hexagon: a person decides"),
    ("guard", "Diamond: guard"),
    ("group", "Dashed frame: parallel"),
    ("undo", "Double box: undo"),
    ("completed", "Ellipse: completed"),
    ("failed", "Octagon: failed, rejected"),
)
_LINES = (
    ("success", "solid line: success, approved"),
    ("failure", "dashed: failure, rejected"),
    ("otherwise", "dashed grey: skipped"),
    ("timeout", "dotted: nobody decided in time"),
    ("bypass", "dotted: bypassed in an emergency"),
    ("redo", "dashed, backwards: done again"),
    ("undo", "dashed to a double box: undo"),
)


def page_title(definition: Definition, palette: Palette, live: LiveState | None) -> str:
    """The title, what holds for the whole workflow, and whose state is shown."""
    name = font(_shown_title(definition), 14, palette.ink, bold=True)
    facts = font(" · ".join(_identity(definition)), 10, palette.muted)
    rows = [row(f"{name}&#160;&#160;{facts}")]
    if definition.mode == "observe":
        rows.append(row(_banner("OBSERVE MODE: calls are recorded, nothing is refused", palette)))
    for line in packed(_whole(definition), _PAGE_CHARACTERS, most=3):
        rows.append(row(font(line, 9, palette.muted)))
    for line in () if live is None else live.caption:
        rows.append(row(font(wrapped(line, _PAGE_CHARACTERS, 1)[0], 9, palette.ink, bold=True)))
    return table(rows)


def _shown_title(definition: Definition) -> str:
    return wrapped(definition.title or definition.name, 60, 1)[0]


def _identity(definition: Definition) -> Iterator[str]:
    """The name, where the title is another text, the version and the size."""
    if definition.title:
        yield definition.name
    yield f"v{definition.version}"
    if definition.steps:
        yield counted(len(definition.steps), "step")
    if definition.roles:
        yield counted(len(definition.roles), "role")


def _whole(definition: Definition) -> Iterator[str]:
    """What holds for a whole run."""
    if isinstance(definition, WorkflowDefinition):
        yield f"a run ends within {duration_words(definition.timeout)}"
        if definition.tools.always:
            yield f"always legal: {joined(definition.tools.always, 'and')}"
        if definition.facts:
            yield f"remembers: {joined(definition.facts, 'and')}"
    if definition.given is not None:
        yield "inputs are given before the first result"


def _banner(text: str, palette: Palette) -> str:
    paint = palette.states["awaiting"]
    return (
        f'<TABLE STYLE="ROUNDED" BORDER="2" CELLBORDER="0" CELLPADDING="3" CELLSPACING="0" '
        f'COLOR="{paint.line}" BGCOLOR="{paint.fill}">'
        f"<TR><TD>{font(text, 9, paint.ink, bold=True)}</TD></TR></TABLE>"
    )


def page_legend(
    definition: WorkflowDefinition, chart: Chart, palette: Palette, *, live: bool
) -> str:
    """How to read the picture: colours with their words, lines, and what goes without a line."""
    kinds = _kinds_in(definition, chart)
    samples = [_sample(palette.kinds[one], word) for one, word in _KINDS if one in kinds]
    if _has_clocks(definition):
        chip = Line("limit of time", _SMALL, clock=True)
        samples.append(f"<TD>{clock_chip(chip, palette.muted, palette.muted)}</TD>")
    rows = [row(_sample_table(samples))]
    if live:
        rows.append(row(_sample_table(_sample(palette.states[one], word) for one, word in _STATES)))
    drawn = {edge.kind for edge in chart.edges}
    lines = [word for kind, word in _LINES if kind in drawn]
    for line in packed((*lines, *_footnotes(definition, chart)), _LEGEND_CHARACTERS, 3):
        rows.append(row(font(line, _SMALL, palette.muted)))
    return table(rows)


def _sample_table(samples: Iterable[str]) -> str:
    cells = list(samples)
    rows = (cells[start : start + _SAMPLES_A_ROW] for start in range(0, len(cells), _SAMPLES_A_ROW))
    inside = "".join(f"<TR>{''.join(one)}</TR>" for one in rows)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="3" CELLPADDING="0">{inside}</TABLE>'


def _sample(paint: Paint, word: str) -> str:
    style = "" if paint.style == "solid" else f' STYLE="{paint.style.upper()}"'
    return (
        f'<TD FIXEDSIZE="TRUE" WIDTH="{_SAMPLE_WIDTH}" HEIGHT="17" BORDER="1" COLOR="{paint.line}"'
        f'{style} BGCOLOR="{paint.fill}">{font(word, _SMALL, paint.ink)}</TD>'
    )


def _kinds_in(definition: WorkflowDefinition, chart: Chart) -> frozenset[str]:
    steps = definition.steps.values()
    kinds: Mapping[str, object] = {
        "tool": any(step.tool for step in steps),
        "approval": any(step.approval for step in steps),
        "guard": chart.diamonds,
        "group": chart.groups,
        "undo": any(step.compensate for step in steps),
        "completed": True,
        "failed": True,
    }
    return frozenset(kind for kind, occurs in kinds.items() if occurs)


def _has_clocks(definition: WorkflowDefinition) -> bool:
    return any(step_facts(step).clocks for step in definition.steps.values()) or any(
        condition_of(policy) in CLOCKS for policy in definition.policies
    )


def _footnotes(definition: WorkflowDefinition, chart: Chart) -> Iterator[str]:
    if definition.policies:
        yield f"{MARK} a policy, enforced on every call of the step"
    if any(step.needs and len(step.needs.outcomes) > 1 for step in definition.steps.values()):
        yield "several lines into a step: all must hold, unless it says “any of”"
    if max(chart.rows.values()):
        yield "a line that ends in a number goes on from the same number"
    undone = any(step.compensate for step in definition.steps.values())
    undo = "undo calls are offered in reverse order, then " if undone else ""
    yield f"a failure that no line leaves with ends the run: {undo}the run has failed"
    for policy in unseen_policies(definition):
        words = policy_words(definition, policy)
        yield f"{MARK} {policy.id}, on {joined(policy.call, 'and')}: {words}"
