"""What a report makes of each kind of event, and of requests, rules and facts over time."""

from __future__ import annotations

import typing
from dataclasses import replace
from datetime import timedelta

import pytest
from support.fakes import START
from support.told import BEFORE, DIGEST, EVENTS, LATER, MISS, asked, report_of, started

from mcpuppet.session import admin_events as a
from mcpuppet.session import events as e


@pytest.mark.parametrize("kind", typing.get_args(e.Event), ids=lambda kind: kind.__name__)
def test_no_kind_of_event_leaves_the_report_as_it_was(kind: type[e.Event]) -> None:
    before, after = report_of(*BEFORE).to_dict(), report_of(*BEFORE, EVENTS[kind]).to_dict()
    assert before | {"chain": after["chain"]} != after


def test_a_request_tells_who_agreed_for_which_policy_and_how_long_it_took() -> None:
    minute, second = START + timedelta(minutes=1), START + timedelta(minutes=2)
    report = report_of(
        *BEFORE,
        e.CallDeferred("call_2", "apr_ask", None, "bank.send", {}, DIGEST, "agent"),
        (e.ApprovalVoted("apr_ask", "ann", "c" * 64, "cli", ("boss",)), minute),
        (e.ApprovalVoted("apr_ask", "olga", "c" * 64, "cli", ("owner",)), second),
        (e.ApprovalGranted("apr_ask", "", ("ann", "olga")), second),
        (started("call_3", grants=("apr_ask",)), LATER),
    )
    (ask,) = report.asks
    assert [(one.by, one.policies) for one in ask.agreements] == [
        ("ann", ("cap",)),
        ("olga", ("new-payee", "cap")),
    ]
    assert [(one.path, one.value, one.seen) for one in ask.shown] == [
        ("args.to", "eve", "not seen before")
    ]
    assert (ask.status, ask.seconds_to_decide, ask.used_by) == ("used", 120.0, "call_3")
    assert (ask.attempts, ask.ended_at) == (("call_2",), LATER)
    assert report.calls[-1].approvals_used == ("apr_ask",)
    assert [one.step for one in report.approvals] == ["b"]


def test_a_request_that_nobody_decided_expires_and_a_grant_that_nobody_used_lapses() -> None:
    report = report_of(
        *BEFORE,
        e.ApprovalExpired("apr_ask", ""),
        asked("apr_two"),
        e.ApprovalVoted("apr_two", "ann", DIGEST, "cli", ("owner",)),
        e.ApprovalGranted("apr_two", "", ("ann",)),
        e.ApprovalExpired("apr_two", ""),
    )
    assert [(one.status, one.decided_by) for one in report.asks] == [
        ("expired", ()),
        ("lapsed", ("ann",)),
    ]


def test_an_approval_that_was_not_used_in_time_keeps_the_name_of_who_gave_it() -> None:
    report = report_of(
        *BEFORE,
        e.ApprovalGranted("apr_step", "b", ("ann",)),
        e.ApprovalExpired("apr_step", "b", ("c",)),
        e.ApprovalRejected("apr_step", "b", "time", "the approval was not used in time"),
    )
    (approval,) = report.approvals
    assert (approval.status, approval.decided_by, approval.reset) == ("lapsed", ("ann",), ("c",))
    assert approval.reason == "the approval was not used in time"


def test_calls_that_would_have_been_denied_are_told_one_by_one_and_counted_by_rule() -> None:
    other = {"book": "bank", "rule": "hours", "reason": "too late"}
    report = report_of(
        *BEFORE,
        started("call_2", would_have_denied=(MISS, other)),
        started("call_3", would_have_denied=(MISS, MISS)),
    )
    assert [(one.call_id, one.rule, one.reason) for one in report.near_misses] == [
        ("call_2", "cap", "too much"),
        ("call_2", "hours", "too late"),
        ("call_3", "cap", "too much"),
        ("call_3", "cap", "too much"),
    ]
    figures = report.figures
    assert figures.overall.would_have_denied == 2
    assert [(one.rule, one.calls) for one in figures.would_have_denied] == [
        ("cap", 2),
        ("hours", 1),
    ]
    assert [(one.name, one.open) for one in figures.by_purpose] == [("free", 3)]


def test_facts_are_counted_with_what_did_not_fit() -> None:
    report = report_of(
        *BEFORE,
        e.FactLearned("bank", "payees", None, ["a"], "call_1"),
        e.FactLearned("bank", "payees", None, [], "call_1", complete=False),
        e.FactLearned("bank", "due", "p2", {}, "call_1", drops="p1"),
    )
    assert [(it.fact, it.learned, it.overflowed, it.dropped) for it in report.facts] == [
        ("payees", 2, 1, 0),
        ("due", 1, 0, 1),
    ]


def test_rules_and_their_inputs_are_told_in_order() -> None:
    report = report_of(
        *BEFORE, *(EVENTS[one] for one in (e.RulesAdopted, e.InputsDeclared, e.InputsReopened))
    )
    assert [(one.rules, one.version) for one in report.rules] == [("bank", "1.0.0")]
    assert [(one.what, one.by, one.inputs, one.note) for one in report.inputs] == [
        ("declared", "agent", {"payees": []}, None),
        ("reopened", "ann", None, "she said so"),
    ]


