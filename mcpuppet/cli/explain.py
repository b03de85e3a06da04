"""`mcpuppet explain`: what a finding code means, with a failing and a passing example."""

from __future__ import annotations

from typing import Annotated

import typer

from mcpuppet.cli.options import JsonOption
from mcpuppet.cli.output import put, put_json
from mcpuppet.errors import InvalidInputError


def explain(
    code: Annotated[
        str | None,
        typer.Argument(help="A code such as WF405, or its name.", show_default="a list of all"),
    ] = None,
    as_json: JsonOption = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Write the reference page of all codes.")
    ] = False,
) -> None:
    """Explain a finding of `mcpuppet validate`, with examples.

    Exit codes: 0 fine; 2 there is no such code.
    """
    # The codes stand beside the checks, whose imports other commands and --help should not pay.
    from mcpuppet.cli import finding_codes, finding_docs  # noqa: PLC0415

    if markdown:
        if code is not None or as_json:
            raise InvalidInputError("--markdown takes no code and no --json: it writes one page")
        put(*finding_docs.markdown())
    elif code is None:
        codes = finding_codes.all_codes()
        if as_json:
            put_json([finding_docs.described(one) for one in codes])
        else:
            put(*finding_docs.listed(codes))
    else:
        found = finding_codes.find_code(code)
        examples = finding_codes.examples_of(found)
        if as_json:
            put_json({**finding_docs.described(found), **finding_docs.shown(examples)})
        else:
            put(*finding_docs.page(found, examples))
