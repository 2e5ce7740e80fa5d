"""Every tunable of the strategy: unit, default, bounds, reason and the relations between them.

The policy in force is part of the state, so that a reload is an observation and replay sees it. The
loader, config.yaml.example and docs/CONFIGURATION.md are all made from the `Knob`s below.
Rates are fractions (0.0007 = 7 bps), durations `_ms` or `_h`, money USD.
"""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from .knobs import INTERVAL_MS, Knob, knob, knobs
from .num import ONE, ZERO

D = Decimal


@attrs.frozen(kw_only=True)
class Volatility:
    """The entry gate on how wild the perp's price is."""

    interval: str = knob(
        "15m",
        "interval",
        "candle length of the closes it is measured on",
        choices=tuple(INTERVAL_MS),
    )
    window: int = knob(96, "count", "number of finished candles", lo=8, hi=1000)
    max: Decimal = knob(
        D("2.5"),
        "ratio",
        "annualised standard deviation of log closes above which no carry is entered; 1 = 100 %",
        lo=D("0.05"),
        hi=D("50"),
    )


@attrs.frozen(kw_only=True)
class Strategy:
    """When a carry pays and how large it is."""

    enter_threshold_apr: Decimal = knob(
        D("0.01"),
        "rate",
        "simple annual rate that the expected net carry must reach after every cost",
        lo=ZERO,
        hi=D("1.9"),
        settable="any",
    )
    exit_threshold_apr: Decimal = knob(
        ZERO,
        "rate",
        "forecast (simple annual rate) below which leaving is weighed; never left on it alone",
        lo=D("-1.9"),
        hi=D("1.9"),
        settable="any",
    )
    target_usd_notional: Decimal = knob(
        D("1000"),
        "usd",
        "size of one leg of one market",
        lo=D("20"),
        hi=D("10000000"),
        settable="down",
    )
    hedge_ratio: Decimal = knob(
        ONE, "ratio", "short as a multiple of the filled spot", lo=D("0.95"), hi=D("1.05")
    )
    min_exposure_usd: Decimal = knob(
        D("20"),
        "usd",
        "less than this is dust: valued, shown, offered to the next carry; twice the minimum",
        lo=D("10"),
        hi=D("1000"),
    )
    delta_band_usd: Decimal | None = knob(
        None,
        "usd",
        "unhedged notional that is left alone; left out: 2 % of the target, and never below the "
        "enforceable floor of the venue's minimum plus a lot of each leg",
        lo=D("1"),
        hi=D("100000"),
        optional=True,
    )
    horizon_h: int = knob(
        672,
        "h",
        "hours over which funding is expected and costs are spread: four weeks, as markets that "
        "pay more go on doing so; a taker round trip needs eight days of the baseline rate",
        lo=1,
        hi=8760,
    )
    forecast_halflife_h: int = knob(
        108, "h", "half-life of the average of settled funding that is the forecast", lo=1, hi=1440
    )
    min_hold_h: int = knob(72, "h", "no discretionary exit earlier, except for risk", lo=0, hi=8760)
    exit_confirm_ms: int = knob(
        5_000, "ms", "how long the reasons to leave must hold before an exit", lo=0, hi=3_600_000
    )
    funding_negative_hours: int = knob(
        3,
        "h",
        "hours of settled funding at or below zero after which leaving is weighed",
        lo=1,
        hi=720,
    )
    funding_guard_ms: int = knob(
        60_000,
        "ms",
        "before a payment: no discretionary exit if it is received, no entry if it is paid",
        lo=0,
        hi=1_800_000,
    )
    buffer_bps: Decimal = knob(
        D("2"),
        "bps",
        "margin by which expected net carry must beat all costs",
        lo=ZERO,
        hi=D("200"),
    )
    switch_edge_bps: Decimal = knob(
        D("40"),
        "bps",
        "by how much an idle market must beat a held one over the horizon, after the entry and "
        "the dearer exit of both, before the held one is left for it",
        lo=ZERO,
        hi=D("1000"),
        since=2,
    )
    volatility: Volatility = attrs.field(factory=Volatility)


