"""What records show of sensitive values: commitments, which can be proved, disclosed and erased."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import apsw
import pytest
from support.fakes import FakeServers, succeeded
from support.gateway import ALICE, governed

from mcpuppet.audit.reader import Disclosure
from mcpuppet.audit.record import open_record
from mcpuppet.audit.replay.store import replay_store
from mcpuppet.audit.verify import verify_store
from mcpuppet.errors import InvalidInputError, NotAuthorisedError
from mcpuppet.orchestrator import Orchestrator
from mcpuppet.people.deciding import Person
from mcpuppet.people.disclosing import Disclosing
from mcpuppet.redaction.commitments import commitment, shown
from mcpuppet.redaction.vault import Vault, redacted_field
from mcpuppet.session.outcome import Failed, Succeeded
from mcpuppet.workflow.sensitive import WHOLE, marked_places, parse_pointer

ADMIN = Person("ada", frozenset({"admin"}))
AUDITOR = Person("otto", frozenset({"auditor"}))
EMAIL = "jane.roe@example.com"
PIN = "042"
ONBOARD = """
inputs:
  email: {type: string, redact: true}
steps:
  create:
    tool: crm.create
    redact: [/pin, /contact/phone]
    args_open: true
    args: {email: {equals: inputs.email}}
  mail:
    tool: crm.mail
    needs: create
    when: steps.create.result.contact.phone != ""
