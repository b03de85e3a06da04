"""YAML text to plain data that remembers where everything stands.

Built on PyYAML's event stream alone: its composer can be crashed by nesting and quietly keeps the
last of two equal keys. What a workflow has no use for is refused with a place: anchors, aliases,
tags, several documents, duplicate keys, and files past the limits below. Scalars follow the YAML
1.2 core schema (yaml.org/spec/1.2.2, section 10.3), so `on`, `no` and `12:30` are text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from mcpuppet.workflow.findings import (
    ANCHORS_OR_TAGS,
    DUPLICATE_KEY,
    TOO_DEEP_OR_BIG,
    YAML_SYNTAX,
    Code,
    Finding,
    Place,
)

MAX_BYTES = 4 * 1024 * 1024
MAX_NODES = 500_000
MAX_DEPTH = 32
MAX_ENTRIES = 20_000
"""How many keys or items one mapping or list may have."""
MAX_FINDINGS = 100

Path = tuple[str | int, ...]
"""Where a value is: mapping keys and list indexes from the top of the file."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,40}")
_OCTAL = re.compile(r"0o[0-7]{1,40}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,40}")
# Possessive, as a text of a million digits must not be tried at every length.
_FLOAT = re.compile(r"[-+]?(\.[0-9]++|[0-9]++(\.[0-9]*+)?)([eE][-+]?[0-9]{1,4})?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

_FIRST_OF_OTHERS = "nN~tTfF.+-0123456789"
"""What a plain scalar begins with that is not text; the empty one is null."""


class _RefusedError(Exception):
    """Reading cannot go on; the finding says why."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds. `data` is None when nothing could be read.

    Parts of the data may come from other files (`with_parts`); places are then those files'.
    """

    file: str
    data: Any
    findings: tuple[Finding, ...]
    nodes: int = 0
    """How many values and keys were read."""
    _values: Mapping[Path, tuple[int, int, int]] = field(default_factory=dict)
    _keys: Mapping[Path, tuple[int, int]] = field(default_factory=dict)
    _parts: Mapping[Path, tuple[Document, Path]] = field(default_factory=dict)

    def place(self, path: Path) -> Place:
        """Where the value at `path` starts, or its nearest parent that is in the file."""
        owner, path = self._owner(path)
        for length in range(len(path), -1, -1):
            spot = owner._values.get(path[:length])
            if spot is not None:
                return Place(owner.file, spot[0], spot[1])
        return Place(owner.file, 1, 1)

    def key_place(self, path: Path) -> Place:
        """Where the key of the entry at `path` stands; for list items, where the item starts."""
        owner, inner = self._owner(path)
        spot = owner._keys.get(inner)
        return self.place(path) if spot is None else Place(owner.file, *spot)

    def text_place(self, path: Path, column: int) -> Place:
        """The place of the character `column` (from 1) inside the one-line scalar at `path`.

        A scalar that spans lines or has escapes has only its start: its columns are not the file's.
        """
        owner, inner = self._owner(path)
        spot = owner._values.get(inner)
        if spot is None or spot[2] < 0:
            return self.place(path)
        return Place(owner.file, spot[0], spot[1] + spot[2] + column - 1)

    def with_parts(self, data: Any, parts: Mapping[Path, tuple[Document, Path]]) -> Document:
        """This document with other `data`, in which each path of `parts` is from elsewhere.

        `parts` maps it to the document, and the path in that document, where it stands.
        """
        return replace(self, data=data, _parts=parts)

    def _owner(self, path: Path) -> tuple[Document, Path]:
        for length in range(len(path), 0, -1) if self._parts else ():
            part = self._parts.get(path[:length])
            if part is not None:
                return part[0], (*part[1], *path[length:])
        return self, path


def read_yaml(source: bytes | str, file: str, max_nodes: int = MAX_NODES) -> Document:
    """Read one YAML document; every problem is a finding, and none is an exception."""
    builder = _Builder(file, max_nodes)
    try:
        text = _decode(source, file)
        for event in _events(text, file):
            builder.take(event)
    except _RefusedError as refused:
        return Document(file, None, (*builder.findings, refused.finding), nodes=builder.nodes)
    return Document(
        file,
        builder.root,
        tuple(builder.findings),
        builder.nodes,
        builder.values,
        builder.keys,
    )


def _decode(source: bytes | str, file: str) -> str:
    raw = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    if len(raw) > MAX_BYTES:
        message = f"the file has more than {MAX_BYTES:,} bytes"
        raise _RefusedError(Finding(TOO_DEEP_OR_BIG, Place(file, 1, 1), message))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _place_after(raw[: error.start].decode("utf-8", "replace"), file)
        problem = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        finding = Finding(YAML_SYNTAX, place, problem, "save the file as UTF-8")
        raise _RefusedError(finding) from error


def _place_after(text: str, file: str) -> Place:
    """The place of the character that follows `text`, which is the beginning of a file."""
    lines = f"{text}.".splitlines()  # the full stop stands for the character
    return Place(file, len(lines), len(lines[-1]))


def _events(text: str, file: str) -> Iterator[Any]:
    loader = None
    try:
        loader = _Loader(text)
        while loader.check_event():
            yield loader.get_event()
    except yaml.reader.ReaderError as error:
        place = _place_after(_before(text, error), file)
        raise _RefusedError(
            Finding(YAML_SYNTAX, place, f"character {_code_point(error)} is not allowed in YAML")
        ) from error
    except yaml.MarkedYAMLError as error:
        place = _marked_place(text, file, error.problem_mark or error.context_mark)
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise _RefusedError(
            Finding(YAML_SYNTAX, place, problem, _syntax_help(text, place))
        ) from error
    finally:
        if loader is not None:
            loader.dispose()


def _marked_place(text: str, file: str, mark: yaml.Mark | None) -> Place:
    """Where a mark stands; one past the last line (libyaml ends every line) is moved to its end."""
    lines = text.splitlines() or [""]
    if mark is None:
        return Place(file, 1, 1)
    if mark.line >= len(lines):
        return Place(file, len(lines), len(lines[-1]) + 1)
    return Place(file, mark.line + 1, mark.column + 1)


def _before(text: str, error: yaml.reader.ReaderError) -> str:
    """What stands before the character that cannot be read; libyaml counts bytes."""
    if _Loader is yaml.SafeLoader:
        return text[: error.position]
    return text.encode("utf-8", "surrogatepass")[: error.position].decode("utf-8", "replace")


def _code_point(error: yaml.reader.ReaderError) -> str:
    character = error.character
    return f"U+{character if isinstance(character, int) else ord(character):04X}"


def _syntax_help(text: str, place: Place) -> str | None:
    lines = text.splitlines()
    line = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
    if "{" in line or "[" in line:
        return "inside {…} or […], put an expression that has brackets, commas or colons in quotes"
    if "\t" in line:
        return "indent with spaces, not tabs"
    return None


@dataclass(slots=True)
class _Open:
    """A mapping or list that is still being filled."""

    container: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None
    keep: bool = True


class _Builder:
    """Takes parser events one by one and builds data, positions and findings."""

    def __init__(self, file: str, max_nodes: int) -> None:
        self.root: Any = None
        self.nodes = 0
        self.findings: list[Finding] = []
        self.values: dict[Path, tuple[int, int, int]] = {}
        self.keys: dict[Path, tuple[int, int]] = {}
        self._file = file
        self._max_nodes = max_nodes
        self._stack: list[_Open] = []
        self._documents = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(
                    YAML_SYNTAX, event, "a second document starts", "one file, one document"
                )
        elif isinstance(event, yaml.NodeEvent):
            self._check_node(event)
            self._take_node(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._stack.pop()

    def _check_node(self, event: Any) -> None:
        self.nodes += 1
        if self.nodes > self._max_nodes:
            message = f"the file has more than {self._max_nodes:,} values and keys"
            help = f"at most {MAX_NODES:,} are read, those of used files included"
            self._refuse(TOO_DEEP_OR_BIG, event, message, help)
        if getattr(event, "anchor", None) is not None:
            kind = "alias" if isinstance(event, yaml.AliasEvent) else "anchor"
            self._find(
                ANCHORS_OR_TAGS, event, f"{kind} {_brief(event.anchor)!r}", "write the value out"
            )
        if getattr(event, "tag", None) is not None:
            self._find(ANCHORS_OR_TAGS, event, f"tag {_brief(event.tag)!r}", "leave the tag out")

    def _take_node(self, event: Any) -> None:
        parent = self._stack[-1] if self._stack else None
        if parent is not None and (parent.key is None or isinstance(parent.container, list)):
            self._check_room(parent, event)
        if parent is not None and isinstance(parent.container, dict) and parent.key is None:
            self._take_key(parent, event)
            return
        path = self._child_path(parent)
        self.values.setdefault(path, self._spot(event))
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if len(self._stack) >= MAX_DEPTH:
                self._refuse(TOO_DEEP_OR_BIG, event, f"more than {MAX_DEPTH} levels deep")
            value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            self._store(parent, value)
            self._stack.append(_Open(value, path))
        else:
            self._store(parent, self._scalar(event))

    def _check_room(self, parent: _Open, event: Any) -> None:
        if len(parent.container) >= MAX_ENTRIES:
            what = "mapping" if isinstance(parent.container, dict) else "list"
            message = f"one {what} has more than {MAX_ENTRIES:,} entries"
            self._refuse(TOO_DEEP_OR_BIG, event, message)

    def _take_key(self, parent: _Open, event: Any) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse(YAML_SYNTAX, event, "a key is not plain text", "quote the key")
        key: str = event.value
        assert isinstance(parent.container, dict)
        parent.key, parent.keep = key, key not in parent.container
        if not parent.keep:
            first = self.keys[(*parent.path, key)]
            self._find(
                DUPLICATE_KEY,
                event,
                f"key {_brief(key)!r} is given twice",
                f"the first is on line {first[0]}",
            )
        self.keys.setdefault((*parent.path, key), self._spot(event)[:2])

    def _child_path(self, parent: _Open | None) -> Path:
        if parent is None:
            return ()
        step = len(parent.container) if parent.key is None else parent.key
        return (*parent.path, step)

    def _store(self, parent: _Open | None, value: Any) -> None:
        if parent is None:
            self.root = value
        elif isinstance(parent.container, list):
            parent.container.append(value)
        else:
            assert parent.key is not None
            if parent.keep:
                parent.container[parent.key] = value
            parent.key = None

    def _scalar(self, event: Any) -> Any:
        if isinstance(event, yaml.AliasEvent) or not event.implicit[0]:
            return getattr(event, "value", None)
        value = _resolve(event.value)
        if value is _UNUSABLE:
            self._find(YAML_SYNTAX, event, f"{_brief(event.value)} is not a number JSON can carry")
            return None
        return value

    def _spot(self, event: Any) -> tuple[int, int, int]:
        start, end = event.start_mark, event.end_mark
        offset = -1
        if isinstance(event, yaml.ScalarEvent) and start.line == end.line:
            quote = 1 if event.style in ("'", '"') else 0
            if end.column - start.column == len(event.value) + 2 * quote:  # no escapes inside
                offset = quote
        return start.line + 1, start.column + 1, offset

    def _find(self, code: Code, event: Any, message: str, help: str | None = None) -> None:
        line, column, _ = self._spot(event)
        self.findings.append(Finding(code, Place(self._file, line, column), message, help))
        if len(self.findings) == MAX_FINDINGS:
            self._refuse(TOO_DEEP_OR_BIG, event, f"{MAX_FINDINGS} mistakes: reading stops here")

    def _refuse(self, code: Code, event: Any, message: str, help: str | None = None) -> None:
        line, column, _ = self._spot(event)
        raise _RefusedError(Finding(code, Place(self._file, line, column), message, help))


def _brief(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


_UNUSABLE = object()


def _resolve(text: str) -> Any:
    """The value of a plain scalar in the YAML 1.2 core schema."""
    if text[:1] not in _FIRST_OF_OTHERS:
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    for pattern, base in ((_INT, 10), (_OCTAL, 8), (_HEX, 16)):
        if pattern.fullmatch(text):
            return int(text[2:] if base != 10 else text, base)
    if _SPECIAL_FLOAT.fullmatch(text):
        return _UNUSABLE
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else _UNUSABLE
    return text
