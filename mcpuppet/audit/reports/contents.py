"""What the report of one session says, section by section, for every format.

Owns the order and the words. Knows no file format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mcpuppet.audit.reports import parts
from mcpuppet.audit.reports import people_parts as people
from mcpuppet.audit.reports.document import (
    Block,
    Bullets,
    Cell,
    Code,
    Document,
    Facts,
    Figure,
    Listing,
    Paragraph,
    Part,
    Picture,
    Section,
    Table,
    Tone,
    Word,
)
from mcpuppet.audit.reports.evidence import EvidenceRow
from mcpuppet.audit.reports.report import (
    Break,
    CheckpointReport,
    ComplianceReport,
    ReplayOutcome,
    WorkflowReport,
)
from mcpuppet.audit.reports.totals import Totals
from mcpuppet.audit.reports.words import many, moment

_EVIDENCE_TONES: dict[str, Tone] = {
    "evidenced": "good",
    "in part": "warn",
    "not evidenced": "bad",
    "nothing took place": "quiet",
}


def session_document(
    report: ComplianceReport, pictures: Mapping[str, Picture] | None = None
) -> Document:
    """The report as a document; `pictures` are those of runs, by run id."""
    drawn = pictures or {}
    return Document(
        title="Compliance report",
        subject=f"Session {report.session_id}",
        verdict=verdict(report.holds_together, "The records"),
        facts=Facts(tuple(_about(report))),
        sections=(
            Section("summary", "Summary", tuple(_summary(report))),
            Section("verified", "What was checked", tuple(_verification(report))),
            Section("runs", "What happened", tuple(_runs(report, drawn))),
            Section("refused", "Refused calls and near misses", tuple(_refused(report))),
            Section("approvals", "Approvals", tuple(_approvals(report))),
            Section("bypasses", "Bypasses and their reviews", tuple(_bypasses(report))),
            Section("unknown", "Unknown, late and repeated", tuple(_unknown(report))),
            Section("figures", "Success and timing", tuple(_figures(report))),
            Section("evidence", "Evidence for standards and law", evidence_blocks(report.evidence)),
            Section("calls", "Every call and decision", tuple(_calls(report)), own_page=True),
            Section("texts", "Workflows and rules in force", workflow_blocks(report.workflows)),
            Section("records", "Record by record", tuple(_records(report)), own_page=True),
        ),
        footer=f"MCPuppet compliance report of session {report.session_id}",
    )


def verdict(holds: bool, what: str) -> Word:
    """The one word that stands at the top."""
    if holds:
        return Word(f"{what} hold together", "good")
    return Word(f"{what} DO NOT HOLD TOGETHER", "bad")


def _about(report: ComplianceReport) -> Iterator[tuple[str, Cell]]:
    yield "Session", Code(report.session_id)
    yield "Principal", report.principal or "not recorded"
    yield "First and last record", f"{moment(report.opened_at)}, {moment(report.last_activity_at)}"
    if report.made_at is not None:
        yield "Report made", moment(report.made_at)


# --- summary ------------------------------------------------------------------------------------


def _summary(report: ComplianceReport) -> Iterator[Block]:
    totals = report.totals
    yield Figure(headline(totals))
    yield Bullets(tuple(sentences(totals, "this session")))


def headline(it: Totals) -> tuple[tuple[str, str, Tone], ...]:
    """The counts that are seen first."""
    approvals = it.granted + it.rejected
    return (
        ("calls requested", f"{it.calls:,}", "plain"),
        ("allowed", f"{it.allowed:,}", "good"),
        ("refused", f"{it.denied:,}", "bad" if it.denied else "plain"),
        ("put off", f"{it.deferred:,}", "warn" if it.deferred else "plain"),
        ("near misses", f"{it.near_misses:,}", "warn" if it.near_misses else "plain"),
        ("decided by people", f"{approvals:,}", "plain"),
        ("bypasses", f"{it.bypasses:,}", "warn" if it.bypasses else "plain"),
        ("reviews overdue", f"{it.reviews_overdue:,}", "bad" if it.reviews_overdue else "plain"),
        ("unknown, not settled", f"{it.unsettled:,}", "bad" if it.unsettled else "plain"),
    )


def sentences(it: Totals, where: str) -> Iterator[Cell]:
    """The summary in sentences: `where` is the session or the period."""
    yield (
        f"In {where} {many(it.runs, 'run')} of workflows began and {it.runs_completed:,} "
        f"completed. {many(it.calls, 'call')} of tools were requested: {it.allowed:,} allowed and "
        f"made, {it.denied:,} refused, {it.deferred:,} put off until people decide."
    )
    yield (
        f"Of the calls made, {it.succeeded:,} succeeded, {it.failed:,} failed, {it.unknown:,} "
        f"became unknown and {it.open_calls:,} have no outcome yet. "
        f"{many(it.repeated, 'repeated request')} were answered without making the call again; "
        f"{many(it.late, 'answer')} came late."
    )
    yield (
        f"Refused calls are violations: {it.denied:,}. Rules that only observe would have refused "
        f"{many(it.near_misses, 'more call')}."
    )
    yield (
        f"People were asked {many(it.requests, 'time')}: {it.granted:,} granted, {it.rejected:,} "
        f"rejected, {it.timed_out:,} timed out, {it.bypasses:,} bypassed, {it.waiting:,} waiting. "
        f"{many(it.refused_decisions, 'attempt')} to decide were refused."
    )
    yield (
        f"Bypassed approvals: {it.bypasses:,}. Reviews of bypasses: {it.reviews_open:,} "
        f"open, of which {it.reviews_overdue:,} overdue; {it.reviews_justified:,} found justified, "
        f"{it.reviews_unjustified:,} unjustified."
    )
    yield _verified(it)
    yield from _to_do(it)


def _verified(it: Totals) -> Cell:
    """How far the records were verified, in a sentence."""
    broken: Part = Word(f"{it.sessions_broken:,} broken", "bad") if it.sessions_broken else ""
    decisions = "decisions were not derived again"
    if it.replayed:
        decisions = (
            f"{it.replay_rederived:,} of {many(it.replayed, 'decision')} derived again from the "
            f"records, {it.replay_differing:,} came out differently"
        )
    words = (
        f"Verified: {it.sessions_intact:,} of {many(it.sessions, 'session')} intact, "
        f"{it.sessions_signed:,} wholly under a signed checkpoint; {decisions}."
    )
    return (words, broken) if broken else words


def _to_do(it: Totals) -> Iterator[Cell]:
    """What waits for somebody."""
    left = [
        f"{many(count, noun, plural)} ({how})"
        for count, noun, plural, how in (
            (it.reviews_open, "review to make", "reviews to make", "mcpuppet review"),
            (it.unsettled, "call to settle", "calls to settle", "mcpuppet resolve"),
            (
                it.contradicted,
                "late answer that contradicts what was said of its call",
                "late answers that contradict what was said of their calls",
                "see unknown calls: it may have happened twice, or not at all",
            ),
            (it.waiting, "request to decide", "requests to decide", "mcpuppet approvals"),
            (
                it.tools_changed,
                "changed tool to look at",
                "changed tools to look at",
                "mcpuppet pin",
            ),
        )
        if count
    ]
    if left:
        yield (Word("To do:", "warn"), "; ".join(left))
    else:
        yield "Nothing here waits for a person."


# --- verification -------------------------------------------------------------------------------


def _verification(report: ComplianceReport) -> Iterator[Block]:
    chain = report.chain
    yield Paragraph(report.statement, "plain" if report.holds_together else "bad")
    tones: dict[str, Tone] = {"intact": "good", "broken": "bad", "pruned": "warn"}
    rows: tuple[tuple[str, Cell], ...] = (
        ("chain", Word(chain.status, tones[chain.status])),
        ("records", f"{chain.records:,}"),
        ("head", Code(chain.head or "none is stored")),
    )
    yield Facts((*rows, *checkpoint_rows(report.checkpoint), *replay_rows(report.replay)))
    yield from break_tables(chain.breaks, report.replay)


def break_tables(breaks: tuple[Break, ...], replay: ReplayOutcome | None) -> Iterator[Block]:
    """What does not hold, record by record."""
    differing = () if replay is None else replay.differing
    rows: list[tuple[Cell, ...]] = [
        *((str(one.seq), one.what) for one in breaks),
        *((str(one.seq), one.what) for one in differing),
    ]
    if rows:
        yield Table(("Record", "What does not hold"), rows, (12, 88))


def checkpoint_rows(signed: CheckpointReport | None) -> Iterator[tuple[str, Cell]]:
    """The comparison with signed checkpoints."""
    if signed is None:
        yield "checkpoint", "none was compared with"
        return
    holds = Word("DOES NOT AGREE", "bad") if signed.problems else Word("agrees", "good")
    if signed.origin is not None:
        covers = f"{signed.covered:,} of the {signed.records:,} records of this report are under it"
        yield "checkpoint", (holds, f"{signed.size:,} records of log {signed.origin}; {covers}")
        yield "signed with", Code(signed.key or "an unknown key")
    else:
        yield "checkpoint", holds
    if signed.last_at is not None:
        yield "last signed record", moment(signed.last_at)
    if signed.root is not None:
        yield "tree hash", Code(signed.root)
    for problem in signed.problems:
        yield "problem", problem


def replay_rows(replay: ReplayOutcome | None) -> Iterator[tuple[str, Cell]]:
    """Decisions that were made again by the recorded texts."""
    if replay is None:
        yield "decisions", "not derived again for this report"
        return
    yield "decisions derived again", f"{replay.decisions:,}"
    yield "re-derived", f"{replay.rederived:,} follow from the records and the recorded texts"
    yield "consistent", _reasons(replay.consistent, "rest on values that their own record states")
    yield "not derivable", _reasons(replay.not_derivable, "rest on what is not in the trail")
    if replay.unread:
        yield "not played to the end", _reasons(replay.unread, "sessions")
    differing = len(replay.differing)
    yield "come out differently", Word(f"{differing:,}", "bad" if differing else "good")


def _reasons(counts: Mapping[str, int], words: str) -> Cell:
    listed = (f"{count:,}: {reason}" for reason, count in counts.items())
    return (f"{sum(counts.values()):,} {words}", *listed)


# --- what happened ------------------------------------------------------------------------------


def _runs(report: ComplianceReport, pictures: Mapping[str, Picture]) -> Iterator[Block]:
    for adopted in report.rules:
        name = f"{adopted.rules} {adopted.version}"
        rows: tuple[tuple[str, Cell], ...] = (
            ("in force", f"since {moment(adopted.adopted_at)}"),
            ("rules", Code(f"SHA-256 {adopted.hash}")),
        )
        yield Facts(rows, f"Rules file {name}")
    for given in report.inputs:
        words = f"Inputs {given.what} {moment(given.at)} by {given.by}"
        yield Paragraph(f"{words}: {given.note}" if given.note else f"{words}.")
    if not report.runs:
        yield Paragraph("No run of a workflow took place.", "quiet")
    for run in report.runs:
        yield parts.run_facts(run)
        if run.run_id in pictures:
            yield pictures[run.run_id]
    for hold in report.holds:
        settled = ""
        if hold.resolution is not None:
            settled = f"; {hold.resolution.by} settled it: {hold.resolution.note}"
        yield Paragraph(
            f"Step {hold.step} waited for a person from {moment(hold.since)} ({hold.status}): "
            f"{hold.reason}{settled}",
            "warn" if hold.status == "waiting" else "plain",
        )


def _refused(report: ComplianceReport) -> Iterator[Block]:
    name = report.session_id
    if report.violations:
        yield Paragraph("Refused calls. Of these nothing was sent.")
        yield parts.violations_table((name, one) for one in report.violations)
    else:
        yield Paragraph("No call was refused.", "quiet")
    if report.near_misses:
        yield Paragraph("Calls that were made although rules that observe would refuse them.")
        yield parts.near_misses_table((name, one) for one in report.near_misses)


def _approvals(report: ComplianceReport) -> Iterator[Block]:
    if not report.approvals and not report.asks:
        yield Paragraph("No approval was asked for.", "quiet")
    yield from (people.approval_facts(one) for one in report.approvals)
    yield from (people.ask_facts(one) for one in report.asks)
    if report.refusals:
        yield Paragraph("Attempts to decide that were refused:")
        yield people.refusals_table((report.session_id, one) for one in report.refusals)


def _bypasses(report: ComplianceReport) -> Iterator[Block]:
    bypassed = [one for one in report.approvals if one.justification is not None]
    if not bypassed and not report.reviews:
        yield Paragraph("No approval was bypassed.", "quiet")
    if bypassed:
        yield people.bypasses_table((report.session_id, one) for one in bypassed)
    if report.reviews:
        yield people.reviews_table((report.session_id, one) for one in report.reviews)
    elif bypassed:
        yield Paragraph("No review of it is recorded.", "warn")


def _unknown(report: ComplianceReport) -> Iterator[Block]:
    unknown = [one for one in report.calls if one.outcome == "unknown" or one.settled or one.late]
    if unknown:
        yield parts.unknown_table((report.session_id, one) for one in unknown)
    else:
        yield Paragraph("Every call that was sent has, or still awaits, a known outcome.", "quiet")
    if report.repeats:
        yield Paragraph("Repeated requests, answered without making the call again:")
        yield parts.repeats_table((report.session_id, one) for one in report.repeats)


def _figures(report: ComplianceReport) -> Iterator[Block]:
    blocks = parts.figures_tables(report.figures)
    if blocks:
        yield Paragraph(
            "Success is succeeded / (succeeded + failed), rounded down. p50 and p95 are "
            "nearest-rank percentiles of the time from sending to the answer."
        )
    yield from blocks or [Paragraph("No call was sent.", "quiet")]
    if report.facts:
        rows: list[tuple[Cell, ...]] = [
            (Code(f"{it.book}/{it.fact}"), str(it.learned), str(it.overflowed), str(it.dropped))
            for it in report.facts
        ]
        columns = ("Fact learned from results", "Learned", "Overflowed", "Dropped")
        yield Table(columns, rows, (49, 17, 17, 17), right=frozenset({1, 2, 3}))


def _calls(report: ComplianceReport) -> Iterator[Block]:
    if report.calls:
        yield parts.calls_table((report.session_id, one) for one in report.calls)
    else:
        yield Paragraph("No call was requested.", "quiet")


def _records(report: ComplianceReport) -> Iterator[Block]:
    yield Paragraph("Every record that can be read, in its order.")
    yield parts.events_table(report.events)


# --- shared with reports of periods -------------------------------------------------------------


def workflow_blocks(workflows: tuple[WorkflowReport, ...]) -> tuple[Block, ...]:
    """The texts that were in force, first by hash, then in full."""
    if not workflows:
        return (Paragraph("No workflow and no rules file was in force.", "quiet"),)
    blocks: list[Block] = [parts.workflows_table(workflows)]
    for one in workflows:
        if one.text is None:
            words = f"The text of {one.name} {one.version} is not shown: it is not in the store as "
            blocks.append(Paragraph(f"{words}it was recorded.", "bad"))
        else:
            blocks += (Paragraph(f"{one.name} {one.version}, word for word:"), Listing(one.text))
    return tuple(blocks)


def evidence_blocks(rows: tuple[EvidenceRow, ...]) -> tuple[Block, ...]:
    """The evidence table and how to read it."""
    listed: list[tuple[Cell, ...]] = [_evidence_row(one) for one in rows]
    clauses: dict[str, list[str]] = {}
    for one in rows:
        if one.applies:
            clauses.setdefault(one.applies, []).append(one.clause)
    return (
        Paragraph(
            "What the records in this report show about clauses of standards and law, and what "
            "nobody may conclude from them. This is no legal opinion, and no statement that a "
            "system falls under a law or that an organisation meets a standard."
        ),
        Table(
            ("Clause", "Status", "What this report evidences", "What it does not evidence"),
            listed,
            (17, 14, 36, 33),
        ),
        *(
            Paragraph(f"EU AI Act, {', '.join(names)}: {applies}.", "quiet")
            for applies, names in clauses.items()
        ),
    )


def _evidence_row(one: EvidenceRow) -> tuple[Cell, ...]:
    return (
        (f"{one.framework} {one.clause}", one.subject),
        Word(one.status, _EVIDENCE_TONES[one.status]),
        one.shows or "nothing",
        one.lacks,
    )
