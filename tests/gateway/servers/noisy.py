"""Prints what is not MCP on standard output and floods standard error, and still answers."""

from __future__ import annotations

import sys
from typing import Any

from wire import answer, serve, text, tool


def make_noise() -> None:
    sys.stdout.buffer.write(b'Welcome!\n\n{"half": \n[1, 2]\n\xff\xfe\x00 not text\n')
    sys.stdout.flush()
    for number in range(20_000):
        sys.stderr.write(f"\x1b[31mdebug {number} {'x' * 80}\n")
    sys.stderr.flush()


def list_tools(_: dict[str, Any]) -> dict[str, Any]:
    make_noise()
    return {"tools": [tool("echo")]}


def call(message: dict[str, Any]) -> None:
    make_noise()
    answer(message, text("still here"))


make_noise()
serve(list_tools, call)
