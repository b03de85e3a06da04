"""What is drawn to picture files: which there are, which there should be, and how they differ.

Owns the file names of pictures. It prints nothing and decides no exit code; `cli.render` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcpuppet.app import Desk, utc_now
from mcpuppet.cli.desk import at_desk
from mcpuppet.errors import InvalidInputError
from mcpuppet.library import WorkflowFile
from mcpuppet.run_pictures import RunPicture, run_picture
from mcpuppet.session.call import Principal
from mcpuppet.workflow.definition import Definition
from mcpuppet.workflow.diagram import LiveState, PictureFormat, Theme, picture

_ENDINGS: Mapping[PictureFormat, str] = {
    "svg": "svg",
    "png": "png",
    "dot": "dot",
    "mermaid": "mmd",
    "html": "html",
}
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Drawable:
    """One thing to draw, and the name of its files without the ending."""

    name: str
    definition: Definition
    live: LiveState | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """A picture file that is not as it would be drawn now."""

    path: Path
    problem: Literal["missing", "stale", "leftover"]


def drawables(files: Iterable[WorkflowFile]) -> list[Drawable]:
    """The workflows and rules in which nothing is wrong; shared files have no picture."""
    found = (file.definition or file.rules for file in files)
    return [Drawable(one.name, one) for one in found if one is not None]


def session_drawable(config: Path, session_id: str, at: int | None) -> Drawable:
    """A session's run, after record `at` or now, by the settings; raises as `run_picture` does."""

    async def work(desk: Desk) -> RunPicture:
        def principal(name: str) -> Principal:
            return desk.settings.principal(name).principal

        with desk.store.reader() as reader:
            return run_picture(reader, session_id, at, principal, utc_now())

    found = at_desk(config, work)
    # A session id is anybody's text, and must not lead out of the folder.
    name = re.sub(r"[^A-Za-z0-9_-]", "_", session_id)[:_LONGEST_NAME]
    return Drawable(name if at is None else f"{name}.at-{at}", found.definition, found.live)


def pictures(things: Iterable[Drawable], formats: Sequence[str], theme: Theme) -> dict[str, bytes]:
    """File name to contents of every picture. Raises RenderError when nothing can draw."""
    return {
        f"{one.name}{_ending(format, theme)}": picture(
            one.definition, format, theme=theme, live=one.live
        )
        for one in things
        for format in _ENDINGS
        if format in formats
    }


def _ending(format: PictureFormat, theme: Theme) -> str:
    """A theme that was chosen is part of the name; the pictures that suit every page are not."""
    return f".{_ENDINGS[format]}" if theme == "auto" else f".{theme}.{_ENDINGS[format]}"


def write_pictures(folder: Path, drawn: Mapping[str, bytes]) -> list[Path]:
    """Write the pictures and return their paths. Raises InvalidInputError when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in drawn.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise InvalidInputError(f"{folder} cannot be written: {error.strerror or error}") from error
    return [folder / name for name in drawn]


def differences(
    folder: Path,
    drawn: Mapping[str, bytes],
    formats: Sequence[str],
    theme: Theme,
    *,
    complete: bool,
) -> list[Difference]:
    """How the folder's picture files differ, byte for byte, from what would be drawn.

    With `complete`, a picture in these formats and this theme that nothing draws is `leftover`.
    """
    found = [
        Difference(folder / name, problem)
        for name, content in drawn.items()
        if (problem := _problem(folder / name, content)) is not None
    ]
    if complete and folder.is_dir():
        endings = {_ending(one, theme) for one in _ENDINGS if one in formats}
        found += [
            Difference(path, "leftover")
            for path in sorted(folder.iterdir())
            if path.name not in drawn and "".join(path.suffixes) in endings
        ]
    return found


def _problem(path: Path, content: bytes) -> Literal["missing", "stale"] | None:
    try:
        return None if path.read_bytes() == content else "stale"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}") from error
