"""The `bank` server: a current account, its scheduled payments and its statement.

It pays whomever it is told to. That a payee is new, or that a web page asked for the payment, is
nothing it could know. It owns one balance in euro, kept in cents; every account in it is invented.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypedDict

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, ConfigDict, Field

from mcpuppet.demo.servers._common import State, Toolbox

_START_CENTS: Final = 20_000_00

Amount = Annotated[
    float, Field(strict=True, gt=0, le=1e6, description="Euro, with at most two decimals.")
]
Recipient = Annotated[
    str, Field(min_length=1, max_length=64, description="The payee's IBAN, as the payee gave it.")
]
Subject = Annotated[str, Field(max_length=140, description="What the payment is for.")]
PaymentId = Annotated[
    str, Field(description="As get_scheduled_payments lists it, `scheduled-rent`.")
]
Due = Annotated[
    str,
    Field(
        pattern=r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        description="When it is to be paid, in UTC, `2030-01-01T06:00:00Z`.",
    ),
]


class Scheduled(BaseModel):
    """A scheduled payment as it is kept."""

    model_config = ConfigDict(extra="forbid")

    recipient: str
    cents: int
    subject: str
    due_at: str
    status: Literal["scheduled", "cancelled"] = "scheduled"


class Sent(BaseModel):
    """A payment that was made, as it is kept."""

    model_config = ConfigDict(extra="forbid")

    recipient: str
    cents: int
    subject: str


def _first_scheduled() -> dict[str, Scheduled]:
    return {
        "scheduled-rent": Scheduled(
            recipient="DE00INVENTED0000000031",
            cents=1_150_00,
            subject="Rent, Harbour Street 4",
            due_at="2030-01-01T06:00:00Z",
        ),
        "scheduled-power": Scheduled(
            recipient="DE00INVENTED0000000032",
            cents=84_50,
            subject="Power, customer 20-771",
            due_at="2026-01-05T18:00:00Z",
        ),
    }


class BankState(State):
    """The balance, all scheduled payments by their ids, and the payments made by theirs."""

    cents: int = _START_CENTS
    scheduled: dict[str, Scheduled] = Field(default_factory=_first_scheduled)
    sent: dict[str, Sent] = Field(default_factory=dict)


class Balance(TypedDict):
    """The balance in euro."""

    balance: float


class Payment(TypedDict):
    """A payment that was made, and the balance in euro after it."""

    payment_id: str
    balance: float


class ScheduledPayment(BaseModel):
    """A scheduled payment; `due_at` is in UTC."""

    payment_id: str
    recipient: str
    amount: float
    subject: str
    due_at: str
    status: Literal["scheduled", "cancelled"]


class StatementLine(BaseModel):
    """A payment that was made."""

    payment_id: str
    recipient: str
    amount: float
    subject: str


TOOLBOX = Toolbox("bank", "A current account: look, pay, schedule and cancel.", BankState)


@TOOLBOX.reads
def get_balance(state: BankState) -> Balance:
    """Return the account's balance in euro."""
    return {"balance": state.cents / 100}


@TOOLBOX.reads
def get_scheduled_payments(state: BankState) -> list[ScheduledPayment]:
    """List every payment that is scheduled, with its recipient."""
    return [
        _shown(payment_id, payment)
        for payment_id, payment in state.scheduled.items()
        if payment.status == "scheduled"
    ]


@TOOLBOX.reads
def get_payment(state: BankState, payment_id: PaymentId) -> ScheduledPayment:
    """Look up one scheduled payment."""
    return _shown(payment_id, _known(state, payment_id))


@TOOLBOX.reads
def get_statement(state: BankState) -> list[StatementLine]:
    """List the payments that were made, the oldest first."""
    return [
        StatementLine(
            payment_id=payment_id,
            recipient=payment.recipient,
            amount=payment.cents / 100,
            subject=payment.subject,
        )
        for payment_id, payment in state.sent.items()
    ]


@TOOLBOX.changes(destructive=True)
def send_money(
    state: BankState, recipient: Recipient, amount: Amount, subject: Subject = ""
) -> Payment:
    """Send money at once; refused if the balance does not cover it."""
    cents = _cents(amount)
    if cents > state.cents:
        raise ToolError(f"{amount:.2f} is more than the balance of {state.cents / 100:.2f}")
    payment_id = state.mint("payment")
    state.sent[payment_id] = Sent(recipient=recipient, cents=cents, subject=subject)
    state.cents -= cents
    return {"payment_id": payment_id, "balance": state.cents / 100}


@TOOLBOX.changes(destructive=True)
def schedule_payment(
    state: BankState, recipient: Recipient, amount: Amount, due_at: Due, subject: Subject = ""
) -> ScheduledPayment:
    """Have a payment made later."""
    payment_id = state.mint("scheduled")
    payment = Scheduled(recipient=recipient, cents=_cents(amount), subject=subject, due_at=due_at)
    state.scheduled[payment_id] = payment
    return _shown(payment_id, payment)


@TOOLBOX.changes(destructive=True)
def change_amount(state: BankState, payment_id: PaymentId, amount: Amount) -> ScheduledPayment:
    """Change the amount of a scheduled payment; its recipient stays."""
    payment = _open(state, payment_id)
    payment.cents = _cents(amount)
    return _shown(payment_id, payment)


@TOOLBOX.changes(destructive=True)
def cancel_payment(state: BankState, payment_id: PaymentId) -> ScheduledPayment:
    """Cancel a scheduled payment for good; refused if it is unknown or cancelled already."""
    payment = _open(state, payment_id)
    payment.status = "cancelled"
    return _shown(payment_id, payment)


def _known(state: BankState, payment_id: str) -> Scheduled:
    payment = state.scheduled.get(payment_id)
    if payment is None:
        raise ToolError(f"no scheduled payment {payment_id!r}")
    return payment


def _open(state: BankState, payment_id: str) -> Scheduled:
    payment = _known(state, payment_id)
    if payment.status == "cancelled":
        raise ToolError(f"{payment_id} is cancelled already")
    return payment


def _shown(payment_id: str, payment: Scheduled) -> ScheduledPayment:
    return ScheduledPayment(
        payment_id=payment_id,
        recipient=payment.recipient,
        amount=payment.cents / 100,
        subject=payment.subject,
        due_at=payment.due_at,
        status=payment.status,
    )


def _cents(amount: float) -> int:
    cents = round(amount * 100)
    if cents / 100 != amount:
        raise ToolError(f"{amount} is not an amount in euro with at most two decimals")
    return cents


if __name__ == "__main__":
    TOOLBOX.serve()
