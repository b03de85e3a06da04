"""What `audit verify` and `report` read from the store. Nothing is written."""

from __future__ import annotations

from pathlib import Path

from mcpuppet.app import Desk
from mcpuppet.audit.report import ComplianceReport
from mcpuppet.audit.verify import VerifyReport, verify_store
from mcpuppet.cli.desk import at_desk
from mcpuppet.errors import InvalidInputError


def verify(config: Path) -> VerifyReport:
    """Verify the whole store."""

    async def work(desk: Desk) -> VerifyReport:
        return verify_store(desk.store.reader)

    return at_desk(config, work)


def report(config: Path, session_id: str | None) -> ComplianceReport:
    """Report on a session, or on the one changed last; raises UnknownSessionError."""

    async def work(desk: Desk) -> ComplianceReport:
        chosen = session_id or await _newest(desk)
        return desk.audit_monitor.generate_compliance_report(chosen)

    return at_desk(config, work)


async def _newest(desk: Desk) -> str:
    rows = await desk.store.sessions(limit=1)
    if not rows:
        raise InvalidInputError("there is no session to report on yet")
    return rows[0].session_id
