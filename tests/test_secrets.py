"""Planted secrets are found nowhere: not in the store, the console, reports or exports."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fakes import FakeServers
from support.gateway import governed
from support.play import HEADER

from mcpuppet.app import open_orchestrator
from mcpuppet.audit.verify import verify_store
from mcpuppet.gateway.server_process import ServerLog
from mcpuppet.gateway.server_settings import ServerSettings
from mcpuppet.orchestrator import Orchestrator
from mcpuppet.redaction.secrets import KNOWN_KEYS, Scrubber, secrets_of
from mcpuppet.settings import load_settings

SERVERS = Path(__file__).parent / "gateway" / "servers"
PLANTED = 'hunter"2\\é-key/1'
"""With all that is written in another way in JSON or in an address."""
KEYS = {
    "aws-key": "AKIA" + "IOSFODNN7EXAMPLE",
    "github-token": "ghp_" + "a1B2" * 9,
    "gitlab-token": "glpat-" + "x" * 20,
    "slack-token": "xoxb-" + "123456789012-abc",
    "stripe-key": "sk_live_" + "4eC39HqLyjWDarjtT1",
    "google-key": "AIza" + "S" * 35,
    "ai-key": "sk-ant-" + "api03-abcdefghijklmnopqrstu",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "mcpuppet-token": "mcpp_" + "Zz9_" * 11,
    "private-key": "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
}


def server(**env: str) -> ServerSettings:
    return ServerSettings("leaky", "unused", env=env)


def scrubbed(**env: str) -> Callable[[str], str]:
    return Scrubber(secrets_of([server(**env)])).text


# --- what is a secret -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", KEYS)
def test_well_known_keys_are_replaced_wherever_they_stand(name: str) -> None:
    key = KEYS[name]
    for text in (key, f"x={key};", f'"{key}"', f"line\n{key}", json.dumps({"a": f"\n{key}\t"})):
        assert KNOWN_KEYS.suspects(json.dumps(text))
        found = KNOWN_KEYS.text(text)
        assert f"[secret:{name}]" in found
        assert not any(part in found for part in (key, key[-12:]))
    assert KNOWN_KEYS.data({key: [{"k": key}]}) == {f"[secret:{name}]": [{"k": f"[secret:{name}]"}]}


@pytest.mark.parametrize(
    "text",
    [
        "task-0123456789abcdef0123456789abcdef",
        "scikit: sk-learn, disk-usage and risk-averse",
        "AKIA is the beginning of a key",
        "eyJhbGciOiJIUzI1NiJ9",
        "a sentence with the word password in it",
        "3f786850e387550fdab836ed7e6dc881de23001b",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert KNOWN_KEYS.text(text) == text


def test_scrubbing_again_changes_nothing() -> None:
    once = KNOWN_KEYS.text(" ".join(KEYS.values()))
    assert KNOWN_KEYS.text(once) == once


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", "abc123"),
        ("db_password", "correct horse"),
        ("PLAIN", "a8f7d6e5c4b3a291"),
        ("DATABASE_URL", "postgres://app:s3cretpw@db.internal/app"),
    ],
)
def test_values_given_to_servers_are_secrets(name: str, value: str) -> None:
    assert scrubbed(**{name: value})(f"got {value}.") == f"got [secret:{name}]."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", "short"),
        ("AUTH_MODE", "disabled"),
        ("PWD", "/home/somebody/project"),
        ("SSH_AUTH_SOCK", "/tmp/ssh-agent.1234"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/etc/keys/service.json"),
        ("LANG", "en_US.UTF-8"),
        ("ENDPOINT", "https://api.example.com/v1/things"),
        ("GREETING", "hello and welcome 2 all"),
    ],
)
def test_settings_that_are_no_secrets_stay_readable(name: str, value: str) -> None:
    assert scrubbed(**{name: value})(f"got {value}.") == f"got {value}."


def test_the_password_alone_of_an_address_is_a_secret_too() -> None:
    scrub = scrubbed(DATABASE_URL="postgres://app:s3cret%21pw@db.internal/app")
    assert scrub("password s3cret!pw or s3cret%21pw") == (
        "password [secret:DATABASE_URL] or [secret:DATABASE_URL]"
    )


def test_options_of_a_command_can_be_secrets() -> None:
    settings = ServerSettings(
        "a", "x", args=("--token", "abcdef1", "--api-key=ghijkl2", "--port", "8")
    )
    assert Scrubber(secrets_of([settings])).text("abcdef1 ghijkl2 8") == (
        "[secret:token] [secret:api-key] 8"
    )


def test_a_secret_is_found_in_each_of_its_spellings() -> None:
    scrubber = Scrubber(secrets_of([server(KEY=PLANTED)]))
    for text in (PLANTED, json.dumps(PLANTED), json.dumps(PLANTED, ensure_ascii=False)):
        assert scrubber.suspects(json.dumps(text))
        assert "[secret:KEY]" in scrubber.text(text)
        assert "hunter" not in scrubber.text(text)


def test_the_lines_of_a_private_key_are_left_out_of_the_log() -> None:
    lines: list[str] = []
    log = ServerLog("a", lines.append)
    for line in (*KEYS["private-key"].split("\n"), "after"):
        log.write(line.encode())
    assert lines == ["a: [secret:private-key]", "a: after"]


# --- nowhere --------------------------------------------------------------------------------------

WORKFLOW = """
facts:
  keys: {from: leaky.nest, take: result.key}
