"""The exports that other systems read: each is held to its format by readers nobody here wrote."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import rfc8785
from cloudevents.core.formats.json import JSONFormat
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from support import histories

from mcpuppet.audit.exports import FORMATS, Entry, entries
from mcpuppet.store.sqlite_reader import open_view

NASTY = "=cmd|' /C calc'!A0 | \\ \r\n\x1b[31m \u202e\ud800 a=b"
HOSTILE = Entry(
    leaf=7,
    session_id="ses_x",
    seq=1,
    hash="0" * 64,
    kind="CallDenied",
    at=datetime(2026, 1, 31, tzinfo=UTC),
    data={"reason": NASTY, "arguments": {NASTY: [1, None, 1.5, True]}},
    who=NASTY,
    tool=f"bank.{NASTY}",
    status="denied",
    rule=NASTY,
    reason=NASTY,
    call_id="call_1",
    seconds=0.25,
)
PRUNED = Entry(8, "ses_x", 2, "1" * 64, "Pruned", None, {})


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    path = tmp_path_factory.mktemp("store") / "mcpuppet.db"
    histories.save(path, [histories.onboarding(), histories.payment(), histories.emergency()])
    with open_view(path) as reader:
        return [*entries(reader, reader.session_ids()), HOSTILE, PRUNED]


def written(form: str, trail: list[Entry]) -> list[str]:
    lines = list(FORMATS[form](iter(trail)))
    assert all(line.encode("utf-8") for line in lines)
    return lines


def test_an_outcome_carries_what_is_known_of_its_call(trail: list[Entry]) -> None:
    ended = [one for one in trail if one.kind == "CallSucceeded"]
    assert ended
    assert all(one.tool and one.who == "agent" and len(one.digest) == 64 for one in ended)
    assert {one.status for one in ended} == {"success"}
    denied = next(one for one in trail if one.kind == "CallDenied")
    assert (denied.status, bool(denied.rule), bool(denied.reason)) == ("denied", True, True)
    assert next(one for one in trail if one.kind == "ApprovalBypassed").who != "agent"


def test_only_records_of_the_span_are_given(tmp_path: Path) -> None:
    path = tmp_path / "mcpuppet.db"
    story = histories.onboarding()
    histories.save(path, [story])
    begin = story.acts[0][1]
    with open_view(path) as reader:
        ids = list(reader.session_ids())
        whole = list(entries(reader, ids))
        assert list(entries(reader, ids, since=begin, until=begin)) == []
        later = list(entries(reader, ids, since=begin + timedelta(microseconds=1)))
        first = list(entries(reader, ids, until=begin + timedelta(microseconds=1)))
    assert [*first, *later] == whole
    assert first
    assert later


@pytest.mark.parametrize("form", FORMATS)
def test_every_record_is_in_every_form(form: str, trail: list[Entry]) -> None:
    found = "\n".join(written(form, trail))
    for entry in trail:
        assert entry.hash in found


def test_csv_is_a_table_in_which_nothing_is_a_formula(trail: list[Entry]) -> None:
    rows = list(csv.DictReader(io.StringIO("\n".join(written("csv", trail)), newline="")))
    assert len(rows) == len(trail)
    assert [int(row["leaf"]) for row in rows] == [one.leaf for one in trail]
    cells = [cell for row in rows for cell in row.values()]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert rows[-2]["who"] == "'" + NASTY.replace("\ud800", "?")


CEF_HEADER = re.compile(r"CEF:0\|(?:(?:[^|\\]|\\.)*\|){5}(10|[0-9])\|")
CEF_PAIR = re.compile(r"(?:^| )([A-Za-z0-9]+)=((?:[^=\\]|\\.)*)(?= [A-Za-z0-9]+=|$)")


def test_cef_lines_are_printable_and_their_fields_can_be_told_apart(trail: list[Entry]) -> None:
    for line, entry in zip(written("cef", trail), trail, strict=True):
        assert line.isascii()
        assert line.isprintable()
        header = CEF_HEADER.match(line)
        assert header is not None
        fields = dict(CEF_PAIR.findall(line[header.end() :]))
        assert fields["externalId"] == f"{entry.session_id}/{entry.seq}"
        assert fields["cs4"] == entry.hash
        assert fields.get("outcome") == entry.status


@cache
def ocsf_schema() -> Any:
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.8.0"))
    return schema.get_class_schema("api_activity", ["ai_operation"])


def test_ocsf_events_are_valid_under_the_published_schema(trail: list[Entry]) -> None:
    validator = jsonschema.Draft202012Validator(ocsf_schema())
    for line in written("ocsf", trail):
        event = json.loads(line)
        assert list(validator.iter_errors(event)) == []
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**event, "class_uid": 1})


def test_cloudevents_are_read_by_the_reference_library(trail: list[Entry]) -> None:
    ids = set()
    for line, entry in zip(written("cloudevents", trail), trail, strict=True):
        event = JSONFormat().read(None, line)
        assert event.get_type() == f"dev.mcpuppet.{entry.kind}"
        assert event.get_subject() == entry.session_id
        assert event.get_data() == dict(entry.data)
        ids.add(event.get_id())
    assert len(ids) == len(trail)


AAT_FIELDS = {
    "record_id",
    "timestamp",
    "agent_id",
    "agent_version",
    "session_id",
    "action_type",
    "action_detail",
    "outcome",
    "trust_level",
    "parent_record_id",
    "prev_hash",
    "record_phase",
}
AAT_ACTIONS = {
    "tool_call",
    "tool_response",
    "decision",
    "delegation",
    "escalation",
    "error",
    "lifecycle",
}


def chains(records: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for session in dict.fromkeys(one["session_id"] for one in records):
        yield [one for one in records if one["session_id"] == session]


def test_aat_records_are_chained_by_the_canonical_form_of_the_one_before(
    trail: list[Entry],
) -> None:
    records = [json.loads(line) for line in written("aat", trail)]
    for record in records:
        assert set(record) == AAT_FIELDS
        assert record["action_type"] in AAT_ACTIONS
        assert record["outcome"] in {"success", "failure", "timeout", "denied", "escalated"}
        assert record["record_phase"] in {"pre_execution", "post_execution", "concurrent"}
    for chain in chains(records):
        parents = [None, *(one["record_id"] for one in chain)]
        hashes = [None, *(hashlib.sha256(rfc8785.dumps(one)).hexdigest() for one in chain)]
        assert [one["parent_record_id"] for one in chain] == parents[:-1]
        assert [one["prev_hash"] for one in chain] == hashes[:-1]


@pytest.mark.parametrize("form", FORMATS)
def test_no_entry_at_all_is_an_empty_export(form: str) -> None:
    write: Callable[..., Iterator[str]] = FORMATS[form]
    assert len(list(write(iter(())))) == (1 if form == "csv" else 0)
