"""Moments and lengths of time in the guard language: their spelling, limits and arithmetic.

Owns what CEL's `timestamp` and `duration` accept (langdef.md, "Abstract Types": RFC 3339 text and
Go's duration text) and our `date`. Accepts less than CEL where CEL would round: Python counts in
microseconds and CEL in nanoseconds. Knows no syntax tree and no evaluation: what cannot be is a
ValueError whose text completes "is not …", and the caller says where.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final

_MICROSECOND = timedelta(microseconds=1)
# CEL holds a duration in 64 bits of nanoseconds, some 292 years. In the last second of those its
# C++ overflows or not depending on the fractions of the operands; we stop before.
_LONGEST: Final = timedelta(seconds=2**63 // 10**9 - 1)
_MAX_CHARACTERS = 64

_TIMESTAMP = re.compile(
    r"(?P<whole>[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])"
    r"(?:\.(?P<fraction>[0-9]{1,9}))?(?P<offset>Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PART = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:h|ms|m|s|us|ns)"
_DURATION = re.compile(rf"(?P<sign>[-+]?)(?P<parts>0|(?:{_PART})+)")
_PARTS = re.compile(r"([0-9.]+)([a-z]+)")
_MICROSECONDS = {
    "h": Fraction(3_600_000_000),
    "m": Fraction(60_000_000),
    "s": Fraction(1_000_000),
    "ms": Fraction(1_000),
    "us": Fraction(1),
    "ns": Fraction(1, 1_000),
}


def timestamp_of(text: str) -> datetime:
    """The moment (UTC) that `2026-01-31T09:00:00Z` names. Raises ValueError."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        raise ValueError("is not a timestamp; write 2026-01-31T09:00:00Z or …+01:00")
    fraction = (found["fraction"] or "").ljust(6, "0")
    if fraction[6:].strip("0"):
        raise ValueError("is more precise than a microsecond; at most six decimals are accepted")
    try:
        moment = datetime.fromisoformat(f"{found['whole']}.{fraction[:6]}{found['offset']}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is no moment of the years 0001 to 9999") from None


def date_of(text: str) -> datetime:
    """Midnight UTC of the day that `2026-01-31` names. Raises ValueError."""
    if _DATE.fullmatch(text) is None:
        raise ValueError("is not a date; write 2026-01-31")
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError("is no day of the calendar") from None


def duration_of(text: str) -> timedelta:
    """The length of time that `1h30m` or `-1.5s` names. Raises ValueError."""
    found = _DURATION.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
    if found is None:
        raise ValueError(
            "is not a duration; write 24h, 1h30m, 1.5s or 500ms (h, m, s, ms, us, ns; a day is 24h)"
        )
    parts = _PARTS.findall(found["parts"])
    total = sum(Fraction(number) * _MICROSECONDS[unit] for number, unit in parts)
    if total.denominator != 1:
        raise ValueError("is more precise than a microsecond")
    if total > _LONGEST // _MICROSECOND:
        raise ValueError("is longer than the 292 years that a duration can be")
    return (-1 if found["sign"] == "-" else 1) * int(total) * _MICROSECOND


TIME_READERS: dict[str, Callable[[str], datetime | timedelta]] = {
    "timestamp": timestamp_of,
    "duration": duration_of,
    "date": date_of,
}
"""The functions that read a text, by the names that guards call them by."""


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC: Python compares two moments of one zone by their wall clocks."""
    return moment.astimezone(UTC)


def later(moment: datetime, length: timedelta) -> datetime:
    """Raises OverflowError outside the years 0001 to 9999."""
    return in_utc(moment) + length


def earlier(moment: datetime, length: timedelta) -> datetime:
    """Raises OverflowError outside the years 0001 to 9999."""
    return in_utc(moment) - length


def between(one: datetime, other: datetime) -> timedelta:
    """How much later the first moment is. Raises OverflowError beyond 292 years."""
    return within_limit(in_utc(one) - in_utc(other))


def within_limit(length: timedelta) -> timedelta:
    """The duration itself. Raises OverflowError if it is longer than 292 years."""
    if abs(length) > _LONGEST:
        raise OverflowError
    return length
