"""Facts: what a session remembers of results, and when it no longer knows."""

from __future__ import annotations

from typing import Any

import pytest
from support.fakes import failed, succeeded
from support.play import Play, compiled_rules

from mcpuppet.session.decision import Allowed, AskNeeded, Denied
from mcpuppet.session.outcome import Failed, Succeeded, Unknown

LOST = Unknown("timeout", "no answer")
KEYED = "from: air.get, key: args.id, keep: [cabin, paid]"
SET = 'from: bank.list, take: "result.items[].to", max: 3'


def knowing(fact: str, check: str, mode: str = "check") -> Play:
    """A session whose `air.act` is checked against one fact; with `unless` it asks instead."""
    rule = "check: >-" if mode == "check" else "ask: {roles: [boss], timeout: 1h}\n    unless: >-"
    return Play(
        rules=f"""
roles: [boss]
tools: {{allow: ["air.*", "bank.*"]}}
facts:
  known: {{{fact}}}
policies:
  - id: rule
    call: air.act
    {rule}
      {check}
""",
        checked=True,
    )


def holds(play: Play, **arguments: Any) -> bool:
    return isinstance(play.decide("air.act", **arguments), Allowed)


def reason(play: Play, **arguments: Any) -> str:
    decision = play.decide("air.act", **arguments)
    assert isinstance(decision, Denied), decision
    return decision.reason


def items(*values: Any) -> Succeeded:
    return succeeded(items=[{"to": value, "n": 1} for value in values])


# --- keyed --------------------------------------------------------------------------------------


def test_what_was_read_under_a_key_is_known_and_all_else_names_the_read_to_make() -> None:
    play = knowing(KEYED, 'facts.known[args.id].cabin == "business"')
    assert reason(play, id="A").endswith("call air.get(id='A') first")
    play.call("air.get", succeeded(cabin="business", secret=1), id="A")
    assert holds(play, id="A")
    assert reason(play, id="B").endswith("call air.get(id='B') first")
    fact = play.state.memory["house"].facts["known"]
    assert dict(fact.keyed) == {"A": {"cabin": "business"}}
    play.call("air.get", succeeded(cabin="economy"), id="A")
    assert reason(play, id="A").endswith("does not hold")


def test_a_field_that_the_result_did_not_have_is_not_known() -> None:
    play = knowing(KEYED, "facts.known[args.id].paid")
    play.call("air.get", succeeded(cabin="business"), id="A")
    assert not holds(play, id="A")


@pytest.mark.parametrize("outcome", [failed("cabin=business"), LOST, Failed("invalid_result", "x")])
def test_a_read_that_did_not_succeed_teaches_nothing(outcome: Any) -> None:
    play = knowing(KEYED, 'facts.known[args.id].cabin == "business"')
    play.call("air.get", outcome, id="A")
    assert "first" in reason(play, id="A")
    play.call("air.get", succeeded(cabin="business"), id="A")
    play.call("air.get", outcome, id="A")
    assert holds(play, id="A")


@pytest.mark.parametrize("key", [1, 1.5, True, None, ["A"]])
def test_a_key_that_is_no_text_teaches_nothing(key: Any) -> None:
    play = knowing(KEYED, 'facts.known[args.id].cabin == "business"')
    play.call("air.get", succeeded(cabin="business"), id=key)
    assert not holds(play, id=key)
    play.call("air.get", succeeded(cabin="business"))
    assert play.state.memory == {}


def test_a_key_may_be_read_from_the_result() -> None:
    play = knowing(
        "from: air.get, key: result.id, keep: [cabin]", 'facts.known[args.id].cabin == "business"'
    )
    play.call("air.get", succeeded(id="A", cabin="business"), lang="en")
    assert holds(play, id="A")
    play.call("air.get", succeeded(id=7, cabin="business"))
    play.call("air.get", succeeded(cabin="business"))
    assert list(play.state.memory["house"].facts["known"].keyed) == ["A"]


def test_a_key_may_be_made_of_arguments_and_result() -> None:
    play = knowing(
        'from: air.get, key: "args.line + result.id", keep: [cabin]',
        'facts.known["LH1"].cabin == "business"',
    )
    play.call("air.get", succeeded(id="1", cabin="business"), line="LH", secret="x" * 1000)
    assert holds(play)


