"""The demo as a newcomer runs it: from another folder, without a terminal, in 80 columns."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from mcpuppet.app import load_configured
from mcpuppet.audit.verify import verify_store
from mcpuppet.demo.folder import import_path, write_folder
from mcpuppet.demo.names import SceneName
from mcpuppet.demo.narrator import Narrator
from mcpuppet.demo.pace import Pace
from mcpuppet.demo.player import play
from mcpuppet.errors import InvalidInputError
from mcpuppet.settings import load_settings
from mcpuppet.store.sqlite_reader import open_view

COLUMNS = 80


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "MCPUPPET_TOKEN"}
    return {**kept, **import_path(), "NO_COLOR": "1", "COLUMNS": str(COLUMNS)}


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mcpuppet", "demo", *arguments],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def words(output: str) -> str:
    """The output without its line breaks, labels' indents and padding."""
    return re.sub(r"\s+", " ", output)


def effects(folder: Path, tool: str) -> list[dict[str, object]]:
    lines = (folder / "state" / "effects.jsonl").read_text().splitlines()
    return [one["arguments"] for one in map(json.loads, lines) if one["tool"] == tool]


def test_all_scenes_go_as_announced(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    ran = demo(tmp_path, "--step", "--keep", str(kept))
    told = words(ran.stdout)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "--step needs a terminal; going on as with --auto" in ran.stderr
    for number, name in enumerate(SceneName, start=1):
        assert f"{number}/{len(SceneName)} {name} ─" in told
    for sentence in (
        "listed get_customer, validate_customer AI",
        "listed get_customer, create_account AI",
        "the run is completed; the customer server itself noted one account",
        "REFUSED step transfer first needs approve to end in approved or bypassed",
        "nothing was sent: the finance server's own file effects.jsonl has no transfer.",
        "REFUSED error: this needs a person's token",
        "approved by alice (1 of 2); others must too.",
        "approved by bob.",
        "approved was 2500, so 25000 was not sent.",
        "replayed returned transfer_id=",
        "the finance server made one transfer, of exactly 2500.",
        "watch validate success, quarantine skipped, process legal",
        "run data_pipeline is completed",
        "approvals approve: approved, by alice and bob",
        "REFUSED by the database itself: a record is never changed",
        "its bytes do not give the hash stored with it",
        "done: the transfer is not in the file, and the chain of hashes holds.",
        "it is not the record that stood at place",
        "mcpuppet.yaml",
    ):
        assert sentence in told
    assert told.count("everything holds") == 2
    assert effects(kept, "transfer_funds") == [{"amount": 2500, "payee": "DE00INVENTED0000000001"}]
    assert {one.name: one.stat().st_mode & 0o777 for one in (kept / "tokens").iterdir()} == {
        "alice": 0o600,
        "bob": 0o600,
    }
    assert verify_store(lambda: open_view(kept / "mcpuppet.db")).ok
    assert (kept / "serve.log").read_text() == ""
    too_long = [line for line in ran.stdout.splitlines() if len(line) > COLUMNS]
    assert all(str(kept) in line for line in too_long), "only what is to be copied may be longer"
    assert "\x1b" not in ran.stdout


def test_a_scene_can_be_played_alone(tmp_path: Path) -> None:
    ran = demo(tmp_path, "--auto", "--scene", "violation", "--keep", "kept")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1/1 violation ─" in words(ran.stdout)
    assert "argument 'amount' must equal inputs.amount, which is 2500." in words(ran.stdout)
    assert not (tmp_path / "kept" / "state" / "effects.jsonl").exists()


def test_an_unknown_scene_is_refused_with_the_names_of_all_scenes(tmp_path: Path) -> None:
    ran = demo(tmp_path, "--scene", "finale")

    assert ran.returncode == 2
    for name in SceneName:
        assert name in ran.stderr


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="lists processes by /proc")
def test_an_interrupt_ends_the_demo_and_all_its_processes(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "mcpuppet", "demo", "--scene", "violation", "--keep", "kept"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("allowed") for line in process.stdout)
        assert len(running_in(tmp_path)) >= 2, "the gateway and the finance server"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    assert not running_in(tmp_path)


def running_in(folder: Path) -> list[str]:
    """Running processes whose arguments or environment name a folder: the gateway, the servers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if os.fsencode(folder) in told:
                found.append(process.name)
    return found


@pytest.mark.anyio
async def test_a_scene_notices_when_the_rules_let_pass_what_it_says_is_refused(
    tmp_path: Path,
) -> None:
    folder = write_folder(tmp_path / "lax")
    rules = folder.root / "workflows" / "financial_processing.yaml"
    strict = rules.read_text()
    rules.write_text(strict.replace("    needs: {approve: [approved, bypassed]}\n", ""))
    assert rules.read_text() != strict

    told = io.StringIO()
    narrator = Narrator(Console(file=told, width=COLUMNS))
    ending = await play(["violation"], folder, narrator, Pace("auto", 1.0, lambda: False))

    assert ending.problem.startswith(
        "scene violation: transfer_funds was answered 'succeeded' instead of 'denied'"
    )
    assert "nothing was sent" not in words(told.getvalue())


def test_the_folder_holds_every_shipped_workflow_with_what_it_reads(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "kept")
    workflows, rules = load_configured(load_settings(folder.config))
    assert {"data_pipeline", "month_end_close"} <= set(workflows)
    assert set(rules) == {"bank_assistant"}

    text = folder.config.read_text()
    folder.config.write_text(text.replace("# rules:", "rules:").replace("# shared", "shared"))
    settings = load_settings(folder.config)
    load_configured(settings)
    assert settings.principal("agent").rules == "bank_assistant"


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(InvalidInputError, match="is not empty"):
        write_folder(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["mine.txt"]