"""


def bodies(folder: Path, session_id: str = "s") -> str:
    """All records of a session, as one text."""
    connection = apsw.Connection(str(folder / "mcpuppet.db"), flags=apsw.SQLITE_OPEN_READONLY)
    sql = "SELECT body FROM record WHERE session=? ORDER BY seq"
    found = [bytes(body).decode() for (body,) in connection.execute(sql, (session_id,))]
    connection.close()
    return "\n".join(found)


def all_bytes(folder: Path) -> bytes:
    """Everything in the files of a folder."""
    return b"".join(one.read_bytes() for one in folder.iterdir() if one.is_file())


def record_data(orchestrator: Orchestrator, kind: str, session_id: str = "s") -> list[Any]:
    """The data of the records of one kind, as they stand there."""
    with orchestrator.store.reader() as reader:
        opened = [open_record(one.body) for one in reader.records(session_id)]
    return [one.data for one in opened if one.kind == kind]


# --- commitments ----------------------------------------------------------------------------------


def test_a_commitment_is_a_hash_of_salt_and_canonical_json() -> None:
    salt = bytes(range(16))
    value = {"b": [1, "é"], "a": None}
    text = '{"a":null,"b":[1,"\\u00e9"]}'
    assert commitment(salt, value) == hashlib.sha256(b"\x02" + salt + text.encode()).hexdigest()


def test_equal_values_have_one_commitment_in_a_session_and_others_in_another() -> None:
    one, other = Vault("a"), Vault("b")
    assert one.commit(EMAIL) == one.commit(EMAIL)
    assert one.commit(EMAIL) != other.commit(EMAIL)
    assert one.commit(1) != one.commit(True)
    assert len(one.added) == 3


def test_what_stands_at_a_path_is_replaced_however_short() -> None:
    vault = Vault("s")
    pointers = (parse_pointer("/cards/*/pin"),)
    hidden = vault.value({"cards": [{"pin": "1", "n": "1"}, {"pin": 22, "n": 22}]}, pointers)
    assert [set(one["pin"]) for one in hidden["cards"]] == [{"$c"}, {"$c"}]
    assert [one["n"] for one in hidden["cards"]] == ["1", 22]


def test_a_sensitive_value_is_replaced_wherever_else_it_occurs() -> None:
    vault = Vault("s")
    hidden = vault.value(
        {
            "before": f"write to {EMAIL}",
            "email": EMAIL,
            "list": [EMAIL, {EMAIL: 1}],
            "account": 1234567,
            "text": "account 1234567",
        },
        (("email",), ("account",)),
    )
    assert EMAIL not in json.dumps(hidden)
    assert "1234567" not in json.dumps(hidden)
    assert hidden["list"][0] == hidden["email"]
    assert hidden["before"] == f"write to <redacted:{hidden['email']['$c']}>"


def test_values_inside_a_sensitive_object_are_replaced_too() -> None:
    vault = Vault("s")
    hidden = vault.value(
        {"customer": {"name": "Jane Roe", "tags": ["vip-list"]}, "text": "Jane Roe is on vip-list"},
        (("customer",),),
    )
    assert set(hidden["customer"]) == {"$c"}
    assert "Jane" not in hidden["text"]
    assert "vip-list" not in hidden["text"]


@pytest.mark.parametrize(
    "forged",
    [
        {"$c": "a" * 64},
        {"$c": "a" * 64, "more": 1},
        {"a": {"$c": None}},
        [{"$c": "x"}],
        f"<redacted:{'a' * 64}>",
        {f"<redacted:{'b' * 64}>": 1},
        "say <redacted:",
    ],
)
def test_what_looks_like_a_commitment_is_committed_to_as_a_whole(forged: Any) -> None:
    vault = Vault("s")
    data = {"arguments": {"x": forged}}
    hidden = {"arguments": redacted_field(vault, "arguments", data["arguments"], ())}
    assert "a" * 64 not in json.dumps(hidden)
    assert "b" * 64 not in json.dumps(hidden)
    assert vault.reveal(hidden) == data
    assert Vault("s").reveal(hidden) == hidden  # nothing is known of it: it stays hidden


def test_a_value_that_is_part_of_the_mark_itself_does_no_harm() -> None:
    vault = Vault("s")
    vault.learn("redacted")
    vault.learn("dead")
    words = {"reason": "redacted dead beef redacted"}
    hidden = {"reason": vault.text(words["reason"])}
    assert "beef" in hidden["reason"]
    assert vault.reveal(hidden) == words


def test_what_is_written_in_json_inside_a_text_is_found() -> None:
    vault = Vault("s")
    value = 'Zoë "Z" Müller\n'
    vault.learn(value)
    for text in (value, json.dumps({"n": value}), json.dumps({"n": value}, ensure_ascii=False)):
        hidden = vault.text(text)
        assert "ller" not in hidden
        assert vault.reveal({"message": hidden}) == {"message": text}


def test_revealing_undoes_redacting_exactly() -> None:
    dice = random.Random(7)
    alphabet = ["abcd", "12345", 'q"\\x', "é\u2028", "<redacted:", "$c", "", "\ud800"]

    def text() -> str:
        return "".join(dice.choices(alphabet, k=dice.randint(0, 4)))

    def value(depth: int) -> Any:
        match dice.randint(0, 7 if depth else 4):
            case 0:
                return text()
            case 1:
                return dice.choice([12345, 12345.0, 1, True, None, 123456789, -54321])
            case 2 | 3:
                return text()
            case 4:
                return dice.random()
            case 5:
                return [value(depth - 1) for _ in range(dice.randint(0, 3))]
            case _:
                return {text(): value(depth - 1) for _ in range(dice.randint(0, 3))}

    for _ in range(300):
        vault = Vault("s")
        for _ in range(dice.randint(0, 3)):
            vault.learn(value(1))
        data = {"arguments": {"a": value(3), "b": value(2)}, "reason": text(), "step": text()}
        places = {"arguments": (("a",),)} if dice.random() < 0.5 else {}
        hidden = {
            name: redacted_field(vault, name, one, places.get(name, ()))
            for name, one in data.items()
        }
        written = json.loads(json.dumps(hidden))
        again = Vault("s", vault.added).reveal(written)
        assert json.dumps(again, sort_keys=True) == json.dumps(data, sort_keys=True)
        assert hidden["step"] == data["step"]  # names of the project's own are never touched


def test_many_commitments_do_not_make_a_record_long() -> None:
    vault = Vault("s")
    vault.learn("aaaa")
    content = {"list": ["aaaa"] * 8_000, "text": "aaaa" * 8_000}
    hidden = vault.value(content)
    assert len(json.dumps(hidden)) < 40_000
    assert vault.reveal({"value": hidden}) == {"value": content}


def test_a_value_that_does_not_fit_its_commitment_is_named_and_not_used() -> None:
    vault = Vault("s")
    hidden = vault.commit(EMAIL)
    forged = Disclosure("s", hidden, vault.added[0].salt, "mallory@example.com")
    short = Disclosure("s", commitment(b"", 1), b"", 1)
    again = Vault("s", [forged, short])
    assert again.problems == [hidden, short.commitment]
    assert again.reveal({"value": {"$c": hidden}}) == {"value": {"$c": hidden}}


def test_a_person_is_shown_short_marks() -> None:
    vault = Vault("s")
    hidden = vault.commit(EMAIL)
    content = {"a": {"$c": hidden}, "b": [f"to <redacted:{hidden}>, <redacted:{hidden}:j>"]}
    mark = f"[redacted {hidden[:8]}]"
    assert shown(content) == {"a": mark, "b": [f"to {mark}, {mark}"]}


# --- which values ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["x", "a/b", "/a~", "/a~2", "#/a"])
def test_what_is_no_pointer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="JSON Pointer"):
        parse_pointer(text)


def test_pointers_are_unescaped() -> None:
    assert parse_pointer("/a~1b/~0/*") == ("a/b", "~", "*")
    assert parse_pointer("") == WHOLE


def test_schemas_mark_sensitive_places() -> None:
    schema = {
        "properties": {
            "pw": {"type": "string", "format": "password"},
            "plain": {"type": "string", "format": "email"},
            "nested": {"$ref": "#/$defs/person"},
            "people": {"type": "array", "items": {"$ref": "#/$defs/person"}},
            "either": {"anyOf": [{"type": "null"}, {"writeOnly": True}]},
            "pair": {"prefixItems": [{}, {"x-sensitive": True}]},
            "off": {"x-sensitive": False},
        },
        "patternProperties": {"^x-": {"x-sensitive": True}},
        "$defs": {"person": {"properties": {"ssn": {"x-sensitive": True}}}},
    }
    found = set(marked_places(schema))
    assert ("pw",) in found
    assert ("nested", "ssn") in found
    assert ("people", "*", "ssn") in found
    assert ("either",) in found
    assert ("pair", "1") in found
    assert not any(one[0] in ("plain", "off") for one in found)


def test_a_schema_that_refers_to_itself_hides_everything_below() -> None:
    node = {"properties": {"secret": {"x-sensitive": True}, "next": {"$ref": "#"}}}
    vault = Vault("s")
    content = {"secret": "one1", "next": {"secret": "two2", "next": {"secret": "three"}}}
    hidden = json.dumps(vault.value(content, marked_places(node)))
    assert not any(one in hidden for one in ("one1", "two2", "three"))


# --- sessions -------------------------------------------------------------------------------------


def phone_book() -> FakeServers:
    servers = FakeServers()

    def create(arguments: dict[str, Any]) -> Succeeded:
        answer = {"id": 7, "contact": {"phone": "+49 151 555"}, "pin": PIN, "to": EMAIL}
        text = {"type": "text", "text": json.dumps(answer, indent=1)}
        return Succeeded({"content": [text], "structuredContent": answer, "isError": False})

    servers.offer("crm.create", create)
    servers.offer("crm.mail", lambda _: Failed("tool_error", f"no mailbox {EMAIL} +49 151 555"))
    return servers


async def onboarded(orchestrator: Orchestrator, session_id: str = "s") -> None:
    await orchestrator.start_workflow("tiny", {"email": EMAIL}, session_id=session_id)
    arguments = {"email": EMAIL, "pin": PIN, "note": f"for {EMAIL}"}
    done = await orchestrator.call_tool(session_id, "crm.create", arguments)
    assert done.status == "succeeded"


@pytest.mark.anyio
async def test_records_hold_commitments_and_rules_read_the_values(tmp_path: Path) -> None:
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (orchestrator, servers):
        await onboarded(orchestrator)
        assert servers.calls[0][1]["pin"] == PIN
        mailed = await orchestrator.call_tool("s", "crm.mail", {"body": "+49 151 555"})
        assert mailed.status == "failed"
        text = bodies(tmp_path)
        for value in (EMAIL, "+49 151 555", f'"{PIN}"', f'\\"{PIN}\\"'):
            assert value not in text
        (started,) = record_data(orchestrator, "RunStarted")
        assert set(started["inputs"]["email"]) == {"$c"}
        (failed,) = record_data(orchestrator, "CallFailed")
        assert failed["message"].count("<redacted:") == 2
        assert verify_store(orchestrator.store.reader).breaks == ()


@pytest.mark.anyio
async def test_digests_are_made_of_what_the_records_show(tmp_path: Path) -> None:
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (orchestrator, _):
        await onboarded(orchestrator)
        (call,) = record_data(orchestrator, "CallStarted")
        run = record_data(orchestrator, "RunStarted")[0]
        content = ["s", run["hash"], "create", "crm.create", call["arguments"]]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        assert call["digest"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.anyio
async def test_the_digest_of_a_result_is_of_what_the_record_shows(tmp_path: Path) -> None:
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (orchestrator, _):
        await onboarded(orchestrator)
        (told,) = record_data(orchestrator, "CallSucceeded")
        text = json.dumps(told["result"], sort_keys=True, separators=(",", ":"))
        assert told["result_digest"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.anyio
async def test_a_result_too_long_for_the_record_has_no_digest_where_values_are_hidden(
    tmp_path: Path,
) -> None:
    servers = phone_book()
    servers.offer("crm.create", lambda _: succeeded(pin=PIN, rows=["row"] * 20_000))
    async with governed(tmp_path, ONBOARD, servers=servers) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {"email": EMAIL}, session_id="s")
        await orchestrator.call_tool("s", "crm.create", {"email": EMAIL, "pin": PIN})
        (told,) = record_data(orchestrator, "CallSucceeded")
        assert (told["result"], told["result_digest"]) == (None, "")
        assert told["result_bytes"] > 100_000


@pytest.mark.anyio
async def test_a_value_that_is_gone_without_a_record_is_a_break(tmp_path: Path) -> None:
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (orchestrator, _):
        await onboarded(orchestrator)
        await orchestrator.call_tool("s", "crm.mail", {"body": EMAIL})
        connection = apsw.Connection(str(tmp_path / "mcpuppet.db"))
        connection.execute("DELETE FROM disclosure WHERE value LIKE '%contact%'")
        connection.close()
        (found,) = verify_store(orchestrator.store.reader).breaks
        assert (found.session_id, found.seq) == ("s", 4)
        assert "no record tells who erased" in found.what


@pytest.mark.anyio
async def test_with_a_value_everything_that_holds_it_is_erased(tmp_path: Path) -> None:
    flow = "inputs: {who: {type: object, redact: true}}\nsteps:\n  a: {tool: a.a}\n"
    person = {"name": "Jane Roe", "no": 1234567, "note": "<redacted:Jane Roe>", "other": "kept"}
    async with governed(tmp_path, flow) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {"who": person}, session_id="s")
        desk = Disclosing(orchestrator.ledger, orchestrator.store)
        (name,) = [one for one in await desk.named("s", None) if one.value == "Jane Roe"]
        erased = await desk.to_erase("s", [name.commitment[:12]])
        await desk.erase("s", erased, ADMIN, "asked for")
        left = [one.value for one in await desk.named("s", None)]
        assert sorted(map(str, left)) == ["1234567", "kept"]
        assert verify_store(orchestrator.store.reader).breaks == ()
    assert b"Jane Roe" not in all_bytes(tmp_path)


@pytest.mark.anyio
async def test_denied_arguments_are_hidden_too(tmp_path: Path) -> None:
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {"email": EMAIL}, session_id="s")
        denied = await orchestrator.call_tool("s", "crm.create", {"email": "x@y.zz", "pin": PIN})
        assert denied.status == "denied"
        assert PIN not in bodies(tmp_path)
        assert EMAIL not in bodies(tmp_path)
        assert EMAIL in denied.reason  # the client knows it anyway


@pytest.mark.anyio
async def test_a_value_that_is_given_as_the_name_of_a_tool_is_hidden(tmp_path: Path) -> None:
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {"email": EMAIL}, session_id="s")
        for tool in (EMAIL, f"crm.{EMAIL}"):
            assert (await orchestrator.call_tool("s", tool, {})).status == "denied"
        assert EMAIL not in bodies(tmp_path)
        assert verify_store(orchestrator.store.reader).breaks == ()


@pytest.mark.anyio
async def test_a_tools_own_schema_hides_its_values(tmp_path: Path) -> None:
    servers = FakeServers()
    schema = {"type": "object", "properties": {"pw": {"type": "string", "format": "password"}}}
    servers.outputs["a.login"] = {"properties": {"otp": {"x-sensitive": True}}}
    servers.offer("a.login", lambda _: succeeded(otp="12"), schema)
    async with governed(tmp_path, "steps:\n  login: {tool: a.login}\n", servers=servers) as (
        one,
        _,
    ):
        await one.start_workflow("tiny", {}, session_id="s")
        assert (await one.call_tool("s", "a.login", {"pw": "ab"})).status == "succeeded"
        assert set(record_data(one, "CallStarted")[0]["arguments"]["pw"]) == {"$c"}
        result = record_data(one, "CallSucceeded")[0]["result"]
        assert set(result["structuredContent"]["otp"]) == {"$c"}
        assert verify_store(one.store.reader).breaks == ()


@pytest.mark.anyio
async def test_people_see_values_and_their_votes_lay_nothing_open(tmp_path: Path) -> None:
    gated = """
