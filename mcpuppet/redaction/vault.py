"""Redaction: commitments stand in records for the values that are not to be read there.

Owns what is replaced by a commitment, and how that is undone. Pure: JSON data in,
JSON data out, and the values that have to be kept elsewhere. Deliberately knows neither stores nor
what an event means, beyond which of its fields hold words and values from outside.

Within a session one value has one commitment, so that equal values stay recognisable as equal. When
a value is erased, chain, tree and signatures stay as they are.

Anything from outside that already looks like a commitment is committed to as a whole, so that what
looks like one in a record is one.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mcpuppet.audit.reader import Disclosure, SessionReader
from mcpuppet.audit.record import OpenedRecord
from mcpuppet.redaction.commitments import (
    COMMITMENT,
    FORGERY,
    MARK,
    SALT_BYTES,
    canonical,
    commitment,
    commitment_in,
    fits,
    has_marks,
    mark_of,
    shown,
    spelled,
)
from mcpuppet.workflow.sensitive import WHOLE, Pointer, found, inner

__all__ = ["CONTENT", "WORDS", "Vault", "has_marks", "redacted_field", "shown", "vault_of"]

SHORTEST_TEXT = 4
"""Characters of a text that is replaced wherever it occurs; a shorter one only at its place."""
FEWEST_DIGITS = 5
"""Digits of a number that is replaced wherever it occurs."""
MOST_IN_TEXT = 64
"""A text in which more would be replaced is committed to as a whole."""
MOST_GROWTH = 16 * 1024
"""Bytes by which commitments may lengthen one field; past it there is one for all of the field."""

CONTENT = frozenset(
    {
        *("arguments", "inputs", "result", "kept", "value", "binds", "show"),
        *("verdicts", "would_have_denied", "feeds", "reconcile"),
    }
)
"""The fields of events that hold values from outside."""
WORDS = frozenset({"reason", "message", "note", "justification", "key", "client_key", "drops"})
"""The fields of events that hold text from outside; it stays text."""
_NAMES = frozenset(
    {*("rule", "ok", "book", "policy", "fact", "scope", "path", "seen", "tool", "after")}
)
"""What entries of lists say in the project's own words: never replaced."""
OWN_WORDS = frozenset({"verdicts", "would_have_denied", "feeds", "show", "reconcile"})
"""The fields of `CONTENT` whose texts are in part the project's own, and then stay as they are."""
_LISTS = frozenset({"verdicts", "would_have_denied", "feeds", "show"})
_VERDICT_NAMES = _NAMES | {"key", "used", "most", "holder"}
"""What a verdict says of what sessions share: a check reads it as it is."""


def vault_of(reader: SessionReader, session_id: str) -> Vault:
    """What is known of the values that a session's records do not show."""
    return Vault(session_id, reader.disclosures(session_id))


@dataclass(frozen=True, slots=True)
class _Needle:
    """A text to look for, and what is written instead of it."""

    text: str
    mark: str


