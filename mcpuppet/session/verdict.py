"""The answers to a call, as values, and what is listed as legal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mcpuppet.session.events import Purpose

Verdicts = tuple[Mapping[str, Any], ...]
"""For each policy that was asked: `{"rule": id, "ok": bool}`."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The call may be made now."""

    purpose: Purpose
    step: str | None
    digest: str
    attempt: int = 1
    counts: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    verdicts: Verdicts = ()


@dataclass(frozen=True, slots=True)
class Denied:
    """The call may not be made; nothing has changed."""

    rule: str
    """The policy's id, or the name of the built-in rule: `needs`, `args`, `when`, `approval`, …"""
    reason: str
    step: str | None = None
    legal_at: datetime | None = None
    verdicts: Verdicts = ()


@dataclass(frozen=True, slots=True)
class ApprovalNeeded:
    """The call would be allowed if an open approval were granted."""

    step: str
    approval_id: str
    approval_step: str
    digest: str
    roles: tuple[str, ...]
    expires_at: datetime
    verdicts: Verdicts = ()


Decision = Allowed | Denied | ApprovalNeeded


@dataclass(frozen=True, slots=True)
class LegalCall:
    """A tool that may be called now, and for which step."""

    tool: str
    step: str | None
    purpose: Purpose
