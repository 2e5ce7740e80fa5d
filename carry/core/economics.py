"""THE cost function, the funding forecast and the expected net carry. There is no other.

Fractions of one leg's notional throughout; > 0 is a cost in costs and an income in carry.
"""

from collections.abc import Iterable
from decimal import Decimal

import attrs

from .num import BPS, ONE, ZERO
from .policy import Execution, FeePolicy, Strategy
from .state import Forecast
from .types import Book, Fees, FundingPrint, Leg, Side

HOURS_A_YEAR = 8760
LN2 = Decimal("0.6931471805599453094172321215")
INTEREST = Decimal("0.0001")  # every eight hours, while the perp is near its index
CLAMP = Decimal("0.0005")  # by how much the interest gives way to the premium
BASELINE_APR = INTEREST * 3 * 365  # a market of a few prints is not believed to pay more
KNOWN_H_MIN = 8  # hours of settled funding below which a forecast is not acted on


def apr(rate: Decimal, interval_h: int) -> Decimal:
    """Simple annual rate of a funding `rate` paid once every `interval_h` hours.

    >>> apr(Decimal("0.0000125"), 1)
    Decimal('0.1095000')
    """
    return rate * HOURS_A_YEAR / interval_h


def rate_of_premium(premium: Decimal, interval_h: int) -> Decimal:
    """The rate of an interval whose mean premium (perp over index, a fraction) is `premium`.

    Eight hours cost P + clamp(0.01 % - P, -0.05 %, 0.05 %); from -0.04 % to 0.06 % that is the
    interest alone. Source: the venues' funding pages.

    >>> rate_of_premium(Decimal("-0.0004"), 1), rate_of_premium(Decimal("0.0007"), 1)
    (Decimal('0.0000125'), Decimal('0.000025'))
    """
    return (premium + min(max(INTEREST - premium, -CLAMP), CLAMP)) * interval_h / 8


def fees_in_force(policy: FeePolicy, tier: Fees) -> Fees:
    """The account's own rates, where the policy does not name others."""

    def pick(named: Decimal | None, own: Decimal) -> Decimal:
        return own if named is None else named

    return Fees(
        spot_maker=pick(policy.spot_maker, tier.spot_maker),
        spot_taker=pick(policy.spot_taker, tier.spot_taker),
        perp_maker=pick(policy.perp_maker, tier.perp_maker),
        perp_taker=pick(policy.perp_taker, tier.perp_taker),
    )


def slippage(book: Book, side: Side, sz: Decimal) -> Decimal | None:
    """What an aggressive order of `sz` pays beyond the mid, as a fraction; None when the book is
    too thin for it.
    """
    left, paid = sz, ZERO
    for level in book.levels(side):
        eaten = min(left, level.sz)
        paid += eaten * level.px
        left -= eaten
        if not left:
            return side.sign * (paid / sz / book.mid_px - ONE)
    return None


@attrs.frozen(kw_only=True)
class Cost:
    """A whole round trip as fractions of one leg's notional."""

    entry_fees: Decimal
    entry_slippage: Decimal
    exit_fees: Decimal
    exit_slippage: Decimal

    @property
    def entry(self) -> Decimal:
        return self.entry_fees + self.entry_slippage

    @property
    def exit(self) -> Decimal:
        return self.exit_fees + self.exit_slippage

    @property
    def total(self) -> Decimal:
        return self.entry + self.exit


def cost(fees: Fees, spot: Book, perp: Book, sz: Decimal, resting: Decimal = ZERO) -> Cost | None:
    """Cost of entering and leaving a carry of `sz` base units.

    The perp always takes. resting: share of the spot leg (0 to 1) expected to fill while it rests,
    for the maker's fee and no slippage; the other share is taken in the end. The half spread that a
    resting fill earns is not counted: what moved the price to it often goes on. Leaving by force
    costs the taker's fee on all of it.
    None when either book cannot take the size: a carry whose exit cannot be priced has no cost.
    """
    walked = [
        slippage(spot, Side.BUY, sz),
        slippage(perp, Side.SELL, sz),
        slippage(spot, Side.SELL, sz),
        slippage(perp, Side.BUY, sz),
    ]
    known = [w for w in walked if w is not None]
    if len(known) < len(walked):
        return None
    taken = ONE - resting
    paid = resting * fees.maker(Leg.SPOT) + taken * fees.taker(Leg.SPOT) + fees.taker(Leg.PERP)
    return Cost(
        entry_fees=paid,
        entry_slippage=taken * known[0] + known[1],
        exit_fees=paid,
        exit_slippage=taken * known[2] + known[3],
    )


def resting_share(execution: Execution) -> Decimal:
    """Share of the spot leg that the style in force is expected to fill while it rests."""
    return execution.maker_fill_share if execution.rests else ZERO


