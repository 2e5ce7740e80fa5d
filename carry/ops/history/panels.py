"""What the dashboards show: the one description that the files in `grafana/` are made from."""

from collections.abc import Sequence
from typing import Final

import attrs

from . import queries as q

USD, BPS, SHARE, SECONDS = "currencyUSD", "suffix: bp", "percentunit", "s"
GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "text"
Steps = Sequence[tuple[str, float | None]]  # colour from a value on; the first from anywhere
GAIN: Final[Steps] = ((RED, None), (GREEN, 0))
NOUGHT: Final[Steps] = ((GREEN, None), (RED, 1))
PLAIN: Final[Steps] = ((GREY, None),)
NET: Final = ("net_usd", "funding_usd", "fees_usd", "basis_usd", "slippage_usd", "external_usd")


@attrs.frozen(kw_only=True)
class Panel:
    """One panel. kind: Grafana's name of it. sql or prom (expression -> legend): where its numbers
    come from. units: of single columns, where they differ from `unit`. draws: lines with a style
    of their own, as (column, colour, dashed). width: of 24 columns; each: one for each market.
    """

    title: str
    about: str
    kind: str = "timeseries"
    sql: str = ""
    prom: Sequence[tuple[str, str]] = ()
    unit: str = "none"
    decimals: int | None = None
    units: Sequence[tuple[str, str]] = ()
    steps: Steps = PLAIN
    drawn_steps: bool = False
    draws: Sequence[tuple[str, str, bool]] = ()
    bars: bool = False
    stacked: bool = False
    width: int = 12
    height: int = 8
    each: bool = False


@attrs.frozen(kw_only=True)
class Board:
    """One dashboard. uid: its address in Grafana. since: what it shows at first."""

    uid: str
    title: str
    about: str
    panels: Sequence[Panel]
    since: str = "now-24h"
    marks: Sequence[tuple[str, str, str]] = ()  # name, colour, SQL


APR: Final = "({}.funding_rate * 8760 / a.funding_interval_h) AS apr"
NOTIONAL: Final = "(-{}.perp_sz * {}.oracle_px) AS notional"
SPREAD: Final = "(({}.%s_ask - {}.%s_bid) * 20000 / ({}.%s_ask + {}.%s_bid)) AS %s"
BASIS: Final = (
    "((({}.perp_bid + {}.perp_ask) / ({}.spot_bid + {}.spot_ask) - 1) * 10000) AS basis"
)
ORACLE: Final = (
    "((({}.perp_bid + {}.perp_ask) / (2 * {}.oracle_px) - 1) * 10000) AS perp_to_oracle"
)
LEFT: Final = "greatest({}.fees_usd - {}.slippage_usd - {}.funding_usd, 0)"
EARNS: Final = "(-{}.perp_sz * {}.oracle_px * {}.forecast_rate / a.funding_interval_h)"

CARRY: Final = Board(
    uid="carry-carry",
    title="Carry: what it earns",
    about="Who pays whom and how much, PnL by cause, break-even, funding against forecast.",
    since="now-7d",
    marks=(("Turns", BLUE, q.MARKED_TURNS),),
    panels=(
        Panel(
            title="PnL by cause now",
            about="net = funding - fees + basis + slippage + external, since the journal began; as "
            "`carry pnl` says.",
            kind="stat",
            sql=q.account_now(NET),
            unit=USD,
            decimals=2,
            steps=GAIN,
            width=16,
            height=5,
        ),
        Panel(
            title="Equity",
            about="Worth of the account in the markets' coins and USDC, and what nothing explains.",
            kind="stat",
            sql=q.account_now(("equity_usd", "residual_usd")),
            unit=USD,
            decimals=2,
            width=8,
            height=5,
        ),
        Panel(
            title="Who pays whom",
            about="Funding as predicted for this interval. A rate above zero is paid by longs to "
            "shorts: to this bot. next_payment_usd > 0 will be received.",
            kind="table",
            sql=q.markets_now((
                "phase",
                "(CASE WHEN {}.funding_rate > 0 THEN 'longs pay shorts' WHEN {}.funding_rate < 0 "
                "THEN 'shorts pay longs' ELSE 'nobody pays' END) AS payer",
                "funding_rate", APR, "forecast_rate", NOTIONAL, "next_payment_usd",
            )),
            units=(
                ("funding_rate", SHARE), ("apr", SHARE), ("forecast_rate", SHARE),
                ("notional", USD), ("next_payment_usd", USD),
            ),
            width=24,
            height=6,
        ),
        Panel(
            title="Funding payments",
            about="As the venue booked them, added up by the bar: above zero received, below paid.",
            sql=q.PAYMENTS,
            unit=USD,
            bars=True,
            steps=GAIN,
        ),
        Panel(
            title="Funding settled against forecast",
            about="The settled rate of an interval, and what was forecast an hour before; their "
            "means by the bar.",
            sql=q.SETTLED,
            unit=SHARE,
            decimals=5,
        ),
        Panel(
            title="PnL by cause",
            about="Running totals of the account.",
            sql=q.of_account(NET),
            unit=USD,
            draws=(("net_usd", GREEN, False),),
        ),
        Panel(
            title="Net PnL by market",
            about="Running totals.",
            sql=q.by_market(("net_usd",)),
            unit=USD,
        ),
        Panel(
            title="Break-even",
            about="What funding has still to earn back of fees and slippage, and in how many hours "
            "it will at the forecast rate; empty when it never will.",
            kind="table",
            sql=q.markets_now((
                "(({}.fees_usd - {}.slippage_usd)) AS cost_usd", "funding_usd",
                f"({LEFT}) AS left_usd",
                f"(CASE WHEN {EARNS} > 0 THEN {LEFT} / {EARNS} END) AS hours_left",
                "expected_net_bps",
            )),
            units=(
                ("cost_usd", USD), ("funding_usd", USD), ("left_usd", USD), ("hours_left", "h"),
                ("expected_net_bps", BPS),
            ),
            height=6,
        ),
        Panel(
            title="Funding received and paid",
            about="Of the time on the screen.",
            kind="table",
            sql=q.RECEIVED,
            units=(("received_usd", USD), ("paid_usd", USD), ("net_usd", USD)),
            height=6,
        ),
    ),
)  # fmt: skip

