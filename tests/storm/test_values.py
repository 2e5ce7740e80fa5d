"""The exchange by values is the same exchange: what is read, done and heard without bytes is equal.

The draws of a storm (latency, frames) come in the same order either way, so a run without bytes is
held to be the run with them, tick by tick: every observation, every action, every cent.
"""

from collections.abc import Sequence
from decimal import Decimal as D

import pytest

from carry.core.actions import (
    Action,
    Cancel,
    CancelForeign,
    Fence,
    MoveUsd,
    Place,
    Query,
    SetLeverage,
    Write,
)
from carry.core.observations import Accepted, Observations
from carry.core.types import Leg, Side, Tif
from carry.exchange.direct import Direct
from carry.shell.by_value import DirectVenue
from carry.storm.campaign import BadPreset, case_of, run_all, summary
from carry.storm.faults import BYTES_ONLY
from carry.storm.phases import Life
from carry.storm.watched import Watched, _Still
from carry.storm.wire import ValueLink
from carry.storm.world import World

TICKS = 100
Tick = tuple[Observations, Sequence[Action]]
HOUR_MS = 3_600_000


def lived(
    seed: int, *, values: bool, preset: str = "none", ticks_max: int = TICKS
) -> tuple[World, list[Tick]]:
    """A whole life, with the operator's kill at its end."""
    world = World(case_of(seed, ticks_max, preset), values=values)
    life, ticks = Life(world), []
    committed = world.truth.on_commit

    def on_commit(before: object, seen: Observations, after: object, asked: list[Action]) -> None:
        ticks.append((seen, tuple(asked)))
        committed(before, seen, after, asked)

    world.truth.on_commit = on_commit
    life.run()
    return world, ticks


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [0, 2, 4])
def test_a_run_without_bytes_is_the_run_with_them(seed: int) -> None:
    (wired, with_bytes), (direct, by_value) = (lived(seed, values=v) for v in (False, True))
    for number, (one, other) in enumerate(zip(with_bytes, by_value, strict=True)):
        assert one == other, f"tick {number}"
    assert any(isinstance(a, Place) for _, asked in by_value for a in asked)
    assert direct.truth.state == wired.truth.state
    assert direct.exchange.equity(direct.truth.account) == wired.exchange.equity(
        wired.truth.account
    )


def test_the_three_runs_have_both_modes_and_more_than_one_market() -> None:
    cases = [case_of(seed, TICKS, "none") for seed in (0, 2, 4)]
    assert {case.mode for case in cases} == {"split", "unified"}
    assert max(len(case.policy.coins) for case in cases) > 1


# --- reads ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def held() -> World:
    """A carry that is held, with a payment booked, an order resting, and money moved about."""
    world = World(case_of(4, 400, "none"), start_s=3_600 - 60)
    world.run(80)
    assert world.truth.holds()
    assert world.truth.account.fundings
    coin = world.case.policy.coins[0]
    book = Direct(world.exchange, world.account, free=True).book(coin, Leg.SPOT)
    assert book is not None
    world.truth.on_send = world.truth.landed = lambda *args: None
    rests = world.venue.write(place(world, 1, px=book.bids[-1].px, tif=Tif.ALO))
    assert isinstance(rests, Accepted)
    assert rests.resting
    world.exchange.open_account(world.account, usdc=D(40))
    return world


