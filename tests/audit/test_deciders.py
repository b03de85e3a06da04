"""Who decided, held against what the administration log tells of people."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mcpuppet.audit.deciders import Decided, decided, decider_breaks
from mcpuppet.session import admin_events as a
from mcpuppet.session import events as e

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
TOKEN, OTHER = "aa" * 32, "bb" * 32
ADDED = (START, a.UserAdded("bob", ("boss",), TOKEN, "ada"))
VOTE = Decided("s", 5, START + timedelta(hours=1), "bob", TOKEN[:12], ("boss",))


def later(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def problems(*changes: tuple[datetime, e.Event], vote: Decided = VOTE) -> list[str]:
    return [one.what for one in decider_breaks((ADDED, *changes), [vote])]


def test_a_vote_by_the_person_with_their_token_and_roles_holds() -> None:
    assert problems() == []
    (found,) = decider_breaks([ADDED], [replace(VOTE, by="eve")])
    assert (found.session_id, found.seq) == ("s", 5)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"by": "eve"}, "does not tell of such a person"),
        ({"by": "eve", "credential": ""}, "does not tell of such a person"),
        ({"at": START - timedelta(days=1)}, "does not tell of such a person"),
        ({"credential": OTHER[:12]}, "token"),
        ({"credential": TOKEN[:1]}, "token"),
        ({"roles": ("boss", "commander")}, "did not hold"),
    ],
)
def test_a_vote_that_the_person_cannot_have_given_is_a_break(
    change: dict[str, object], what: str
) -> None:
    (problem,) = problems(vote=replace(VOTE, **change))  # type: ignore[arg-type]
    assert what in problem


def test_what_changes_about_a_person_counts_from_then_on() -> None:
    moved = (later(20), a.UserRolesChanged("bob", ("clerk",), "ada"))
    assert "did not hold" in problems(moved)[0]
    assert problems(moved, vote=replace(VOTE, at=later(10))) == []
    rotated = (later(20), a.TokenRotated("bob", OTHER, "ada"))
    assert "token" in problems(rotated)[0]
    assert problems(rotated, vote=replace(VOTE, credential=OTHER[:12])) == []
    assert "disabled" in problems((later(20), a.UserDisabled("bob", "ada", "left")))[0]


def test_a_decision_that_was_under_way_when_the_person_changed_holds() -> None:
    assert problems((later(59.9), a.UserDisabled("bob", "ada", "left"))) == []


def test_people_from_before_the_log_were_there_before() -> None:
    adopted = (later(90), replace(ADDED[1], note="was in the store before"))
    assert list(decider_breaks([adopted], [VOTE, replace(VOTE, credential="", roles=())])) == []


def test_where_the_log_tells_of_nobody_nothing_can_be_compared() -> None:
    assert list(decider_breaks([], [VOTE])) == []


def test_time_and_the_users_of_clients_are_no_people() -> None:
    by_time = e.ApprovalRejected("apr", "ask", "time", "nobody decided in time")
    assert decided("s", 1, START, by_time) is None
    said = e.ApprovalVoted("apr", "user of agent", "d", "elicitation (some client)")
    assert decided("s", 1, START, said) is None
    assert decided("s", 1, START, replace(said, channel="cli")) is not None
    assert decided("s", 1, START, replace(said, by="bob")) is not None
