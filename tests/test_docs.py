"""Every YAML, JSON and console block of the documentation does what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcpuppet.demo.folder import write_folder
from mcpuppet.settings import SettingsFile
from mcpuppet.workflow.checks import check
from mcpuppet.workflow.parser import parse_workflow, validate_document
from mcpuppet.workflow.yaml_reader import read_yaml

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A block to run. One with a second word (`yaml example`, `yaml fragment`) is only shown."""
_SHOWN = re.compile(r"^```\w+ +(.*)$", re.MULTILINE)
_TESTED_BY = {
    "checks.md": "tests/workflow/test_examples.py",
    "language.md": "tests/test_language_reference.py",
    "verify.md": "tests/audit/test_verifier.py",
}
"""The tests of pages whose YAML or Python needs more than the block itself."""


def blocks(language: str) -> list[Any]:
    return [
        pytest.param(match[2], id=f"{page.name}-{number}")
        for page in PAGES
        if language not in ("yaml", "python") or page.name not in _TESTED_BY
        for number, match in enumerate(_BLOCK.finditer(page.read_text(encoding="utf-8")))
        if match[1] == language
    ]


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_blocks_are_what_they_show(text: str) -> None:
    if text.startswith("mcpuppet: "):
        findings = check(parse_workflow(text, "block.yaml"))
    else:
        _, findings = validate_document(read_yaml(text, "block.yaml"), SettingsFile)
    assert [str(one) for one in findings] == []


def test_only_pages_with_tests_of_their_own_have_blocks_that_are_only_shown() -> None:
    for page in PAGES:
        tests = _TESTED_BY.get(page.name)
        shown = _SHOWN.findall(page.read_text(encoding="utf-8"))
        assert shown == [] if tests is None else (ROOT / tests).is_file(), page


@pytest.mark.parametrize("text", blocks("json"))
def test_json_blocks_are_json(text: str) -> None:
    assert "mcpServers" in json.loads(text)


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "playground"
    return write_folder(folder).root


def commands(page: Path) -> list[str]:
    """Every line of the console blocks of a page."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [line for match in found if match[1] == "console" for line in match[2].splitlines()]


@pytest.mark.parametrize("page", [one for one in PAGES if commands(one)], ids=lambda one: one.name)
def test_the_console_blocks_of_a_page_run_one_after_the_other(page: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "playground").root
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for line in commands(page):
        command = line.removeprefix("$ ")
        assert command != line, f"not a command: {line}"
        if "venv" in command:
            continue  # installing is what the CI script does, with these very lines
        program, *arguments = command.split()
        assert program == "mcpuppet"
        ran = subprocess.run(
            [sys.executable, "-m", "mcpuppet", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
        if arguments[:2] == ["user", "add"]:  # what a person types where they are asked for it
            environment["MCPUPPET_TOKEN"] = ran.stdout.strip()


@pytest.mark.parametrize("text", blocks("python"))
def test_python_blocks_run(text: str, playground: Path) -> None:
    program = f"{text}\nimport asyncio\nasyncio.run(main())\n"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=playground,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("completed\n")
    report = json.loads(ran.stdout.partition("\n")[2])
    assert [call["decision"] for call in report["calls"]] == ["denied", "allowed", "allowed"]
