"""Calls of which nobody knows what they did: keys, reading calls, late answers, and repeats."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from support.fakes import Clock, FakeServers, Ids, failed, succeeded
from support.gateway import ALICE, BOB, events_of, governed

from mcpuppet.audit.history import History, ImpossibleEventError
from mcpuppet.audit.record import open_record
from mcpuppet.errors import InvalidInputError
from mcpuppet.orchestrator import Orchestrator
from mcpuppet.repeats import KEY
from mcpuppet.session import events as e
from mcpuppet.session.outcome import Outcome, Succeeded, Unknown
from mcpuppet.views import CallAnswer

pytestmark = pytest.mark.anyio

HELD = "steps:\n  pay: {tool: bank.pay}\n  tell: {tool: mail.tell, needs: pay}\n"
KEYED = """
steps:
  pay:
    tool: bank.pay
    on_unknown: retry_with_key
    retry: {attempts: 3, delay: 0ms, jitter: false}
"""
ARGUED = KEYED.replace("retry_with_key\n", "{retry_with_key: {arg: request_id}}\n")
RECONCILED = """
inputs: {payee: {type: string, default: Jane}}
steps:
  pay:
    tool: bank.pay
    returns: {id: {type: string}}
    on_unknown:
      reconcile:
        tool: bank.find
        args: {reference: args.reference, payee: inputs.payee}
        happened: result.found && result.amount == args.amount
        result: result.payment
        after: 10s
  tell: {tool: mail.tell, needs: pay, args: {id: {equals: steps.pay.result.id}}}
