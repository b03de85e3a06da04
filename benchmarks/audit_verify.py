"""How many records a second the audit trail takes, and how many its verification takes.

100,000 records of about 0.9 KiB in 100 interleaved sessions: sealing them into chains, hashing them
into the tree and writing tiles, writing the lines of the export, and verifying that export from its
bytes with a key, the ordinary way and strictly. Prints medians of several runs, in one process.

    python benchmarks/audit_verify.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from mcpuppet.audit.export_lines import checkpoint_line, header_line, record_line
from mcpuppet.audit.notes import SigningKey, checkpoint_text, sign_note
from mcpuppet.audit.record import GENESIS, Record, seal
from mcpuppet.audit.tree import TileTree, Tree
from mcpuppet.audit.verifier import parse_key, read_lines, verify_export

RECORDS = 100_000
SESSIONS = 100
RUNS = 5
NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
ORIGIN = "audit.example.com/gateway"
DATA = {
    "call_id": "c-000001",
    "step": "book_payment",
    "tool": "bank.create_transfer",
    "arguments": {
        "payee": "DE00123456789012",
        "amount": 1250.5,
        "reference": "invoice 2026-000123 of the quarter, as approved by the treasurer " * 4,
    },
    "digest": "5c" * 32,
    "rules": [{"id": f"limit-{n}", "verdict": "allowed", "read": {"sum": n}} for n in range(3)],
    "principal": "agent",
}


def sealed() -> list[Record]:
    heads = [GENESIS] * SESSIONS
    records = []
    for number in range(RECORDS):
        which, before = number % SESSIONS, number // SESSIONS
        record = seal(f"session-{which}", before + 1, heads[which], "CallStarted", NOW, DATA)
        heads[which] = record.hash
        records.append(record)
    return records


def lines_of(records: list[Record], tree: Tree, key: SigningKey) -> list[str]:
    note = sign_note(checkpoint_text(ORIGIN, tree.size, tree.root()), key)
    header = header_line(ORIGIN, tree.size, (tree.size, tree.root()))
    body = [record_line(leaf, record) for leaf, record in enumerate(records)]
    return [header, *body, checkpoint_line(note)]


def tiles(records: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        TileTree(Path(folder), 0).extend(record.hash for record in records)


def verified(path: Path, key: SigningKey, strict: bool) -> None:
    with path.open("rb", buffering=1 << 20) as file:
        keys = [parse_key(key.verifier_key)]
        report = verify_export(read_lines(file), keys, strict=strict)
    assert report.ok, report.breaks
    assert report.verified == RECORDS


def rate(runs: int, what: Callable[[], object]) -> str:
    rates = []
    for _ in range(runs):
        start = time.perf_counter()
        what()
        rates.append(RECORDS / (time.perf_counter() - start))
    return f"{statistics.median(rates):>9,.0f} records/s (best {max(rates):,.0f}, {runs} runs)"


def main() -> None:
    records, key = sealed(), SigningKey.create(ORIGIN)
    tree = Tree(record.hash for record in records)
    lines = lines_of(records, tree, key)
    print(f"{RECORDS:,} records of {len(records[0].body)} bytes in {SESSIONS} sessions")
    print("seal into chains      ", rate(1, sealed))
    print("tree in memory        ", rate(3, lambda: Tree(record.hash for record in records)))
    print("tree in durable tiles ", rate(3, lambda: tiles(records)))
    print("write the export      ", rate(1, lambda: lines_of(records, tree, key)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        print("verify                ", rate(RUNS, lambda: verified(path, key, False)))
        print("verify --strict       ", rate(1, lambda: verified(path, key, True)))


if __name__ == "__main__":
    main()
