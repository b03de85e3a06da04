"""`mcpuppet approve`: shows a request, asks, and votes for exactly what was shown."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, TokenFileOption
from mcpuppet.cli.output import put
from mcpuppet.cli.token_source import can_ask, read_token
from mcpuppet.errors import InvalidInputError


def approve(
    approval: Annotated[str, typer.Argument(help="As `mcpuppet approvals` lists it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
    digest: Annotated[
        str | None,
        typer.Option(help="Approve only if the request still has this digest, as it was shown."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    bypass: Annotated[
        bool, typer.Option("--bypass", help="Pass over the approval in an emergency.")
    ] = False,
    justification: Annotated[
        str | None, typer.Option(help="Why it is bypassed; goes into the audit trail.")
    ] = None,
) -> None:
    """Approve a request, after showing all that is decided.

    Exit codes: 0 recorded; 1 refused, or not approved after all; 2 there is no such request.
    """
    if bypass != (justification is not None):
        raise InvalidInputError("--bypass and --justification go together")
    asking = can_ask() and not yes
    if not (asking or yes or digest):
        raise InvalidInputError(
            "there is no terminal to ask at: say --yes, or with --digest what was looked at"
        )

    # The store and Rich cost a second of imports that --help should not pay.
    from mcpuppet.cli import deciding  # noqa: PLC0415

    token = read_token(token_file)
    put(
        deciding.approve(
            config, token, approval, digest=digest, justification=justification, asking=asking
        )
    )
