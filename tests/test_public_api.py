"""The public calls, word for word as the project promises them, on real servers."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import mcpuppet
from mcpuppet.demo.folder import write_folder

ROOT = Path(__file__).parent.parent
PROMISED = """
result = await orchestrator.execute_workflow(template="customer_onboarding", session_id="customer_123",
                                             data={"name": "John Doe", "email": "john@example.com"})
await orchestrator.call_tool("session_1", "process_data", {})   # refused: validate_data first
await orchestrator.call_tool("session_1", "validate_data", {})
await orchestrator.call_tool("session_1", "process_data", {})   # now allowed
report = orchestrator.audit_monitor.generate_compliance_report("session_1")
"""
PROGRAM = """
import asyncio
import mcpuppet

async def main():
    async with mcpuppet.open_orchestrator("mcpuppet.yaml") as orchestrator:
{promised}
        assert result.status == "completed", result
        assert list(result.results) == ["validate", "process", "backup", "notify"], result
        calls = [(call.tool, call.decision, call.outcome) for call in report.calls]
        print(calls)

asyncio.run(main())
"""


def test_every_public_name_can_be_imported() -> None:
    for name in mcpuppet.__all__:
        assert getattr(mcpuppet, name).__name__ == name


def test_the_promised_calls_work_as_written(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "playground").root
    program = PROGRAM.format(promised=textwrap.indent(PROMISED, "        "))
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == str(
        [
            ("data.process_data", "denied", None),
            ("data.validate_data", "allowed", "succeeded"),
            ("data.process_data", "allowed", "succeeded"),
        ]
    )
