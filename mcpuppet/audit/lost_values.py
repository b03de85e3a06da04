"""Sensitive values that are gone, though no record of the session tells who erased them.

A value that nothing in the state needs could be deleted by anybody who may write to the store, and
whatever was decided by it could not be told any more. Knows no store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mcpuppet.audit.record import ChainBreak, OpenedRecord
from mcpuppet.redaction.commitments import MARK, commitment_in
from mcpuppet.redaction.vault import CONTENT, OWN_WORDS, WORDS, Vault
from mcpuppet.session.admin_events import ValuesErased

_ERASED = ValuesErased.__name__


class LostValues:
    """Gathers from one session's records, as they are stored, what they are committed to."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._lost: dict[str, int] = {}
        """For each commitment without a value the first record in which it stands."""
        self._erased: set[str] = set()

    def take(self, record: OpenedRecord) -> None:
        """Look through one more record."""
        if record.kind == _ERASED:
            named: Any = record.data.get("commitments")
            self._erased.update(one for one in named or () if isinstance(one, str))
        for hidden in _commitments(record.data):
            if hidden not in self._vault and hidden not in self._vault.problems:
                self._lost.setdefault(hidden, record.seq)

    def breaks(self) -> Iterator[ChainBreak]:
        """Yield one break where values are missing: at the first record that holds one of them."""
        lost = [seq for hidden, seq in self._lost.items() if hidden not in self._erased]
        if lost:
            values = "a value is" if len(lost) == 1 else f"{len(lost)} values are"
            what = f"{values} not in the store any more, and no record tells who erased them"
            yield ChainBreak(self._vault.session_id, min(lost), what)


def _commitments(data: Mapping[str, Any]) -> Iterator[str]:
    """The commitments in a record's data: nothing from outside can pass for one there."""
    pending = [(name, one) for name, one in data.items() if name in CONTENT or name in WORDS]
    while pending:
        name, one = pending.pop()
        if isinstance(one, str) and name not in OWN_WORDS:
            yield from (mark[1] for mark in MARK.finditer(one))
        elif isinstance(one, (list, tuple)):
            pending.extend((name, each) for each in one)
        elif isinstance(one, Mapping):
            hidden = commitment_in(one)
            if hidden is not None:
                yield hidden
            pending.extend((name, each) for each in one.values())
            pending.extend((name, each) for each in one)
