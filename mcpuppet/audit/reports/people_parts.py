"""The facts and tables of people's decisions: approvals, reviews, bypasses, refused attempts.

Owns their words and columns. Knows no file format.
"""

from __future__ import annotations

from collections.abc import Iterable

from mcpuppet.audit.reports.decisions import EditReport, EscalationReport
from mcpuppet.audit.reports.document import Cell, Code, Facts, Part, Table, Word
from mcpuppet.audit.reports.parts import LONGEST, Columns, Noted, how, status
from mcpuppet.audit.reports.report import ApprovalReport, AskReport, RefusedDecision, ReviewReport
from mcpuppet.audit.reports.words import duration, many, moment, short, value_text


def approval_facts(one: ApprovalReport) -> Facts:
    """One request of an approval step, with everything that was decided on."""
    asked = f"{moment(one.opened_at)}, by {one.requested_by}, until {moment(one.expires_at)}"
    rows: list[tuple[str, Cell]] = [
        ("asked", f"{asked}; request {one.asked}"),
        ("needs", f"{one.quorum} of the roles {', '.join(one.roles)}{_separation(one)}"),
        ("bound values", Code(value_text(one.binds, LONGEST))),
    ]
    for shown in one.shown:
        arguments = value_text(shown.arguments, LONGEST)
        call = (Code(shown.tool), Code(arguments), Code(f"digest {short(shown.digest)}"))
        rows.append(("call shown", call))
    rows += _escalations(one.escalations)
    rows += _edits(one.edits)
    for vote in one.votes:
        roles = f", as {', '.join(vote.roles)}" if vote.roles else ""
        rows.append(
            (
                "approved by, void after the edit" if vote.void else "approved by",
                (
                    f"{vote.by}{roles}, {moment(vote.at)}, {how(vote.channel, vote.credential)}",
                    Code(f"content {short(vote.content)}"),
                ),
            )
        )
    rows += _decision(one)
    if one.justification is not None:
        rows.append(("justification", one.justification))
    if one.reset:
        rows.append(("pending again", ", ".join(one.reset)))
    return Facts(tuple(rows), (f"Step {one.step}", status(one.status), Code(one.approval_id)))


def ask_facts(one: AskReport) -> Facts:
    """One request about a single call."""
    asked = f"{moment(one.opened_at)}, by {one.requested_by}, until {moment(one.expires_at)}"
    rows: list[tuple[str, Cell]] = [
        ("asked", asked),
        ("call", (Code(one.tool), Code(value_text(one.arguments, LONGEST)))),
        ("digest", Code(short(one.digest))),
    ]
    rows += (("policy", f"{name}: {' or '.join(roles)}") for name, roles in one.policies.items())
    rows += (
        ("shown first", f"{shown.path} = {value_text(shown.value, LONGEST)}; {shown.seen}")
        for shown in one.shown
    )
    rows += _escalations(one.escalations)
    rows += _edits(one.edits)
    for who in one.agreements:
        words = f"{moment(who.at)}, {how(who.channel, who.credential)}"
        rows.append(("agreed", f"{who.by}, {words}, for {', '.join(who.policies) or 'no policy'}"))
    rows += _decision(one)
    if one.used_by is not None:
        rows.append(("let through", Code(one.used_by)))
    title = (Code(one.tool), status(one.status), Code(one.approval_id))
    return Facts(tuple(rows), title)


def _separation(one: ApprovalReport) -> str:
    return "; who asked may not decide" if one.separation else ""


def _escalations(escalations: Iterable[EscalationReport]) -> Iterable[tuple[str, Cell]]:
    for it in escalations:
        words = f"{moment(it.at)} to {', '.join(it.roles)}, until {moment(it.expires_at)}"
        yield "escalated", words


