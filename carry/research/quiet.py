"""Which hours of a run decide nothing, so that the bot may sleep through them.

A tick is left out only where a bound on each of core's own conditions shows that it would change
nothing: no market can be entered, left, switched, resized, hedged anew, or stopped. Bounds are wide
(the cheapest cost, the best price), so an hour in doubt is decided by the bot. What such a tick
would leave behind, the high-water mark, is set as it would have been. A test runs both ways.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import attrs

from carry.core import economics, ledger, risk, sizing
from carry.core.num import BPS, ONE, ZERO
from carry.core.policy import INTERVAL_MS, Policy
from carry.core.state import Carry, Condition, Forecast, HedgeOk, Idle, Seen, State
from carry.core.types import Book, Fees, FundingPrint, Leg, Level
from carry.exchange.assets import Asset
from carry.exchange.bars import Track
from carry.exchange.listener import level_of
from carry.exchange.paths import HOUR_MS, MINUTE_MS
from carry.exchange.text import units

if TYPE_CHECKING:
    from .hourly import Run

BACK_H: Final = 480  # of prints that the bot reads at its start
SLEEP_H_MAX: Final = 160
ROWS_MAX: Final = 480  # of payments in one page of the venue's history, with room
NEAR: Final = 0.01  # of a price or a size: what book and bar may differ by
DRAWDOWN_PART: Final = 0.8
AWAY: Final = 0.03  # of the price: room above the distance at which both legs shrink
CALM: Final = 0.05  # of the price: further than this from liquidation at an hour's high
EPSILON: Final = Decimal("0.000002")

Forecasts = Mapping[str, Mapping[int, Forecast]]
"""By coin and hour: what the bot's forecast is once that hour's print is read."""


def forecasts_of(
    tracks: Mapping[str, Track], policy: Policy, start_hour: int, end_hour: int
) -> Forecasts:
    """Core's own fold, print by print; the same for every run over the same recording."""
    return {
        coin: dict(_folded(track, policy, start_hour, end_hour)) for coin, track in tracks.items()
    }


def _folded(
    track: Track, policy: Policy, start_hour: int, end_hour: int
) -> Sequence[tuple[int, Forecast]]:
    found: list[tuple[int, Forecast]] = []
    last: Forecast | None = None
    for hour in range(start_hour - BACK_H, end_hour):
        printed = track.prints.get(hour)
        if printed is not None:
            last = economics.fold(
                last,
                (FundingPrint(at_ms=hour * HOUR_MS, rate=printed.rate),),
                halflife_h=policy.strategy.forecast_halflife_h,
                interval_ms=track.interval_h * HOUR_MS,
                rate_max=policy.risk.max_funding_rate,
            )
        if last is not None:
            found.append((hour, last))
    return found


@attrs.frozen(kw_only=True)
class _Held:
    """A carry as floats: sizes, the prices it is valued at, and what funding it was paid."""

    coin: str
    spot: float
    perp: float
    spot_px: float
    perp_px: float


