"""Which gateway processes are alive: a lock file per process, beside the store.

Each process holds an OS lock on `<store>.nodes/<node_id>.lock` for as long as it lives; the system
releases it at once when the process ends, however it ends. Deliberately knows nothing of what a
process does, nor of processes on other machines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from mcpuppet.errors import InvalidInputError
from mcpuppet.store.sqlite_file import store_errors

_NODE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SUFFIX = ".lock"
_WAIT_SECONDS = 5.0


class Nodes:
    """The processes that share the store at `store_path`, as `node_id` sees them.

    A node id belongs to one process for ever, and the process is alive as long as it keeps the
    object that joined. Constructing touches nothing; every method raises
    StoreError if the lock files cannot be used, and InvalidInputError for what cannot be a node id
    (ids are read from records, and become file names here).
    """

    def __init__(self, store_path: Path, node_id: str) -> None:
        self._directory = store_path.with_name(store_path.name + ".nodes")
        self._node_id = _checked(node_id)
        self._held: filelock.BaseFileLock | None = None

    def join(self) -> None:
        """Be alive from now on, and clean up after those that no longer are."""
        with self._guard():
            if self._held is None:
                held = _lock(self._file(self._node_id))
                held.acquire(timeout=_WAIT_SECONDS)
                self._held = held
            for file in self._directory.glob(f"*{_SUFFIX}"):
                if file != self._file(self._node_id):
                    _removed_if_dead(file)

    def leave(self) -> None:
        """Be alive no more; leaving again changes nothing."""
        if self._held is not None:
            with self._guard():
                self._held.release()
                self._file(self._node_id).unlink(missing_ok=True)
                self._held = None

    def is_alive(self, node_id: str) -> bool:
        """Whether the process of this id has joined and still runs."""
        if _checked(node_id) == self._node_id:
            return self._held is not None
        if not self._file(node_id).exists():
            return False
        with self._guard():
            return not _removed_if_dead(self._file(node_id))

    def _file(self, node_id: str) -> Path:
        return self._directory / f"{node_id}{_SUFFIX}"

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """One process at a time: else one could delete a file that another is about to lock."""
        with store_errors(self._directory):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            guard = self._directory.with_name(self._directory.name + _SUFFIX)
            with filelock.FileLock(guard, timeout=_WAIT_SECONDS, mode=0o600):
                yield


def _checked(node_id: str) -> str:
    if not _NODE_ID.fullmatch(node_id):
        raise InvalidInputError(
            f"{node_id!r} is not a node id: 1 to 64 letters, digits, '-' and '_' are"
        )
    return node_id


def _lock(file: Path) -> filelock.BaseFileLock:
    # Not local to a thread: a process is alive whichever of its threads joined.
    return filelock.FileLock(file, mode=0o600, thread_local=False)


def _removed_if_dead(file: Path) -> bool:
    lock = _lock(file)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return False
    lock.release()
    file.unlink(missing_ok=True)
    return True
