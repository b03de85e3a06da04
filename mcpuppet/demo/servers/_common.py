"""What the demo servers share: state on disk, the effects file, faults on request, and serving.

A server is a `Toolbox` of plain functions of its state. This module owns everything around such a
function: it reads the state, runs the function, writes state and effect, and answers in MCP. It
knows nothing about money, customers or hosts, and nothing about MCPuppet's own rules.

Files in the state directory, shared by all servers and by every process that runs one:

- `<server>.json`: the state of a server, replaced in one piece.
- `effects.jsonl`: one line for each change made, `{"server", "tool", "arguments", "at"}`.
- `faults.json`: optional, what should go wrong, by `<server>.<tool>`; see `Fault`.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, Generic, ParamSpec, TypeVar

import anyio
import anyio.to_thread
from filelock import FileLock, Timeout
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mcpuppet import __version__
from mcpuppet.demo.servers import FAULTS_VARIABLE, STATE_VARIABLE


@dataclass(frozen=True, slots=True)
class Dataset:
    """How much an invented dataset holds, and how many of its rows are bad."""

    rows: int
    errors: int


DATASETS: Final = {
    "orders": Dataset(rows=1200, errors=0),
    "customers": Dataset(rows=340, errors=0),
    "invoices": Dataset(rows=510, errors=0),
    "returns": Dataset(rows=96, errors=7),
}
"""The invented datasets; `returns` is the one with bad rows."""

CRASH_EXIT_CODE: Final = 70
"""Exit code of a server that a fault told to crash (EX_SOFTWARE of sysexits.h)."""

_LOCK_SECONDS: Final = 10.0
_LOCK_POLL_SECONDS: Final = 0.005


class State(BaseModel):
    """What one server remembers between calls; a subclass adds its own fields, with defaults."""

    model_config = ConfigDict(extra="forbid")

    issued: int = 0

    def mint(self, prefix: str) -> str:
        """Return a new identifier such as `transfer-0001`, never issued before by this server."""
        self.issued += 1
        return f"{prefix}-{self.issued:04d}"


class Fault(BaseModel):
    """What should go wrong with one tool; it strikes before the tool changes anything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    delay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Seconds that every call waits."""
    crash: Annotated[int, Field(ge=0)] = 0
    """How many calls end the server's process; used up before `fail`."""
    fail: Annotated[int, Field(ge=0)] = 0
    """How many calls answer with an error."""
    message: str = "failed on request"
    """The text of that error."""

    def used(self) -> Fault:
        """Return the fault as it is for the next call."""
        if self.crash:
            return self.model_copy(update={"crash": self.crash - 1})
        if self.fail:
            return self.model_copy(update={"fail": self.fail - 1})
        return self


Faults = TypeAdapter(dict[str, Fault])
"""Reads and writes faults by `<server>.<tool>`."""

DatasetName = Annotated[str, Field(description=f"A dataset: one of {', '.join(sorted(DATASETS))}.")]

S = TypeVar("S", bound=State)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Clock = Callable[[], datetime]


def known_dataset(name: str) -> Dataset:
    """Return the dataset of this name; raise ToolError, listing the names, if there is none."""
    if name not in DATASETS:
        raise ToolError(f"no dataset {name!r}; the datasets are {', '.join(sorted(DATASETS))}")
    return DATASETS[name]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Tool:
    function: Callable[..., Any]
    changes: bool
    annotations: ToolAnnotations

    @property
    def name(self) -> str:
        return self.function.__name__

    def public_signature(self) -> inspect.Signature:
        """The function's signature without its state: what a caller of the tool may send."""
        signature = inspect.signature(self.function, eval_str=True)
        return signature.replace(parameters=list(signature.parameters.values())[1:])


