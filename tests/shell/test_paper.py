"""Paper: a live market, a simulated account. Held against the account that trades for real.

The embedded exchange is the live venue here: the same bot trades on it in one run, and on paper
beside it in another, over the same market. docs/PAPER.md explains each difference.
"""

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from carry.base.clock import Streaming
from carry.core import ledger
from carry.core.actions import Place
from carry.core.num import ZERO
from carry.core.observations import Accepted, NotSent, Refused
from carry.core.policy import Execution, MarketPolicy, Policy, Risk, Strategy
from carry.core.state import HedgeOk, Idle
from carry.core.types import Book, Leg, Level, Side, Tif
from carry.exchange.paths import HOUR_MS
from carry.shell.database import JournalRefused, NoJournal
from carry.shell.paper import PaperAccount, PaperVenue, kept_coins
from carry.shell.reader import Reader
from carry.storm.draw import Case, Strike
from carry.storm.faults import Condition
from carry.storm.market import Shape
from carry.storm.world import StormClock, World
from tests.exchange.serving import serve

ROOT = Path(__file__).resolve().parents[2]
HOURS = int(os.environ.get("CARRY_PARITY_HOURS", "3"))
"""How long the same bot is compared with itself; a week is 168."""
COINS = ("BTC", "HYPE")
HEARTBEAT_MS = 25_000
STEP_MS = 15_000


def case_of(seed: int) -> Case:
    policy = Policy(
        strategy=Strategy(
            target_usd_notional=D(900), min_hold_h=0, enter_threshold_apr=D("0.005"),
            horizon_h=1_000,
        ),
        execution=Execution(),
        risk=Risk(),
        markets=tuple(MarketPolicy(base=coin) for coin in COINS),
        source="parity",
    )  # fmt: skip
    never = Strike(no=0, fault="F36", tick=1 << 40, key=0)
    return Case(
        seed=seed, ticks=1 << 40, interval_ms=60_000, mode="unified", funds_usd=D(5_000),
        policy=policy, shape=Shape(regime="calm", begin_min=0, bp=0, minutes=0), strikes=(never,),
        orders=(),
    )  # fmt: skip


class Minutes(StormClock):
    """A minute a tick, with the stream's heartbeats in between."""

    def wait(self, venue: Streaming, ms: int) -> bool:
        end_ms = self._world.exchange.now + ms
        while self._world.exchange.now < end_ms:
            if super().wait(venue, min(HEARTBEAT_MS, end_ms - self._world.exchange.now)):
                return True
        return False


class Live(World):
    clock_type = Minutes

    def __init__(self, case: Case) -> None:
        super().__init__(case, values=True)
        self.exchange.quotes.step_ms = self.exchange.funding.sample_ms = STEP_MS

    @property
    def hours(self) -> D:
        return D(self.exchange.now - self.exchange.market.start_ms) / HOUR_MS

    def until_hour(self, hour: int) -> None:
        self.run(1 << 40, lambda: self.hours >= hour)


class OnPaper(Live):
    """The same bot on the same market; its account is simulated beside it."""

    file: Path | None = None

    @classmethod
    def kept(cls, case: Case, file: Path) -> "OnPaper":
        """With the account in a file, as in production."""
        return type("Kept", (cls,), {"file": file})(case)

    def _new_venue(self) -> Any:
        live = super()._new_venue()
        markets = live.markets(self.case.policy.coins).markets
        self.paper = PaperAccount(
            self.account, markets, self.exchange.now, funds_usd=self.case.funds_usd,
            mode=self.case.mode, file=self.file,
        )
        return PaperVenue(live, self.paper, self.case.policy.coins, self.clock)


def lived(world: Live, hours: int) -> Live:
    """A carry in each market, held for some hours, then closed by its owner."""
    world.until_hour(hours)
    world.command("flatten")
    world.until_hour(hours + 1)
    return world


def figures(world: World) -> dict[str, D]:
    """What a run came to, USD."""
    state = world.bot.state
    total = ledger.total(state)
    names = ("funding_usd", "fees_usd", "basis_usd", "slippage_usd", "external_usd", "net_usd")
    carries = state.carries.values()
    turnover = sum((carry.ledger.turnover_usd for carry in carries), ZERO)
    return {**{name: getattr(total, name) for name in names}, "turnover_usd": turnover}


# How far paper may be from live, as a part of the turnover: docs/PAPER.md has the reasons.
TAKER = {"funding_usd": D("0.000002"), "fees_usd": D("0.000005"), "slippage_usd": D("0.00005"),
         "basis_usd": D("0.00005"), "net_usd": D("0.0001")}  # fmt: skip


