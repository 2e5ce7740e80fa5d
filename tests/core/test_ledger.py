"""Every cent is explained, and the identity is no plug (P9).

0.01 is added to what each source tells while the money moves as before: the residual is 0.01, with
the sign of what is left unexplained (value of the account minus the explanation).
"""

from collections.abc import Callable
from decimal import Decimal as D

import attrs
import pytest

from carry.core import ledger
from carry.core.state import Carry, Ledger
from carry.core.types import Fill, FundingReceipt, Leg, Side
from tests.scenarios.runner import Play

from .making import carry, go, held, play

CENT = D("0.01")


def misread(player: Play, **change: D) -> None:
    """From now on fills are told with something added; the money moves as it did."""
    true_happen = player.world.happen

    def happen(**facts: object) -> Fill:
        fill = true_happen(**facts)
        return attrs.evolve(fill, **{name: getattr(fill, name) + d for name, d in change.items()})

    player.world.happen = happen


def funding(player: Play) -> None:
    player.world.pay("HYPE", D("0.5"), player.world.venue_ms - 1)
    told = player.world.receipts[-1]
    player.world.receipts[-1] = attrs.evolve(told, usd=told.usd + CENT)


def fee(player: Play) -> None:
    # 4 of the short are bought back by hand, and 4 sold again by the bot, misread.
    go(player, 1_000, "adl 4 @ 25")
    misread(player, fee=CENT)


def slippage(player: Play) -> None:
    go(player, 1_000, "adl 4 @ 25")
    misread(player, px=CENT / 4)


def external(player: Play) -> None:
    misread(player, px=CENT / 4)
    go(player, 1_000, "adl 4 @ 25")
    del player.world.happen


def external_fee(player: Play) -> None:
    misread(player, fee=CENT)
    go(player, 1_000, "adl 4 @ 25")
    del player.world.happen


def transfer(player: Play) -> None:
    player.world.transfer(D(100))
    told = player.world.transfers[-1]
    player.world.transfers[-1] = attrs.evolve(told, usd=told.usd + CENT)


def spot_held(player: Play) -> None:
    player.world.pairs["HYPE"].held += CENT / 25  # below a lot: not worth a doubt, worth a cent


def perp_held(player: Play) -> None:
    player.world.pairs["HYPE"].short += CENT / 25


def cash(player: Play) -> None:
    player.world.usd += CENT


@pytest.mark.parametrize(
    "source, residual",
    [
        (funding, -CENT),  # we think we were paid more than came
        (fee, CENT),  # we think we paid more than we did
        (slippage, -CENT),  # we think we sold 4 for a cent more
        (external, CENT),  # the venue bought 4 back for a cent less than we think
        (external_fee, CENT),
        (transfer, -CENT),
        (spot_held, CENT),  # basis: the venue holds more than the books
        (perp_held, CENT),
        (cash, CENT),
    ],
)
@pytest.mark.parametrize("mode", ["unified", "split"])
def test_a_cent_at_each_source(source: Callable[[Play], None], residual: D, mode: str) -> None:
    player = held(account={"mode": mode, "usd": "1000", "perp_usd": "1000"})
    assert player.state.account.residual_usd == 0
    source(player)
    go(player, 2_000, "fills")
    go(player, 3_000)
    go(player, 4_000)
    assert player.state.account.residual_usd == residual


def test_an_honest_story_leaves_nothing() -> None:
    player = held()
    go(player, 1_000, "adl 4 @ 25.7; pay 0.31; transfer -20")
    go(player, 2_000, "fills", spot="26.1/26.3", perp="26.0/26.05")
    go(player, 3_000, spot="26.1/26.3", perp="26.0/26.05")
    assert player.state.account.residual_usd == 0
    pnl = ledger.total(player.state)
    parts = pnl.funding_usd - pnl.fees_usd + pnl.basis_usd + pnl.slippage_usd + pnl.external_usd
    assert pnl.net_usd == parts


def own(leg: str, side: str, px: str, sz: str, player: Play) -> Fill:
    return player.world.happen(
        coin="HYPE", leg=Leg(leg), side=Side(side), px=D(px), sz=D(sz), fee=D("0.1")
    )


