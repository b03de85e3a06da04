"""`mcpuppet user`: the people who may decide, and their tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, TokenFileOption
from mcpuppet.cli.output import put, put_json, say
from mcpuppet.cli.token_source import read_token

user = typer.Typer(no_args_is_help=True, help="Add and list the people who may decide.")


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
    from mcpuppet.cli import deciding  # noqa: PLC0415

    token = deciding.add_user(config, lambda: read_token(token_file), name, tuple(role))
    put(token)
    say(
        f"This is the token of {name}. It is not kept and cannot be shown again: put it into a "
        "file of mode 600 that only they can read."
    )


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
