"""The real decision walked beside the flat machine, which was explored by code of its own."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
import yaml
from support.fakes import failed, succeeded
from support.generated import random_workflow
from support.play import Play, compiled

from mcpuppet.session.call import Principal
from mcpuppet.session.consequences import FAILING_LASTS
from mcpuppet.session.decision import legal_calls
from mcpuppet.session.outcome import Unknown
from mcpuppet.session.state import ApprovalState
from mcpuppet.workflow.classes import MISSING
from mcpuppet.workflow.compiler import CompiledWorkflow
from mcpuppet.workflow.flat import FlatMachine, explore
from mcpuppet.workflow.flat_state import FlatState

WORKFLOWS = 60
WALKS = 8
LONGEST_WALK = 80
_PHASES = {"active": "active", "waiting_approval": "active", "failing": "failing"}
_FILLERS = {"number": 0.5, "integer": 1, "boolean": True, "string": "x"}


class Walk:
    """One run, driven by labels of the flat machine."""

    def __init__(self, workflow: CompiledWorkflow, flat: FlatMachine, rng: random.Random) -> None:
        self.workflow = workflow
        self.flat = flat
        self.rng = rng
        self.everyone = Principal("agent", frozenset(workflow.definition.roles))
        self.trace: list[str] = []
        self.unsettled: set[str] = set()
        """Steps with an attempt of unknown outcome, which never just fail."""
        labels = flat.labels_from(flat.initial)
        start = rng.choice(sorted(labels))
        self.state = labels[start]
        self.trace.append(start)
        self.play = Play(workflow, **self._inputs(start))

    def _inputs(self, label: str) -> dict[str, Any]:
        given = {
            name: _FILLERS.get(_type_of(schema), "x")
            for name, schema in self.workflow.definition.inputs.items()
        }
        for path, value in self.flat.values[label].items():
            given[path.removeprefix("inputs.")] = value
        return given

    def check(self) -> None:
        """Both are in the same state, and hold the same calls and decisions to be legal."""
        where = " -> ".join(self.trace)
        assert self._statuses() == dict(self.state.status), where
        assert self._phase() == self._flat_phase(self.state), where
        labels = {one.partition("{")[0] for one in self.flat.labels_from(self.state)}
        expected = {one.removesuffix(".call") for one in labels if one.endswith(".call")}
        expected |= {one for one in labels if one.endswith(".compensate")}
        assert set(self._legal()) == expected, where
        asked = {one.rpartition(".")[0] for one in labels if one.endswith(".approved")}
        assert {one.step for one in self._open()} == asked, where

    def _statuses(self) -> dict[str, str]:
        return {step.id: self.play.status(step.id) for step in self.workflow.steps}

    def _phase(self) -> str:
        status = self.play.run.status
        return _PHASES.get(status, status)

    @staticmethod
    def _flat_phase(state: FlatState) -> str:
        return "failing" if state.phase == "rejecting" else state.phase

    def _legal(self) -> list[str]:
        later = self.play.clock() + timedelta(hours=1)  # past every wait between attempts
        return [
            f"{one.step}.compensate" if one.purpose == "compensation" else str(one.step)
            for one in legal_calls(self.workflow, self.play.state, self.everyone, later)
        ]

    def _open(self) -> list[ApprovalState]:
        return [one for one in self.play.run.approvals.values() if one.status == "open"]

    def step(self) -> bool:
        """Let one thing happen in both; False at the end of the run."""
        labels = [one for one in sorted(self.flat.labels_from(self.state)) if self._can_happen(one)]
        if not labels:
            return False
        label = self.rng.choice(labels)
        self.trace.append(label)
        self._happen(label)
        self.state = self.flat.labels_from(self.state)[label]
        return True

    def _can_happen(self, label: str) -> bool:
        """Time passes for all requests at once: only the one that is due first can expire."""
        step, _, event = label.partition("{")[0].rpartition(".")
        if event != "expired":
            return event != "failure" or step not in self.unsettled
        due = self.play.approval(step).expires_at
        since = self.play.run.failing_since
        in_time = since is None or due < since + FAILING_LASTS
        return in_time and all(
            due < other.expires_at for other in self._open() if other.step != step
        )

    def _happen(self, label: str) -> None:
        step, _, event = label.partition("{")[0].rpartition(".")
        if event == "call":
            self.play.clock.now += timedelta(milliseconds=1)
            self._start(step, self._least_limited(step))
        elif event == "success":
            self.play.end(self._call_of(step), succeeded(**self._result(step, label)))
            self._settle_held(step)
            self.unsettled.discard(step)
        elif event == "retry" and self._is_lost(step):
            self.play.end(self._call_of(step), Unknown("timeout", "no answer"))
        elif event in ("failure", "retry"):
            self.play.end(self._call_of(step), failed())
        elif event == "compensate":
            compensation = self.workflow.step(step).compensation
            assert compensation is not None
            self.play.end(self._start(step, compensation.tool))
        else:
            self._decide(step, event)

    def _is_lost(self, step: str) -> bool:
        """Whether an attempt ends without an answer: where that is tried again, it is all the same.

        The flat machine knows of no unknown outcomes: after one, a call that is known by its key
        never just fails.
        """
        one = self.workflow.step(step)
        if not one.retries_unknown or self.rng.random() < 0.5:
            return False
        if one.has_key:
            self.unsettled.add(step)
        return True

    def _least_limited(self, step: str) -> str:
        """The flat machine leaves out a policy that covers only some tools of a step."""
        tools = self.workflow.step(step).tools
        return min(tools, key=lambda tool: len(self.workflow.policies[step, tool]))

    def _start(self, step: str, tool: str) -> str:
        due = self.play.run.not_before.get(step)
        self.play.clock.now = max(self.play.clock.now, due or self.play.clock.now)
        return self.play.start(tool)

    def _call_of(self, step: str) -> str:
        calls = self.play.state.calls.items()
        return next(call for call, one in calls if one.step == step and not one.unknown)

    def _settle_held(self, step: str) -> None:
        """The flat machine leaves a result that cannot be judged running; so must a walk."""
        if step in self.play.run.held:
            pytest.fail(f"generated workflows judge every result: {self.trace}")

    def _result(self, step: str, label: str) -> dict[str, Any]:
        definition = self.workflow.definition.steps[step]
        result = {
            name: _FILLERS.get(_type_of(schema), "x")
            for name, schema in (definition.returns or {}).items()
        }
        for path, value in self.flat.values[label].items():
            name = path.removeprefix(f"steps.{step}.result.")
            result[name] = value
            if value is MISSING:
                del result[name]
        return result

    def _decide(self, step: str, event: str) -> None:
        approval = self.play.approval(step)
        if event == "approved":
            for number in range(approval.quorum):
                self.play.do("voted", self.play.approval(step), f"p{number}", "content", "test")
        elif event == "rejected":
            self.play.do("denied", approval, "p", "no")
        elif event == "bypassed":
            self.play.do("bypassed", approval, "p", "because")
        else:
            self.play.clock.now = approval.expires_at
            self.play.do("time_passed")


def _type_of(schema: object) -> str:
    return schema.get("type", "") if isinstance(schema, dict) else ""


@pytest.mark.parametrize("seed", range(WORKFLOWS))
def test_the_decision_agrees_with_the_flat_machine(seed: int) -> None:
    rng = random.Random(seed)
    workflow = compiled(random_workflow(rng))
    flat = explore(workflow.definition)
    assert flat.complete
    if any("?" in label for _, label, _ in flat.transitions):
        pytest.skip("an opaque guard has no value to drive it with")
    for _ in range(WALKS):
        walk = Walk(workflow, flat, rng)
        walk.check()
        for _ in range(LONGEST_WALK):
            if not walk.step():
                break
            walk.check()


@pytest.mark.parametrize("seed", range(WORKFLOWS))
def test_attempts_without_an_answer_are_attempts_to_the_flat_machine_too(seed: int) -> None:
    rng = random.Random(seed)
    document = yaml.safe_load(random_workflow(rng))
    for step in document["steps"].values():
        if "retry" in step:
            step["on_unknown"] = rng.choice(["retry", "retry_with_key"])
    workflow = compiled(yaml.safe_dump(document, sort_keys=False))
    flat = explore(workflow.definition)
    if any("?" in label for _, label, _ in flat.transitions):
        pytest.skip("an opaque guard has no value to drive it with")
    for _ in range(WALKS):
        walk = Walk(workflow, flat, rng)
        for _ in range(LONGEST_WALK):
            walk.check()
            if not walk.step():
                break
