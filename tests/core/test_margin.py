"""Account modes: what is free, what a carry needs, how far liquidation is."""

from decimal import Decimal as D

import attrs
import pytest

from carry.core import deleverage, margin, sizing
from carry.core.margin import Split, Terms, Unified
from carry.core.observations import Position
from carry.core.types import AccountMode

from .making import carry, go, held, play, with_carry


def position(sz: str, entry: str = "0", used: str = "0") -> Position:
    return Position(sz=D(sz), entry_ntl=D(entry), margin_used=D(used))


# The reference's own figures (hyperliquid.md, section 5): at effective leverage L a short is
# liquidated at entry x (1 + 1/L) / (1 + mmr). BTC's mmr is 1.25 %.
@pytest.mark.parametrize(
    "leverage, mmr, percent",
    [
        ("3", "0.0125", "31.7"),
        ("5", "0.0125", "18.5"),
        ("2", "0.0125", "48.1"),
        ("1", "0.05", "90.5"),  # HYPE at 1x: 2 / 1.05
    ],
)
def test_distance_to_liquidation_of_a_short(leverage: str, mmr: str, percent: str) -> None:
    entry, sz, rate = D(100), D(7), D(mmr)
    equity = entry * sz / D(leverage)  # at entry: all of the margin
    wallets = Split(
        spot_free=D(0),
        spot_total=D(0),
        perp_equity=equity,
        margin_used=equity,
        maintenance=entry * sz * rate,
        exposure=entry * sz * (1 + rate),
    )
    distance = wallets.distance
    assert distance is not None
    assert (distance * 100).quantize(D("0.1")) == D(percent)


def terms(leverage: int = 1, rate: str = "0", distance: str = "0", buffer: str = "0.1") -> Terms:
    return Terms(
        leverage=leverage,
        buffer=D(buffer),
        fee=D("0.001"),
        rate=D(rate),
        distance=D(distance),
    )


def split(spot: str, perp: str, used: str = "0") -> Split:
    return Split(
        spot_free=D(spot),
        spot_total=D(spot),
        perp_equity=D(perp),
        margin_used=D(used),
        maintenance=D(5),
    )


@pytest.mark.parametrize(
    "wallets, leverage, usd",
    [
        (split("1000", "1000"), 1, "900"),  # half of 2000, a tenth kept idle
        (split("100.1", "1900"), 1, "100"),  # spot pays for itself and its fee of 0.1 %
        (split("1900", "100.1"), 1, "100"),  # and so does the short
        (split("1900", "100.1"), 3, "300"),
        (split("1000", "1000", "949.95"), 1, "50"),  # 50.05 / 1.001
        (split("1000", "10", "20"), 1, "0"),
    ],
)
def test_what_a_split_account_affords(wallets: Split, leverage: int, usd: str) -> None:
    assert wallets.affordable(terms(leverage)) == D(usd)
    assert wallets.margin_left == wallets.perp_equity - 5


@pytest.mark.parametrize(
    "cash, pnl, hold, used, leverage, usd",
    [
        ("2002", "0", "0", "0", 1, "900"),  # 2002 x 0.9 / 2 / 1.001
        ("2002", "0", "0", "0", 2, "1200"),
        ("2102", "-100", "0", "0", 1, "900"),
        ("3003", "0", "1001", "500", 1, "900"),  # the larger of hold and margin is not free
        ("3003", "0", "500", "1001", 1, "900"),
        ("100", "-200", "0", "0", 1, "0"),
    ],
)
def test_what_a_unified_account_affords(
    cash: str, pnl: str, hold: str, used: str, leverage: int, usd: str
) -> None:
    wallets = Unified(cash=D(cash), pnl=D(pnl), hold=D(hold), margin_used=D(used), maintenance=D(1))
    assert wallets.affordable(terms(leverage)) == D(usd)
    assert wallets.margin_left == D(cash) + D(pnl) - 1


def test_a_position_outside_our_markets_counts_as_the_venue_tells_it() -> None:
    player = held(account={"usd": "1000"})
    account = player.state.account
    positions = {**account.positions, "DOGE": position("-10", "-300", "77")}
    state = attrs.evolve(player.state, account=attrs.evolve(account, positions=positions))
    before, after = margin.wallets(player.state), margin.wallets(state)
    assert isinstance(before, Unified)
    assert isinstance(after, Unified)
    assert after.margin_used - before.margin_used == 77
    assert after.equity == before.equity, "its profit is not known, and not guessed"


def test_wallets_of_an_account_that_was_not_read_or_is_not_modelled() -> None:
    assert margin.wallets(play().state) is None
    player = held()
    for mode in (AccountMode.PORTFOLIO, AccountMode.UNKNOWN):
        account = attrs.evolve(player.state.account, mode=mode)
        assert margin.wallets(attrs.evolve(player.state, account=account)) is None


def test_margin_in_use_at_the_leverage_read_or_at_one() -> None:
    player = held()
    first = margin.wallets(player.state)
    twice = margin.wallets(
        with_carry(player.state, leverage=attrs.evolve(_lever(player.state), value=2))
    )
    unread = margin.wallets(with_carry(player.state, leverage=None))
    assert first is not None
    assert twice is not None
    assert unread is not None
    assert (first.margin_used, twice.margin_used, unread.margin_used) == (
        D("199.5"),  # 7.98 x 25
        D("99.75"),
        D("199.5"),
    )


def _lever(state):
    lever = carry(state).leverage
    assert lever is not None
    return lever


def test_the_distance_of_a_carry_is_the_wallets() -> None:
    player = held(account={"mode": "split", "usd": "1000", "perp_usd": "300"})
    # 300 of margin less the fee, less 5 % of 199.5, over 7.98 at 1.05, against a mark of 25
    fee = D("7.98") * D("24.999") * D("0.00045")
    gain = D("7.98") * (D("24.999") - D(25))  # sold a tick below the mark
    left = 300 - fee + gain - D("199.5") * D("0.05")
    assert deleverage.distance(player.state) == left / (D("199.5") * D("1.05"))
    unread = attrs.evolve(player.state, account=attrs.evolve(player.state.account, usd=None))
    assert deleverage.distance(unread) is None


def test_nothing_is_affordable_before_fees_are_known() -> None:
    player = play()
    go(player, 0, "mute fees")
    market = carry(player.state).market
    assert market is not None
    assert sizing.entry_size(player.state, carry(player.state), market, D(25)) == (0, 0)
