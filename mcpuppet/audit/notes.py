"""Signing keys, signed notes and the text of checkpoints: the writing side.

The formats are C2SP signed-note and tlog-checkpoint, the key files those of Go's
golang.org/x/mod/sumdb/note. Owns keys that are kept in a file; a key that is kept elsewhere (in a
key service, in hardware) is anything that satisfies `Signer`. Deliberately knows neither trees nor
when a checkpoint is due. Reading notes and checking signatures is `audit.verifier`.
"""

from __future__ import annotations

import base64
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mcpuppet.audit.verifier import (
    ED25519,
    HASH_SIZE,
    VerifierError,
    VerifierKey,
    key_id,
    parse_key,
    parse_note,
)
from mcpuppet.errors import InvalidInputError

_PREFIX = "PRIVATE+KEY+"
_MAX_FILE = 4096


class Signer(Protocol):
    """Whatever can sign with Ed25519 under a name."""

    @property
    def name(self) -> str:
        """The name of the key: that of the log, such as `audit.example.com/gateway`."""

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that C2SP signed-note derives from the name and the public key."""

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over the message (RFC 8032)."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key that this process holds; `seed` is its 32 secret bytes."""

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def create(cls, name: str) -> SigningKey:
        """A new key; raises InvalidInputError if nobody could read notes signed under the name."""
        key = cls(name, os.urandom(HASH_SIZE))
        try:
            parse_key(key.verifier_key)
        except VerifierError as error:
            raise InvalidInputError(
                f"{name!a} cannot name a key: it takes 1 to 256 characters without spaces and "
                "plus signs, such as audit.example.com/gateway"
            ) from error
        return key

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Read a key as `text` spells it; raises InvalidInputError, which never shows the key."""
        name, _, rest = text.strip().removeprefix(_PREFIX).partition("+")
        hash_hex, _, encoded = rest.partition("+")
        try:
            raw = base64.b64decode(encoded.encode("ascii"), validate=True)
        except ValueError as error:
            raise InvalidInputError("the signing key is damaged: it is not base64") from error
        if not text.startswith(_PREFIX) or len(raw) != HASH_SIZE + 1 or raw[:1] != ED25519:
            raise InvalidInputError(
                f"it is not an Ed25519 signing key of the form {_PREFIX}name+hash+base64"
            )
        key = cls(name, raw[1:])
        if key.key_id.hex() != hash_hex:
            raise InvalidInputError("the signing key is damaged: its hash is not that of the key")
        return key

    @property
    def text(self) -> str:
        """The secret key in one line, as `parse` reads it."""
        encoded = base64.b64encode(ED25519 + self.seed).decode()
        return f"{_PREFIX}{self.name}+{self.key_id.hex()}+{encoded}"

    @property
    def public(self) -> bytes:
        """The 32 bytes of the public key."""
        return self._private().public_key().public_bytes_raw()

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that C2SP signed-note derives from the name and the public key."""
        return key_id(self.name, self.public)

    @property
    def verifier_key(self) -> str:
        """The vkey to publish: `name+hash+base64`, which `verifier.parse_key` reads."""
        return VerifierKey(self.name, self.key_id, self.public).text

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over the message (RFC 8032)."""
        return self._private().sign(message)

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def checkpoint_text(origin: str, size: int, root: bytes) -> str:
    """The text of a checkpoint (C2SP tlog-checkpoint): origin, leaves, 32-byte root in base64.

    Raises InvalidInputError if the origin is not one line of text.
    """
    if not origin or not origin.isprintable():
        raise InvalidInputError(f"{origin!a} cannot be the origin of a log: it takes one line")
    if size < 0 or len(root) != HASH_SIZE:
        raise InvalidInputError(f"a checkpoint of {size} leaves with {len(root)} bytes is none")
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def sign_note(text: str, *signers: Signer) -> str:
    """The signed note over a text that ends with a line feed (C2SP signed-note).

    Raises InvalidInputError if it could not be read back as such.
    """
    message = text.encode()
    note = text + "\n" + "".join(_signature_line(signer, message) for signer in signers)
    try:
        readable = parse_note(note).text == text
    except VerifierError as error:
        raise InvalidInputError(f"the note cannot be signed: {error}") from error
    if not readable:
        raise InvalidInputError("the note cannot be signed: its text must end with a line feed")
    return note


def join_notes(notes: list[str]) -> str:
    """Notes as one file: a blank line between them, as `verifier.split_notes` reads it."""
    return "\n".join(notes)


def write_key(path: Path, key: SigningKey) -> None:
    """Write a secret key to a new file that only its owner may read.

    Raises InvalidInputError if the file exists or cannot be written; it never replaces one.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(f"{key.text}\n".encode())
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise InvalidInputError(
            f"{path} exists already; a signing key is never replaced, so choose another path"
        ) from error
    except OSError as error:
        raise InvalidInputError(f"the signing key cannot be written: {error}") from error


def load_key(path: Path) -> SigningKey:
    """Read a secret key; raises InvalidInputError if others may read the file, or it is not one."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise InvalidInputError(f"the signing key cannot be read: {error}") from error
    # Windows has no such bits: what it reports there says nothing about who may read.
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise InvalidInputError(
            f"others than its owner may use the signing key {path}: run chmod 600 on it, and make "
            "a new key if they may have read it"
        )
    try:
        return SigningKey.parse(content[:_MAX_FILE].decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not a signing key: it is not text") from error
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error


def _signature_line(signer: Signer, message: bytes) -> str:
    signature = signer.key_id + signer.sign(message)
    return f"\u2014 {signer.name} {base64.b64encode(signature).decode()}\n"
