"""A bundle: all that an auditor needs to verify one session, in one file of JSON lines.

Owns what belongs into it: the session's records, each with the proof that it is in the signed log,
the texts of its workflows, values that were disclosed, and the checkpoint. How a line is spelt is
`export_lines`; who may disclose is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from mcpuppet.audit import export_lines
from mcpuppet.audit.log import names_of_texts, read_checkpoint, text_lines
from mcpuppet.audit.reader import Disclosure, SessionReader
from mcpuppet.audit.record import Record
from mcpuppet.audit.tree import TileTree
from mcpuppet.audit.verifier import Checkpoint, check_inclusion
from mcpuppet.errors import AuditError, UnknownSessionError

_COMMITMENT = re.compile(rb'\{"\$c":"([0-9a-f]{64})"\}')
"""How a record's body holds the commitment to a value that was left out of it."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle holds."""

    records: int
    uncovered: int
    """Records that came after the checkpoint."""
    disclosures: int


def write_bundle(
    reader: SessionReader,
    session_id: str,
    tree: TileTree,
    note: str,
    out: TextIO,
    *,
    known: Sequence[Checkpoint] = (),
    disclose: bool = False,
) -> Bundle:
    """Write a session's records with their proofs under the signed checkpoint `note`.

    The bundle also proves that the log begins with each of the `known` checkpoints, which those
    who will verify it hold already. Raises UnknownSessionError, and AuditError if a record is not
    the one that was signed, or the checkpoint is older than a known one.
    """
    checkpoint = read_checkpoint(note)
    entries = list(reader.session_log(session_id))
    if not entries:
        raise UnknownSessionError(session_id)
    disclosures = _disclosed(reader, session_id, entries) if disclose else []
    size = max(checkpoint.size, entries[-1][0] + 1)
    signed = (checkpoint.size, checkpoint.root)
    lines = [export_lines.header_line(checkpoint.origin, size, signed, session_id)]
    lines += text_lines(reader, [one for _, record in entries for one in names_of_texts(record)])
    for one in disclosures:
        commitment = bytes.fromhex(one.commitment)
        lines.append(export_lines.disclosure_line(session_id, commitment, one.salt, one.value))
    lines += _consistency(tree, checkpoint, known)
    lines += (_record_line(tree, checkpoint, leaf, record) for leaf, record in entries)
    lines.append(export_lines.checkpoint_line(note))
    out.writelines(f"{line}\n" for line in lines)
    uncovered = sum(leaf >= checkpoint.size for leaf, _ in entries)
    return Bundle(len(entries), uncovered, len(disclosures))


def _disclosed(
    reader: SessionReader, session_id: str, entries: Sequence[tuple[int, Record]]
) -> list[Disclosure]:
    """The values behind commitments that stand in the records as values of their own."""
    held = {one.decode() for _, record in entries for one in _COMMITMENT.findall(record.body)}
    return [one for one in reader.disclosures(session_id) if one.commitment in held]


def _consistency(
    tree: TileTree, checkpoint: Checkpoint, known: Sequence[Checkpoint]
) -> Iterator[str]:
    for size in sorted({one.size for one in known}):
        if size > checkpoint.size:
            raise AuditError(
                f"a checkpoint of {size} records is known, but the log was last signed with "
                f"{checkpoint.size}: records are missing, or it is another log's checkpoint"
            )
        if size < checkpoint.size:
            proof = tree.consistency(size, checkpoint.size)
            yield export_lines.consistency_line(size, checkpoint.size, proof)


def _record_line(tree: TileTree, checkpoint: Checkpoint, leaf: int, record: Record) -> str:
    proof = None
    if leaf < checkpoint.size:
        proof = tree.inclusion(leaf, checkpoint.size)
        if not check_inclusion(record.hash, leaf, checkpoint.size, proof, checkpoint.root):
            raise AuditError(
                f"session {record.session_id!r}, record {record.seq}: it is not the record that "
                "was signed; `mcpuppet audit verify` says more"
            )
    body = record.body or None
    return export_lines.proven_line(leaf, record.session_id, record.seq, record.hash, body, proof)
