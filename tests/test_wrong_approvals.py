"""Attacks on approvals: none succeeds, and each is on record.

Whoever attacks has a token that is good for something else, or none, or only the tools that MCP
offers. After every attack the payment has not been made, and the record says who tried what.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest
from mcp import MCPError
from mcp_types import ElicitResult
from support.client import Servers, connected, text_of
from support.fakes import Clock, FakeServers
from support.gateway import events_of, governed
from support.project import Project

from mcpuppet.audit.verify import verify_store
from mcpuppet.errors import InvalidInputError, NotAuthorisedError, UnknownSessionError
from mcpuppet.gateway.tool_names import META_TOOLS
from mcpuppet.orchestrator import Orchestrator
from mcpuppet.people.deciding import People, Person
from mcpuppet.people.users import credential_of, token_hash
from mcpuppet.session import admin_events as a
from mcpuppet.session import events as e
from mcpuppet.store.sqlite_reader import open_view

pytestmark = pytest.mark.anyio

PAYMENT = """
roles: [boss]
inputs: {amount: {type: number}}
steps:
  ask: {approval: {roles: [boss], timeout: 4h, binds: [inputs.amount]}}
  pay: {tool: bank.pay, needs: ask, args: {amount: {type: number}, to: {type: string}}}
"""
ARGUMENTS: dict[str, Any] = {"amount": 10, "to": "Jane"}
ENOUGH = 3


@dataclass
class Bank:
    """A payment that waits for the boss, and everybody around it."""

    orchestrator: Orchestrator
    servers: FakeServers
    clock: Clock
    tokens: dict[str, str]
    approval_id: str = ""

    @property
    def people(self) -> People:
        return self.orchestrator.people

    async def person(self, name: str) -> Person:
        return await self.people.authenticate(self.tokens[name])

    async def content(self) -> str:
        return (await self.people.approval(self.approval_id)).content

    async def approve(self, name: str) -> None:
        content = await self.content()
        await self.people.approve(self.approval_id, await self.person(name), content)

    async def pay(self, session_id: str = "s", **changes: Any) -> str:
        answer = await self.orchestrator.call_tool(session_id, "bank.pay", {**ARGUMENTS, **changes})
        return answer.status

    @property
    def paid(self) -> int:
        return len(self.servers.calls)

    def refusals(self, session_id: str = "s") -> list[a.DecisionRefused]:
        """Every attempt that was refused, as the session or the administration log tells."""
        found = events_of(self.orchestrator, session_id)
        return [one for one in found if isinstance(one, a.DecisionRefused)]

    def kinds(self, session_id: str = "s") -> Counter[str]:
        return Counter(type(one).__name__ for one in events_of(self.orchestrator, session_id))


@asynccontextmanager
async def bank(folder: Path, flow: str = PAYMENT) -> AsyncIterator[Bank]:
    clock = Clock(datetime.now(UTC))
    async with governed(folder, flow, clock=clock) as (orchestrator, servers):
        people = orchestrator.people
        tokens = {"root": await people.add_user("root", ("boss",))}
        root = await people.authenticate(tokens["root"])
        for name, role in (("ann", "boss"), ("bob", "boss"), ("eve", "intern")):
            tokens[name] = await people.add_user(name, (role,), root)
        made = Bank(orchestrator, servers, clock, tokens)
        made.approval_id = await asked(made, "s")
        yield made


async def asked(one: Bank, session_id: str) -> str:
    await one.orchestrator.start_workflow("tiny", {"amount": 10}, session_id=session_id)
    assert await one.pay(session_id) == "awaiting_approval"
    view = await one.orchestrator.status(session_id)
    return view.approvals[0].approval_id


# --- ten attacks --------------------------------------------------------------------------------


async def test_self_approval(tmp_path: Path) -> None:
    """Whoever asked holds the right role and a token that says so, and still may not decide."""
    async with bank(tmp_path) as one:
        agent = Person("agent", frozenset({"boss"}), "0" * 12)
        for decide in (
            one.people.approve(one.approval_id, agent, await one.content()),
            one.people.edit(one.approval_id, agent, await one.content(), "", {"amount": 1}),
        ):
            with pytest.raises(NotAuthorisedError, match="asked for this"):
                await decide
        assert await one.pay() == "awaiting_approval"
        assert [(r.action, r.by, r.target) for r in one.refusals()] == [
            ("approve", "agent", one.approval_id),
            ("edit", "agent", one.approval_id),
        ]


async def test_a_grant_that_is_used_twice(tmp_path: Path) -> None:
    async with bank(tmp_path) as one:
        await one.approve("ann")
        assert await one.pay() == "succeeded"
        one.clock.advance(hours=1)  # past the time in which a repeat is answered from the record
        assert await one.pay() == "denied"
        assert one.paid == 1
        assert one.kinds()["CallStarted"] == 1
        assert one.kinds()["CallDenied"] == 1


async def test_arguments_changed_after_the_approval(tmp_path: Path) -> None:
    async with bank(tmp_path) as one:
        await one.approve("ann")
        for change in ({"to": "Mallory"}, {"amount": 10_000}, {"amount": "10"}, {"more": 1}):
            assert await one.pay(**change) == "denied"
        assert one.paid == 0
        assert one.kinds()["CallDenied"] == 4
        assert await one.pay() == "succeeded"


async def test_a_grant_of_another_session(tmp_path: Path) -> None:
    async with bank(tmp_path) as one:
        other = await asked(one, "other")
        await one.approve("ann")
        assert await one.pay("other") == "awaiting_approval"
        view = await one.people.approval(other)
        with pytest.raises(InvalidInputError):
            await one.people.approve(one.approval_id, await one.person("ann"), view.content)
        assert one.paid == 0
        assert one.kinds("other")["ApprovalGranted"] == 0
        assert [r.by for r in one.refusals(a.ADMINISTRATION)] == ["ann"]


async def test_an_approval_that_has_expired(tmp_path: Path) -> None:
    async with bank(tmp_path) as one:
        content = await one.content()
        ann = await one.person("ann")
        one.clock.advance(hours=4)
        with pytest.raises(InvalidInputError, match="not open any more"):
            await one.people.approve(one.approval_id, ann, content)
        assert await one.pay() == "denied"
        assert one.kinds()["ApprovalExpired"] == 1
        assert one.kinds()["ApprovalVoted"] == 0
        (refused,) = one.refusals(a.ADMINISTRATION)
        assert (refused.action, refused.target) == ("approve", one.approval_id)


async def test_the_wrong_role(tmp_path: Path) -> None:
    async with bank(tmp_path) as one:
        eve, content = await one.person("eve"), await one.content()
        with pytest.raises(NotAuthorisedError, match="lacks the role boss"):
            await one.people.approve(one.approval_id, eve, content)
        with pytest.raises(NotAuthorisedError, match="lacks the role boss"):
            await one.people.approve(
                one.approval_id, replace(eve, roles=frozenset({"boss"})), content
            )
        assert await one.pay() == "awaiting_approval"
        (refused,) = one.refusals()  # the same twice within a minute is recorded once
        assert refused.credential == credential_of(one.tokens["eve"])
        assert (refused.by, refused.channel) == ("eve", "cli")


async def test_a_double_vote(tmp_path: Path) -> None:
    flow = PAYMENT.replace("timeout: 4h", "timeout: 4h, quorum: 2")
    async with bank(tmp_path, flow) as one:
        await one.approve("ann")
        with pytest.raises(NotAuthorisedError, match="approved this already"):
            await one.approve("ann")
        rotated = await one.people.users.rotate("ann", await one.person("ann"))
        again = await one.people.authenticate(rotated)
        with pytest.raises(NotAuthorisedError, match="approved this already"):
            await one.people.approve(one.approval_id, again, await one.content())
        assert await one.pay() == "awaiting_approval"
        assert one.kinds()["ApprovalVoted"] == 1
        assert [r.credential for r in one.refusals()] == [
            credential_of(one.tokens["ann"]),
            credential_of(rotated),
        ]


async def test_approving_after_a_denial(tmp_path: Path) -> None:
    async with bank(tmp_path) as one:
        content, ann = await one.content(), await one.person("ann")
        bob = await one.person("bob")
        await one.people.deny(one.approval_id, bob, "never heard of Jane")
        with pytest.raises(InvalidInputError, match="is open"):
            await one.people.approve(one.approval_id, ann, content)
        assert await one.pay() == "denied"
        assert one.kinds()["ApprovalGranted"] == 0
        assert [r.by for r in one.refusals(a.ADMINISTRATION)] == ["ann"]


async def test_a_disabled_person(tmp_path: Path) -> None:
    """Neither their token, nor what it was checked for, nor a vote of theirs is worth anything."""
    flow = PAYMENT.replace("timeout: 4h", "timeout: 4h, quorum: 2")
    async with bank(tmp_path, flow) as one:
        eve_before = await one.person("ann")
        await one.approve("ann")
        root = await one.person("root")
        await one.people.users.disable("ann", "left the bank", root)
        with pytest.raises(NotAuthorisedError):
            await one.person("ann")
        with pytest.raises(NotAuthorisedError, match="has been disabled"):
            await one.people.deny(one.approval_id, eve_before, "no")
        await one.approve("bob")
        assert await one.pay() == "awaiting_approval"
        assert (await one.people.approval(one.approval_id)).void_votes == ("ann",)
        await one.approve("root")
        assert await one.pay() == "succeeded"
        (granted,) = [
            x for x in events_of(one.orchestrator, "s") if isinstance(x, e.ApprovalGranted)
        ]
        assert granted.by == ("bob", "root")
        assert [(r.action, r.by) for r in one.refusals()] == [("deny", "ann")]
        assert [(r.action, r.by) for r in one.refusals(a.ADMINISTRATION)] == [
            ("authenticate", "ann")
        ]


async def test_the_digest_of_something_else(tmp_path: Path) -> None:
    async with bank(tmp_path) as one:
        other = await asked(one, "other")
        stolen = (await one.people.approval(other)).content
        ann = await one.person("ann")
        for content in (stolen, "", "0" * 64):
            with pytest.raises(InvalidInputError, match="shows something else"):
                await one.people.approve(one.approval_id, ann, content)
        assert await one.pay() == "awaiting_approval"
        assert one.kinds()["ApprovalVoted"] == 0
        assert [(r.action, r.by) for r in one.refusals()] == [("approve", "ann")]
        one.clock.advance(minutes=1)
        with pytest.raises(InvalidInputError):
            await one.people.approve(one.approval_id, ann, stolen)
        assert len(one.refusals()) == 2


async def test_a_token_that_belongs_to_nobody(tmp_path: Path) -> None:
    async with bank(tmp_path) as one:
        with pytest.raises(NotAuthorisedError):
            await one.people.authenticate("mcpp_guessed", "approve", one.approval_id)
        (refused,) = one.refusals(a.ADMINISTRATION)
        assert (refused.action, refused.target, refused.by) == ("approve", one.approval_id, "")
        assert refused.credential == credential_of("mcpp_guessed")
        assert one.refusals() == []


async def test_the_administration_log_is_no_session_to_decide_on(tmp_path: Path) -> None:
    async with bank(tmp_path) as one:
        ann = await one.person("ann")
        for decide in (
            one.people.reopen_inputs(a.ADMINISTRATION, ann, "why not"),
            one.people.cancel(a.ADMINISTRATION, ann, "why not"),
            one.people.resolve(a.ADMINISTRATION, "call_1", ann, True, "why not"),
        ):
            with pytest.raises(UnknownSessionError):
                await decide
        actions = [one.action for one in one.refusals(a.ADMINISTRATION)]
        assert actions == ["reopen", "cancel", "resolve"]
        assert "InputsReopened" not in one.kinds(a.ADMINISTRATION)


# --- what is not shown, and who is not told apart -----------------------------------------------

HIDDEN = "Jane -----BEGIN PRIVATE KEY-----"


@pytest.mark.parametrize("to", [HIDDEN, "Jane [secret:private-key]"])
async def test_what_people_cannot_be_shown_they_are_not_asked_about(
    tmp_path: Path, to: str
) -> None:
    """Everything after a key's first line is a mark for people; another call has the same one."""
    async with bank(tmp_path) as one:
        await one.orchestrator.start_workflow("tiny", {"amount": 10}, session_id="t")
        assert await one.pay("t", to=to) == "denied"
        (view,) = (await one.orchestrator.status("t")).approvals
        assert view.calls == ()
        (denied,) = [x for x in events_of(one.orchestrator, "t") if isinstance(x, e.CallDenied)]
        assert "looks like a secret" in denied.reason


