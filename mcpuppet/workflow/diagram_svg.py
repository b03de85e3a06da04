"""From what Graphviz writes to the SVG that is kept: shorter, with tooltips, and light or dark.

Owns the reading of Graphviz's lines; text in them is escaped, so that no text can look like a tag.
What does not look as expected, as another Graphviz may write it, is left as it is.
"""

from __future__ import annotations

import html
import re

from mcpuppet.workflow.diagram_metrics import is_known, text_width
from mcpuppet.workflow.diagram_palette import (
    PALETTES,
    STATE_PAINTS,
    Paint,
    Palette,
    adapted_colours,
    slug,
)
from mcpuppet.workflow.diagram_style import FONT, WORD_SIZE

_PROLOGUE = re.compile(r"\A.*?(?=<svg )", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_TITLE = re.compile(r'<title>[^<]*</title>\n(?:<g id="a_[^"]*"><a xlink:title="([^"]*)">\n)?')
_ANCHOR = re.compile(r'<g id="a_[^"]*"><a xlink:title="[^"]*">\n|</a>\n</g>\n')
_TEXT = re.compile(r' xml:space="preserve"| font-family="[^"]*"')
_NODE = re.compile(r'<g id="[^"]*" class="node [^"]*">.*?</g>', re.DOTALL)
_BADGE = re.compile(
    r'<text text-anchor="start" x="[^"]*"'
    rf'(?= y="[^"]*" font-weight="bold" font-size="{WORD_SIZE:.2f}")'
)
_START_TEXT = re.compile(
    r'(?P<head><text text-anchor="start" x="[^"]*" y="[^"]*"(?P<bold> font-weight="bold")?'
    r' font-size="(?P<size>[^"]*)"[^>]*)>(?P<words>[^<]*)</text>'
)
_OUTLINE = re.compile(r' (?:d|points)="([^"]*)"')
_POINT = re.compile(r"(-?[0-9.]+),-?[0-9.]+")
_ELLIPSE = re.compile(r' cx="([^"]*)"')
_COLOUR = re.compile(r' (fill|stroke)="(#[0-9a-f]{6})"')


def tidy(svg: str) -> str:
    """The SVG without what repeats itself, with tooltips as titles, and state words centred.

    The state word of a node has the class `badge`, and may be replaced in place.
    """
    svg = _COMMENT.sub("", _PROLOGUE.sub("", svg))
    svg = _TITLE.sub(lambda found: f"<title>{found[1]}</title>\n" if found[1] else "", svg)
    svg = _TEXT.sub("", _ANCHOR.sub("", svg))
    svg = svg.replace("&#45;", "-").replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    svg = svg.replace("<svg ", f'<svg font-family="{FONT},Arial,sans-serif" ', 1)
    return _START_TEXT.sub(_with_length, _NODE.sub(_with_centred_badge, svg))


def _with_length(text: re.Match[str]) -> str:
    """The text as wide as the layout took it for, whatever font its reader has."""
    words = html.unescape(text["words"])
    if not is_known(words):
        return text[0]
    width = text_width(words, float(text["size"]), bold=text["bold"] is not None)
    return (
        f'{text["head"]} textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs"'
        f">{text['words']}</text>"
    )


def _with_centred_badge(node: re.Match[str]) -> str:
    """Another state word, or another font, is then still in the middle."""
    middle = _middle(node[0])
    if middle is None:
        return node[0]
    return _BADGE.sub(f'<text class="badge" text-anchor="middle" x="{middle:.2f}"', node[0], 1)


def _middle(node: str) -> float | None:
    ellipse = _ELLIPSE.search(node)
    if ellipse is not None:
        return float(ellipse[1])
    outline = _OUTLINE.search(node)
    places = [float(x) for x in _POINT.findall(outline[1])] if outline else []
    return (min(places) + max(places)) / 2 if places else None


def colours_in(svg: str) -> list[tuple[str, str, str]]:
    """(attribute, light colour, dark colour) of every colour that a light picture has, sorted."""
    adapted = adapted_colours()
    found = sorted(set(_COLOUR.findall(svg)))
    return [(name, light, adapted[light]) for name, light in found if light in adapted]


def adaptive(svg: str, *, live: bool = False) -> str:
    """A light picture that turns dark where its reader prefers that.

    A rule of a style sheet outweighs the attribute that a colour is written in; a program that
    knows no such rules shows the picture as it is, light. With `live` the colours of states go by
    class, so that a page around the picture recolours a node by giving it another class.
    """
    rules = "".join(
        f'[{name}="{light}"]{{{name}:{dark}}}\n' for name, light, dark in colours_in(svg)
    )
    dark_states = _state_rules(PALETTES["dark"]) if live else ""
    style = _state_rules(PALETTES["light"]) if live else ""
    style += f"@media (prefers-color-scheme:dark){{\n{rules}{dark_states}}}"
    start = svg.index("<g ")
    return f"{svg[:start]}<style>{style}</style>\n{svg[start:]}"


def _state_rules(palette: Palette) -> str:
    return "".join(_state_rule(name, paint) for name, paint in palette.states.items())


def _state_rule(name: str, paint: Paint) -> str:
    """The rules for every state word that has this paint."""
    words = (slug(word) for word, painted in STATE_PAINTS.items() if painted == name)
    states = f":is({','.join(f'.state-{word}' for word in words)})"
    return (
        f"{states} :not(text){{stroke:{paint.line}}}\n"
        f'{states} :not(text,[fill="none"]){{fill:{paint.fill}}}\n'
        f"{states} text{{fill:{paint.ink}}}\n"
    )
