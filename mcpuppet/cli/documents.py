"""The JSON shapes of what commands show. Their keys are stable: scripts rely on them.

Times are RFC 3339, in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mcpuppet.audit.reports.near_misses import NearMisses
from mcpuppet.cli.looking import FactView, HeldView, RulesView, Sight
from mcpuppet.session.events import time_text
from mcpuppet.session.state import AskState
from mcpuppet.store.protocol import SessionRow, User
from mcpuppet.views import ApprovalView, ReviewView


def approvals_document(views: Sequence[ApprovalView]) -> dict[str, Any]:
    """All open requests."""
    return {"approvals": [approval_document(one) for one in views]}


def approval_document(view: ApprovalView) -> dict[str, Any]:
    """One open request; `digest` is that of its content, as `approve --digest` takes it."""
    return {
        "approval_id": view.approval_id,
        "session_id": view.session_id,
        "workflow": view.workflow,
        "step": view.step,
        "title": view.title,
        "values": dict(view.binds),
        "calls": [
            {
                "step": one.step,
                "tool": one.tool,
                "arguments": dict(one.arguments),
                "digest": one.digest,
                "edited_by": one.edited_by or None,
            }
            for one in view.calls
        ],
        "roles": list(view.roles),
        "quorum": view.quorum,
        "approved_by": list(view.approved_by),
        "void_votes": list(view.void_votes),
        "escalated": view.escalated,
        "requested_by": view.requested_by,
        "opened_at": time_text(view.opened_at),
        "expires_at": time_text(view.expires_at),
        "bypass_roles": list(view.bypass_roles),
        "digest": view.content,
        "seen": dict(view.seen),
        "policies": _policies_document(view.policies),
    }


def review_document(view: ReviewView) -> dict[str, Any]:
    """One bypass that still has to be reviewed."""
    return {
        "review_id": view.review_id,
        "session_id": view.session_id,
        "approval_id": view.approval_id,
        "step": view.step,
        "bypassed_by": view.bypassed_by,
        "justification": view.justification,
        "roles": list(view.roles),
        "opened_at": time_text(view.opened_at),
        "due_at": time_text(view.due_at),
        "overdue": view.overdue,
    }


def _policies_document(policies: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {name: list(roles) for name, roles in policies.items()}


def session_document(sight: Sight) -> dict[str, Any]:
    """A session with its steps, what is legal, what is asked of people and what is held."""
    view = sight.session
    return {
        "session_id": view.session_id,
        "principal": view.principal,
        "workflow": view.workflow,
        "version": view.version,
        "run_id": view.run_id,
        "status": view.status,
        "end_reason": view.end_reason,
        "steps": [
            {
                "id": one.id,
                "title": one.title,
                "kind": one.kind,
                "status": one.status,
                "tools": list(one.tools),
                "detail": one.detail,
            }
            for one in view.steps
        ],
        "legal": [
            {"tool": one.tool, "step": one.step, "purpose": one.purpose, "asks": one.asks}
            for one in view.legal
        ],
        "approvals": [approval_document(one) for one in view.approvals],
        "reviews": [review_document(one) for one in view.reviews],
        "guidance": dict(view.guidance),
        "held": [_held_document(one) for one in sight.held],
        "open_calls": list(view.open_calls),
        "rules": None if sight.rules is None else _rules_document(sight.rules),
        "facts": [_fact_document(one) for one in sight.facts],
        "decided": [_decided_document(one) for one in sight.decided],
        "would_have_denied": near_misses_document(sight.near_misses or NearMisses()),
    }


def _rules_document(rules: RulesView) -> dict[str, Any]:
    return {
        "name": rules.name,
        "version": rules.version,
        "inputs": dict(rules.inputs),
        "declared": rules.declared,
        "locked": rules.locked,
    }


def _fact_document(fact: FactView) -> dict[str, Any]:
    return {
        "book": fact.book,
        "fact": fact.fact,
        "known": fact.known,
        "overflowed": fact.overflowed,
        "keyed": dict(fact.keyed),
        "values": list(fact.values),
    }


def _decided_document(ask: AskState) -> dict[str, Any]:
    """A request about one call that still counts: its call may be made, or not be asked again."""
    return {
        "approval_id": ask.approval_id,
        "tool": ask.tool,
        "arguments": dict(ask.arguments),
        "status": ask.status,
        "policies": _policies_document(ask.policies),
        "expires_at": time_text(ask.expires_at),
        "reason": ask.reason,
    }


def near_misses_document(misses: NearMisses) -> dict[str, Any]:
    """How many calls rules which only observe would have denied, the busiest rule first."""
    return {
        "calls": misses.calls,
        "rules": [
            {"book": book, "rule": rule, "calls": calls}
            for (book, rule), calls in misses.rules.most_common()
        ],
    }


def near_misses_row_document(row: SessionRow, misses: NearMisses) -> dict[str, Any]:
    """One line of the list of sessions, with the calls that would have been denied."""
    return {**session_row_document(row), "would_have_denied": near_misses_document(misses)}


def _held_document(held: HeldView) -> dict[str, Any]:
    return {
        "target": held.target,
        "step": held.step,
        "reason": held.reason,
        "late": held.late or None,
    }


def session_row_document(row: SessionRow) -> dict[str, Any]:
    """One line of the list of sessions; `records` is the length of its audit chain."""
    return {
        "session_id": row.session_id,
        "principal": row.principal,
        "workflow": row.workflow,
        "status": row.status,
        "records": row.seq,
        "opened_at": time_text(row.opened_at),
        "updated_at": time_text(row.updated_at),
    }


def user_document(user: User) -> dict[str, Any]:
    """One person; nothing of the token."""
    return {
        "name": user.name,
        "roles": list(user.roles),
        "disabled": user.disabled,
        "created_at": time_text(user.created_at),
    }
