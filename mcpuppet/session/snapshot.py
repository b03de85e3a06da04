"""A session's state as bytes and back, so that a restart need not fold the whole history.

The bytes are canonical (sorted keys, compact, ASCII): a state that was folded from records equals
the stored one exactly when their bytes are equal.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mcpuppet.errors import AuditError
from mcpuppet.session.events import time_text
from mcpuppet.session.state import SessionState

_ADAPTER = TypeAdapter(SessionState)


def dump_state(state: SessionState) -> bytes:
    """The canonical bytes of a state."""
    text = json.dumps(state, default=_plain, sort_keys=True, separators=(",", ":"))
    return text.encode("ascii")


def load_state(data: bytes) -> SessionState:
    """The state that `dump_state` wrote; raises AuditError for anything else."""
    try:
        return _ADAPTER.validate_python(json.loads(data))
    except (ValueError, ValidationError) as error:
        raise AuditError(f"a stored session state cannot be read: {error}") from error


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return time_text(value)
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in a session state")
