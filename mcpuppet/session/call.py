"""What is asked: a call, the principal who makes it, and the digest that names it exactly."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_ARGUMENT_DEPTH = 64
MAX_INTEGER_BITS = 4096
MAX_SHOWN_BYTES = 64 * 1024
"""Arguments up to this many bytes of JSON are kept with a refusal and shown to an approver."""


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
    recorded: Mapping[str, Any] | None = None
    """The arguments as records show them, where that is not as they are."""
    secret: bool = False
    """Whether a mark stands for part of what records show: other calls may be shown just alike."""

    @property
    def on_record(self) -> Mapping[str, Any]:
        """The arguments as records show them: what digests are made of."""
        return self.arguments if self.recorded is None else self.recorded


def argument_fault(arguments: Mapping[str, Any]) -> str | None:
    """Why arguments (or inputs) cannot be recorded, and so cannot be used; else None."""
    fault = json_fault(arguments, MAX_ARGUMENT_DEPTH)
    return None if fault is None else f"the arguments cannot be recorded: {fault}"


def json_fault(content: Any, most_levels: int) -> str | None:
    """Why a value is not JSON that can be recorded; None for all that programs mean.

    Found without recursion: deep nesting, numbers that JSON does not have, and whole numbers that
    take long to write out.
    """
    pending: list[tuple[Any, int]] = [(content, 1)]
    while pending:
        value, depth = pending.pop()
        if isinstance(value, (Mapping, list)):
            if depth > most_levels:
                return f"it is nested more than {most_levels} levels deep"
            inner = value.values() if isinstance(value, Mapping) else value
            pending.extend((one, depth + 1) for one in inner)
        elif isinstance(value, float) and not math.isfinite(value):
            return f"{value} is not a number that JSON has"
        elif isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
            return f"a whole number has more than {MAX_INTEGER_BITS} bits"
    return None


def call_digest(session_id: str, workflow_hash: str, step: str, call: Call) -> str:
    """SHA-256, in hex, of everything that makes a call this one and no other.

    Over the compact JSON array [session, workflow hash, step, tool, arguments], keys sorted. The
    arguments are as records show them, so that the digest lets nobody guess what those hide.
    """
    content = [session_id, workflow_hash, step, call.tool, call.on_record]
    return digest_of(content)


def digest_of(content: Any) -> str:
    """SHA-256, in hex, of the canonical JSON of `content`."""
    return hashlib.sha256(canonical_json(content)).hexdigest()


def canonical_json(content: Any) -> bytes:
    """JSON data written compactly, with sorted keys, in ASCII."""
    return _ENCODER.encode(content).encode("ascii")


_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), default=dict, check_circular=False
)


def comparable_json(value: Any) -> bytes:
    """The canonical JSON of a value in which all that are equal are written alike.

    1.0 is written as 1, and true is neither.
    """
    return canonical_json(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
