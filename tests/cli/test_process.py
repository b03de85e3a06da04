"""`mcpuppet` as a process: terminals, pipes and signals."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.project import Project

ROOT = Path(__file__).parents[2]
MCPUPPET = [sys.executable, "-m", "mcpuppet"]
LONGEST = 30.0
"""Seconds within which a process must have said what a test waits for."""

if sys.platform == "win32":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)


def environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MCPUPPET_")}
    return {**kept, "TERM": "xterm", "NO_COLOR": "1", "PYTHONPATH": str(ROOT), **more}


class Terminal:
    """A process whose three streams are a terminal."""

    def __init__(self, arguments: tuple[str, ...], variables: dict[str, str]) -> None:
        self._ours, theirs = os.openpty()
        # A session of its own: with no controlling terminal, prompts use the one on stdin.
        self.process = subprocess.Popen(
            [*MCPUPPET, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(**variables),
            start_new_session=True,
        )
        os.close(theirs)
        self.screen = ""

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + LONGEST
        while words not in self.screen:
            assert self._read(deadline), self.screen

    def type(self, line: str) -> None:
        os.write(self._ours, line.encode() + b"\n")

    def end(self) -> int:
        deadline = time.monotonic() + LONGEST
        while self._read(deadline):
            pass
        return self.process.wait(LONGEST)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        try:
            read = os.read(self._ours, 65536) if ready else b""
        except OSError:  # Linux says so when the other side is closed
            return False
        self.screen += read.decode()
        return bool(read)


@contextmanager
def terminal(*arguments: str, **variables: str) -> Iterator[Terminal]:
    """`mcpuppet ARGUMENTS` at a terminal of its own."""
    opened = Terminal(arguments, variables)
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_a_person_at_a_terminal_is_asked(project: Project, answer: str, code: int) -> None:
    session, approval = project.asked()
    token = project.user("ann")
    before = project.kinds(session)
    with terminal("approve", approval, MCPUPPET_TOKEN=token) as ann:
        ann.wait_for("Approve exactly this? [y/N]")
        assert "amount = 4200" in ann.screen
        ann.type(answer)
        assert ann.end() == code, ann.screen
    assert (project.kinds(session) == before) == (code == 1)


def test_a_typed_token_is_not_shown(project: Project) -> None:
    _, approval = project.asked()
    token = project.user("ann")
    with terminal("deny", approval, "--reason", "no") as ann:
        ann.wait_for("Token: ")
        ann.type(token)
        assert ann.end() == 0, ann.screen
        assert token not in ann.screen
        assert "denied by ann" in ann.screen


def test_watching_follows_what_others_do(project: Project) -> None:
    session, approval = project.asked()
    token = project.user("ann")
    with subprocess.Popen(
        [*MCPUPPET, "show", session, "--watch", "--json"],
        stdout=subprocess.PIPE,
        env=environment(),
    ) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        project.run("deny", approval, "--reason", "no", token=token)
        last = json.loads(watching.stdout.readlines()[-1])
    assert (first["status"], last["status"]) == ("waiting_approval", "rejected")
    assert watching.returncode == 0


def test_a_terminal_shows_a_watched_session_until_its_end(project: Project) -> None:
    session, approval = project.asked()
    token = project.user("ann")
    with terminal("show", session, "--watch") as ann:
        ann.wait_for(approval)
        project.run("deny", approval, "--reason", "no", token=token)
        assert ann.end() == 0
        assert "rejected" in ann.screen


def test_interrupting_exits_with_130(project: Project) -> None:
    project.asked()
    with subprocess.Popen(
        [*MCPUPPET, "approvals", "--watch", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        json.loads(watching.stdout.readline())
        watching.send_signal(signal.SIGINT)
        assert b"Traceback" not in watching.stderr.read()
    assert watching.returncode == 130


def test_a_checkout_runs_without_installing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("mcpuppet ")


def test_an_output_that_cannot_show_a_character_ends_no_command(project: Project) -> None:
    session, _ = project.asked(payee="Zoë €")
    done = subprocess.run(
        [*MCPUPPET, "show", session],
        env=environment(PYTHONIOENCODING="ascii"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Zo\\xeb \\u20ac" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_output_that_cannot_be_written_is_a_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*MCPUPPET, "version"],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "error: the output cannot be written: No space left on device\n"
