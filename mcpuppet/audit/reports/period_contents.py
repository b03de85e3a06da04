"""What the report of a period says, section by section, for every format.

Owns the order and the words. Knows no file format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mcpuppet.audit.reports import parts
from mcpuppet.audit.reports import people_parts as people
from mcpuppet.audit.reports.contents import (
    break_tables,
    checkpoint_rows,
    evidence_blocks,
    headline,
    replay_rows,
    sentences,
    verdict,
    workflow_blocks,
)
from mcpuppet.audit.reports.document import (
    Block,
    Bullets,
    Cell,
    Code,
    Document,
    Facts,
    Figure,
    Paragraph,
    Section,
    Table,
    Word,
)
from mcpuppet.audit.reports.parts import Noted
from mcpuppet.audit.reports.period_report import Listing, PeriodReport, SessionLine
from mcpuppet.audit.reports.words import many, moment


def period_document(report: PeriodReport) -> Document:
    """The report as a document."""
    span = f"{moment(report.since)} to before {moment(report.until)}"
    return Document(
        title="Compliance report of a period",
        subject=span,
        verdict=verdict(report.holds_together, "The records"),
        facts=Facts(
            (
                ("Period", f"from {span}"),
                ("Sessions with activity", f"{report.totals.sessions:,}"),
                ("Report made", moment(report.made_at)),
            )
        ),
        sections=(
            Section("summary", "Summary", tuple(_summary(report))),
            Section("verified", "What was checked", tuple(_verification(report))),
            Section("sessions", "Sessions", tuple(_sessions(report)), own_page=True),
            Section("refused", "Refused calls and near misses", tuple(_refused(report))),
            Section("approvals", "Approvals", tuple(_approvals(report))),
            Section("bypasses", "Bypasses and their reviews", tuple(_bypasses(report))),
            Section("unknown", "Unknown and late outcomes", tuple(_unknown(report))),
            Section("figures", "Success and timing", tuple(_figures(report))),
            Section("administration", "Administration log", tuple(_administration(report))),
            Section("evidence", "Evidence for standards and law", evidence_blocks(report.evidence)),
            Section("texts", "Workflows and rules in force", workflow_blocks(report.workflows)),
        ),
        footer=f"MCPuppet compliance report, {span}",
    )


def _summary(report: PeriodReport) -> Iterator[Block]:
    yield Figure((("sessions", f"{report.totals.sessions:,}", "plain"), *headline(report.totals)))
    yield Bullets(tuple(sentences(report.totals, "this period")))
    if report.pruned:
        yield Paragraph(
            f"The contents of {many(report.pruned, 'session')} were removed: whether anything "
            "happened in them in this period is not known any more.",
            "warn",
        )


def _verification(report: PeriodReport) -> Iterator[Block]:
    yield Paragraph(report.statement, "plain" if report.holds_together else "bad")
    totals = report.totals
    broken: Cell = Word(f"{totals.sessions_broken:,}", "bad") if totals.sessions_broken else "0"
    rows: tuple[tuple[str, Cell], ...] = (
        ("sessions intact", f"{totals.sessions_intact:,}"),
        ("sessions broken", broken),
        ("records in the period", f"{totals.records:,}"),
    )
    yield Facts((*rows, *checkpoint_rows(report.checkpoint), *replay_rows(report.replay)))
    if report.breaks.total:
        listed: list[tuple[Cell, ...]] = [(Code(name), what) for name, what in report.breaks.items]
        yield Table(("Session", "What does not hold"), listed, (22, 78))
        yield from _rest(report.breaks)
    yield from break_tables((), report.replay)


def _sessions(report: PeriodReport) -> Iterator[Block]:
    if not report.sessions:
        yield Paragraph("No session has a record in this period.", "quiet")
        return
    columns = ("Session", "Principal; rules", "Records", "Calls", "Refused", "Asked", "To see to")
    yield Table(
        columns,
        [_session_row(one) for one in report.sessions],
        (24, 24, 10, 8, 10, 8, 16),
        right=frozenset({2, 3, 4, 5}),
    )


def _session_row(one: SessionLine) -> tuple[Cell, ...]:
    seen = ((one.breaks, "break"), (one.bypasses, "bypass"), (one.unsettled, "unknown outcome"))
    plurals = {"bypass": "bypasses"}
    found = [many(count, noun, plurals.get(noun)) for count, noun in seen if count]
    if one.near_misses:
        found.append(many(one.near_misses, "near miss", "near misses"))
    return (
        (Code(one.session_id), f"{moment(one.first_at)} to", moment(one.last_at)),
        (one.principal or "not recorded", *one.books),
        f"{one.records:,}",
        f"{one.calls:,}",
        f"{one.denied:,}",
        f"{one.requests:,}",
        tuple(Word(text, "bad" if one.breaks else "warn") for text in found) or "",
    )


def _refused(report: PeriodReport) -> Iterator[Block]:
    yield from _listed(
        report.violations,
        parts.violations_table,
        "Refused calls. Of these nothing was sent.",
        "No call was refused.",
    )
    yield from _listed(
        report.near_misses,
        parts.near_misses_table,
        "Calls that were made although rules that observe would refuse them.",
        "No observing rule objected to a call.",
    )
    rules = report.figures.would_have_denied
    if rules:
        rows: list[tuple[Cell, ...]] = [
            (Code(f"{one.book}/{one.rule}"), f"{one.calls:,}") for one in rules
        ]
        yield Table(("Observing rule", "Calls"), rows, (80, 20), right=frozenset({1}))


def _approvals(report: PeriodReport) -> Iterator[Block]:
    if report.requests.total:
        yield people.requests_table(report.requests.items)
        yield from _rest(report.requests)
    else:
        yield Paragraph("No approval was asked for.", "quiet")
    yield from _listed(
        report.refusals,
        people.refusals_table,
        "Attempts to decide that were refused:",
        "No attempt to decide was refused.",
    )


def _bypasses(report: PeriodReport) -> Iterator[Block]:
    yield from _listed(
        report.bypasses, people.bypasses_table, "Bypassed approvals:", "No approval was bypassed."
    )
    yield from _listed(
        report.reviews,
        people.reviews_table,
        "Reviews opened or closed in this period, or still to be made at its end:",
        "No review of a bypass was due.",
    )


def _unknown(report: PeriodReport) -> Iterator[Block]:
    yield from _listed(
        report.unknown,
        parts.unknown_table,
        "Calls whose outcome became unknown, or whose answer came late:",
        "No outcome is unknown.",
    )


def _figures(report: PeriodReport) -> Iterator[Block]:
    blocks = parts.figures_tables(report.figures)
    yield from blocks or [Paragraph("No call was sent.", "quiet")]


def _administration(report: PeriodReport) -> Iterator[Block]:
    if not report.administration.total:
        yield Paragraph("Nothing was administered.", "quiet")
        return
    yield Paragraph(
        "What concerned the installation: people, keys, tool definitions, disclosures, removals, "
        "and refused attempts to decide."
    )
    yield parts.events_table(event for _, event in report.administration.items)
    yield from _rest(report.administration)


def _listed(
    found: Listing[Any], table: Callable[..., Table], words: str, none: str
) -> Iterator[Block]:
    rows: tuple[Noted[Any], ...] = found.items
    if not rows:
        yield Paragraph(none, "quiet")
        return
    yield Paragraph(words)
    yield table(rows, several=True)
    yield from _rest(found)


def _rest(found: Listing[Any]) -> Iterator[Block]:
    if not found.is_complete:
        yield Paragraph(
            f"These are the first {len(found.items):,} of {found.total:,}; "
            "mcpuppet report --format csv lists every record of the period.",
            "warn",
        )