@pytest.mark.timeout(300)
def test_paper_comes_to_what_live_comes_to() -> None:
    """Taking liquidity: the same entries and exits, the same payments, cents apart."""
    live, paper = (lived(kind(case_of(3)), HOURS) for kind in (Live, OnPaper))
    ours, theirs = figures(paper), figures(live)
    both = {name: f"{theirs[name]:.6f} {ours[name]:.6f}" for name in ours}
    for world in (live, paper):
        assert world.bot.state.account.residual_usd == ZERO
        assert all(isinstance(c.phase, Idle) for c in world.bot.state.carries.values())
    assert abs(ours["turnover_usd"] / theirs["turnover_usd"] - 1) < D("0.001"), both
    for name, part in TAKER.items():
        assert abs(ours[name] - theirs[name]) <= part * theirs["turnover_usd"], (name, both)
    assert ours["external_usd"] == theirs["external_usd"] == 0
    hours = {row["time"] // HOUR_MS for row in paper.paper.exchange.accounts[paper.account].fundings
             + list(paper.paper.exchange.accounts[paper.account].transfers)}  # fmt: skip
    assert len(hours) >= HOURS - 1
    assert not live.exchange.audit()
    assert not paper.paper.exchange.audit()
    assert not paper.exchange.accounts[paper.account].fills, "paper sent something to the venue"


# --- what a resting order waits for ---------------------------------------------------------------


@pytest.fixture(scope="module")
def held() -> OnPaper:
    world = OnPaper(case_of(5))
    world.until_hour(1)
    assert {type(c.phase) for c in world.bot.state.carries.values()} == {HedgeOk}
    return world


def place(world: OnPaper, no: int, **changes: Any) -> Place:
    book = world.venue._live.book("HYPE", Leg.SPOT).book
    given: dict[str, Any] = {
        "intent": no, "coin": "HYPE", "leg": Leg.SPOT, "side": Side.BUY, "px": book.bid_px,
        "sz": D(2), "tif": Tif.GTC, "reduce_only": False, "cloid": f"0x{no:032x}",
        "nonce": world.exchange.now + no, "expires_ms": world.exchange.now + 9_000, "why": "t",
    }  # fmt: skip
    return Place(**{**given, **changes})


def at(bid: D, ask: D) -> Book:
    return Book((Level(bid, D(100)),), (Level(ask, D(100)),), 0)


@pytest.mark.parametrize("side", list(Side))
def test_a_touch_is_no_fill_and_a_trade_through_is(held: OnPaper, side: Side) -> None:
    ex, account = held.paper.exchange, held.paper.exchange.accounts[held.account]
    book = held.venue._live.book("HYPE", Leg.SPOT).book
    buys, tick = side is Side.BUY, D("0.001")
    px = book.bid_px if buys else book.ask_px
    no = 901 if buys else 902
    placed = held.venue.write(place(held, no, side=side, px=px))
    assert isinstance(placed, Accepted)
    assert placed.resting
    before = len(account.fills)
    ex.see_book("HYPE", Leg.SPOT, at(px - tick, px) if buys else at(px, px + tick))
    assert len(account.fills) == before, "the queue at the price may be ahead of it"
    beyond = at(px - 2 * tick, px - tick) if buys else at(px + tick, px + 2 * tick)
    ex.see_book("HYPE", Leg.SPOT, beyond)
    assert len(account.fills) == before + 1
    assert (D(account.fills[-1]["px"]), D(account.fills[-1]["sz"])) == (px, D(2))
    assert account.fills[-1]["crossed"] is False


def test_an_order_that_takes_meets_the_depth_that_is_there(held: OnPaper) -> None:
    book = held.venue._live.book("HYPE", Leg.SPOT).book
    second = book.asks[1].px
    want = book.asks[0].sz + book.asks[1].sz
    taken = held.venue.write(
        place(held, 903, px=second, sz=min(want, D(60)) * 1 + D(1), tif=Tif.IOC)
    )
    assert isinstance(taken, Accepted | Refused)
    if isinstance(taken, Accepted):
        assert taken.filled_sz <= want


def test_an_order_is_not_sent_where_the_live_book_cannot_be_read(held: OnPaper) -> None:
    until_ms = held.exchange.now + 1_000
    dark = Condition("F50", until_ms, carry=lambda call: (503, b"down"))
    order = place(held, 904)
    held.storm.hold(dark)
    outcome = held.venue.write(order)
    held.storm.conditions.clear()
    assert isinstance(outcome, NotSent)
    assert "live book" in outcome.why


