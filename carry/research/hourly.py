"""The bot's loop over the exchange by values, an hour a tick: one run of a backtest.

Everything of the bot is the real thing: gather, step, guard, execute. The clock is the exchange's;
it sleeps from one decision to the next and is awake while something is being worked.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Final

import attrs

from carry.base.clock import Streaming
from carry.base.secrets import Redactor
from carry.core import ledger
from carry.core.actions import Note
from carry.core.num import ZERO
from carry.core.observations import BookSeen, Event
from carry.core.policy import Policy
from carry.core.state import Enter, Exit, HedgeOk, State
from carry.core.types import Book, Fill, FundingReceipt, Leg
from carry.exchange.assets import USDC_TOKEN
from carry.exchange.bars import OPEN_MINUTE, STEP_MS, Bars, Track
from carry.exchange.direct import Direct, Throttled
from carry.exchange.listener import level_of
from carry.exchange.model import Exchange
from carry.exchange.paths import HOUR_MS, MINUTE_MS
from carry.shell.by_value import DirectVenue, Unmetered
from carry.shell.embedded import play_account
from carry.shell.logs import EventLog
from carry.shell.loop import Bot, Manner
from carry.shell.value_calls import Call
from carry.shell.value_journal import Said, ValueJournal
from carry.shell.value_stream import LocalLink, OwnFeed, ValueStream

from .quiet import Forecasts, Quiet, forecasts_of
from .quoting import coins_of

AGENT: Final = "0x" + "a" * 40
NEVER_MS: Final = 1 << 60
LATENCY_MS: Final = 200
WORKING_MS: Final = 1_000
KEPT_ROWS: Final = 2_000
"""Rows of payments the exchange's account keeps: reading more of them every hour is all the time
there is."""


@attrs.frozen(kw_only=True)
class Setup:
    """One run. capital_usd: what the account begins with. slippage: factor on spread and inverse
    depth. later: hours by which prices come after decisions. latency_ms: there and back of an
    order. end_hour: the hour since the epoch before which the last decision is made. awake: hours
    that decide nothing are not slept through. forecasts: of this recording, where they are known.
    """

    policy: Policy
    tracks: Mapping[str, Track]
    start_hour: int
    end_hour: int
    capital_usd: Decimal
    slippage: Decimal = Decimal(1)
    later: int = 0
    latency_ms: int = LATENCY_MS
    mode: str = "unified"
    seed: int = 1
    awake: bool = False
    forecasts: Forecasts | None = None


@attrs.frozen(kw_only=True)
class Shot:
    """The books after a decision. markets: PnL by coin; judged_usd: change of the account's value
    by the exchange's own figures, at the ledger's prices.
    """

    at_ms: int
    markets: Mapping[str, ledger.Pnl]
    judged_usd: Decimal

    @property
    def total(self) -> ledger.Pnl:
        result = ledger.Pnl()
        for pnl in self.markets.values():
            result = result.plus(pnl)
        return result

    @property
    def residual_usd(self) -> Decimal:
        """What the ledger does not explain of the exchange's own figures: 0."""
        return self.judged_usd - self.total.net_usd


@attrs.frozen(kw_only=True)
class Lived:
    """What a run came to. shots: the books at its start, at the first decision of each month, and
    at its end. ticks: decisions made; hours: hours passed.
    """

    state: State
    shots: Sequence[Shot]
    fills: Sequence[Fill]
    receipts: Sequence[FundingReceipt]
    said: Sequence[Said]
    crashes: Sequence[str]
    ticks: int
    hours: int

    @property
    def pnl(self) -> ledger.Pnl:
        return self.shots[-1].total

    @property
    def residual_usd(self) -> Decimal:
        """The largest residual of all shots: 0."""
        return max((shot.residual_usd for shot in self.shots), key=abs)

    def notes(self, event: str) -> list[tuple[int, Note]]:
        """(time in ms, note) of every note of that name."""
        return [
            (one.at_ms, one.what)
            for one in self.said
            if isinstance(one.what, Note) and one.what.event == event
        ]


class HourStream(ValueStream):
    """A stream that never breaks, and tells the touch when it moved since it was last drained.

    Hearing every step of every book would be most of a run's time, for quotes that nobody reads.
    """

    def __init__(self, link: LocalLink, clock: "HourClock", account: str, run: "Run") -> None:
        super().__init__(link, OwnFeed(account), clock)
        self._run, self._step = run, -1

    def _tend(self) -> None:
        pass

    def drain(self) -> tuple[tuple[Event, ...], tuple[str, ...]]:
        events, gaps = super().drain()
        step = self._run.exchange.now // STEP_MS
        if step != self._step:
            self._step = step
            # Before what happened: it is valued at prices of its own time.
            events = (*self._run.touches(), *events)
        return events, gaps


