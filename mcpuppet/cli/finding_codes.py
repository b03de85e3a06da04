"""Every finding code with its examples: what `mcpuppet explain` and the reference page tell.

Owns where examples are and in which order they are shown. Runs no check.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mcpuppet.errors import InvalidInputError
from mcpuppet.examples_path import examples_folder
from mcpuppet.workflow.checks import CODES
from mcpuppet.workflow.findings import FURTHER_CODES, Code

GROUPS = {
    "1": "Files and shapes",
    "2": "References and types",
    "3": "The graph of steps",
    "4": "Guards and arguments",
    "5": "Approvals, policies and retries",
    "6": "Properties that a proof refutes",
    "7": "Pinned tools",
    "9": "Limits of the checks",
}
"""What the hundreds of a code say."""


@dataclass(frozen=True, slots=True)
class ExampleFile:
    """One file of an example: its name as shown, and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Examples:
    """The files that have the finding, those that do not, and those that both are checked with."""

    fails: tuple[ExampleFile, ...]
    passes: tuple[ExampleFile, ...]
    beside: tuple[ExampleFile, ...]


def all_codes() -> tuple[Code, ...]:
    """Every code there is, by number."""
    return tuple(sorted((*CODES, *FURTHER_CODES), key=lambda one: one.number))


def find_code(name: str) -> Code:
    """The code with this number or slug; raises InvalidInputError with the closest one."""
    known = {key: code for code in all_codes() for key in (code.number.lower(), code.slug)}
    code = known.get(name.lower())
    if code is None:
        close = _closest(name.lower(), known)
        meant = None if close is None else f"did you mean {close.number} ({close.slug})?"
        help = meant or "`mcpuppet explain` lists them"
        raise InvalidInputError(f"there is no finding code {name!r}; {help}")
    return code


def _closest(name: str, known: Mapping[str, Code]) -> Code | None:
    """The only code whose slug begins so, else the most similar one."""
    begin = {code.number: code for key, code in known.items() if name and key.startswith(name)}
    if len(begin) == 1:
        return next(iter(begin.values()))
    close = difflib.get_close_matches(name[:60], known, n=1)
    return known[close[0]] if close else None


def examples_of(code: Code) -> Examples:
    """The examples of a code; raises InvalidInputError when they were not installed."""
    folder = examples_folder() / code.number
    if not folder.is_dir():
        raise InvalidInputError(f"the examples of {code.number} are missing from {folder.parent}")
    return Examples(
        fails=tuple(_files(folder, "fails")),
        passes=tuple(_files(folder, "passes")),
        beside=tuple(
            _file(one, folder)
            for one in sorted(folder.iterdir())
            if one.is_file() and one.stem not in ("fails", "passes")
        ),
    )


def _files(folder: Path, name: str) -> Iterator[ExampleFile]:
    """One file, or those of a folder; settings come last."""
    single = folder / f"{name}.yaml"
    if single.is_file():
        yield _file(single, folder)
        return
    inside = (one for one in (folder / name).rglob("*") if one.is_file())
    for one in sorted(inside, key=lambda one: (one.name == "mcpuppet.yaml", one)):
        yield _file(one, folder)


def _file(path: Path, folder: Path) -> ExampleFile:
    return ExampleFile(path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8"))
