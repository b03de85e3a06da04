"""Where a person's token may come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpuppet.cli.token_source import read_token
from mcpuppet.errors import InvalidInputError, NotAuthorisedError


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MCPUPPET_TOKEN", raising=False)


def token_file(folder: Path, mode: int, text: str = "mcpp_file\n") -> Path:
    file = folder / "token"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_the_environment_gives_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCPUPPET_TOKEN", " mcpp_environment\n")
    assert read_token(None) == "mcpp_environment"


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_gives_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    monkeypatch.setenv("MCPUPPET_TOKEN", "mcpp_environment")
    assert read_token(token_file(tmp_path, mode)) == "mcpp_file"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o601])
def test_a_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(NotAuthorisedError, match=f"mode {mode:04o}.*chmod 600"):
        read_token(token_file(tmp_path, mode))


def test_a_link_to_a_file_that_others_can_use_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(token_file(tmp_path, 0o644))
    with pytest.raises(NotAuthorisedError):
        read_token(link)


def test_a_file_that_cannot_be_read_is_no_token(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InvalidInputError, match="cannot read"):
            read_token(path)


def test_an_empty_file_does_not_fall_back_to_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCPUPPET_TOKEN", "mcpp_environment")
    with pytest.raises(NotAuthorisedError, match="needs a person's token"):
        read_token(token_file(tmp_path, 0o600, "\n"))


def test_without_any_source_nobody_decides() -> None:
    with pytest.raises(NotAuthorisedError, match="MCPUPPET_TOKEN"):
        read_token(None)
