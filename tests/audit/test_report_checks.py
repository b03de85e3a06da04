"""What a report says of signed checkpoints and of decisions that were made again."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from support.fakes import START
from support.histories import AGENT, SETTINGS, Story, intruder, onboarding, payment, rewrite, save

from mcpuppet.audit.log import AuditLog
from mcpuppet.audit.monitor import AuditMonitor
from mcpuppet.audit.reports.report import ComplianceReport
from mcpuppet.audit.signed_log import Kept
from mcpuppet.session.admin_events import ADMINISTRATION, SigningKeyCreated
from mcpuppet.session.consequences import Progress
from mcpuppet.settings import AuditSettings
from mcpuppet.store.sqlite_reader import open_view

NOW = START + timedelta(days=1)


class Signed:
    """A store with two sessions whose log was signed, and the key named in it."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store.db"
        settings = AuditSettings(folder / "audit")
        self.log = AuditLog(partial(open_view, self.store), settings, lambda _: None)
        save(self.store, [onboarding(), payment()])
        with self.log.new_key("bank.example/gateway") as key:
            save(self.store, [_administration(key.verifier_key)])
        self.key = key.verifier_key
        self.log.checkpoint()

    def kept(self) -> Kept:
        return self.log.kept()

    def monitor(self) -> AuditMonitor:
        return AuditMonitor(partial(open_view, self.store), self.kept, lambda: NOW)

    def report(self, session_id: str = "payment") -> ComplianceReport:
        return self.monitor().generate_compliance_report(session_id)


def _administration(key: str) -> Story:
    story = Story(ADMINISTRATION)

    def tell(progress: Progress) -> None:
        progress.open_session(AGENT.name, SETTINGS)
        progress.emit(SigningKeyCreated(key, "root"))

    story.act(tell)
    return story


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def test_a_session_under_a_checkpoint_is_reported_with_log_key_and_size(signed: Signed) -> None:
    report = signed.report()
    found = report.checkpoint
    assert found is not None
    assert (found.origin, found.key) == ("bank.example/gateway", signed.key)
    assert (found.size, found.covered, found.records) == (45, 18, 18)
    assert (found.covers, found.problems) == (True, ())
    assert report.holds_together
    assert report.totals.sessions_signed == 1
    assert "18 of the 18 records here are under it" in report.statement
    assert "Not checked: whether the key named here is the one you trust" in report.statement


def test_records_after_the_checkpoint_are_not_counted_as_signed(signed: Signed) -> None:
    later = Story("later")
    later.begin("customer_onboarding", {"name": "A", "email": "a@b.example"})
    save(signed.store, [later])
    report = signed.report("later")
    assert report.checkpoint is not None
    assert (report.checkpoint.covered, report.checkpoint.covers) == (0, False)
    assert report.totals.sessions_signed == 0
    assert report.holds_together


def test_a_rewritten_log_is_a_problem_of_every_session(signed: Signed) -> None:
    rewrite(signed.store, "onboarding", lambda inside: inside.pop())
    for session_id in ("payment", "onboarding"):
        report = signed.report(session_id)
        assert report.checkpoint is not None
        assert report.checkpoint.problems
        assert not report.holds_together
        assert "nothing in this report is proven" in report.statement
        assert {one.status for one in report.evidence} == {"not evidenced"}


def test_a_store_whose_checkpoints_are_gone_is_not_reported_as_unsigned(signed: Signed) -> None:
    empty = AuditMonitor(partial(open_view, signed.store), Kept, lambda: NOW)
    report = empty.generate_compliance_report("payment")
    assert report.checkpoint is not None
    assert "no checkpoint is there" in report.checkpoint.problems[0]
    assert not report.holds_together


def test_a_period_is_held_against_the_checkpoint_as_a_whole(signed: Signed) -> None:
    report = signed.monitor().generate_period_report(START, NOW)
    assert report.checkpoint is not None
    assert report.checkpoint.covers
    assert (report.totals.sessions, report.totals.sessions_signed) == (3, 3)
    rewrite(signed.store, "onboarding", lambda inside: inside.pop())
    report = signed.monitor().generate_period_report(START, NOW)
    assert not report.holds_together
    assert report.totals.sessions_signed == 0


def test_decisions_that_were_made_again_are_told_in_their_classes(signed: Signed) -> None:
    report = signed.monitor().generate_compliance_report("onboarding", replay=True)
    replay = report.replay
    assert replay is not None
    classes = sum(replay.consistent.values()) + sum(replay.not_derivable.values())
    assert replay.decisions == replay.rederived + classes > 0
    assert "say something else than the texts lead to" in report.statement
    assert report.totals.replayed == replay.decisions


def test_a_refusal_without_a_reason_in_the_rules_comes_out_differently(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    save(path, [onboarding()])

    def allow_nothing(inside: list[tuple[str, object, dict[str, object]]]) -> None:
        kind, at, data = inside[2]
        assert kind == "CallDenied"
        inside[2] = (kind, at, {**data, "rule": "invented", "reason": "just so"})

    rewrite(path, "onboarding", allow_nothing)  # type: ignore[arg-type] # contents stay contents
    monitor = AuditMonitor(partial(open_view, path), clock=lambda: NOW)
    report = monitor.generate_compliance_report("onboarding", replay=True)
    assert report.chain.status == "intact"
    assert report.replay is not None
    assert [one.seq for one in report.replay.differing] == [3]
    assert not report.holds_together
    assert {one.status for one in report.evidence} == {"not evidenced"}


def test_a_pruned_session_without_an_order_is_broken(signed: Signed) -> None:
    connection = intruder(signed.store)
    connection.execute("UPDATE record SET body=x'' WHERE session='payment'")
    connection.close()
    report = signed.report()
    assert report.chain.status == "broken"
    assert "the administration log does not say by whom" in report.chain.breaks[0].what