"""
LOST = Unknown("timeout", "no answer within 1 s")
PAY = {"reference": "R1", "amount": 5}


def kinds(orchestrator: Orchestrator, session: str = "s") -> list[str]:
    return [type(one).__name__ for one in events_of(orchestrator, session)]


def started(orchestrator: Orchestrator) -> list[e.CallStarted]:
    return [one for one in events_of(orchestrator, "s") if isinstance(one, e.CallStarted)]


def follow_history(orchestrator: Orchestrator, session: str = "s") -> None:
    """The records are a history that can have happened, and lead to the state that is kept."""
    history = History(session)
    with orchestrator.store.reader() as reader:
        for record in reader.records(session):
            opened = open_record(record.body)
            history.take(opened.seq, e.event_from(opened.kind, opened.data), opened.at)


@dataclass
class Lossy(FakeServers):
    """Servers that also remember what came with a call, and may answer late."""

    metas: list[Any] = field(default_factory=list)
    late: list[Any] = field(default_factory=list)
    """Whom to tell of an answer that comes late, of every call."""
    unanswered: list[Any] = field(default_factory=list)
    """The same, of the calls that nobody waits for any more."""

    async def call(self, server: str, tool: str, arguments: Any, **more: Any) -> Outcome:
        self.metas.append(more.get("meta"))
        self.late.append(more.get("on_late"))
        self.unanswered.append(more.get("on_late"))
        outcome = await super().call(server, tool, arguments, **more)
        if not isinstance(outcome, Unknown):
            self.unanswered.remove(more.get("on_late"))
        return outcome


def outcomes(*given: Outcome) -> Callable[[Any], Outcome]:
    """One outcome after the other."""
    left = list(given)
    return lambda _: left.pop(0)


# --- idempotency keys ---------------------------------------------------------------------------


async def test_every_attempt_of_a_call_has_the_same_key(tmp_path: Path) -> None:
    async with governed(tmp_path, KEYED, servers=Lossy()) as (orchestrator, servers):
        servers.offer("bank.pay", outcomes(LOST, failed(), succeeded(id="1")))
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "bank.pay", PAY)
        assert answer.status == "succeeded"
        keys = [meta[KEY] for meta in servers.metas]
        assert len(keys) == 3
        assert len(set(keys)) == 1
        assert [one.key for one in started(orchestrator)] == keys
        assert (await orchestrator.status("s")).open_calls == ()
        follow_history(orchestrator)


async def test_a_key_can_be_an_argument_that_no_client_gives(tmp_path: Path) -> None:
    schema = {"type": "object", "required": ["reference", "request_id"]}
    async with governed(tmp_path, ARGUED, servers=Lossy()) as (orchestrator, servers):
        servers.offer("bank.pay", outcomes(LOST, succeeded()), schema)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "bank.pay", {**PAY, "request_id": "mine"})
        assert answer.decision.rule == "args"
        assert "leave it out" in answer.reason
        assert (await orchestrator.call_tool("s", "bank.pay", PAY)).status == "succeeded"
        (first, second) = [arguments for _, arguments in servers.calls]
        assert first == second == {**PAY, "request_id": started(orchestrator)[0].key}
        assert started(orchestrator)[0].arguments == PAY
        assert servers.metas == [None, None]


async def test_while_it_is_not_known_what_a_call_did_only_the_same_call_is_another_attempt(
    tmp_path: Path,
) -> None:
    clock = Clock()
    slow = KEYED.replace("delay: 0ms", "delay: 1m")
    async with governed(tmp_path, slow, clock=clock, servers=Lossy()) as (orchestrator, servers):
        servers.offer("bank.pay", outcomes(LOST, succeeded()))
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        assert (await orchestrator.call_tool("s", "bank.pay", PAY)).status == "unknown"
        clock.advance(minutes=5)
        other = await orchestrator.call_tool("s", "bank.pay", {**PAY, "amount": 6})
        assert other.decision.rule == "on_unknown"
        assert "exactly the arguments" in other.reason
        assert (await orchestrator.call_tool("s", "bank.pay", PAY)).status == "succeeded"
        assert len({meta[KEY] for meta in servers.metas}) == 1


async def test_each_round_and_each_run_has_a_key_of_its_own(tmp_path: Path) -> None:
    body = KEYED.replace("    retry:", "    repeat: {until: result.done, max: 5}\n    retry:")
    async with governed(tmp_path, body, servers=Lossy()) as (orchestrator, servers):
        servers.offer("bank.pay", outcomes(*(succeeded(done=one) for one in (False, True, True))))
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        for _ in range(2):
            await orchestrator.call_tool("s", "bank.pay", PAY)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        await orchestrator.call_tool("s", "bank.pay", PAY)
        assert len({meta[KEY] for meta in servers.metas}) == 3


async def test_a_keyed_call_whose_first_attempt_may_have_happened_never_just_fails(
    tmp_path: Path,
) -> None:
    async with governed(tmp_path, KEYED, servers=Lossy()) as (orchestrator, servers):
        servers.offer("bank.pay", outcomes(LOST, failed("in use"), failed("in use")))
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "bank.pay", PAY)
        assert answer.status == "failed"
        view = await orchestrator.status("s")
        assert (view.status, view.steps[0].status) == ("active", "held")
        view = await orchestrator.people.resolve("s", answer.call_id, ALICE, True, "in the books")
        assert (view.status, view.open_calls) == ("completed", ())
        follow_history(orchestrator)


async def test_a_call_that_is_made_again_is_not_settled_as_one_that_happened(
    tmp_path: Path,
) -> None:
    """The step would still be pending, and call the tool once more, with any arguments."""
    clock = Clock()
    slow = KEYED.replace("delay: 0ms", "delay: 1m")
    async with governed(tmp_path, slow, clock=clock, servers=Lossy()) as (orchestrator, servers):
        resolve = orchestrator.people.resolve
        servers.offer("bank.pay", lambda _: LOST)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        first = await orchestrator.call_tool("s", "bank.pay", PAY)
        with pytest.raises(InvalidInputError, match="makes the call again"):
            await resolve("s", first.call_id, ALICE, True, "seen")

        async def pay(_: dict[str, Any]) -> Outcome:
            with pytest.raises(InvalidInputError, match="makes the call again"):
                await resolve("s", first.call_id, ALICE, True, "seen")
            return LOST

        servers.offer("bank.pay", pay)
        for _ in range(2):
            clock.advance(minutes=5)
            last = await orchestrator.call_tool("s", "bank.pay", PAY)
        assert last.note  # it is held now
        view = await resolve("s", last.call_id, ALICE, True, "seen")
        assert (view.status, view.open_calls) == ("completed", ())
        follow_history(orchestrator)


# --- reading what became of a call --------------------------------------------------------------


async def lost_payment(orchestrator: Orchestrator, servers: FakeServers, **found: Any) -> None:
    servers.offer("bank.pay", outcomes(LOST, succeeded(id="second")))
    servers.offer("bank.find", lambda _: succeeded(**found))
    await orchestrator.start_workflow("tiny", {}, session_id="s")


async def paying(orchestrator: Orchestrator, clock: Clock) -> CallAnswer:
    """A payment, while time goes on."""
    answers: list[CallAnswer] = []
    async with anyio.create_task_group() as tasks:

        async def pay() -> None:
            answers.append(await orchestrator.call_tool("s", "bank.pay", PAY))
            tasks.cancel_scope.cancel()

        tasks.start_soon(pay)
        while True:
            await anyio.sleep(0.002)
            clock.advance(seconds=1)
    return answers[0]


def soon(text: str) -> str:
    return text.replace("after: 10s", "after: 1ms")


async def test_a_reading_call_that_finds_the_effect_ends_the_step_with_its_result(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with governed(tmp_path, soon(RECONCILED), clock=clock) as (orchestrator, servers):
        await lost_payment(orchestrator, servers, found=True, amount=5, payment={"id": "P7"})
        answer = await paying(orchestrator, clock)
        assert (answer.status, answer.result) == ("succeeded", {"id": "P7"})
        assert [one.tool for one in answer.legal] == ["mail.tell"]
        assert servers.calls[1] == ("bank.find", {"reference": "R1", "payee": "Jane"})
        assert kinds(orchestrator)[-5:] == [
            "StepHeld", "CallStarted", "CallSucceeded", "CallReconciled", "StepSucceeded",
        ]  # fmt: skip
        reading = started(orchestrator)[1]
        assert (reading.purpose, reading.step, reading.uses) == ("reconcile", "pay", ())
        tell = await orchestrator.call_tool("s", "mail.tell", {"id": "P7"})
        assert tell.status == "succeeded"
        follow_history(orchestrator)


async def test_a_reading_call_that_finds_nothing_lets_the_call_be_made_again(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with governed(tmp_path, soon(RECONCILED), clock=clock) as (orchestrator, servers):
        await lost_payment(orchestrator, servers, found=False)
        answer = await paying(orchestrator, clock)
        assert (answer.status, answer.happened) == ("failed", False)
        assert [one.tool for one in answer.legal] == ["bank.pay"]
        again = await orchestrator.call_tool("s", "bank.pay", PAY)
        assert again.result == {"id": "second"}
        follow_history(orchestrator)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (succeeded(other=1), "did not tell"),
        (failed("no such index"), "could not tell: no such index"),
        (succeeded(found=True, amount=5, payment=[]), "is no JSON object"),
    ],
    ids=["unreadable", "refused", "no object"],
)
async def test_a_reading_call_that_does_not_tell_leaves_the_step_to_a_person(
    tmp_path: Path, found: Outcome, words: str
) -> None:
    clock = Clock()
    async with governed(tmp_path, soon(RECONCILED), clock=clock) as (orchestrator, servers):
        await lost_payment(orchestrator, servers)
        servers.offer("bank.find", lambda _: found)
        answer = await paying(orchestrator, clock)
        assert answer.status == "unknown"
        assert words in answer.note
        clock.advance(days=1)
        await orchestrator.sweep()
        assert [tool for tool, _ in servers.calls] == ["bank.pay", "bank.find"]
        call_id = (await orchestrator.status("s")).open_calls[0]
        view = await orchestrator.people.resolve("s", call_id, ALICE, False, "asked the bank")
        assert [one.tool for one in view.legal] == ["bank.pay"]
        follow_history(orchestrator)


async def test_a_reading_call_without_an_answer_is_made_three_times_more(tmp_path: Path) -> None:
    clock = Clock()
    async with governed(tmp_path, RECONCILED.replace("after: 10s", "after: 1m"), clock=clock) as (
        orchestrator,
        servers,
    ):
        await lost_payment(orchestrator, servers)
        servers.offer("bank.find", lambda _: LOST)
        await orchestrator.call_tool("s", "bank.pay", PAY)
        waits = []
        for minute in range(1, 40):
            clock.advance(minutes=1)
            before = len(servers.calls)
            await orchestrator.sweep()
            waits += [minute] * (len(servers.calls) - before)
        assert waits == [1, 3, 7, 15]
        view = await orchestrator.status("s")
        assert view.steps[0].status == "held"
        follow_history(orchestrator)


async def test_after_a_crash_the_next_process_reads_what_became_of_the_call(
    tmp_path: Path,
) -> None:
    clock, ids = Clock(), Ids()
    async with governed(tmp_path, RECONCILED, clock=clock, ids=ids) as (orchestrator, servers):

        def dies(arguments: dict[str, Any]) -> Outcome:
            raise KeyboardInterrupt

        servers.offer("bank.pay", dies)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        with pytest.raises(KeyboardInterrupt):
            await orchestrator.call_tool("s", "bank.pay", PAY)
    async with governed(tmp_path, RECONCILED, clock=clock, node="node_2", ids=ids) as (
        other,
        servers,
    ):
        servers.offer("bank.find", lambda _: succeeded(found=True, amount=5, payment={"id": "P"}))
        await other.call_tool("s", "bank.pay", {"x": 1})  # somebody finds that the call is lost
        clock.advance(seconds=10)
        assert await other.sweep() == 1
        view = await other.status("s")
        assert [one.tool for one in view.legal] == ["mail.tell"]
        assert servers.calls == [("bank.find", {"reference": "R1", "payee": "Jane"})]
        follow_history(other)


async def test_two_processes_read_once_between_them(tmp_path: Path) -> None:
    clock, ids = Clock(), Ids()
    servers = FakeServers()
    slow = RECONCILED.replace("after: 10s", "after: 1m")
    async with governed(tmp_path, slow, clock=clock, servers=servers, ids=ids) as (one, _):
        await lost_payment(one, servers, found=True, amount=5, payment={"id": "P"})
        await one.call_tool("s", "bank.pay", PAY)
        clock.advance(minutes=2)
        async with governed(
            tmp_path, slow, clock=clock, servers=servers, node="node_2", ids=ids
        ) as (other, _):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.sweep)
                tasks.start_soon(other.sweep)
            assert Counter(tool for tool, _ in servers.calls)["bank.find"] == 1
            assert kinds(one).count("CallReconciled") == 1


async def test_a_person_may_settle_a_call_while_it_is_being_read(tmp_path: Path) -> None:
    clock = Clock()
    slow = RECONCILED.replace("after: 10s", "after: 1m")
    async with governed(tmp_path, slow, clock=clock) as (orchestrator, servers):
        await lost_payment(orchestrator, servers)
        call = await orchestrator.call_tool("s", "bank.pay", PAY)

        async def find(arguments: dict[str, Any]) -> Outcome:
            await orchestrator.people.resolve("s", call.call_id, ALICE, True, "seen")
            return succeeded(found=False)

        servers.offer("bank.find", find)
        clock.advance(minutes=2)
        await orchestrator.sweep()
        assert (await orchestrator.status("s")).steps[0].status == "success"
        assert "CallReconciled" not in kinds(orchestrator)
        follow_history(orchestrator)


async def test_a_call_whose_fate_could_not_be_read_is_refused(tmp_path: Path) -> None:
    async with governed(tmp_path, RECONCILED) as (orchestrator, servers):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "bank.pay", {"amount": 5})
        assert (answer.decision.rule, servers.calls) == ("on_unknown", [])
        assert "`args.reference`" in answer.reason


# --- late answers -------------------------------------------------------------------------------


async def test_an_answer_after_a_timeout_is_kept_and_changes_nothing(tmp_path: Path) -> None:
    async with governed(tmp_path, HELD, servers=Lossy()) as (orchestrator, servers):
        servers.offer("bank.pay", lambda _: LOST)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "bank.pay", PAY)
        await servers.late[0](succeeded(id="P1"), 61.5)
        late = events_of(orchestrator, "s")[-1]
        assert isinstance(late, e.LateOutcome)
        assert (late.call_id, late.outcome, late.seconds) == (answer.call_id, "succeeded", 61.5)
        assert late.result["structuredContent"] == {"id": "P1"}
        view = await orchestrator.status("s")
        assert (view.steps[0].status, view.open_calls) == ("held", (answer.call_id,))
        again = await orchestrator.call_tool("s", "bank.pay", PAY)
        assert (again.status, again.result) == ("unknown", None)
        follow_history(orchestrator)


async def test_an_answer_that_crosses_with_the_timeout_counts_as_late(tmp_path: Path) -> None:
    servers = Lossy()
    async with governed(tmp_path, HELD, servers=servers) as (orchestrator, _):
        async with anyio.create_task_group() as tasks:

            def pay(arguments: dict[str, Any]) -> Outcome:
                tasks.start_soon(servers.late[0], succeeded(id="P1"), 1.0)
                return LOST

            servers.offer("bank.pay", pay)
            await orchestrator.start_workflow("tiny", {}, session_id="s")
            await orchestrator.call_tool("s", "bank.pay", PAY)
        assert kinds(orchestrator)[-3:] == ["CallBecameUnknown", "StepHeld", "LateOutcome"]
        follow_history(orchestrator)


async def test_an_outcome_of_a_call_that_counts_as_lost_by_then_is_late(tmp_path: Path) -> None:
    async with governed(tmp_path, HELD) as (orchestrator, servers):

        async def pay(arguments: dict[str, Any]) -> Outcome:
            orchestrator.ledger.in_flight.clear()  # as if the process had been taken for dead
            await orchestrator.call_tool("s", "mail.tell", {})
            return succeeded(id="P1")

        servers.offer("bank.pay", pay)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "bank.pay", PAY)
        assert (answer.status, answer.result) == ("unknown", None)
        assert kinds(orchestrator)[-1] == "LateOutcome"
        assert (await orchestrator.status("s")).steps[0].status == "held"
        follow_history(orchestrator)


async def test_what_may_be_made_twice_is_not_listened_for(tmp_path: Path) -> None:
    body = "steps:\n  look: {tool: a.look, on_unknown: retry}\n  pay: {tool: bank.pay}\n"
    async with governed(tmp_path, body, servers=Lossy()) as (orchestrator, servers):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        await orchestrator.call_tool("s", "a.look", {})
        await orchestrator.call_tool("s", "bank.pay", {})
        assert [late is None for late in servers.late] == [True, False]


async def repeated(orchestrator: Orchestrator, times: int) -> None:
    """Wait until a request has been known so many times to be one that was made before."""
    with anyio.fail_after(10):
        while kinds(orchestrator).count("CallRepeated") < times:  # noqa: ASYNC110 - a record is no event
            await anyio.sleep(0.01)


# --- repeats ------------------------------------------------------------------------------------


async def test_a_repeat_of_a_call_in_flight_waits_for_the_same_answer(tmp_path: Path) -> None:
    async with governed(tmp_path, HELD) as (orchestrator, servers):
        release, answers = anyio.Event(), []

        async def pay(arguments: dict[str, Any]) -> Outcome:
            await release.wait()
            return succeeded(id="P1")

        async def call() -> None:
            answers.append(await orchestrator.call_tool("s", "bank.pay", PAY))

        servers.offer("bank.pay", pay)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(call)
            await repeated(orchestrator, 4)
            release.set()
        assert [one.result for one in answers] == [{"id": "P1"}] * 5
        assert sorted(one.how for one in answers) == ["", *["attached"] * 4]
        assert len(servers.calls) == 1
        assert len({one.call_id for one in answers}) == 5
        follow_history(orchestrator)


async def test_of_a_caller_that_goes_away_those_attached_learn_that_nothing_is_known(
    tmp_path: Path,
) -> None:
    async with governed(tmp_path, HELD) as (orchestrator, servers):

        async def pay(arguments: dict[str, Any]) -> Outcome:
            await anyio.sleep_forever()
            return succeeded()

        servers.offer("bank.pay", pay)
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        owner, answers = anyio.CancelScope(), []

        async def first() -> None:
            with owner:
                await orchestrator.call_tool("s", "bank.pay", PAY)

        async def second() -> None:
            answers.append(await orchestrator.call_tool("s", "bank.pay", PAY))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            await servers.arrived.wait()
            tasks.start_soon(second)
            await repeated(orchestrator, 1)
            owner.cancel()
        assert [(one.status, one.how) for one in answers] == [("unknown", "attached")]


async def test_a_repeat_within_the_window_is_given_the_recorded_outcome(tmp_path: Path) -> None:
    clock = Clock()
    async with governed(tmp_path, HELD, clock=clock) as (orchestrator, servers):
        servers.offer("bank.pay", lambda _: succeeded(id="P1"))
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        first = await orchestrator.call_tool("s", "bank.pay", PAY)
        clock.advance(seconds=30)
        again = await orchestrator.call_tool("s", "pay", PAY)
        assert (again.result, again.how, again.repeats) == ({"id": "P1"}, "replayed", first.call_id)
        clock.advance(seconds=1)
        assert (await orchestrator.call_tool("s", "bank.pay", PAY)).decision.rule == "done"
        stranger = await orchestrator.call_tool("s", "bank.pay", PAY, principal="eve")
        assert stranger.decision.rule == "owner"
        assert len(servers.calls) == 1
        follow_history(orchestrator)


async def test_a_repeat_that_is_legal_now_is_a_new_call(tmp_path: Path) -> None:
    body = """
