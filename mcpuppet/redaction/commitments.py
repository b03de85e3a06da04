"""What a commitment is, and how one is written in a value and in a text.

A commitment is SHA-256 over 0x02, 16 random bytes and the canonical JSON of the value, in hex. As a
value it is written `{"$c": hex}`, inside a text `<redacted:hex>`, with `:j` or `:u` after the hex
where the text spells the value as JSON does, in ASCII or not. Who erases the value and its random
bytes leaves a number that says nothing. Pure; what is replaced by commitments is told elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from mcpuppet.audit.reader import Disclosure

COMMITMENT = "$c"
FORGERY = "<redacted:"
SECRET_MARK = "[secret:"  # noqa: S105 - what stands where a secret was
SALT_BYTES = 16
MARK = re.compile(r"<redacted:([0-9a-f]{64})(?::([ju]))?>")
_HEX = re.compile(r"[0-9a-f]{64}")


def commitment(salt: bytes, value: Any) -> str:
    """SHA-256, in hex, over 0x02, the salt and the canonical JSON of the value."""
    return hashlib.sha256(b"\x02" + salt + canonical(value).encode()).hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted keys, compact, in ASCII."""
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=dict)
_UNICODE = json.JSONEncoder(ensure_ascii=False)


def fits(one: Disclosure) -> bool:
    """Whether a disclosed value is the one that the commitment was made for."""
    return len(one.salt) == SALT_BYTES and commitment(one.salt, one.value) == one.commitment


def shown(value: Any) -> Any:
    """The same data for a person: each commitment as a text such as `[redacted 1a2b3c4d]`."""
    if isinstance(value, str):
        return MARK.sub(lambda mark: _short(mark[1]), value) if FORGERY in value else value
    if isinstance(value, Mapping):
        hidden = commitment_in(value)
        if hidden is not None:
            return _short(hidden)
        return {shown(name): shown(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(one) for one in value]
    return value


def has_marks(value: Any) -> bool:
    """Whether something stands in a value for what is not shown: a commitment, a secret's mark."""
    text = canonical(value)
    return FORGERY in text or f'"{COMMITMENT}"' in text or SECRET_MARK in text


def commitment_in(value: Any) -> str | None:
    """The commitment that stands in the place of a value, if one does."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return None
    hidden = value.get(COMMITMENT)
    return hidden if isinstance(hidden, str) and _HEX.fullmatch(hidden) else None


def _short(hidden: str) -> str:
    return f"[redacted {hidden[:8]}]"


def spelled(value: Any, spelling: str | None) -> str:
    """A value as text: as it is, or as JSON writes it inside quotes, in ASCII (j) or not (u)."""
    if not isinstance(value, str):
        return canonical(value)
    if not spelling:
        return value
    return (canonical(value) if spelling == "j" else _UNICODE.encode(value))[1:-1]


def mark_of(hidden: str, spelling: str = "") -> str:
    """What stands in a text for a value in some spelling of it."""
    return f"<redacted:{hidden}:{spelling}>" if spelling else f"<redacted:{hidden}>"
