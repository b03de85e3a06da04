"""One call from top to bottom: decided, written down, made, written down, answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest
from support.fakes import Clock, FakeServers, failed, succeeded
from support.gateway import ALICE, BOB, events_of, governed, tiny

from mcpuppet.errors import (
    AuditError,
    InvalidInputError,
    NotAuthorisedError,
    StoreError,
    UnknownSessionError,
)
from mcpuppet.session import events as e
from mcpuppet.session.outcome import Outcome, Unknown

pytestmark = pytest.mark.anyio

LINE = """
steps:
  first: {tool: a.first}
  second: {tool: a.second, needs: first}
"""
GATED = """
roles: [boss]
steps:
  ask: {approval: {roles: [boss], quorum: 2, timeout: 1h}}
  pay: {tool: a.pay, needs: ask}
"""


def kinds(events: list[e.Event]) -> list[str]:
    return [type(event).__name__ for event in events]


async def test_a_denied_call_never_reaches_a_server_and_is_recorded(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, servers):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "a.second", {})
        assert answer.status == "denied"
        assert answer.decision.rule == "needs"
        assert [one.tool for one in answer.legal] == ["a.first"]
        assert servers.calls == []
        assert kinds(events_of(orchestrator, "s"))[-1] == "CallDenied"


async def test_the_intent_is_durable_before_the_server_sees_the_call(tmp_path: Path) -> None:
    seen: list[str] = []
    async with governed(tmp_path, LINE) as (orchestrator, servers):

        def first(arguments: dict[str, Any]) -> Outcome:
            seen.extend(kinds(events_of(orchestrator, "s")))
            return succeeded()

        servers.offer("a.first", first)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        await orchestrator.call_tool("s", "a.first", {})
        assert seen[-1] == "CallStarted"
        assert kinds(events_of(orchestrator, "s"))[-2:] == ["CallSucceeded", "StepSucceeded"]


async def test_every_answer_says_what_is_legal_now_and_whether_that_changed(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "first", {})
        assert answer.status == "succeeded"
        assert ([one.tool for one in answer.legal], answer.changed) == (["a.second"], True)


async def test_arguments_that_break_the_tools_own_schema_are_denied(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, servers):
        servers.offer("a.first", schema={"type": "object", "required": ["n"]})
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "a.first", {})
        assert answer.decision.rule == "schema"
        assert servers.calls == []


async def test_a_server_that_is_down_refuses_the_call_and_changes_nothing(tmp_path: Path) -> None:
    servers = FakeServers(down={"a"})
    async with governed(tmp_path, LINE, servers=servers) as (orchestrator, _):
        servers.known_tools = lambda server: None  # type: ignore[method-assign, assignment]
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "a.first", {})
        assert answer.decision.rule == "server_unavailable"
        assert [one.tool for one in answer.legal] == ["a.first"]


async def test_a_failed_attempt_is_retried_inside_the_call(tmp_path: Path) -> None:
    body = "steps:\n  one: {tool: a.one, retry: {attempts: 3, delay: 1ms}}\n"
    outcomes = [failed(), failed(), succeeded(ok=True)]
    clock = Clock()
    async with governed(tmp_path, body, clock=clock) as (orchestrator, servers):

        def one(arguments: dict[str, Any]) -> Outcome:
            clock.advance(seconds=1)
            return outcomes[len(servers.calls) - 1]

        servers.offer("a.one", one)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        clock_task = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_tick, clock, clock_task)
            answer = await orchestrator.call_tool("s", "a.one", {})
            clock_task.set()
        assert answer.result == {"ok": True}
        assert len(servers.calls) == 3
        assert kinds(events_of(orchestrator, "s")).count("CallStarted") == 3


async def _tick(clock: Clock, done: anyio.Event) -> None:
    while not done.is_set():
        clock.advance(seconds=1)
        await anyio.sleep(0.001)


async def test_of_two_different_calls_at_once_one_is_made(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, servers):
        release = anyio.Event()

        async def first(arguments: dict[str, Any]) -> Outcome:
            await release.wait()
            return succeeded()

        servers.offer("a.first", first)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        statuses: list[str] = []

        async def call(number: int) -> None:
            statuses.append((await orchestrator.call_tool("s", "a.first", {"n": number})).status)
            release.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, 1)
            tasks.start_soon(call, 2)
        assert sorted(statuses) == ["denied", "succeeded"]
        assert len(servers.calls) == 1


async def test_a_caller_that_goes_away_leaves_an_unknown_outcome(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, servers):

        async def forever(arguments: dict[str, Any]) -> Outcome:
            await anyio.sleep_forever()
            return succeeded()

        servers.offer("a.first", forever)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(orchestrator.call_tool, "s", "a.first", {})
            await servers.arrived.wait()
            tasks.cancel_scope.cancel()
        assert kinds(events_of(orchestrator, "s"))[-2:] == ["CallBecameUnknown", "StepHeld"]
        view = await orchestrator.status("s")
        assert view.steps[0].status == "held"


async def test_a_call_of_a_process_that_died_is_unknown_and_held(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, servers):

        def dies(arguments: dict[str, Any]) -> Outcome:
            raise KeyboardInterrupt

        servers.offer("a.first", dies)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        with pytest.raises(KeyboardInterrupt):
            await orchestrator.call_tool("s", "a.first", {})
    async with governed(tmp_path, LINE, node="node_2") as (orchestrator, servers):
        view = await orchestrator.status("s")
        assert view.steps[0].status == "held"
        answer = await orchestrator.call_tool("s", "a.first", {})
        assert (answer.status, answer.how) == ("unknown", "replayed")
        answer = await orchestrator.call_tool("s", "a.first", {"other": 1})
        assert answer.decision.rule == "held"
        assert "CallBecameUnknown" in kinds(events_of(orchestrator, "s"))
        call_id = next(iter((await orchestrator.status("s")).open_calls))
        view = await orchestrator.people.resolve("s", call_id, ALICE, True, "seen in the ledger")
        assert [one.tool for one in view.legal] == ["a.second"]


async def test_a_call_of_a_living_process_is_not_taken_for_lost(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, servers):
        release = anyio.Event()

        async def first(arguments: dict[str, Any]) -> Outcome:
            await release.wait()
            return succeeded()

        servers.offer("a.first", first)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(orchestrator.call_tool, "s", "a.first", {})
            await servers.arrived.wait()
            async with governed(tmp_path, LINE, node="node_2") as (other, _):
                assert (await other.status("s")).steps[0].status == "running"
            release.set()
        assert (await orchestrator.status("s")).steps[0].status == "success"


async def test_a_restarted_gateway_carries_on_with_the_workflow_the_run_began_with(
    tmp_path: Path,
) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        await orchestrator.call_tool("s", "a.first", {})
    changed = LINE.replace("needs: first", "needs: {first: failure}")
    async with governed(tmp_path, changed, node="node_2") as (orchestrator, _):
        answer = await orchestrator.call_tool("s", "a.second", {})
        assert answer.status == "succeeded"
        assert answer.run_status == "completed"


async def test_an_audit_trail_that_cannot_be_written_fails_the_call(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, servers):
        await orchestrator.start_workflow("tiny", {}, session_id="s")

        async def full(*_: object, **__: object) -> object:
            raise StoreError("database or disk is full")

        orchestrator.store.append = full  # type: ignore[method-assign, assignment]
        with pytest.raises(StoreError):
            await orchestrator.call_tool("s", "a.first", {})
        assert servers.calls == []


async def test_an_outcome_that_could_not_be_written_becomes_unknown(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, servers):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        append = orchestrator.store.append

        async def full(*_: object, **__: object) -> object:
            raise StoreError("database or disk is full")

        def first(arguments: dict[str, Any]) -> Outcome:
            orchestrator.store.append = full  # type: ignore[method-assign, assignment]
            return succeeded()

        servers.offer("a.first", first)
        with pytest.raises(StoreError):
            await orchestrator.call_tool("s", "a.first", {})
        orchestrator.store.append = append  # type: ignore[method-assign]
        assert (await orchestrator.status("s")).steps[0].status == "held"


async def test_a_timeout_after_sending_is_unknown_and_never_failed(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, servers):
        servers.offer("a.first", lambda arguments: Unknown("timeout", "no answer within 1 s"))
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "a.first", {})
        assert (answer.status, answer.run_status) == ("unknown", "active")


async def test_the_approved_call_is_legal_once_and_changed_values_are_not(tmp_path: Path) -> None:
    async with governed(tmp_path, GATED) as (orchestrator, servers):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        waiting = await orchestrator.call_tool("s", "a.pay", {"to": "x"})
        assert waiting.status == "awaiting_approval"
        [shown] = await orchestrator.people.approvals()
        assert [dict(one.arguments) for one in shown.calls] == [{"to": "x"}]
        await orchestrator.people.approve(shown.approval_id, ALICE, shown.content)
        with pytest.raises(NotAuthorisedError, match="approved this already"):
            await orchestrator.people.approve(shown.approval_id, ALICE, shown.content)
        await orchestrator.people.approve(shown.approval_id, BOB, shown.content)
        assert (await orchestrator.call_tool("s", "a.pay", {"to": "y"})).status == "denied"
        assert (await orchestrator.call_tool("s", "a.pay", {"to": "x"})).status == "succeeded"
        assert servers.calls == [("a.pay", {"to": "x"})]


async def test_a_vote_for_something_else_than_what_was_shown_is_refused(tmp_path: Path) -> None:
    async with governed(tmp_path, GATED) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        [before] = await orchestrator.people.approvals()
        await orchestrator.call_tool("s", "a.pay", {"to": "mallory"})
        with pytest.raises(InvalidInputError, match="something else"):
            await orchestrator.people.approve(before.approval_id, ALICE, before.content)


async def test_a_denial_reaches_the_model_as_guidance(tmp_path: Path) -> None:
    async with governed(tmp_path, GATED) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        [shown] = await orchestrator.people.approvals()
        await orchestrator.people.deny(shown.approval_id, ALICE, "use the other account")
        view = await orchestrator.status("s")
        assert view.status == "rejected"
        assert "use the other account" in (view.end_reason or "")


async def test_only_people_with_the_role_who_did_not_ask_may_decide(tmp_path: Path) -> None:
    async with governed(tmp_path, GATED) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s", principal="alice")
        [shown] = await orchestrator.people.approvals()
        people = orchestrator.people
        stranger = type(ALICE)("eve", frozenset({"clerk"}))
        with pytest.raises(NotAuthorisedError, match="lacks the role"):
            await people.approve(shown.approval_id, stranger, shown.content)
        with pytest.raises(NotAuthorisedError, match="asked for this"):
            await people.approve(shown.approval_id, ALICE, shown.content)
        with pytest.raises(NotAuthorisedError, match="nobody"):
            await people.bypass(shown.approval_id, BOB, shown.content, "x" * 30)


async def test_a_bypass_needs_its_role_its_condition_and_a_justification(tmp_path: Path) -> None:
    body = """
