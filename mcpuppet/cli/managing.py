"""What admins do at the desk with their token: add, change and disable people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mcpuppet.app import Desk
from mcpuppet.cli.deciding import as_person
from mcpuppet.cli.desk import at_desk
from mcpuppet.people.deciding import Person


def add_user(config: Path, token: Callable[[], str], name: str, roles: tuple[str, ...]) -> str:
    """Add a person and give their token; `token` is asked for unless they are the first one."""

    async def work(desk: Desk) -> str:
        first = not await desk.people.has_users()
        by = None if first else await desk.people.authenticate(token(), "user add", name)
        return await desk.people.add_user(name, roles, by)

    return at_desk(config, work, new_store=True)


def disable_user(config: Path, token: str, name: str, reason: str) -> str:
    """Let a person decide nothing any more; raises what `Users.disable` raises."""

    async def work(desk: Desk, person: Person) -> str:
        await desk.people.users.disable(name, reason, person)
        return (
            f"{name} may decide nothing any more. Votes of theirs for what is still open do not "
            "count; what was granted stays granted."
        )

    return as_person(config, token, "user disable", name, work)


def rotate_token(config: Path, token: str, name: str) -> str:
    """Give a person a new token, and return it; raises what `Users.rotate` raises."""

    async def work(desk: Desk, person: Person) -> str:
        return await desk.people.users.rotate(name, person)

    return as_person(config, token, "user rotate", name, work)


def change_roles(config: Path, token: str, name: str, roles: tuple[str, ...]) -> str:
    """Give a person these roles and no others; raises what `Users.change_roles` raises."""

    async def work(desk: Desk, person: Person) -> str:
        await desk.people.users.change_roles(name, roles, person)
        return f"{name} holds these roles now: {', '.join(roles)}."

    return as_person(config, token, "user roles", name, work)
