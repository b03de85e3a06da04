"""A report as HTML, Markdown, JSON and CSV: all of it, and nothing from outside acts in any."""

from __future__ import annotations

import base64
import csv
import hashlib
import html.parser
import io
import json
import re
import typing
from typing import Any

import pytest
from support.told import BEFORE, EVENTS, LATER, report_of, started

from mcpuppet.audit.reports.contents import session_document
from mcpuppet.audit.reports.csv_format import COLUMNS, csv_chunks
from mcpuppet.audit.reports.document import Picture
from mcpuppet.audit.reports.html_format import html_chunks
from mcpuppet.audit.reports.markdown_format import markdown_chunks
from mcpuppet.audit.reports.report import ComplianceReport
from mcpuppet.session import events as e

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)> | `a` [x](javascript:1) \u202egpj.exe"
    "\u202c \x1b[2J \u200b\ud800 http://evil.example &lt; ''\" --> @team #1 </pre></style>\r\n# x"
)
FORMULAE = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", " =1", "\uff1d1", "|x", "%x")


def html_of(report: ComplianceReport) -> str:
    return "".join(html_chunks(session_document(report)))


def markdown_of(report: ComplianceReport) -> str:
    return "".join(markdown_chunks(session_document(report)))


def rows_of(report: ComplianceReport) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(csv_chunks([report])), newline="")))


class Page(html.parser.HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "col"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile() -> ComplianceReport:
    """Everything that a model, a server or a person may have written is hostile."""
    values: dict[str, Any] = {"tool": HOSTILE, "arguments": {HOSTILE: HOSTILE}, "node": HOSTILE}
    return report_of(
        e.SessionOpened(HOSTILE, "5" * 64),
        e.RunStarted("run", HOSTILE, HOSTILE, "h" * 64, {"x": HOSTILE}, (), HOSTILE, LATER),
        started("call_1", **values, principal=HOSTILE, credential=HOSTILE, step=HOSTILE),
        e.CallFailed("call_1", HOSTILE, HOSTILE, None, 0.1),
        e.CallDenied(
            "call_2", HOSTILE, {"x": HOSTILE}, "d" * 64, HOSTILE, HOSTILE, HOSTILE, HOSTILE
        ),
    )


@pytest.mark.parametrize("kind", typing.get_args(e.Event), ids=lambda kind: kind.__name__)
def test_every_kind_of_event_shows_in_every_format(kind: type[e.Event]) -> None:
    report = report_of(*BEFORE, EVENTS[kind])
    name = kind.__name__
    assert name in html_of(report)
    assert name in markdown_of(report)
    assert name in [one["kind"] for one in report.to_dict()["events"]]
    assert rows_of(report)[-1]["kind"] == name


def test_a_page_is_well_formed_has_no_script_and_loads_nothing() -> None:
    page = Page(html_of(hostile()))
    assert page.open == []
    names = {name for name, _ in page.tags}
    assert not names & {"script", "img", "iframe", "object", "embed", "link", "form", "base"}
    for _, attributes in page.tags:
        assert not any(one.startswith("on") or one in ("src", "style") for one in attributes)
        assert attributes.get("href") is None or str(attributes["href"]).startswith("#")


def test_the_policy_of_a_page_allows_its_own_style_and_nothing_else() -> None:
    text = html_of(hostile())
    page = Page(text)
    (policy,) = [
        str(attributes["content"])
        for name, attributes in page.tags
        if name == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    wanted = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert policy == wanted


def test_every_entry_of_the_contents_leads_to_a_section() -> None:
    page = Page(html_of(report_of(*BEFORE)))
    links = [str(one["href"])[1:] for name, one in page.tags if name == "a"]
    assert links == [one["id"] for name, one in page.tags if name == "section"]


def test_hidden_characters_are_spelled_out_everywhere() -> None:
    report = hostile()
    for text in (html_of(report), markdown_of(report), "".join(csv_chunks([report]))):
        assert not set(text) & {"\u202e", "\u202c", "\x1b", "\u200b", "\ud800"}
        text.encode()
    assert "\\u202egpj.exe\\u202c" in Page(html_of(report)).text


def test_nothing_from_outside_is_markdown() -> None:
    text = markdown_of(hostile())
    outside = re.sub(r"\\.", "", text)  # what is escaped is text
    assert not re.search(r"<(?!br>|!-- -->)", outside)
    assert "](javascript" not in outside
    assert "http:" not in outside
    assert not re.search(r"(?m)^# x", text)


def test_tables_in_markdown_have_as_many_cells_in_every_row() -> None:
    table: list[int] = []
    for line in [*markdown_of(hostile()).splitlines(), ""]:
        if line.startswith("|"):
            table.append(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)))
        else:
            assert len(set(table)) <= 1, table
            table = []


