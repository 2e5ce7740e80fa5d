"""The exchange's own file: everything a stop must not change, in one JSON object.

The market is not in it: it is a function of the seed and its start, which are.
"""

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from .accounts import Account, Agent, Balance, Nonces, Order, Position, Record, Trigger
from .gateway import Gateway
from .model import Exchange

VERSION = 2
READABLE = (1, 2)
"""1 knew no sleeping orders, TWAPs, isolated margin or sub-accounts: they begin empty."""

_ORDER_FIELDS = (
    "oid", "address", "is_buy", "px", "sz", "orig_sz", "tif", "reduce_only", "cloid", "time_ms",
    "status", "status_ms", "ahead", "builder", "twap_id",
)
_POSITION_FIELDS = (
    "szi", "cost", "funding_all", "funding_open", "funding_change", "posted",
)
_EXCHANGE_FIELDS = (
    "now", "paid_hour", "last_oid", "blocks", "post_only_until_ms", "spent_agents",
    "scheduled", "removals", "oi_capped",
)
_ACCOUNT_FIELDS = (
    "mode", "volume", "perp_cash", "staked", "vault_usd", "requests_used", "last_action_ms",
    "explicit_mode", "liquidated_ms", "fundings", "transfers", "requests_reserved", "day_actions",
    "cancels_fired", "master", "name", "builders", "referrer", "vault_ms", "twaps",
)
_DECIMAL_FIELDS = ("volume", "perp_cash", "staked", "vault_usd")
_TWAP_FIELDS = (
    "twap_id", "address", "is_buy", "sz", "reduce_only", "minutes", "randomize", "started_ms",
    "next_ms", "executed", "executed_usd",
)


class BadState(Exception):
    """A state file this exchange cannot continue: says why."""


class Kept:
    """A state file that was read."""

    __slots__ = ("data", "market_start_ms", "seed")

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.seed: int = data["seed"]
        self.market_start_ms: int = data["market_start_ms"]

    def restore(self, gateway: Gateway) -> None:
        """Puts everything back. The gateway must be new and of the same seed and market."""
        exchange = gateway.exchange
        if self.data["market"] != exchange.market.name:
            raise BadState(
                f"was made on market {self.data['market']!r}, not {exchange.market.name!r}"
            )
        try:
            _restore(exchange, self.data)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise BadState(f"damaged: {error!r}") from error
        gateway.requests = self.data["requests"]
        gateway.faults.drawn = self.data["faults_drawn"]
        gateway.faults.counts.update(self.data["faults"])
        exchange.changed = False


def load(path: Path) -> Kept:
    """Raises BadState."""
    try:
        data = msgspec.json.decode(path.read_bytes())
        version = data["version"]
        kept = Kept(data)
    except OSError as error:
        raise BadState(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeError, KeyError, TypeError) as error:
        raise BadState(f"{path}: not a state file of this exchange: {error}") from error
    if version not in READABLE:
        raise BadState(f"{path}: version {version}, this program reads {READABLE}")
    return kept


def save(path: Path, gateway: Gateway) -> None:
    """Replaces the file in one step, so that a crash leaves the old one or the new one."""
    data = snapshot(gateway)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(msgspec.json.encode(data))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def snapshot(gateway: Gateway) -> dict[str, Any]:
    """Everything, as plain values."""
    exchange = gateway.exchange
    house = exchange.house
    data: dict[str, Any] = {
        "version": VERSION, "seed": exchange.seed, "market": exchange.market.name,
        "market_start_ms": exchange.market.start_ms, "requests": gateway.requests,
        "faults_drawn": gateway.faults.drawn, "faults": gateway.faults.counts,
        "accounts": {a.address: _account(a) for a in exchange.accounts.values()},
        "agents": [
            [a.address, a.master, a.name, a.valid_until_ms] for a in exchange.agents.values()
        ],
        "nonces": {signer: nonces.used for signer, nonces in exchange.nonces.items()},
        "house": {
            "cash": house.cash, "funding": house.funding, "tokens": list(house.tokens.items()),
            "szi": list(house.szi.items()), "fees": list(house.fees.items()),
            "paid_in": list(house.paid_in.items()),
        },
        "taken": [
            [asset_id, book.taken[True], book.taken[False]]
            for asset_id, book in exchange.books.items()
        ],
    }
    for name in _EXCHANGE_FIELDS:
        data[name] = getattr(exchange, name)
    data["delisted"] = list(exchange.delisted)
    data["last_twap"] = exchange.twaps.last_id
    data["running"] = [
        [t.asset.asset_id, [getattr(t, name) for name in _TWAP_FIELDS]]
        for t in exchange.twaps.running.values()
    ]
    return data


def _account(account: Account) -> dict[str, Any]:
    data: dict[str, Any] = {name: getattr(account, name) for name in _ACCOUNT_FIELDS}
    data["spot"] = [[t, b.total, b.entry_ntl] for t, b in account.spot.items()]
    data["positions"] = [
        [asset_id, [getattr(p, name) for name in _POSITION_FIELDS]]
        for asset_id, p in account.positions.items()
    ]
    data["leverage"] = list(account.leverage.items())
    data["orders"] = [_order(order) for order in account.orders.values()]
    data["records"] = [
        [_order(r.order), r.status, r.status_ms, r.sz] for r in account.records.values()
    ]
    data["isolated"] = list(account.isolated)
    data["triggers"] = [_sleeping(order) for order in account.triggers.values()]
    data["children"] = [
        [parent, [_sleeping(order) for order in orders]]
        for parent, orders in account.children.items()
    ]
    data["weighted"] = list(account.weighted.items())
    data["fills"] = list(account.fills)
    data["slices"] = list(account.slices)
    data["daily_volume"] = account.daily_volume
    return data


