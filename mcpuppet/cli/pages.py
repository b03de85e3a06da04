"""What people read at a terminal: sessions, steps and requests, line by line.

Every text that came from a tool, a model or a person goes through `plain`, and pages are Rich text,
never markup: nothing in it can act on the terminal or hide. Lines are as long as
what they say, so that nothing is cut where somebody decides on it. Decides nothing, reads no store.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from rich.console import Console
from rich.live import Live
from rich.text import Text

from mcpuppet.audit.reports.near_misses import NearMisses
from mcpuppet.cli.looking import FactView, HeldView, RulesView, Sight
from mcpuppet.cli.output import counted
from mcpuppet.cli.text import plain
from mcpuppet.session.state import AskState, ShownCall
from mcpuppet.store.protocol import SessionRow, User
from mcpuppet.views import ApprovalView, ReviewView, SessionView, StepView, legal_sentence

SeenT = TypeVar("SeenT")

_LABEL = 12
_STYLES = {
    "legal": "green",
    "success": "green",
    "completed": "green",
    "running": "cyan",
    "awaiting_approval": "yellow",
    "waiting_approval": "yellow",
    "held": "bold red",
    "failed": "red",
    "failure": "red",
    "failing": "red",
    "rejected": "red",
}
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def show(page: Text, *, stderr: bool = False) -> None:
    """Print a page."""
    console(stderr=stderr).print(page, soft_wrap=True)


def console(*, stderr: bool = False) -> Console:
    """A console that takes nothing in a text for a command, a name or a number."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


@contextmanager
def shown_live(
    page_of: Callable[[SeenT, datetime], Text], clock: Callable[[], datetime]
) -> Iterator[Callable[[SeenT], None]]:
    """Gives a function that shows the page of what it gets in place of the page before.

    On a terminal the page is made anew every second, as times left grow shorter. Elsewhere each
    page is printed below the one before.
    """
    if not sys.stdout.isatty():
        yield lambda seen: show(page_of(seen, clock()).append("\n"))
        return
    latest: list[SeenT] = []
    with Live(
        get_renderable=lambda: page_of(latest[-1], clock()) if latest else Text(),
        console=console(),
        refresh_per_second=1,
        vertical_overflow="visible",  # a request must not be cut off at the end of the screen
    ) as live:

        def update(seen: SeenT) -> None:
            latest[:] = [seen]
            live.refresh()

        yield update


# --- sessions -----------------------------------------------------------------------------------


def sessions_page(rows: Sequence[SessionRow]) -> Text:
    """A line for each session."""
    head = ("session", "workflow", "status", "principal", "records", "changed (UTC)")
    return _table(
        head,
        [
            (
                row.session_id,
                row.workflow or "-",
                row.status,
                row.principal,
                str(row.seq),
                _moment(row.updated_at),
            )
            for row in rows
        ],
    )


def near_misses_page(found: Sequence[tuple[SessionRow, NearMisses]]) -> Text:
    """A line for each session with calls that rules which only observe would have denied."""
    if not found:
        return Text("No session has a call that an observing rule would have denied.")
    head = ("session", "workflow", "principal", "would deny", "rules", "changed (UTC)")
    return _table(
        head,
        [
            (
                row.session_id,
                row.workflow or "-",
                row.principal,
                str(misses.calls),
                _rule_counts(misses),
                _moment(row.updated_at),
            )
            for row, misses in found
        ],
    )


def _rule_counts(misses: NearMisses) -> str:
    counts = misses.rules.most_common()
    return ", ".join(f"{book}/{rule} {calls}" for (book, rule), calls in counts)


def users_page(users: Sequence[User]) -> Text:
    """A line for each person who was given a token."""
    head = ("name", "roles", "since (UTC)", "")
    return _table(
        head,
        [
            (
                user.name,
                ", ".join(user.roles),
                _moment(user.created_at),
                "disabled" if user.disabled else "",
            )
            for user in users
        ],
    )


def session_page(sight: Sight, now: datetime) -> Text:
    """A session: its run, every step, what is legal, and what waits for a person."""
    view = sight.session
    page = [*_session_head(view), *_rules(sight.rules), *_facts(sight.facts)]
    if sight.near_misses is not None:
        misses = sight.near_misses
        words = f"{counted(misses.calls, 'call')} made all the same ({_rule_counts(misses)})"
        page.append(_row("would deny", plain(words, "yellow")))
    if view.steps:
        page += [Text(), *_steps(view.steps)]
    page += [Text(), plain(legal_sentence(view.legal, view.status))]
    page += [_decided(ask) for ask in sight.decided]
    page += [line for held in sight.held for line in _held(held, view.session_id)]
    for approval in view.approvals:
        page += [Text(), approval_page(approval, now)]
    for review in view.reviews:
        page += [Text(), review_page(review, now)]
    return _lines(page)


