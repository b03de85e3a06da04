"""Regular expressions that cannot be made to hang: everything here runs under RE2, in linear time.

Owns the one place where a pattern becomes a program. It does not know who wrote the pattern: guards
(`matches`) and JSON Schemas (`pattern`, `patternProperties`), ours or a foreign tool's, come here.
"""

from __future__ import annotations

from functools import lru_cache

import re2

# Memory that one compiled pattern may use. RE2 stays linear when its cache of states is full.
_MAX_MEMORY_BYTES = 1 << 20


class PatternError(ValueError):
    """RE2 refuses the pattern; the text says why and fits after the pattern itself."""


class Pattern:
    """A compiled pattern; `found_in` looks for it anywhere in a text."""

    __slots__ = ("_regexp", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        try:
            # Bytes on both sides: for str the library also translates every offset back.
            self._regexp = re2.compile(source.encode(), _options())
        except UnicodeEncodeError:
            raise PatternError("it is not valid Unicode text") from None
        except re2.error as error:
            raise PatternError(_reason(error)) from None

    def found_in(self, text: str) -> bool:
        """Whether the pattern matches somewhere in `text`.

        Raises UnicodeEncodeError for a text with half a surrogate pair (JSON can spell one):
        neither "matches" nor "does not match" would be safe to assume.
        """
        found: bool = self._regexp.search(text.encode()) is not None
        return found


@lru_cache(maxsize=1024)
def compile_pattern(source: str) -> Pattern:
    """Compile an RE2 pattern once. Raises PatternError for what RE2 does not support."""
    return Pattern(source)


def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem = _MAX_MEMORY_BYTES
    options.log_errors = False  # the library would write to standard error
    options.never_capture = True
    return options


def _reason(error: Exception) -> str:
    detail = error.args[0] if error.args else "it cannot be compiled"
    text = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
    if text.startswith(("invalid perl operator", "invalid escape sequence")):
        return f"{text} (look-around and back-references are not supported)"
    return text
