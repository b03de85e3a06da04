"""`mcpuppet pin`: accept the servers' tools as they are now, and see when they change.

Differences go to stdout, one tool a line; everything for people to stderr.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcpuppet.cli.edge import REFUSED, UNUSABLE
from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption
from mcpuppet.cli.output import counted, put, say
from mcpuppet.lockfile import Drift, compare, lock_path, read_lock, write_lock

if TYPE_CHECKING:
    from mcpuppet.settings import Settings


def pin(
    config: ConfigOption = DEFAULT_CONFIG,
    accept: Annotated[
        bool, typer.Option("--accept", help="Pin the tools even if some changed or are gone.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; tell whether something is different.")
    ] = False,
) -> None:
    """Pin the servers' tools in mcpuppet.lock, as they are now.

    The file is beside the settings. A tool that is new is pinned; one that has changed or is gone
    only with --accept, after somebody read what is shown. Of a tool that is not in the file, what a
    gateway saw first counts as pinned.

    Exit codes: 0 pinned, or nothing is different; 1 a pinned tool changed or is gone, or with
    --check anything is different; 2 a file cannot be used, or a server does not answer.
    """
    if accept and check:
        raise typer.BadParameter("--accept writes and --check does not: give one of them")
    # Settings cost imports that --help should not pay.
    from mcpuppet.cli.config import read_settings  # noqa: PLC0415

    path = lock_path(config)
    lock = read_lock(path)
    settings = read_settings(config)
    tools = _listed(settings)
    drift = compare({} if lock is None else lock.tools, tools, _seen_first(settings))
    put(*_lines(drift))
    if check:
        _say_checked(path, drift, exists=lock is not None)
        raise typer.Exit(REFUSED if drift or lock is None else 0)
    if drift.breaks_pins and not accept:
        say(
            f"error: {path} is left as it was: {_summary(drift)}",
            "    help: read the changes above; `mcpuppet pin --accept` pins the tools as they are",
        )
        raise typer.Exit(REFUSED)
    if drift or lock is None:
        write_lock(path, tools)
    say(f"{path}: {counted(len(tools), 'tool')} pinned ({_summary(drift)})")


def _seen_first(settings: Settings) -> Mapping[str, str]:
    """The digests of the definitions that gateways on this store have pinned."""
    if not settings.store.exists():
        return {}
    from mcpuppet.store.sqlite_reader import open_view  # noqa: PLC0415 - as above

    with open_view(settings.store) as view:
        return view.pins()


def _listed(settings: Settings) -> Mapping[str, Any]:
    """The tools of all servers; ends the command when one of them does not answer."""
    # MCP costs a second of imports, which a mistake in the settings should not wait for.
    import anyio  # noqa: PLC0415

    from mcpuppet.server_tools import listed_tools  # noqa: PLC0415

    listed = anyio.run(partial(listed_tools, settings))
    say(*(f"warning: {one}" for one in listed.left_out), *(f"error: {e}" for e in listed.errors))
    if listed.errors:
        say("    help: tools are pinned when every server of the settings lists its own")
        raise typer.Exit(UNUSABLE)
    return listed.tools


def _lines(drift: Drift) -> Iterator[str]:
    yield from (f"+ {name}" for name in drift.added)
    yield from (f"- {name}" for name in drift.removed)
    for name, changes in drift.changed.items():
        yield f"~ {name}: {'; '.join(changes)}"


def _say_checked(path: Path, drift: Drift, *, exists: bool) -> None:
    if not exists:
        say(f"error: there is no {path}; `mcpuppet pin` writes it")
    elif drift:
        say(f"error: the servers' tools are not those of {path}: {_summary(drift)}")
    else:
        say(f"{path}: the servers' tools are as they were pinned")


def _summary(drift: Drift) -> str:
    counts = {"new": drift.added, "gone": drift.removed, "changed": drift.changed}
    words = [f"{len(tools)} {word}" for word, tools in counts.items() if tools]
    return ", ".join(words) or "nothing new"
