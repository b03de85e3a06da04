"""What a report makes of each kind of event, and of requests, rules and facts over time."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from support.fakes import START

from mcpuppet.audit.report import ChainReport, ComplianceReport
from mcpuppet.audit.report_builder import ReportBuilder
from mcpuppet.session import events as e

LATER = START + timedelta(hours=1)
DIGEST = "d" * 64
MISS = {"book": "bank", "rule": "cap", "reason": "too much"}


def started(call_id: str, **more: Any) -> e.CallStarted:
    """A call that was sent, of a tool that no workflow orders."""
    values: dict[str, Any] = {
        "call_id": call_id,
        "tool": "bank.send",
        "arguments": {},
        "digest": DIGEST,
        "purpose": "free",
        "step": None,
        "attempt": 1,
        "uses": (),
        "grants": (),
        "principal": "agent",
        "node": "node",
    }
    return e.CallStarted(**(values | more))


def asked(approval_id: str) -> e.AskOpened:
    return e.AskOpened(
        approval_id,
        None,
        "bank.send",
        {"to": "eve"},
        DIGEST,
        {"new-payee": ["owner"], "cap": ["boss", "owner"]},
        ({"path": "args.to", "value": "eve", "seen": "not seen before"},),
        "agent",
        LATER,
    )


def opened(approval_id: str, step: str) -> e.ApprovalOpened:
    return e.ApprovalOpened(approval_id, step, {"x": 1}, ("boss",), 1, "agent", True, 1, LATER)


BEFORE: tuple[e.Event, ...] = (
    e.SessionOpened("agent", "5" * 64),
    e.RunStarted("run_1", "w", "1.0.0", "h" * 64, {}, ("a", "b", "c"), "agent", LATER),
    started("call_1"),
    e.StepHeld("a", "unclear", None),
    opened("apr_step", "b"),
    asked("apr_ask"),
)
"""What has happened before each of the events below."""

EVENTS: Mapping[type[e.Event], e.Event] = {
    type(one): one
    for one in (
        e.SessionOpened("somebody", "5" * 64),
        e.RulesAdopted("bank", "1.0.0", "h" * 64),
        e.InputsDeclared("bank", {"payees": []}, "agent"),
        e.InputsReopened("ann", "she said so"),
        e.RunStarted("run_2", "w", "1.0.0", "h" * 64, {}, (), "agent", LATER),
        e.CallDenied("call_2", "t.x", {}, DIGEST, None, "needs", "too early", "agent"),
        e.CallDeferred("call_2", "apr_ask", None, "bank.send", {}, DIGEST, "agent"),
        started("call_2", would_have_denied=(MISS,)),
        e.FactLearned("bank", "known", None, ["eve"], "call_1"),
        e.CallSucceeded("call_1", {}, DIGEST, 2, 0.1),
        e.CallFailed("call_1", "tool_error", "no", None, 0.1),
        e.CallBecameUnknown("call_1", "timeout", "lost", 1.0),
        e.CallResolved("call_1", True, "ann", "seen"),
        e.StepSucceeded("a", {}),
        e.StepFailed("a", "no"),
        e.StepReturned("a", "retry", "again", LATER),
        e.StepHeld("c", "unclear", None),
        e.StepReleased("a", True, "ann", "fine"),
        e.StepSkipped("a", "not needed"),
        e.StepsRedone("b", ("a",)),
        e.StepCompensated("a", "call_1"),
        opened("apr_more", "c"),
        e.ApprovalVoted("apr_ask", "ann", DIGEST, "cli", ("boss",)),
        e.ApprovalGranted("apr_ask", "", ("ann",)),
        e.ApprovalRejected("apr_ask", "", "ann", "no"),
        e.ApprovalBypassed("apr_step", "b", "ivan", "it is urgent"),
        e.ApprovalExpired("apr_step", "b"),
        asked("apr_more"),
        e.RunFailing("failed", "a", "no"),
        e.RunEnded("completed", "done"),
    )
}


def report_of(*events: e.Event | tuple[e.Event, datetime]) -> ComplianceReport:
    builder = ReportBuilder("session")
    for seq, one in enumerate(events, start=1):
        event, at = one if isinstance(one, tuple) else (one, START)
        builder.take(seq, event, at)
    return builder.report(ChainReport("intact", len(events), None, ()), "")


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


@pytest.mark.parametrize("kind", typing.get_args(e.Event), ids=lambda kind: kind.__name__)
def test_an_event_without_its_history_is_no_reason_to_fail(kind: type[e.Event]) -> None:
    assert report_of(EVENTS[kind]).session_id == "session"
