"""The bot's margin beside the exchange's, on random accounts: they share no code."""

import random
from collections.abc import Mapping
from decimal import Decimal as D

import attrs
import pytest

from carry.core import deleverage, margin
from carry.core.num import use_exact_context
from carry.core.observations import Balance, Context
from carry.core.observations import Position as Told
from carry.core.policy import MarketPolicy, Policy
from carry.core.state import Account as Known
from carry.core.state import Leverage, State
from carry.core.types import AccountMode
from carry.exchange.accounts import Account, Position
from carry.exchange.assets import USDC_TOKEN, Asset, all_coins
from carry.exchange.margin import Summary, liquidation_px
from tests.scenarios.world import CAPABILITIES, market_of

COINS = ("BTC", "ETH", "HYPE", "SOL")
NOW_MS = 1_000_000
STEP = D("0.0001")


def drawn(rng: random.Random, mode: str) -> tuple[Account, dict[int, D], dict[int, Asset]]:
    """An account with one to four shorts, in profit or loss, and what they are worth now."""
    account = Account("0x" + "1" * 40, mode)
    usd = D(rng.randrange(1_000_000, 20_000_000)) / 1_000
    account.spot[USDC_TOKEN].total = usd
    if mode == "split":
        account.perp_cash = D(rng.randrange(500_000, 10_000_000)) / 1_000
    marks, assets = {}, {}
    for coin in rng.sample(COINS, rng.randrange(1, 5)):
        asset = all_coins()[coin].perp
        mark = D(rng.randrange(10_000, 9_000_000)) / 100
        notional = D(rng.randrange(10, 3_000))
        held = Position()
        held.szi = -(notional / mark).quantize(D(1).scaleb(-asset.sz_decimals))
        if not held.szi:
            continue
        held.cost = held.szi * mark * D(rng.randrange(60, 140)) / 100
        account.positions[asset.asset_id] = held
        account.leverage[asset.asset_id] = rng.randrange(1, 6)
        marks[asset.asset_id], assets[asset.asset_id] = mark, asset
    return account, marks, assets


def at(
    account: Account, marks: Mapping[int, D], assets: Mapping[int, Asset], rise: D = D(0)
) -> Summary:
    """The exchange's own look, all prices up by `rise`."""
    return Summary(account, dict(assets), lambda asset: marks[asset.asset_id] * (1 + rise))


def known(
    account: Account, marks: Mapping[int, D], assets: Mapping[int, Asset], told: bool
) -> State:
    """The same account as the bot knows it. told: with the venue's own figure of maintenance."""
    summary = at(account, marks, assets)
    policy = Policy(markets=tuple(MarketPolicy(base=a.coin) for a in assets.values()))
    state = State.initial(policy, CAPABILITIES)
    carries = {}
    for asset_id, asset in assets.items():
        market = market_of(asset.coin, {})
        perp = attrs.evolve(market.perp, maintenance_rate=asset.tiers[0].rate)
        carries[asset.coin] = attrs.evolve(
            state.carries[asset.coin],
            market=attrs.evolve(market, perp=perp),
            context=Context(mark_px=marks[asset_id], oracle_px=marks[asset_id], funding_rate=D(0)),
            context_ms=NOW_MS,
            leverage=Leverage(value=account.leverage[asset_id], cross=True, issued_ms=NOW_MS),
        )
    positions = {
        assets[n].coin: Told(sz=p.szi, entry_ntl=p.cost, margin_used=D(0))
        for n, p in account.positions.items()
    }
    usd = account.spot[USDC_TOKEN].total
    return attrs.evolve(
        state,
        now_ms=NOW_MS,
        carries=carries,
        account=Known(
            mode=AccountMode.UNIFIED if account.unified else AccountMode.SPLIT,
            usd=Balance(total=usd, hold=D(0)),
            positions=positions,
            positions_ms=NOW_MS,
            raw_usd=summary.raw,
            maintenance=summary.maintenance if told else D(0),
        ),
    )


@pytest.mark.parametrize("mode", ["split", "unified"])
def test_equity_margin_and_distance_are_the_exchange_s(mode: str) -> None:
    """At the distance that the bot names, all shorts up by so much, the exchange would liquidate;
    a ten-thousandth before, it would not.
    """
    use_exact_context()
    rng = random.Random(f"margin {mode}")
    alone = 0
    for n in range(150):
        account, marks, assets = drawn(rng, mode)
        if not assets:
            continue
        state = known(account, marks, assets, told=n % 2 == 0)
        ours, summary = margin.wallets(state), at(account, marks, assets)
        assert ours is not None
        perps = ours.perp_equity if isinstance(ours, margin.Split) else ours.equity
        assert perps == summary.value
        assert ours.margin_left == summary.value - summary.maintenance
        assert abs(ours.margin_used - summary.positions_im) < D("1e-20")  # of a division
        if isinstance(ours, margin.Split):
            assert abs(ours.withdrawable - summary.withdrawable) <= D("0.000001")
        away = deleverage.distance(state)
        assert away is not None
        there = [at(account, marks, assets, away + off) for off in (D(0), -STEP, STEP)]
        left = [it.value - it.maintenance for it in there]
        assert abs(left[0]) < D("1e-9") * (1 + summary.notional)
        assert left[1] > 0 > left[2]
        if len(assets) == 1:
            alone += 1
            (asset,) = assets.values()
            mark = marks[asset.asset_id]
            px = liquidation_px(account, asset, mark, summary)
            if px is not None:
                assert abs(px - mark * (1 + away)) < D("1e-9") * mark
    assert alone > 10
