"""Rules files seen by a real MCP client: what is listed, refused, asked about and let through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.client import Desk, Servers, served, text_of
from support.fakes import START, Clock, succeeded
from support.gateway import ALICE, tiny

from mcpuppet.gateway.answers import DECISION
from mcpuppet.people.deciding import Person
from mcpuppet.session import events as e
from mcpuppet.workflow.schema import compile_schema

pytestmark = pytest.mark.anyio

BANK = """
rules: bank
version: 1.0.0
roles: [boss]
given: inputs_before_first_result
inputs:
  payees: {type: array, items: {type: string}}
tools: {allow: ["bank.get_*", bank.send]}
facts:
  known: {from: bank.get_payees, take: "result.names[]", max: 10}
policies:
  - id: new-payee
    call: bank.send
    ask: {roles: [boss], timeout: 1h, show: [args.to]}
    unless: given(args.to) || args.to in facts.known
  - {id: looked-first, call: bank.get_secret, requires: bank.get_balance.success}
  - {id: slowly, call: bank.get_rates, cooldown: 1m}
"""
TOOLS = ("bank.get_balance", "bank.get_secret", "bank.get_rates", "bank.get_payees", "bank.send")
PLAIN = "rules: plain\nversion: 1.0.0\ntools: {allow: [bank.get_balance]}\n"
LINE = """
steps:
  first: {tool: a.first}
  second: {tool: a.second, needs: first}
