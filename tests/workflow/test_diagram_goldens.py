"""One small picture for each part of the grammar, byte for byte as it was looked at by a person.

To renew them: `MCPUPPET_RENEW_GOLDENS=1 pytest -n 0 tests/workflow/test_diagram_goldens.py`, then
look at every picture that changed, in both colour schemes.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcpuppet.library import check_files
from mcpuppet.workflow.definition import Definition
from mcpuppet.workflow.diagram import LiveState, PictureFormat, picture
from mcpuppet.workflow.parser import parse_workflow

GOLDENS = Path(__file__).parent / "goldens"
ELEMENTS = sorted(one.stem for one in GOLDENS.glob("*.yaml"))
ENDINGS: dict[PictureFormat, str] = {"svg": "svg", "mermaid": "mmd"}
LIVE = LiveState(
    statuses={"approve": "bypassed", "pay": "running"},
    refused={"pay": 1},
    caption=("session ses_golden · after record 9 of 12 (CallStarted), 2026-01-05 09:30:00 UTC",),
)


def defined(name: str) -> Definition:
    parsed = parse_workflow((GOLDENS / f"{name}.yaml").read_bytes(), f"{name}.yaml")
    assert parsed.definition is not None, [str(one) for one in parsed.findings]
    return parsed.definition


def compare(path: Path, drawn: bytes) -> None:
    if os.environ.get("MCPUPPET_RENEW_GOLDENS"):
        path.write_bytes(drawn)
    is_same = path.exists() and path.read_bytes() == drawn
    assert is_same, f"{path.name} is drawn differently; the head of {Path(__file__).name} says more"


@pytest.mark.parametrize("format", ENDINGS)
@pytest.mark.parametrize("name", ELEMENTS)
def test_each_element_is_drawn_as_it_was_looked_at(name: str, format: PictureFormat) -> None:
    drawn = picture(defined(name), format, theme="auto")
    compare(GOLDENS / f"{name}.{ENDINGS[format]}", drawn)


@pytest.mark.parametrize("format", ENDINGS)
def test_a_run_is_drawn_as_it_was_looked_at(format: PictureFormat) -> None:
    drawn = picture(defined("bypass"), format, theme="auto", live=LIVE)
    compare(GOLDENS / f"live.{ENDINGS[format]}", drawn)


def test_the_shipped_pictures_are_those_of_the_shipped_workflows() -> None:
    project = Path(__file__).parents[2]
    for file in check_files([project / "workflows"]):
        definition = file.definition or file.rules
        assert definition is not None, [str(one) for one in file.errors]
        shipped = project / "diagrams" / f"{definition.name}.svg"
        drawn = picture(definition, "svg", theme="auto")
        assert shipped.read_bytes() == drawn, f"{shipped.name}: `mcpuppet render` draws it anew"
