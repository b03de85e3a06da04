"""The record chain: how an event is sealed into bytes, and how a chain of such bytes is checked.

Owns the format of a record's body and the hash that links a session's records. Deliberately knows
neither what the kinds of event mean nor where records are kept: bytes in, bytes out.

A session's records form a chain. The body of record n names the hash of record n-1 (`prev`), and
the hash of a record is the RFC 6962 leaf hash of its body, so the same 32 bytes serve the chain and
a Merkle tree over it. The exact bytes are stored and hashed; nothing is ever serialised again to be
verified, so no question of canonical form can arise. A chain alone cannot tell that its tail was
cut off: for that `verify_chain` takes the head that was kept elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as _text
from typing import Any, NoReturn

from mcpuppet.errors import AuditError, InvalidInputError

VERSION = 1
GENESIS = bytes(32)
MAX_DEPTH = 200
"""How deep `data` may nest: far beyond real arguments, far below the interpreter's stack."""

_FIELDS = ("v", "session", "seq", "prev", "at", "kind", "data")
_HASH_HEX = re.compile(r"[0-9a-f]{64}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@dataclass(frozen=True, slots=True)
class Record:
    """A sealed record as it is stored: `seq` counts from 1, `hash` is 32 bytes."""

    session_id: str
    seq: int
    body: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class OpenedRecord:
    """What a record's body says; `prev` is the hash of the record before it (32 bytes)."""

    session_id: str
    seq: int
    prev: bytes
    at: datetime
    kind: str
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """A place where a session's chain does not hold; `what` is a sentence for a person."""

    session_id: str
    seq: int
    what: str

    def __str__(self) -> str:
        return f"session {self.session_id!r}, record {self.seq}: {self.what}"


def leaf_hash(body: bytes) -> bytes:
    """The 32-byte leaf hash of RFC 6962, section 2.1: SHA-256 over 0x00 and the body."""
    return hashlib.sha256(b"\x00" + body).digest()


def seal(
    session_id: str, seq: int, prev: bytes, kind: str, at: datetime, data: Mapping[str, object]
) -> Record:
    """Seal an event as record `seq` of its session, chained to `prev`.

    The body is compact ASCII JSON (RFC 8259) with the keys in a fixed order; `at` is written in UTC
    with microseconds. ASCII escapes let lone surrogates from foreign JSON survive. Raises
    InvalidInputError if `data` cannot be written and read back as JSON.
    """
    plain = dict(data)
    try:
        _refuse_unreadable(plain)
        end = sealed_end(format_instant(at), kind, plain)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"the data of a {kind!r} event cannot be recorded: {error}") from (
            error
        )
    start = f'{{"v":{VERSION},"session":{_text(session_id)},"seq":{seq},"prev":"{prev.hex()}"'
    body = start.encode("ascii") + end
    return Record(session_id, seq, body, leaf_hash(body))


def sealed_end(at: str, kind: str, data: dict[str, object]) -> bytes:
    """How the body of every record of this event ends: all but version, session, seq and `prev`.

    `at` is what `format_instant` gives. A body that is JSON and ends so seals exactly this event:
    the last brace closes the body, so `at`, `kind` and `data` are its own.
    """
    fields = f',"at":"{at}","kind":{_text(kind)},"data":{_encode(data)}}}'
    return fields.encode("ascii")


