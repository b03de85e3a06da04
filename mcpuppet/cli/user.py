"""`mcpuppet user`: the people who may decide, and their tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, TokenFileOption
from mcpuppet.cli.output import put, put_json, say
from mcpuppet.cli.token_source import read_token

user = typer.Typer(no_args_is_help=True, help="The people who may decide, and their tokens.")

NameArgument = Annotated[str, typer.Argument(help="As `mcpuppet user list` names them.")]


@user.command()
def add(
    name: Annotated[str, typer.Argument(help="How approvals and the audit trail name them.")],
    role: Annotated[list[str], typer.Option(help="What they may decide; may be given again.")],
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
) -> None:
    """Add a person and print their token, this once.

    The first person becomes an admin as well; everybody else is added with an admin's token.
    """
    # The store costs a second of imports that --help should not pay.
    from mcpuppet.cli import managing  # noqa: PLC0415

    put(managing.add_user(config, lambda: read_token(token_file), name, tuple(role)))
    _say_whose(name)


def _say_whose(name: str) -> None:
    say(
        f"This is the token of {name}. It is not kept and cannot be shown again: put it into a "
        "file of mode 600 that only they can read."
    )


@user.command()
def disable(
    name: NameArgument,
    reason: Annotated[str, typer.Option(help="Why; goes into the audit trail.")],
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
) -> None:
    """Let a person decide nothing any more. It cannot be undone.

    It needs an admin's token. Votes that they gave for what is still open do not count; what was
    granted stays granted.
    """
    token = read_token(token_file)
    from mcpuppet.cli import managing  # noqa: PLC0415 - a second of imports

    put(managing.disable_user(config, token, name, reason))


@user.command()
def rotate(
    name: NameArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
) -> None:
    """Give a person a new token and print it, this once.

    The old one is worth nothing then. It needs an admin's token, or the person's own.
    """
    token = read_token(token_file)
    from mcpuppet.cli import managing  # noqa: PLC0415 - a second of imports

    put(managing.rotate_token(config, token, name))
    _say_whose(name)


@user.command()
def roles(
    name: NameArgument,
    role: Annotated[list[str], typer.Option(help="What they may decide; may be given again.")],
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
) -> None:
    """Give a person these roles in place of those they hold.

    It needs an admin's token.
    """
    token = read_token(token_file)
    from mcpuppet.cli import managing  # noqa: PLC0415 - a second of imports

    put(managing.change_roles(config, token, name, tuple(role)))


@user.command("list")
def list_users(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List everybody who was given a token."""
    # The store and Rich cost a second of imports that --help should not pay.
    from mcpuppet.cli import documents, looking, pages  # noqa: PLC0415

    users = looking.users(config)
    if as_json:
        put_json({"users": [documents.user_document(one) for one in users]})
    else:
        pages.show(pages.users_page(users))
