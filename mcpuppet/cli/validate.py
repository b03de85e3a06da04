"""`mcpuppet validate`: everything that is wrong with workflow files.

Findings go to stdout, the summary to stderr. Files are enough; with settings they are compared with
what servers offer and people hold as well.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mcpuppet.cli.edge import REFUSED
from mcpuppet.cli.options import JsonOption
from mcpuppet.cli.output import counted, put, put_json, say
from mcpuppet.workflow.findings import Finding, Severity

if TYPE_CHECKING:
    from mcpuppet.settings import Settings
    from mcpuppet.workflow.checks import Outside

Format = Literal["full", "concise", "json", "github", "sarif", "junit"]
_WIDEST = 100


def validate(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Workflow files, or folders of them.", show_default="workflows/"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="Check against the servers, pinned tools and people of this too."
        ),
    ] = None,
    servers: Annotated[
        bool,
        typer.Option("--servers", help="Start the servers of --config, and check what they offer."),
    ] = False,
    output: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            help="concise is one line for each finding.",
            show_default="full; github inside GitHub Actions",
        ),
    ] = None,
    as_json: JsonOption = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
) -> None:
    """Check workflow files and list every finding, with its place.

    `# mcpuppet: ignore[CODE] reason` on the line of a finding, or alone above it, drops it.
    `mcpuppet explain CODE` says more of a code.

    Exit codes: 0 fine; 1 there are errors, or warnings with --strict, or a server of --servers did
    not answer; 2 a path cannot be read.
    """
    around = _around(config, start=servers)
    checked = _checked(paths or [Path("workflows")], around)
    counts = Counter(one.severity for one in checked.findings)
    failing: frozenset[Severity] = frozenset({"error", "warning"} if strict else {"error"})
    failed = any(counts[one] for one in failing) or bool(around.problems)
    _put(checked, "json" if as_json else output or _usual_format(), failing, ok=not failed)
    ignored = len(checked.ignored)
    more = f"; {counted(ignored, 'finding')} ignored" if ignored else ""
    say(f"{counted(len(checked.files), 'file')}: {_summary(counts)}{more}")
    raise typer.Exit(REFUSED if failed else 0)


@dataclass(frozen=True, slots=True)
class _Checked:
    """What was found in `files`. `texts` has the lines of these and of those they use, by name."""

    files: Sequence[str]
    texts: Mapping[str, Sequence[str]]
    findings: Sequence[Finding]
    ignored: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class _Around:
    """What is known beyond the files, and which servers would not say."""

    settings: Settings | None
    outside: Outside
    problems: Sequence[str] = ()


def _around(config: Path | None, *, start: bool) -> _Around:
    # Reading workflows costs a second of imports that other commands and --help should not pay.
    from mcpuppet.cli.config import read_settings  # noqa: PLC0415
    from mcpuppet.lockfile import lock_path, read_lock  # noqa: PLC0415
    from mcpuppet.workflow.checks import Outside  # noqa: PLC0415

    if config is None and not start:
        return _Around(None, Outside())
    config = config or Path("mcpuppet.yaml")
    settings = read_settings(config)
    lock = read_lock(lock_path(config))
    pinned = None if lock is None else lock.tools
    names = frozenset(one.name for one in settings.servers)
    outside = Outside(names, pinned, asyncio.run(_people(settings)))
    if not start:
        return _Around(settings, outside)
    from mcpuppet.server_tools import listed_tools  # noqa: PLC0415 - the MCP SDK

    listed = asyncio.run(listed_tools(settings))
    for problem in (*listed.errors, *listed.left_out):
        say(problem)
    live = replace(outside, tools=listed.tools, pinned=pinned, answered=listed.answered)
    return _Around(settings, live, listed.errors)


async def _people(settings: Settings) -> Mapping[str, int] | None:
    """How many people hold each role; None while there is no store that could know."""
    from mcpuppet.app import open_desk  # noqa: PLC0415 - the store

    if not settings.store.exists():
        return None
    async with open_desk(settings) as desk:
        users = await desk.store.users()
    if not users:  # nobody has been added yet, as after `init`
        return None
    return Counter(role for user in users if not user.disabled for role in user.roles)


def _checked(paths: list[Path], around: _Around) -> _Checked:
    from mcpuppet.library import (  # noqa: PLC0415 - as above
        check_files,
        names_in,
        require_names,
        shared_tools,
    )

    files = check_files(paths, around.outside)
    findings = [one for file in files for one in file.findings]
    if around.settings is not None:
        # Only some of the configured files may be asked about: names count that any of them has.
        require_names(around.settings, *names_in(around.settings.workflows))
        findings.extend(shared_tools(around.settings, files))
    texts = {name: text for file in files for name, text in file.parsed.texts.items()}
    return _Checked(
        [str(file.path) for file in files],
        {name: tuple(text.splitlines()) for name, text in texts.items()},
        # What is in a file that several others use is found with each of them.
        list(dict.fromkeys(findings)),
        list(dict.fromkeys(one for file in files for one in file.ignored)),
    )


def _usual_format() -> Format:
    return "github" if os.environ.get("GITHUB_ACTIONS") == "true" else "full"


def _put(checked: _Checked, output: Format, failing: frozenset[Severity], *, ok: bool) -> None:
    match output:
        case "json":
            put_json(_document(checked, ok=ok))
        case "github":
            _put_github(checked.findings)
        case "sarif":
            _put_sarif(checked)
        case "junit":
            _put_junit(checked, failing)
        case _:
            _put_pages(checked, with_source=output == "full")


def _put_pages(checked: _Checked, *, with_source: bool) -> None:
    from mcpuppet.cli.finding_lines import concise, full, show  # noqa: PLC0415 - Rich

    for one in checked.findings:
        show(full(one, checked.texts, _width()) if with_source else concise(one))


def _width() -> int:
    """How many cells a line of a file may take: what a terminal has beside the line numbers."""
    if not sys.stdout.isatty():
        return _WIDEST
    return min(_WIDEST, max(20, shutil.get_terminal_size().columns - 10))


def _put_github(findings: Sequence[Finding]) -> None:
    from mcpuppet.cli.finding_github import github  # noqa: PLC0415 - only this format needs it

    put(*(github(one, os.environ.get("GITHUB_WORKSPACE")) for one in findings))


def _put_sarif(checked: _Checked) -> None:
    from mcpuppet import __version__  # noqa: PLC0415 - only this format needs these
    from mcpuppet.cli.finding_codes import all_codes  # noqa: PLC0415
    from mcpuppet.cli.finding_sarif import sarif  # noqa: PLC0415

    put_json(sarif(checked.findings, all_codes(), checked.texts, __version__))


def _put_junit(checked: _Checked, failing: frozenset[Severity]) -> None:
    from mcpuppet.cli.finding_junit import junit  # noqa: PLC0415 - only this format needs it

    by_file: dict[str, list[Finding]] = {file: [] for file in checked.files}
    for one in checked.findings:
        by_file.setdefault(one.place.file, []).append(one)
    put(*junit(by_file, failing).splitlines())


def _document(checked: _Checked, *, ok: bool) -> dict[str, Any]:
    return {
        "ok": ok,
        "files": len(checked.files),
        "ignored": dict(sorted(Counter(one.code.number for one in checked.ignored).items())),
        "findings": [
            {
                "file": one.place.file,
                "line": one.place.line,
                "column": one.place.column,
                "code": one.code.number,
                "slug": one.code.slug,
                "severity": one.severity,
                "message": one.message,
                "help": one.help,
                "trace": one.trace,
            }
            for one in checked.findings
        ],
    }


def _summary(counts: Counter[Severity]) -> str:
    words = [counted(counts[one], one) for one in ("error", "warning", "info") if counts[one]]
    return " and ".join(words) or "no errors, no warnings"
