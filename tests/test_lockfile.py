"""The lock file: what is pinned, what counts as a change, and files that cannot be trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mcpuppet.errors import InvalidInputError
from mcpuppet.lockfile import compare, lock_path, lock_text, read_lock, write_lock
from mcpuppet.workflow.tool_pins import changes, pin_digest

PAY: dict[str, Any] = {
    "name": "pay",
    "description": "Pay \u202e an amount.",
    "inputSchema": {"type": "object", "properties": {"amount": {"type": "number"}}},
    "annotations": {"readOnlyHint": False},
}
LOOK: dict[str, Any] = {"name": "look", "inputSchema": {"type": "object"}}
TOOLS = {"bank.pay": PAY, "bank.look": LOOK}


def altered(**parts: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(PAY)), **parts}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "mcpuppet.lock"
    write_lock(path, TOOLS)
    return path


def refusal(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(InvalidInputError) as caught:
        read_lock(path)
    return str(caught.value).removeprefix(str(path))


def test_what_is_written_is_read_back(lock: Path) -> None:
    read = read_lock(lock)
    assert read is not None
    assert read.tools == TOOLS
    assert not compare(read.tools, TOOLS)
    assert [one.name for one in lock.parent.iterdir()] == ["mcpuppet.lock"]


def test_there_need_not_be_a_lock_file(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "mcpuppet.lock") is None


def test_it_is_beside_the_settings() -> None:
    assert lock_path(Path("a", "other.yaml")) == Path("a", "mcpuppet.lock")


def test_the_same_tools_give_the_same_text() -> None:
    shuffled = {name: dict(reversed(one.items())) for name, one in reversed(TOOLS.items())}
    assert lock_text(shuffled) == lock_text(TOOLS)


def test_no_character_can_hide_in_it(lock: Path) -> None:
    assert "\\u202e" in lock.read_text(encoding="ascii")


def test_only_what_a_model_or_a_person_sees_is_pinned() -> None:
    assert pin_digest(altered(_meta={"x": 1}, icons=[])) == pin_digest(PAY)


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        (altered(description="Pay. " * 9), ["description changed"]),
        (altered(name="pay2"), ['name changed from "pay" to "pay2"']),
        (altered(title="Pay"), ["title was added"]),
        (altered(outputSchema={}), ["outputSchema was added"]),
        (
            altered(annotations={"readOnlyHint": True}),
            ["annotations.readOnlyHint changed from false to true"],
        ),
        (
            altered(inputSchema={"type": "object", "properties": {"amount": {}, "cc": {}}}),
            [
                "inputSchema.properties.amount.type was removed",
                "inputSchema.properties.cc was added",
            ],
        ),
    ],
)
def test_every_pinned_part_counts(tool: dict[str, Any], words: list[str]) -> None:
    assert changes(PAY, tool)[: len(words)] == words
    assert compare({"bank.pay": PAY}, {"bank.pay": tool}).breaks_pins


def test_a_number_written_in_another_way_is_a_change() -> None:
    one, other = (altered(inputSchema={"maximum": number}) for number in (1, 1.0))
    assert pin_digest(one) != pin_digest(other)
    assert changes(one, other) == ["inputSchema.maximum changed from 1 to 1.0"]


def test_many_changes_are_counted() -> None:
    many = altered(inputSchema={str(number): 1 for number in range(9)})
    assert len(changes(PAY, many)) == 5
    assert changes(PAY, many)[-1].endswith("more changes")


def test_a_tool_more_breaks_no_pin() -> None:
    drift = compare({"bank.pay": PAY}, TOOLS)
    assert (drift.added, drift.removed, drift.changed) == (("bank.look",), (), {})
    assert drift
    assert not drift.breaks_pins


def test_a_tool_less_does() -> None:
    drift = compare(TOOLS, {"bank.pay": PAY})
    assert drift.removed == ("bank.look",)
    assert drift.breaks_pins


def test_a_definition_altered_by_hand_is_noticed(lock: Path) -> None:
    text = lock.read_text()
    line = text[: text.index('"bank.pay"')].count("\n") + 1
    problem = refusal(lock, text.replace('"number"', '"string"'))
    assert problem.startswith(f":{line}: the definition of 'bank.pay' is not the one")
    assert "mcpuppet pin" in problem


def test_parts_that_are_not_pinned_cannot_be_added_by_hand(lock: Path) -> None:
    text = lock.read_text().replace('"name": "pay"', '"name": "pay", "icons": []')
    assert "is not the one that was pinned" in refusal(lock, text)


def test_a_definition_under_another_name_is_noticed(lock: Path) -> None:
    text = lock.read_text().replace('"bank.look":', '"bank.loot":')
    assert "'bank.loot' holds the definition of 'look'" in refusal(lock, text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ":1:1: not JSON: Expecting value"),
        ('{\n "tools": }', ":2:11: not JSON"),
        ("<<<<<<< HEAD\n", ":1:1: not JSON"),
        ("[]", ":1: it is no lock file: it holds no JSON object"),
        ('{"tools": {}}', ":1: it is no lock file: it lacks `mcpuppet_lock`"),
        ('{\n"mcpuppet_lock": 2}', ":2: it has the format 2; this MCPuppet reads 1"),
        ('{"mcpuppet_lock": true}', ":1: it has the format True"),
        ('{"mcpuppet_lock": 1}', ":1: it lacks the mapping `tools`"),
        ('{"mcpuppet_lock": 1, "tools": {\n"a.b": 1}}', ":2: 'a.b' is not a mapping"),
        ('{"mcpuppet_lock": 1,\n"mcpuppet_lock": 1}', ":1: the key 'mcpuppet_lock' is there twice"),
        ('{"mcpuppet_lock": NaN}', ":1: NaN is not JSON"),
        ("[" * 100_000, ":1: it is nested too deeply"),
        (
            '{"mcpuppet_lock": 1, "tools": {"a.b": {"sha256": "", "definition": {}}}}',
            ":1: the definition of 'a.b' has no inputSchema",
        ),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    assert refusal(tmp_path / "mcpuppet.lock", text).startswith(problem)


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot write"):
        write_lock(tmp_path / "nowhere" / "mcpuppet.lock", TOOLS)