class Quiet:
    """Answers for one run: the next hour that must be decided."""

    def __init__(self, run: "Run", forecasts: Forecasts) -> None:
        self._run, self._forecasts = run, forecasts
        self._least: dict[str, tuple[Fees, economics.Cost]] = {}
        self._tracks = run.setup.tracks
        self._base = run.setup.start_hour - 1
        self._closes = {coin: self._seen(track) for coin, track in self._tracks.items()}

    def until(self, hour: int) -> int:
        """The first hour from `hour` on whose tick may change something.

        The state's high-water mark is raised to what the hours before it came to.
        """
        state = self._run.bot.state
        if self._open(state):
            return hour
        held = [self._held(c) for c in state.carries.values() if c.spot_sz or c.perp_sz]
        net = float(ledger.total(state).net_usd)
        high, peak = float(state.high_water_usd), None
        cash = self._cash()
        limit = hour + min(SLEEP_H_MAX, ROWS_MAX // max(1, len(held)))
        end = self._run.setup.end_hour
        begin = calm = hour
        enters = False
        # What is left below a lot is swept as the day begins, and is told by the next read.
        dust = any(one.spot and not one.perp for one in held)
        while hour < min(limit, end) and not self._run.is_month(hour):
            if dust and not hour % 24:
                break
            paid = self._paid(held, hour)
            net += paid
            cash += paid
            now = net + sum(self._moved(one, hour) for one in held)
            if now > high:
                high, peak = now, hour
            falls = high - now > DRAWDOWN_PART * float(state.policy.risk.max_drawdown_usd)
            falls = falls and "drawdown" not in state.latches
            if falls or self._may_act(state, held, hour, cash):
                break
            enters = self._may_enter(state, held, hour, cash)
            if enters:
                break
            if calm == hour and self._calm(state, held, hour, cash):
                calm += 1
            hour += 1
        # An entry asks that equity was explained within the hour, so the hour before is awake too.
        wakes = max(begin, hour - 1) if enters else hour
        # The quotes before an hour's decision are those of the close before it.
        self._run.exchange.calm_until_ms = min(calm, wakes) * HOUR_MS
        if peak is not None and peak < wakes:
            self._run.bot.state = self._marked(state, peak)
        return wakes

    # --- what is not settled ----------------------------------------------------------------------

    def _open(self, state: State) -> bool:
        """Whether anything but a hold goes on; then no hour is left out."""
        account = state.account
        stops = any(latch.mode not in ("entries", "reduce") for latch in state.latches.values())
        known = account.fees is not None and account.baseline_usd is not None
        shut = state.protected_ms is None or state.condition is not Condition.OPEN
        if stops or shut or not known:
            return True
        return any(self._unsettled(state, carry) for carry in state.carries.values())

    def _unsettled(self, state: State, carry: Carry) -> bool:
        phase = carry.phase
        settled = isinstance(phase, Idle) or (
            isinstance(phase, HedgeOk) and phase.leaving_ms is None and phase.shrink is None
        )
        odd = carry.doubts or carry.repair or carry.unaligned or carry.broken or carry.grows
        foreign = carry.foreign_spot or carry.foreign_perp
        setting, lever = carry.leverage, state.policy.execution.perp_leverage
        wrong = setting is None or setting.value != lever or not setting.cross
        seen = len(carry.books) == len(Leg) and carry.market is not None
        return not settled or bool(odd) or bool(foreign) or wrong or not seen

    def _held(self, carry: Carry) -> _Held:
        spot_px, perp_px = ledger.price(carry, Leg.SPOT), ledger.price(carry, Leg.PERP)
        assert spot_px is not None
        assert perp_px is not None
        return _Held(
            coin=carry.coin,
            spot=float(carry.spot_sz),
            perp=float(carry.perp_sz),
            spot_px=float(spot_px),
            perp_px=float(perp_px),
        )

    def _cash(self) -> float:
        """USD of the account as if every position had been closed at its cost."""
        account = self._run.account
        cost = sum((p.cost for p in account.positions.values()), ZERO)
        return float(account.cash() - cost)

    def _seen(self, track: Track) -> list[tuple[float, float]]:
        setup = self._run.setup
        back = setup.later - 1
        found = []
        for hour in range(self._base, setup.end_hour + SLEEP_H_MAX):
            perp = track.perp.at(hour + back).close / 1e8
            spot = perp if track.spot is None else track.spot.at(hour + back).close / 1e8
            found.append((spot, perp))
        return found

    # --- an hour ----------------------------------------------------------------------------------

    def _px(self, coin: str, hour: int) -> tuple[float, float]:
        """Spot and perp as the decision of an hour sees them: at the close before it."""
        return self._closes[coin][hour - self._base]

    def _paid(self, held: Sequence[_Held], hour: int) -> float:
        paid = 0.0
        for one in held:
            printed = self._tracks[one.coin].prints.get(hour)
            if printed is not None:
                paid -= one.perp * self._px(one.coin, hour)[1] * float(printed.rate)
        return paid

    def _moved(self, one: _Held, hour: int) -> float:
        spot, perp = self._px(one.coin, hour)
        return one.spot * (spot - one.spot_px) + one.perp * (perp - one.perp_px)

    def _may_act(self, state: State, held: Sequence[_Held], hour: int, cash: float) -> bool:
        if any(self._may_resize(state, one, hour) for one in held):
            return True
        if self._near(state, held, hour, cash):
            return True
        for one in held:
            carry = state.carries[one.coin]
            if isinstance(carry.phase, HedgeOk) and self._may_leave(state, carry, hour):
                return True
        return False

    def _may_enter(self, state: State, held: Sequence[_Held], hour: int, cash: float) -> bool:
        if any(latch.mode == "reduce" for latch in state.latches.values()):
            return False
        idle = [c for c in state.carries.values() if isinstance(c.phase, Idle)]
        for carry in idle:
            least, most = self._room(state, carry, held, hour, cash)
            if most and self._pays(state, carry, hour, least):
                return True
            freed = self._switches(state, carry, held, hour)
            if freed and self._pays(state, carry, hour, freed):
                return True
        return False

    def _may_resize(self, state: State, one: _Held, hour: int) -> bool:
        """Whether the hedge, dust, or a cap may ask for an order at this hour's price."""
        policy, carry = state.policy, state.carries[one.coin]
        if isinstance(carry.phase, Idle):
            return bool(carry.perp_sz)
        assert carry.market is not None
        spot, perp = self._px(one.coin, hour)
        px = Decimal(str(perp))
        band = float(sizing.band_usd(policy, carry.market, px))
        delta = abs(one.spot * float(policy.strategy.hedge_ratio) + one.perp)
        if delta * perp * (1 + NEAR) > band * (1 - NEAR):
            return True
        worth = one.spot * min(spot, perp)
        if worth * (1 - NEAR) < float(policy.strategy.min_exposure_usd):
            return True
        hard = policy.risk.hard_cap
        return hard is not None and one.spot * max(spot, perp) * (1 + NEAR) > float(hard)

    def _near(self, state: State, held: Sequence[_Held], hour: int, cash: float) -> bool:
        """Whether liquidation may be as near as what both legs shrink for."""
        prices = {one.coin: self._px(one.coin, hour)[1] for one in held}
        bound = float(state.policy.risk.liq_distance_min) + AWAY
        return self._distance(state, held, prices, cash) < bound

    def _calm(self, state: State, held: Sequence[_Held], hour: int, cash: float) -> bool:
        """Whether the extremes of an hour's bar leave all positions far from liquidation."""
        later = self._run.setup.later
        prices = {one.coin: self._tracks[one.coin].perp.at(hour + later).high / 1e8 for one in held}
        return self._distance(state, held, prices, cash) > CALM

    def _distance(
        self, state: State, held: Sequence[_Held], prices: Mapping[str, float], cash: float
    ) -> float:
        """How far all shorts may rise from these prices before liquidation, as a fraction."""
        room, exposure = cash, 0.0
        for one in held:
            market = state.carries[one.coin].market
            assert market is not None
            worth = -one.perp * prices[one.coin] * (1 + float(market.perp.maintenance_rate))
            room -= worth
            exposure += worth
        return room / exposure if exposure > 0 else 1.0

    def _forecast(self, coin: str, hour: int) -> Forecast | None:
        return self._forecasts[coin].get(hour)

    def _may_leave(self, state: State, carry: Carry, hour: int) -> bool:
        forecast = self._forecast(carry.coin, hour)
        if forecast is None:
            return False
        horizon, interval = state.policy.strategy.horizon_h, state.capabilities.interval_h
        rate = forecast.rate - EPSILON * EPSILON
        return economics.staying_loses(rate, horizon, interval, self._cheapest(state, carry))

    def _pays(self, state: State, carry: Carry, hour: int, least_usd: float) -> bool:
        """Whether an entry would pass what it must earn: first at the least cost there ever is,
        then by the books of the hour, which must be near the oracle and narrow too.
        """
        forecast = self._forecast(carry.coin, hour)
        if forecast is None or not self._earns(state, forecast, self._cheapest(state, carry)):
            return False
        at_ms = hour * HOUR_MS + self._run.decide_ms
        coin, limits = self._run.exchange.coins[carry.coin], state.policy.risk
        spot, perp = self._book(coin.spot, at_ms), self._book(coin.perp, at_ms)
        oracle = units(self._run.exchange.quotes.oracle(coin.perp, at_ms), coin.perp.px_decimals)
        for book in (spot, perp):
            apart = abs(book.mid_px / oracle - ONE) / BPS
            if book.spread_bps > limits.max_spread_bps + 1 or apart > limits.max_basis_bps + 1:
                return False
        if self._wild(state.policy, carry.coin, hour):
            return False
        sz = Decimal(str(round(least_usd, 2))) / spot.ask_px
        resting = economics.resting_share(state.policy.execution)
        cost = economics.cost(self._fees(state), spot, perp, sz, resting)
        return cost is not None and self._earns(state, forecast, cost)

    def _wild(self, policy: Policy, coin: str, hour: int) -> bool:
        """Whether the closes up to an hour are wilder than any entry is allowed."""
        wanted, market = policy.strategy.volatility, self._run.exchange.market
        minutes = INTERVAL_MS[wanted.interval] // MINUTE_MS
        last = hour * 60 // minutes * minutes
        logs = []
        for minute in range(last - (wanted.window - 1) * minutes, last + 1, minutes):
            of = (minute - 1) // 60
            logs.append(math.log(market.path(coin, of).perp[minute - of * 60]))
        a_year = economics.HOURS_A_YEAR * 60 / minutes
        steps = [now - then for then, now in pairwise(logs)]
        mean = sum(steps) / len(steps)
        variance = sum((step - mean) ** 2 for step in steps) / (len(steps) - 1)
        measured = math.sqrt(variance * a_year)
        return measured > float(wanted.max) * (1 + 2 * NEAR)

    def _earns(self, state: State, forecast: Forecast, cost: economics.Cost) -> bool:
        strategy, interval = state.policy.strategy, state.capabilities.interval_h
        best = economics.expected_net(forecast.rate, strategy.horizon_h, interval, cost) + EPSILON
        return economics.worth(best, strategy).enough(strategy)

    def _book(self, asset: Asset, at_ms: int) -> Book:
        """The book of an instant, before anybody took from it."""
        quotes = self._run.exchange.quotes
        bids, asks = (
            tuple(level_of(asset, px, sz) for px, sz in ladder)
            for ladder in (
                quotes.ladder(asset, bids=True, time_ms=at_ms),
                quotes.ladder(asset, bids=False, time_ms=at_ms),
            )
        )
        return Book(bids, asks, at_ms)

    def _fees(self, state: State) -> Fees:
        assert state.account.fees is not None
        return economics.fees_in_force(state.policy.fees, state.account.fees)

    def _switches(
        self, state: State, idle: Carry, held: Sequence[_Held], hour: int
    ) -> float | None:
        """The least USD of an entry with a held market's money, if that may gain enough."""
        policy, mine = state.policy, self._forecast(idle.coin, hour)
        freed: list[float] = []
        for one in held:
            carry, theirs = state.carries[one.coin], self._forecast(one.coin, hour)
            if not isinstance(carry.phase, HedgeOk) or not economics.pays_more(mine, theirs):
                continue
            assert mine is not None
            assert theirs is not None
            gain = economics.switch_gain(
                policy.strategy,
                state.capabilities.interval_h,
                (theirs.rate, self._cheapest(state, carry)),
                (mine.rate, self._cheapest(state, idle)),
            )
            if economics.switches(policy.strategy, gain + EPSILON):
                freed.append(one.spot * self._px(one.coin, hour)[0])
        if not freed:
            return None
        target = float(policy.strategy.target_usd_notional)
        spare = 1 - float(policy.risk.collateral_buffer)
        least = min(target, *freed) * spare * (1 - 10 * NEAR)
        return max(least, float(policy.strategy.min_exposure_usd))

    def _room(
        self, state: State, idle: Carry, held: Sequence[_Held], hour: int, cash: float
    ) -> tuple[float, float]:
        """(least, most) USD that an entry of this market would have as it is; (0, 0) when caps,
        money or core's own gate on crumbs leave it nothing.
        """
        policy = state.policy
        lever, spare = policy.execution.perp_leverage, 1 - float(policy.risk.collateral_buffer)
        exposure = used = better = 0.0
        equity = cash
        mine = self._forecast(idle.coin, hour)
        for one in held:
            spot, perp = self._px(one.coin, hour)
            if one.perp:
                worth = max(one.spot, -one.perp) * spot
                exposure += worth
                if economics.pays_more(mine, self._forecast(one.coin, hour)):
                    better = max(better, worth)
            equity += one.perp * perp
            used -= one.perp * perp / lever
        caps = policy.risk
        target = float(min(policy.strategy.target_usd_notional, caps.per_symbol_notional_cap))
        cap = float(caps.portfolio_notional_cap) - exposure
        money = (equity - used) * spare * lever / (1 + lever)
        most = min(target, cap, money) * (1 + NEAR) + NEAR
        smallest = float(policy.strategy.min_exposure_usd)
        if better:
            # Crumbs of what a lesser carry leaves are not entered: core's own gate.
            whole = min(target, cap + better, max(money, 0.0) + better * spare)
            if most < float(risk.CRUMBS) * whole * (1 - 2 * NEAR):
                return 0.0, 0.0
        if most < smallest:
            return 0.0, 0.0
        # Both legs must keep liquidation far, which is not worked out here: then all sizes may be.
        far = equity / (1 + float(caps.liq_distance_target) * 2)
        least = min(target, cap, money / (1 + NEAR), far - exposure) * (1 - 5 * NEAR)
        return max(least, smallest), most

    def _cheapest(self, state: State, carry: Carry) -> economics.Cost:
        """The least that a round trip can cost: fees, and the narrowest spread the books show."""
        found = self._least.get(carry.coin)
        if found is not None and found[0] == state.account.fees:
            return found[1]
        assert state.account.fees is not None
        coin = self._run.exchange.coins[carry.coin]
        resting = economics.resting_share(state.policy.execution)
        spot, perp = _narrowest(coin.spot), _narrowest(coin.perp)
        least = economics.cost(self._fees(state), spot, perp, ONE, resting)
        assert least is not None
        self._least[carry.coin] = (state.account.fees, least)
        return least

    # --- what a quiet hour leaves behind ----------------------------------------------------------

    def _marked(self, state: State, hour: int) -> State:
        """The state with the high-water mark of an hour slept through, from exact figures."""
        at_ms = hour * HOUR_MS + self._run.decide_ms
        total = ledger.Pnl()
        for carry in state.carries.values():
            coin = self._run.exchange.coins[carry.coin]
            quotes = {
                leg.value: self._quoted(carry, leg, asset, at_ms)
                for leg, asset in ((Leg.SPOT, coin.spot), (Leg.PERP, coin.perp))
            }
            total = total.plus(ledger.pnl(attrs.evolve(carry, quotes=quotes)))
        net = total.net_usd + self._receipts(state, hour)
        high = max(state.high_water_usd, net)
        return attrs.evolve(state, high_water_usd=high)

    def _quoted(self, carry: Carry, leg: Leg, asset: Asset, at_ms: int) -> Seen:
        touch = self._run.exchange.quotes.touch(asset, at_ms)
        bid, ask = ((Level(units(px, asset.px_decimals), ONE),) for px in touch)
        return attrs.evolve(carry.quotes[leg.value], book=Book(bid, ask, at_ms))

    def _receipts(self, state: State, hour: int) -> Decimal:
        """Funding from after the last decision up to an hour, as the exchange will book it."""
        total = ZERO
        now_hour = (state.venue_ms or 0) // HOUR_MS
        for carry in state.carries.values():
            if not carry.perp_sz:
                continue
            perp = self._run.exchange.coins[carry.coin].perp
            for at in range(now_hour + 1, hour + 1):
                printed = self._tracks[carry.coin].prints.get(at)
                if printed is not None:
                    px = self._run.exchange.quotes.oracle(perp, at * HOUR_MS)
                    oracle = units(px, perp.px_decimals)
                    usd = -carry.perp_sz * oracle * printed.rate
                    total += usd.quantize(Decimal("0.000001"))
        return total


def _narrowest(asset: Asset) -> Book:
    """A book as narrow as the model ever quotes it, of one unit a side, around 1."""
    half = Decimal(asset.half_spread_e9[0]).scaleb(-9) * Decimal("0.99")
    return Book((Level(ONE - half, ONE),), (Level(ONE + half, ONE),), 0)
