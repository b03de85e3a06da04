"""`mcpuppet resolve`: a person says what the gateway could not know."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, TokenFileOption
from mcpuppet.cli.output import put
from mcpuppet.cli.token_source import read_token
from mcpuppet.errors import InvalidInputError


def resolve(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[SESSION] TARGET",
            help="A call, or a held step, as `mcpuppet show` lists them.",
        ),
    ],
    happened: Annotated[
        bool,
        typer.Option(
            "--happened/--did-not-happen",
            help="Whether the call took effect, or the step's guard is to be read as true.",
        ),
    ],
    note: Annotated[str, typer.Option(help="How you know; goes into the audit trail.")] = "",
    session: Annotated[
        str | None, typer.Option(help="Its session; of a call it is searched for.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
) -> None:
    """Settle a call of unknown outcome, or a held step.

    Exit codes: 0 recorded; 1 refused; 2 there is no such call or step, or it does not wait.
    """
    if len(words) > (2 if session is None else 1):
        raise InvalidInputError("one call or step at a time: `mcpuppet resolve SESSION TARGET`")
    token = read_token(token_file)
    from mcpuppet.cli import deciding  # noqa: PLC0415 - a second of imports

    where = words[0] if len(words) == 2 else session
    put(deciding.resolve(config, token, where, words[-1], happened=happened, note=note))