roles: [boss, oncall]
inputs: {severity: {enum: [high, low]}}
steps:
  ask:
    approval:
      roles: [boss]
      timeout: 1h
      bypass: {roles: [oncall], when: inputs.severity == "high", justification: 20}
  act: {tool: a.act, needs: {ask: [approved, bypassed]}}
"""
    oncall = type(ALICE)("olga", frozenset({"oncall"}))
    async with governed(tmp_path, body) as (orchestrator, _):
        people = orchestrator.people
        for name, severity in (("low", "low"), ("high", "high")):
            await orchestrator.start_workflow("tiny", {"severity": severity}, session_id=name)
        shown = {one.session_id: one for one in await people.approvals()}
        reason = "the data centre is on fire"
        with pytest.raises(NotAuthorisedError, match="does not hold"):
            await people.bypass(shown["low"].approval_id, oncall, shown["low"].content, reason)
        with pytest.raises(InvalidInputError, match="at least 20 characters"):
            await people.bypass(shown["high"].approval_id, oncall, shown["high"].content, "fire")
        with pytest.raises(NotAuthorisedError, match="lacks the role"):
            await people.bypass(shown["high"].approval_id, ALICE, shown["high"].content, reason)
        await people.bypass(shown["high"].approval_id, oncall, shown["high"].content, reason)
        assert (await orchestrator.call_tool("high", "a.act", {})).status == "succeeded"


async def test_an_approval_expires_without_anybody_looking(tmp_path: Path) -> None:
    clock = Clock()
    async with governed(tmp_path, GATED, clock=clock) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        assert await orchestrator.sweep() == 0
        clock.advance(hours=1)
        assert await orchestrator.sweep() == 1
        assert kinds(events_of(orchestrator, "s"))[-1] == "RunEnded"
        assert (await orchestrator.status("s")).status == "rejected"
        assert await orchestrator.sweep() == 0


async def test_a_session_that_cannot_be_read_keeps_no_other_from_being_swept(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with governed(tmp_path, GATED, clock=clock) as (orchestrator, _):
        for name in ("a", "b"):
            await orchestrator.start_workflow("tiny", {}, session_id=name)
    with apsw.Connection(str(tmp_path / "mcpuppet.db")) as spoilt:
        spoilt.execute("UPDATE session SET state=x'7b' WHERE id='a'")
    async with governed(tmp_path, GATED, clock=clock) as (orchestrator, _):
        clock.advance(hours=1)
        with pytest.raises(AuditError, match="cannot be read"):
            await orchestrator.sweep()
        assert (await orchestrator.status("b")).status == "rejected"
        assert kinds(events_of(orchestrator, "b"))[-1] == "RunEnded"


async def test_tokens_are_kept_as_hashes_and_tell_people_apart(tmp_path: Path) -> None:
    async with governed(tmp_path, GATED) as (orchestrator, _):
        token = await orchestrator.people.add_user("carol", ("boss",))
        person = await orchestrator.people.authenticate(token)
        assert (person.name, person.roles) == ("carol", frozenset({"boss", "admin"}))
        for wrong in ("", " ", token[:-1], "mcpp_" + "x" * 43):
            with pytest.raises(NotAuthorisedError):
                await orchestrator.people.authenticate(wrong)
    assert not _occurs_in_files(token.encode(), tmp_path)


def _occurs_in_files(text: bytes, folder: Path) -> bool:
    return any(text in file.read_bytes() for file in folder.glob("mcpuppet.db*") if file.is_file())


async def test_a_run_is_cancelled_by_a_person(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        view = await orchestrator.people.cancel("s", ALICE, "wrong customer")
        assert view.status == "cancelled"
        assert (await orchestrator.call_tool("s", "a.first", {})).decision.rule == "no_run"
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        assert (await orchestrator.call_tool("s", "a.first", {})).status == "succeeded"


@pytest.mark.parametrize(
    ("workflow", "inputs", "problem"),
    [
        ("nope", {}, "no workflow is called 'nope'"),
        ("typed", {}, "n"),
        ("typed", {"n": "x"}, "n"),
        ("typed", {"n": 1, "m": 2}, "m"),
    ],
)
async def test_a_run_begins_only_with_inputs_that_fit(
    tmp_path: Path, workflow: str, inputs: dict, problem: str
) -> None:
    body = tiny("inputs: {n: {type: integer}}\nsteps:\n  one: {tool: a.one}\n", "typed")
    async with governed(tmp_path, body) as (orchestrator, _):
        with pytest.raises(InvalidInputError, match=problem):
            await orchestrator.start_workflow(workflow, inputs)
        assert await orchestrator.store.sessions(limit=10) == []


async def test_a_session_belongs_to_the_principal_who_opened_it(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, servers):
        await orchestrator.start_workflow("tiny", {}, session_id="s", principal="one")
        answer = await orchestrator.call_tool("s", "a.first", {}, principal="two")
        assert (answer.status, servers.calls) == ("denied", [])
        with pytest.raises(UnknownSessionError):
            await orchestrator.status("s", principal="two")


# --- headless -----------------------------------------------------------------------------------

ORDER = """
roles: [boss]
inputs: {item: {type: string}}
steps:
  price: {tool: a.price, args: {item: {equals: inputs.item}}, returns: {price: {type: number}}}
  ask: {needs: price, approval: {roles: [boss], timeout: 1h, binds: [steps.price.result.price]}}
  buy: {tool: a.buy, needs: ask, args: {price: {equals: steps.price.result.price}}, args_open: true}
