"""Verifies an export of the audit trail, on any machine, with nothing else of this package.

    python verifier.py EXPORT --key VKEY [--checkpoint FILE]...

Owns the reading side of every format an export consists of: Merkle tree hashes and proofs (RFC
6962), signed notes and checkpoints (C2SP signed-note and tlog-checkpoint), the bodies of records
and their chains, and the lines of an export. It imports only the standard library and
`cryptography` and is one file, however long, so that an auditor can read it whole, copy it and run
it elsewhere. Deliberately knows neither stores nor what kinds of event mean, except which of them
name a workflow's text, and shares no code with the program that writes the records.
`docs/verify.md` says how to write another verifier.

Every byte of an export is taken to be hostile. What is wrong with it becomes a `Break` in the
report, never an exception.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import sys
from binascii import hexlify
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HASH_SIZE = 32
ED25519 = b"\x01"
"""The signature type of C2SP signed-note that a key's bytes begin with."""
MAX_LINE = 64 * 1024 * 1024
"""Bytes of one line; a longer one is reported, not read."""
MAX_NOTE = 64 * 1024
MAX_BREAKS = 1000
"""How many breaks a report describes; the rest are counted."""

_BUFFER = 1 << 20
"""Bytes that are read at once; with the usual 8 KiB reading takes three times as long."""
_BIG = 10**18
"""No log has as many leaves; larger numbers are refused before anything is computed with them."""
_GENESIS = b"0" * 64
_HASH_HEX = re.compile(r"[0-9a-f]{64}")
_SALT_HEX = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]{1,256}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")


class VerifierError(Exception):
    """Something cannot be read or does not verify; the text is a sentence for a person."""


# --- Merkle trees: RFC 6962, section 2.1 ----------------------------------------------------------


def leaf_hash(body: bytes) -> bytes:
    """The hash of a leaf: SHA-256 over 0x00 and the exact bytes of the record."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256 over 0x01 and the hashes of its two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class CompactRange:
    """The Merkle tree hash of a stream of leaf hashes, in memory that grows with the logarithm."""

    def __init__(self) -> None:
        self.size = 0
        self._roots: list[bytes] = []
        """Of perfect subtrees, the largest first: one for each bit that is set in the size."""

    def append(self, leaf: bytes) -> None:
        """Add the 32-byte hash of the next leaf."""
        node, rest = leaf, self.size
        while rest & 1:
            node, rest = node_hash(self._roots.pop(), node), rest >> 1
        self._roots.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The 32-byte root over all leaves so far; over none, the hash of nothing."""
        if not self._roots:
            return hashlib.sha256(b"").digest()
        *lefts, whole = self._roots
        for left in reversed(lefts):
            whole = node_hash(left, whole)
        return whole


def subtree_root(hashes: Iterable[bytes]) -> bytes:
    """The Merkle tree hash over leaf hashes."""
    tree = CompactRange()
    for one in hashes:
        tree.append(one)
    return tree.root()


def check_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether the leaf hash stands at `index` (from 0) in the tree of `size` leaves with this root.

    The proof is read from its end, the sibling below the root, as RFC 6962, 2.1.1 defines it.
    """
    path = list(proof)

    def above(index: int, size: int) -> bytes:
        if size == 1:
            return leaf
        left, sibling = _split(size), path.pop()
        if index < left:
            return node_hash(above(index, left), sibling)
        return node_hash(sibling, above(index - left, size - left))

    try:
        return 0 <= index < size and above(index, size) == root and not path
    except IndexError:  # the proof is too short
        return False


def check_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the tree of `new` leaves begins with the leaves of the tree of `old` leaves.

    RFC 6962, section 2.1.2; for `old` 0 or equal sizes the proof is empty.
    """
    path = list(proof)

    def roots(old: int, new: int, whole: bool) -> tuple[bytes, bytes]:
        if old == new:
            same = old_root if whole else path.pop()
            return same, same
        left, sibling = _split(new), path.pop()
        if old <= left:
            before, after = roots(old, left, whole)
            return before, node_hash(after, sibling)
        before, after = roots(old - left, new - left, False)
        return node_hash(sibling, before), node_hash(sibling, after)

    if old == 0 <= new:
        return not path and old_root == subtree_root(()) and (new > 0 or new_root == old_root)
    try:
        return 0 < old <= new and roots(old, new, True) == (old_root, new_root) and not path
    except IndexError:  # the proof is too short
        return False


def _split(size: int) -> int:
    """The largest power of two below `size`: how many leaves are left of a tree's root."""
    return 1 << (size - 1).bit_length() - 1


