"""What is told of a finding code, as text for a terminal and as the reference page in Markdown.

The page is made by `mcpuppet explain --markdown`; a test holds `docs/checks.md` to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

from mcpuppet.cli.finding_codes import GROUPS, ExampleFile, Examples, all_codes, examples_of
from mcpuppet.workflow.findings import Code

_NEVER_IGNORED = "It cannot be ignored."
_LANGUAGES = {".yaml": "yaml", ".json": "json", ".lock": "json"}
_SENTENCES = {
    "fails": "This fails",
    "passes": "This passes",
    "checked with": "Both are checked with this",
}
_INTRODUCTION = """\
# Checks

<!-- This page is made by `mcpuppet explain --markdown > docs/checks.md`. -->

`mcpuppet validate` reads workflow files and reports what it finds, each with a code, a place and
what would have been accepted. `mcpuppet explain WF405` shows the section of one code.

The first digit of a code says what it is about:

{groups}

An **error** keeps a workflow from being loaded. A **warning** does not, except with
`validate --strict`.

## Ignoring a finding

A comment on the line of the finding, or on a line of its own directly above, drops it. The reason
is required, and becomes part of the recorded text of the workflow:

```yaml fragment
policies:
  # mcpuppet: ignore[WF511] the reports are connected next month
  - {{id: nightly, call: "reports.*", at_most: 1, per: run}}
```

Several codes are written `ignore[WF405, WF511] reason`. Codes that the gateway itself relies on
cannot be ignored; their sections say so. A comment that drops nothing, names no such code or gives
no reason is a finding of its own (WF113, WF114, WF115).

## In continuous integration

`mcpuppet validate` ends with exit code 1 when there is an error, or with `--strict` a warning, and
with 2 when a file cannot be read. `--format` chooses what it writes: `full` (the default) and
`concise` are for people, `json` for programs, `github` for annotations of a pull request (chosen by
itself inside GitHub Actions), `sarif` for code scanning and `junit` for build servers. For
[pre-commit](https://pre-commit.com) there are the hooks `mcpuppet-validate` and `mcpuppet-render`.

## All codes

| code | name | severity | what is found |
|---|---|---|---|
{rows}
"""


def listed(codes: tuple[Code, ...]) -> Iterator[str]:
    """A line for each code."""
    width = max(len(one.slug) for one in codes)
    for one in codes:
        yield f"{one.number}  {one.severity:<7}  {one.slug:<{width}}  {one.about}"


def page(code: Code, examples: Examples) -> Iterator[str]:
    """Everything that is told of one code, line by line."""
    yield f"{code.number} {code.slug} ({code.severity})"
    yield ""
    yield code.about
    yield f"help: {code.help}"
    if not code.can_be_ignored:
        yield _NEVER_IGNORED
    for title, file in _titled(examples):
        yield ""
        yield f"--- {title}: {file.name}"
        yield from file.text.splitlines()


def described(code: Code) -> dict[str, Any]:
    """A code as a JSON object."""
    return {
        "code": code.number,
        "slug": code.slug,
        "severity": code.severity,
        "about": code.about,
        "help": code.help,
        "can_be_ignored": code.can_be_ignored,
    }


def shown(examples: Examples) -> dict[str, dict[str, str]]:
    """The texts of all example files by name, as JSON."""
    return {
        "fails": {file.name: file.text for file in examples.fails},
        "passes": {file.name: file.text for file in examples.passes},
        "checked_with": {file.name: file.text for file in examples.beside},
    }


def _titled(examples: Examples) -> Iterator[tuple[str, ExampleFile]]:
    for file in examples.fails:
        yield "fails", file
    for file in examples.passes:
        yield "passes", file
    for file in examples.beside:
        yield "checked with", file


def markdown() -> Iterator[str]:
    """The reference page of all codes, line by line."""
    codes = all_codes()
    groups = "\n".join(f"- WF{digit}xx: {name}" for digit, name in _used_groups(codes))
    rows = "\n".join(
        f"| [{one.number}](#{_anchor(one)}) | {one.slug} | {one.severity} | {_cell(one.about)} |"
        for one in codes
    )
    yield from _INTRODUCTION.format(groups=groups, rows=rows).splitlines()
    for digit, of_group in groupby(codes, key=lambda one: one.number[2]):
        yield ""
        yield f"## {GROUPS[digit]}"
        for code in of_group:
            yield from _section(code, examples_of(code))


def _used_groups(codes: tuple[Code, ...]) -> Iterator[tuple[str, str]]:
    used = {one.number[2] for one in codes}
    return ((digit, name) for digit, name in GROUPS.items() if digit in used)


def _section(code: Code, examples: Examples) -> Iterator[str]:
    yield ""
    yield f"### {code.number} {code.slug}"
    yield ""
    yield f"**{code.severity.capitalize()}.** {code.about}"
    yield ""
    yield f"What to do: {code.help}.{'' if code.can_be_ignored else f' {_NEVER_IGNORED}'}"
    for title, file in _titled(examples):
        yield ""
        is_alone = file.name in ("fails.yaml", "passes.yaml")
        yield f"{_SENTENCES[title]}:" if is_alone else f"{_SENTENCES[title]} (`{file.name}`):"
        yield ""
        yield f"```{_language(file)} example"
        yield from file.text.rstrip("\n").splitlines()
        yield "```"


def _language(file: ExampleFile) -> str:
    """The language of a block; the word behind it tells tests of the pages what the block is."""
    return _LANGUAGES.get(PurePosixPath(file.name).suffix, "text")


def _anchor(code: Code) -> str:
    return f"{code.number.lower()}-{code.slug}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
