"""What sessions share: uses that are counted together, and locks that one call holds at a time.

The values that a decision reads and a call claims, and the keys under which they are kept. Whoever
keeps them compares and writes a claim in the transaction of the intent to call.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from mcpuppet.session.amounts import total
from mcpuppet.session.call import Principal
from mcpuppet.workflow.compiled import Rulebook
from mcpuppet.workflow.compiled_policy import CompiledPolicy


@dataclass(frozen=True, slots=True)
class Use:
    """One counted use; `at` is aware, in UTC."""

    at: datetime
    amount: Decimal


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The call that holds a lock, and its session."""

    session_id: str
    call_id: str


@dataclass(frozen=True, slots=True)
class Reservations:
    """What is reserved under the keys that were asked for.

    `uses` has every key asked for, its uses oldest first; a key that counts for ever has one `Use`:
    their total, at the time of the last. `locks` has only the keys that are held.
    """

    uses: Mapping[str, tuple[Use, ...]] = field(default_factory=dict)
    locks: Mapping[str, LockHolder] = field(default_factory=dict)


_NO_LOCKS: frozenset[str] = frozenset()


class Reserved:
    """Reservations as a decision looks them up, noting what it asked for and was not told."""

    def __init__(
        self,
        known: Reservations | None = None,
        asked: tuple[Mapping[str, datetime | None], Collection[str]] = ({}, ()),
    ) -> None:
        self._known = known or Reservations()
        self._asked = (asked[0], frozenset(asked[1]) if asked[1] else _NO_LOCKS)
        self.missing_uses: dict[str, datetime | None] = {}
        self.missing_locks: set[str] = set()

    def uses(self, key: str, since: datetime | None) -> tuple[Use, ...]:
        """The uses that count; none while they are not known."""
        if key not in self._asked[0]:
            self.missing_uses[key] = since
        return self._known.uses.get(key, ())

    def holder(self, key: str) -> LockHolder | None:
        """Who holds a lock; nobody while it is not known."""
        if key not in self._asked[1]:
            self.missing_locks.add(key)
        return self._known.locks.get(key)

    @property
    def is_complete(self) -> bool:
        """Whether everything that was asked for was known."""
        return not self.missing_uses and not self.missing_locks


def use_key(book: str, policy: CompiledPolicy, principal: Principal) -> str:
    """Under which name the uses of a limit are counted: per workflow, or per user of it."""
    assert policy.limit is not None
    key = f"{book}/{policy.id}"
    return f"{key}/{principal.name}" if policy.limit.scope == "user" else key


def lock_key(book: str, policy: CompiledPolicy, tool: str) -> str:
    """What a call of `tool` holds under a mutex beyond the run: its workflow, or its server."""
    if policy.scope == "server":
        return f"server/{tool.partition('.')[0]}"
    return f"{book}/{policy.id}"


def window_start(policy: CompiledPolicy, now: datetime) -> datetime | None:
    """The moment after which uses count; None counts all."""
    assert policy.limit is not None
    return None if policy.limit.period is None else now - policy.limit.period


def keys_of(
    book: Rulebook, principal: Principal, now: datetime
) -> tuple[dict[str, datetime | None], frozenset[str]]:
    """The use keys (with the start of their windows) and the lock keys that a book's rules read.

    Locks of servers are not among them: which those are follows from the call.
    """
    uses = {
        use_key(book.name, policy, principal): window_start(policy, now)
        for policy in book.shared_limits
    }
    mutexes = (one for one in book.shared_mutexes if one.scope == "workflow")
    return uses, frozenset(lock_key(book.name, one, "") for one in mutexes)


def first_moment_within(
    uses: tuple[Use, ...], amount: Decimal, most: Decimal, period: timedelta
) -> datetime | None:
    """When `amount` more fits, once uses fall out of the window; None when it never does."""
    for number, use in enumerate(uses, start=1):
        if total((*(one.amount for one in uses[number:]), amount)) <= most:
            return use.at + period
    return None
