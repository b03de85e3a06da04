"""The demo's people: each decision is a run of the real command line in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from mcpuppet.cli.token_source import VARIABLE
from mcpuppet.demo.folder import DemoFolder, import_path


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command answered; its two outputs are kept apart, as they came."""

    code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> tuple[str, ...]:
        """All that it wrote, line by line, without the empty ones."""
        text = f"{self.stdout}\n{self.stderr}"
        return tuple(line.rstrip() for line in text.splitlines() if line.strip())


async def mcpuppet(folder: DemoFolder, *arguments: str, token: str = "") -> Ran:
    """Run `mcpuppet ARGUMENTS --config …`; `token` says who does, as the environment tells it."""
    command = [sys.executable, "-m", "mcpuppet", *arguments, "--config", str(folder.config)]
    done = await anyio.run_process(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        env=_environment(token),
        cwd=folder.root,
    )
    return Ran(done.returncode, _text(done.stdout), _text(done.stderr))


def _environment(token: str) -> Mapping[str, str]:
    own = {name: value for name, value in os.environ.items() if name != VARIABLE}
    identity = {VARIABLE: token} if token else {}
    # What the command says is printed again by the demo, which does the colours and the wrapping.
    return {**own, **import_path(), **identity, "NO_COLOR": "1", "COLUMNS": "200"}


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace")
