"""`mcpuppet serve`: the gateway, speaking MCP on its standard input and output."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption


def serve(
    config: ConfigOption = DEFAULT_CONFIG,
    session: Annotated[
        str | None,
        typer.Option(help="Go on with this session; else `workflow_start` begins a new one."),
    ] = None,
    surface: Annotated[
        Literal["auto", "dynamic", "stable"] | None,
        typer.Option(help="How tools are listed.", show_default="as in the settings"),
    ] = None,
) -> None:
    """Be the MCP server of one client, on stdin and stdout."""
    # MCP costs a second of imports that no other command needs.
    import anyio  # noqa: PLC0415

    from mcpuppet.cli.config import read_settings  # noqa: PLC0415
    from mcpuppet.gateway.stdio import serve_stdio  # noqa: PLC0415

    settings = read_settings(config)
    if surface is not None:
        settings = replace(settings, surface=surface)
    raise typer.Exit(anyio.run(partial(serve_stdio, settings, session_id=session)))
