"""`mcpuppet approve`: shows a request, asks, and votes for exactly what was shown, or edits it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, TokenFileOption
from mcpuppet.cli.output import put
from mcpuppet.cli.token_source import can_ask, read_token
from mcpuppet.errors import InvalidInputError


def approve(  # noqa: PLR0913, PLR0917 - one parameter for each option
    approval: Annotated[str, typer.Argument(help="As `mcpuppet approvals` lists it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    token_file: TokenFileOption = None,
    digest: Annotated[
        str | None,
        typer.Option(help="Approve only if the request still has this digest, as it was shown."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    bypass: Annotated[
        bool, typer.Option("--bypass", help="Pass over the approval in an emergency.")
    ] = False,
    justification: Annotated[
        str | None, typer.Option(help="Why it is bypassed; goes into the audit trail.")
    ] = None,
    edit: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Do not approve: replace the call's arguments by this file's JSON object, or by "
            "that on stdin (-). All votes are void then, and somebody else has to approve.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=JSON",
            help="The same for one argument, as in --set amount=100; may be given again.",
        ),
    ] = None,
    call: Annotated[
        str | None,
        typer.Option(metavar="STEP", help="Whose call is edited, where several are shown."),
    ] = None,
    note: Annotated[str, typer.Option(help="Why it is edited; goes into the audit trail.")] = "",
) -> None:
    """Approve a request, after showing all that is decided.

    With --edit or --set the call that it shows is edited instead, and others have to approve it.

    Exit codes: 0 recorded; 1 refused, or not approved after all; 2 there is no such request.
    """
    if bypass != (justification is not None):
        raise InvalidInputError("--bypass and --justification go together")
    edits = edit is not None or bool(set_)
    if edits and bypass:
        raise InvalidInputError("a request is edited or bypassed, one at a time")
    asking = can_ask() and not yes
    if not (asking or yes or digest):
        raise InvalidInputError(
            "there is no terminal to ask at: say --yes, or with --digest what was looked at"
        )

    # The store and Rich cost a second of imports that --help should not pay.
    from mcpuppet.cli import deciding  # noqa: PLC0415

    arguments = None if edit is None else _object(edit)
    changes = dict(_assignment(one) for one in set_ or ())
    token = read_token(token_file)
    if edits:
        edited = deciding.Edit(arguments, changes, call, note)
        put(deciding.edit(config, token, approval, edited, digest=digest, asking=asking))
        return
    put(
        deciding.approve(
            config, token, approval, digest=digest, justification=justification, asking=asking
        )
    )


def _object(name: str) -> dict[str, Any]:
    """The JSON object in a file, or on stdin where the name is `-`."""
    where = "stdin" if name == "-" else name
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
        found = json.loads(text)
    except OSError as error:
        raise InvalidInputError(f"cannot read {where}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{where} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidInputError(f"{where} has to hold a JSON object: the arguments by name")
    return found


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidInputError(f"--set takes NAME=JSON, as in --set amount=100; found {text!r}")
    try:
        return name, json.loads(value)
    except (ValueError, RecursionError):
        raise InvalidInputError(
            f"the value of {name} is not JSON: {value!r}; text needs quotes, as in "
            f"--set '{name}=\"text\"'"
        ) from None
