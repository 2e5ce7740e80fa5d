"""A backtest as one page that needs nothing from anywhere."""

from collections.abc import Sequence
from typing import Any, Final

from carry.core.num import show

from .backtest import Backtest, iso
from .backtest_text import HEAD, nearest, rows_of
from .figures import Figures
from .report_page import Chart, page, plotly

POINTS_MAX: Final = 2_000
COLOURS: Final = ("#111111", "#2f6fb5", "#e08e0b", "#1b9e5a", "#8e6bbf", "#c0392b", "#5b6770")
ABOUT: Final = (
    "Figures",
    "USD; rates are simple annual ones, flat hours included. Slippage below 0 is what fills paid "
    "beyond the mid of their decision.",
)


def make(found: Backtest) -> str:
    """The whole page. Raises ReportRefused without plotly."""
    library = plotly("offline").get_plotlyjs()
    setup = found.setup
    return page(
        title=f"carry backtest, {', '.join(setup.tracks)}, {iso(setup.start_hour)} to "
        f"{iso(setup.end_hour)}",
        tiles=_tiles(found),
        charts=(_net(found), _weights(found), _causes(found), _rules(found)),
        table=(HEAD, rows_of(found)),
        library=library,
        about=ABOUT,
    )


def _tiles(found: Backtest) -> list[tuple[str, str, str]]:
    bot, total = found.bot, found.bot.total
    perps = [one.coin for one in found.coverage if one.spot == "perp"]
    return [
        ("net", f"{total.pnl.net_usd:.2f}", "USD"),
        ("on notional", f"{total.on_notional * 100:.2f}", "% a year"),
        ("on capital", f"{total.on_capital * 100:.2f}", "% a year"),
        ("round trips", str(total.rounds), ""),
        ("in position", f"{total.held * 100:.0f}", "% of the time"),
        ("longest loss", f"{bot.longest_loss_h / 24:.1f}", "days"),
        ("nearest liquidation", nearest(found), "above a high"),
        ("funding only", ", ".join(perps) or "none", "spot at the perp"),
        ("residual", show(found.residual_usd), "USD"),
    ]


def _net(found: Backtest) -> Chart:
    runs = [("the bot", found.bot), ("filled an hour later", found.later)]
    runs += [(f"slippage x {show(k)}", one) for k, one in found.slippage.items() if k != 1]
    traces = [_line(name, one, COLOURS[n]) for n, (name, one) in enumerate(runs)]
    says = "Hour by hour at the closes; what is open is valued at the mid."
    return Chart("net", "Net", says, traces, "USD", whole=True, zero=True)


def _line(name: str, run: Figures, colour: str) -> dict[str, Any]:
    step = len(run.curve) // POINTS_MAX + 1
    hours: Sequence[int] = run.curve_hours[::step]
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": [iso(hour) for hour in hours],
        "y": [round(usd, 2) for usd in run.curve[::step]], "line": {"color": colour, "width": 2},
    }  # fmt: skip


def _weights(found: Backtest) -> Chart:
    """What was decided to be held, as a fraction of the target."""
    setup, traces = found.setup, []
    for n, coin in enumerate(setup.tracks):
        steps = [(setup.start_hour, 0.0)]
        steps += [(hour, float(w)) for hour, name, w in found.bot.weights if name == coin]
        steps.append((setup.end_hour, steps[-1][1]))
        traces.append(
            {
                "type": "scatter", "mode": "lines", "name": coin,
                "x": [iso(hour) for hour, _ in steps], "y": [weight for _, weight in steps],
                "line": {"shape": "hv", "width": 2, "color": COLOURS[(n + 1) % len(COLOURS)]},
            }
        )  # fmt: skip
    return Chart("weights", "Decided weights", "Of all that may be held.", traces, "fraction")


def _causes(found: Backtest) -> Chart:
    markets = found.bot.markets
    pnl = [row.pnl for row in markets.values()]
    causes = {
        "funding": [one.funding_usd for one in pnl],
        "fees": [-one.fees_usd for one in pnl],
        "slippage": [one.slippage_usd for one in pnl],
        "basis": [one.basis_usd for one in pnl],
    }
    traces = [
        {
            "type": "scatter", "mode": "markers", "name": name, "x": list(markets),
            "y": [float(usd) for usd in values],
            "marker": {"size": 12, "color": COLOURS[n + 1]},
        }
        for n, (name, values) in enumerate(causes.items())
    ]  # fmt: skip
    says = "What each market earned and paid."
    return Chart("causes", "By cause", says, traces, "USD", x_title="market", zero=True)


def _rules(found: Backtest) -> Chart:
    nets = {"the bot": found.bot.total.pnl.net_usd}
    nets.update({name: rule.net_usd for name, rule in found.rules.items()})
    bar = {
        "type": "bar", "x": list(nets), "y": [float(usd) for usd in nets.values()],
        "marker": {"color": COLOURS[: len(nets)]}, "showlegend": False,
    }  # fmt: skip
    says = "Simple rules on the same data and costs."
    return Chart("rules", "Beside simple rules", says, [bar], "USD", x_title="rule", zero=True)
