"""`mcpuppet audit init` and `mcpuppet audit checkpoint`: the trail gets its signatures."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, TokenFileOption
from mcpuppet.cli.output import counted, put, say
from mcpuppet.cli.token_source import read_token


def init(
    name: Annotated[
        str | None,
        typer.Option(help="The log's name in every checkpoint.", show_default="HOST/STORE"),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
) -> None:
    """Make the key that signs the audit trail.

    Its public half is printed: give it to auditors. Until the store has its first person this needs
    no token; after that it needs an admin's.

    Exit codes: 0 made; 1 refused; 2 there is a key already, or it cannot be written.
    """
    # The store costs a second of imports that --help should not pay.
    from mcpuppet.cli import auditing  # noqa: PLC0415

    made = auditing.create_key(config, name, lambda: read_token(token_file))
    put(made.verifier_key)
    say(
        "This is the public half of the key that signs this audit trail. Give it to those who are "
        "to verify the trail, now and by another way than this machine. The secret half is in "
        f"{made.directory}, which only the gateway's user may read.",
        "Keep checkpoints elsewhere too, with `copy_to` under `audit:` in the settings: whoever "
        "holds the key and the store could otherwise rewrite both.",
    )


def checkpoint(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Sign all that is recorded by now, and print the checkpoint.

    `mcpuppet serve` does so by itself. Before, every record that was signed is compared with what
    it was. Exit codes: 0 signed, or nothing was new; 1 the store is not what was signed before, and
    nothing was signed; 2 there is no key.
    """
    from mcpuppet.cli import auditing  # noqa: PLC0415 - as above

    made = auditing.checkpoint(config)
    put(*made.note.rstrip("\n").split("\n"))
    new = f"{counted(made.new, 'record')} signed" if made.new else "nothing is new"
    say(f"{new}; the checkpoint covers {counted(made.size, 'record')}")
