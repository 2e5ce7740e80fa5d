"""Hourly funding by the venue's formula, or as a recording printed it.

8 h rate = P + clamp(0.0001 - P, -0.0005, +0.0005); an hour is charged an eighth of it, at most 4 %.
P is the mean of the premium sampled every 5 s over the hour. > 0 means longs pay shorts.
Source: Hyperliquid docs "Funding".
"""

from collections import OrderedDict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .accounts import PORTFOLIO, Account
from .assets import PATH_DECIMALS, USDC_TOKEN, Asset
from .noise import key_of, mix
from .paths import HOUR_MS
from .text import RATE10, USD6, ZERO, near, units, wire

if TYPE_CHECKING:
    from .model import Exchange

SAMPLE_MS = 5_000
HISTORY_SAMPLE_MS = 60_000
"""Hours before the exchange began are sampled by the minute: nobody could trade in them."""

INTEREST = Decimal("0.0001")
CLAMP = Decimal("0.0005")
CAP = Decimal("0.04")
BORROW_YEARLY = Decimal("0.05")
HOURS_A_YEAR = 8_760
_E10 = 10_000_000_000
_KEPT_MEANS = 20_000


def hourly_rate(premium: Decimal) -> Decimal:
    """The hourly rate of a mean premium, ten decimals.

    >>> hourly_rate(Decimal("-0.0001875303")), hourly_rate(Decimal("-0.0004653492"))
    (Decimal('0.0000125000'), Decimal('0.0000043314'))
    """
    eight = premium + min(max(INTEREST - premium, -CLAMP), CLAMP)
    return near(min(max(eight / 8, -CAP), CAP), RATE10)


class Running:
    """The sum of an hour's premium samples so far, in 1e-10."""

    __slots__ = ("hour", "next_ms", "samples", "total")

    def __init__(self, hour: int) -> None:
        self.hour = hour
        self.next_ms = hour * HOUR_MS
        self.total = 0
        self.samples = 0