def test_a_workflow_with_fences_stays_in_its_fence() -> None:
    report = report_of(*BEFORE, text_of=lambda _: "a: 1\n````\n# out\n")
    text = markdown_of(report)
    assert "`````yaml\na: 1\n````\n# out\n`````\n" in text


@pytest.mark.parametrize("formula", FORMULAE)
def test_no_cell_of_a_csv_begins_a_formula(formula: str) -> None:
    report = report_of(*BEFORE, started("call_2", tool=formula, principal=formula))
    row = rows_of(report)[-1]
    assert row["tool"].startswith("'")
    assert row["who"].startswith("'")


def test_a_csv_has_a_row_for_each_record_and_the_whole_call_in_its_decision() -> None:
    report = report_of(*BEFORE, EVENTS[e.CallSucceeded], EVENTS[e.CallDenied])
    text = "".join(csv_chunks([report]))
    assert text.endswith("\r\n")
    assert len(text.split("\r\n")) == 1 + 8 + 1
    assert text.split("\r\n")[0] == ",".join(COLUMNS)
    calls = [row for row in rows_of(report) if row["decision"]]
    assert [(one["decision"], one["outcome"], one["seconds"]) for one in calls] == [
        ("allowed", "succeeded", "0.100000"),
        ("denied", "", ""),
    ]


def test_a_csv_reads_back_what_was_in_it() -> None:
    arguments = {"text": 'a, "b"; c'}
    (row,) = rows_of(report_of(started("call_1", arguments=arguments)))
    assert json.loads(row["arguments"]) == arguments


def test_redacted_values_are_named_by_the_start_of_their_commitment() -> None:
    hidden = "1a2b3c4d" + "0" * 56
    arguments = {"card": {"$c": hidden}, "note": f"card <redacted:{hidden}>"}
    report = report_of(started("call_1", arguments=arguments))
    for text in (Page(html_of(report)).text, "".join(csv_chunks([report]))):
        assert "[redacted 1a2b3c4d]" in text
        assert hidden not in text
    assert hidden in report.to_json()


def test_long_arguments_are_cut_with_their_length_and_whole_in_json() -> None:
    report = report_of(started("call_1", arguments={"x": "y" * 5_000}))
    assert "(5,009 characters)" in html_of(report)
    assert "y" * 5_000 in report.to_json()


def test_a_picture_of_a_run_stands_in_the_page_and_is_named_in_markdown() -> None:
    drawn = Picture("<svg><g></g></svg>", lambda: b"", "How it went.")
    document = session_document(report_of(*BEFORE), {"run_1": drawn})
    assert "<svg><g></g></svg>" in "".join(html_chunks(document))
    assert "How it went." in "".join(markdown_chunks(document))


def test_the_summary_says_how_far_the_records_were_verified() -> None:
    text = Page(html_of(report_of(*BEFORE))).text
    assert "1 of 1 session intact, 0 wholly under a signed checkpoint" in text
    assert "decisions were not derived again" in text


def test_the_json_form_is_versioned_and_has_every_count() -> None:
    data = json.loads(report_of(*BEFORE, EVENTS[e.ApprovalBypassed]).to_json())
    assert (data["mcpuppet_report"], data["kind"]) == (1, "session")
    assert data["totals"]["bypasses"] == 1
    assert {one["clause"] for one in data["evidence"]} >= {"CC6.1", "A.6.2.8", "Art. 14", "MCP08"}
