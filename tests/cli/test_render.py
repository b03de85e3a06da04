"""`mcpuppet render` at the command line: files, messages and exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from mcpuppet.cli.render import render
from mcpuppet.workflow import diagram_engine

GOOD = "mcpuppet: 1\nworkflow: {name}\nversion: 1.0.0\nsteps:\n  only: {{tool: a.b}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder, the current one, with the workflows `first` and `second`."""
    (tmp_path / "workflows").mkdir()
    for name in ("first", "second"):
        (tmp_path / "workflows" / f"{name}.yaml").write_text(GOOD.format(name=name))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(render)
    return CliRunner().invoke(app, arguments)


def test_without_arguments_every_workflow_is_drawn_in_every_format(folder: Path) -> None:
    result = run()
    names = [f"{name}.{end}" for name in ("first", "second") for end in ("svg", "png", "dot")]
    assert result.exit_code == 0
    assert result.stdout.split() == [str(Path("diagrams", name)) for name in names]
    assert result.stderr == ""
    assert {one.name for one in (folder / "diagrams").iterdir()} == set(names)


def test_formats_theme_and_output_can_be_chosen(folder: Path) -> None:
    result = run("workflows/first.yaml", "-f", "dot", "-f", "svg", "--theme", "dark", "-o", "out")
    assert result.exit_code == 0
    assert {one.name for one in (folder / "out").iterdir()} == {"first.dark.dot", "first.dark.svg"}


def test_mermaid_and_pages_have_endings_of_their_own(folder: Path) -> None:
    result = run("workflows/first.yaml", "-f", "mermaid", "-f", "html", "--theme", "light")
    assert result.stdout.split() == [
        str(Path("diagrams", f"first.light.{ending}")) for ending in ("mmd", "html")
    ]
    assert (folder / "diagrams/first.light.mmd").read_text().startswith("flowchart TB")
    assert (folder / "diagrams/first.light.html").read_text().startswith("<!DOCTYPE html>")


def test_the_usual_svg_suits_light_and_dark_pages(folder: Path) -> None:
    run("workflows/first.yaml", "-f", "svg")
    assert "prefers-color-scheme:dark" in (folder / "diagrams/first.svg").read_text()


def test_rules_are_drawn_and_shared_files_are_not(folder: Path) -> None:
    (folder / "workflows/some.yaml").write_text(
        "mcpuppet: 1\nrules: some\nversion: 1.0.0\ntools: {allow: a.b}\n"
    )
    (folder / "workflows/base.yaml").write_text("mcpuppet: 1\nshared: base\nroles: [boss]\n")
    result = run("-f", "dot")
    assert result.exit_code == 0, result.stderr
    names = {one.name for one in (folder / "diagrams").iterdir()}
    assert names == {"first.dot", "second.dot", "some.dot"}
    assert "base.yaml is shared by other files and has no picture" in result.stderr


def test_what_was_just_drawn_is_up_to_date(folder: Path) -> None:
    run()
    run("--theme", "dark")
    assert run("--check").exit_code == 0
    assert run("--check", "--theme", "dark").exit_code == 0


def test_check_lists_stale_missing_and_leftover_pictures_and_writes_nothing(folder: Path) -> None:
    run()
    (folder / "diagrams/first.svg").write_bytes(b"old")
    (folder / "diagrams/second.png").unlink()
    (folder / "diagrams/third.dot").write_bytes(b"")
    result = run("--check")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[:3] == [
        f"stale: {Path('diagrams/first.svg')}",
        f"missing: {Path('diagrams/second.png')}",
        f"leftover: {Path('diagrams/third.dot')}",
    ]
    assert result.stdout == ""
    assert (folder / "diagrams/first.svg").read_bytes() == b"old"
    assert not (folder / "diagrams/second.png").exists()


def test_checking_one_file_leaves_the_pictures_of_others_alone(folder: Path) -> None:
    run()
    assert run("workflows/first.yaml", "--check").exit_code == 0


def test_a_changed_workflow_makes_its_pictures_stale(folder: Path) -> None:
    run("-f", "dot")
    (folder / "workflows/first.yaml").write_text(
        GOOD.format(name="first") + "  more: {tool: a.c}\n"
    )
    result = run("-f", "dot", "--check")
    assert result.exit_code == 1
    assert f"stale: {Path('diagrams/first.dot')}" in result.stderr


def test_a_workflow_with_errors_is_not_drawn_and_the_others_are(folder: Path) -> None:
    (folder / "workflows/bad.yaml").write_text(
        GOOD.format(name="bad") + "  more: {tool: a.c, needs: onyl}\n"
    )
    result = run("-f", "dot")
    assert result.exit_code == 1
    assert "bad.yaml:6:" in result.stderr
    assert "onyl" in result.stderr
    assert {one.name for one in (folder / "diagrams").iterdir()} == {"first.dot", "second.dot"}


def test_the_pictures_of_a_broken_workflow_are_not_called_leftovers(folder: Path) -> None:
    run("-f", "dot")
    (folder / "workflows/second.yaml").write_text("mcpuppet: 1\n")
    result = run("-f", "dot", "--check")
    assert result.exit_code == 1
    assert "leftover" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "nowhere does not exist"),
        (("empty",), "empty holds no workflow"),
        (("workflows", "-o", "workflows/first.yaml"), "is a file"),
    ],
)
def test_what_cannot_be_used_is_said_with_exit_code_2(
    folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    (folder / "empty").mkdir()
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (folder / "diagrams").exists()


def test_an_unknown_format_is_a_usage_error(folder: Path) -> None:
    assert run("-f", "gif").exit_code == 2


def test_dot_can_be_written_where_nothing_can_draw(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagram_engine, "_bundled_engine", lambda: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert run("-f", "dot").exit_code == 0
    result = run("-f", "svg")
    assert result.exit_code == 2
    assert "pip install graphviz-pure" in result.stderr


def test_importing_the_command_imports_nothing_heavy() -> None:
    program = (
        "import sys, mcpuppet.cli.render;"
        "print([n for n in ('networkx', 'graphviz', 'jsonschema', 'yaml') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in ("[]", "['pydantic']")  # typer itself brings pydantic


def test_of_two_workflows_of_one_name_the_second_is_a_finding(folder: Path) -> None:
    (folder / "twice").mkdir()
    for name in ("a.yaml", "b.yml"):
        (folder / "twice" / name).write_text(GOOD.format(name="same"))
    result = run("twice")
    assert result.exit_code == 1
    assert "b.yml:2:11: WF112 error duplicate-workflow" in result.stderr
