"""`mcpuppet demo`: scenes that show what MCPuppet does, with nothing to set up before."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

from mcpuppet.cli.edge import REFUSED
from mcpuppet.cli.output import say
from mcpuppet.demo.names import SceneName

INTERRUPTED = 130


def demo(
    scene: Annotated[
        list[SceneName] | None,
        typer.Option(help="Only this scene; may be given again.", show_default="all five"),
    ] = None,
    step: Annotated[
        bool, typer.Option("--step", help="One key press per step, with the state shown.")
    ] = False,
    auto: Annotated[
        bool, typer.Option("--auto", help="No pauses; so it is without a terminal anyway.")
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="The folder to write to; new or empty.", show_default="a new temporary one"
        ),
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0.1, max=100, help="2 halves the pauses, 0.5 doubles them.")
    ] = 1.0,
) -> None:
    """See it work: a scripted AI, a real gateway, real servers. No network, no API key.

    Exit codes: 0 all went as announced; 1 something did not; 2 the folder cannot be used.
    """
    # Rich, MCP and the store cost two seconds of imports that --help should not pay.
    import anyio  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from mcpuppet.demo import player  # noqa: PLC0415
    from mcpuppet.demo.folder import write_folder  # noqa: PLC0415
    from mcpuppet.demo.narrator import Narrator  # noqa: PLC0415
    from mcpuppet.demo.pace import Pace  # noqa: PLC0415

    pace = Pace(_manner(step=step, auto=auto), speed, _wait_for_key)
    folder = write_folder(keep or Path(tempfile.mkdtemp(prefix="mcpuppet-demo-")))
    narrator = Narrator(Console(highlight=False, markup=False, emoji=False))
    narrator.opening(str(folder.root))
    try:
        ending = anyio.run(player.play, scene or (), folder, narrator, pace)
    except KeyboardInterrupt:
        ending = player.Ending(stopped=True)
    if ending.problem:
        say(f"unexpected: {ending.problem}", f"{folder.log} may say more")
        raise typer.Exit(REFUSED)
    if ending.stopped:
        say(f"stopped; what was done so far is in {folder.root}")
        raise typer.Exit(INTERRUPTED)


def _manner(*, step: bool, auto: bool) -> Literal["auto", "timed", "step"]:
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    if step and not interactive:
        say("--step needs a terminal; going on as with --auto")
    if auto or not interactive:
        return "auto"
    return "step" if step else "timed"


def _wait_for_key() -> bool:
    """Wait for a key; False for Ctrl-C and the like, which a terminal in raw mode sends as keys."""
    try:
        typer.getchar()
    except (KeyboardInterrupt, EOFError):
        return False
    return True