# --- Signed notes and checkpoints: C2SP signed-note, tlog-checkpoint ------------------------------


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key that is trusted: its name, its 4-byte key ID and its 32 bytes (Ed25519)."""

    name: str
    key_id: bytes
    public: bytes

    @property
    def text(self) -> str:
        """The vkey: `name+hash+base64`, as `parse_key` reads it."""
        encoded = base64.b64encode(ED25519 + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the 64-byte signature is one of this key over the message (RFC 8032)."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Note:
    """A signed note taken apart; `text` is what is signed, with its last line feed."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]
    """Of each signature line the name, the 4-byte key ID and the signature."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement that a log with this origin has `size` leaves under this 32-byte root."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class KeptCheckpoint:
    """A checkpoint that was kept apart from the export; `where` says where, for people."""

    where: str
    note: str


def key_id(name: str, public: bytes) -> bytes:
    """The 4-byte key ID of an Ed25519 key: it lets a reader find the key, it proves nothing."""
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def parse_key(text: str) -> VerifierKey:
    """Read a vkey, `name+hash+base64`; raises VerifierError with a sentence."""
    name, _, rest = text.strip().partition("+")
    hash_hex, _, encoded = rest.partition("+")
    public = _base64(encoded)
    if not _NAME.fullmatch(name) or public is None or not re.fullmatch("[0-9a-f]{8}", hash_hex):
        raise VerifierError(f"{_shown(text)} is not a key of the form name+hash+base64")
    if len(public) != HASH_SIZE + 1 or public[:1] != ED25519:
        raise VerifierError(f"the key {_shown(name)} is not an Ed25519 key")
    known = key_id(name, public[1:])
    if known.hex() != hash_hex:
        raise VerifierError(
            f"the key {_shown(name)} is damaged: its hash is {known.hex()}, not {hash_hex}"
        )
    return VerifierKey(name, known, public[1:])


def parse_note(note: str) -> Note:
    """Take a signed note apart; raises VerifierError with a sentence."""
    if len(note) > MAX_NOTE:
        raise VerifierError(f"the note is longer than {MAX_NOTE} characters")
    if re.search(r"[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]", note):
        raise VerifierError("the note holds characters that no note may hold")
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise VerifierError("the note does not end with a blank line and signatures: it was cut")
    signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
    return Note(text + "\n", signatures)


def _signature(line: str) -> tuple[str, bytes, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    raw = _base64(encoded)
    if dash != "\u2014" or not _NAME.fullmatch(name) or raw is None or len(raw) < 5:
        raise VerifierError(f"{_shown(line)} is not the signature line of a note")
    return name, raw[:4], raw[4:]


def check_signatures(note: Note, keys: Sequence[VerifierKey]) -> tuple[str, ...]:
    """The names of the given keys that signed the note, at least one.

    Raises VerifierError if none did, or if any signature that names a given key is not by it.
    Lines of keys that were not given are passed over, as the format demands.
    """
    message, names = note.text.encode(), []
    known = {(key.name, key.key_id): key for key in keys}
    for name, short, signature in note.signatures:
        key = known.get((name, short))
        if key is None:
            continue
        if not key.verifies(signature, message):
            raise VerifierError(f"the signature of the key {_shown(name)} is forged or spoilt")
        names.append(name)
    if not names:
        others = ", ".join(f"{_shown(name)} ({short.hex()})" for name, short, _ in note.signatures)
        raise VerifierError(f"no given key signed it; the signatures are of {others}")
    return tuple(dict.fromkeys(names))


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint; raises VerifierError with a sentence.

    Extension lines after the third are accepted and not interpreted.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise VerifierError("a checkpoint has an origin, a size and a root, each on its own line")
    root = _base64(lines[2])
    if not _SIZE.fullmatch(lines[1]) or root is None or len(root) != HASH_SIZE:
        raise VerifierError("the size or the root of the checkpoint is not one")
    return Checkpoint(lines[0], int(lines[1]), root)


def split_notes(data: bytes, where: str) -> list[KeptCheckpoint]:
    """The signed notes of a file that holds them one after another, a blank line between them.

    Raises VerifierError if the file is not exactly that.
    """
    try:
        blocks = data.decode("utf-8").split("\n\n")
    except UnicodeDecodeError as error:
        raise VerifierError(f"{where} is not text in UTF-8") from error
    if len(blocks) % 2 or not all(blocks) or not blocks[-1].endswith("\n"):
        raise VerifierError(
            f"{where} does not consist of whole checkpoints with blank lines between"
        )
    pairs = list(zip(blocks[::2], blocks[1::2], strict=True))
    names = [where] if len(pairs) == 1 else [f"{where}, no. {n + 1}" for n in range(len(pairs))]
    return [
        KeptCheckpoint(name, f"{text}\n\n{signatures.removesuffix(chr(10))}\n")
        for name, (text, signatures) in zip(names, pairs, strict=True)
    ]


def _base64(text: str) -> bytes | None:
    """The bytes of canonical base64, or None: every value has one spelling only."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return raw if base64.b64encode(raw).decode() == text else None


# --- Strict JSON ----------------------------------------------------------------------------------


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a value")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


_STRICT = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite
)


def _strict_json(text: str, start: int = 0) -> tuple[Any, int]:
    """Read the JSON (RFC 8259) at `start`, and where it ends; raises VerifierError.

    Nothing in it can be read in two ways: no key twice in an object, no NaN or infinity, no number
    beyond a double, no deep nesting.
    """
    try:
        return _STRICT.raw_decode(text, start)
    except RecursionError as error:
        raise VerifierError("it is nested too deeply") from error
    except ValueError as error:
        raise VerifierError(f"it is not JSON: {error}") from error