def test_a_review_is_overdue_from_its_time_on_until_somebody_makes_it() -> None:
    review = EVENTS[e.ReviewOpened]
    bypass = EVENTS[e.ApprovalBypassed]
    (waiting,) = report_of(*BEFORE, bypass, review, as_of=LATER).reviews
    assert (waiting.status, waiting.late) == ("open", False)
    after = LATER + timedelta(seconds=1)
    (late,) = report_of(*BEFORE, bypass, review, as_of=after).reviews
    assert (late.status, late.late) == ("overdue", True)
    told = report_of(*BEFORE, bypass, review, EVENTS[e.ReviewOverdue], EVENTS[e.ReviewClosed])
    (closed,) = told.reviews
    assert (closed.status, closed.late, closed.closed_by) == ("unjustified", True, "olga")
    assert (told.totals.bypasses, told.totals.reviews_unjustified) == (1, 1)


def test_edits_and_escalations_are_told_with_the_request_they_change() -> None:
    report = report_of(*BEFORE, EVENTS[e.ApprovalEdited], EVENTS[e.ApprovalEscalated])
    (approval,) = report.approvals
    (edit,) = approval.edits
    assert (edit.by, edit.digest, edit.replaces) == ("ann", "e" * 64, DIGEST)
    assert [one.roles for one in approval.escalations] == [("chief",)]
    assert (report.totals.edits, report.totals.escalations) == (1, 1)


def test_votes_that_an_edit_made_void_are_told_as_void() -> None:
    vote = e.ApprovalVoted("apr_step", "bob", DIGEST, "cli", ("boss",))
    report = report_of(*BEFORE, vote, EVENTS[e.ApprovalEdited], vote)
    assert [one.void for one in report.approvals[0].votes] == [True, False]


def test_edits_and_escalations_of_a_request_about_a_call_are_told_with_it() -> None:
    report = report_of(
        *BEFORE,
        e.ApprovalEdited("apr_ask", None, "bank.send", {}, "e" * 64, DIGEST, "ann", ""),
        e.ApprovalEscalated("apr_ask", "", ("chief",), LATER),
    )
    (ask,) = report.asks
    assert (len(ask.edits), len(ask.escalations)) == (1, 1)
    assert report.approvals[0].edits == ()


def test_a_repeated_request_stands_beside_the_call_that_answered_it() -> None:
    report = report_of(*BEFORE, EVENTS[e.CallSucceeded], EVENTS[e.CallRepeated])
    (repeat,) = report.repeats
    assert (repeat.of, repeat.how, repeat.credential) == ("call_1", "replayed", "stdio")
    assert report.calls[0].repeats == (repeat,)
    assert (report.totals.calls, report.totals.repeated) == (1, 1)


def test_a_reconciled_call_stays_unknown_but_is_settled() -> None:
    unknown = EVENTS[e.CallBecameUnknown]
    open_one = report_of(*BEFORE, unknown)
    assert (open_one.totals.unknown, open_one.totals.unsettled) == (1, 1)
    settled = report_of(*BEFORE, unknown, EVENTS[e.CallReconciled])
    assert (settled.calls[0].outcome, settled.calls[0].settled) == ("unknown", True)
    assert (settled.totals.unsettled, settled.totals.reconciled) == (0, 1)


def test_a_late_answer_that_contradicts_what_was_said_is_found() -> None:
    """Settled as not happened, a call is made again: that it did happen must not go unnoticed."""
    unknown, late = EVENTS[e.CallBecameUnknown], EVENTS[e.LateOutcome]
    assert isinstance(late, e.LateOutcome)
    for happened, outcome, contradicted in (
        (False, "succeeded", 1),
        (True, "failed", 1),
        (True, "succeeded", 0),
        (False, "failed", 0),
    ):
        settled = e.CallResolved("call_1", happened, "ann", "asked the bank")
        answer = replace(late, outcome=outcome)
        for order in ((settled, answer), (answer, settled)):
            report = report_of(*BEFORE, unknown, *order)
            assert report.totals.contradicted == contradicted
            assert report.calls[0].contradicted == bool(contradicted)
    assert report_of(*BEFORE, unknown, late).totals.contradicted == 0


def test_an_answer_that_came_late_is_told_and_changes_no_outcome() -> None:
    report = report_of(*BEFORE, EVENTS[e.CallBecameUnknown], EVENTS[e.LateOutcome])
    (call,) = report.calls
    assert call.late is not None
    assert (call.outcome, call.late.outcome, report.totals.late) == ("unknown", "succeeded", 1)


def test_a_refused_attempt_to_decide_is_told_and_decides_nothing() -> None:
    report = report_of(*BEFORE, EVENTS[a.DecisionRefused])
    (refused,) = report.refusals
    assert (refused.by, refused.action, refused.credential) == ("eve", "approve", "badbadbadbad")
    assert report.approvals[0].status == "open"


@pytest.mark.parametrize("kind", typing.get_args(e.Event), ids=lambda kind: kind.__name__)
def test_an_event_without_its_history_is_no_reason_to_fail(kind: type[e.Event]) -> None:
    assert report_of(EVENTS[kind]).session_id == "session"
