"""A report in a terminal, and text from outside that must not act on it."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console
from support.histories import emergency, onboarding, payment, save
from support.told import BEFORE, EVENTS, report_of

from mcpuppet.audit.monitor import AuditMonitor
from mcpuppet.audit.reports.report import Break, ChainReport, ComplianceReport, Violation
from mcpuppet.cli.report_view import render_report
from mcpuppet.cli.text import plain, visible
from mcpuppet.session import events as e
from mcpuppet.store.sqlite_reader import open_view

HOSTILE = "\x1b[2J[bold red]x[/] \u202etxt\u202c :lock: \u200b\ud800\U000e0041 a\nb"


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> AuditMonitor:
    path: Path = tmp_path_factory.mktemp("store") / "store.db"
    save(path, [onboarding(), payment(), emergency()])
    return AuditMonitor(partial(open_view, path))


def printed(report: ComplianceReport) -> str:
    file = io.StringIO()
    render_report(report, Console(file=file, width=80, no_color=True))
    return file.getvalue()


@pytest.mark.parametrize("session_id", ["onboarding", "payment", "emergency"])
def test_a_report_fits_eighty_columns_without_escape_codes(
    monitor: AuditMonitor, session_id: str
) -> None:
    text = printed(monitor.generate_compliance_report(session_id))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    assert "chain: intact" in text


def test_a_report_shows_denials_approvals_and_figures(monitor: AuditMonitor) -> None:
    text = printed(monitor.generate_compliance_report("onboarding"))
    assert "Violations: denied calls, of which nothing was sent (1)" in text
    assert "needs: step process first needs" in text
    assert "decided: 2026-01-05T09:05:07Z, by carol" in text
    assert "83.3%" in text
    assert "backup, attempt 2" in text
    assert "No signed checkpoint was compared with" in " ".join(text.split())


def test_a_report_shows_who_settled_and_who_bypassed(monitor: AuditMonitor) -> None:
    text = printed(monitor.generate_compliance_report("payment"))
    assert "by fay: it did happen: seen on the bank" in text
    assert "justification: the bank closes in four minutes" in text
    assert "Violations: denied calls, of which nothing was sent: none" in text


def test_a_broken_chain_is_said_before_anything_else(monitor: AuditMonitor) -> None:
    good = monitor.generate_compliance_report("payment")
    chain = ChainReport("broken", 18, None, (Break(7, "it is missing"),))
    text = printed(replace(good, chain=chain))
    assert text.index("BROKEN") < text.index("record 7: it is missing") < text.index("Runs")


def test_what_comes_from_outside_is_shown_and_does_not_act(monitor: AuditMonitor) -> None:
    good = monitor.generate_compliance_report("payment")
    at = good.calls[0].decided_at
    violation = Violation(3, at, "c", HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    calls = tuple(replace(call, tool=HOSTILE, error=HOSTILE) for call in good.calls)
    text = printed(replace(good, session_id=HOSTILE, violations=(violation,), calls=calls))
    assert not {"\x1b", "\u202e", "\u202c", "\u200b", "\ud800", "\U000e0041"} & set(text)
    assert "Compliance report: \\x1b[2J[bold red]x[/] \\u202etxt\\u202c :lock:" in text
    assert "\\U000e0041 a\\x0ab" in text.replace("\n", "").replace("  ", " ")


def test_reviews_edits_repeats_and_refused_attempts_are_shown() -> None:
    text = printed(report_of(*BEFORE, *EVENTS.values()))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "Reviews of bypasses (1)" in text
    assert "unjustified" in text
    assert "Attempts to decide that were refused (1)" in text
    assert "Repeated requests, not called again (1)" in text
    assert "edited 1: 2026-01-05T09:00:00Z, by ann" in text
    assert "escalated 1: 2026-01-05T09:00:00Z, to chief" in text
    assert "late answer: 2026-01-05T09:00:00Z, succeeded, not applied" in text


def test_a_reconciled_call_is_shown_as_settled_by_the_call_that_read() -> None:
    told = report_of(*BEFORE, EVENTS[e.CallBecameUnknown], EVENTS[e.CallReconciled])
    assert "by the reading call call_9: it did happen" in printed(told)


def test_a_rate_is_never_rounded_up_to_all(monitor: AuditMonitor) -> None:
    good = monitor.generate_compliance_report("payment")
    overall = replace(good.figures.overall, succeeded=9999, failed=1)
    text = printed(replace(good, figures=replace(good.figures, overall=overall)))
    assert "99.9%" in text


def test_visible_text_survives_markup() -> None:
    file = io.StringIO()
    console = Console(file=file, width=200, emoji=False, highlight=False)
    console.print(f"[bold]{visible(HOSTILE)}[/bold]", soft_wrap=True)
    spelled = "\\x1b[2J[bold red]x[/] \\u202etxt\\u202c :lock: \\u200b\\ud800\\U000e0041 a\\x0ab"
    assert file.getvalue() == f"{spelled}\n"


@pytest.mark.parametrize("text", ["", "customer.get_customer", "Müller & Söhne", "日本", "C:\\a"])
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert plain(text).plain == text
    file = io.StringIO()
    Console(file=file, width=80, emoji=False).print(f"{visible(text)}")
    assert file.getvalue() == f"{text}\n"


def test_a_backslash_at_the_end_cannot_take_a_tag_away() -> None:
    file = io.StringIO()
    Console(file=file, width=80).print(f"[bold]{visible('a' + chr(92))}[/bold]!")
    assert file.getvalue() == "a\\x5c!\n"
