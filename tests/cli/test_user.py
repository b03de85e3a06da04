"""People and their tokens at the command line."""

from __future__ import annotations

import json

from support.project import Project

from mcpuppet.people import token_hash


def stored(project: Project) -> bytes:
    """Every byte of the store, its write-ahead log included."""
    return b"".join(
        one.read_bytes() for one in project.folder.glob("mcpuppet.db*") if one.is_file()
    )


def test_a_token_is_printed_once_and_only_its_hash_is_kept(project: Project) -> None:
    result = project.run("user", "add", "ann", "--role", "boss", "--role", "finance")
    token = result.stdout.removesuffix("\n")
    assert result.exit_code == 0
    assert token.startswith("mcpp_")
    assert len(token.split()) == 1
    assert token not in result.stderr
    assert token.encode() not in stored(project)
    assert token_hash(token) in stored(project)
    assert token not in project.run("user", "list").output
    assert token not in project.run("user", "list", "--json").output


def test_people_are_listed(project: Project) -> None:
    ann = project.run("user", "add", "ann", "--role", "boss", "--role", "finance").stdout
    project.run("user", "add", "bob", "--role", "boss", token=ann)
    users = json.loads(project.run("user", "list", "--json").stdout)["users"]
    assert [(one["name"], one["roles"], one["disabled"]) for one in users] == [
        ("ann", ["boss", "finance", "admin"], False),
        ("bob", ["boss"], False),
    ]
    assert set(users[0]) == {"name", "roles", "disabled", "created_at"}
    assert "boss, finance, admin" in project.run("user", "list").stdout


def test_a_name_is_given_once(project: Project) -> None:
    project.user("ann")
    result = project.run("user", "add", "ann", "--role", "boss", token=project.admin)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "there is a user 'ann' already" in result.stderr


def test_a_person_needs_a_role(project: Project) -> None:
    result = project.run("user", "add", "ann")
    assert result.exit_code == 2
    assert "--role" in result.stderr
    assert not project.store.exists()


def test_only_an_admin_adds_people_once_there_is_somebody(project: Project) -> None:
    project.user("ann")
    bob = project.user("bob")
    for token in ("", bob, "mcpp_" + "x" * 43):
        result = project.run("user", "add", "eve", "--role", "boss", token=token)
        assert result.exit_code == 1
        assert result.stdout == ""
    assert "eve" not in project.run("user", "list").stdout
