"""Moments as people type them: a date, a time, or how long ago."""

from __future__ import annotations

from datetime import UTC, datetime

import typer


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
    except ValueError:
        try:
            return now - parse_duration(text)
        except PydanticCustomError as error:
            raise typer.BadParameter(
                f"{text!r} is no moment: `2026-01-31`, `2026-01-31T09:30+01:00` and `90d` (ago) are"
            ) from error
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