def fold(
    forecast: Forecast | None,
    prints: Iterable[FundingPrint],
    *,
    halflife_h: int,
    interval_ms: int,
    rate_max: Decimal,
) -> Forecast | None:
    """The forecast after more settled funding: an average whose weights halve every `halflife_h`.

    It begins at the first print or at the baseline, whichever is lower: funding is highest where a
    market is new, and seldom stays there. Prints that are not newer than the last one are dropped;
    so are absurd ones, beyond `rate_max`. A missing print leaves its weight to the next.
    """
    interval_h = interval_ms // 3_600_000
    keeps: dict[int, Decimal] = {}  # by intervals gone: an exponential a page, not a print
    for new in prints:
        if abs(new.rate) > rate_max:
            continue
        if forecast is None:
            begins = min(new.rate, BASELINE_APR * interval_h / HOURS_A_YEAR)
            forecast = Forecast(
                rate=begins, last_at_ms=new.at_ms - interval_ms, count=0, negative_h=0
            )
        if new.at_ms <= forecast.last_at_ms:
            continue
        # Stamps trail the boundary by some ms: count whole intervals, to the nearest.
        gone = max(1, (new.at_ms - forecast.last_at_ms + interval_ms // 2) // interval_ms)
        if gone not in keeps:
            keeps[gone] = (-LN2 * gone * interval_h / halflife_h).exp()
        keep = keeps[gone]
        forecast = Forecast(
            rate=(forecast.rate * keep + new.rate * (ONE - keep)).quantize(Decimal("1e-16")),
            last_at_ms=new.at_ms,
            count=forecast.count + 1,
            negative_h=forecast.negative_h + interval_h if new.rate <= 0 else 0,
        )
    return forecast


def known_h(forecast: Forecast, interval_h: int) -> int:
    """Hours of settled funding that a forecast is made of."""
    return forecast.count * interval_h


def pays_more(one: Forecast | None, other: Forecast | None) -> bool:
    """Whether one market's funding is expected to be higher than another's, costs aside."""
    return one is not None and other is not None and one.rate > other.rate


def income(rate: Decimal, horizon_h: int, interval_h: int) -> Decimal:
    """Funding expected over the horizon, as a fraction of notional."""
    return rate * horizon_h / interval_h


def expected_net(rate: Decimal, horizon_h: int, interval_h: int, costs: Cost) -> Decimal:
    """What a new carry is expected to leave over the horizon after every cost; the buffer is the
    caller's margin."""
    return income(rate, horizon_h, interval_h) - costs.total


@attrs.frozen
class Worth:
    """What a new carry would leave over the horizon: in bps, and as a simple annual rate."""

    net_bps: Decimal
    apr: Decimal

    def enough(self, strategy: Strategy) -> bool:
        """Whether it is worth entering; the gates of an entry ask the same, one by one."""
        return self.net_bps >= strategy.buffer_bps and self.apr >= strategy.enter_threshold_apr


def worth(net: Decimal, strategy: Strategy) -> Worth:
    """An expected net, a fraction over the horizon, as the gates judge it."""
    return Worth(bps(net), apr(net, strategy.horizon_h).quantize(Decimal("1e-6")))


def switch_gain(
    strategy: Strategy,
    interval_h: int,
    held: tuple[Decimal, Cost],
    idle: tuple[Decimal, Cost],
    share: Decimal = ONE,
) -> Decimal:
    """What leaving one market for another gains over the horizon, as a fraction of what is held.

    held, idle: rate and cost of each; share: size of the idle one as a fraction of what is held.
    What the idle one earns more, less its entry and the dearer of both exits: the held one must be
    left some day too, so its exit is not paid twice.
    """
    earns = [income(rate, strategy.horizon_h, interval_h) for rate, _ in (held, idle)]
    gain = share * (earns[1] - idle[1].entry) - earns[0]
    return gain - max(held[1].exit, share * idle[1].exit)


def switches(strategy: Strategy, gain: Decimal) -> bool:
    """Whether a gain is worth a switch."""
    return gain > max(ZERO, strategy.switch_edge_bps * BPS)


def wants_out(strategy: Strategy, forecast: Forecast, interval_h: int) -> bool:
    """Whether leaving is weighed: a low forecast, or hours of funding at or below zero."""
    low = apr(forecast.rate, interval_h) < strategy.exit_threshold_apr
    return low or forecast.negative_h >= strategy.funding_negative_hours


def staying_loses(rate: Decimal, horizon_h: int, interval_h: int, costs: Cost) -> bool:
    """Whether holding for the horizon is expected to lose more than leaving costs.

    The exit has to be paid some day, now or later; who leaves now pays an entry more to come back.
    So what counts is funding alone against a whole round trip.
    """
    return -income(rate, horizon_h, interval_h) > costs.total


def volatility(closes: tuple[Decimal, ...], interval_ms: int) -> Decimal | None:
    """Annualised standard deviation of log closes (1 = 100 %); None with fewer than three
    closes.
    """
    if len(closes) < 3 or min(closes) <= 0:
        return None
    # A close that stands is asked for once: a logarithm costs more than all the rest.
    of = {close: close.ln() for close in dict.fromkeys(closes)}
    logs = [of[close] for close in closes]
    steps = [logs[i + 1] - logs[i] for i in range(len(logs) - 1)]
    mean = sum(steps, ZERO) / len(steps)
    variance = sum(((s - mean) ** 2 for s in steps), ZERO) / (len(steps) - 1)
    a_year = Decimal(HOURS_A_YEAR) * 3_600_000 / interval_ms
    return (variance * a_year).sqrt().quantize(Decimal("1e-6"))


def bps(fraction: Decimal) -> Decimal:
    """A fraction in basis points, to a hundredth, for people."""
    return (fraction / BPS).quantize(Decimal("0.01"))
