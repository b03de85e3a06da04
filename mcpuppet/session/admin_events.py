"""What has happened to the installation itself: facts of the administration log.

The administration log is a session like any other, so that it is chained, verified and exported
with the rest. These events change no run and no call.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

ADMINISTRATION = "administration"
"""The id of the session that is the administration log."""


@dataclass(frozen=True, slots=True)
class UserAdded:
    """A person was given a token."""

    name: str
    roles: tuple[str, ...]
    credential: str
    """SHA-256 of the token, in hex."""
    by: str | None
    """None for the first person of a store."""
    by_credential: str = ""
    """The first 12 hex digits of the SHA-256 of the token of who did it."""
    note: str = ""
    """Why this was recorded later than it happened, where it was."""


@dataclass(frozen=True, slots=True)
class UserRolesChanged:
    """A person holds other roles from here on."""

    name: str
    roles: tuple[str, ...]
    by: str
    by_credential: str = ""


@dataclass(frozen=True, slots=True)
class UserDisabled:
    """A person may decide nothing any more."""

    name: str
    by: str
    reason: str
    by_credential: str = ""


@dataclass(frozen=True, slots=True)
class TokenRotated:
    """A person was given a new token, and the old one is worth nothing any more."""

    name: str
    credential: str
    """SHA-256 of the new token, in hex."""
    by: str
    by_credential: str = ""
    """Of the token that was shown for it, which may be the old one."""


@dataclass(frozen=True, slots=True)
class DecisionRefused:
    """Somebody tried to decide, and was not allowed to, or too late.

    It is kept in the session that the target belongs to. Without one (the target is not known, or
    not open any more), and where the token belongs to nobody, it is kept in the administration log.
    """

    action: str
    """approve | edit | deny | bypass | review | cancel | resolve | reopen | …"""
    target: str
    by: str
    """The person, or empty where the token belongs to nobody."""
    credential: str
    """The first 12 hex digits of the SHA-256 of the token that was shown."""
    channel: str
    reason: str


@dataclass(frozen=True, slots=True)
class ToolPinned:
    """A tool's definition was accepted: seen first, or by a person."""

    tool: str
    digest: str
    by: str
    """A person's name, or `first use`."""


@dataclass(frozen=True, slots=True)
class ToolChanged:
    """A server lists another definition of a tool than the one that was pinned: a violation."""

    tool: str
    pinned: str
    found: str
    node: str


@dataclass(frozen=True, slots=True)
class SigningKeyCreated:
    """The key that signs checkpoints came into being; only its public half is named."""

    verifier_key: str
    by: str


@dataclass(frozen=True, slots=True)
class RecordsPruned:
    """The contents of old records were removed; their hashes stay in chain and tree."""

    before: datetime
    sessions: int
    records: int
    by: str
    reason: str
    covers: tuple[str, ...] = ()
    """What is left of each session, as `audit.pruning.Remains` writes it."""


@dataclass(frozen=True, slots=True)
class ValuesDisclosed:
    """A person read values that the session's records hold only commitments to."""

    commitments: tuple[str, ...]
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class ValuesErased:
    """The values behind commitments were deleted for good."""

    commitments: tuple[str, ...]
    by: str
    reason: str


AdminEvent = (
    UserAdded
    | UserRolesChanged
    | UserDisabled
    | TokenRotated
    | DecisionRefused
    | ToolPinned
    | ToolChanged
    | SigningKeyCreated
    | RecordsPruned
    | ValuesDisclosed
    | ValuesErased
)
