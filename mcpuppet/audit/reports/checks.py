"""What beyond a session's own chain was held against its records: signed checkpoints, and replay.

Owns the sentences on what was and was not checked. Deliberately claims nothing for a check that was
not made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from mcpuppet.audit.history import ImpossibleEventError, event_of
from mcpuppet.audit.reader import OpenReader, SessionReader
from mcpuppet.audit.record import ChainBreak, open_record
from mcpuppet.audit.replay.store import replay_store
from mcpuppet.audit.reports.report import (
    ChainReport,
    CheckpointReport,
    ReplayFinding,
    ReplayOutcome,
)
from mcpuppet.audit.signed_log import Kept, LogReport, check_log
from mcpuppet.audit.verifier import (
    Checkpoint,
    VerifierError,
    VerifierKey,
    parse_checkpoint,
    parse_key,
    parse_note,
)
from mcpuppet.errors import AuditError
from mcpuppet.session.admin_events import ADMINISTRATION, AdminEvent, SigningKeyCreated

KeptOf = Callable[[], Kept]
"""Reads what was kept of the log apart from its store; to be called before the store is opened."""


class SignedLog:
    """The log of one view of a store, compared once with its signed checkpoints."""

    def __init__(self, reader: SessionReader, kept: Kept) -> None:
        self._reader = reader
        keys = tuple(kept.keys) or tuple(_named_keys(reader))
        self._log, breaks = check_log(reader, kept, keys)
        self._problems = tuple(_sentence(one) for one in breaks)
        self._checkpoint = _largest(kept, self._log)
        self._key = _key_of(self._log, keys)

    def report(self, session_ids: Iterable[str]) -> CheckpointReport | None:
        """How the records of these sessions lie under it; None where there is no checkpoint."""
        if self._checkpoint is None and not self._problems:
            return None
        covered = records = 0
        for session_id in session_ids:
            for leaf, _ in self._reader.session_log(session_id):
                covered += leaf < self._log.signed
                records += 1
        signed = self._checkpoint
        return CheckpointReport(
            origin=None if signed is None else signed.origin,
            key=self._key,
            size=self._log.signed,
            root=None if signed is None else signed.root.hex(),
            last_at=self._log.last_at,
            covered=covered,
            records=records,
            problems=self._problems,
        )


def administered(reader: SessionReader) -> Iterator[tuple[int, AdminEvent]]:
    """The events of the administration log that can be read, with their records' seq."""
    for record in reader.records(ADMINISTRATION):
        with suppress(AuditError, ImpossibleEventError):
            event = event_of(open_record(record.body))
            if isinstance(event, AdminEvent):
                yield record.seq, event


def replayed(open_reader: OpenReader, session_ids: Iterable[str]) -> ReplayOutcome:
    """Make the decisions of these sessions again. Raises StoreError as `replay_store` does."""
    # In this process alone: it may be a gateway, which has other work to do.
    found = replay_store(open_reader, session_ids, processes=1)
    differing = tuple(
        ReplayFinding(
            one.session_id,
            one.seq,
            f"the record says {one.recorded}; by the recorded texts it is {one.derived}",
        )
        for one in found.mismatches
    )
    return ReplayOutcome(
        decisions=found.decisions,
        rederived=found.rederived,
        consistent=found.consistent,
        not_derivable=found.not_derivable,
        unread=found.unread,
        differing=differing,
    )


def statement(
    chain: ChainReport, checkpoint: CheckpointReport | None, replay: ReplayOutcome | None
) -> str:
    """What was checked of a session, what came out, and what was not checked."""
    return " ".join((_chain_words(chain), *checkpoint_words(checkpoint), replay_words(replay)))


def _chain_words(chain: ChainReport) -> str:
    if chain.status == "intact":
        return (
            f"Checked: the hash chain of {chain.records} records up to the stored head, that "
            "every event can have happened where it stands, that the events fold to the stored "
            "state, and that the text of each workflow and rules file is the one that the session "
            "began with."
        )
    if chain.status == "pruned":
        return (
            f"The contents of the {chain.records} records of this session were removed, as the "
            "administration log says. Checked: that their hashes are those that were left then. "
            "What they told cannot be reported any more."
        )
    return (
        f"The records do not hold together (breaks found: {len(chain.breaks)}). The rest of this "
        f"report is what those of its {chain.records} records say that can be read; none of it is "
        "proven."
    )


def checkpoint_words(signed: CheckpointReport | None) -> Iterator[str]:
    """What the comparison with checkpoints shows, and what it cannot."""
    if signed is None:
        yield (
            "No signed checkpoint was compared with, so the chain alone does not show "
            "whether somebody who can write to the store has rewritten or shortened the whole of "
            "it, together with its head and state."
        )
    elif signed.problems:
        yield (
            "The log does not agree with its signed checkpoints: nothing in this report is proven."
        )
    else:
        yield (
            f"The log agrees with the checkpoint of its first {signed.size} records; "
            f"{signed.covered} of the {signed.records} records here are under it. For these, that "
            "shows tampering by anybody who does not hold the signing key. Not checked: whether "
            "the key named here is the one you trust, who holds its private half, and whether the "
            "checkpoint is kept where the operator cannot change it."
        )


def replay_words(replay: ReplayOutcome | None) -> str:
    """What making the decisions again has shown."""
    if replay is None:
        return "Decisions were not derived again from the workflow."
    consistent = sum(replay.consistent.values())
    underivable = sum(replay.not_derivable.values())
    unread = sum(replay.unread.values())
    words = (
        f"Of {replay.decisions} decisions made again by the recorded texts, {replay.rederived} "
        f"follow from the records, {consistent} are consistent with values that only their own "
        f"record states, and {underivable} cannot be derived; {len(replay.differing)} records say "
        "something else than the texts lead to."
    )
    return f"{words} {unread} sessions could not be played to their end." if unread else words


def _named_keys(reader: SessionReader) -> Iterator[VerifierKey]:
    for _, event in administered(reader):
        if isinstance(event, SigningKeyCreated):
            with suppress(VerifierError):
                yield parse_key(event.verifier_key)


def _largest(kept: Kept, log: LogReport) -> Checkpoint | None:
    """The checkpoint that agrees and covers most."""
    if not log.checkpoints:
        return None
    for one in kept.checkpoints:
        with suppress(VerifierError):
            checkpoint = parse_checkpoint(parse_note(one.note).text)
            if checkpoint.size == log.signed and checkpoint.origin in log.signers:
                return checkpoint
    return None


def _key_of(log: LogReport, keys: Iterable[VerifierKey]) -> str | None:
    return next((one.text for one in keys if one.name in log.signers), None)


def _sentence(one: ChainBreak) -> str:
    where = f"session {one.session_id}, record {one.seq}: " if one.session_id else ""
    return f"{where}{one.what}"
