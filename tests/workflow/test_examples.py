"""Every finding code has an example that has the finding and one that has not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpuppet.cli.finding_codes import GROUPS, all_codes
from mcpuppet.cli.finding_docs import markdown
from mcpuppet.library import (
    WorkflowFile,
    check_files,
    compile_files,
    compile_rules_files,
    shared_tools,
)
from mcpuppet.lockfile import LOCK_NAME, read_lock
from mcpuppet.settings import load_settings
from mcpuppet.workflow.checks import Outside, check
from mcpuppet.workflow.checks.pins import drifted_tools
from mcpuppet.workflow.checks.subject import Subject
from mcpuppet.workflow.findings import Code, Finding
from mcpuppet.workflow.parser import parse_workflow

ROOT = Path(__file__).parents[2]
EXAMPLES = Path(__file__).parent / "examples"
CODES = {code.number: code for code in all_codes()}
OUTSIDE = ("tools.json", "people.json", LOCK_NAME)
"""What an example is checked with that is not a file of the project itself."""


def findings(code: str, name: str) -> list[Finding]:
    """Everything found in the example `name` of a code."""
    folder = EXAMPLES / code
    if (folder / name).is_dir():
        files, further = in_folder(folder / name)
    else:
        files, further = check_files([folder / f"{name}.yaml"]), []
    return [*further, *(one for file in files for one in in_file(file, folder))]


def in_folder(folder: Path) -> tuple[list[WorkflowFile], list[Finding]]:
    """The files of a project, and what is found of several of them together."""
    settings = folder / "mcpuppet.yaml"
    if not settings.exists():
        return check_files([folder]), []
    known = load_settings(settings)
    servers = frozenset(one.name for one in known.servers) or None
    files = check_files(known.workflows, Outside(servers))
    return files, list(shared_tools(known, files))


def in_file(file: WorkflowFile, folder: Path) -> Iterator[Finding]:
    """What is found in one file, with the tools that servers offer and those that are pinned."""
    tools, people = known_of(folder, "tools"), known_of(folder, "people")
    yield from file.findings
    if tools is not None or people is not None:
        yield from check(file.parsed, tools, people=people)
    lock = read_lock(folder / LOCK_NAME)
    if lock is not None and file.parsed.definition is not None:
        subject = Subject(file.parsed.definition, file.parsed.document, tools)
        yield from drifted_tools(subject, lock.tools)


def known_of(folder: Path, what: str) -> dict[str, Any] | None:
    """The tools of the servers by name, or how many people hold each role."""
    path = folder / f"{what}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def names(codes: Iterable[Code]) -> list[str]:
    return sorted(code.number for code in codes)


def folders() -> list[str]:
    return sorted(one.name for one in EXAMPLES.iterdir())


@pytest.mark.parametrize("code", sorted(CODES))
def test_the_failing_example_has_the_finding(code: str) -> None:
    found = findings(code, "fails")
    assert code in {one.code.number for one in found}
    assert {one.code.number for one in found if one.severity == "error"} <= {code}


@pytest.mark.parametrize("code", sorted(CODES))
def test_the_passing_example_has_neither_the_finding_nor_an_error(code: str) -> None:
    found = findings(code, "passes")
    assert [str(one) for one in found if one.code.number == code or one.severity == "error"] == []


@pytest.mark.parametrize("code", sorted(one for one in CODES if CODES[one].can_be_ignored))
def test_what_may_be_ignored_does_not_keep_a_file_from_being_carried_out(code: str) -> None:
    path = EXAMPLES / code / "fails.yaml"
    if not path.exists():
        pytest.skip("its example is a folder")
    lines = path.read_text(encoding="utf-8").splitlines()
    places = {one.place.line for one in findings(code, "fails") if one.code.number == code}
    for line in sorted(places, reverse=True):
        lines.insert(line - 1, f"# mcpuppet: ignore[{code}] to see what becomes of it")
    parsed = parse_workflow("\n".join(lines), path.name)
    tools, people = known_of(path.parent, "tools"), known_of(path.parent, "people")
    file = WorkflowFile(path, parsed, tuple(check(parsed, tools, people=people)))
    assert code not in {one.code.number for one in file.findings}
    assert file.errors == ()
    if file.definition is not None:
        assert compile_files([file])
    else:
        assert compile_rules_files([file])


def test_every_code_has_examples_and_every_example_a_code() -> None:
    missing = sorted(set(CODES) - set(folders()))
    unknown = sorted(set(folders()) - set(CODES))
    assert not missing, f"codes without a folder under {EXAMPLES.name}/: {', '.join(missing)}"
    assert not unknown, f"folders of no code under {EXAMPLES.name}/: {', '.join(unknown)}"


def test_the_reference_page_is_made_of_the_codes_and_their_examples() -> None:
    page = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8").splitlines()
    told = [line.split()[1] for line in page if line.startswith("### ")]
    missing, unknown = sorted(set(CODES) - set(told)), sorted(set(told) - set(CODES))
    assert not missing, f"docs/checks.md lacks {', '.join(missing)}: {REMAKE}"
    assert not unknown, f"docs/checks.md has {', '.join(unknown)}, which no code is: {REMAKE}"
    stale = [line for line in markdown() if line not in page]
    assert not stale, f"docs/checks.md lacks the line {stale[0]!r}: {REMAKE}"
    assert page == list(markdown()), f"docs/checks.md is out of date: {REMAKE}"


REMAKE = "`mcpuppet explain --markdown > docs/checks.md` makes it anew"


@pytest.mark.parametrize("code", CODES.values(), ids=CODES.keys())
def test_every_code_says_what_is_found_and_what_to_do(code: Code) -> None:
    assert code.about[-1:] == "."
    assert code.about[:1].isupper() or code.about[:1] == "`"
    assert code.help
    assert code.help[-1:] != "."
    assert code.number[2] in GROUPS


@pytest.mark.parametrize("code", CODES.values(), ids=CODES.keys())
def test_codes_that_need_servers_say_so(code: Code) -> None:
    """Else a comment that ignores one would be called unused wherever no server is asked."""
    is_beyond = any((EXAMPLES / code.number / name).exists() for name in OUTSIDE)
    assert code.beyond_file or not code.can_be_ignored or not is_beyond, (
        f"{code.number} needs `beyond_file=True`"
    )


def test_numbers_and_slugs_are_given_once() -> None:
    assert names(CODES.values()) == names(all_codes())
    assert len({code.slug for code in CODES.values()}) == len(CODES)
