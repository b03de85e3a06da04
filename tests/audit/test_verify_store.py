"""A real store, and what somebody who can write to its file may do to it."""

from __future__ import annotations

import io
import itertools
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.histories import (
    WORKFLOWS,
    Content,
    MemoryReader,
    contents,
    emergency,
    in_memory,
    intruder,
    onboarding,
    payment,
    resealed,
    rewrite,
    save,
)

from mcpuppet.audit.history import fold_records
from mcpuppet.audit.monitor import AuditMonitor
from mcpuppet.audit.record import leaf_hash, open_record
from mcpuppet.audit.verify import verify_store
from mcpuppet.cli.report_view import render_report
from mcpuppet.errors import AuditError
from mcpuppet.store.sqlite_reader import open_view


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    save(folder / "store.db", [onboarding(), payment(), emergency()])
    return folder


@pytest.fixture
def path(good: Path, tmp_path: Path) -> Path:
    """A copy of the good store, to be spoilt."""
    shutil.copytree(good, tmp_path / "copy")
    return tmp_path / "copy" / "store.db"


def found(path: Path) -> list[tuple[str, int]]:
    """Where verification finds breaks; the report of each session must find the same."""
    report = verify_store(partial(open_view, path))
    monitor = AuditMonitor(partial(open_view, path))
    for session_id in ("onboarding", "payment", "emergency"):
        chain = monitor.generate_compliance_report(session_id).chain
        expected = [it.what for it in report.breaks if it.session_id == session_id]
        assert [it.what for it in chain.breaks] == expected
        assert chain.status == ("broken" if expected else "intact")
    return [(it.session_id, it.seq) for it in report.breaks]


def what(path: Path) -> str:
    return " / ".join(it.what for it in verify_store(partial(open_view, path)).breaks)


def seq_of(inside: list[Content], kind: str) -> int:
    """The first record of a kind."""
    return next(seq for seq, one in enumerate(inside, start=1) if one[0] == kind)


def run(path: Path, sql: str, *values: Any) -> None:
    """One or several statements of an intruder; `values` are those of the first."""
    connection = intruder(path)
    for number, statement in enumerate(sql.split(";")):
        connection.execute(statement, values if number == 0 else ())
        assert connection.changes() > 0
    connection.close()


def test_a_good_store_holds_and_is_counted(path: Path) -> None:
    report = verify_store(partial(open_view, path))
    assert report.breaks == ()
    assert report.ok
    assert (report.sessions, report.records) == (3, 63)
    assert found(path) == []


def test_records_fold_to_the_stored_state(path: Path) -> None:
    reader = in_memory(path)
    for session_id, chain in reader.chains.items():
        folded = fold_records(open_record(record.body) for record in chain)
        assert folded == reader.states[session_id]


def test_no_record_folds_to_nothing() -> None:
    with pytest.raises(AuditError, match="there is no record"):
        fold_records([])


# --- without mending the chain ------------------------------------------------------------------


def test_a_denial_edited_into_a_permission_is_reported_at_that_record(path: Path) -> None:
    body = in_memory(path).chains["onboarding"][2].body
    assert b'"CallDenied"' in body
    edited = body.replace(b'"CallDenied"', b'"CallStarted"')
    run(path, "UPDATE record SET body=? WHERE session='onboarding' AND seq=3", edited)
    assert found(path) == [("onboarding", 3)]


def test_an_edit_with_its_hash_mended_is_reported_at_the_link(path: Path) -> None:
    body = in_memory(path).chains["payment"][10].body.replace(b"timeout", b"timeOut")
    sql = "UPDATE record SET body=?, hash=? WHERE session='payment' AND seq=11"
    run(path, sql, body, leaf_hash(body))
    assert found(path) == [("payment", 12)]


@pytest.mark.parametrize("place", [-5, 0, 900])
def test_a_record_without_its_place_in_the_log_is_a_break(path: Path, place: int) -> None:
    run(path, f"UPDATE record SET position={place} WHERE session='payment' AND seq=1")
    (only_one,) = verify_store(partial(open_view, path)).breaks
    assert "do not lie one after another" in only_one.what


def test_a_deleted_record_is_reported_where_it_was(path: Path) -> None:
    run(path, "DELETE FROM record WHERE session='onboarding' AND seq=11")
    assert found(path) == [("onboarding", 11)]


