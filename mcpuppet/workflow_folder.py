"""Reading workflow files, and the files that they name, from a folder.

Owns what may be opened: ordinary files of limited size, and for files that another one names no
link anywhere on the way and nothing outside the folder. It does not know what is in them.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mcpuppet.errors import InvalidInputError
from mcpuppet.workflow.source import IncludeError, Read
from mcpuppet.workflow.yaml_reader import MAX_BYTES

# A named pipe must not keep the reader waiting. Windows has neither flag.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def read_workflow_file(path: Path) -> bytes:
    """The content of the file at `path`; one byte past the size limit when it is longer.

    Links are followed, as a person named the file or its folder. Raises InvalidInputError.
    """
    try:
        return _read(path, _NO_WAIT)
    except _NotAFileError as error:
        raise InvalidInputError(f"{path} is not an ordinary file") from error
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror or error}") from error


def folder_reader(folder: Path) -> Read:
    """What reads the files that a workflow file in `folder` names, by path from there."""

    def read(name: str) -> bytes:
        try:
            _check_way(folder, name)
            content = _read(folder / name, _NO_WAIT | _NO_LINK)
        except _NotAFileError as error:
            raise IncludeError("is not an ordinary file") from error
        except FileNotFoundError as error:
            raise IncludeError("does not exist", f"it is looked for in {folder}") from error
        except OSError as error:
            raise IncludeError(f"cannot be read: {error.strerror or error}") from error
        if len(content) > MAX_BYTES:
            raise IncludeError(f"has more than {MAX_BYTES:,} bytes")
        return content

    return read


class _NotAFileError(Exception):
    """A folder, a pipe or a device stands where a file should."""


def _check_way(folder: Path, name: str) -> None:
    """Refuse what `name` may not lead through, from the folder down to the file."""
    way = folder
    for part in name.split("/"):
        way = way / part
        if stat.S_ISLNK(os.lstat(way).st_mode):
            help = "put the file itself there: links are not followed"
            raise IncludeError(f"leads through {part!r}, which is a link", help)


def _read(path: Path, flags: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | flags)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise _NotAFileError
        return file.read(MAX_BYTES + 1)
