"""How a report writes values: times, durations, rates, and JSON that may hold redacted values."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from mcpuppet.plain_text import spelled
from mcpuppet.redaction.vault import shown

_SHORT = 12


def moment(at: datetime | None) -> str:
    """`2026-01-31 09:30:00Z`; to the second, in UTC."""
    return "not recorded" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def duration(seconds: float | None) -> str:
    """`0.250 s`, or `1:02:03` from a minute on; empty for None."""
    if seconds is None:
        return ""
    return f"{seconds:.3f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def rate(succeeded: int, failed: int) -> str:
    """A percentage, rounded down: only what never failed has 100 %."""
    ended = succeeded + failed
    return f"{succeeded * 1000 // ended / 10} %" if ended else "-"


def short(digest: str) -> str:
    """The first digits of a digest."""
    return digest[:_SHORT]


def many(number: int, noun: str, plural: str | None = None) -> str:
    """`1 call`, `2 calls`."""
    return f"1 {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"


def value_text(value: Any, longest: int | None = None) -> str:
    """A value as JSON, with what was redacted as `[redacted 1a2b3c4d]`, cut after `longest`."""
    text = json.dumps(shown(value), ensure_ascii=False)
    if longest is None or len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text):,} characters)"


def fit(text: str, *, keep: str = "") -> str:
    """A text for a person's eye: commitments shortened, hidden characters spelled out."""
    return spelled(shown(text), keep=keep)
