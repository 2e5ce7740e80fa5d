"""The bot on the local Aster: the same core, another venue."""

from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from carry.core import ledger
from carry.core.actions import Cancel, Fence, MoveUsd, Place, Query, SetLeverage
from carry.core.observations import (
    Accepted,
    Cancelled,
    CancelUnanswered,
    Done,
    FenceUnanswered,
    NotSent,
    OutcomeUnknown,
    Refused,
)
from carry.core.state import HedgeOk, Idle, State
from carry.core.types import AccountMode, Leg, Side, Tif
from carry.shell.loop import is_flat
from carry.shell.reader import give
from carry.shell.status import report
from carry.venues.base import ReadFailed
from tests.exchange.aster_serving import AGENT, USER

from .world import World

D = Decimal

def hedged(state: State) -> bool:
    return isinstance(state.carries["BTC"].phase, HedgeOk) and not state.intents


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def order(world: World, **change: object) -> Place:
    px = world.ex.mark(world.ex.symbols[False]["BTCUSDT"])
    usual = Place(
        intent=1, coin="BTC", leg=Leg.PERP, side=Side.SELL, px=(px * D("1.01")).quantize(D("0.1")),
        sz=D("0.002"), tif=Tif.GTC, reduce_only=False, cloid="0x" + "ab" * 8 + f"{1:016x}",
        nonce=world.ex.now + 1, expires_ms=world.ex.now + 10_000, why="a test",
    )  # fmt: skip
    return attrs.evolve(usual, **change)


def query(place: Place) -> Query:
    return Query(intent=1, coin="BTC", leg=place.leg, cloid=place.cloid, why="a test")


def cancel(world: World, place: Place) -> Cancel:
    return Cancel(
        intent=1, coin="BTC", leg=place.leg, cloid=place.cloid, nonce=world.ex.now + 5,
        expires_ms=world.ex.now + 10_000, why="a test",
    )  # fmt: skip


# --- a carry, whole -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_carry_enters_earns_every_eight_hours_and_leaves(world: World) -> None:
    state = world.until(hedged)
    carry = state.carries["BTC"]
    assert carry.perp_sz < 0 < carry.spot_sz
    assert world.account.szi(1) == carry.perp_sz
    state = world.hours(25)
    income = world.ex.income[USER.address.lower()]
    paid = [row for row in income if row["incomeType"] == "FUNDING_FEE"]
    assert len(paid) == 3
    assert len({row["time"] % (8 * 3_600_000) for row in paid}) == 1
    assert ledger.total(state).funding_usd == sum(D(row["income"]) for row in paid)
    found = report(1, state)
    assert D(found["pnl"]["residual_usd"]) == 0
    assert found["mode"] == "NORMAL"

    journal = str(world.folder / "carry.db")
    give(journal, at_ms=world.ex.now, who="test", what="flatten", args="{}")
    state = world.until(is_flat)
    assert isinstance(state.carries["BTC"].phase, Idle)
    assert not world.account.szi(1)
    assert not world.account.orders
    assert world.ex.audit() == {}
    # What the bot says it made is what the exchange has: dust of the coin is valued by both.
    dust = world.account.balance(1).total
    assert dust * 100_000 < 10
    assert D(report(1, state)["pnl"]["residual_usd"]) == 0


@pytest.mark.parametrize("kind", ["lose_reply", "http_503_after", "code_1007_after", "html_500"])
def test_an_entry_through_unknown_outcomes_is_bought_once(world: World, kind: str) -> None:
    """The first order of each leg is not answered: decided by its record, never sent twice."""
    world.ex.faults.add(kind, "POST", "/api/v3/order")
    world.ex.faults.add(kind, "POST", "/fapi/v3/order")
    state = world.until(hedged)
    carry = state.carries["BTC"]
    perp = world.account.szi(1)
    assert perp == carry.perp_sz
    assert abs(world.account.balance(1).total + perp) < D("0.001")
    assert D(report(1, state)["pnl"]["residual_usd"]) == 0