def test_a_fill_is_carried_at_its_reference_price() -> None:
    bought = own("spot", "buy", "25.01", "10", play())
    book = ledger.post(Ledger(), ledger.own_fill(bought, D("25.00")))
    assert book.ref_cost_usd == 250
    assert book.slippage_usd == D("-0.1")  # 10 x (25.00 - 25.01)
    assert book.fees_usd == D("0.1")
    assert book.turnover_usd == D("250.1")


def test_what_others_took_is_external() -> None:
    closed = attrs.evolve(own("perp", "buy", "25.5", "5", play()), fee=D("0.2"))
    line = ledger.taken(closed, D(4), D(1), D(25))
    book = ledger.post(Ledger(), line)
    assert book.external_usd == D("-2.2")  # 4 x (25 - 25.5) - 0.2
    assert book.ref_cost_usd == 100
    assert (line.foreign_usd, line.outside_usd) == (D("25.5"), 0)
    line = ledger.appeared("HYPE", Leg.SPOT, D(-2), D(-1), D(25), 7)
    assert ledger.post(Ledger(), line) == Ledger(external_usd=D(-50), ref_cost_usd=D(-50))
    assert (line.foreign_usd, line.outside_usd, line.px) == (-25, -25, 0)
    line = ledger.moved("adopted", "HYPE", Leg.SPOT, D(2), D(25), 7, known=True)
    assert ledger.post(Ledger(), line) == Ledger(ref_cost_usd=D(50))
    assert line.foreign_usd == -50


@pytest.mark.parametrize(
    "paid_on, foreign, ours",
    [
        ("-10", "0", "1"),
        ("0", "-10", "1"),  # the venue does not tell the size: all of it
        ("-10", "-2", "0.8"),  # two of the ten are foreign
        ("-10", "-10", "0"),
        ("-10", "-12", "0"),
    ],
)
def test_our_share_of_a_payment(paid_on: str, foreign: str, ours: str) -> None:
    receipt = FundingReceipt(coin="X", at_ms=1, usd=D(1), sz=D(paid_on), rate=D("0.0001"))
    assert ledger.funding_share(receipt, D(foreign)) == D(ours)


def test_holdings_without_a_price_are_carried_at_cost() -> None:
    unseen = Carry(coin="X", spot_sz=D(5), ledger=Ledger(ref_cost_usd=D(100), fees_usd=D(1)))
    assert ledger.pnl(unseen).net_usd == -1


def test_an_account_with_an_unpriced_holding_has_no_value() -> None:
    player = play(markets={"HYPE": {"held": "1"}, "ETH": {}})
    state = player.state
    go_two(player, {"HYPE": None, "ETH": None})
    assert player.state.account.baseline_usd is None
    go_two(player, {"HYPE": "24.999/25.001", "ETH": None})
    assert player.state.account.baseline_usd is not None, "an empty market needs no price"
    assert state.account.baseline_usd is None


def go_two(player: Play, quotes: dict[str, str | None]) -> None:
    from tests.scenarios.language import Row

    cells = {(coin, what): px for coin, px in quotes.items() for what in ("spot", "perp")}
    t_ms = player.state.now_ms + 1_000 - 10_000_000
    events = (("mute", "contexts"),)
    player.row(Row(line=1, t_ms=t_ms, cells=cells, events=events, phases={}, actions=()))


def test_a_payment_or_fill_of_a_coin_that_is_no_market_is_outside() -> None:
    player = held()
    player.world.receipts.append(
        FundingReceipt(coin="DOGE", at_ms=player.world.venue_ms, usd=D(3), sz=D(-1), rate=D(0))
    )
    player.world.usd += 3
    go(player, 1_000, "hand buy spot 1 @ 25")
    player.world.fills.append(attrs.evolve(player.world.fills[-1], coin="DOGE", trade_id="d"))
    go(player, 2_000)
    go(player, 3_000)
    assert player.state.account.residual_usd == 0
    assert ledger.total(player.state).funding_usd == 0
    assert carry(player.state).foreign_spot == 1
