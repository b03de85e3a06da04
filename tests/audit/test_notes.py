"""Keys, signed notes and checkpoints are what other implementations of the formats expect."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcpuppet.audit.notes import (
    SigningKey,
    checkpoint_text,
    join_notes,
    load_key,
    sign_note,
    write_key,
)
from mcpuppet.audit.verifier import (
    Checkpoint,
    VerifierError,
    check_signatures,
    parse_checkpoint,
    parse_key,
    parse_note,
    split_notes,
)
from mcpuppet.errors import InvalidInputError

# The example of the documentation of Go's golang.org/x/mod/sumdb/note.
GO_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_NOTE = GO_TEXT + (
    "\n\u2014 PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
KEY = SigningKey("audit.example.com/gateway", bytes(range(32)))
ROOT = bytes(range(32))


def test_a_note_of_another_implementation_is_made_and_verified() -> None:
    key = SigningKey.parse(GO_SECRET)
    assert key.text == GO_SECRET
    assert key.verifier_key == GO_PUBLIC
    assert sign_note(GO_TEXT, key) == GO_NOTE
    note = parse_note(GO_NOTE)
    assert note.text == GO_TEXT
    assert check_signatures(note, [parse_key(GO_PUBLIC)]) == ("PeterNeumann",)


def test_a_checkpoint_is_read_as_it_was_signed() -> None:
    note = parse_note(sign_note(checkpoint_text("log", 7, ROOT), KEY))
    assert parse_checkpoint(note.text) == Checkpoint("log", 7, ROOT)
    assert check_signatures(note, [parse_key(KEY.verifier_key)]) == (KEY.name,)
    assert parse_checkpoint(note.text + "an extension\n").size == 7


def test_new_keys_differ_and_are_read_back() -> None:
    one, other = SigningKey.create("log"), SigningKey.create("log")
    assert one.seed != other.seed
    assert SigningKey.parse(one.text) == one
    assert parse_key(one.verifier_key).text == one.verifier_key


def test_a_secret_is_not_shown() -> None:
    key = SigningKey.parse(GO_SECRET)
    assert str(key.seed) not in repr(key)
    assert "seed" not in repr(key)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a" * 257, "a\x00"])
def test_names_that_a_note_cannot_carry_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot name a key"):
        SigningKey.create(name)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not an Ed25519 signing key"),
        (GO_PUBLIC, "not an Ed25519 signing key"),
        (GO_SECRET.replace("c74f20a3", "c74f20a4"), "its hash is not that of the key"),
        (GO_SECRET.replace("Peter", "Petra"), "its hash is not that of the key"),
        (GO_SECRET[:-4], "not an Ed25519 signing key"),
        (GO_SECRET + "!", "not base64"),
    ],
)
def test_a_damaged_secret_is_refused_without_being_shown(text: str, what: str) -> None:
    with pytest.raises(InvalidInputError, match=what) as refusal:
        SigningKey.parse(text)
    assert "AYEKFALVFGyN" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "form name"),
        ("PeterNeumann+c74f20a3", "not an Ed25519 key"),
        (GO_PUBLIC.replace("c74f20a3", "C74F20A3"), "form name"),
        (GO_PUBLIC.replace("c74f20a3", "c74f20a4"), "its hash is c74f20a3, not c74f20a4"),
        (GO_PUBLIC.replace("+AR", "+BR"), "not an Ed25519 key"),
        (GO_PUBLIC[:-4], "not an Ed25519 key"),
        ("a\x1b[0m b+c74f20a3+AR", r"'a\\x1b\[0m b"),
    ],
)
def test_a_damaged_public_key_is_refused(text: str, what: str) -> None:
    with pytest.raises(VerifierError, match=what):
        parse_key(text)


def test_a_key_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_key(path, KEY)
    assert load_key(path) == KEY
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600
        for mode in (0o640, 0o604, 0o620):
            path.chmod(mode)
            with pytest.raises(InvalidInputError, match="chmod 600"):
                load_key(path)


def test_a_key_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_key(path, KEY)
    with pytest.raises(InvalidInputError, match="exists already"):
        write_key(path, SigningKey.create("other"))
    assert load_key(path) == KEY
    with pytest.raises(InvalidInputError, match="cannot be written"):
        write_key(tmp_path / "nowhere" / "key", KEY)


def test_what_is_no_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_key(path)
    for content in (b"", b"\xff\xfe", b"x" * 10_000):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(InvalidInputError, match="key"):
            load_key(path)


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [("", 0, ROOT), ("a\nb", 0, ROOT), ("log", -1, ROOT), ("log", 0, b"short")],
)
def test_what_no_checkpoint_can_say_is_refused(origin: str, size: int, root: bytes) -> None:
    with pytest.raises(InvalidInputError):
        checkpoint_text(origin, size, root)


@pytest.mark.parametrize("text", ["no line feed", "a\x00\n", ""])
def test_what_no_note_can_say_is_not_signed(text: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot be signed"):
        sign_note(text, KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n7\n",
        "log\n07\nAA==\n",
        "log\n-7\nAA==\n",
        "log\n7\nAA==\n",
        "\n7\nAA==\n",
        "log\n7",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(VerifierError):
        parse_checkpoint(text)


def test_lines_of_unknown_keys_are_passed_over() -> None:
    other = SigningKey.create("other")
    note = parse_note(sign_note(GO_TEXT, other, KEY))
    assert check_signatures(note, [parse_key(KEY.verifier_key)]) == (KEY.name,)
    with pytest.raises(VerifierError, match="no given key signed it"):
        check_signatures(note, [parse_key(GO_PUBLIC)])


def test_a_file_holds_notes_one_after_another() -> None:
    notes = [sign_note(checkpoint_text("log", size, ROOT), KEY) for size in (1, 2, 3)]
    for many in (1, 2, 3):
        found = split_notes(join_notes(notes[:many]).encode(), "history")
        assert [one.note for one in found] == notes[:many]
    assert found[1].where == "history, no. 2"


@pytest.mark.parametrize("cut", [1, 20, 120, 200])
def test_a_file_that_was_cut_is_refused(cut: int) -> None:
    notes = [sign_note(checkpoint_text("log", size, ROOT), KEY) for size in (1, 2)]
    with pytest.raises(VerifierError, match="does not consist of whole checkpoints"):
        split_notes(join_notes(notes).encode()[:-cut], "history")


def test_a_file_that_is_not_text_is_refused() -> None:
    with pytest.raises(VerifierError, match="not text"):
        split_notes(b"\xff", "history")
    with pytest.raises(VerifierError, match="whole checkpoints"):
        split_notes(b"", "history")
