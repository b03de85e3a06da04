"""`mcpuppet init`: a folder with settings, a first workflow and the schema for editors.

What it writes works at once, with one of the servers that come with MCPuppet.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from mcpuppet.cli.output import put, say
from mcpuppet.cli.schema import SCHEMA_LINE, SCHEMA_PLACE, schema_text
from mcpuppet.demo.servers import STATE_VARIABLE
from mcpuppet.errors import InvalidInputError

_SETTINGS = """\
# Settings of MCPuppet. Paths are relative to this file.

# The MCP servers behind MCPuppet, written as in the configuration of any MCP client.
# This one comes with MCPuppet: it keeps invented customers in the folder `state`.
servers:
  customer:
    command: {command}
    args: ["-m", "mcpuppet.demo.servers.customer"]
    cwd: .
    env:
{env}

# What an AI may do: every YAML file in these folders.
workflows: [workflows]

# Where sessions and their audit trail are kept.
store: mcpuppet.db

# Who calls. A client that `mcpuppet serve` talks to is `agent`; people decide with a token of
# their own, which `mcpuppet user add NAME --role manager` prints.
principals:
  agent: {{roles: [clerk]}}
"""

_WORKFLOW = """\
{schema_line}
mcpuppet: 1
workflow: first_workflow
version: 0.1.0
title: Open a customer account
description: Check a new customer, then open the account. A manager looks at risky ones first.

# Every role that is used below.
roles: [clerk, manager]

# Fixed when the workflow starts: what is checked is what is opened.
inputs:
  name: {{type: string, minLength: 1}}
  email: {{type: string, minLength: 3}}

# Tools that only read may be called at any time.
tools:
  always: [customer.get_customer]

# `needs` puts the steps in order. Until a step's turn comes, its tool is refused.
steps:
  check:
    title: Check the customer
    tool: customer.validate_customer
    args: {{name: {{equals: inputs.name}}, email: {{equals: inputs.email}}}}
    returns:
      risk: {{enum: [low, medium, high]}}

  review:
    title: Look at a risky customer
    needs: check
    when: steps.check.result.risk == "high"
    approval:
      roles: [manager]
      timeout: 1d
      binds: [inputs.name, inputs.email]

  open_account:
    title: Open the account
    needs: {{check: success, review: [approved, skipped]}}
    tool: customer.create_account
    args: {{name: {{equals: inputs.name}}, email: {{equals: inputs.email}}}}

# Rules on top of the order. They refuse a call, or ask a person about it; they never allow one.
policies:
  - {{id: clerks-only, call: [check, open_account], roles: [clerk]}}
"""


def init(
    folder: Annotated[
        Path, typer.Argument(help="Where to begin; made if it is not there.", show_default=".")
    ] = Path(),
) -> None:
    """Write settings and a first workflow to begin with. Nothing is overwritten.

    Exit codes: 0 written; 2 one of the files exists, or cannot be written.
    """
    texts = _texts()
    existing = {place for place in texts if (folder / place).exists()}
    if existing - {SCHEMA_PLACE}:
        names = ", ".join(str(folder / place) for place in texts if place in existing)
        raise InvalidInputError(f"nothing was written, as there is already: {names}")
    for place, text in texts.items():
        if place not in existing:  # `mcpuppet schema --install` may have been here before
            _write(folder / place, text)
            put(str(folder / place))
    config = (folder / "mcpuppet.yaml").absolute()
    move = [] if folder == Path() else [f"  cd {folder}"]
    say(
        "Next, try:",
        *move,
        "  mcpuppet validate --config mcpuppet.yaml   what is wrong with the workflow: nothing yet",
        "  mcpuppet render                            pictures of it, in diagrams/",
        f"  mcpuppet serve --config {config}",
        "                                             the command to give to your MCP client",
    )


def _texts() -> Mapping[Path, str]:
    """The files to write, by their place in the folder."""
    # Reads workflows for the demo, which costs imports that --help should not pay.
    from mcpuppet.demo.folder import import_path  # noqa: PLC0415

    env = {STATE_VARIABLE: "state", **import_path()}
    settings = _SETTINGS.format(
        command=json.dumps(sys.executable, ensure_ascii=False),  # every JSON string is YAML
        env="\n".join(
            f"      {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in env.items()
        ),
    )
    return {
        Path("mcpuppet.yaml"): settings,
        Path("workflows", "first_workflow.yaml"): _WORKFLOW.format(schema_line=SCHEMA_LINE),
        SCHEMA_PLACE: schema_text(),
    }


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise InvalidInputError(f"cannot write {path}: {error.strerror or error}") from error
