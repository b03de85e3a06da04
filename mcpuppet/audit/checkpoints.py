"""Where checkpoints are kept: the history of all of them, the latest, and a second place.

Owns files that only ever grow, and that survive a crash at any moment. Deliberately does not know
what a checkpoint says. In a directory, `checkpoints` holds every signed note, a blank line between
two, and `checkpoint` the latest (C2SP tlog-tiles names it so).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from mcpuppet.audit.verifier import KeptCheckpoint, VerifierError, split_notes
from mcpuppet.errors import AuditError, InvalidInputError

HISTORY = "checkpoints"
LATEST = "checkpoint"
_SIGNATURE = "\n\u2014 ".encode()
"""How the last line of a note begins (C2SP signed-note)."""
_TAIL = 64 * 1024
"""Bytes at the end of a history that are looked at; no note is longer."""


class CheckpointFiles:
    """The checkpoints of one directory; one process at a time may write."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.history_path = directory / HISTORY

    def last(self) -> str | None:
        """The note that was kept last, by the history; None before the first."""
        try:
            with self.history_path.open("rb") as file:
                start = max(0, file.seek(0, os.SEEK_END) - _TAIL)
                file.seek(start)
                tail = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AuditError(f"{self.history_path} cannot be read: {error}") from error
        whole = tail[: _whole(tail)]
        if start and not whole:
            raise AuditError(f"{self.history_path} does not end with a checkpoint")
        # A note has one blank line in it, and one before it unless it is the first.
        text, blank, signatures = whole.rpartition(b"\n\n")
        first = text.rfind(b"\n\n")
        note = text[first + 2 if first >= 0 else 0 :] + blank + signatures
        return note.decode("utf-8", "replace") or None

    def latest(self) -> list[KeptCheckpoint]:
        """What stands in the file of the latest one: nothing before the first."""
        path = self._directory / LATEST
        try:
            return split_notes(path.read_bytes(), str(path))
        except FileNotFoundError:
            return []
        except (OSError, VerifierError) as error:
            raise AuditError(f"{path} cannot be read: {error}") from error

    def history(self) -> list[KeptCheckpoint]:
        """Every checkpoint, the first one first; raises AuditError if that cannot be read."""
        try:
            data = self.history_path.read_bytes()
            return split_notes(data[: _whole(data)], str(self.history_path)) if data else []
        except FileNotFoundError:
            return []
        except (OSError, VerifierError) as error:
            raise AuditError(f"{self.history_path} cannot be read: {error}") from error

    def append(self, note: str) -> None:
        """Keep one more note, durably. A note that was cut off by a crash before is removed."""
        data = note.encode()
        with self.history_path.open("ab+") as file:
            length = file.seek(0, os.SEEK_END)
            start = max(0, length - _TAIL)
            file.seek(start)
            whole = start + _whole(file.read())
            file.truncate(whole)
            file.write(b"\n" + data if whole else data)
            file.flush()
            os.fsync(file.fileno())
        _replace(self._directory / LATEST, data)

    def copy_to(self, place: Path) -> None:
        """Bring a second place up to date, from wherever it stands.

        Raises InvalidInputError when it cannot be written, and AuditError when it holds other
        checkpoints than these; it is then left as it is, for it is evidence.
        """
        try:
            if not place.is_dir():
                # Made here, it could lie below an empty mount point, on this very disk.
                raise InvalidInputError(f"{place} is not a directory: make it, or mount it")
            with self.history_path.open("rb") as own, (place / HISTORY).open("ab+") as copy:
                length = copy.seek(0, os.SEEK_END)
                start = max(0, length - _TAIL)
                copy.seek(start)
                own.seek(start)
                if own.read(length - start) != copy.read():
                    raise AuditError(
                        f"{place / HISTORY} holds other checkpoints than {self.history_path}: one "
                        "of the two was changed; `mcpuppet audit verify` compares both with the "
                        "store"
                    )
                copy.write(own.read())
                copy.flush()
                os.fsync(copy.fileno())
            _replace(place / LATEST, (self._directory / LATEST).read_bytes())
        except OSError as error:
            raise InvalidInputError(
                f"checkpoints cannot be copied to {place}: {error.strerror or error}"
            ) from error


def _whole(data: bytes) -> int:
    """The length of `data` without a note at its end that was cut off while it was written."""
    end = len(data)
    while end:
        signature = data.rfind(_SIGNATURE, 0, end)
        line_end = data.find(b"\n", signature + 1)
        if signature < 0:
            return 0
        if line_end >= 0:
            return line_end + 1
        end = signature
    return 0


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    # A directory cannot be opened on Windows, where a rename is durable without.
    with suppress(PermissionError):
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
