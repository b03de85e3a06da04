"""`mcpuppet version`."""

from __future__ import annotations

from mcpuppet import __version__
from mcpuppet.cli.output import put


def version() -> None:
    """Print the version."""
    put(f"mcpuppet {__version__}")
