"""Comments such as `# mcpuppet: ignore[WF511] used from next month`, and what they drop.

Owns where such a comment counts: a real YAML comment, on the line of the finding or on a line of
its own directly above. A comment without a reason drops nothing, and neither does one for a code
that cannot be ignored: the compiler relies on those. Knows no check.
"""

from __future__ import annotations

import difflib
import itertools
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import yaml

from mcpuppet.workflow.findings import (
    BAD_IGNORE,
    IGNORE_WITHOUT_REASON,
    UNUSED_IGNORE,
    Code,
    Finding,
    Place,
)
from mcpuppet.workflow.yaml_reader import MAX_BYTES

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HASH = re.compile(r"(?:(?<=[ \t])|^)#")
_REQUEST = re.compile(r"#[ \t]*mcpuppet:[ \t]*ignore\b[ \t]*(?:\[([^\]]*)\])?(.*)")
MAX_IGNORES = 1_000
"""How many comments of a file count; a file with more has something else wrong with it."""
_FORM = "# mcpuppet: ignore[CODE] reason"

Spot = tuple[int, int]
"""A line and a column, both from 0."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """One comment that asks to ignore findings on `line`."""

    place: Place
    line: int
    numbers: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Sifted:
    """The findings that stand, and those that a comment drops."""

    kept: tuple[Finding, ...]
    ignored: tuple[Finding, ...]


class Ignores:
    """The ignore comments of a file and of the files it takes something over from."""

    def __init__(self, texts: Mapping[str, str], codes: Iterable[Code]) -> None:
        self._codes = {one.number: one for one in codes}
        self._of_file = {file: ignores_in(text, file) for file, text in texts.items()}
        self._dropped = {
            (one.place.file, one.line, number)
            for ignores in self._of_file.values()
            for one in ignores
            for number in one.numbers
            if one.reason and self._is_ignorable(number)
        }

    def sift(self, findings: Iterable[Finding]) -> Sifted:
        """Drop what the comments of each finding's own file drop."""
        kept: list[Finding] = []
        ignored: list[Finding] = []
        for one in findings:
            key = (one.place.file, one.place.line, one.code.number)
            (ignored if key in self._dropped else kept).append(one)
        return Sifted(tuple(kept), tuple(ignored))

    def remarks(self, file: str, ignored: Iterable[Finding] | None) -> Iterator[Finding]:
        """What is wrong with the comments of one file.

        `ignored` are the findings that were dropped; None when not every check could run, as then
        nothing is known of comments that drop nothing.
        """
        used = None
        if ignored is not None:
            used = {(one.place.line, one.code.number) for one in ignored if one.place.file == file}
        ignores = self._of_file.get(file, ())
        for one in ignores:
            yield from self._remarks_on(one, used)
        if len(ignores) == MAX_IGNORES:
            message = f"no comment after these {MAX_IGNORES:,} is taken for one that ignores"
            yield Finding(BAD_IGNORE, ignores[-1].place, message, "put the findings right instead")

    def _remarks_on(
        self, ignore: Ignore, used: Collection[tuple[int, str]] | None
    ) -> Iterator[Finding]:
        place, numbers = ignore.place, tuple(dict.fromkeys(ignore.numbers))
        if not numbers:
            yield Finding(BAD_IGNORE, place, "no code to ignore is named", f"write `{_FORM}`")
            return
        yield from (self._bad(ignore, one) for one in numbers if not self._is_ignorable(one))
        if not ignore.reason:
            message = f"without a reason {' and '.join(numbers)} cannot be ignored"
            yield Finding(IGNORE_WITHOUT_REASON, place, message, f"write `{_FORM}`")
            return
        for one in numbers:
            if used is not None and (ignore.line, one) not in used and self._is_judged(one):
                message = f"line {ignore.line} has no {one} to ignore"
                yield Finding(UNUSED_IGNORE, place, message, "remove it from the comment")

    def _is_ignorable(self, number: str) -> bool:
        code = self._codes.get(number)
        return code is not None and code.can_be_ignored

    def _is_judged(self, number: str) -> bool:
        """Whether a comment for it can be called unused by looking at this file alone."""
        return self._is_ignorable(number) and not self._codes[number].beyond_file

    def _bad(self, ignore: Ignore, number: str) -> Finding:
        if number in self._codes:
            message = f"{number} cannot be ignored: {self._codes[number].slug}"
            return Finding(BAD_IGNORE, ignore.place, message, self._codes[number].help)
        close = difflib.get_close_matches(number[:20].upper(), self._codes, n=1)
        help = f"did you mean {close[0]}?" if close else "`mcpuppet explain` lists the codes"
        shown = number if len(number) <= 20 else f"{number[:17]}..."
        return Finding(BAD_IGNORE, ignore.place, f"there is no code {shown!r}", help)


