"""`mcpuppet report`: what the records of one session show."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpuppet.cli.edge import REFUSED
from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from mcpuppet.cli.output import put_json


def report(
    session: Annotated[
        str | None, typer.Argument(help="A session.", show_default="the one changed last")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Report on a session from its records, verifying them.

    Exit codes: 0 reported; 1 reported, but the records do not hold together; 2 no such session.
    """
    # The store and Rich cost a second of imports that --help should not pay.
    from mcpuppet.cli import pages, reporting  # noqa: PLC0415
    from mcpuppet.cli.report_view import render_report  # noqa: PLC0415

    found = reporting.report(config, session)
    if as_json:
        put_json(found.to_dict())
    else:
        render_report(found, pages.console())
    raise typer.Exit(REFUSED if found.chain.breaks else 0)
