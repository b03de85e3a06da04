"""`mcpuppet report`: what the records of a session, or of all sessions in a period, show."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mcpuppet.cli.edge import REFUSED
from mcpuppet.cli.moments import end_moment, moment
from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from mcpuppet.errors import InvalidInputError


class ReportFormat(StrEnum):
    """What a report can be written as."""

    HTML = "html"
    MARKDOWN = "md"
    JSON = "json"
    CSV = "csv"
    PDF = "pdf"


def report(
    session: Annotated[
        str | None, typer.Argument(help="A session.", show_default="the one changed last")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", help="Report on every session active since that day, or time."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--to", help="The last day, or the time before which.", show_default="now"),
    ] = None,
    format: Annotated[
        ReportFormat | None,
        typer.Option(
            "--format",
            "-f",
            help="Write a file format; `pdf` needs the extra mcpuppet[pdf].",
            show_default="by the name of the file, else text for the terminal",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file.", show_default="stdout")
    ] = None,
    replay: Annotated[
        bool | None,
        typer.Option(
            "--replay/--no-replay",
            help="Make every decision again by the recorded texts.",
            show_default="for a session, not for a period",
        ),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Report on a session or a period, from verified records.

    Days are those of UTC. Exit codes: 0 reported; 1 reported, but something that was checked does
    not hold; 2 no such session, or the report cannot be written.
    """
    # The store and Rich cost a second of imports that --help should not pay.
    from mcpuppet.cli import report_files  # noqa: PLC0415

    chosen = ReportFormat.JSON if as_json else (format or _by_name(output))
    _refuse_mixture(session, since, until)
    if since is None:
        holds = report_files.session(config, session, chosen, output, replay=replay is not False)
    else:
        now = datetime.now(UTC)
        begin = moment(since, now)
        end = now if until is None else end_moment(until, now)
        again = replay is True
        holds = report_files.period(config, begin, end, chosen, output, replay=again)
    raise typer.Exit(0 if holds else REFUSED)


def _by_name(output: Path | None) -> ReportFormat | None:
    """The format that a file's ending names; none without a file."""
    if output is None:
        return None
    ending = output.suffix.lower().removeprefix(".")
    known = {"htm": "html", "markdown": "md"}.get(ending, ending)
    if known not in set(ReportFormat):
        endings = ", ".join(f".{one}" for one in ReportFormat)
        raise InvalidInputError(f"{output} does not say in which format: end it in {endings}")
    return ReportFormat(known)


def _refuse_mixture(session: str | None, since: str | None, until: str | None) -> None:
    if session is not None and (since is not None or until is not None):
        raise InvalidInputError("a session is reported on whole: name a session or a period")
    if since is None and until is not None:
        raise InvalidInputError("--to ends a period: --from says when it begins")
