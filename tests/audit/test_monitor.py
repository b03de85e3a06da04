"""What a compliance report says of real histories, and of broken ones."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from support.fakes import START, failed, succeeded
from support.histories import (
    CUSTOMER,
    WORKFLOWS,
    Content,
    Story,
    emergency,
    in_memory,
    intruder,
    onboarding,
    payment,
    rewrite,
    save,
)

from mcpuppet.audit.monitor import AuditMonitor
from mcpuppet.audit.reports.report import ComplianceReport, Resolution
from mcpuppet.errors import StoreError, UnknownSessionError
from mcpuppet.session import events as e
from mcpuppet.session.consequences import Progress
from mcpuppet.store.sqlite_reader import open_view

NOW = START + timedelta(days=1)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "store.db"
    save(path, [onboarding(), payment(), emergency()])
    return path


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good.parent, tmp_path / "copy")
    return tmp_path / "copy" / "store.db"


def report_of(path: Path, session_id: str) -> ComplianceReport:
    monitor = AuditMonitor(partial(open_view, path), clock=lambda: NOW)
    return monitor.generate_compliance_report(session_id)


def after(**parts: float) -> datetime:
    return START + timedelta(**parts)


def test_a_session_nobody_opened_has_no_report(good: Path) -> None:
    with pytest.raises(UnknownSessionError, match="nobody"):
        report_of(good, "nobody")


def test_a_store_that_is_not_there_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        report_of(tmp_path / "none.db", "onboarding")


def test_a_report_names_the_session_its_principal_and_its_time(good: Path) -> None:
    report = report_of(good, "onboarding")
    assert (report.session_id, report.principal) == ("onboarding", "agent")
    assert report.opened_at == START
    assert report.last_activity_at == report.runs[0].ended_at


def test_an_intact_chain_is_reported_with_its_head_and_with_what_was_checked(good: Path) -> None:
    report = report_of(good, "onboarding")
    reader = in_memory(good)
    assert report.chain.status == "intact"
    assert (report.chain.records, report.chain.head) == (25, reader.heads["onboarding"][1].hex())
    assert "the hash chain of 25 records" in report.statement
    assert "No signed checkpoint was compared with" in report.statement
    assert "Decisions were not derived again" in report.statement


def test_a_run_is_reported_with_workflow_inputs_end_and_duration(good: Path) -> None:
    (run,) = report_of(good, "onboarding").runs
    workflow = WORKFLOWS["customer_onboarding"]
    assert (run.workflow, run.version, run.hash) == (workflow.name, "1.0.0", workflow.hash)
    assert run.inputs == CUSTOMER
    assert run.status == "completed"
    assert run.ended_at is not None
    assert run.seconds == (run.ended_at - run.started_at).total_seconds()


def test_calls_are_reported_in_order_with_decision_and_outcome(good: Path) -> None:
    report = report_of(good, "onboarding")
    assert [(it.call_id, it.tool, it.step, it.decision, it.outcome) for it in report.calls] == [
        ("call_1", "customer.create_account", "process", "denied", None),
        ("call_2", "customer.get_customer", None, "allowed", "succeeded"),
        ("call_3", "customer.validate_customer", "validate", "allowed", "succeeded"),
        ("call_4", "customer.create_account", "process", "awaiting_approval", None),
        ("call_5", "customer.create_account", "process", "allowed", "succeeded"),
        ("call_6", "data.backup_data", "backup", "allowed", "failed"),
        ("call_7", "data.backup_data", "backup", "allowed", "succeeded"),
        ("call_8", "customer.send_notification", "notify", "allowed", "succeeded"),
    ]
    by_id = {call.call_id: call for call in report.calls}
    assert by_id["call_7"].attempt == 2
    assert by_id["call_6"].error == "tool_error: disk full"
    assert by_id["call_5"].approvals_used == (report.approvals[0].approval_id,)
    assert by_id["call_4"].approval_id == report.approvals[0].approval_id
    assert by_id["call_4"].digest == by_id["call_5"].digest
    assert by_id["call_5"].seconds == 1.5
    assert by_id["call_1"].started_at is None
    assert by_id["call_2"].purpose == "always"


def test_a_denied_call_is_a_violation_with_rule_and_reason(good: Path) -> None:
    (violation,) = report_of(good, "onboarding").violations
    assert (violation.seq, violation.call_id, violation.rule) == (3, "call_1", "needs")
    assert "first needs validate" in violation.reason
    assert report_of(good, "payment").violations == ()


def test_an_approval_is_reported_with_what_was_shown_and_who_decided(good: Path) -> None:
    (approval,) = report_of(good, "onboarding").approvals
    assert (approval.step, approval.status, approval.asked) == ("review", "approved", 1)
    assert approval.binds == {f"inputs.{name}": value for name, value in CUSTOMER.items()}
    assert [(it.tool, it.arguments) for it in approval.shown] == [
        ("customer.create_account", CUSTOMER)
    ]
    assert [(it.by, it.channel) for it in approval.votes] == [("carol", "cli")]
    assert approval.decided_by == ("carol",)
    assert approval.decided_at is not None
    took = (approval.decided_at - approval.opened_at).total_seconds()
    assert approval.seconds_to_decide == took > 300


def test_a_bypass_is_reported_with_its_justification(good: Path) -> None:
    (approval,) = report_of(good, "payment").approvals
    assert (approval.status, approval.decided_by) == ("bypassed", ("ivan",))
    assert approval.justification == "the bank closes in four minutes"
    assert [vote.by for vote in approval.votes] == ["fay"]


def test_an_approval_that_nobody_decided_is_reported_as_expired_and_rejected(good: Path) -> None:
    (approval,) = report_of(good, "emergency").approvals
    assert approval.expired
    assert (approval.status, approval.decided_by) == ("rejected", ("time",))


def test_an_unknown_call_stays_unknown_next_to_the_word_of_who_settled_it(good: Path) -> None:
    report = report_of(good, "payment")
    (transfer,) = [call for call in report.calls if call.step == "transfer"]
    settled = Resolution("fay", True, "seen on the bank statement", after(seconds=67))
    assert transfer.outcome == "unknown"
    assert transfer.resolution == settled
    (hold,) = report.holds
    assert (hold.step, hold.call_id, hold.status) == ("transfer", transfer.call_id, "settled")
    assert hold.resolution == settled


def test_a_call_without_an_outcome_is_open_and_its_run_active(good: Path) -> None:
    report = report_of(good, "emergency")
    assert [run.status for run in report.runs] == ["rejected", "active"]
    assert report.runs[1].ended_at is None
    last = report.calls[-1]
    assert (last.outcome, last.run_id) == ("open", report.runs[1].run_id)
    assert report.figures.overall.open == 1


def test_rates_leave_out_unknown_and_open_calls(good: Path) -> None:
    overall = report_of(good, "payment").figures.overall
    assert (overall.succeeded, overall.failed, overall.unknown, overall.open) == (2, 0, 1, 0)
    assert overall.success_rate == 1.0
    tools = {one.name: one for one in report_of(good, "payment").figures.by_tool}
    transfer = tools["finance.transfer_funds"]
    assert (transfer.unknown, transfer.success_rate, transfer.p50) == (1, None, None)


def test_figures_are_told_by_tool_and_by_step(good: Path) -> None:
    figures = report_of(good, "onboarding").figures
    backup = next(one for one in figures.by_step if one.name == "backup")
    assert (backup.succeeded, backup.failed, backup.success_rate) == (1, 1, 0.5)
    assert (backup.p50, backup.p95, backup.max) == (0.5, 2.0, 2.0)
    assert [one.name for one in figures.by_tool] == sorted(one.name for one in figures.by_tool)
    assert [one.name for one in figures.by_step] == ["backup", "notify", "process", "validate"]


def test_percentiles_are_values_that_occurred(tmp_path: Path) -> None:
    story = Story("many")
    story.begin("customer_onboarding", CUSTOMER)
    for number in range(1, 41):
        outcome = failed() if number > 38 else succeeded()
        story.call("customer.get_customer", outcome, number / 10, customer="c")
    save(tmp_path / "store.db", [story])
    overall = report_of(tmp_path / "store.db", "many").figures.overall
    assert (overall.p50, overall.p95, overall.max) == (2.0, 3.8, 4.0)
    assert overall.success_rate == 0.95


def test_a_run_with_an_open_request_waits_and_a_cancelled_one_closes_it(tmp_path: Path) -> None:
    waiting, cancelled = Story("waiting"), Story("cancelled")
    for story in (waiting, cancelled):
        story.begin("customer_onboarding", CUSTOMER)
        valid = succeeded(complete=True, risk="high")
        story.call("customer.validate_customer", valid, **CUSTOMER)
    cancelled.act(lambda progress: progress.cancelled("carol", "wrong customer"))
    path = tmp_path / "store.db"
    save(path, [waiting, cancelled])
    report = report_of(path, "waiting")
    assert report.runs[0].status == "waiting_approval"
    assert report.approvals[0].status == "open"
    report = report_of(path, "cancelled")
    (run,) = report.runs
    assert (run.status, run.ended_by, run.reason) == ("cancelled", "carol", "wrong customer")
    assert report.approvals[0].status == "closed"


def test_the_json_form_has_stable_keys_and_rfc_3339_times(good: Path) -> None:
    data = json.loads(report_of(good, "onboarding").to_json())
    assert data == report_of(good, "onboarding").to_dict()
    assert list(data) == [
        "mcpuppet_report",
        "kind",
        "session_id",
        "principal",
        "opened_at",
        "last_activity_at",
        "chain",
        "statement",
        "rules",
        "inputs",
        "runs",
        "calls",
        "violations",
        "near_misses",
        "approvals",
        "asks",
        "holds",
        "facts",
        "figures",
        "reviews",
        "refusals",
        "repeats",
        "workflows",
        "checkpoint",
        "replay",
        "events",
        "made_at",
        "totals",
        "evidence",
    ]
    assert (data["mcpuppet_report"], data["kind"]) == (1, "session")
    assert data["opened_at"] == "2026-01-05T09:00:00.000000Z"
    assert data["violations"][0]["rule"] == "needs"
    assert data["approvals"][0]["votes"][0]["by"] == "carol"
    assert data["figures"]["overall"]["success_rate"] == 5 / 6


def test_a_broken_chain_is_reported_as_such_with_what_can_still_be_read(copy: Path) -> None:
    connection = intruder(copy)
    connection.execute("DELETE FROM record WHERE session='onboarding' AND seq=6")
    connection.execute("UPDATE record SET body=x'00' WHERE session='onboarding' AND seq=20")
    connection.close()
    report = report_of(copy, "onboarding")
    assert report.chain.status == "broken"
    assert {it.seq for it in report.chain.breaks} == {6, 20}
    assert "none of it is proven" in report.statement
    assert "Checked" not in report.statement
    assert [violation.call_id for violation in report.violations] == ["call_1"]
    assert "call_3" not in {call.call_id for call in report.calls}


def test_a_report_of_an_impossible_history_says_where(copy: Path) -> None:
    def drop(inside: list[Content]) -> None:
        del inside[5]

    rewrite(copy, "onboarding", drop)
    report = report_of(copy, "onboarding")
    assert [it.seq for it in report.chain.breaks] == [6]
    assert "'call_3' ends, but it was never started" in report.chain.breaks[0].what


def test_two_calls_with_one_id_are_both_shown(copy: Path) -> None:
    def repeat(inside: list[Content]) -> None:
        inside.insert(3, inside[2])

    rewrite(copy, "onboarding", repeat)
    report = report_of(copy, "onboarding")
    assert [it.seq for it in report.violations] == [3, 4]
    assert [it.seq for it in report.chain.breaks] == [4]


def test_a_request_asked_again_is_a_second_one_after_the_expired_first(tmp_path: Path) -> None:
    story = Story("renewed")
    story.begin("customer_onboarding", CUSTOMER)
    valid = succeeded(complete=True, risk="high")
    story.call("customer.validate_customer", valid, **CUSTOMER)
    first = story.approval()

    def renew(progress: Progress) -> None:
        progress.emit(e.ApprovalExpired(first.approval_id, first.step))
        progress.emit(
            e.ApprovalOpened(
                "apr_again",
                first.step,
                first.binds,
                first.roles,
                first.quorum,
                first.requested_by,
                first.separation,
                first.asked + 1,
                first.expires_at + timedelta(days=2),
            )
        )

    story.act(renew)
    save(tmp_path / "store.db", [story])
    report = report_of(tmp_path / "store.db", "renewed")
    assert report.chain.status == "intact"
    assert [(it.asked, it.status, it.expired) for it in report.approvals] == [
        (1, "expired", True),
        (2, "open", False),
    ]
    assert report.runs[0].status == "waiting_approval"


def test_a_held_guard_is_reported_until_a_person_releases_it(tmp_path: Path) -> None:
    story = Story("held")
    story.begin("customer_onboarding", CUSTOMER)
    story.act(lambda progress: progress.emit(e.StepHeld("review", "no such field", None)))
    save(tmp_path / "before.db", [story])
    (hold,) = report_of(tmp_path / "before.db", "held").holds
    assert (hold.status, hold.reason, hold.call_id) == ("waiting", "no such field", None)
    story.act(lambda progress: progress.released("review", False, "carol", "low risk"))
    save(tmp_path / "after.db", [story])
    (hold,) = report_of(tmp_path / "after.db", "held").holds
    assert hold.status == "settled"
    assert hold.resolution is not None
    assert (hold.resolution.by, hold.resolution.happened) == ("carol", False)
