"""Workflow files to picture files: which there are, which there should be, and how they differ.

Owns the file names of pictures. It prints nothing and decides no exit code; `cli.render` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcpuppet.errors import InvalidInputError
from mcpuppet.workflow.checks import check
from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.diagram import Theme, draw, to_dot
from mcpuppet.workflow.findings import Finding
from mcpuppet.workflow.parser import parse_workflow

PictureFormat = Literal["svg", "png", "dot"]
_FORMATS: tuple[PictureFormat, ...] = ("svg", "png", "dot")


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    """A workflow file as read; `definition` is None when it has errors, which forbid drawing it."""

    path: Path
    definition: WorkflowDefinition | None
    errors: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A picture file that is not as it would be drawn now."""

    path: Path
    problem: Literal["missing", "stale", "leftover"]


def workflow_files(paths: Iterable[Path]) -> list[Path]:
    """The files named, and the YAML files directly in the folders named, sorted, each once.

    Raises InvalidInputError for a path that does not exist and a folder without workflows.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.suffix in (".yaml", ".yml"))
            if not inside:
                raise InvalidInputError(f"{path} holds no workflow: no file ends in .yaml or .yml")
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        else:
            raise InvalidInputError(f"{path} does not exist; name workflow files or their folder")
    return list(found)


def read_workflow(path: Path) -> WorkflowFile:
    """Read and check one file. Raises InvalidInputError when it cannot be read at all."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}") from error
    parsed = parse_workflow(source, str(path))
    errors = tuple(one for one in check(parsed) if one.severity == "error")
    return WorkflowFile(path, None if errors else parsed.definition, errors)


def pictures(
    files: Iterable[WorkflowFile], formats: Sequence[str], theme: Theme
) -> dict[str, bytes]:
    """File name to contents of every picture of the drawable files.

    Raises InvalidInputError when two files hold the same workflow, and RenderError when nothing can
    draw.
    """
    drawn: dict[str, bytes] = {}
    places: dict[str, Path] = {}
    for file in files:
        if file.definition is None:
            continue
        name = file.definition.workflow
        if name in places:
            raise InvalidInputError(f"{places[name]} and {file.path} both hold workflow {name!r}")
        places[name] = file.path
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
