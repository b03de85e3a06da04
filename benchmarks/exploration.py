"""How fast the states of a workflow are found, and how much memory they take.

For the four shipped workflows, for `k` branches of `m` steps side by side, and for workflows of
1,000 steps until the limit that `validate` sets: states, edges, states a second, bytes a state. The
bytes are the most that was held at once, with all that is remembered of guards, by tracemalloc in
a second exploration. Targets: 50,000 states/s and 300 bytes/state for the branches.

    python benchmarks/exploration.py
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from mcpuppet.workflow.checks.exploration import MOST_STATES
from mcpuppet.workflow.compiled import CompiledWorkflow
from mcpuppet.workflow.compiler import compile_workflow
from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.parser import parse_workflow
from mcpuppet.workflow.space import explore

FOLDER = Path(__file__).parent.parent / "workflows"
TEMPLATES = ("customer_onboarding", "data_pipeline", "emergency_response", "financial_processing")
HEAD = "mcpuppet: 1\nworkflow: generated\nversion: 1.0.0\n"
ROUNDS = 3


def compiled(text: str) -> CompiledWorkflow:
    definition = parse_workflow(text, "benchmark.yaml").definition
    assert isinstance(definition, WorkflowDefinition)
    return compile_workflow(definition, text)


def branches(count: int, steps: int) -> CompiledWorkflow:
    """So many chains of so many steps, side by side."""
    lines = [
        f"  s{chain}_{at}: {{tool: s.t{chain}_{at}"
        + (f", needs: s{chain}_{at - 1}}}" if at else "}")
        for chain in range(count)
        for at in range(steps)
    ]
    return compiled(f"{HEAD}steps:\n" + "\n".join(lines))


def cases() -> Iterator[tuple[str, CompiledWorkflow, int]]:
    for name in TEMPLATES:
        yield name, compiled((FOLDER / f"{name}.yaml").read_text()), 200_000
    yield "5 branches x 3", branches(5, 3), 200_000
    yield "10 branches x 1", branches(10, 1), 200_000
    yield "1 branch x 1,000", branches(1, 1_000), MOST_STATES
    yield "10 branches x 100", branches(10, 100), MOST_STATES
    yield "1,000 branches x 1", branches(1_000, 1), MOST_STATES


def bytes_per_state(workflow: CompiledWorkflow, limit: int) -> float:
    tracemalloc.start()
    explored = explore(workflow, max_states=limit)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / len(explored.states)


def main() -> None:
    columns = ("workflow", "states", "edges", "all", "seconds", "states/s", "bytes/state")
    print("{:22}{:>9}{:>9}{:>5}{:>9}{:>10}{:>12}".format(*columns))
    for name, workflow, limit in cases():
        seconds = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            explored = explore(workflow, max_states=limit)
            seconds.append(time.perf_counter() - started)
        best, found = min(seconds), len(explored.states)
        print(
            f"{name:22}{found:>9,}{explored.size:>9,}{'yes' if explored.complete else 'no':>5}"
            f"{best:>9.3f}{found / best:>10,.0f}{bytes_per_state(workflow, limit):>12,.0f}"
        )


if __name__ == "__main__":
    main()
