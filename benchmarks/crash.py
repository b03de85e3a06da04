"""What is left of a call when its gateway is killed (SIGKILL), at each point of the call's life.

A gateway process makes an acknowledged call, then the call that matters, and is killed at one of
five points of it. Behind it is a real stdio server that writes each effect to the disk before it
answers; "after sending" is reached by that server, which then never answers, and the other points
lie inside the gateway, which stops there for ever and says so. Then another gateway is opened on
the same store, and the client repeats its call as clients do.

Checked after each kill: every acknowledged call is in the audit trail with its effect; a step that
holds unknown outcomes has at most one effect; no call is recorded as succeeded that had none; and
all chains, heads, states (the fold of the records) and workflow texts verify.

    python benchmarks/crash.py [--runs 20] [--only hold] [--save | --json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import mcpuppet.gateway.downstream  # noqa: F401 - before the first fork: it costs a second
from mcpuppet import app
from mcpuppet.audit.record import OpenedRecord, open_record
from mcpuppet.audit.verify import verify_store
from mcpuppet.store.protocol import Head, NewRecord
from mcpuppet.store.sqlite import SqliteStore
from mcpuppet.store.sqlite_reader import open_view

SERVER = Path(__file__).with_name("crash_server.py")
RESULTS = Path(__file__).with_name("results") / "crash.md"
TITLE = """# Gateways killed in the middle of a call

What is done and compared is told in `benchmarks/crash.py`. Each section is a way to settle calls of
unknown outcome. Of the columns that count, the last four are what must not happen: acknowledged
calls that are not in the audit trail, more effects than the way of settling allows, calls recorded
as succeeded without an effect, and audit trails that do not verify.
"""
LONGEST = 30.0
"""Seconds within which a process must have come to the point that is waited for."""

POINTS = {
    "intent": "before the intent",
    "send": "after the intent",
    "reply": "after sending",
    "outcome": "after the reply",
    "answer": "after the outcome",
}


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to settle unknown outcomes: the step's keys, and how many effects it may lead to."""

    name: str
    tool: str
    step: str
    most_effects: int


