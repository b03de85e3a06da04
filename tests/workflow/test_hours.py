"""Opening hours: what may be written, and what it means on ordinary days and when clocks change."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from mcpuppet.workflow.hours import Hours, parse_hours

MINUTE = timedelta(minutes=1)
OFFICE = "mon-fri 08:00-18:00 Europe/Rome"


def local(text: str, zone: str, fold: int = 0) -> datetime:
    """The moment (UTC) at which the wall clock of a zone shows this; `fold=1`: the second time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-03-02 07:59:59.999999", False),
        ("2026-03-02 08:00", True),
        ("2026-03-02 17:59:59.999999", True),
        ("2026-03-02 18:00", False),
        ("2026-03-06 12:00", True),
        ("2026-03-07 12:00", False),
        ("2026-03-08 12:00", False),
    ],
)
def test_a_window_has_its_start_and_not_its_end(moment: str, is_open: bool) -> None:
    assert parse_hours(OFFICE).open_at(local(moment, "Europe/Rome")) is is_open


@pytest.mark.parametrize(
    ("text", "opened", "closed"),
    [
        ("sat 09:00-12:00 UTC", ["2026-03-07 09:00"], ["2026-03-06 09:00", "2026-03-08 09:00"]),
        (
            "mon-fri 08:00-18:00, sat 09:00-12:00 UTC",
            ["2026-03-06 17:59", "2026-03-07 11:59"],
            ["2026-03-07 08:59", "2026-03-07 12:00", "2026-03-08 10:00"],
        ),
        (
            "fri-mon 10:00-11:00 UTC",
            ["2026-03-06 10:00", "2026-03-07 10:00", "2026-03-08 10:00", "2026-03-09 10:00"],
            ["2026-03-10 10:00", "2026-03-05 10:00"],
        ),
        (
            "daily 22:00-06:00 UTC",
            ["2026-03-08 22:00", "2026-03-09 05:59", "2026-03-09 23:59", "2026-03-10 00:00"],
            ["2026-03-09 06:00", "2026-03-09 21:59"],
        ),
        (
            "fri 22:00-06:00 UTC",
            ["2026-03-06 22:00", "2026-03-07 05:59"],
            ["2026-03-06 05:00", "2026-03-07 06:00", "2026-03-07 22:00"],
        ),
        (
            "sun 22:00-06:00 UTC",
            ["2026-03-08 23:00", "2026-03-09 05:59"],
            ["2026-03-09 06:00", "2026-03-08 05:00"],
        ),
        ("sun 20:00-24:00 UTC", ["2026-03-08 23:59:59"], ["2026-03-09 00:00"]),
        ("daily 00:00-24:00 UTC", ["2026-03-08 23:59:59", "2026-03-09 00:00"], []),
        ("tue 22:00-00:00 UTC", ["2026-03-10 23:59"], ["2026-03-11 00:00"]),
        (
            "mon 08:00-12:00, mon 11:00-13:00, mon 13:00-14:00 UTC",
            ["2026-03-09 12:30", "2026-03-09 13:00"],
            ["2026-03-09 14:00"],
        ),
    ],
)
def test_days_and_times_mean_what_they_say(text: str, opened: list[str], closed: list[str]) -> None:
    hours = parse_hours(text)
    assert [hours.open_at(utc(moment)) for moment in opened] == [True] * len(opened)
    assert [hours.open_at(utc(moment)) for moment in closed] == [False] * len(closed)


@pytest.mark.parametrize(
    ("text", "moment", "opening"),
    [
        (OFFICE, "2026-03-06 16:59:59", "2026-03-06 16:59:59"),
        (OFFICE, "2026-03-06 17:00", "2026-03-09 07:00"),
        (OFFICE, "2026-03-27 17:00", "2026-03-30 06:00"),
        ("mon-fri 09:00-17:00 Asia/Kolkata", "2026-03-06 03:29:59.5", "2026-03-06 03:30"),
        ("mon-fri 09:00-17:00 Asia/Kolkata", "2026-03-06 11:30", "2026-03-09 03:30"),
        ("mon 08:00-09:00 UTC", "2026-03-09 09:00", "2026-03-16 08:00"),
        ("sun 22:00-06:00 UTC", "2026-03-09 06:00", "2026-03-15 22:00"),
    ],
)
def test_the_next_opening_is_in_utc_and_is_the_moment_itself_when_it_is_open(
    text: str, moment: str, opening: str
) -> None:
    found = parse_hours(text).next_opening(utc(moment))
    assert found == utc(opening)
    assert found.tzinfo is UTC