# --- time away ------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_what_was_settled_while_nobody_looked_is_paid_on_return(tmp_path: Path) -> None:
    """Six hours away: each is paid at the rate the venue charged, and every cent is explained."""
    world = OnPaper.kept(case_of(7), tmp_path / "paper.json")
    world.until_hour(2)
    before = dict(world.bot.state.carries)
    world.restart(6 * HOUR_MS)
    world.until_hour(9)
    state = world.bot.state
    rows = world.db.cursor().execute("SELECT coin, at_ms, rate FROM funding").fetchall()
    paid = {(coin, at_ms // HOUR_MS): D(rate) for coin, at_ms, rate in rows}
    start = world.exchange.market.start_ms // HOUR_MS
    for coin in COINS:
        assert state.carries[coin].spot_sz == before[coin].spot_sz, "it began again"
        for hour in range(start + 1, start + 9):
            charged = world.exchange.funding.charged(coin, hour)
            assert charged is not None
            assert paid[(coin, hour)] == charged[0]
    assert state.account.residual_usd == ZERO


def test_a_rate_that_is_told_late_is_owed_and_then_paid(held: OnPaper) -> None:
    """The size of the hour counts, not the one at the time of payment."""
    ex, account = held.paper.exchange, held.paper.exchange.accounts[held.account]
    asset = ex.coins["HYPE"].perp
    szi, hour = account.szi(asset.asset_id), ex.paid_hour + 1
    cash = account.cash()
    ex.market.prints.pop(("HYPE", hour), None)
    ex.funding.pay(hour)
    mine = [one for one in ex.funding.owed if one.coin == "HYPE"]
    assert [(one.hour, one.szi) for one in mine] == [(hour, szi)]
    assert account.cash() == cash
    ex.see_print("HYPE", hour * HOUR_MS + 40, D("0.0001"))
    ex.funding.settle()
    assert account.cash() - cash == (-mine[0].worth * D("0.0001")).quantize(D("0.000001"))
    assert "HYPE" not in [one.coin for one in ex.funding.owed]
    ex.funding.owed = []


def test_an_hour_that_the_venue_left_out_is_paid_by_nobody(held: OnPaper) -> None:
    """Once a later one was told it will not come: it is asked for no longer."""
    ex, account = held.paper.exchange, held.paper.exchange.accounts[held.account]
    hour, cash = max(hour for _, hour in ex.market.prints) + 5, account.cash()
    ex.funding.pay(hour)
    ex.funding.settle()
    assert {one.hour for one in ex.funding.owed} == {hour}
    for coin in COINS:
        ex.see_print(coin, (hour + 1) * HOUR_MS + 40, D("0.0001"))
    ex.funding.settle()
    assert (ex.funding.owed, account.cash()) == ([], cash)


# --- the command ----------------------------------------------------------------------------------

MAINNET = """\
venue: {{name: hyperliquid, network: mainnet, base_url: '{url}', ws_url: '{ws}'}}
markets: [{{base: HYPE}}]
"""


def until_filled(journal: Path, bot: "subprocess.Popen[str]") -> int:
    """Fills of both legs, as far as they come within a minute."""
    for _ in range(240):
        time.sleep(0.25)
        if bot.poll() is not None:
            return 0
        with contextlib.suppress(NoJournal, sqlite3.Error, JournalRefused):
            reader = Reader(str(journal))
            legs = reader.rows("SELECT count(DISTINCT leg) FROM fills")[0][0]
            reader.close()
            if legs == 2:
                return int(legs)
    return 0


@pytest.mark.timeout(120)
def test_mainnet_on_paper_needs_neither_key_nor_account(tmp_path: Path) -> None:
    with serve("--clock", "wall", "--speed", "1", "--port", "0", "--seed", "4") as venue:
        (tmp_path / "config.yaml").write_text(MAINNET.format(url=venue.url, ws=venue.ws_url))
        bot = subprocess.Popen(
            [sys.executable, "-m", "carry", "run", "--paper"], cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "CARRY_LOCK_DIR": str(tmp_path)},
        )  # fmt: skip
        try:
            fills = until_filled(tmp_path / "data/paper.db", bot)
        finally:
            bot.terminate()
            said = bot.communicate(timeout=30)[0]
    assert fills >= 2, said
    assert bot.returncode == 0, said
    reader = Reader(str(tmp_path / "data/paper.db"))
    assert reader.meta("network") == "paper mainnet"
    reader.close()
    account = tmp_path / "data/paper.json"
    assert account.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "data/carry.db").exists()


def test_an_account_needs_the_markets_it_was_made_with(tmp_path: Path, held: OnPaper) -> None:
    """Whatever the config says by now; and a damaged file says what to do."""
    file = tmp_path / "paper.json"
    markets = held.venue._live.markets(COINS).markets
    given: dict[str, Any] = {"funds_usd": D(500), "mode": "unified", "file": file}
    assert kept_coins(file) == ()
    PaperAccount(held.account, markets, held.exchange.now, **given)
    assert kept_coins(file) == COINS
    only = {"HYPE": markets["HYPE"]}
    with pytest.raises(JournalRefused, match="does not list one of its markets"):
        PaperAccount(held.account, only, held.exchange.now, **given)
    file.write_text("{")
    for damaged in (kept_coins, lambda f: PaperAccount(held.account, markets, 0, **given)):
        with pytest.raises(JournalRefused, match="to begin anew"):
            damaged(file)
