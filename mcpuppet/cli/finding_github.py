"""Findings as commands that GitHub Actions turns into annotations of a pull request.

The format and its escapes are those of the `issueCommand` of `@actions/core`.
"""

from __future__ import annotations

import os
from pathlib import Path

from mcpuppet.workflow.findings import Finding

_LEVELS = {"error": "error", "warning": "warning", "info": "notice"}


def github(finding: Finding, workspace: str | None = None) -> str:
    """One finding as one workflow command; `workspace` is the folder of the checked-out code."""
    properties = {
        "title": f"{finding.code.number} {finding.code.slug}",
        "file": _within(finding.place.file, workspace),
        "line": str(finding.place.line),
        "col": str(finding.place.column),
    }
    written = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    parts = [finding.message, *([finding.help] if finding.help else []), *finding.trace]
    return f"::{_LEVELS[finding.severity]} {written}::{_data(chr(10).join(parts))}"


def _within(file: str, workspace: str | None) -> str:
    """A path as annotations need it: from the top of the checkout, with slashes."""
    path = Path(file)
    if workspace:
        inside = Path(os.path.relpath(path, workspace))
        path = path if inside.parts[:1] == ("..",) else inside
    return path.as_posix()


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
