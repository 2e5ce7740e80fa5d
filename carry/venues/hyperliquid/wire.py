"""Core actions as the venue's own, key by key in the order that is hashed.

Keys whose value would be false (`f`, `a`) are left out: hashing them is refused. Cancels say `f`
(fast): the documentation recommends it for all but trigger orders, and nothing of ours is one.
Number text is canonical (no exponent, no trailing zero), since the hash covers the text as sent.
Source: hyperliquid-docs, exchange endpoint; official Python SDK 0.24.0.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from carry.core.actions import Cancel, CancelForeign, Fence, Place, SetLeverage
from carry.core.num import show
from carry.core.types import Side, Tif

WireAction = Mapping[str, Any]

_TIF: Mapping[Tif, str] = {Tif.ALO: "Alo", Tif.IOC: "Ioc", Tif.GTC: "Gtc"}
_CLOID = re.compile(r"0x[0-9a-f]{32}")
_DECIMALS_MAX = 8
_USD_DECIMALS = 6


class Unsendable(ValueError):
    """An action that the venue could not read as we mean it; it is not sent."""


def number(value: Decimal, what: str) -> str:
    """Canonical text of a price or size (> 0)."""
    if not value.is_finite() or value <= 0:
        raise Unsendable(f"{what} {value} is not above zero")
    text = show(value)
    if len(text.partition(".")[2]) > _DECIMALS_MAX:
        raise Unsendable(f"{what} {text} has more than {_DECIMALS_MAX} decimals")
    return text


def cloid(text: str) -> str:
    """A client id as the venue hashes it; any other spelling is read as another signer."""
    if _CLOID.fullmatch(text) is None:
        raise Unsendable(f"cloid {text!r} is not 0x and 32 lowercase hex digits")
    return text


def order(place: Place, asset: int) -> WireAction:
    """An action with one order."""
    return {
        "type": "order",
        "orders": [
            {
                "a": asset,
                "b": place.side is Side.BUY,
                "p": number(place.px, "price"),
                "s": number(place.sz, "size"),
                "r": place.reduce_only,
                "t": {"limit": {"tif": _TIF[place.tif]}},
                "c": cloid(place.cloid),
            }
        ],
        "grouping": "na",
    }


def oid(text: str) -> int:
    """The venue's own order number."""
    if not (text.isascii() and text.isdigit()):
        raise Unsendable(f"order number {text!r} is not a whole number")
    return int(text)


def send_asset(
    account: str, usd: Decimal, *, to_perp: bool, token: str, nonce: int
) -> WireAction:
    """USDC between the spot and the perp wallet of one account: an agent may send to no other.

    token: "USDC:0x..." of the network. A perp wallet counts in millionths: finer is refused there.
    The nonce is part of the action, and must be the request's. A sub-account is named by the
    request's `vaultAddress`, as with every other action of this kind.
    """
    text = number(usd, "amount")
    if len(text.partition(".")[2]) > _USD_DECIMALS:
        raise Unsendable(f"amount {text} has more than {_USD_DECIMALS} decimals")
    return {
        "type": "agentSendAsset",
        "destination": account,
        "sourceDex": "spot" if to_perp else "",
        "destinationDex": "" if to_perp else "spot",
        "token": token,
        "amount": text,
        "fromSubAccount": "",
        "nonce": nonce,
    }


Numbered = Place | Cancel | CancelForeign | SetLeverage | Fence


def action_of(write: Numbered, asset: int) -> WireAction:
    """What is posted for `write`; `asset`: the instrument's number (unused by a fence)."""
    match write:
        case Place():
            return order(write, asset)
        case Cancel():
            entry = {"asset": asset, "cloid": cloid(write.cloid)}
            return {"type": "cancelByCloid", "cancels": [entry], "f": True}
        case CancelForeign():
            entry = {"a": asset, "o": oid(write.oid)}
            return {"type": "cancel", "cancels": [entry], "f": True}
        case SetLeverage():
            return {
                "type": "updateLeverage",
                "asset": asset,
                "isCross": write.cross,
                "leverage": write.leverage,
            }
        case Fence():
            return {"type": "noop"}
