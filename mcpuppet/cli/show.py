"""`mcpuppet show`: one session as it is now, or as it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcpuppet.cli.edge import TIMED_OUT
from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from mcpuppet.cli.output import put_json, put_json_line, say


def show(
    session: Annotated[str, typer.Argument(help="As `mcpuppet sessions` lists it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Until the run ends; JSON comes line by line.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Watch for so many seconds, then exit with 4.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a session: its steps, what is legal, what waits."""
    # The store and Rich cost a second of imports that --help should not pay.
    from mcpuppet.app import utc_now  # noqa: PLC0415
    from mcpuppet.cli import documents, looking, pages  # noqa: PLC0415

    if watch:
        _watch(config, session, timeout, as_json=as_json)
    elif as_json:
        put_json(documents.session_document(looking.session(config, session)))
    else:
        pages.show(pages.session_page(looking.session(config, session), utc_now()))


def _watch(config: Path, session: str, timeout: float | None, *, as_json: bool) -> None:
    from mcpuppet.app import utc_now  # noqa: PLC0415 - as above
    from mcpuppet.cli import documents, looking, pages  # noqa: PLC0415 - as above

    if as_json:
        ended = looking.watch_session(
            config,
            session,
            lambda sight: put_json_line(documents.session_document(sight)),
            timeout,
        )
    else:
        with pages.shown_live(pages.session_page, utc_now) as shown:
            ended = looking.watch_session(config, session, shown, timeout)
    if not ended:
        say(f"the run of {session} has not ended within {timeout:g} s")
        raise typer.Exit(TIMED_OUT)
