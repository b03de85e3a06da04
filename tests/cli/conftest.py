"""Fixtures of the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.project import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with settings and nothing else, in the current folder."""
    (tmp_path / "mcpuppet.yaml").write_text("store: mcpuppet.db\n")
    monkeypatch.chdir(tmp_path)
    for variable in ("MCPUPPET_CONFIG", "MCPUPPET_TOKEN", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)
    return Project(tmp_path)
