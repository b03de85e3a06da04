"""`mcpuppet review` and `mcpuppet reviews`: bypasses that a person looks at afterwards."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, TokenFileOption
from mcpuppet.cli.output import put, put_json
from mcpuppet.cli.token_source import read_token


def review(
    review_id: Annotated[
        str, typer.Argument(metavar="review", help="As `mcpuppet reviews` lists it.")
    ],
    justified: Annotated[
        bool,
        typer.Option(
            "--justified/--unjustified",
            help="Whether the emergency was one; an unjustified bypass counts as a violation.",
        ),
    ],
    note: Annotated[str, typer.Option(help="How you know; goes into the audit trail.")],
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
) -> None:
    """Say whether a bypass was justified.

    Somebody else than who bypassed has to, with a role of the approval or of the bypass.

    Exit codes: 0 recorded; 1 refused; 2 there is no such review.
    """
    token = read_token(token_file)
    from mcpuppet.cli import deciding  # noqa: PLC0415 - a second of imports

    put(deciding.review(config, token, review_id, justified=justified, note=note))


def reviews(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show the bypasses that wait for a review."""
    # The store and Rich cost a second of imports that --help should not pay.
    from mcpuppet.app import utc_now  # noqa: PLC0415
    from mcpuppet.cli import documents, looking, pages  # noqa: PLC0415

    found = looking.reviews(config)
    if as_json:
        put_json({"reviews": [documents.review_document(one) for one in found]})
    else:
        pages.show(pages.reviews_page(found, utc_now()))
