"""Moments as people type them: a date, a time, or how long ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import typer


def end_moment(text: str, now: datetime) -> datetime:
    """The moment before which a span ends: of a day, its end; else as `moment`."""
    named = moment(text, now)
    try:
        return named + timedelta(days=1) if _is_day(text) else named
    except OverflowError:  # it is the last day of the calendar
        return datetime.max.replace(tzinfo=UTC)


def _is_day(text: str) -> bool:
    return len(text) == len("2026-01-31") and text.count("-") == 2


def moment(text: str, now: datetime) -> datetime:
    """The moment that `text` names, aware, in UTC: `2026-01-31`, `2026-01-31T09:30`, or `90d`.

    A date is its first moment, a time without an offset is in UTC, a duration lies before `now`.
    Raises typer.BadParameter for anything else.
    """
    # The durations of workflow files: that module costs what --help should not pay.
    from pydantic_core import PydanticCustomError  # noqa: PLC0415

    from mcpuppet.workflow.definition import parse_duration  # noqa: PLC0415

    try:
        parsed = datetime.fromisoformat(text)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        try:
            return now - parse_duration(text)
        except PydanticCustomError as error:
            raise typer.BadParameter(
                f"{text!r} is no moment: `2026-01-31`, `2026-01-31T09:30+01:00` and `90d` (ago) are"
            ) from error
