"""`mcpuppet audit bundle`: one session, with all that it takes to verify it elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, TokenFileOption
from mcpuppet.cli.output import counted, say
from mcpuppet.cli.token_source import read_token


def bundle(
    session: Annotated[str, typer.Argument(help="The session, as `mcpuppet sessions` lists it.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file that is not there yet.")
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint that the receiver holds; may be given again."),
    ] = None,
    disclose: Annotated[
        bool, typer.Option("--disclose", help="Add redacted values; needs an auditor's token.")
    ] = False,
    reason: Annotated[
        str, typer.Option(help="Why values are disclosed; goes into the audit trail.")
    ] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
) -> None:
    """Write one session's records with the proof that they hold.

    Whoever gets the file verifies it alone: `mcpuppet audit verify FILE --key KEY`, or a copy of
    mcpuppet/audit/verifier.py. What is not signed yet is signed first. Exit codes: 0 written; 1 the
    records are not those that were signed; 2 no such session, or no checkpoint.
    """
    token = read_token(token_file) if disclose else None
    # The store costs a second of imports that --help should not pay.
    from mcpuppet.cli import auditing  # noqa: PLC0415

    made = auditing.bundle(config, session, output, tuple(checkpoint or ()), token, reason)
    where = "" if output is None else f" to {output}"
    also = f", with {counted(made.disclosures, 'disclosed value')}" if disclose else ""
    say(f"{counted(made.records, 'record')} written{where}{also}")
    if made.uncovered:
        say(f"{counted(made.uncovered, 'record')} of them came after the checkpoint: no proof yet")
