"""Workflows, rules and shared files together: read from a folder, compiled, and recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpuppet.errors import AuditError, InvalidInputError, InvalidWorkflowError
from mcpuppet.library import (
    Library,
    check_files,
    compile_files,
    compile_rules_files,
    shared_tools,
    workflow_files,
)
from mcpuppet.settings import Settings
from mcpuppet.store.sqlite import SqliteStore
from mcpuppet.workflow.compiler import text_hash
from mcpuppet.workflow.recorded import recompile, recompile_rules

WORKFLOW = "mcpuppet: 1\nworkflow: w\nversion: 1.0.0\nsteps:\n  a: {tool: s.a}\n"
RULES = "mcpuppet: 1\nrules: r\nversion: 1.0.0\ntools: {allow: [s.a]}\n"
SHARED = "mcpuppet: 1\nshared: c\npolicies:\n  - {id: once, call: s.a, at_most: 1, per: session}\n"
USE = "use: common/c.yaml\n"


def write(folder: Path, **texts: str) -> Path:
    """A folder of workflow files, by their names without the ending."""
    (folder / "common").mkdir(parents=True)
    (folder / "common" / "c.yaml").write_text(SHARED)
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_a_folder_holds_workflows_rules_and_shared_files(tmp_path: Path) -> None:
    files = check_files([write(tmp_path / "f", c=SHARED, r=RULES, w=WORKFLOW)])
    assert [str(one) for file in files for one in file.findings] == []
    assert [(one.definition is not None, one.rules is not None) for one in files] == [
        (False, False),
        (False, True),
        (True, False),
    ]
    assert list(compile_files(files)) == ["w"]
    assert list(compile_rules_files(files)) == ["r"]


def test_a_shared_file_with_a_mistake_keeps_everything_from_being_compiled(tmp_path: Path) -> None:
    files = check_files([write(tmp_path / "f", c=SHARED + "steps: {}\n", w=WORKFLOW)])
    for compile_them in (compile_files, compile_rules_files):
        with pytest.raises(InvalidWorkflowError, match=r"c\.yaml:5:1: WF103"):
            compile_them(files)


def test_a_mistake_in_a_file_that_two_use_is_told_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", w=WORKFLOW + USE, v=WORKFLOW.replace("w\n", "v\n") + USE)
    (folder / "common" / "c.yaml").write_text(SHARED + "zzz: 1\n")
    with pytest.raises(InvalidWorkflowError) as caught:
        compile_files(check_files([folder]))
    assert [str(one.place) for one in caught.value.findings] == [f"{folder}/common/c.yaml:5:1"]


@pytest.mark.parametrize(
    ("other", "column"), [(WORKFLOW, 11), (RULES.replace("rules: r", "rules: w"), 8)]
)
def test_two_files_of_one_name_are_a_finding_whatever_their_kind(
    other: str, column: int, tmp_path: Path
) -> None:
    files = check_files([write(tmp_path / "f", a=WORKFLOW, b=other)])
    assert [f"{one.code.number} {one.place}" for one in files[1].findings] == [
        f"WF112 {tmp_path}/f/b.yaml:2:{column}"
    ]


def test_a_tool_of_rules_is_not_shared_with_a_workflow(tmp_path: Path) -> None:
    settings = Settings((), tmp_path / "db", hash="0" * 64)
    other = WORKFLOW.replace("w\n", "v\n")
    rules_and_workflow = check_files([write(tmp_path / "f", r=RULES, w=WORKFLOW)])
    assert list(shared_tools(settings, rules_and_workflow)) == []
    two_workflows = check_files([write(tmp_path / "g", v=other, w=WORKFLOW)])
    assert [one.code.number for one in shared_tools(settings, two_workflows)] == ["WF210"]


def test_paths_that_hold_no_workflow_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="holds no workflow"):
        workflow_files([tmp_path / "empty"])
    with pytest.raises(InvalidInputError, match="does not exist"):
        workflow_files([tmp_path / "gone"])


def test_what_is_taken_over_is_part_of_the_hash_and_compiles_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", w=WORKFLOW + USE)
    first = compile_files(check_files([folder]))["w"]
    assert [one.id for one in first.all_policies] == ["once"]
    again = recompile(first.text, first.hash)
    assert (again.hash, again.text, again.definition) == (
        first.hash,
        first.text,
        first.definition,
    )
    (folder / "common" / "c.yaml").write_text(SHARED.replace("at_most: 1", "at_most: 2"))
    assert compile_files(check_files([folder]))["w"].hash != first.hash


def test_rules_compile_again_with_the_values_of_their_facts(tmp_path: Path) -> None:
    facts = "facts: {v: {from_file: v.csv, column: iban}}\n"
    folder = write(tmp_path / "f", r=RULES + facts)
    (folder / "v.csv").write_text("iban\nIT60\n")
    first = compile_rules_files(check_files([folder]))["r"]
    (folder / "v.csv").unlink()
    again = recompile_rules(first.text, first.hash)
    assert again.facts == first.facts
    assert "IT60" in first.text


def test_recorded_text_that_is_not_what_it_should_be_is_refused() -> None:
    with pytest.raises(AuditError, match="has been changed"):
        recompile(WORKFLOW, text_hash(WORKFLOW + "#"))
    with pytest.raises(AuditError, match="holds no workflow"):
        recompile(RULES, text_hash(RULES))
    with pytest.raises(AuditError, match="holds no rules"):
        recompile_rules(WORKFLOW, text_hash(WORKFLOW))
    with pytest.raises(AuditError, match="cannot be read"):
        recompile(SHARED, text_hash(SHARED))


@pytest.mark.anyio
async def test_what_was_recorded_is_found_by_its_hash(tmp_path: Path) -> None:
    files = check_files([write(tmp_path / "f", r=RULES + USE, w=WORKFLOW + USE)])
    workflow, rules = compile_files(files)["w"], compile_rules_files(files)["r"]
    store = SqliteStore(tmp_path / "db")
    try:
        library = Library({"w": workflow}, store, {"r": rules})
        assert (library.workflows, library.rules) == ({"w": workflow}, {"r": rules})
        assert await library.by_hash(workflow.hash) is workflow
        assert await library.rules_by_hash(rules.hash) is rules
        for one in (workflow, rules):
            await library.keep(one)
        later = Library({}, store)
        assert (await later.by_hash(workflow.hash)).text == workflow.text
        assert (await later.rules_by_hash(rules.hash)).text == rules.text
        with pytest.raises(AuditError, match="lacks the text"):
            await later.rules_by_hash("0" * 64)
        with pytest.raises(AuditError, match="holds no workflow"):
            await later.by_hash(rules.hash)
    finally:
        await store.close()
