"""Sequences of events that lost money, lost a leg, or stayed silent; each was found by a reader."""

from decimal import Decimal as D

import attrs
import pytest

from carry.core.absorb import absorb
from carry.core.actions import Alert, Cancel, Fence, Place, Query
from carry.core.intents import put
from carry.core.observations import (
    Balance,
    BalancesRead,
    FillsRead,
    Observations,
    TransfersRead,
)
from carry.core.risk import near_oracle
from carry.core.state import Enter, HedgeOk
from carry.core.step import gates, step
from carry.core.types import Leg
from carry.shell.why import of_market
from tests.scenarios.runner import Play, Tick

from .making import QUOTES, carry, go, held, play, row, scenario


def alerts(tick: Tick) -> list[str]:
    return [a.name for a in tick.actions if isinstance(a, Alert)]


def test_an_order_owed_fills_is_not_settled_by_two_looks_that_agree() -> None:
    """8 asked, 4 filled by the reply, the rest withdrawn; the fills come a minute late.

    Two looks that agree on nothing are a lagging history: freed, the leg would be hedged twice.
    """
    player = play()
    go(player, 0)
    go(player, 1_000, "rest spot")
    (intent,) = player.state.intents.values()
    player.state = put(player.state, attrs.evolve(intent, filled_sz=D(4)))
    words = {Place: "refuse perp no_match", Cancel: "cancelled spot", Query: "record gone"}
    for t_ms in range(2_000, 20_000, 1_000):
        go(player, t_ms, ";".join(words[type(a)] for a in player.pending))
    assert str(intent.no) in player.state.intents
    assert player.state.position(carry(player.state), Leg.SPOT) > D("3.9")


def test_a_drawdown_in_the_middle_of_an_entry_is_no_fault_of_ours() -> None:
    """The tick that latches it would also have bought the next slice: the guard must not fail."""
    player = play(config={"strategy.target_usd_notional": "400", "risk.max_drawdown_usd": "2"})
    go(player, 0)
    go(player, 1_000, "fills")
    tick = go(player, 2_000, "fills", spot="24.75/24.752", perp="25.00/25.002")
    assert "drawdown" in alerts(tick)
    assert not any(isinstance(a, Place) and a.leg is Leg.SPOT for a in tick.actions)


def _unhedged_again(player: Play, from_ms: int) -> list[str]:
    """A short is deleveraged and cannot be had again, until the spot that lost it is sold."""
    said = alerts(go(player, from_ms, "adl 1 @ 25"))
    for t_ms in range(from_ms + 1_000, from_ms + 20_000, 1_000):
        sent = [a for a in player.pending if isinstance(a, Place)]
        answer = "refuse perp oi_cap" if sent and sent[0].leg is Leg.PERP else "fills"
        said += alerts(go(player, t_ms, answer))
    return said


def test_a_leg_that_is_naked_again_within_the_hour_is_said_again() -> None:
    player = held()
    assert "naked_HYPE" in _unhedged_again(player, 1_000)
    assert "naked_HYPE" in _unhedged_again(player, 60_000)


def test_a_leg_that_stays_naked_is_said_every_hour() -> None:
    player = held()
    go(player, 1_000, "adl 4 @ 25")
    said: list[str] = []
    for n in range(1, 130):
        sent = [a for a in player.pending if isinstance(a, Place)]
        answers = [f"refuse {a.leg.value} price_band" for a in sent]
        said += alerts(go(player, 1_000 + n * 60_000, ";".join(answers)))
    assert said.count("naked_HYPE") >= 2


def test_a_hedge_refused_for_margin_whose_spot_cannot_be_sold_is_said() -> None:
    player = play()
    go(player, 0)
    go(player, 1_000, "fills")
    said = alerts(go(player, 2_000, "refuse perp margin"))
    for t_ms in range(3_000, 20_000, 1_000):
        sent = [a for a in player.pending if isinstance(a, Place)]
        said += alerts(go(player, t_ms, "refuse spot price_band" if sent else ""))
    assert "naked_HYPE" in said


def test_a_latch_that_falls_again_after_it_was_cleared_is_said_again() -> None:
    player = held()
    assert "crash" in alerts(go(player, 1_000, "fault crash"))
    go(player, 2_000, "resume crash")
    assert "crash" in alerts(go(player, 3_000, "fault crash"))


def test_liquidation_that_comes_nearer_is_said_again() -> None:
    player = held(account={"usd": "460"})
    first = alerts(go(player, 1_000, spot="44/44.002", perp="44/44.002"))
    again = alerts(go(player, 2_000, spot="51/51.002", perp="51/51.002"))
    assert first
    assert again
    assert first != again


def test_a_coin_without_metadata_is_not_gone_from_the_balances() -> None:
    """A restart while `spotMeta` is broken: its token cannot be told, so its row is left out."""
    player = held()
    go(player, 1_000, "broken; restart")
    state = player.state
    for n in range(1, 60):
        go(player, 1_000 + n * 1_000, "mute balances")
        read = BalancesRead(
            usd=Balance(total=D(800), hold=D(0)),
            coins={},
            issued_ms=player.state.now_ms + 500,
        )
        state = player.state
        told = Observations(
            mono_ms=state.now_ms + 600,
            wall_ms=state.wall_ms + 600,
            venue_ms=None if state.venue_ms is None else state.venue_ms + 600,
            reads=(read,),
        )
        player.state, actions = step(state, told)
        assert not any(isinstance(a, Place) for a in actions)
    assert carry(player.state).spot_sz > 0
    assert isinstance(carry(player.state).phase, HedgeOk)


