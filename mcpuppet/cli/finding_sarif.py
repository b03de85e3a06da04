"""Findings as a SARIF log, for code scanning (OASIS SARIF 2.1.0, section numbers below are its).

Columns count characters, which SARIF calls Unicode code points; without `columnKind` a reader would
take them for UTF-16 code units.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mcpuppet.workflow.findings import Code, Finding

_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_ROOT = "%SRCROOT%"
"""The name that code scanning gives to the top of the checkout; its place is not ours to say."""
_FINGERPRINT = "mcpuppetFinding/v1"
_LINK = re.compile(r"\[(?=[^\]]*\]\()")


def sarif(
    findings: Iterable[Finding],
    codes: Sequence[Code],
    texts: Mapping[str, Sequence[str]],
    version: str,
) -> dict[str, Any]:
    """The log of one run. `codes` become its rules; `texts` has the lines of each file."""
    run = {
        "tool": {
            "driver": {
                "name": "mcpuppet",
                "version": version,
                "rules": [_rule(code) for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {
            _ROOT: {"description": {"text": "The folder in which mcpuppet was run."}}
        },
        "results": list(_results(findings, codes, texts)),
    }
    return {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/"
        "sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }


def _rule(code: Code) -> dict[str, Any]:
    return {
        "id": code.number,
        "name": code.slug,
        "shortDescription": {"text": code.slug.replace("-", " ")},
        "fullDescription": {"text": code.about},
        "help": {"text": code.help},
        "defaultConfiguration": {"level": _LEVELS[code.severity]},
    }


def _results(
    findings: Iterable[Finding], codes: Sequence[Code], texts: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, Any]]:
    indexes = {code.number: index for index, code in enumerate(codes)}
    seen: Counter[str] = Counter()
    for finding in findings:
        print_ = _print(finding, texts.get(finding.place.file, ()))
        seen[print_] += 1
        result: dict[str, Any] = {
            "ruleId": finding.code.number,
            "ruleIndex": indexes.get(finding.code.number, -1),
            "level": _LEVELS[finding.severity],
            "message": {"text": _message(finding)},
            "locations": [{"physicalLocation": _location(finding)}],
            "partialFingerprints": {_FINGERPRINT: f"{print_}:{seen[print_]}"},
        }
        if finding.trace:
            result["properties"] = {"trace": [_clean(one) for one in finding.trace]}
        yield result


def _message(finding: Finding) -> str:
    """What and how else. Braces are placeholders (3.11.5), `[...](` begins a link (3.11.6)."""
    text = finding.message if finding.help is None else f"{finding.message} ({finding.help})"
    text = _LINK.sub(r"\\[", text.replace("{", "{{").replace("}", "}}"))
    return _clean(text)


def _location(finding: Finding) -> dict[str, Any]:
    return {
        "artifactLocation": _artifact(finding.place.file),
        "region": {
            "startLine": max(1, finding.place.line),
            "startColumn": max(1, finding.place.column),
        },
    }


def _artifact(file: str) -> dict[str, Any]:
    path = Path(os.path.relpath(file))
    if path.parts[:1] == ("..",):  # outside the checkout
        return {"uri": f"file://{quote(os.fsencode(Path(file).absolute().as_posix()))}"}
    return {"uri": quote(os.fsencode(path.as_posix())), "uriBaseId": _ROOT}


def _print(finding: Finding, lines: Sequence[str]) -> str:
    """What stays the same of a finding when lines are added above it."""
    line = lines[finding.place.line - 1] if 0 < finding.place.line <= len(lines) else ""
    parts = (finding.code.number, finding.place.file, " ".join(line.split()), finding.message)
    return hashlib.sha256(_clean("\0".join(parts)).encode()).hexdigest()[:32]


def _clean(text: str) -> str:
    """The text without lone surrogates, which file names have and JSON readers refuse."""
    return text.encode("utf-8", "backslashreplace").decode()
