"""How long a decision takes, on the four shipped workflows.

For every state along one full run of each workflow: `decide` on the legal call, `decide` plus the
validation of its arguments against a tool's input schema, `decide` on a call that is refused, and
`legal_calls`. Prints medians and p99 in microseconds; the target is a median of 20 without
validation.

    python benchmarks/decision.py
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcpuppet.library import check_files, compile_files
from mcpuppet.session.asked import Circumstances
from mcpuppet.session.call import Call, Principal
from mcpuppet.session.consequences import Progress, Source
from mcpuppet.session.decision import Allowed, decide, legal_calls
from mcpuppet.session.intent import start_call
from mcpuppet.session.outcome import Succeeded
from mcpuppet.workflow.compiler import CompiledWorkflow
from mcpuppet.workflow.schema import compile_schema

ROUNDS = 300
NOW = datetime(2026, 1, 5, tzinfo=UTC)
INPUTS: dict[str, dict[str, Any]] = {
    "customer_onboarding": {"name": "Ada", "email": "ada@example.com"},
    "data_pipeline": {"dataset": "orders"},
    "emergency_response": {
        "severity": "sev1",
        "summary": "intruder",
        "host": "web-1",
        "service": "shop",
    },
    "financial_processing": {"amount": 100, "payee": "DE00123456789012"},
}
RESULTS = {
    "complete": True,
    "risk": "low",
    "account_id": "acc-1",
    "errors": 0,
    "status": "green",
    "healthy": True,
    "score": 0.2,
    "transfer_id": "t-1",
}
ARGUMENTS: dict[str, Any] = {
    "label": "acc-1",
    "entry": "payment to DE00123456789012",
    "title": "intruder",
    "transfer_id": "t-1",
    "account_id": "acc-1",
}
SCHEMA = compile_schema(
    {
        "type": "object",
        "properties": {
            "amount": {"type": "number", "exclusiveMinimum": 0},
            "payee": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{2}"},
            "email": {"type": "string", "maxLength": 200},
        },
    }
)


class Run:
    """One run on its way through a workflow."""

    def __init__(self, workflow: CompiledWorkflow) -> None:
        self.workflow = workflow
        self.who = Principal("agent", frozenset(workflow.definition.roles))
        numbers = itertools.count()
        source = Source(NOW, lambda kind: f"{kind}_{next(numbers)}", lambda: 0.0)
        self.progress = Progress("session", None, None, source)
        self.progress.open_session("agent", "0" * 64)
        self.progress.start_run(workflow, INPUTS[workflow.name], "agent")

    def legal_call(self) -> Call | None:
        """The next legal call with arguments that fit; approvals on the way are granted."""
        while self.progress.run is not None:
            legal = legal_calls(self.workflow, self.progress.state, self.who, NOW)
            if legal:
                return self._call(legal[0].tool, legal[0].step or "")
            for approval in tuple(self.progress.run.approvals.values()):
                for person in ("alice", "bob") if approval.status == "open" else ():
                    if self.progress.run.approvals[approval.step].status == "open":
                        self.progress.voted(
                            self.progress.run.approvals[approval.step], person, "content", "bench"
                        )
        return None

    def _call(self, tool: str, step: str) -> Call:
        rules = self.workflow.step(step).args or ()
        given = {**INPUTS[self.workflow.name], **ARGUMENTS}
        if tool == "pipeline.load_table":
            given["table"] = ("fact_" if step == "load_facts" else "dim_") + "orders"
        names = [rule.name for rule in rules]
        return Call(tool, {name: given[name] for name in names})

    def make(self, call: Call) -> None:
        decision = decide(self.workflow, self.progress.state, call, self.who, NOW)
        assert isinstance(decision, Allowed), decision
        start_call(self.progress, "call", call, self.who, decision, Circumstances("node"))
        self.progress.call_ended("call", Succeeded({"structuredContent": RESULTS}), 0.0)


def microseconds(work: Callable[[], object]) -> list[float]:
    samples = []
    for _ in range(ROUNDS):
        started = time.perf_counter_ns()
        work()
        samples.append((time.perf_counter_ns() - started) / 1000)
    return samples


def questions(run: Run, call: Call) -> dict[str, Callable[[], object]]:
    """What is timed in one state."""
    workflow, state, who = run.workflow, run.progress.state, run.who
    wrong = Call("none.such", call.arguments)

    def validated() -> object:
        SCHEMA.violations(call.arguments)
        return decide(workflow, state, call, who, NOW)

    return {
        "decide": lambda: decide(workflow, state, call, who, NOW),
        "decide + argument schema": validated,
        "decide, refused": lambda: decide(workflow, state, wrong, who, NOW),
        "legal_calls": lambda: legal_calls(workflow, state, who, NOW),
    }


def main() -> None:
    folder = Path(__file__).parent.parent / "workflows"
    print(f"{'workflow':24}{'what':28}{'median µs':>10}{'p99 µs':>10}")
    for workflow in compile_files(check_files(folder / f"{name}.yaml" for name in INPUTS)).values():
        samples: dict[str, list[float]] = {}
        run = Run(workflow)
        while (call := run.legal_call()) is not None:
            for name, work in questions(run, call).items():
                samples.setdefault(name, []).extend(microseconds(work))
            run.make(call)
        for name, values in samples.items():
            p99 = statistics.quantiles(values, n=100)[98]
            print(f"{workflow.name:24}{name:28}{statistics.median(values):10.1f}{p99:10.1f}")


if __name__ == "__main__":
    main()
