"""`mcpuppet validate`: everything that is wrong with workflow files.

Findings go to stdout, the summary to stderr. Needs files only, no settings and no server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mcpuppet.cli.edge import REFUSED
from mcpuppet.cli.options import JsonOption
from mcpuppet.cli.output import counted, put, put_json, say
from mcpuppet.workflow.findings import Finding, Severity

Format = Literal["full", "concise", "json"]


def validate(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Workflow files, or folders of them.", show_default="workflows/"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Check tools against the servers of this file too."),
    ] = None,
    output: Annotated[
        Format, typer.Option("--format", "-f", help="concise leaves out the help lines.")
    ] = "full",
    as_json: JsonOption = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
) -> None:
    """Check workflow files and list every finding, with its place.

    Exit codes: 0 fine; 1 there are errors, or warnings with --strict; 2 a path cannot be read.
    """
    # Reading workflows costs a second of imports that other commands and --help should not pay.
    from mcpuppet.cli.config import read_settings  # noqa: PLC0415
    from mcpuppet.library import check_files, shared_tools  # noqa: PLC0415

    paths = paths or [Path("workflows")]
    if config is None:
        files = check_files(paths)
        findings = [one for file in files for one in file.findings]
    else:
        settings = read_settings(config)
        files = check_files(paths, frozenset(one.name for one in settings.servers))
        findings = [one for file in files for one in file.findings]
        findings.extend(shared_tools(settings, files))
    counts = Counter(one.severity for one in findings)
    failed = counts["error"] > 0 or (strict and counts["warning"] > 0)
    if as_json or output == "json":
        put_json({"ok": not failed, "files": len(files), "findings": _documents(findings)})
    else:
        _put_lines(findings, with_help=output == "full")
    say(f"{counted(len(files), 'file')}: {_summary(counts)}")
    raise typer.Exit(REFUSED if failed else 0)


def _put_lines(findings: Sequence[Finding], *, with_help: bool) -> None:
    for one in findings:
        put(f"{one.place}: {one.code.number} {one.severity} {one.code.slug}: {one.message}")
        if with_help and one.help is not None:
            put(f"    help: {one.help}")


def _documents(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "file": one.place.file,
            "line": one.place.line,
            "column": one.place.column,
            "code": one.code.number,
            "slug": one.code.slug,
            "severity": one.severity,
            "message": one.message,
            "help": one.help,
        }
        for one in findings
    ]


def _summary(counts: Counter[Severity]) -> str:
    words = [counted(counts[one], one) for one in ("error", "warning") if counts[one]]
    return " and ".join(words) or "no errors, no warnings"
