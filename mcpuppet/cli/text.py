"""Text from outside, made fit for a terminal: as Rich markup, or as a Rich value.

Every character that a terminal does not draw, or acts on, is spelled out (`mcpuppet.plain_text`).
Knows nothing of what the text means.
"""

from __future__ import annotations

from rich.markup import escape
from rich.text import Text

from mcpuppet.plain_text import spelled


def visible(text: str) -> str:
    """The text as Rich markup that shows just this text, with every hidden character spelled out.

    Print it with `emoji=False`: Rich's markup has no escape for `:name:`. See `plain` for a value
    that has no such trap.
    """
    shown = spelled(text)
    if shown.endswith("\\"):  # Rich would read it together with whatever tag comes next
        shown = f"{shown[:-1]}\\x5c"
    return escape(shown)


def plain(text: str, style: str = "") -> Text:
    """The text as a Rich value that nothing interprets, with every hidden character spelled out."""
    return Text(spelled(text), style)
