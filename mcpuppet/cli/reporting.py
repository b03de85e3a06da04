"""What `audit verify` and `report` read from the store. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mcpuppet.app import Desk
from mcpuppet.audit.replay.store import ReplayReport, replay_store
from mcpuppet.audit.reports.report import ComplianceReport
from mcpuppet.audit.verifier import (
    ExportReport,
    KeptCheckpoint,
    VerifierKey,
    read_lines,
    verify_export,
)
from mcpuppet.audit.verify import VerifyReport, verify_store
from mcpuppet.cli.desk import at_desk
from mcpuppet.errors import InvalidInputError
from mcpuppet.store.sqlite_reader import open_view


def verify(
    config: Path, keys: Sequence[VerifierKey], checkpoints: Sequence[KeptCheckpoint]
) -> VerifyReport:
    """Verify the whole store, against its own checkpoints, their copies, and these."""

    async def work(desk: Desk) -> VerifyReport:
        return verify_store(desk.store.reader, desk.audit_log.kept(keys, checkpoints))

    return at_desk(config, work)


def replay(config: Path) -> ReplayReport:
    """Make every decision of every session again."""

    async def work(desk: Desk) -> ReplayReport:
        # By its path, so that other processes can open the store too.
        return replay_store(partial(open_view, desk.settings.store))

    return at_desk(config, work)


def verify_export_file(
    path: Path,
    keys: Sequence[VerifierKey],
    checkpoints: Sequence[KeptCheckpoint],
    *,
    strict: bool,
) -> ExportReport:
    """Verify an export; needs neither settings nor a store. Raises InvalidInputError."""
    try:
        with path.open("rb") as file:
            return verify_export(read_lines(file), keys, checkpoints, strict=strict)
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror or error}") from error


async def session_report(desk: Desk, session_id: str | None, *, replay: bool) -> ComplianceReport:
    """Report on a session, or on the one changed last; raises UnknownSessionError."""
    chosen = session_id or await _newest(desk)
    return desk.audit_monitor.generate_compliance_report(chosen, replay=replay)


async def _newest(desk: Desk) -> str:
    rows = await desk.store.sessions(limit=1)
    if not rows:
        raise InvalidInputError("there is no session to report on yet")
    return rows[0].session_id
