"""What every scene acts on: the AI, the people, the store's own view, and how it is all told.

A scene may only rely on what it has checked: `expect` ends the demo with a sentence when something
did not happen as announced. Knows no scene.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from mcpuppet.app import Desk
from mcpuppet.audit.record import OpenedRecord, Record, open_record
from mcpuppet.demo.ai import Ai, Answer, conversation
from mcpuppet.demo.folder import DemoFolder
from mcpuppet.demo.names import SceneName
from mcpuppet.demo.narrator import Narrator, values_text
from mcpuppet.demo.pace import Pace
from mcpuppet.demo.people import Ran, mcpuppet
from mcpuppet.errors import MCPuppetError
from mcpuppet.session.machine import RUN_ENDS
from mcpuppet.views import SessionView, session_view

_LABELS = {"succeeded": "allowed", "denied": "REFUSED", "awaiting_approval": "waiting"}


class UnexpectedError(MCPuppetError):
    """Something that a scene announces did not happen; the text says what."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene: its name, what it shows in a few words, and how it goes."""

    name: SceneName
    headline: str
    play: Callable[[Stage], Awaitable[None]]


class Stage:
    """The demo while it runs; `close` ends the conversation and its processes."""

    def __init__(self, folder: DemoFolder, desk: Desk, narrator: Narrator, pace: Pace) -> None:
        self.folder = folder
        self.desk = desk
        self.narrator = narrator
        self.pace = pace
        self.session_id = ""
        """The session of the latest run; empty before the first."""
        self._processes = AsyncExitStack()
        self._ai: Ai | None = None
        self._tokens: dict[str, str] = {}

    async def close(self) -> None:
        """End the conversation, if there is one; for the task that plays the scenes."""
        self._ai = None
        await self._processes.aclose()

    def expect(self, happened: bool, otherwise: str) -> None:
        """End the demo with the sentence `otherwise` unless this happened."""
        if not happened:
            raise UnexpectedError(otherwise)

    def checked(self, happened: bool, what: str, otherwise: str) -> None:
        """The same, and tell the onlooker what was checked."""
        self.expect(happened, otherwise)
        self.narrator.line("checked", what)

    async def tell(self, text: str) -> None:
        """Tell the onlooker something, and leave time to read it."""
        self.narrator.tell(text)
        await self.pace.read(text)

    async def end_step(self) -> None:
        """Something is complete: leave time to look at it, or wait for a key, then go on."""
        await self.pace.step(self.narrator.awaits_key)
        self.narrator.gap()

    # --- the AI ---------------------------------------------------------------------------------

    async def ai(self) -> Ai:
        """The AI in its conversation; the first to ask starts the gateway."""
        if self._ai is None:
            self._ai = await self._processes.enter_async_context(conversation(self.folder))
        return self._ai

    async def begin(
        self, workflow: str, inputs: Mapping[str, Any], *, listed: str | None = None
    ) -> None:
        """Have the AI begin a run, in a new conversation if it is in the middle of another run.

        With `listed`, show the list of tools once that tool is in it.
        """
        if self._ai is not None and await self.is_in_run():
            await self.close()
        self.narrator.asks("workflow_start", {"workflow": workflow, "inputs": dict(inputs)})
        answer = await (await self.ai()).start(workflow, inputs)
        self.expect(
            answer.status == "succeeded",
            f"{workflow} could not be started: {' '.join(answer.lines)}",
        )
        self.session_id = str(answer.result["session_id"])
        self.narrator.line("allowed", f"{workflow} has begun. {answer.lines[-1]}")
        await self._end_call(listed)

    async def ask(
        self, tool: str, arguments: Mapping[str, Any], status: str, *, listed: str | None = None
    ) -> Answer:
        """Have the AI call a tool, show the answer, and expect it to have this status.

        With `listed`, show the list of tools once that tool is in it.
        """
        self.narrator.asks(tool, arguments)
        answer = await self.ask_unseen(tool, arguments, status)
        self.narrator.lines(str(answer.details.get("how") or _LABELS[status]), _words(answer))
        await self._end_call(listed)
        return answer

    async def ask_unseen(self, tool: str, arguments: Mapping[str, Any], status: str) -> Answer:
        """Have the AI call a tool, and expect the answer to have this status."""
        answer = await (await self.ai()).call(tool, arguments)
        self.expect(
            answer.status == status,
            f"{tool} was answered {answer.status!r} instead of {status!r}: "
            f"{' '.join(answer.lines)}",
        )
        return answer

    async def _end_call(self, listed: str | None = None) -> None:
        if listed is not None:
            ai = await self.ai()
            self.expect(await ai.is_listed(listed), f"{listed} did not get into the list of tools")
            self.narrator.line("listed", Text(", ").join(Text(one, "bold") for one in ai.tools))
        if self.pace.manner == "step":
            self.narrator.state(await self.view())
        await self.end_step()

    # --- people ---------------------------------------------------------------------------------

    async def enrol(self, *names: str, role: str) -> None:
        """Give people their tokens, once; the first one is an admin, who adds the others."""
        for name in names:
            if name not in self._tokens:
                await self._enrol(name, role, next(iter(self._tokens.values()), ""))

    async def _enrol(self, name: str, role: str, admin: str) -> None:
        ran = await self.command("user", "add", name, "--role", role, token=admin)
        self.expect(ran.code == 0, f"{name} could not be added: {' '.join(ran.lines)}")
        self._tokens[name] = ran.stdout.strip()
        self.folder.keep_token(name, self._tokens[name])

    async def decide(self, name: str, *arguments: str) -> Ran:
        """Have a person run a `mcpuppet` command with their token, and show what it answered."""
        self.narrator.line("person", f"{name}: mcpuppet {' '.join(arguments)}")
        ran = await self.command(*arguments, token=self._tokens[name])
        self.expect(ran.code == 0, f"`mcpuppet {arguments[0]}` said: {' '.join(ran.lines)}")
        self.narrator.line("", ran.stdout.strip().splitlines()[-1])
        await self._end_call()
        return ran

    async def command(self, *arguments: str, token: str = "") -> Ran:
        """Run a `mcpuppet` command in another process."""
        return await mcpuppet(self.folder, *arguments, token=token)

    # --- what the store says --------------------------------------------------------------------

    async def view(self) -> SessionView:
        """The session as the store has it now."""
        progress = await self.desk.ledger.look(self.session_id)
        if progress is None:
            raise UnexpectedError(f"session {self.session_id!r} is not in the store")
        who = self.desk.settings.principal(progress.state.principal).principal
        return session_view(progress, who)

    async def is_in_run(self, workflow: str | None = None) -> bool:
        """Whether a run is under way in the conversation, of this workflow if one is named."""
        if self._ai is None or not self.session_id:
            return False
        view = await self.view()
        return view.status not in RUN_ENDS and workflow in (None, view.workflow)

    def records(self) -> tuple[Record, ...]:
        """The session's records as they are stored, the first one first."""
        with self.desk.store.reader() as reader:
            return tuple(reader.records(self.session_id))

    def opened_records(self) -> Iterator[OpenedRecord]:
        """The same, as what they say."""
        return (open_record(record.body) for record in self.records())


def _words(answer: Answer) -> Iterator[str | Text]:
    """An answer in few lines: what came back or why nothing did, and what is legal now."""
    match answer.status:
        case "succeeded":
            if answer.result:
                yield Text("returned ").append_text(values_text(answer.result))
            yield from answer.lines
        case "awaiting_approval":
            yield answer.lines[0].removeprefix("Awaiting approval: ")
            yield answer.lines[-1]
        case _:
            first, *rest = answer.lines
            yield first.removeprefix("Refused: ")
            yield from rest
