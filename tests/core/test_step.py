"""The composition: what no story tells, because nothing should ever come of it."""

import hashlib
import os
import subprocess
import sys
from decimal import Decimal as D
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from carry.core import (
    absorb,
    asked,
    commands,
    intents,
    ledger,
    phases,
    planning,
    reconcile,
    resting,
    risk,
    sizing,
    writes,
)
from carry.core import observations as seen
from carry.core.actions import Alert, Cancel, CancelForeign, Place
from carry.core.state import Carry, Idle, Leverage, Open, State
from carry.core.step import calm, gates, naked, step
from carry.core.types import Book, FundingPrint, Leg, Level, Side, Tif
from tests.scenarios import language
from tests.scenarios.runner import ACTIONS, STATE, Play

from .making import carry, go, held, play, with_carry

ROOT = Path(__file__).parent.parent.parent


def digest_of_all_scenarios() -> str:
    """A hash over every state and action of a handful of stories."""
    made = hashlib.sha256()
    for path in language.files()[::6]:
        scenario = language.load(path)
        player = Play(scenario, careful=False)
        for row in scenario.rows:
            tick = player.row(row)
            made.update(STATE.encode(tick.after))
            made.update(ACTIONS.encode(tick.actions))
    return made.hexdigest()


@pytest.mark.slow
def test_the_hash_seed_changes_nothing() -> None:
    """P1: processes with different hash seeds decide the same, byte for byte."""
    code = "from tests.core.test_step import digest_of_all_scenarios as d; print(d())"
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4242")
    ]
    assert found[0].strip()
    assert found == [found[0]] * 3


# --- facts about nobody ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "read",
    [
        seen.ContextsRead(
            contexts={"DOGE": seen.Context(mark_px=D(1), oracle_px=D(1), funding_rate=D(0))},
            issued_ms=1,
        ),
        seen.PrintsRead(coin="DOGE", prints=(FundingPrint(at_ms=1, rate=D(0)),), issued_ms=1),
        seen.ClosesRead(coin="DOGE", interval="15m", closes=(), issued_ms=1),
        seen.LeverageRead(coin="DOGE", leverage=1, cross=True, issued_ms=1),
    ],
)
def test_a_read_of_a_coin_that_is_no_market_changes_nothing(read: seen.Read) -> None:
    state = held().state
    assert absorb._read(state, read) == (state, ())


def test_a_book_of_a_coin_that_is_no_market_changes_nothing() -> None:
    state = held().state
    book = Book((Level(D(1), D(1)),), (Level(D(2), D(1)),), 1)
    event = seen.BookSeen(coin="DOGE", leg=Leg.SPOT, book=book, seen_ms=1, full=True)
    assert absorb._book(state, event) == state


def test_an_older_quote_does_not_replace_a_newer_one_and_a_quote_has_no_depth() -> None:
    state = held().state
    newest = carry(state).quotes["spot"]
    old = Book((Level(D(1), D(1)),), (Level(D(2), D(1)),), newest.book.at_ms - 1)
    event = seen.BookSeen(coin="HYPE", leg=Leg.SPOT, book=old, seen_ms=9, full=False)
    after = absorb._book(state, event)
    assert carry(after).quotes["spot"] == newest
    assert carry(after).books["spot"] == carry(state).books["spot"]


def test_closes_of_another_interval_or_too_few_measure_nothing() -> None:
    state = held().state
    for interval, count in (("1h", 96), ("15m", 95)):
        read = seen.ClosesRead(coin="HYPE", interval=interval, closes=(D(1),) * count, issued_ms=1)
        after, _ = absorb._read(state, read)
        assert carry(after).volatility is None


# --- the operator ---------------------------------------------------------------------------------


def test_what_cannot_be_adopted_says_why() -> None:
    player = play()
    go(player, 0, "pause")
    for coin, words in (("DOGE", "not a market"), ("HYPE", "Nothing of HYPE")):
        order = asked.Adopt(command_id=9, by="anna", coin=coin, sz=D(1))
        state, said = commands.obey(player.state, order)
        assert carry(state) == carry(player.state)
        assert words in next(a.text for a in said if isinstance(a, Alert))


def test_adopting_before_the_baseline_and_during_an_entry() -> None:
    """Before the baseline there is nothing to move; the holdings are simply part of it."""
    player = play(markets={"HYPE": {"held": "5"}})
    go(player, 0, "mute receipts")
    assert player.state.account.baseline_usd is None
    go(player, 1_000, "mute receipts; adopt 5")
    assert carry(player.state).spot_sz == 5
    go(player, 2_000, "fills")
    go(player, 3_000)
    go(player, 4_000)
    assert player.state.account.residual_usd == 0


