"""Exact amounts: which numbers can be counted, their one text, and sums that are never rounded."""

from __future__ import annotations

import decimal
from collections.abc import Iterable
from decimal import Decimal

_TRAPS = [decimal.Inexact, decimal.InvalidOperation]
_SMALLEST = Decimal("1E-20")
_AMOUNT = decimal.Context(prec=50, traps=_TRAPS)
"""30 digits before the point and the 20 of `_SMALLEST` after it."""
_SUM = decimal.Context(prec=70, traps=_TRAPS)
"""Room for 10**20 of the largest amounts: a sum that would be rounded raises instead."""
_MOST_BITS = 100


def amount_of(value: object) -> Decimal:
    """A JSON number as an exact amount; raises ValueError for what cannot be counted.

    A decimal number is taken as it is written in its shortest form: 0.1 is one tenth.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("it is not a number")  # noqa: TRY004 - one error for all that is no amount
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:  # its text would take long
        raise ValueError("amounts are below 10**30")
    amount = Decimal(repr(value))
    require_amount(amount)
    return amount


def require_amount(amount: Decimal) -> None:
    """Raise ValueError for what cannot be counted, or not exactly.

    That is what is below 0, infinite or NaN, from 10**30 on, or has more than 20 decimal places.
    """
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{amount:.6e} is not an amount: only finite ones from 0 on are")
    try:
        _AMOUNT.quantize(amount, _SMALLEST)
    except decimal.DecimalException:
        raise ValueError(
            f"{amount:.6e} cannot be counted exactly: amounts below 10**30 with at most"
            " 20 decimal places can"
        ) from None


def total(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum of amounts; raises decimal.Inexact rather than round it."""
    with decimal.localcontext(_SUM):
        return sum(amounts, start=Decimal(0))


def amount_text(amount: Decimal) -> str:
    """An amount or a total in plain digits, one text for equal amounts, such as "12.5"."""
    unsigned = _SUM.abs(amount)  # there is a zero below zero, too
    return f"{_SUM.normalize(unsigned):f}"
