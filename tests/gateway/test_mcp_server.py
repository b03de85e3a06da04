"""A real MCP client in front of the real orchestrator, with servers made of functions behind it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp_types import (
    ListToolsRequest,
)
from support.client import Raw, Servers, connected, ping, served, text_of, until
from support.fakes import Clock, succeeded
from support.gateway import ALICE, BOB, governed, tiny

from mcpuppet import __version__
from mcpuppet.gateway import mcp_server
from mcpuppet.gateway.answers import DECISION
from mcpuppet.gateway.mcp_server import Bell, ClientConnection
from mcpuppet.gateway.surface import Surface
from mcpuppet.gateway.tool_names import META_TOOLS
from mcpuppet.session import events as e
from mcpuppet.session.outcome import Failed, Outcome, Succeeded, Unknown
from mcpuppet.settings import PrincipalSettings

pytestmark = pytest.mark.anyio

LINE = """
tools: {always: [a.look]}
steps:
  first: {tool: a.first}
  second: {tool: a.second, needs: first}
"""
GATED = """
roles: [boss]
steps:
  ask: {approval: {roles: [boss], timeout: 1h}}
  pay: {tool: a.pay, needs: ask}
"""
ONE = """
steps:
  only: {tool: a.only}
"""


# --- the handshake --------------------------------------------------------------------------------


async def test_the_handshake_names_the_server_and_promises_to_tell_of_changes(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, LINE) as desk:
        info, tools = desk.client.server_info, desk.client.server_capabilities.tools
        assert info is not None
        assert (info.name, info.version) == ("mcpuppet", __version__)
        assert tools is not None
        assert tools.list_changed is True
        assert "workflow_start" in (desk.client.instructions or "")


async def test_the_handshake_waits_for_nothing_and_requests_wait_for_the_surface(
    tmp_path: Path,
) -> None:
    servers = Servers()
    async with governed(tmp_path, LINE, servers=servers) as (orchestrator, _):
        connection = ClientConnection(orchestrator.settings, Bell(), print)
        async with Client(connection.server(), mode="legacy") as client:
            names: list[str] = []

            async def list_tools() -> None:
                names.extend(one.name for one in (await client.list_tools()).tools)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(list_tools)
                await ping(client)
                assert names == []
                connection.attach(Surface(orchestrator, session_id=None, new_id=str))
            assert tuple(names[:3]) == META_TOOLS


# --- what is listed -------------------------------------------------------------------------------


async def test_before_a_run_the_dynamic_surface_lists_only_what_is_always_legal(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, LINE) as desk:
        assert await desk.listed() == ["look"]


async def test_the_dynamic_surface_lists_the_calls_that_are_legal_now(tmp_path: Path) -> None:
    async with served(tmp_path, LINE) as desk:
        await desk.start()
        assert await desk.listed() == ["look", "first"]
        await desk.call("first")
        assert await desk.listed() == ["look", "second"]
        await desk.call("second")
        assert await desk.listed() == ["look"]


async def test_the_stable_surface_lists_every_tool_and_never_changes(tmp_path: Path) -> None:
    async with served(tmp_path, LINE, tiny(GATED, "other"), surface="stable") as desk:
        before = await desk.listed()
        assert before == ["first", "second", "look", "pay"]
        await desk.start()
        await desk.call("first")
        await desk.call("second")
        assert await desk.listed() == before
        assert "changed" not in desk.story


@pytest.mark.parametrize(("client", "listed"), [("claude-code", 1), ("claude-ai", 3)])
async def test_by_default_the_surface_follows_the_clients_name(
    tmp_path: Path, client: str, listed: int
) -> None:
    async with served(tmp_path, LINE, surface="auto", client=client) as desk:
        assert len(await desk.listed()) == listed


async def test_only_workflows_that_the_principal_may_start_are_shown(tmp_path: Path) -> None:
    servers = Servers()
    async with governed(tmp_path, LINE, tiny(GATED, "other"), servers=servers) as (
        orchestrator,
        _,
    ):
        agent = PrincipalSettings(
            orchestrator.settings.principal("agent").principal, frozenset({"other"})
        )
        settings = replace(orchestrator.settings, principals={"agent": agent})
        orchestrator.settings = orchestrator.judge.settings = settings
        async with connected(orchestrator, servers, surface="stable") as desk:
            assert await desk.listed() == ["pay"]
            start = (await desk.client.list_tools()).tools[0]
            assert start.input_schema["properties"]["workflow"]["enum"] == ["other"]
            assert (await desk.start("tiny"))["isError"] is True


async def test_a_glob_of_always_legal_tools_lists_what_the_server_offers(tmp_path: Path) -> None:
    servers = Servers()
    servers.offer("b.read_one")
    servers.offer("b.read_two")
    servers.offer("b.write")
    body = "tools: {always: ['b.read_*']}\nsteps:\n  only: {tool: a.only}\n"
    async with served(tmp_path, body, servers=servers) as desk:
        assert await desk.listed() == ["read_one", "read_two"]
        assert (await desk.call("read_two"))["isError"] is False
        assert (await desk.call("write"))["isError"] is True


async def test_what_is_listed_is_what_would_not_be_refused(tmp_path: Path) -> None:
    async with served(tmp_path, LINE) as desk:
        await desk.start()
        for _ in range(3):
            legal = set(await desk.listed())
            for tool in {"look", "first", "second"} - legal:
                answer = await desk.call(tool)
                told_again = "how" in answer["_meta"][DECISION]
                assert answer["isError"] is not told_again
            for tool in sorted(legal):
                assert (await desk.call(tool))["isError"] is False


async def test_a_definition_reaches_the_client_with_fields_that_nobody_knows(
    tmp_path: Path,
) -> None:
    servers = Servers()
    servers.more["a.look"] = {
        "title": "Look",
        "annotations": {"readOnlyHint": True, "acme": 1},
        "outputSchema": {"type": "object", "x-unit": "m"},
        "acme": {"deep": [1, None]},
        "_meta": {"acme.test/x": 1},
    }
    async with served(tmp_path, LINE, servers=servers) as desk:
        result = await desk.client.session.send_request(ListToolsRequest(), Raw)
        assert result.json_object()["tools"][3] == servers._tool("a.look").definition


async def test_tools_that_collide_are_listed_and_called_by_server_and_name(tmp_path: Path) -> None:
    body = """
