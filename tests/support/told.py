"""One event of every kind, what happened before each, and the report of any events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from mcpuppet.audit.reports.builder import ReportBuilder
from mcpuppet.audit.reports.report import ChainReport, ComplianceReport
from mcpuppet.session import admin_events as a
from mcpuppet.session import events as e
from support.fakes import START

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
        e.CallReconciled("call_1", True, "call_9", {}),
        e.CallRepeated("call_8", "call_1", "replayed", "agent", "stdio", "key-1"),
        e.LateOutcome("call_1", "succeeded", "", {}, DIGEST, 2, 99.0),
        e.ApprovalEdited(
            "apr_step", "b", "t.x", {"x": 2}, "e" * 64, DIGEST, "ann", "too much", "c0ffee"
        ),
        e.ApprovalEscalated("apr_step", "b", ("chief",), LATER),
        e.ReviewOpened("rev_1", "apr_step", "b", "ivan", "it is urgent", ("auditor",), LATER),
        e.ReviewOverdue("rev_1"),
        e.ReviewClosed("rev_1", "olga", False, "it was not", "c0ffee"),
        a.UserAdded("ann", ("boss",), "a" * 64, None),
        a.UserRolesChanged("ann", (), "root"),
        a.UserDisabled("ann", "root", "left"),
        a.TokenRotated("ann", "b" * 64, "root"),
        a.DecisionRefused("approve", "apr_step", "eve", "badbadbadbad", "cli", "not a boss"),
        a.ToolPinned("t.x", DIGEST, "first use"),
        a.ToolChanged("t.x", DIGEST, "f" * 64, "node"),
        a.SigningKeyCreated("log+12345678+AAAA", "root"),
        a.RecordsPruned(START, 2, 30, "root", "old"),
        a.ValuesDisclosed((DIGEST,), "root", "asked by the court"),
        a.ValuesErased((DIGEST,), "root", "asked by the person"),
        e.RunFailing("failed", "a", "no"),
        e.RunEnded("completed", "done"),
    )
}


def report_of(
    *events: e.Event | tuple[e.Event, datetime],
    as_of: datetime = LATER,
    text_of: Callable[[str], str | None] = lambda _: None,
) -> ComplianceReport:
    """The report of these events, each at the start unless its time stands beside it."""
    builder = ReportBuilder("session")
    for seq, one in enumerate(events, start=1):
        event, at = one if isinstance(one, tuple) else (one, START)
        builder.take(seq, event, at)
    return builder.report(
        ChainReport("intact", len(events), None, ()), "", as_of=as_of, text_of=text_of
    )