@attrs.frozen(kw_only=True)
class Execution:
    """How orders are priced, timed, and given up."""

    style: str = knob(
        "taker",
        "choice",
        "how the spot leg is bought, and sold where leaving is not forced: taker crosses the "
        "spread at once; maker rests at the touch for the lower fee and takes what did not fill in "
        "time. The hedge always takes, as soon as something filled",
        choices=("taker", "maker"),
        settable="any",
    )
    price_offset_ticks: int = knob(
        2,
        "count",
        "ticks beyond the touch that an order which takes may pay; a resting order's price comes "
        "from the touch of its own side",
        lo=0,
        hi=100,
    )
    tif: str = knob(
        "ioc",
        "choice",
        "time in force of spot orders that take: ioc ends at once; the rest of a gtc stays at its "
        "limit for reprice_interval_ms. A hedge that was missed has hedge_repair_tif",
        choices=("ioc", "gtc"),
        since=2,
    )
    post_only: bool = knob(
        True,
        "bool",
        "a resting order is refused rather than take (alo); false: it may take what crossed it "
        "meanwhile (gtc), for the taker's fee",
        since=2,
    )
    reprice_interval_ms: int = knob(
        3_000,
        "ms",
        "an order that rests is looked at after this: one at the touch stays; one behind it, or "
        "one that was meant to take, is withdrawn and priced anew",
        lo=500,
        hi=600_000,
    )
    max_replaces_per_min: int = knob(
        10,
        "count",
        "changes of price of resting orders a minute, over all markets: each costs two actions of "
        "the address. At the bound an order stays where it is",
        lo=1,
        hi=100,
        since=2,
    )
    maker_timeout_ms: int = knob(
        30_000,
        "ms",
        "a slice that rested this long without one whole order filled is taken; less than "
        "entry_timeout_ms",
        lo=1_000,
        hi=3_600_000,
        since=2,
    )
    maker_fill_share: Decimal = knob(
        D("0.5"),
        "rate",
        "share of the spot leg expected to fill while it rests; costs count the taker's fee and "
        "slippage on the other share",
        lo=ZERO,
        hi=ONE,
        since=2,
    )
    hedge_repair_timeout_ms: int = knob(
        5_000, "ms", "an unhedged leg is unwound when repair took longer", lo=500, hi=600_000
    )
    hedge_repair_stage_ms: int = knob(
        1_500, "ms", "repair takes the touch first, and widens after this", lo=0, hi=600_000
    )
    hedge_repair_tif: str = knob(
        "ioc", "choice", "time in force of widened repair orders", choices=("ioc", "gtc")
    )
    hedge_repair_bps_max: Decimal = knob(
        D("100"), "bps", "how far beyond the touch a widened order may pay", lo=D("1"), hi=D("1000")
    )
    perp_leverage: int = knob(
        1,
        "count",
        "leverage setting of the short; margin held back is notional over this. With "
        "collateral_buffer it says how far liquidation is at entry: beyond liq_distance_min",
        lo=1,
        hi=5,
    )
    perp_cross: bool = knob(True, "bool", "cross margin; isolated is refused for now")
    entry_timeout_ms: int = knob(
        60_000, "ms", "without progress for this long an entry is given up", lo=1_000, hi=3_600_000
    )
    exit_timeout_ms: int = knob(
        60_000, "ms", "without progress for this long an exit is put off", lo=1_000, hi=3_600_000
    )
    entry_cooldown_ms: int = knob(
        600_000,
        "ms",
        "after an exit or a failed entry that market rests this long",
        lo=0,
        hi=604_800_000,
    )
    hedge_cooldown_ms: int = knob(
        1_000,
        "ms",
        "shortest time between a refused or unfilled order and the next",
        lo=0,
        hi=60_000,
    )
    shutdown_grace_ms: int = knob(
        20_000, "ms", "how long a stop waits for the hedge of what filled", lo=0, hi=600_000
    )

    @property
    def rests(self) -> bool:
        """Whether the spot leg is worked by resting orders."""
        return self.style == "maker"


