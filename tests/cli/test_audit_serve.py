"""`mcpuppet serve` keeps the audit trail signed, or says that it is not."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from support.project import Project

WORKFLOW = """mcpuppet: 1
workflow: asking
version: 1.0.0
roles: [boss]
steps:
  ask: {title: Ask, approval: {roles: [boss], timeout: 4h}}
"""
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
MESSAGES: list[dict[str, Any]] = [
    {"id": 1, "method": "initialize", "params": INITIALIZE},
    {"method": "notifications/initialized"},
    {
        "id": 2,
        "method": "tools/call",
        "params": {"name": "workflow_start", "arguments": {"workflow": "asking", "inputs": {}}},
    },
]


@pytest.fixture
def served(project: Project) -> Project:
    (project.folder / "asking.yaml").write_text(WORKFLOW)
    settings = "store: mcpuppet.db\nworkflows: [asking.yaml]\naudit: {copy_to: share}\n"
    (project.folder / "mcpuppet.yaml").write_text(settings)
    return project


def serve(project: Project) -> str:
    """One conversation in which a run is started; what the gateway said on stderr."""
    command = [sys.executable, "-m", "mcpuppet", "serve"]
    with subprocess.Popen(
        command,
        cwd=project.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as gateway:
        assert gateway.stdin is not None
        assert gateway.stdout is not None
        for message in MESSAGES:
            gateway.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        gateway.stdin.flush()
        for line in gateway.stdout:
            answer = json.loads(line)
            if answer.get("id") == 2:
                assert answer["result"]["isError"] is False, answer
                break
        _, errors = gateway.communicate(timeout=30)  # closes its input
    assert gateway.returncode == 0, errors
    return errors


def test_everything_that_was_served_is_signed_when_it_stops(served: Project) -> None:
    (served.folder / "share").mkdir()
    assert served.run("audit", "init").exit_code == 0
    assert serve(served) == ""
    document = json.loads(served.run("audit", "verify", "--json").stdout)
    assert document["ok"] is True
    assert document["sessions"] == 2
    assert document["log"]["signed"] == document["records"] > 2
    own = served.folder / "mcpuppet.db.audit" / "checkpoints"
    assert own.read_bytes() == (served.folder / "share" / "checkpoints").read_bytes()


def test_without_a_key_it_serves_and_says_that_nothing_is_signed(served: Project) -> None:
    (told,) = serve(served).splitlines()
    assert "the audit trail is not signed" in told
    assert "mcpuppet audit init" in told
    assert not (served.folder / "mcpuppet.db.audit").exists()


def test_it_serves_although_the_second_place_is_gone_and_says_so(served: Project) -> None:
    assert served.run("audit", "init").exit_code == 0
    (told,) = serve(served).splitlines()
    assert "second place is behind" in told
    assert "make it, or mount it" in told
