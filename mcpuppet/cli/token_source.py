"""Where a person's token comes from: a file of theirs, the environment, or a hidden prompt.

Never an argument: other processes can read those. Knows nothing of whose token it is.
"""

from __future__ import annotations

import os
import stat
import sys
from getpass import getpass
from pathlib import Path

from mcpuppet.errors import InvalidInputError, NotAuthorisedError

VARIABLE = "MCPUPPET_TOKEN"
_MOST_BYTES = 4096


def read_token(file: Path | None) -> str:
    """The token, unchecked.

    Raises NotAuthorisedError when there is none or others can read it, and InvalidInputError when
    the file cannot be read.
    """
    token = _from_file(file) if file is not None else os.environ.get(VARIABLE, "")
    if not token.strip() and file is None and can_ask():
        token = getpass("Token: ")
    if not token.strip():
        raise NotAuthorisedError(
            f"this needs a person's token: set {VARIABLE}, name a file with --token-file, or type "
            "it at a terminal; `mcpuppet user add` gives tokens out"
        )
    return token.strip()


def can_ask() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def _from_file(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            # Of the open file, not of the path: nobody can swap it in between.
            _check_private(file, os.fstat(opened.fileno()).st_mode)
            return opened.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise InvalidInputError(f"cannot read {file}: {error.strerror}") from error


def _check_private(file: Path, mode: int) -> None:
    # On Windows the mode says nothing about who may read.
    if os.name != "nt" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise NotAuthorisedError(
            f"others may use the token file {file} (mode {stat.S_IMODE(mode):04o}): "
            f"`chmod 600` it first"
        )
