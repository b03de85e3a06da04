"""Real histories in a real store: the shipped workflows driven through the pure core.

Three sessions: `onboarding` completes after a denied call, an approval and a retried failure;
`payment` has a bypass, and a transfer whose outcome a person had to settle; `emergency` lets an
approval expire, is rejected by time, and starts a second run with a call still open.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw

from mcpuppet.audit.reader import Disclosure, KnownUser, SessionReader
from mcpuppet.audit.record import GENESIS, Record, open_record, seal
from mcpuppet.ledger import session_index
from mcpuppet.library import check_files, compile_files
from mcpuppet.session import events as e
from mcpuppet.session.asked import Circumstances, refused_call, settings_read
from mcpuppet.session.call import Call, Principal
from mcpuppet.session.consequences import Progress, Source
from mcpuppet.session.decision import Allowed, ApprovalNeeded, Books, Denied, decide
from mcpuppet.session.intent import start_call
from mcpuppet.session.outcome import Outcome, Unknown
from mcpuppet.session.snapshot import dump_state
from mcpuppet.session.state import ApprovalState, SessionState
from mcpuppet.store.protocol import NEW_SESSION, NewRecord
from mcpuppet.store.sqlite import SqliteStore
from mcpuppet.store.sqlite_reader import open_view
from mcpuppet.workflow.compiler import CompiledWorkflow
from support.fakes import Clock, Ids, failed, succeeded
from support.play import Play

WORKFLOWS = compile_files(check_files([Path(__file__).parents[2] / "workflows"]))
ROLES = frozenset({"onboarding_agent", "payments_agent", "responder", "data_agent"})
AGENT = Principal("agent", ROLES)
SETTINGS = "5" * 64
CUSTOMER = {"name": "John Doe", "email": "john@example.com"}
PAYMENT = {"amount": 1200.5, "payee": "DE89370400440532013000"}
INCIDENT = {"severity": "sev2", "summary": "Odd log-ins", "host": "web-1", "service": "shop"}


class Story:
    """One session: every act is one cause, whose events are appended together."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.clock = Clock()
        self.acts: list[tuple[list[e.Event], datetime, SessionState]] = []
        self.workflow: CompiledWorkflow | None = None
        self._ids = Ids()
        self._calls = itertools.count(1)
        self._state: SessionState | None = None

    @property
    def state(self) -> SessionState:
        assert self._state is not None
        return self._state

    def act(self, work: Callable[[Progress], object]) -> None:
        source = Source(self.clock(), self._new_id, lambda: 0.5)
        progress = Progress(self.session_id, self._state, self.workflow, source)
        work(progress)
        self._state = progress.state
        self.acts.append((progress.events, self.clock(), progress.state))
        self.clock.advance(seconds=1)

    def _new_id(self, kind: str) -> str:
        return f"{self._ids(kind)}_{self.session_id}"  # a store knows an approval by its id alone

    def begin(self, workflow: str, inputs: dict[str, Any]) -> None:
        started = WORKFLOWS[workflow]

        def start(progress: Progress) -> None:
            progress.open_session(AGENT.name, SETTINGS)
            progress.start_run(started, inputs, AGENT.name)

        self.act(start)
        self.workflow = started

    def ask(self, tool: str, **arguments: Any) -> str:
        """Ask to call a tool, and record what is decided; gives the call's id."""
        call_id = f"call_{next(self._calls)}"
        call = Call(tool, arguments)
        self.act(lambda progress: self._decide(progress, call_id, call))
        return call_id

    def _decide(self, progress: Progress, call_id: str, call: Call) -> None:
        assert self.workflow is not None
        decision = decide(self.workflow, self.state, call, AGENT, self.clock())
        read = settings_read(SETTINGS, AGENT, Books(self.workflow), idle=progress.run is None)
        there = Circumstances("node", "api", read)
        match decision:
            case Allowed():
                start_call(progress, call_id, call, AGENT, decision, there)
            case ApprovalNeeded() | Denied():
                told = (call_id, call, AGENT)
                progress.emit(refused_call(self.state, *told, decision, there))

    def end(self, call_id: str, outcome: Outcome, seconds: float = 0.25) -> None:
        self.act(lambda progress: progress.call_ended(call_id, outcome, seconds))

    def call(self, tool: str, outcome: Outcome, seconds: float = 0.25, **arguments: Any) -> str:
        """A call that must be allowed, and its outcome."""
        call_id = self.ask(tool, **arguments)
        self.end(call_id, outcome, seconds)
        return call_id

    def approval(self) -> ApprovalState:
        run = self.state.active_run
        assert run is not None
        return next(one for one in run.approvals.values() if one.status == "open")

    def vote(self, person: str) -> None:
        approval = self.approval()
        self.act(lambda progress: progress.voted(approval, person, "c" * 64, "cli"))

    def bypass(self, person: str, justification: str) -> None:
        approval = self.approval()
        self.act(lambda progress: progress.bypassed(approval, person, justification))

    def resolve(self, call_id: str, happened: bool, person: str, note: str) -> None:
        self.act(lambda progress: progress.resolved(call_id, happened, person, note))

    def later(self, **parts: float) -> None:
        self.clock.advance(**parts)
        self.act(lambda progress: progress.time_passed())


