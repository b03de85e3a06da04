"""Reads the settings file that `--config` names."""

from __future__ import annotations

from pathlib import Path

from mcpuppet.errors import InvalidInputError
from mcpuppet.settings import Settings, load_settings


def read_settings(config: Path) -> Settings:
    """The settings in force; raises what `load_settings` raises."""
    if not config.exists():
        raise InvalidInputError(f"there is no settings file {config}; --config names another")
    return load_settings(config)