roles: [boss]
inputs: {iban: {type: string, redact: true}}
steps:
  ask: {approval: {roles: [boss], timeout: 1h, binds: [inputs.iban]}}
  pay: {tool: a.pay, needs: ask, redact: [/iban], args: {iban: {equals: inputs.iban}}}
"""
    async with governed(tmp_path, gated) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {"iban": "DE00 1"}, session_id="s")
        waiting = await orchestrator.call_tool("s", "a.pay", {"iban": "DE00 1"})
        assert waiting.status == "awaiting_approval"
        (view,) = await orchestrator.people.approvals()
        assert view.binds == {"inputs.iban": "DE00 1"}
        assert view.calls[0].arguments == {"iban": "DE00 1"}
        await orchestrator.people.approve(view.approval_id, ALICE, view.content)
        assert (
            await orchestrator.call_tool("s", "a.pay", {"iban": "DE00 1"})
        ).status == "succeeded"
        assert "DE00 1" not in bodies(tmp_path)


@pytest.mark.anyio
async def test_sessions_without_sensitive_values_keep_nothing_aside(tmp_path: Path) -> None:
    async with governed(tmp_path, "steps:\n  a: {tool: a.a}\n") as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        await orchestrator.call_tool("s", "a.a", {"x": "plain words", "n": 1234567})
        assert await orchestrator.store.disclosures("s") == []
        assert record_data(orchestrator, "CallStarted")[0]["arguments"]["x"] == "plain words"


@pytest.mark.anyio
async def test_another_process_hides_the_same_values_by_the_same_commitments(
    tmp_path: Path,
) -> None:
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (first, _):
        await onboarded(first)
        arguments = record_data(first, "CallStarted")[0]["arguments"]
    async with governed(tmp_path, ONBOARD, servers=phone_book(), node="node_2") as (second, _):
        await second.call_tool("s", "crm.mail", {"body": EMAIL})
        again = record_data(second, "CallStarted")[-1]["arguments"]
        assert again["body"] == arguments["email"]


# --- disclosure and erasure -----------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_disclosure_is_recorded_before_values_are_given(tmp_path: Path) -> None:
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (orchestrator, _):
        await onboarded(orchestrator)
        desk = Disclosing(orchestrator.ledger, orchestrator.store)
        short = record_data(orchestrator, "RunStarted")[0]["inputs"]["email"]["$c"][:8]
        (found,) = await desk.disclose("s", [short], AUDITOR, "complaint 17")
        assert found.value == EMAIL
        (told,) = record_data(orchestrator, "ValuesDisclosed")
        assert (told["by"], told["reason"]) == ("otto", "complaint 17")
        assert told["commitments"] == [found.commitment]


@pytest.mark.anyio
async def test_erased_values_are_nowhere_and_everything_still_verifies(tmp_path: Path) -> None:
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (orchestrator, _):
        await onboarded(orchestrator)
        desk = Disclosing(orchestrator.ledger, orchestrator.store)
        values = await desk.named("s", None)
        assert len(values) >= 4
        await desk.erase("s", values, ADMIN, "right to be forgotten")
        assert await orchestrator.store.disclosures("s") == []
        assert verify_store(orchestrator.store.reader).breaks == ()
    data = all_bytes(tmp_path)
    assert EMAIL.encode() not in data
    assert b"+49 151 555" not in data


@pytest.mark.anyio
async def test_a_rule_that_reads_an_erased_value_fails_closed(tmp_path: Path) -> None:
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {"email": EMAIL}, session_id="s")
        desk = Disclosing(orchestrator.ledger, orchestrator.store)
        await desk.erase("s", await desk.named("s", None), ADMIN, "asked for")
        denied = await orchestrator.call_tool("s", "crm.create", {"email": EMAIL})
        assert (denied.status, denied.decision.rule) == ("denied", "args")
        assert verify_store(orchestrator.store.reader).breaks == ()


@pytest.mark.anyio
async def test_another_process_notices_an_erasure(tmp_path: Path) -> None:
    async with (
        governed(tmp_path, ONBOARD, servers=phone_book()) as (one, _),
        governed(tmp_path, ONBOARD, servers=phone_book(), node="node_2") as (other, _),
    ):
        await one.start_workflow("tiny", {"email": EMAIL}, session_id="s")
        await other.status("s")
        desk = Disclosing(one.ledger, one.store)
        await desk.erase("s", await desk.named("s", None), ADMIN, "asked for")
        progress = await other.ledger.look("s")
        assert progress is not None
        assert set(progress.state.run.inputs["email"]) == {"$c"}
        assert not progress.recorder.vault


@pytest.mark.anyio
async def test_only_the_right_people_read_or_erase(tmp_path: Path) -> None:
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (orchestrator, _):
        await onboarded(orchestrator)
        desk = Disclosing(orchestrator.ledger, orchestrator.store)
        with pytest.raises(NotAuthorisedError, match="auditor or admin"):
            await desk.disclose("s", None, ALICE, "curious")
        with pytest.raises(NotAuthorisedError, match="admin"):
            desk.check_erasure(AUDITOR, "tidy")
        with pytest.raises(InvalidInputError, match="reason"):
            await desk.disclose("s", None, AUDITOR, " ")
        for wrong in ("zz", "1234567", "0" * 64):
            with pytest.raises(InvalidInputError):
                await desk.named("s", [wrong])
        assert record_data(orchestrator, "ValuesDisclosed") == []


@pytest.mark.anyio
async def test_a_changed_disclosure_is_a_break_that_names_it(tmp_path: Path) -> None:
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (orchestrator, _):
        await onboarded(orchestrator)
    connection = apsw.Connection(str(tmp_path / "mcpuppet.db"))
    connection.execute("UPDATE disclosure SET value='\"mallory\"' WHERE value LIKE '%jane%'")
    connection.close()
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (orchestrator, _):
        found = [str(one) for one in verify_store(orchestrator.store.reader).breaks]
        assert any("does not match it" in one for one in found)
        report = orchestrator.audit_monitor.generate_compliance_report("s")
        assert any("does not match it" in one.what for one in report.chain.breaks)


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_long_arguments_are_kept_as_length_and_digest(tmp_path: Path) -> None:
    async with governed(tmp_path, "steps:\n  a: {tool: a.a}\n") as (orchestrator, servers):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        await orchestrator.call_tool("s", "a.a", {"x": "y" * 100_000})
        assert len(servers.calls[0][1]["x"]) == 100_000
        (started,) = record_data(orchestrator, "CallStarted")
        assert started["arguments"] is None
        assert started["arguments_bytes"] == 100_008
        await orchestrator.call_tool("s", "a.a", {"x": "y" * 100_000})
        assert verify_store(orchestrator.store.reader).breaks == ()


@pytest.mark.anyio
async def test_no_answer_of_a_server_makes_a_record_long(tmp_path: Path) -> None:
    servers = FakeServers()
    huge = "z" * 300_000
    answers = {
        "a.fail": Failed("tool_error", huge, {"content": [{"type": "text", "text": huge}]}),
        "a.rows": succeeded(rows=[huge] * 3, id="k" * 9_000),
        "a.wide": succeeded(**{f"f{n}": "w" * 60 for n in range(3_000)}),
    }
    for tool, answer in answers.items():
        servers.offer(tool, lambda _, answer=answer: answer)
    reads = """
