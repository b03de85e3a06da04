"""`mcpuppet.lock`: the tools of the servers as a person has accepted them, one file for a project.

JSON in a form of its own (sorted, indented, ASCII), so that a version control system shows what has
changed and no character in it can hide. Owns reading and writing; which parts of a tool count is
said by `workflow.tool_pins`, and what a difference means by those who ask.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mcpuppet.errors import InvalidInputError
from mcpuppet.workflow.tool_pins import changes, pin_digest, pinned_parts

LOCK_NAME = "mcpuppet.lock"
FORMAT = 1
MAX_BYTES = 32 * 1024 * 1024

_NOTHING: Mapping[str, str] = MappingProxyType({})
_HELP = "take it from version control, or delete it and run `mcpuppet pin`"


@dataclass(frozen=True, slots=True)
class Lock:
    """The pinned tools: "server.tool" to the pinned parts of its definition."""

    tools: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Drift:
    """How the tools offered now differ from those pinned, by name."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    """For each changed tool what is different, as `description changed`."""

    @property
    def breaks_pins(self) -> bool:
        """Whether something is no longer what was accepted; a tool more is no such thing."""
        return bool(self.removed or self.changed)

    def __bool__(self) -> bool:
        return bool(self.added) or self.breaks_pins


def lock_path(config: Path) -> Path:
    """Where the lock file of a settings file is: beside it."""
    return config.parent / LOCK_NAME


def compare(
    pinned: Mapping[str, Any], offered: Mapping[str, Any], seen: Mapping[str, str] = _NOTHING
) -> Drift:
    """What has become of pinned tools; `pinned` and `offered` map "server.tool" to a definition.

    `seen` has the digests of definitions that gateways saw first; they count where a tool is not
    pinned.
    """
    changed = {
        name: tuple(changes(pinned[name], offered[name]))
        for name in pinned.keys() & offered.keys()
        if pin_digest(pinned[name]) != pin_digest(offered[name])
    }
    for name in offered.keys() & seen.keys() - pinned.keys():
        if seen[name] != pin_digest(offered[name]):
            changed[name] = ("it is not defined as a gateway saw it first",)
    return Drift(
        added=tuple(sorted(offered.keys() - pinned.keys() - changed.keys())),
        removed=tuple(sorted(pinned.keys() - offered.keys())),
        changed=dict(sorted(changed.items())),
    )


def lock_text(tools: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of a lock file that pins these tools; the same tools give the same text."""
    entries = {
        name: {"sha256": pin_digest(definition), "definition": pinned_parts(definition)}
        for name, definition in tools.items()
    }
    document = {"mcpuppet_lock": FORMAT, "tools": entries}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def write_lock(path: Path, tools: Mapping[str, Mapping[str, Any]]) -> None:
    """Pin these tools: the file is replaced as a whole or not at all.

    Raises InvalidInputError when it cannot be written.
    """
    text = lock_text(tools)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with temporary.open("w", encoding="ascii", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # where nothing can be written, nothing can be removed
            temporary.unlink(missing_ok=True)
        raise InvalidInputError(f"cannot write {path}: {error.strerror or error}") from error


def read_lock(path: Path) -> Lock | None:
    """The pinned tools, or None when there is no lock file.

    Raises InvalidInputError, with the line, for a file that is none of ours or was altered by hand.
    """
    try:
        with path.open("rb") as file:
            source = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror or error}") from error
    if len(source) > MAX_BYTES:
        raise _bad(path, 1, f"it is larger than {MAX_BYTES // 2**20} MiB")
    return _Reader(path, source.decode("utf-8", "replace")).lock()


class _Reader:
    """Reads the text of one lock file."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text

    def lock(self) -> Lock:
        document = self._document()
        version = document.get("mcpuppet_lock")
        if version is None:
            raise self._bad("", "it is no lock file: it lacks `mcpuppet_lock`")
        if version != FORMAT or isinstance(version, bool):
            known = f"this MCPuppet reads {FORMAT}"
            raise self._bad("mcpuppet_lock", f"it has the format {version!r}; {known}")
        tools = document.get("tools")
        if not isinstance(tools, dict):
            raise self._bad("tools", "it lacks the mapping `tools`")
        return Lock({name: self._definition(name, entry) for name, entry in tools.items()})

    def _document(self) -> dict[str, Any]:
        try:
            document = json.loads(
                self._text, object_pairs_hook=self._object, parse_constant=self._constant
            )
        except json.JSONDecodeError as error:
            place = f"{self._path}:{error.lineno}:{error.colno}"
            raise InvalidInputError(f"{place}: not JSON: {error.msg}; {_HELP}") from error
        except (RecursionError, ValueError) as error:
            raise self._bad("", "it is nested too deeply, or has a number too long") from error
        if not isinstance(document, dict):
            raise self._bad("", "it is no lock file: it holds no JSON object")
        return document

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise self._bad(key, f"the key {key!r} is there twice")
            found[key] = value
        return found

    def _constant(self, word: str) -> Any:
        raise self._bad("", f"{word} is not JSON")

    def _definition(self, name: str, entry: Any) -> Mapping[str, Any]:
        definition = entry.get("definition") if isinstance(entry, dict) else None
        if not isinstance(definition, dict) or set(entry) != {"sha256", "definition"}:
            raise self._bad(name, f"{name!r} is not a mapping of `sha256` and `definition`")
        if not isinstance(definition.get("inputSchema"), dict):
            raise self._bad(name, f"the definition of {name!r} has no inputSchema")
        server, _, tool = name.partition(".")
        if not server or definition.get("name") != tool:
            raise self._bad(name, f"{name!r} holds the definition of {definition.get('name')!r}")
        if pinned_parts(definition) != definition or pin_digest(definition) != entry["sha256"]:
            raise self._bad(name, f"the definition of {name!r} is not the one that was pinned")
        return definition

    def _bad(self, key: str, problem: str) -> InvalidInputError:
        start = self._text.find(f"{json.dumps(key)}:") if key else 0
        return _bad(self._path, self._text.count("\n", 0, max(0, start)) + 1, problem)


def _bad(path: Path, line: int, problem: str) -> InvalidInputError:
    return InvalidInputError(f"{path}:{line}: {problem}; {_HELP}")
