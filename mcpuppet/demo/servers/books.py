"""The `books` server: the books of a small company, as they are closed at the end of a month.

It owns, for each month, the imported bank lines, the entries, the reports and whether the month is
open to others. It does not know who has looked at a report, or when anything may be posted. The
figures are invented.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypedDict

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, ConfigDict, Field

from mcpuppet.demo.servers._common import State, Toolbox

_BANK_LINES: Final = 212
_OPEN_ITEMS: Final = (3, 1, 0)
"""Items that are open at the first, second and every later look: the bank needs a moment."""
_PROFIT_CENTS: Final = 48_300_00

Period = Annotated[
    str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", description="The month, `2026-01`.")
]
Amount = Annotated[
    float, Field(strict=True, gt=0, le=1e7, description="Euro, with at most two decimals.")
]
EntryId = Annotated[str, Field(description="As post_accrual returned it, `entry-0001`.")]


class Entry(BaseModel):
    """An entry as it is kept."""

    model_config = ConfigDict(extra="forbid")

    period: str
    cents: int
    text: str
    reversed: bool = False


class Month(BaseModel):
    """What is kept of a month."""

    model_config = ConfigDict(extra="forbid")

    locked: bool = False
    lines: int = 0
    looks: int = 0
    report: str = ""
    published: bool = False
    log: list[str] = Field(default_factory=list)


class BooksState(State):
    """All months by their names, and all entries by their ids."""

    months: dict[str, Month] = Field(default_factory=dict)
    entries: dict[str, Entry] = Field(default_factory=dict)

    def month(self, period: str) -> Month:
        """Return what is kept of a month, making it if need be."""
        return self.months.setdefault(period, Month())


class PeriodStatus(TypedDict):
    """A month, and whether others may still post into it."""

    period: str
    status: Literal["open", "locked"]


class Lines(TypedDict):
    """How many bank lines were imported."""

    lines: Annotated[int, Field(ge=0)]


class OpenItems(TypedDict):
    """How many bank lines have no entry yet."""

    open_items: Annotated[int, Field(ge=0)]


class EntryChange(TypedDict):
    """An entry, and what it stands for after the call."""

    entry_id: str
    amount: float


class Report(TypedDict):
    """A report, and the profit it shows in euro."""

    report_id: str
    profit: float


class Published(TypedDict):
    """The report that is published now."""

    report_id: str


class LogLines(TypedDict):
    """How many lines the log of the month has."""

    lines: Annotated[int, Field(ge=1)]


class Overview(TypedDict):
    """How far a month is."""

    status: Literal["open", "locked"]
    lines: int
    entries: int
    published: bool


TOOLBOX = Toolbox("books", "Keep and close the books of a month.", BooksState)


@TOOLBOX.reads
def get_overview(state: BooksState, period: Period) -> Overview:
    """Return how far a month is."""
    month = state.months.get(period, Month())
    entries = [one for one in state.entries.values() if one.period == period and not one.reversed]
    return {
        "status": "locked" if month.locked else "open",
        "lines": month.lines,
        "entries": len(entries),
        "published": month.published,
    }


@TOOLBOX.changes()
def lock_period(state: BooksState, period: Period) -> PeriodStatus:
    """Keep everybody else from posting into a month; refused if it is locked already."""
    month = state.month(period)
    if month.locked:
        raise ToolError(f"{period} is locked already")
    month.locked = True
    return {"period": period, "status": "locked"}


@TOOLBOX.changes()
def unlock_period(state: BooksState, period: Period) -> PeriodStatus:
    """Let everybody post into a month again."""
    state.month(period).locked = False
    return {"period": period, "status": "open"}


@TOOLBOX.changes()
def import_bank_feed(state: BooksState, period: Period) -> Lines:
    """Fetch the bank lines of a month from the bank."""
    return _import(state, period)


@TOOLBOX.changes()
def import_bank_file(
    state: BooksState,
    period: Period,
    file: Annotated[str, Field(min_length=1, description="The file that the bank sent.")],
) -> Lines:
    """Read the bank lines of a month from a file, for when the feed is down."""
    del file
    return _import(state, period)


@TOOLBOX.changes()
def match_lines(state: BooksState, period: Period) -> OpenItems:
    """Match bank lines with entries, and return how many are left without one.

    The bank settles the last ones within minutes: match again while some are open.
    """
    month = state.month(period)
    if not month.lines:
        raise ToolError(f"no bank lines were imported for {period}")
    open_items = _OPEN_ITEMS[min(month.looks, len(_OPEN_ITEMS) - 1)]
    month.looks += 1
    return {"open_items": open_items}


@TOOLBOX.changes()
def post_accrual(
    state: BooksState,
    period: Period,
    amount: Amount,
    text: Annotated[str, Field(min_length=1, description="What it is for.")] = "accrual",
) -> EntryChange:
    """Post an accrual into a month."""
    entry_id = state.mint("entry")
    state.entries[entry_id] = Entry(period=period, cents=_cents(amount), text=text)
    return {"entry_id": entry_id, "amount": amount}


@TOOLBOX.changes(destructive=True)
def reverse_entry(state: BooksState, entry_id: EntryId) -> EntryChange:
    """Take an entry back; refused if it is unknown or reversed already."""
    entry = state.entries.get(entry_id)
    if entry is None or entry.reversed:
        raise ToolError(f"no entry {entry_id!r} to reverse")
    entry.reversed = True
    return {"entry_id": entry_id, "amount": 0}


@TOOLBOX.changes()
def draft_report(state: BooksState, period: Period) -> Report:
    """Draft the month's report from everything that is posted now."""
    posted = sum(
        one.cents for one in state.entries.values() if one.period == period and not one.reversed
    )
    month = state.month(period)
    month.report = state.mint("report")
    return {"report_id": month.report, "profit": (_PROFIT_CENTS - posted) / 100}


@TOOLBOX.changes()
def publish_report(
    state: BooksState,
    period: Period,
    report_id: Annotated[str, Field(description="As draft_report returned it, `report-0002`.")],
) -> Published:
    """Publish the month's report; refused if a newer draft has taken its place."""
    month = state.month(period)
    if month.report != report_id:
        raise ToolError(f"{report_id!r} is not the newest report of {period}")
    month.published = True
    return {"report_id": report_id}


@TOOLBOX.changes()
def write_log(
    state: BooksState,
    period: Period,
    entry: Annotated[str, Field(min_length=1, description="What was done, in a sentence.")],
) -> LogLines:
    """Write a line into the log of a month; lines are never changed or removed."""
    month = state.month(period)
    month.log.append(entry)
    return {"lines": len(month.log)}


def _import(state: BooksState, period: str) -> Lines:
    month = state.month(period)
    month.lines, month.looks = _BANK_LINES, 0
    return {"lines": month.lines}


def _cents(amount: float) -> int:
    cents = round(amount * 100)
    if cents / 100 != amount:
        raise ToolError(f"{amount} is not an amount in euro with at most two decimals")
    return cents


if __name__ == "__main__":
    TOOLBOX.serve()
