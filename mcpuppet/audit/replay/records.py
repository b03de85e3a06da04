"""A session's records as a replay takes them: apart when asked, some of them ahead.

Also the words that a replay uses for events, and what ends or narrows it. Deliberately decides
nothing.
"""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mcpuppet.audit.record import Record, parse_instant
from mcpuppet.errors import AuditError
from mcpuppet.redaction.vault import Vault
from mcpuppet.session import events as e
from mcpuppet.session.state import BY_TIME


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A record that does not say what the rules lead to; `recorded` and `derived` say how."""

    session_id: str
    seq: int
    recorded: str
    derived: str

    def __str__(self) -> str:
        return (
            f"session {self.session_id!r}, record {self.seq}: it says {self.recorded}; "
            f"by the rules it is {self.derived}"
        )


@dataclass(slots=True)
class Tally:
    """What has been made again so far; reasons are phrases for people."""

    decisions: int = 0
    rederived: int = 0
    consistent: Counter[str] = field(default_factory=Counter)
    not_derivable: Counter[str] = field(default_factory=Counter)
    followed: int = 0
    """Records other than decisions that are what their cause leads to."""
    unfollowed: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    """Sessions that could not be played to their end."""
    mismatches: list[Mismatch] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count what another one has counted as well."""
        self.decisions += other.decisions
        self.rederived += other.rederived
        self.followed += other.followed
        self.consistent += other.consistent
        self.not_derivable += other.not_derivable
        self.unfollowed += other.unfollowed
        self.unread += other.unread
        self.mismatches += other.mismatches


REMOVED = "contents were removed"
"""Why a pruned session cannot be played; nothing is wrong with it."""


class Stuck(Exception):  # noqa: N818 - no error: it ends one session's play, and says why
    """The session cannot be played on."""


class Underivable(Exception):  # noqa: N818 - no error: it says why one decision is not made again
    """What a decision was made from is not all in the trail."""


REDACTED = "values are redacted"

_SECRET = b"[secret:"
_MARKS = (b'{"$c":"', b"<redacted:", _SECRET)
"""How what stands in a record for a value that is kept out of it begins."""
_COMMITTED = re.compile(rb'\{"\$c":"[0-9a-f]{64}"\}|<redacted:[0-9a-f]{64}(?::[ju])?>')
"""What no text from outside can put into a record: it would be committed to as a whole."""


class Entry:
    """A record, taken apart when it is first asked what it says."""

    __slots__ = (
        "_data",
        "_event",
        "_is_redacted",
        "_moment",
        "_vault",
        "at",
        "body",
        "kind",
        "raw",
        "seq",
    )

    def __init__(self, record: Record, vault: Vault | None) -> None:
        self.seq, self.body = record.seq, record.body
        self._vault = vault
        self._data: dict[str, Any] | None = None
        self._event: e.Event | None = None
        self.kind, self.at = "", ""
        self._moment: datetime | None = None
        self.raw: dict[str, Any] = {}
        """The data as it stands in the record."""
        self._is_redacted: bool | None = None

    def read(self) -> dict[str, Any]:
        """The data of its event, with what was disclosed; raises Stuck for what is no record."""
        if self._data is None:
            kind, at, data = _taken_apart(self.body)
            self.kind, self.at, self.raw = kind, at, data
            self._data = self._vault.reveal(data) if self._vault and self.is_redacted else data
        return self._data

    @property
    def event(self) -> e.Event:
        """Its event; raises Stuck when the data does not fit."""
        if self._event is None:
            data = self.read()
            try:
                self._event = e.event_from(self.kind, data)
            except AuditError:
                raise Stuck("a record cannot be read") from None
        return self._event

    @property
    def moment(self) -> datetime:
        """When it happened; raises Stuck for what is no time."""
        if self._moment is None:
            try:
                self._moment = parse_instant(self.at)
            except ValueError:
                raise Stuck("a record cannot be read") from None
        return self._moment

    @property
    def is_redacted(self) -> bool:
        """Whether the record itself hides a value."""
        if self._is_redacted is None:
            body = self.body
            self._is_redacted = _MARKS[0] in body or _MARKS[1] in body or _MARKS[2] in body
        return self._is_redacted

    @property
    def hides(self) -> bool:
        """Whether a value that it hides is not disclosed either."""
        return self.hides_values or _SECRET in self.body

    @property
    def hides_values(self) -> bool:
        """Whether one of them is a sensitive value.

        Such a value may have counted for a rule, now or later. A secret counts for the rules of its
        own call alone: what a session remembers of it is the mark.
        """
        if not self.is_redacted:
            return False
        text = json.dumps(self.read(), separators=(",", ":")).encode()
        return _COMMITTED.search(text) is not None