tools: {always: [bank.look]}
steps:
  one: {tool: bank.pay}
  two: {tool: bank.pay, needs: one}
  wait: {tool: bank.wait, repeat: {max: 3, until: result.done}}
"""
    async with governed(tmp_path, body) as (orchestrator, servers):
        servers.offer("bank.wait", lambda _: succeeded(done=len(servers.calls) > 5))
        servers.offer("bank.look")
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        for tool in ("look", "look", "pay", "pay", "wait", "wait"):
            answer = await orchestrator.call_tool("s", f"bank.{tool}", {})
            assert (answer.status, answer.how) == ("succeeded", "")
        assert len(servers.calls) == 6


async def test_nothing_of_an_earlier_run_or_round_answers_for_a_later_one(tmp_path: Path) -> None:
    body = """
steps:
  prepare: {tool: bank.prepare}
  pay: {tool: bank.pay, needs: prepare}
"""
    async with governed(tmp_path, body) as (orchestrator, servers):
        for _ in range(2):
            await orchestrator.start_workflow("tiny", {}, session_id="s")
            answer = await orchestrator.call_tool("s", "bank.pay", {})
            assert answer.decision.rule == "needs"
            await orchestrator.call_tool("s", "bank.prepare", {})
            await orchestrator.call_tool("s", "bank.pay", {})
        assert len(servers.calls) == 4


async def test_a_result_that_was_too_large_to_record_cannot_be_given_again(tmp_path: Path) -> None:
    async with governed(tmp_path, HELD) as (orchestrator, servers):
        servers.offer("bank.pay", lambda _: succeeded(text="x" * 100_000))
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        await orchestrator.call_tool("s", "bank.pay", PAY)
        again = await orchestrator.call_tool("s", "bank.pay", PAY)
        assert again.how == "replayed"
        assert isinstance(again.outcome, Succeeded)
        assert "too large" in again.outcome.result["content"][0]["text"]


async def test_a_clients_key_makes_a_call_once_however_late_it_is_repeated(tmp_path: Path) -> None:
    rules = "rules: house\nversion: 1.0.0\ntools: {allow: [bank.pay]}\n"
    clock = Clock()
    servers = Lossy()
    servers.offer("bank.pay", lambda _: succeeded(n=len(servers.calls)))
    async with governed(tmp_path, rules=rules, clock=clock, servers=servers) as (orchestrator, _):

        async def pay(key: str, **arguments: Any) -> CallAnswer:
            clock.advance(hours=1)
            return await orchestrator.call_tool("s", "bank.pay", arguments, meta={KEY: key, "a": 1})

        assert (await pay("k1", n=1)).result == {"n": 1}
        again = await pay("k1", n=1)
        assert (again.result, again.how) == ({"n": 1}, "replayed")
        wrong = await pay("k1", n=2)
        assert wrong.decision.rule == "idempotency_key"
        assert "another one" in wrong.reason
        assert (await pay("k2", n=1)).result == {"n": 2}
        assert servers.metas == [{"a": 1}, {"a": 1}]
        for unusable in ("", "x" * 256, "a\nb"):
            assert (await pay(unusable, n=3)).decision.rule == "idempotency_key"
        assert len(servers.calls) == 2
        follow_history(orchestrator)


async def test_a_key_that_looks_like_a_secret_is_refused(tmp_path: Path) -> None:
    """It would be recorded as a mark, by which nobody could know it again."""
    rules = "rules: house\nversion: 1.0.0\ntools: {allow: [bank.pay]}\n"
    servers = FakeServers()
    servers.offer("bank.pay")
    async with governed(tmp_path, rules=rules, servers=servers) as (orchestrator, _):
        meta = {KEY: f"ghp_{'a' * 36}"}
        answer = await orchestrator.call_tool("s", "bank.pay", {}, meta=meta)
        assert (answer.decision.rule, servers.calls) == ("idempotency_key", [])
        assert "looks like a secret" in answer.reason


async def test_a_key_of_unknown_outcome_is_known_however_many_came_after(tmp_path: Path) -> None:
    rules = "rules: house\nversion: 1.0.0\ntools: {allow: [bank.pay, bank.get]}\n"
    servers = FakeServers()
    servers.offer("bank.pay", lambda _: LOST)
    servers.offer("bank.get")
    async with governed(tmp_path, rules=rules, servers=servers) as (orchestrator, _):
        await orchestrator.call_tool("s", "bank.pay", PAY, meta={KEY: "k"})
        for number in range(60):
            await orchestrator.call_tool("s", "bank.get", {}, meta={KEY: f"k{number}"})
        again = await orchestrator.call_tool("s", "bank.pay", PAY, meta={KEY: "k"})
        assert (again.status, again.how) == ("unknown", "replayed")
        assert Counter(tool for tool, _ in servers.calls)["bank.pay"] == 1
        follow_history(orchestrator)


async def test_a_repeat_of_a_call_that_a_person_changed_says_so(tmp_path: Path) -> None:
    body = """
