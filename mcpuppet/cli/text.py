"""Text from outside, made fit for a terminal.

Tool names, arguments and messages come from models and servers. In a terminal they could move the
cursor, recolour or reverse what a person reads before deciding; here each such character is spelled
out instead (`\\x1b`, `\\u202e`). Knows nothing of what the text means.
"""

from __future__ import annotations

import re
import unicodedata

from rich.markup import escape
from rich.text import Text

_HIDDEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
"""Unicode categories that a terminal does not draw, or acts on: controls, format characters (bidi
and zero-width among them), unassigned and private ones, lone surrogates, line separators."""
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols that are drawn as nothing."""
_PLAIN = re.compile(r"[ -~]*")


def visible(text: str) -> str:
    """The text as Rich markup that shows just this text, with every hidden character spelled out.

    Print it with `emoji=False`: Rich's markup has no escape for `:name:`. See `plain` for a value
    that has no such trap.
    """
    spelled = _spelled(text)
    if spelled.endswith("\\"):  # Rich would read it together with whatever tag comes next
        spelled = f"{spelled[:-1]}\\x5c"
    return escape(spelled)


def plain(text: str, style: str = "") -> Text:
    """The text as a Rich value that nothing interprets, with every hidden character spelled out."""
    return Text(_spelled(text), style)


def _spelled(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return "".join(_spelling(one) if _is_hidden(one) else one for one in text)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN or character in _BLANK


def _spelling(character: str) -> str:
    code = ord(character)
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}"