class Vault:
    """The values of one session that its records do not show.

    Redacting adds to it, revealing does not. `added` is what has to be kept with the records that
    were redacted. `problems` names the commitments whose values, as they were given, are not those
    that were committed to; such a value is not used.
    """

    def __init__(
        self,
        session_id: str,
        known: Iterable[Disclosure] = (),
        new_salt: Callable[[], bytes] = lambda: secrets.token_bytes(SALT_BYTES),
    ) -> None:
        self.session_id = session_id
        self.added: list[Disclosure] = []
        self.problems: list[str] = []
        self._new_salt = new_salt
        self._by_text: dict[str, str] = {}
        self._known: dict[str, Disclosure] = {}
        self._needles: list[_Needle] | None = None
        for one in known:
            if fits(one):
                self._keep(one)
            else:
                self.problems.append(one.commitment)

    def __bool__(self) -> bool:
        return bool(self._known)

    def __contains__(self, hidden: object) -> bool:
        return hidden in self._known

    def __iter__(self) -> Iterator[Disclosure]:
        return iter(self._known.values())

    def branch(self) -> Vault:
        """A vault that knows the same and can be thrown away."""
        other = Vault(self.session_id, new_salt=self._new_salt)
        other._by_text, other._known = dict(self._by_text), dict(self._known)
        other._needles = None if self._needles is None else list(self._needles)
        return other

    def without(self, commitments: Iterable[str]) -> Vault:
        """A vault that does not know these."""
        gone = frozenset(commitments)
        kept = (one for hidden, one in self._known.items() if hidden not in gone)
        return Vault(self.session_id, kept, self._new_salt)

    # --- redacting ------------------------------------------------------------------------------

    def commit(self, value: Any) -> str:
        """The commitment to a value; the one it has in this session, if it has one."""
        text = canonical(value)
        hidden = self._by_text.get(text)
        if hidden is not None:
            return hidden
        salt = self._new_salt()
        # Kept as JSON would give it back, so that nothing shares a value that may still change.
        one = Disclosure(self.session_id, commitment(salt, value), salt, json.loads(text))
        self.added.append(one)
        self._keep(one)
        return one.commitment

    def learn(self, value: Any) -> None:
        """From here on this value, and each value inside it, is replaced wherever it occurs."""
        self.commit(value)
        for one in leaves(value):
            if is_telling(one):
                self.commit(one)

    def value(self, content: Any, pointers: tuple[Pointer, ...] = ()) -> Any:
        """A value with what stands at `pointers`, and every known value, replaced."""
        for one in found(content, pointers):
            self.learn(one)
        return self._bounded(content, self._replaced(content, pointers))

    def text(self, content: str) -> str:
        """A text in which every known value is replaced; it stays a text."""
        if FORGERY in content:
            return self.whole_text(content)
        if len(content) < SHORTEST_TEXT or not self._known:
            return content
        parts = self._split(content)
        return self.whole_text(content) if len(parts) > 2 * MOST_IN_TEXT else "".join(parts)

    def whole_text(self, content: str) -> str:
        """A text that stands for all of this one."""
        return mark_of(self.commit(content))

    def result(self, content: Mapping[str, Any], pointers: tuple[Pointer, ...]) -> Any:
        """The result of a tool, as it came, with `pointers` into what guards see of it."""
        at_structure = tuple(("structuredContent", *one) for one in pointers)
        for text in _texts(content) if pointers else ():
            for one in found(_parsed(text) or {"text": text}, pointers):
                self.learn(one)
        if WHOLE in pointers:
            for one in found(content, at_structure):
                self.learn(one)
            return {COMMITMENT: self.commit(content)}
        replaced = self.value(content, at_structure)
        if isinstance(replaced, dict) and isinstance(replaced.get("content"), list) and pointers:
            blocks = content["content"]
            replaced["content"] = [
                self._block(before, after, pointers)
                for before, after in zip(blocks, replaced["content"], strict=True)
            ]
        return replaced

    def _block(self, before: Any, after: Any, pointers: tuple[Pointer, ...]) -> Any:
        """A text that repeats the structure: committed to as a whole if a value is still in it."""
        if not isinstance(after, dict) or not isinstance(after.get("text"), str):
            return after
        parsed = _parsed(before["text"])
        if parsed is None:
            return after
        again = _parsed(after["text"])
        if again is not None and all(
            isinstance(one, str) and FORGERY in one for one in found(again, pointers)
        ):
            return after
        return {**after, "text": {COMMITMENT: self.commit(before["text"])}}

    def places(self, content: Any) -> tuple[Pointer, ...]:
        """Where known values stand in some content."""
        return tuple(self._places(content, WHOLE))

    def _places(self, content: Any, at: Pointer) -> Iterator[Pointer]:
        if at and self._by_text.get(canonical(content)) is not None:
            yield at
        elif isinstance(content, Mapping):
            for name, one in content.items():
                yield from self._places(one, (*at, name))
        elif isinstance(content, (list, tuple)):
            for number, one in enumerate(content):
                yield from self._places(one, (*at, str(number)))

    def _replaced(self, content: Any, pointers: tuple[Pointer, ...]) -> Any:
        if WHOLE in pointers:
            return {COMMITMENT: self.commit(content)}
        if isinstance(content, str):
            return self._replaced_text(content)
        if isinstance(content, Mapping):
            if COMMITMENT in content or any(FORGERY in name for name in content):
                return {COMMITMENT: self.commit(content)}
            return {
                self.text(name): self._replaced(one, inner(pointers, name, item=False))
                for name, one in content.items()
            }
        if isinstance(content, (list, tuple)):
            return [
                self._replaced(one, inner(pointers, str(number), item=True))
                for number, one in enumerate(content)
            ]
        hidden = self._by_text.get(canonical(content)) if is_telling(content) else None
        return content if hidden is None else {COMMITMENT: hidden}

    def _replaced_text(self, content: str) -> Any:
        if FORGERY in content:
            return {COMMITMENT: self.commit(content)}
        if len(content) < SHORTEST_TEXT or not self._known:
            return content
        hidden = self._by_text.get(canonical(content))
        if hidden is not None:
            return {COMMITMENT: hidden}
        parts = self._split(content)
        if len(parts) > 2 * MOST_IN_TEXT:
            return {COMMITMENT: self.commit(content)}
        return content if len(parts) == 1 else "".join(parts)

    def _bounded(self, before: Any, after: Any) -> Any:
        """The replaced value, unless its commitments would make the record too long."""
        if not isinstance(before, (Mapping, list, tuple)) or not self._known:
            return after
        if len(canonical(after)) <= len(canonical(before)) + MOST_GROWTH:
            return after
        return {COMMITMENT: self.commit(before)}

    def _split(self, content: str) -> list[str]:
        """A text in parts: what stays at even places, marks at odd ones."""
        parts = [content]
        for needle in self._sought():
            if needle.text not in content:
                continue
            split: list[str] = []
            for number, part in enumerate(parts):
                if number % 2:
                    split.append(part)
                    continue
                pieces = part.split(needle.text)
                for piece in pieces[:-1]:
                    split += (piece, needle.mark)
                split.append(pieces[-1])
            parts = split
        return parts

    def _sought(self) -> list[_Needle]:
        if self._needles is None:
            found_all = (needle for one in self for needle in _needles(one))
            self._needles = sorted(found_all, key=lambda one: -len(one.text))
        return self._needles

    def _keep(self, one: Disclosure) -> None:
        self._known[one.commitment] = one
        self._by_text[canonical(one.value)] = one.commitment
        self._needles = None

    # --- revealing ------------------------------------------------------------------------------

    def opened(self, record: OpenedRecord) -> OpenedRecord:
        """A record with the values of its session, as far as they are known."""
        return replace(record, data=self.reveal(record.data)) if self._known else record

    def reveal(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The data of a record with its values, as far as they are known."""
        return {
            name: self._revealed(one) if name in CONTENT or name in WORDS else one
            for name, one in data.items()
        }

    def _revealed(self, value: Any) -> Any:
        if isinstance(value, str):
            return MARK.sub(self._revealed_mark, value) if FORGERY in value else value
        if isinstance(value, Mapping):
            known = self._known.get(commitment_in(value) or "")
            if known is not None:
                return known.value
            return {self._revealed(name): self._revealed(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._revealed(one) for one in value]
        return value

    def _revealed_mark(self, mark: re.Match[str]) -> str:
        known = self._known.get(mark[1])
        return mark[0] if known is None else spelled(known.value, mark[2])


def redacted_field(vault: Vault, name: str, content: Any, pointers: tuple[Pointer, ...]) -> Any:
    """One field of an event, as it is recorded."""
    if name in WORDS:
        return vault.text(content) if isinstance(content, str) else content
    if name not in CONTENT or content is None:
        return content
    if name == "result":
        return vault.result(content, pointers)
    if name in _LISTS or name == "reconcile":
        names = _VERDICT_NAMES if name == "verdicts" else _NAMES
        return _entries(vault, content, pointers, names)
    return vault.value(content, pointers)


def _entries(
    vault: Vault, content: Any, pointers: tuple[Pointer, ...], names: frozenset[str]
) -> Any:
    """Entries that the project words itself: only what they quote is replaced."""
    if isinstance(content, Mapping):
        return _entry(vault, content, pointers, names)
    return [
        _entry(vault, one, inner(pointers, str(number), item=True), names)
        if isinstance(one, Mapping)
        else vault.value(one)
        for number, one in enumerate(content)
    ]


def _entry(
    vault: Vault, entry: Mapping[str, Any], pointers: tuple[Pointer, ...], names: frozenset[str]
) -> dict[str, Any]:
    replaced: dict[str, Any] = {}
    for name, one in entry.items():
        if name in names:
            replaced[name] = one
        elif name in WORDS:
            replaced[name] = vault.text(one) if isinstance(one, str) else one
        else:
            replaced[name] = vault.value(one, inner(pointers, name, item=False))
    return replaced


def _needles(one: Disclosure) -> Iterator[_Needle]:
    """The spellings in which a value can stand inside a text."""
    if not is_telling(one.value):
        return
    seen: set[str] = set()
    for spelling in ("", "j", "u") if isinstance(one.value, str) else ("",):
        text = spelled(one.value, spelling)
        if text not in seen:
            seen.add(text)
            yield _Needle(text, mark_of(one.commitment, spelling))


def is_telling(value: Any) -> bool:
    """Whether a value can be recognised by itself, wherever it stands."""
    if isinstance(value, str):
        return len(value) >= SHORTEST_TEXT
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return sum(one.isdigit() for one in repr(value)) >= FEWEST_DIGITS


def leaves(value: Any) -> Iterator[Any]:
    """The plain values inside a value, or itself."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, Mapping):
            pending.extend(one.values())
        elif isinstance(one, (list, tuple)):
            pending.extend(one)
        else:
            yield one


def _texts(result: Mapping[str, Any]) -> list[str]:
    blocks = result.get("content")
    return [
        one["text"]
        for one in (blocks if isinstance(blocks, list) else [])
        if isinstance(one, Mapping) and isinstance(one.get("text"), str)
    ]


def _parsed(text: str) -> Any:
    """What a text says as JSON; None where it is none, or only a plain value."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None