roles: [boss]
steps:
  ask: {approval: {roles: [boss], timeout: 4h}}
  pay: {tool: bank.pay, needs: ask}
"""
    async with governed(tmp_path, body) as (orchestrator, servers):
        people = orchestrator.people
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        await orchestrator.call_tool("s", "bank.pay", PAY)
        (view,) = await people.approvals()
        digest = view.calls[0].digest
        await people.edit(view.approval_id, ALICE, view.content, digest, {**PAY, "amount": 4})
        (view,) = await people.approvals()
        await people.approve(view.approval_id, BOB, view.content)
        first = await orchestrator.call_tool("s", "bank.pay", PAY)
        assert (first.status, first.note) == ("succeeded", "")
        again = await orchestrator.call_tool("s", "bank.pay", PAY)
        assert again.how == "replayed"
        assert '"amount": 4' in again.note
        assert len(servers.calls) == 1


async def test_what_a_session_remembers_of_ended_calls_is_bounded(tmp_path: Path) -> None:
    rules = "rules: house\nversion: 1.0.0\ntools: {allow: [bank.pay]}\n"
    servers = FakeServers()
    servers.offer("bank.pay")
    async with governed(tmp_path, rules=rules, servers=servers) as (orchestrator, _):
        for number in range(70):
            key = {KEY: f"k{number}"} if number % 7 else None
            await orchestrator.call_tool("s", "bank.pay", {"n": number}, meta=key)
        progress = await orchestrator.ledger.look("s")
        assert progress is not None
        kept = progress.state.recent
        assert [one.key for one in kept if one.key] == [f"k{n}" for n in range(70) if n % 7][-50:]
        assert sum(one.key is None for one in kept) == 10


async def test_a_free_call_that_nobody_was_told_of_is_not_made_again_at_once(
    tmp_path: Path,
) -> None:
    rules = "rules: house\nversion: 1.0.0\ntools: {allow: [bank.pay]}\n"
    servers = FakeServers()

    async def forever(arguments: dict[str, Any]) -> Outcome:
        await anyio.sleep_forever()
        return succeeded()

    servers.offer("bank.pay", forever)
    async with governed(tmp_path, rules=rules, servers=servers) as (orchestrator, _):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(orchestrator.call_tool, "s", "bank.pay", PAY)
            await servers.arrived.wait()
            tasks.cancel_scope.cancel()
        again = await orchestrator.call_tool("s", "bank.pay", PAY)
        assert (again.status, again.how, len(servers.calls)) == ("unknown", "replayed", 1)


async def test_what_another_process_is_doing_is_not_repeated(tmp_path: Path) -> None:
    servers = FakeServers()
    release = anyio.Event()

    async def pay(arguments: dict[str, Any]) -> Outcome:
        await release.wait()
        return succeeded()

    servers.offer("bank.pay", pay)
    async with governed(tmp_path, HELD, servers=servers) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(orchestrator.call_tool, "s", "bank.pay", PAY)
            await servers.arrived.wait()
            async with governed(tmp_path, HELD, servers=servers, node="node_2") as (other, _):
                answer = await other.call_tool("s", "bank.pay", PAY)
                assert answer.decision.rule == "running"
                assert "another process" in answer.reason
            release.set()
        assert len(servers.calls) == 1


# --- whatever happens ---------------------------------------------------------------------------


@dataclass
class Chaos:
    """Clients, servers and gateways that fail at random; a server counts what it really did."""

    rng: random.Random
    effects: Counter[str] = field(default_factory=Counter)

    async def tool(self, arguments: dict[str, Any]) -> Outcome:
        """Takes effect or not, answers or not, sooner or later."""
        for _ in range(self.rng.randrange(4)):
            await anyio.lowlevel.checkpoint()
        happens = self.rng.random() < 0.7
        if happens:
            self.effects[arguments["step"]] += 1
        for _ in range(self.rng.randrange(4)):
            await anyio.lowlevel.checkpoint()
        if self.rng.random() < 0.4:
            return LOST
        return succeeded() if happens else Unknown("connection_lost", "gone")

    async def client(self, orchestrator: Orchestrator, session: str) -> None:
        for _ in range(self.rng.randrange(1, 6)):
            step = self.rng.choice("ab")
            meta = {KEY: step} if self.rng.random() < 0.3 else None
            with anyio.move_on_after(self.rng.choice([0.0005, 0.002, 5])):
                await orchestrator.call_tool(session, f"t.{step}", {"step": step}, meta=meta)


@pytest.mark.parametrize("seed", range(25))
async def test_under_hold_a_step_has_at_most_one_effect_whatever_happens(
    tmp_path: Path, seed: int
) -> None:
    chaos = Chaos(random.Random(seed))
    body = "steps:\n  a: {tool: t.a}\n  b: {tool: t.b, needs: a}\n"
    clock, ids = Clock(), Ids()
    for round_ in range(3):
        servers = Lossy()
        for tool in ("t.a", "t.b"):
            servers.offer(tool, chaos.tool)
        async with governed(
            tmp_path, body, servers=servers, clock=clock, node=f"node_{round_}", ids=ids
        ) as (orchestrator, _):
            if round_ == 0:
                await orchestrator.start_workflow("tiny", {}, session_id="s")
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(chaos.client, orchestrator, "s")
            for late in servers.unanswered:
                if chaos.rng.random() < 0.5:
                    await late(succeeded(), 9.0)
            follow_history(orchestrator)
            clock.advance(seconds=chaos.rng.choice([1, 60]))
            done = [one for one in events_of(orchestrator, "s") if isinstance(one, e.StepSucceeded)]
            assert max(chaos.effects.values(), default=0) <= 1
            assert all(chaos.effects[one.step] == 1 for one in done)


# --- what a history cannot hold -----------------------------------------------------------------


async def history_of(tmp_path: Path) -> list[Any]:
    """A history with a late answer, a reading call and a repeat in it."""
    clock = Clock()
    async with governed(tmp_path, soon(RECONCILED), clock=clock, servers=Lossy()) as (
        orchestrator,
        servers,
    ):
        await lost_payment(orchestrator, servers, found=True, amount=5, payment={"id": "P7"})
        await paying(orchestrator, clock)
        await servers.late[0](succeeded(id="P7"), 9.0)
        await orchestrator.call_tool("s", "bank.pay", PAY)
        with orchestrator.store.reader() as reader:
            opened = [open_record(record.body) for record in reader.records("s")]
    return [(e.event_from(one.kind, one.data), one.at) for one in opened]


def first_problem(history: list[Any]) -> str:
    checked = History("s")
    for seq, (event, at) in enumerate(history, start=1):
        try:
            checked.take(seq, event, at)
        except ImpossibleEventError as error:
            return str(error)
    return ""


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("LateOutcome", {"call_id": "the reading"}, "never counted as unknown"),
        ("CallReconciled", {"by_call": "the payment"}, "cannot tell what became"),
        ("CallReconciled", {"call_id": "the reading"}, "did not wait to be settled"),
        ("CallRepeated", {"of": "call_9"}, "was never started"),
        ("CallRepeated", {"principal": "eve"}, "asked for otherwise"),
        ("CallRepeated", {"key": "k"}, "asked for otherwise"),
        ("CallRepeated", {"how": "attached"}, "had ended by then"),
        ("CallRepeated", {"call_id": "the payment"}, "was decided before"),
    ],
)
async def test_a_history_that_tells_otherwise_is_refused(
    tmp_path: Path, kind: str, changes: dict[str, Any], words: str
) -> None:
    history = await history_of(tmp_path)
    assert first_problem(history) == ""
    payment, reading = (one.call_id for one, _ in history if isinstance(one, e.CallStarted))
    names = {"the payment": payment, "the reading": reading}
    changes = {name: names.get(value, value) for name, value in changes.items()}
    at = next(n for n, (event, _) in enumerate(history) if e.event_kind(event) == kind)
    forged = [*history]
    forged[at] = (replace(history[at][0], **changes), history[at][1])
    assert words in first_problem(forged)


async def test_an_answer_comes_late_once(tmp_path: Path) -> None:
    history = await history_of(tmp_path)
    late = next(one for one in history if isinstance(one[0], e.LateOutcome))
    assert "a second time" in first_problem([*history, late])


async def test_a_reading_call_reads_what_the_intent_has_named(tmp_path: Path) -> None:
    history = await history_of(tmp_path)
    at = next(
        n
        for n, (event, _) in enumerate(history)
        if isinstance(event, e.CallStarted) and event.purpose == "reconcile"
    )
    history[at] = (replace(history[at][0], arguments={"reference": "R2"}), history[at][1])
    assert "does not wait for it" in first_problem(history)
