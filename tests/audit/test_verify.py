"""Verification of a whole store, through a reader kept in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mcpuppet.audit.reader import Disclosure
from mcpuppet.audit.record import GENESIS, OpenedRecord, Record, seal
from mcpuppet.audit.verify import verify_chains
from mcpuppet.errors import AuditError

AT = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


@dataclass
class MemoryReader:
    """A `SessionReader` over plain dictionaries."""

    chains: dict[str, list[Record]] = field(default_factory=dict)
    heads: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    states: dict[str, bytes] = field(default_factory=dict)

    def add(self, session_id: str, kinds: list[str]) -> None:
        chain: list[Record] = []
        for seq, kind in enumerate(kinds, start=1):
            prev = chain[-1].hash if chain else GENESIS
            chain.append(seal(session_id, seq, prev, kind, AT, {}))
        self.chains[session_id] = chain
        self.heads[session_id] = (len(chain), chain[-1].hash)
        self.states[session_id] = " ".join(kinds).encode()

    def session_ids(self) -> Iterator[str]:
        return iter(sorted(self.chains))

    def records(self, session_id: str) -> Iterator[Record]:
        return iter(self.chains[session_id])

    def head(self, session_id: str) -> tuple[int, bytes] | None:
        return self.heads.get(session_id)

    def snapshot(self, session_id: str) -> bytes | None:
        return self.states.get(session_id)

    def workflow_text(self, workflow_hash: str) -> str | None:
        return None

    def disclosures(self, session_id: str) -> Iterator[Disclosure]:
        return iter(())


def kinds_in_order(records: Iterable[OpenedRecord]) -> bytes:
    return " ".join(record.kind for record in records).encode()


def store() -> MemoryReader:
    reader = MemoryReader()
    reader.add("a", ["opened", "call", "outcome"])
    reader.add("b", ["opened", "denied"])
    return reader


def test_a_good_store_verifies_and_is_counted() -> None:
    report = verify_chains(store(), kinds_in_order)
    assert report.ok
    assert (report.sessions, report.records) == (2, 5)


def test_a_break_names_its_session_and_leaves_the_others_verified() -> None:
    reader = store()
    del reader.chains["a"][1]
    report = verify_chains(reader)
    assert [str(it) for it in report.breaks] == ["session 'a', record 2: it is missing"]
    assert not report.ok


def test_a_session_without_a_stored_head_is_reported() -> None:
    reader = store()
    del reader.heads["b"]
    (found,) = verify_chains(reader).breaks
    assert (found.session_id, found.seq) == ("b", 0)
    assert "no head is stored" in found.what


def test_a_state_that_its_records_do_not_fold_to_is_reported() -> None:
    reader = store()
    reader.states["b"] = b"opened approved"
    assert verify_chains(reader).ok
    (found,) = verify_chains(reader, kinds_in_order).breaks
    assert (found.session_id, found.seq) == ("b", 2)
    assert found.what == "the stored state differs from the fold of the session's records"


def test_a_broken_chain_is_not_folded() -> None:
    reader = store()
    del reader.chains["a"][1]
    assert len(verify_chains(reader, kinds_in_order).breaks) == 1


def test_records_that_cannot_be_folded_are_a_break() -> None:
    def refusing(records: Iterable[OpenedRecord]) -> bytes:
        raise AuditError("an outcome without a call")

    found = verify_chains(store(), refusing).breaks
    assert [it.what for it in found] == [
        "its records cannot be folded: an outcome without a call"
    ] * 2