facts:
  seen: {from: a.rows, key: result.id}
  all: {from: a.rows, take: "result.rows[]", max: 10}
steps:
  fail: {tool: a.fail, on_failure: continue}
  rows: {tool: a.rows}
  wide: {tool: a.wide}
  last: {tool: a.last, needs: [rows, wide], when: steps.rows.result == steps.wide.result}
"""
    async with governed(tmp_path, reads, servers=servers) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        for tool in answers:
            await orchestrator.call_tool("s", tool, {})
        with orchestrator.store.reader() as reader:
            longest = max(len(one.body) for one in reader.records("s"))
        assert longest <= 256 * 1024
        (failed,) = record_data(orchestrator, "CallFailed")
        assert len(failed["message"]) <= 4096
        assert failed["message"].endswith("(cut: it has 300,000 characters)")
        assert verify_store(orchestrator.store.reader).breaks == ()


@pytest.mark.anyio
async def test_a_late_answer_to_a_settled_call_is_hidden_whole(tmp_path: Path) -> None:
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (orchestrator, _):
        await onboarded(orchestrator)
        late = succeeded(pin=PIN, other="55")
        await orchestrator.ledger.change("s", lambda one: one.came_late("call_gone", late, 1.0))
        (told,) = record_data(orchestrator, "LateOutcome")
        assert set(told["result"]) == {"$c"}


@pytest.mark.anyio
async def test_inputs_of_any_length_are_bounded_in_the_record(tmp_path: Path) -> None:
    flow = "inputs: {text: {type: string}}\nsteps:\n  a: {tool: a.a}\n"
    async with governed(tmp_path, flow) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {"text": "t" * 500_000}, session_id="s")
        assert set(record_data(orchestrator, "RunStarted")[0]["inputs"]) == {"$c"}
        progress = await orchestrator.ledger.look("s")
        assert progress is not None
        assert len(progress.state.run.inputs["text"]) == 500_000


PAY = """
roles: [boss]
steps:
  ask: {approval: {roles: [boss], timeout: 1h}}
  pay: {tool: a.pay, needs: ask, args: {pin: {type: string}, amount: {type: number}}}
