"""What every store must do with sessions, workflows and users."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mcpuppet.audit.record import GENESIS, open_record
from mcpuppet.audit.verify import verify_chains
from mcpuppet.errors import InvalidInputError, SessionChangedError, StoreError
from mcpuppet.store.protocol import (
    NEW_SESSION,
    ApprovalRow,
    Beside,
    Disclosure,
    Erasure,
    Head,
    NewRecord,
    Pin,
    Pruning,
    ReviewRow,
    SessionIndex,
    SessionRow,
    Store,
    StoredSession,
    User,
)

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 31, 9, 30, 0, 123_456, tzinfo=UTC)
INDEX = SessionIndex("agent", "running", "onboarding", (), None)


def event(kind: str = "call", at: datetime = NOW, **data: object) -> NewRecord:
    return NewRecord(kind, at, data)


async def begin(store: Store, session_id: str = "s", index: SessionIndex = INDEX) -> Head:
    return await store.append(session_id, NEW_SESSION, [event("opened")], b"0", index)


async def put_beside(store: Store, *rows: Beside) -> Head:
    head = await store.head("administration")
    records = [event("told")]
    return await store.append(
        "administration", head or NEW_SESSION, records, b"", INDEX, beside=rows
    )


def approval(approval_id: str, opened_at: datetime = NOW) -> ApprovalRow:
    return ApprovalRow(approval_id, "review", ("risk", "legal"), opened_at, NOW + timedelta(1))


async def test_an_unknown_session_is_none(store: Store) -> None:
    assert await store.load("s") is None
    assert await store.head("s") is None


async def test_what_is_appended_is_loaded(store: Store) -> None:
    first = await begin(store)
    second = await store.append("s", first, [event("call"), event("outcome")], b"\x00\xff", INDEX)
    assert (first.seq, second.seq) == (1, 3)
    assert await store.load("s") == StoredSession("s", second, b"\x00\xff")
    assert await store.head("s") == second


async def test_appended_records_are_a_chain_that_ends_in_the_head(store: Store) -> None:
    first = await begin(store)
    head = await store.append("s", first, [event("call", x=1), event("denied")], b"1", INDEX)
    with store.reader() as reader:
        records = list(reader.records("s"))
        assert reader.head("s") == (head.seq, head.hash)
        assert reader.snapshot("s") == b"1"
        assert verify_chains(reader).ok
    opened = [open_record(record.body) for record in records]
    assert [(it.seq, it.kind, it.data) for it in opened] == [
        (1, "opened", {}),
        (2, "call", {"x": 1}),
        (3, "denied", {}),
    ]
    assert opened[0].prev == GENESIS
    assert {it.at for it in opened} == {NOW}


@pytest.mark.parametrize(
    "expect", [NEW_SESSION, Head(2, bytes(32)), Head(1, bytes(32)), Head(0, b"\x01" * 32)]
)
async def test_an_append_onto_another_head_is_refused_and_changes_nothing(
    store: Store, expect: Head
) -> None:
    head = await begin(store)
    with pytest.raises(SessionChangedError):
        await store.append("s", expect, [event()], b"other", replace(INDEX, status="x"))
    assert await store.load("s") == StoredSession("s", head, b"0")
    assert [row.status for row in await store.sessions(limit=9)] == ["running"]


@pytest.mark.parametrize("expect", [Head(1, b"\x01" * 32), Head(0, b"\x01" * 32)])
async def test_an_append_onto_a_session_that_does_not_exist_is_refused(
    store: Store, expect: Head
) -> None:
    with pytest.raises(SessionChangedError):
        await store.append("s", expect, [event()], b"", INDEX)
    assert await store.load("s") is None


async def test_one_of_many_racing_appends_wins_and_spoils_no_other_session(store: Store) -> None:
    head = await begin(store, "contended")
    racing = [store.append("contended", head, [event(n=n)], b"1", INDEX) for n in range(20)]
    others = [begin(store, f"other-{n}") for n in range(20)]
    mixed = [it for pair in zip(racing, others, strict=True) for it in pair]
    results = await asyncio.gather(*mixed, return_exceptions=True)
    won = [it for it in results[::2] if isinstance(it, Head)]
    assert len(won) == 1
    assert all(isinstance(it, (Head, SessionChangedError)) for it in results)
    assert all(isinstance(it, Head) for it in results[1::2])
    assert await store.head("contended") == won[0]


async def test_an_append_that_cannot_be_written_leaves_its_neighbours_whole(store: Store) -> None:
    taken = replace(INDEX, open_approvals=(approval("a"),))
    await begin(store, "first", taken)
    results = await asyncio.gather(
        begin(store, "before"),
        begin(store, "spoilt", taken),
        begin(store, "not \ud800 text"),
        begin(store, "after"),
        return_exceptions=True,
    )
    assert [isinstance(it, Head) for it in results] == [True, False, False, True]
    assert isinstance(results[1], StoreError)
    assert await store.load("spoilt") is None
    assert await store.approval_session("a") == "first"
    with store.reader() as reader:
        assert list(reader.session_ids()) == ["after", "before", "first"]
        assert verify_chains(reader).ok


async def test_data_that_cannot_be_recorded_is_refused(store: Store) -> None:
    with pytest.raises(InvalidInputError):
        await store.append("s", NEW_SESSION, [event(x=float("nan"))], b"", INDEX)
    assert await store.load("s") is None


async def test_an_append_without_a_record_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="unrecorded"):
        await store.append("s", NEW_SESSION, [], b"", INDEX)


async def test_appends_take_effect_in_the_order_of_the_calls(store: Store) -> None:
    head = await begin(store)
    for n in range(30):
        head = await store.append("s", head, [event(n=n)], b"%d" % n, INDEX)
    with store.reader() as reader:
        data = [open_record(record.body).data for record in reader.records("s")]
    assert data == [{}, *({"n": n} for n in range(30))]


async def test_a_cancelled_append_is_whole_or_absent_and_the_store_goes_on(store: Store) -> None:
    task = asyncio.ensure_future(begin(store, "cancelled"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await begin(store, "next")
    with store.reader() as reader:
        assert verify_chains(reader).ok
        assert "next" in list(reader.session_ids())


async def test_sessions_are_listed_newest_update_first(store: Store) -> None:
    heads = {
        name: await store.append(
            name, NEW_SESSION, [event(at=NOW + timedelta(seconds=n))], b"", INDEX
        )
        for n, name in enumerate("abc")
    }
    later = NOW + timedelta(hours=1)
    done = SessionIndex("kim", "completed", None, (), later)
    await store.append("a", heads["a"], [event(at=later)], b"", done)
    rows = await store.sessions(limit=2)
    assert [row.session_id for row in rows] == ["a", "c"]
    assert rows[0] == SessionRow("a", "kim", "completed", None, 2, NOW, later, later)
    assert [row.session_id for row in await store.sessions(limit=9, status="running")] == ["c", "b"]


async def test_open_approvals_are_those_of_the_last_append(store: Store) -> None:
    early = approval("early", NOW - timedelta(hours=1))
    index = replace(INDEX, open_approvals=(approval("a"), early))
    head = await begin(store, "s", index)
    await begin(store, "t", replace(INDEX, open_approvals=(approval("b"),)))
    assert await store.open_approvals() == [
        ("s", early),
        ("s", approval("a")),
        ("t", approval("b")),
    ]
    assert await store.approval_session("a") == "s"
    await store.append("s", head, [event("approved")], b"", INDEX)
    assert await store.open_approvals() == [("t", approval("b"))]
    assert await store.approval_session("a") is None


async def test_an_approval_may_be_open_without_end(store: Store) -> None:
    row = replace(approval("a"), expires_at=None)
    await begin(store, "s", replace(INDEX, open_approvals=(row,)))
    assert await store.open_approvals() == [("s", row)]


async def test_due_sessions_are_the_most_overdue_first(store: Store) -> None:
    for name, minutes in (("late", 5), ("now", 0), ("latest", 9), ("future", -1)):
        await begin(store, name, replace(INDEX, due=NOW - timedelta(minutes=minutes)))
    await begin(store, "never")
    assert await store.due_sessions(NOW, 9) == ["latest", "late", "now"]
    assert await store.due_sessions(NOW, 1) == ["latest"]


async def test_a_workflow_is_kept_once(store: Store) -> None:
    assert await store.workflow_text("h") is None
    await asyncio.gather(*(store.put_workflow("h", "onboarding", "1", "text") for _ in range(3)))
    await store.put_workflow("h", "onboarding", "1", "text")
    assert await store.workflow_text("h") == "text"
    with store.reader() as reader:
        assert reader.workflow_text("h") == "text"
        assert reader.workflow_text("other") is None


async def test_another_text_under_a_known_workflow_hash_is_refused(store: Store) -> None:
    await store.put_workflow("h", "onboarding", "1", "text")
    with pytest.raises(StoreError, match="another text is kept"):
        await store.put_workflow("h", "onboarding", "1", "other")
    assert await store.workflow_text("h") == "text"


async def test_users_are_found_by_the_hash_of_their_token(store: Store) -> None:
    kim = User("kim", ("risk", "legal"), b"\x01" * 32, False, NOW)
    ada = User("ada", (), b"\x02" * 32, True, NOW)
    await put_beside(store, kim)
    await put_beside(store, ada)
    assert await store.users() == [ada, kim]
    assert await store.user_by_token_hash(b"\x02" * 32) == ada
    assert await store.user_by_token_hash(b"\x03" * 32) is None


async def test_a_user_is_replaced_by_name(store: Store) -> None:
    kim = User("kim", ("risk",), b"\x01" * 32, False, NOW)
    await put_beside(store, kim)
    changed = replace(kim, token_hash=b"\x09" * 32, disabled=True)
    await put_beside(store, changed)
    assert await store.users() == [changed]
    assert await store.user_by_token_hash(b"\x01" * 32) is None


async def test_a_token_hash_belongs_to_one_user(store: Store) -> None:
    await put_beside(store, User("kim", (), b"\x01" * 32, False, NOW))
    with pytest.raises(StoreError):
        await put_beside(store, User("ada", (), b"\x01" * 32, False, NOW))
    assert [it.name for it in await store.users()] == ["kim"]


async def test_the_administration_log_is_in_no_list_of_sessions(store: Store) -> None:
    await begin(store)
    await put_beside(store)
    assert [row.session_id for row in await store.sessions(limit=9)] == ["s"]
    assert [row.session_id for row in await store.sessions(limit=9, status="running")] == ["s"]


async def test_open_reviews_are_listed_by_when_they_are_due_and_replaced_as_a_whole(
    store: Store,
) -> None:
    later, sooner = (
        ReviewRow(name, "fraud", ("risk",), "kim", NOW, NOW + timedelta(days))
        for name, days in (("rev_a", 2), ("rev_b", 1))
    )
    head = await begin(store, index=replace(INDEX, open_reviews=(later, sooner)))
    assert await store.open_reviews() == [("s", sooner), ("s", later)]
    assert await store.review_session("rev_a") == "s"
    await store.append("s", head, [event()], b"", replace(INDEX, open_reviews=(sooner,)))
    assert await store.review_session("rev_a") is None
    assert await store.open_reviews() == [("s", sooner)]


async def test_a_pin_replaces_the_one_of_its_tool(store: Store) -> None:
    await put_beside(store, Pin("bank.pay", "aa"), Pin("bank.read", "bb"))
    await put_beside(store, Pin("bank.pay", "cc"))
    assert await store.pins() == {"bank.pay": "cc", "bank.read": "bb"}


async def test_disclosures_are_kept_until_they_are_erased(store: Store) -> None:
    await begin(store)
    name, mail = (
        Disclosure("s", "0a" * 32, bytes(16), "Ada"),
        Disclosure("s", "0b" * 32, b"\x01" * 16, {"a": [1, None]}),
    )
    await put_beside(store, name, mail)
    assert list(await store.disclosures("s")) == [name, mail]
    with store.reader() as reader:
        assert list(reader.disclosures("s")) == [name, mail]
    await put_beside(store, Erasure("s", (name.commitment,)))
    assert list(await store.disclosures("s")) == [mail]


async def test_pruned_records_lose_their_bodies_and_nothing_else(store: Store) -> None:
    await begin(store, "old")
    await begin(store, "new")
    await put_beside(store, Disclosure("old", "0a" * 32, bytes(16), "Ada"))
    with store.reader() as reader:
        before = list(reader.log())
        leaves = list(reader.leaves())
    await put_beside(store, Pruning(("old",)))
    with store.reader() as reader:
        after = list(reader.log())
        assert list(reader.leaves())[:3] == leaves
        assert list(reader.leaves(2)) == list(reader.leaves())[2:]
        assert reader.size() == 4
        assert reader.snapshot("old") == b""
        assert [leaf for leaf, _ in reader.session_log("administration")] == [2, 3]
    assert [leaf for leaf, _ in after] == [0, 1, 2, 3]
    assert after[0][1] == replace(before[0][1], body=b"")
    assert after[1:3] == before[1:]
    assert await store.disclosures("old") == []


async def test_a_session_that_went_on_is_not_pruned_and_nothing_else_is(store: Store) -> None:
    await begin(store, "old")
    await begin(store, "new")
    with pytest.raises(StoreError, match="'old' went on meanwhile"):
        await put_beside(store, Pruning(("old", "new"), NOW))
    with store.reader() as reader:
        assert all(record.body for _, record in reader.log())
    await put_beside(store, Pruning(("old", "new"), NOW + timedelta(days=1)))


async def test_nothing_is_appended_to_a_pruned_session(store: Store) -> None:
    head = await begin(store, "old")
    await put_beside(store, Pruning(("old",)))
    assert [one.session_id for one in await store.sessions(limit=9, status="pruned")] == ["old"]
    with pytest.raises(SessionChangedError):
        await store.append("old", head, [event()], b"", INDEX)


async def test_the_data_version_changes_with_a_commit_and_only_then(store: Store) -> None:
    head = await begin(store)
    before = await store.data_version()
    assert await store.data_version() == before
    await store.append("s", head, [event()], b"", INDEX)
    assert await store.data_version() != before


async def test_a_reader_does_not_see_what_is_appended_after_it_was_opened(store: Store) -> None:
    head = await begin(store)
    with store.reader() as reader:
        await store.append("s", head, [event()], b"", INDEX)
        await begin(store, "later")
        assert reader.head("s") == (head.seq, head.hash)
        assert [record.seq for record in reader.records("s")] == [1]
        assert list(reader.session_ids()) == ["s"]
    with store.reader() as reader:
        assert len(list(reader.records("s"))) == 2


async def test_a_reader_knows_nothing_of_unknown_sessions(store: Store) -> None:
    await begin(store)
    with store.reader() as reader:
        assert list(reader.records("t")) == []
        assert reader.head("t") is None
        assert reader.snapshot("t") is None


async def test_a_closed_store_refuses(store: Store) -> None:
    await begin(store)
    await store.close()
    await store.close()
    for use in (store.load("s"), begin(store, "t"), store.put_workflow("h", "n", "1", "t")):
        with pytest.raises(StoreError, match="closed"):
            await use


async def test_closing_finishes_what_was_asked_for(store: Store) -> None:
    appends = [asyncio.ensure_future(begin(store, f"s{n}")) for n in range(10)]
    await asyncio.sleep(0)
    await store.close()
    assert [head.seq for head in await asyncio.gather(*appends)] == [1] * 10
