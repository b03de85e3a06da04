"""`mcpuppet approvals`: what waits for a person, with all that there is to decide on."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from mcpuppet.cli.output import put_json, put_json_line


def approvals(
    config: ConfigOption = DEFAULT_CONFIG,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Until interrupted; JSON comes line by line.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show every request that waits for a person, the oldest first."""
    # The store and Rich cost a second of imports that --help should not pay.
    from mcpuppet.app import utc_now  # noqa: PLC0415
    from mcpuppet.cli import documents, looking, pages  # noqa: PLC0415

    if watch and as_json:
        looking.watch_approvals(
            config, lambda views: put_json_line(documents.approvals_document(views))
        )
    elif watch:
        with pages.shown_live(pages.approvals_page, utc_now) as shown:
            looking.watch_approvals(config, shown)
    elif as_json:
        put_json(documents.approvals_document(looking.approvals(config)))
    else:
        pages.show(pages.approvals_page(looking.approvals(config), utc_now()))
