"""A report as CSV (RFC 4180): a row for each record, with the whole of a call in its decision.

Rows whose `decision` is not empty are the calls. No cell can begin a formula: one that starts with
a character that a spreadsheet would act on is given an apostrophe in front. Hidden characters are
spelled out, line breaks among them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from mcpuppet.audit.reports.calls import CallReport
from mcpuppet.audit.reports.counting import ALWAYS, Period
from mcpuppet.audit.reports.parts import settlement
from mcpuppet.audit.reports.report import ComplianceReport, EventReport
from mcpuppet.audit.reports.words import fit, value_text
from mcpuppet.session.events import time_text

COLUMNS = (
    *("session", "record", "time", "kind", "what", "who", "credential", "channel", "about"),
    *("call", "run", "step", "tool", "arguments", "digest", "decision", "rule", "reason"),
    *("outcome", "error", "seconds", "node", "purpose", "attempt", "approval", "approvals_used"),
    *(
        "would_have_denied",
        "result_digest",
        "result_bytes",
        "idempotency_key",
        "settled",
        "repeats",
    ),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
_FULL_WIDTH = ("\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The same signs as some spreadsheets read them in East Asian text."""


def csv_chunks(reports: Iterable[ComplianceReport], period: Period = ALWAYS) -> Iterator[str]:
    """The heading and the rows of each report's records in the period, report by report."""
    yield _lines([COLUMNS])
    for report in reports:
        yield _lines(_rows(report, period))


def _rows(report: ComplianceReport, period: Period) -> Iterator[tuple[str, ...]]:
    calls = {one.seq: one for one in report.calls}
    for event in report.events:
        if event.at in period:
            call = calls.get(event.seq)
            empty = ("",) * (len(COLUMNS) - _EVENT_COLUMNS)
            yield (*_event(report, event), *(empty if call is None else _call(call)))


_EVENT_COLUMNS = 9


def _event(report: ComplianceReport, one: EventReport) -> tuple[str, ...]:
    return (
        report.session_id,
        str(one.seq),
        time_text(one.at),
        one.kind,
        one.what,
        one.who,
        one.credential,
        one.channel,
        one.about,
    )


def _call(one: CallReport) -> tuple[str, ...]:
    missed = (f"{it.book}/{it.rule}: {it.reason}" for it in one.would_have_denied)
    settled = (part if isinstance(part, str) else part.text for part in settlement(one))
    return (
        one.call_id,
        one.run_id or "",
        one.step or "",
        one.tool,
        "" if one.arguments is None else value_text(one.arguments),
        one.digest,
        one.decision,
        one.rule or "",
        one.reason or "",
        one.outcome or "",
        one.error or "",
        "" if one.seconds is None else f"{one.seconds:.6f}",
        one.node,
        one.purpose or "",
        "" if one.attempt is None else str(one.attempt),
        one.approval_id or "",
        "; ".join(one.approvals_used),
        "; ".join(missed),
        one.result_digest or "",
        "" if one.result_bytes is None else str(one.result_bytes),
        one.key or "",
        "; ".join(settled),
        "; ".join(it.call_id for it in one.repeats),
    )


def _lines(rows: Iterable[Iterable[str]]) -> str:
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return written.getvalue()


def _harmless(cell: str) -> str:
    """The text, unless a spreadsheet would take it for a formula: then with an apostrophe."""
    shown = fit(cell)
    return f"'{shown}" if cell.lstrip(" ").startswith(_FORMULA + _FULL_WIDTH) else shown
