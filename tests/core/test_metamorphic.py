"""What must not matter does not: scale, time, names, order, markets that never pay. What must,
does: one basis point more of cost moves entry, exit and switch alike.
"""

import random
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from carry.core import economics, phases, portfolio, risk
from carry.core.num import BPS, ZERO
from carry.core.policy import Strategy
from carry.core.state import Enter, Forecast, HedgeOk, State
from carry.core.step import step
from carry.core.types import Fees, FundingPrint
from tests.core.making import D, go, play
from tests.core.test_portfolio import holding
from tests.scenarios.language import Row
from tests.scenarios.world import FEES

HOUR = 3_600_000


def entered(**head: Any) -> Mapping[str, Any]:
    """Which markets enter at the first look, and with what."""
    player = play(**head)
    go(player, 0)
    return {
        c: x.phase.target_sz for c, x in player.state.carries.items() if isinstance(x.phase, Enter)
    }


def test_ten_times_the_money_is_the_same_carry_ten_times_as_large() -> None:
    def at(scale: int) -> Any:
        usd = {k: str(int(v) * scale) for k, v in (
            ("strategy.target_usd_notional", "200"), ("risk.per_symbol_notional_cap", "2000"),
            ("risk.portfolio_notional_cap", "5000"), ("risk.slice_usd", "250"),
        )}
        return entered(config=usd, account={"usd": str(1000 * scale)})["HYPE"]

    assert at(10) == pytest.approx(10 * at(1), abs=D("0.1"))


@pytest.mark.parametrize("extra_bps", ["0", "5", "50", "150", "156", "400"])
def test_dearer_fees_never_make_an_entry(extra_bps: str) -> None:
    """A round trip of 23 bps and the spread against 336 of funding: at four times more it waits."""
    more = D(extra_bps) * BPS
    dear = {f"fees.{k}": str(getattr(FEES, k) + more) for k in ("spot_taker", "perp_taker")}
    waits = not entered(config=dear)
    assert waits is (D("336") < 23 + 4 * D(extra_bps) + D("1.6") + 2)


def test_the_order_of_markets_and_one_that_never_pays_change_nothing() -> None:
    alone = entered(markets={"HYPE": {}})
    for markets in (
        {"HYPE": {}, "ZZZ": {"prints": "-1bp"}},
        {"ZZZ": {"prints": "-1bp"}, "HYPE": {}},
    ):
        assert entered(markets=markets) == alone
    assert alone


def test_a_forecast_is_of_its_prints_whatever_the_time_and_the_pieces() -> None:
    draw = random.Random(2)
    rates = [D(draw.randint(-100, 300)).scaleb(-7) for _ in range(200)]

    def folded(first_h: int, pieces: int) -> Forecast:
        prints = [
            FundingPrint(at_ms=(first_h + n) * HOUR + 40, rate=rate) for n, rate in enumerate(rates)
        ]
        found = None
        for n in range(0, len(prints), pieces):
            # What was read before is read again, as a page of history is.
            found = economics.fold(
                found, prints[max(0, n - 5):n + pieces],
                halflife_h=108, interval_ms=HOUR, rate_max=D("0.04"),
            )
        assert found is not None
        return attrs.evolve(found, last_at_ms=0)

    assert folded(470_000, 200) == folded(480_000, 200) == folded(470_000, 7)


# --- one basis point more of the one cost function ------------------------------------------------


def cost(total_bps: str) -> economics.Cost:
    side = D(total_bps) / 2 * BPS
    return economics.Cost(
        entry_fees=side, entry_slippage=ZERO, exit_fees=side, exit_slippage=ZERO
    )


def dearer(state: State, bps: str) -> State:
    """The same, with each taker's fee that much more: four fees a round trip."""
    fees = state.account.fees
    assert fees is not None
    more = Fees(
        spot_maker=fees.spot_maker, perp_maker=fees.perp_maker,
        spot_taker=fees.spot_taker + D(bps) * BPS, perp_taker=fees.perp_taker + D(bps) * BPS,
    )
    return attrs.evolve(state, account=attrs.evolve(state.account, fees=more))


