"""The log that a store's records make up: its tree, its signed checkpoints, and exports of it.

Owns when something may be signed: only what the store still holds as it was signed before, and all
that came after it. Deliberately knows neither people nor the event loop; every call blocks, and one
process at a time may sign.

In its directory: `key` (secret), `tile/` (the tree), `checkpoints` (every one), `checkpoint` (the
latest) and `lock`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import TextIO

import filelock

from mcpuppet.audit import export_lines
from mcpuppet.audit.checkpoints import CheckpointFiles
from mcpuppet.audit.notes import SigningKey, checkpoint_text, load_key, sign_note, write_key
from mcpuppet.audit.reader import OpenReader, SessionReader
from mcpuppet.audit.record import Record, open_record
from mcpuppet.audit.signed_log import Kept
from mcpuppet.audit.tree import TILE_WIDTH, TileTree, stored_size, tile_path
from mcpuppet.audit.verifier import (
    HASH_SIZE,
    Checkpoint,
    KeptCheckpoint,
    VerifierError,
    VerifierKey,
    check_signatures,
    parse_checkpoint,
    parse_key,
    parse_note,
)
from mcpuppet.errors import AuditError, InvalidInputError, MCPuppetError, StoreError
from mcpuppet.settings import AuditSettings

KEY = "key"
_LOCK_WAIT = 3.0
"""Seconds to wait for another process that signs; it takes milliseconds."""
_COMPARED = 1_000
"""How many of the records signed last are compared with the tiles before more is signed."""
_RUN_ENDED = b'"kind":"RunEnded"'
"""What the body of such a record holds; `audit.record.seal` writes it."""
_NAMES_A_TEXT = (b"RunStarted", b"RulesAdopted")
"""The kinds of record whose `hash` is that of a text."""
UNSIGNED = "unsigned"
"""The origin of an export's log that nobody signed."""


@dataclass(frozen=True, slots=True)
class News:
    """What the store holds beyond a leaf."""

    records: int
    run_ended: bool