def test_adopting_into_an_exit_leaves_it_an_exit() -> None:
    player = held()
    go(player, 1_000, "flatten")
    order = asked.Adopt(command_id=99, by="anna", coin="HYPE", sz=D(1))
    foreign = with_carry(player.state, foreign_spot=D(1))
    state, _ = commands.obey(foreign, order)
    assert carry(state).phase == carry(player.state).phase
    assert carry(state).spot_sz == carry(player.state).spot_sz + 1


# --- nothing can be sent --------------------------------------------------------------------------


def stuck(state: State) -> State:
    """The last nonce is further ahead of the venue's clock than its rules allow."""
    return attrs.evolve(state, nonce=(state.venue_ms or 0) + 60_000)


def test_without_the_venues_clock_or_a_nonce_nothing_is_sent() -> None:
    for change in (stuck, lambda state: attrs.evolve(state, venue_ms=None)):
        state = change(held().state)
        assert writes.next_action(state) is None
        draft = writes.Draft(
            leg=Leg.PERP, side=Side.SELL, sz=D(1), px=D(25), tif=Tif.IOC, why="x"
        )
        assert writes.issue(state, carry(state), draft) == (state, ())
        assert writes.lever(state, carry(state)) == (state, ())


def test_a_nonce_is_above_the_last_and_by_the_nearer_clock() -> None:
    state = held().state
    venue_ms = state.venue_ms or 0
    assert writes.next_nonce(attrs.evolve(state, nonce=0, wall_ms=venue_ms + 7)) == venue_ms + 7
    for off in (30_001, -30_001):
        assert writes.next_nonce(attrs.evolve(state, nonce=0, wall_ms=venue_ms + off)) == venue_ms
    ahead = attrs.evolve(state, nonce=venue_ms + 59_999)
    assert writes.next_nonce(ahead) == venue_ms + 60_000
    assert writes.next_nonce(stuck(state)) is None


def test_orders_that_cannot_be_withdrawn_now_are_kept_in_mind() -> None:
    player = play()
    go(player, 0)
    go(player, 1_000, "rest spot")
    for change in (stuck, lambda state: attrs.evolve(state, venue_ms=None)):
        state = change(attrs.evolve(player.state, stopping=True))
        look = phases.view(state, state, carry(state), D(25))
        idle = phases.Decision(phase=carry(state).phase)
        assert resting.withdraw(state, carry(state), look, idle) == (state, ())
        order = seen.OpenOrder(
            coin="HYPE", leg=Leg.SPOT, oid="1", cloid=None, side=Side.BUY, px=D(1), sz=D(1)
        )
        state = attrs.evolve(state, account=attrs.evolve(state.account, strays=(order,)))
        after, actions = writes.withdraw_strays(state)
        assert actions == ()
        assert after.account.strays == (), "the next read of open orders tells them again"


def test_a_cancel_is_repeated_after_a_second_not_before() -> None:
    player = play()
    go(player, 0)
    go(player, 1_000, "rest spot")
    first = go(player, 1_100, "stop").actions
    second = go(player, 1_500, "cancel? spot").actions
    third = go(player, 2_200).actions
    assert [sum(isinstance(a, Cancel) for a in t) for t in (first, second, third)] == [1, 0, 1]
    assert isinstance(player.state.intents["1"].status, Open)


def test_each_stray_is_withdrawn_under_a_nonce_of_its_own() -> None:
    player = held()
    actions = go(player, 1_000, "stray 1; stray 2").actions
    nonces = [a.nonce for a in actions if isinstance(a, CancelForeign)]
    assert len(nonces) == 2
    assert nonces[0] < nonces[1]


# --- what is not seen -----------------------------------------------------------------------------


def test_a_market_without_a_price_has_no_exposure_and_no_view() -> None:
    unseen = Carry(coin="X")
    state = held().state
    assert sizing.exposure_usd(state, unseen) == 0
    assert risk.foreign_usd(state, unseen) == 0
    assert ledger.price(unseen, Leg.SPOT) is None
    assert not naked(state, unseen)
    assert naked(state, attrs.evolve(unseen, spot_sz=D(1)))


def test_calm_is_hedged_with_nothing_on_its_way() -> None:
    player = play()
    assert calm(player.state)
    go(player, 0)
    assert not calm(player.state), "an order is on its way"
    go(player, 1_000, "fills")
    assert not calm(player.state), "the hedge is on its way"
    go(player, 2_000, "fills")
    assert calm(player.state)
    assert naked(player.state, attrs.evolve(carry(player.state), perp_sz=D(-5)))