def test_a_moment_of_another_zone_is_the_same_moment() -> None:
    hours = parse_hours(OFFICE)
    elsewhere = utc("2026-03-02 06:00").astimezone(ZoneInfo("America/New_York"))
    assert hours.open_at(elsewhere) is False
    assert hours.open_at(elsewhere + timedelta(hours=1)) is True
    assert hours.next_opening(elsewhere) == utc("2026-03-02 07:00")


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        parse_hours(OFFICE).open_at(datetime(2026, 3, 2, 9))
    with pytest.raises(ValueError, match="without a time zone"):
        parse_hours(OFFICE).next_opening(datetime(2026, 3, 2, 9))


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        ("Europe/Rome", "2026-03-29 01:59:59", "2026-03-29 03:00"),
        ("America/New_York", "2026-03-08 01:59:59", "2026-03-08 03:00"),
    ],
)
def test_a_window_whose_start_the_clock_jumps_over_opens_right_after_the_jump(
    zone: str, before: str, after: str
) -> None:
    hours = parse_hours(f"daily 02:30-04:00 {zone}")
    assert hours.open_at(local(before, zone)) is False
    assert hours.open_at(local(after, zone)) is True
    assert hours.next_opening(local(before, zone)) == local(after, zone)


def test_a_window_that_the_clock_jumps_over_whole_is_not_open_that_day() -> None:
    hours = parse_hours("daily 02:15-03:00 Europe/Rome")
    assert hours.next_opening(local("2026-03-29 00:00", "Europe/Rome")) == local(
        "2026-03-30 02:15", "Europe/Rome"
    )


@pytest.mark.parametrize(
    ("zone", "day"), [("Europe/Rome", "2026-10-25"), ("America/New_York", "2026-11-01")]
)
def test_an_hour_that_the_clock_shows_twice_is_open_twice(zone: str, day: str) -> None:
    hour = 2 if zone == "Europe/Rome" else 1
    hours = parse_hours(f"daily 0{hour}:00-0{hour + 1}:00 {zone}")
    half_past = f"{day} 0{hour}:30"
    first, second = local(half_past, zone), local(half_past, zone, fold=1)
    assert second - first == timedelta(hours=1)
    assert hours.open_at(first) is True
    assert hours.open_at(second) is True


def test_a_window_that_the_clock_goes_back_into_opens_again_at_once() -> None:
    hours = parse_hours("sun 01:00-02:30 Europe/Rome")
    between = local("2026-10-25 02:45", "Europe/Rome")
    assert hours.open_at(between) is False
    assert hours.next_opening(between) == local("2026-10-25 02:00", "Europe/Rome", fold=1)


def test_a_shift_of_half_an_hour_is_followed() -> None:
    hours = parse_hours("sun 02:15-02:45 Australia/Lord_Howe")
    assert hours.next_opening(utc("2026-10-03 12:00")) == utc("2026-10-03 15:30")
    assert hours.open_at(utc("2026-10-03 15:44:59")) is True
    assert hours.open_at(utc("2026-10-03 15:45")) is False


def test_a_day_that_a_zone_left_out_is_not_open() -> None:
    hours = parse_hours("fri 09:00-17:00 Pacific/Apia")
    assert hours.next_opening(utc("2011-12-29 12:00")) == utc("2012-01-05 19:00")


TRANSITIONS = {
    "Europe/Rome": ["2026-03-29 01:00", "2026-10-25 01:00"],
    "America/New_York": ["2026-03-08 07:00", "2026-11-01 06:00"],
    "Australia/Lord_Howe": ["2026-04-04 15:00", "2026-10-03 15:30"],
    "Africa/Casablanca": ["2026-02-15 02:00", "2026-03-22 02:00"],
    "Asia/Kolkata": ["2026-06-01 00:00"],
}
WINDOWS = [
    "daily 02:30-03:15",
    "daily 01:00-02:30",
    "sun 00:00-01:45, sat 22:00-24:00",
    "daily 02:05-02:10, daily 02:50-02:55",
    "daily 23:30-01:30, daily 03:00-03:01",
    "sat-sun 22:00-06:00",
]


def minutes_around(moment: datetime) -> Iterator[datetime]:
    at, end = moment - timedelta(hours=6), moment + timedelta(hours=6)
    while at < end:
        yield at
        at += MINUTE