class HourClock:
    """Exchange time, which passes only here. `decide_ms`: when in an hour decisions are made."""

    def __init__(self, exchange: Exchange, link: LocalLink, decide_ms: int) -> None:
        self._ex, self._link, self._decide_ms = exchange, link, decide_ms
        self._nap_ms = WORKING_MS
        self.works: Callable[[], bool] = lambda: False
        self.next_hour: Callable[[int], int] = lambda hour: hour

    def mono_ms(self) -> int:
        return self._ex.now

    def wall_ms(self) -> int:
        return self._ex.now

    def venue_ms(self) -> int | None:
        return self._ex.now

    def saw_venue(self, at_ms: int, sent_mono_ms: int) -> None:
        pass

    def journal_id(self, account: str) -> int:
        return self._ex.seed

    def sync(self, venue: Streaming) -> None:
        pass

    def wait(self, venue: Streaming, ms: int) -> bool:
        """Sleep to the next decision; shortly while something is worked, and longer each time that
        nothing came of it, for between two steps of the quotes only clocks move.
        """
        ex = self._ex
        if ms <= WORKING_MS:
            self._nap_ms, until = WORKING_MS, ex.now + ms
        elif self.works():
            left_ms = STEP_MS - ex.now % STEP_MS
            until = ex.now + min(self._nap_ms, left_ms)
            self._nap_ms *= 2
        else:
            self._nap_ms = WORKING_MS
            until = self._decision()
        ex.advance(until, waking=self._link.session)
        return venue.stream.poll(0)

    def _decision(self) -> int:
        hour = (self._ex.now - self._decide_ms) // HOUR_MS + 1
        return self.next_hour(hour) * HOUR_MS + self._decide_ms


class HourBot(Bot):
    """The real loop without its rendering, which decides nothing."""

    def _say(self, *args: Any) -> None:
        self._missed.clear()


