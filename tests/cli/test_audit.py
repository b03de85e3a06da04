"""`mcpuppet audit verify` and `mcpuppet report`."""

from __future__ import annotations

import json

import apsw
import pytest
from support.project import Project


def spoil(project: Project, session: str) -> None:
    """Change one record, as somebody who may write to the file could."""
    connection = apsw.Connection(str(project.store))
    connection.execute("DROP TRIGGER record_is_never_changed")
    connection.execute(
        "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), 'DE12', 'DE13') AS BLOB)"
        " WHERE session = ? AND seq = 2",
        (session,),
    )
    connection.close()


def test_a_good_trail_verifies(project: Project) -> None:
    project.asked()
    result = project.run("audit", "verify")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "everything holds" in result.stderr
    document = json.loads(project.run("audit", "verify", "--json").stdout)
    assert (document["ok"], document["sessions"], document["breaks"]) == (True, 1, [])
    assert document["records"] > 2


def test_each_break_is_listed(project: Project) -> None:
    session, _ = project.asked()
    spoil(project, session)
    result = project.run("audit", "verify")
    assert result.exit_code == 1
    assert f"{session} record 2: " in result.stdout
    document = json.loads(project.run("audit", "verify", "--json").stdout)
    assert document["ok"] is False
    assert (document["breaks"][0]["session_id"], document["breaks"][0]["seq"]) == (session, 2)


def test_a_report_is_of_the_session_changed_last_unless_one_is_named(project: Project) -> None:
    session, _ = project.asked()
    document = json.loads(project.run("report", "--json").stdout)
    assert document["session_id"] == session
    named = json.loads(project.run("report", session, "--json").stdout)
    assert [one["seq"] for one in named["events"]] == [one["seq"] for one in document["events"]]
    assert named["calls"] == document["calls"]
    assert session in project.run("report").stdout


@pytest.mark.parametrize("form", [("--json",), ()])
def test_a_report_of_a_broken_trail_says_so(project: Project, form: tuple[str, ...]) -> None:
    session, _ = project.asked()
    spoil(project, session)
    result = project.run("report", session, *form)
    assert result.exit_code == 1
    assert "broken" in result.stdout.lower()


def test_without_sessions_there_is_nothing_to_report(project: Project) -> None:
    project.user("ann")
    result = project.run("report")
    assert result.exit_code == 2
    assert "no session to report on" in result.stderr
