"""The causes other than decisions: outcomes, people's words, runs that begin, and time.

Each is taken from its record and becomes an act on the session; what a person may say, and what
inputs may be, is checked as far as the recorded rules tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from mcpuppet.audit.deciders import ELICITED, USER_OF
from mcpuppet.audit.replay.following import Act, Following, had
from mcpuppet.audit.replay.records import Entry, Underivable, is_effect
from mcpuppet.errors import AuditError
from mcpuppet.redaction.vault import has_marks
from mcpuppet.session import events as e
from mcpuppet.session.consequences import RESULT_LIMIT, Progress
from mcpuppet.session.deciding import Proof
from mcpuppet.session.outcome import Failed, Outcome, Succeeded, Unknown
from mcpuppet.session.state import BY_TIME, ApprovalState, AskState, SessionState
from mcpuppet.workflow.compiled import CompiledWorkflow, Rulebook

RESULT_TOO_LONG = "the result was not kept for its size"


class Causes(Following):
    """The part of a replay that knows what has happened besides decisions."""

    def _act_of(self, entry: Entry, data: Mapping[str, Any]) -> Act:
        """What a record that is no decision says has happened."""
        if entry.kind in ("CallSucceeded", "CallFailed", "CallBecameUnknown"):
            return self._call_ended(entry.kind, data)
        event = entry.event
        match event:
            case e.SessionOpened():
                return lambda progress: progress.open_session(event.principal, event.settings)
            case e.RulesAdopted():
                rules = had(self._texts.rules(event.hash))
                return lambda progress: progress.adopt_rules(rules)
            case e.InputsDeclared():
                return partial(_declare, event)
            case e.RunStarted():
                return partial(_start, event, had(self._texts.workflow(event.hash)))
            case e.CallResolved():
                proof = Proof(event.credential, event.channel)
                told = (event.call_id, event.happened, event.by, event.note, proof)
                return lambda progress: progress.resolved(*told)
            case e.StepReleased():
                proof = Proof(event.credential, event.channel)
                said = (event.step, event.ready, event.by, event.note, proof)
                return lambda progress: progress.released(*said)
            case e.ApprovalVoted():
                return partial(self._vote, event)
            case e.ApprovalBypassed():
                return partial(_bypass, event)
            case e.ApprovalRejected() if event.by != BY_TIME:
                return partial(_reject, event)
        if is_effect(entry.kind, data):
            return lambda _: None  # then time has to bring it about
        return lambda progress: progress.emit(event)

    def _call_ended(self, kind: str, data: Mapping[str, Any]) -> Act:
        call_id, seconds = data["call_id"], data["seconds"]
        outcome: Outcome
        if kind == "CallSucceeded":
            if data["result"] is None:
                if data["result_bytes"] <= RESULT_LIMIT:
                    raise AuditError("a result that is short enough to be kept is not there")
                raise Underivable(RESULT_TOO_LONG)
            outcome = Succeeded(data["result"])
        elif kind == "CallFailed":
            outcome = Failed(data["reason"], data["message"], data["result"])
        else:
            outcome = Unknown(data["reason"], data["message"])
        of = self._read_about(call_id)
        if of is None or data.get("reason") == "gateway_lost":
            return lambda progress: progress.call_ended(call_id, outcome, seconds)
        known = self._arguments.get(of)
        return lambda progress: progress.reading_ended(of, call_id, outcome, seconds, known)

    def _read_about(self, call_id: str) -> str | None:
        """The call of unknown outcome that a call of the gateway's own reads about."""
        state = self._state
        call = None if state is None else state.calls.get(call_id)
        if state is None or call is None or call.purpose != "reconcile" or call.step is None:
            return None
        run = state.active_run
        current = None if run is None else run.current.get(call.step)
        return None if current is None else current.call_id

    def _vote(self, event: e.ApprovalVoted, progress: Progress) -> None:
        """One person agreed; who could not decide any more is told by whose votes counted."""
        request = _request(progress.state, event.approval_id)
        if event.roles and not set(event.roles) & set(request.roles):
            raise AuditError(f"{event.by} has none of the roles that decide this")
        if event.channel.startswith(ELICITED):
            _require_elicited(event, request, progress)
        follows = self._records.peek(len(progress.events) + 1)
        void = {name for name, _ in request.votes}
        if (
            follows is not None
            and isinstance(follows.event, e.ApprovalGranted)
            and follows.event.approval_id == event.approval_id
        ):
            void -= set(follows.event.by)
        if isinstance(request, AskState):
            progress.agreed(
                request,
                event.by,
                frozenset(event.roles),
                event.content,
                event.channel,
                credential=event.credential,
                void=void,
            )
            return
        progress.voted(
            request,
            event.by,
            event.content,
            event.channel,
            roles=event.roles,
            credential=event.credential,
            void=void,
        )


