"""How the demo looks: labelled lines that wrap under themselves, in colour where there is any.

Knows nothing of how the lines come about. Every meaning is in a word, never in a colour alone, and
foreign text is printed as it is: nothing in it is read as markup.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from mcpuppet.cli.text import plain
from mcpuppet.views import SessionView, StepView

_LABEL_WIDTH: Final = 10
_STYLES: Final = {
    "watch": "bold magenta",
    "AI": "bold cyan",
    "allowed": "bold green",
    "replayed": "bold green",
    "REFUSED": "bold red",
    "waiting": "bold yellow",
    "failed": "bold red",
    "person": "bold magenta",
    "attacker": "bold red",
    "checked": "green",
    "BROKEN": "bold red",
    "intact": "bold green",
}
_STEP_STYLES: Final = {
    "success": "green",
    "approved": "green",
    "legal": "bold cyan",
    "running": "cyan",
    "awaiting_approval": "yellow",
    "failure": "red",
    "held": "red",
    "rejected": "red",
}


class Narrator:
    """Prints the demo, line by line."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def opening(self, folder: str) -> None:
        """What this is, and where it happens."""
        self.tell(
            "MCPuppet stands between an AI and the tools it may use. In this demo the AI is a "
            "script; everything else is real: the gateway is `mcpuppet serve`, behind it are up to "
            "eight MCP servers, people decide with the `mcpuppet` command, and all of it is on "
            "record."
        )
        self.line("folder", folder)

    def scene(self, number: int, count: int, name: str, headline: str) -> None:
        """The heading of a scene."""
        self.heading(f"{number}/{count}  {name}")
        self.console.print(Text(headline, "bold"))

    def heading(self, text: str) -> None:
        """A heading that is no scene's."""
        self.console.print()
        self.console.print(Rule(Text(text, "bold"), align="left"))

    def command(self, text: str) -> None:
        """Something to copy: as long as it is, without a line break of ours."""
        self.console.print(Text(text, "cyan"), soft_wrap=True)

    def tell(self, text: str) -> None:
        """A paragraph."""
        self.console.print(Text(text))
        self.console.print()

    def line(self, label: str, text: str | Text) -> None:
        """A line of its own, whose text wraps beside its label."""
        self.console.print(labelled(label, text))

    def lines(self, label: str, texts: Iterable[str | Text]) -> None:
        """Lines that share the label of the first."""
        for text in texts:
            self.line(label, text)
            label = ""

    def asks(self, tool: str, arguments: Mapping[str, Any]) -> None:
        """The AI asks for a tool."""
        self.line("AI", call_text(tool, arguments))

    def state(self, view: SessionView) -> None:
        """Where the session stands: its steps, and what is legal now."""
        self.line("steps", steps_text(view.steps))
        self.line("legal", legal_text(view))

    def awaits_key(self) -> None:
        """A key press is awaited."""
        self.console.print(Text("           [any key goes on, Ctrl-C ends]", "dim"))

    def gap(self) -> None:
        """An empty line."""
        self.console.print()


def labelled(label: str, content: RenderableType) -> Table:
    """A label, and what wraps beside it."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=_LABEL_WIDTH, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(label, _STYLES.get(label, "bold")), content)
    return grid


def call_text(tool: str, arguments: Mapping[str, Any]) -> Text:
    """A call as a person would write it down."""
    return Text.assemble((tool, "bold"), "(", values_text(arguments), ")")


def values_text(values: Mapping[str, Any]) -> Text:
    """Named JSON values on one line."""
    return plain(
        ", ".join(
            f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items()
        )
    )


def steps_text(steps: Iterable[StepView]) -> Text:
    """Every step with its status, on one line."""
    parts = (
        Text.assemble(
            f"{one.id} ", (one.status.replace("_", " "), _STEP_STYLES.get(one.status, ""))
        )
        for one in steps
    )
    return Text(", ").join(parts)


def legal_text(view: SessionView) -> Text:
    """The calls that are legal now, or why there are none."""
    names = list(dict.fromkeys(one.tool for one in view.legal))
    if names:
        return Text(", ").join(Text(name, "bold cyan") for name in names)
    return Text(f"nothing: the run is {view.status.replace('_', ' ')}")


def board(view: SessionView, counters: Mapping[str, int], recent: Iterable[str]) -> Group:
    """The whole picture of a run, as the live view of the monitoring scene draws it."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("step", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("tool", overflow="fold")
    for one in view.steps:
        status = Text(one.status.replace("_", " "), _STEP_STYLES.get(one.status, ""))
        table.add_row(one.id, status, ", ".join(one.tools))
    counted = "   ".join(f"{name} {number}" for name, number in counters.items())
    return Group(
        labelled("run", f"{view.workflow} is {view.status.replace('_', ' ')}"),
        labelled("", table),
        labelled("legal", legal_text(view)),
        labelled("counters", counted),
        labelled("recent", Text("\n").join(Text(one) for one in recent)),
    )
