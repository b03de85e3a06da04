"""Reports on their way out: to the terminal, or to a file in one of the formats.

Owns where a report is written and which pictures it gets. A file is written beside its place first,
so that none is there half.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from mcpuppet.app import Desk, utc_now
from mcpuppet.audit.reports.contents import session_document
from mcpuppet.audit.reports.counting import Period
from mcpuppet.audit.reports.csv_format import csv_chunks
from mcpuppet.audit.reports.document import Document, Picture
from mcpuppet.audit.reports.html_format import html_chunks
from mcpuppet.audit.reports.markdown_format import markdown_chunks
from mcpuppet.audit.reports.period_contents import period_document
from mcpuppet.audit.reports.period_report import PeriodReport
from mcpuppet.audit.reports.report import ComplianceReport
from mcpuppet.cli import pages, reporting
from mcpuppet.cli.desk import at_desk
from mcpuppet.cli.document_view import render_document
from mcpuppet.cli.output import say
from mcpuppet.cli.report_view import render_report
from mcpuppet.errors import InvalidInputError, MCPuppetError
from mcpuppet.run_pictures import run_picture
from mcpuppet.session.call import Principal
from mcpuppet.workflow.diagram import RenderError, picture

_MOST_PICTURES = 10
"""The latest runs of a session that are drawn: each takes a reading of the session."""
_NOT_ON_A_TERMINAL = frozenset({"texts", "evidence"})


def session(
    config: Path, session_id: str | None, format: str | None, output: Path | None, *, replay: bool
) -> bool:
    """Report on a session, or on the one changed last; gives whether everything checked holds.

    Raises UnknownSessionError, and InvalidInputError when the file cannot be written.
    """

    async def work(desk: Desk) -> tuple[ComplianceReport, dict[str, Picture]]:
        found = await reporting.session_report(desk, session_id, replay=replay)
        return found, _pictures(desk, found) if format in ("html", "pdf") else {}

    _require_target(format, output)
    report, pictures = at_desk(config, work)
    if format is None:
        render_report(report, pages.console())
    elif format == "json":
        _put(output, [f"{report.to_json()}\n"])
    elif format == "csv":
        _put(output, csv_chunks([report]))
    else:
        _put(output, _written(session_document(report, pictures), format))
    return report.holds_together


def period(
    config: Path,
    since: datetime,
    until: datetime,
    format: str | None,
    output: Path | None,
    *,
    replay: bool,
) -> bool:
    """Report on all sessions of a period; gives whether everything checked holds.

    Raises InvalidInputError for an empty period, and when the file cannot be written.
    """

    async def work(desk: Desk) -> PeriodReport | None:
        if format != "csv":
            return desk.audit_monitor.generate_period_report(since, until, replay=replay)
        held: list[bool] = []
        found = _noting(desk.audit_monitor.session_reports(since, until), held)
        _put(output, csv_chunks(found, Period(since, until)))
        broken.extend(one for one in held if not one)
        return None

    broken: list[bool] = []
    _require_target(format, output)
    report = at_desk(config, work)
    if report is None:
        return not broken
    if format is None:
        render_document(period_document(report), pages.console(), _NOT_ON_A_TERMINAL)
    elif format == "json":
        _put(output, [f"{report.to_json()}\n"])
    else:
        _put(output, _written(period_document(report), format))
    return report.holds_together


def _noting(reports: Iterable[ComplianceReport], held: list[bool]) -> Iterator[ComplianceReport]:
    for one in reports:
        held.append(one.holds_together)
        yield one


def _written(document: Document, format: str) -> Iterable[str | bytes]:
    if format == "md":
        return markdown_chunks(document)
    if format == "html":
        return html_chunks(document)
    return [_pdf(document)]


def _pdf(document: Document) -> bytes:
    try:
        # Only the extra brings what this module imports.
        from mcpuppet.audit.reports.pdf_format import pdf_bytes  # noqa: PLC0415
    except ImportError as error:
        raise InvalidInputError(
            "a PDF needs the extra `pdf`: install mcpuppet[pdf]; or write HTML, which prints well"
        ) from error
    return pdf_bytes(document)


# --- pictures -----------------------------------------------------------------------------------


def _pictures(desk: Desk, report: ComplianceReport) -> dict[str, Picture]:
    """The latest runs as they stood when they ended, or stand now, by run id."""
    ends = [later.seq - 1 for _, later in pairwise(report.runs)]
    until: list[int | None] = [*ends, None] if report.runs else []
    chosen = list(zip(report.runs, until, strict=True))[-_MOST_PICTURES:]
    drawn: dict[str, Picture] = {}
    for run, at in chosen:
        try:
            drawn[run.run_id] = _picture(desk, report.session_id, at)
        except (MCPuppetError, RenderError) as error:
            say(f"run {run.run_id} is not drawn: {error}")
    return drawn


def _picture(desk: Desk, session_id: str, at: int | None) -> Picture:
    def principal(name: str) -> Principal:
        return desk.settings.principal(name).principal

    with desk.store.reader() as reader:
        found = run_picture(reader, session_id, at, principal, utc_now())
    svg = picture(found.definition, "svg", live=found.live).decode()
    return Picture(
        svg=svg,
        png=lambda: picture(found.definition, "png", live=found.live),
        caption=f"The run as it stood after record {found.seq}.",
    )


# --- files --------------------------------------------------------------------------------------


def _require_target(format: str | None, output: Path | None) -> None:
    if format == "pdf" and output is None and sys.stdout.isatty():
        raise InvalidInputError("a PDF is no text for a terminal: -o names a file")
    if output is not None and output.is_dir():
        raise InvalidInputError(f"{output} is a folder; -o names a file")


def _put(output: Path | None, chunks: Iterable[str | bytes]) -> None:
    """Write to the file, or to stdout without one."""
    if output is None:
        for one in chunks:
            sys.stdout.buffer.write(_bytes(one))
        sys.stdout.flush()
        return
    try:
        _replace(output, chunks)
    except OSError as error:
        raise InvalidInputError(f"{output} cannot be written: {error.strerror or error}") from error
    say(f"wrote {output}")


def _replace(output: Path, chunks: Iterable[str | bytes]) -> None:
    handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            for one in chunks:
                file.write(_bytes(one))
        Path(name).replace(output)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _bytes(one: str | bytes) -> bytes:
    return one.encode() if isinstance(one, str) else one
