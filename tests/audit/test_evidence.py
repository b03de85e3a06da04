"""What the evidence table says of counts: never more than they do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mcpuppet.audit.reports.evidence import EvidenceRow, evidence_of
from mcpuppet.audit.reports.totals import Totals

NOW = datetime(2026, 11, 23, tzinfo=UTC)
BUSY = Totals(
    sessions=2,
    sessions_intact=2,
    sessions_signed=2,
    records=100,
    runs=2,
    versions=1,
    calls=10,
    allowed=8,
    denied=1,
    deferred=1,
    succeeded=8,
    calls_with_credential=10,
    calls_with_arguments=10,
    calls_with_answer=8,
    requests=1,
    granted=1,
    replayed=10,
    replay_rederived=10,
    oldest=NOW - timedelta(days=200),
    newest=NOW,
    as_of=NOW,
)


def row(totals: Totals, clause: str) -> EvidenceRow:
    (found,) = [one for one in evidence_of(totals) if one.clause == clause]
    return found


def said(found: EvidenceRow) -> str:
    return " | ".join((*found.shows, *found.lacks))


def test_every_clause_is_judged_once_and_names_what_it_does_not_show() -> None:
    rows = evidence_of(BUSY)
    assert [one.clause for one in rows] == [
        *("CC6.1", "CC7.2", "CC7.3", "CC8.1", "A.6.2.6", "A.6.2.8"),
        *("GOVERN 1", "MEASURE 2", "MANAGE 4.1"),
        *("Art. 12", "Art. 14", "Art. 19", "Art. 26", "Art. 50", "MCP08"),
    ]
    assert all(one.lacks for one in rows)


def test_records_that_do_not_hold_together_evidence_nothing() -> None:
    broken = replace(BUSY, sessions_broken=1, sessions_intact=1, breaks=3)
    for one in evidence_of(broken):
        assert (one.status, one.shows) == ("not evidenced", ()), one.clause
        assert "3 breaks in 1 session" in one.lacks[0]


def test_a_decision_that_comes_out_differently_takes_all_evidence_away() -> None:
    for one in evidence_of(replace(BUSY, replay_differing=1)):
        assert one.status == "not evidenced"


@pytest.mark.parametrize("one", evidence_of(Totals(sessions=1, sessions_intact=1)))
def test_where_nothing_took_place_nothing_is_evidenced(one: EvidenceRow) -> None:
    assert one.status in ("nothing took place", "not evidenced"), one


def test_without_approvals_human_oversight_is_not_evidenced() -> None:
    found = row(replace(BUSY, requests=0, granted=0), "Art. 14")
    assert (found.status, found.shows) == (
        "nothing took place",
        ("no approval took place in this period",),
    )
    assert "no approval took place" in said(row(replace(BUSY, granted=0), "Art. 26"))


def test_an_approval_is_evidenced_and_what_waits_is_not() -> None:
    assert row(BUSY, "Art. 14").status == "evidenced"
    waiting = row(replace(BUSY, waiting=1, timed_out=2, reviews_overdue=1), "Art. 14")
    assert waiting.status == "in part"
    assert "the review of 1 bypass, overdue" in waiting.lacks
    assert "a person's decision on 2 requests that timed out" in waiting.lacks


def test_without_a_checkpoint_a_rewritten_log_is_not_ruled_out() -> None:
    assert row(BUSY, "A.6.2.8").status == "evidenced"
    found = row(replace(BUSY, sessions_signed=1), "A.6.2.8")
    assert found.status == "in part"
    assert "rewrite the records of 1 session without a signed checkpoint" in found.lacks[0]


@pytest.mark.parametrize("clause", ["A.6.2.8", "Art. 12"])
def test_custody_of_the_key_and_place_of_checkpoints_are_never_evidenced(clause: str) -> None:
    assert "custody of the signing key" in said(row(BUSY, clause))
    assert "kept where the operator cannot change them" in said(row(BUSY, clause))


def test_six_months_are_evidenced_only_by_records_of_that_age() -> None:
    assert row(BUSY, "Art. 19").status == "in part"
    young = row(replace(BUSY, oldest=NOW - timedelta(days=90)), "Art. 19")
    assert (young.status, young.shows) == ("not evidenced", ())
    assert "retention of at least six months" in young.lacks[0]


def test_decisions_count_as_following_policies_once_they_were_derived_again() -> None:
    assert row(BUSY, "GOVERN 1").status == "evidenced"
    unplayed = row(replace(BUSY, replayed=0, replay_rederived=0), "GOVERN 1")
    assert unplayed.status == "in part"
    assert "not derived again" in unplayed.lacks[0]
    unproven = row(replace(BUSY, replay_rederived=7, replay_not_derivable=3), "GOVERN 1")
    assert unproven.status == "in part"
    assert "7 of 10 decisions" in said(unproven)


def test_fields_that_owasp_asks_for_are_counted_where_they_are_missing() -> None:
    assert row(BUSY, "MCP08").status == "evidenced"
    found = row(replace(BUSY, calls_with_credential=6), "MCP08")
    assert found.status == "in part"
    assert "user_identity for 4 of 10" in found.lacks


def test_open_reviews_and_unsettled_calls_are_not_evaluated_events() -> None:
    assert row(BUSY, "CC7.3").status == "nothing took place"
    found = row(replace(BUSY, bypasses=1, reviews_open=1, reviews_overdue=1), "CC7.3")
    assert found.status == "in part"
    assert "the result of 1 open review, 1 of them overdue" in found.lacks


def test_a_bypass_that_nobody_was_asked_to_review_is_not_an_evaluated_event() -> None:
    found = row(replace(BUSY, bypasses=2, reviews_justified=1), "CC7.3")
    assert found.status == "in part"
    assert "a review of 1 bypass: none is recorded" in found.lacks


def test_who_approved_a_change_of_a_workflow_is_never_evidenced() -> None:
    assert row(BUSY, "CC8.1").status == "in part"


def test_what_pruned_sessions_told_is_not_taken_for_nothing() -> None:
    pruned = replace(Totals(sessions=1, sessions_pruned=1, records=3), as_of=NOW)
    assert row(pruned, "Art. 14").status == "not evidenced"
    assert row(pruned, "CC6.1").status == "not evidenced"


def test_the_dates_of_the_ai_act_are_those_of_the_omnibus() -> None:
    applies = row(BUSY, "Art. 12").applies
    assert "2 December 2027" in applies
    assert "2 August 2028" in applies
    assert "as of the Digital Omnibus approved 29 June 2026" in applies
    assert "since 2 August 2026" in row(BUSY, "Art. 50").applies
    assert row(BUSY, "Art. 50").status == "not evidenced"


def test_counts_of_sessions_add_up() -> None:
    both = BUSY.plus(replace(BUSY, oldest=NOW - timedelta(days=300)))
    assert (both.calls, both.sessions, both.sent) == (20, 4, 16)
    assert (both.oldest, both.newest) == (NOW - timedelta(days=300), NOW)
    assert BUSY.plus(Totals()) == BUSY
