"""A venue in this process, and a user who signs with the official SDK."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from eth_account import Account as Key
from hyperliquid.utils import signing

from carry.exchange.accounts import SPLIT, Account
from carry.exchange.market import SeededMarket
from carry.exchange.model import Exchange
from carry.exchange.paths import HOUR_MS

START_MS = 1_767_607_200_000
COINS = ("HYPE", "BTC", "ETH", "SOL")
HYPE, HYPE_SPOT, BTC, UBTC = 159, 10107, 0, 10142


class User:
    """A key, its account, and the requests it makes of an exchange."""

    def __init__(
        self, exchange: Exchange, number: int, usdc: str | None = "10000", mode: str = SPLIT
    ) -> None:
        self.ex = exchange
        self.key = Key.from_key(f"0x{number:064x}")
        self.address: str = self.key.address.lower()
        self.nonce = 0
        if usdc is not None:
            exchange.open_account(self.address, mode=mode, usdc=Decimal(usdc))

    @property
    def account(self) -> Account:
        return self.ex.accounts[self.address]

    def info(self, kind: str, **query: Any) -> Any:
        return post(self.ex, "/info", {"type": kind, "user": self.address, **query})

    def send(
        self,
        action: dict[str, Any],
        *,
        nonce: int | None = None,
        expires: int | None = None,
        signed: dict[str, Any] | None = None,
        vault: str | None = None,
        key: Any = None,
    ) -> Any:
        """Signs `signed` (or the action itself) with `key` (or the own one), posts the action."""
        if nonce is None:
            nonce = self.nonce = max(self.nonce + 1, self.ex.now)
        signature = signing.sign_l1_action(
            key or self.key, signed or action, vault, nonce, expires, False
        )
        body = {
            "action": action, "nonce": nonce, "signature": signature, "vaultAddress": vault,
            "expiresAfter": expires,
        }
        return post(self.ex, "/exchange", body)

    def move(self, sign: Callable[..., Any], action: dict[str, Any], stamp: str = "nonce") -> Any:
        """A user-signed action: `sign` is the SDK's, `stamp` where its nonce goes."""
        nonce = self.nonce = max(self.nonce + 1, self.ex.now)
        action = {**action, stamp: nonce}
        signature = sign(self.key, action, False)
        return post(
            self.ex, "/exchange", {"action": action, "nonce": nonce, "signature": signature}
        )

    def agent(self, number: int) -> Any:
        """A key that may act for this user."""
        key = Key.from_key(f"0x{number:064x}")
        self.ex.approve(key.address, self.address)
        return key

    def orders(self, *orders: dict[str, Any], grouping: str = "na") -> Any:
        """Several orders in one action; the statuses of the reply."""
        reply = self.send({"type": "order", "orders": list(orders), "grouping": grouping})
        assert reply["status"] == "ok", reply
        return reply["response"]["data"]["statuses"]

    def order(
        self, asset: int, side: str, px: str, sz: str, tif: str = "Ioc", *,
        reduce_only: bool = False, cloid: str | None = None,
    ) -> Any:
        """One order; the status item of the reply."""
        wire: dict[str, Any] = {
            "a": asset, "b": side == "buy", "p": px, "s": sz, "r": reduce_only,
            "t": {"limit": {"tif": tif}},
        }
        if cloid is not None:
            wire["c"] = cloid
        reply = self.send({"type": "order", "orders": [wire], "grouping": "na"})
        assert reply["status"] == "ok", reply
        (status,) = reply["response"]["data"]["statuses"]
        return status


def limit(
    asset: int, side: str, px: str, sz: str, tif: str = "Ioc", **more: Any
) -> dict[str, Any]:
    """A limit order as it is sent."""
    return {
        "a": asset, "b": side == "buy", "p": px, "s": sz, "r": False, "t": {"limit": {"tif": tif}},
        **more,
    }


def trigger(
    asset: int, side: str, px: str, sz: str, tpsl: str, *, market: bool = True,
    reduce_only: bool = True,
) -> dict[str, Any]:
    """A take profit or stop as it is sent; its limit price is its trigger price."""
    return {
        "a": asset, "b": side == "buy", "p": px, "s": sz, "r": reduce_only,
        "t": {"trigger": {"isMarket": market, "triggerPx": px, "tpsl": tpsl}},
    }


def post(exchange: Exchange, path: str, body: Any) -> Any:
    status, answer = exchange.http(path, json.dumps(body).encode())
    return json.loads(answer) if status == 200 else (status, answer)


def touch(exchange: Exchange, asset: int) -> tuple[Decimal, Decimal]:
    """Best bid and ask."""
    book = exchange.books[asset]
    bid, ask = (book.best(bids=bids, now=exchange.now) for bids in (True, False))
    assert bid is not None
    assert ask is not None
    return book.px(bid.px), book.px(ask.px)


def beside(exchange: Exchange, asset: int, side: str, percent: int) -> str:
    """A valid price `percent` beyond the touch (negative: behind it) for a taker of that side."""
    bid, ask = touch(exchange, asset)
    px = ask * (100 + percent) / 100 if side == "buy" else bid * (100 - percent) / 100
    one = exchange.assets[asset]
    return format(px.quantize(Decimal(1).scaleb(-min(one.px_decimals, 4 - px.adjusted()))), "f")


def make_exchange(seed: int = 1, coins: tuple[str, ...] = COINS, **options: Any) -> Exchange:
    exchange = Exchange(SeededMarket(seed, START_MS, coins), seed=seed, **options)
    exchange.set_start(START_MS + HOUR_MS // 3)
    return exchange


@pytest.fixture
def exchange() -> Exchange:
    return make_exchange()


@pytest.fixture
def user(exchange: Exchange) -> User:
    return User(exchange, 1)


@pytest.fixture
def new_user(exchange: Exchange) -> Callable[..., User]:
    def make(number: int, usdc: str | None = "10000", mode: str = SPLIT) -> User:
        return User(exchange, number, usdc, mode)

    return make