def test_of_too_many_keys_the_one_learned_first_is_forgotten_in_every_process() -> None:
    play = knowing(f"{KEYED}, max: 3", 'facts.known[args.id].cabin == "x"')
    for key in ("D", "A", "C", "D", "B"):  # D is learned again, so that A is the oldest
        play.call("air.get", succeeded(cabin="x"), id=key)
    assert [key for key in "ABCD" if holds(play, id=key)] == ["B", "C", "D"]
    play.call("air.get", succeeded(cabin="x"), id="A")
    assert [key for key in "ABCD" if holds(play, id=key)] == ["A", "B", "D"]


def test_a_result_that_is_too_large_to_keep_makes_its_key_unknown() -> None:
    play = knowing(KEYED, 'facts.known[args.id].cabin != ""')
    for key in "AB":
        play.call("air.get", succeeded(cabin="x"), id=key)
    play.call("air.get", succeeded(cabin="x" * 20_000), id="A")
    play.call("air.get", succeeded(cabin="x" * 20_000), id="C")
    assert [key for key in "ABC" if holds(play, id=key)] == ["B"]


def test_a_result_that_is_too_large_to_record_can_teach_a_small_fact() -> None:
    play = knowing(KEYED, 'facts.known[args.id].cabin == "x"')
    play.call("air.get", succeeded(cabin="x", page="y" * 200_000), id="A")
    assert holds(play, id="A")


# --- sets ---------------------------------------------------------------------------------------


def test_a_set_is_what_the_last_read_had() -> None:
    play = knowing(SET, "args.to in facts.known")
    assert reason(play, to="x").endswith("call bank.list first")
    play.call("bank.list", items("x", "y", "x"))
    assert (holds(play, to="x"), holds(play, to="z")) == (True, False)
    assert play.state.memory["house"].facts["known"].values == ("x", "y")
    play.call("bank.list", items("z"))
    assert (holds(play, to="x"), holds(play, to="z")) == (False, True)
    play.call("bank.list", items())
    assert reason(play, to="x").endswith("does not hold")


def test_true_is_not_one_of_the_numbers_of_a_set() -> None:
    play = knowing(SET, "args.to in facts.known")
    play.call("bank.list", items(1, "2"))
    assert [one for one in (1, 1.0, True, "1", 2, "2") if holds(play, to=one)] == [1, 1.0, "2"]


def test_a_set_with_more_values_than_it_may_hold_is_not_known() -> None:
    play = knowing(SET, "args.to in facts.known")
    play.call("bank.list", items("a", "b", "c"))
    assert holds(play, to="a")
    play.call("bank.list", items("a", "b", "c", "d"))
    assert reason(play, to="a").endswith("call bank.list first")


def test_a_set_of_a_few_huge_values_is_not_known() -> None:
    play = knowing(SET.replace("3", "5000"), "args.to in facts.known")
    play.call("bank.list", items(*(f"{n:08}" + "x" * 100 for n in range(4000))))
    assert not holds(play, to="x")
    assert play.state.memory["house"].facts["known"].values == ()


@pytest.mark.parametrize(
    "result",
    [
        succeeded(),
        succeeded(items={"to": "x"}),
        succeeded(items="x"),
        succeeded(items=[{"to": "x"}, {"from": "y"}]),
        succeeded(items=[{"to": "x"}, "x"]),
        succeeded(items=None),
        Succeeded({"content": [{"type": "text", "text": "x"}]}),
        Succeeded({"content": []}),
        Succeeded({}),
    ],
)
def test_a_result_of_another_shape_teaches_nothing_and_outdates_what_was_known(
    result: Succeeded,
) -> None:
    play = knowing(SET, "args.to in facts.known")
    play.call("bank.list", items("x"))
    play.call("bank.list", result)
    assert reason(play, to="x").endswith("call bank.list first")


def test_a_path_may_go_through_lists_in_lists_and_end_in_one() -> None:
    play = knowing('from: bank.list, take: "result.groups[].members[]"', "args.to in facts.known")
    play.call("bank.list", succeeded(groups=[{"members": ["a"]}, {"members": ["b", "c"]}]))
    assert [one for one in "abcd" if holds(play, to=one)] == ["a", "b", "c"]


