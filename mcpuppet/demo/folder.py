"""The demo's working folder: a settings file, workflows, and the state of the demo servers.

Everything that a newcomer would write themselves is in it, and nothing else is needed to go on by
hand once the demo is over. This module writes and reads files only; it starts nothing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcpuppet.demo.servers import server_settings
from mcpuppet.errors import InvalidInputError
from mcpuppet.library import workflow_files
from mcpuppet.templates_path import templates_folder

_SETTINGS = """\
# Written by `mcpuppet demo`. This is all that MCPuppet needs to know.

# The MCP servers behind MCPuppet, as in the configuration of any MCP client.
servers:
{servers}

# What an AI may do: one YAML file for each workflow, copied here from the shipped templates.
workflows: [workflows]
default_workflow: data_pipeline

# Rules for calls that no workflow orders: workflows/bank_assistant.yaml, once these lines count.
# month_end_close sends money too; its calls are then under both.
# rules: bank_assistant
# shared_tools: [bank.send_money]

# Where sessions and their audit trail are kept.
store: mcpuppet.db

# Who calls. On stdio every call is made by `agent`; people decide with a token of their own.
principals:
  agent: {{roles: [onboarding_agent, payments_agent]}}
"""


@dataclass(frozen=True, slots=True)
class Effect:
    """A change that a demo server made, as the server itself wrote it down."""

    tool: str
    """The full name, `server.tool`."""
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """The paths in the demo's folder, and what its servers say they did."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "mcpuppet.yaml"

    @property
    def store(self) -> Path:
        return self.root / "mcpuppet.db"

    @property
    def backup(self) -> Path:
        return self.root / "mcpuppet.backup.db"

    @property
    def log(self) -> Path:
        return self.root / "serve.log"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def effects_file(self) -> Path:
        return self.state / "effects.jsonl"

    def token_file(self, name: str) -> Path:
        """Where the token of one of the demo's people is, if they were given one."""
        return self.root / "tokens" / name

    def keep_token(self, name: str, token: str) -> None:
        """Write a person's token down, so that who plays on can decide as them."""
        file = self.token_file(name)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(f"{token}\n", encoding="utf-8")

    def effects(self, tool: str) -> tuple[Effect, ...]:
        """Every change that the servers wrote down for `server.tool`, the first one first."""
        return tuple(one for one in self._effects() if one.tool == tool)

    def _effects(self) -> Iterator[Effect]:
        if not self.effects_file.exists():
            return
        for line in self.effects_file.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            yield Effect(f"{entry['server']}.{entry['tool']}", entry["arguments"])


def write_folder(root: Path) -> DemoFolder:
    """Fill `root`, a new or empty folder, with settings, workflows and a place for server state.

    Raises InvalidInputError when there is something in it already or it cannot be written.
    """
    folder = DemoFolder(root.absolute())
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        if any(folder.root.iterdir()):
            raise InvalidInputError(f"{root} is not empty: name a new or an empty folder")
        folder.state.mkdir(mode=0o700)
        (folder.root / "workflows").mkdir()
        for template in _templates():
            shutil.copyfile(template, folder.root / "workflows" / template.name)
        folder.config.write_text(settings_text(folder), encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"cannot write the demo to {root}: {error.strerror}") from error
    return folder


def _templates() -> list[Path]:
    """The shipped workflows and rules, and the tables that facts of theirs are read from."""
    return [*workflow_files([templates_folder()]), *sorted(templates_folder().glob("*.csv"))]


def settings_text(folder: DemoFolder) -> str:
    """The text of the demo's `mcpuppet.yaml`."""
    lines: list[str] = []
    for name, server in server_settings(folder.state).items():
        lines += [
            f"  {name}:",
            f"    command: {_scalar(server['command'])}",
            f"    args: [{', '.join(map(_scalar, server['args']))}]",
            "    env:",
            *(f"      {key}: {_scalar(value)}" for key, value in _environment(server["env"])),
        ]
    return _SETTINGS.format(servers="\n".join(lines))


def import_path() -> dict[str, str]:
    """What another Python must have in its environment to import this package.

    Nothing when it is installed; the checkout's folder when it is run in place.
    """
    checkout = Path(__file__).absolute().parents[2]
    if not (checkout / "pyproject.toml").is_file():
        return {}
    others = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(checkout), *([others] if others else [])])}


def _environment(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield from given.items()
    yield from import_path().items()


def _scalar(value: str) -> str:
    # Every JSON string is a YAML scalar.
    return json.dumps(value, ensure_ascii=False)