def open_record(body: bytes) -> OpenedRecord:
    """Read a record's body; raises AuditError with a sentence if it is not exactly one."""
    try:
        fields = _decode(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise AuditError(f"the body is not a JSON record: {error}") from error
    if not isinstance(fields, dict) or tuple(fields) != _FIELDS:
        raise AuditError(f"the body must have exactly the fields {', '.join(_FIELDS)}")
    return _checked(fields)


def verify_chain(
    session_id: str, records: Iterable[Record], expected_head: tuple[int, bytes] | None
) -> Iterator[ChainBreak]:
    """Yield every place where the chain does not hold, in the order of the records.

    `records` are the session's, in ascending seq. `expected_head` is the (seq, hash) kept beside
    the chain or elsewhere; with None a cut tail cannot be detected. Memory does not grow with the
    chain.
    """
    last, links = 0, frozenset({GENESIS})
    for record in records:
        opened = _opened(record.body)
        yield from _alone(session_id, record, opened)
        yield from _linked(session_id, record, opened, last, links)
        last, links = record.seq, frozenset({record.hash, leaf_hash(record.body)})
    if expected_head is not None:
        yield from _ended(session_id, last, links, *expected_head)


def format_instant(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds and "Z"; raises InvalidInputError without an offset."""
    if at.tzinfo is UTC:  # as nearly all are: in a third of the time
        return at.isoformat(timespec="microseconds")[:-6] + "Z"
    if at.utcoffset() is None:
        raise InvalidInputError(f"the time {at.isoformat()} has no offset from UTC")
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_instant(text: str) -> datetime:
    """The inverse of `format_instant`; raises ValueError for any other spelling."""
    if not _INSTANT.fullmatch(text):
        raise ValueError(f"{text!r} is not a UTC time such as 2026-01-31T09:30:00.000000Z")
    return datetime.fromisoformat(text)


# Depth is checked before, so that nothing is encoded that has circles.
_PLAIN = frozenset({str, int, float, bool, type(None)})
_encode = json.JSONEncoder(
    ensure_ascii=True, allow_nan=False, separators=(",", ":"), check_circular=False
).encode


def _refuse_unreadable(data: dict[str, object]) -> None:
    """Refuse what the encoder would write but `open_record` would not read back as it was.

    The encoder turns keys such as 1 and None into text, which can make two keys one, and how deep
    it can nest depends on the stack it is called on. Level by level, for a call for each value
    would double the cost of sealing.
    """
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                "".join(value)  # a TypeError for a key that is no text
                below += [one for one in value.values() if type(one) not in _PLAIN]
            elif isinstance(value, (list, tuple)):
                below += [one for one in value if type(one) not in _PLAIN]
        if not below:
            return
        level = below
    raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text} is out of range")
    return value


# Made once: to make it costs as much as to read a short record.
_decode = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite
).decode


def _checked(fields: dict[str, object]) -> OpenedRecord:
    version, session_id, seq, prev, at, kind, data = fields.values()
    if type(version) is int and version != VERSION:  # `type`, for true is no number
        raise AuditError(f"the record has format {version}; this program reads {VERSION}")
    if (
        type(version) is int
        and type(seq) is int
        and seq >= 1
        and isinstance(session_id, str)
        and isinstance(prev, str)
        and isinstance(at, str)
        and isinstance(kind, str)
        and isinstance(data, dict)
        and _HASH_HEX.fullmatch(prev)
    ):
        return OpenedRecord(session_id, seq, bytes.fromhex(prev), _instant(at), kind, data)
    raise AuditError(
        "a field has the wrong form: v and seq are whole numbers from 1, prev is 64 hexadecimal "
        "digits, session, at and kind are text, data is an object"
    )


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise AuditError(str(error)) from error


def _opened(body: bytes) -> OpenedRecord | AuditError:
    try:
        return open_record(body)
    except AuditError as error:
        return error


def _alone(
    session_id: str, record: Record, opened: OpenedRecord | AuditError
) -> Iterator[ChainBreak]:
    """What is wrong with a record whatever stands before it."""
    if record.session_id != session_id:
        yield ChainBreak(session_id, record.seq, f"it is filed under {record.session_id!r}")
    if leaf_hash(record.body) != record.hash:
        yield ChainBreak(session_id, record.seq, "its bytes do not give the hash stored with it")
    if isinstance(opened, AuditError):
        yield ChainBreak(session_id, record.seq, str(opened))
        return
    if opened.session_id != session_id:
        yield ChainBreak(session_id, record.seq, f"it was sealed for {opened.session_id!r}")
    if opened.seq != record.seq:
        yield ChainBreak(session_id, record.seq, f"it was sealed as record {opened.seq}")


def _linked(
    session_id: str,
    record: Record,
    opened: OpenedRecord | AuditError,
    last: int,
    links: frozenset[bytes],
) -> Iterator[ChainBreak]:
    """How a record continues record `last`.

    `links` holds the hash stored with that record and the hash its bytes give. They differ only if
    that record was reported already, and then either is accepted, so one spoilt record is one
    break.
    """
    if record.seq <= last:
        yield ChainBreak(session_id, record.seq, f"it stands after record {last}")
    elif record.seq > last + 1:
        # Its predecessor is gone, so there is nothing that its link could be compared with.
        yield _missing(session_id, last + 1, record.seq - 1)
    elif isinstance(opened, OpenedRecord) and opened.prev not in links:
        yield ChainBreak(
            session_id,
            record.seq,
            f"it was not sealed onto {_name(last)} as it is stored: one of the two was changed",
        )


def _ended(
    session_id: str, last: int, links: frozenset[bytes], seq: int, head: bytes
) -> Iterator[ChainBreak]:
    if last < seq:
        yield _missing(session_id, last + 1, seq)
    elif last > seq:
        yield ChainBreak(session_id, seq + 1, f"it lies beyond the head, which is record {seq}")
    elif head not in links:
        yield ChainBreak(session_id, seq, "its hash is not the one kept as the head")


def _missing(session_id: str, first: int, last: int) -> ChainBreak:
    which = "it is missing" if first == last else f"it is missing, and so is all up to {last}"
    return ChainBreak(session_id, first, which)


def _name(seq: int) -> str:
    return f"record {seq}" if seq else "the start of the chain"
