"""`mcpuppet explain`: pages about finding codes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from support.project import Project

from mcpuppet.cli.finding_codes import all_codes
from mcpuppet.examples_path import examples_folder

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["WF405", "wf405", "guard-reads-non-ancestor"])
def test_a_page_has_what_is_found_what_to_do_and_both_examples(project: Project, name: str) -> None:
    result = project.run("explain", name)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "WF405 guard-reads-non-ancestor (error)"
    assert any(line.startswith("help: ") for line in lines)
    assert lines.index("--- fails: fails.yaml") < lines.index("--- passes: passes.yaml")
    assert "    needs: fraud_check" in lines


def test_examples_of_several_files_are_shown_file_by_file(project: Project) -> None:
    titles = [
        line for line in project.run("explain", "WF210").stdout.splitlines() if line[:3] == "---"
    ]
    assert titles == [
        f"--- {kind}: {kind}/{name}"
        for kind in ("fails", "passes")
        for name in ("payments.yaml", "refunds.yaml", "mcpuppet.yaml")
    ]


def test_what_an_example_is_checked_with_is_shown(project: Project) -> None:
    assert "--- checked with: tools.json" in project.run("explain", "WF205").stdout.splitlines()


def test_without_a_code_all_are_listed(project: Project) -> None:
    lines = project.run("explain").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [code.number for code in all_codes()]


def test_json_has_the_same(project: Project) -> None:
    listed = json.loads(project.run("explain", "--json").stdout)
    assert [one["code"] for one in listed] == [code.number for code in all_codes()]
    one = json.loads(project.run("explain", "wf101", "--json").stdout)
    assert (one["slug"], one["can_be_ignored"]) == ("yaml-syntax", False)
    assert set(one["fails"]) == {"fails.yaml"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("guard-reads", "did you mean WF405 (guard-reads-non-ancestor)?"),
        ("WF999", "there is no finding code 'WF999'"),
        ("\x1b[31m", "`mcpuppet explain` lists them"),
    ],
)
def test_an_unknown_code_is_refused_with_the_closest(
    project: Project, name: str, words: str
) -> None:
    result = project.run("explain", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert "\x1b" not in result.stderr


def test_the_examples_travel_with_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    carried = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {ROOT / source: target for source, target in carried.items()}[examples_folder()] == (
        "mcpuppet/examples"
    )


def test_the_page_of_all_codes_takes_no_code(project: Project) -> None:
    assert project.run("explain", "WF101", "--markdown").exit_code == 2