def test_text_that_is_json_is_read_as_such() -> None:
    play = knowing(SET, "args.to in facts.known")
    text = '{"items": [{"to": "x"}]}'
    play.call("bank.list", Succeeded({"content": [{"type": "text", "text": text}]}))
    assert holds(play, to="x")


# --- until --------------------------------------------------------------------------------------

UNTIL = f'{SET}, until: ["bank.add_*.success", bank.wipe.call]'


@pytest.mark.parametrize(
    ("tool", "outcome", "outdated"),
    [
        ("bank.add_payee", succeeded(), True),
        ("bank.add_payee", LOST, True),
        ("bank.add_payee", Failed("invalid_result", "x"), True),
        ("bank.add_payee", failed(), False),
        ("bank.added", succeeded(), False),
        ("bank.wipe", failed(), True),
    ],
)
def test_what_may_have_changed_has_to_be_read_again(
    tool: str, outcome: Any, outdated: bool
) -> None:
    play = knowing(UNTIL, "args.to in facts.known")
    play.call("bank.list", items("x"))
    play.call(tool, outcome)
    assert holds(play, to="x") is not outdated
    play.call("bank.list", items("x"))
    assert holds(play, to="x")


def test_a_read_that_was_on_its_way_when_things_changed_teaches_nothing() -> None:
    play = knowing(UNTIL, "args.to in facts.known")
    read = play.start("bank.list")
    play.call("bank.add_payee")
    play.end(read, items("x"))
    assert reason(play, to="x").endswith("call bank.list first")


def test_a_read_that_began_after_the_change_counts() -> None:
    play = knowing(UNTIL, "args.to in facts.known")
    write = play.start("bank.add_payee")
    read = play.start("bank.list")
    play.end(write)
    later = play.start("bank.list")
    play.end(later, items("x"))
    assert holds(play, to="x")
    play.end(read, items("y"))
    assert (holds(play, to="x"), holds(play, to="y")) == (True, False)


def test_a_call_that_changes_a_fact_may_teach_it_too() -> None:
    play = knowing(f"{SET}, until: bank.list.success", "args.to in facts.known")
    play.call("bank.list", items("x"))
    assert holds(play, to="x")


def test_an_unknown_change_that_a_person_confirms_outdates_again() -> None:
    play = knowing(UNTIL, "args.to in facts.known")
    write = play.start("bank.add_payee")
    play.end(write, LOST)
    play.call("bank.list", items("x"))
    assert holds(play, to="x")
    play.do("resolved", write, True, "alice", "seen")
    assert not holds(play, to="x")


# --- from a file, and beside runs ---------------------------------------------------------------


def test_the_values_of_a_file_are_known_from_the_start() -> None:
    rules = compiled_rules(
        """
tools: {allow: [air.act]}
facts: {vendors: {from_file: vendors.csv, column: iban}}
policies: [{id: rule, call: air.act, check: args.to in facts.vendors}]
""",
        {"vendors.csv": b"name,iban\nA,DE1\nB,DE2\n"},
    )
    play = Play(rules=rules, checked=True)
    assert (holds(play, to="DE2"), holds(play, to="DE3"), holds(play)) == (True, False, False)


def test_an_unknown_fact_asks_where_it_would_have_let_pass() -> None:
    play = knowing(SET, "args.to in facts.known", "unless")
    assert isinstance(play.decide("air.act", to="x"), AskNeeded)
    assert "call bank.list first" in play.decide("air.act", to="x").asks[0].reason
    play.call("bank.list", items("x"))
    assert holds(play, to="x")


def test_a_workflow_and_rules_remember_apart() -> None:
    fact = 'facts: {known: {from: bank.list, take: "result.items[].to"}}\n'
    play = Play(
        f"tools: {{always: [bank.list]}}\n{fact}steps: {{act: {{tool: air.act}}}}\n"
        "policies: [{id: rule, call: act, check: args.to in facts.known}]\n",
        rules="tools: {allow: [bank.list]}\n" + fact,
        checked=True,
    )
    play.do("cancelled", "alice", "later")
    play.call("bank.list", items("x"))
    assert set(play.state.memory) == {"house"}
    play.restart()
    assert not holds(play, to="x")
    play.call("bank.list", items("x"))
    assert set(play.state.memory) == {"house", "tiny"}
    assert holds(play, to="x")
