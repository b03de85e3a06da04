"""`mcpuppet audit disclose` and `audit erase`: the values that records hold only commitments to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from mcpuppet.cli.edge import NotDecidedError
from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, TokenFileOption
from mcpuppet.cli.output import counted, put, put_json, say
from mcpuppet.cli.token_source import can_ask, read_token
from mcpuppet.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpuppet.app import Desk
    from mcpuppet.audit.reader import Disclosure

SessionArgument = Annotated[str, typer.Argument(help="As `mcpuppet sessions` lists it.")]
CommitmentsArgument = Annotated[
    list[str] | None,
    typer.Argument(help="The digits of `[redacted …]`, eight or more.", show_default=False),
]
AllOption = Annotated[bool, typer.Option("--all", help="Every value of the session.")]
ReasonOption = Annotated[str, typer.Option(help="Why; goes into the audit trail.")]


def disclose(
    session: SessionArgument,
    reason: ReasonOption,
    commitments: CommitmentsArgument = None,
    all_values: AllOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print values that were redacted; needs an auditor's token.

    An admin's does as well. That they were read, by whom and why is recorded in the session before
    they are printed.

    Exit codes: 0 printed; 1 refused; 2 there is no such session or value.
    """
    wanted = _wanted(commitments, all_values)
    token = read_token(token_file)
    # The store costs a second of imports that --help should not pay.
    from mcpuppet.cli.desk import at_desk  # noqa: PLC0415
    from mcpuppet.people.disclosing import Disclosing  # noqa: PLC0415

    async def work(desk: Desk) -> list[Disclosure]:
        person = await desk.people.authenticate(token)
        return await Disclosing(desk.ledger, desk.store).disclose(session, wanted, person, reason)

    found = at_desk(config, work)
    if as_json:
        put_json({"session_id": session, "values": {one.commitment: one.value for one in found}})
    else:
        put(*(f"{one.commitment} {json.dumps(one.value)}" for one in found))
    say(f"{counted(len(found), 'value')} disclosed" + _recorded(session, found))


def erase(
    session: SessionArgument,
    reason: ReasonOption,
    commitments: CommitmentsArgument = None,
    all_values: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
) -> None:
    """Delete redacted values for good; needs an admin's token.

    With a value go all others that hold it, or a part of it. The records stay as they are and still
    verify; what they say of the values is a number that cannot be undone. Rules of an active run
    that read an erased value hold their step.

    Exit codes: 0 erased; 1 refused, or not agreed to; 2 there is no such session or value.
    """
    wanted = _wanted(commitments, all_values)
    token = read_token(token_file)
    # The store costs a second of imports that --help should not pay.
    from mcpuppet.cli.desk import at_desk  # noqa: PLC0415
    from mcpuppet.people.disclosing import Disclosing  # noqa: PLC0415

    async def work(desk: Desk) -> None:
        person = await desk.people.authenticate(token)
        disclosing = Disclosing(desk.ledger, desk.store)
        disclosing.check_erasure(person, reason)
        found = await disclosing.to_erase(session, wanted)
        if not found:
            say(f"session {session} holds no value that could be erased")
            return
        _ask(session, len(found), yes=yes)
        clean = await disclosing.erase(session, found, person, reason)
        say(f"{counted(len(found), 'value')} erased" + _recorded(session, found))
        if not clean:
            say(
                "Other processes are reading the store, so its write-ahead log may still hold the "
                "values: stop them, or erase again later. Backups have to be erased by themselves."
            )

    at_desk(config, work)


def _wanted(commitments: list[str] | None, all_values: bool) -> Sequence[str] | None:
    if bool(commitments) == all_values:
        raise InvalidInputError("name the values by their commitments, or give --all")
    return None if all_values else commitments


def _ask(session: str, count: int, *, yes: bool) -> None:
    what = f"Erase {counted(count, 'value')} of session {session} for good?"
    if not yes and not (can_ask() and typer.confirm(what, err=True)):
        raise NotDecidedError("nothing was erased" + ("" if can_ask() else "; --yes erases"))


def _recorded(session: str, found: Sequence[Disclosure]) -> str:
    return f", and recorded in session {session}" if found else ""
