"""One cause acts on a session once more, and what it leads to is compared with the records.

Owns the state of a session as it is played, and the comparison, to the byte where it can be.
Deliberately does not know what the causes are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from mcpuppet.audit.record import Record, sealed_end
from mcpuppet.audit.replay.records import (
    DECISIONS,
    Entry,
    Mismatch,
    Records,
    Stuck,
    Tally,
    Underivable,
    alike,
    is_effect,
    said,
)
from mcpuppet.redaction.vault import Vault
from mcpuppet.session import events as e
from mcpuppet.session.call import Call
from mcpuppet.session.consequences import Progress, Source
from mcpuppet.session.fold import apply
from mcpuppet.session.reservations import Reserved
from mcpuppet.session.state import SessionState
from mcpuppet.workflow.compiled import CompiledRules, CompiledWorkflow

Act = Callable[[Progress], object]
BookT = TypeVar("BookT", CompiledWorkflow, CompiledRules)


class Texts(Protocol):
    """The recorded workflows and rules by their hash; a phrase says why one cannot be had."""

    def workflow(self, text_hash: str) -> CompiledWorkflow | str: ...

    def rules(self, text_hash: str) -> CompiledRules | str: ...


class _Again(Progress):
    """What follows once more; nothing is written, bounded or redacted, for that was done before."""

    def emit(self, event: e.Event) -> None:
        self.known = apply(self.session_id, self.known, event, self.source.now)
        self.events.append(event)

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Call:
        return Call(tool, arguments)

    def begin(
        self,
        known: SessionState | None,
        workflow: CompiledWorkflow | None,
        rules: CompiledRules | None,
        source: Source,
        reserved: Reserved,
    ) -> None:
        """Be as if made anew: one object does for all the causes of a session."""
        self.known, self.source, self.reserved = known, source, reserved
        self._workflow, self.rules = workflow, rules
        self.events, self.uses = [], []


_FREE_FIELDS = frozenset({"reason", "message"})
"""Sentences for people: a later version may word them better."""
_LATER_FIELDS = frozenset(
    {"arguments_bytes", "before", "channel", "client_key", "credential", "key", "node", "reconcile"}
    | {"request", "roles", "settings", "verdicts"}
)
"""Fields that earlier versions did not record."""
_OF_VALUES = frozenset({"digest", "request", "result_digest", "result_bytes", "key"})
"""Fields that were made from values which a record with redactions does not hold."""


class Following:
    """The part of a replay that lets causes act, and compares what they lead to."""

    def __init__(
        self,
        session_id: str,
        records: Iterable[Record],
        vault: Vault,
        texts: Texts,
        tally: Tally,
    ) -> None:
        self._session_id = session_id
        self._records = Records(records, vault)
        self._texts = texts
        self._tally = tally
        self._state: SessionState | None = None
        self._workflow: tuple[str, CompiledWorkflow | str] = ("", "")
        self._rules: tuple[str, CompiledRules | str] = ("", "")
        self._redacted = False
        """Whether values of the session are in its records no more, nor disclosed."""
        self._names_settings = False
        """Whether a decision before told what the settings said: then each later one does."""
        self._settled = False
        """Whether everything has followed that follows by itself."""
        self._again = _Again(session_id, None, None, Source(_NO_TIME, self._new_id, _no_jitter))
        """The session, and what the present cause has led to so far."""
        self._nothing_reserved = Reserved()
        self._arguments: dict[str, Any] = {}
        """The arguments of the calls that it may have to be read about what became of them."""

    def _progress(self, at: datetime, reserved: Reserved | None = None) -> Progress:
        """The session as it was, at a moment, with the ids that the next records name."""
        self._again.begin(
            self._state,
            self._workflow_now(),
            self._rules_now(),
            Source(at, self._new_id, _no_jitter),
            self._nothing_reserved if reserved is None else reserved,
        )
        return self._again

    def _new_id(self, kind: str) -> str:
        """The id that the record has which the next event has to be."""
        found = self._records.peek(len(self._again.events))
        told = None if found is None else found.read().get(_ID_FIELDS[kind])
        return told if isinstance(told, str) else ""

    def _follow(
        self, entry: Entry, act: Act, late: bool = False, reserved: Reserved | None = None
    ) -> bool:
        """Have a cause act, and compare what it leads to with the records from here on.

        Whatever time had brought about by then has to stand before; `late` says that it need not.
        """
        progress = self._progress(entry.moment, reserved)
        try:
            if self._state is not None and not late and self._may_be_due(progress):
                progress.time_passed()
            act(progress)
        except (Stuck, Underivable):
            raise
        except Exception as error:  # noqa: BLE001 - a forged record is reported, whatever it raises
            self._mismatch(entry, f"impossible: {error}")
            self._go_on(entry)
            return False
        same = self._compared(entry, progress.events)
        if same is None:
            return False
        if same:
            self._state = progress.known
            self._records.drop(len(progress.events))
        else:
            for _ in progress.events:
                self._fold()
        self._settled = _leaves_settled(entry.kind, progress.events)
        self._tally.followed += len(progress.events) - 1
        return True

    def _may_be_due(self, progress: Progress) -> bool:
        """Whether time, or an event after which nothing was settled, may lead to something now.

        When not, `time_passed` is known to lead to nothing, which is what most decisions find.
        """
        state, now, run = progress.state, progress.source.now, progress.run
        if not self._settled or state.asks or state.reviews:
            return True
        if run is None:
            return False
        if now >= run.expires_at or run.failing_since is not None or progress.workflow.freshness:
            return True
        if not run.approvals:
            return False
        return any(one.status == "open" and now >= one.expires_at for one in run.approvals.values())

    def _compared(self, entry: Entry, derived: Sequence[e.Event]) -> bool | None:
        """Whether the records are these events to the byte; None where they are others."""
        same = True
        for offset, event in enumerate(derived):
            found = self._records.peek(offset)
            kind = type(event).__name__
            if found is not None and found.body.endswith(
                sealed_end(entry.at, kind, e.event_data(event))
            ):
                continue
            same = False
            difference = "nothing" if found is None else self._difference(entry, found, event)
            if difference:
                self._differs(entry, found, event, offset, difference)
                return None
        if not derived:
            self._mismatch(entry, "nothing that could have followed by then")
            self._go_on(entry)
            return None
        return same

    def _differs(
        self, entry: Entry, found: Entry | None, event: e.Event, offset: int, difference: str
    ) -> None:
        seq = self._records.last + offset if found is None else found.seq
        recorded = "nothing more" if found is None else said(found.event)
        derived = said(event)
        if recorded == derived:
            recorded, derived = f"{recorded} ({difference})", f"{derived} with another {difference}"
        self._tally.mismatches.append(Mismatch(self._session_id, seq, recorded, derived))
        for _ in range(offset):
            self._fold()
        if found is not None:
            self._go_on(entry)

    def _difference(self, entry: Entry, found: Entry, event: e.Event) -> str:
        """The first field in which a record differs from an event; empty when in none that counts.

        Sentences do not count, nor does what an earlier version did not record.
        """
        data = found.read()
        if found.kind != type(event).__name__:
            return "kind"
        if found.at != entry.at:
            return "at"
        recorded = found.event
        for one in fields(event):
            name = one.name
            if name in _FREE_FIELDS or (name not in data and self._may_lack(name)):
                continue
            if found.is_redacted and name in _OF_VALUES:
                continue
            if name == "not_before" and self._is_within_jitter(recorded, event):
                continue
            if not alike(getattr(recorded, name), getattr(event, name)):
                return name
        return ""

    def _may_lack(self, name: str) -> bool:
        """Whether a record without a field is one of an earlier version, and not a forged one."""
        return name in _LATER_FIELDS and not self._names_settings

    def _is_within_jitter(self, recorded: e.Event, derived: e.Event) -> bool:
        """Whether a retry is due when it may be: after half of its wait at least."""
        assert isinstance(recorded, e.StepReturned)
        assert isinstance(derived, e.StepReturned)
        workflow = self._workflow_now()
        retry = None if workflow is None else workflow.step(derived.step).retry
        if retry is None or not retry.jitter:
            return False
        entry = self._records.peek()
        assert entry is not None
        least = derived.not_before - entry.moment
        rounded = timedelta(microseconds=1)
        return least <= recorded.not_before - entry.moment <= 2 * least + rounded

    def _mismatch(self, entry: Entry, derived: str) -> None:
        one = Mismatch(self._session_id, entry.seq, said(entry.event), derived)
        self._tally.mismatches.append(one)

    def _fold(self) -> None:
        """Take the next record as it is."""
        entry = self._records.peek()
        assert entry is not None
        event = entry.event
        self._redacted = self._redacted or entry.hides_values
        try:
            self._state = apply(self._session_id, self._state, event, entry.moment)
        except Exception as error:
            raise Stuck("its records cannot be folded") from error
        self._records.drop()
        self._settled = False

    def _go_on(self, cause: Entry) -> int:
        """Take the next record as it is, and what followed from its cause; how many they were."""
        self._fold()
        count = 1
        while (entry := self._records.peek()) is not None:
            data = entry.read()
            if entry.at != cause.at or not is_effect(entry.kind, data):
                break
            self._fold()
            count += 1
        return count

    # --- what governs ---------------------------------------------------------------------------

    def _workflow_now(self) -> CompiledWorkflow | None:
        run = None if self._state is None else self._state.run
        if run is None:
            return None
        if self._workflow[0] != run.hash:
            self._workflow = (run.hash, self._texts.workflow(run.hash))
        return had(self._workflow[1])

    def _rules_now(self) -> CompiledRules | None:
        rules = None if self._state is None else self._state.rules
        if rules is None:
            return None
        if self._rules[0] != rules.hash:
            self._rules = (rules.hash, self._texts.rules(rules.hash))
        return had(self._rules[1])


def _no_jitter() -> float:
    return 0.0


_NO_TIME = datetime.min.replace(tzinfo=UTC)
_ID_FIELDS = {"apr": "approval_id", "run": "run_id", "rev": "review_id"}
"""Where an event has an id of this kind, if it brings one into being."""
_SETTLING = frozenset(
    {"RunStarted", "CallSucceeded", "CallFailed", "CallBecameUnknown", "CallResolved"}
    | {"StepReleased", "ApprovalVoted", "ApprovalBypassed", "ApprovalRejected"}
)
"""Causes after which everything follows that does so by itself."""


def _leaves_settled(cause: str, events: Sequence[e.Event]) -> bool:
    """Whether nothing can follow but by time; a call that outdates a fact may change a guard."""
    if cause in DECISIONS:
        last = events[-1]
        return not isinstance(last, e.CallStarted) or "call" not in last.forgets
    return cause in _SETTLING


def had(found: BookT | str) -> BookT:
    """A text that was compiled; raises Underivable with why there is none."""
    if isinstance(found, str):
        raise Underivable(found)
    return found