@attrs.frozen(kw_only=True)
class Risk:
    """Limits. They bind what is added; what reduces is never blocked by them."""

    per_symbol_notional_cap: Decimal = knob(
        D("2000"), "usd", "largest leg of one market", lo=D("20"), hi=D("10000000"), settable="down"
    )
    portfolio_notional_cap: Decimal = knob(
        D("5000"),
        "usd",
        "sum of all legs' larger side",
        lo=D("20"), hi=D("100000000"),
        settable="down",
    )
    slice_usd: Decimal = knob(
        D("250"),
        "usd",
        "largest piece of a leg that may be unhedged for a moment",
        lo=D("20"), hi=D("1000000"),
        settable="down",
    )
    max_drawdown_usd: Decimal = knob(
        D("100"),
        "usd",
        "fall of net PnL from its high-water mark that stops entries until acknowledged",
        lo=D("1"), hi=D("10000000"),
        settable="down",
    )
    short_lost: str = knob(
        "rehedge",
        "choice",
        "what follows when others shrink the short (deleveraging, a trade by hand): rehedge sells "
        "it again, once; sell sells its spot. After a liquidation or a settlement, and when it is "
        "lost again, the spot is sold. Entries of the market are locked either way",
        choices=("rehedge", "sell"),
        since=2,
    )
    max_spread_bps: Decimal = knob(
        D("30"), "bps", "no entry while either leg's spread is wider", lo=D("1"), hi=D("1000")
    )
    min_spread_ticks: int = knob(
        2,
        "count",
        "maker style: the touch is bettered by a tick only where the spread is at least this wide; "
        "in a narrower one it is joined",
        lo=2, hi=1_000,
        since=2,
    )
    max_basis_bps: Decimal = knob(
        D("200"),
        "bps",
        "no entry while a leg's mid is further than this from the oracle: joke prices, depegs",
        lo=D("5"), hi=D("5000"),
    )
    max_funding_rate: Decimal = knob(
        D("0.04"),
        "rate",
        "a settled rate (an interval) beyond this is absurd and not believed; the venue's cap",
        lo=D("0.0001"), hi=D("0.5"),
    )
    max_orders_per_min: int = knob(
        30, "count", "orders a minute over all markets; what reduces is exempt", lo=1, hi=1000
    )
    collateral_buffer: Decimal = knob(
        D("0.1"), "rate", "share of the account kept idle", lo=ZERO, hi=D("0.9")
    )
    liq_distance_warn: Decimal = knob(
        D("0.3"), "rate",
        "rise to liquidation below which it alerts, adds nothing, and moves idle USDC to the short",
        lo=D("0.05"), hi=ONE,
    )
    liq_distance_min: Decimal = knob(
        D("0.2"), "rate",
        "rise to liquidation below which both legs shrink by slices; below 10 % without waiting",
        lo=D("0.1"), hi=ONE,
        since=2,
    )
    liq_distance_target: Decimal = knob(
        D("0.35"), "rate",
        "rise of the price to liquidation that shrinking stops at, and that a new size keeps",
        lo=D("0.1"), hi=D("1.9"),
        since=2,
    )
    hard_cap: Decimal | None = knob(
        None, "usd",
        "leg from which both shrink to per_symbol_notional_cap; left out: grown by price is shown",
        lo=D("20"), hi=D("100000000"),
        optional=True,
        since=2,
    )
    transfer_usd_per_day: Decimal = knob(
        D("5000"), "usd",
        "most USDC that the bot moves in a day between the spot and the perp wallet of a split "
        "account, both directions added; 0: none is moved",
        lo=ZERO, hi=D("100000000"),
        settable="down",
        since=2,
    )
    quote_age_ms_max: int = knob(
        15_000, "ms", "a book older than this prices nothing", lo=500, hi=600_000
    )
    context_age_ms_max: int = knob(
        180_000,
        "ms",
        "marks and predicted funding older than this stop entries",
        lo=1_000, hi=3_600_000,
    )
    account_age_ms_max: int = knob(
        60_000, "ms", "positions and balances older than this stop entries", lo=1_000, hi=3_600_000
    )
    prints_age_ms_max: int | None = knob(
        None,
        "ms",
        "settled funding older than this stops entries; left out: 70 minutes past the interval",
        lo=3_600_000, hi=86_400_000, optional=True,
    )
    skew_ms_warn: int = knob(2_000, "ms", "clock skew that alerts", lo=100, hi=60_000)
    skew_ms_max: int = knob(5_000, "ms", "clock skew that stops entries", lo=100, hi=60_000)
    budget_actions_min: int = knob(
        2_000, "count", "no entry with fewer actions left to the address", lo=0, hi=1_000_000
    )
    budget_actions_floor: int = knob(
        500,
        "count",
        "with fewer actions left no resting order changes its price: they are kept for hedges and "
        "exits",
        lo=0, hi=1_000_000,
        since=2,
    )
    residual_age_ms_max: int = knob(
        3_600_000,
        "ms",
        "entries stop when equity was not explained for this long; tried every five minutes",
        lo=600_000, hi=86_400_000,
        since=2,
    )
    residual_usd_max: Decimal = knob(
        D("1"),
        "usd",
        "unexplained change of equity that stops entries",
        lo=D("0.01"), hi=D("10000"),
    )


