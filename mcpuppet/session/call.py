"""What is asked: a call, the principal who makes it, and the digest that names it exactly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Principal:
    """Who presents the credential, and with which roles."""

    name: str
    roles: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True, slots=True)
class Call:
    """A request to use a tool, named `server.tool`."""

    tool: str
    arguments: Mapping[str, Any]


def call_digest(session_id: str, workflow_hash: str, step: str, call: Call) -> str:
    """SHA-256, in hex, of everything that makes a call this one and no other.

    Over the compact JSON array [session, workflow hash, step, tool, arguments], keys sorted.
    """
    content = [session_id, workflow_hash, step, call.tool, call.arguments]
    return digest_of(content)


def digest_of(content: Any) -> str:
    """SHA-256, in hex, of the canonical JSON of `content`."""
    return hashlib.sha256(canonical_json(content)).hexdigest()


def canonical_json(content: Any) -> bytes:
    """JSON data written compactly, with sorted keys, in ASCII."""
    return _ENCODER.encode(content).encode("ascii")


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=dict)
