"""How wide a text is in Helvetica, and so in the fonts that stand in for it everywhere.

The widths are those of Adobe's font metrics of the 35 standard PostScript fonts, in thousandths of
the size, for the printable ASCII characters from the space on.
"""

from __future__ import annotations

_REGULAR = (
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 "
    "556 556 556 556 278 278 584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 "
    "556 833 722 778 667 778 722 667 611 722 667 944 667 667 611 278 278 278 469 556 333 556 "
    "556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 278 556 500 722 "
    "500 500 500 334 260 334 584 "
)
_BOLD = (
    "278 333 474 556 556 889 722 238 333 333 389 584 278 333 278 278 556 556 556 556 556 556 "
    "556 556 556 556 333 333 584 584 584 611 975 722 722 722 722 667 611 778 722 278 556 722 "
    "611 833 722 778 667 778 722 667 611 722 667 944 667 667 611 333 278 333 584 556 333 556 "
    "611 556 611 556 333 611 611 278 278 556 278 889 611 611 611 611 389 556 333 611 556 778 "
    "556 556 500 389 280 389 584 "
)
_OTHERS = {
    "·": 278,
    "§": 556,
    "≤": 549,
    "≥": 549,
    "≠": 549,
    "\N{MULTIPLICATION SIGN}": 584,
    "…": 1000,
    "“": 333,
    "”": 333,
    "\u00a0": 278,
}


def _table(widths: str) -> dict[str, int]:
    return {chr(32 + n): int(width) for n, width in enumerate(widths.split())} | _OTHERS


_WIDTHS = {False: _table(_REGULAR), True: _table(_BOLD)}
_UNKNOWN = 600


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """The width of a text in the unit of `size`; of characters not known here a usual one."""
    widths = _WIDTHS[bold]
    return sum(widths.get(letter, _UNKNOWN) for letter in text) * size / 1000


def is_known(text: str) -> bool:
    """Whether the width of every character is known."""
    return all(letter in _WIDTHS[False] for letter in text)
