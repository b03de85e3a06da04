"""The colours of workflow pictures: two themes, with the same roles in both.

Owns every colour. Hues follow Okabe and Ito's set, so that they stay apart for colour-blind
readers; each state also has a word and a line style. One light colour always stands for the same
dark one, so that a drawn picture can be turned from light to dark by its colours alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Theme = Literal["light", "dark", "auto"]
"""`auto` follows the reader's setting where the format can, and is light where it cannot."""


@dataclass(frozen=True, slots=True)
class Paint:
    """Outline, fill and text colour of a node, its line style and line width in points."""

    line: str
    fill: str
    ink: str
    style: Literal["solid", "dashed", "dotted"] = "solid"
    width: float = 1.5


@dataclass(frozen=True, slots=True)
class Palette:
    """All colours of one theme."""

    page: str
    ink: str
    muted: str
    edges: Mapping[str, str]
    edge_inks: Mapping[str, str]
    """The colour of the words on a line, where it is not that of other text."""
    states: Mapping[str, Paint]
    kinds: Mapping[str, Paint]


_LIGHT = Palette(
    page="#ffffff",
    ink="#1b1f24",
    muted="#57606a",
    edges={
        "success": "#57606a",
        "failure": "#b84300",
        "timeout": "#b87a00",
        "otherwise": "#7b848d",
        "redo": "#b84300",
        "undo": "#a4477c",
        "bypass": "#0072b2",
        "taken": "#00795a",
    },
    edge_inks={
        "failure": "#b84300",
        "timeout": "#7a5200",
        "redo": "#b84300",
        "undo": "#8a3a67",
        "bypass": "#00598c",
    },
    states={
        "legal": Paint("#0072b2", "#ddf0fb", "#06344f", width=2.2),
        "running": Paint("#06344f", "#0072b2", "#fcfeff", width=2.2),
        "awaiting": Paint("#b87a00", "#ffefc2", "#4a3300", width=2.2),
        "done": Paint("#00795a", "#d9f2e9", "#053b2d"),
        "failed": Paint("#5a2300", "#b84300", "#fffcfa", width=2.2),
        "refused": Paint("#a4477c", "#f6e1ec", "#4e1a38", style="dotted", width=2.2),
        "skipped": Paint("#8c959f", "#f0f1f3", "#57606a", style="dashed", width=1.2),
        "pending": Paint("#8c959f", "#ffffff", "#57606a", width=1.2),
    },
    kinds={
        "tool": Paint("#0072b2", "#f2f9fe", "#1b1f24"),
        "approval": Paint("#b87a00", "#fff6dd", "#3a2900"),
        "guard": Paint("#57606a", "#f6f8fa", "#1b1f24"),
        "undo": Paint("#a4477c", "#fdf4f9", "#4e1a38"),
        "completed": Paint("#00795a", "#eaf8f3", "#053b2d"),
        "failed": Paint("#b84300", "#fdf1ea", "#5a2300"),
        "group": Paint("#8c959f", "#f9fafb", "#57606a", style="dashed", width=1.2),
    },
)

_DARK = Palette(
    page="#0d1117",
    ink="#e6edf3",
    muted="#9198a1",
    edges={
        "success": "#9198a1",
        "failure": "#ff8a4c",
        "timeout": "#f0b429",
        "otherwise": "#848d97",
        "redo": "#ff8a4c",
        "undo": "#e58fc0",
        "bypass": "#56b4e9",
        "taken": "#2bc79a",
    },
    edge_inks={
        "failure": "#ff8a4c",
        "timeout": "#f5c75a",
        "redo": "#ff8a4c",
        "undo": "#efaed2",
        "bypass": "#8fcdf2",
    },
    states={
        "legal": Paint("#56b4e9", "#0b2e45", "#d6eefb", width=2.2),
        "running": Paint("#d6eefb", "#56b4e9", "#06202f", width=2.2),
        "awaiting": Paint("#f0b429", "#3d2e00", "#ffefc2", width=2.2),
        "done": Paint("#2bc79a", "#06362a", "#c9f5e6"),
        "failed": Paint("#ffe0cf", "#ff8a4c", "#2b0f00", width=2.2),
        "refused": Paint("#e58fc0", "#3d1b2e", "#fbdcee", style="dotted", width=2.2),
        "skipped": Paint("#6e7681", "#161b22", "#9198a1", style="dashed", width=1.2),
        "pending": Paint("#6e7681", "#0d1117", "#9198a1", width=1.2),
    },
    kinds={
        "tool": Paint("#56b4e9", "#0d1f2d", "#e6edf3"),
        "approval": Paint("#f0b429", "#2b2208", "#ffefc2"),
        "guard": Paint("#9198a1", "#161b22", "#e6edf3"),
        "undo": Paint("#e58fc0", "#27141f", "#fbdcee"),
        "completed": Paint("#2bc79a", "#072119", "#c9f5e6"),
        "failed": Paint("#ff8a4c", "#2a160c", "#ffe0cf"),
        "group": Paint("#6e7681", "#12171e", "#9198a1", style="dashed", width=1.2),
    },
)

PALETTES: Mapping[Theme, Palette] = {"light": _LIGHT, "dark": _DARK, "auto": _LIGHT}

STATE_PAINTS: Mapping[str, str] = {
    "legal": "legal",
    "running": "running",
    "awaiting approval": "awaiting",
    "held": "awaiting",
    "unknown": "awaiting",
    "done": "done",
    "undone": "done",
    "timed out": "failed",
    "success": "done",
    "succeeded": "done",
    "approved": "done",
    "bypassed": "done",
    "completed": "done",
    "failed": "failed",
    "failure": "failed",
    "rejected": "failed",
    "expired": "failed",
    "cancelled": "failed",
    "refused": "refused",
    "skipped": "skipped",
    "pending": "pending",
}
"""Which paint a state word gets; other words are painted as pending, and still written out."""


def paint_name(status: str) -> str:
    """The name of the paint for a state word; `awaiting_approval` is the same as with a space."""
    return STATE_PAINTS.get(plain(status), "pending")


def plain(status: str) -> str:
    """A state word in the one spelling used here: lower case, spaces for underscores."""
    return status.lower().replace("_", " ")


def slug(status: str) -> str:
    """A state word as part of a CSS class name."""
    return re.sub(r"[^a-z0-9]+", "-", status.lower()).strip("-") or "none"


def adapted_colours() -> dict[str, str]:
    """For each colour of the light theme the one that takes its place in the dark theme."""
    return dict(zip(_colours(_LIGHT), _colours(_DARK), strict=True))


def _colours(palette: Palette) -> list[str]:
    paints = (*palette.states.values(), *palette.kinds.values())
    return [
        palette.page,
        palette.ink,
        palette.muted,
        *palette.edges.values(),
        *palette.edge_inks.values(),
        *(colour for paint in paints for colour in (paint.line, paint.fill, paint.ink)),
    ]
