"""A report as PDF."""

from __future__ import annotations

import re

import pytest
from support.told import BEFORE, EVENTS, report_of, started

from mcpuppet.audit.reports.contents import session_document

pytest.importorskip("reportlab", reason="the extra `pdf` is not installed")

from mcpuppet.audit.reports.pdf_format import pdf_bytes


def test_a_report_with_every_kind_of_event_becomes_a_pdf_and_always_the_same() -> None:
    document = session_document(report_of(*BEFORE, *EVENTS.values()))
    data = pdf_bytes(document)
    assert data.startswith(b"%PDF-")
    assert data == pdf_bytes(document)


@pytest.mark.parametrize(
    "text", ["<b>x</b> & </para>", "\u202e\x1b\ud800 日本 \U0001f600", "x" * 20_000, "&#x41; <br/>"]
)
def test_no_text_from_outside_keeps_a_report_from_being_written(text: str) -> None:
    call = started("call_1", tool=text, arguments={text: text}, principal=text)
    report = report_of(*BEFORE[:2], call, text_of=lambda _: f"{text}\n{text}")
    assert pdf_bytes(session_document(report)).startswith(b"%PDF-")


def test_a_pdf_runs_nothing_and_loads_nothing() -> None:
    data = pdf_bytes(session_document(report_of(*BEFORE)))
    for found in re.findall(rb"stream\r?\n(.*?)endstream", data, re.DOTALL):
        assert b"/JavaScript" not in found
    for name in (b"/JavaScript", b"/JS", b"/Launch", b"/URI", b"/OpenAction"):
        assert name not in data
