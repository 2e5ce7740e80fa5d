"""One account, several markets: what a switch gains, when there is none, and who waits for whom."""

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from carry.core import phases, portfolio, risk, sizing
from carry.core.num import BPS
from carry.core.state import Enter, Exit, HedgeOk, State
from carry.core.types import Leg
from tests.core.making import D, play
from tests.scenarios.language import Row
from tests.scenarios.runner import Play

LOTS = {"ETH": "0.001"}
HELD_AT = "25.00/25.002"
CELLS = {
    **{("HYPE", what): HELD_AT for what in ("spot", "perp")},
    **{("ETH", what): "100.00/100.01" for what in ("spot", "perp")},
    **{("SOL", what): "50.00/50.002" for what in ("spot", "perp")},
    **{(coin, "funding"): "1bp" for coin in ("HYPE", "ETH", "SOL")},
}


def holding(config: Mapping[str, str] | None = None, **prints: str) -> Play:
    """HYPE held for $200 and a cap of $240; the others idle for want of money."""
    limits = {"risk.portfolio_notional_cap": "240", "risk.per_symbol_notional_cap": "200"}
    coins = {"HYPE": "1bp", **prints}
    player = play(
        config={**limits, "strategy.min_hold_h": "0", **(config or {})},
        markets={c: {"prints": p, "lot": LOTS.get(c, "0.01")} for c, p in coins.items()},
    )
    muted = "; ".join(f"mute {c}.spot" for c in prints)
    for t_ms, event in ((0, ""), (1_000, "fills; "), (2_000, "fills; "), (3_000, "")):
        tick(player, t_ms, f"{event}{muted}")
    tick(player, 4_000)
    assert isinstance(player.state.carries["HYPE"].phase, HedgeOk)
    return player


def tick(player: Play, t_ms: int, events: str = "") -> None:
    cells: dict[tuple[str, str], Any] = {k: v for k, v in CELLS.items() if k[0] in player.coins}
    words = tuple(tuple(w.split()) for w in events.split(";") if w.strip())
    player.row(Row(line=1, t_ms=t_ms, cells=cells, events=words, phases={}, actions=()))


def test_the_gain_is_told_by_hand() -> None:
    state = holding(ETH="2bp").state
    found = portfolio.switch(state)
    assert found is not None
    assert (found.held, found.idle) == ("HYPE", "ETH")
    held, idle = state.carries["HYPE"], state.carries["ETH"]
    assert held.forecast is not None
    assert idle.forecast is not None
    bound = held.spot_sz * D("25.001")
    whole = min(D(200), 240 - bound + bound)
    sz = whole // (D("100.01") / 1000) / 1000
    share = min(D(1), round(sz * 100, 2) / bound)
    half = D("0.005") / D("100.005"), D("0.001") / D("25.001")
    entry = D("0.0007") + D("0.00045") + 2 * half[0]
    exit_ = D("0.0007") + D("0.00045") + 2 * half[1]
    gain = share * (idle.forecast.rate * 336 - entry)
    gain -= held.forecast.rate * 336 + max(exit_, share * entry)
    assert abs(found.gain - gain) < D("1e-9")


@pytest.mark.parametrize("off_bps, switches", [("-0.01", True), ("0", False), ("0.01", False)])
def test_the_gain_must_be_above_the_edge(off_bps: str, switches: bool) -> None:
    state = holding(ETH="2bp").state
    found = portfolio.switch(state)
    assert found is not None
    strategy = attrs.evolve(
        state.policy.strategy, switch_edge_bps=found.gain / BPS + D(off_bps)
    )
    state = attrs.evolve(state, policy=attrs.evolve(state.policy, strategy=strategy))
    assert (portfolio.switch(state) is not None) is switches


def test_the_best_of_several_is_taken_and_names_decide_between_equals() -> None:
    better = portfolio.switch(holding(ETH="2bp", SOL="3bp").state)
    assert better is not None
    assert better.idle == "SOL"
    state = holding(ETH="2bp", SOL="2bp").state
    (eth, sol) = (state.carries[c] for c in ("ETH", "SOL"))
    alike = attrs.evolve(sol, books=eth.books, quotes=eth.quotes, market=eth.market)
    state = attrs.evolve(state, carries={**state.carries, "SOL": alike})
    both = portfolio.switch(state)
    assert both is not None
    assert both.idle == "ETH"


