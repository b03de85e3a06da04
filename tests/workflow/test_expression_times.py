"""Moments and lengths of time in guards: spelling, limits, arithmetic, where they may not go."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from mcpuppet.workflow.expression import (
    EvaluationError,
    ExpressionError,
    json_equal,
    parse_expression,
    values_read,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
VALUES: dict[str, object] = {
    "now": NOW,
    "created": "2026-03-01T12:00:00Z",
    "i": 1,
    "xs": [1],
    "m": {"at": NOW},
}


def value_of(source: str) -> object:
    return parse_expression(source).evaluate(VALUES)


def failure_of(source: str, variables: Mapping[str, object] | None = None) -> EvaluationError:
    with pytest.raises(EvaluationError) as caught:
        parse_expression(source).evaluate(variables or VALUES)
    return caught.value


@pytest.mark.parametrize(
    "source",
    [
        'now - timestamp(created) <= duration("24h")',
        'now - timestamp(created) == duration("1440m")',
        'timestamp("2026-03-02T13:30:00+01:30") == now',
        'timestamp("2026-03-02T12:00:00.000000000Z") == now',
        'timestamp("2026-03-02T12:00:00.5Z") - now == duration("500ms")',
        'date("2026-03-02") < now && now < date("2026-03-03")',
        'date("2026-03-02") + duration("12h") == now',
        'duration("12h") + date("2026-03-02") == now',
        'now - duration("12h") == date("2026-03-02")',
        'duration("1h30m") == duration("90m")',
        'duration("1.5s") == duration("1500ms") && duration(".5s") == duration("500000us")',
        'duration("-1h") + duration("1h") == duration("0")',
        'duration("1h") - duration("90m") == duration("-30m")',
        'duration("-1h30m") < duration("-1h")',
        'duration("2000ns") == duration("2us")',
        'duration("9223372034s") + duration("1s") == duration("9223372035s")',
        'now in [date("2026-01-01"), now]',
        '!(now in [1, "2026-03-02T12:00:00Z"])',
        'now != 1 && duration("1s") != 1 && now != duration("1s") && now != created',
        "[now] == [now] && m.at == now",
        "xs.exists(x, now == now)",
        'timestamp("0001-01-01T00:00:00Z") < timestamp("9999-12-31T23:59:59.999999Z")',
    ],
)
def test_times_are_compared_and_computed(source: str) -> None:
    assert value_of(source) is True


@pytest.mark.parametrize(
    "source",
    [
        "now + now",
        "now + 1",
        'now * duration("1s")',
        'duration("1h") - now',
        'duration("1h") * 2',
        '-duration("1h") == 1',
        'now < duration("1h")',
        'duration("1h") < 1',
        'now < "2026-03-02T12:00:00Z"',
        "size(now)",
        "now.year",
        "has(now.year)",
        "now && true",
        "now ? 1 : 2",
        "timestamp(1) == now",
        "timestamp(now) == now",
        'duration(duration("1h")) == duration("1h")',
        "date(now) == now",
        "date(created) == now",
        "duration(created) == now",
        'timestamp("9999-12-31T23:59:59Z") + duration("1s") == now',
        'timestamp("0001-01-01T00:00:00Z") - duration("1us") == now',
        'timestamp("2300-01-01T00:00:00Z") - timestamp("2000-01-01T00:00:00Z") > duration("1s")',
        'duration("2562047h") + duration("1h") > duration("1s")',
        'duration("-2562047h") - duration("1h") < duration("1s")',
    ],
)
def test_all_else_about_times_has_no_value(source: str) -> None:
    failure_of(source)


@pytest.mark.parametrize(
    ("source", "column", "problem"),
    [
        ('now < timestamp("2026-01-01")', 17, "is not a timestamp; write 2026-01-31T09:00:00Z"),
        ('timestamp("2026-01-01 00:00:00Z")', 11, "is not a timestamp"),
        ('timestamp("2026-01-01T00:00:00")', 11, "is not a timestamp"),
        ('timestamp("2026-01-01T24:00:00Z")', 11, "is not a timestamp"),
        ('timestamp("2026-01-01T00:00:60Z")', 11, "is not a timestamp"),
        ('timestamp("٢٠٢٦-01-01T00:00:00Z")', 11, "is not a timestamp"),
        ('timestamp("2026-02-30T00:00:00Z")', 11, "is no moment of the years 0001 to 9999"),
        ('timestamp("0000-01-01T00:00:00Z")', 11, "is no moment"),
        ('timestamp("0001-01-01T00:00:00+00:01")', 11, "is no moment"),
        ('timestamp("2026-01-01T00:00:00.0000001Z")', 11, "more precise than a microsecond"),
        ('duration("1d")', 10, "is not a duration; write 24h, 1h30m"),
        ('duration("")', 10, "is not a duration"),
        ('duration("1")', 10, "is not a duration"),
        ('duration("1h-30m")', 10, "is not a duration"),
        ('duration(".s")', 10, "is not a duration"),
        ('duration("1µs")', 10, "is not a duration"),
        ('duration(" 1s")', 10, "is not a duration"),
        (f'duration("{"9" * 70}s")', 10, "is not a duration"),
        ('duration("1ns")', 10, "is more precise than a microsecond"),
        ('duration("2562048h")', 10, "is longer than the 292 years"),
        ('duration("9223372035.000001s")', 10, "is longer than the 292 years"),
        ('date("2026-01-01T00:00:00Z")', 6, "is not a date; write 2026-01-31"),
        ('date("2026-02-30")', 6, "is no day of the calendar"),
        ('date("20260101")', 6, "is not a date"),
        ("timestamp()", 1, "timestamp() is given 0 arguments"),
        ("created.timestamp()", 9, "unknown function 'timestamp'"),
    ],
)
def test_a_time_that_is_written_out_wrongly_is_refused_at_its_column(
    source: str, column: int, problem: str
) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(source)
    assert caught.value.column == column
    assert problem in str(caught.value)


def test_a_text_that_is_read_as_a_time_fails_without_being_shown() -> None:
    error = failure_of("timestamp(t) < now", {"now": NOW, "t": "secret"})
    assert error.message.startswith("the text of timestamp() is not a timestamp; write")
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("now", "timestamp"),
        ('now - date("2026-01-01")', "duration"),
        ("[1, [now]]", "timestamp"),
        ("i == 1 ? now : 1", "timestamp"),
        ("m", "timestamp"),
    ],
)
def test_a_time_is_never_the_result(source: str, kind: str) -> None:
    assert failure_of(source).message == f"a {kind} can be compared and not be a result"


def test_moments_of_any_zone_are_compared_as_moments() -> None:
    rome = ZoneInfo("Europe/Rome")
    first = datetime(2026, 10, 25, 2, 30, tzinfo=rome)
    second = first.replace(fold=1)
    variables = {"a": first, "b": second, "c": second.astimezone(UTC)}
    for source in ("a != b", "b == c", "a < b", 'b - a == duration("1h")', "b in [c]"):
        assert parse_expression(source).evaluate(variables) is True
    assert json_equal(second, second.astimezone(timezone(timedelta(hours=5))))
    assert not json_equal(first, second)


def test_a_moment_without_a_zone_is_no_value() -> None:
    naive = {"now": datetime(2026, 1, 1), "other": datetime(2026, 1, 1)}
    assert "without a time zone" in failure_of("now == other", naive).message
    assert "without a time zone" in failure_of("now < other", naive).message


def test_times_equal_only_their_own_kind() -> None:
    assert json_equal(timedelta(hours=1), timedelta(minutes=60))
    assert not json_equal(timedelta(0), 0)
    assert not json_equal(NOW, NOW.isoformat())
    assert not json_equal({"a": [NOW]}, {"a": [timedelta(0)]})


def test_now_is_read_as_a_reference_and_shown_as_text() -> None:
    expression = parse_expression('now - timestamp(created) <= duration("24h")')
    assert expression.references == {("now",), ("created",)}
    assert values_read(expression, VALUES) == {
        "now": "2026-03-02T12:00:00Z",
        "created": "2026-03-01T12:00:00Z",
    }


def test_now_may_still_be_the_variable_of_a_macro() -> None:
    assert value_of("xs.all(now, now == 1)") is True