_OPENING = re.compile(
    r'\{"v":1,"session":"[^"\\]*","seq":\d+,"prev":"[0-9a-f]{64}",'
    r'"at":"([^"\\]*)","kind":"([^"\\]*)","data":(?=\{)'
)
"""How the records of nearly all sessions begin, so that only the data has to be parsed."""
_parsed = json.JSONDecoder().raw_decode


def _taken_apart(body: bytes) -> tuple[str, str, dict[str, Any]]:
    """The kind, the time and the data of a record; raises Stuck for what is none."""
    try:
        text = body.decode()
        opening = _OPENING.match(text)
        if opening is not None:
            data, end = _parsed(text, opening.end())
            if text[end:] == "}":
                return opening[2], opening[1], data
        found = json.loads(text)
        kind, at, data = found["kind"], found["at"], found["data"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise Stuck("a record cannot be read" if body else REMOVED) from None
    if not (isinstance(kind, str) and isinstance(at, str) and isinstance(data, dict)):
        raise Stuck("a record cannot be read")
    return kind, at, data


class Records:
    """The records of a session in order, of which some may be looked at ahead."""

    def __init__(self, records: Iterable[Record], vault: Vault) -> None:
        self._left = iter(records)
        self._vault = vault if vault else None
        self._ahead: deque[Entry] = deque()
        self.last = 0

    def peek(self, offset: int = 0) -> Entry | None:
        if offset < len(self._ahead):
            return self._ahead[offset]
        while len(self._ahead) <= offset:
            record = next(self._left, None)
            if record is None:
                return None
            self._ahead.append(Entry(record, self._vault))
        return self._ahead[offset]

    def drop(self, count: int = 1) -> None:
        for _ in range(count):
            self.last = self._ahead.popleft().seq


DECISIONS = frozenset({"CallStarted", "CallDenied", "CallDeferred", "AskOpened"})

_EFFECTS = frozenset(
    {
        "FactLearned",
        "StepSucceeded",
        "StepFailed",
        "StepReturned",
        "StepHeld",
        "StepSkipped",
        "StepsRedone",
        "StepCompensated",
        "ApprovalOpened",
        "ApprovalEscalated",
        "ApprovalGranted",
        "ApprovalExpired",
        "ReviewOpened",
        "ReviewOverdue",
        "RunFailing",
    }
)
"""Events that only follow from others, or from time."""


def is_effect(kind: str, data: Mapping[str, Any]) -> bool:
    if kind == "ApprovalRejected":
        return data.get("by") == BY_TIME
    return kind in _EFFECTS or (kind == "RunEnded" and data.get("by") is None)


def alike(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: tuples are lists, and true is not 1."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    return type(one) is type(other) and bool(one == other)


def said(event: e.Event) -> str:
    """An event in a few words."""
    match event:
        case e.CallStarted():
            what = f"{event.purpose} {event.step}" if event.step else event.purpose
            return f"that {event.tool} was called ({what})"
        case e.CallDenied():
            return f"that {event.tool} was refused by {event.rule}"
        case e.CallDeferred():
            return f"that {event.tool} waited for {event.approval_id}"
        case e.AskOpened():
            return f"that people were asked about {event.tool}"
    details = (
        f" of {getattr(event, name)}"
        for name in ("step", "workflow", "call_id")
        if getattr(event, name, None)
    )
    return f"{type(event).__name__}{next(details, '')}"
