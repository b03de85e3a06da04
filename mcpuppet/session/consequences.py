"""What follows from an outcome, a person's word or the passing of time, as events of a session.

`Progress` takes in one cause, and then lets everything follow that follows by itself (`settling`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypeGuard

from mcpuppet.session import events as e
from mcpuppet.session.call import canonical_json, digest_of
from mcpuppet.session.deciding import NO_PROOF, Deciding, Proof
from mcpuppet.session.environment import variables
from mcpuppet.session.fate import is_json, waiting_calls
from mcpuppet.session.outcome import Failed, Outcome, Succeeded, Unknown, result_value
from mcpuppet.session.settling import Source, end_of
from mcpuppet.session.state import OpenCall, RunState
from mcpuppet.session.watching import key_of, learned
from mcpuppet.workflow.compiled import (
    CompiledStep,
    Freshness,
    Rulebook,
    delay_before,
)
from mcpuppet.workflow.compiled_policy import CompiledFact
from mcpuppet.workflow.definition import Retry
from mcpuppet.workflow.expression import EvaluationError, Expression
from mcpuppet.workflow.marking import (
    BYPASSED,
    PENDING,
    RUNNING,
    SUCCESS,
    status_of,
)

__all__ = ["FAILING_LASTS", "Progress", "Source", "stale_at"]

FAILING_LASTS = timedelta(hours=24)
"""How long a failing run waits for compensations and `finally` steps."""
RESULT_LIMIT = 64 * 1024
"""Results up to this many bytes of JSON are recorded whole; of larger ones length and digest."""


class Progress(Deciding):
    """Events that follow from one cause, and the state they lead to."""

    # --- a call has ended -----------------------------------------------------------------------

    def call_ended(self, call_id: str, outcome: Outcome, seconds: float | None) -> None:
        """Take in what became of a call that was started in this session.

        An answer that comes after the call counted as unknown is written down and changes nothing.
        """
        call = self.state.calls.get(call_id)
        if call is None or call.unknown:
            self.came_late(call_id, outcome, seconds)
            return
        if call.purpose == "compensation" and _answered_badly(outcome):
            # It did happen, somehow; offered again, it could be undone twice.
            outcome = Unknown(outcome.reason, outcome.message)
        self.emit(_call_event(call_id, outcome, seconds))
        if isinstance(outcome, Succeeded) and call.feeds:
            self._learn(call, result_value(outcome.result))
        if call.purpose == "compensation" and call.step is not None:
            if isinstance(outcome, Succeeded) and self._is_of_this_run(call):
                self.emit(e.StepCompensated(call.step, call_id))
        elif self._is_current(call):
            self._step_ended(call, outcome)
        self.settle()

    def came_late(self, call_id: str, outcome: Outcome, seconds: float | None) -> None:
        """An answer to a call that counts as unknown: kept for people."""
        if isinstance(outcome, Unknown):
            return
        kept: tuple[Mapping[str, Any] | None, str, int] = (None, "", 0)
        if outcome.result is not None:
            kept = _recorded(outcome.result)
        is_good = isinstance(outcome, Succeeded)
        message = "" if isinstance(outcome, Succeeded) else outcome.message
        word: Literal["succeeded", "failed"] = "succeeded" if is_good else "failed"
        self.emit(e.LateOutcome(call_id, word, message, *kept, seconds))

    def _learn(self, call: OpenCall, result: Mapping[str, Any]) -> None:
        """Remember what facts keep of a result."""
        books: dict[str, Rulebook] = (
            {} if self._workflow is None else {self._workflow.name: self._workflow}
        )
        if self.rules is not None:
            books[self.rules.name] = self.rules
        for feed in call.feeds:
            book = books.get(feed["book"])
            fact = None if book is None else book.facts.get(feed["fact"])
            if book is None or fact is None:
                continue
            value, complete = learned(fact, result)
            key = feed["key"]
            if fact.key is not None:
                if key is None:  # it could not be told before the result
                    key = key_of(fact.key, {"args": feed.get("args", {}), "result": result})
                if key is None or not (complete or self._knows(book, fact, key)):
                    continue  # it stays unknown
            drops = None if key is None else self._key_to_drop(book, fact, key)
            kept = value if complete else [] if key is None else {}
            self.emit(e.FactLearned(book.name, fact.name, key, kept, call.call_id, complete, drops))

    def _knows(self, book: Rulebook, fact: CompiledFact, key: str) -> bool:
        known = self.state.remembered(book.name).facts.get(fact.name)
        return known is not None and key in known.keyed

    def _key_to_drop(self, book: Rulebook, fact: CompiledFact, key: str) -> str | None:
        """The key that was learned first, where a fact is full."""
        known = self.state.remembered(book.name).facts.get(fact.name)
        order = () if known is None else known.order
        return order[0] if key not in order and len(order) >= fact.most else None

    def _is_of_this_run(self, call: OpenCall) -> bool:
        """Whether the run that the call was made in is still going on."""
        return self.run is not None and self.run.run_id == call.run_id

    def _is_current(self, call: OpenCall) -> bool:
        """Whether the call is the one that its step runs on, in the active run."""
        return (
            self.run is not None
            and self._is_of_this_run(call)
            and call.step is not None
            and self.run.step_status(call.step) == RUNNING
            and self.run.current[call.step].call_id == call.call_id
        )

    def _step_ended(self, call: OpenCall, outcome: Outcome) -> None:
        assert call.step is not None
        step = self.workflow.step(call.step)
        if isinstance(outcome, Succeeded):
            self._judge_result(step, call.call_id, result_value(outcome.result))
        elif isinstance(outcome, Unknown):
            self._unknown(step, call, outcome.message)
        elif _answered_badly(outcome):  # it did happen: never made again by itself
            self._fail(step, outcome.message)
        else:
            self._fail_or_retry(step, call, "error", outcome.message)

    def _judge_result(self, step: CompiledStep, call_id: str, result: Mapping[str, Any]) -> None:
        """Decide from a result whether the step is done, goes on polling, or has failed."""
        problem = _returns_problem(step, result)
        if problem is not None:
            self._fail(step, problem)
            return
        try:
            if step.success is not None and not self._holds(step.success, result):
                self._fail(step, f"`{step.success.source}` does not hold for the result")
                return
            if step.repeat is not None and not self._holds(step.repeat.until, result):
                self._poll_again(step)
                return
        except EvaluationError as error:
            self.emit(e.StepHeld(step.id, f"its result cannot be judged: {error}", call_id))
            return
        self.emit(e.StepSucceeded(step.id, _kept(step, result)))

    def _holds(self, guard: Expression, result: Mapping[str, Any]) -> bool:
        assert self.run is not None
        values = variables(self.workflow, self.run, state=self.state, result=result)
        return guard.evaluate_bool(values)

    def _poll_again(self, step: CompiledStep) -> None:
        assert step.repeat is not None
        assert self.run is not None
        rounds = self.run.count(f"repeat:{step.id}") + 1
        condition = f"`{step.repeat.until.source}` does not hold yet"
        if self.run.failing or rounds >= (step.repeat.max or 1):
            self._fail(step, f"{condition} after {rounds} rounds")
            return
        due = self.source.now + step.repeat.every
        self.emit(e.StepReturned(step.id, "repeat", condition, due))

    def _unknown(self, step: CompiledStep, call: OpenCall, message: str) -> None:
        retry = step.retry
        if step.retries_unknown and retry is not None and self._may_retry(retry, call):
            self._return(step, retry, call, message)
        else:
            self.emit(e.StepHeld(step.id, f"the outcome is unknown: {message}", call.call_id))

    def _fail_or_retry(self, step: CompiledStep, call: OpenCall, why: str, message: str) -> None:
        retry = step.retry
        if retry is not None and why in retry.on and self._may_retry(retry, call):
            self._return(step, retry, call, message)
        elif call.key is not None and any(
            one.unknown and one.key == call.key for one in self.state.calls.values()
        ):
            reason = f"an earlier attempt may have taken effect, and the last one failed: {message}"
            self.emit(e.StepHeld(step.id, reason, call.call_id))
        else:
            self._fail(step, message)

    def _may_retry(self, retry: Retry, call: OpenCall) -> bool:
        return call.attempt < retry.attempts and self.run is not None and not self.run.failing

    def _return(self, step: CompiledStep, retry: Retry, call: OpenCall, message: str) -> None:
        wait = delay_before(retry, call.attempt)
        if retry.jitter:  # between half and the whole of the wait, so that crowds spread out
            wait *= 0.5 + self.source.jitter() / 2
        self.emit(e.StepReturned(step.id, "retry", message, self.source.now + wait))

    def _fail(self, step: CompiledStep, reason: str) -> None:
        """A final failure: rework while there is budget, else it is handled or the run fails."""
        self.emit(e.StepFailed(step.id, reason))
        if not self._redo(step):
            self._unless_handled(step, "failed", f"step {step.id} failed: {reason}")

    # --- it was read what became of a call ------------------------------------------------------

    def begin_reading(self, of: str, call_id: str, node: str) -> bool:
        """Write down the intent to read what became of a call; whether that is due."""
        call = next((one for one in waiting_calls(self.state) if one.call_id == of), None)
        if call is None or call.read_at is None or call.read_at > self.source.now:
            return False
        assert call.reconcile is not None
        tool, arguments = call.reconcile["tool"], call.reconcile["arguments"]
        self.emit(
            e.CallStarted(
                call_id=call_id,
                tool=tool,
                arguments=arguments,
                digest=digest_of([tool, self.call(tool, arguments).on_record]),
                purpose="reconcile",
                step=call.step,
                attempt=call.readings + 1,
                uses=(),
                grants=(),
                principal=self.state.principal,
                node=node,
            )
        )
        return True

    def reading_ended(
        self,
        of: str,
        call_id: str,
        outcome: Outcome,
        seconds: float | None,
        arguments: Mapping[str, Any] | None,
    ) -> None:
        """Take in what a reading call says of a call; what it does not tell waits for a person.

        `arguments` are those of the call it is about, None where they cannot be had any more.
        """
        self.call_ended(call_id, outcome, seconds)
        call = self.state.calls.get(of)
        if call is None or not call.unknown or not self._is_current(call):
            return  # somebody has settled it, or the run is over
        assert call.step is not None
        step = self.workflow.step(call.step)
        verdict = self._verdict(step, outcome, arguments)
        if not isinstance(verdict, str):
            self._reconcile(step, of, call_id, *verdict)
        elif call.read_at is None:
            tool = "" if step.reconcile is None else f"{step.reconcile.tool} "
            self.emit(e.StepHeld(step.id, f"its outcome is unknown, and {tool}{verdict}", of))
        self.settle()

    def _verdict(
        self, step: CompiledStep, outcome: Outcome, arguments: Mapping[str, Any] | None
    ) -> tuple[bool, Mapping[str, Any] | None] | str:
        """Whether the call happened and with which result, or why that is not told."""
        if not isinstance(outcome, Succeeded):
            return f"could not tell: {outcome.message}"
        if step.reconcile is None or self.run is None or arguments is None:
            return "could not tell: what was asked for is not known any more"
        values = variables(
            self.workflow,
            self.run,
            state=self.state,
            arguments=arguments,
            result=result_value(outcome.result),
        )
        try:
            happened = step.reconcile.happened.evaluate_bool(values)
            told = step.reconcile.result
            result = told.evaluate(values) if told is not None and happened else None
        except EvaluationError as error:
            return f"did not tell: {error}"
        if result is None:
            return happened, None
        if not is_json(result) or not isinstance(result, Mapping):
            return "did not tell: the result that it gives is no JSON object"
        if _recorded(result)[0] is None:
            return "did not tell: the result that it gives is too large to be recorded"
        return happened, result

    def _reconcile(
        self,
        step: CompiledStep,
        of: str,
        by_call: str,
        happened: bool,
        result: Mapping[str, Any] | None,
    ) -> None:
        self.emit(e.CallReconciled(of, happened, by_call, result))
        if not happened:
            reason = f"{by_call} tells that it did not happen"
            self.emit(e.StepReturned(step.id, "retry", reason, self.source.now))
        elif result is None:
            self.emit(e.StepSucceeded(step.id, {}))
        else:
            self._judge_result(step, of, result)

    # --- a person has spoken --------------------------------------------------------------------

    def resolved(
        self, call_id: str, happened: bool, person: str, note: str, proof: Proof = NO_PROOF
    ) -> None:
        """A person says what became of a call whose outcome is unknown or cannot be judged."""
        call = self.state.calls.get(call_id)
        step = self._held_by(call_id) if call is None else call.step
        self.emit(e.CallResolved(call_id, happened, person, note, proof.credential, proof.channel))
        if call is not None and call.purpose == "compensation":
            if happened and step is not None and self._is_of_this_run(call):
                self.emit(e.StepCompensated(step, call_id))
        elif step is not None and (call is None or self._is_current(call)):
            if happened:
                self.emit(e.StepSucceeded(step, {}))
            else:
                reason = f"{person} says that it did not happen"
                self.emit(e.StepReturned(step, "retry", reason, self.source.now))
        self.settle()

    def _held_by(self, call_id: str) -> str | None:
        held = {} if self.run is None else self.run.held
        return next((step for step, hold in held.items() if hold.call_id == call_id), None)

    def released(
        self, step: str, ready: bool, person: str, note: str, proof: Proof = NO_PROOF
    ) -> None:
        """A person says how the guard that held a step is to be read."""
        self.emit(e.StepReleased(step, ready, person, note, proof.credential, proof.channel))
        if not ready:
            self.emit(e.StepSkipped(step, f"{person} says that it does not apply"))
        self.settle()

    def cancelled(self, person: str, reason: str, proof: Proof = NO_PROOF) -> None:
        """A person ends the run."""
        self.emit(e.RunEnded("cancelled", reason, person, proof.credential, proof.channel))

    # --- time has passed ------------------------------------------------------------------------

    def time_passed(self) -> None:
        """Write down every deadline that lies behind `source.now`."""
        self._expire_asks()
        self._reviews_overdue()
        run, now = self.run, self.source.now
        if run is None:
            return
        if not run.failing and now >= run.expires_at:
            self.emit(e.RunFailing("timed_out", None, "the run took longer than its timeout"))
        for _, approval in sorted(run.approvals.items()):
            if approval.status == "open" and now >= approval.expires_at:
                self._run_out(approval)
        self._expire_stale_grants()
        self.settle()
        run = self.run
        if run is not None and run.failing_since and now >= run.failing_since + FAILING_LASTS:
            self.emit(e.RunEnded(end_of(run), "undoing was not finished within 24 h"))

    def _expire_asks(self) -> None:
        asks = {} if self.known is None else self.known.asks
        for _, ask in sorted(asks.items()):  # the order of a mapping does not outlive a restart
            if ask.status != "rejected" and self.source.now >= ask.expires_at:
                self.emit(e.ApprovalExpired(ask.approval_id, ""))

    def _expire_stale_grants(self) -> None:
        """Ask again for approvals that a policy does not let pass any more."""
        for fresh in self.workflow.freshness:
            run = self.run
            if run is None or run.failing or not _is_stale(fresh, run, self.source.now):
                continue
            for index in fresh.approvals:
                approval = run.approvals.get(self.workflow.steps[index].id)
                if approval and status_of(run.marking, index) & (SUCCESS | BYPASSED):
                    self._expire(approval)


def stale_at(fresh: Freshness, run: RunState) -> datetime | None:
    """When the approvals of a policy stop being good for the steps that still wait for them."""
    moments = [run.times[word] for word in fresh.policy.words if word in run.times]
    waits = any(status_of(run.marking, index) == PENDING for index in fresh.steps)
    granted = any(status_of(run.marking, index) & (SUCCESS | BYPASSED) for index in fresh.approvals)
    if not moments or not waits or not granted:
        return None
    return max(moments) + fresh.policy.within


def _is_stale(fresh: Freshness, run: RunState, now: datetime) -> bool:
    at = stale_at(fresh, run)
    return at is not None and now >= at


def _answered_badly(outcome: Outcome) -> TypeGuard[Failed]:
    """Whether the server did answer, with something that its own schema does not allow."""
    return isinstance(outcome, Failed) and outcome.reason == "invalid_result"


def _call_event(call_id: str, outcome: Outcome, seconds: float | None) -> e.Event:
    if isinstance(outcome, Succeeded):
        result, digest, size = _recorded(outcome.result)
        return e.CallSucceeded(call_id, result, digest, size, seconds)
    if isinstance(outcome, Failed):
        kept = None if outcome.result is None else _recorded(outcome.result)[0]
        return e.CallFailed(call_id, outcome.reason, outcome.message, kept, seconds)
    return e.CallBecameUnknown(call_id, outcome.reason, outcome.message, seconds)


def _recorded(result: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str, int]:
    """What a record keeps of a result: the result or None, its digest, its size in bytes."""
    text = canonical_json(result)
    digest = hashlib.sha256(text).hexdigest()
    return (result if len(text) <= RESULT_LIMIT else None), digest, len(text)


def _returns_problem(step: CompiledStep, result: Mapping[str, Any]) -> str | None:
    for name, schema in step.returns:
        if name not in result:
            return f"the result lacks the field {name!r}"
        violations = schema.violations(result[name])
        if violations:
            return f"field {name!r} of the result: {violations[0]}"
    return None


def _kept(step: CompiledStep, result: Mapping[str, Any]) -> dict[str, Any]:
    if step.kept is None:
        return dict(result)
    return {name: result[name] for name in sorted(step.kept) if name in result}
