"""The demo servers as a client and an onlooker see them: answers, effects, faults and restarts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, TextContent

from mcpuppet.demo import servers
from mcpuppet.demo.servers import (
    _common,
    bank,
    books,
    customer,
    data,
    finance,
    operations,
    pipeline,
    web,
)

pytestmark = pytest.mark.anyio

PAYEE = "DE00INVENTED0000000001"
FLAGGED_PAYEE = "XX00INVENTED0000000002"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TOOLBOXES: dict[str, _common.Toolbox[Any]] = {
    module.TOOLBOX.server: module.TOOLBOX
    for module in (data, customer, finance, pipeline, operations, bank, web, books)
}
READ_ONLY = {
    "data": {"validate_data", "data_status"},
    "customer": {"validate_customer", "get_customer"},
    "finance": {"fraud_check", "get_balance"},
    "pipeline": {"pipeline_status"},
    "operations": {"search_logs", "query_metrics"},
    "bank": {"get_balance", "get_scheduled_payments", "get_payment", "get_statement"},
    "web": {"get_webpage"},
    "books": {"get_overview"},
}
DESTRUCTIVE = {
    "data": set[str](),
    "customer": {"delete_account"},
    "finance": {"transfer_funds", "reverse_transfer"},
    "pipeline": {"rollback"},
    "operations": {"isolate_host", "rotate_keys"},
    "bank": {"send_money", "schedule_payment", "change_amount", "cancel_payment"},
    "web": set[str](),
    "books": {"reverse_entry"},
}

Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def connect(home: Path) -> Connect:
    def client(server: str, **faults: _common.Fault) -> Client:
        named = {f"{server}.{tool}": fault for tool, fault in faults.items()}
        return Client(TOOLBOXES[server].build(home, named, lambda: NOON))

    return client


def effects(home: Path) -> list[dict[str, Any]]:
    path = home / "effects.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def files(home: Path) -> list[str]:
    return sorted(path.name for path in home.glob("*"))


def write(home: Path, name: str, content: str) -> None:
    home.mkdir(exist_ok=True)
    (home / name).write_text(content)


def write_faults(home: Path, faults: object) -> None:
    write(home, "faults.json", json.dumps(faults))


def read_faults(home: Path) -> Any:
    return json.loads((home / "faults.json").read_text())


async def ask(client: Client, tool: str, **arguments: Any) -> Any:
    """The structured content of a call that must succeed."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text(result)
    return result.structured_content


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    """The text of a call that must fail."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return text(result)


def text(result: CallToolResult) -> str:
    return "".join(block.text for block in result.content if isinstance(block, TextContent))


@pytest.mark.parametrize("server", servers.SERVER_NAMES)
async def test_tools_are_described_typed_and_honest_about_what_they_change(
    server: str, connect: Connect
) -> None:
    async with connect(server) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    hints = {name: tool.annotations for name, tool in tools.items()}
    assert {n for n, hint in hints.items() if hint and hint.read_only_hint} == READ_ONLY[server]
    assert {n for n, hint in hints.items() if hint and hint.destructive_hint} == DESTRUCTIVE[server]
    for tool in tools.values():
        assert tool.description
        assert tool.output_schema is not None
        assert tool.output_schema["required"]
        assert tool.input_schema["title"] == f"{tool.name}Arguments"
        assert "state" not in "".join(tool.input_schema["properties"])


async def test_a_transfer_changes_the_balance_and_is_seen_outside(
    connect: Connect, home: Path
) -> None:
    async with connect("finance") as client:
        assert await ask(client, "get_balance") == {"balance": 100_000}
        moved = await ask(client, "transfer_funds", amount=250.10, payee=PAYEE)
        assert moved == {"transfer_id": "transfer-0001", "balance": 99_749.90}
    assert effects(home) == [
        {
            "server": "finance",
            "tool": "transfer_funds",
            "arguments": {"amount": 250.10, "payee": PAYEE},
            "at": "2026-11-22T12:00:00+00:00",
        }
    ]


async def test_reading_leaves_no_trace(connect: Connect, home: Path) -> None:
    async with connect("finance") as client:
        await ask(client, "get_balance")
        await ask(client, "fraud_check", amount=10, payee=PAYEE)
    assert files(home) == []


async def test_a_transfer_is_reversed_once(connect: Connect) -> None:
    async with connect("finance") as client:
        moved = await ask(client, "transfer_funds", amount=400, payee=PAYEE)
        back = await ask(client, "reverse_transfer", transfer_id=moved["transfer_id"])
        assert back["balance"] == 100_000
        again = await refusal(client, "reverse_transfer", transfer_id=moved["transfer_id"])
        assert "reversed already" in again
        assert "no transfer" in await refusal(client, "reverse_transfer", transfer_id="other")


@pytest.mark.parametrize(
    ("amount", "payee", "words"),
    [
        (100_000.01, PAYEE, "more than the balance"),
        (0.001, PAYEE, "two decimals"),
        (0, PAYEE, "greater than 0"),
        ("10", PAYEE, "valid number"),
        (10, "de89 3704", "match pattern"),
    ],
)
async def test_a_transfer_that_makes_no_sense_has_no_effect(
    amount: Any, payee: str, words: str, connect: Connect, home: Path
) -> None:
    async with connect("finance") as client:
        assert words in await refusal(client, "transfer_funds", amount=amount, payee=payee)
        assert await ask(client, "get_balance") == {"balance": 100_000}
    assert effects(home) == []


@pytest.mark.parametrize(
    ("amount", "payee", "score"),
    [
        (1_000, PAYEE, 0.1),
        (1_000.01, PAYEE, 0.4),
        (10_000, PAYEE, 0.4),
        (25_000, PAYEE, 0.6),
        (50_001, PAYEE, 0.85),
        (5, FLAGGED_PAYEE, 0.95),
    ],
)
async def test_fraud_score_follows_amount_and_payee(
    amount: float, payee: str, score: float, connect: Connect
) -> None:
    async with connect("finance") as client:
        rating = await ask(client, "fraud_check", amount=amount, payee=payee)
    assert rating["score"] == score
    assert rating["reasons"]


async def test_rejections_and_audit_entries_are_kept(connect: Connect, home: Path) -> None:
    async with connect("finance") as client:
        rejected = await ask(client, "reject_payment", amount=9, payee=FLAGGED_PAYEE)
        await ask(client, "write_audit", entry="rejected", reference=rejected["rejection_id"])
    kept = json.loads((home / "finance.json").read_text())
    assert kept["rejections"]["rejection-0001"]["reason"] == "fraud score too high"
    assert kept["entries"]["entry-0002"]["reference"] == "rejection-0001"


@pytest.mark.parametrize(
    ("name", "email", "answer"),
    [
        ("Ada Brightwell", "ada@harbour.example", {"complete": True, "risk": "low"}),
        ("Ada Brightwell", "ada@freemail.example", {"complete": True, "risk": "medium"}),
        ("Viktor  MALVANE", "v@harbour.example", {"complete": True, "risk": "high"}),
        ("Ada Brightwell", "ada@nowhere.invalid", {"complete": False, "risk": "low"}),
    ],
)
async def test_customer_check_follows_name_and_address(
    name: str, email: str, answer: dict[str, Any], connect: Connect
) -> None:
    async with connect("customer") as client:
        assert await ask(client, "validate_customer", name=name, email=email) == answer


async def test_an_account_lives_from_creation_to_deletion(connect: Connect) -> None:
    holder = {"name": "Ada Brightwell", "email": "ada@harbour.example"}
    async with connect("customer") as client:
        created = await ask(client, "create_account", **holder)
        assert created == {"account_id": "account-0001", "status": "active"}
        assert await ask(client, "get_customer", email="ADA@harbour.example") == created | holder
        assert "already has" in await refusal(client, "create_account", **holder)
        closed = await ask(client, "delete_account", account_id="account-0001")
        assert closed["status"] == "closed"
        assert "no active" in await refusal(client, "delete_account", account_id="account-0001")
        assert "no active" in await refusal(client, "get_customer", email=holder["email"])
        assert (await ask(client, "create_account", **holder))["account_id"] == "account-0002"


async def test_a_notification_to_an_unreachable_address_is_not_delivered(connect: Connect) -> None:
    async with connect("customer") as client:
        sent = await ask(client, "send_notification", email="a@b.example")
        lost = await ask(
            client, "send_notification", email="a@b.invalid", template="welcome_business"
        )
        assert (sent["delivered"], lost["delivered"]) == (True, False)
        assert "welcome_business" in await refusal(
            client, "send_notification", email="a@b.example", template="other"
        )


async def test_data_is_checked_processed_backed_up_and_counted(connect: Connect) -> None:
    async with connect("data") as client:
        assert await ask(client, "validate_data") == {"valid": True, "rows": 1200, "errors": 0}
        bad = await ask(client, "validate_data", dataset="returns")
        assert bad == {"valid": False, "rows": 96, "errors": 7}
        assert await ask(client, "process_data", dataset="returns") == {"processed": 89}
        backup = await ask(client, "backup_data")
        assert backup["backup_id"] == "backup-0001"
        assert backup["bytes"] > 0
        assert await ask(client, "data_status") == {"runs": 1, "rows": 89, "backups": 1}
        assert "customers, invoices, orders, returns" in await refusal(
            client, "process_data", dataset="other"
        )


async def test_health_is_amber_once_after_publishing_and_then_green(connect: Connect) -> None:
    async with connect("pipeline") as client:
        assert await ask(client, "check_health") == {"status": "red"}
        assert await ask(client, "publish") == {"version": 1}
        statuses = [(await ask(client, "check_health"))["status"] for _ in range(3)]
        assert statuses == ["amber", "green", "green"]


async def test_rollback_returns_to_the_version_published_before(connect: Connect) -> None:
    async with connect("pipeline") as client:
        for _ in range(2):
            await ask(client, "publish")
        assert await ask(client, "rollback", dataset="orders") == {"version": 1}
        assert await ask(client, "publish") == {"version": 3}
        versions = [(await ask(client, "rollback", dataset="orders"))["version"] for _ in range(2)]
        assert versions == [1, 0]
        assert "no published version" in await refusal(client, "rollback", dataset="orders")


async def test_quarantined_rows_are_not_loaded(connect: Connect) -> None:
    async with connect("pipeline") as client:
        assert await ask(client, "quarantine", dataset="returns") == {"rows": 7}
        loaded = await ask(client, "load_table", table="fact_returns", dataset="returns")
        assert loaded == {"rows": 89}
        assert await ask(client, "pipeline_status") == {
            "tables": {"fact_returns": 89},
            "quarantined": {"returns": 7},
            "versions": {},
        }


async def test_an_isolated_host_recovers_at_the_second_check(connect: Connect) -> None:
    async with connect("operations") as client:
        assert await ask(client, "check_host", host="web-13") == {"healthy": False}
        assert await ask(client, "check_host", host="db-01") == {"healthy": True}
        assert await ask(client, "isolate_host", host="web-13") == {"isolated": True}
        checks = [(await ask(client, "check_host", host="web-13"))["healthy"] for _ in range(2)]
        assert checks == [False, True]
        assert await ask(client, "restore_host", host="web-13") == {"isolated": False}
        assert "not isolated" in await refusal(client, "restore_host", host="web-13")


async def test_incident_tools_answer_with_what_they_made(connect: Connect) -> None:
    async with connect("operations") as client:
        page = await ask(client, "page_oncall", severity="sev1", summary="web-13 is taken over")
        key = await ask(client, "rotate_keys", service="api-gateway")
        postmortem = await ask(client, "create_postmortem", title="web-13")
        assert page == {"page_id": "page-0001"}
        assert key == {"key_id": "key-0002"}
        assert postmortem == {"page_id": "postmortem-0003"}


async def test_telemetry_can_be_searched(connect: Connect) -> None:
    async with connect("operations") as client:
        assert len((await ask(client, "search_logs", query="WEB-13"))["lines"]) == 3
        assert (await ask(client, "query_metrics", name="error_rate"))["points"][-1] == 7.1
        assert "error_rate" in await refusal(client, "query_metrics", name="other")


async def test_money_is_sent_to_whomever_the_bank_is_told(connect: Connect, home: Path) -> None:
    async with connect("bank") as client:
        assert await ask(client, "get_balance") == {"balance": 20_000}
        sent = await ask(client, "send_money", recipient=FLAGGED_PAYEE, amount=900.5)
        assert sent == {"payment_id": "payment-0001", "balance": 19_099.5}
        (line,) = (await ask(client, "get_statement"))["result"]
        assert (line["recipient"], line["amount"]) == (FLAGGED_PAYEE, 900.5)
        too_much = await refusal(client, "send_money", recipient=PAYEE, amount=20_000)
        assert "more than the balance" in too_much
        assert "two decimals" in await refusal(client, "send_money", recipient=PAYEE, amount=0.001)
    assert [one["tool"] for one in effects(home)] == ["send_money"]


async def test_a_scheduled_payment_can_be_looked_up_changed_and_cancelled_once(
    connect: Connect,
) -> None:
    async with connect("bank") as client:
        first = (await ask(client, "get_scheduled_payments"))["result"]
        assert [one["payment_id"] for one in first] == ["scheduled-rent", "scheduled-power"]
        made = await ask(
            client, "schedule_payment", recipient=PAYEE, amount=10, due_at="2030-02-01T06:00:00Z"
        )
        name = {"payment_id": made["payment_id"]}
        assert (await ask(client, "change_amount", **name, amount=12))["amount"] == 12
        assert (await ask(client, "get_payment", **name))["due_at"] == "2030-02-01T06:00:00Z"
        assert (await ask(client, "cancel_payment", **name))["status"] == "cancelled"
        assert "cancelled already" in await refusal(client, "cancel_payment", **name)
        assert "cancelled already" in await refusal(client, "change_amount", **name, amount=1)
        assert (await ask(client, "get_scheduled_payments"))["result"] == first
        assert "no scheduled payment" in await refusal(client, "get_payment", payment_id="other")


async def test_a_page_carries_an_instruction_and_a_written_page_takes_its_place(
    connect: Connect, home: Path
) -> None:
    async with connect("web") as client:
        page = await ask(client, "get_webpage", url=web.PLANTED_URL)
        assert "Ignore all previous instructions" in page["text"]
        write(home, "web.json", '{"pages": {"https://a.example": {"title": "A", "text": "b"}}}')
        written = await ask(client, "get_webpage", url="https://a.example")
        assert written == {"url": "https://a.example", "title": "A", "text": "b"}
        gone = await refusal(client, "get_webpage", url=web.PLANTED_URL)
    assert "the pages are https://a.example" in gone


async def test_a_month_is_closed_step_by_step(connect: Connect) -> None:
    month = {"period": "2026-01"}
    async with connect("books") as client:
        assert (await ask(client, "lock_period", **month))["status"] == "locked"
        assert "locked already" in await refusal(client, "lock_period", **month)
        assert "no bank lines" in await refusal(client, "match_lines", **month)
        assert await ask(client, "import_bank_feed", **month) == {"lines": 212}
        looks = [(await ask(client, "match_lines", **month))["open_items"] for _ in range(4)]
        assert looks == [3, 1, 0, 0]
        entry = await ask(client, "post_accrual", **month, amount=300)
        drafted = await ask(client, "draft_report", **month)
        assert drafted == {"report_id": "report-0002", "profit": 48_000}
        assert (await ask(client, "reverse_entry", entry_id=entry["entry_id"]))["amount"] == 0
        assert "to reverse" in await refusal(client, "reverse_entry", entry_id=entry["entry_id"])
        newer = await ask(client, "draft_report", **month)
        assert newer == {"report_id": "report-0003", "profit": 48_300}
        stale = await refusal(client, "publish_report", **month, report_id="report-0002")
        assert "not the newest" in stale
        await ask(client, "publish_report", **month, report_id="report-0003")
        assert await ask(client, "write_log", **month, entry="closed") == {"lines": 1}
        assert (await ask(client, "unlock_period", **month))["status"] == "open"
        overview = {"status": "open", "lines": 212, "entries": 0, "published": True}
        assert await ask(client, "get_overview", **month) == overview
        empty = {"status": "open", "lines": 0, "entries": 0, "published": False}
        assert await ask(client, "get_overview", period="2025-12") == empty


async def test_a_fault_in_the_file_fails_as_often_as_it_says(connect: Connect, home: Path) -> None:
    write_faults(home, {"finance.transfer_funds": {"fail": 1, "message": "core banking is down"}})
    async with connect("finance") as client:
        assert "core banking is down" in await refusal(
            client, "transfer_funds", amount=1, payee=PAYEE
        )
        assert effects(home) == []
        assert read_faults(home)["finance.transfer_funds"]["fail"] == 0
        await ask(client, "transfer_funds", amount=1, payee=PAYEE)


async def test_a_fault_is_picked_up_while_the_server_runs(connect: Connect, home: Path) -> None:
    async with connect("data") as client:
        await ask(client, "process_data")
        write_faults(home, {"data.process_data": {"fail": 1}, "data.backup_data": {"delay": 0}})
        assert "failed on request" in await refusal(client, "process_data")
        await ask(client, "backup_data")


async def test_a_fault_given_to_the_process_is_used_up_too(connect: Connect) -> None:
    async with connect("data", process_data=_common.Fault(fail=1, message="disk full")) as client:
        assert "disk full" in await refusal(client, "process_data")
        await ask(client, "process_data")


async def test_a_delayed_call_that_is_given_up_has_no_effect(connect: Connect, home: Path) -> None:
    async with connect("data", process_data=_common.Fault(delay=60)) as client:
        with pytest.raises(MCPError):
            await client.call_tool("process_data", {}, read_timeout_seconds=0.05)
        assert await ask(client, "data_status") == {"runs": 0, "rows": 0, "backups": 0}
    assert effects(home) == []


async def test_a_delay_is_at_least_as_long_as_asked(connect: Connect) -> None:
    async with connect("data", process_data=_common.Fault(delay=0.05)) as client:
        started = anyio.current_time()
        await ask(client, "process_data")
        assert anyio.current_time() - started >= 0.05


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "the whole text"),
        ('{"data.process_data": {"fails": 1}}', "data.process_data.fails"),
        ('{"data.process_data": {"fail": -1}}', "data.process_data.fail"),
    ],
)
async def test_a_faults_file_that_cannot_be_used_is_named(
    content: str, words: str, connect: Connect, home: Path
) -> None:
    write(home, "faults.json", content)
    async with connect("data") as client:
        message = await refusal(client, "process_data")
    assert str(home / "faults.json") in message
    assert words in message


async def test_a_state_file_that_cannot_be_used_is_named_and_kept(
    connect: Connect, home: Path
) -> None:
    write(home, "data.json", '{"rows": "many"}')
    async with connect("data") as client:
        assert f"{home / 'data.json'} cannot be used: rows" in await refusal(client, "data_status")
        await refusal(client, "process_data")
    assert (home / "data.json").read_text() == '{"rows": "many"}'


async def test_a_directory_that_cannot_be_made_is_named(connect: Connect, home: Path) -> None:
    write(home.parent, home.name, "in the way")
    async with connect("data") as client:
        assert f"{home} cannot be used" in await refusal(client, "process_data")


async def test_state_survives_a_restart(connect: Connect) -> None:
    for balance in (99_000, 98_000):
        async with connect("finance") as client:
            moved = await ask(client, "transfer_funds", amount=1_000, payee=PAYEE)
            assert moved["balance"] == balance


async def test_calls_at_once_lose_nothing(connect: Connect, home: Path) -> None:
    async with (
        connect("finance") as one,
        connect("finance") as two,
        anyio.create_task_group() as group,
    ):
        for client in (one, two) * 10:
            group.start_soon(client.call_tool, "transfer_funds", {"amount": 1, "payee": PAYEE})
    kept = json.loads((home / "finance.json").read_text())
    assert kept["cents"] == 99_980_00
    assert len(kept["transfers"]) == len(effects(home)) == 20


def test_the_directory_comes_from_the_environment_or_is_this_users_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(servers.STATE_VARIABLE, str(tmp_path))
    assert _common.state_directory() == tmp_path
    monkeypatch.delenv(servers.STATE_VARIABLE)
    assert _common.state_directory().name.startswith("mcpuppet-demo")


def test_faults_in_the_environment_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(servers.FAULTS_VARIABLE, '{"data.backup_data": {"crash": 1}}')
    assert _common.environment_faults() == {"data.backup_data": _common.Fault(crash=1)}
    monkeypatch.setenv(servers.FAULTS_VARIABLE, "[]")
    with pytest.raises(ToolError, match=servers.FAULTS_VARIABLE):
        _common.environment_faults()


def test_settings_start_each_server_on_the_given_directory(home: Path) -> None:
    settings = servers.server_settings(home)
    assert tuple(settings) == servers.SERVER_NAMES
    for name, entry in settings.items():
        assert entry["command"] == sys.executable
        assert entry["args"] == ["-m", f"mcpuppet.demo.servers.{name}"]
        assert entry["env"] == {"MCPUPPET_DEMO_STATE": str(home)}


async def test_a_server_in_a_process_of_its_own_crashes_on_request_and_comes_back(
    home: Path,
) -> None:
    write_faults(home, {"finance.transfer_funds": {"crash": 1}})
    async with Client(process("finance", home)) as client:
        with pytest.raises(MCPError, match="closed"):
            await client.call_tool("transfer_funds", {"amount": 5, "payee": PAYEE})
    assert effects(home) == []
    async with Client(process("finance", home)) as client:
        moved = await ask(client, "transfer_funds", amount=5, payee=PAYEE)
        assert moved["balance"] == 99_995
    age = datetime.now(UTC) - datetime.fromisoformat(effects(home)[0]["at"])
    assert age < timedelta(minutes=1)


def test_a_server_ends_quietly_when_its_input_ends(home: Path) -> None:
    parameters = process("operations", home)
    done = subprocess.run(
        [parameters.command, *parameters.args],
        cwd=parameters.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not home.exists()


def process(server: str, home: Path) -> StdioServerParameters:
    # The folder that holds the package, so that a checkout works as an installed wheel does.
    package_parent = Path(servers.__file__).parents[3]
    return StdioServerParameters(**servers.server_settings(home)[server], cwd=package_parent)