# A way of settling is one line here; its step is called `act`.
VARIANTS = (
    Variant("hold", "effects.pay", "{tool: effects.pay, needs: first}", 1),
    Variant("retry", "effects.look", "{tool: effects.look, needs: first, on_unknown: retry}", 2),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one kill and the repeated call led to; `lost` counts acknowledged calls."""

    effects: int
    recorded: str
    """What is recorded of the call that was cut off: nothing, unknown or succeeded."""
    answered: str
    """What the client was told when it repeated the call."""
    lost: int
    doubled: bool
    false_success: bool
    breaks: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.false_success or self.breaks)


class Site:
    """A folder with settings, a workflow, a store and the file in which effects are counted."""

    def __init__(self, folder: Path, variant: Variant) -> None:
        self.variant = variant
        self.settings = folder / "mcpuppet.yaml"
        self.store = folder / "mcpuppet.db"
        self.effects = folder / "effects"
        self.silence = folder / "silence"
        command = ["-I", "-S", str(SERVER), str(self.effects), str(self.silence)]
        (folder / "crashing.yaml").write_text(
            "mcpuppet: 1\nworkflow: crashing\nversion: 1.0.0\nsteps:\n"
            f"  first: {{tool: effects.note}}\n  act: {variant.step}\n"
        )
        settings = {
            "servers": {"effects": {"command": sys.executable, "args": command}},
            "workflows": ["crashing.yaml"],
        }
        self.settings.write_text(json.dumps(settings))  # JSON is YAML

    def count(self, tool: str) -> int:
        lines = self.effects.read_text().splitlines() if self.effects.exists() else []
        return lines.count(tool.partition(".")[2])

    def records(self, session_id: str) -> list[OpenedRecord]:
        with open_view(self.store) as reader:
            return [open_record(one.body) for one in reader.records(session_id)]


# --- in the gateway processes -----------------------------------------------------------------


def say(*words: str) -> None:
    """One line to the process that watches, in one piece."""
    os.write(1, (" ".join(words) + "\n").encode())


def stop() -> NoReturn:
    """Come to a halt, all of the process, until it is killed."""
    say("stopped")
    while True:
        signal.pause()


class StoppingStore(SqliteStore):
    """Stops at the appends that tell of the call of one tool."""

    point = ""
    tool = ""
    _call = ""

    async def append(
        self, session_id: str, expect: Head, records: Sequence[NewRecord], *rest: Any, **more: Any
    ) -> Head:
        begun = [
            one.data["call_id"]
            for one in records
            if one.kind == "CallStarted" and one.data["tool"] == self.tool
        ]
        if begun:
            self._call = str(begun[0])
            say("calling", self._call)
        ended = any(
            one.kind == "CallSucceeded" and one.data["call_id"] == self._call for one in records
        )
        if begun and self.point == "intent":
            stop()
        head = await super().append(session_id, expect, records, *rest, **more)
        if ended and self.point == "answer":
            stop()
        return head


class StoppingServers:
    """Stops before or after the call of one tool."""

    def __init__(self, servers: Any, point: str, tool: str) -> None:
        self._servers = servers
        self._point = point
        self._tool = tool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._servers, name)

    async def call(self, server: str, tool: str, *rest: Any, **more: Any) -> Any:
        matters = f"{server}.{tool}" == self._tool
        if matters and self._point == "send":
            stop()
        outcome = await self._servers.call(server, tool, *rest, **more)
        if matters and self._point == "outcome":
            stop()
        return outcome


async def be_killed(site: Site, point: str) -> None:
    """A gateway that comes as far as `point` in the second of two calls."""
    StoppingStore.point, StoppingStore.tool = point, site.variant.tool
    app.SqliteStore = StoppingStore  # type: ignore[attr-defined]
    async with app.open_orchestrator(site.settings, log=lambda _: None) as gateway:
        session_id = (await gateway.start_workflow("crashing", {})).session_id
        say("session", session_id)
        first = await gateway.call_tool(session_id, "effects.note", {})
        say("acknowledged", first.call_id, first.status)
        gateway.servers = StoppingServers(gateway.servers, point, site.variant.tool)
        await gateway.call_tool(session_id, site.variant.tool, {})
    say("was not stopped")


async def go_on(site: Site, session_id: str) -> None:
    """Another gateway, and a client that repeats its call until the step is over or held."""
    async with app.open_orchestrator(site.settings, log=lambda _: None) as gateway:
        while True:
            answer = await gateway.call_tool(session_id, site.variant.tool, {})
            say("answered", answer.call_id, answer.status)
            steps = {one.id: one.status for one in (await gateway.status(session_id)).steps}
            if steps["act"] in ("success", "failure", "held"):
                return
            await asyncio.sleep(0.1)


# --- in the process that watches --------------------------------------------------------------


class Process:
    """A forked process, the lines that it says, and its end."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.lines: list[list[str]] = []
        self._unread = b""
        self._out, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _live(work, theirs)
        os.close(theirs)

    def wait_for(self, holds: Callable[[], bool]) -> None:
        """Read on until `holds`, or to the end."""
        deadline = time.monotonic() + LONGEST
        while not holds():
            ready, _, _ = select.select([self._out], [], [], 0.01)
            if ready and not self._read():
                return
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"the gateway said only {self.lines}")

    def said(self, word: str) -> list[list[str]]:
        return [rest for first, *rest in self.lines if first == word]

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.end()

    def end(self) -> int:
        """Read what was said to the last, and wait for the process; its exit code."""
        while self._read():
            pass
        os.close(self._out)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        chunk = os.read(self._out, 65536)
        *whole, self._unread = (self._unread + chunk).split(b"\n")
        self.lines += [line.decode().split() for line in whole]
        return bool(chunk)


def _live(work: Callable[[], Coroutine[Any, Any, None]], out: int) -> NoReturn:
    code = 1
    try:
        os.dup2(out, 1)
        os.set_inheritable(1, False)  # a server that outlives the gateway must not hold it open
        asyncio.run(work())
        code = 0
    finally:
        os._exit(code)


def one_kill(folder: Path, variant: Variant, point: str) -> Outcome:
    """Kill a gateway at `point`, go on with another one, and see what is there."""
    site = Site(folder, variant)
    if point == "reply":
        site.silence.touch()
    first = Process(lambda: be_killed(site, point))
    first.wait_for(
        (lambda: site.count(variant.tool) > 0)
        if point == "reply"
        else (lambda: bool(first.said("stopped")))
    )
    first.kill()
    if not first.said("calling"):
        raise RuntimeError(f"the gateway ended too early: {first.lines}")
    site.silence.unlink(missing_ok=True)
    ((session_id,),) = first.said("session")
    second = Process(lambda: go_on(site, session_id))
    second.wait_for(lambda: False)
    if second.end() != 0:
        raise RuntimeError(f"the second gateway failed: {second.lines}")
    return judged(site, session_id, first, second)


