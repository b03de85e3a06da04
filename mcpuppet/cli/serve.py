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
    # The settings cost a third of a second of imports that --help should not pay.
    from mcpuppet.cli.config import read_settings  # noqa: PLC0415
    from mcpuppet.gateway.handshake import shake_hands  # noqa: PLC0415
    from mcpuppet.gateway.streams import private_streams  # noqa: PLC0415

    settings = read_settings(config)
    if surface is not None:
        settings = replace(settings, surface=surface)
    with private_streams() as (source, sink):
        handshake = shake_hands(source, sink)
        if handshake is None:
            raise typer.Exit(0)
        # MCP costs a second or more of imports, and the client has its first answer by now.
        import anyio  # noqa: PLC0415

        from mcpuppet.gateway.stdio import serve_stdio  # noqa: PLC0415

        code = anyio.run(partial(serve_stdio, settings, handshake, session_id=session))
    raise typer.Exit(code)
