"""Which surface a client gets, and what tools are called, without any client."""

from __future__ import annotations

import itertools

import pytest

from mcpuppet.gateway.surface import surface_for
from mcpuppet.gateway.tool_names import META_TOOLS, exposed_names


@pytest.mark.parametrize(
    ("client", "surface"),
    [
        ("claude-code", "dynamic"),
        ("Visual Studio Code", "dynamic"),
        ("Visual Studio Code - Insiders", "dynamic"),
        ("Visual-Studio-Code", "dynamic"),
        ("cursor-vscode", "dynamic"),
        ("Cline", "dynamic"),
        ("mcp-inspector", "dynamic"),
        ("claude-ai", "stable"),
        ("local-agent-mode-x", "stable"),
        ("Codex", "stable"),
        ("cursory", "stable"),
        ("", "stable"),
        (None, "stable"),
    ],
)
def test_a_client_that_is_not_known_to_list_again_gets_the_stable_surface(
    client: str | None, surface: str
) -> None:
    assert surface_for("auto", client) == surface


def test_the_settings_decide_before_the_name_does() -> None:
    assert surface_for("stable", "claude-code") == "stable"
    assert surface_for("dynamic", "claude-ai") == "dynamic"


def test_names_that_collide_with_nothing_stay_as_they_are() -> None:
    assert exposed_names(["a.read", "b.write"]) == {"a.read": "read", "b.write": "write"}


def test_of_two_tools_with_one_name_both_carry_their_server() -> None:
    assert exposed_names(["a.read", "b.read", "b.write"]) == {
        "a.read": "a__read",
        "b.read": "b__read",
        "b.write": "write",
    }


def test_no_server_can_take_the_name_of_a_meta_tool() -> None:
    names = exposed_names([f"evil.{one}" for one in META_TOOLS])
    assert list(names.values()) == [f"evil__{one}" for one in META_TOOLS]


@pytest.mark.parametrize(
    "tools",
    [
        ["a.read", "b.read", "c.a__read"],
        ["a.b__c", "a__b.c", "x.b__c", "x.c"],
        ["a.read", "b.read", "c.a__read", "d.a__read", "e.a.read"],
        ["a.workflow_start", "b.a__workflow_start", "c.a.workflow_start"],
    ],
)
def test_names_are_unique_whatever_the_tools_are_called_and_in_whatever_order(
    tools: list[str],
) -> None:
    names = exposed_names(tools)
    assert len({*names.values(), *META_TOOLS}) == len(tools) + len(META_TOOLS)
    for order in itertools.permutations(tools):
        assert exposed_names(order) == names