def test_a_reason_to_leave_needs_a_price_of_leaving() -> None:
    player = held()
    look = phases.view(player.state, player.state, carry(player.state), D(25))
    blind = with_carry(player.state, books={})
    assert not phases._loses(blind, carry(blind), look)


def test_an_entry_needs_a_book_that_takes_its_size() -> None:
    player = play()
    go(player, 0, "depth spot 1")
    found = {g.name: g for g in gates(player.state)}
    assert (found["expected_net_bps"].value, found["size_usd"].passes) == ("absent", True)
    assert isinstance(carry(player.state).phase, Idle)


def test_a_slice_is_not_bought_in_a_post_only_window_nor_below_the_minimum() -> None:
    player = play(config={"strategy.target_usd_notional": "400"})
    go(player, 0)
    go(player, 1_000, "fills")
    state = player.state
    look = phases.view(state, state, carry(state), D(25))
    assert planning._buy(state, carry(state), look, look.spot + D("0.43")) is None
    window = attrs.evolve(state, post_only_until_ms=state.now_ms + 1)
    hedged = attrs.evolve(look, delta=D(0))
    assert planning._buy(window, carry(state), hedged, D(100)) is None
    assert planning._buy(state, carry(state), hedged, D(100)) is not None


def test_a_hedge_above_one_is_no_more_than_the_filled_spot_times_it() -> None:
    player = play(config={"strategy.hedge_ratio": "1.05"})
    go(player, 0)
    (place,) = (a for a in go(player, 1_000, "fills").actions if isinstance(a, Place))
    assert place.sz == D("8.38")  # 7.984407 x 1.05 = 8.3836, down to a lot


def test_leverage_is_not_asked_for_while_it_is_not_known() -> None:
    player = play()
    tick = go(player, 0, "mute leverage")
    assert not any(isinstance(a, Place) for a in tick.actions)
    assert carry(player.state).leverage is None


def test_the_rest_of_a_history_keeps_the_floor() -> None:
    """A read that does not reach back to the floor proves nothing of what lies between."""
    state = held().state
    state = attrs.evolve(state, receipts_floor_at_ms=1_000)
    assert reconcile.slow_floor(state, 1_000, 1_001) == 1_000
    assert reconcile.slow_floor(state, 1_000, 1_000) > 1_000


def test_fills_read_from_after_the_floor_do_not_raise_it() -> None:
    state = held().state
    floor = state.fills_floor_at_ms
    late = seen.FillsRead(
        fills=(), since_ms=floor + 1, issued_ms=1, issued_venue_ms=floor + 10_000_000
    )
    after, _ = absorb._read(state, late)
    assert after.fills_floor_at_ms == floor


def test_a_second_tick_of_one_moment_is_the_same_moment() -> None:
    """Time that does not move, or goes back, never makes a duration negative."""
    player = held()
    state = player.state
    obs = seen.Observations(
        mono_ms=state.now_ms - 5, wall_ms=state.wall_ms, venue_ms=state.venue_ms
    )
    after, _ = step(state, obs)
    assert after.dt_ms == 0


def test_a_latch_keeps_its_first_reason() -> None:
    state = intents.latch(held().state, "pause", "reduce", "first")
    assert intents.latch(state, "pause", "halt", "second") is state


def test_a_setting_is_a_value() -> None:
    assert Leverage(value=1, cross=True, issued_ms=1) != Leverage(value=1, cross=False, issued_ms=1)


def test_a_kind_without_a_handler_is_a_mistake_of_ours() -> None:
    player = play()
    go(player, 0)
    state = player.state
    look = phases.view(state, state, carry(state), D(25))
    nobody: Any = SimpleNamespace(command_id=99, by="anna", intent=1, phase=None)
    for attempt in (
        lambda: absorb._event(state, nobody),
        lambda: absorb._read(state, nobody),
        lambda: commands.obey(state, nobody),
        lambda: intents.outcome(state, nobody),
        lambda: phases.decide(state, nobody, look, None),
    ):
        with pytest.raises(AssertionError, match="without a handler"):
            attempt()


def test_an_unpriced_market_explains_nothing_of_the_account() -> None:
    state = held().state
    unseen = Carry(coin="DOGE", foreign_spot=D(5))
    both = attrs.evolve(state, carries={**state.carries, "DOGE": unseen})
    assert ledger.explained(both) == ledger.explained(state)
    assert sizing.committed_usd(both, unseen) == 0
