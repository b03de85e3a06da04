"""The answers to a call, as values, and what is listed as legal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from mcpuppet.session.events import Purpose
from mcpuppet.workflow.compiled_policy import LimitScope

Verdicts = tuple[Mapping[str, Any], ...]
"""For each policy that was asked: `{"rule": id, "ok": bool}`.

Where other sessions count too, with what was read of them: `key` is the name under which it is
kept, `used` and `most` are decimal texts, `holder` is `[session, call]` or None.
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a call counts for under one limit."""

    book: str
    policy: str
    scope: LimitScope
    amount: Decimal
    key: str
    """Under which name it is counted across sessions, where it is."""
    period: timedelta | None
    most: Decimal | None
    """The limit; None where it is only counted, as a person agreed or rules only observe."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One policy that wants a person to agree to a call."""

    policy: str
    roles: tuple[str, ...]
    lasts: timedelta
    reason: str
    show: tuple[tuple[str, Any], ...]
    """(expression, value) pairs that the person is shown first."""
    book: str = ""
    """The workflow or rules file whose policy it is."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The call may be made now; with `asks` only after people have agreed to it."""

    purpose: Purpose
    step: str | None
    digest: str
    attempt: int = 1
    uses: tuple[Counted, ...] = ()
    locks: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    verdicts: Verdicts = ()
    asks: tuple[Asked, ...] = ()
    agreed: tuple[str, ...] = ()
    """The policies that ask about this call and for which people have agreed."""
    agreed_until: datetime | None = None
    """How long their word is good for retries of the call."""
    would_have_denied: Verdicts = ()
    """What only observing rules objected to: `{"book", "rule", "reason"}`."""
    has_key: bool = False
    """Whether the server is given an idempotency key."""
    key: str | None = None
    """The key of the earlier attempt that this is another one of; None for a new one."""
    key_argument: str | None = None
    """The argument that carries the key; without it, `_meta` does."""
    reconcile: Mapping[str, Any] | None = None
    """The call that can tell what became of this one: `{"tool", "arguments", "after"}`."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The call may not be made; nothing has changed."""

    rule: str
    """The policy's id, or the name of the built-in rule: `needs`, `args`, `when`, `approval`, …"""
    reason: str
    step: str | None = None
    legal_at: datetime | None = None
    verdicts: Verdicts = ()
    book: str = ""
    """The workflow or rules file whose rule it is; empty for those of the gateway itself."""
    unordered: bool = False
    """Whether the workflow has nothing to say about the tool, and others may."""


@dataclass(frozen=True, slots=True)
class ApprovalNeeded:
    """The call would be allowed if an open request were granted."""

    step: str | None
    approval_id: str
    approval_step: str
    """The approval step, or the policies that ask."""
    digest: str
    roles: tuple[str, ...]
    expires_at: datetime
    verdicts: Verdicts = ()
    why: str = ""
    """For a request about a single call, why the policies ask."""


@dataclass(frozen=True, slots=True)
class AskNeeded:
    """The call would be allowed if people agreed, and nobody has been asked yet."""

    step: str | None
    digest: str
    asks: tuple[Asked, ...]
    verdicts: Verdicts = ()


StepDecision = Allowed | Denied | ApprovalNeeded
"""What a workflow says, before people are asked about the single call."""
Decision = StepDecision | AskNeeded


@dataclass(frozen=True, slots=True)
class LegalCall:
    """A tool that may be called now, and for which step."""

    tool: str
    step: str | None
    purpose: Purpose
    asks: bool = False
    """Whether a person may have to agree, depending on the arguments."""
