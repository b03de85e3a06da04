"""Scene `approval`: a call waits for two people, and what they saw is what is done, once."""

from __future__ import annotations

from mcpuppet.demo.scenes.payment import LARGER, PAYMENT, begin_payment, check_transfers
from mcpuppet.demo.stage import Stage


async def play(stage: Stage) -> None:
    """Make the payment properly; try another amount, the same again and a vote on the way."""
    await stage.tell(
        "Now the payment is made as it should be. A call never waits for a person: it is answered "
        "at once, and is legal after the decision."
    )
    await begin_payment(stage)
    await stage.ask("fraud_check", PAYMENT, "succeeded")
    waiting = await stage.ask("transfer_funds", PAYMENT, "awaiting_approval")
    await _approve(stage, waiting.approval_id)
    await stage.ask("transfer_funds", LARGER, "denied")
    check_transfers(stage, 0, "approved was 2500, so 25000 was not sent.")
    stage.narrator.gap()
    await stage.ask("transfer_funds", PAYMENT, "succeeded")
    await stage.tell(
        "The approval was good for one call. The AI makes the same call again, as after a lost "
        "answer: it is told the outcome that is on record."
    )
    repeat = await stage.ask("transfer_funds", PAYMENT, "succeeded")
    stage.expect(repeat.details.get("how") == "replayed", "the same call was made a second time")
    check_transfers(stage, 1, "the finance server made one transfer, of exactly 2500.")
    stage.narrator.gap()
    await stage.ask("write_audit", {"entry": f"payment to {PAYMENT['payee']}"}, "succeeded")
    status = (await stage.view()).status
    stage.checked(status == "completed", "the run is completed.", f"the run is {status}")


async def _approve(stage: Stage, approval_id: str) -> None:
    """The AI tries to approve its own call; then alice and bob do, from another terminal."""
    await stage.tell("The AI has a shell as well, and tries to approve its own call.")
    command = ("approve", approval_id, "--yes")
    stage.narrator.line("AI", f"$ mcpuppet {' '.join(command)}")
    own = await stage.command(*command)
    stage.expect(own.code == 1, f"an approval without a token ended with exit code {own.code}")
    stage.narrator.lines("REFUSED", own.stderr.strip().splitlines()[-1:])
    stage.narrator.gap()
    await stage.tell(
        "Alice and Bob work in finance. Each has a token from `mcpuppet user add`, and decides in "
        "a terminal of their own."
    )
    await stage.enrol("alice", "bob", role="finance")
    await stage.decide("alice", *command)
    await stage.decide("bob", *command)
