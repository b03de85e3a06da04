"""`mcpuppet report` into files and for periods."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from support.histories import Story, emergency, intruder, onboarding, payment, save
from support.project import Project


@pytest.fixture
def filled(project: Project) -> Project:
    """A project with three sessions of the fifth of January 2026."""
    stories: list[Story] = [onboarding(), payment(), emergency()]
    save(project.store, stories)
    return project


@pytest.mark.parametrize("format", ["html", "md", "json", "csv"])
def test_a_report_goes_to_the_file_in_the_format_of_its_name(filled: Project, format: str) -> None:
    result = filled.run("report", "payment", "-o", f"out.{format}")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "the bank closes in four minutes" in (filled.folder / f"out.{format}").read_text()
    assert sorted(one.name for one in filled.folder.glob(".out*")) == []


@pytest.mark.parametrize("format", ["html", "md", "json", "csv"])
def test_a_report_goes_to_stdout_without_a_file(filled: Project, format: str) -> None:
    result = filled.run("report", "payment", "-f", format)
    assert result.exit_code == 0
    assert "the bank closes in four minutes" in result.stdout


def test_a_page_has_the_picture_of_each_run(filled: Project) -> None:
    filled.run("report", "emergency", "-o", "out.html")
    assert (filled.folder / "out.html").read_text().count("<svg ") == 2


def test_a_session_is_replayed_unless_it_is_not_wanted(filled: Project) -> None:
    data = json.loads(filled.run("report", "payment", "-f", "json").stdout)
    assert data["replay"]["decisions"] > 0
    assert data["replay"]["differing"] == []
    data = json.loads(filled.run("report", "payment", "-f", "json", "--no-replay").stdout)
    assert data["replay"] is None


def test_days_name_a_period_with_its_last_day(filled: Project) -> None:
    result = filled.run("report", "--from", "2026-01-05", "--to", "2026-01-05", "--json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert (data["kind"], data["totals"]["sessions"]) == ("period", 3)
    assert data["until"] == "2026-01-06T00:00:00.000000Z"
    data = json.loads(filled.run("report", "--from", "2026-01-06", "--json").stdout)
    assert data["totals"]["sessions"] == 0


def test_times_name_a_period_with_their_zone(filled: Project) -> None:
    result = filled.run(
        "report", "--from", "2026-01-05T10:00+01:00", "--to", "2026-01-05T09:00:02Z", "-f", "csv"
    )
    rows = list(csv.DictReader(io.StringIO(result.stdout, newline="")))
    assert {one["time"][:19] for one in rows} <= {"2026-01-05T09:00:00", "2026-01-05T09:00:01"}
    assert len(rows) > 6


def test_a_period_fits_the_terminal(filled: Project) -> None:
    result = filled.run("report", "--from", "2026-01-05", COLUMNS="80")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "Compliance report of a period" in result.stdout
    assert "bypasses: 1" in result.stdout


@pytest.mark.parametrize("arguments", [("payment",), ("--from", "2026-01-05")])
@pytest.mark.parametrize("format", ["html", "md", "json", "csv"])
def test_what_does_not_hold_is_reported_with_exit_code_one(
    filled: Project, arguments: tuple[str, ...], format: str
) -> None:
    connection = intruder(filled.store)
    connection.execute("UPDATE record SET body=x'00' WHERE session='payment' AND seq=5")
    connection.close()
    result = filled.run("report", *arguments, "-f", format)
    assert result.exit_code == 1, result.stderr
    assert "payment" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody",), "nobody"),
        (("payment", "--from", "2026-01-05"), "name a session or a period"),
        (("--to", "2026-01-05"), "--from says when it begins"),
        (("--from", "yesterday"), "is no moment: `2026-01-31`"),
        (("--from", "2026-01-05", "--to", "2026-01-01"), "ends after that moment"),
        (("payment", "-o", "out.docx"), "end it in .html, .md, .json, .csv, .pdf"),
        (("payment", "-o", "missing/out.html"), "cannot be written"),
        (("payment", "-f", "html", "-o", "."), "is a folder"),
    ],
)
def test_what_cannot_be_reported_is_said_in_a_sentence(
    filled: Project, arguments: tuple[str, ...], said: str
) -> None:
    result = filled.run("report", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_without_the_extra_a_pdf_is_refused_with_its_name(
    filled: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mcpuppet.audit.reports.pdf_format", None)
    result = filled.run("report", "payment", "-o", "out.pdf")
    assert result.exit_code == 2
    assert "install mcpuppet[pdf]" in result.stderr
    assert not Path("out.pdf").exists()


def test_with_the_extra_a_pdf_is_written(filled: Project) -> None:
    pytest.importorskip("reportlab", reason="the extra `pdf` is not installed")
    result = filled.run("report", "payment", "-o", "out.pdf")
    assert result.exit_code == 0, result.stderr
    assert (filled.folder / "out.pdf").read_bytes().startswith(b"%PDF-")