"""
BUY = {
    "type": "object",
    "properties": {"price": {"type": "number"}, "address": {"type": "string"}},
    "required": ["price", "address"],
}


async def test_headless_stops_at_an_approval_and_is_resumed(tmp_path: Path) -> None:
    async with governed(tmp_path, ORDER) as (orchestrator, servers):
        servers.offer("a.price", lambda arguments: succeeded(price=5))
        servers.offer("a.buy", schema=BUY)
        data = {"item": "pen", "address": "Rome"}
        result = await orchestrator.execute_workflow("tiny", "s", data)
        assert result.status == "awaiting_approval"
        assert result.results == {"price": {"price": 5}}
        [shown] = await orchestrator.people.approvals()
        assert result.approvals == (shown.approval_id,)
        await orchestrator.people.approve(shown.approval_id, ALICE, shown.content)
        result = await orchestrator.execute_workflow("tiny", "s", data)
        assert result.status == "completed"
        assert servers.calls[-1] == ("a.buy", {"price": 5, "address": "Rome"})


async def test_headless_names_a_missing_argument(tmp_path: Path) -> None:
    async with governed(tmp_path, ORDER.replace("needs: ask", "needs: price")) as (
        orchestrator,
        servers,
    ):
        servers.offer("a.price", lambda arguments: succeeded(price=5))
        servers.offer("a.buy", schema=BUY)
        result = await orchestrator.execute_workflow("tiny", "s", {"item": "pen"})
        assert (result.status, result.missing) == ("missing_argument", ("buy.address",))


async def test_headless_names_a_missing_input(tmp_path: Path) -> None:
    async with governed(tmp_path, ORDER) as (orchestrator, _):
        with pytest.raises(InvalidInputError, match="item"):
            await orchestrator.execute_workflow("tiny", "s", {})


async def test_headless_polls_until_the_condition_holds(tmp_path: Path) -> None:
    body = "steps:\n  wait: {tool: a.wait, repeat: {max: 5, until: result.done, every: 1ms}}\n"
    clock = Clock()
    async with governed(tmp_path, body, clock=clock) as (orchestrator, servers):

        def wait(arguments: dict[str, Any]) -> Outcome:
            return succeeded(done=len(servers.calls) == 3)

        servers.offer("a.wait", wait)
        done = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_tick, clock, done)
            result = await orchestrator.execute_workflow("tiny", "s", {})
            done.set()
        assert (result.status, len(servers.calls)) == ("completed", 3)


async def test_only_an_admin_adds_people_after_the_first(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, _):
        people = orchestrator.people
        admin = await people.authenticate(await people.add_user("carol", ("boss",)))
        for nobody in (None, ALICE):
            with pytest.raises(NotAuthorisedError, match="admin"):
                await people.add_user("eve", ("boss",), nobody)
        await people.add_user("dave", ("boss",), admin)


async def test_the_default_workflow_begins_once_however_many_calls_come_first(
    tmp_path: Path,
) -> None:
    async with governed(tmp_path, LINE, default="tiny") as (orchestrator, _):
        statuses: list[str] = []

        async def call() -> None:
            statuses.append((await orchestrator.call_tool("s", "first", {})).status)

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(call)
        assert statuses == ["succeeded"] * 4
        recorded = kinds(events_of(orchestrator, "s"))
        assert (recorded.count("RunStarted"), recorded.count("CallStarted")) == (1, 1)


async def test_an_answer_says_what_the_outcome_meant_for_the_step(tmp_path: Path) -> None:
    body = "steps:\n  look: {tool: a.look, success: result.ok}\n"
    async with governed(tmp_path, body) as (orchestrator, servers):
        servers.offer("a.look", lambda arguments: succeeded(ok=False))
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "a.look", {})
        assert (answer.status, answer.run_status) == ("succeeded", "failed")
        assert answer.note == "Step look failed: `result.ok` does not hold for the result."


def _nested(depth: int) -> dict[str, Any]:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return {"x": value}


@pytest.mark.parametrize(
    "arguments",
    [_nested(10_000), {"x": float("nan")}, {"x": float("inf")}, {"x": 1 << 100_000}],
    ids=["deep", "nan", "infinite", "huge"],
)
async def test_arguments_that_cannot_be_recorded_are_refused_and_that_is_recorded(
    tmp_path: Path, arguments: dict[str, Any]
) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, servers):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "a.first", arguments)
        assert answer.decision.rule == "arguments"
        assert servers.calls == []
        assert kinds(events_of(orchestrator, "s"))[-1] == "CallDenied"


async def test_odd_text_in_arguments_passes_and_is_recorded(tmp_path: Path) -> None:
    async with governed(tmp_path, LINE) as (orchestrator, servers):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        odd = {"x": "\ud800 \u202e \x00", "": None}
        assert (await orchestrator.call_tool("s", "a.first", odd)).status == "succeeded"
        assert servers.calls == [("a.first", odd)]
        started = [one for one in events_of(orchestrator, "s") if isinstance(one, e.CallStarted)]
        assert started[0].arguments == odd


async def test_refused_arguments_are_recorded_up_to_a_size(tmp_path: Path) -> None:
    async with governed(tmp_path, GATED) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "a.pay", {"x": "y" * 100_000})
        assert "people are shown at most" in answer.reason
        denied = events_of(orchestrator, "s")[-1]
        assert isinstance(denied, e.CallDenied)
        assert denied.arguments is None
        assert (await orchestrator.people.approvals())[0].calls == ()


async def test_an_outcome_that_comes_after_another_run_began_is_answered(tmp_path: Path) -> None:
    retried = "steps:\n  one: {tool: a.one, retry: {attempts: 2, delay: 1s}}\n"
    other = tiny("steps:\n  z: {tool: a.z}\n", "other")
    async with governed(tmp_path, retried, other) as (orchestrator, servers):
        release = anyio.Event()

        async def one(arguments: dict[str, Any]) -> Outcome:
            await release.wait()
            return failed()

        servers.offer("a.one", one)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        statuses: list[str] = []

        async def call() -> None:
            statuses.append((await orchestrator.call_tool("s", "a.one", {})).status)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await servers.arrived.wait()
            await orchestrator.people.cancel("s", ALICE, "wrong")
            await orchestrator.start_workflow("other", {}, session_id="s")
            release.set()
        assert statuses == ["failed"]
        assert len(servers.calls) == 1
