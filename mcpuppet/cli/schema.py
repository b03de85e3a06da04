"""`mcpuppet schema`: the JSON Schema of the language, for editors that complete and check YAML."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from mcpuppet.cli.output import put, say
from mcpuppet.errors import InvalidInputError

SCHEMA_PLACE = Path(".mcpuppet", "workflow.v1.json")
"""Where the schema is in a project's folder."""
SCHEMA_LINE = f"# yaml-language-server: $schema=../{SCHEMA_PLACE.as_posix()}"
"""The first line of a file in a project's `workflows`, for editors that read it."""


def schema(
    install: Annotated[
        bool, typer.Option("--install", help=f"Write it to {SCHEMA_PLACE} in this folder.")
    ] = False,
) -> None:
    """Print the JSON Schema of workflows, rules and shared files.

    Exit codes: 0 printed or written; 2 it cannot be written.
    """
    if not install:
        typer.echo(schema_text(), nl=False)
        return
    try:
        SCHEMA_PLACE.parent.mkdir(exist_ok=True)
        SCHEMA_PLACE.write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        problem = error.strerror or error
        raise InvalidInputError(f"cannot write {SCHEMA_PLACE}: {problem}") from error
    put(str(SCHEMA_PLACE))
    say("Editors use it for files in workflows/ that begin with this line:", f"  {SCHEMA_LINE}")


def schema_text() -> str:
    """The schema as it was shipped."""
    return files("mcpuppet").joinpath("workflow.v1.json").read_text(encoding="utf-8")
