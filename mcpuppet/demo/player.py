"""Plays scenes, one after the other, on one stage, and says how it ended.

Owns the order of starting and stopping, and what a newcomer is told at the end. Knows nothing of
what a scene shows.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mcp import MCPError

from mcpuppet.app import open_desk
from mcpuppet.demo.folder import DemoFolder, import_path
from mcpuppet.demo.narrator import Narrator
from mcpuppet.demo.pace import Pace, StoppedError
from mcpuppet.demo.scenes import SCENES
from mcpuppet.demo.stage import Scene, Stage
from mcpuppet.errors import MCPuppetError
from mcpuppet.settings import load_settings


@dataclass(frozen=True, slots=True)
class Ending:
    """How the demo ended; `problem` is empty when all scenes went as announced."""

    problem: str = ""
    stopped: bool = False
    """Whether the onlooker ended it."""


async def play(names: Iterable[str], folder: DemoFolder, narrator: Narrator, pace: Pace) -> Ending:
    """Play the scenes of these names (all, if none is given) in their order, and tell how to go on.

    Nothing is left running when it returns or is cancelled.
    """
    wanted = frozenset(names)
    scenes = [one for one in SCENES if not wanted or one.name in wanted]
    async with open_desk(load_settings(folder.config)) as desk:
        stage = Stage(folder, desk, narrator, pace)
        try:
            ending = await _play(scenes, stage)
        finally:
            await stage.close()
    if not ending.problem and not ending.stopped:
        _tell_what_next(narrator, folder, stage.session_id)
    return ending


async def _play(scenes: Sequence[Scene], stage: Stage) -> Ending:
    for number, scene in enumerate(scenes, start=1):
        stage.narrator.scene(number, len(scenes), scene.name, scene.headline)
        try:
            if number == 1:
                await _sign_the_trail(stage)
            await scene.play(stage)
        except (StoppedError, MCPuppetError, MCPError, OSError, ExceptionGroup) as raised:
            return _ending(scene, raised)
    return Ending()


async def _sign_the_trail(stage: Stage) -> None:
    """Make the key that signs what is about to be recorded."""
    ran = await stage.command("audit", "init")
    stage.expect(ran.code == 0, f"`mcpuppet audit init` said: {' '.join(ran.lines)}")
    stage.narrator.line("person", "mcpuppet audit init")
    stage.narrator.line("", "made the key that signs all that is recorded from here on.")
    stage.narrator.gap()


def _ending(scene: Scene, raised: Exception) -> Ending:
    """How a scene ended that did not go as announced."""
    match raised:
        case ExceptionGroup():
            # Task groups wrap what went wrong in them; the first of it says the most.
            return _ending(scene, raised.exceptions[0])
        case StoppedError():
            return Ending(stopped=True)
        case MCPuppetError() | MCPError() | OSError():
            return Ending(problem=f"scene {scene.name}: {raised}")
    raise raised


def _tell_what_next(narrator: Narrator, folder: DemoFolder, session_id: str) -> None:
    command = "mcpuppet" if shutil.which("mcpuppet") else f"{sys.executable} -m mcpuppet"
    config = f"--config {folder.config}"
    narrator.heading("What next")
    narrator.tell(f"Everything that happened is in {folder.root}, for you to look at:")
    narrator.command(f"{command} report {config}")
    narrator.command(f"{command} show {session_id} {config}")
    narrator.command(f"{command} audit verify {config}")
    narrator.gap()
    if folder.token_file("alice").exists():
        narrator.tell(
            "To decide as alice (an admin too) or bob, add `--token-file` and the file of that "
            f"name in {folder.token_file('alice').parent}. Real tokens are kept where no agent "
            "can read."
        )
    narrator.tell(
        "The rules are the YAML files in its folder workflows, the settings are mcpuppet.yaml. To "
        "see it with a real AI, add this to claude_desktop_config.json (or to the configuration of "
        "any other MCP client), restart it, and ask for a payment:"
    )
    narrator.command(json.dumps({"mcpServers": {"mcpuppet": _client_entry(folder)}}, indent=2))
    narrator.gap()
    narrator.tell("The README goes on from here.")


def _client_entry(folder: DemoFolder) -> dict[str, object]:
    """The entry that has an MCP client start the gateway on the demo's folder."""
    arguments = ["-m", "mcpuppet", "serve", "--config", str(folder.config)]
    entry: dict[str, object] = {"command": sys.executable, "args": arguments}
    environment = import_path()
    return {**entry, "env": environment} if environment else entry
