"""The shipped month-end close, before the demo servers, on a clock that the tests set.

Times are UTC; the opening hours of the file are those of Berlin, an hour ahead in winter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.demo_servers import House, house
from support.obedient import Obedient, Told

from mcpuppet.library import check_files
from mcpuppet.orchestrator import Orchestrator
from mcpuppet.people.deciding import Person
from mcpuppet.templates_path import templates_folder
from mcpuppet.views import ApprovalView

pytestmark = pytest.mark.anyio

FILE = "month_end_close.yaml"
FRIDAY = datetime(2026, 1, 30, 15, 0, tzinfo=UTC)
CAROL = Person("carol", frozenset({"controller"}))
TAX_OFFICE = "DE00INVENTED0000000042"
INPUTS = {"period": "2026-01", "accrual": 1200, "tax": 5000}
PERIOD = {"period": "2026-01"}
ACCRUAL = {**PERIOD, "amount": 1200, "text": "bonus"}
TAX = {"recipient": TAX_OFFICE, "amount": 5000, "subject": "Payroll tax 2026-01"}


@dataclass
class Close:
    """One session in which a month is closed."""

    house: House
    model: Obedient
    session: str

    @property
    def orchestrator(self) -> Orchestrator:
        return self.house.orchestrator

    async def starts(self, **inputs: Any) -> None:
        await self.calls("workflow_start", workflow="month_end_close", inputs={**INPUTS, **inputs})

    async def calls(self, tool: str, /, **arguments: Any) -> Told:
        return await self.model.calls(tool, arguments)

    async def must(self, tool: str, /, **arguments: Any) -> Told:
        told = await self.calls(tool, **arguments)
        assert told.status == "succeeded", told.words
        return told

    async def run_status(self) -> str:
        return (await self.orchestrator.status(self.session)).status

    async def steps(self) -> dict[str, str]:
        return {one.id: one.status for one in (await self.orchestrator.status(self.session)).steps}

    async def matched(self, **inputs: Any) -> None:
        """Start, and come as far as the accrual, which takes ten minutes."""
        await self.starts(**inputs)
        period = {"period": {**INPUTS, **inputs}["period"]}
        await self.must("lock_period", **period)
        await self.must("import_bank_feed", **period)
        for _ in range(2):
            await self.must("match_lines", **period)
            self.house.clock.advance(minutes=5)
        await self.must("match_lines", **period)

    async def drafted(self, **inputs: Any) -> ApprovalView:
        """Come as far as the request for the sign-off."""
        values = {**INPUTS, **inputs}
        await self.matched(**inputs)
        accrual = {"period": values["period"], "amount": values["accrual"], "text": "bonus"}
        await self.must("post_accrual", **accrual)
        await self.must("draft_report", period=values["period"])
        return await self.request()

    async def request(self) -> ApprovalView:
        (view,) = (await self.orchestrator.status(self.session)).approvals
        return view

    async def signed(self, **inputs: Any) -> None:
        """Come as far as a fresh sign-off, with the balance looked at."""
        view = await self.drafted(**inputs)
        await self.orchestrator.people.approve(view.approval_id, CAROL, view.content)
        await self.must("get_balance")


@asynccontextmanager
async def books(folder: Path, now: datetime = FRIDAY) -> AsyncIterator[Close]:
    async with (
        house(folder, FILE, roles=["bookkeeper"], now=now) as made,
        another(made, "ses_one") as close,
    ):
        yield close


@asynccontextmanager
async def another(made: House, session: str) -> AsyncIterator[Close]:
    async with made.client(session) as client:
        yield Close(made, Obedient(client), session)


# --- a close that goes well -----------------------------------------------------------------------


async def test_a_close_goes_through_without_a_client_as_far_as_time_and_people_let_it(
    tmp_path: Path,
) -> None:
    data = {**INPUTS, "text": "bonus", "entry": "closed"}
    async with books(tmp_path) as close:

        async def go() -> tuple[str, list[str]]:
            done = await close.orchestrator.execute_workflow("month_end_close", "ses_run", data)
            return done.status, list(done.results)

        assert await go() == ("waiting", ["lock", "import_lines", "match"])
        close.house.clock.advance(minutes=5)
        assert await go() == ("waiting", ["match"])
        close.house.clock.advance(minutes=5)
        assert await go() == ("awaiting_approval", ["match", "accrue", "draft"])
        people = close.orchestrator.people
        (view,) = await people.approvals()
        assert view.binds["inputs.tax"] == 5000
        assert view.binds["steps.draft.result.profit"] == 47_100
        await people.approve(view.approval_id, CAROL, view.content)
        assert (await go())[0] == "denied", "nobody has looked at the balance"
        await close.orchestrator.call_tool("ses_run", "bank.get_balance", {})
        assert await go() == ("completed", ["pay_tax", "publish", "log"])
        assert close.house.effects("bank.send_money") == [TAX]
        assert close.house.effects("books.unlock_period") == []


async def test_a_close_goes_through_call_by_call(tmp_path: Path) -> None:
    async with books(tmp_path) as close:
        await close.signed()
        await close.must("send_money", **TAX)
        await close.must("publish_report", **PERIOD, report_id="report-0002")
        await close.must("write_log", **PERIOD, entry="closed")

        assert await close.run_status() == "completed"
        assert (await close.steps())["extra"] in ("pending", "skipped")


async def test_the_lines_may_come_from_a_file_too(tmp_path: Path) -> None:
    async with books(tmp_path) as close:
        await close.starts()
        await close.must("lock_period", **PERIOD)
        await close.must("import_bank_file", **PERIOD, file="january.csv")

        assert (await close.steps())["import_lines"] == "success"
        assert (await close.calls("import_bank_feed", **PERIOD)).status == "denied"


async def test_a_late_accrual_is_posted_before_the_draft_and_not_after_it(tmp_path: Path) -> None:
    late = {**PERIOD, "amount": 300, "text": "late"}
    async with books(tmp_path) as close:
        await close.drafted()
        refused = await close.calls("post_accrual", **late)
        assert refused.details["rule"] == "no-late-entries"

        view = await close.request()
        await close.orchestrator.people.deny(view.approval_id, CAROL, "the audit is missing")
        await close.must("post_accrual", **late)
        close.house.clock.advance(minutes=15)
        await close.must("draft_report", **PERIOD)
        assert (await close.request()).binds["steps.draft.result.profit"] == 46_800


# --- time -----------------------------------------------------------------------------------------


async def test_on_friday_evening_the_tax_waits_for_monday_and_for_a_new_sign_off(
    tmp_path: Path,
) -> None:
    async with books(tmp_path) as close:
        await close.signed()
        close.house.clock.now = datetime(2026, 1, 30, 17, 5, tzinfo=UTC)
        refused = await close.calls("send_money", **TAX)
        assert refused.details["rule"] == "banking-hours"
        assert refused.details["legal_at"] == "2026-02-02T07:00:00Z"
        assert "It may be called from 2026-02-02T07:00:00Z." in refused.words

        close.house.clock.now = datetime(2026, 2, 2, 7, 0, tzinfo=UTC)
        stale = await close.calls("send_money", **TAX)
        assert stale.status == "awaiting_approval"
        assert close.house.effects("bank.send_money") == []
        view = await close.request()
        assert [one.arguments for one in view.calls] == [TAX]
        await close.orchestrator.people.approve(view.approval_id, CAROL, view.content)
        await close.must("send_money", **TAX)
        assert close.house.effects("bank.send_money") == [TAX]


async def test_a_sign_off_is_fresh_for_four_hours(tmp_path: Path) -> None:
    async with books(tmp_path, datetime(2026, 1, 30, 7, 0, tzinfo=UTC)) as close:
        await close.signed()
        close.house.clock.advance(hours=3, minutes=59)
        assert "send_money" in (await close.calls("get_balance")).details["legal"]
        close.house.clock.advance(minutes=1)
        assert (await close.calls("send_money", **TAX)).status == "awaiting_approval"
        assert await close.run_status() == "waiting_approval"


async def test_a_call_that_waits_for_a_sign_off_only_is_shown_to_the_controller(
    tmp_path: Path,
) -> None:
    async with books(tmp_path) as close:
        await close.drafted()
        await close.must("get_balance")
        told = await close.calls("send_money", **TAX)
        view = await close.request()

    assert told.status == "awaiting_approval"
    assert [one.arguments for one in view.calls] == [TAX]


async def test_a_rejected_report_is_drafted_again_after_a_quarter_of_an_hour(
    tmp_path: Path,
) -> None:
    async with books(tmp_path) as close:
        view = await close.drafted()
        await close.orchestrator.people.deny(view.approval_id, CAROL, "where is the bonus?")
        refused = await close.calls("draft_report", **PERIOD)

        assert refused.details["rule"] == "seldom"
        assert refused.details["legal_at"] == "2026-01-30T15:25:00Z"
        close.house.clock.advance(minutes=15)
        await close.must("draft_report", **PERIOD)
        assert (await close.request()).approval_id != view.approval_id


async def test_matching_again_too_soon_is_refused(tmp_path: Path) -> None:
    async with books(tmp_path) as close:
        await close.starts()
        await close.must("lock_period", **PERIOD)
        await close.must("import_bank_feed", **PERIOD)
        told = await close.must("match_lines", **PERIOD)
        assert "`result.open_items == 0` does not hold yet" in told.words
        refused = await close.calls("match_lines", **PERIOD)
        assert refused.details["legal_at"] == "2026-01-30T15:05:00Z"


async def test_all_sessions_together_match_twelve_times_an_hour(tmp_path: Path) -> None:
    async with books(tmp_path) as close:
        for month in range(1, 5):
            async with another(close.house, f"ses_{month}") as one:
                await one.matched(period=f"2025-0{month}")
            close.house.clock.advance(minutes=1)
        await close.starts()
        await close.must("lock_period", **PERIOD)
        await close.must("import_bank_feed", **PERIOD)
        refused = await close.calls("match_lines", **PERIOD)

        assert refused.details["rule"] == "gently"
        assert refused.details["legal_at"] == "2026-01-30T16:00:00Z"
        close.house.clock.now = datetime(2026, 1, 30, 16, 0, tzinfo=UTC)
        await close.must("match_lines", **PERIOD)


async def test_the_tax_of_two_closes_is_capped_together(tmp_path: Path) -> None:
    async with books(tmp_path) as close, another(close.house, "ses_two") as second:
        await close.signed(tax=10_000)
        await close.must("send_money", **{**TAX, "amount": 10_000})
        more = {"period": "2025-12", "tax": 6000}
        close.house.clock.advance(minutes=15)  # the draft of the first close was a moment ago
        await second.signed(**more)
        refused = await second.calls(
            "send_money", recipient=TAX_OFFICE, amount=6000, subject="Payroll tax 2025-12"
        )

        assert refused.details["rule"] == "tax-cap"
        assert refused.details["legal_at"] == "2026-02-19T15:10:00Z"
        assert len(close.house.effects("bank.send_money")) == 1


# --- sessions at the same time --------------------------------------------------------------------


async def test_a_second_session_waits_while_the_first_one_writes(tmp_path: Path) -> None:
    async with books(tmp_path) as close, another(close.house, "ses_two") as second:
        for one, period in ((close, "2026-01"), (second, "2025-12")):
            await one.starts(period=period)
            await one.must("lock_period", period=period)
        gate = close.house.servers.held["books.import_bank_feed"] = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close.model.calls, "import_bank_feed", PERIOD)
            await close.house.servers.on_the_way.wait()
            refused = await second.calls("import_bank_file", period="2025-12", file="a.csv")
            gate.set()

        assert refused.details["rule"] == "one-writer"
        assert "one elsewhere has not ended yet" in refused.words
        assert close.house.effects("books.import_bank_file") == []
        await second.must("import_bank_file", period="2025-12", file="a.csv")


# --- a close that fails ---------------------------------------------------------------------------


async def test_a_failed_payment_undoes_the_close_in_order_and_is_logged(tmp_path: Path) -> None:
    undo = {"entry_id": "entry-0001"}
    async with books(tmp_path) as close:
        await close.signed()
        close.house.fail("bank.send_money", 1, "the clearing house is closed")
        failed = await close.calls("send_money", **TAX)
        assert "the clearing house is closed" in failed.words
        assert await close.run_status() == "failing"
        assert set(failed.details["legal"]) == {"reverse_entry", "write_log"}

        early = await close.calls("unlock_period", **PERIOD)
        assert "step accrue has to be undone before lock" in early.words
        assert (await close.calls("reverse_entry", entry_id="entry-0009")).status == "denied"
        await close.must("reverse_entry", **undo)
        await close.must("unlock_period", **PERIOD)
        assert await close.run_status() == "failing", "the log is still to be written"
        await close.must("write_log", **PERIOD, entry="failed")

        assert await close.run_status() == "failed"
        assert close.house.effects("books.reverse_entry") == [undo]
        assert close.house.effects("books.unlock_period") == [PERIOD]
        assert close.house.effects("bank.send_money") == []


async def test_a_report_that_is_not_published_does_not_undo_the_payment(tmp_path: Path) -> None:
    async with books(tmp_path) as close:
        await close.signed()
        await close.must("send_money", **TAX)
        close.house.fail("books.publish_report", 1, "the site is down")
        failed = await close.calls("publish_report", **PERIOD, report_id="report-0002")
        assert failed.is_error
        await close.must("write_log", **PERIOD, entry="closed")

        assert await close.run_status() == "completed"
        assert close.house.effects("books.reverse_entry") == []


async def test_the_third_rejection_ends_the_close(tmp_path: Path) -> None:
    async with books(tmp_path) as close:
        await close.drafted()
        for number in range(3):
            view = await close.request()
            await close.orchestrator.people.deny(view.approval_id, CAROL, f"no, {number}")
            close.house.clock.advance(minutes=15)
            if number < 2:
                await close.must("draft_report", **PERIOD)

        await close.must("reverse_entry", entry_id="entry-0001")
        await close.must("unlock_period", **PERIOD)
        await close.must("write_log", **PERIOD, entry="failed")
        assert await close.run_status() == "rejected"


# --- who, and in which order ----------------------------------------------------------------------

WRONG: tuple[tuple[str, Mapping[str, Any], str], ...] = (
    ("send_money", TAX, "needs"),
    ("publish_report", {**PERIOD, "report_id": "report-0001"}, "needs"),
    ("unlock_period", PERIOD, "compensation"),
    ("write_log", {**PERIOD, "entry": "closed"}, "needs"),
)


@pytest.mark.parametrize(("tool", "arguments", "rule"), WRONG)
async def test_what_is_not_due_yet_is_refused(
    tool: str, arguments: Mapping[str, Any], rule: str, tmp_path: Path
) -> None:
    async with books(tmp_path) as close:
        await close.starts()
        assert (await close.calls(tool, **arguments)).details["rule"] == rule


async def test_nothing_else_is_paid_and_nobody_else_pays(tmp_path: Path) -> None:
    async with books(tmp_path) as close:
        await close.signed()
        for change in ({"amount": 5001}, {"recipient": "XX00INVENTED0000000666"}, {"subject": "?"}):
            assert (await close.calls("send_money", **{**TAX, **change})).details["rule"] == "args"
        assert close.house.effects("bank.send_money") == []


async def test_without_the_role_nothing_is_posted(tmp_path: Path) -> None:
    async with house(tmp_path, FILE, now=FRIDAY) as made, another(made, "ses_one") as close:
        await close.matched()
        refused = await close.calls("post_accrual", **ACCRUAL)
        assert refused.details["rule"] == "bookkeepers"


def test_the_shipped_close_has_no_findings() -> None:
    assert check_files([templates_folder() / FILE])[0].findings == ()
