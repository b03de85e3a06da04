"""Exports of a small log, made from sealed records, for tests that verify and spoil them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mcpuppet.audit.export_lines import (
    checkpoint_line,
    consistency_line,
    disclosure_line,
    header_line,
    proven_line,
    pruned_line,
    record_line,
    workflow_line,
)
from mcpuppet.audit.notes import SigningKey, checkpoint_text, sign_note
from mcpuppet.audit.record import GENESIS, Record, seal
from mcpuppet.audit.tree import Tree
from mcpuppet.audit.verifier import (
    ExportReport,
    KeptCheckpoint,
    VerifierKey,
    commitment_of,
    parse_key,
    verify_export,
)

ORIGIN = "audit.example.com/gateway"
KEY = SigningKey(ORIGIN, bytes(range(32)))
OTHER_KEY = SigningKey(ORIGIN, bytes(range(1, 33)))
START = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
WORKFLOW = "mcpuppet: 1\nworkflow: pay\nversion: 1.0.0\n# für alle\n"
WORKFLOW_HASH = hashlib.sha256(WORKFLOW.encode()).hexdigest()
SALT = bytes(16)
SECRET = {"iban": "DE00 1234", "owner": "Ada \u2013 \u00fc"}
COMMITMENT = commitment_of(SALT, SECRET)


def verifier_key(key: SigningKey = KEY) -> VerifierKey:
    return parse_key(key.verifier_key)


def data_of(number: int) -> tuple[str, dict[str, Any]]:
    """The kind and data of the n-th record of a log: ordinary ones, and all that is special."""
    if number == 0:
        return "RunStarted", {"run_id": "r1", "hash": WORKFLOW_HASH, "steps": ["pay"]}
    if number == 4:
        return "CallStarted", {"tool": "bank.pay", "arguments": {"to": {"$c": COMMITMENT.hex()}}}
    if number % 5 == 3:
        return "CallReturned", {"text": 'two\nlines, a \\ and "quotes"', "\u00fc": [1, 2.5, None]}
    return "CallAllowed", {"tool": "bank.pay", "arguments": {"amount": number}, "ok": True}


def chained(steps: Iterable[str]) -> list[Record]:
    """A log in which the named sessions take turns."""
    heads: dict[str, Record] = {}
    records = []
    for number, session in enumerate(steps):
        before = heads.get(session)
        kind, data = data_of(number)
        at = START + timedelta(seconds=number)
        seq, prev = (1, GENESIS) if before is None else (before.seq + 1, before.hash)
        heads[session] = seal(session, seq, prev, kind, at, data)
        records.append(heads[session])
    return records


def signed(tree: Tree, size: int, key: SigningKey = KEY, origin: str = ORIGIN) -> str:
    return sign_note(checkpoint_text(origin, size, tree.root(size)), key)


@dataclass(frozen=True)
class Log:
    """A log of 20 records in which the sessions a and b take turns, a having the first."""

    records: list[Record] = field(default_factory=lambda: chained("ab" * 10))

    @property
    def tree(self) -> Tree:
        return Tree(record.hash for record in self.records)

    def with_record(self, leaf: int, **changes: Any) -> Log:
        """A log in which one record is stored differently."""
        records = list(self.records)
        records[leaf] = replace(records[leaf], **changes)
        return Log(records)

    def header(self, size: int | None = None) -> str:
        covered = len(self.records) if size is None else size
        return header_line(ORIGIN, len(self.records), (covered, self.tree.root(covered)))

    def export(self, size: int | None = None, key: SigningKey = KEY) -> list[bytes]:
        """The lines of the log's export, under a checkpoint of `size` leaves."""
        covered = len(self.records) if size is None else size
        lines = [
            self.header(size),
            workflow_line(WORKFLOW_HASH, WORKFLOW),
            disclosure_line("a", COMMITMENT, SALT, SECRET),
            *(record_line(leaf, record) for leaf, record in enumerate(self.records)),
            checkpoint_line(signed(self.tree, covered, key)),
        ]
        return encoded(lines)

    def bundle(self, session: str, size: int | None = None, old: int | None = None) -> list[bytes]:
        """The lines of one session's export, perhaps with a consistency proof."""
        covered = len(self.records) if size is None else size
        tree = self.tree
        wanted = [(n, one) for n, one in enumerate(self.records) if one.session_id == session]
        announced = max([covered, *(leaf + 1 for leaf, _ in wanted)])
        lines = [header_line(ORIGIN, announced, (covered, tree.root(covered)), session)]
        if session == "a":
            lines.append(workflow_line(WORKFLOW_HASH, WORKFLOW))
            lines.append(disclosure_line("a", COMMITMENT, SALT, SECRET))
        if old is not None:
            first, last = sorted([old, covered])
            lines.append(consistency_line(first, last, tree.consistency(first, last)))
        for leaf, record in wanted:
            proof = tree.inclusion(leaf, covered) if leaf < covered else None
            lines.append(
                proven_line(leaf, record.session_id, record.seq, record.hash, record.body, proof)
            )
        return encoded([*lines, checkpoint_line(signed(tree, covered))])


LEAF_0 = 3
"""The place of leaf 0 among the lines of `Log.export`."""


def encoded(lines: Iterable[str]) -> list[bytes]:
    return [f"{line}\n".encode("ascii") for line in lines]


def pruned(lines: list[bytes], leaf: int) -> list[bytes]:
    """An export of a log in which one body is gone."""
    fields = json.loads(lines[LEAF_0 + leaf])
    body, digest = fields["body"], bytes.fromhex(fields["hash"])
    line = pruned_line(leaf, body["session"], body["seq"], digest)
    return with_line(lines, LEAF_0 + leaf, line)


def with_line(lines: list[bytes], at: int, line: str) -> list[bytes]:
    return [*lines[:at], *encoded([line]), *lines[at + 1 :]]


def with_fields(lines: list[bytes], at: int, **changes: Any) -> list[bytes]:
    """Lines in one of which fields are other ones, spelt as the writer spells them."""
    fields = json.loads(lines[at]) | changes
    return with_line(lines, at, json.dumps(fields, separators=(",", ":")))


def with_body(lines: list[bytes], at: int, body: str, **changes: Any) -> list[bytes]:
    """Lines in one of which the body and perhaps other fields are other ones."""
    start = json.dumps({**json.loads(lines[at]), **changes, "body": 0}, separators=(",", ":"))
    return with_line(lines, at, f"{start[:-2]}{body}}}")


def verified(
    lines: Iterable[bytes],
    *kept: str,
    keys: tuple[VerifierKey, ...] = (verifier_key(),),
    strict: bool = False,
) -> ExportReport:
    """The report on lines, with checkpoints that were kept."""
    checkpoints = [KeptCheckpoint(f"kept {n + 1}", note) for n, note in enumerate(kept)]
    return verify_export(lines, keys, checkpoints, strict=strict)
