"""The server behind the gateways that `crash.py` kills: it counts its effects in a file.

    python crash_server.py EFFECTS SILENCE

Each call is one line in EFFECTS, on the disk before anything is answered. While the file SILENCE
exists, `pay` and `look` are done and never answered.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

EFFECTS, SILENCE = sys.argv[1:3]


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        result = answer(request)
        if result is not None:
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)


def answer(request: dict[str, Any]) -> dict[str, Any] | None:
    match request["method"]:
        case "initialize":
            return {
                "protocolVersion": request["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "effects", "version": "1"},
            }
        case "tools/list":
            schema = {"type": "object"}
            names = ("note", "pay", "look")
            return {"tools": [{"name": name, "inputSchema": schema} for name in names]}
        case "tools/call":
            return call(request["params"]["name"])
    return None


def call(name: str) -> dict[str, Any] | None:
    descriptor = os.open(EFFECTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{name}\n".encode())
    os.fsync(descriptor)
    os.close(descriptor)
    if name != "note" and os.path.exists(SILENCE):
        return None
    return {"content": [{"type": "text", "text": f"{name} done"}], "isError": False}


if __name__ == "__main__":
    main()
