"""`mcpuppet render`: pictures of workflows and of runs, and the check that those on disk are fresh.

Written paths go to stdout, everything for people to stderr.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from mcpuppet.cli.edge import exit_code, say_error
from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption
from mcpuppet.cli.output import put, say
from mcpuppet.errors import InvalidInputError, MCPuppetError

_Theme = Literal["light", "dark", "auto"]


class PictureFormat(StrEnum):
    """What a picture can be written as; typer reads repeated options from an enum only."""

    SVG = "svg"
    PNG = "png"
    DOT = "dot"
    MERMAID = "mermaid"
    HTML = "html"


_USUAL = (PictureFormat.SVG, PictureFormat.PNG, PictureFormat.DOT)


def render(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Workflow and rules files, or folders of them.", show_default="workflows/"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the pictures.",
            show_default="diagrams/, and this folder for a session",
        ),
    ] = None,
    formats: Annotated[
        list[PictureFormat] | None,
        typer.Option(
            "--format", "-f", help="May be given several times.", show_default="svg, png and dot"
        ),
    ] = None,
    theme: Annotated[
        _Theme,
        typer.Option(
            help="`auto` follows the reader in SVG and HTML, and is light elsewhere; the others "
            "are named `<workflow>.<theme>.<format>`."
        ),
    ] = "auto",
    session: Annotated[
        str | None, typer.Option("--session", help="Draw where the latest run of a session is.")
    ] = None,
    at: Annotated[
        int | None, typer.Option("--at", help="Draw the session as it was right after that record.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; list stale, missing and leftover pictures."),
    ] = False,
) -> None:
    """Draw workflows, rules and runs; Graphviz is not needed.

    Exit codes: 0 drawn or up to date; 1 a workflow has errors, a picture is out of date, or the
    records of the session do not hold; 2 a path, session or record cannot be used, or nothing here
    can draw.
    """
    wanted = [one.value for one in formats or _USUAL]
    try:
        if session is None:
            _refuse_at(at)
            folder = output or Path("diagrams")
            code = _render_files(paths or [Path("workflows")], folder, wanted, theme, check=check)
        else:
            _refuse_files(paths, check=check)
            code = _render_session(config, session, at, output or Path(), wanted, theme)
    except MCPuppetError as error:
        say_error(error)
        code = exit_code(error)
    raise typer.Exit(code)


def _refuse_at(at: int | None) -> None:
    if at is not None:
        raise InvalidInputError("--at is a record of a session: --session names the session")


def _refuse_files(paths: list[Path] | None, *, check: bool) -> None:
    if paths:
        raise InvalidInputError("a session's run is drawn from its records: name no files with it")
    if check:
        raise InvalidInputError("--check is for pictures of workflow files, not of sessions")


def _render_session(
    config: Path, session: str, at: int | None, output: Path, formats: list[str], theme: _Theme
) -> int:
    # The store and the drawing cost a second of imports that --help should not pay.
    from mcpuppet.cli import pictures  # noqa: PLC0415

    _refuse_file(output)
    drawn = pictures.pictures([pictures.session_drawable(config, session, at)], formats, theme)
    put(*map(str, pictures.write_pictures(output, drawn)))
    return 0


def _render_files(
    paths: list[Path], output: Path, formats: list[str], theme: _Theme, *, check: bool
) -> int:
    from mcpuppet.cli import pictures  # noqa: PLC0415 - as above
    from mcpuppet.library import check_files  # noqa: PLC0415 - as above

    _refuse_file(output)
    files = check_files(paths)
    broken = [file for file in files if file.errors]
    for file in broken:
        for finding in file.errors:
            say(*str(finding).split("\n"))
    for file in files:
        if file.parsed.shared is not None and file not in broken:
            say(f"{file.path} is shared by other files and has no picture of its own")
    drawn = pictures.pictures(pictures.drawables(files), formats, theme)
    if not check:
        put(*map(str, pictures.write_pictures(output, drawn)))
        return 1 if broken else 0
    # A broken file's pictures, and those of files that were not named, are nobody's leftovers.
    complete = not broken and all(path.is_dir() for path in paths)
    found = pictures.differences(output, drawn, formats, theme, complete=complete)
    for one in found:
        say(f"{one.problem}: {one.path}")
    if found:
        say("`mcpuppet render` draws them anew; delete what is left over")
    return 1 if broken or found else 0


def _refuse_file(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise InvalidInputError(f"{output} is a file; --output names a folder")
