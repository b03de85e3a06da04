"""Gateways killed in the middle of a call, at each point of its life: a short form of the matrix.

The long form is `benchmarks/crash.py`, which this runs; it says how each point is reached and what
is compared. It is a process of its own, for it forks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MATRIX = Path(__file__).parents[1] / "benchmarks" / "crash.py"

if not hasattr(os, "fork"):
    pytest.skip("needs a system that forks", allow_module_level=True)

# Of the call that was cut off: its effects after the client has repeated it, what is recorded of
# it, and what the repeated call was answered.
HELD = {
    "intent": (1, "nothing", "succeeded"),
    "send": (0, "unknown", "unknown"),
    "reply": (1, "unknown", "unknown"),
    "outcome": (1, "unknown", "unknown"),
    "answer": (1, "succeeded", "succeeded"),
}
RETRIED = {
    "intent": (1, "nothing", "succeeded"),
    "send": (1, "unknown", "succeeded"),
    "reply": (2, "unknown", "succeeded"),
    "outcome": (2, "unknown", "succeeded"),
    "answer": (1, "succeeded", "succeeded"),
}


@pytest.fixture(scope="module")
def kills() -> dict[tuple[str, str], dict[str, Any]]:
    """What one kill led to, for each way to settle unknown outcomes and each point."""
    done = subprocess.run(
        [sys.executable, str(MATRIX), "--runs", "1", "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    found = [json.loads(line) for line in done.stdout.splitlines() if line]
    return {(one["variant"], one["point"]): one for one in found}


@pytest.mark.parametrize("point", HELD)
def test_a_call_that_is_held_takes_effect_once_at_most(
    kills: dict[tuple[str, str], dict[str, Any]], point: str
) -> None:
    found = kills["hold", point]
    assert (found["effects"], found["recorded"], found["answered"]) == HELD[point]


@pytest.mark.parametrize("point", RETRIED)
def test_a_call_that_may_be_made_twice_is_made_again(
    kills: dict[tuple[str, str], dict[str, Any]], point: str
) -> None:
    found = kills["retry", point]
    assert (found["effects"], found["recorded"], found["answered"]) == RETRIED[point]


def test_no_kill_loses_what_was_acknowledged_or_leaves_a_false_record(
    kills: dict[tuple[str, str], dict[str, Any]],
) -> None:
    assert len(kills) >= len(HELD) + len(RETRIED)
    for found in kills.values():
        assert not found["lost"], found
        assert not found["doubled"], found
        assert not found["false_success"], found
        assert not found["breaks"], found
