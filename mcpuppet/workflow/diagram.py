"""Pictures of workflows and of rules files: `picture` for any format, `to_dot` and `draw` by hand.

This is the way in. `diagram_graph` says which shapes and lines there are (`diagram_chart`),
`diagram_words` and `diagram_policies` what is written on them, `diagram_palette` and
`diagram_style` how they look; `diagram_drawing`, `diagram_lines` and `diagram_card` make DOT of it,
`diagram_engine` draws, `diagram_svg`, `diagram_mermaid` and `diagram_html` finish. The same
definition gives the same bytes on every machine.
"""

from __future__ import annotations

from typing import Literal

from mcpuppet.workflow.definition import Definition, RulesDefinition
from mcpuppet.workflow.diagram_card import rules_dot
from mcpuppet.workflow.diagram_drawing import workflow_dot
from mcpuppet.workflow.diagram_engine import RenderError, draw
from mcpuppet.workflow.diagram_html import html_page
from mcpuppet.workflow.diagram_live import LiveState
from mcpuppet.workflow.diagram_mermaid import to_mermaid
from mcpuppet.workflow.diagram_palette import PALETTES, Theme
from mcpuppet.workflow.diagram_svg import adaptive, tidy

__all__ = [
    "LiveState",
    "PictureFormat",
    "RenderError",
    "Theme",
    "draw",
    "picture",
    "to_dot",
    "to_mermaid",
]

PictureFormat = Literal["svg", "png", "dot", "mermaid", "html"]


def picture(
    definition: Definition,
    format: PictureFormat,
    *,
    theme: Theme = "light",
    live: LiveState | None = None,
) -> bytes:
    """A definition that the checks found no error in as a file of one format.

    `live` is the state of a run, for a workflow. The theme `auto` follows the reader in SVG and
    HTML; the other formats are then light. Raises RenderError when nothing can draw.
    """
    if format == "mermaid":
        return to_mermaid(definition, theme=theme, live=live).encode()
    if format == "html":
        # The page turns a light picture dark by itself.
        svg = tidy(draw(to_dot(definition, theme="auto", live=live), "svg").decode())
        return html_page(definition, svg, theme, live).encode()
    dot = to_dot(definition, theme=theme, live=live)
    if format == "dot":
        return dot.encode()
    if format == "png":
        return draw(dot, "png")
    svg = tidy(draw(dot, "svg").decode())
    return (adaptive(svg, live=live is not None) if theme == "auto" else svg).encode()


def to_dot(definition: Definition, *, theme: Theme = "light", live: LiveState | None = None) -> str:
    """The DOT text of a definition that the checks found no error in, in the state `live` if given.

    The text is the same for the same arguments, on every machine.
    """
    if isinstance(definition, RulesDefinition):
        return rules_dot(definition, PALETTES[theme])
    return workflow_dot(definition, PALETTES[theme], live)
