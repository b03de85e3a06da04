"""`mcpuppet render`: pictures of workflows, and the check that those on disk are up to date.

Written paths go to stdout, everything for people to stderr.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from mcpuppet.errors import InvalidInputError, MCPuppetError


class PictureFormat(StrEnum):
    """What a picture can be written as; typer reads repeated options from an enum only."""

    SVG = "svg"
    PNG = "png"
    DOT = "dot"


def render(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Workflow files, or folders of them.", show_default="workflows/"),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures.")] = Path(
        "diagrams"
    ),
    formats: Annotated[
        list[PictureFormat] | None,
        typer.Option(
            "--format", "-f", help="May be given several times.", show_default="svg, png and dot"
        ),
    ] = None,
    theme: Annotated[
        Literal["light", "dark"],
        typer.Option(help="Dark pictures are named `<workflow>.dark.<format>`."),
    ] = "light",
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; list stale, missing and leftover pictures."),
    ] = False,
) -> None:
    """Draw workflows as SVG, PNG and DOT. No Graphviz needs to be installed.

    Exit codes: 0 drawn or up to date; 1 a workflow has errors or a picture is out of date; 2 a path
    cannot be read or written, or nothing here can draw.
    """
    try:
        code = _render(paths or [Path("workflows")], output, formats, theme, check=check)
    except MCPuppetError as error:
        typer.echo(f"error: {error}", err=True)
        code = 2
    raise typer.Exit(code)


def _render(
    paths: list[Path],
    output: Path,
    formats: list[PictureFormat] | None,
    theme: Literal["light", "dark"],
    *,
    check: bool,
) -> int:
    # Reading and drawing workflows costs half a second of imports that `mcpuppet --help` and every
    # other command should not pay.
    from mcpuppet.cli import pictures  # noqa: PLC0415
    from mcpuppet.library import check_files  # noqa: PLC0415

    if output.exists() and not output.is_dir():
        raise InvalidInputError(f"{output} is a file; --output names a folder")
    wanted = formats or list(PictureFormat)
    files = check_files(paths)
    broken = [file for file in files if file.definition is None]
    for file in broken:
        for finding in file.errors:
            typer.echo(str(finding), err=True)
    drawn = pictures.pictures(files, wanted, theme)
    if check:
        # A broken file's pictures, and those of files that were not named, are nobody's leftovers.
        complete = not broken and all(path.is_dir() for path in paths)
        found = pictures.differences(output, drawn, wanted, theme, complete=complete)
        for one in found:
            typer.echo(f"{one.problem}: {one.path}", err=True)
        if found:
            typer.echo("`mcpuppet render` draws them anew; delete what is left over", err=True)
        return 1 if broken or found else 0
    for path in pictures.write_pictures(output, drawn):
        typer.echo(str(path))
    return 1 if broken else 0
