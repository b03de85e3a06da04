"""Where the command line ends: errors become one sentence and an exit code, help gets its groups.

Exit codes: 0 fine; 1 findings, refused, or a broken audit chain; 2 usage or unreadable input;
4 timed out waiting; 130 interrupted. Knows no command.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from mcpuppet.cli.output import say
from mcpuppet.errors import AuditError, InvalidWorkflowError, MCPuppetError, NotAuthorisedError

REFUSED = 1
UNUSABLE = 2
TIMED_OUT = 4


class NotDecidedError(MCPuppetError):
    """A person's command was given up before anything was recorded."""


class CommandGroup(TyperGroup):
    """The commands of `mcpuppet`: no error that we raise on purpose leaves it as a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MCPuppetError as error:
            say_error(error)
            raise typer.Exit(exit_code(error)) from None

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's signature
        """List the commands by panel. Typer's own panels cost a quarter of a second of imports."""
        shown = [one for one in self.commands.values() if not one.hidden]
        width = max(len(one.name or "") for one in shown)
        for panel in dict.fromkeys(_panel(one) for one in shown):
            rows = [
                (
                    (one.name or "").ljust(width),
                    one.get_short_help_str(formatter.width - width - 6),
                )
                for one in shown
                if _panel(one) == panel
            ]
            with formatter.section(panel):
                formatter.write_dl(rows)


def _panel(command: Any) -> str:
    panel = getattr(command, "rich_help_panel", None)
    return panel if isinstance(panel, str) else "Commands"


def say_error(error: MCPuppetError) -> None:
    """Say on stderr what went wrong; findings come one by one, the sentence last."""
    if not isinstance(error, InvalidWorkflowError):
        say(f"error: {error}")
        return
    for finding in error.findings:
        say(*str(finding).split("\n"))
    count = len(error.findings)
    say(f"error: {count} {'finding has' if count == 1 else 'findings have'} to be fixed first")


def exit_code(error: MCPuppetError) -> int:
    """The exit code that tells a script which kind of error this was."""
    refused = isinstance(error, (NotAuthorisedError, NotDecidedError, AuditError))
    return REFUSED if refused else UNUSABLE
