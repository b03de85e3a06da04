"""The lines of an export of the audit trail, as they are written.

Owns their spelling only: which records belong in an export, and where they come from, is known to
those who call. Reading and checking them is `audit.verifier`, which shares no code with this; the
format is described in `docs/verify.md`. Each function returns one line of ASCII without its line
feed. The order is: header, workflows and disclosures and consistency proofs, records, checkpoint.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Literal

from mcpuppet.audit.record import Record

FORMAT = 1

_RAW = re.compile(rb'\{"v":1,"session":[ -~]*\}')
"""What stands raw in a line: printable ASCII that begins and ends as every sealed record does."""
_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


def header_line(
    origin: str, size: int, checkpoint: tuple[int, bytes] | None, session: str | None = None
) -> str:
    """The first line; a `session` makes it the export of that session, else it is of the log.

    `size` is how many leaves a log's export holds, or for one session the larger of the
    checkpoint's size and the leaf after the session's last. `checkpoint` is the size and the
    32-byte root of the checkpoint in the last line.
    """
    scope: Literal["log", "session"] = "log" if session is None else "session"
    announced = None if checkpoint is None else {"size": checkpoint[0], "root": checkpoint[1].hex()}
    return _encode(
        {
            "mcpuppet_export": FORMAT,
            "scope": scope,
            "origin": origin,
            "size": size,
            "session": session,
            "checkpoint": announced,
        }
    )


def record_line(leaf: int, record: Record) -> str:
    """A record of a log's export, at its place in the tree (from 0)."""
    return f"{_place(leaf, record.hash)},{_body(record.body)}}}"


def pruned_line(leaf: int, session: str, seq: int, record_hash: bytes) -> str:
    """A record of a log's export whose body is gone."""
    return f"{_place(leaf, record_hash)},{_pruned(session, seq)}}}"


def proven_line(
    leaf: int,
    session: str,
    seq: int,
    record_hash: bytes,
    body: bytes | None,
    proof: Sequence[bytes] | None,
) -> str:
    """A record of one session's export, with its inclusion proof under the export's checkpoint.

    `body` is None where it was pruned, `proof` where the leaf is not yet under the checkpoint.
    """
    hashes = _encode(None if proof is None else [one.hex() for one in proof])
    content = _pruned(session, seq) if body is None else _body(body)
    return f'{_place(leaf, record_hash)},"proof":{hashes},{content}}}'


def workflow_line(workflow_hash: str, text: str) -> str:
    """The text of a workflow or of rules that a record of the export names by its hash."""
    return _encode({"workflow": {"hash": workflow_hash, "text": text}})


def disclosure_line(session: str, commitment: bytes, salt: bytes, value: object) -> str:
    """A redacted value of a record of the export: 32 bytes, 16 bytes, and any JSON."""
    content = {
        "session": session,
        "commitment": commitment.hex(),
        "salt": salt.hex(),
        "value": value,
    }
    return _encode({"disclosure": content})


def consistency_line(old: int, new: int, proof: Sequence[bytes]) -> str:
    """That the log of `new` leaves begins with the log of `old`; for exports of one session."""
    hashes = [one.hex() for one in proof]
    return _encode({"consistency": {"old": old, "new": new, "proof": hashes}})


def checkpoint_line(note: str | None) -> str:
    """The last line: the signed note, or None where the log has no checkpoint yet."""
    return _encode({"checkpoint": note})


def _place(leaf: int, record_hash: bytes) -> str:
    return f'{{"leaf":{leaf},"hash":"{record_hash.hex()}"'


def _pruned(session: str, seq: int) -> str:
    return f'"pruned":{_encode({"session": session, "seq": seq})}'


def _body(body: bytes) -> str:
    """The bytes of a body as they are, or in base64 where that would not be one line of JSON."""
    if _RAW.fullmatch(body):
        return f'"body":{body.decode("ascii")}'
    return f'"body64":"{base64.b64encode(body).decode()}"'
