"""A good chain, and every way to spoil it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from mcpuppet.audit.record import (
    GENESIS,
    ChainBreak,
    Record,
    leaf_hash,
    open_record,
    seal,
    verify_chain,
)
from mcpuppet.errors import AuditError, InvalidInputError

START = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def chain(session_id: str = "s", length: int = 6, kind: str = "denied") -> list[Record]:
    records: list[Record] = []
    prev = GENESIS
    for seq in range(1, length + 1):
        at = START + timedelta(seconds=seq)
        records.append(seal(session_id, seq, prev, kind, at, {"n": seq, "tool": "payments.send"}))
        prev = records[-1].hash
    return records


def head_of(records: list[Record]) -> tuple[int, bytes]:
    return records[-1].seq, records[-1].hash


def breaks(records: list[Record], head: tuple[int, bytes] | None) -> list[ChainBreak]:
    return list(verify_chain("s", records, head))


def reseal(record: Record, body: bytes) -> Record:
    return replace(record, body=body, hash=leaf_hash(body))


def test_a_good_chain_has_no_break() -> None:
    records = chain()
    assert breaks(records, head_of(records)) == []
    assert breaks(records, None) == []


def test_a_new_session_without_records_is_whole() -> None:
    assert breaks([], (0, GENESIS)) == []


def test_the_leaf_hash_of_nothing_is_the_one_that_other_implementations_give() -> None:
    # The leaf of the empty string in the test vectors of Certificate Transparency.
    expected = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(b"").hex() == expected


def test_a_body_is_these_bytes_and_no_others() -> None:
    record = seal("s", 1, GENESIS, "denied", START, {"b": 1, "a": "é"})
    assert record.body == (
        b'{"v":1,"session":"s","seq":1,"prev":"' + b"0" * 64 + b'",'
        b'"at":"2026-01-31T09:30:00.000000Z","kind":"denied","data":{"b":1,"a":"\\u00e9"}}'
    )


def test_what_is_sealed_is_read_back() -> None:
    at = datetime(2026, 1, 31, 10, 30, 0, 7, tzinfo=timezone(timedelta(hours=1)))
    data = {
        "huge": 10**400,
        "surrogate": "\ud800",
        "nul": "\x00",
        "float": 0.1,
        "deep": [[{"x": [None, True]}]],
        "\udfff": -0.0,
    }
    opened = open_record(seal("s", 3, b"\x07" * 32, "call", at, data).body)
    assert opened.data == data
    assert opened.at == at
    assert (opened.session_id, opened.seq, opened.prev, opened.kind) == (
        "s",
        3,
        b"\x07" * 32,
        "call",
    )


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def circle() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        {"a": -float("inf")},
        {1: "a key that is a number", "1": "becomes another's"},
        {None: 1},
        b"bytes",
        {1, 2},
        10**5000,
        nested(10_000),
        circle(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_refused_with_a_sentence(value: object) -> None:
    with pytest.raises(InvalidInputError, match="the data of a 'call' event cannot be recorded: "):
        seal("s", 1, GENESIS, "call", START, {"argument": value})


def test_a_time_without_an_offset_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="has no offset from UTC"):
        seal("s", 1, GENESIS, "call", datetime(2026, 1, 1), {})  # noqa: DTZ001, RUF100 - the point


def altered(**changes: object) -> bytes:
    fields = json.loads(chain(length=1)[0].body)
    return json.dumps({**fields, **changes}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        altered(v=2),
        altered(v=True),
        altered(session=1),
        altered(seq=0),
        altered(seq=True),
        altered(seq=1.0),
        altered(prev="00"),
        altered(prev="G" * 64),
        altered(at="2026-01-31"),
        altered(at="2026-13-31T09:30:00.000000Z"),
        altered(at="2026-01-31T09:30:00.000000+00:00"),
        altered(kind=None),
        altered(data=[]),
        altered(data=float("nan")),
        altered(more=1),
        altered().replace(b'"n": 1', b'"n": 1e999'),
        altered().replace(b'"n": 1', b'"n": 1, "n": 2'),
        altered().replace(b'"v": 1', b'"v": 1, "v": 1'),
        altered() + b"x",
    ],
)
def test_a_body_that_is_not_exactly_a_record_is_refused(body: bytes) -> None:
    with pytest.raises(AuditError):
        open_record(body)


def test_a_bit_flipped_in_any_byte_is_found_where_it_is() -> None:
    records = chain()
    for position in range(len(records[3].body)):
        body = bytearray(records[3].body)
        body[position] ^= 1
        spoilt = [*records[:3], replace(records[3], body=bytes(body)), *records[4:]]
        found = breaks(spoilt, head_of(records))
        assert {it.seq for it in found} == {4}
        assert "its bytes do not give the hash stored with it" in found[0].what


def test_an_altered_hash_is_found_where_it_is() -> None:
    records = chain()
    spoilt = [*records[:2], replace(records[2], hash=bytes(32)), *records[3:]]
    assert breaks(spoilt, head_of(records)) == [
        ChainBreak("s", 3, "its bytes do not give the hash stored with it")
    ]


def test_a_record_rewritten_with_its_hash_is_found_at_its_successor() -> None:
    records = chain()
    spoilt = [*records]
    spoilt[2] = reseal(records[2], records[2].body.replace(b"denied", b"allowed"))
    (found,) = breaks(spoilt, head_of(records))
    assert found.seq == 4
    assert "it was not sealed onto record 3 as it is stored" in found.what


def test_the_last_record_rewritten_with_its_hash_is_found_by_the_head() -> None:
    records = chain()
    last = reseal(records[-1], records[-1].body.replace(b"denied", b"allowed"))
    (found,) = breaks([*records[:-1], last], head_of(records))
    assert (found.seq, found.what) == (6, "its hash is not the one kept as the head")


def test_a_chain_rewritten_from_a_record_on_is_found_by_the_head() -> None:
    records = chain()
    rewritten = chain(kind="allowed")
    (found,) = breaks(rewritten, head_of(records))
    assert found.seq == 6


def dropped(records: list[Record]) -> list[Record]:
    return records[:2] + records[3:]


def dropped_and_renumbered(records: list[Record]) -> list[Record]:
    return records[:2] + [replace(it, seq=it.seq - 1) for it in records[3:]]


def swapped(records: list[Record]) -> list[Record]:
    first, second = records[2], records[3]
    return [*records[:2], replace(second, seq=3), replace(first, seq=4), *records[4:]]


def out_of_order(records: list[Record]) -> list[Record]:
    return [*records[:2], records[3], records[2], *records[4:]]


def inserted(records: list[Record]) -> list[Record]:
    extra = seal("s", 3, records[1].hash, "approved", START, {})
    return [*records[:2], extra, *(replace(it, seq=it.seq + 1) for it in records[2:])]


def doubled(records: list[Record]) -> list[Record]:
    return [*records[:3], *records[2:]]


def retyped(records: list[Record]) -> list[Record]:
    body = records[2].body.replace(b'"kind":"denied"', b'"kind":"allowed"')
    return [*records[:2], replace(records[2], body=body), *records[3:]]


def from_another_session(records: list[Record]) -> list[Record]:
    other = chain("other")[2]
    return [*records[:2], replace(other, session_id="s"), *records[3:]]


def filed_elsewhere(records: list[Record]) -> list[Record]:
    return [*records[:2], replace(records[2], session_id="other"), *records[3:]]


def not_json(records: list[Record]) -> list[Record]:
    return [*records[:2], reseal(records[2], b"gone"), *records[3:]]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (dropped, "it is missing"),
        (dropped_and_renumbered, "it was sealed as record 4"),
        (swapped, "it was sealed as record 4"),
        (out_of_order, "it is missing"),
        (inserted, None),
        (doubled, "it stands after record 3"),
        (retyped, "its bytes do not give the hash stored with it"),
        (from_another_session, "it was sealed for 'other'"),
        (filed_elsewhere, "it is filed under 'other'"),
        (not_json, "the body is not a JSON record: "),
    ],
)
def test_a_spoilt_chain_is_reported_from_the_spoilt_record_on(
    spoil: Callable[[list[Record]], list[Record]], sentence: str | None
) -> None:
    records = chain()
    found = breaks(spoil(records), head_of(records))
    # An inserted record that was sealed well is itself in order; what it displaces is not.
    assert min(it.seq for it in found) == (3 if sentence else 4)
    assert sentence is None or found[0].what.startswith(sentence)


@pytest.mark.parametrize("kept", range(6))
def test_a_cut_tail_is_invisible_to_the_chain_but_not_to_the_head(kept: int) -> None:
    records = chain()
    assert breaks(records[:kept], None) == []
    (found,) = breaks(records[:kept], head_of(records))
    assert found.seq == kept + 1
    assert found.what.startswith("it is missing")


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_cut_head_is_found_at_the_first_record(cut: int) -> None:
    records = chain()
    (found,) = breaks(records[cut:], head_of(records))
    assert (found.seq, found.what[:13]) == (1, "it is missing")


def test_records_beyond_the_head_are_found() -> None:
    records = chain()
    (found,) = breaks(records, head_of(records[:4]))
    assert (found.seq, found.what) == (5, "it lies beyond the head, which is record 4")