def _order(order: Order) -> list[Any]:
    return [order.asset.asset_id] + [getattr(order, name) for name in _ORDER_FIELDS]


def _sleeping(order: Order) -> list[Any]:
    trigger = order.trigger
    assert trigger is not None, order.oid
    shown = [
        trigger.px, trigger.tpsl, trigger.is_market, trigger.above, trigger.whole,
        trigger.siblings,
    ]
    return [_order(order), shown]


def _restore(exchange: Exchange, data: dict[str, Any]) -> None:
    for name in _EXCHANGE_FIELDS:
        setattr(exchange, name, data.get(name, getattr(exchange, name)))
    for address, raw in data["accounts"].items():
        exchange.accounts[address] = _restore_account(exchange, address, raw)
    for address, master, name, until in data["agents"]:
        exchange.agents[address] = Agent(address, master, name, until)
    for signer, used in data["nonces"].items():
        exchange.nonces[signer] = Nonces(used)
    house = exchange.house
    house.cash = Decimal(data["house"]["cash"])
    house.funding = Decimal(data["house"]["funding"])
    for name in ("tokens", "szi", "fees", "paid_in"):
        amounts = {key: Decimal(value) for key, value in data["house"][name]}
        setattr(house, name, amounts)
    for asset_id, bids, asks in data["taken"]:
        book = exchange.books[asset_id]
        book.taken = {True: (bids[0], bids[1]), False: (asks[0], asks[1])}
    for account in exchange.accounts.values():
        for order in account.orders.values():
            side = exchange.books[order.asset.asset_id].orders[order.is_buy]
            side.append(order)
        exchange.triggers.restore(account)
    for asset_id in data.get("delisted", ()):
        exchange.delisted[asset_id] = None
        exchange.info.delist(exchange.assets[asset_id])
    exchange.twaps.last_id = data.get("last_twap", 0)
    for asset_id, fields in data.get("running", ()):
        values = dict(zip(_TWAP_FIELDS, fields, strict=True))
        exchange.twaps.restore(exchange.assets[asset_id], values)
    for book in exchange.books.values():
        book.orders[True].sort(key=lambda o: (-o.px, o.oid))
        book.orders[False].sort(key=lambda o: (o.px, o.oid))


def _restore_account(exchange: Exchange, address: str, raw: dict[str, Any]) -> Account:
    account = exchange.new_account(address, raw["mode"])
    for name in _ACCOUNT_FIELDS:
        setattr(account, name, raw.get(name, getattr(account, name)))
    for name in _DECIMAL_FIELDS:
        setattr(account, name, Decimal(raw.get(name, "0")))
    account.isolated = dict.fromkeys(raw.get("isolated", ()))
    account.weighted = {day: Decimal(value) for day, value in raw.get("weighted", ())}
    for token, total, entry in raw["spot"]:
        account.spot[token] = Balance(Decimal(total), Decimal(entry))
    for asset_id, values in raw["positions"]:
        position = account.positions[asset_id] = Position()
        for name, value in zip(_POSITION_FIELDS, values, strict=False):
            setattr(position, name, Decimal(value))
    account.leverage = dict(raw["leverage"])
    for fields in raw["orders"]:
        order = _restore_order(exchange, fields)
        account.orders[order.oid] = order
    for sleeping in raw.get("triggers", ()):
        order = _restore_sleeping(exchange, sleeping)
        account.triggers[order.oid] = order
    for parent, orders in raw.get("children", ()):
        account.children[parent] = [_restore_sleeping(exchange, each) for each in orders]
    live = {**account.orders, **account.triggers}
    live |= {child.oid: child for group in account.children.values() for child in group}
    for fields, status, status_ms, sz in raw["records"]:
        order = _restore_order(exchange, fields)
        order = live.get(order.oid, order)
        account.records[order.oid] = Record(order, status, status_ms, sz)
    account.fills.extend(raw["fills"])
    account.slices.extend(raw.get("slices", ()))
    account.daily_volume = {
        date: (Decimal(cross), Decimal(add)) for date, (cross, add) in raw["daily_volume"].items()
    }
    return account


def _restore_order(exchange: Exchange, fields: list[Any]) -> Order:
    values = dict(zip(_ORDER_FIELDS, fields[1:], strict=False))
    order = Order(
        oid=values["oid"], address=values["address"], asset=exchange.assets[fields[0]],
        is_buy=values["is_buy"], px=values["px"], sz=values["sz"], tif=values["tif"],
        reduce_only=values["reduce_only"], cloid=values["cloid"], time_ms=values["time_ms"],
    )
    for name in ("orig_sz", "status", "status_ms", "ahead"):
        setattr(order, name, values[name])
    builder = values.get("builder")
    order.builder = None if builder is None else (builder[0], builder[1])
    order.twap_id = values.get("twap_id")
    return order


def _restore_sleeping(exchange: Exchange, sleeping: list[Any]) -> Order:
    order = _restore_order(exchange, sleeping[0])
    px, tpsl, is_market, above, whole, siblings = sleeping[1]
    order.trigger = Trigger(px, tpsl, is_market=is_market, above=above, whole=whole)
    order.trigger.siblings = siblings
    return order
