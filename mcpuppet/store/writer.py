"""The one writer of a process: jobs from many tasks, few transactions, each durable.

Owns the writing thread, group commit and checkpoints. Deliberately does not know what a job
writes: a job is a function of the connection.

Jobs that wait together share one transaction and one fsync. Each runs in a savepoint, so a job that
fails undoes only itself. Nobody hears of a result, good or bad, before the transaction that it may
rest on is committed.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import apsw

from mcpuppet.errors import StoreError
from mcpuppet.store.sqlite_file import (
    BUSY_TIMEOUT_MS,
    maintenance_lock,
    open_writer,
    store_errors,
)

T = TypeVar("T")

GROUP_LIMIT = 256
CHECKPOINT_PAGES = 2_000
"""Length of the write-ahead log, in pages of 4 KiB, at which it is copied into the file."""
COPY_ROUNDS = 3
"""Each round copies what was written during the one before, so that ever less is left."""
RESTART_PAGES = 32_000
"""Length at which other processes are made to wait, for a moment, until it starts anew."""
RESTART_WAIT_MS = 100


@dataclass(frozen=True, slots=True)
class _Job:
    run: Callable[[apsw.Connection], Any]
    done: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


class GroupWriter:
    """Runs jobs on the thread that owns this process's only writing connection to `path`.

    Nothing is opened or started before the first job. After a failure of the file the connection is
    given up, and the next job opens the same file again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._connection: apsw.Connection | None = None
        self._inode: int | None = None
        self._log_pages = 0
        self._checkpoint_at = 0
        self._copying: threading.Thread | None = None

    async def run(self, job: Callable[[apsw.Connection], T]) -> T:
        """What `job` returns or raises, once it is durable; StoreError if it cannot be.

        Jobs run in the order of the calls. One whose caller is cancelled still runs.
        """
        self.require_open()
        if self._thread is None:
            # A daemon: a process that ends without closing the store must not hang. What is
            # half-written then is undone by whoever opens the file next.
            self._thread = threading.Thread(target=self._serve, name="store", daemon=True)
            self._thread.start()
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(job, done))
        return await done

    def require_open(self) -> None:
        """Raise StoreError once `close` has been called."""
        if self._closed:
            raise StoreError(f"the store {self._path} has been closed")

    async def close(self) -> None:
        """Finish the jobs that were asked for, close the file and end the thread."""
        self._closed = True
        self._jobs.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            group = [job]
            try:
                with store_errors(self._path):
                    results = self._commit(group)
            except StoreError as error:
                self._disconnect()
                # Those that came meanwhile fail at once: each would have to wait out a busy file.
                group += self._waiting()
                results = [_Failure(StoreError(str(error))) for _ in group]
            _tell(group, results)
            self._checkpoint()
        self._disconnect()

    def _commit(self, group: list[_Job]) -> list[Any]:
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        # Only now: whoever came while another process held the lock shares this transaction.
        group += self._waiting()
        results = [_attempt(connection, job, self._path) for job in group]
        connection.execute("COMMIT")
        return results

    def _waiting(self) -> list[_Job]:
        waiting: list[_Job] = []
        with suppress(queue.Empty):
            while len(waiting) < GROUP_LIMIT:
                job = self._jobs.get_nowait()
                if job is None:
                    self._jobs.put(None)  # nothing can stand behind it: `run` refuses
                    break
                waiting.append(job)
        return waiting

    def _connected(self) -> apsw.Connection:
        # SQLite writes on into a file that was deleted or replaced: acknowledged, and lost.
        if self._is_replaced():
            raise StoreError(f"the store {self._path} was replaced by another file while in use")
        if self._connection is None:
            self._connection = open_writer(self._path)
            self._connection.set_wal_hook(self._note_log_pages)
            self._inode = self._path.stat().st_ino
        return self._connection

    def _is_replaced(self) -> bool:
        return self._inode is not None and self._path.stat().st_ino != self._inode

    def _disconnect(self) -> None:
        if self._copying is not None:
            self._copying.join()
            self._copying = None
        if self._connection is None:
            return
        # The last connection deletes the log, by name: that could be the log of another file now.
        with suppress(apsw.Error, OSError):
            if not self._path.exists() or self._is_replaced():
                self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        with suppress(apsw.Error):  # what is not committed was not acknowledged
            self._connection.close()
        self._connection = None

    def _note_log_pages(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Have a long log copied into the file, unless another process is doing so.

        Nearly all of it is copied by a thread of its own, so that no commit waits for that. What
        was written meanwhile is little, and copied here: only when all is, the log starts anew.
        A reader that stays can keep it from that; then the next try waits until the log has grown
        by as much again.
        """
        if self._log_pages < CHECKPOINT_PAGES:
            self._checkpoint_at = CHECKPOINT_PAGES
            return
        if self._connection is None or self._log_pages < self._checkpoint_at:
            return
        if self._copying is None:
            self._copying = threading.Thread(
                target=_copy_log, args=(self._path,), name="store-copy", daemon=True
            )
            self._copying.start()
        elif not self._copying.is_alive():
            self._copying = None
            self._checkpoint_at = self._log_pages + CHECKPOINT_PAGES
            self._finish_checkpoint(self._connection)

    def _finish_checkpoint(self, connection: apsw.Connection) -> None:
        # What fails here loses nothing (the log is durable), and the next commit reports it.
        with suppress(apsw.Error, OSError), maintenance_lock(self._path, wait=False):
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            if self._log_pages >= RESTART_PAGES:
                _restart_log(connection)


def _copy_log(path: Path) -> None:
    """Copy nearly all of the log, on a connection of this thread's own."""
    with suppress(apsw.Error, OSError), maintenance_lock(path, wait=False):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            # The log belongs to the writer: whoever closes last would delete it.
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.execute("SELECT 1 FROM session LIMIT 1").fetchall()  # opens the log
            for _ in range(COPY_ROUNDS):
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        finally:
            connection.close()


def _restart_log(connection: apsw.Connection) -> None:
    """Under steady writing by several processes a passive checkpoint never catches up."""
    connection.set_busy_timeout(RESTART_WAIT_MS)
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
    finally:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)


def _attempt(connection: apsw.Connection, job: _Job, path: Path) -> Any:
    """The job's result, or its failure with all it wrote undone; raises what concerns the file."""
    connection.execute("SAVEPOINT job")
    try:
        result = job.run(connection)
    except (apsw.ConstraintError, apsw.TooBigError) as error:
        result = _Failure(StoreError(f"the store {path} refused what was to be written: {error}"))
    except apsw.Error:
        raise
    except Exception as error:  # noqa: BLE001 - it is its caller's; the thread serves others too
        result = _Failure(error)
    if isinstance(result, _Failure):
        connection.execute("ROLLBACK TO job")
    connection.execute("RELEASE job")
    return result


def _tell(jobs: Sequence[_Job], results: Sequence[Any]) -> None:
    told: defaultdict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]]
    told = defaultdict(list)
    for job, result in zip(jobs, results, strict=True):
        told[job.done.get_loop()].append((job.done, result))
    for loop, pairs in told.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, pairs)


def _settle(pairs: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for done, result in pairs:
        if done.done():
            continue  # its caller was cancelled
        if isinstance(result, _Failure):
            done.set_exception(result.error)
        else:
            done.set_result(result)
