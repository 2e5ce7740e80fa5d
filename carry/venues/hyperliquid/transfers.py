"""`userNonFundingLedgerUpdates` as transfers of USD: money that came or went other than by trading.

Between own wallets (spot, perp) nothing comes or goes: `moved_usd` tells it. Coins that are
sent or received change what is held, not USD, and show as foreign holdings; an unknown kind is left
to the residual.
Source: schemas of github nktkas/hyperliquid 0.33.3. They do not settle whether `usdc` of a
withdrawal is net of its fee; it is taken to be: else the residual of the first one shows 1 USD.
"""

from decimal import Decimal

import msgspec

from carry.core.num import ONE, ZERO, show
from carry.core.types import Transfer
from carry.venues.numbers import number, stamp_ms

from .constants import QUOTE_NAME
from .parse import Page, decode


class _Kind(msgspec.Struct):
    type: str


class _Delta(msgspec.Struct):
    type: str
    usdc: str | None = None
    amount: str | None = None
    token: str | None = None
    fee: str | None = None
    feeToken: str | None = None
    user: str | None = None
    destination: str | None = None
    netWithdrawnUsd: str | None = None
    toPerp: bool | None = None
    sourceDex: str | None = None
    destinationDex: str | None = None
    nonce: int | None = None


class _Row(msgspec.Struct):
    time: int
    hash: str
    delta: msgspec.Raw


_INTO = ("deposit", "vaultDistribution", "vaultLeaderCommission")
_OUT = ("vaultDeposit", "vaultCreate")
_BETWEEN = ("internalTransfer", "subAccountTransfer", "spotTransfer", "send")
_KINDS = (*_INTO, *_OUT, *_BETWEEN, "withdraw", "vaultWithdraw", "rewardsClaim")
_WAYS = {"spot>": ONE, ">spot": -ONE}


def _need(text: str | None, what: str) -> Decimal:
    if text is None:
        raise ValueError(f"a ledger row has no {what}")
    return number(text)


def _between(delta: _Delta, account: str) -> Decimal:
    """Signed USD of a transfer between two accounts; the sender pays the fee."""
    if delta.type in ("spotTransfer", "send"):
        if delta.token != QUOTE_NAME:
            return ZERO
        amount = _need(delta.amount, "amount")
    else:
        amount = _need(delta.usdc, "usdc")
    sender = (delta.user or "").lower() == account
    receiver = (delta.destination or "").lower() == account
    fee = number(delta.fee) if delta.fee and (delta.feeToken or QUOTE_NAME) == QUOTE_NAME else ZERO
    if sender and receiver:
        return -fee
    if sender:
        return -amount - fee
    if receiver:
        return amount
    raise ValueError(f"a {delta.type} names neither end as this account")


def _moved(delta: _Delta, account: str) -> Decimal:
    """USD that went from the spot to the perp wallet of `account` (< 0: back)."""
    if delta.type == "accountClassTransfer":
        return _need(delta.usdc, "usdc") * (1 if delta.toPerp else -1)
    ends = (delta.user or "").lower(), (delta.destination or "").lower()
    way = f"{delta.sourceDex}>{delta.destinationDex}"
    if delta.type != "send" or ends != (account, account) or delta.token != QUOTE_NAME:
        return ZERO
    return _need(delta.amount, "amount") * _WAYS.get(way, ZERO)


def _usd(delta: _Delta, account: str) -> Decimal:
    if delta.type in _INTO:
        return _need(delta.usdc, "usdc")
    if delta.type in _OUT:
        return -_need(delta.usdc, "usdc")
    if delta.type in _BETWEEN:
        return _between(delta, account)
    if delta.type == "withdraw":
        return -_need(delta.usdc, "usdc") - (number(delta.fee) if delta.fee else ZERO)
    if delta.type == "vaultWithdraw":
        return _need(delta.netWithdrawnUsd, "netWithdrawnUsd")
    if (delta.token or QUOTE_NAME) == QUOTE_NAME:
        return _need(delta.amount, "amount")
    return ZERO


def read_transfers(body: bytes, account: str) -> Page[Transfer]:
    """Transfers that moved USD in or out of `account` (lowercase), ascending."""
    rows = decode(body, list[_Row])
    transfers = []
    for row in rows:
        at_ms = stamp_ms(row.time)
        kind = decode(row.delta, _Kind).type
        if kind not in _KINDS and kind != "accountClassTransfer":
            continue
        delta = decode(row.delta, _Delta)
        usd = _usd(delta, account) if kind in _KINDS else ZERO
        moved = _moved(delta, account)
        if usd or moved:
            key = f"{at_ms}:{row.hash}:{kind}:{show(usd or moved)}"
            transfers.append(
                Transfer(
                    transfer_id=key,
                    usd=usd,
                    at_ms=at_ms,
                    kind=kind,
                    moved_usd=moved,
                    nonce=delta.nonce if moved else None,
                )
            )
    transfers.sort(key=lambda row: row.at_ms)
    return Page(transfers, len(rows), max((stamp_ms(row.time) for row in rows), default=0))
