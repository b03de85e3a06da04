"""`mcpuppet audit prune`: the contents of old sessions go, their hashes stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mcpuppet.cli.edge import NotDecidedError
from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, TokenFileOption
from mcpuppet.cli.output import counted, put, say
from mcpuppet.cli.token_source import can_ask, read_token

if TYPE_CHECKING:
    from mcpuppet.store.protocol import SessionRow


def prune(
    before: Annotated[
        str, typer.Option(help="Sessions that ended before: 2026-01-31, or 400d (ago).")
    ],
    reason: Annotated[str, typer.Option(help="Why; goes into the audit trail.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List them; nothing is removed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also what is younger than six months.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
) -> None:
    """Remove the contents of sessions that ended long ago, for good.

    It needs an admin's token, with --dry-run too. Their records keep place and hash, so the rest of
    the trail still verifies. What waits for a person is kept, and so is the administration log,
    which says what was pruned. What is younger than six months is kept unless --force is given: the
    EU AI Act asks for that (Articles 19 and 26(6)).

    Exit codes: 0 pruned, or nothing to prune; 1 refused, or not agreed to; 2 wrong use.
    """
    token = read_token(token_file)
    # The store costs a second of imports that --help should not pay.
    from mcpuppet.cli import auditing  # noqa: PLC0415

    def agreed(rows: Sequence[SessionRow]) -> bool:
        put(*(f"{one.session_id} {one.updated_at:%Y-%m-%d} {one.status}" for one in rows))
        what = counted(len(rows), "session")
        if dry_run or not rows:
            say(f"{what} would be pruned" if rows else "there is nothing to prune")
            return False
        if yes or (can_ask() and typer.confirm(f"Prune {what} for good?", err=True)):
            return True
        raise NotDecidedError("nothing was pruned" + ("" if can_ask() else "; --yes prunes"))

    done = auditing.prune(config, token, before, reason, agreed, young=force)
    if done is None:
        return
    say(f"{counted(done.sessions, 'session')} pruned: {counted(done.records, 'record')}")
    if not done.clean:
        say(
            "Other processes are reading the store, so its write-ahead log may still hold the "
            "contents until they stop. Backups keep what they have."
        )