def test_an_order_that_appears_late_is_not_called_never(world: World) -> None:
    """Its reply is lost and queries answer "not found" for 30 s."""
    world.ex.faults.add("lose_reply_late", "POST", "/fapi/v3/order", ms=30_000)
    state = world.until(hedged)
    assert world.account.szi(1) == state.carries["BTC"].perp_sz
    assert abs(world.account.balance(1).total + world.account.szi(1)) < D("0.001")


def test_a_restart_goes_on_with_the_carry(world: World) -> None:
    before = world.until(hedged)
    world.journal.close()
    world.restart()
    after = world.run(10)
    carry = after.carries["BTC"]
    assert isinstance(carry.phase, HedgeOk)
    assert (carry.spot_sz, carry.perp_sz) == (
        before.carries["BTC"].spot_sz, before.carries["BTC"].perp_sz,
    )  # fmt: skip


# --- reads ----------------------------------------------------------------------------------------


def test_coins_of_another_interval_are_named(tmp_path: Path) -> None:
    world = World(tmp_path, markets="{base: BTC}, {base: ASTER}, {base: HYPE}")
    read = world.venue.markets(("BTC", "ASTER", "HYPE"))
    assert list(read.markets) == ["BTC"]
    assert "every 4 h and BTC every 8 h" in read.broken["ASTER"]
    assert "HYPEUSDT is not listed" in read.broken["HYPE"]
    assert world.venue.capabilities.interval_h == 8


def test_the_interval_is_the_coins_own(tmp_path: Path) -> None:
    world = World(tmp_path, markets="{base: ASTER}")
    assert world.venue.capabilities.interval_h == 4
    assert world.bot.state.capabilities.interval_h == 4


def test_modes_that_cannot_be_traded_are_named(world: World) -> None:
    assert world.venue.mode().mode is AccountMode.SPLIT
    world.ex.hedging[USER.address.lower()] = None
    read = world.venue.mode()
    assert (read.mode, read.word) == (AccountMode.UNKNOWN, "hedge mode")


def test_ticks_and_lots_are_the_filters(world: World) -> None:
    market = world.venue.markets(("SOL",)).markets["SOL"]
    assert market.perp.rule.tick_at(D("137.123")) == D("0.01")
    assert (market.perp.lot, market.spot.lot) == (D("0.01"), D("0.001"))
    assert market.perp.min_notional == 5


def test_an_agent_that_is_refused_is_the_problem(world: World) -> None:
    world.ex.doorman.agents.clear()
    problem = world.venue.identify().problem
    assert problem is not None
    assert problem.startswith("agent_refused: code -1022")
    world.ex.approve(AGENT.address, USER.address, can_spot=False)
    assert "agent_rights" in str(world.venue.identify().problem)


# --- writes ---------------------------------------------------------------------------------------