steps:
  read: {tool: [a.read, b.read]}
  start: {tool: b.workflow_start}
"""
    async with served(tmp_path, body, surface="stable") as desk:
        assert await desk.listed() == ["a__read", "b__read", "b__workflow_start"]
        words = text_of(await desk.start())
        assert "Legal now: a__read, b__read, b__workflow_start." in words
        await desk.call("b__read")
        await desk.call("b__workflow_start")
        assert [tool for tool, _ in desk.servers.calls] == ["b.read", "b.workflow_start"]


# --- the meta-tools -------------------------------------------------------------------------------


async def test_workflow_start_mints_a_session_and_says_what_is_legal(tmp_path: Path) -> None:
    body = "inputs:\n  n: {type: integer}\n" + LINE
    async with served(tmp_path, body) as desk:
        start = (await desk.client.list_tools()).tools[0]
        assert start.description is not None
        assert 'tiny: Inputs: {"n": {"type": "integer"}}' in start.description
        result = await desk.client.call_tool(
            "workflow_start", {"workflow": "tiny", "inputs": {"n": 1}}
        )
        assert result.structured_content is not None
        assert result.structured_content["session_id"] == "ses_1"
        assert result.structured_content["status"] == "active"
        assert [one["tool"] for one in result.structured_content["legal"]] == ["first"]
        assert "Legal now: first." in text_of({"content": [result.content[0].model_dump()]})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "'workflow' is a required property"),
        ({"workflow": "nonsense"}, "is not one of ['tiny']"),
        ({"workflow": "tiny", "inputs": []}, "inputs"),
        ({"workflow": "tiny", "inputs": {"n": "x"}}, "'x' is not of type 'integer'"),
    ],
)
async def test_arguments_that_cannot_be_used_are_answered_with_the_reason(
    tmp_path: Path, arguments: dict[str, Any], words: str
) -> None:
    async with served(tmp_path, "inputs:\n  n: {type: integer}\n" + ONE) as desk:
        result = await desk.call("workflow_start", **arguments)
        assert result["isError"] is True
        assert words in text_of(result)


async def test_a_run_is_over_before_the_next_begins_in_the_same_session(tmp_path: Path) -> None:
    async with served(tmp_path, ONE) as desk:
        await desk.start()
        assert (await desk.start())["isError"] is True
        over = await desk.call("only")
        assert "The run is over (completed)" in text_of(over)
        again = await desk.start()
        assert again["structuredContent"]["session_id"] == "ses_1"
        assert again["structuredContent"]["status"] == "active"


async def test_workflow_status_shows_schemas_approvals_and_steps(tmp_path: Path) -> None:
    servers = Servers()
    schema = {"type": "object", "properties": {"amount": {"type": "number"}}}
    servers.offer("a.pay", schema=schema)
    body = GATED + "  note: {tool: a.note}\n"
    servers.offer("a.note", schema=schema)
    async with served(tmp_path, body, servers=servers) as desk:
        await desk.start()
        await desk.client.list_tools()
        result = await desk.client.call_tool("workflow_status", {})
        status = result.structured_content
        assert status is not None
        assert status["legal"] == [
            {"tool": "note", "step": "note", "purpose": "step", "input_schema": schema}
        ]
        assert {one["id"]: one["status"] for one in status["steps"]} == {
            "ask": "awaiting_approval",
            "pay": "pending",
            "note": "legal",
        }
        (approval,) = status["approvals"]
        assert approval["roles"] == ["boss"]
        words = text_of(await desk.call("workflow_status"))
        assert f"mcpuppet approve {approval['approval_id']}" in words
        assert f"Input of note: {json.dumps(schema)}" in words


async def test_status_is_marked_read_only_and_the_others_are_not(tmp_path: Path) -> None:
    async with served(tmp_path, ONE) as desk:
        start, status, act = (await desk.client.list_tools()).tools[:3]
        assert status.annotations is not None
        assert status.annotations.read_only_hint is True
        assert start.annotations is not None
        assert start.annotations.read_only_hint is False
        assert act.annotations is None
        assert all(one.output_schema for one in (start, status, act))


async def test_a_newly_legal_tool_is_reached_through_workflow_act(tmp_path: Path) -> None:
    servers = Servers()
    servers.offer("a.second", lambda arguments: succeeded(got=arguments))
    async with served(tmp_path, LINE, servers=servers) as desk:
        await desk.client.list_tools()
        await desk.start()
        refused = await desk.call("workflow_act", tool="second", arguments={})
        assert refused["isError"] is True
        assert refused["structuredContent"]["rule"] == "needs"
        await desk.call("first")
        arguments = {"tool": "second", "arguments": {"n": 1}}
        result = await desk.client.call_tool("workflow_act", arguments)
        assert result.structured_content is not None
        assert result.structured_content["status"] == "succeeded"
        assert result.structured_content["result"] == {"got": {"n": 1}}


async def test_workflow_act_refuses_a_tool_that_does_not_exist(tmp_path: Path) -> None:
    async with served(tmp_path, ONE) as desk:
        await desk.start()
        result = await desk.call("workflow_act", tool="workflow_start", arguments={})
        assert result["isError"] is True
        assert "no tool is called workflow_start" in text_of(result)


# --- calls ----------------------------------------------------------------------------------------


async def test_a_result_is_passed_on_with_one_text_more(tmp_path: Path) -> None:
    own = {
        "content": [
            {"type": "text", "text": "hello", "acme": 1},
            {"type": "image", "data": "aGk=", "mimeType": "image/png"},
        ],
        "structuredContent": {"n": 1, "deep": [{}]},
        "isError": False,
        "_meta": {"acme.test/x": [1]},
        "acme": True,
    }
    servers = Servers()
    servers.offer("a.first", lambda arguments: Succeeded(own))
    async with served(tmp_path, LINE, servers=servers) as desk:
        await desk.start()
        result = await desk.call("first")
        assert result["content"][:2] == own["content"]
        assert result["content"][2:] == [{"type": "text", "text": "Legal now: second."}]
        assert result["structuredContent"] == own["structuredContent"]
        assert result["acme"] is True
        details = result["_meta"].pop(DECISION)
        assert result["_meta"] == own["_meta"]
        assert details["status"] == "succeeded"
        assert details["session_id"] == "ses_1"
        assert details["legal"] == ["second"]
        assert details["call_id"].startswith("call_")


async def test_an_error_that_a_tool_reports_is_passed_on(tmp_path: Path) -> None:
    own = {"content": [{"type": "text", "text": "no such row"}], "isError": True}
    servers = Servers()
    servers.offer("a.look", lambda arguments: Failed("tool_error", "no such row", own))
    async with served(tmp_path, LINE, servers=servers) as desk:
        result = await desk.call("look")
        assert result["isError"] is True
        assert result["content"][0]["text"] == "no such row"


async def test_an_answer_that_breaks_the_tools_schema_is_not_passed_on(tmp_path: Path) -> None:
    own = {"content": [], "structuredContent": {"secret": 1}}
    servers = Servers()
    servers.offer("a.look", lambda arguments: Failed("invalid_result", "it broke its schema", own))
    async with served(tmp_path, LINE, servers=servers) as desk:
        result = await desk.call("look")
        assert result["isError"] is True
        assert "it broke its schema" in text_of(result)
        assert "secret" not in json.dumps(result)


async def test_a_refusal_teaches(tmp_path: Path) -> None:
    async with served(tmp_path, LINE) as desk:
        await desk.start()
        result = await desk.call("second")
        assert result["isError"] is True
        assert text_of(result) == (
            "Refused: step second first needs first to end in success (it is pending).\n"
            "Rule: needs of step second. second was not called, and nothing has changed.\n"
            "Legal now: first."
        )
        details = result["structuredContent"]
        assert details == result["_meta"][DECISION]
        assert details["status"] == "denied"
        assert (details["rule"], details["step"]) == ("needs", "second")
        assert details["legal"] == ["first"]
        assert desk.servers.calls == []


async def test_a_refusal_that_time_will_lift_says_when(tmp_path: Path) -> None:
    body = "steps:\n  only: {tool: a.only, retry: {attempts: 2, delay: 30s, jitter: false}}\n"
    servers, clock = Servers(), Clock()
    servers.offer("a.only", lambda arguments: Failed("tool_error", "busy"))
    async with served(tmp_path, body, servers=servers, clock=clock) as desk:
        await desk.start()
        await desk.call("only")
        result = await desk.call("only")
        assert result["structuredContent"]["legal_at"] == "2026-01-05T09:00:30Z"


async def test_a_refusal_of_a_tool_with_an_output_schema_has_no_structured_content(
    tmp_path: Path,
) -> None:
    servers = Servers()
    servers.more["a.second"] = {"outputSchema": {"type": "object", "required": ["x"]}}
    async with served(tmp_path, LINE, servers=servers) as desk:
        await desk.start()
        result = await desk.call("second")
        assert "structuredContent" not in result
        assert result["_meta"][DECISION]["rule"] == "needs"


async def test_a_call_that_needs_a_person_is_answered_at_once_and_legal_afterwards(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, GATED) as desk:
        await desk.listed()
        await desk.start()
        waiting = await desk.call("pay", amount=5)
        assert waiting["isError"] is True
        assert desk.servers.calls == []
        details = waiting["_meta"][DECISION]
        assert details["status"] == "awaiting_approval"
        assert details["roles"] == ["boss"]
        assert details["expires_at"] == "2026-01-05T10:00:00Z"
        assert details["poll_with"] == "workflow_status"
        words = text_of(waiting)
        assert f"mcpuppet approve {details['approval_id']}" in words
        assert "call pay again with the same arguments" in words
        people = desk.orchestrator.people
        view = await people.approval(details["approval_id"])
        assert view.calls[0].arguments == {"amount": 5}
        await people.approve(details["approval_id"], ALICE, view.content)
        await desk.told()
        assert await desk.listed() == ["pay"]
        assert (await desk.call("pay", amount=6))["isError"] is True
        assert (await desk.call("pay", amount=5))["isError"] is False


async def test_a_name_that_nothing_has_is_a_protocol_error_and_recorded(tmp_path: Path) -> None:
    async with served(tmp_path, LINE) as desk:
        await desk.start()
        with pytest.raises(MCPError) as caught:
            await desk.call("nonsense")
        assert caught.value.code == -32602
        last = desk.events()[-1]
        assert isinstance(last, e.CallDenied)
        assert (last.tool, last.rule) == ("nonsense", "unknown_tool")


async def test_a_call_before_any_run_is_refused_with_guidance_and_recorded(tmp_path: Path) -> None:
    async with served(tmp_path, LINE) as desk:
        result = await desk.call("first")
        assert result["isError"] is True
        assert "call workflow_start" in text_of(result)
        assert desk.kinds() == [e.SessionOpened, e.CallDenied]
        assert (await desk.start())["structuredContent"]["session_id"] == "ses_1"


async def test_an_always_legal_tool_works_before_any_run(tmp_path: Path) -> None:
    async with served(tmp_path, LINE) as desk:
        assert (await desk.call("look"))["isError"] is False
        assert desk.servers.calls == [("a.look", {})]


async def test_with_a_default_workflow_its_first_calls_are_listed_and_work_at_once(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, LINE, default="tiny") as desk:
        assert await desk.listed() == ["look", "first"]
        status = (await desk.call("workflow_status"))["structuredContent"]
        assert (status["session_id"], status["status"]) == (None, "idle")
        assert (await desk.call("first"))["isError"] is False
        assert await desk.listed() == ["look", "second"]


async def test_an_unknown_outcome_says_who_settles_it(tmp_path: Path) -> None:
    servers = Servers()
    servers.offer("a.first", lambda arguments: Unknown("timeout", "a.first did not answer"))
    async with served(tmp_path, LINE, servers=servers) as desk:
        await desk.start()
        result = await desk.call("first")
        call_id = result["_meta"][DECISION]["call_id"]
        assert result["isError"] is True
        assert "Do not call it again" in text_of(result)
        assert f"mcpuppet resolve {call_id}" in text_of(result)
        status = (await desk.call("workflow_status"))["structuredContent"]
        assert [one["step"] for one in status["held"]] == ["first"]
        assert status["open_calls"] == [call_id]


async def test_what_goes_wrong_inside_stays_inside(tmp_path: Path) -> None:
    def broken(arguments: dict[str, Any]) -> Outcome:
        raise RuntimeError("the password is hunter2")

    servers = Servers()
    servers.offer("a.look", broken)
    async with served(tmp_path, LINE, servers=servers) as desk:
        with pytest.raises(MCPError) as caught:
            await desk.call("look")
        assert caught.value.code == -32603
        assert "hunter2" not in str(caught.value.error)
        assert "hunter2" in desk.log[0]


async def test_a_call_fails_when_it_cannot_be_recorded(tmp_path: Path) -> None:
    async with served(tmp_path, LINE) as desk:
        await desk.start()
        await desk.orchestrator.store.close()
        result = await desk.call("first")
        assert result["isError"] is True
        assert "could not use its audit trail" in text_of(result)
        assert desk.servers.calls == []


async def test_progress_and_meta_are_forwarded(tmp_path: Path) -> None:
    servers = Servers(steps_reported=3)
    seen: list[tuple[float, float | None, str | None]] = []
    all_seen = anyio.Event()

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen.append((done, total, message))
        if len(seen) == 3:
            all_seen.set()

    async with served(tmp_path, LINE, servers=servers) as desk:
        await desk.client.call_tool(
            "look", {}, progress_callback=progress, meta={"acme.test/run": "r1"}
        )
        with anyio.fail_after(5):
            await all_seen.wait()
        assert sorted(seen) == [(n, 3.0, f"part {n}") for n in range(3)]
        assert (servers.metas[0] or {})["acme.test/run"] == "r1"


async def test_a_cancelled_call_is_cancelled_behind_and_recorded_as_unknown(tmp_path: Path) -> None:
    cancelled = anyio.Event()

    async def forever(arguments: dict[str, Any]) -> Outcome:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError

    servers = Servers()
    servers.offer("a.first", forever)
    async with served(tmp_path, LINE, servers=servers) as desk:
        await desk.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.call, "first")
            await servers.arrived.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(5):
            await cancelled.wait()
        await until(lambda: e.CallBecameUnknown in desk.kinds())
        status = (await desk.call("workflow_status"))["structuredContent"]
        assert [one["step"] for one in status["held"]] == ["first"]
        ended = next(one for one in desk.events() if isinstance(one, e.CallBecameUnknown))
        assert ended.reason == "cancelled"


# --- the client's list ----------------------------------------------------------------------------


async def test_the_client_lists_again_before_it_gets_the_result(tmp_path: Path) -> None:
    async with served(tmp_path, LINE, barrier=30) as desk:
        async with anyio.create_task_group() as tasks:

            async def list_again() -> None:
                tasks.start_soon(note_list)

            async def note_list() -> None:
                desk.story.append(f"listed {' '.join(await desk.listed())}")

            await desk.listed()
            desk.on_change = list_again
            await desk.start()
            await desk.call("first")
        assert desk.story == [
            "changed",
            "listed look first",
            "answered workflow_start",
            "changed",
            "listed look second",
            "answered first",
        ]


async def test_a_client_that_does_not_list_again_is_answered_all_the_same(tmp_path: Path) -> None:
    async with served(tmp_path, LINE, barrier=0.01) as desk:
        await desk.listed()
        await desk.start()
        assert desk.story == ["changed", "answered workflow_start"]


async def test_calls_that_change_something_at_once_do_not_wait_for_each_other(
    tmp_path: Path,
) -> None:
    body = "steps:\n" + "".join(f"  s{n}: {{tool: a.t{n}}}\n" for n in range(6))
    async with served(tmp_path, body, barrier=30) as desk:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:

                async def list_again() -> None:
                    tasks.start_soon(desk.listed)

                await desk.listed()
                desk.on_change = list_again
                await desk.start()
                async with anyio.create_task_group() as calls:
                    for number in range(6):
                        calls.start_soon(desk.call, f"t{number}")
        assert len(desk.servers.calls) == 6


async def test_a_call_that_changes_nothing_is_not_held(tmp_path: Path) -> None:
    async with served(tmp_path, LINE, barrier=30) as desk:
        await desk.listed()
        with anyio.fail_after(5):
            await desk.call("look")
        assert desk.story == ["answered look"]


async def test_an_approval_in_another_process_reaches_the_client(tmp_path: Path) -> None:
    async with (
        served(tmp_path, GATED) as desk,
        governed(tmp_path, GATED, node="node_2") as (elsewhere, _),
    ):
        await desk.start()
        assert await desk.listed() == []
        (view,) = await elsewhere.people.approvals()
        await elsewhere.people.approve(view.approval_id, BOB, view.content)
        await desk.told()
        assert await desk.listed() == ["pay"]


async def test_a_server_that_comes_late_is_missed_and_then_listed(tmp_path: Path) -> None:
    servers = Servers(asleep={"a"})
    async with served(tmp_path, LINE, servers=servers, surface="stable") as desk:
        assert await desk.listed() == []
        status = await desk.call("workflow_status")
        missing = status["structuredContent"]["missing_servers"]
        assert missing == [{"server": "a", "reason": "it is still starting"}]
        assert "Server a cannot be used yet" in text_of(status)
        servers.asleep.clear()
        desk.bell.ring("a")
        await desk.told()
        assert await desk.listed() == ["first", "second", "look"]


async def test_servers_are_asked_at_once_and_not_waited_for_longer_than_agreed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_server, "LIST_WAIT", 0.3)
    tools = [f"{server}.tool" for server in "abcdefgh"]
    body = "steps:\n" + "".join(f"  {one[0]}: {{tool: {one}}}\n" for one in tools)
    servers = Servers(asleep=set("bcdefgh"), slow=True)
    async with served(tmp_path, body, servers=servers, surface="stable") as desk:
        started = anyio.current_time()
        assert await desk.listed() == ["a__tool"]
        assert anyio.current_time() - started < 1.5
        assert sorted(servers.asked) == list("bcdefgh")


async def test_a_changed_definition_reaches_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_server, "WATCH_EVERY", 0.001)
    async with served(tmp_path, LINE, surface="stable") as desk:
        await desk.listed()
        await desk.some_looks()
        desk.servers.more["a.look"] = {"description": "It looks elsewhere now."}
        desk.bell.ring("a")
        await desk.told()


async def test_a_call_that_time_makes_legal_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_server, "WATCH_EVERY", 0.001)
    body = "steps:\n  only: {tool: a.only, retry: {attempts: 2, delay: 30s, jitter: false}}\n"
    servers, clock = Servers(), Clock()
    servers.offer("a.only", lambda arguments: Failed("tool_error", "busy"))
    async with served(tmp_path, body, servers=servers, clock=clock) as desk:
        await desk.start()
        await desk.listed()
        await desk.call("only")
        await desk.told()
        assert await desk.listed() == []
        await desk.some_looks()
        clock.advance(seconds=31)
        await desk.told()
        assert await desk.listed() == ["only"]


async def test_what_time_brings_about_is_written_down_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_server, "SWEEP_EVERY", 0.01)
    clock = Clock()
    async with served(tmp_path, GATED, clock=clock) as desk:
        await desk.start()
        await desk.listed()
        clock.advance(hours=2)
        await until(lambda: e.ApprovalExpired in desk.kinds())


async def test_background_trouble_is_logged_once_and_does_not_end_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_server, "WATCH_EVERY", 0.001)
    async with served(tmp_path, LINE) as desk:
        await desk.start()
        await desk.listed()
        await desk.orchestrator.store.close()
        await until(lambda: desk.log)
        await desk.some_looks()
        assert len(desk.log) == 1


# --- sessions -------------------------------------------------------------------------------------


async def test_two_clients_never_share_a_session(tmp_path: Path) -> None:
    async with (
        served(tmp_path, LINE, prefix="one") as first,
        served(tmp_path, LINE, prefix="two", node="node_2") as second,
    ):
        await first.start()
        assert await second.listed() == ["look"]
        await second.start()
        await first.call("first")
        assert await first.listed() == ["look", "second"]
        assert await second.listed() == ["look", "first"]


async def test_a_named_session_goes_on_where_it_was(tmp_path: Path) -> None:
    async with served(tmp_path, LINE, session_id="mine") as desk:
        await desk.start()
        await desk.call("first")
    async with served(tmp_path, LINE, session_id="mine", node="node_2") as desk:
        assert await desk.listed() == ["look", "second"]


async def test_a_session_of_somebody_else_is_out_of_reach(tmp_path: Path) -> None:
    async with served(tmp_path, LINE, session_id="theirs") as desk:
        await desk.orchestrator.start_workflow(
            "tiny", {}, session_id="theirs", principal="somebody"
        )
        with pytest.raises(MCPError, match="no session 'theirs'"):
            await desk.names()
        assert (await desk.call("first"))["isError"] is True
        assert (await desk.call("workflow_status"))["isError"] is True
        assert desk.servers.calls == []


async def test_a_repeated_call_is_marked_and_carries_the_recorded_result(tmp_path: Path) -> None:
    async with served(tmp_path, LINE) as desk:
        await desk.start()
        first = await desk.call("first")
        again = await desk.call("first")
        assert again["isError"] is False
        details = again["_meta"][DECISION]
        assert (details["status"], details["how"]) == ("succeeded", "replayed")
        assert details["repeats"] == first["_meta"][DECISION]["call_id"]
        assert "nothing was called again" in text_of(again)
        assert len(desk.servers.calls) == 1


async def test_an_argument_that_the_gateway_fills_in_is_not_listed(tmp_path: Path) -> None:
    body = """
steps:
  pay: {tool: a.pay, on_unknown: {retry_with_key: {arg: key}}}
"""
    servers = Servers()
    schema = {"type": "object", "properties": {"key": {}, "n": {}}, "required": ["key", "n"]}
    servers.offer("a.pay", schema=schema)
    async with served(tmp_path, body, servers=servers) as desk:
        await desk.start()
        result = await desk.client.session.send_request(ListToolsRequest(), Raw)
        (listed,) = [one for one in result.json_object()["tools"] if one["name"] == "pay"]
        assert listed["inputSchema"] == {
            "type": "object", "properties": {"n": {}}, "required": ["n"],
        }  # fmt: skip
        assert (await desk.call("pay", n=1))["isError"] is False
        assert set(desk.servers.calls[0][1]) == {"n", "key"}
