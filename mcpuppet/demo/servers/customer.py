"""The `customer` server: checks new customers, keeps their accounts and writes to them.

It owns accounts and the messages sent. It does not know whether a customer was checked before an
account was made. Every name in it is invented.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypedDict

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, ConfigDict, Field

from mcpuppet.demo.servers._common import State, Toolbox

_WATCH_LIST: Final = frozenset({"viktor malvane", "orsolya drakk", "kestrel quay holdings"})
_FREE_MAIL: Final = "@freemail.example"
_UNREACHABLE: Final = ".invalid"  # never resolves: RFC 2606, section 2

AccountStatus = Literal["active", "closed"]
Name = Annotated[str, Field(min_length=1, description="The customer's full name.")]
Email = Annotated[
    str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", description="The customer's e-mail address.")
]
AccountId = Annotated[str, Field(description="As create_account returned it, `account-0001`.")]


class Account(BaseModel):
    """An account as it is kept."""

    model_config = ConfigDict(extra="forbid")

    name: str
    email: str
    status: AccountStatus = "active"


class Message(BaseModel):
    """A notification as it is kept."""

    model_config = ConfigDict(extra="forbid")

    email: str
    template: str
    delivered: bool


class CustomerState(State):
    """All accounts and messages, by their ids."""

    accounts: dict[str, Account] = Field(default_factory=dict)
    messages: dict[str, Message] = Field(default_factory=dict)


class CustomerCheck(TypedDict):
    """What a check of a customer found."""

    complete: bool
    risk: Literal["low", "medium", "high"]


class AccountChange(TypedDict):
    """An account and its status after the call."""

    account_id: str
    status: AccountStatus


class Customer(TypedDict):
    """An account with its holder."""

    account_id: str
    name: str
    email: str
    status: AccountStatus


class Notification(TypedDict):
    """A message, and whether it arrived."""

    message_id: str
    delivered: bool


TOOLBOX = Toolbox(
    "customer", "Check new customers, manage their accounts and notify them.", CustomerState
)


@TOOLBOX.reads
def validate_customer(_state: CustomerState, name: Name, email: Email) -> CustomerCheck:
    """Check a customer's data: is it complete, and how risky is this customer?

    Incomplete if the e-mail address cannot be reached. High risk: on the watch list. Medium risk:
    uses a free mail provider.
    """
    return {"complete": _reachable(email), "risk": _risk(name, email)}


@TOOLBOX.changes()
def create_account(state: CustomerState, name: Name, email: Email) -> AccountChange:
    """Open an account for a customer; refused if this e-mail address has an active one."""
    existing = _active_account(state, email)
    if existing is not None:
        raise ToolError(f"{email} already has the active account {existing}")
    account_id = state.mint("account")
    state.accounts[account_id] = Account(name=name, email=email)
    return {"account_id": account_id, "status": "active"}


@TOOLBOX.changes(destructive=True)
def delete_account(state: CustomerState, account_id: AccountId) -> AccountChange:
    """Close an account for good; refused if it is unknown or closed already."""
    account = state.accounts.get(account_id)
    if account is None or account.status == "closed":
        raise ToolError(f"no active account {account_id!r}")
    account.status = "closed"
    return {"account_id": account_id, "status": "closed"}


@TOOLBOX.reads
def get_customer(state: CustomerState, email: Email) -> Customer:
    """Look up the active account of an e-mail address."""
    account_id = _active_account(state, email)
    if account_id is None:
        raise ToolError(f"{email} has no active account")
    account = state.accounts[account_id]
    return {
        "account_id": account_id,
        "name": account.name,
        "email": account.email,
        "status": account.status,
    }


@TOOLBOX.changes()
def send_notification(
    state: CustomerState,
    email: Email,
    template: Annotated[
        Literal["welcome", "welcome_business"], Field(description="Which message to send.")
    ] = "welcome",
) -> Notification:
    """Send a customer a prepared message and return whether it was delivered."""
    message_id = state.mint("message")
    delivered = _reachable(email)
    state.messages[message_id] = Message(email=email, template=template, delivered=delivered)
    return {"message_id": message_id, "delivered": delivered}


def _reachable(email: str) -> bool:
    return not email.casefold().endswith(_UNREACHABLE)


def _risk(name: str, email: str) -> Literal["low", "medium", "high"]:
    if " ".join(name.casefold().split()) in _WATCH_LIST:
        return "high"
    return "medium" if email.casefold().endswith(_FREE_MAIL) else "low"


def _active_account(state: CustomerState, email: str) -> str | None:
    for account_id, account in state.accounts.items():
        if account.status == "active" and account.email.casefold() == email.casefold():
            return account_id
    return None


if __name__ == "__main__":
    TOOLBOX.serve()
