"""New files that commands write: whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import typer

from mcpuppet.errors import InvalidInputError


@contextmanager
def new_file(path: Path | None) -> Iterator[TextIO]:
    """A text file (UTF-8) that is not there yet, or stdout; one not written whole is removed.

    Raises InvalidInputError when it cannot be made.
    """
    if path is None:
        yield typer.get_text_stream("stdout", encoding="utf-8", errors="replace")
        return
    try:
        file = path.open("x", encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidInputError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        with file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise
