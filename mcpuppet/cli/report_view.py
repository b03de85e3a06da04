"""A compliance report for a terminal: the chain first, then what needs a person's eye.

Owns layout only; it fits 80 columns and says nothing by colour alone. All words of a report may
come from outside, so each is printed through `cli.text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mcpuppet.audit.reports import parts
from mcpuppet.audit.reports import people_parts as people
from mcpuppet.audit.reports.report import (
    AgreementReport,
    ApprovalReport,
    AskReport,
    CallReport,
    ComplianceReport,
    Figures,
    HoldReport,
    InputsReport,
    LateOutcomeReport,
    Resolution,
    RunReport,
    VoteReport,
)
from mcpuppet.audit.reports.words import value_text
from mcpuppet.cli.document_view import render_blocks
from mcpuppet.cli.text import plain
from mcpuppet.session.events import time_text

_HASH_LENGTH = 12
_VALUE_LENGTH = 300
"""Characters of a value that are printed; the JSON form has all of it."""
_GOOD, _BAD, _WARN, _DIM, _HEAD = "green", "bold red", "yellow", "dim", "bold"
_CHAINS = {"intact": ("intact", _GOOD), "broken": ("BROKEN", _BAD), "pruned": ("pruned", _WARN)}


def render_report(report: ComplianceReport, console: Console) -> None:
    """Print a report."""
    _print_summary(report, console)
    _print_rules(report, console)
    _print_runs(report.runs, console)
    _print_violations(report, console)
    _print_near_misses(report, console)
    _print_approvals(report.approvals, console)
    _print_asks(report.asks, console)
    _print_reviews(report, console)
    _print_holds(report, console)
    _print_repeats(report, console)
    _print_calls(report.calls, console)
    _print_learned(report, console)
    _print_figures(report, console)


def _print_summary(report: ComplianceReport, console: Console) -> None:
    console.print(Text.assemble(("Compliance report: ", _HEAD), plain(report.session_id, _HEAD)))
    _print_facts(
        console,
        {
            "principal": report.principal or "not recorded",
            "opened": _moment(report.opened_at),
            "last activity": _moment(report.last_activity_at),
        },
    )
    chain = report.chain
    head = "none is stored" if chain.head is None else chain.head
    line = plain(*_CHAINS[chain.status])
    console.print(Text.assemble("  chain: ", line, f", {chain.records} records, head"))
    console.print(Text(f"    {head}", _DIM), overflow="fold")
    for one in chain.breaks:
        console.print(_indented(4, plain(f"record {one.seq}: {one.what}", _BAD)))
    console.print(_indented(2, plain(report.statement, _DIM)))


def _print_rules(report: ComplianceReport, console: Console) -> None:
    """The rules file and its inputs; nothing where no rules file was in force."""
    if not report.rules and not report.inputs:
        return
    _print_heading(console, "Rules", report.rules)
    for one in report.rules:
        console.print(_indented(2, plain(f"{one.rules} {one.version}", _HEAD)))
        facts = {"rules hash": one.hash[:_HASH_LENGTH], "adopted": _moment(one.adopted_at)}
        _print_facts(console, facts, indent=4)
    for inputs in report.inputs:
        style = _WARN if inputs.what == "reopened" else ""
        console.print(_indented(2, plain(_inputs(inputs), style)))


def _inputs(one: InputsReport) -> str:
    when = f"inputs {one.what}: {_moment(one.at)}, by {one.by}"
    if one.what == "reopened":
        return f"{when}: {one.note}" if one.note else when
    return f"{when}: {_json(one.inputs or {})}"


def _print_runs(runs: Iterable[RunReport], console: Console) -> None:
    _print_heading(console, "Runs", runs)
    for run in runs:
        name = f"{run.workflow} {run.version}: {run.status.replace('_', ' ')}"
        console.print(_indented(2, plain(name, _HEAD)))
        _print_facts(
            console,
            {
                "run": f"{run.run_id}, by {run.principal}",
                "workflow hash": run.hash[:_HASH_LENGTH],
                "inputs": _json(run.inputs),
                "started": _moment(run.started_at),
                "ended": None if run.ended_at is None else _ended(run),
                "reason": run.reason,
                "undone": ", ".join(run.undone) or None,
            },
            indent=4,
        )


def _ended(run: RunReport) -> str:
    by = "" if run.ended_by is None else f", by {run.ended_by}"
    return f"{_moment(run.ended_at)}, after {_duration(run.seconds)}{by}"


def _print_violations(report: ComplianceReport, console: Console) -> None:
    _print_heading(
        console, "Violations: denied calls, of which nothing was sent", report.violations
    )
    if not report.violations:
        return
    table = _table("#", "time", "tool and step", "rule: reason", wide="rule: reason")
    for one in report.violations:
        tool, why = _tool_and_step(one.tool, one.step), f"{one.rule}: {one.reason}"
        _add_row(table, str(one.seq), _short_moment(one.at), tool, why)
    console.print(table)


def _print_near_misses(report: ComplianceReport, console: Console) -> None:
    """Calls that would have been denied; nothing where no rule only observes."""
    if not report.near_misses:
        return
    _print_heading(
        console,
        "Would have been denied: calls that were made, as rules observed",
        report.near_misses,
    )
    table = _table("#", "time", "tool and step", "rule: reason", wide="rule: reason")
    for one in report.near_misses:
        tool, why = _tool_and_step(one.tool, one.step), f"{one.book}/{one.rule}: {one.reason}"
        _add_row(table, str(one.seq), _short_moment(one.at), tool, why)
    console.print(table)


def _print_approvals(approvals: Iterable[ApprovalReport], console: Console) -> None:
    _print_heading(console, "Approvals", approvals)
    for one in approvals:
        style = _GOOD if one.status == "approved" else _WARN
        console.print(_indented(2, plain(f"{one.step}: {one.status}", style)))
        people = f"{one.quorum} of {', '.join(one.roles)}"
        _print_facts(
            console,
            {
                "approval": f"{one.approval_id}, request {one.asked}",
                "asked": f"{_moment(one.opened_at)}, by {one.requested_by}; needs {people}",
                "values": _json(one.binds),
                **{f"shown call {n}": _shown(call) for n, call in enumerate(one.shown, start=1)},
                **{
                    f"vote {n}": f"{vote.by}, {_moment(vote.at)}, {vote.channel}{_void(vote)}"
                    for n, vote in enumerate(one.votes, start=1)
                },
                **_changes(one),
                "expired": _moment(_last_moment(one)) if one.expired else None,
                "decided": None if one.decided_at is None else _decided(one),
                "reason": one.reason,
                "justification": one.justification,
                "pending again": ", ".join(one.reset) or None,
            },
            indent=4,
        )


def _void(vote: VoteReport) -> str:
    return "; void: the call was edited after it" if vote.void else ""


def _last_moment(one: ApprovalReport) -> datetime:
    """When a request ran out, or would have: an escalation gives it more time."""
    return one.escalations[-1].expires_at if one.escalations else one.expires_at


def _print_asks(asks: Iterable[AskReport], console: Console) -> None:
    """Requests about single calls; nothing where no policy asked."""
    if not asks:
        return
    _print_heading(console, "Requests about single calls", asks)
    for one in asks:
        style = _GOOD if one.status in ("approved", "used") else _WARN
        console.print(_indented(2, plain(f"{_tool_of(one)}: {one.status}", style)))
        _print_facts(
            console,
            {
                "approval": f"{one.approval_id} [{one.digest[:_HASH_LENGTH]}]",
                "asked": f"{_moment(one.opened_at)}, by {one.requested_by}",
                **{f"policy {name}": " or ".join(who) for name, who in one.policies.items()},
                "arguments": _json(one.arguments),
                **{
                    f"shown {shown.path}": f"{_json(shown.value)}; {shown.seen}"
                    for shown in one.shown
                },
                **_changes(one),
                **{f"agreed {n}": _agreed(who) for n, who in enumerate(one.agreements, start=1)},
                "decided": None if one.decided_at is None else _decided(one),
                "reason": one.reason,
                "put off": ", ".join(one.attempts) or None,
                "let through": one.used_by,
                "ended": None if one.ended_at is None else _moment(one.ended_at),
            },
            indent=4,
        )


def _print_reviews(report: ComplianceReport, console: Console) -> None:
    """Reviews of bypasses and refused attempts to decide; nothing where there was none."""
    name = report.session_id
    if report.reviews:
        _print_heading(console, "Reviews of bypasses", report.reviews)
        render_blocks([people.reviews_table((name, one) for one in report.reviews)], console)
    if report.refusals:
        _print_heading(console, "Attempts to decide that were refused", report.refusals)
        render_blocks([people.refusals_table((name, one) for one in report.refusals)], console)


def _print_repeats(report: ComplianceReport, console: Console) -> None:
    """Requests that were made again; nothing where none was."""
    if report.repeats:
        _print_heading(console, "Repeated requests, not called again", report.repeats)
        rows = ((report.session_id, one) for one in report.repeats)
        render_blocks([parts.repeats_table(rows)], console)


def _tool_of(ask: AskReport) -> str:
    return ask.tool if ask.step is None else f"{ask.tool} (step {ask.step})"


def _agreed(one: AgreementReport) -> str:
    return f"{one.by}, {_moment(one.at)}, {one.channel}, for {', '.join(one.policies) or 'none'}"


def _changes(one: ApprovalReport | AskReport) -> dict[str, str]:
    """Escalations and edits of a request."""
    escalations = (
        (f"escalated {n}", f"{_moment(it.at)}, to {', '.join(it.roles)}")
        for n, it in enumerate(one.escalations, start=1)
    )
    edits = (
        (f"edited {n}", f"{_moment(it.at)}, by {it.by}: {_json(it.arguments)}; {it.note}")
        for n, it in enumerate(one.edits, start=1)
    )
    return dict((*escalations, *edits))


def _shown(call: Any) -> str:
    return f"{call.tool} {_json(call.arguments)} [{call.digest[:_HASH_LENGTH]}]"


def _decided(one: ApprovalReport | AskReport) -> str:
    took = _duration(one.seconds_to_decide)
    return f"{_moment(one.decided_at)}, by {', '.join(one.decided_by)}, after {took}"


def _print_holds(report: ComplianceReport, console: Console) -> None:
    unknown = [one for one in report.calls if one.outcome == "unknown"]
    console.print()
    title = f"Held steps ({len(report.holds)}) and calls of unknown outcome ({len(unknown)})"
    console.print(Text(title, _HEAD))
    for hold in report.holds:
        _print_hold(hold, console)
    for call in unknown:
        _print_unknown(call, console)


def _print_hold(hold: HoldReport, console: Console) -> None:
    style = _WARN if hold.status == "waiting" else ""
    console.print(_indented(2, plain(f"step {hold.step}: {hold.status}", style)))
    _print_facts(
        console,
        {
            "since": _moment(hold.since),
            "reason": hold.reason,
            "call": hold.call_id,
            "settled": None if hold.resolution is None else _resolution(hold.resolution),
        },
        indent=4,
    )


def _print_unknown(call: CallReport, console: Console) -> None:
    style = "" if call.settled and not call.contradicted else _WARN
    console.print(_indented(2, plain(f"call {call.call_id} of {call.tool}: unknown", style)))
    _print_facts(
        console,
        {
            "started": _moment(call.started_at),
            "reason": call.error,
            "settled": _settled(call),
            "late answer": None if call.late is None else _late(call.late),
            "contradiction": "what was settled is not what the answer says"
            if call.contradicted
            else None,
        },
        indent=4,
    )


def _settled(call: CallReport) -> str:
    if call.resolution is not None:
        return _resolution(call.resolution)
    told = call.reconciliation
    if told is None:
        return "not yet"
    word = "it did happen" if told.happened else "it did not happen"
    return f"{_moment(told.at)}, by the reading call {told.by_call}: {word}"


def _late(late: LateOutcomeReport) -> str:
    return f"{_moment(late.at)}, {late.outcome}, not applied"


def _resolution(one: Resolution) -> str:
    word = "it did happen" if one.happened else "it did not happen"
    note = f": {one.note}" if one.note else ""
    return f"{_moment(one.at)}, by {one.by}: {word}{note}"


def _print_calls(calls: Iterable[CallReport], console: Console) -> None:
    _print_heading(console, "Calls", calls)
    if not calls:
        return
    table = _table("#", "time", "tool and step", "result", "took", wide="tool and step")
    for one in calls:
        _add_row(
            table,
            str(one.seq),
            _short_moment(one.decided_at),
            _tool_and_step(one.tool, _as_what(one)),
            (one.outcome or one.decision).replace("_", " "),
            _duration(one.seconds),
        )
    console.print(table)


def _as_what(call: CallReport) -> str | None:
    """The step a call was for, or what else it was for."""
    words = [word for word in (call.step, call.purpose) if word not in (None, "step")]
    if call.attempt is not None and call.attempt > 1:
        words.append(f"attempt {call.attempt}")
    return ", ".join(word for word in words if word) or None


def _print_learned(report: ComplianceReport, console: Console) -> None:
    """How often facts were learned; nothing where none was."""
    if not report.facts:
        return
    _print_heading(console, "Facts learned from results", report.facts)
    table = _table("fact", "learned", "overflowed", "dropped", wide="fact")
    for one in report.facts:
        counts = (one.learned, one.overflowed, one.dropped)
        _add_row(table, f"{one.book}/{one.fact}", *(str(count) for count in counts))
    console.print(table)


def _print_figures(report: ComplianceReport, console: Console) -> None:
    console.print()
    console.print(Text("Figures of the calls that were sent (p50, p95, max in seconds)", _HEAD))
    columns = ("name", "ok", "failed", "unknown", "open", "rate", "p50", "p95", "max")
    table = _table(*columns, wide="name")
    _add_figures(table, report.figures.overall)
    groups = {
        "tools": report.figures.by_tool,
        "steps": report.figures.by_step,
        "purposes": report.figures.by_purpose,
    }
    for title, figures in groups.items():
        if figures:
            _add_row(table, f"{title}:")
        for one in figures:
            _add_figures(table, one, " ")
    console.print(table)
    misses = report.figures.overall.would_have_denied
    if misses:
        words = f"Calls that would have been denied: {misses}"
        rules = (f"{one.book}/{one.rule} {one.calls}" for one in report.figures.would_have_denied)
        console.print(_indented(0, plain(f"{words} ({', '.join(rules)})", _WARN)))


def _add_figures(table: Table, one: Figures, prefix: str = "") -> None:
    ended = one.succeeded + one.failed
    # Rounded down: only a tool that never failed has 100 %.
    rate = f"{one.succeeded * 1000 // ended / 10}%" if ended else ""
    counts = (str(count) for count in (one.succeeded, one.failed, one.unknown, one.open))
    times = ("" if value is None else f"{value:.3f}" for value in (one.p50, one.p95, one.max))
    _add_row(table, prefix + one.name, *counts, rate, *times)


# --- parts --------------------------------------------------------------------------------------


def _print_heading(console: Console, title: str, items: Iterable[Any]) -> None:
    count = sum(1 for _ in items)
    console.print()
    console.print(Text(f"{title} ({count})" if count else f"{title}: none", _HEAD))


def _print_facts(console: Console, facts: Mapping[str, str | None], indent: int = 2) -> None:
    for name, value in facts.items():
        if value is not None:
            console.print(_indented(indent, Text.assemble(f"{name}: ", plain(value))))


def _indented(indent: int, text: Text) -> Padding:
    text.overflow = "fold"
    return Padding(text, (0, 0, 0, indent), expand=False)


def _table(*columns: str, wide: str) -> Table:
    """A table without rules; only the column `wide` takes what width is left."""
    table = Table(box=None, pad_edge=False, header_style=_HEAD, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold", ratio=1 if name == wide else None)
    return table


def _add_row(table: Table, *cells: str | Text) -> None:
    table.add_row(*(plain(cell) if isinstance(cell, str) else cell for cell in cells))


def _tool_and_step(tool: str, step: str | None) -> Text:
    return plain(tool) if step is None else Text("\n  ").join((plain(tool), plain(step)))


def _json(value: Any) -> str:
    return value_text(value, _VALUE_LENGTH)


def _moment(at: datetime | None) -> str:
    return "not recorded" if at is None else f"{time_text(at)[:19]}Z"


def _short_moment(at: datetime) -> str:
    return time_text(at)[5:19].replace("T", " ")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.3f} s"
    return str(timedelta(seconds=round(seconds)))
