"""Scene `violation`: calls that break the rules are refused before anything is sent."""

from __future__ import annotations

from mcpuppet.demo.scenes.payment import PAYMENT, begin_payment, check_transfers
from mcpuppet.demo.stage import Stage


async def play(stage: Stage) -> None:
    """Try to pay at once, then try to have another amount checked than is to be paid."""
    await stage.tell(
        "A payment needs a fraud check, then two people. The AI tries to pay at once. The tool is "
        "not in its list, but nothing keeps a client from calling it all the same."
    )
    await begin_payment(stage)
    await stage.ask("transfer_funds", PAYMENT, "denied")
    await stage.tell("Then it tries a trick: to have a harmless amount checked for fraud.")
    await stage.ask("fraud_check", {**PAYMENT, "amount": 1}, "denied")
    check_transfers(
        stage, 0, "nothing was sent: the finance server's own file effects.jsonl has no transfer."
    )
