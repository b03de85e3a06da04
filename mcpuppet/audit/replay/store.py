"""The audit trail played again: every decision made a second time, from nothing but the records.

Hashes prove that records are the ones that were written. This proves that what was written follows
from the rules: each session's records are folded, and every request to call a tool is decided again
by the recorded text of its workflow and rules. What a decision leads to (steps that succeed, fail
or are skipped, requests that open, runs that end) is worked out again as well.

Every decision is in one of three classes. *Re-derived*: it follows from the session's records, the
texts of its rules and who asked what, when. *Consistent*: it follows given values that the record
itself states and no other record of the session proves: what other sessions had used or held, what
the settings said of the principal's roles or of tools outside the run, redacted values. *Not
derivable*: what it was made from is not in the trail. A decision that comes out differently is a
mismatch, and in none of them.

A principal's roles and the settings are as the record states them (see `session.asked`).

No session is played with what another one's records say, so several processes may share them out.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import TypeVar

from mcpuppet.audit.reader import OpenReader, SessionReader
from mcpuppet.audit.replay.records import REMOVED, Mismatch, Tally
from mcpuppet.audit.replay.session import SessionReplay
from mcpuppet.errors import StoreError
from mcpuppet.redaction.vault import Vault
from mcpuppet.session.admin_events import ADMINISTRATION
from mcpuppet.workflow.compiler import CompiledRules, CompiledWorkflow, text_hash
from mcpuppet.workflow.recorded import recompile, recompile_rules

__all__ = ["Mismatch", "ReplayReport", "replay_store"]

BookT = TypeVar("BookT", CompiledWorkflow, CompiledRules)

_MOST_TEXTS = 512
"""How many compiled texts are kept: a store may hold any number of them."""
_WORTH_SHARING = 1_000
"""From how many sessions on other processes are started: each takes about a second to begin."""
_SHARES = 8
"""Into how many shares the sessions of one process are cut, for some take longer than others."""


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """How many decisions could be made again, and every record that says something else.

    `decisions` is the sum of `rederived`, `consistent`, `not_derivable` and the decisions among the
    mismatches. The mappings count by reason, a phrase for people.
    """

    sessions: int
    decisions: int
    rederived: int
    consistent: Mapping[str, int] = field(default_factory=dict)
    not_derivable: Mapping[str, int] = field(default_factory=dict)
    followed: int = 0
    """Records that are no decisions, and are what follows from what happened."""
    unfollowed: Mapping[str, int] = field(default_factory=dict)
    """Those for which that could not be worked out."""
    unread: Mapping[str, int] = field(default_factory=dict)
    """Sessions that could not be played to their end; verification says where and why."""
    mismatches: tuple[Mismatch, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing came out differently, in any session that was not pruned."""
        return not self.mismatches and not self.unread.keys() - {REMOVED}


def replay_store(
    open_reader: OpenReader,
    sessions: Iterable[str] | None = None,
    *,
    processes: int | None = None,
) -> ReplayReport:
    """Make the decisions of these sessions, or of all, again.

    `processes` share the sessions out; None is one for each processor where there are a thousand
    sessions or more, and where `open_reader` can be pickled: a partial of a function and a path
    can. More than one opens a view of the store for every share, and needs what `multiprocessing`
    needs of a program that starts processes: that its main module can be imported.

    Content that cannot be read or followed is counted, and never raises; that hashes, chains and
    texts hold is for verification to say. Raises StoreError when the store cannot be opened or
    read, or when a process ends before its share is done.
    """
    with open_reader() as reader:
        chosen = reader.session_ids() if sessions is None else sessions
        wanted = [one for one in chosen if one != ADMINISTRATION]
    many = _fitting(open_reader, wanted) if processes is None else processes
    tally = Tally()
    for share in _played(open_reader, wanted, many) if many > 1 else (_play(open_reader, wanted),):
        tally.add(share)
    return ReplayReport(
        sessions=len(wanted),
        decisions=tally.decisions,
        rederived=tally.rederived,
        consistent=dict(tally.consistent),
        not_derivable=dict(tally.not_derivable),
        followed=tally.followed,
        unfollowed=dict(tally.unfollowed),
        unread=dict(tally.unread),
        mismatches=tuple(tally.mismatches),
    )


def _fitting(open_reader: OpenReader, wanted: Sequence[str]) -> int:
    """How many processes are worth their beginning."""
    if len(wanted) < _WORTH_SHARING:
        return 1
    try:
        pickle.dumps(open_reader)
    except (pickle.PicklingError, TypeError, AttributeError):
        return 1
    return os.cpu_count() or 1


def _played(open_reader: OpenReader, wanted: Sequence[str], processes: int) -> Iterator[Tally]:
    """What each share comes to, in the order of the sessions."""
    size = -(-len(wanted) // (processes * _SHARES)) or 1
    shares = [wanted[start : start + size] for start in range(0, len(wanted), size)]
    # Not forked: a program that holds the store open, or has threads, must not be copied.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(processes, context) as pool:
            yield from pool.map(_play, [open_reader] * len(shares), shares)
    except BrokenProcessPool as error:
        raise StoreError("a process ended before it had played its share of sessions") from error


def _play(open_reader: OpenReader, session_ids: Iterable[str]) -> Tally:
    """Play some sessions in one view of the store."""
    tally = Tally()
    with open_reader() as reader:
        texts = _Texts(reader)
        for session_id in session_ids:
            _play_session(reader, session_id, texts, tally)
    return tally


def _play_session(reader: SessionReader, session_id: str, texts: _Texts, tally: Tally) -> None:
    try:
        vault = Vault(session_id, reader.disclosures(session_id))
        SessionReplay(session_id, reader.records(session_id), vault, texts, tally).play()
    except Exception:  # noqa: BLE001 - a spoilt row must not hide the sessions after it
        tally.unread["it cannot be read"] += 1


class _Texts:
    """The texts of a store, compiled when they are first asked for."""

    def __init__(self, reader: SessionReader) -> None:
        self._reader = reader
        self._workflows: dict[str, CompiledWorkflow | str] = {}
        self._rules: dict[str, CompiledRules | str] = {}

    def workflow(self, recorded_hash: str) -> CompiledWorkflow | str:
        """The workflow with this hash, or why there is none."""
        return self._known(self._workflows, recorded_hash, recompile)

    def rules(self, recorded_hash: str) -> CompiledRules | str:
        """The rules with this hash, or why there are none."""
        return self._known(self._rules, recorded_hash, recompile_rules)

    def _known(
        self,
        known: dict[str, BookT | str],
        recorded_hash: str,
        compiled: Callable[[str, str], BookT],
    ) -> BookT | str:
        if recorded_hash not in known:
            if len(known) >= _MOST_TEXTS:
                known.clear()
            known[recorded_hash] = self._compiled(recorded_hash, compiled)
        return known[recorded_hash]

    def _compiled(self, recorded_hash: str, compiled: Callable[[str, str], BookT]) -> BookT | str:
        text = self._reader.workflow_text(recorded_hash)
        if text is None:
            return "a text of its rules is not in the store"
        try:
            if text_hash(text) != recorded_hash:
                return "a text of its rules has been changed"
            return compiled(text, recorded_hash)
        except Exception:  # noqa: BLE001 - whatever a spoilt text does, it holds no rules
            return "a text of its rules cannot be compiled"
