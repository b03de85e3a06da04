"""The errors MCPuppet raises: one class for each way a caller can react.

A refusal is a value (`session.decision.Denied`), never an exception. An exception here means that
the question could not be answered. Facts are attributes; the sentence is built from them.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcpuppet.workflow.findings import Finding


class MCPuppetError(Exception):
    """Base of every error that MCPuppet raises on purpose; its text is fit for a person."""


class InvalidInputError(MCPuppetError):
    """Something a person wrote (an argument, a setting, a workflow's input) cannot be used."""


class InvalidWorkflowError(InvalidInputError):
    """A workflow or settings file has findings of severity error."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(str(finding) for finding in self.findings))


class UnknownSessionError(MCPuppetError):
    """No session with this id is in the store."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(f"no session {session_id!r}; `mcpuppet sessions` lists them")


class PrunedSessionError(UnknownSessionError):
    """The session's contents were removed for good; only the hashes of its records are left."""

    def __str__(self) -> str:
        return (
            f"session {self.session_id!r} was pruned: its contents are gone for good, and only the "
            "hashes of its records are left; the administration log says who did it and why"
        )


class SessionChangedError(MCPuppetError):
    """Another writer appended to the session first: load it again and decide again."""

    def __init__(self, session_id: str, expected_seq: int) -> None:
        self.session_id = session_id
        self.expected_seq = expected_seq
        super().__init__(f"session {session_id!r} has moved on from record {expected_seq}")


class ClaimRefusedError(SessionChangedError):
    """Others reserved first what a call needs: read the reservations and decide again."""

    def __init__(self, session_id: str, expected_seq: int, key: str) -> None:
        super().__init__(session_id, expected_seq)
        self.key = key

    def __str__(self) -> str:
        return f"session {self.session_id!r} cannot reserve {self.key!r}: others were first"


class DownstreamUnavailableError(MCPuppetError):
    """A downstream server cannot be used now, and nothing was sent to it."""

    def __init__(self, server: str, reason: str) -> None:
        self.server = server
        self.reason = reason
        super().__init__(f"server {server!r} is not available: {reason}")


class NotAuthorisedError(MCPuppetError):
    """A person's token or roles do not permit what was asked."""


class StoreError(MCPuppetError):
    """The store could not be read or written; nothing was acknowledged."""


class AuditError(MCPuppetError):
    """The audit trail does not verify."""
