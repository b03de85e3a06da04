"""`mcpuppet audit export`: the whole log for verifiers, and every other form for everybody else."""

from __future__ import annotations

import csv
import io
import json

import pytest
from support.project import Project


def test_the_whole_log_is_verified_from_its_export_and_the_public_key(project: Project) -> None:
    project.asked()
    key = project.run("audit", "init", "--name", "bank.example", token=project.admin).stdout.strip()
    assert project.run("audit", "checkpoint").exit_code == 0
    result = project.run("audit", "export", "-o", "log.jsonl")
    assert result.exit_code == 0, result.stderr
    assert "records written to log.jsonl" in result.stderr
    verified = project.run("audit", "verify", "log.jsonl", "--key", key, "--json")
    document = json.loads(verified.stdout)
    assert document["ok"] is True
    assert document["verified"] == document["records"] > 3


@pytest.mark.parametrize("form", ["csv", "ocsf", "cef", "cloudevents", "aat"])
def test_one_session_is_written_in_every_form(project: Project, form: str) -> None:
    session, _ = project.asked()
    result = project.run("audit", "export", session, "-f", form)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    records = len(lines) - (form == "csv")
    assert f"{records} records written" in result.stderr
    assert records == len(project.kinds(session))
    assert all(session in line for line in lines[1:])


def test_a_span_of_time_is_given_as_dates_or_durations(project: Project) -> None:
    session, _ = project.asked()
    whole = project.run("audit", "export", session, "-f", "csv", "--from", "2020-01-01")
    assert len(list(csv.reader(io.StringIO(whole.stdout)))) > 3
    before = project.run("audit", "export", session, "-f", "csv", "--to", "3650d")
    assert "0 records written" in before.stderr


def test_a_span_ends_with_its_last_day(project: Project) -> None:
    session, _ = project.asked()
    days = ("--from", "2020-01-01", "--to")
    rows = list(csv.DictReader(io.StringIO(project.run("audit", "export", "-f", "csv").stdout)))
    day = rows[-1]["at"][:10]
    whole = project.run("audit", "export", session, "-f", "csv", *days, day)
    assert f"{len(project.kinds(session))} records written" in whole.stderr
    none = project.run("audit", "export", session, "-f", "csv", *days, f"{day}T00:00")
    assert "0 records written" in none.stderr


@pytest.mark.parametrize("command", ["audit export -f csv --from 2026-01-01", "report --from 1d"])
def test_the_last_day_of_the_calendar_ends_a_span_and_what_is_past_it_is_no_moment(
    project: Project, command: str
) -> None:
    project.asked()
    last = project.run(*command.split(), "--to", "9999-12-31")
    assert last.exit_code == 0, last.stderr
    past = project.run(*command.split(), "--to", "9999-12-31T23:00-14:00")
    assert past.exit_code == 2
    assert "is no moment" in past.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody", "-f", "csv"), "no session 'nobody'"),
        (("-f", "pdf"), "'pdf' is not one of"),
        (("-f", "csv", "--from", "yesterday"), "'yesterday' is no moment"),
        (("-f", "csv", "--from", "2026-01-02", "--to", "2026-01-01"), "is not before --to"),
        (("ses_1", "-f", "jsonl"), "mcpuppet audit bundle SESSION"),
        (("-f", "csv", "-o", "mcpuppet.yaml"), "cannot write mcpuppet.yaml: File exists"),
        (("-f", "csv", "-o", "no/such/folder"), "cannot write no/such/folder: No such file"),
    ],
)
def test_what_cannot_be_exported_is_said_and_nothing_is_written(
    project: Project, arguments: tuple[str, ...], said: str
) -> None:
    project.asked()
    settings = (project.folder / "mcpuppet.yaml").read_bytes()
    result = project.run("audit", "export", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (project.folder / "no").exists()
    assert (project.folder / "mcpuppet.yaml").read_bytes() == settings
