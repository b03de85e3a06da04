"""Workflow files to picture files: which there are, which there should be, and how they differ.

Owns the file names of pictures. It prints nothing and decides no exit code; `cli.render` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcpuppet.errors import InvalidInputError
from mcpuppet.library import WorkflowFile
from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.diagram import Theme, draw, to_dot

PictureFormat = Literal["svg", "png", "dot"]
_FORMATS: tuple[PictureFormat, ...] = ("svg", "png", "dot")


@dataclass(frozen=True, slots=True)
class Difference:
    """A picture file that is not as it would be drawn now."""

    path: Path
    problem: Literal["missing", "stale", "leftover"]


def pictures(
    files: Iterable[WorkflowFile], formats: Sequence[str], theme: Theme
) -> dict[str, bytes]:
    """File name to contents of every picture of the drawable files.

    Raises RenderError when nothing can draw.
    """
    drawn: dict[str, bytes] = {}
    for file in files:
        if file.definition is not None:
            drawn |= _pictures_of(file.definition, formats, theme)
    return drawn


def _pictures_of(
    definition: WorkflowDefinition, formats: Sequence[str], theme: Theme
) -> dict[str, bytes]:
    dot = to_dot(definition, theme=theme)
    return {
        f"{definition.workflow}{_ending(one, theme)}": dot.encode()
        if one == "dot"
        else draw(dot, one)
        for one in _FORMATS
        if one in formats
    }


def _ending(one: str, theme: Theme) -> str:
    return f".dark.{one}" if theme == "dark" else f".{one}"


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
        endings = {_ending(one, theme) for one in formats}
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