def test_one_point_more_moves_the_entry_the_switch_and_the_exit() -> None:
    player = play()
    go(player, 0)
    state = player.state
    carry = state.carries["HYPE"]
    before, after = (risk.offer(s, carry).expected for s in (state, dearer(state, "0.25")))
    assert before is not None
    assert after == pytest.approx(before - BPS)

    state = holding(ETH="2bp").state
    gains = [portfolio.switch(s) for s in (state, dearer(state, "0.25"))]
    assert gains[0] is not None
    assert gains[1] is not None
    # Half a point is ETH's entry; its exit or the held one's, whichever is dearer, the other half.
    assert gains[1].gain == pytest.approx(gains[0].gain - BPS)

    strategy = state.policy.strategy
    loss = D("-30") * BPS / strategy.horizon_h
    assert economics.staying_loses(loss, strategy.horizon_h, 1, cost("29.5"))
    assert not economics.staying_loses(loss, strategy.horizon_h, 1, cost("30.5"))


def test_one_point_more_keeps_the_bot_in_what_it_would_have_left() -> None:
    """Through the phase's own handler, at a rate between the two costs."""
    state = holding({"strategy.exit_confirm_ms": "0"}, ETH="0").state
    carry = state.carries["HYPE"]
    costs = risk.round_trip(state, carry, carry.spot_sz)
    assert costs is not None
    rate = -(costs.total + BPS / 2) / state.policy.strategy.horizon_h

    def leaves(seen: State) -> bool:
        losing = attrs.evolve(
            carry, forecast=Forecast(rate=rate, last_at_ms=0, count=99, negative_h=9)
        )
        seen = attrs.evolve(seen, carries={**seen.carries, "HYPE": losing})
        look = phases.view(seen, seen, losing, D(25))
        return not isinstance(phases.decide(seen, losing, look, None).phase, HedgeOk)

    assert leaves(state)
    assert not leaves(dearer(state, "0.25"))


def test_the_switch_needs_its_edge_at_any_cost() -> None:
    strategy = attrs.evolve(Strategy(), switch_edge_bps=D(40))
    for bps in ("0", "11", "23", "60"):
        gap = (2 * D(bps) / 2 + 40) * BPS / strategy.horizon_h
        for more, switches in ((D("0.99"), False), (D("1.01"), True)):
            gain = economics.switch_gain(
                strategy, 1, (D("0.00001"), cost(bps)), (D("0.00001") + gap * more, cost(bps))
            )
            assert economics.switches(strategy, gain) is switches


@pytest.mark.parametrize("seed", range(4))
def test_the_order_in_which_a_tick_was_read_changes_no_decision(seed: int) -> None:
    """An entry from the first look until it is held, each tick's reads shuffled."""
    draw = random.Random(seed)
    player = play(markets={"HYPE": {}, "ETH": {"prints": "0.5bp"}})
    for t_ms, events in ((0, ""), (1_000, "fills"), (2_000, "fills"), (3_000, ""), (4_000, "")):
        done = go(player, t_ms, events)
        reads = list(done.observations.reads)
        draw.shuffle(reads)
        shuffled = attrs.evolve(done.observations, reads=tuple(reads))
        after, actions = step(done.before, shuffled)
        assert actions == done.actions
        assert [type(c.phase) for c in after.carries.values()] == [
            type(c.phase) for c in done.after.carries.values()
        ]
    assert isinstance(player.state.carries["HYPE"].phase, HedgeOk)


@pytest.mark.parametrize("names", [("HYPE", "ETH"), ("AAA", "ZZZ"), ("ZZZ", "AAA")])
def test_a_coin_by_another_name_is_the_same_coin(names: tuple[str, str]) -> None:
    """Two markets that both pay, money for one: the better is entered, whatever the names."""
    good, poor = names
    player = play(
        config={"risk.portfolio_notional_cap": "200", "risk.per_symbol_notional_cap": "200"},
        markets={good: {"prints": "2bp"}, poor: {"prints": "1bp"}},
    )
    cells: dict[tuple[str, str], Any] = {}
    for coin in names:
        cells |= {(coin, leg): "24.999/25.001" for leg in ("spot", "perp")}
        cells[coin, "funding"] = "1bp"
    player.row(Row(line=1, t_ms=0, cells=cells, events=(), phases={}, actions=()))
    targets = {
        c: x.phase.target_sz for c, x in player.state.carries.items() if isinstance(x.phase, Enter)
    }
    assert targets == {good: D("7.99")}