MARKET: Final = Board(
    uid="carry-market",
    title="Carry: the market",
    about="Candlesticks with fills and funding marked, basis, spread, funding.",
    marks=(
        ("Fills", GREEN, q.MARKED_FILLS),
        ("Funding", YELLOW, q.MARKED_FUNDING),
        ("Turns", BLUE, q.MARKED_TURNS),
    ),
    panels=(
        Panel(
            title="$market perp",
            about="Mid price of all books the bot saw. The flags at the foot are fills, payments "
            "and turns of the bot.",
            kind="candlestick",
            sql=q.candles("perp"),
            unit=USD,
            height=10,
            each=True,
            width=24,
        ),
        Panel(
            title="$market spot",
            about="Mid price of all books the bot saw.",
            kind="candlestick",
            sql=q.candles("spot"),
            unit=USD,
            each=True,
            width=24,
        ),
        Panel(
            title="Basis",
            about="Perp above spot, mid to mid, and perp above the oracle.",
            sql=q.by_market((BASIS, ORACLE)),
            unit=BPS,
        ),
        Panel(
            title="Spread",
            about="Best ask above best bid.",
            sql=q.by_market((
                SPREAD % ("spot", "spot", "spot", "spot", "spot"),
                SPREAD % ("perp", "perp", "perp", "perp", "perp"),
            )),
            unit=BPS,
            steps=((GREEN, None), (RED, 30)),
            drawn_steps=True,
        ),
        Panel(
            title="Funding rate and forecast",
            about="Fraction an interval: as predicted by the venue, and as the bot forecasts it.",
            sql=q.by_market(("funding_rate", "forecast_rate")),
            unit=SHARE,
            decimals=5,
        ),
        Panel(
            title="Fills",
            about="The newest 200 of the time on the screen. fee_usd > 0 is paid.",
            kind="table",
            sql=q.FILLS,
            units=(("fee_usd", USD),),
        ),
    ),
)  # fmt: skip

RISK: Final = Board(
    uid="carry-risk",
    title="Carry: risk",
    about="Delta against its band, distance to liquidation, caps, gates and latches.",
    panels=(
        Panel(
            title="Positions",
            about="Both legs, what is not hedged, how far liquidation is, and the market's cap.",
            kind="table",
            sql=q.markets_now((
                "phase", "spot_sz", "perp_sz", "delta_usd", "band_usd", "naked", "liq_distance",
                "liq_px", "notional_usd", "cap_usd", "why",
            )),
            units=(
                ("delta_usd", USD), ("band_usd", USD), ("liq_distance", SHARE), ("liq_px", USD),
                ("notional_usd", USD), ("cap_usd", USD),
            ),
            width=24,
            height=6,
        ),
        Panel(
            title="Delta against band",
            about="Spot plus perp at the mid: what is not hedged. Outside the band it is repaired.",
            sql=q.by_market(("delta_usd", "band_usd", "(-{}.band_usd) AS minus_band_usd")),
            unit=USD,
            draws=((".*band_usd.*", RED, True),),
        ),
        Panel(
            title="Distance to liquidation",
            about="Rise of the price to liquidation, a fraction; by the hour the least of it. "
            "Below the warning idle USDC moves to the short, below the minimum both legs shrink.",
            sql=q.by_market(("liq_distance",)),
            unit=SHARE,
            steps=((RED, None), (YELLOW, 0.2), (GREEN, 0.3)),
            drawn_steps=True,
        ),
        Panel(
            title="Notional against cap, by market",
            about="Of the short, at the mid. The cap binds what is added.",
            sql=q.by_market(("notional_usd", "cap_usd")),
            unit=USD,
            draws=((".*cap_usd.*", RED, True),),
        ),
        Panel(
            title="Notional against cap, all markets",
            about="Of all shorts, at the mid; risk.portfolio_notional_cap.",
            sql=q.of_account(("notional_usd", "cap_usd")),
            unit=USD,
            draws=(("cap_usd", RED, True),),
        ),
        Panel(
            title="Mode and latches",
            about="Open latches, orders that nobody knows the end of, gates that do not pass.",
            kind="stat",
            sql=q.account_now(("mode", "latches", "intents_unknown", "gates_failing")),
            steps=NOUGHT,
            height=6,
        ),
        Panel(
            title="Gates that do not pass",
            about="The last row of each, at most a quarter of an hour old while the bot runs.",
            kind="table",
            sql=q.GATES,
            height=6,
        ),
    ),
)  # fmt: skip

