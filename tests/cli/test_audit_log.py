"""`mcpuppet audit init`, `checkpoint`, `bundle` and `verify`: the log and its signatures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from support.project import PAYMENT, Project

import mcpuppet.audit.verifier
from mcpuppet.audit.record import leaf_hash

SECRET_PAYEE = "payee: {type: string, x-sensitive: true}"


def init(project: Project) -> str:
    result = project.run("audit", "init", "--name", "bank.example/gateway", token=project.admin)
    assert result.exit_code == 0, result.stderr
    return result.stdout.strip()


def rewrite(project: Project, session: str) -> None:
    """Change the session's last record and mend hash and head, as only a checkpoint shows."""
    connection = apsw.Connection(str(project.store))
    connection.execute("DROP TRIGGER record_is_never_changed")
    sql = "SELECT seq, body FROM record WHERE session=? ORDER BY seq DESC LIMIT 1"
    ((seq, body),) = connection.execute(sql, (session,)).fetchall()
    edited = body.replace(b"node_1", b"node_2")
    assert edited != body
    values = (edited, leaf_hash(edited), session, seq)
    connection.execute("UPDATE record SET body=?, hash=? WHERE session=? AND seq=?", values)
    connection.execute("UPDATE session SET head=? WHERE id=?", (leaf_hash(edited), session))
    connection.close()


def test_the_first_key_needs_no_token_and_its_creation_is_recorded(project: Project) -> None:
    key = init(project)
    assert key.startswith("bank.example/gateway+")
    assert "SigningKeyCreated" in project.kinds("administration")
    result = project.run("audit", "verify")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "1 checkpoint held; the largest of them covers 2 records up to" in result.stderr
    assert "signed by bank.example/gateway. 0 records came after it." in result.stderr


def test_once_there_are_people_only_an_admin_makes_the_key(project: Project) -> None:
    project.user("ann")
    other = project.user("bob")
    assert project.run("audit", "init").exit_code == 1
    refused = project.run("audit", "init", token=other)
    assert refused.exit_code == 1
    assert "only a person with the role admin" in refused.stderr
    init(project)


def test_a_second_key_is_refused_and_the_first_one_shown(project: Project) -> None:
    key = init(project)
    again = project.run("audit", "init")
    assert again.exit_code == 2
    assert key in again.stderr


def test_a_name_that_no_note_could_carry_is_refused(project: Project) -> None:
    result = project.run("audit", "init", "--name", "two words")
    assert result.exit_code == 2
    assert "cannot name a key" in result.stderr


def test_an_unsigned_trail_verifies_and_says_what_that_does_not_show(project: Project) -> None:
    project.asked()
    result = project.run("audit", "verify")
    assert result.exit_code == 0
    assert "whoever can write to the store could have rewritten all of it" in result.stderr
    assert project.run("audit", "checkpoint").exit_code == 2


def test_a_checkpoint_is_printed_as_it_is_to_be_kept(project: Project, tmp_path: Path) -> None:
    key = init(project)
    project.asked()
    result = project.run("audit", "checkpoint")
    assert result.exit_code == 0
    kept = tmp_path / "kept.txt"
    kept.write_text(result.stdout)
    held = project.run("audit", "verify", "--key", key, "--checkpoint", str(kept))
    assert held.exit_code == 0, held.stdout
    assert "nothing is new" in project.run("audit", "checkpoint").stderr


def test_a_full_rewrite_is_caught_by_the_checkpoint_and_not_signed(project: Project) -> None:
    init(project)
    session, _ = project.asked()
    project.run("audit", "checkpoint")
    rewrite(project, session)
    document = json.loads(project.run("audit", "verify", "--json").stdout)
    (found,) = document["breaks"]
    assert found["session_id"] == session
    assert "is not the record that stood at place" in found["what"]
    refused = project.run("audit", "checkpoint")
    assert refused.exit_code == 1
    assert "nothing was signed" in refused.stderr


def test_another_key_than_the_one_that_signed_is_a_break(project: Project, tmp_path: Path) -> None:
    init(project)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mcpuppet.yaml").write_text("store: it.db\n")
    config = str(tmp_path / "other" / "mcpuppet.yaml")
    key = project.run("audit", "init", "--config", config).stdout.strip()
    (tmp_path / "keys").write_text(f"{key}\n")
    result = project.run("audit", "verify", "--key", str(tmp_path / "keys"))
    assert result.exit_code == 1
    assert "no given key signed it" in result.stdout


@pytest.mark.parametrize("key", ["nonsense", "a+00000000+AAAA"])
def test_what_is_no_key_is_refused(project: Project, key: str) -> None:
    init(project)
    result = project.run("audit", "verify", "--key", key)
    assert result.exit_code == 2
    assert "neither a key" in result.stderr


def test_a_file_that_holds_no_checkpoint_is_refused(project: Project, tmp_path: Path) -> None:
    init(project)
    (tmp_path / "empty").write_text("")
    result = project.run("audit", "verify", "--checkpoint", str(tmp_path / "empty"))
    assert result.exit_code == 2
    assert "holds no checkpoints" in result.stderr


def test_replay_makes_the_decisions_again(project: Project) -> None:
    project.asked()
    result = project.run("audit", "verify", "--replay")
    assert result.exit_code == 0, result.stdout
    assert "made again from the rules" in result.stderr
    assert json.loads(project.run("audit", "verify", "--replay", "--json").stdout)["replay"]


# --- bundles ------------------------------------------------------------------------------------


