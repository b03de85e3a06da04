"""The `finance` server: rates payments, moves money and keeps an audit book.

It owns one balance in euro, kept in cents. It does not know whether a payment was rated or approved
before it is made. Every account in it is invented.
"""

from __future__ import annotations

from typing import Annotated, Final, TypedDict

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, ConfigDict, Field

from mcpuppet.demo.servers._common import State, Toolbox

_START_CENTS: Final = 100_000_00
_FLAGGED_COUNTRY: Final = "XX"
_FLAGGED_SCORE: Final = 0.95
_BANDS: Final = (
    (1_000, 0.1, "amount up to 1,000"),
    (10_000, 0.4, "amount up to 10,000"),
    (50_000, 0.6, "amount over 10,000"),
)
_TOP_BAND: Final = (0.85, "amount over 50,000")

Amount = Annotated[
    float, Field(strict=True, gt=0, le=1e9, description="Euro, with at most two decimals.")
]
Payee = Annotated[
    str,
    Field(pattern=r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{10,30}$", description="The payee's IBAN, no spaces."),
]
TransferId = Annotated[str, Field(description="As transfer_funds returned it, `transfer-0001`.")]


class Transfer(BaseModel):
    """A transfer as it is kept."""

    model_config = ConfigDict(extra="forbid")

    cents: int
    payee: str
    reversed: bool = False


class Rejection(BaseModel):
    """A rejected payment as it is kept."""

    model_config = ConfigDict(extra="forbid")

    cents: int
    payee: str
    reason: str


class AuditEntry(BaseModel):
    """A line of the audit book."""

    model_config = ConfigDict(extra="forbid")

    entry: str
    reference: str


class FinanceState(State):
    """The balance, and all transfers, rejections and audit entries by their ids."""

    cents: int = _START_CENTS
    transfers: dict[str, Transfer] = Field(default_factory=dict)
    rejections: dict[str, Rejection] = Field(default_factory=dict)
    entries: dict[str, AuditEntry] = Field(default_factory=dict)


class FraudRating(TypedDict):
    """How likely a payment is fraud, from 0 to 1, and why."""

    score: Annotated[float, Field(ge=0, le=1)]
    reasons: list[str]


class TransferChange(TypedDict):
    """A transfer, and the balance in euro after the call."""

    transfer_id: str
    balance: float


class RejectionId(TypedDict):
    """The rejection that was recorded."""

    rejection_id: str


class EntryId(TypedDict):
    """The audit entry that was written."""

    entry_id: str


class Balance(TypedDict):
    """The balance in euro."""

    balance: float


TOOLBOX = Toolbox("finance", "Rate payments, make them and record what was done.", FinanceState)


@TOOLBOX.reads
def fraud_check(_state: FinanceState, amount: Amount, payee: Payee) -> FraudRating:
    """Rate how likely a payment is fraud: a score from 0 to 1, where 0.8 and more is too risky."""
    score, reason = _rate_amount(amount)
    if not payee.startswith(_FLAGGED_COUNTRY):
        return {"score": score, "reasons": [reason]}
    return {"score": _FLAGGED_SCORE, "reasons": [reason, "payee's country is flagged"]}


@TOOLBOX.changes(destructive=True)
def transfer_funds(state: FinanceState, amount: Amount, payee: Payee) -> TransferChange:
    """Send money to a payee at once; refused if the balance does not cover it."""
    cents = _cents(amount)
    if cents > state.cents:
        raise ToolError(f"{amount:.2f} is more than the balance of {state.cents / 100:.2f}")
    transfer_id = state.mint("transfer")
    state.transfers[transfer_id] = Transfer(cents=cents, payee=payee)
    state.cents -= cents
    return {"transfer_id": transfer_id, "balance": state.cents / 100}


@TOOLBOX.changes(destructive=True)
def reverse_transfer(state: FinanceState, transfer_id: TransferId) -> TransferChange:
    """Take a transfer back in full; refused if it is unknown or reversed already."""
    transfer = state.transfers.get(transfer_id)
    if transfer is None:
        raise ToolError(f"no transfer {transfer_id!r}")
    if transfer.reversed:
        raise ToolError(f"{transfer_id} is reversed already")
    transfer.reversed = True
    state.cents += transfer.cents
    return {"transfer_id": transfer_id, "balance": state.cents / 100}


@TOOLBOX.changes()
def reject_payment(
    state: FinanceState,
    amount: Amount,
    payee: Payee,
    reason: Annotated[str, Field(description="Why it is rejected.")] = "fraud score too high",
) -> RejectionId:
    """Record that a payment is rejected and will not be made."""
    rejection_id = state.mint("rejection")
    state.rejections[rejection_id] = Rejection(cents=_cents(amount), payee=payee, reason=reason)
    return {"rejection_id": rejection_id}


@TOOLBOX.changes()
def write_audit(
    state: FinanceState,
    entry: Annotated[str, Field(min_length=1, description="What was done, in a sentence.")],
    reference: Annotated[str, Field(description="The id it is about, if there is one.")] = "",
) -> EntryId:
    """Write a line into the audit book; lines are never changed or removed."""
    entry_id = state.mint("entry")
    state.entries[entry_id] = AuditEntry(entry=entry, reference=reference)
    return {"entry_id": entry_id}


@TOOLBOX.reads
def get_balance(state: FinanceState) -> Balance:
    """Return the account's balance in euro."""
    return {"balance": state.cents / 100}


def _rate_amount(amount: float) -> tuple[float, str]:
    for limit, score, reason in _BANDS:
        if amount <= limit:
            return score, reason
    return _TOP_BAND


def _cents(amount: float) -> int:
    cents = round(amount * 100)
    if cents / 100 != amount:
        raise ToolError(f"{amount} is not an amount in euro with at most two decimals")
    return cents


if __name__ == "__main__":
    TOOLBOX.serve()
