"""What others do to the account: F15, F80, F81."""

import random
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from carry.core.observations import (
    BalancesRead,
    FillSeen,
    FillsRead,
    Observations,
    PositionsRead,
)
from carry.exchange.assets import Asset
from carry.exchange.text import ZERO

from .faults import Shows, on_time

if TYPE_CHECKING:
    from .world import World


def _short(world: "World", rng: random.Random) -> str | None:
    """A coin with a short, drawn; None when there is none."""
    account = world.exchange.accounts[world.account]
    held = [
        name for name in world.case.policy.coins
        if account.szi(world.exchange.coins[name].perp.asset_id) < 0
    ]  # fmt: skip
    return rng.choice(held) if held else None


def adl(world: "World", rng: random.Random, fraction: Decimal) -> bool:
    coin = _short(world, rng)
    if coin is None:
        return False
    asset = world.exchange.coins[coin].perp
    mark = world.exchange.mark(asset)
    px = _on_tick(asset, mark * Decimal(rng.randrange(100, 103)) / 100)
    world.truth.external(coin)
    closed = world.exchange.force_adl(world.account, coin, fraction, px)
    world.link.pump()
    return bool(closed)


def _on_tick(asset: Asset, px: Decimal) -> Decimal:
    units = int(px.scaleb(asset.px_decimals))
    return Decimal(units - units % asset.tick(units)).scaleb(-asset.px_decimals)


def taken(observations: Observations) -> bool:
    """Whether a tick saw a fill that nobody of ours asked for, or the positions after it."""
    fills = [event.fill for event in observations.events if isinstance(event, FillSeen)]
    for read in observations.reads:
        if isinstance(read, PositionsRead):
            return True
        if isinstance(read, FillsRead):
            fills += read.fills
    return any(fill.cloid is None for fill in fills)


@on_time("F80")
def deleveraged(world: "World", rng: random.Random) -> Shows | bool:
    fraction = Decimal(rng.choice((1, 5, 20, 50, 90, 100))) / 100
    return taken if adl(world, rng, fraction) else False


@on_time("F81")
def liquidated(world: "World", rng: random.Random) -> Shows | bool:
    """The venue closes a part of the short in the book, in the account's name."""
    coin = _short(world, rng)
    if coin is None:
        return False
    ex = world.exchange
    asset = ex.coins[coin].perp
    account = ex.accounts[world.account]
    part = Decimal(rng.choice((10, 20, 50))) / 100
    units = int((abs(account.szi(asset.asset_id)) * part).scaleb(asset.sz_decimals))
    if not units:
        return False
    world.truth.external(coin)
    row = ex.liquidation.row(account, asset, ex.mark(asset), "market")
    ex.matching.liquidate_in_book(account, asset, sz=units, row=row)
    ex.streams.flush()
    world.link.pump()
    return taken


@on_time("F15")
def one_wei_short(world: "World", rng: random.Random) -> Shows | bool:
    """Some dust of the coin leaves: the balance is now a wei short of whole lots."""
    ex = world.exchange
    account = ex.accounts[world.account]
    for name in world.case.policy.coins:
        coin = ex.coins[name]
        held = account.spot.get(coin.token.index)
        lot = Decimal(1).scaleb(-coin.spot.sz_decimals)
        wei = Decimal(1).scaleb(-coin.spot.wei_decimals)
        if held is None or held.total < 2 * lot or world.truth.gone[name]:
            continue  # twice would be more than dust, and a change the bot must believe
        whole = (held.total / lot).to_integral_value(ROUND_DOWN) * lot
        gone = held.total - (whole - wei)
        if gone >= lot or gone <= ZERO:
            continue
        held.total -= gone
        ex.house.pay_in(coin.token.index, -gone)
        world.truth.withdrawn(name, gone)
        return lambda observations: any(isinstance(r, BalancesRead) for r in observations.reads)
    return False