def _require_elicited(
    event: e.ApprovalVoted, request: ApprovalState | AskState, progress: Progress
) -> None:
    """Raise AuditError unless a vote can be that of whoever sits at the client."""
    step = None if isinstance(request, AskState) else progress.workflow.step(request.step)
    asks = step is not None and progress.workflow.definition.steps[step.id].elicit
    is_their_own = event.by == f"{USER_OF}{request.requested_by}"
    if not (asks and is_their_own):
        raise AuditError(f"{event.by} could not be asked at the client")


def _declare(event: e.InputsDeclared, progress: Progress) -> None:
    rules, state = progress.rules, progress.state
    if rules is None or state.rules is None or state.rules.name != event.rules:
        raise AuditError(f"the session is not governed by {event.rules}")
    if state.exposed or state.rules.declared:
        raise AuditError("inputs could not be declared any more")
    if state.principal != event.principal or _break(rules, event.inputs):
        raise AuditError("inputs that do not fit")
    progress.declare_inputs(event.inputs, event.principal)


def _break(book: Rulebook, inputs: Mapping[str, Any]) -> bool:
    """Whether inputs break their schema; of hidden ones, checked at the time, nobody can say."""
    return not has_marks(inputs) and bool(book.inputs.violations(dict(inputs)))


def _start(event: e.RunStarted, workflow: CompiledWorkflow, progress: Progress) -> None:
    if progress.state.principal != event.principal:
        raise AuditError("the session belongs to somebody else")
    if _break(workflow, event.inputs):
        raise AuditError("inputs that do not fit")
    progress.start_run(workflow, event.inputs, event.principal)


def _bypass(event: e.ApprovalBypassed, progress: Progress) -> None:
    request = _request(progress.state, event.approval_id)
    asked = progress.workflow.step(event.step).approval
    if isinstance(request, AskState) or asked is None or asked.bypass is None:
        raise AuditError("nobody may bypass it")
    if len(event.justification) < asked.bypass.justification:
        raise AuditError("the justification is too short")
    proof = Proof(event.credential, event.channel)
    progress.bypassed(request, event.by, event.justification, proof)


def _reject(event: e.ApprovalRejected, progress: Progress) -> None:
    request = _request(progress.state, event.approval_id)
    proof = Proof(event.credential, event.channel)
    if isinstance(request, AskState):
        progress.refused(request, event.by, event.reason, proof)
    else:
        progress.denied(request, event.by, event.reason, proof)


def _request(state: SessionState, approval_id: str) -> ApprovalState | AskState:
    """The open request with this id."""
    run = state.active_run
    requests: list[ApprovalState | AskState] = [*state.asks.values()]
    if run is not None:
        requests += run.approvals.values()
    for one in requests:
        if one.approval_id == approval_id and one.status == "open":
            return one
    raise AuditError(f"approval {approval_id} was not open")


def may_be_late(entry: Entry, data: Mapping[str, Any]) -> bool:
    """Whether a record may stand before what time has brought about.

    Calls whose process has gone are written down before that.
    """
    return entry.kind == "CallBecameUnknown" and data.get("reason") == "gateway_lost"
