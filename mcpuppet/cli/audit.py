"""`mcpuppet audit`: whether the audit trail holds."""

from __future__ import annotations

import typer

from mcpuppet.cli.edge import REFUSED
from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from mcpuppet.cli.output import counted, put, put_json, say

audit = typer.Typer(no_args_is_help=True, help="Verify the audit trail.")


@audit.callback()
def _group() -> None:
    """Keeps `verify` a command of its own: Typer would merge a single command into its group."""


@audit.command()
def verify(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Verify every session: its chain of records, its history and its state.

    Exit codes: 0 everything holds; 1 something does not, and each break is listed; 2 the store
    cannot be opened.
    """
    # The store and the workflow compiler cost a second of imports that --help should not pay.
    from mcpuppet.cli import reporting  # noqa: PLC0415

    report = reporting.verify(config)
    breaks = [
        {"session_id": one.session_id, "seq": one.seq, "what": one.what} for one in report.breaks
    ]
    if as_json:
        put_json(
            {
                "ok": report.ok,
                "sessions": report.sessions,
                "records": report.records,
                "breaks": breaks,
            }
        )
    else:
        put(*(f"{one['session_id']} record {one['seq']}: {one['what']}" for one in breaks))
    verdict = "everything holds" if report.ok else counted(len(breaks), "break")
    say(f"{counted(report.sessions, 'session')}, {counted(report.records, 'record')}: {verdict}")
    raise typer.Exit(0 if report.ok else REFUSED)