def test_writes_and_their_outcomes(world: World) -> None:
    write = world.venue.write
    rests = order(world)
    accepted = write(rests)
    assert isinstance(accepted, Accepted)
    assert (accepted.resting, accepted.filled_sz) == (True, 0)
    assert world.venue.order(query(rests)).status == "open"
    assert write(cancel(world, rests)) == Cancelled(intent=1, gone=False)
    assert write(cancel(world, rests)) == Cancelled(intent=1, gone=True)
    assert world.venue.order(query(rests)).status == "gone"

    taken = order(world, tif=Tif.IOC, px=rests.px * D("0.985") // 1, cloid="0x" + "cd" * 16)
    filled = write(taken)
    assert isinstance(filled, Accepted)
    assert (filled.resting, filled.filled_sz) == (False, D("0.002"))
    (fill,) = world.venue.fills(world.ex.now - 60_000).fills
    assert (fill.cloid, fill.sz, fill.fee_in_base) == (taken.cloid, D("0.002"), False)
    assert fill.fee > 0

    crossing = attrs.evolve(taken, tif=Tif.ALO, cloid="0x" + "ce" * 16, nonce=world.ex.now + 9)
    for error in (True, False):
        world.ex.orders.gtx_error = error
        refused = write(attrs.evolve(crossing, nonce=world.ex.now + 9))
        assert isinstance(refused, Refused)
        assert refused.code == "post_only_crossed"
    off_tick = write(attrs.evolve(crossing, px=D("90000.05"), nonce=world.ex.now + 9))
    assert isinstance(off_tick, Refused)
    assert off_tick.code == "tick"
    too_much = write(order(world, sz=D(900), cloid="0x" + "cf" * 16, nonce=world.ex.now + 9))
    assert isinstance(too_much, Refused)
    assert too_much.code == "margin"


def test_a_nonce_that_was_used_is_refused_for_its_time(world: World) -> None:
    """Never for "nonce": that would be taken for another program on the same key."""
    first = order(world)
    assert isinstance(world.venue.write(first), Accepted)
    again = world.venue.write(attrs.evolve(first, cloid="0x" + "ee" * 16))
    assert isinstance(again, Refused)
    assert again.code == "expired"
    late = order(world, nonce=world.ex.now - 11_000, cloid="0x" + "ef" * 16)
    assert isinstance(world.venue.write(late), Refused)


def test_writes_carry_the_journals_nonce(world: World) -> None:
    placed = order(world)
    world.venue.write(placed)
    used = world.ex.doorman.nonces[USER.address.lower()].used
    assert placed.nonce * 1_000 in used
    others = [nonce for nonce in used if nonce != placed.nonce * 1_000]
    assert not [nonce for nonce in others if nonce % 1_000 == 0]


@pytest.mark.parametrize("kind", ["lose_reply", "html_500_after", "http_503", "code_1006"])
def test_an_order_without_an_answer_is_unknown(world: World, kind: str) -> None:
    world.ex.faults.add(kind, "POST", "/order")
    placed = order(world)
    assert isinstance(world.venue.write(placed), OutcomeUnknown)
    if kind in ("http_503", "code_1006"):
        with pytest.raises(ReadFailed, match="no such order yet"):
            world.venue.order(query(placed))
        world.ex.advance(world.ex.now + 45_000)
        assert world.venue.order(query(placed)).status == "unknown"
    else:
        assert world.venue.order(query(placed)).status == "open"


def test_a_cancel_of_an_order_whose_record_lags_is_repeated(world: World) -> None:
    world.ex.faults.add("late_record", "POST", "/order", ms=20_000)
    placed = order(world)
    assert isinstance(world.venue.write(placed), Accepted)
    assert isinstance(world.venue.write(cancel(world, placed)), CancelUnanswered)
    world.ex.advance(world.ex.now + 20_000)
    assert world.venue.write(cancel(world, placed)) == Cancelled(intent=1, gone=False)


def test_leverage_and_transfers(world: World) -> None:
    account = world.account
    setting = SetLeverage(
        intent=2, coin="BTC", leverage=2, cross=True, nonce=world.ex.now + 3,
        expires_ms=world.ex.now + 9_000, why="a test",
    )  # fmt: skip
    assert world.venue.write(setting) == Done(intent=2)
    read = world.venue.leverage("BTC")
    assert (read.leverage, read.cross) == (2, True)
    before = account.perp_cash
    move = MoveUsd(
        intent=3, usd=D(250), to_perp=True, nonce=world.ex.now + 4,
        expires_ms=world.ex.now + 9_000, why="a test",
    )  # fmt: skip
    world.ex.faults.add("lose_reply", "POST", "/asset/wallet/transfer")
    assert isinstance(world.venue.write(move), OutcomeUnknown)
    # Its own name makes it safe: the venue takes it once, whatever was sent again.
    world.ex.advance(world.ex.now + 5_000)
    assert account.perp_cash == before + 250
    (seen,) = world.venue.transfers(world.ex.now - 60_000).transfers
    assert (seen.usd, seen.moved_usd) == (0, 250)


def test_a_fence_is_never_answered(world: World) -> None:
    """A `noop` voids nothing for certain here: its acceptance would prove nothing."""
    asked = len(world.api.asked)
    assert isinstance(world.venue.write(Fence(intent=1, nonce=5, why="x")), FenceUnanswered)
    assert len(world.api.asked) == asked


def test_without_metadata_nothing_is_sent(world: World) -> None:
    asked = len(world.api.asked)
    assert isinstance(world.venue.write(order(world, coin="DOGE")), NotSent)
    assert len(world.api.asked) == asked
