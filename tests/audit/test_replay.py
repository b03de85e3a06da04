"""Decisions made again from the records alone, and what somebody who forges records is told.

A forger here is as good as can be: the session is played by the real code under laxer rules that
are passed off as the recorded ones, so that chain, head, fold and state all hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.fakes import Clock, failed, succeeded
from support.histories import (
    WORKFLOWS,
    Content,
    MemoryReader,
    contents,
    emergency,
    in_memory,
    onboarding,
    payment,
    recorded,
    resealed,
    save,
)
from support.play import AGENT, Play, Shared, compiled, compiled_rules
from support.processes import open_only_here

from mcpuppet.audit.history import fold_records
from mcpuppet.audit.record import Record, open_record
from mcpuppet.audit.replay.store import Mismatch, ReplayReport, replay_store
from mcpuppet.audit.verify import verify_chains
from mcpuppet.errors import StoreError
from mcpuppet.session.asked import refused_call
from mcpuppet.session.call import Call
from mcpuppet.session.decision import Decision, Denied
from mcpuppet.session.events import RunEnded
from mcpuppet.session.outcome import Unknown
from mcpuppet.workflow.compiled import CompiledWorkflow
from mcpuppet.workflow.compiler import text_hash

SATURDAY = datetime(2026, 1, 10, 12, tzinfo=UTC)
LINE = "steps:\n  a: {tool: s.a}\n  b: {tool: s.b, needs: a}\n"
PAY = "inputs:\n  amount: {type: number, default: 10}\nsteps:\n"


def disguised(lax: str, strict: str) -> CompiledWorkflow:
    """Lax rules under the hash of the strict ones."""
    real = compiled(strict)
    return replace(compiled(lax), hash=real.hash, text=real.text)


def replayed(*plays: Play) -> ReplayReport:
    """The replay of what was recorded, once chain, fold and state were found to hold."""
    return report_on(recorded(plays))


def report_on(reader: MemoryReader) -> ReplayReport:
    assert verify_chains(reader, fold_records).breaks == ()
    return replay_store(reader.open)


def places(report: ReplayReport) -> list[tuple[str, int]]:
    return [(one.session_id, one.seq) for one in report.mismatches]


def rewritten(
    reader: MemoryReader, session_id: str, change: Callable[[list[Content]], None]
) -> None:
    """Change what records say, with chain, head and state mended."""
    inside = contents(reader.chains[session_id])
    change(inside)
    chain = resealed(session_id, inside)
    reader.put(session_id, chain)
    reader.states[session_id] = fold_records(open_record(one.body) for one in chain)


# --- honest sessions ----------------------------------------------------------------------------


def test_every_decision_of_the_shipped_workflows_comes_out_again(tmp_path: Path) -> None:
    save(tmp_path / "store.db", [onboarding(), payment(), emergency()])
    report = report_on(in_memory(tmp_path / "store.db"))
    assert report.mismatches == ()
    assert (report.sessions, report.decisions, report.rederived) == (3, 14, 7)
    assert report.followed == 49
    # Policies of two of them name roles, which nothing but the record says that the agent had.
    assert (report.consistent, report.not_derivable) == ({"roles": 7}, {})
    assert (report.unfollowed, report.unread) == ({}, {})


def test_a_pipeline_comes_out_again() -> None:
    play = Play(WORKFLOWS["data_pipeline"])
    play.call("data.validate_data", succeeded(errors=2))
    play.call("pipeline.quarantine")
    play.call("data.data_status")
    play.call("data.process_data", Unknown("timeout", "no answer"))
    held = next(iter(play.state.calls))
    play.do("resolved", held, True, "alice", "it is there")
    play.call("pipeline.load_table", failed(), table="fact_orders")
    play.later(seconds=9)
    for table in ("fact_orders", "dim_orders"):
        play.call("pipeline.load_table", table=table)
    play.call("pipeline.publish")
    for status in ("amber", "green"):
        play.call("pipeline.check_health", succeeded(status=status))
        play.later(seconds=9)
    assert play.run.status == "completed"
    report = replayed(play)
    assert report.mismatches == ()
    assert report.rederived == report.decisions == 10


# --- forged sessions ----------------------------------------------------------------------------


def forged(strict: str, lax: str, session_id: str = "session", **inputs: Any) -> Play:
    return Play(disguised(lax, strict), session_id=session_id, **inputs)


def skipped_approval() -> tuple[Play, int]:
    sign = "  sign: {approval: {roles: [boss], timeout: 1h}}\n"
    play = forged(
        f"steps:\n{sign}  pay: {{tool: s.pay, needs: sign}}\n",
        f"steps:\n{sign}  pay: {{tool: s.pay}}\n",
    )
    return called(play, "s.pay")


def called(play: Play, tool: str, **arguments: Any) -> tuple[Play, int]:
    """Make the forbidden call; gives the place of its record."""
    seq = len(play.history) + 1
    play.call(tool, **arguments)
    return play, seq


def wrong_order() -> tuple[Play, int]:
    return called(forged(LINE, LINE.replace(", needs: a", "")), "s.b")


def limit_exceeded() -> tuple[Play, int]:
    text = "steps:\n  a: {tool: s.a, retry: {attempts: 9, delay: 1s}}\n"
    policy = "policies:\n  - {id: few, call: a, at_most: %s, per: run}\n"
    play = forged(text + policy % 1, text + policy % 9)
    play.call("s.a", failed())
    play.later(seconds=30)
    return called(play, "s.a")


def sum_exceeded() -> tuple[Play, int]:
    policy = "policies:\n  - {id: cap, call: s.b, sum: args.n, at_most: %s, per: session}\n"
    play = forged(LINE + policy % 5, LINE + policy % 500)
    play.call("s.a")
    return called(play, "s.b", n=100)


def guard_false() -> tuple[Play, int]:
    text = LINE + "policies:\n  - {id: small, call: s.b, check: %s}\n"
    play = forged(text % "args.n < 5", text % "args.n > 5")
    play.call("s.a")
    return called(play, "s.b", n=7)


def out_of_hours() -> tuple[Play, int]:
    text = LINE + "policies:\n  - {id: open, call: s.a, hours: '%s UTC'}\n"
    strict, lax = text % "mon-fri 08:00-18:00", text % "mon-sun 00:00-24:00"
    play = Play(disguised(lax, strict), clock=Clock(SATURDAY))
    return called(play, "s.a")


def role_missing() -> tuple[Play, int]:
    text = LINE + "roles: [boss, worker]\npolicies:\n  - {id: who, call: s.a, roles: [%s]}\n"
    return called(forged(text % "boss", text % "boss, worker"), "s.a")


def other_arguments() -> tuple[Play, int]:
    text = PAY + "  a: {tool: s.a, args: {amount: {%s}}}\n"
    play = forged(text % "equals: inputs.amount", text % "type: number")
    return called(play, "s.a", amount=1000)


def mutex_in_the_run() -> tuple[Play, int]:
    text = "steps:\n  a: {tool: s.a}\n  b: {tool: s.b}\n  c: {tool: s.c}\n"
    policy = "policies:\n  - {id: one, call: [%s], mutex: true}\n"
    play = forged(text + policy % "a, b", text + policy % "a, c")
    play.start("s.a")
    seq = len(play.history) + 1
    play.start("s.b")
    return play, seq


def requires_another() -> tuple[Play, int]:
    text = (
        "steps:\n  a: {tool: s.a, optional: true}\n  b: {tool: s.b}\n  c: {tool: s.c}\n"
        "policies:\n  - {id: first, call: b, requires: [%s]}\n"
    )
    play = forged(text % "a.success", text % "c.success")
    play.call("s.c")
    return called(play, "s.b")


def forbidden_after() -> tuple[Play, int]:
    text = LINE + "policies:\n  - {id: not, call: b, forbidden_after: [%s]}\n"
    play = forged(text % "a.success", text % "a.failure")
    play.call("s.a")
    return called(play, "s.b")


def too_old() -> tuple[Play, int]:
    text = LINE + "policies:\n  - {id: soon, call: b, within: %s, of: a.success}\n"
    play = forged(text % "1m", text % "1d")
    play.call("s.a")
    play.later(hours=1)
    return called(play, "s.b")


def lenient_result() -> tuple[Play, int]:
    text = "steps:\n  a: {tool: s.a, returns: {ok: {type: %s}}}\n  b: {tool: s.b, needs: a}\n"
    play = forged(text % "boolean", text % "string")
    seq = len(play.history) + 3
    play.call("s.a", succeeded(ok="fine"))
    return play, seq


def guard_not_applied() -> tuple[Play, int]:
    text = PAY + "  a: {tool: s.a, when: inputs.amount > %s}\n  b: {tool: s.b}\n"
    play = forged(text % 50, text % 5)
    return called(play, "s.a")[0], 3


def early_retry() -> tuple[Play, int]:
    text = "steps:\n  a: {tool: s.a, retry: {attempts: 3, delay: %s}}\n"
    play = forged(text % "10m", text % "1s")
    play.call("s.a", failed())
    return play, len(play.history)


def smaller_quorum() -> tuple[Play, int]:
    text = (
        "steps:\n  sign: {approval: {roles: [boss], timeout: 1h, quorum: %s}}\n"
        "  pay: {tool: s.pay, needs: sign}\n"
    )
    play = forged(text % 2, text % 1)
    play.approve("sign", "alice")
    return called(play, "s.pay")[0], 3


FORGERIES = [
    skipped_approval,
    wrong_order,
    limit_exceeded,
    sum_exceeded,
    guard_false,
    out_of_hours,
    role_missing,
    other_arguments,
    mutex_in_the_run,
    requires_another,
    forbidden_after,
    too_old,
    lenient_result,
    guard_not_applied,
    early_retry,
    smaller_quorum,
]


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda one: one.__name__)
def test_a_forged_record_is_named(forge: Callable[[], tuple[Play, int]]) -> None:
    play, seq = forge()
    assert places(replayed(play)) == [("session", seq)]


def test_a_mismatch_says_what_is_recorded_and_what_the_rules_lead_to() -> None:
    play, seq = wrong_order()
    (found,) = replayed(play).mismatches
    assert found == Mismatch(
        "session", seq, "that s.b was called (step b)", "that s.b was refused by needs"
    )
    assert str(found) == (
        f"session 'session', record {seq}: it says that s.b was called (step b); "
        "by the rules it is that s.b was refused by needs"
    )


def test_a_call_that_a_person_was_not_asked_about_is_named() -> None:
    text = (
        "roles: [boss]\ntools: {allow: [s.a]}\n"
        "policies:\n  - {id: ask, call: s.a, ask: {roles: [boss], timeout: 1h}%s}\n"
    )
    strict, lax = compiled_rules(text % ""), compiled_rules(text % ", unless: 'true'")
    play = Play(rules=replace(lax, hash=strict.hash, text=strict.text))
    assert places(replayed(called(play, "s.a")[0])) == [("session", 3)]


def test_a_tool_that_no_file_lists_is_named() -> None:
    strict, lax = (compiled_rules(f"tools: {{allow: [{one}]}}\n") for one in ("s.a", "'*.*'"))
    play = Play(rules=replace(lax, hash=strict.hash, text=strict.text))
    play.call("s.a")
    play, seq = called(play, "s.drop")
    report = replayed(play)
    assert places(report) == [("session", seq)]
    assert report.consistent == {"settings": 1}


def test_other_arguments_than_a_person_saw_are_named() -> None:
    play = Play(
        "steps:\n  sign: {approval: {roles: [boss], timeout: 1h}}\n"
        "  pay: {tool: s.pay, needs: sign}\n"
    )
    play.attempt("s.pay", amount=10)
    play.approve("sign")
    seq = len(play.history) + 1
    play.call("s.pay", amount=10)
    reader = recorded([play])

    def pay_more(inside: list[Content]) -> None:
        inside[seq - 1][2]["arguments"] = {"amount": 1000}

    rewritten(reader, "session", pay_more)
    (found,) = report_on(reader).mismatches
    assert (found.seq, found.derived) == (seq, "that s.pay was refused by approval")


def test_a_vote_by_somebody_without_the_role_is_named() -> None:
    play = Play("steps:\n  sign: {approval: {roles: [boss], timeout: 1h}}\n")
    play.do("voted", play.approval("sign"), "alice", "content", "test")
    reader = recorded([play])
    seq = next(
        n for n, one in enumerate(contents(reader.chains["session"]), 1) if "Voted" in one[0]
    )
    rewritten(reader, "session", lambda inside: inside[seq - 1][2].update(roles=["worker"]))
    (found,) = report_on(reader).mismatches
    assert (found.seq, found.derived) == (
        seq,
        "impossible: alice has none of the roles that decide this",
    )


@pytest.mark.parametrize(
    ("elicit", "by", "good"),
    [
        (", elicit: true", "user of agent", True),
        (", elicit: true", "user of other", False),
        ("", "user of agent", False),
    ],
)
def test_a_yes_at_the_client_needs_a_step_that_asks_there(elicit: str, by: str, good: bool) -> None:
    play = Play(f"steps:\n  sign: {{approval: {{roles: [boss], timeout: 1h}}{elicit}}}\n")
    play.do("voted", play.approval("sign"), by, "content", "elicitation (some client)")
    assert replayed(play).ok is good


def test_a_grant_after_the_time_was_over_is_named() -> None:
    play = Play("steps:\n  sign: {approval: {roles: [boss], timeout: 1h}}\n")
    play.clock.advance(hours=2)  # and time is not looked at
    seq = len(play.history) + 1
    play.approve("sign")
    assert places(replayed(play)) == [("session", seq)]


def test_a_refusal_that_the_rules_do_not_make_is_named() -> None:
    play = forged(LINE.replace(", needs: a", ""), LINE)
    decision = play.decide("s.b")
    refuse(play, "s.b", decision)
    assert places(replayed(play)) == [("session", 3)]


def refuse(play: Play, tool: str, decision: Decision, **arguments: Any) -> None:
    assert isinstance(decision, Denied)
    told = (f"call_{len(play.history)}", Call(tool, arguments), AGENT)
    play.do("emit", refused_call(play.state, *told, decision, play._there(AGENT)))


SHARED_LIMIT = LINE + "policies:\n  - {id: day, call: a, at_most: 1, per: 1d}\n"
SHARED_LOCK = LINE + "policies:\n  - {id: one, call: a, mutex: true, scope: workflow}\n"


@pytest.mark.parametrize("rules", [SHARED_LIMIT, SHARED_LOCK])
def test_what_other_sessions_had_is_as_the_record_says(rules: str) -> None:
    shared = Shared()
    first = Play(rules, shared=shared, session_id="first")
    second = Play(rules, shared=shared, session_id="second")
    first.start("s.a")
    refuse(second, "s.a", second.decide("s.a"))
    report = replayed(first, second)
    assert report.mismatches == ()
    assert report.consistent == {"other sessions": 2}


@pytest.mark.parametrize("rules", [SHARED_LIMIT, SHARED_LOCK])
def test_a_call_against_what_others_had_is_named(rules: str) -> None:
    shared = Shared()
    Play(rules, shared=shared, session_id="first").start("s.a")
    honest = Play(rules, shared=shared, session_id="second")
    refuse(honest, "s.a", honest.decide("s.a"))
    forger = Play(rules, session_id="second")
    forger.call("s.a")
    reader = recorded([forger])
    told = contents(recorded([honest]).chains["second"])[2][2]["verdicts"]
    rewritten(reader, "second", lambda inside: inside[2][2].update(verdicts=told))
    assert places(report_on(reader)) == [("second", 3)]


def test_a_verdict_that_was_struck_out_is_named() -> None:
    play = Play(SHARED_LIMIT)
    play.call("s.a")
    reader = recorded([play])
    rewritten(reader, "session", lambda inside: inside[2][2].update(verdicts=[]))
    (found,) = report_on(reader).mismatches
    assert found.recorded.endswith("(verdicts)")


def test_an_ending_that_nothing_brought_about_is_named() -> None:
    play = Play(LINE)
    play.call("s.a")
    seq = len(play.history) + 1
    play.do("emit", RunEnded("completed", "every step that had to be done is done"))
    assert places(replayed(play)) == [("session", seq)]


# --- what cannot be made again ------------------------------------------------------------------


def test_without_its_text_nothing_is_derivable() -> None:
    play = called(Play(LINE), "s.a")[0]
    reader = recorded([play])
    reader.texts.clear()
    report = replay_store(reader.open)
    assert report.not_derivable == {"a text of its rules is not in the store": 1}
    assert report.unfollowed == {"a text of its rules is not in the store": 3}
    assert report.ok


def test_a_text_that_was_changed_is_not_followed() -> None:
    reader = recorded([called(Play(LINE), "s.a")[0]])
    reader.texts = dict.fromkeys(reader.texts, "mcpuppet: 1\n")
    report = replay_store(reader.open)
    assert report.not_derivable == {"a text of its rules has been changed": 1}


def test_a_text_that_holds_no_rules_is_not_followed() -> None:
    reader = recorded([called(Play(LINE), "s.a")[0]])
    name = text_hash("][")
    rewritten(reader, "session", lambda inside: inside[1][2].update(hash=name))
    reader.texts[name] = "]["
    report = replay_store(reader.open)
    assert report.not_derivable == {"a text of its rules cannot be compiled": 1}


def test_records_of_an_earlier_version_are_counted_apart() -> None:
    play = called(Play(LINE), "s.a")[0]
    reader = recorded([play])

    def forget(inside: list[Content]) -> None:
        for name in ("settings", "before", "credential"):
            del inside[2][2][name]

    rewritten(reader, "session", forget)
    report = report_on(reader)
    assert report.ok
    assert report.decisions == sum(report.not_derivable.values()) == 1


def test_what_the_settings_said_cannot_be_left_out_later() -> None:
    play = called(Play(LINE), "s.a")[0]
    play, seq = called(play, "s.b")
    reader = recorded([play])
    rewritten(reader, "session", lambda inside: inside[seq - 1][2].update(settings={}))
    assert places(report_on(reader)) == [("session", seq)]


def test_arguments_that_were_not_kept_hide_no_call_out_of_turn() -> None:
    play, seq = wrong_order()
    reader = recorded([play])
    rewritten(reader, "session", lambda inside: inside[seq - 1][2].update(arguments=None))
    assert places(report_on(reader)) == [("session", seq)]


def test_a_call_whose_arguments_were_not_kept_is_counted_apart() -> None:
    reader = recorded([called(Play(LINE), "s.a")[0]])
    gone = {"arguments": None, "arguments_bytes": 100_000}
    rewritten(reader, "session", lambda inside: inside[2][2].update(gone))
    assert report_on(reader).not_derivable == {"the arguments were not kept": 1}


@pytest.mark.parametrize("size", [0, 10, 64 * 1024])
def test_arguments_that_were_short_enough_to_be_kept_cannot_be_missing(size: int) -> None:
    play, seq = other_arguments()
    reader = recorded([play])
    gone = {"arguments": None, "arguments_bytes": size}
    rewritten(reader, "session", lambda inside: inside[seq - 1][2].update(gone))
    assert places(report_on(reader)) == [("session", seq)]


def test_a_result_that_was_short_enough_to_be_kept_cannot_be_missing() -> None:
    play, _ = lenient_result()
    reader = recorded([play])
    seq = next(at for at, one in enumerate(reader.chains["session"], 1) if b"CallSucc" in one.body)
    rewritten(reader, "session", lambda inside: inside[seq - 1][2].update(result=None))
    assert places(report_on(reader)) == [("session", seq)]


def test_what_a_call_leaves_behind_cannot_be_left_out_of_its_record() -> None:
    text = (
        "tools: {allow: [s.a, s.b]}\npolicies:\n  - {id: not, call: s.b, forbidden_after: [%s]}\n"
    )
    strict, lax = compiled_rules(text % "s.a.success"), compiled_rules(text % "s.a.failure")
    play = Play(rules=replace(lax, hash=strict.hash, text=strict.text))
    play.call("s.a")
    play.call("s.b")
    reader = recorded([play])

    def forget(inside: list[Content]) -> None:
        for _, _, data in inside:
            data.pop("marks", None)

    rewritten(reader, "session", forget)
    assert places(report_on(reader)) == [("session", 3)]


@pytest.mark.parametrize("words", ["[secret:x]", "<redacted:x>", '{"$c":"x"}'])
def test_words_that_look_like_something_hidden_excuse_nothing(words: str) -> None:
    text = "inputs: {x: {type: string}}\nsteps:\n"
    sign = "  sign: {approval: {roles: [boss], timeout: 1h}}\n"
    lax = f"{text}{sign}  a: {{tool: s.a}}\n"
    play = forged(lax.replace("s.a", "s.a, needs: sign"), lax, x=words)
    play, seq = called(play, "s.a", note=words)
    assert places(replayed(play)) == [("session", seq)]


def test_a_person_who_was_never_asked_is_missed_whatever_is_redacted() -> None:
    text = "inputs: {x: {type: string}}\nsteps:\n"
    sign = "  sign: {approval: {roles: [boss], timeout: 1h}}\n"
    play = forged(
        f"{text}{sign}  pay: {{tool: s.pay, needs: sign}}\n",
        f"{text}{sign}  pay: {{tool: s.pay}}\n",
        x=f"<redacted:{'0' * 64}>",
    )
    play, seq = called(play, "s.pay")
    assert places(replay_store(recorded([play]).open)) == [("session", seq)]


def test_roles_that_only_the_record_states_prove_nothing() -> None:
    play, seq = role_missing()
    reader = recorded([play])
    more = {"roles": ["boss", "worker"]}
    rewritten(reader, "session", lambda inside: inside[seq - 1][2]["settings"].update(more))
    report = report_on(reader)
    assert (report.rederived, report.consistent) == (0, {"roles": 1})


@pytest.mark.parametrize("rule", ["schema", "unknown_tool", "server_unavailable"])
def test_refusals_that_depended_on_a_server_are_counted_apart(rule: str) -> None:
    play = Play(LINE)
    refuse(play, "s.a", Denied(rule, "so it was"))
    report = replayed(play)
    assert report.ok
    assert sum(report.not_derivable.values()) == 1


def test_a_schema_is_no_reason_where_the_rules_had_refused() -> None:
    play = Play(LINE)
    refuse(play, "s.b", Denied("schema", "so it was", "b"))
    assert places(replayed(play)) == [("session", 3)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"kind":1}',
        b'{"kind":"CallStarted","at":"x","data":{}}',
        b"\xff",
    ],
)
def test_a_spoilt_record_ends_its_session_and_no_other(body: bytes) -> None:
    one, two = Play(LINE, session_id="one"), Play(LINE, session_id="two")
    for play in (one, two):
        play.call("s.a")
    reader = recorded([one, two])
    last = reader.chains["one"][2]
    reader.chains["one"][2] = Record("one", last.seq, body, last.hash)
    report = replay_store(reader.open)
    assert sum(report.unread.values()) == 1
    assert report.rederived == 1
    assert report.ok is (body == b"")  # a removed one is for verification to judge


@pytest.mark.parametrize("field", ["tool", "arguments", "verdicts", "settings", "principal"])
@pytest.mark.parametrize("value", [1, "x", [["x"]], {"roles": 5}, {"roles": [[]]}, None])
def test_a_decision_of_the_wrong_form_is_never_followed(field: str, value: Any) -> None:
    play = called(Play(LINE), "s.a")[0]
    reader = recorded([play])
    inside = contents(reader.chains["session"])
    inside[2][2][field] = value
    reader.put("session", resealed("session", inside))
    report = replay_store(reader.open)
    assert report.rederived == 0


def test_sessions_can_be_chosen() -> None:
    plays = [called(Play(LINE, session_id=name), "s.a")[0] for name in ("one", "two")]
    report = replay_store(recorded(plays).open, ["two"])
    assert (report.sessions, report.decisions) == (1, 1)


def test_processes_that_share_the_sessions_out_come_to_the_same() -> None:
    honest = [called(Play(LINE, session_id=f"honest-{number:02}"), "s.a")[0] for number in range(9)]
    lax = LINE.replace(", needs: a", "")
    forgeries = [called(forged(LINE, lax, f"forged-{number:02}"), "s.b")[0] for number in range(9)]
    reader = recorded([*honest, *forgeries])
    alone = replay_store(reader.open, processes=1)
    assert [one.session_id for one in alone.mismatches] == [
        f"forged-{number:02}" for number in range(9)
    ]
    assert replay_store(reader.open, processes=2) == alone


def test_a_share_that_was_not_played_is_an_error_and_never_left_out() -> None:
    reader = recorded([called(Play(LINE), "s.a")[0]])
    with pytest.raises(StoreError, match="ended before"):
        replay_store(partial(open_only_here, os.getpid(), reader), processes=2)


def test_the_classes_add_up() -> None:
    play = called(Play(SHARED_LIMIT), "s.a")[0]
    play.call("s.b")
    report = replayed(play)
    assert (report.decisions, report.rederived) == (2, 1)
    assert report.consistent == {"other sessions": 1}
