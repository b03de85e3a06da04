"""`mcpuppet init`: what it writes works at once, and nothing is ever overwritten."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
import yaml
from jsonschema import Draft202012Validator
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from support.project import Project

from mcpuppet.demo.folder import import_path
from mcpuppet.workflow.language_schema import language_schema

WRITTEN = ("mcpuppet.yaml", "workflows/first_workflow.yaml", ".mcpuppet/workflow.v1.json")


@pytest.fixture
def begun(project: Project) -> Path:
    """A folder that `mcpuppet init` has filled."""
    result = project.run("init", "new")
    assert result.exit_code == 0, result.stderr
    return project.folder / "new"


@pytest.fixture
def silence() -> Iterator[TextIO]:
    """Where a process may write what nobody reads."""
    with Path(os.devnull).open("w") as sink:
        yield sink


def test_it_writes_three_files_and_says_what_to_try_next(project: Project) -> None:
    result = project.run("init", "new")
    assert result.stdout.splitlines() == [str(Path("new", place)) for place in WRITTEN]
    assert all((project.folder / "new" / place).is_file() for place in WRITTEN)
    words = result.stderr
    assert words.startswith("Next, try:\n  cd new\n")
    assert words.count("  mcpuppet ") == 3
    assert f"mcpuppet serve --config {project.folder / 'new' / 'mcpuppet.yaml'}" in words


def test_it_begins_in_the_current_folder_too(project: Project) -> None:
    (project.folder / "mcpuppet.yaml").unlink()
    result = project.run("init")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(Path(place)) for place in WRITTEN]
    assert "cd " not in result.stderr


@pytest.mark.parametrize("place", WRITTEN[:2])
def test_an_existing_file_is_never_overwritten(project: Project, place: str) -> None:
    existing = project.folder / "new" / place
    existing.parent.mkdir(parents=True)
    existing.write_text("mine")
    result = project.run("init", "new")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"nothing was written, as there is already: {Path('new', place)}" in result.stderr
    assert existing.read_text() == "mine"
    files = [one for one in (project.folder / "new").rglob("*") if one.is_file()]
    assert files == [existing]


def test_a_schema_that_is_there_is_left_alone(project: Project) -> None:
    project.run("schema", "--install")
    (project.folder / "mcpuppet.yaml").unlink()
    result = project.run("init")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(Path(place)) for place in WRITTEN[:2]]


def test_a_folder_that_cannot_be_made_is_a_sentence(project: Project) -> None:
    (project.folder / "file").write_text("")
    result = project.run("init", "file/new")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: cannot write file/new")


def test_the_result_has_neither_errors_nor_warnings(
    project: Project, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(begun)
    for arguments in (("--strict",), ("--strict", "-c", "mcpuppet.yaml")):
        result = project.run("validate", *arguments)
        assert (result.exit_code, result.stdout) == (0, ""), result.stdout


def test_the_workflow_begins_with_the_line_for_editors(begun: Path) -> None:
    text = (begun / WRITTEN[1]).read_text()
    assert text.startswith("# yaml-language-server: $schema=../.mcpuppet/workflow.v1.json\n")
    Draft202012Validator(language_schema()).validate(yaml.safe_load(text))


@pytest.mark.anyio
async def test_a_client_of_it_is_allowed_the_first_step_and_refused_the_last(
    begun: Path, silence: TextIO
) -> None:
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcpuppet", "serve", "--config", str(begun / "mcpuppet.yaml")],
        env={"PATH": os.environ["PATH"], **import_path()},
        cwd=begun,
    )
    customer = {"name": "Ada Field", "email": "ada@example.com"}
    async with Client(stdio_client(parameters, errlog=silence), mode="legacy") as client:
        started = await client.call_tool(
            "workflow_start", {"workflow": "first_workflow", "inputs": customer}
        )
        assert not started.is_error, words_of(started)
        refused = await client.call_tool("create_account", customer)
        assert refused.is_error
        assert "Legal now: " in words_of(refused)
        allowed = await client.call_tool("validate_customer", customer)
        assert not allowed.is_error, words_of(allowed)
        opened = await client.call_tool("create_account", customer)
        assert not opened.is_error, words_of(opened)
    assert (begun / "state").is_dir()


def words_of(result: Any) -> str:
    return " ".join(one.text for one in result.content if one.type == "text")


def test_no_setting_promises_a_run_that_would_need_inputs(begun: Path) -> None:
    assert "default_workflow" not in yaml.safe_load((begun / "mcpuppet.yaml").read_text())
