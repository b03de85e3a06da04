"""What commands write: data on stdout, everything for people on stderr.

JSON is written in ASCII, so that no text in it can act on a terminal; all other text goes through
`plain` for the same reason. Knows nothing of what is written.
"""

from __future__ import annotations

import json
from typing import Any

import typer


def say(*lines: str) -> None:
    """Talk to the person, on stderr."""
    for line in lines:
        typer.echo(_harmless(line), err=True)


def put(*lines: str) -> None:
    """Lines of data, on stdout."""
    for line in lines:
        typer.echo(_harmless(line))


def put_json(document: Any) -> None:
    """One JSON document, on stdout."""
    typer.echo(json.dumps(document, indent=2))


def put_json_line(document: Any) -> None:
    """One JSON document on one line of its own, as a stream of them needs."""
    typer.echo(json.dumps(document, separators=(",", ":")))


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _harmless(line: str) -> str:
    from mcpuppet.cli.text import plain  # noqa: PLC0415 - Rich, which --help does not need

    return plain(line).plain
