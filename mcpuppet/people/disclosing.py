"""Reading and erasing the values that records hold only commitments to.

Owns who may do so and that it is recorded: the session itself says who read or erased what, and
why, before the values are given out. After an erasure chain, tree and signatures hold as before,
and the session's state is the fold of what is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mcpuppet.audit.reader import Disclosure
from mcpuppet.errors import InvalidInputError, NotAuthorisedError, UnknownSessionError
from mcpuppet.ledger import Ledger
from mcpuppet.people.custody import AUDITOR
from mcpuppet.people.deciding import ADMIN, Person
from mcpuppet.redaction.commitments import canonical, spelled
from mcpuppet.redaction.vault import is_telling, leaves
from mcpuppet.session.admin_events import ValuesDisclosed, ValuesErased
from mcpuppet.session.consequences import Progress
from mcpuppet.store.protocol import Store

_SHORT = re.compile(r"[0-9a-f]{8,64}")


class Disclosing:
    """What auditors and admins do with hidden values."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger = ledger
        self._store = store

    async def named(self, session_id: str, commitments: Sequence[str] | None) -> list[Disclosure]:
        """The values behind these commitments, or behind all of them (None); nothing is recorded.

        A commitment may be given by its first 8 digits or more. Raises UnknownSessionError, and
        InvalidInputError for one that is none, is not known or has been erased.
        """
        if await self._store.head(session_id) is None:
            raise UnknownSessionError(session_id)
        known = await self._store.disclosures(session_id)
        if commitments is None:
            return list(known)
        found = [_named(known, one.strip().lower()) for one in commitments]
        return list({one.commitment: one for one in found}.values())

    async def to_erase(
        self, session_id: str, commitments: Sequence[str] | None
    ) -> list[Disclosure]:
        """As `named`, with every other value that holds one of them, or a part of it.

        A name that was erased would otherwise still stand in an object, or in a text.
        """
        found = await self.named(session_id, commitments)
        known = await self._store.disclosures(session_id)
        return [*found, *(one for one in known if one not in found and _holds_any(one, found))]

    async def disclose(
        self, session_id: str, commitments: Sequence[str] | None, by: Person, reason: str
    ) -> list[Disclosure]:
        """Give values out, once it is recorded in the session who reads them and why.

        Raises NotAuthorisedError without the role auditor or admin, and what `named` raises.
        """
        if not by.roles & {AUDITOR, ADMIN}:
            raise NotAuthorisedError(
                f"only a person with the role {AUDITOR} or {ADMIN} may do this"
            )
        _require_reason(reason, "reading hidden values")
        found = await self.named(session_id, commitments)
        told = ValuesDisclosed(tuple(one.commitment for one in found), by.name, reason.strip())

        def work(progress: Progress) -> None:
            if progress.known is None:
                raise UnknownSessionError(session_id)
            progress.emit(told)

        if found:
            await self._ledger.change(session_id, work)
        return found

    def check_erasure(self, by: Person, reason: str) -> None:
        """Raise NotAuthorisedError or InvalidInputError unless this person may erase values."""
        if ADMIN not in by.roles:
            raise NotAuthorisedError(f"only a person with the role {ADMIN} may erase values")
        _require_reason(reason, "erasing values")

    async def erase(
        self, session_id: str, values: Sequence[Disclosure], by: Person, reason: str
    ) -> bool:
        """Delete values for good, and record that; what `check_erasure` refuses must not come here.

        Gives whether nothing of them is left in the store's files; where it is False, other
        processes are reading, and the next erasure or restart clears the rest.
        """
        gone = tuple(one.commitment for one in values)
        await self._ledger.erase(session_id, ValuesErased(gone, by.name, reason.strip()))
        return await self._store.forget()


def _named(known: Sequence[Disclosure], wanted: str) -> Disclosure:
    if not _SHORT.fullmatch(wanted):
        raise InvalidInputError(
            f"{wanted!r} is no commitment: give its first 8 hexadecimal digits, or more"
        )
    found = [one for one in known if one.commitment.startswith(wanted)]
    if not found:
        raise InvalidInputError(
            f"no value is kept for the commitment {wanted}: it has been erased, or is of another "
            "session"
        )
    if len(found) > 1:
        raise InvalidInputError(f"{len(found)} commitments begin with {wanted}: give more digits")
    return found[0]


def _holds_any(one: Disclosure, erased: Sequence[Disclosure]) -> bool:
    """Whether something of what is to be erased stands in a value as well."""
    texts = tuple(_texts(one.value))
    parts = (part for each in erased for part in leaves(each.value) if is_telling(part))
    for part in parts:
        if isinstance(part, str):
            spellings = {spelled(part, kind) for kind in ("", "j", "u")}
            if any(spelling in text for text in texts for spelling in spellings):
                return True
        elif canonical(part) in texts:
            return True
    return False


def _texts(value: Any) -> Iterator[str]:
    """The texts and numbers in a value, and the names of its fields."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, Mapping):
            pending += (*one, *one.values())
        elif isinstance(one, list):
            pending += one
        else:
            yield one if isinstance(one, str) else canonical(one)


def _require_reason(reason: str, what: str) -> None:
    if not reason.strip():
        raise InvalidInputError(f'{what} needs a reason for the audit trail: --reason "..."')
