"""Asking the servers for their tools: all at once, each on its own account."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from mcpuppet.gateway.server_settings import ServerSettings
from mcpuppet.server_tools import listed_tools
from mcpuppet.settings import Settings

pytestmark = pytest.mark.anyio

SERVER = """
import json, os, sys
open(f"{sys.argv[1]}.pid", "w").write(str(os.getpid()))
for line in sys.stdin:
    request = json.loads(line)
    if request.get("method") == "initialize":
        result = {
            "protocolVersion": request["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "x", "version": "1"},
        }
    elif request.get("method") == "tools/list":
        usable = {"name": "look", "inputSchema": {"type": "object"}, "_meta": {"a": 1}}
        result = {"tools": [usable, {"name": "odd"}] if sys.argv[1] == "good" else []}
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A good server, one without tools, one that ends at once, and one that never answers."""
    (tmp_path / "server.py").write_text(SERVER)

    def server(name: str, *arguments: str, seconds: float = 20) -> ServerSettings:
        return ServerSettings(
            name,
            sys.executable,
            arguments,
            cwd=str(tmp_path),
            connect_timeout=timedelta(seconds=seconds),
        )

    return Settings(
        servers=(
            server("good", "server.py", "good"),
            server("empty", "server.py", "empty"),
            server("broken", "-c", "raise SystemExit('no licence')"),
            server("silent", "-c", "import sys; sys.stdin.read()", seconds=0.5),
        )
    )


def started(folder: Path) -> dict[str, int]:
    """The processes of the servers that were started."""
    return {one.stem: int(one.read_text()) for one in folder.glob("*.pid")}


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_what_each_server_said_and_why_others_did_not(settings: Settings) -> None:
    listed = await listed_tools(settings)
    assert list(listed.tools) == ["good.look"]
    assert listed.tools["good.look"]["_meta"] == {"a": 1}
    assert listed.answered == {"good", "empty"}
    broken, silent = listed.errors
    assert "broken" in broken
    assert "no licence" in broken
    assert "silent" in silent
    assert "0.5 s" in silent
    (odd,) = listed.left_out
    assert odd.startswith("tool good.odd is left out: ")


async def test_only_the_servers_asked_for_are_started(settings: Settings, tmp_path: Path) -> None:
    listed = await listed_tools(settings, ["empty", "no such"])
    assert (listed.tools, listed.answered, listed.errors) == ({}, {"empty"}, ())
    assert list(started(tmp_path)) == ["empty"]


@pytest.mark.skipif(sys.platform == "win32", reason="asks for a process by its number")
async def test_no_server_is_left_running(settings: Settings, tmp_path: Path) -> None:
    await listed_tools(settings, ["good", "empty"])
    processes = started(tmp_path)
    assert len(processes) == 2
    assert not any(is_running(one) for one in processes.values())
