"""`mcpuppet reopen`: a person lets the inputs of a session be declared anew."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, TokenFileOption
from mcpuppet.cli.output import put
from mcpuppet.cli.token_source import read_token


def reopen(
    session: Annotated[str, typer.Argument(help="As `mcpuppet sessions` lists it.")],
    note: Annotated[str, typer.Option(help="Why; goes into the audit trail.")],
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
) -> None:
    """Open a session's locked inputs again.

    What is declared next counts as given by the user, although tools have answered before.
    """
    token = read_token(token_file)
    from mcpuppet.cli import deciding  # noqa: PLC0415 - a second of imports

    put(deciding.reopen(config, token, session, note))
