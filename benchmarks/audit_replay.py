"""How fast the audit trail is played again: every decision and all that followed, from the records.

Writes a store of sessions that each run a workflow of ten steps with guards, policies and an
approval, and try a call that is refused at every other step: fifteen decisions a session. Then
plays the store several times, in this process and shared out to one process for each processor,
and prints decisions and records per second: of processor time for the one, and of elapsed time,
with the beginning of the processes, for the other. Deciding itself, and what follows from it, is
nearly all of the cost.

    python benchmarks/audit_replay.py [sessions]
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from mcpuppet.audit.replay.store import ReplayReport, replay_store
from mcpuppet.ledger import session_index
from mcpuppet.session.asked import Circumstances, refused_call, settings_read
from mcpuppet.session.call import Principal
from mcpuppet.session.consequences import Progress, Source
from mcpuppet.session.decision import Allowed, ApprovalNeeded, Books, Denied, govern
from mcpuppet.session.events import event_kind
from mcpuppet.session.intent import start_call
from mcpuppet.session.outcome import Succeeded
from mcpuppet.session.snapshot import dump_state
from mcpuppet.store.protocol import NEW_SESSION, NewRecord
from mcpuppet.store.sqlite import SqliteStore
from mcpuppet.store.sqlite_reader import open_view
from mcpuppet.workflow.compiler import CompiledWorkflow, compile_workflow
from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.parser import parse_workflow

SESSIONS = 2_000
ROUNDS = 3
STEPS = 10
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
WHO = Principal("agent", frozenset({"clerk"}))
SETTINGS = "5" * 64


def workflow() -> CompiledWorkflow:
    """Ten steps one after the other, the sixth after a person has agreed."""
    lines = [
        "mcpuppet: 1",
        "workflow: orders",
        "version: 1.0.0",
        "roles: [clerk, boss]",
        "inputs:",
        "  customer: {type: string}",
        "steps:",
    ]
    for number in range(STEPS):
        needs = "" if number == 0 else f", needs: {'agreed' if number == 5 else f's{number - 1}'}"
        lines.append(
            f"  s{number}: {{tool: shop.do_{number}{needs}, returns: {{n: {{type: integer}}}}, "
            "args: {customer: {equals: inputs.customer}, amount: {type: number, minimum: 0}}}"
        )
    lines += [
        "  agreed:",
        "    approval: {roles: [boss], timeout: 1h, binds: [inputs.customer, steps.s4.result.n]}",
        "    needs: s4",
        "policies:",
        "  - {id: clerks, call: '*.*', roles: [clerk]}",
        "  - {id: small, call: shop.do_7, check: args.amount <= 500 && steps.s6.result.n >= 0}",
        "  - {id: thrice, call: shop.do_8, at_most: 3, per: session}",
    ]
    text = "\n".join(lines) + "\n"
    parsed = parse_workflow(text, "orders.yaml")
    assert isinstance(parsed.definition, WorkflowDefinition), [str(one) for one in parsed.findings]
    return compile_workflow(parsed.definition, parsed.bundle)


class Session:
    """One session on its way, and the records of what has happened."""

    def __init__(self, session_id: str, compiled: CompiledWorkflow) -> None:
        self.compiled = compiled
        self.records: list[NewRecord] = []
        self._ids = itertools.count()
        self._now = START
        self.progress = Progress(session_id, None, None, self._source())

    def _source(self) -> Source:
        def new_id(kind: str) -> str:
            return f"{kind}_{self.progress.session_id}_{next(self._ids)}"

        return Source(self._now, new_id, lambda: 0.0)

    def _keep(self) -> None:
        """Take over the records, and go on a second later."""
        old = self.progress
        self.records += (
            NewRecord(event_kind(event), self._now, data)
            for event, data in zip(old.events, old.records, strict=True)
        )
        self._now += timedelta(seconds=1)
        self.progress = Progress(old.session_id, old.state, self.compiled, self._source())

    def ask(self, tool: str, amount: float) -> str | None:
        """Ask for a call; gives its id where it is allowed."""
        progress, call_id = self.progress, f"call_{next(self._ids)}"
        call = progress.call(tool, {"customer": "Ada Lovelace", "amount": amount})
        books = Books(self.compiled)
        decision = govern(books, progress.state, call, WHO, self._now)
        there = Circumstances("node", "stdio", settings_read(SETTINGS, WHO, books, idle=False))
        match decision:
            case Allowed():
                start_call(progress, call_id, call, WHO, decision, there)
            case Denied() | ApprovalNeeded():
                told = refused_call(progress.state, call_id, call, WHO, decision, there)
                progress.emit(told)
        self._keep()
        return call_id if isinstance(decision, Allowed) else None

    def run(self) -> None:
        """The whole run, with a refused call at every other step."""
        self.progress.open_session(WHO.name, SETTINGS)
        self.progress.start_run(self.compiled, {"customer": "Ada Lovelace"}, WHO.name)
        self._keep()
        for number in range(STEPS):
            if number == 5:
                run = self.progress.state.active_run
                assert run is not None
                asked = run.approvals["agreed"]
                self.progress.voted(asked, "eve", "0" * 64, "cli", roles=("boss",))
                self._keep()
            if number % 2:
                assert self.ask(f"shop.do_{(number + 3) % STEPS}", 1) is None
            call_id = self.ask(f"shop.do_{number}", 10.5 * number)
            assert call_id is not None
            result = {"content": [], "structuredContent": {"n": number}, "isError": False}
            self.progress.call_ended(call_id, Succeeded(result), 0.025)
            self._keep()


async def write(path: Path, sessions: int) -> None:
    """A store with so many sessions."""
    compiled = workflow()
    store = SqliteStore(path)
    await store.put_workflow(compiled.hash, compiled.name, compiled.version, compiled.text)
    for number in range(sessions):
        session = Session(f"ses_{number:06}", compiled)
        session.run()
        state = session.progress.state
        index = session_index(state, compiled)
        name = state.session_id
        await store.append(name, NEW_SESSION, session.records, dump_state(state), index)
    await store.close()


def main() -> None:
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else SESSIONS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        asyncio.run(write(path, sessions))
        view = partial(open_view, path)
        for _ in range(ROUNDS):
            started = time.process_time()
            report = replay_store(view, processes=1)
            say(report, time.process_time() - started, "one process, processor time")
        many = os.cpu_count() or 1
        for _ in range(ROUNDS):
            started = time.perf_counter()
            report = replay_store(view, processes=many)
            say(report, time.perf_counter() - started, f"{many} processes, elapsed time")


def say(report: ReplayReport, seconds: float, how: str) -> None:
    assert report.ok, report.mismatches[:3]
    assert not report.not_derivable, report
    assert not report.unfollowed, report
    assert not report.unread, report
    records = report.decisions + report.followed
    print(
        f"{report.sessions:,} sessions, {report.decisions:,} decisions, {records:,} records: "
        f"{seconds:.2f} s ({how}), {report.decisions / seconds:,.0f} decisions/s, "
        f"{records / seconds:,.0f} records/s"
    )


if __name__ == "__main__":
    main()