class Funding:
    """Rates of every hour, and the payments of each.

    foretells: whether the rate shown within a recorded hour walks towards the print to come, as the
    venue's does; what is judged by the recording must not be shown it.
    """

    def __init__(self, exchange: "Exchange") -> None:
        self.ex = exchange
        self._means: OrderedDict[tuple[str, int], Decimal] = OrderedDict()
        self._running: dict[str, Running] = {}
        self._next = (0, 0)
        self._stamps: dict[int, int] = {}
        self.history_sample_ms = HISTORY_SAMPLE_MS
        self.foretells = True
        self.sample_ms = SAMPLE_MS

    def stamp(self, hour: int) -> int:
        """When the payment of the hour beginning at `hour` is booked: 15 to 110 ms after it."""
        kept = self._stamps.get(hour)
        if kept is None:
            if len(self._stamps) > _KEPT_MEANS:
                self._stamps.clear()
            kept = hour * HOUR_MS + 15 + mix(key_of(self.ex.seed, "funding", hour)) % 96
            self._stamps[hour] = kept
        return kept

    def next_stamp(self, hour: int) -> int:
        """`stamp` of the hour everybody waits for, kept."""
        if self._next[0] != hour:
            self._next = (hour, self.stamp(hour))
        return self._next[1]

    def sample(self, asset: Asset, time_ms: int) -> int:
        """One premium sample, in 1e-10. Impact prices are the maker's touch (see quotes)."""
        quotes = self.ex.quotes
        bid, ask = quotes.touch(asset, time_ms)
        scale: int = 10 ** (PATH_DECIMALS - asset.px_decimals)
        oracle = quotes.oracle8(asset.base, time_ms)
        above = max(bid * scale - oracle, 0)
        below = max(oracle - ask * scale, 0)
        return (above - below) * _E10 // oracle

    def so_far(self, coin: str, time_ms: int) -> Decimal:
        """Mean premium of the current hour up to `time_ms`."""
        hour = time_ms // HOUR_MS
        running = self._running.get(coin)
        if running is None or running.hour != hour:
            running = self._running[coin] = Running(hour)
        asset = self.ex.coins[coin].perp
        while running.next_ms <= time_ms:
            running.total += self.sample(asset, running.next_ms)
            running.samples += 1
            running.next_ms += self.sample_ms
        return units(running.total // max(running.samples, 1), 10)

    def mean(self, coin: str, hour: int) -> Decimal:
        """Mean premium of the whole hour that begins at `hour`."""
        kept = self._means.get((coin, hour))
        if kept is not None:
            return kept
        begin = hour * HOUR_MS
        step = self.sample_ms if begin >= self.ex.market.start_ms else self.history_sample_ms
        running = self._running.get(coin)
        if running is not None and running.hour == hour and step == self.sample_ms:
            mean = self.so_far(coin, begin + HOUR_MS - 1)
        else:
            asset = self.ex.coins[coin].perp
            total = sum(self.sample(asset, begin + i) for i in range(0, HOUR_MS, step))
            mean = units(total // (HOUR_MS // step), 10)
        self._means[(coin, hour)] = mean
        if len(self._means) > _KEPT_MEANS:
            self._means.popitem(last=False)
        return mean

    def charged(self, coin: str, hour: int) -> tuple[Decimal, Decimal] | None:
        """(rate, mean premium) paid at the start of `hour`; None where a recording has no print."""
        market = self.ex.market
        if market.prints_funding:
            printed = market.printed(coin, hour)
            return None if printed is None else (printed.rate, printed.premium or ZERO)
        premium = self.mean(coin, hour - 1)
        return hourly_rate(premium), premium

    def predicted(self, coin: str, time_ms: int) -> Decimal:
        """What would be charged if the hour ended now."""
        market = self.ex.market
        if not market.prints_funding:
            return hourly_rate(self.so_far(coin, time_ms))
        # A recording has no samples: the running mean walks from the last print to the next.
        hour, rest = divmod(time_ms, HOUR_MS)
        last, following = market.printed(coin, hour), market.printed(coin, hour + 1)
        if following is None or not self.foretells:
            return last.rate if last is not None else ZERO
        if last is None:
            return following.rate
        return near(last.rate + (following.rate - last.rate) * rest / HOUR_MS, RATE10)

    def pay(self, hour: int) -> None:
        """Charges every open position for the hour that ended at `hour`."""
        for coin in self.ex.coins.values():
            asset = coin.perp
            holders = [a for a in self.ex.accounts.values() if a.position(asset.asset_id)]
            if not holders:
                continue
            oracle = units(self.ex.quotes.oracle(asset, hour * HOUR_MS), asset.px_decimals)
            charged = self.charged(coin.name, hour)
            if charged is None:
                self._missing(hour, coin.name, oracle, holders)
                continue
            for account in holders:
                szi = account.positions[asset.asset_id].szi
                self._pay_one(account.address, asset, szi * oracle, szi, charged[0])
        self.charge_loans()

    def charge_loans(self) -> None:
        """An hour's interest on what portfolio accounts borrowed, to the cent of a cent."""
        for account in self.ex.accounts.values():
            usdc = account.spot[USDC_TOKEN]
            if account.mode == PORTFOLIO and usdc.total < 0:
                interest = near(-usdc.total * BORROW_YEARLY / HOURS_A_YEAR, USD6)
                usdc.total -= interest
                self.ex.house.collect(USDC_TOKEN, interest)
                self.ex.changed = True

    def _missing(self, hour: int, coin: str, oracle: Decimal, holders: list[Account]) -> None:
        """An hour without a print: nobody pays, here."""

    def _pay_one(
        self, address: str, asset: Asset, worth: Decimal, szi: Decimal, rate: Decimal
    ) -> None:
        """usdc = -szi * oracle * rate, rounded to 6 decimals; the pool keeps the other side.

        worth: szi * oracle, of the hour that is paid for.
        """
        ex = self.ex
        account = ex.accounts[address]
        position = account.positions[asset.asset_id]
        usdc = near(-worth * rate, USD6)
        if account.isolated and asset.asset_id in account.isolated:
            position.posted += usdc
        else:
            account.pay_perp(usdc)
        ex.house.funding -= usdc
        position.funding_all -= usdc
        position.funding_open -= usdc
        position.funding_change -= usdc
        row: dict[str, Any] = {
            "time": ex.now, "coin": asset.coin, "usdc": wire(usdc), "szi": wire(szi),
            "fundingRate": wire(rate), "nSamples": None,
        }
        if account.unified and ex.switches["unified_funding_row"] == "ledger":
            moved = {"time": ex.now, "hash": ex.block_hash(), "delta": {"type": "funding", **row}}
            account.transfers.append(moved)
            ex.streams.ledger(address, moved)
        else:
            account.fundings.append({**row, "hash": ex.block_hash()})
            ex.streams.funding(address, row)
        ex.changed = True
