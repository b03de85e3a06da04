"""Scene `audit`: what the records show, and that nobody can quietly change them."""

from __future__ import annotations

from collections import Counter

from mcpuppet.audit.record import Record, open_record
from mcpuppet.audit.reports.report import ComplianceReport
from mcpuppet.audit.verify import verify_chains
from mcpuppet.cli.output import counted
from mcpuppet.demo import tampering
from mcpuppet.demo.scenes.payment import PAYMENT, TRANSFER, begin_payment
from mcpuppet.demo.stage import Stage


async def play(stage: Stage) -> None:
    """Report on the session, verify, change records behind MCPuppet's back, and verify again."""
    if not stage.session_id or _refused_transfer(stage) is None:
        await _be_refused(stage)
    refused = _refused_transfer(stage)
    assert refused is not None
    await stage.close()
    await stage.tell("The AI has hung up. This is the compliance report of its session, short:")
    await _report(stage, stage.desk.audit_monitor.generate_compliance_report(stage.session_id))
    await _verify(stage, broken_at=None)
    await _tamper(stage, refused)
    await _verify(stage, broken_at=refused.seq)
    await _rewrite(stage, refused)
    await _verify(stage, broken_at=refused.seq)
    await _restore(stage)
    await _verify(stage, broken_at=None)


def _refused_transfer(stage: Stage) -> Record | None:
    """The first record of a transfer that was refused."""
    for record in stage.records():
        opened = open_record(record.body)
        if opened.kind == "CallDenied" and opened.data["tool"] == TRANSFER:
            return record
    return None


async def _be_refused(stage: Stage) -> None:
    await stage.tell("First there has to be something to hide: a refused payment.")
    await begin_payment(stage)
    await stage.ask("transfer_funds", PAYMENT, "denied")


async def _report(stage: Stage, report: ComplianceReport) -> None:
    narrator = stage.narrator
    decisions = Counter(one.decision.replace("_", " ") for one in report.calls)
    runs = (f"{one.workflow} {one.version}: {one.status.replace('_', ' ')}" for one in report.runs)
    narrator.line("session", report.session_id)
    narrator.lines("runs", runs)
    narrator.line("calls", ", ".join(f"{number} {name}" for name, number in decisions.items()))
    for one in report.approvals:
        people = " and ".join(one.decided_by) or "nobody yet"
        narrator.line("approvals", f"{one.step}: {one.status}, by {people}")
    refusals = (f"record {one.seq}: {one.tool}: {one.reason}" for one in report.violations)
    narrator.lines("refusals", refusals)
    narrator.line("chain", f"{report.chain.status}, {report.chain.records} records")
    await stage.end_step()


async def _verify(stage: Stage, broken_at: int | None) -> None:
    """Run `mcpuppet audit verify`; expect it to fail at this record, and only there, or to pass."""
    ran = await stage.command("audit", "verify")
    narrator = stage.narrator
    narrator.line("person", "mcpuppet audit verify")
    narrator.lines("intact" if ran.code == 0 else "BROKEN", ran.lines)
    if broken_at is None:
        stage.expect(ran.code == 0, f"`audit verify` found: {' '.join(ran.lines)}")
    else:
        named = f"{stage.session_id} record {broken_at}:" in ran.stdout
        stage.expect(
            ran.code == 1 and named, f"`audit verify` did not name record {broken_at} as changed"
        )
    await stage.end_step()


async def _tamper(stage: Stage, refused: Record) -> None:
    store, narrator = stage.folder.store, stage.narrator
    tampering.copy_store(store, stage.folder.backup)
    await stage.tell(
        f"Somebody who can write to {store.name} wants record {refused.seq}, the refused transfer, "
        "to say that it was allowed. (A copy of the file is kept.)"
    )
    body = tampering.as_allowed(refused)
    narrator.line("attacker", f"SQL: change the body of record {refused.seq} to 'CallStarted'")
    refusal = tampering.edit_record(store, refused, body)
    stage.expect(bool(refusal), "the database let somebody change a record")
    narrator.line("REFUSED", f"by the database itself: {refusal}")
    narrator.line("attacker", "SQL: DROP TRIGGER record_is_never_changed, then the same again")
    tampering.drop_guard(store)
    stage.expect(
        not tampering.edit_record(store, refused, body), "the record could not be changed after all"
    )
    narrator.line("", "done: the file now says that the transfer was allowed.")
    await stage.end_step()


async def _rewrite(stage: Stage, refused: Record) -> None:
    store, narrator = stage.folder.store, stage.narrator
    tampering.copy_store(stage.folder.backup, store)
    await stage.tell(
        "Put back, and now by somebody who knows how it works: every record from there on is "
        "sealed anew, and the head too, so that hashes and links are all in order again."
    )
    tampering.drop_guard(store)
    number = tampering.rewrite_from(store, refused, tampering.as_harmless(refused))
    rewritten = counted(number, "record")
    narrator.line("attacker", f"SQL: {rewritten} and the head of the session, sealed anew")
    stage.expect(_hash_chain_holds(stage), "the rewritten chain does not hold")
    narrator.line("", "done: the transfer is not in the file, and the chain of hashes holds.")
    await stage.end_step()


def _hash_chain_holds(stage: Stage) -> bool:
    with stage.desk.store.reader() as reader:
        return verify_chains(reader).ok


async def _restore(stage: Stage) -> None:
    tampering.copy_store(stage.folder.backup, stage.folder.store)
    stage.folder.backup.unlink()
    await stage.tell(
        "The file is put back from the copy. (The checkpoint had been signed by then, with the key "
        "of `mcpuppet audit init`. Whoever steals that key too is found out only by checkpoints "
        "that were kept elsewhere: `copy_to` in the settings.)"
    )