@pytest.mark.parametrize("zone", TRANSITIONS)
@pytest.mark.parametrize("windows", WINDOWS)
def test_nothing_is_open_between_a_moment_and_its_next_opening(zone: str, windows: str) -> None:
    hours = parse_hours(f"{windows} {zone}")
    for transition in TRANSITIONS[zone]:
        moments = list(minutes_around(utc(transition)))
        following = hours.next_opening(moments[-1] + MINUTE)
        for at in reversed(moments):
            following = at if hours.open_at(at) else following
            assert hours.next_opening(at) == following
            assert hours.open_at(following)


@pytest.mark.parametrize("text", [OFFICE, "sun 22:00-06:00 America/New_York"])
def test_over_a_whole_year_the_next_opening_is_the_first_open_minute(text: str) -> None:
    hours = parse_hours(text)
    at, end = utc("2026-01-01 00:00"), utc("2027-01-01 00:00")
    while at < end:
        opening = hours.next_opening(at)
        assert hours.open_at(opening)
        assert not any(hours.open_at(opening - step * MINUTE) for step in (1, 7, 31)) or (
            opening == at
        )
        at = max(opening, at) + timedelta(minutes=97)


def test_hours_are_values() -> None:
    hours = parse_hours(OFFICE)
    assert hours == parse_hours(OFFICE)
    assert hours != parse_hours("mon-fri 08:00-18:00 Europe/Paris")
    assert hash(hours) == hash(parse_hours(OFFICE))
    again = pickle.loads(pickle.dumps(hours))
    assert again == hours
    assert again.next_opening(utc("2026-03-07 00:00")) == utc("2026-03-09 07:00")
    assert hours.source == OFFICE
    with pytest.raises(AttributeError):
        hours.source = "x"  # type: ignore[misc]


def test_space_around_the_parts_does_not_matter() -> None:
    hours = parse_hours("  mon-fri  08:00-18:00 ,sat 09:00-12:00   Europe/Rome ")
    assert hours.open_at(local("2026-03-07 09:00", "Europe/Rome")) is True


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is not days, times and a time zone; write hours as in mon-fri 08:00-18:00"),
        ("08:00-18:00", "'08:00-18:00' is not days, times and a time zone"),
        ("mon-fri 08:00-18:00", "the time zone is missing"),
        ("mon-fri 08:00-18:00 Europe/Rom", "did you mean Europe/Rome?"),
        ("mon-fri 08:00-18:00 europe/rome", "did you mean Europe/Rome?"),
        ("mon-fri 08:00-18:00 Xyzzy", "'Xyzzy' is not a time zone; write one such as"),
        ("mon-fri 08:00-18:00 localtime", "is not a time zone"),
        ("mon-fri 08:00-18:00 ../etc/passwd", "is not a time zone"),
        ("mon-fri 08:00-18:00 Europe", "is not a time zone"),
        ("Mon-fri 08:00-18:00 UTC", "'Mon' is not a day; did you mean mon?"),
        ("monday 08:00-18:00 UTC", "did you mean mon?"),
        ("mon-xxx 08:00-18:00 UTC", "'xxx' is not a day; days are mon, tue"),
        ("mon-wed-fri 08:00-18:00 UTC", "'wed-fri' is not a day"),
        ("mon-mon 08:00-18:00 UTC", "write mon for one day, daily for all of them"),
        ("mon 8:00-18:00 UTC", "'8:00-18:00' is not two times"),
        ("mon 08:00-25:00 UTC", "is not two times"),
        ("mon 08:00-24:01 UTC", "is not two times"),
        ("mon 24:00-08:00 UTC", "is not two times"),
        ("mon 08:60-09:00 UTC", "is not two times"),
        ("mon 08:00–18:00 UTC", "write them as 08:00-18:00"),  # noqa: RUF001 (people paste it)
        ("mon 08:00-08:00 UTC", "write 00:00-24:00 for the whole day"),
        ("mon,tue 08:00-18:00 UTC", "'mon' is not days and times"),
        ("mon 08:00-18:00, UTC", "'UTC' is not days, times and a time zone"),
        ("mon 08:00-18:00 UTC, tue 08:00-18:00 UTC", "is not days and times"),
        ("daily " * 200, "at most 500 characters"),
    ],
)
def test_what_is_no_hours_is_refused_with_what_would_be(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is compared below)
        parse_hours(text)
    assert problem in str(caught.value)


def test_hours_are_made_by_parsing_and_know_their_zone() -> None:
    hours: Hours = parse_hours("daily 22:00-06:00 UTC")
    assert hours.zone.key == "UTC"
