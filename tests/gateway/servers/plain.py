"""A well-behaved server whose tools show what reached it; `die` ends it, `linger` starts a child.

Arguments: a file to append to, one JSON line for each start and each cancellation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from wire import answer, send, serve, text, tool

JOURNAL = Path(sys.argv[1])
NAMES = ["echo", "environment", "meta", "progress", "slow", "die", "linger", "grow", "catch_up"]
tools = [tool(name) for name in NAMES]
unanswered: list[dict[str, Any]] = []


def note(**facts: Any) -> None:
    with JOURNAL.open("a") as journal:
        journal.write(json.dumps(facts) + "\n")


def list_tools(request: dict[str, Any]) -> dict[str, Any]:
    """Two tools a page."""
    start = int(request.get("params", {}).get("cursor", "0"))
    page = {"tools": tools[start : start + 2]}
    return page if start + 2 >= len(tools) else {**page, "nextCursor": str(start + 2)}


def report_progress(params: dict[str, Any]) -> None:
    token = params["_meta"]["progressToken"]
    for done in (1, 2):
        progress = {"progressToken": token, "progress": done, "total": 2, "message": f"part {done}"}
        send({"method": "notifications/progress", "params": progress})


def call(message: dict[str, Any]) -> None:
    params = message.get("params", {})
    if message["method"] == "notifications/cancelled":
        note(cancelled=params["requestId"])
        return
    match params["name"]:
        case "environment":
            answer(message, text(json.dumps(dict(os.environ))))
        case "meta":
            answer(message, text("", structuredContent=params.get("_meta", {})))
        case "progress":
            report_progress(params)
            answer(message, text("done"))
        case "slow":
            unanswered.append(message)
            note(called=message["id"])
        case "catch_up":
            for one in unanswered:
                answer(one, text("here it is"))
            answer(message, text("done"))
        case "die":
            note(called=message["id"])
            sys.stderr.write("the disk is on fire\n")
            sys.stderr.flush()
            os._exit(3)
        case "linger":
            child = subprocess.Popen(["sleep", "300"], stdin=subprocess.DEVNULL)
            answer(message, text(str(child.pid)))
        case "grow":
            tools.append(tool("grown"))
            send({"method": "notifications/tools/list_changed"})
            answer(message, text("grown"))
        case _:
            answer(message, text(json.dumps(params["arguments"])))


note(started=os.getpid())
serve(list_tools, call)