steps:
  give: {tool: leaky.give, args_open: true}
  nest: {tool: leaky.nest, needs: give, when: steps.give.result.key != ""}
  fail: {tool: leaky.fail, on_failure: continue}
  refuse: {tool: leaky.refuse, on_failure: continue}
  die: {tool: leaky.die}
"""


def configured(folder: Path, **env: str) -> Path:
    settings = {
        "servers": {
            "leaky": {
                "command": sys.executable,
                "args": [str(SERVERS / "leaky.py")],
                "env": {"LEAKY_API_KEY": PLANTED, "PYTHONIOENCODING": "utf-8", **env},
            }
        },
        "store": "mcpuppet.db",
        "call_timeout": "20s",
    }
    (folder / "workflows").mkdir()
    (folder / "workflows" / "tiny.yaml").write_text(HEADER + WORKFLOW, encoding="utf-8")
    path = folder / "mcpuppet.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def is_planted(data: str | bytes) -> bool:
    """Whether a part of the planted secret, or of a key, occurs in some data."""
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    return "hunter" in text or any(key.split("\n")[-1][-12:] in text for key in KEYS.values())


def planted_files(folder: Path) -> list[str]:
    """The files of the store, and beside it, in which something planted is found."""
    files = [one for one in folder.glob("mcpuppet.db*") if one.is_file()]
    assert files
    return [one.name for one in files if is_planted(one.read_bytes())]


async def leak(orchestrator: Orchestrator) -> list[str]:
    """Have everything laid open; gives what went to the client beside the results themselves."""
    await orchestrator.start_workflow("tiny", {}, session_id="s")
    keys = " ".join(KEYS.values())
    given = await orchestrator.call_tool("s", "leaky.give", {"note": keys, PLANTED: PLANTED})
    assert given.result == {"key": PLANTED}  # the client gets what the server gave
    said: list[str] = []
    for tool in ("nest", "fail", "refuse", "die"):
        answer = await orchestrator.call_tool("s", f"leaky.{tool}", {})
        if tool == "die":
            said.append(answer.reason)
            assert answer.status == "unknown"
    await orchestrator.call_tool("s", f"leaky.{KEYS['aws-key']}", {"x": PLANTED})
    said += [repr(one) for one in orchestrator.servers.status()]  # type: ignore[attr-defined]  # the real ones
    return said


@pytest.mark.anyio
async def test_planted_secrets_are_found_nowhere(tmp_path: Path) -> None:
    console: list[str] = []
    settings = load_settings(configured(tmp_path))
    async with open_orchestrator(settings, log=console.append) as orchestrator:
        said = await leak(orchestrator)
        assert verify_store(orchestrator.store.reader).breaks == ()
        report = orchestrator.audit_monitor.generate_compliance_report("s")
        said.append(repr(report))
        assert not planted_files(tmp_path)
    assert console
    for line in (*console, *said):
        assert not is_planted(line), line
    assert any("[secret:LEAKY_API_KEY]" in line for line in console)
    assert not planted_files(tmp_path)


@pytest.mark.anyio
async def test_a_server_that_cannot_start_lays_nothing_open(tmp_path: Path) -> None:
    console: list[str] = []
    settings = load_settings(configured(tmp_path, LEAKY_CRASHES="1"))
    async with open_orchestrator(settings, log=console.append) as orchestrator:
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        answer = await orchestrator.call_tool("s", "leaky.give", {})
        assert answer.status in ("denied", "failed")
        assert "[secret:LEAKY_API_KEY] is refused" in answer.reason
        assert not is_planted(answer.reason)
    assert not any(map(is_planted, console))
    assert not is_planted((tmp_path / "mcpuppet.db").read_bytes())


@pytest.mark.anyio
async def test_the_server_gets_arguments_as_they_are(tmp_path: Path) -> None:
    servers = FakeServers()
    flow = "steps:\n  a: {tool: a.a, timeout: 5s}\n"
    async with governed(tmp_path, flow, servers=servers) as (orchestrator, _):
        await orchestrator.start_workflow("tiny", {}, session_id="s")
        done = await orchestrator.call_tool("s", "a.a", {"key": KEYS["aws-key"]})
        assert done.status == "succeeded"
        assert servers.calls == [("a.a", {"key": KEYS["aws-key"]})]
    assert KEYS["aws-key"].encode() not in (tmp_path / "mcpuppet.db").read_bytes()
