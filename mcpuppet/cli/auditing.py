"""What the commands of `mcpuppet audit` do at the desk: sign, bundle and prune."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcpuppet.app import Desk, utc_now
from mcpuppet.audit.bundle import Bundle, write_bundle
from mcpuppet.audit.log import latest_checkpoint, read_checkpoint
from mcpuppet.audit.tree import TileTree
from mcpuppet.cli.audit_keys import kept_in
from mcpuppet.cli.desk import at_desk
from mcpuppet.cli.moments import moment
from mcpuppet.cli.new_file import new_file
from mcpuppet.errors import InvalidInputError
from mcpuppet.people.custody import Pruned
from mcpuppet.people.disclosing import Disclosing
from mcpuppet.store.protocol import SessionRow


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key that was made: its public half, and where the secret half is."""

    verifier_key: str
    directory: Path


@dataclass(frozen=True, slots=True)
class MadeCheckpoint:
    """The latest checkpoint, and how many records it covers that the one before did not."""

    note: str
    size: int
    new: int


def create_key(config: Path, name: str | None, token: Callable[[], str]) -> MadeKey:
    """Make the signing key; `token` is asked for once there is a person."""

    async def work(desk: Desk) -> MadeKey:
        known = await desk.people.has_users()
        by = await desk.people.authenticate(token()) if known else None
        origin = name or f"{socket.gethostname()}/{desk.settings.store.name}"
        made = await desk.custody.create_key(origin, by)
        return MadeKey(made, desk.audit_log.directory)

    return at_desk(config, work, new_store=True)


def checkpoint(config: Path) -> MadeCheckpoint:
    """Sign what is not signed yet, after comparing all that is."""

    async def work(desk: Desk) -> MadeCheckpoint:
        before = desk.audit_log.latest()
        made = await asyncio.to_thread(lambda: desk.audit_log.checkpoint(thorough=True))
        note = latest_checkpoint(desk.settings.audit) or ""
        size = read_checkpoint(note).size
        known = 0 if before is None else before.size
        return MadeCheckpoint(note, size, 0 if made is None else made.size - known)

    return at_desk(config, work)


def bundle(
    config: Path,
    session_id: str,
    output: Path | None,
    known: Sequence[Path],
    token: str | None,
    reason: str,
) -> Bundle:
    """Write a bundle; with a `token` its person gets the redacted values, which is recorded."""

    async def work(desk: Desk) -> Bundle:
        if token is not None:
            person = await desk.people.authenticate(token)
            await Disclosing(desk.ledger, desk.store).disclose(session_id, None, person, reason)
        if desk.audit_log.is_signed:
            await asyncio.to_thread(desk.audit_log.checkpoint)
        note = latest_checkpoint(desk.settings.audit)
        if note is None:
            raise InvalidInputError(
                "there is no checkpoint yet that could prove anything: `mcpuppet audit init` makes "
                "the key, and the first one"
            )
        tree = TileTree(desk.audit_log.directory, read_checkpoint(note).size)
        theirs = [read_checkpoint(one.note) for path in known for one in kept_in(path)]
        with desk.store.reader() as reader, new_file(output) as out:
            return write_bundle(
                reader, session_id, tree, note, out, known=theirs, disclose=token is not None
            )

    return at_desk(config, work)


def prune(
    config: Path,
    token: str,
    before: str,
    reason: str,
    agreed: Callable[[Sequence[SessionRow]], bool],
    *,
    young: bool,
) -> Pruned | None:
    """Prune the sessions that `agreed` agrees to; None if it does not."""
    moment_before = moment(before, utc_now())

    async def work(desk: Desk) -> Pruned | None:
        person = await desk.people.authenticate(token)
        desk.custody.check(moment_before, person, reason, young=young)
        rows = await desk.custody.candidates(moment_before)
        if not agreed(rows):
            return None
        return await desk.custody.prune(rows, moment_before, person, reason)

    return at_desk(config, work)