"""


def till() -> FakeServers:
    servers = FakeServers()
    pin = {"type": "string", "x-sensitive": True}
    servers.offer("a.pay", schema={"type": "object", "properties": {"pin": pin}})
    return servers


@pytest.mark.anyio
async def test_a_short_hidden_argument_is_recognised_by_the_next_process(tmp_path: Path) -> None:
    asked = {"pin": "12", "amount": 5}
    async with governed(tmp_path, PAY, servers=till()) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        await orchestrator.call_tool("s", "a.pay", asked)
        (view,) = await orchestrator.people.approvals()
        await orchestrator.people.approve(view.approval_id, ALICE, view.content)
    servers = till()
    servers.not_listed_yet = True
    async with governed(tmp_path, PAY, servers=servers, node="node_2") as (orchestrator, _):
        other = await orchestrator.call_tool("s", "a.pay", {"pin": "13", "amount": 5})
        assert (other.status, other.decision.rule) == ("denied", "approval")
        assert (await orchestrator.call_tool("s", "a.pay", asked)).status == "succeeded"
        assert '"12"' not in bodies(tmp_path)
        assert '"13"' not in bodies(tmp_path)


@pytest.mark.anyio
async def test_what_a_person_edits_stays_hidden_at_a_desk_that_knows_no_tool(
    tmp_path: Path,
) -> None:
    async with governed(tmp_path, PAY, servers=till()) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        await orchestrator.call_tool("s", "a.pay", {"pin": "12", "amount": 5})
    async with governed(tmp_path, PAY, servers=FakeServers(), node="desk") as (desk, none):
        none.behaviours.clear()
        (view,) = await desk.people.approvals()
        edited = {"pin": "99", "amount": 4}
        digest = view.calls[0].digest
        await desk.people.edit(view.approval_id, ALICE, view.content, digest, edited, "less")
        (view,) = await desk.people.approvals()
        assert view.calls[0].arguments == edited
        bob = Person("bob", frozenset({"boss"}))
        await desk.people.approve(view.approval_id, bob, view.content)
        assert '"99"' not in bodies(tmp_path)
    async with governed(tmp_path, PAY, servers=till(), node="node_2") as (orchestrator, servers):
        done = await orchestrator.call_tool("s", "a.pay", {"pin": "12", "amount": 5})
        assert done.status == "succeeded", done.reason
        assert servers.calls == [("a.pay", {"pin": "99", "amount": 4})]
        assert '"99"' not in bodies(tmp_path)


@pytest.mark.anyio
async def test_decisions_on_hidden_values_are_made_again_the_same(tmp_path: Path) -> None:
    async with governed(tmp_path, ONBOARD, servers=phone_book()) as (orchestrator, _):
        await onboarded(orchestrator)
        await orchestrator.call_tool("s", "crm.mail", {"body": "hello"})
        assert replay_store(orchestrator.store.reader).mismatches == ()
        desk = Disclosing(orchestrator.ledger, orchestrator.store)
        await desk.erase("s", await desk.named("s", None), ADMIN, "asked for")
        assert replay_store(orchestrator.store.reader).mismatches == ()
