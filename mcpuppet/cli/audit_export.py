"""`mcpuppet audit export`: the audit trail for verifiers, spreadsheets and other systems."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption
from mcpuppet.cli.output import counted, say

if TYPE_CHECKING:
    from datetime import datetime

    from mcpuppet.audit.reader import SessionReader


class Format(StrEnum):
    """What the trail can be written as."""

    JSONL = "jsonl"
    CSV = "csv"
    OCSF = "ocsf"
    CEF = "cef"
    CLOUDEVENTS = "cloudevents"
    AAT = "aat"


def export(
    session: Annotated[
        str | None, typer.Argument(help="Only this session; without it, all of them.")
    ] = None,
    form: Annotated[
        Format,
        typer.Option("--format", "-f", help="jsonl can be verified; the others are for reading."),
    ] = Format.JSONL,
    since: Annotated[
        str | None, typer.Option("--from", help="Nothing before: 2026-01-31, or 30d (ago).")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="The last day, or the time before which.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file that is not there yet.", show_default="stdout"),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Write the audit trail, for verifiers or for other systems.

    jsonl is the whole log with its last checkpoint, for `mcpuppet audit verify FILE --key KEY` and
    for verifiers that others write; what belongs to one session is what `mcpuppet audit bundle`
    writes. csv, ocsf (1.8.0), cef, cloudevents (1.0) and aat hold one record a line.

    Exit codes: 0 written; 2 there is no such session or store, or the file cannot be written.
    """
    if form is Format.JSONL and (session, since, until) != (None, None, None):
        raise typer.BadParameter(
            "jsonl is the whole log; `mcpuppet audit bundle SESSION` writes one session"
        )
    # The store costs imports that --help should not pay.
    from mcpuppet.app import utc_now  # noqa: PLC0415
    from mcpuppet.audit.log import latest_checkpoint, write_export  # noqa: PLC0415
    from mcpuppet.cli.config import read_settings  # noqa: PLC0415
    from mcpuppet.cli.moments import end_moment, moment  # noqa: PLC0415
    from mcpuppet.cli.new_file import new_file  # noqa: PLC0415
    from mcpuppet.store.sqlite_reader import open_view  # noqa: PLC0415

    now, settings = utc_now(), read_settings(config)
    begin = None if since is None else moment(since, now)
    end = None if until is None else end_moment(until, now)
    if begin is not None and end is not None and begin >= end:
        raise typer.BadParameter(f"--from {since} is not before --to {until}")
    # Read before the store is: a checkpoint of more than the view shows would look like a cut.
    note = latest_checkpoint(settings.audit) if form is Format.JSONL else None
    with open_view(settings.store) as reader, new_file(output) as out:
        if form is Format.JSONL:
            count = write_export(reader, note, out)
        else:
            count = _translated(reader, form, session, (begin, end), out)
    where = "" if output is None else f" to {output}"
    say(f"{counted(count, 'record')} written{where}")


def _translated(
    reader: SessionReader,
    form: Format,
    session: str | None,
    span: tuple[datetime | None, ...],
    out: TextIO,
) -> int:
    from mcpuppet.audit.exports import FORMATS, Entry, entries  # noqa: PLC0415
    from mcpuppet.errors import UnknownSessionError  # noqa: PLC0415

    if session is not None and reader.head(session) is None:
        raise UnknownSessionError(session)
    count = 0

    def counted_entries() -> Iterator[Entry]:
        nonlocal count
        wanted = list(reader.session_ids()) if session is None else [session]
        for entry in entries(reader, wanted, *span):
            count += 1
            yield entry

    for line in FORMATS[form.value](counted_entries()):
        out.write(line + "\n")
    return count