# --- The report -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that does not hold; the fields before `what` name the record, if it is one."""

    leaf: int | None
    session: str | None
    seq: int | None
    what: str

    def __str__(self) -> str:
        place = [f"leaf {self.leaf}"] if self.leaf is not None else []
        place += [f"session {_shown(self.session)}"] if self.session is not None else []
        place += [f"record {self.seq}"] if self.seq is not None else []
        return f"{', '.join(place)}: {self.what}" if place else self.what


@dataclass(slots=True)
class ExportReport:
    """What an export proves. Every record is exactly one of verified, pruned, uncovered, broken."""

    scope: str | None = None
    """`log` or `session`; None if the first line is not the header of an export."""
    records: int = 0
    verified: int = 0
    """Records that hold; if keys were given, only those under a checkpoint that holds too."""
    pruned: int = 0
    """Records whose body is gone; their hash still holds their place."""
    uncovered: int = 0
    """With keys: records that hold but are under no checkpoint that holds, mostly not yet."""
    broken: int = 0
    """Records that do not hold by themselves or do not continue what stands before them."""
    sessions: int = 0
    workflows: int = 0
    disclosures: int = 0
    checkpoint: Checkpoint | None = None
    """The export's own, as it stands there."""
    signers: tuple[str, ...] = ()
    """The names of the given keys that signed it; empty if none were given or a signature fails."""
    kept: int = 0
    """How many of the checkpoints kept elsewhere hold and agree with the export."""
    breaks: tuple[Break, ...] = ()
    more_breaks: int = 0
    """How many breaks were found beyond those described."""
    unproven: tuple[str, ...] = ()
    """Sentences about what is not shown even if there are no breaks."""

    @property
    def ok(self) -> bool:
        """Whether nothing at all was found to be wrong."""
        return not self.breaks


def verify_export(
    lines: Iterable[bytes],
    keys: Sequence[VerifierKey],
    checkpoints: Sequence[KeptCheckpoint] = (),
    *,
    strict: bool = False,
) -> ExportReport:
    """Verify an export, given as its lines with or without their line feeds. Never raises.

    Without keys only hashes, chains and the unsigned root are checked. An ordinary record is read
    up to its `data`, of which the bytes are hashed and the end is looked at; `strict` has all of
    it read as JSON, at a fraction of the speed. Memory grows with the sessions, not the records.
    """
    verification = _Verification(keys, checkpoints, strict)
    for number, line in verification.unusual(lines):
        try:
            verification.take(line)
        except VerifierError as error:
            verification.found(f"line {number}: {error}")
            if verification.header is None:  # no further line could mean anything
                break
        except RecursionError:  # what could be read may be too deep to be written anew
            verification.found(f"line {number}: it is nested too deeply")
    return verification.end()


# --- The lines of an export -----------------------------------------------------------------------

_TEXT = (
    rb'([ !#-\[\]-~]*(?:\\(?:["\\bfnrt]|u(?!00[2-6][0-9a-f]|007[0-9a-e]|000[89acd])[0-9a-f]{4})'
    rb"[ !#-\[\]-~]*)*)"
)
"""The one spelling of a text that records have: ASCII, and escapes only where they are needed."""
_PLACE = rb'\{"leaf":(0|[1-9]\d{0,17}),"hash":"(.{64})",(?:"proof":'
_PLACE += rb'(null|\[(?:"[0-9a-f]{64}"(?:,"[0-9a-f]{64}")*)?\]),)?'
_RECORD = re.compile(
    _PLACE + rb'"body":()\{"v":1,"session":"' + _TEXT + rb'","seq":([1-9]\d{0,17}),'
    rb'"prev":"(.{64})","at":"(.{10})T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z",'
    rb'"kind":"' + _TEXT + rb'","data":\{'
)
"""The start of a record's line, up to the inside of `data`; the empty group is before the body."""
_OTHER = re.compile(
    _PLACE + rb'(?:"pruned":\{"session":"' + _TEXT + rb'","seq":([1-9]\d{0,17})\}'
    rb'|"body64":"([^"]*)"|"body":(\{"v":1,"session":.*))\}\n'
)
"""A pruned record's line, or that of bytes that are no record."""
_END = b"}}}\n"
"""The last bytes of a record's line: they close `data`, the body and the line."""
_PRINTABLE = bytes(range(0x20, 0x7F))
_FOREIGN = "its body is not spelt as records are sealed: it was written by others"
_MORE = re.compile(
    rb'\}\s*,\s*"(?:(?:v|session|seq|prev|at|kind|data|leaf|hash|proof|body|body64|pruned)"'
    rb'|[^"\\]*\\)'
)
"""What stands in every line that gives one of its keys again after `data`, and in few others."""
_NAMES_A_TEXT = frozenset({b"RunStarted", b"RulesAdopted"})
"""The kinds of record whose `data.hash` is the hash of a workflow's text."""
_COMMITMENT = re.compile(rb'\{"\$c":"([0-9a-f]{64})"\}')


