"""People and their tokens at the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from support.project import Project

from mcpuppet.app import Desk
from mcpuppet.audit.verify import verify_store
from mcpuppet.people.deciding import token_hash


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


def test_a_disabled_person_may_decide_nothing_any_more(project: Project) -> None:
    project.user("ann")
    bob = project.user("bob")
    bare = project.run("user", "disable", "bob", "--reason", " ", token=project.admin)
    assert bare.exit_code == 2
    done = project.run("user", "disable", "bob", "--reason", "left", token=project.admin)
    assert done.exit_code == 0, done.stderr
    assert "may decide nothing any more" in done.stdout
    assert project.run("user", "rotate", "bob", token=bob).exit_code == 1
    for again in (("disable", "bob", "--reason", "x"), ("roles", "bob", "--role", "boss")):
        assert project.run("user", *again, token=project.admin).exit_code == 2
    users = json.loads(project.run("user", "list", "--json").stdout)["users"]
    assert [one["disabled"] for one in users] == [False, True]
    assert breaks(project) == []


def test_the_last_admin_stays_one(project: Project) -> None:
    ann = project.user("ann")
    for last in (("disable", "ann", "--reason", "x"), ("roles", "ann", "--role", "boss")):
        refused = project.run("user", *last, token=ann)
        assert refused.exit_code == 2
        assert "last person with the role admin" in refused.stderr
    bob = project.user("bob", "admin")
    assert project.run("user", "roles", "ann", "--role", "boss", token=bob).exit_code == 0
    assert project.run("user", "add", "eve", "--role", "boss", token=ann).exit_code == 1
    assert project.run("user", "roles", "bob", "--role", "boss", token=bob).exit_code == 2
    assert breaks(project) == []


def test_a_token_is_replaced_by_its_owner_or_an_admin(project: Project) -> None:
    ann, bob, eve = project.user("ann"), project.user("bob"), project.user("eve")
    assert project.run("user", "rotate", "bob", token=eve).exit_code == 1
    own = project.run("user", "rotate", "bob", token=bob)
    new = own.stdout.strip()
    assert own.exit_code == 0
    assert token_hash(new) in stored(project)
    assert project.run("user", "rotate", "bob", token=bob).exit_code == 1
    newer = project.run("user", "rotate", "bob", token=ann).stdout.strip()
    assert len({bob, new, newer}) == 3
    assert project.run("user", "rotate", "nobody", token=ann).exit_code == 2
    assert breaks(project) == []


@pytest.mark.parametrize("name", ["time", "first use", "user of agent", "", " ann", "a\nb"])
def test_nobody_is_called_like_what_records_say_of_nobody(project: Project, name: str) -> None:
    assert project.run("user", "add", name, "--role", "boss").exit_code == 2
    assert "[]" in project.run("user", "list", "--json").stdout or not project.store.exists()


def test_everything_about_people_is_on_record(project: Project) -> None:
    ann = project.user("ann")
    project.user("bob")
    project.run("user", "roles", "bob", "--role", "admin", token=ann)
    project.run("user", "rotate", "bob", token=ann)
    project.run("user", "disable", "bob", "--reason", "left", token=ann)
    project.run("user", "disable", "bob", "--reason", "left", token="mcpp_wrong")
    assert project.kinds("administration") == [
        "SessionOpened",
        "UserAdded",
        "UserAdded",
        "UserRolesChanged",
        "TokenRotated",
        "UserDisabled",
        "DecisionRefused",
    ]


# --- people who were slipped into the store ------------------------------------------------------


def breaks(project: Project) -> list[str]:
    async def work(desk: Desk) -> list[str]:
        return [one.what for one in verify_store(desk.store.reader).breaks]

    return project.desk(work)


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        (
            "INSERT INTO user SELECT 'eve', roles, x'00', 0, created_at FROM user LIMIT 1",
            "person 'eve' is in the store",
        ),
        ("UPDATE user SET roles='[\"admin\"]' WHERE name='bob'", "person 'bob' holds the roles"),
        ("UPDATE user SET disabled=0 WHERE name='bob'", "person 'bob' is enabled in the store"),
        ("UPDATE user SET disabled=1 WHERE name='ann'", "person 'ann' is disabled in the store"),
        ("UPDATE user SET token_hash=x'aa' WHERE name='bob'", "person 'bob' has another token"),
        ("DELETE FROM user WHERE name='bob'", "person 'bob' is not in the store"),
        ("UPDATE user SET roles='{' WHERE name='bob'", "the people cannot be compared"),
    ],
)
def test_a_change_of_people_that_nobody_recorded_is_a_break(
    project: Project, sql: str, what: str
) -> None:
    project.user("ann")
    project.user("bob")
    project.run("user", "disable", "bob", "--reason", "left", token=project.admin)
    assert breaks(project) == []
    connection = apsw.Connection(str(project.store))
    for trigger in [
        row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='trigger'")
    ]:
        connection.execute(f'DROP TRIGGER "{trigger}"')
    connection.execute(sql)
    connection.close()
    found = breaks(project)
    assert len(found) == 1
    assert what in found[0]


FIRST = """
import asyncio, sys
from pathlib import Path
from mcpuppet.app import open_desk
from mcpuppet.errors import NotAuthorisedError
from mcpuppet.settings import load_settings

async def main():
    async with open_desk(load_settings(Path("mcpuppet.yaml"))) as desk:
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            await desk.people.add_user(sys.argv[1], ("boss",))
            print("first", flush=True)
        except NotAuthorisedError:
            print("refused", flush=True)

asyncio.run(main())
"""


def test_of_four_processes_one_adds_the_first_person(project: Project) -> None:
    racers = [racer(project.folder, f"person{number}") for number in range(4)]
    for one in racers:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in racers:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    said = sorted(line for one in racers for line in one.communicate(timeout=60)[0].split())
    assert said == ["first", "refused", "refused", "refused"]
    assert len(json.loads(project.run("user", "list", "--json").stdout)["users"]) == 1
    assert breaks(project) == []


def racer(folder: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FIRST, name],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