async def test_an_approved_call_does_not_cover_one_with_a_secret(tmp_path: Path) -> None:
    async with bank(tmp_path) as one:
        await one.approve("ann")
        assert await one.pay(to=f"{HIDDEN}; and Mallory") == "denied"
        assert one.paid == 0


async def test_nobody_edits_a_secret_into_a_call(tmp_path: Path) -> None:
    async with bank(tmp_path) as one:
        view = await one.people.approval(one.approval_id)
        edited = {**ARGUMENTS, "to": HIDDEN}
        with pytest.raises(InvalidInputError, match="looks like a secret"):
            await one.people.edit(
                one.approval_id,
                await one.person("ann"),
                view.content,
                view.calls[0].digest,
                edited,
            )


@pytest.mark.parametrize(
    "name",
    [
        *("Ann", "ann\ufe0f", "an\u034fn", "\u0430nn", "\uff41nn", "an\u3164n"),
        *(
            "mcpp_" + "a" * 43,
            "agent",
            "Agent",
            "User of agent",
            "user  of agent",
            "Time",
            "administration",
        ),
    ],
)
async def test_a_name_that_reads_like_another_is_refused(tmp_path: Path, name: str) -> None:
    async with bank(tmp_path) as one:
        with pytest.raises(InvalidInputError):
            await one.people.add_user(name, ("boss",), await one.person("root"))