OPERATIONS: Final = Board(
    uid="carry-operations",
    title="Carry: operations",
    about="Latency, ages of data, budgets, faults, alerts, and the copy of the journal itself.",
    panels=(
        Panel(
            title="Last tick",
            about="Time since a new tick of the bot was seen.",
            kind="stat",
            prom=(("carry_tick_age_seconds", "age"),),
            unit=SECONDS,
            steps=((GREEN, None), (YELLOW, 30), (RED, 120)),
            width=6,
            height=5,
        ),
        Panel(
            title="History behind by",
            about="Age of the oldest tick that is not copied; 0 when all is.",
            kind="stat",
            prom=(("carry_history_lag_seconds", "behind"),),
            unit=SECONDS,
            steps=((GREEN, None), (YELLOW, 60), (RED, 3_600)),
            width=6,
            height=5,
        ),
        Panel(
            title="Copied up to",
            about="The venue's time of the newest tick in the history, whatever time is on the "
            "screen. Play money lives in a time of its own: look there.",
            kind="stat",
            sql=q.COPIED,
            unit="dateTimeAsIso",
            width=6,
            height=5,
        ),
        Panel(
            title="Budgets",
            about="Actions the venue still takes from this address; orders that added in the last "
            "minute; orders not settled.",
            kind="stat",
            sql=q.account_now(("actions_left", "orders_last_minute", "intents_open")),
            width=6,
            height=5,
        ),
        Panel(
            title="Ticks and orders: how long",
            about="Half and 99 of 100 of the last five minutes took at most this long.",
            prom=tuple(
                (
                    f"histogram_quantile({share}, sum by (le) "
                    f"(rate(carry_{what}_duration_seconds_bucket[5m])))",
                    f"{what} {name}",
                )
                for what in ("tick", "order")
                for share, name in (("0.5", "half"), ("0.99", "99 %"))
            ),
            unit=SECONDS,
            steps=((GREEN, None), (RED, 5)),
            drawn_steps=True,
        ),
        Panel(
            title="Parts of a tick",
            about="Mean of the last five minutes.",
            prom=((
                "sum by (stage) (rate(carry_stage_duration_seconds_sum[5m])) / "
                "sum by (stage) (rate(carry_stage_duration_seconds_count[5m]))",
                "{{stage}}",
            ),),
            unit=SECONDS,
        ),
        Panel(
            title="Ages of data",
            about="How old each source was at the last tick.",
            prom=(("carry_data_age_seconds", "{{source}}"),),
            unit=SECONDS,
        ),
        Panel(
            title="Ages of data, as copied",
            about="Of the oldest source of prices, positions and balances.",
            sql=q.of_account(("({}.data_age_ms / 1000.0) AS oldest",)),
            unit=SECONDS,
            steps=((GREEN, None), (RED, 180)),
            drawn_steps=True,
        ),
        Panel(
            title="Actions left",
            about="Over the address's lifetime; below risk.budget_actions_min entries stop.",
            sql=q.of_account(("actions_left",)),
            steps=((RED, None), (YELLOW, 500), (GREEN, 2_000)),
            drawn_steps=True,
        ),
        Panel(
            title="Latency, as copied",
            about="99 of 100 of a minute took at most this long; of the newest seven days.",
            sql=q.LATENCIES,
            unit=SECONDS,
        ),
        Panel(
            title="Faults and alerts that last",
            about="1 for each alert that lasts.",
            prom=(("carry_alert_lasting", "{{cause}} {{market}}"),),
            steps=NOUGHT,
        ),
        Panel(
            title="What it waits for",
            about="1 for the kind of reason: a fault must be looked at, a market must not.",
            prom=(("carry_waits_for", "{{kind}}"),),
            bars=True,
            stacked=True,
        ),
        Panel(
            title="Alerts",
            about="What an operator had to hear; docs/OPERATIONS.md says what to do.",
            kind="table",
            sql=q.ALERTS,
            width=24,
        ),
        Panel(
            title="Decisions",
            about="What the bot decided; docs/EVENTS.md lists the events.",
            kind="table",
            sql=q.DECISIONS,
            width=24,
        ),
    ),
)  # fmt: skip

BOARDS: Final = (CARRY, MARKET, RISK, OPERATIONS)
