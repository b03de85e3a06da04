"""A folder with settings and a store, the gateway at work in it, and `mcpuppet` run in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from typer.testing import CliRunner, Result

from mcpuppet.app import Desk, open_desk
from mcpuppet.audit.record import open_record
from mcpuppet.cli import app
from mcpuppet.orchestrator import Orchestrator
from mcpuppet.session.outcome import Unknown
from mcpuppet.settings import load_settings
from support.fakes import Clock, FakeServers
from support.gateway import governed

T = TypeVar("T")

PAYMENT = """mcpuppet: 1
workflow: payment
version: 1.0.0
roles: [boss]
inputs:
  amount: {type: number}
  payee: {type: string}
steps:
  ask:
    title: Ask the boss
    approval:
      roles: [boss]
      timeout: 4h
      binds: [inputs.amount, inputs.payee]
      bypass: {roles: [commander], justification: 20}
  pay:
    title: Pay
    tool: bank.pay
    needs: ask
    args: {amount: {equals: inputs.amount}, payee: {equals: inputs.payee}}
"""
PAYMENT_BY_TWO = PAYMENT.replace("timeout: 4h", "timeout: 4h\n      quorum: 2")
SENDING = """mcpuppet: 1
workflow: sending
version: 1.0.0
steps:
  send:
    title: Send it
    tool: post.send
"""


@dataclass
class Project:
    """A folder in which `mcpuppet` is used, by people and by agents."""

    folder: Path
    admin: str = ""
    """The token of the first person, who may add others."""

    @property
    def store(self) -> Path:
        return self.folder / "mcpuppet.db"

    def run(self, *arguments: str, token: str = "", **variables: str) -> Result:
        """Run `mcpuppet ARGUMENTS`, without a terminal."""
        environment = {"MCPUPPET_TOKEN": token, "NO_COLOR": "1", **variables}
        return CliRunner(env=environment).invoke(app, arguments)

    def user(self, name: str, role: str = "boss") -> str:
        """Add a person; gives the token."""
        result = self.run("user", "add", name, "--role", role, token=self.admin)
        assert result.exit_code == 0, result.stderr
        token = result.stdout.strip()
        self.admin = self.admin or token
        return token

    def play(
        self,
        workflow: str | None,
        work: Callable[[Orchestrator, FakeServers], Awaitable[T]],
        rules: str | None = None,
        servers: FakeServers | None = None,
    ) -> T:
        """Let the gateway do something, as a process of its own would."""
        bodies = () if workflow is None else (workflow,)

        async def main() -> T:
            clock = Clock(datetime.now(UTC))
            async with governed(
                self.folder, *bodies, clock=clock, rules=rules, servers=servers
            ) as (orchestrator, behind):
                return await work(orchestrator, behind)

        return asyncio.run(main())

    def asked(
        self, workflow: str = PAYMENT, *, amount: float = 4200, payee: str = "DE12 Jane"
    ) -> tuple[str, str]:
        """A session whose payment waits for a person: its id and the approval's."""

        async def ask(orchestrator: Orchestrator, _: FakeServers) -> tuple[str, str]:
            values = {"amount": amount, "payee": payee}
            session = (await orchestrator.start_workflow("payment", values)).session_id
            answer = await orchestrator.call_tool(session, "bank.pay", values)
            assert answer.status == "awaiting_approval"
            view = await orchestrator.status(session)
            return session, view.approvals[0].approval_id

        return self.play(workflow, ask)

    def unsure(self) -> tuple[str, str]:
        """A session with a call whose outcome nobody knows: its id and the call's."""

        async def send(orchestrator: Orchestrator, servers: FakeServers) -> tuple[str, str]:
            servers.offer("post.send", lambda _: Unknown("timeout", "no answer within 60 s"))
            session = (await orchestrator.start_workflow("sending", {})).session_id
            answer = await orchestrator.call_tool(session, "post.send", {})
            assert answer.status == "unknown"
            return session, answer.call_id

        return self.play(SENDING, send)

    def desk(self, work: Callable[[Desk], Awaitable[T]]) -> T:
        """Look something up as the commands do."""

        async def main() -> T:
            async with open_desk(load_settings(self.folder / "mcpuppet.yaml")) as desk:
                return await work(desk)

        return asyncio.run(main())

    def kinds(self, session: str) -> list[str]:
        """The kinds of everything that was recorded of a session."""

        async def read(desk: Desk) -> list[str]:
            with desk.store.reader() as reader:
                return [open_record(one.body).kind for one in reader.records(session)]

        return self.desk(read)