def _session_head(view: SessionView) -> Iterator[Text]:
    yield _row("session", plain(view.session_id, "bold"))
    yield _row("principal", view.principal)
    if view.workflow is not None:
        yield _row("workflow", f"{view.workflow} {view.version}")
        yield _row("run", f"{view.run_id}")
    yield _row("status", plain(view.status, _STYLES.get(view.status, "")))
    if view.end_reason is not None:
        yield _row("because", view.end_reason)
    for step, guidance in view.guidance.items():
        yield _row("guidance", f"{step}: {guidance}")


def _rules(rules: RulesView | None) -> Iterator[Text]:
    """The rules file in force and the inputs it was told, where there is one."""
    if rules is None:
        return
    yield _row("rules", f"{rules.name} {rules.version}")
    if rules.inputs:
        yield from _values("inputs", rules.inputs)
    elif rules.locked and not rules.declared:
        yield _row("inputs", "locked: a tool has answered; `mcpuppet reopen` opens them again")


def _facts(facts: Sequence[FactView]) -> Iterator[Text]:
    for number, one in enumerate(facts):
        yield _row("" if number else "facts", f"{one.book}/{one.fact}: {_fact(one)}")


def _fact(fact: FactView) -> str:
    if fact.overflowed:
        return "not known: there was more than it may hold"
    if not fact.known:
        return f"not known yet: {fact.hint}"
    if fact.keyed:
        return f"known for {', '.join(fact.keyed)}"
    return f"{len(fact.values)} {'value' if len(fact.values) == 1 else 'values'}"


def _decided(ask: AskState) -> Text:
    """A request about one call that people have decided."""
    call = f"{ask.tool} {_written(ask.arguments)}"
    if ask.status == "rejected":
        return _row("refused", plain(f"{call}: {ask.reason}", "red"))
    return _row("agreed", f"{call} once, until {_moment(ask.expires_at)} UTC")


def _steps(steps: Sequence[StepView]) -> Iterator[Text]:
    """A line for each step: its status, its id and its title."""
    id_width = max((plain(one.id).cell_len for one in steps), default=0)
    status_width = max((len(one.status) for one in steps), default=0)
    for one in steps:
        line = Text("  ").append_text(
            _padded(one.status, status_width, _STYLES.get(one.status, ""))
        )
        line.append("  ").append_text(_padded(one.id, id_width, "bold"))
        line.append("  ").append_text(plain(one.title))
        if one.detail is not None:
            line.append(": ").append_text(plain(one.detail))
        yield line


def _held(held: HeldView, session_id: str) -> Iterator[Text]:
    what = held.target if held.step in (None, held.target) else f"{held.target} ({held.step})"
    option = f" --session {session_id}" if held.step == held.target else ""
    command = f"mcpuppet resolve {held.target}{option} --happened | --did-not-happen"
    yield Text()
    yield _row("held", plain(f"{what}: {held.reason}", "red"))
    if held.late:
        yield _row("late", plain(f"{held.late}; it counts for nothing until you say so"))
    yield _row("settle it", command)


# --- approvals ----------------------------------------------------------------------------------


def approvals_page(views: Sequence[ApprovalView], now: datetime) -> Text:
    """Every open request, with all that a person decides on."""
    pages = [approval_page(view, now) for view in views]
    return Text("\n\n").join(pages) if pages else Text("Nothing waits for a person.")


def approval_page(view: ApprovalView, now: datetime) -> Text:
    """One request with all that a person decides on, nothing shortened."""
    if view.policies:
        return _lines(_ask(view, now))
    page = [
        _row("approval", plain(view.approval_id, "bold")),
        _row("step", f"{view.step}: {view.title}"),
        _row("workflow", view.workflow),
        _row("session", view.session_id),
        *_values("values", view.binds),
        *(line for call in view.calls for line in _call(call)),
    ]
    if not view.calls:
        page.append(_row("call", "none was attempted yet; the values are what is decided"))
    page += [
        _row("roles", f"{' or '.join(view.roles)}{' (escalated)' if view.escalated else ''}"),
        _row("approved", _progress(view)),
        _row("asked by", view.requested_by),
        _row("expires", _time_left(view.expires_at, now)),
    ]
    if view.bypass_roles:
        page.append(_row("bypass", f"by {' or '.join(view.bypass_roles)}, with a justification"))
    page.append(_row("digest", view.content))
    return _lines(page)


def edit_page(call: ShownCall, arguments: Mapping[str, Any]) -> Text:
    """What a shown call would become."""
    return _lines([_row("becomes", plain(call.tool, "bold")), *_values("", arguments)])


# --- reviews ------------------------------------------------------------------------------------


