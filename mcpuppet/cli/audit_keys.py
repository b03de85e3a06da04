"""What auditors name on the command line: the keys they trust, and checkpoints they kept."""

from __future__ import annotations

from pathlib import Path

from mcpuppet.audit.verifier import (
    KeptCheckpoint,
    VerifierError,
    VerifierKey,
    parse_key,
    split_notes,
)
from mcpuppet.errors import InvalidInputError


def trusted(text: str) -> list[VerifierKey]:
    """The keys that `--key` names: one, or those in a file, one a line; InvalidInputError."""
    path = Path(text)
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else [text]
        keys = [parse_key(one) for one in lines if one.strip()]
    except (OSError, ValueError, VerifierError) as error:
        raise InvalidInputError(
            f"{text!r} is neither a key, as `mcpuppet audit init` printed it, nor a file of keys: "
            f"{error}"
        ) from error
    if not keys:
        raise InvalidInputError(f"{text!r} holds no key")
    return keys


def kept_in(path: Path) -> list[KeptCheckpoint]:
    """The checkpoints in a file, one or many; raises InvalidInputError."""
    try:
        return split_notes(path.read_bytes(), str(path))
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror or error}") from error
    except VerifierError as error:
        raise InvalidInputError(f"{path} holds no checkpoints: {error}") from error