class Run:
    """One run, from the first decision to the last. See `Setup`."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        market = Bars("backtest", setup.tracks, setup.start_hour, later=setup.later)
        self.exchange = Exchange(
            market, seed=setup.seed, limits=False, step_ms=STEP_MS,
            known=coins_of(setup.tracks, setup.slippage),
        )  # fmt: skip
        self.exchange.funding.foretells = False
        self.address = play_account().lower()
        # An order of the decision arrives as the quotes move to the bar's open.
        self.decide_ms = decide_ms = OPEN_MINUTE * MINUTE_MS - setup.latency_ms // 2
        start_ms = setup.start_hour * HOUR_MS + decide_ms
        self.exchange.set_start(start_ms - decide_ms)
        self.account = self.exchange.open_account(
            self.address, mode=setup.mode, usdc=setup.capital_usd
        )
        self.exchange.approve(AGENT, self.address)
        self.exchange.advance(start_ms)  # what was paid in lies before the first look
        for coin in self.exchange.coins.values():
            self.account.leverage[coin.perp.asset_id] = setup.policy.execution.perp_leverage
        self.direct = Direct(self.exchange, self.address, free=True)
        link = LocalLink(self.exchange, self.direct, "backtest")
        self.clock = HourClock(self.exchange, link, decide_ms)
        self.venue = self._venue(link)
        self.journal = ValueJournal(setup.seed)
        self.venue.stream.start()
        self.bot = HourBot(
            venue=self.venue,
            clock=self.clock,
            journal=self.journal,
            state=State.initial(setup.policy, self.venue.capabilities),
            policy=setup.policy,
            from_file=setup.policy,
            log=EventLog(None, Redactor(), console=False),
            manner=Manner(interval_ms=HOUR_MS),
            stop=lambda: self.exchange.now >= setup.end_hour * HOUR_MS,
        )
        self.bot.gatherer.slow_weight_max = NEVER_MS
        self.clock.works = self._works
        self._shots: list[Shot] = []
        self._quiet = None if setup.awake else Quiet(self, self._forecasts())
        self._told: Callable[[int], None] = lambda hour: None
        self.clock.next_hour = self._next_hour

    def _forecasts(self) -> Forecasts:
        setup = self.setup
        if setup.forecasts is not None:
            return setup.forecasts
        return forecasts_of(setup.tracks, setup.policy, setup.start_hour, setup.end_hour)

    def _venue(self, link: LocalLink) -> DirectVenue:
        venue = DirectVenue(
            account=self.address, signer=AGENT, coins=self.setup.policy.coins, clock=self.clock,
            direct=lambda address: self.direct, passage=self._carry, link=link,
        )  # fmt: skip
        venue.stream = HourStream(link, self.clock, self.address, self)
        venue.budget_used = Unmetered()
        interval_h = max(track.interval_h for track in self.setup.tracks.values())
        venue.capabilities = attrs.evolve(
            venue.capabilities, funding_interval_ms=interval_h * HOUR_MS
        )
        return venue

    def touches(self) -> Iterator[BookSeen]:
        """The best bid and offer of every book, as a stream tells them."""
        now = self.exchange.now
        for name, coin in self.exchange.coins.items():
            for leg, asset in ((Leg.SPOT, coin.spot), (Leg.PERP, coin.perp)):
                book = self.exchange.books[asset.asset_id]
                bid, ask = book.best(bids=True, now=now), book.best(bids=False, now=now)
                if bid is not None and ask is not None:
                    sides = [(level_of(asset, side.px, side.sz),) for side in (bid, ask)]
                    best = Book(sides[0], sides[1], now)
                    yield BookSeen(coin=name, leg=leg, book=best, seen_ms=now, full=False)

    def _carry(self, call: Call) -> tuple[int, Any]:
        """There and back: a read takes no time, an order half the latency each way."""
        assert call.do is not None
        half_ms = self.setup.latency_ms // 2 if call.is_write else 0
        if half_ms:
            self.exchange.advance(self.exchange.now + half_ms)
        try:
            answer = 200, call.do(self.address)
        except Throttled:
            answer = 429, None
        if half_ms:
            self.exchange.advance(self.exchange.now + half_ms)
        return answer

    def _works(self) -> bool:
        """Whether the next decision cannot wait for an hour."""
        state = self.bot.state
        return bool(state.intents) or any(
            isinstance(c.phase, Enter | Exit)
            or c.repair is not None
            or (
                isinstance(c.phase, HedgeOk)
                and (c.phase.leaving_ms is not None or c.phase.shrink is not None)
            )
            for c in state.carries.values()
        )

    def _next_hour(self, hour: int) -> int:
        if len(self.account.fundings) > KEPT_ROWS:
            del self.account.fundings[: -KEPT_ROWS // 2]
        if len(self.account.transfers) > KEPT_ROWS:
            del self.account.transfers[: -KEPT_ROWS // 2]
        decided = (self.exchange.now - self.decide_ms) // HOUR_MS
        if self.is_month(decided) or not self._shots:
            self._shots.append(self._shot())
        if self._quiet is not None:
            hour = self._quiet.until(hour)
        self._told(hour)
        return hour

    @staticmethod
    def is_month(hour: int) -> bool:
        """Whether a UTC month begins with this hour: there the books are kept."""
        if hour % 24:
            return False
        return datetime.fromtimestamp(hour * 3600, timezone.utc).day == 1

    def live(self, told: Callable[[int], None] = lambda hour: None) -> Lived:
        """The whole run; `told` hears each hour (since the epoch) in which a decision is made."""
        self._told = told
        state = self.bot.run()
        journal = self.journal
        return Lived(
            state=state,
            shots=(*self._shots, self._shot()),
            fills=tuple(journal.fills.values()),
            receipts=tuple(journal.receipts.values()),
            said=tuple(journal.said),
            crashes=tuple(text for _, text in journal.crashes),
            ticks=journal.seq,
            hours=self.setup.end_hour - self.setup.start_hour,
        )

    def _shot(self) -> Shot:
        state, account = self.bot.state, self.account
        value = account.perp_cash + account.spot[USDC_TOKEN].total
        for name, coin in self.exchange.coins.items():
            carry = state.carries[name]
            spot_px, perp_px = ledger.price(carry, Leg.SPOT), ledger.price(carry, Leg.PERP)
            if spot_px is not None and perp_px is not None:
                held = account.positions.get(coin.perp.asset_id)
                value += account.balance(coin.token.index).total * spot_px
                value += ZERO if held is None else held.szi * perp_px - held.cost
        return Shot(
            at_ms=state.venue_ms or 0,
            markets={name: ledger.pnl(carry) for name, carry in state.carries.items()},
            judged_usd=value - self.setup.capital_usd,
        )
