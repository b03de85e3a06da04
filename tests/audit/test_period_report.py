"""What a report of a period counts: what fell into it, as of its end, of all sessions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from support.fakes import START, succeeded
from support.histories import (
    CUSTOMER,
    Story,
    emergency,
    in_memory,
    onboarding,
    payment,
    resealed,
    save,
)

from mcpuppet.audit.monitor import AuditMonitor
from mcpuppet.audit.reports.counting import Period
from mcpuppet.audit.reports.csv_format import csv_chunks
from mcpuppet.audit.reports.html_format import html_chunks
from mcpuppet.audit.reports.markdown_format import markdown_chunks
from mcpuppet.audit.reports.period_contents import period_document
from mcpuppet.audit.reports.period_report import MOST_LISTED, PeriodReport
from mcpuppet.errors import InvalidInputError
from mcpuppet.session import admin_events as a
from mcpuppet.session import events as e
from mcpuppet.session.consequences import Progress
from mcpuppet.store.sqlite_reader import open_view

DAY = timedelta(days=1)
NOW = START + 10 * DAY


def late() -> Story:
    """A session of the day after."""
    story = Story("late")
    story.clock.advance(days=1)
    story.begin("customer_onboarding", CUSTOMER)
    story.ask("customer.create_account", **CUSTOMER)
    story.call("customer.validate_customer", succeeded(complete=True, risk="high"), **CUSTOMER)
    return story


def bypassed() -> Story:
    """A bypass that has to be reviewed within a day, and is on the third."""
    story = Story("bypassed")
    story.begin("customer_onboarding", CUSTOMER)

    def ask(progress: Progress) -> None:
        progress.emit(
            e.ReviewOpened("rev", "apr", "review", "ivan", "urgent", ("auditor",), START + DAY)
        )

    story.act(ask)
    return story


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("period") / "store.db"
    save(path, [onboarding(), payment(), emergency(), late()])
    return path


def monitor(path: Path) -> AuditMonitor:
    return AuditMonitor(partial(open_view, path), clock=lambda: NOW)


def report_of(path: Path, since: datetime = START, until: datetime = NOW) -> PeriodReport:
    return monitor(path).generate_period_report(since, until)


def test_a_period_counts_every_session_with_a_record_in_it(store: Path) -> None:
    report = report_of(store)
    assert [one.session_id for one in report.sessions] == [
        *("emergency", "late", "onboarding", "payment"),
    ]
    totals = report.totals
    assert (totals.sessions, totals.sessions_intact) == (4, 4)
    calls = sum(one.calls for one in report.sessions)
    assert totals.calls == calls == totals.allowed + totals.denied + totals.deferred
    assert (totals.denied, report.violations.total) == (2, 2)
    assert report.violations.items[0][0] == "late"
    assert (totals.bypasses, totals.versions) == (1, 3)


def test_sessions_and_calls_outside_the_period_are_left_out(store: Path) -> None:
    report = report_of(store, START + DAY, START + 2 * DAY)
    assert [one.session_id for one in report.sessions] == ["late"]
    assert (report.totals.denied, report.totals.calls) == (1, 2)
    assert report_of(store, START - DAY, START).sessions == ()


def test_a_period_ends_before_its_end(store: Path) -> None:
    assert report_of(store, START - DAY, START).totals.records == 0
    assert report_of(store, START, START + timedelta(microseconds=1)).totals.records == 6


def test_what_happened_after_the_period_is_not_told(store: Path) -> None:
    end = START + timedelta(minutes=5)
    (line,) = [one for one in report_of(store, START, end).sessions if one.session_id == "payment"]
    assert line.unsettled == 0
    early = report_of(store, START, START + timedelta(seconds=7))
    assert early.totals.unsettled == 1  # a person settled it a minute later
    waiting = [one for name, one in early.requests.items if name == "onboarding"]
    assert [one.status for one in waiting] == ["open"]


def test_a_review_is_overdue_as_of_the_end_of_the_period(tmp_path: Path) -> None:
    in_time, after = START + timedelta(hours=1), START + 2 * DAY
    path = tmp_path / "store.db"
    save(path, [bypassed()])
    assert report_of(path, START, in_time).totals.reviews_overdue == 0
    assert report_of(path, START, after).totals.reviews_overdue == 1


def test_a_period_that_is_empty_is_refused(store: Path) -> None:
    with pytest.raises(InvalidInputError, match="ends after that moment"):
        report_of(store, NOW, START)


def test_a_spoilt_session_is_reported_whatever_time_its_records_name(store: Path) -> None:
    reader = in_memory(store)
    spoilt = reader.chains["payment"]
    reader.chains["payment"] = [*spoilt[:2], spoilt[2].__class__("payment", 3, b"{}", b"x" * 32)]
    found = AuditMonitor(reader.open, clock=lambda: NOW)
    report = found.generate_period_report(START + 5 * DAY, NOW)
    assert [one.session_id for one in report.sessions] == ["payment"]
    assert report.totals.sessions_broken == 1
    assert not report.holds_together
    assert {one.status for one in report.evidence} == {"not evidenced"}
    assert report.breaks.total >= 1


def test_a_session_without_contents_is_counted_and_not_taken_for_an_idle_one(
    store: Path,
) -> None:
    reader = in_memory(store)
    chain = reader.chains["payment"]
    reader.chains["payment"] = [type(one)(one.session_id, one.seq, b"", one.hash) for one in chain]
    report = AuditMonitor(reader.open, clock=lambda: NOW).generate_period_report(START, NOW)
    assert report.pruned == 1
    assert "payment" not in [one.session_id for one in report.sessions]
    assert "The contents of 1 session were removed" in "".join(
        markdown_chunks(period_document(report))
    )


def test_what_concerned_the_installation_is_told_apart(store: Path) -> None:
    reader = in_memory(store)
    told: list[e.Event] = [
        e.SessionOpened("operator", "5" * 64),
        a.UserAdded("ann", ("boss",), "a" * 64, None),
        a.ToolChanged("t.x", "a" * 64, "b" * 64, "node"),
        a.DecisionRefused("deny", "apr_9", "", "badbadbadbad", "cli", "no such token"),
    ]
    inside = [(e.event_kind(one), START, e.event_data(one)) for one in told]
    reader.put(a.ADMINISTRATION, resealed(a.ADMINISTRATION, inside))
    report = AuditMonitor(reader.open, clock=lambda: NOW).generate_period_report(START, NOW)
    kinds = [one.kind for _, one in report.administration.items]
    assert kinds == ["UserAdded", "ToolChanged", "DecisionRefused"]
    totals = report.totals
    assert (totals.people_changes, totals.tools_changed, totals.refused_decisions) == (1, 1, 1)


def test_figures_of_steps_name_their_workflow(store: Path) -> None:
    names = [one.name for one in report_of(store).figures.by_step]
    assert "customer_onboarding/validate" in names
    assert names == sorted(names)


def test_no_more_is_listed_than_fits_and_the_number_is_told(tmp_path: Path) -> None:
    story = Story("many")
    story.begin("customer_onboarding", CUSTOMER)
    for _ in range(MOST_LISTED + 5):
        story.ask("customer.create_account", **CUSTOMER)
    save(tmp_path / "store.db", [story])
    report = report_of(tmp_path / "store.db")
    assert (report.violations.total, len(report.violations.items)) == (MOST_LISTED + 5, MOST_LISTED)
    page = "".join(html_chunks(period_document(report)))
    assert "These are the first 1,000 of 1,005" in page


def test_every_format_of_a_period_can_be_written(store: Path) -> None:
    report = report_of(store)
    document = period_document(report)
    assert "the bank closes in four minutes" in "".join(html_chunks(document))
    assert "the bank closes in four minutes" in "".join(markdown_chunks(document))
    data = json.loads(report.to_json())
    assert (data["mcpuppet_report"], data["kind"]) == (1, "period")
    assert data["bypasses"]["total"] == 1


def test_the_csv_of_a_period_has_the_records_of_the_period(store: Path) -> None:
    since, until = START + DAY, START + 2 * DAY
    reports = monitor(store).session_reports(since, until)
    assert isinstance(reports, Iterator)
    text = "".join(csv_chunks(reports, Period(since, until)))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {one["session"] for one in rows} == {"late"}
    assert len(rows) == report_of(store, since, until).totals.records


def test_decisions_of_a_period_are_derived_again_when_asked(store: Path) -> None:
    report = monitor(store).generate_period_report(START, NOW, replay=True)
    assert report.replay is not None
    assert report.totals.replayed == report.replay.decisions > 0
    assert report.replay.differing == ()