def without(state: State, coin: str, **changes: Any) -> State:
    changed = attrs.evolve(state.carries[coin], **changes)
    return attrs.evolve(state, carries={**state.carries, coin: changed})


def test_nothing_is_left_for_what_cannot_be_judged_or_while_another_moves() -> None:
    state = holding(ETH="2bp", SOL="0").state
    assert portfolio.switch(state) is not None
    book = state.carries["HYPE"].books["spot"]
    bids = (attrs.evolve(book.book.bids[0], sz=D("0.01")),)
    thin = attrs.evolve(book, book=attrs.evolve(book.book, bids=bids))
    for other in (
        without(state, "HYPE", forecast=None),
        without(state, "ETH", forecast=None),
        without(state, "HYPE", books={**state.carries["HYPE"].books, "spot": thin}),
        without(state, "ETH", books={}),
        without(state, "SOL", phase=Enter(since_ms=0, target_sz=D(1))),
        without(state, "HYPE", quotes={}, context=None),
        attrs.evolve(state, carries={"HYPE": state.carries["HYPE"]}),
    ):
        assert portfolio.switch(other) is None


def test_what_needs_nobodys_money_is_entered_beside_what_is_held() -> None:
    rich = {"risk.portfolio_notional_cap": "5000"}
    assert portfolio.switch(holding(rich, ETH="2bp").state) is None


def test_a_market_that_another_is_left_for_waits_for_all_of_the_money() -> None:
    state = holding(ETH="2bp").state
    idle = state.carries["ETH"]
    whole = risk.offer(state, idle, D(200))
    assert not risk.money_free(state, idle, risk.offer(state, idle)).passes
    assert risk.money_free(state, idle, whole).passes
    for why, free in ((f"{risk.SWITCH}ETH", False), ("flatten", True), (f"{risk.SWITCH}SOL", True)):
        leaving = without(state, "HYPE", phase=Exit(since_ms=0, why=why, forced=False))
        assert risk.money_free(leaving, idle, whole).passes is free


@pytest.mark.parametrize("sol, free", [("3bp", False), ("1.5bp", True)])
def test_money_that_is_freed_for_a_better_market_waits_for_it(sol: str, free: bool) -> None:
    state = holding(ETH="2bp", SOL=sol).state
    idle = state.carries["ETH"]
    leaving = without(state, "HYPE", phase=Exit(since_ms=0, why=f"{risk.SWITCH}SOL", forced=False))
    assert risk.money_free(leaving, idle, risk.offer(state, idle, D(200))).passes is free


@pytest.mark.parametrize("spare, free", [("0.5", True), ("0.499", False)])
def test_half_of_its_size_is_no_crumb(spare: str, free: bool) -> None:
    state = holding(ETH="2bp").state
    idle = state.carries["ETH"]
    whole = risk.offer(state, idle, sizing.exposure_usd(state, state.carries["HYPE"])).notional
    assert whole is not None
    found = risk.Offer(sz=D(1), notional=whole * D(spare))
    assert risk.money_free(state, idle, found).passes is free


def test_one_margin_is_shared_and_spent_on_the_best_first() -> None:
    """Two entries in one tick promise no more than the account can carry."""
    player = play(
        account={"usd": "300"},
        config={"strategy.target_usd_notional": "200"},
        markets={"ETH": {"prints": "2bp", "lot": "0.001"}, "HYPE": {}},
    )
    tick(player, 0)
    carries = player.state.carries
    targets = {c: x.phase.target_sz for c, x in carries.items() if isinstance(x.phase, Enter)}
    worth = {c: sz * D({"ETH": 100, "HYPE": 25}[c]) for c, sz in targets.items()}
    assert list(worth) == ["ETH"]
    assert 130 < worth["ETH"] <= 150 * D("0.9")
    assert player.state.position(carries["HYPE"], Leg.SPOT) == 0


def test_without_a_forecast_staying_is_not_said_to_lose() -> None:
    state = holding(ETH="2bp").state
    unknown = without(state, "HYPE", forecast=None).carries["HYPE"]
    look = phases.view(state, state, unknown, D(25))
    phase = phases.decide(state, unknown, look, None).phase
    assert isinstance(phase, HedgeOk)
    assert phase.leaving_ms is None