"""


def bank(*more: str) -> Servers:
    servers = Servers()
    for tool in (*TOOLS, *more):
        servers.offer(tool)
    servers.offer("bank.get_payees", lambda _: succeeded(names=["carol"]))
    return servers


def decision(result: dict[str, Any]) -> dict[str, Any]:
    details: dict[str, Any] = result["_meta"][DECISION]
    return details


async def approve(desk: Desk, approval_id: str, person: Person = ALICE) -> None:
    people = desk.orchestrator.people
    shown = await people.approval(approval_id)
    await people.approve(approval_id, person, shown.content)


# --- what is listed -------------------------------------------------------------------------------


async def test_patterns_are_listed_as_the_tools_that_the_server_offers(tmp_path: Path) -> None:
    async with served(tmp_path, rules=BANK, servers=bank("bank.close")) as desk:
        assert await desk.listed() == ["get_balance", "get_rates", "get_payees", "send"]


async def test_a_tool_is_listed_once_its_policy_lets_it_pass(tmp_path: Path) -> None:
    async with served(tmp_path, rules=BANK, servers=bank()) as desk:
        assert "get_secret" not in await desk.listed()
        await desk.call("get_balance")
        assert desk.story[0] == "changed"
        assert "get_secret" in await desk.listed()


async def test_the_stable_surface_lists_the_tools_of_the_rules_beside_those_of_workflows(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, LINE, rules=BANK, servers=bank(), surface="stable") as desk:
        before = await desk.listed()
        assert before == [
            "first",
            "second",
            "get_balance",
            "get_secret",
            "get_rates",
            "get_payees",
            "send",
        ]
        await desk.start()
        await desk.call("get_balance")
        assert await desk.listed() == before


async def test_time_alone_brings_a_tool_back(tmp_path: Path) -> None:
    clock = Clock()
    async with served(tmp_path, rules=BANK, servers=bank(), clock=clock) as desk:
        await desk.call("get_rates")
        assert "get_rates" not in await desk.listed()
        refused = await desk.call("get_rates")
        assert "It may be called from 2026-01-05T09:01:00Z." in text_of(refused)
        assert decision(refused)["legal_at"] == "2026-01-05T09:01:00Z"
        clock.advance(seconds=60)
        assert desk.surface.time_is_up()
        assert "get_rates" in await desk.listed()


# --- calls ----------------------------------------------------------------------------------------


async def test_a_tool_that_no_file_names_may_be_called_before_anything_was_listed(
    tmp_path: Path,
) -> None:
    rules = PLAIN.replace("tools: {", "tools: {otherwise: ask, ") + "roles: [boss]\n"
    servers = bank()
    servers.offer("post.write")
    async with served(tmp_path, rules=rules, servers=servers) as desk:
        answer = await desk.call("write")
        assert decision(answer)["status"] == "awaiting_approval"


async def test_an_allowed_tool_is_called_as_often_as_wanted_without_any_run(tmp_path: Path) -> None:
    async with served(tmp_path, rules=BANK, servers=bank()) as desk:
        for _ in range(3):
            result = await desk.call("get_balance")
            assert result["isError"] is False
        legal = "Legal now: every tool like get_*, send (a person may have to agree)."
        assert legal in text_of(result)
        started = [one for one in desk.events() if isinstance(one, e.CallStarted)]
        assert [one.purpose for one in started] == ["free"] * 3


async def test_calls_through_workflow_act_and_by_full_name_reach_allowed_tools(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, rules=BANK, servers=bank()) as desk:
        for name in ("get_balance", "bank.get_balance"):
            acted = await desk.call("workflow_act", tool=name)
            assert acted["structuredContent"]["status"] == "succeeded"
        assert (await desk.call("bank.get_balance"))["isError"] is False


async def test_a_refusal_names_policy_file_and_what_is_legal(tmp_path: Path) -> None:
    async with served(tmp_path, rules=BANK, servers=bank("bank.close")) as desk:
        refused = await desk.call("bank.get_secret")
        assert text_of(refused) == (
            "Refused: bank.get_balance.success has to happen first.\n"
            "Rule: looked-first in bank. get_secret was not called, and nothing has changed.\n"
            "Legal now: every tool like get_*, send (a person may have to agree)."
        )
        assert (decision(refused)["rule"], decision(refused)["book"]) == ("looked-first", "bank")
        other = await desk.call("bank.close")
        assert "bank does not list the tool bank.close" in text_of(other)
        assert [tool for tool, _ in desk.servers.calls] == []


# --- asking ---------------------------------------------------------------------------------------


async def test_a_person_lets_one_call_through_once(tmp_path: Path) -> None:
    async with served(tmp_path, rules=BANK, servers=bank()) as desk:
        asked = await desk.call("send", to="mallory")
        assert asked["isError"] is True
        details = decision(asked)
        assert details["status"] == "awaiting_approval"
        assert (details["approval_step"], details["roles"]) == ("new-payee", ["boss"])
        words = text_of(asked)
        assert "new-payee needs a person with the role boss to decide first" in words
        assert f"mcpuppet approve {details['approval_id']}" in words
        assert "open until 2026-01-05T10:00:00Z" in words
        assert "it goes through once" in words

        await approve(desk, details["approval_id"])
        status = await desk.call("workflow_status")
        (ask,) = status["structuredContent"]["asks"]
        assert (ask["status"], ask["arguments"]) == ("approved", {"to": "mallory"})
        assert "exactly this call goes through, once" in text_of(status)

        assert decision(await desk.call("send", to="eve"))["status"] == "awaiting_approval"
        assert (await desk.call("send", to="mallory"))["isError"] is False
        again = decision(await desk.call("send", to="mallory"))
        assert again["status"] == "awaiting_approval"
        assert again["approval_id"] != details["approval_id"]
        assert desk.servers.calls == [("bank.send", {"to": "mallory"})]


async def test_a_status_fits_the_schema_that_was_promised(tmp_path: Path) -> None:
    async with served(tmp_path, LINE, rules=BANK, servers=bank()) as desk:
        start, status, _ = (await desk.client.list_tools()).tools[:3]
        for schema in (start.output_schema, status.output_schema):
            assert schema is not None
            promised = compile_schema(schema)
            before = (await desk.call("workflow_status"))["structuredContent"]
            assert promised.violations(before) == []
            await desk.call("send", to="mallory")
            await desk.call("send", to="eve")
            after = (await desk.call("workflow_status"))["structuredContent"]
            assert promised.violations(after) == []
            assert [one["status"] for one in after["asks"]] == ["open", "open"]
            assert after["approvals"] == []


async def test_asking_again_while_people_decide_opens_no_second_request(tmp_path: Path) -> None:
    async with served(tmp_path, rules=BANK, servers=bank()) as desk:
        first = decision(await desk.call("send", to="mallory"))
        second = decision(await desk.call("send", to="mallory"))
        assert first["approval_id"] == second["approval_id"]
        assert len([one for one in desk.events() if isinstance(one, e.AskOpened)]) == 1


async def test_a_no_reaches_the_model_and_stands(tmp_path: Path) -> None:
    async with served(tmp_path, rules=BANK, servers=bank()) as desk:
        asked = decision(await desk.call("send", to="mallory"))
        await desk.orchestrator.people.deny(asked["approval_id"], ALICE, "never seen that name")
        refused = await desk.call("send", to="mallory")
        assert "a person said no; guidance: never seen that name" in text_of(refused)
        (ask,) = (await desk.call("workflow_status"))["structuredContent"]["asks"]
        assert (ask["status"], ask["reason"]) == ("rejected", "never seen that name")


async def test_a_fact_that_was_read_makes_asking_needless(tmp_path: Path) -> None:
    async with served(tmp_path, rules=BANK, servers=bank()) as desk:
        assert decision(await desk.call("send", to="carol"))["status"] == "awaiting_approval"
        await desk.call("get_payees")
        assert (await desk.call("send", to="carol"))["isError"] is False


# --- inputs ---------------------------------------------------------------------------------------


async def test_the_inputs_of_rules_are_declared_with_workflow_start(tmp_path: Path) -> None:
    async with served(tmp_path, rules=BANK, servers=bank()) as desk:
        start = (await desk.client.list_tools()).tools[0]
        assert start.input_schema["properties"]["workflow"]["enum"] == ["bank"]
        assert "declares their inputs" in (start.description or "")
        before = await desk.call("workflow_status")
        assert before["structuredContent"]["rules"] == {
            "name": "bank",
            "version": "1.0.0",
            "inputs": {},
            "declared": False,
            "locked": False,
        }
        assert 'workflow_start(workflow="bank", inputs)' in text_of(before)
        declared = await desk.start("bank", payees=["dora"])
        assert declared["isError"] is False
        rules = declared["structuredContent"]["rules"]
        assert (rules["declared"], rules["inputs"]) == (True, {"payees": ["dora"]})
        assert (await desk.call("send", to="dora"))["isError"] is False
        assert (await desk.start("bank", payees=["eve"]))["isError"] is True


async def test_inputs_are_locked_once_a_tool_has_answered_until_a_person_reopens_them(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, rules=BANK, servers=bank()) as desk:
        await desk.call("get_balance")
        late = await desk.start("bank", payees=["mallory"])
        assert "locked" in text_of(late)
        status = await desk.call("workflow_status")
        assert status["structuredContent"]["rules"]["locked"] is True
        assert "Only a person can open them again, with `mcpuppet reopen`" in text_of(status)
        await desk.orchestrator.people.reopen_inputs(desk.surface.session(), ALICE, "she asked")
        assert (await desk.start("bank", payees=["dora"]))["isError"] is False


async def test_rules_without_inputs_are_not_offered_to_workflow_start(tmp_path: Path) -> None:
    async with served(tmp_path, LINE, rules=PLAIN, servers=bank()) as desk:
        start = (await desk.client.list_tools()).tools[0]
        assert start.input_schema["properties"]["workflow"]["enum"] == ["tiny"]
        assert "plain" not in (start.description or "")


# --- beside a run ---------------------------------------------------------------------------------


async def test_rules_stand_beside_a_run(tmp_path: Path) -> None:
    async with served(tmp_path, LINE, rules=BANK, servers=bank()) as desk:
        await desk.start()
        assert await desk.listed() == ["first", "get_balance", "get_rates", "get_payees", "send"]
        result = await desk.call("first")
        assert "Legal now: second, every tool like get_*" in text_of(result)
        assert (await desk.call("get_balance"))["isError"] is False
        assert (await desk.call("second"))["isError"] is False
        assert (await desk.call("get_balance"))["isError"] is False
        assert "first" not in await desk.listed()


async def test_policies_of_rules_hold_for_the_steps_of_a_run_too(tmp_path: Path) -> None:
    ask = "{roles: [boss], timeout: 1h}"
    rules = f"{PLAIN}roles: [boss]\npolicies:\n  - {{id: ask-me, call: a.first, ask: {ask}}}\n"
    async with served(tmp_path, LINE, rules=rules, servers=bank()) as desk:
        started = await desk.start()
        assert "Legal now: first (a person may have to agree)" in text_of(started)
        asked = decision(await desk.call("first"))
        assert (asked["status"], asked["step"]) == ("awaiting_approval", "first")
        await approve(desk, asked["approval_id"])
        assert (await desk.call("first"))["isError"] is False


async def test_without_a_workflow_nobody_is_told_to_start_one(tmp_path: Path) -> None:
    rules = "rules: none\nversion: 1.0.0\ntools: {allow: []}\n"
    async with served(tmp_path, rules=rules, servers=bank()) as desk:
        words = text_of(await desk.call("bank.send"))
        assert "Legal now: nothing. No run is active, and there is no workflow to begin." in words


# --- observing, and tools outside everything ------------------------------------------------------


async def test_observing_rules_refuse_nothing_and_note_everything(tmp_path: Path) -> None:
    rules = BANK + "mode: observe\n"
    async with served(tmp_path, rules=rules, servers=bank("bank.close")) as desk:
        assert set(await desk.listed()) == {"close", *(one.partition(".")[2] for one in TOOLS)}
        for tool in ("get_secret", "close"):
            assert (await desk.call(tool))["isError"] is False
        result = await desk.call("send", to="mallory")
        assert result["isError"] is False
        noted = [one.would_have_denied for one in desk.events() if isinstance(one, e.CallStarted)]
        assert [[one["rule"] for one in each] for each in noted] == [
            ["looked-first"],
            ["unlisted"],
            ["new-payee"],
        ]
        assert decision(result)["would_have_denied"][0]["rule"] == "new-payee"


async def test_an_observing_workflow_lists_all_its_tools(tmp_path: Path) -> None:
    async with served(tmp_path, "mode: observe" + LINE) as desk:
        await desk.start()
        assert await desk.listed() == ["first", "second"]
        assert (await desk.call("second"))["isError"] is False


@pytest.mark.parametrize("surface", ["dynamic", "stable"])
async def test_unlisted_tools_are_listed_where_they_are_allowed(
    tmp_path: Path, surface: str
) -> None:
    servers = bank()
    servers.asleep = {"bank"}
    async with served(tmp_path, LINE, unlisted="allow", servers=servers, surface=surface) as desk:
        steps = ["first", "second"] if surface == "stable" else []
        assert await desk.listed() == steps
        assert "bank" in servers.asked
        servers.asleep = set()
        assert await desk.listed() == [*steps, *(one.partition(".")[2] for one in TOOLS)]
        assert (await desk.call("send"))["isError"] is False
        assert (await desk.call("first"))["isError"] is True


async def test_unlisted_tools_can_be_let_through_and_noted(tmp_path: Path) -> None:
    async with served(tmp_path, LINE, unlisted="observe", servers=bank()) as desk:
        assert "send" in await desk.listed()
        await desk.start()
        assert (await desk.call("send"))["isError"] is False
        started = [one for one in desk.events() if isinstance(one, e.CallStarted)]
        assert [one["rule"] for one in started[0].would_have_denied] == ["unlisted"]


async def test_unlisted_tools_are_neither_listed_nor_called_by_default(tmp_path: Path) -> None:
    async with served(tmp_path, LINE, servers=bank()) as desk:
        await desk.start()
        assert await desk.listed() == ["first"]
        assert (await desk.call("bank.send"))["isError"] is True
        assert desk.servers.calls == []


async def test_what_rules_do_not_list_can_be_asked_about(tmp_path: Path) -> None:
    rules = (
        "rules: asks\nversion: 1.0.0\nroles: [boss]\n"
        "tools: {allow: [bank.get_balance], otherwise: ask}\n"
    )
    async with served(tmp_path, rules=rules, servers=bank()) as desk:
        assert "send" in await desk.listed()
        asked = decision(await desk.call("send"))
        assert asked["status"] == "awaiting_approval"
        await approve(desk, asked["approval_id"])
        assert (await desk.call("send"))["isError"] is False


async def test_two_sessions_share_the_limits_of_rules(tmp_path: Path) -> None:
    clock = Clock(START)
    async with served(tmp_path, rules=BANK, servers=bank(), clock=clock) as one:
        assert (await one.call("get_rates"))["isError"] is False
        async with served(
            tmp_path, rules=BANK, servers=bank(), clock=clock, node="node_2", prefix="other"
        ) as other:
            refused = decision(await other.call("get_rates"))
            assert (refused["rule"], refused["legal_at"]) == ("slowly", "2026-01-05T09:01:00Z")
            assert "get_rates" not in await other.listed()


async def test_two_workflows_may_be_offered_beside_rules(tmp_path: Path) -> None:
    async with served(tmp_path, LINE, tiny(LINE, "more"), rules=BANK, servers=bank()) as desk:
        start = (await desk.client.list_tools()).tools[0]
        assert start.input_schema["properties"]["workflow"]["enum"] == ["tiny", "more", "bank"]
