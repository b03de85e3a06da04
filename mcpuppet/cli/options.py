"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_CONFIG = Path("mcpuppet.yaml")

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="MCPUPPET_CONFIG", help="The settings file."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help="File with your token, readable by you alone. Else MCPUPPET_TOKEN, else a prompt.",
    ),
]
