"""What of a tool's definition is pinned, and in which parts two definitions differ.

Pinned is everything that tells a model or a person what a tool is and does. Not pinned are icons
and `_meta`, which servers may change from one listing to the next.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

PINNED_PARTS = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")

_MOST_CHANGES = 4
_DEEPEST = 24


def json_digest(content: Any) -> str:
    """SHA-256 (hex) of JSON content: sorted keys, no spaces, UTF-8."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # A lone surrogate is legal in JSON text and cannot be written as UTF-8.
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def pinned_parts(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a definition, as `tools/list` gives it, that are pinned."""
    return {part: definition[part] for part in PINNED_PARTS if part in definition}


def pin_digest(definition: Mapping[str, Any]) -> str:
    """The SHA-256 (hex) that pins a definition."""
    return json_digest(pinned_parts(definition))


def changes(pinned: Mapping[str, Any], offered: Mapping[str, Any]) -> list[str]:
    """What differs in the pinned parts, as `inputSchema.properties.cc was added`; at most five."""
    found = list(_differences((), pinned_parts(pinned), pinned_parts(offered)))
    if len(found) <= _MOST_CHANGES:
        return found
    return [*found[:_MOST_CHANGES], f"and {len(found) - _MOST_CHANGES} more changes"]


def _differences(path: tuple[str, ...], old: Any, new: Any) -> Iterator[str]:
    both_objects = isinstance(old, Mapping) and isinstance(new, Mapping)
    if not both_objects or len(path) > _DEEPEST:
        if json_digest(old) != json_digest(new):  # stricter than equality: 1 is not 1.0
            yield f"{'.'.join(path)} changed{_from_to(old, new)}"
        return
    for key in sorted(old.keys() | new.keys()):
        below = (*path, key)
        if key not in new:
            yield f"{'.'.join(below)} was removed"
        elif key not in old:
            yield f"{'.'.join(below)} was added"
        else:
            yield from _differences(below, old[key], new[key])


def _from_to(old: Any, new: Any) -> str:
    shown = [json.dumps(value) for value in (old, new)]
    return f" from {shown[0]} to {shown[1]}" if max(map(len, shown)) <= 40 else ""