@pytest.mark.parametrize("name", ["Zo\u00eb", "\u0410\u043d\u043d\u0430", "O'Neil 2", "annette"])
async def test_other_names_are_names(tmp_path: Path, name: str) -> None:
    async with bank(tmp_path) as one:
        assert await one.people.add_user(name, ("boss",), await one.person("root"))


# --- a store that is older than its administration log ------------------------------------------


def slip_in(folder: Path, name: str, role: str, disabled: int = 0) -> None:
    connection = apsw.Connection(str(folder / "mcpuppet.db"))
    row = (name, f'["{role}"]', token_hash(f"token of {name}"), disabled)
    connection.execute("INSERT INTO user VALUES(?, ?, ?, ?, 1)", row)
    connection.close()


async def test_people_of_an_older_store_are_recorded_with_the_first_change(
    tmp_path: Path,
) -> None:
    async with governed(tmp_path, PAYMENT) as (orchestrator, _):
        people, reader = orchestrator.people, orchestrator.store.reader
        await orchestrator.start_workflow("tiny", {"amount": 1}, session_id="s")
        for name, role, disabled in (("ann", "boss", 0), ("old", "boss", 1), ("root", "admin", 0)):
            slip_in(tmp_path, name, role, disabled)
        breaks = verify_store(reader).breaks
        assert len(breaks) == 3
        assert all("user rotate" in str(one) for one in breaks)
        ann = await people.authenticate("token of ann")
        with pytest.raises(InvalidInputError, match="an admin has to make the first change"):
            await people.users.rotate("ann", ann)
        await people.users.rotate("root", await people.authenticate("token of root"))
        assert verify_store(reader).breaks == ()
        await people.users.rotate("ann", ann)
        added = [x for x in events_of(orchestrator, a.ADMINISTRATION) if isinstance(x, a.UserAdded)]
        assert [(x.name, x.by) for x in added] == [("root", None), ("ann", "root"), ("old", "root")]
        assert {x.note for x in added} == {"was in the store before it had an administration log"}
        assert verify_store(reader).breaks == ()