def both(world: World) -> tuple[object, object]:
    """An honest venue over bytes and one over values, of the same moment."""
    watched = world.bot.venue
    assert isinstance(watched, Watched)
    by_value = DirectVenue(
        account=world.account,
        signer=world.key.address,
        coins=world.case.policy.coins,
        clock=_Still(world),
        direct=lambda address: Direct(world.exchange, address, free=True),
        passage=lambda call: (200, call.do and call.do(world.account)),
        link=ValueLink(world),
    )
    return watched.honest, by_value


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "read",
    ["markets", "contexts", "book", "prints", "closes", "mode", "positions", "balances",
     "open_orders", "fills", "receipts", "transfers", "fees", "leverage", "budget", "order"],
)  # fmt: skip
def test_every_read_of_a_held_carry_is_equal(held: World, read: str) -> None:
    coins, now = held.case.policy.coins, held.exchange.now
    known = [fill["cloid"] for fill in held.truth.account.fills][-1]

    def query(cloid: str) -> Query:
        return Query(intent=7, coin=coins[0], leg=Leg.PERP, cloid=cloid, why="t")

    asked: dict[str, list[tuple[object, ...]]] = {
        "markets": [(coins,)],
        "contexts": [(coins,)],
        "book": [(coin, leg) for coin in coins for leg in Leg],
        "prints": [(coin, now - 90 * HOUR_MS) for coin in coins],
        "closes": [(coins[0], "1h", 24), (coins[0], "5m", 100)],
        "fills": [(0,), (now - 5_000,)],
        "receipts": [(0,)],
        "transfers": [(0,)],
        "leverage": [(coin,) for coin in coins],
        "order": [(query(name),) for name in (known, f"0x{1:032x}", "0x" + "0" * 32)],
    }
    wired, direct = both(held)
    for args in asked.get(read, [()]):
        one, other = getattr(wired, read)(*args), getattr(direct, read)(*args)
        assert one == other
    if read in ("fills", "receipts", "transfers", "positions", "prints"):
        rows = getattr(other if read != "fills" else direct.fills(0), read)
        assert rows, "nothing was compared"
    if read == "open_orders":
        assert other.orders


# --- actions --------------------------------------------------------------------------------------


def place(world: World, no: int, **changes: object) -> Place:
    coin = world.case.policy.coins[0]
    book = Direct(world.exchange, world.account, free=True).book(coin, Leg.SPOT)
    assert book is not None
    lot = D("0.0001") if book.ask_px > 1_000 else D("0.01")
    given: dict[str, object] = {
        "intent": no, "coin": coin, "leg": Leg.SPOT, "side": Side.BUY, "px": book.asks[3].px,
        "sz": (60 / book.ask_px).quantize(lot), "tif": Tif.IOC, "reduce_only": False,
        "cloid": f"0x{no:032x}", "nonce": world.exchange.now + no,
        "expires_ms": world.exchange.now + 9_000, "why": "t",
    }  # fmt: skip
    return Place(**{**given, **changes})


def script(world: World) -> list[Write]:
    """Each kind of action, carried out and refused."""
    now, coin = world.exchange.now, world.case.policy.coins[0]
    later = {"expires_ms": now + 9_000, "why": "t"}
    book = Direct(world.exchange, world.account, free=True).book(coin, Leg.SPOT)
    assert book is not None
    deep = book.bids[-1].px
    return [
        place(world, 1),
        place(world, 2, nonce=now + 1),
        place(world, 3, px=deep),
        place(world, 4, px=deep, sz=D("0.01")),
        place(world, 5, px=deep, sz=D("0.001")),
        place(world, 6, px=deep + D("0.00001")),
        place(world, 7, tif=Tif.ALO),
        place(world, 8, px=deep, tif=Tif.ALO),
        place(world, 9, leg=Leg.PERP, side=Side.BUY, reduce_only=True),
        place(world, 10, leg=Leg.PERP, side=Side.SELL, px=book.bids[5].px),
        place(world, 11, expires_ms=now - 1),
        place(world, 12, sz=D(10_000)),
        place(world, 13, px=book.bid_px * 3),
        place(world, 14, tif=Tif.GTC),
        place(world, 15, cloid="0xABC"),
        place(world, 16, coin="NONE"),
        Cancel(intent=8, coin=coin, leg=Leg.SPOT, cloid=f"0x{8:032x}", nonce=now + 17, **later),
        Cancel(intent=8, coin=coin, leg=Leg.SPOT, cloid=f"0x{8:032x}", nonce=now + 18, **later),
        CancelForeign(coin=coin, leg=Leg.SPOT, oid="77", nonce=now + 19, **later),
        SetLeverage(intent=20, coin=coin, leverage=2, cross=True, nonce=now + 20, **later),
        SetLeverage(intent=21, coin=coin, leverage=999, cross=True, nonce=now + 21, **later),
        SetLeverage(intent=22, coin=coin, leverage=2, cross=False, nonce=now + 22, **later),
        MoveUsd(intent=23, usd=D("12.5"), to_perp=True, nonce=now + 23, **later),
        MoveUsd(intent=24, usd=D("10000000"), to_perp=False, nonce=now + 24, **later),
        MoveUsd(intent=25, usd=D("0.00000001"), to_perp=False, nonce=now + 25, **later),
        Fence(intent=26, nonce=now + 26, why="t"),
        Fence(intent=26, nonce=now + 26, why="t"),
        Fence(intent=27, nonce=1, why="t"),
    ]  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [0, 4])
