"""The tables and facts of reports: of one session, or of several with a column for the session.

Owns the words and columns for each kind of thing that a report lists. Knows no file format.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from mcpuppet.audit.reports.document import Block, Cell, Code, Facts, Part, Table, Tone, Word
from mcpuppet.audit.reports.report import (
    CallReport,
    EventReport,
    Figures,
    FiguresReport,
    NearMiss,
    RepeatReport,
    RunReport,
    Violation,
    WorkflowReport,
)
from mcpuppet.audit.reports.words import duration, moment, rate, short, value_text

ItemT = TypeVar("ItemT")
Noted = tuple[str, ItemT]
"""An item with the session that it belongs to."""

LONGEST = 600
"""Characters of a value in a table; the JSON form has all of it."""
_DECISIONS: dict[str, tuple[str, Tone]] = {
    "allowed": ("allowed", "good"),
    "denied": ("refused", "bad"),
    "awaiting_approval": ("put off", "warn"),
}
_TONES: dict[str, Tone] = {
    **dict.fromkeys(("succeeded", "completed", "approved", "used", "justified", "settled"), "good"),
    **dict.fromkeys(("failed", "rejected", "unjustified", "overdue", "timed_out"), "bad"),
    **dict.fromkeys(("unknown", "bypassed", "open", "waiting", "waiting_approval"), "warn"),
}


def status(word: str) -> Word:
    """A status in words, in its tone."""
    return Word(word.replace("_", " "), _TONES.get(word, "quiet"))


class Columns:
    """Columns that begin with the session where several are reported on."""

    def __init__(self, several: bool, *columns: tuple[str, int]) -> None:
        self._several = several
        chosen = (("Session", 13), *columns) if several else columns
        self.names = tuple(name for name, _ in chosen)
        self.widths = tuple(width for _, width in chosen)

    def table(self, rows: Iterable[tuple[str, tuple[Cell, ...]]]) -> Table:
        """A table of rows, each with its session."""
        listed = [((Code(one), *row) if self._several else row) for one, row in rows]
        return Table(self.names, listed, self.widths)


# --- calls --------------------------------------------------------------------------------------


def calls_table(calls: Iterable[Noted[CallReport]], *, several: bool = False) -> Table:
    """Every call and the decision on it, with what became of it."""
    columns = Columns(
        several,
        ("#", 6),
        ("Time (UTC)", 11),
        ("Who", 13),
        ("Call", 34),
        ("Decision, outcome", 12),
        ("Why, and what followed", 24),
    )
    return columns.table((session, _call_row(one)) for session, one in calls)


def _call_row(one: CallReport) -> tuple[Cell, ...]:
    return (
        str(one.seq),
        moment(one.decided_at),
        _who(one.principal, one.credential, one.node),
        _called(one),
        _decided(one),
        tuple(_consequences(one)) or "",
    )


def _who(name: str, credential: str, node: str = "") -> tuple[Part, ...]:
    parts: list[Part] = [name, f"credential {short(credential) or 'not recorded'}"]
    if node:
        parts.append(f"node {node}")
    return tuple(parts)


def _called(one: CallReport) -> tuple[Part, ...]:
    place = f"step {one.step}" if one.step else "no step"
    if one.purpose not in (None, "step"):
        place += f", {one.purpose}"
    if one.attempt is not None and one.attempt > 1:
        place += f", attempt {one.attempt}"
    arguments = (
        "arguments not kept" if one.arguments is None else value_text(one.arguments, LONGEST)
    )
    return (
        Code(one.tool),
        place,
        Code(arguments),
        Code(f"{one.call_id}, digest {short(one.digest)}"),
    )


def _decided(one: CallReport) -> tuple[Part, ...]:
    parts: list[Part] = [Word(*_DECISIONS[one.decision])]
    if one.outcome == "open":
        parts.append(Word("no outcome yet", "warn"))
    elif one.outcome is not None:
        parts.append(status(one.outcome))
    if one.seconds is not None:
        parts.append(f"took {duration(one.seconds)}")
    return tuple(parts)


def _consequences(one: CallReport) -> Iterable[Part]:
    if one.rule is not None or one.reason is not None:
        yield f"{one.rule}: {one.reason}"
    if one.approval_id is not None:
        yield f"waits for approval {one.approval_id}"
    for grant in one.approvals_used:
        yield f"used approval {grant}"
    if one.agreed:
        yield f"agreed to, as asked by {', '.join(one.agreed)}"
    for miss in one.would_have_denied:
        yield Word(f"would have been refused by {miss.book}/{miss.rule}: {miss.reason}", "warn")
    if one.error is not None:
        yield one.error
    if one.result_digest is not None:
        named = f" {short(one.result_digest)}" if one.result_digest else ""
        yield f"result{named}, {one.result_bytes or 0:,} bytes"
    yield from settlement(one)
    for repeat in one.repeats:
        yield f"asked for again as {repeat.call_id}: {repeat.how}, not called again"


def settlement(one: CallReport) -> Iterable[Part]:
    """Who or what said what became of an unknown call, and what came too late."""
    if one.resolution is not None:
        said = _happened(one.resolution.happened)
        yield (
            f"settled {moment(one.resolution.at)} by {one.resolution.by}: {said}: "
            f"{one.resolution.note}"
        )
    if one.reconciliation is not None:
        said = _happened(one.reconciliation.happened)
        yield (
            f"reconciled {moment(one.reconciliation.at)} by {one.reconciliation.by_call}: {said}"
        )
    if one.outcome == "unknown" and not one.settled:
        yield Word("not settled yet", "bad")
    if one.late is not None:
        yield (
            f"a late answer came {moment(one.late.at)}: {one.late.outcome}, "
            f"{one.late.result_bytes:,} bytes; it was not applied"
        )
    if one.contradicted:
        yield Word("the late answer contradicts what was said of the call", "bad")


def _happened(happened: bool) -> str:
    return "it did happen" if happened else "it did not happen"


def violations_table(found: Iterable[Noted[Violation]], *, several: bool = False) -> Table:
    """Refused calls: of these nothing was sent."""
    columns = Columns(
        several, ("#", 7), ("Time (UTC)", 13), ("Who", 14), ("Call", 26), ("Rule: reason", 40)
    )
    return columns.table(
        (session, (str(it.seq), moment(it.at), it.principal, _tool(it), f"{it.rule}: {it.reason}"))
        for session, it in found
    )


def near_misses_table(found: Iterable[Noted[NearMiss]], *, several: bool = False) -> Table:
    """Calls that were made, and that rules which only observe would have refused."""
    columns = Columns(
        several, ("#", 7), ("Time (UTC)", 13), ("Who", 14), ("Call", 26), ("Rule: reason", 40)
    )
    return columns.table(
        (
            session,
            (
                str(it.seq),
                moment(it.at),
                it.principal,
                _tool(it),
                f"{it.book}/{it.rule}: {it.reason}",
            ),
        )
        for session, it in found
    )


def _tool(it: Violation | NearMiss) -> tuple[Part, ...]:
    return (Code(it.tool), f"step {it.step}") if it.step else (Code(it.tool),)


def unknown_table(calls: Iterable[Noted[CallReport]], *, several: bool = False) -> Table:
    """Calls whose outcome is or was unknown, and answers that came late."""
    columns = Columns(
        several, ("#", 7), ("Started (UTC)", 14), ("Call", 25), ("Why", 22), ("Settled", 32)
    )
    return columns.table(
        (
            session,
            (
                str(it.seq),
                moment(it.started_at),
                (Code(it.tool), Code(it.call_id)),
                it.error or "",
                tuple(settlement(it)),
            ),
        )
        for session, it in calls
    )


def repeats_table(found: Iterable[Noted[RepeatReport]], *, several: bool = False) -> Table:
    """Requests that were answered without making the call again."""
    columns = Columns(
        several, ("#", 8), ("Time (UTC)", 16), ("Who", 24), ("Request", 26), ("Answer", 26)
    )
    return columns.table(
        (
            session,
            (
                str(it.seq),
                moment(it.at),
                _who(it.principal, it.credential),
                (Code(it.call_id), *((f"key {it.key}",) if it.key else ())),
                f"{it.how}: the record of {it.of}",
            ),
        )
        for session, it in found
    )


def how(channel: str, credential: str) -> str:
    """Through what and with which credential somebody decided."""
    shown = short(credential) or "not recorded"
    return f"through {channel or 'an unrecorded channel'}, credential {shown}"


# --- the rest -----------------------------------------------------------------------------------


def run_facts(run: RunReport) -> Facts:
    """One run, without its picture."""
    ended = ""
    if run.ended_at is not None:
        by = f", by {run.ended_by}" if run.ended_by else ""
        ended = f"{moment(run.ended_at)}, after {duration(run.seconds)}{by}"
    rows: list[tuple[str, Cell]] = [
        ("run", (Code(run.run_id), f"by {run.principal}")),
        ("workflow", Code(f"SHA-256 {run.hash}")),
        ("inputs", Code(value_text(run.inputs, LONGEST))),
        ("started", moment(run.started_at)),
    ]
    rows += [("ended", ended)] if ended else []
    rows += [("reason", run.reason)] if run.reason else []
    rows += [("undone", ", ".join(run.undone))] if run.undone else []
    return Facts(tuple(rows), (f"{run.workflow} {run.version}", status(run.status)))


def figures_tables(figures: FiguresReport) -> list[Block]:
    """Rates and durations of all calls, by tool and by step."""
    groups = (("Tool", figures.by_tool), ("Step", figures.by_step))
    return [
        *(_figures_table(name, rows) for name, rows in groups if rows),
        *((_figures_table("All", (figures.overall,)),) if figures.by_tool else ()),
    ]


def _figures_table(name: str, rows: Sequence[Figures]) -> Table:
    columns = (name, "OK", "Failed", "Unknown", "Open", "Success", "p50", "p95", "max")
    return Table(
        columns,
        [
            (
                Code(it.name),
                *(f"{count:,}" for count in (it.succeeded, it.failed, it.unknown, it.open)),
                rate(it.succeeded, it.failed),
                *(duration(value) or "-" for value in (it.p50, it.p95, it.max)),
            )
            for it in rows
        ],
        (26, 7, 9, 11, 8, 10, 10, 10, 9),
        right=frozenset(range(1, 9)),
    )


def workflows_table(found: Iterable[WorkflowReport]) -> Table:
    """The texts that were in force, by their hash."""
    return Table(
        ("Kind", "Name", "Version", "SHA-256 of the text"),
        [(it.kind, Code(it.name), it.version, Code(it.hash)) for it in found],
        (12, 26, 12, 50),
    )


def events_table(events: Iterable[EventReport]) -> Table:
    """Every record in a sentence."""
    return Table(
        ("#", "Time (UTC)", "Kind", "What happened", "Who", "About"),
        [
            (
                str(it.seq),
                moment(it.at),
                it.kind,
                it.what,
                _by(it),
                Code(it.about),
            )
            for it in events
        ],
        (5, 12, 15, 38, 15, 15),
    )


def _by(it: EventReport) -> tuple[Part, ...]:
    credential = (f"credential {it.credential}",) if it.credential else ()
    channel = (f"through {it.channel}",) if it.channel else ()
    return (it.who, *credential, *channel)