async def test_nobody_who_was_slipped_in_later_is_recorded_so(tmp_path: Path) -> None:
    async with bank(tmp_path) as one:
        slip_in(tmp_path, "mallory", "admin")
        mallory = await one.people.authenticate("token of mallory")
        await one.people.add_user("accomplice", ("boss",), mallory)
        words = " ".join(map(str, verify_store(one.orchestrator.store.reader).breaks))
        assert "'mallory' is in the store, and no record tells" in words
        assert "'mallory' changes people, and was no admin then" in words


# --- through MCP --------------------------------------------------------------------------------

GUESSES = ("approve", "mcpuppet.approve", "workflow_approve", "confirm", "vote", "bypass", "admin")


async def test_no_tool_that_mcp_offers_decides(tmp_path: Path) -> None:
    """Every tool is called with everything that could mean a decision, and so are guessed names."""

    async def yes(context: Any, params: Any) -> ElicitResult:
        questions.append(params.message)
        return ElicitResult(action="accept", content={"approve": True})

    questions: list[str] = []
    servers = Servers()
    servers.offer("bank.pay")
    async with (
        governed(tmp_path, PAYMENT, servers=servers, clock=Clock()) as (orchestrator, _),
        connected(orchestrator, servers, elicitation=yes) as desk,
    ):
        await desk.start("tiny", amount=10)
        waiting = await desk.call("pay", **ARGUMENTS)
        assert "Awaiting approval" in text_of(waiting)
        (view,) = await orchestrator.people.approvals()
        hostile = {
            "approval_id": view.approval_id,
            "digest": view.content,
            "approve": True,
            "by": "ann",
            "role": "boss",
        }
        for tool in (*META_TOOLS, *GUESSES, "pay"):
            for arguments in (
                hostile,
                {"workflow": "tiny", "inputs": hostile},
                {"tool": "approve", "arguments": hostile},
                {"tool": "bank.pay", "arguments": {**ARGUMENTS, **hostile}},
                {"tool": "workflow_act", "arguments": hostile},
                {**ARGUMENTS, "_meta": hostile},
            ):
                await attempt(desk, tool, arguments)
        assert questions == []  # the step does not name `elicit`
        assert servers.calls == []
        kinds = Counter(type(one) for one in desk.events())
        assert not kinds[e.ApprovalVoted]
        assert not kinds[e.ApprovalGranted]
        assert kinds[e.CallDenied] >= len(GUESSES)
        (still,) = await orchestrator.people.approvals()
        assert still.approved_by == ()


