"""The command line: assembles the commands, one module each, into `mcpuppet`.

`mcpuppet --help` has to be quick, so a command's module imports what is slow inside its function.
"""

from __future__ import annotations

import io
import sys

import typer

from mcpuppet.cli.approvals import approvals
from mcpuppet.cli.approve import approve
from mcpuppet.cli.audit import audit
from mcpuppet.cli.cancel import cancel
from mcpuppet.cli.demo import demo
from mcpuppet.cli.deny import deny
from mcpuppet.cli.edge import UNUSABLE, CommandGroup
from mcpuppet.cli.explain import explain
from mcpuppet.cli.init import init
from mcpuppet.cli.output import say
from mcpuppet.cli.pin import pin
from mcpuppet.cli.render import render
from mcpuppet.cli.reopen import reopen
from mcpuppet.cli.report import report
from mcpuppet.cli.resolve import resolve
from mcpuppet.cli.review import review, reviews
from mcpuppet.cli.schema import schema
from mcpuppet.cli.serve import serve
from mcpuppet.cli.sessions import sessions
from mcpuppet.cli.show import show
from mcpuppet.cli.user import user
from mcpuppet.cli.validate import validate
from mcpuppet.cli.version import version

__all__ = ["app", "main"]

app = typer.Typer(
    name="mcpuppet",
    cls=CommandGroup,
    help="A governance gateway for MCP: workflows decide which tools an AI may call now.",
    epilog=(
        "Exit codes, where a command names no others: 0 fine; 1 refused, or findings; 2 wrong use, "
        "or input that cannot be used; 4 timed out waiting; 130 interrupted."
    ),
    no_args_is_help=True,
    # Plain help and errors: Rich's cost a quarter of a second, and show text unescaped.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

for _panel, _commands in {
    "Start here": (demo, init),
    "Workflows": (validate, explain, render, pin, schema),
    "Gateway": (serve, sessions, show),
    "People": (approvals, approve, deny, reviews, review, cancel, resolve, reopen),
    "Audit": (report,),
    "Other": (version,),
}.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)
app.add_typer(user, name="user", rich_help_panel="People")
app.add_typer(audit, name="audit", rich_help_panel="Audit")


def main() -> None:
    """Run `mcpuppet` with the arguments of the process; never returns."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal or pipe that cannot show a character must not end a command halfway.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="mcpuppet")
    except OSError as error:  # of our own writing: commands make sentences of all others
        say(f"error: the output cannot be written: {error.strerror or error}")
        sys.exit(UNUSABLE)
