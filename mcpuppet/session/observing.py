"""Rules that only observe: a call goes through, and what they objected to is noted down with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from mcpuppet.session.call import Call, Principal, call_digest
from mcpuppet.session.fate import earlier_key, reading_call
from mcpuppet.session.policies import Situation, consult
from mcpuppet.session.reservations import Reserved
from mcpuppet.session.state import SessionState
from mcpuppet.session.verdict import Allowed, ApprovalNeeded, Denied
from mcpuppet.workflow.compiled import CompiledStep, CompiledWorkflow
from mcpuppet.workflow.marking import PENDING


def noted(allowed: Allowed, *refusals: Denied) -> Allowed:
    """The permission, with what would have refused the call."""
    notes = tuple({"book": one.book, "rule": one.rule, "reason": one.reason} for one in refusals)
    return replace(allowed, would_have_denied=(*allowed.would_have_denied, *notes))


def unasked(workflow: CompiledWorkflow, allowed: Allowed) -> Allowed:
    """The permission, without asking the people whom an observing workflow would ask."""
    wanted = (
        Denied(one.policy, one.reason, allowed.step, book=workflow.name) for one in allowed.asks
    )
    return noted(replace(allowed, asks=()), *wanted)


def observed_step(
    workflow: CompiledWorkflow,
    state: SessionState,
    call: Call,
    principal: Principal,
    now: datetime,
    reserved: Reserved,
    refusal: Denied | ApprovalNeeded,
) -> Allowed | Denied:
    """Let a refused call through; if exactly one pending step uses its tool, that step advances.

    A tool that the workflow does not know stays refused here: other rules say what becomes of it.
    """
    if isinstance(refusal, ApprovalNeeded):
        reason = f"step {refusal.approval_step} waits for a person to decide"
        refusal = Denied(
            "approval", reason, refusal.step, verdicts=refusal.verdicts, book=workflow.name
        )
    if refusal.unordered:
        return refusal
    run = state.active_run
    pending = [
        step
        for step in workflow.by_tool.get(call.tool, ())
        if run is not None and run.step_status(step.id) == PENDING
    ]
    step = pending[0] if len(pending) == 1 else None
    digest = call_digest(state.session_id, workflow.hash, "" if step is None else step.id, call)
    policies = workflow.policies.get(("" if step is None else step.id, call.tool), ())
    situation = Situation(workflow, state, step, call.tool, principal, now, call, reserved)
    found = consult(policies, situation)
    refusals = found.refusals(workflow.name, refusal.step)
    if all(one.rule != refusal.rule for one in refusals):
        refusals = [refusal, *refusals]
    allowed = Allowed(
        "free" if step is None else "step",
        None if step is None else step.id,
        digest,
        attempt=1 if step is None or run is None else run.count(f"attempt:{step.id}") + 1,
        uses=tuple(replace(one, most=None) for one in found.uses),
        locks=tuple(found.locks),
        **_safety(state, step, digest, situation),
        verdicts=(*(one for one in refusal.verdicts if one not in found.told), *found.told),
    )
    return noted(allowed, *refusals)


def _safety(
    state: SessionState, step: CompiledStep | None, digest: str, situation: Situation
) -> dict[str, Any]:
    """What settles the fate of a step's call, as far as there is something."""
    run = state.active_run
    if step is None or run is None:
        return {}
    reading = None if step.reconcile is None else reading_call(step.reconcile, situation.values)
    return {
        "has_key": step.has_key,
        "key": earlier_key(state, run, step, digest)[0] if step.has_key else None,
        "key_argument": step.key_argument,
        "reconcile": None if isinstance(reading, str) else reading,
    }
