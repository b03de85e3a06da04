"""How long it takes to draw workflows of 7 to 1,000 steps.

Run it: `python benchmarks/diagrams.py`. Prints one line for each: how long the DOT text takes, and
the SVG with it. With `--keep FOLDER` the pictures are written there as well, to be looked at.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.diagram import picture, to_dot
from mcpuppet.workflow.parser import parse_workflow

HEAD = """mcpuppet: 1
workflow: {name}
version: 1.0.0
title: {name}
roles: [agent, boss]
inputs: {{amount: {{type: number}}}}
policies:
  - {{id: cap, call: "bank.t_*", at_most: 3, per: 1d}}
steps:
"""


def wide(steps: int, width: int) -> str:
    """Lanes side by side that meet in every fifth row, with guards, approvals and undo calls."""
    rows = (_row(number, width) for number in range(steps // width))
    return HEAD.format(name=f"wide_{steps}") + "\n".join(line for row in rows for line in row)


def _row(row: int, width: int) -> Iterator[str]:
    for lane in range(width):
        needs = "" if row == 0 else f", needs: s{row - 1}_{lane}"
        if row and row % 5 == 0:
            needs = f", needs: [{', '.join(f's{row - 1}_{one}' for one in range(width))}]"
        yield f"  s{row}_{lane}: {{{_kind(row, lane)}{needs}}}"


def _kind(row: int, lane: int) -> str:
    match (row + 2 * lane) % 10:
        case 3 if row % 5:
            return "approval: {roles: [boss], timeout: 4h}"
        case 5 if row % 5 not in (0, 4):
            return f"tool: bank.t_{row}_{lane}, optional: true, when: inputs.amount > {row}"
        case 7:
            return f"tool: bank.t_{row}_{lane}, compensate: {{tool: bank.undo_{row}_{lane}}}"
        case _:
            return f"tool: bank.s_{row}_{lane}, timeout: 30s, retry: {{attempts: 3}}"


def deep(steps: int) -> str:
    """One long chain."""
    lines = (
        f"  s{number}: {{tool: bank.t_{number}{f', needs: s{number - 1}' if number else ''}}}"
        for number in range(steps)
    )
    return HEAD.format(name=f"deep_{steps}") + "\n".join(lines)


def defined(text: str) -> WorkflowDefinition:
    """The workflow of a text in which nothing is wrong."""
    definition = parse_workflow(text, "generated").definition
    assert isinstance(definition, WorkflowDefinition)
    return definition


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--keep", type=Path, help="folder for the pictures")
    keep = arguments.parse_args().keep
    texts = [
        Path("workflows/emergency_response.yaml").read_text(),
        *(wide(50, 5), wide(200, 10), wide(1_000, 10)),
        *(deep(50), deep(200), deep(1_000)),
    ]
    for text in texts:
        definition = defined(text)
        start = time.perf_counter()
        to_dot(definition)
        dotted = time.perf_counter()
        svg = picture(definition, "svg", theme="auto")
        drawn = time.perf_counter()
        print(
            f"{definition.workflow:20} {len(definition.steps):5} steps  DOT {dotted - start:6.2f} s"
            f"  SVG {drawn - dotted:6.2f} s  {len(svg) / 1024:7.0f} KiB"
        )
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{definition.workflow}.png").write_bytes(picture(definition, "png"))


if __name__ == "__main__":
    main()
