"""Disks that are full, stores that are locked or may not be written, clocks that are set back.

Each fault is a real one, under a gateway that has a call to make: the call is not made, or it is
held as unknown where it had been made before the fault came; the error says which store and why;
and once the fault is over, the same process works on. What becomes of calls whose server ends is
told by `gateway/test_downstream.py`.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.fakes import Clock, FakeServers, succeeded
from support.gateway import ALICE, events_of, governed

from mcpuppet.audit.verify import verify_store
from mcpuppet.errors import InvalidInputError, StoreError
from mcpuppet.orchestrator import Orchestrator
from mcpuppet.session import events as e
from mcpuppet.session.outcome import Outcome
from mcpuppet.store import sqlite_file

pytestmark = pytest.mark.anyio

FULL_DISK = Path(__file__).with_name("full_disk.py")
WORKFLOW = "steps: {pay: {tool: bank.pay}}"
LOCKING = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""

Fault = Callable[[Path], AbstractContextManager[None]]


@contextmanager
def no_room(_store: Path) -> Iterator[None]:
    """No file of this process may grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Another process is in a transaction that does not end."""
    command = [sys.executable, "-c", LOCKING, str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        yield
        other.stdin.close()


@contextmanager
def read_only(store: Path) -> Iterator[None]:
    """The store may only be read by whoever this process is (root may write everything)."""
    was_root = os.geteuid() == 0
    modes = {path: path.stat().st_mode for path in (store.parent, *store.parent.rglob("*"))}
    for path in modes:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if was_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)
        for path, mode in modes.items():
            if path.exists():
                path.chmod(mode)


FAULTS: dict[str, tuple[Fault, str]] = {
    "no room": (no_room, "disk I/O error"),
    "locked": (locked, "another process kept it locked for over 0.1 s"),
}


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for other processes for a tenth of a second in place of five."""
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_MS", 100)


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> tuple[Fault, str]:
    return FAULTS[request.param]


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that other users can reach, unlike pytest's."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def verified(gateway: Orchestrator) -> bool:
    return verify_store(gateway.store.reader).ok


async def begun(gateway: Orchestrator) -> str:
    return (await gateway.start_workflow("tiny", {})).session_id


async def paid(gateway: Orchestrator, session: str) -> str:
    """Make the call of the only step; what became of it."""
    return (await gateway.call_tool(session, "bank.pay", {})).status


async def test_a_call_is_not_made_while_its_intent_cannot_be_written(
    tmp_path: Path, fault: tuple[Fault, str]
) -> None:
    occur, reason = fault
    async with governed(tmp_path, WORKFLOW) as (gateway, servers):
        session = await begun(gateway)
        store = gateway.settings.store
        with occur(store), pytest.raises(StoreError) as caught:
            await paid(gateway, session)
        assert str(caught.value) == f"the store {store} cannot be used: {reason}"
        assert servers.calls == []
        assert not any(isinstance(one, e.CallStarted) for one in events_of(gateway, session))
        assert await paid(gateway, session) == "succeeded"
        assert len(servers.calls) == 1
        assert verified(gateway)


async def test_a_call_whose_outcome_cannot_be_written_is_held(
    tmp_path: Path, fault: tuple[Fault, str]
) -> None:
    occur, reason = fault
    async with governed(tmp_path, WORKFLOW) as (gateway, servers):
        session, store = await begun(gateway), gateway.settings.store
        with ExitStack() as until_then:

            def pay(_arguments: dict[str, Any]) -> Outcome:
                until_then.enter_context(occur(store))
                return succeeded()

            servers.offer("bank.pay", pay)
            with pytest.raises(StoreError) as caught:
                await paid(gateway, session)
        assert str(caught.value) == f"the store {store} cannot be used: {reason}"
        servers.offer("bank.pay")
        await paid(gateway, session)
        assert len(servers.calls) == 1, "a call that may have happened is not made again"
        assert [step.status for step in (await gateway.status(session)).steps] == ["held"]
        events = events_of(gateway, session)
        assert any(isinstance(one, e.CallBecameUnknown) for one in events)
        assert not any(isinstance(one, e.CallSucceeded) for one in events)
        assert await paid(gateway, await begun(gateway)) == "succeeded"
        assert verified(gateway)