class AuditLog:
    """Integrates a store's records into the tree and signs checkpoints of it.

    What goes wrong in the second place, where checkpoints are copied to, is told to `report`.
    """

    def __init__(
        self,
        open_reader: OpenReader,
        settings: AuditSettings,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.directory = settings.directory
        self._open_reader = open_reader
        self._report = report
        self._reported = ""
        self._files = CheckpointFiles(settings.directory)

    # --- the key --------------------------------------------------------------------------------

    @property
    def is_signed(self) -> bool:
        """Whether there is a key to sign with."""
        return (self.directory / KEY).exists()

    def verifier_key(self) -> str:
        """The public half of the key, for auditors; raises InvalidInputError without a key."""
        return self._key().verifier_key

    @contextmanager
    def new_key(self, name: str) -> Iterator[SigningKey]:
        """A new key of the log, kept if the block ends well: in it its creation is recorded.

        Makes the directory (0700) and the file (0600). Raises InvalidInputError when there is a key
        already, or the directory cannot be used.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInputError(
                f"{self.directory} cannot be made: {error.strerror or error}"
            ) from error
        with self._alone():
            if self.is_signed:
                raise InvalidInputError(
                    f"there is a signing key already, {self.directory / KEY}; its public half is "
                    f"{self.verifier_key()}"
                )
            key = SigningKey.create(name)
            yield key
            write_key(self.directory / KEY, key)

    def _key(self) -> SigningKey:
        if not self.is_signed:
            raise InvalidInputError(
                f"there is no signing key {self.directory / KEY}: `mcpuppet audit init` makes it"
            )
        return load_key(self.directory / KEY)

    # --- checkpoints ----------------------------------------------------------------------------

    def latest(self) -> Checkpoint | None:
        """The checkpoint that was signed last, not verified; None before the first."""
        note = self._files.last()
        return None if note is None else read_checkpoint(note)

    def news(self, since: int) -> News:
        """What was recorded from leaf `since` on."""
        records, run_ended = 0, False
        with self._open_reader() as reader:
            for _, record in reader.log(since):
                records += 1
                run_ended = run_ended or _RUN_ENDED in record.body
        return News(records, run_ended)

    def checkpoint(self, *, thorough: bool = False) -> Checkpoint | None:
        """Sign a checkpoint of all that is recorded; None if nothing came since the last one.

        Before it, the store is compared with the tiles: its last records that were signed, or with
        `thorough` all of them. Raises AuditError, and signs nothing, if the store is not an
        extension of what was signed before, InvalidInputError without a key that can be used, and
        StoreError when something cannot be read or written.
        """
        key = self._key()
        try:
            with self._alone():
                signed = self._sign(key, thorough)
        except OSError as error:
            raise StoreError(
                f"{self.directory} cannot be used: {error.strerror or error}"
            ) from error
        self._copy()
        return signed

    def _sign(self, key: SigningKey, thorough: bool) -> Checkpoint | None:
        last = self._verified_last(key)
        size = 0 if last is None else last.size
        tree = TileTree(self.directory, size)
        if last is not None and tree.root() != last.root:
            raise AuditError(
                f"nothing was signed: the tiles in {self.directory} do not give the root of the "
                "last checkpoint; they were changed"
            )
        with self._open_reader() as reader:
            start = 0 if thorough else max(0, size - _COMPARED)
            _compare(reader.leaves(start), self.leaves(start), start, size)
            tree.extend(reader.leaves(size))
        if tree.size == size:
            return None
        text = checkpoint_text(key.name, tree.size, tree.root())
        self._files.append(sign_note(text, key))
        return parse_checkpoint(text)

    def _verified_last(self, key: SigningKey) -> Checkpoint | None:
        note = self._files.last()
        if note is None:
            if self._files.latest():  # it is written after the history
                raise AuditError(
                    f"nothing was signed: {self._files.history_path} is gone or empty, and the "
                    "latest checkpoint is there: put it back, from the second place if there is one"
                )
            return None
        try:
            check_signatures(parse_note(note), [parse_key(key.verifier_key)])
        except VerifierError as error:
            raise AuditError(f"nothing was signed: the last checkpoint: {error}") from error
        return read_checkpoint(note)

    def _copy(self) -> None:
        """Bring the second place up to date; what fails is tried again at the next checkpoint."""
        place = self.settings.copy_to
        if place is None:
            return
        try:
            self._files.copy_to(place)
            problem = ""
        except MCPuppetError as error:
            problem = f"the audit trail's second place is behind: {error}"
        if problem and problem != self._reported:
            self._report(problem)
        self._reported = problem

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The only process that signs."""
        lock = filelock.FileLock(self.directory / "lock", timeout=_LOCK_WAIT, mode=0o600)
        try:
            lock.acquire()
        except (filelock.Timeout, OSError) as error:
            raise StoreError(f"{self.directory} cannot be locked: {error}") from error
        try:
            yield
        finally:
            lock.release()

    # --- verification ---------------------------------------------------------------------------

    def kept(
        self, keys: Sequence[VerifierKey] = (), checkpoints: Sequence[KeptCheckpoint] = ()
    ) -> Kept:
        """What a verification compares the store with: own checkpoints, their copies, and these."""
        found, problems = list(checkpoints), list[str]()
        places = [self._files]
        if self.settings.copy_to is not None:
            places.append(CheckpointFiles(self.settings.copy_to))
        for files in places:
            try:
                found += files.history()
                found += files.latest()
            except AuditError as error:
                problems.append(str(error))
        if self.settings.copy_to is not None and not self.settings.copy_to.is_dir():
            problems.append(f"the second place {self.settings.copy_to} is not there")
        # Most of the copies are the very same notes.
        unique = {one.note: one for one in reversed(found)}
        return Kept(tuple(reversed(unique.values())), keys, self.leaves, tuple(problems))

    def leaves(self, start: int = 0) -> Iterator[bytes]:
        """The hashes in the tiles, from a leaf on; they end where a tile is missing."""
        size = stored_size(self.directory)
        for index in range(start // TILE_WIDTH, -(-size // TILE_WIDTH)):
            width = min(TILE_WIDTH, size - index * TILE_WIDTH)
            try:
                tile = (self.directory / tile_path(0, index, width)).read_bytes()
            except OSError:
                return
            first = max(0, start - index * TILE_WIDTH)
            for at in range(first * HASH_SIZE, len(tile), HASH_SIZE):
                yield tile[at : at + HASH_SIZE]


def latest_checkpoint(settings: AuditSettings) -> str | None:
    """The signed note of the latest checkpoint; None before the first."""
    return CheckpointFiles(settings.directory).last()


def write_export(reader: SessionReader, note: str | None, out: TextIO) -> int:
    """Write the whole log as JSON lines; gives the number of records.

    `note` is the signed checkpoint to end with; it has to be read before the reader is opened.
    With it comes the text of every workflow that a record names. Raises AuditError if the
    checkpoint was signed of more records than the reader has.
    """
    checkpoint = None if note is None else read_checkpoint(note)
    size, names = 0, list[str]()
    for _, record in reader.log():
        size += 1
        names += names_of_texts(record)
    if checkpoint is not None and checkpoint.size > size:
        raise AuditError(
            f"the checkpoint was signed of {checkpoint.size} records, and there are {size}: "
            "`mcpuppet audit verify` says what is missing"
        )
    signed = None if checkpoint is None else (checkpoint.size, checkpoint.root)
    origin = UNSIGNED if checkpoint is None else checkpoint.origin
    _put(out, export_lines.header_line(origin, size, signed))
    for line in text_lines(reader, names):
        _put(out, line)
    for leaf, record in reader.log():
        if record.body:
            _put(out, export_lines.record_line(leaf, record))
        else:
            gone = (record.session_id, record.seq, record.hash)
            _put(out, export_lines.pruned_line(leaf, *gone))
    _put(out, export_lines.checkpoint_line(note))
    return size


def names_of_texts(record: Record) -> Iterator[str]:
    """The hash of the workflow's or rules file's text that a record names, if it names one."""
    # Most records are of other kinds, and reading them all would take many times as long.
    if not any(kind in record.body for kind in _NAMES_A_TEXT):
        return
    with suppress(AuditError):  # a record that cannot be read is found by whoever verifies
        opened = open_record(record.body)
        named = opened.data.get("hash")
        if opened.kind.encode() in _NAMES_A_TEXT and isinstance(named, str):
            yield named


def text_lines(reader: SessionReader, hashes: Iterable[str]) -> Iterator[str]:
    """The lines of an export with these texts, as far as the store has them."""
    for one in dict.fromkeys(hashes):
        text = reader.workflow_text(one)
        if text is not None:
            yield export_lines.workflow_line(one, text)


def read_checkpoint(note: str) -> Checkpoint:
    """What a note of ours says; raises AuditError. Its signature is not checked."""
    try:
        return parse_checkpoint(parse_note(note).text)
    except VerifierError as error:
        raise AuditError(f"the last checkpoint cannot be read: {error}") from error


def _put(out: TextIO, line: str) -> None:
    out.write(line + "\n")


def _compare(stored: Iterator[bytes], tiles: Iterator[bytes], start: int, size: int) -> None:
    pairs = islice(zip_longest(stored, tiles), size - start)
    for place, (now, then) in enumerate(pairs, start=start + 1):
        if now != then:
            what = "is missing" if now is None else "is not the one that was signed"
            raise AuditError(
                f"nothing was signed: record {place} of the log {what}; `mcpuppet audit verify` "
                "says which session it belongs to"
            )