def ignores_in(text: str, file: str) -> tuple[Ignore, ...]:
    """The first MAX_IGNORES comments of a YAML text that ask to ignore something.

    Of a text that cannot be read to its end, those before the place where reading stops.
    """
    if "mcpuppet:" not in text or "ignore" not in text or len(text) > MAX_BYTES:
        return ()
    text = text.removeprefix("\ufeff")
    lines = text.splitlines()
    asking = [index for index, line in enumerate(lines) if _REQUEST.search(line)]
    if not asking:
        return ()
    scalars, below = _Scalars(text), _lines_below(lines)
    found = (_ignore(lines[index], index, below[index], scalars, file) for index in asking)
    return tuple(itertools.islice((one for one in found if one is not None), MAX_IGNORES))


def _ignore(line: str, index: int, below: int, scalars: _Scalars, file: str) -> Ignore | None:
    starts = (match.start() for match in _HASH.finditer(line))
    start = next((one for one in starts if not scalars.cover((index, one))), None)
    request = None if start is None else _REQUEST.match(line, start)
    if start is None or request is None or (index, start) > scalars.end:
        return None
    stands_alone = not line[:start].strip()
    return Ignore(
        place=Place(file, index + 1, start + 1),
        line=1 + (below if stands_alone else index),
        numbers=tuple(one.strip() for one in (request[1] or "").split(",") if one.strip()),
        reason=request[2].strip(" \t:-"),
    )


def _lines_below(lines: list[str]) -> list[int]:
    """For each line the index of the one below, further comment lines not counted."""
    below = [len(lines)] * len(lines)
    for index in range(len(lines) - 2, -1, -1):
        is_comment = lines[index + 1].lstrip().startswith("#")
        below[index] = below[index + 1] if is_comment else index + 1
    return below


class _Scalars:
    """The stretches of a text that are quoted or block scalars, in which `#` starts no comment."""

    def __init__(self, text: str) -> None:
        self.end: Spot = (0, 0)
        """How far the text could be read."""
        self._starts: list[Spot] = []
        self._ends: list[Spot] = []
        loader = None
        try:
            loader = _Loader(text)
            while loader.check_token():
                self._take(loader.get_token())
        except (yaml.YAMLError, UnicodeError):  # a lone surrogate is no YAMLError
            return
        finally:
            if loader is not None:
                loader.dispose()
        self.end = (len(text) + 1, 0)  # past every line

    def cover(self, spot: Spot) -> bool:
        index = bisect_right(self._starts, spot) - 1
        return index >= 0 and spot < self._ends[index]

    def _take(self, token: yaml.Token) -> None:
        start = (token.start_mark.line, token.start_mark.column)
        self.end = max(self.end, (token.end_mark.line, token.end_mark.column))
        if isinstance(token, yaml.ScalarToken) and token.style:
            # The line that `|` or `>` stands on may end in a comment; the text starts below it.
            self._starts.append((start[0] + 1, 0) if token.style in "|>" else start)
            self._ends.append((token.end_mark.line, token.end_mark.column))