def test_a_cut_tail_is_reported_where_it_was_cut(path: Path) -> None:
    run(path, "DELETE FROM record WHERE session='payment' AND seq>=13")
    assert found(path) == [("payment", 13)]


def test_a_cut_tail_with_its_head_moved_does_not_fold_to_the_state(path: Path) -> None:
    rewrite(path, "payment", lambda inside: inside.__delitem__(slice(12, None)))
    assert found(path) == [("payment", 12)]
    assert "the stored state differs" in what(path)


def test_swapped_records_are_both_reported(path: Path) -> None:
    move = "UPDATE record SET seq={} WHERE session='onboarding' AND seq={}"
    run(path, ";".join(move.format(*one) for one in ((1000, 4), (4, 6), (6, 1000))))
    assert {seq for _, seq in found(path)} >= {4, 6}
    assert {session for session, _ in found(path)} == {"onboarding"}


def test_a_record_moved_to_another_session_is_reported_in_both(path: Path) -> None:
    run(path, "UPDATE record SET session='payment', seq=19 WHERE session='onboarding' AND seq=25")
    assert set(found(path)) >= {("onboarding", 25), ("payment", 19)}


def test_a_session_stripped_of_its_row_is_reported(path: Path) -> None:
    run(path, "DELETE FROM session WHERE id='emergency'")
    assert ("emergency", 0) in found(path)


# --- with the chain and its head mended ---------------------------------------------------------


def test_a_changed_state_is_reported_at_the_head(path: Path) -> None:
    state = in_memory(path).states["payment"].replace(b'"completed"', b'"cancelled"')
    run(path, "UPDATE session SET state=? WHERE id='payment'", state)
    assert found(path) == [("payment", 18)]
    assert "the stored state differs" in what(path)


def test_a_state_of_an_earlier_version_counts_as_it_is_read_today(path: Path) -> None:
    state = json.loads(in_memory(path).states["payment"])
    del state["asks"]  # what this version adds, and is empty in such a session
    run(path, "UPDATE session SET state=? WHERE id='payment'", json.dumps(state).encode())
    assert found(path) == []


def test_a_state_that_cannot_be_read_is_reported_at_the_head(path: Path) -> None:
    run(path, "UPDATE session SET state=? WHERE id='payment'", b"{}")
    assert found(path) == [("payment", 18)]


def test_a_denial_rewritten_as_a_permission_leaves_a_call_that_the_state_lacks(path: Path) -> None:
    def permit(inside: list[Content]) -> None:
        kind, at, data = inside[2]
        assert kind == "CallDenied"
        for name in ("rule", "reason"):
            del data[name]
        new = {"purpose": "always", "attempt": 1, "uses": [], "grants": [], "node": "n"}
        inside[2] = ("CallStarted", at, {**data, **new})

    rewrite(path, "onboarding", permit)
    assert found(path) == [("onboarding", 25)]


def test_an_inserted_second_outcome_is_reported_where_it_was_inserted(path: Path) -> None:
    def insert(inside: list[Content]) -> None:
        seq = seq_of(inside, "CallFailed")
        _, at, data = inside[seq_of(inside, "CallSucceeded") - 1]
        inside.insert(seq, ("CallSucceeded", at, {**data, "call_id": "call_6"}))

    rewrite(path, "onboarding", insert)
    assert found(path) == [("onboarding", 18)]
    assert "call 'call_6' ends a second time" in what(path)


def test_success_after_an_unknown_outcome_is_a_second_outcome(path: Path) -> None:
    def insert(inside: list[Content]) -> None:
        _, at, data = inside[3]
        inside.insert(11, ("CallSucceeded", at, {**data, "call_id": "call_2"}))

    rewrite(path, "payment", insert)
    assert found(path) == [("payment", 12)]
    assert "ends a second time" in what(path)


def test_an_outcome_of_a_call_that_was_never_started_is_reported(path: Path) -> None:
    def rename(inside: list[Content]) -> None:
        inside[4][2]["call_id"] = "call_9"

    rewrite(path, "onboarding", rename)
    assert found(path) == [("onboarding", 5)]
    assert "never started" in what(path)


def test_an_outcome_put_before_its_call_is_reported(path: Path) -> None:
    def swap(inside: list[Content]) -> None:
        inside[3], inside[4] = inside[4], inside[3]

    rewrite(path, "onboarding", swap)
    assert found(path) == [("onboarding", 4)]