class Toolbox(Generic[S]):
    """The tools of one server: functions whose first argument is the server's state."""

    def __init__(self, server: str, instructions: str, state: type[S]) -> None:
        self.server = server
        self._instructions = instructions
        self._state = state
        self._tools: list[_Tool] = []

    def reads(self, function: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
        """Add a tool that only looks: nothing that it does to the state is kept."""
        self._tools.append(_Tool(function, False, ToolAnnotations(read_only_hint=True)))
        return function

    def changes(
        self, *, destructive: bool = False
    ) -> Callable[[Callable[Concatenate[S, P], R]], Callable[Concatenate[S, P], R]]:
        """Add a tool that changes the state; each call that succeeds is an effect."""
        annotations = ToolAnnotations(read_only_hint=False, destructive_hint=destructive)

        def add(function: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
            self._tools.append(_Tool(function, True, annotations))
            return function

        return add

    def build(
        self,
        directory: Path,
        faults: Mapping[str, Fault] | None = None,
        clock: Clock = _now,
    ) -> MCPServer[Any]:
        """Return the MCP server on `directory`, which is made by the first call that writes.

        `faults` apply to this server object where the faults file says nothing about a tool.
        """
        server: MCPServer[Any] = MCPServer(
            self.server,
            instructions=self._instructions,
            version=__version__,
            log_level="WARNING",
        )
        home = _Home(directory, self.server, clock, dict(faults or {}))
        for tool in self._tools:
            server.add_tool(
                _handler(home, self._state, tool),
                name=tool.name,
                description=inspect.getdoc(tool.function),
                annotations=tool.annotations,
                structured_output=True,
            )
        return server

    def serve(self) -> None:
        """Answer on stdin and stdout until stdin ends; settings come from the environment."""
        try:
            server = self.build(state_directory(), environment_faults())
        except ToolError as error:
            sys.exit(str(error))
        with suppress(KeyboardInterrupt):
            server.run()


def state_directory() -> Path:
    """Return the directory that the environment names, or else this user's own temporary one.

    Raises ToolError if that temporary directory belongs to someone else.
    """
    named = os.environ.get(STATE_VARIABLE)
    if named:
        return Path(named)
    temporary = Path(tempfile.gettempdir())
    if sys.platform == "win32":
        return temporary / "mcpuppet-demo"
    directory = temporary / f"mcpuppet-demo-{os.getuid()}"
    # The name can be guessed, so another user of this machine may have made the directory first.
    if _owner(directory) not in (None, os.getuid()):
        raise ToolError(f"{directory} belongs to another user; set {STATE_VARIABLE} instead")
    return directory


def _owner(directory: Path) -> int | None:
    try:
        return directory.lstat().st_uid
    except FileNotFoundError:
        return None


def environment_faults() -> dict[str, Fault]:
    """Return the faults written as JSON in the environment; their counts last one process.

    Raises ToolError if the text is not a mapping of `<server>.<tool>` to faults.
    """
    text = os.environ.get(FAULTS_VARIABLE)
    return _parse(Faults, text.encode(), FAULTS_VARIABLE) if text else {}


def _handler(home: _Home, state: type[S], tool: _Tool) -> Callable[..., Awaitable[Any]]:
    adapter = TypeAdapter(state)

    async def handle(**arguments: Any) -> Any:
        try:
            fault = await anyio.to_thread.run_sync(home.take_filed_fault, tool.name)
            await _suffer(fault or home.take_given_fault(tool.name))
            return await anyio.to_thread.run_sync(_run, home, adapter, tool, arguments)
        except OSError as error:
            raise ToolError(f"{home.directory} cannot be used: {error}") from error

    # The SDK derives the input and output schemas from the name and signature that it finds here.
    handle.__name__ = tool.name
    handle.__signature__ = tool.public_signature()  # type: ignore[attr-defined]
    return handle


async def _suffer(fault: Fault) -> None:
    await anyio.sleep(fault.delay)
    if fault.crash:
        # As a killed process would: no clean-up, no answer, no closing of the connection.
        os._exit(CRASH_EXIT_CODE)
    if fault.fail:
        raise ToolError(fault.message)


def _run(home: _Home, adapter: TypeAdapter[S], tool: _Tool, arguments: dict[str, Any]) -> Any:
    if not tool.changes:
        return tool.function(home.load(adapter), **arguments)
    with home.locked():
        state = home.load(adapter)
        result = tool.function(state, **arguments)
        home.save(adapter, state)
        home.append_effect(tool.name, arguments)
    return result


@dataclass(frozen=True, slots=True)
class _Home:
    """One server's part of a state directory."""

    directory: Path
    server: str
    clock: Clock
    faults: dict[str, Fault]

    @property
    def state_file(self) -> Path:
        return self.directory / f"{self.server}.json"

    @property
    def faults_file(self) -> Path:
        return self.directory / "faults.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other calls out, in this process and in others; raise ToolError after 10 s."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(
            self.directory / ".lock", timeout=_LOCK_SECONDS, poll_interval=_LOCK_POLL_SECONDS
        )
        try:
            lock.acquire()
        except Timeout:
            raise ToolError(f"{self.directory} was busy for {_LOCK_SECONDS:g} s") from None
        try:
            yield
        finally:
            lock.release()

    def load(self, adapter: TypeAdapter[S]) -> S:
        return _read(adapter, self.state_file, b"{}")

    def save(self, adapter: TypeAdapter[S], state: S) -> None:
        _replace(self.state_file, adapter.dump_json(state, indent=2))

    def append_effect(self, tool: str, arguments: Mapping[str, Any]) -> None:
        effect = {
            "server": self.server,
            "tool": tool,
            "arguments": arguments,
            "at": self.clock().isoformat(),
        }
        with (self.directory / "effects.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(effect, ensure_ascii=False) + "\n")

    def take_filed_fault(self, tool: str) -> Fault | None:
        """Return what the faults file says about the tool, and count it as used there."""
        if not self.faults_file.exists():
            return None
        with self.locked():
            faults = _read(Faults, self.faults_file, b"{}")
            fault = faults.get(f"{self.server}.{tool}")
            if fault is not None and fault.used() != fault:
                left = {**faults, f"{self.server}.{tool}": fault.used()}
                _replace(self.faults_file, Faults.dump_json(left, indent=2, exclude_unset=True))
        return fault

    def take_given_fault(self, tool: str) -> Fault:
        """Return what this process was told about the tool, and count it as used."""
        name = f"{self.server}.{tool}"
        fault = self.faults.get(name, Fault())
        self.faults[name] = fault.used()
        return fault


def _read(adapter: TypeAdapter[T], path: Path, absent: bytes) -> T:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        text = absent
    return _parse(adapter, text, str(path))


def _parse(adapter: TypeAdapter[T], text: bytes, source: str) -> T:
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole text"
        raise ToolError(f"{source} cannot be used: {place}: {first['msg']}") from None


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old or the new content; call it under the lock."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)