def judged(site: Site, session_id: str, first: Process, second: Process) -> Outcome:
    """Compare what was said, what is recorded and what happened."""
    records = site.records(session_id)
    succeeded = {one.data["call_id"] for one in records if one.kind == "CallSucceeded"}
    acknowledged = [*first.said("acknowledged"), *second.said("answered")]
    heard = {call for call, status in acknowledged if status == "succeeded"}
    ((call_id,),) = first.said("calling")
    tools = {one.data["call_id"]: one.data["tool"] for one in records if one.kind == "CallStarted"}
    effects = site.count(site.variant.tool)
    successes = sum(tools[one] == site.variant.tool for one in succeeded)
    notes = sum(tools[one] == "effects.note" for one in succeeded)
    report = verify_store(lambda: open_view(site.store))
    return Outcome(
        effects=effects,
        recorded=recorded_of(call_id, records),
        answered=second.said("answered")[-1][1],
        lost=len(_without_repeats(heard, records) - succeeded),
        doubled=effects > site.variant.most_effects,
        false_success=successes > effects or notes != site.count("effects.note"),
        breaks=tuple(str(one) for one in report.breaks),
    )


def _without_repeats(heard: set[str], records: Sequence[OpenedRecord]) -> set[str]:
    """The calls that were made for what was heard: a repeat is answered from another's record."""
    repeated = {
        one.data["call_id"]: one.data["of"] for one in records if one.kind == "CallRepeated"
    }
    return {str(repeated.get(call, call)) for call in heard}


def recorded_of(call_id: str, records: Sequence[OpenedRecord]) -> str:
    """What the records say became of a call."""
    kinds = {one.kind for one in records if one.data.get("call_id") == call_id}
    words = {"CallSucceeded": "succeeded", "CallBecameUnknown": "unknown", "CallFailed": "failed"}
    ended = [word for kind, word in words.items() if kind in kinds]
    if "CallStarted" not in kinds:
        return "nothing"
    return ended[0] if ended else "started"


def cells(variant: Variant, runs: int, folder: Path) -> Iterator[tuple[str, list[Outcome]]]:
    """Every point, `runs` times."""
    for point in POINTS:
        found = []
        for number in range(runs):
            place = folder / f"{variant.name}-{point}-{number}"
            place.mkdir()
            found.append(one_kill(place, variant, point))
        yield point, found


def as_json(variant: Variant, point: str, found: Sequence[Outcome]) -> str:
    """One line for each kill."""
    where = {"variant": variant.name, "point": point}
    return "\n".join(json.dumps(where | asdict(one)) for one in found)


def row(point: str, found: Sequence[Outcome]) -> str:
    effects = Counter(one.effects for one in found)
    recorded = Counter(one.recorded for one in found)
    answered = Counter(one.answered for one in found)
    values = (
        POINTS[point],
        len(found),
        "/".join(str(effects[number]) for number in range(3)),
        ", ".join(f"{number} {word}" for word, number in recorded.items()),
        ", ".join(f"{number} {word}" for word, number in answered.items()),
        sum(one.lost for one in found),
        sum(one.doubled for one in found),
        sum(one.false_success for one in found),
        sum(bool(one.breaks) for one in found),
    )
    return f"| {' | '.join(str(value) for value in values)} |"


HEAD = (
    "| killed | runs | effects 0/1/2 | recorded of the call | the repeated call |"
    " acknowledged lost | doubled | false success | audit broken |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", choices=[one.name for one in VARIANTS])
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--save", action="store_true", help=f"also write {RESULTS}")
    form.add_argument("--json", action="store_true", help="one line of JSON for each kill")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mcpuppet-crash-"))
    clean = True
    try:
        for variant in VARIANTS:
            if options.only not in (None, variant.name):
                continue
            lines = [] if options.json else [HEAD]
            for point, found in cells(variant, options.runs, folder):
                line = as_json(variant, point, found) if options.json else row(point, found)
                lines.append(line)
                clean &= all(one.is_clean for one in found)
            print("\n".join(lines) if options.json else section(variant, options.runs, lines))
            if options.save:
                save(variant, section(variant, options.runs, lines))
    finally:
        shutil.rmtree(folder)
    return 0 if clean else 1


def section(variant: Variant, runs: int, lines: Sequence[str]) -> str:
    """The results of one way of settling, and how they came about."""
    command = f"python benchmarks/crash.py --runs {runs} --only {variant.name}"
    where = f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores"
    table = "\n".join(lines)
    return f"{variant.name}\n\n`{command}`, {datetime.now(UTC).date()}, {where}.\n\n{table}\n"


def save(variant: Variant, text: str) -> None:
    """Put the section in the place of the one that was saved before."""
    _, *kept = RESULTS.read_text().split("\n## ") if RESULTS.exists() else [""]
    sections = {one.partition("\n")[0]: one.rstrip("\n") + "\n" for one in kept}
    sections[variant.name] = text
    order = [one.name for one in VARIANTS if one.name in sections]
    RESULTS.write_text("\n## ".join([TITLE, *(sections[name] for name in order)]))


if __name__ == "__main__":
    sys.exit(main())
