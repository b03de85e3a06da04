"""The hooks for pre-commit do what they say, on the workflows of this repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from mcpuppet.cli import app

ROOT = Path(__file__).parents[2]
HOOKS: dict[str, dict[str, Any]] = {
    one["id"]: one for one in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
}


def run(hook: dict[str, Any], *files: str) -> int:
    """Run a hook as pre-commit does: in the repository, with the files that changed."""
    program, *arguments = hook["entry"].split()
    assert program == "mcpuppet"
    return CliRunner().invoke(app, [*arguments, *files]).exit_code


def test_each_hook_has_what_pre_commit_asks_for() -> None:
    assert set(HOOKS) == {"mcpuppet-validate", "mcpuppet-render"}
    for hook in HOOKS.values():
        assert {"id", "name", "entry", "language", "files"} <= set(hook)
        assert hook["language"] == "python"


@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS.keys())
def test_a_hook_passes_on_the_shipped_workflows(
    hook: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    files = sorted(one.as_posix() for one in Path("workflows").glob("*.yaml"))
    assert all(re.search(hook["files"], one) for one in files)
    assert run(hook, *(files if hook.get("pass_filenames", True) else ())) == 0


def test_a_hook_fails_on_a_broken_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("workflows").mkdir()
    Path("workflows", "bad.yaml").write_text("mcpuppet: 1\n")
    assert run(HOOKS["mcpuppet-validate"], "workflows/bad.yaml") == 1
    assert run(HOOKS["mcpuppet-render"]) == 1
