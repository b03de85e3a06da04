"""Opening hours: on which days and at what times of a place a call may be made.

Owns the spelling (`mon-fri 08:00-18:00, sat 09:00-12:00 Europe/Rome`) and what it means when the
clocks change. Does not know who asks, and reads no clock: every moment comes in as an argument.

A window is a stretch of the clock on the wall, not of elapsed time. Where the wall clock jumps over
its start, it opens right after the jump; where the wall clock shows an hour twice, both count.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import TypeAlias
from zoneinfo import ZoneInfo

Span: TypeAlias = tuple[int, int]
"""[start, end) in minutes since Monday 00:00."""

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60
_WEEK = 7 * _DAY
_MAX_CHARACTERS = 500
_EXAMPLE = "write hours as in mon-fri 08:00-18:00, sat 09:00-12:00 Europe/Rome"
_TIMES = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|(24:00))")
_MINUTE, _SECOND = timedelta(minutes=1), timedelta(seconds=1)
# No zone changes its offset and takes the change back within this.
_HOP = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Hours:
    """Windows of local time in one time zone; equal if they are written alike."""

    source: str
    spans: tuple[Span, ...] = field(repr=False, compare=False)
    zone: ZoneInfo = field(repr=False, compare=False)

    def open_at(self, moment: datetime) -> bool:
        """Whether an aware moment lies in one of the windows, each of them [start, end)."""
        minute = _since_monday(self._wall_clock(moment)) // _MINUTE
        return any(start <= minute < end for start, end in self.spans)

    def next_opening(self, moment: datetime) -> datetime:
        """The first moment (UTC) not before an aware `moment` at which a window is open."""
        at = self._wall_clock(moment).astimezone(UTC)
        while not self.open_at(at):
            at = self._next_change(at)
        return at

    def _wall_clock(self, moment: datetime) -> datetime:
        if moment.utcoffset() is None:
            raise ValueError("opening hours are asked about a moment without a time zone")
        return moment.astimezone(self.zone)

    def _next_change(self, at: datetime) -> datetime:
        """A later moment with nothing open in between: a start, a clock change, or half a day."""
        since_monday = _since_monday(self._wall_clock(at))
        starts = [start for start, _ in self.spans]
        following = bisect_right(starts, since_monday // _MINUTE)
        start = starts[following] if following < len(starts) else starts[0] + _WEEK
        later = at + min(start * _MINUTE - since_monday, _HOP)
        if self._offset(at) == self._offset(later):
            return later
        return self._clock_change(at, later)

    def _clock_change(self, before: datetime, after: datetime) -> datetime:
        """The instant between two moments at which the offset changes; zones use whole seconds."""
        offset = self._offset(before)
        early = before.replace(microsecond=0)
        while (after - early) > _SECOND:
            middle = early + (after - early) // 2 // _SECOND * _SECOND
            if self._offset(middle) == offset:
                early = middle
            else:
                after = middle
        return early + _SECOND

    def _offset(self, moment: datetime) -> timedelta | None:
        return moment.astimezone(self.zone).utcoffset()


def parse_hours(text: str) -> Hours:
    """Read `mon-fri 08:00-18:00 Europe/Rome`.

    Windows are parted by commas, and each is a day (`sat`), days (`mon-fri`, or `fri-mon` over the
    weekend) or `daily`, and its times; one that ends before it starts ends on the next day, and
    `24:00` is the end of a day. The zone closes the text. Raises ValueError with what is wrong and
    what would be accepted.
    """
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"hours have at most {_MAX_CHARACTERS} characters, not {len(text):,}")
    *earlier, last = [part.split() for part in text.split(",")]
    if len(last) == 2 and _TIMES.fullmatch(last[1]):
        raise ValueError(f"the time zone is missing after {text.strip()!r}; {_EXAMPLE}")
    if len(last) != 3:
        raise ValueError(f"{' '.join(last)!r} is not days, times and a time zone; {_EXAMPLE}")
    zone = _zone(last.pop())
    spans = [span for words in (*earlier, last) for span in _window(words)]
    return Hours(text, tuple(_merged(spans)), zone)


def _window(words: Sequence[str]) -> Iterator[Span]:
    if len(words) != 2:
        raise ValueError(f"{' '.join(words)!r} is not days and times; {_EXAMPLE}")
    days, (start, end) = _days(words[0]), _times(words[1])
    for day in days:
        opens, closes = day * _DAY + start, day * _DAY + end
        yield opens, min(closes, _WEEK)
        if closes > _WEEK:
            yield 0, closes - _WEEK


def _days(text: str) -> Iterable[int]:
    if text == "daily":
        return range(7)
    first, *rest = [_day(name) for name in text.split("-", 1)]
    if not rest:
        return [first]
    if rest == [first]:
        name = _DAYS[first]
        raise ValueError(f"{text!r} is unclear; write {name} for one day, daily for all of them")
    return [(first + step) % 7 for step in range((rest[0] - first) % 7 + 1)]


def _day(name: str) -> int:
    if name in _DAYS:
        return _DAYS.index(name)
    likely = next((day for day in _DAYS if name.lower().startswith(day)), None)
    meant = f"did you mean {likely}? " if likely else ""
    days = ", ".join(_DAYS)
    raise ValueError(f"{name!r} is not a day; {meant}days are {days}, ranges as mon-fri, and daily")


def _times(text: str) -> Span:
    """Minutes after midnight; the end is past 24:00 if it is on the next day."""
    found = _TIMES.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is not two times from 00:00 to 24:00; write them as 08:00-18:00"
        )
    start = int(found[1]) * 60 + int(found[2])
    end = _DAY if found[5] else int(found[3]) * 60 + int(found[4])
    if start == end:
        raise ValueError(f"{text!r} ends when it starts; write 00:00-24:00 for the whole day")
    return start, end if end > start else end + _DAY


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _zone(name: str) -> ZoneInfo:
    if name in _zone_names():
        return ZoneInfo(name)
    by_folded = {known.casefold(): known for known in _zone_names()}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    meant = f"did you mean {by_folded[close[0]]}?" if close else "write one such as Europe/Rome"
    raise ValueError(f"{name!r} is not a time zone; {meant}")


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    """The names that are the same on every machine; a system may know others, such as localtime."""
    return frozenset(files("tzdata").joinpath("zones").read_text("ascii").split())


def _since_monday(wall_clock: datetime) -> timedelta:
    return timedelta(
        days=wall_clock.weekday(),
        hours=wall_clock.hour,
        minutes=wall_clock.minute,
        seconds=wall_clock.second,
        microseconds=wall_clock.microsecond,
    )
