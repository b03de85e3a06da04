"""What a guard reads of a result."""

from __future__ import annotations

from typing import Any

import pytest

from mcpuppet.session.outcome import error_text, result_value


def texts(*words: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text} for text in words]}


@pytest.mark.parametrize(
    ("result", "value"),
    [
        (texts('{"a": 1}') | {"structuredContent": {"b": 2}}, {"b": 2}),
        (texts('{"a": 1}'), {"a": 1}),
        (texts("plain"), {"text": "plain"}),
        (texts("[1]"), {"text": "[1]"}),
        (texts('{"a": NaN}'), {"text": '{"a": NaN}'}),
        (texts('{"a": 1}', "b"), {"text": '{"a": 1}\nb'}),
        (texts("[" * 100_000), {"text": "[" * 100_000}),
        ({"content": [{"type": "image", "data": "", "mimeType": "image/png"}]}, {"text": ""}),
        ({}, {"text": ""}),
    ],
)
def test_guards_see_structure_first_then_json_then_text(
    result: dict[str, Any], value: dict[str, Any]
) -> None:
    assert result_value(result) == value


def test_an_error_is_told_in_the_first_words_of_the_tool() -> None:
    assert error_text(texts("no such file", "more")) == "no such file"
    assert "no text" in error_text({"content": []})