@dataclass(slots=True)
class _Chain:
    """Where a session's chain stands: its last record and the hashes the next may name."""

    seq: int = 0
    hash: bytes = _GENESIS
    """As stated with the record, in hexadecimal."""
    actual: bytes = _GENESIS
    """What its bytes give. Where the two differ, one spoilt record is one break, not two."""


@dataclass(frozen=True, slots=True)
class _Header:
    scope: str
    origin: str
    size: int
    session: str | None
    covered: int
    """The size of the announced checkpoint; 0 if there is none."""
    root: bytes | None


class _Verification:
    """One pass over the lines of an export, which fills a report.

    What is wrong with records is found in the general way, `take`; `unusual` does the same for
    the many in which all is as it should be, and passes on all others untouched.
    """

    def __init__(
        self, keys: Sequence[VerifierKey], kept: Sequence[KeptCheckpoint], strict: bool
    ) -> None:
        self.header: _Header | None = None
        self.report = ExportReport()
        self._keys = keys
        self._strict = strict
        self._any_kept = bool(kept)
        self._ended = self._in_place = False
        """Whether the last line came; whether all leaves of a log so far stand in their order."""
        self._this: tuple[int, str | None, int | None] = (0, None, None)
        """Leaf, session and seq of the record that is taken."""
        self._wrongs = self._included = 0
        """How much is wrong with it; how many records hold that a proof includes."""
        self._day = b""
        self._chains: dict[bytes, _Chain] = {}
        self._texts: set[str] = set()
        self._commitments: set[tuple[bytes, bytes]] = set()
        self._proofs: dict[tuple[int, int], list[bytes]] = {}
        self._next_leaf = 0
        self._tree = CompactRange()
        self._marks: dict[int, tuple[bytes, int]] = {}
        """For each size that a checkpoint has: the root there, and how many records hold."""
        self._own_holds = False
        self._kept = [(one.where, read) for one in kept if (read := self._read_kept(one))]
        self._sizes = sorted({one.size for _, one in self._kept}, reverse=True)

    def found(
        self, what: str, leaf: int | None = None, session: str | None = None, seq: int | None = None
    ) -> None:
        """Note a break."""
        if len(self.report.breaks) < MAX_BREAKS:
            self.report.breaks += (Break(leaf, session, seq, what),)
        else:
            self.report.more_breaks += 1

    # Records.

    def unusual(self, lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        """Take the ordinary records of a log; give all other lines, with their numbers.

        This is one loop because a call for each record would cost a tenth of the speed.
        """
        chains, report, match_line, more = self._chains, self.report, _RECORD.match, _MORE.search
        append, sha256, strict = self._tree.append, hashlib.sha256, self._strict
        for number, line in enumerate(lines, start=1):
            match = match_line(line) if self._in_place and not strict else None
            if match is None:
                yield number, line
                continue
            leaf, stated, proof, _, session, seq, prev, day, kind = match.groups()
            chain = chains.get(session) or chains.setdefault(session, _Chain())
            digest = sha256(b"\x00" + line[match.start(4) : -2]).digest()
            if (
                hexlify(digest) != stated
                or prev != chain.hash
                or int(seq) != chain.seq + 1
                or int(leaf) != self._next_leaf
                or proof is not None
                or day != self._day
                or kind in _NAMES_A_TEXT
                or self._commitments
                or line[-4:] != _END
                or not line.isascii()
                or more(line, match.end())
            ):
                yield number, line
                continue
            chain.seq += 1
            chain.hash = chain.actual = stated
            report.records += 1
            report.verified += 1
            append(digest)
            self._next_leaf += 1
            if self._sizes and self._sizes[-1] == self._next_leaf:
                self._mark()

    def take(self, line: bytes) -> None:
        """Take a line; raises VerifierError if it is none that may stand here."""
        if len(line) > MAX_LINE:
            raise VerifierError(f"it is longer than {MAX_LINE} bytes")
        if self._ended:
            raise VerifierError("it stands after the checkpoint, which must be the last line")
        line = line.removesuffix(b"\n") + b"\n"
        if self.header is None:
            self._begin(_read_line(line))
        elif not line.startswith(b'{"leaf":'):
            self._other(_read_line(line))
        elif (match := _RECORD.match(line)) and line.endswith(_END):
            *place, _, session, seq, prev, day, kind = match.groups()
            body, inside = line[match.start(4) : -2], match.end() - match.start(4)
            problem = self._day_problem(day) or _data_problem(body, inside - 1)
            if self._record(place, body, problem, (session, int(seq), prev)):
                self._settle(session, kind, body)
        elif match := _OTHER.fullmatch(line):
            *place, session, seq, encoded, body = match.groups()
            if session is not None:
                self._record(place, None, None, (session, int(seq), None))
            else:
                body = body or _base64(encoded.decode("latin-1")) or b""
                self._record(place, body, _FOREIGN, None)
        else:
            raise VerifierError(
                "a record has exactly leaf (from 0), hash (64 hexadecimal digits), in the export "
                "of one session proof, and then body, body64 or pruned (session and seq)"
            )

    def _record(
        self,
        place: Sequence[bytes],
        body: bytes | None,
        problem: str | None,
        name: tuple[bytes, int, bytes | None] | None,
    ) -> bool:
        """Take a record; whether it holds. `body` is None if pruned, `name` if it cannot be read.

        `place` is the leaf, the stated hash and the proof, `name` is session, seq and `prev`.
        """
        leaf, stated, proof = int(place[0]), place[1].decode("latin-1"), place[2]
        if not _HASH_HEX.fullmatch(stated):
            raise VerifierError("the hash of a record has 64 hexadecimal digits")
        self._this = (leaf, _name_of(name[0]), name[1]) if name else (leaf, None, None)
        self._wrongs = 0
        self._check_place(leaf)
        actual = stated if body is None else leaf_hash(body).hex()
        if actual != stated:
            self._wrong("its bytes do not give the hash stated with it: it was changed")
        if problem:
            self._wrong(problem)
        if name:
            self._check_link(*name, stated.encode(), actual.encode())
        included = self._is_included(leaf, bytes.fromhex(stated), proof)
        holds = not self._wrongs
        self.report.records += 1
        self.report.broken += not holds
        self.report.pruned += holds and body is None
        self.report.verified += holds and body is not None
        self._included += holds and body is not None and included
        self._next_leaf = max(self._next_leaf, leaf + 1)
        if self._in_place:
            self._tree.append(bytes.fromhex(stated))
            self._mark()
        return holds and body is not None

    def _wrong(self, what: str, *place: Any) -> None:
        self._wrongs += 1
        self.found(what, *(place or self._this))

    def _day_problem(self, day: bytes) -> str | None:
        """What is wrong with a day that should be spelt as 2026-01-31; if nothing, remember it."""
        text = day.decode("latin-1")
        try:
            self._day = day if date.fromisoformat(text).isoformat() == text else b""
        except ValueError:
            self._day = b""
        return None if self._day else f"its day {_shown(text)} is not one such as 2026-01-31"

    def _check_place(self, leaf: int) -> None:
        if leaf < self._next_leaf:
            self._in_place = False
            self._wrong(
                f"it stands after leaf {self._next_leaf - 1}: it was moved, or is here twice"
            )
        elif self._scope.session is None and leaf > self._next_leaf:
            self._in_place = False
            self._wrong(_missing("leaf", self._next_leaf, leaf - 1), self._next_leaf)
        if self._scope.session not in (None, self._this[1] or self._scope.session):
            self._wrong(f"the export is of session {_shown(self._scope.session)} alone")

    def _check_link(
        self, session: bytes, seq: int, prev: bytes | None, stated: bytes, actual: bytes
    ) -> None:
        """How a record continues its session's chain."""
        chain = self._chains.setdefault(session, _Chain())
        if seq <= chain.seq:
            self._wrong(f"it stands after record {chain.seq} of its session")
        elif seq > chain.seq + 1:
            # Its predecessor is gone, so there is nothing that its link could be compared with.
            missing = _missing("record", chain.seq + 1, seq - 1)
            self._wrong(missing, None, self._this[1], chain.seq + 1)
        elif prev not in (None, chain.hash, chain.actual):
            onto = f"record {chain.seq}" if chain.seq else "the start of its chain"
            self._wrong(
                f"it was not sealed onto {onto} as it stands here: one of the two was changed"
            )
        chain.seq, chain.hash, chain.actual = seq, stated, actual

    def _is_included(self, leaf: int, stated: bytes, proof: bytes | None) -> bool:
        """Whether a bundle's record is proven to be under the checkpoint that the header names."""
        header = self._scope
        if (proof is None) != (header.session is None):
            self._wrong("a proof belongs to each record of one session's export, and to no other")
        elif proof == b"null" and leaf < header.covered:
            self._wrong("it is under the checkpoint, but its proof is left out")
        elif proof not in (None, b"null"):
            hashes = [bytes.fromhex(one) for one in re.findall("[0-9a-f]{64}", proof.decode())]
            if check_inclusion(stated, leaf, header.covered, hashes, header.root or b""):
                return True
            self._wrong("its proof does not lead from this leaf to the root of the checkpoint")
        return False

    def _mark(self) -> None:
        """Keep the root if a checkpoint has the present size."""
        while self._sizes and self._sizes[-1] <= self._tree.size:
            if (size := self._sizes.pop()) == self._tree.size:
                self._marks[size] = self._tree.root(), self.report.verified

    def _settle(self, session: bytes, kind: bytes, body: bytes) -> None:
        """Strike out the texts and disclosures that a record names which holds."""
        if self._texts and kind in _NAMES_A_TEXT:
            self._texts.discard(str(json.loads(body)["data"].get("hash")))
        if self._commitments:
            self._commitments -= {(session, one) for one in _COMMITMENT.findall(body)}

    # All other lines.

    @property
    def _scope(self) -> _Header:
        assert self.header is not None, "lines are read after the header only"
        return self.header

    def _begin(self, fields: dict[str, object]) -> None:
        self.header = header = _read_header(fields)
        self.report.scope = header.scope
        self._in_place = header.session is None
        if header.root is not None:
            self._sizes = sorted({*self._sizes, header.covered}, reverse=True)
        self._mark()

    def _other(self, fields: dict[str, object]) -> None:
        kind, content = next(iter(fields.items())) if len(fields) == 1 else ("", None)
        if kind == "checkpoint":
            self._ended, self._in_place = True, False
            self._take_checkpoint(content)
        elif self.report.records:
            raise VerifierError("only records and, at the end, the checkpoint may follow a record")
        elif kind == "workflow":
            self._texts.add(_read_workflow(content))
            self.report.workflows += 1
        elif kind == "disclosure":
            self._commitments.add(_read_disclosure(content))
            self.report.disclosures += 1
        elif kind == "consistency" and self._scope.session is not None:
            old, new, proof = _fields("a consistency proof", content, old=int, new=int, proof=list)
            hashes = _hashes(proof)
            if any(one.size in (old, new) for _, one in self._kept):  # others are of no use
                self._proofs[old, new] = hashes
        else:
            raise VerifierError("it is none of the lines that an export consists of")

    # Checkpoints.

    def _read_kept(self, kept: KeptCheckpoint) -> Checkpoint | None:
        try:
            return self._read_signed(kept.note)[0]
        except VerifierError as error:
            self.found(f"the checkpoint {kept.where}: {error}")
            return None

    def _read_signed(self, note: str) -> tuple[Checkpoint, tuple[str, ...]]:
        parsed = parse_note(note)
        checkpoint = parse_checkpoint(parsed.text)
        return checkpoint, check_signatures(parsed, self._keys) if self._keys else ()

    def _take_checkpoint(self, note: object) -> None:
        header = self._scope
        if note is None and header.root is None:
            return
        if not isinstance(note, str) or header.root is None:
            raise VerifierError(
                "the header and the last line disagree on whether there is a checkpoint"
            )
        try:
            self.report.checkpoint = own = parse_checkpoint(parse_note(note).text)
            _, self.report.signers = self._read_signed(note)
        except VerifierError as error:
            self.found(f"the checkpoint of the export: {error}")
            return
        self._own_holds = (own.size, own.root) == (header.covered, header.root)
        if not self._own_holds:
            self.found(
                f"the checkpoint of the export has {own.size} leaves and the root "
                f"{own.root.hex()}, the header announces {header.covered} leaves and the root "
                f"{header.root.hex()}: one of the two was exchanged"
            )

    def _compare_checkpoints(self) -> tuple[int, int]:
        """How many kept checkpoints agree, and how many leaves the largest that agrees covers."""
        held = self.report.checkpoint if self._own_holds else None
        own = [("of the export", held)] if held else []
        agreed = kept = 0
        for where, one in sorted([*self._kept, *own], key=lambda each: each[1].size):
            mine = (where, one) in own
            what, leaf = self._disagreement(one, agreed)
            if not what:
                agreed = one.size
                kept += not mine
            else:
                self.found(f"the checkpoint {where} {what}", leaf)
                self._own_holds = self._own_holds and not mine
        if self._keys and not own and not agreed and not self.report.breaks:
            self.found("it holds no checkpoint, so nothing in it is signed")
        return kept, agreed

    def _disagreement(self, checkpoint: Checkpoint, agreed: int) -> tuple[str, int | None]:
        """How the export differs from a checkpoint, from what leaf on; "" where it agrees."""
        header, size = self._scope, checkpoint.size
        if checkpoint.origin != header.origin:
            other, this = _shown(checkpoint.origin), _shown(header.origin)
            return f"is of the log {other}, and the export is of {this}", None
        if header.session is not None:
            return self._bundle_disagreement(checkpoint, header), None
        if size > self._next_leaf:
            what = f"covers {size} leaves, and from this one on they are missing: the end"
            return f"{what} was cut off", self._next_leaf
        if size not in self._marks:
            return "cannot be compared, since leaves are missing or out of place", None
        if self._marks[size][0] != checkpoint.root:
            what = f"was signed over other records: leaves {agreed} to {size - 1}"
            return f"{what} are not all as they were", None
        return "", None

    def _bundle_disagreement(self, checkpoint: Checkpoint, header: _Header) -> str:
        if header.root is None:
            return "cannot be compared: the bundle holds no checkpoint"
        if checkpoint.size == header.covered:
            same = checkpoint.root == header.root
            return "" if same else "has another root for the same leaves: the log forked"
        one, other = (header.covered, header.root), (checkpoint.size, checkpoint.root)
        (old, old_root), (new, new_root) = sorted([one, other])
        proof = self._proofs.get((old, new))
        if proof is None:
            return f"cannot be compared: the bundle holds no proof from {old} to {new} leaves"
        if not check_consistency(old, new, old_root, new_root, proof):
            return "is not of the same log: the proof between the two does not hold"
        return ""

    # The end.

    def end(self) -> ExportReport:
        """The report over all lines taken."""
        report, covered, intact = self.report, 0, self.report.verified
        if self.header is None:
            if not report.breaks:
                self.found("the export is empty")
        else:
            self._check_end(self.header)
            report.kept, covered = self._compare_checkpoints()
            if self._keys and self.header.session is None:
                report.verified = self._marks.get(covered, (b"", 0))[1]
            elif self._keys:
                report.verified = self._included if self._own_holds else 0
        report.uncovered = intact - report.verified
        report.sessions = len(self._chains)
        report.unproven = tuple(self._unproven(report.uncovered))
        return report

    def _check_end(self, header: _Header) -> None:
        if not self._ended:
            self.found("it ends without the line of its checkpoint: it was cut off")
        size = self._next_leaf if header.session is None else max(self._next_leaf, header.covered)
        if size < header.size and header.session is None:
            self.found(f"{_missing('leaf', size, header.size - 1)}: it was cut off", size)
        elif size != header.size:
            self.found(f"the header announces {header.size} leaves, but there are {size}")
        for text in sorted(self._texts):
            self.found(
                f"the workflow text {text[:12]} is named by no record of this export: it is not "
                "what was run"
            )
        for session, commitment in sorted(self._commitments):
            self.found(
                f"the disclosed value with the commitment {commitment.decode()[:12]} stands in no "
                "record of this session",
                session=_name_of(session),
            )

    def _unproven(self, uncovered: int) -> Iterator[str]:
        if not self._keys:
            yield (
                "Without --key no signature was checked: whoever could write this file could have "
                "written all of it."
            )
        if not self._any_kept:
            yield (
                "Without --checkpoint the signed log was compared with nothing kept elsewhere: who "
                "holds the signing key could have rewritten it or left out its end."
            )
        if uncovered:
            yield (
                f"{uncovered} records are under no checkpoint that verifies; if they are the "
                "newest, export again after the next checkpoint."
            )
        if self.header is not None and self.header.session is not None:
            yield "An export of one session shows its records, not that it has no later ones."
        if not self._strict:
            yield "The inside of most `data` was hashed, but not read; --strict reads it as JSON."


def _data_problem(body: bytes, start: int) -> str | None:
    """Why there is not one JSON object from `start` on, and then the last brace of the body."""
    if body.translate(None, _PRINTABLE):
        return "its body is not printable ASCII"
    try:
        _, end = _strict_json(body.decode("ascii"), start)
    except VerifierError as error:
        return str(error)
    return None if end == len(body) - 1 else "its body does not end with the end of `data`"


def _hashes(texts: Sequence[object]) -> list[bytes]:
    if not all(isinstance(one, str) and _HASH_HEX.fullmatch(one) for one in texts):
        raise VerifierError("a proof is a list of hashes of 64 hexadecimal digits")
    return [bytes.fromhex(str(one)) for one in texts]


def _missing(noun: str, first: int, last: int) -> str:
    return "it is missing" if first == last else f"it is missing, and so is all up to {noun} {last}"


def _spelt(session: str) -> bytes:
    """A session's id as it is spelt in JSON, without the quotation marks."""
    return json.dumps(session)[1:-1].encode()


def _name_of(session: bytes) -> str:
    """The inverse of `_spelt`."""
    return str(json.loads(b'"' + session + b'"'))


def _read_line(line: bytes) -> dict[str, object]:
    if not line.isascii():
        raise VerifierError("it is not ASCII text")
    text = line.decode("ascii")
    fields, end = _strict_json(text)
    if not isinstance(fields, dict) or text[end:] != "\n":
        raise VerifierError("it is not a JSON object")
    return fields


def _fields(what: str, found: object, **forms: Any) -> list[Any]:
    """The values of an object that has exactly these keys, each of its form; else VerifierError.

    A form is a pattern that a text must match, `int` for a size or a place, or a type.
    """
    if isinstance(found, dict) and found.keys() == forms.keys():
        values = [found[name] for name in forms]
        if all(map(_has_form, values, forms.values())):
            return values
    raise VerifierError(f"{what} has exactly {', '.join(forms)}, each as the format has it")


def _has_form(value: object, form: Any) -> bool:
    if isinstance(form, re.Pattern):
        return isinstance(value, str) and bool(form.fullmatch(value))
    if form is int:
        return type(value) is int and 0 <= value < _BIG
    return isinstance(value, form)


def _read_header(fields: dict[str, object]) -> _Header:
    version = fields.get("mcpuppet_export")
    if version != 1 or version is True:
        raise VerifierError("it is not the header of an export of format 1 of MCPuppet")
    _, scope, origin, size, session, announced = _fields(
        "the header of an export",
        fields,
        mcpuppet_export=int,
        scope=re.compile("log|session"),
        origin=str,
        size=int,
        session=str | None,
        checkpoint=dict | None,
    )
    if (scope == "log") != (session is None):
        raise VerifierError("the header of an export names a session exactly if it is of one")
    covered, root = 0, None
    if announced is not None:
        covered, root = _fields("its checkpoint", announced, size=int, root=_HASH_HEX)
    return _Header(scope, origin, size, session, covered, root and bytes.fromhex(root))


def _read_workflow(content: object) -> str:
    stated, text = _fields("a workflow", content, hash=_HASH_HEX, text=str)
    # A lone surrogate is no character, so that no text with one was ever hashed.
    actual = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    if actual != stated:
        raise VerifierError(
            f"the workflow text '{stated[:12]}' was changed: it has the hash {actual[:12]}"
        )
    return actual


def _read_disclosure(content: object) -> tuple[bytes, bytes]:
    session, commitment, salt, value = _fields(
        "a disclosure", content, session=str, commitment=_HASH_HEX, salt=_SALT_HEX, value=object
    )
    if commitment_of(bytes.fromhex(salt), value).hex() != commitment:
        raise VerifierError(
            f"the disclosed value does not give the commitment {commitment[:12]} of session "
            f"{_shown(session)}: it was forged"
        )
    return _spelt(session), commitment.encode()


def commitment_of(salt: bytes, value: object) -> bytes:
    """What stands for a redacted JSON value: SHA-256 over 0x02, 16 bytes of salt and the value.

    The value is spelt as JSON in ASCII without spaces, the keys of objects sorted.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(b"\x02" + salt + text.encode("ascii")).digest()


def _shown(text: str | None) -> str:
    """Foreign text as it may appear on a terminal: quoted, ASCII, not endless."""
    return ascii(text if text is None or len(text) <= 200 else text[:200] + "...")


# --- The command ----------------------------------------------------------------------------------


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a binary file; one longer than `MAX_LINE` comes in pieces that are none."""
    return iter(partial(file.readline, MAX_LINE + 1), b"")


def describe(report: ExportReport) -> str:
    """The report in words, one finding a line, in ASCII."""
    lines = [str(one) for one in report.breaks]
    if report.more_breaks:
        lines.append(f"... and {report.more_breaks} more")
    if lines:
        lines.insert(0, "What does not hold:")
    if report.checkpoint is not None:
        lines.append(_describe_checkpoint(report.checkpoint, report.signers))
    lines += [f"Not shown: {one}" for one in report.unproven]
    result = "holds" if report.ok else "DOES NOT HOLD"
    lines.append(
        f"{report.verified} of {_counted(report.records, 'record')} verified in "
        f"{_counted(report.sessions, 'session')} "
        f"({report.pruned} pruned, {report.uncovered} under no checkpoint, "
        f"{report.broken} broken); "
        f"{_counted(report.kept, 'kept checkpoint')} {'agrees' if report.kept == 1 else 'agree'}; "
        f"{_counted(report.workflows, 'workflow text')} and "
        f"{_counted(report.disclosures, 'disclosed value')} checked: the export {result}"
    )
    return "\n".join(lines)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _describe_checkpoint(checkpoint: Checkpoint, signers: tuple[str, ...]) -> str:
    by = f"signed by {', '.join(map(_shown, signers))}" if signers else "signature not verified"
    return (
        f"Checkpoint of {_shown(checkpoint.origin)}: {checkpoint.size} leaves, root "
        f"{checkpoint.root.hex()}, {by}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify the export that the command line names.

    Returns 0 if it holds, 1 if it does not, 2 if something that was given cannot be read.
    """
    given = _parser().parse_args(arguments)
    try:
        keys = [parse_key(text) for text in given.key]
        kept = [one for path in given.checkpoint for one in _kept_in(path)]
        report = _verify_file(given.export, keys, kept, given.strict)
    except VerifierError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        sys.stderr.write(f"cannot be read: {error}\n".encode("ascii", "replace").decode())
        return 2
    sys.stdout.write(f"{describe(report)}\n")
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Verify an export of MCPuppet's audit trail.",
        epilog="Exit code 0: it holds; 1: it does not; 2: something given cannot be read.",
    )
    parser.add_argument("export", help="the export, or - for standard input")
    parser.add_argument(
        "--key", action="append", default=[], help="a key to trust, as name+hash+base64"
    )
    parser.add_argument(
        "--checkpoint", action="append", default=[], help="a file of checkpoints kept elsewhere"
    )
    parser.add_argument("--strict", action="store_true", help="read all of every record as JSON")
    return parser


def _kept_in(path: str) -> list[KeptCheckpoint]:
    return split_notes(Path(path).read_bytes(), path)


def _verify_file(
    path: str, keys: Sequence[VerifierKey], kept: Sequence[KeptCheckpoint], strict: bool
) -> ExportReport:
    if path == "-":
        return verify_export(read_lines(sys.stdin.buffer), keys, kept, strict=strict)
    with Path(path).open("rb", buffering=_BUFFER) as file:
        return verify_export(read_lines(file), keys, kept, strict=strict)


if __name__ == "__main__":
    sys.exit(main())
