"""How a workflow file names others, and the one text that holds it together with them.

Owns which paths are accepted, and the *bundle*: the text that identifies a workflow together with
every file it took over. It opens no file, and does not know what the files mean.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Mapping
from typing import Any

_MAX_NAME = 255
_NAME_HELP = "name a file inside the folder of this one, as in common/policies.yaml"
_BUNDLE_KEYS = frozenset({"mcpuppet_bundle", "file", "text", "files"})

Read = Callable[[str], bytes]
"""Gives a file's content by its path from the workflow's folder, or raises IncludeError."""


class IncludeError(Exception):
    """A file cannot be taken over; `message` continues a sentence that names the file."""

    def __init__(self, message: str, help: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help


def check_path(path: str, endings: tuple[str, ...]) -> None:
    """Raise IncludeError unless `path` names a file inside the folder, in one spelling only."""
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or ":" in path:
        raise IncludeError("is not a path from the folder of this file, with `/`", _NAME_HELP)
    if ".." in parts:
        raise IncludeError("leads out of the folder of this file", _NAME_HELP)
    if not path.isprintable() or len(path) > _MAX_NAME or posixpath.normpath(path) != path:
        raise IncludeError("is not written as a plain path", _NAME_HELP)
    if not path.endswith(endings):
        raise IncludeError(f"does not end in {' or '.join(endings)}", _NAME_HELP)


def beside(file: str, path: str) -> str:
    """How the places of findings name the file at `path` from the folder of `file`."""
    return posixpath.join(posixpath.dirname(file.replace("\\", "/")), path)


def bundle_text(file: str, text: str, files: Mapping[str, str]) -> str:
    """The text that identifies a workflow: its own, or with `files` a canonical JSON document.

    That has sorted keys and no spaces: `file` is the file's name without its folder, `text` its own
    text, and `files` maps the path of every file it took over to that file's text.
    """
    if not files:
        return text
    bundle = {"mcpuppet_bundle": 1, "file": _name(file), "text": text, "files": dict(files)}
    return json.dumps(bundle, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def open_bundle(bundle: str) -> tuple[str, Mapping[str, str]]:
    """A workflow's own text, and the texts of the files it took over, by path.

    No workflow's own text can pass for a bundle: it would have keys that no workflow has.
    """
    content = _as_bundle(bundle)
    return (bundle, {}) if content is None else (content["text"], content["files"])


def _as_bundle(text: str) -> Any:
    if not text.startswith('{"file":'):
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if _has_bundle_form(content) else None


def _has_bundle_form(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and content.keys() == _BUNDLE_KEYS
        and content["mcpuppet_bundle"] == 1
        and isinstance(content["text"], str)
        and isinstance(content["files"], dict)
        and all(isinstance(one, str) for one in content["files"].values())
    )


def _name(file: str) -> str:
    return posixpath.basename(file.replace("\\", "/"))
