"""The payment that three scenes are about, and what the finance server says of it."""

from __future__ import annotations

from typing import Final

from mcpuppet.demo.stage import Stage

WORKFLOW: Final = "financial_processing"
PAYMENT: Final = {"amount": 2500, "payee": "DE00INVENTED0000000001"}
LARGER: Final = {**PAYMENT, "amount": 25000}
TRANSFER: Final = "finance.transfer_funds"
"""The full name; the AI knows the tool as `transfer_funds`."""


async def begin_payment(stage: Stage) -> None:
    """Begin the run that is to make the payment, unless it is under way already."""
    if not await stage.is_in_run(WORKFLOW):
        await stage.begin(WORKFLOW, PAYMENT)


def check_transfers(stage: Stage, count: int, what: str) -> None:
    """Check, in the finance server's own file, that so many transfers were made, all of PAYMENT."""
    made = stage.folder.effects(TRANSFER)
    stage.checked(
        [dict(one.arguments) for one in made] == [PAYMENT] * count,
        what,
        f"the finance server made {len(made)} transfers: {[dict(one.arguments) for one in made]}",
    )