def test_two_entries_do_not_count_on_the_same_money() -> None:
    """1000 USD carry one leg of 450; what the first will use is not there for the second."""
    markets: dict[str, dict[str, str]] = {"BTC": {}, "HYPE": {}}
    cells = {(coin, what): cell for coin in markets for what, cell in QUOTES.items()}
    first = attrs.evolve(row(0), cells=cells)
    config = {"strategy.target_usd_notional": "400"}
    player = Play(scenario(markets=markets, rows=(first,), config=config))
    for n in range(12):
        player.row(attrs.evolve(first, t_ms=n * 1_000, events=(("fills",),) if n else ()))
        carries = player.state.carries.values()
        aims = [c.phase.target_sz if isinstance(c.phase, Enter) else c.spot_sz for c in carries]
        assert 300 < sum(aims) * 25 <= 450


def test_prices_of_two_ages_are_no_drawdown() -> None:
    """After an outage the perp's quote is of now and the spot's of before: nothing was lost."""
    player = held(config={"risk.max_drawdown_usd": "10"})
    tick = go(player, 60_000, "mute HYPE.spot", spot=None, perp="30/30.002")
    assert "drawdown" not in alerts(tick)
    assert player.state.high_water_usd < 1
    tick = go(player, 61_000, spot="30/30.002", perp="30/30.002")
    assert "drawdown" not in player.state.latches


def test_a_lot_above_a_slice_can_still_be_sold() -> None:
    player = held(markets={"HYPE": {"lot": "1"}})
    tick = go(player, 1_000, "set-key risk.slice_usd 20; flatten")
    assert [a.sz for a in tick.actions if isinstance(a, Place)] == [D(1)]


def test_names_of_a_newer_journal_are_not_used_again() -> None:
    """Resumed on a restored copy, order 3 would be taken for the order 3 of before."""
    player = held()
    go(player, 1_000, "stray 99")
    tick = go(player, 2_000, "resume journal_old; flatten")
    sent = [a.intent for a in tick.actions if isinstance(a, Place)]
    assert sent
    assert min(sent) > 99


def test_a_stamp_from_the_future_does_not_hide_the_fills_to_come() -> None:
    player = play()
    go(player, 0)
    state = player.state
    year_ms = 365 * 86_400_000
    read = FillsRead(
        fills=(),
        since_ms=0,
        issued_ms=state.now_ms + 500,
        issued_venue_ms=(state.venue_ms or 0) + year_ms,
    )
    told = Observations(
        mono_ms=state.now_ms + 600,
        wall_ms=state.wall_ms + 600,
        venue_ms=(state.venue_ms or 0) + year_ms,
        reads=(read, TransfersRead(transfers=(), since_ms=0, issued_ms=state.now_ms + 500)),
    )
    after = absorb(attrs.evolve(state, intents={}), told)[0]
    assert after.fills_floor_at_ms <= state.wall_ms
    assert after.transfers_floor_at_ms <= state.wall_ms


def test_no_look_that_may_leave_its_fills_out_settles_an_order() -> None:
    """A crash with an order on its way, and metadata that breaks before the restart is through."""
    player = play()
    go(player, 0)
    go(player, 1_000, "restart; happens spot 4; broken")
    words = {Fence: "closed", Query: "record gone"}
    for t_ms in range(2_000, 20_000, 1_000):
        go(player, t_ms, ";".join(words[type(a)] for a in player.pending))
    assert player.state.intents
    player.world.pairs["HYPE"].paused = None
    go(player, 20_000, ";".join(["fill spot 4", *(words[type(a)] for a in player.pending)]))
    assert carry(player.state).spot_sz > D("3.9")


def test_closes_of_hours_ago_do_not_pass_for_calm() -> None:
    player = play(config={"strategy.enter_threshold_apr": "1.5"})
    go(player, 0)
    go(player, 3_500_000, "mute closes")
    passed = {g.name: g.passes for g in gates(player.state)}
    assert passed["volatility"]
    go(player, 3_700_000, "mute closes")
    assert not {g.name: g.passes for g in gates(player.state)}["volatility"]


def test_a_halted_market_does_not_say_that_it_trades() -> None:
    player = held()
    go(player, 1_000, "fault journal; adl 4 @ 25")
    go(player, 2_000)
    said = of_market(player.state, carry(player.state), ()).text
    assert said == "HALT: a leg is naked and nothing is traded until `carry resume --ack journal`"
    tick = go(player, 20_000)
    tick = go(player, 30_000)
    go(player, 31_000, "flatten")
    assert "HALT" in of_market(player.state, carry(player.state), ()).text
    texts = [a.text for t in player.ticks for a in t.actions if isinstance(a, Alert)]
    assert any("in HALT nothing is traded" in text for text in texts)
    assert not any(isinstance(a, Place) for a in tick.actions)


def test_a_market_without_an_oracle_or_books_may_be_left() -> None:
    state = held().state
    blind = attrs.evolve(carry(state), quotes={})
    assert near_oracle(state, blind)
    assert near_oracle(state, attrs.evolve(blind, context=None))


def test_coins_that_an_order_by_hand_holds_are_not_sold(monkeypatch: pytest.MonkeyPatch) -> None:
    """The venue would refuse it; the short stays, so nothing is naked while the exit waits."""
    player = held()
    monkeypatch.setattr(player.world, "_hold", lambda coin: D("7.9"))
    go(player, 1_000, "flatten")
    for t_ms in range(2_000, 9_000, 1_000):
        tick = go(player, t_ms)
        assert not any(isinstance(a, Place) for a in tick.actions)
    monkeypatch.undo()
    go(player, 9_000)
    assert any(isinstance(a, Place) and a.leg is Leg.SPOT for a in player.pending)
