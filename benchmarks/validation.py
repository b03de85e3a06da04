"""How checking, compiling and deciding grow with the size of a workflow.

    python benchmarks/validation.py [STEPS ...]        default: 100 1000 10000

For each size a workflow is generated (width 20, with guards, arguments, declared results, approvals
and policies), read and checked as `mcpuppet validate` does, the exploration of states timed apart;
then it is compiled, and `legal_calls` is asked in the first state and half way. Times are medians.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from mcpuppet.session.asked import Circumstances
from mcpuppet.session.call import Call, Principal
from mcpuppet.session.consequences import Progress, Source
from mcpuppet.session.decision import Allowed, decide, legal_calls
from mcpuppet.session.intent import start_call
from mcpuppet.session.outcome import Succeeded
from mcpuppet.workflow.checks import CHECKS, DEEP_CHECKS, EXPLORING_CHECKS
from mcpuppet.workflow.checks.subject import Subject
from mcpuppet.workflow.compiler import CompiledWorkflow, compile_workflow
from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.parser import parse_workflow

WIDTH = 20
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
AGENT = Principal("agent", frozenset({"worker"}))


def lines(steps: int) -> Iterator[str]:
    """The text of a workflow of so many steps, in rows of WIDTH."""
    yield "mcpuppet: 1\nworkflow: generated\nversion: 1.0.0\nroles: [worker, boss]"
    yield "inputs: {amount: {type: number, minimum: 0}}\nsteps:"
    for number in range(steps):
        row, column = divmod(number, WIDTH)
        yield f"  s{number}:"
        above = (row - 1) * WIDTH + column
        if column == WIDTH - 1 and row % 5 == 4:
            yield f"    needs: s{above}\n    approval: {{roles: [boss], timeout: 1h, renew: 1}}"
            continue
        yield f"    tool: server{column}.tool{number}"
        yield "    args: {amount: {equals: inputs.amount}, note: {type: string, maxLength: 80}}"
        yield "    returns: {score: {type: number, minimum: 0, maximum: 1}}"
        if row == 0:
            continue
        neighbour = (row - 1) * WIDTH + (column + 1) % WIDTH
        is_approval = neighbour % WIDTH == WIDTH - 1 and (row - 1) % 5 == 4
        of_neighbour = "approved, rejected" if is_approval else "success, skipped, failure"
        words = "approved, skipped" if column == WIDTH - 1 and row % 5 == 0 else "success, skipped"
        yield f"    needs: {{s{above}: [{words}], s{neighbour}: [{of_neighbour}, skipped]}}"
        if number % 3 == 0 and not (column == WIDTH - 1 and row % 5 == 0):
            yield f"    when: has(steps.s{above}.result) && steps.s{above}.result.score < 0.8"
    yield "policies:"
    for number in range(max(1, steps // 50)):
        step = number * 50
        yield f"  - {{id: roles-{number}, call: s{step}, roles: [worker]}}"
        tools = f"server{number % WIDTH}.*"
        yield f"  - {{id: often-{number}, call: '{tools}', at_most: {steps}, per: run}}"


def timed(work: Callable[[], object], rounds: int) -> float:
    """The median of so many rounds, in seconds."""
    samples = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        samples.append(time.perf_counter() - started)
    return statistics.median(samples)


def main(sizes: list[int]) -> None:
    header = ("steps", "read", "checks", "exploring", "compile", "legal first", "legal middle")
    print("".join(f"{name:>14}" for name in header))
    for size in sizes:
        cells = measured("\n".join(lines(size)) + "\n", rounds=3 if size <= 1000 else 1)
        shown = (f"{one:>12.3f} s" if one > 0.1 else f"{one * 1000:>11.3f} ms" for one in cells)
        print(f"{size:>14}" + "".join(shown))


def measured(text: str, rounds: int) -> tuple[float, ...]:
    """The times of one workflow, in seconds, in the order of the columns."""
    parsed = parse_workflow(text, "generated.yaml")
    definition = parsed.definition
    assert isinstance(definition, WorkflowDefinition), [str(one) for one in parsed.findings[:3]]

    def structural() -> Subject:
        subject = Subject(definition, parsed.document)
        found = [one for check in (*CHECKS, *DEEP_CHECKS) for one in check(subject)]
        assert not [one for one in found if one.severity == "error"], found[:3]
        return subject

    subject = structural()
    workflow = compile_workflow(definition, parsed.bundle)
    return (
        timed(lambda: parse_workflow(text, "generated.yaml"), rounds),
        timed(structural, rounds),
        timed(lambda: [one for check in EXPLORING_CHECKS for one in check(subject)], 1),
        timed(lambda: compile_workflow(definition, parsed.bundle), rounds),
        *legal_times(workflow),
    )


def legal_times(workflow: CompiledWorkflow) -> tuple[float, float]:
    """`legal_calls` in the first state, and after half of the tool steps were called."""
    source = Source(NOW, lambda kind: f"{kind}_1", lambda: 0.0)
    progress = Progress("session", None, None, source)
    progress.open_session(AGENT.name, "0" * 64)
    progress.start_run(workflow, {"amount": 1}, AGENT.name)
    ask = lambda: legal_calls(workflow, progress.state, AGENT, NOW)  # noqa: E731 - asked twice
    first = timed(ask, 200)
    arguments = {"amount": 1, "note": "x"}
    result = Succeeded({"structuredContent": {"score": 0.5}})
    for _ in range(min(len(workflow.steps) // 2, 300)):
        legal = ask()
        if not legal:
            break
        call = Call(legal[0].tool, arguments)
        decision = decide(workflow, progress.state, call, AGENT, NOW)
        assert isinstance(decision, Allowed), decision
        start_call(progress, "call_1", call, AGENT, decision, Circumstances("node"))
        progress.call_ended("call_1", result, 0.0)
    return first, timed(ask, 200)


if __name__ == "__main__":
    main([int(one) for one in sys.argv[1:]] or [100, 1000, 10000])
