"""`mcpuppet audit prune`: what goes, what stays, and that it shows who ordered it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import apsw
import pytest
from support.fakes import Clock, FakeServers
from support.gateway import governed
from support.project import PAYMENT, SENDING, Project

from mcpuppet.errors import PrunedSessionError
from mcpuppet.orchestrator import Orchestrator

GONE, KEPT = "the letter of four hundred days ago", "the letter of today"


async def _send(orchestrator: Orchestrator, text: str) -> str:
    session = (await orchestrator.start_workflow("sending", {})).session_id
    answer = await orchestrator.call_tool(session, "post.send", {"text": text})
    assert answer.status == "succeeded"
    return session


def long_ago() -> Clock:
    return Clock(datetime.now(UTC) - timedelta(days=400))


@pytest.fixture
def old(project: Project) -> tuple[Project, str, str]:
    """A project, a session that ended 400 days ago, and one of today."""
    project.user("ann")

    async def main() -> tuple[str, str]:
        clock = long_ago()
        async with governed(project.folder, SENDING, clock=clock) as (orchestrator, _):
            gone = await _send(orchestrator, GONE)
            clock.advance(days=400)
            return gone, await _send(orchestrator, KEPT)

    return project, *asyncio.run(main())


def prune(project: Project, *options: str) -> tuple[int, str, str]:
    command = ("audit", "prune", "--before", "300d", "--reason", "retention", *options)
    result = project.run(*command, token=project.admin)
    return result.exit_code, result.stdout, result.stderr


def test_old_sessions_lose_their_contents_and_the_trail_still_verifies(
    old: tuple[Project, str, str],
) -> None:
    project, gone, kept = old
    assert project.run("audit", "init", token=project.admin).exit_code == 0
    code, out, err = prune(project, "--yes")
    assert code == 0, err
    assert out.split()[0] == gone
    assert kept not in out
    assert "1 session pruned: " in err
    assert project.kinds("administration")[-1] == "RecordsPruned"
    result = project.run("audit", "verify")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "were pruned, and only their hashes are left" in result.stderr
    assert "0 records came after it" in result.stderr


def test_the_list_of_sessions_cannot_make_a_young_one_old(old: tuple[Project, str, str]) -> None:
    project, gone, kept = old
    connection = apsw.Connection(str(project.store))
    connection.execute("UPDATE session SET updated_at=1")
    connection.close()
    code, out, _ = prune(project, "--yes")
    assert code == 0
    assert gone in out
    assert kept not in out


def test_nothing_of_the_contents_is_left_in_the_files(old: tuple[Project, str, str]) -> None:
    project, _, _ = old
    assert GONE.encode() in stored(project)
    prune(project, "--yes")
    assert GONE.encode() not in stored(project)
    assert KEPT.encode() in stored(project)


def stored(project: Project) -> bytes:
    return b"".join(
        one.read_bytes() for one in project.folder.glob("mcpuppet.db*") if one.is_file()
    )


def test_a_pruned_session_is_listed_as_such_and_nothing_more_is_known(
    old: tuple[Project, str, str],
) -> None:
    project, gone, _ = old
    prune(project, "--yes")
    assert "pruned" in project.run("sessions").stdout
    for command in (("show", gone), ("cancel", gone, "--reason", "x")):
        result = project.run(*command, token=project.admin)
        assert result.exit_code == 2, command
        assert "was pruned" in result.stderr, command


def test_a_pruned_session_cannot_go_on(old: tuple[Project, str, str]) -> None:
    project, gone, _ = old
    prune(project, "--yes")

    async def go_on(orchestrator: Orchestrator, _: FakeServers) -> None:
        await orchestrator.call_tool(gone, "post.send", {})

    with pytest.raises(PrunedSessionError, match="was pruned"):
        project.play(SENDING, go_on)
    assert project.run("audit", "verify").exit_code == 0


def test_a_bundle_of_a_pruned_session_still_shows_its_place(old: tuple[Project, str, str]) -> None:
    project, gone, _ = old
    key = project.run("audit", "init", token=project.admin).stdout.strip()
    prune(project, "--yes")
    assert project.run("audit", "bundle", gone, "-o", "b.jsonl").exit_code == 0
    result = project.run("audit", "verify", "b.jsonl", "--key", key)
    assert result.exit_code == 0, result.stdout
    assert "0 of " in result.stdout


def test_a_dry_run_and_a_person_who_does_not_confirm_prune_nothing(
    old: tuple[Project, str, str],
) -> None:
    project, gone, _ = old
    code, out, err = prune(project, "--dry-run")
    assert (code, out.split()[0]) == (0, gone)
    assert "1 session would be pruned" in err
    code, _, err = prune(project)
    assert (code, "nothing was pruned" in err) == (1, True)
    assert "RecordsPruned" not in project.kinds("administration")


def test_what_waits_for_a_person_is_kept(project: Project) -> None:
    project.user("ann")

    async def main() -> None:
        async with governed(project.folder, PAYMENT, clock=long_ago()) as (orchestrator, _):
            values = {"amount": 1, "payee": "Jane"}
            session = (await orchestrator.start_workflow("payment", values)).session_id
            await orchestrator.call_tool(session, "bank.pay", values)

    asyncio.run(main())
    assert "there is nothing to prune" in prune(project, "--yes")[2]


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        ("30d", "records younger than 184 days are kept"),
        ("2999-01-01", "only what lies in the past"),
        ("soon", "is no moment"),
    ],
)
def test_what_may_not_be_pruned_is_refused(project: Project, before: str, sentence: str) -> None:
    project.user("ann")
    result = project.run(
        "audit", "prune", "--before", before, "--reason", "x", "--yes", token=project.admin
    )
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_what_is_younger_than_six_months_is_pruned_by_force(project: Project) -> None:
    project.user("ann")
    result = project.run(
        *("audit", "prune", "--before", "30d", "--reason", "x", "--yes", "--force"),
        token=project.admin,
    )
    assert result.exit_code == 0
    assert "there is nothing to prune" in result.stderr


def test_only_an_admin_prunes_and_only_for_a_reason(old: tuple[Project, str, str]) -> None:
    project, _, _ = old
    other = project.user("bob")
    command = ("audit", "prune", "--before", "300d", "--yes", "--reason")
    assert project.run(*command, "x", token=other).exit_code == 1
    assert project.run(*command, "x").exit_code == 1
    assert project.run(*command, " ", token=project.admin).exit_code == 2


# --- what others do to pruned records -----------------------------------------------------------


def run(project: Project, sql: str, *values: str) -> None:
    connection = apsw.Connection(str(project.store))
    connection.execute("DROP TRIGGER IF EXISTS record_is_never_changed")
    for statement in sql.split(";"):
        connection.execute(statement, values)
        assert connection.changes() > 0
    connection.close()


def test_contents_that_nobody_ordered_to_be_pruned_are_a_break(
    old: tuple[Project, str, str],
) -> None:
    project, gone, kept = old
    prune(project, "--yes")
    run(
        project,
        "UPDATE record SET body=x'' WHERE session=?; UPDATE session SET state=x'' WHERE id=?",
        kept,
    )
    result = project.run("audit", "verify")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{kept} record 1: its contents were removed")
    assert gone not in result.stdout


def test_a_hash_of_a_pruned_record_cannot_be_replaced(old: tuple[Project, str, str]) -> None:
    project, gone, _ = old
    prune(project, "--yes")
    run(project, "UPDATE record SET hash=zeroblob(32) WHERE session=? AND seq=2", gone)
    result = project.run("audit", "verify")
    assert result.exit_code == 1
    assert f"{gone} record 1: its hashes are not those" in result.stdout


def test_one_record_without_its_contents_is_a_break(old: tuple[Project, str, str]) -> None:
    project, _, kept = old
    run(project, "UPDATE record SET body=x'' WHERE session=? AND seq=1", kept)
    result = project.run("audit", "verify")
    assert result.exit_code == 1
    assert f"{kept} record 1: its bytes do not give the hash" in result.stdout