def bundled(project: Project) -> tuple[str, str, Path]:
    """A key, a session and its bundle."""
    key = init(project)
    session, _ = project.asked()
    result = project.run("audit", "bundle", session, "-o", "bundle.jsonl")
    assert result.exit_code == 0, result.stderr
    return key, session, project.folder / "bundle.jsonl"


def test_a_bundle_is_verified_by_the_command_without_settings(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key, _, file = bundled(project)
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(file, tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = project.run("audit", "verify", "bundle.jsonl", "--key", key)
    assert result.exit_code == 0, result.stdout
    assert "the export holds" in result.stdout
    document = json.loads(
        project.run("audit", "verify", "bundle.jsonl", "--key", key, "--json").stdout
    )
    assert document["ok"] is True
    assert document["verified"] == document["records"] > 2
    assert document["signers"] == ["bank.example/gateway"]
    assert document["workflows"] == 1


def test_a_bundle_is_verified_by_a_copy_of_one_file(project: Project, tmp_path: Path) -> None:
    """Isolated from this project: only the standard library and `cryptography` can be imported."""
    key, _, file = bundled(project)
    copy = tmp_path / "alone" / "verifier.py"
    copy.parent.mkdir()
    shutil.copy(mcpuppet.audit.verifier.__file__, copy)
    for command in (
        [sys.executable, "-I", str(copy)],
        [sys.executable, "-m", "mcpuppet.audit.verifier"],
    ):
        source = Path(mcpuppet.audit.verifier.__file__).parents[2]
        ran = subprocess.run(
            [*command, str(file), "--key", key],
            cwd=source if "-m" in command else copy.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
        assert "the export holds" in ran.stdout


def test_an_edited_bundle_does_not_hold(project: Project) -> None:
    key, session, file = bundled(project)
    file.write_text(file.read_text().replace("DE12", "DE13"))
    result = project.run("audit", "verify", "bundle.jsonl", "--key", key)
    assert result.exit_code == 1
    assert f"session '{session}', record 2" in result.stdout


def test_a_bundle_connects_to_a_checkpoint_that_its_receiver_holds(project: Project) -> None:
    key = init(project)
    older = project.folder / "older.txt"
    older.write_text(project.run("audit", "checkpoint").stdout)
    session, _ = project.asked()
    project.run("audit", "bundle", session, "-o", "b.jsonl", "--checkpoint", str(older))
    checked = ("audit", "verify", "b.jsonl", "--key", key, "--checkpoint", str(older))
    result = project.run(*checked)
    assert result.exit_code == 0, result.stdout
    assert "1 kept checkpoint agrees" in result.stdout


def test_an_export_is_read_as_strict_json_where_that_is_asked_for(project: Project) -> None:
    key, _, _ = bundled(project)
    command = ("audit", "verify", "bundle.jsonl", "--key", key)
    assert "--strict reads it" in project.run(*command).stdout
    strict = project.run(*command, "--strict")
    assert strict.exit_code == 0, strict.stdout
    assert "--strict reads it" not in strict.stdout
    assert "--strict is for an export" in project.run("audit", "verify", "--strict").stderr


def test_a_file_of_checkpoints_that_is_not_there_is_said(project: Project) -> None:
    result = project.run("audit", "verify", "x.jsonl", "--checkpoint", "gone.txt")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: cannot read gone.txt: No such file or directory\n"


def test_a_bundle_is_written_to_stdout_and_never_over_a_file(project: Project) -> None:
    key, session, file = bundled(project)
    again = project.run("audit", "bundle", session, "-o", str(file))
    assert again.exit_code == 2
    assert "cannot write" in again.stderr
    result = project.run("audit", "bundle", session)
    assert result.stdout == file.read_text()
    assert key not in result.stdout


def test_without_a_key_there_is_no_bundle(project: Project) -> None:
    session, _ = project.asked()
    result = project.run("audit", "bundle", session)
    assert result.exit_code == 2
    assert "audit init" in result.stderr


def test_there_is_no_bundle_of_a_session_that_is_not_there(project: Project) -> None:
    init(project)
    result = project.run("audit", "bundle", "ses_nobody", "-o", "b.jsonl")
    assert result.exit_code == 2
    assert not (project.folder / "b.jsonl").exists()


def test_only_an_auditor_is_given_redacted_values_and_that_is_recorded(project: Project) -> None:
    key = init(project)
    session, _ = project.asked(PAYMENT.replace("payee: {type: string}", SECRET_PAYEE))
    project.user("ann")
    other, auditor = project.user("bob"), project.user("carl", "auditor")
    refused = project.run("audit", "bundle", session, "--disclose", "--reason", "no", token=other)
    assert refused.exit_code == 1
    assert "role auditor" in refused.stderr
    silent = project.run("audit", "bundle", session, "--disclose", token=auditor)
    assert silent.exit_code == 2
    assert "needs a reason" in silent.stderr
    assert "ValuesDisclosed" not in project.kinds(session)
    hidden = project.run("audit", "bundle", session).stdout
    assert "DE12 Jane" not in hidden
    command = ("audit", "bundle", session, "--disclose", "--reason", "case 7", "-o", "b.jsonl")
    ran = project.run(*command, token=auditor)
    assert ran.exit_code == 0, ran.stderr
    assert "with 1 disclosed value" in ran.stderr
    assert "DE12 Jane" in (project.folder / "b.jsonl").read_text()
    assert project.kinds(session)[-1] == "ValuesDisclosed"
    checked = project.run("audit", "verify", "b.jsonl", "--key", key)
    assert checked.exit_code == 0, checked.stdout
    assert "1 disclosed value checked" in checked.stdout