def onboarding() -> Story:
    story = Story("onboarding")
    story.begin("customer_onboarding", CUSTOMER)
    story.ask("customer.create_account", **CUSTOMER)  # denied: not validated
    story.call("customer.get_customer", succeeded(found=False), customer="c1")
    story.call("customer.validate_customer", succeeded(complete=True, risk="high"), **CUSTOMER)
    story.ask("customer.create_account", **CUSTOMER)  # shown to compliance
    story.clock.advance(minutes=5)
    story.vote("carol")
    story.call("customer.create_account", succeeded(account_id="acc_1"), 1.5, **CUSTOMER)
    story.call("data.backup_data", failed("disk full"), 0.5, label="acc_1")
    story.clock.advance(seconds=5)
    story.call("data.backup_data", succeeded(), 2.0, label="acc_1")
    story.call("customer.send_notification", succeeded(), 0.1, email=CUSTOMER["email"])
    return story


def payment() -> Story:
    story = Story("payment")
    story.begin("financial_processing", PAYMENT)
    story.call("finance.fraud_check", succeeded(score=0.1), **PAYMENT)
    story.vote("fay")
    story.bypass("ivan", "the bank closes in four minutes")
    lost = Unknown("timeout", "no answer within 60 s")
    transfer = story.call("finance.transfer_funds", lost, 60.0, **PAYMENT)
    story.clock.advance(minutes=1)
    story.resolve(transfer, True, "fay", "seen on the bank statement")
    story.call("finance.write_audit", succeeded(), entry="payment to DE89370400440532013000")
    return story


def emergency() -> Story:
    story = Story("emergency")
    story.begin("emergency_response", INCIDENT)
    story.call(
        "operations.page_oncall", failed("pager down"), severity="sev2", summary="Odd log-ins"
    )
    story.clock.advance(seconds=5)
    story.call("operations.page_oncall", succeeded(), severity="sev2", summary="Odd log-ins")
    story.later(minutes=11)
    story.begin("emergency_response", INCIDENT)
    story.ask("operations.page_oncall", severity="sev2", summary="Odd log-ins")
    return story


def save(path: Path, stories: Iterable[Story]) -> None:
    """Append every act of every story to the store at `path`."""
    asyncio.run(_save(path, stories))


async def _save(path: Path, stories: Iterable[Story]) -> None:
    store = SqliteStore(path)
    for one in WORKFLOWS.values():
        await store.put_workflow(one.hash, one.name, one.version, one.text)
    for story in stories:
        head = NEW_SESSION
        for events, at, state in story.acts:
            records = [NewRecord(e.event_kind(one), at, e.event_data(one)) for one in events]
            index = session_index(state, story.workflow)
            head = await store.append(story.session_id, head, records, dump_state(state), index)
    await store.close()


