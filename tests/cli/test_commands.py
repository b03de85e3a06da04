"""What holds for every command: help, settings, errors and exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.project import Project

from mcpuppet import __version__

LOOKING = [
    ("sessions",),
    ("sessions", "--would-deny"),
    ("show", "ses_1"),
    ("approvals",),
    ("user", "list"),
    ("audit", "verify"),
    ("report",),
]
DECIDING = [
    ("approve", "apr_1", "--yes"),
    ("deny", "apr_1", "--reason", "no"),
    ("cancel", "ses_1"),
    ("resolve", "call_1", "--happened"),
    ("reopen", "ses_1", "--note", "she said so"),
]


def test_help_groups_the_commands(project: Project) -> None:
    result = project.run("--help")
    assert result.exit_code == 0
    places = [
        result.stdout.index(f"{name}:") for name in ("Workflows", "Gateway", "People", "Audit")
    ]
    assert places == sorted(places)
    assert all(line == line.rstrip() or "  " in line for line in result.stdout.splitlines())
    assert "..." not in result.stdout.partition("Workflows:")[2]


def test_the_version_is_told(project: Project) -> None:
    assert project.run("version").stdout == f"mcpuppet {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [*LOOKING, *DECIDING, ("user", "add", "ann", "--role", "x"), ("serve",)]
)
def test_settings_that_are_not_there_are_said_in_a_sentence(
    project: Project, arguments: tuple[str, ...]
) -> None:
    result = project.run(*arguments, "--config", "gone.yaml", token="mcpp_some")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: there is no settings file gone.yaml; --config names another\n"


@pytest.mark.parametrize(
    "arguments", [("sessions",), ("serve",), ("user", "add", "a", "--role", "x")]
)
def test_mistakes_in_the_settings_come_with_their_places(
    project: Project, arguments: tuple[str, ...]
) -> None:
    (project.folder / "mcpuppet.yaml").write_text("stor: here.db\nsurface: pretty\n")
    result = project.run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "mcpuppet.yaml:1:1: WF103 error unknown-key" in result.stderr
    assert "mcpuppet.yaml:2:10: WF104 error" in result.stderr
    assert result.stderr.endswith("error: 2 findings have to be fixed first\n")


@pytest.mark.parametrize("arguments", [*LOOKING, *DECIDING])
def test_looking_makes_no_store(project: Project, arguments: tuple[str, ...]) -> None:
    result = project.run(*arguments, token="mcpp_some")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no store" in result.stderr
    assert not project.store.exists()


def test_the_environment_names_the_settings(project: Project) -> None:
    (project.folder / "mcpuppet.yaml").rename(project.folder / "other.yaml")
    project.run("user", "add", "ann", "--role", "boss", MCPUPPET_CONFIG="other.yaml")
    assert project.store.exists()


def test_a_store_that_is_none_is_said_in_a_sentence(project: Project) -> None:
    project.store.write_bytes(b"this is no database" * 100)
    for arguments in LOOKING:
        result = project.run(*arguments)
        assert result.exit_code == 2, arguments
        assert result.stderr.startswith("error: ")
        assert "Traceback" not in result.stderr


def test_wrong_usage_exits_with_two(project: Project) -> None:
    for arguments in (
        ("nonsense",),
        ("show",),
        ("sessions", "--limit", "0"),
        ("validate", "-f", "x"),
    ):
        assert project.run(*arguments).exit_code == 2


def test_people_decide_without_importing_mcp(project: Project) -> None:
    code = "import sys, mcpuppet.cli.deciding, mcpuppet.cli.reporting; print('mcp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_help_imports_none_of_the_engine(project: Project) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from mcpuppet.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "heavy = {'mcp', 'networkx', 'transitions', 'apsw', 'yaml', 'mcpuppet.app'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
