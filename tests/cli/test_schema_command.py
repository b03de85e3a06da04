"""`mcpuppet schema`: the schema for editors, printed or put where they look."""

from __future__ import annotations

import json

from support.project import Project

from mcpuppet.workflow.language_schema import language_schema


def test_it_prints_the_schema(project: Project) -> None:
    result = project.run("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == language_schema()


def test_installing_writes_it_and_says_which_line_to_add(project: Project) -> None:
    result = project.run("schema", "--install")
    written = project.folder / ".mcpuppet" / "workflow.v1.json"
    assert (result.exit_code, result.stdout) == (0, ".mcpuppet/workflow.v1.json\n")
    assert json.loads(written.read_text()) == language_schema()
    line = "# yaml-language-server: $schema=../.mcpuppet/workflow.v1.json"
    assert line in result.stderr
    place = line.partition("=")[2]
    assert (project.folder / "workflows" / place).resolve() == written.resolve()


def test_installing_again_brings_an_old_one_up_to_date(project: Project) -> None:
    (project.folder / ".mcpuppet").mkdir()
    written = project.folder / ".mcpuppet" / "workflow.v1.json"
    written.write_text("{}")
    assert project.run("schema", "--install").exit_code == 0
    assert json.loads(written.read_text()) == language_schema()


def test_a_place_that_cannot_be_written_is_a_sentence(project: Project) -> None:
    (project.folder / ".mcpuppet").write_text("in the way")
    result = project.run("schema", "--install")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: cannot write .mcpuppet")
