"""What every store must do with claims: uses that are counted and locks that are held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from mcpuppet.errors import ClaimRefusedError, SessionChangedError
from mcpuppet.store.protocol import (
    NEW_SESSION,
    Head,
    LockClaim,
    LockHolder,
    NewRecord,
    Reservations,
    SessionIndex,
    Store,
    Use,
    UseClaim,
)

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 31, 9, 30, 0, 123_456, tzinfo=UTC)
HOUR = timedelta(hours=1)
INSTANT = timedelta(microseconds=1)
INDEX = SessionIndex("agent", "running", None, (), None)
EVENT = NewRecord("call", NOW, {})


async def append(
    store: Store,
    *claims: UseClaim | LockClaim,
    session_id: str = "s",
    releases: Sequence[str] = (),
) -> Head:
    head = await store.head(session_id) or NEW_SESSION
    return await store.append(
        session_id, head, [EVENT], b"", INDEX, claims=claims, releases=releases
    )


def hourly(
    at_most: int | str | None, *, at: datetime = NOW, amount: int | str = 1, key: str = "rate"
) -> UseClaim:
    limit = None if at_most is None else Decimal(at_most)
    return UseClaim(key, at, Decimal(amount), at - HOUR, limit)


def for_ever(
    at_most: int | str | None, *, at: datetime = NOW, amount: int | str = 1, key: str = "total"
) -> UseClaim:
    limit = None if at_most is None else Decimal(at_most)
    return UseClaim(key, at, Decimal(amount), None, limit)


async def uses(store: Store, key: str = "rate", since: datetime | None = NOW - HOUR) -> list[Use]:
    return list((await store.reservations({key: since}, ())).uses[key])


async def holder(store: Store, key: str = "lock") -> LockHolder | None:
    return (await store.reservations({}, [key])).locks.get(key)


async def test_nothing_is_reserved_in_a_new_store(store: Store) -> None:
    found = await store.reservations({"rate": NOW, "total": None}, ["lock"])
    assert found == Reservations({"rate": (), "total": ()}, {})


async def test_what_was_claimed_is_reserved(store: Store) -> None:
    await append(store, hourly(5), hourly(5, at=NOW - INSTANT, amount="2.50"))
    await append(store, LockClaim("lock", "call-1"), for_ever(5), session_id="t")
    found = await store.reservations({"rate": NOW - HOUR, "total": None}, ["lock", "free"])
    assert found.uses == {
        "rate": (Use(NOW - INSTANT, Decimal("2.5")), Use(NOW, Decimal(1))),
        "total": (Use(NOW, Decimal(1)),),
    }
    assert found.locks == {"lock": LockHolder("t", "call-1")}


async def test_uses_of_one_moment_are_all_counted(store: Store) -> None:
    await append(store, hourly(3), hourly(3), session_id="s")
    await append(store, hourly(3), session_id="t")
    with pytest.raises(ClaimRefusedError):
        await append(store, hourly(3), session_id="u")
    assert await uses(store) == [Use(NOW, Decimal(1))] * 3


async def test_a_refused_claim_names_its_key_and_can_be_handled_as_a_changed_session(
    store: Store,
) -> None:
    await append(store, hourly(1))
    with pytest.raises(SessionChangedError) as caught:
        await append(store, hourly(1))
    assert isinstance(caught.value, ClaimRefusedError)
    assert (caught.value.session_id, caught.value.expected_seq, caught.value.key) == (
        "s",
        1,
        "rate",
    )
    assert str(caught.value) == "session 's' cannot reserve 'rate': others were first"


async def test_a_refused_claim_leaves_everything_as_it_was(store: Store) -> None:
    past = NOW - 2 * HOUR
    await append(store, hourly(1, at=past), hourly(1, key="full"), LockClaim("old", "call-0"))
    before = await store.load("s")
    everything = {"rate": past - HOUR, "full": NOW - HOUR, "total": None}
    reserved = await store.reservations(everything, ["old", "new"])
    claims = (hourly(1), for_ever(9), LockClaim("new", "call-1"), hourly(1, key="full"))
    with pytest.raises(ClaimRefusedError, match="'full'"):
        await append(store, *claims, releases=["old"])
    assert await store.load("s") == before
    assert await store.reservations(everything, ["old", "new"]) == reserved


async def test_a_changed_session_claims_and_releases_nothing(store: Store) -> None:
    await append(store, LockClaim("lock", "call-1"))
    with pytest.raises(SessionChangedError) as caught:
        await store.append(
            "s", NEW_SESSION, [EVENT], b"", INDEX, claims=[hourly(9)], releases=["lock"]
        )
    assert not isinstance(caught.value, ClaimRefusedError)
    assert await uses(store) == []
    assert await holder(store) == LockHolder("s", "call-1")


async def test_a_use_falls_out_of_the_window_exactly_at_its_end(store: Store) -> None:
    await append(store, hourly(1))
    with pytest.raises(ClaimRefusedError):
        await append(store, hourly(1, at=NOW + HOUR - INSTANT))
    assert await uses(store, since=NOW - INSTANT) == [Use(NOW, Decimal(1))]
    assert await uses(store, since=NOW) == []
    await append(store, hourly(1, at=NOW + HOUR))


async def test_uses_outside_of_a_later_claims_window_are_kept_and_not_counted(store: Store) -> None:
    for minutes in (0, 30, 60, 90):
        await append(store, hourly(9, at=NOW + timedelta(minutes=minutes)))
    assert len(await uses(store, since=NOW - HOUR)) == 4
    kept = await uses(store, since=NOW + HOUR / 2)
    assert [use.at - NOW for use in kept] == [timedelta(minutes=60), timedelta(minutes=90)]


async def test_other_keys_are_neither_counted_nor_pruned(store: Store) -> None:
    await append(store, hourly(1, key="a"))
    await append(store, hourly(1, key="b", at=NOW + 5 * HOUR))
    assert await uses(store, "a") == [Use(NOW, Decimal(1))]


async def test_a_clock_that_was_set_back_frees_nothing(store: Store) -> None:
    await append(store, hourly(2), hourly(2))
    for earlier in (NOW - INSTANT, NOW - 24 * HOUR):
        with pytest.raises(ClaimRefusedError):
            await append(store, hourly(2, at=earlier))


@pytest.mark.parametrize("claim", [hourly, for_ever])
async def test_sums_are_exact(store: Store, claim: Callable[..., UseClaim]) -> None:
    tiny, huge = "0.00000000000000000001", "999999999999999999999999999999.9"
    for amount in ("0.1", "0.2", tiny, huge, "1", "1E+2"):
        await append(store, claim(None, amount=amount))
    total = Decimal("1000000000000000000000000000101.20000000000000000001")
    with pytest.raises(ClaimRefusedError):
        await append(store, claim(str(total), amount=tiny))
    await append(store, claim(str(total), amount="0"))


async def test_a_sum_may_come_to_its_limit_and_no_further(store: Store) -> None:
    await append(store, hourly("0.3", amount="0.1"))
    with pytest.raises(ClaimRefusedError):
        await append(store, hourly("0.3", amount="0.21"))
    await append(store, hourly("0.3", amount="0.2"))


@pytest.mark.parametrize("claim", [hourly, for_ever])
async def test_what_a_person_approved_is_counted_but_never_refused(
    store: Store, claim: Callable[..., UseClaim]
) -> None:
    await append(store, claim(1))
    await append(store, claim(None))
    with pytest.raises(ClaimRefusedError):
        await append(store, claim(2))
    await append(store, claim(3))


async def test_a_key_that_counts_for_ever_has_one_total_at_its_last_use(store: Store) -> None:
    for days, amount in ((0, "1.5"), (400, "2.5"), (-1, "0.25")):
        await append(store, for_ever(9, at=NOW + timedelta(days=days), amount=amount))
    (total,) = await uses(store, "total", None)
    assert total == Use(NOW + timedelta(days=400), Decimal("4.25"))
    assert str(total.amount) == "4.25"


@pytest.mark.parametrize(
    ("stored", "text"), [("1.50", "1.5"), ("1E+3", "1000"), ("0.000", "0"), ("-0", "0")]
)
async def test_equal_amounts_are_stored_alike(store: Store, stored: str, text: str) -> None:
    await append(store, hourly(None, amount=stored), for_ever(None, amount=stored))
    assert [str(use.amount) for use in await uses(store)] == [text]
    assert [str(use.amount) for use in await uses(store, "total", None)] == [text]


@pytest.mark.parametrize("amount", ["-0.01", "NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        hourly(5, amount=amount)


@pytest.mark.parametrize("amount", ["1E+30", "1E-21", "1.123456789012345678901", "1E+999999999"])
def test_an_amount_that_cannot_be_summed_exactly_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="cannot be counted exactly"):
        for_ever(5, amount=amount)


@pytest.mark.parametrize("at_most", ["NaN", "Infinity"])
def test_a_limit_that_is_no_number_is_refused(at_most: str) -> None:
    with pytest.raises(ValueError, match="is not a limit"):
        hourly(at_most)


def test_a_use_outside_of_its_own_window_is_refused() -> None:
    with pytest.raises(ValueError, match="is not in a window"):
        UseClaim("rate", NOW, Decimal(1), NOW, None)


@pytest.mark.parametrize(
    ("session_id", "call_id"), [("s", "call-2"), ("t", "call-1"), ("t", "call-2")]
)
async def test_a_lock_is_held_against_every_other_call(
    store: Store, session_id: str, call_id: str
) -> None:
    await append(store, LockClaim("lock", "call-1"))
    with pytest.raises(ClaimRefusedError):
        await append(store, LockClaim("lock", call_id), session_id=session_id)
    assert await holder(store) == LockHolder("s", "call-1")


async def test_a_call_may_claim_again_what_it_holds(store: Store) -> None:
    await append(store, LockClaim("lock", "call-1"))
    await append(store, LockClaim("lock", "call-1"))
    assert await holder(store) == LockHolder("s", "call-1")


async def test_a_released_lock_can_be_held_by_another(store: Store) -> None:
    await append(store, LockClaim("lock", "call-1"), LockClaim("kept", "call-1"))
    await append(store, releases=["lock"])
    assert await holder(store) is None
    assert await holder(store, "kept") == LockHolder("s", "call-1")
    await append(store, LockClaim("lock", "call-7"), session_id="t")
    assert await holder(store) == LockHolder("t", "call-7")


async def test_a_release_by_another_session_changes_nothing(store: Store) -> None:
    await append(store, LockClaim("lock", "call-1"))
    await append(store, session_id="t", releases=["lock", "never held"])
    assert await holder(store) == LockHolder("s", "call-1")


async def test_a_lock_passes_from_call_to_call_in_one_append(store: Store) -> None:
    await append(store, LockClaim("lock", "call-1"))
    await append(store, LockClaim("lock", "call-2"), releases=["lock"])
    assert await holder(store) == LockHolder("s", "call-2")


async def test_one_of_many_racing_sessions_gets_the_last_use(store: Store) -> None:
    await append(store, hourly(2))
    racing = (append(store, hourly(2), session_id=f"racing-{n}") for n in range(20))
    results = await asyncio.gather(*racing, return_exceptions=True)
    assert sum(isinstance(it, Head) for it in results) == 1
    assert sum(isinstance(it, ClaimRefusedError) for it in results) == 19
    assert len(await uses(store)) == 2
    assert len(await store.sessions(limit=99)) == 2
