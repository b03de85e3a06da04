"""`mcpuppet cancel`: a person ends a run."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, TokenFileOption
from mcpuppet.cli.output import put
from mcpuppet.cli.token_source import read_token


def cancel(
    session: Annotated[str, typer.Argument(help="As `mcpuppet sessions` lists it.")],
    reason: Annotated[str, typer.Option(help="Why; goes into the audit trail.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
) -> None:
    """End the active run of a session.

    Exit codes: 0 recorded; 1 refused; 2 there is no such session, or no active run.
    """
    token = read_token(token_file)
    from mcpuppet.cli import deciding  # noqa: PLC0415 - a second of imports

    put(deciding.cancel(config, token, session, reason))
