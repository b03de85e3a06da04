"""Answers that come after nobody waits for them any more.

The SDK drops the answer to a request that has timed out or was cancelled. For a call that may have
changed something that answer is the best evidence there is of what it did, so every message of the
server passes here first. Knows nothing of what is made of a late answer.

An answer is waited for as long as its connection lasts, and at most ten minutes; of more than a
hundred calls the ones given up first are forgotten. A server that keeps to MCP does not answer a
call that it was told to stop: after a cancellation, answers come only from servers that go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from mcp.shared.dispatcher import coerce_request_id
from mcp_types import JSONRPCError, JSONRPCMessage, JSONRPCResponse

from mcpuppet.gateway.tool_catalogue import Tool, outcome_of
from mcpuppet.session.outcome import Failed, Outcome
from mcpuppet.tool_servers import OnLate

LISTENING_SECONDS = 600.0
MOST_CALLS = 100


@dataclass(slots=True)
class _Awaited:
    tool: Tool
    on_late: OnLate
    sent_at: float
    answer: JSONRPCResponse | JSONRPCError | None = None
    given_up_at: float | None = None


class LateAnswers:
    """The calls of one connection whose answers matter, waited for or not."""

    def __init__(self) -> None:
        self._awaited: dict[object, _Awaited] = {}
        self._arrived, self._waiting = anyio.create_memory_object_stream[_Awaited](math.inf)

    def expect(self, request_id: int, tool: Tool, on_late: OnLate) -> None:
        """An answer to this request is wanted, however late."""
        self._awaited[request_id] = _Awaited(tool, on_late, anyio.current_time())

    def settle(self, request_id: int) -> None:
        """The request was answered in time, or cannot be answered any more."""
        self._awaited.pop(request_id, None)

    def give_up(self, request_id: int) -> None:
        """Nobody waits any more; an answer that crossed with that counts as late, too."""
        one = self._awaited.get(request_id)
        if one is None:
            return
        one.given_up_at = anyio.current_time()
        if one.answer is not None:
            self._deliver(request_id, one)
        given_up = [key for key, other in self._awaited.items() if other.given_up_at is not None]
        for key in given_up[:-MOST_CALLS]:
            del self._awaited[key]

    def see(self, message: JSONRPCMessage) -> None:
        """Take note of a message of the server, before the SDK has it."""
        if not isinstance(message, (JSONRPCResponse, JSONRPCError)):
            return
        request_id = coerce_request_id(message.id) if message.id is not None else None
        one = self._awaited.get(request_id)
        if one is None:
            return
        one.answer = message
        if one.given_up_at is not None:
            self._deliver(request_id, one)

    def _deliver(self, request_id: object, one: _Awaited) -> None:
        del self._awaited[request_id]
        if one.given_up_at is not None and _since(one.given_up_at) <= LISTENING_SECONDS:
            self._arrived.send_nowait(one)

    async def deliver(self, complain: Callable[[str], None]) -> None:
        """Hand on what comes late, until cancelled; what has arrived by then is still handed on."""
        try:
            async for one in self._waiting:
                await _hand_on(one, complain)
        finally:
            for _ in range(self._waiting.statistics().current_buffer_used):
                await _hand_on(self._waiting.receive_nowait(), complain)

    def close(self) -> None:
        """Nothing more can arrive; closing again changes nothing."""
        self._arrived.close()
        self._waiting.close()


async def _hand_on(one: _Awaited, complain: Callable[[str], None]) -> None:
    with anyio.CancelScope(shield=True):  # it is the only trace of what the call did
        try:
            await one.on_late(_outcome(one), _since(one.sent_at))
        except Exception as error:  # noqa: BLE001 - must not end the connection to the server
            complain(f"a late answer to {one.tool.name} could not be recorded: {error}")


def _outcome(one: _Awaited) -> Outcome:
    if isinstance(one.answer, JSONRPCResponse):
        return outcome_of(one.tool, one.answer.result)
    assert one.answer is not None
    error = one.answer.error
    message = f"{one.tool.qualified} was refused by its server: {error.message} ({error.code})"
    return Failed("protocol_error", message)


def _since(moment: float) -> float:
    return anyio.current_time() - moment