@dataclass
class MemoryReader:
    """A `SessionReader` over plain dictionaries, quick to spoil."""

    chains: dict[str, list[Record]]
    heads: dict[str, tuple[int, bytes]]
    states: dict[str, bytes]
    texts: dict[str, str] = field(default_factory=dict)

    def session_ids(self) -> Iterator[str]:
        return iter(sorted(self.chains))

    def records(self, session_id: str) -> Iterator[Record]:
        return iter(self.chains.get(session_id, ()))

    def observed(self, session_id: str | None = None) -> Iterator[Record]:
        chosen = self.chains if session_id is None else [session_id]
        return (record for one in chosen for record in self.chains.get(one, ()))

    def size(self) -> int:
        return sum(map(len, self.chains.values()))

    def disclosures(self, session_id: str) -> Iterator[Disclosure]:
        del session_id
        return iter(())

    def users(self) -> Iterator[KnownUser]:
        return iter(())

    def head(self, session_id: str) -> tuple[int, bytes] | None:
        return self.heads.get(session_id)

    def snapshot(self, session_id: str) -> bytes | None:
        return self.states.get(session_id)

    def workflow_text(self, workflow_hash: str) -> str | None:
        return self.texts.get(workflow_hash)

    def open(self) -> AbstractContextManager[SessionReader]:
        return nullcontext(self)

    def put(self, session_id: str, chain: list[Record]) -> None:
        """Replace a chain and its head."""
        self.chains[session_id] = chain
        self.heads[session_id] = (len(chain), chain[-1].hash)


def in_memory(path: Path) -> MemoryReader:
    """All that verification reads of a store."""
    with open_view(path) as view:
        ids = list(view.session_ids())
        return MemoryReader(
            chains={one: list(view.records(one)) for one in ids},
            heads={one: view.head(one) or (0, GENESIS) for one in ids},
            states={one: view.snapshot(one) or b"" for one in ids},
            texts={one.hash: one.text for one in WORKFLOWS.values()},
        )


def recorded(plays: Iterable[Play]) -> MemoryReader:
    """What the records of these sessions would be, with the texts that they were played under."""
    reader = MemoryReader({}, {}, {})
    for play in plays:
        session_id = play.state.session_id
        inside = [(e.event_kind(one), at, e.event_data(one)) for one, at in play.history]
        reader.put(session_id, resealed(session_id, inside))
        reader.states[session_id] = dump_state(play.state)
        books = (play.books.workflow, play.books.rules)
        reader.texts |= {one.hash: one.text for one in books if one is not None}
    return reader


Content = tuple[str, datetime, dict[str, Any]]


def contents(chain: Iterable[Record]) -> list[Content]:
    """Kind, time and data of each record."""
    opened = [open_record(record.body) for record in chain]
    return [(one.kind, one.at, one.data) for one in opened]


def resealed(session_id: str, inside: Iterable[Content]) -> list[Record]:
    """A chain that holds, with this inside."""
    chain: list[Record] = []
    prev = GENESIS
    for seq, (kind, at, data) in enumerate(inside, start=1):
        chain.append(seal(session_id, seq, prev, kind, at, data))
        prev = chain[-1].hash
    return chain


def intruder(path: Path) -> apsw.Connection:
    """A connection of somebody who can write to the file, with the triggers out of the way."""
    connection = apsw.Connection(str(path))
    connection.execute("DROP TRIGGER record_is_never_changed")
    connection.execute("DROP TRIGGER record_is_never_deleted")
    return connection


def rewrite(path: Path, session_id: str, change: Callable[[list[Content]], None]) -> None:
    """Change what a session's records say, and make its chain and head hold again."""
    with open_view(path) as view:
        inside = contents(view.records(session_id))
    change(inside)
    chain = resealed(session_id, inside)
    connection = intruder(path)
    connection.execute("DELETE FROM record WHERE session=?", (session_id,))
    connection.executemany(
        "INSERT INTO record(session, seq, body, hash) VALUES(?, ?, ?, ?)",
        [(one.session_id, one.seq, one.body, one.hash) for one in chain],
    )
    connection.execute(
        "UPDATE session SET seq=?, head=? WHERE id=?", (len(chain), chain[-1].hash, session_id)
    )
    # No gap may tell that records were taken out.
    places = [at for (at,) in connection.execute("SELECT position FROM record ORDER BY position")]
    for place, before in enumerate(places, start=1):
        connection.execute("UPDATE record SET position=? WHERE position=?", (place, before))
    connection.close()