@pytest.mark.parametrize(
    ("session_id", "kind", "change", "seq", "sentence"),
    [
        ("onboarding", "ApprovalGranted", {"by": ["mallory"]}, 12, "others than those who voted"),
        ("onboarding", "ApprovalGranted", {"approval_id": "apr_9"}, 12, "was not open"),
        ("onboarding", "ApprovalVoted", {"by": "agent"}, 11, "has asked for"),
        ("onboarding", "ApprovalOpened", {"quorum": 2}, 12, "1 of the 2 people"),
        ("onboarding", "CallDeferred", {"call_id": "call_1"}, 10, "was decided before"),
        ("payment", "ApprovalBypassed", {"by": "agent"}, 9, "has asked for"),
        ("payment", "CallStarted", {"grants": ["apr_2_payment"]}, 3, "which was not given"),
        ("payment", "CallResolved", {"call_id": "call_1"}, 13, "did not wait to be settled"),
        ("payment", "StepHeld", {"call_id": "call_7"}, 12, "had not ended"),
        ("emergency", "ApprovalRejected", {"approval_id": "apr_9"}, 11, "was not open"),
        ("emergency", "StepReturned", {"step": "verify"}, 5, "is not a change"),
        ("emergency", "RunEnded", {"status": "completed"}, 18, "is not a change"),
        ("emergency", "RunStarted", {"steps": ["notify"]}, 9, "approve"),
    ],
)
def test_a_forged_event_is_reported_at_the_first_record_that_shows_it(
    path: Path, session_id: str, kind: str, change: dict[str, Any], seq: int, sentence: str
) -> None:
    def forge(inside: list[Content]) -> None:
        inside[seq_of(inside, kind) - 1][2].update(change)

    rewrite(path, session_id, forge)
    assert found(path) == [(session_id, seq)]
    assert sentence in what(path)


def test_a_grant_without_any_vote_is_reported(path: Path) -> None:
    def drop_vote(inside: list[Content]) -> None:
        del inside[seq_of(inside, "ApprovalVoted") - 1]

    rewrite(path, "onboarding", drop_vote)
    assert found(path) == [("onboarding", 11)]


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("CallStarted", "attempt", "1"),
        ("CallStarted", "attempt", True),
        ("CallStarted", "grants", "apr_2"),
        ("CallStarted", "purpose", "emergency"),
        ("CallStarted", "purpose", []),
        ("CallStarted", "arguments", []),
        ("CallStarted", "step", {}),
        ("CallStarted", "extra", 1),
        ("CallSucceeded", "seconds", 1e300),
        ("CallSucceeded", "seconds", -1),
        ("RunStarted", "steps", "validate"),
        ("RunStarted", "expires_at", "2026-02-04T09:00:00"),
        ("RunStarted", "expires_at", "0001-01-01T00:00:00.000000+14:00"),
        ("RunEnded", "status", "splendid"),
    ],
)
def test_a_retyped_field_is_reported_at_its_record(
    path: Path, kind: str, field: str, value: object
) -> None:
    places: list[int] = []

    def retype(inside: list[Content]) -> None:
        places.append(seq_of(inside, kind))
        inside[places[0] - 1][2][field] = value

    rewrite(path, "onboarding", retype)
    assert found(path) == [("onboarding", places[0])]


def test_a_retyped_record_is_reported_at_that_record(path: Path) -> None:
    def retype(inside: list[Content]) -> None:
        inside[2] = ("CallForgotten", *inside[2][1:])

    rewrite(path, "onboarding", retype)
    assert found(path) == [("onboarding", 3)]
    assert "CallForgotten" in what(path)


# --- workflows ----------------------------------------------------------------------------------


def test_a_changed_workflow_is_reported_at_every_run_of_it(path: Path) -> None:
    run(
        path,
        "UPDATE workflow SET text=replace(text, 'quorum', 'Quorum') || '#'"
        " WHERE name='emergency_response'",
    )
    assert found(path) == [("emergency", 2), ("emergency", 19)]
    assert "has been changed" in what(path)


def test_a_removed_workflow_is_reported(path: Path) -> None:
    run(path, "DELETE FROM workflow WHERE name='financial_processing'")
    assert found(path) == [("payment", 2)]
    assert "is not in the store" in what(path)


def test_breaks_of_several_sessions_come_in_order(path: Path) -> None:
    run(
        path,
        "DELETE FROM workflow WHERE name='customer_onboarding';"
        "DELETE FROM record WHERE session='payment' AND seq=7;"
        "UPDATE session SET state=x'7b7d' WHERE id='onboarding'",
    )
    assert found(path) == [("onboarding", 2), ("onboarding", 25), ("payment", 7)]