def test_every_action_ends_as_it_does_over_bytes(seed: int) -> None:
    ends = []
    for values in (False, True):
        world = World(case_of(seed, TICKS, "none"), values=values)
        world.venue.markets(world.case.policy.coins)
        # What is judged here is the exchange; that nothing is sent uncommitted is judged elsewhere.
        for judge in ("on_send", "landed", "look"):
            setattr(world.truth, judge, lambda *args: None)
        outcomes = []
        for write in script(world):
            outcomes.append(world.venue.write(write))
            world.pass_ms(200)
        world.exchange.agents.clear()
        outcomes.append(world.venue.write(place(world, 30)))
        account = world.truth.account
        ends.append((outcomes, account.perp_cash, world.exchange.equity(account), account.records))
        assert not world.exchange.audit()
    (one, cash, equity, records), (other, *rest) = ends
    assert one == other
    assert rest[:2] == [cash, equity]
    assert [r.status for r in records.values()] == [r.status for r in rest[2].values()]
    assert len({type(outcome).__name__ for outcome in one}) >= 7
    assert sum(isinstance(outcome, Accepted) for outcome in one) >= 2


# --- a campaign -----------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_a_short_campaign_by_values_breaks_nothing() -> None:
    outcomes = run_all(range(3), 150, None, values=True)
    assert [outcome.broken for outcome in outcomes] == [None] * 3
    figures = summary(outcomes)
    assert figures["hits_total"] > 0
    assert all(not figures["hits"][name] for name in BYTES_ONLY)


FAULTS = [
    (2, 200, "F20+F22+F36+F60"),
    (10, 200, "F21+F28+F23+F34+F35"),
    (2, 200, "F27+F41+F43+F44+F61+F63"),
    (6, 200, "F12+F25+F33+F37+F38"),
    (2, 160, "F50+F51+F80+F100+F106"),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed, ticks_max, preset", FAULTS)
def test_faults_strike_values_as_they_strike_bytes(seed: int, ticks_max: int, preset: str) -> None:
    """Whatever the fault, the bot comes to see the same, and says and does the same."""
    lives = [lived(seed, values=v, preset=preset, ticks_max=ticks_max) for v in (False, True)]
    (wired, with_bytes), (direct, by_value) = lives
    for number, (one, other) in enumerate(zip(with_bytes, by_value, strict=True)):
        assert one == other, f"tick {number}"
    assert direct.storm.hits == wired.storm.hits
    assert direct.storm.total >= 1
    assert not direct.storm.skipped


def test_what_exists_on_bytes_only_is_skipped_and_said() -> None:
    with pytest.raises(BadPreset, match="F32: exists on bytes only"):
        case_of(0, 100, "F32", values=True)
    (outcome,) = run_all([0], 100, "F32+F38", values=True)
    assert outcome.skipped.keys() <= {"F32"}
    assert not outcome.hits.get("F32")
    planned = [strike.fault for strike in case_of(0, 100, "F32+F38").strikes]
    assert outcome.skipped.get("F32", 0) == planned.count("F32") > 0
