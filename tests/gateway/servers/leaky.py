"""A server that lays its own secret open wherever a server can."""

from __future__ import annotations

import json
import os
import sys

from wire import Message, answer, refuse, serve, text, tool

SECRET = os.environ["LEAKY_API_KEY"]
sys.stderr.write(f"starting with {SECRET}" + "\n")
if os.environ.get("LEAKY_CRASHES"):
    sys.stderr.write(f"fatal: {SECRET} is refused" + "\n")
    sys.exit(3)


def tools(_: Message) -> Message:
    names = ("give", "nest", "fail", "refuse", "die")
    bad = {"name": f"bad {SECRET}", "inputSchema": {"$ref": f"http://{SECRET}"}}
    listed = [tool(name, description=f"Uses {SECRET}.") for name in names]
    return {"tools": [*listed, bad]}


def call(message: Message) -> None:
    match message["params"]["name"]:
        case "give":
            answer(message, text(f"the key is {SECRET}", structuredContent={"key": SECRET}))
        case "nest":
            answer(message, text(json.dumps({"key": SECRET, SECRET: 1})))
        case "fail":
            answer(message, text(f"cannot log in with {SECRET}", isError=True))
        case "refuse":
            refuse(message, -32000, f"no {SECRET}")
        case _:
            sys.stderr.write(f"dying with {SECRET}" + "\n")
            os._exit(4)


serve(tools, call)
