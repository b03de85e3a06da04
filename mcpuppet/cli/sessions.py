"""`mcpuppet sessions`: the sessions in the store, the one changed last first."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from mcpuppet.cli.output import put_json


def sessions(
    config: ConfigOption = DEFAULT_CONFIG,
    status: Annotated[
        str | None,
        typer.Option(help="Only those whose run is so: active, waiting_approval, completed, …"),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    would_deny: Annotated[
        bool,
        typer.Option(
            "--would-deny", help="Only those with calls that observing rules would have denied."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List sessions, the one changed last first."""
    # The store and Rich cost a second of imports that --help should not pay.
    from mcpuppet.cli import documents, looking, pages  # noqa: PLC0415

    if would_deny:
        found = looking.sessions_that_would_deny(config, status, limit)
        if as_json:
            put_json({"sessions": [documents.near_misses_row_document(*one) for one in found]})
        else:
            pages.show(pages.near_misses_page(found))
        return
    rows = looking.sessions(config, status, limit)
    if as_json:
        put_json({"sessions": [documents.session_row_document(row) for row in rows]})
    else:
        pages.show(pages.sessions_page(rows))