async def attempt(desk: Any, tool: str, arguments: dict[str, Any]) -> None:
    with suppress(MCPError):  # an unknown tool is an error of the protocol
        await desk.call(tool, **arguments)


# --- a race -------------------------------------------------------------------------------------

RACERS = 8
RACES = {
    f"race{quorum}": f"""mcpuppet: 1
workflow: race{quorum}
version: 1.0.0
roles: [boss]
steps:
  ask: {{approval: {{roles: [boss], timeout: 4h, quorum: {quorum}}}}}
  pay: {{tool: bank.pay, needs: ask}}
"""
    for quorum in (1, ENOUGH)
}
RACER = """
import asyncio, sys, time
from pathlib import Path
from mcpuppet.app import open_desk
from mcpuppet.errors import MCPuppetError
from mcpuppet.settings import load_settings

async def main():
    settings = load_settings(Path("mcpuppet.yaml"))
    async with open_desk(settings) as desk:
        person = await desk.people.authenticate(sys.argv[1])
        shown = [(one, (await desk.people.approval(one)).content) for one in sys.argv[2:]]
        print("ready", flush=True)
        sys.stdin.readline()
        for approval, content in shown:
            try:
                await desk.people.approve(approval, person, content)
                print("voted", flush=True)
            except MCPuppetError:
                print("refused", flush=True)

asyncio.run(main())
"""


def test_eight_processes_approve_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One grant each, by exactly as many people as are needed, and one payment each."""
    (tmp_path / "mcpuppet.yaml").write_text("store: mcpuppet.db\n")
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path)
    approvals = asyncio.run(at_the_gateway(tmp_path, opened))
    tokens = [project.user(f"person{number}") for number in range(RACERS)]
    racers = [racer(tmp_path, token, approvals) for token in tokens]
    for one in racers:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in racers:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    said = Counter(line for one in racers for line in one.communicate(timeout=60)[0].split())
    refused = 2 * RACERS - 1 - ENOUGH
    assert said == {"voted": 1 + ENOUGH, "refused": refused}
    kinds = {name: Counter(project.kinds(name)) for name in (*RACES, a.ADMINISTRATION)}
    for quorum in (1, ENOUGH):
        found = kinds[f"race{quorum}"]
        assert (found["ApprovalVoted"], found["ApprovalGranted"]) == (quorum, 1)
    assert sum(one["DecisionRefused"] for one in kinds.values()) == refused
    assert verify_store(lambda: open_view(tmp_path / "mcpuppet.db")).breaks == ()
    assert asyncio.run(at_the_gateway(tmp_path, paid)) == ["bank.pay"] * 2


def racer(folder: Path, token: str, approvals: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RACER, token, *approvals],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


async def at_the_gateway(
    folder: Path, work: Callable[[Orchestrator, FakeServers], Awaitable[list[str]]]
) -> list[str]:
    clock = Clock(datetime.now(UTC))
    async with governed(folder, *RACES.values(), clock=clock) as (orchestrator, servers):
        return await work(orchestrator, servers)


async def opened(orchestrator: Orchestrator, _: FakeServers) -> list[str]:
    for name in RACES:
        await orchestrator.start_workflow(name, {}, session_id=name)
        assert (await orchestrator.call_tool(name, "bank.pay", {})).status == "awaiting_approval"
    return [view.approval_id for view in await orchestrator.people.approvals()]


async def paid(orchestrator: Orchestrator, servers: FakeServers) -> list[str]:
    """The same call eight times at once, in each of the two sessions."""
    async with anyio.create_task_group() as tasks:
        for name in RACES:
            for _ in range(RACERS):
                tasks.start_soon(orchestrator.call_tool, name, "bank.pay", {})
    return [tool for tool, _ in servers.calls]