@attrs.frozen(kw_only=True)
class FeePolicy:
    """Rates used for costs; left out, the account's own tier as the venue tells it."""

    spot_maker: Decimal | None = knob(
        None, "rate", "left out: the account's own", lo=D("-0.001"), hi=D("0.01"), optional=True
    )
    spot_taker: Decimal | None = knob(
        None, "rate", "left out: the account's own", lo=D("-0.001"), hi=D("0.01"), optional=True
    )
    perp_maker: Decimal | None = knob(
        None, "rate", "left out: the account's own", lo=D("-0.001"), hi=D("0.01"), optional=True
    )
    perp_taker: Decimal | None = knob(
        None, "rate", "left out: the account's own", lo=D("-0.001"), hi=D("0.01"), optional=True
    )


@attrs.frozen(kw_only=True)
class Alignment:
    """What to do when the venue holds something else than the journal explains."""

    enabled: bool = knob(
        True, "bool", "believe what a second reply confirms; false: name it, hold entries", since=2
    )
    mode: str = knob(
        "force",
        "choice",
        "when the carry lost something: log locks entries and trades nothing until acknowledged "
        "(a leg may stay naked; flatten works); force locks entries and repairs the hedge",
        choices=("log", "force"),
        since=2,
    )
    min_diff_quanta: int = knob(
        1, "count", "smallest difference, in lots, that counts", lo=1, hi=1000
    )


@attrs.frozen(kw_only=True)
class MarketPolicy:
    """One market of the list. `reserve_sz`: base units that are yours, never touched. `token_id`:
    the spot token that hedges the perp, where the built-in table does not name it.
    """

    base: str
    reserve_sz: Decimal = knob(
        ZERO, "ratio", "spot base units that stay yours", lo=ZERO, hi=D("1e12")
    )
    token_id: str | None = knob(
        None,
        "token",
        "left out: as the built-in table says; 0x and 32 hex digits, since names are not unique",
        optional=True,
        since=2,
    )


@attrs.frozen(kw_only=True)
class Policy:
    """All of it, with where it came from. `version` counts the policies a journal has seen."""

    strategy: Strategy = attrs.field(factory=Strategy)
    execution: Execution = attrs.field(factory=Execution)
    risk: Risk = attrs.field(factory=Risk)
    fees: FeePolicy = attrs.field(factory=FeePolicy)
    alignment: Alignment = attrs.field(factory=Alignment)
    markets: tuple[MarketPolicy, ...] = ()
    source: str = "defaults"

    @property
    def coins(self) -> tuple[str, ...]:
        return tuple(sorted(m.base for m in self.markets))

    @property
    def token_ids(self) -> Mapping[str, str]:
        """Spot tokens named by their id, by coin."""
        return {m.base: m.token_id for m in self.markets if m.token_id is not None}

    def reserve_of(self, coin: str) -> Decimal:
        return sum((m.reserve_sz for m in self.markets if m.base == coin), ZERO)


SECTIONS = ("strategy", "execution", "risk", "fees", "alignment")

__all__ = [
    "INTERVAL_MS",
    "SECTIONS",
    "Alignment",
    "Execution",
    "FeePolicy",
    "Knob",
    "MarketPolicy",
    "Policy",
    "Risk",
    "Strategy",
    "Volatility",
    "knob",
    "knobs",
]
