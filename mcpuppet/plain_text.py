"""Text from outside, with every character spelled out that a reader would not see, or that acts.

Tool names, arguments and messages come from models and servers. On a terminal or a page they could
move the cursor, or reverse and hide what a person reads before deciding; here each such character
is written as its number instead (`\\x1b`, `\\u202e`). Knows nothing of where the text is shown.
"""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
"""Unicode categories that are not drawn, or are acted on: controls, format characters (bidi and
zero-width among them), unassigned and private ones, lone surrogates, line separators."""
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols that are drawn as nothing."""
_PLAIN = re.compile(r"[ -~]*")


def spelled(text: str, *, keep: str = "") -> str:
    """The text with every hidden character spelled out, but for those in `keep`."""
    if _PLAIN.fullmatch(text):
        return text
    return "".join(spelling(one) if one not in keep and _is_hidden(one) else one for one in text)


def spelling(character: str) -> str:
    """The character by its number: `\\x1b`, `\\u202e`, `\\U000e0041`."""
    code = ord(character)
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}"


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN or character in _BLANK