def _edits(edits: Iterable[EditReport]) -> Iterable[tuple[str, Cell]]:
    for it in edits:
        credential = short(it.credential) or "not recorded"
        yield (
            "edited by",
            (
                f"{it.by}, {moment(it.at)}, credential {credential}: {it.note}",
                Code(value_text(it.arguments, LONGEST)),
                Code(f"digest {short(it.digest)} instead of {short(it.replaces)}"),
            ),
        )


def _decision(one: ApprovalReport | AskReport) -> Iterable[tuple[str, Cell]]:
    if one.decided_at is not None:
        took = duration(one.seconds_to_decide)
        by = ", ".join(one.decided_by)
        words = f", {how(one.channel, one.credential)}" if one.channel or one.credential else ""
        yield "decided", f"{moment(one.decided_at)}, by {by}, after {took}{words}"
    if one.reason is not None:
        yield "reason", one.reason


def requests_table(found: Iterable[Noted[ApprovalReport | AskReport]]) -> Table:
    """Requests for a person's decision, one in a row, of several sessions."""
    columns = Columns(
        True, ("Request", 22), ("Asked (UTC)", 13), ("Status", 11), ("Decided by", 20), ("After", 9)
    )
    return columns.table((session, _request_row(one)) for session, one in found)


def _request_row(one: ApprovalReport | AskReport) -> tuple[Cell, ...]:
    what = f"step {one.step}" if isinstance(one, ApprovalReport) else f"call of {one.tool}"
    noted = [many(len(one.edits), "edit")] if one.edits else []
    noted += [many(len(one.escalations), "escalation")] if one.escalations else []
    in_time = one.decided_by != ("time",)
    return (
        (what, Code(one.approval_id), *noted),
        moment(one.opened_at),
        status(one.status if in_time else "timed_out"),
        ", ".join(one.decided_by) if in_time else "nobody",
        duration(one.seconds_to_decide),
    )


def reviews_table(found: Iterable[Noted[ReviewReport]], *, several: bool = False) -> Table:
    """Bypasses and what came of their reviews."""
    columns = Columns(
        several,
        ("Bypass", 25),
        ("Justification", 25),
        ("Review", 12),
        ("Due (UTC)", 13),
        ("Reviewed", 25),
    )
    return columns.table((session, _review_row(it)) for session, it in found)


def _review_row(it: ReviewReport) -> tuple[Cell, ...]:
    word: tuple[Part, ...] = (status(it.status),)
    if it.late and it.status != "overdue":
        word = (*word, Word("late", "warn"))
    closed: Cell = f"by one of the roles {', '.join(it.roles)}"
    if it.closed_at is not None:
        words = f"{moment(it.closed_at)}, credential {short(it.credential) or 'not recorded'}"
        closed = (f"{it.closed_by}, {words}", it.note or "")
    return (
        (f"step {it.step}, by {it.bypassed_by}, {moment(it.opened_at)}", Code(it.approval_id)),
        it.justification,
        word,
        moment(it.due_at),
        closed,
    )


def bypasses_table(found: Iterable[Noted[ApprovalReport]], *, several: bool = False) -> Table:
    """Approvals that were passed over."""
    columns = Columns(several, ("Time (UTC)", 14), ("Step", 22), ("By", 24), ("Justification", 40))
    return columns.table(
        (
            session,
            (
                moment(it.decided_at),
                (it.step, Code(it.approval_id)),
                (", ".join(it.decided_by), how(it.channel, it.credential)),
                it.justification or "",
            ),
        )
        for session, it in found
    )


def refusals_table(found: Iterable[Noted[RefusedDecision]], *, several: bool = False) -> Table:
    """Attempts to decide that were refused."""
    columns = Columns(
        several, ("#", 7), ("Time (UTC)", 14), ("Who", 24), ("Tried to", 25), ("Refused", 30)
    )
    return columns.table(
        (
            session,
            (
                str(it.seq),
                moment(it.at),
                (it.by or "nobody known", how(it.channel, it.credential)),
                (it.action, Code(it.target)),
                it.reason,
            ),
        )
        for session, it in found
    )
