"""Scene `workflow`: a workflow succeeds step by step, and the list of tools follows it."""

from __future__ import annotations

from mcpuppet.demo.stage import Stage

_NAME = "Ada Quill"
_EMAIL = "ada.quill@mail.example"


async def play(stage: Stage) -> None:
    """Onboard a customer; every step becomes legal, and listed, through the one before."""
    await stage.tell(
        "A new customer is checked, gets an account, is backed up and welcomed, in this order. "
        "The gateway lists a tool to the AI only while a call of it is legal."
    )
    customer = {"name": _NAME, "email": _EMAIL}
    await stage.begin("customer_onboarding", customer, listed="validate_customer")
    await stage.ask("validate_customer", customer, "succeeded", listed="create_account")
    opened = await stage.ask("create_account", customer, "succeeded", listed="backup_data")
    account = opened.result["account_id"]
    await stage.ask("backup_data", {"label": account}, "succeeded", listed="send_notification")
    await stage.ask("send_notification", {"email": _EMAIL}, "succeeded")
    _check(stage, (await stage.view()).status)


def _check(stage: Stage, status: str) -> None:
    accounts = stage.folder.effects("customer.create_account")
    welcomes = stage.folder.effects("customer.send_notification")
    stage.checked(
        status == "completed" and len(accounts) == len(welcomes) == 1,
        "the run is completed; the customer server itself noted one account and one welcome.",
        f"the run is {status}, with {len(accounts)} accounts and {len(welcomes)} messages",
    )
