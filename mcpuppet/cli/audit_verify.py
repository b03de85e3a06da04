"""`mcpuppet audit verify`: whether the audit trail, or an export of it, holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcpuppet.cli.edge import REFUSED
from mcpuppet.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from mcpuppet.cli.output import counted, put, put_json, say

if TYPE_CHECKING:
    from mcpuppet.audit.record import ChainBreak
    from mcpuppet.audit.replay.store import Mismatch, ReplayReport
    from mcpuppet.audit.signed_log import LogReport
    from mcpuppet.audit.verifier import ExportReport
    from mcpuppet.audit.verify import VerifyReport


def verify(
    export: Annotated[
        Path | None,
        typer.Argument(help="An export or a bundle; without it, the store of the settings."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(help="A key to trust, or a file of keys; may be given again."),
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="A file of checkpoints kept elsewhere; may be given again."),
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Also make every decision again, from the records.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Of an export, read every record as strict JSON too.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Verify the audit trail: the store, or an export of it.

    Of the store it checks each chain of records, each history and state, and that the whole log is
    the one that every checkpoint signed. Without --key the keys count that the administration
    log names. With --replay every decision must also be the one to which the recorded rules lead.

    Exit codes: 0 everything holds; 1 something does not, and each break is listed; 2 the store or
    the file cannot be opened.
    """
    # The store and the workflow compiler cost a second of imports that --help should not pay.
    from mcpuppet.cli import reporting  # noqa: PLC0415
    from mcpuppet.cli.audit_keys import kept_in, trusted  # noqa: PLC0415

    keys = [found for one in key or () for found in trusted(one)]
    kept = [found for path in checkpoint or () for found in kept_in(path)]
    if export is None:
        if strict:
            raise typer.BadParameter("--strict is for an export; of the store all is always read")
        played = reporting.replay(config) if replay else None
        ok = _store(reporting.verify(config, keys, kept), played, as_json)
    elif replay:
        raise typer.BadParameter("--replay needs the store; an export is verified without it")
    else:
        ok = _export(reporting.verify_export_file(export, keys, kept, strict=strict), as_json)
    raise typer.Exit(0 if ok else REFUSED)


def _store(report: VerifyReport, played: ReplayReport | None, as_json: bool) -> bool:
    mismatches = () if played is None else played.mismatches
    if as_json:
        put_json(
            _document(report) | ({} if played is None else {"replay": dataclasses.asdict(played)})
        )
    else:
        put(*map(_line, report.breaks))
        put(*(f"{one.session_id} record {one.seq}: {_differs(one)}" for one in mismatches))
    problems = len(report.breaks) + len(mismatches)
    ok = report.ok and (played is None or played.ok)
    verdict = "everything holds" if ok else "not every session could be played"
    verdict = counted(problems, "break") if problems else verdict
    say(f"{counted(report.sessions, 'session')}, {counted(report.records, 'record')}: {verdict}")
    say(*_summary(report))
    if played is not None:
        say(_replay_summary(played))
    return ok


def _differs(one: Mismatch) -> str:
    return f"it says {one.recorded}; by the rules it is {one.derived}"


def _replay_summary(played: ReplayReport) -> str:
    consistent = sum(played.consistent.values())
    said = (
        f"{played.rederived} of {counted(played.decisions, 'decision')} made again from the rules"
    )
    if consistent:
        agree = "agrees" if consistent == 1 else "agree"
        said += f"; {consistent} {agree} with what the records state and cannot prove"
    if played.not_derivable:
        said += f"; not made again: {_reasons(played.not_derivable)}"
    if played.unfollowed:
        said += f"; records whose causes were not followed: {_reasons(played.unfollowed)}"
    if played.unread:
        said += f"; sessions that were not played: {_reasons(played.unread)}"
    return f"{said}."


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} ({reason})" for reason, count in counts.items())


def _line(found: ChainBreak) -> str:
    if found.session_id:
        return f"{found.session_id} record {found.seq}: {found.what}"
    return f"the log, place {found.seq}: {found.what}" if found.seq else found.what


def _document(report: VerifyReport) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "sessions": report.sessions,
        "records": report.records,
        "verified": report.verified,
        "pruned": report.pruned,
        "breaks": [
            {"session_id": one.session_id, "seq": one.seq, "what": one.what}
            for one in report.breaks
        ],
        "log": None if report.log is None else _log_document(report.log),
    }


def _log_document(log: LogReport) -> dict[str, Any]:
    return {
        "size": log.size,
        "checkpoints": log.checkpoints,
        "signed": log.signed,
        "signers": list(log.signers),
        "last_at": None if log.last_at is None else log.last_at.isoformat(),
    }


def _summary(report: VerifyReport) -> Iterator[str]:
    pruned = f"; {report.pruned} were pruned, and only their hashes are left"
    yield (
        f"{report.verified} of {counted(report.records, 'record')} verified"
        f"{pruned if report.pruned else ''}."
    )
    log = report.log
    if log is None or not log.checkpoints:
        yield (
            "No signed checkpoint was compared: whoever can write to the store could have "
            "rewritten all of it. `mcpuppet audit init` makes the key."
        )
        return
    until = "" if log.last_at is None else f" up to {log.last_at:%Y-%m-%d %H:%M:%S} UTC"
    yield (
        f"{counted(log.checkpoints, 'checkpoint')} held; the largest of them covers "
        f"{counted(log.signed, 'record')}{until}, signed by {', '.join(log.signers)}. "
        f"{counted(log.newer, 'record')} came after it."
    )


def _export(report: ExportReport, as_json: bool) -> bool:
    from mcpuppet.audit.verifier import describe  # noqa: PLC0415 - `cryptography` is slow to load

    if as_json:
        put_json(_export_document(report))
    else:
        put(*describe(report).split("\n"))
    return report.ok


def _export_document(report: ExportReport) -> dict[str, Any]:
    document = {one.name: getattr(report, one.name) for one in dataclasses.fields(report)}
    checkpoint = report.checkpoint
    return {
        "ok": report.ok,
        **document,
        "checkpoint": checkpoint
        and {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()},
        "breaks": [dataclasses.asdict(one) for one in report.breaks],
    }