# --- content that cannot even be read -----------------------------------------------------------


def test_a_workflow_text_that_is_no_text_is_a_break(path: Path) -> None:
    run(path, "UPDATE workflow SET text=CAST(x'ff41' AS TEXT) WHERE name='financial_processing'")
    assert found(path) == [("payment", 2)]
    assert "cannot be read" in what(path)


def test_a_session_id_that_is_no_text_is_a_break(path: Path) -> None:
    run(path, "UPDATE session SET id=CAST(x'ff41' AS TEXT) WHERE id='payment'")
    report = verify_store(partial(open_view, path))
    assert not report.ok
    assert any("the list of sessions cannot be read on" in it.what for it in report.breaks)


def test_rows_of_the_wrong_type_are_breaks(path: Path) -> None:
    connection = intruder(path)
    connection.execute("ALTER TABLE record RENAME TO old")
    connection.execute("CREATE TABLE record(position, session, seq, body, hash)")
    connection.execute("INSERT INTO record SELECT * FROM old")
    connection.execute("UPDATE record SET body='text' WHERE session='payment' AND seq=5")
    connection.execute("UPDATE record SET hash=NULL WHERE session='onboarding' AND seq=5")
    connection.close()
    assert set(found(path)) >= {("onboarding", 5), ("payment", 5)}


def test_every_flipped_byte_is_reported_at_its_record(path: Path) -> None:
    reader = in_memory(path)
    for session_id, chain in reader.chains.items():
        for record in chain:
            place = (record.seq * 37) % len(record.body)
            body = bytearray(record.body)
            body[place] ^= 1 << (record.seq % 8)
            spoilt = [*chain]
            spoilt[record.seq - 1] = type(record)(session_id, record.seq, bytes(body), record.hash)
            broken = MemoryReader({**reader.chains, session_id: spoilt}, reader.heads, {}, {})
            report = verify_store(broken.open)
            mine = [it.seq for it in report.breaks if it.session_id == session_id]
            assert mine[0] == record.seq


HOSTILE: tuple[object, ...] = (
    None,
    True,
    -1,
    10**400,
    0.5,
    "",
    "mapping",
    "\ud800[bold]\x1b[2J\u202e:lock:",
    [],
    ["x", 1],
    [[]],
    {},
    {"a": [{}]},
)


def test_no_forged_value_makes_verification_or_its_report_fail(path: Path) -> None:
    """Every field of every record is set to odd values, in a chain that holds."""
    good = in_memory(path)
    values, tried = itertools.cycle(HOSTILE), 0
    for session_id, chain in good.chains.items():
        for index, (_, _, data) in enumerate(contents(chain)):
            for name in (name for name in data for _ in range(2)):
                inside = contents(chain)
                inside[index][2][name] = next(values)
                check_survives(only(good, session_id, inside), whole=tried % 10 == 0)
                tried += 1
    assert tried > 600


def check_survives(reader: MemoryReader, whole: bool) -> None:
    (session_id,) = reader.chains
    report = verify_store(reader.open)
    assert {it.session_id for it in report.breaks} <= {session_id}
    if whole:
        shown = AuditMonitor(reader.open).generate_compliance_report(session_id)
        assert [it.seq for it in shown.chain.breaks] == [it.seq for it in report.breaks]
        json.loads(shown.to_json())
        render_report(shown, Console(file=io.StringIO(), width=80))


def only(good: MemoryReader, session_id: str, inside: list[Content]) -> MemoryReader:
    """Only this session, with this inside."""
    reader = MemoryReader({}, {}, {session_id: good.states[session_id]}, good.texts)
    reader.put(session_id, resealed(session_id, inside))
    return reader


# --- what it cannot show ------------------------------------------------------------------------


def test_a_session_rewritten_with_its_head_and_state_is_not_noticed_and_reports_say_so(
    path: Path,
) -> None:
    def hide_the_denial(inside: list[Content]) -> None:
        del inside[2]

    rewrite(path, "onboarding", hide_the_denial)  # a denial leaves no trace in the state
    assert found(path) == []
    report = AuditMonitor(partial(open_view, path)).generate_compliance_report("onboarding")
    assert report.violations == ()
    assert "No signed checkpoint was compared with" in report.statement
    assert len(WORKFLOWS) == 5