async def test_a_store_that_may_only_be_read_lets_no_call_through(open_directory: Path) -> None:
    async with governed(open_directory, WORKFLOW) as (gateway, _):
        session = await begun(gateway)
    async with governed(open_directory, WORKFLOW, node="node_2") as (gateway, servers):
        store = gateway.settings.store
        with read_only(store), pytest.raises(StoreError) as caught:
            await paid(gateway, session)
        assert str(store) in str(caught.value)
        assert str(caught.value).endswith("cannot be used: Permission denied")
        assert servers.calls == []
        assert await paid(gateway, session) == "succeeded"
        assert verified(gateway)


def can_mount() -> bool:
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not can_mount(), reason="needs a mount namespace of its own")
def test_a_disk_without_room_is_said_to_be_full(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=4m tmpfs "$1" && exec "$2" "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", tmp_path, sys.executable, FULL_DISK],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    said = json.loads(done.stdout)
    full = f"the store {tmp_path / 'mcpuppet.db'} cannot be used: the disk is full"
    assert said == {
        "before": full,
        "calls before": 0,
        "after": "succeeded",
        "during": full,
        "calls in all": 2,
        "steps": ["held"],
        "verified": True,
    }


LIMITED = """rules: house
version: 1.0.0
tools: {allow: ["bank.*"]}
policies:
  - {id: hourly, call: bank.pay, at_most: 1, per: 1h}
"""


async def test_a_clock_that_is_set_back_frees_nothing_that_was_used(tmp_path: Path) -> None:
    clock = Clock()
    servers = FakeServers()
    servers.offer("bank.pay")
    async with governed(
        tmp_path,
        servers=servers,
        clock=clock,
        rules=LIMITED,
        roles={"agent": frozenset()},
    ) as (gateway, _):
        assert await paid(gateway, "ses_before") == "succeeded"
        for hours in (-3, 2.5):
            clock.advance(hours=hours)
            assert await paid(gateway, "ses_after") == "denied"
        clock.advance(hours=2)
        assert await paid(gateway, "ses_after") == "succeeded"
        assert len(servers.calls) == 2
        assert verified(gateway)


APPROVED = """steps:
  ask: {approval: {roles: [boss], timeout: 4h}}
  pay: {tool: bank.pay, needs: ask}
"""


async def test_a_clock_that_is_set_back_revives_no_request(tmp_path: Path) -> None:
    clock = Clock()
    async with governed(tmp_path, APPROVED, clock=clock) as (gateway, servers):
        session = await begun(gateway)
        (waiting,) = (await gateway.status(session)).approvals
        clock.advance(hours=5)
        assert await gateway.sweep() == 1
        clock.advance(hours=-5)
        assert (await gateway.status(session)).status == "rejected"
        assert await paid(gateway, session) == "denied"
        assert await gateway.people.approvals() == []
        with pytest.raises(InvalidInputError, match=waiting.approval_id):
            await gateway.people.approve(waiting.approval_id, ALICE, waiting.content)
        assert servers.calls == []
        assert verified(gateway)


async def test_a_clock_that_is_set_back_keeps_the_order_of_the_records(tmp_path: Path) -> None:
    clock = Clock()
    async with governed(tmp_path, WORKFLOW, clock=clock) as (gateway, _):
        session = await begun(gateway)
        clock.advance(days=-30)
        assert await paid(gateway, session) == "succeeded"
        assert verified(gateway)
        kinds = [type(one) for one in events_of(gateway, session)]
    assert kinds.index(e.SessionOpened) < kinds.index(e.CallStarted) < kinds.index(e.CallSucceeded)
