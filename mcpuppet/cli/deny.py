"""`mcpuppet deny`: one person's no to a request, with the reason that the model is told."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, TokenFileOption
from mcpuppet.cli.output import put
from mcpuppet.cli.token_source import read_token


def deny(
    approval: Annotated[str, typer.Argument(help="As `mcpuppet approvals` lists it.")],
    reason: Annotated[str, typer.Option(help="Why; the model is told.")],
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
) -> None:
    """Deny a request; one denial decides.

    Exit codes: 0 recorded; 1 refused; 2 there is no such request.
    """
    token = read_token(token_file)
    from mcpuppet.cli import deciding  # noqa: PLC0415 - a second of imports

    put(deciding.deny(config, token, approval, reason))