def reviews_page(views: Sequence[ReviewView], now: datetime) -> Text:
    """Every bypass that still has to be reviewed."""
    pages = [review_page(view, now) for view in views]
    return Text("\n\n").join(pages) if pages else Text("No bypass waits to be reviewed.")


def review_page(view: ReviewView, now: datetime) -> Text:
    """One bypass, and by when somebody else has to look at it."""
    left = _time_left(view.due_at, now, "overdue")
    due = plain(left, "bold red" if view.overdue else "")
    command = f'mcpuppet review {view.review_id} --justified | --unjustified --note "..."'
    return _lines(
        [
            _row("review", plain(view.review_id, "bold")),
            _row("bypass", f"of {view.step} ({view.approval_id}) by {view.bypassed_by}"),
            _row("reason", view.justification),
            _row("session", view.session_id),
            _row("reviewers", f"{' or '.join(view.roles)}, and not {view.bypassed_by}"),
            _row("due", due),
            _row("settle it", command),
        ]
    )


# --- requests about single calls ----------------------------------------------------------------


def _ask(view: ApprovalView, now: datetime) -> Iterator[Text]:
    """A request about one call: the call, who asks and why, and where its values came from."""
    call = view.calls[0]
    yield _row("approval", plain(view.approval_id, "bold"))
    where = f" (step {call.step})" if call.step else ""
    yield _row("call", plain(f"{call.tool}{where}", "bold"))
    yield from _values("", call.arguments)
    yield from _edited(call)
    for number, (name, value) in enumerate(view.binds.items()):
        yield _row("" if number else "look at", plain(f"{name} = {_written(value)}", "bold"))
        yield _row("", plain(f"  {view.seen.get(name, 'not known where from')}", "yellow"))
    for number, (policy, roles) in enumerate(view.policies.items()):
        yield _row("" if number else "policies", f"{policy}, by {' or '.join(roles)}")
    yield _row("rules", view.workflow)
    yield _row("session", view.session_id)
    each = "; each policy needs somebody" if len(view.policies) > 1 else ""
    yield _row("agreed", f"{', '.join(view.approved_by) or 'nobody yet'}{each}{_void(view)}")
    yield _row("asked by", view.requested_by)
    yield _row("expires", _time_left(view.expires_at, now))
    yield _row("digest", view.content)


def _call(call: ShownCall) -> Iterator[Text]:
    yield _row("call", plain(f"{call.tool} (step {call.step})", "bold"))
    yield from _values("", call.arguments)
    yield _row("", f"digest {call.digest}")
    yield from _edited(call)


def _edited(call: ShownCall) -> Iterator[Text]:
    if call.edited_by:
        yield _row("", plain(f"as edited by {call.edited_by}; not what was asked for", "yellow"))


def _values(label: str, values: Mapping[str, Any]) -> Iterator[Text]:
    for number, (name, value) in enumerate(values.items()):
        yield _row("" if number else label, f"{name} = {_written(value)}")


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=dict)


def _progress(view: ApprovalView) -> str:
    by = f" (by {', '.join(view.approved_by)})" if view.approved_by else ""
    return f"{len(view.approved_by)} of {view.quorum}{by}{_void(view)}"


def _void(view: ApprovalView) -> str:
    """Votes that do not count any more."""
    names = ", ".join(view.void_votes)
    return f"; of people disabled since, not counted: {names}" if names else ""


def _time_left(expires_at: datetime, now: datetime, past: str = "has expired") -> str:
    left = expires_at - now
    when = f"{_moment(expires_at)} UTC"
    return f"in {_span(left)} ({when})" if left > timedelta(0) else f"{past} ({when})"


def _span(span: timedelta) -> str:
    """The two largest units of a time span: `3 h 59 min`, `45 s`."""
    seconds = max(1, int(span.total_seconds()))
    parts: list[str] = []
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
    return " ".join(part for part in parts[:2] if part)


# --- lines --------------------------------------------------------------------------------------


def _padded(words: str, width: int, style: str = "") -> Text:
    text = plain(words, style)
    return text.append(" " * (width - text.cell_len))


def _row(label: str, value: Text | str) -> Text:
    line = Text(label.ljust(_LABEL), "dim")
    return Text().append_text(line).append_text(plain(value) if isinstance(value, str) else value)


def _lines(lines: Iterable[Text]) -> Text:
    return Text("\n").join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Text:
    """Columns as wide as their widest cell."""
    cells = [
        [plain(cell, "dim") for cell in head],
        *([plain(cell) for cell in row] for row in rows),
    ]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    return _lines(_columns(row, widths) for row in cells)


def _columns(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    line = Text()
    for cell, width in zip(cells, widths, strict=True):
        line.append_text(cell).append(" " * (width - cell.cell_len + 2))
    line.rstrip()
    return line


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
