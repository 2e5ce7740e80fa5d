"""A backtest is the bot itself over a recording: its money is exact, and it sees no future."""

import json
import sys
from collections.abc import Sequence
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from carry.cli.main import carry
from carry.core import economics
from carry.core.policy import FeePolicy, Policy, Risk, Strategy
from carry.core.types import Fill, Leg, Side
from carry.exchange.recorded import BadRecording
from carry.research.backtest import Backtest, backtest, prepare
from carry.research.figures import Path as Movement
from carry.research.hourly import Lived, Run, Setup
from carry.research.positions import read_positions
from carry.research.report_page import ReportRefused
from carry.research.rules import ruled

from .recordings import HOUR_MS, T0, record

# Enters soon, leaves soon: a small recording holds whole round trips.
QUICK = Policy(
    strategy=Strategy(
        target_usd_notional=D(400), horizon_h=200, forecast_halflife_h=6, min_hold_h=2
    )
)


def turning(hour: int) -> float:
    """Rich for four days, dear for two, rich again."""
    return -0.0004 if 90 <= hour < 140 else 0.00008


def setup_of(folder: Path, policy: Policy = QUICK, **more: Any) -> Setup:
    setup, *_ = prepare(folder, (), policy)
    return attrs.evolve(setup, **more)


def lived(folder: Path, policy: Policy = QUICK, **more: Any) -> Lived:
    return Run(setup_of(folder, policy, **more)).live()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two coins that turn by turns; the second is dear to hold by its basis now and then."""
    folder = tmp_path_factory.mktemp("two") / "data"
    record(folder, hours=210, rate=turning)
    return record(
        folder, hours=210, coin="BTC", spot="UBTC", px=60_000.0, basis=0.001,
        rate=lambda hour: 0.0001 if 80 <= hour < 170 else 0.00001,
    )  # fmt: skip


@pytest.mark.parametrize("cap, drawdown", [("400", "100"), ("800", "0.4")])
def test_hours_slept_through_decide_nothing(two: Path, cap: str, drawdown: str) -> None:
    """Awake in every hour or only where something may change: the same trades, books and marks."""
    risk = Risk(portfolio_notional_cap=D(cap), max_drawdown_usd=D(drawdown))
    policy = attrs.evolve(QUICK, risk=risk)
    asleep, awake = (lived(two, policy, awake=awake) for awake in (False, True))
    assert asleep.ticks < awake.ticks / 2 + 40
    assert len(own(awake.fills)) >= 4
    assert asleep.fills == awake.fills
    assert asleep.receipts == awake.receipts
    assert asleep.shots[-1] == awake.shots[-1]
    assert asleep.state.latches.keys() == awake.state.latches.keys()
    assert asleep.state.high_water_usd == awake.state.high_water_usd
    assert ("drawdown" in awake.state.latches) == (drawdown == "0.4")


def own(fills: Sequence[Fill]) -> list[Fill]:
    """Without what others did: the venue sweeps coins below a lot once a day."""
    return [fill for fill in fills if fill.cloid is not None]


@pytest.fixture(scope="module")
def turns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("turns") / "data", rate=turning)


@pytest.fixture(scope="module")
def run(turns: Path) -> Lived:
    return lived(turns)


def test_it_enters_earns_leaves_and_every_cent_is_explained(run: Lived) -> None:
    moves = ("entry", "exit", "flat")
    events = [event for one in run.said if (event := getattr(one.what, "event", "")) in moves]
    assert events[:3] == ["entry", "exit", "flat"]
    assert events.count("entry") == 2
    assert run.crashes == ()
    assert len(run.shots) >= 2
    assert [shot.residual_usd for shot in run.shots] == [0] * len(run.shots)
    assert run.state.account.residual_usd == 0
    assert run.pnl.funding_usd > 0 < run.pnl.fees_usd


def test_funding_is_the_printed_rate_times_the_oracle(run: Lived, turns: Path) -> None:
    """The oracle at the payment is the close of the hour before it."""
    track = setup_of(turns).tracks["HYPE"]
    assert len(run.receipts) > 80
    for paid in run.receipts:
        hour = paid.at_ms // HOUR_MS
        oracle = D(track.perp.at(hour - 1).close).scaleb(-8)
        assert paid.rate == track.prints[hour].rate
        assert abs(paid.usd + paid.sz * oracle.quantize(D("0.001")) * paid.rate) <= D("0.000001")


def test_a_decision_fills_from_the_next_open_and_pays_for_it(run: Lived, turns: Path) -> None:
    track = setup_of(turns).tracks["HYPE"]
    assert track.spot is not None
    traded = [fill for fill in own(run.fills) if fill.leg is Leg.SPOT]
    assert len(traded) >= 4
    for fill in traded:
        hour, rest = divmod(fill.at_ms, HOUR_MS)
        assert rest >= 5 * 60_000
        open_px = D(track.spot.at(hour).open).scaleb(-8)
        beyond = (fill.px / open_px - 1) * fill.side.sign
        assert D("0.00005") < beyond < D("0.002"), (fill, open_px)


def test_who_shuffles_the_future_does_not_move_the_past(turns: Path, run: Lived) -> None:
    """Trades, payments and books up to an hour are a function of what was recorded up to it."""
    setup = setup_of(turns)
    cut = setup.start_hour + 120
    track = setup.tracks["HYPE"]
    assert track.spot is not None

    def shuffled(hours: Any) -> Any:
        n = cut - hours.first
        return attrs.evolve(hours, bars=[*hours.bars[:n], *reversed(hours.bars[n:])])

    prints = {
        hour: track.prints[hour] if hour < cut else track.prints[max(track.prints) + cut - hour]
        for hour in track.prints
    }
    other = attrs.evolve(track, perp=shuffled(track.perp), spot=shuffled(track.spot), prints=prints)
    again = Run(attrs.evolve(setup, tracks={"HYPE": other})).live()
    before = cut * HOUR_MS

    def past(rows: Sequence[Any]) -> list[Any]:
        return [row for row in rows if row.at_ms < before]

    assert len(past(run.fills)) >= 8
    assert past(run.fills) == past(again.fills)
    assert past(run.receipts) == past(again.receipts)
    assert past(run.said) == past(again.said)
    assert run.fills != again.fills


def test_fills_an_hour_later_do_not_earn_more(turns: Path, run: Lived) -> None:
    """What only a peek at the bar could earn is gone when the bar is the next one."""
    later = lived(turns, later=1)
    assert later.pnl.net_usd <= run.pnl.net_usd + abs(run.pnl.net_usd) * D("0.05")
    assert later.residual_usd == 0


def test_dearer_books_cost_more(turns: Path, run: Lived) -> None:
    half, twice = (lived(turns, slippage=D(k)) for k in ("0.5", "2"))
    assert half.pnl.slippage_usd > run.pnl.slippage_usd > twice.pnl.slippage_usd
    assert half.residual_usd == twice.residual_usd == 0


def test_one_basis_point_in_the_cost_function_moves_decisions(
    turns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decisions and the rules beside them hear the one cost function."""
    real = economics.cost

    def dearer(*args: Any, **more: Any) -> Any:
        cost = real(*args, **more)
        return cost and attrs.evolve(cost, entry_fees=cost.entry_fees + D("0.0001"))

    base = lived(turns, end_hour=setup_of(turns).start_hour + 60)
    rules = ruled(setup_of(turns))
    monkeypatch.setattr(economics, "cost", dearer)
    other = lived(turns, end_hour=setup_of(turns).start_hour + 60)

    def expected(one: Lived) -> D:
        return D(one.notes("entry")[0][1].fields["expected_net"])

    assert expected(base) - expected(other) == D("0.0001")
    dear = ruled(setup_of(turns))
    for name, rule in rules.items():
        entries = dear[name].rounds + (name == "always in")
        assert abs(dear[name].costs_usd - rule.costs_usd - entries * D("0.04")) <= D("0.05"), name
        assert dear[name].costs_usd > rule.costs_usd or not entries


def test_without_a_spot_book_it_says_so_and_prices_spot_at_the_perp(tmp_path: Path) -> None:
    found = backtest(record(tmp_path / "data", spot=None, hours=100), ("HYPE",), QUICK)
    assert [(one.spot, one.why) for one in found.coverage] == [("perp", "no spot is recorded")]
    # Both legs trade at the same price, so all of basis is half a spread and the lot's rest.
    assert abs(found.bot.total.pnl.basis_usd) < D("0.5")
    assert found.bot.total.pnl.funding_usd > 1
    assert found.residual_usd == 0


def test_funding_of_eight_hours_is_read_as_that(tmp_path: Path) -> None:
    """A second venue: its names, its interval; a rate is of its interval, not of an hour."""
    folder = record(
        tmp_path / "data", coin="BTC", perp_name="BTCUSDT", spot="BTCUSDT", px=60_000.0, every=8,
        hours=600, rate=lambda hour: 0.0008,
    )  # fmt: skip
    setup, _, _ = prepare(folder, (), QUICK)
    one = Run(setup).live()
    assert one.state.carries["BTC"].forecast is not None
    assert one.state.capabilities.interval_h == 8
    assert {paid.at_ms // HOUR_MS % 8 for paid in one.receipts} == {0}
    assert len(one.receipts) > 20
    assert one.residual_usd == 0


def test_a_coin_nobody_knows_is_traded_too(tmp_path: Path) -> None:
    folder = record(tmp_path / "data", coin="WIF", spot="WIF", px=1.7, hours=80)
    one = lived(folder)
    assert one.notes("entry")
    assert one.residual_usd == 0


def test_a_rise_that_liquidates_between_two_decisions(tmp_path: Path) -> None:
    """The high of a bar counts: the short is taken though open and close stand where they were."""
    policy = attrs.evolve(QUICK, execution=attrs.evolve(QUICK.execution, perp_leverage=5))
    folder = record(tmp_path / "data", hours=80, factor=lambda hour: 1.0)
    setup = setup_of(folder, policy, capital_usd=D(550))
    track = setup.tracks["HYPE"]
    bars = list(track.perp.bars)
    bars[60] = bars[60]._replace(high=bars[60].high * 136 // 100)
    spiked = attrs.evolve(track, perp=attrs.evolve(track.perp, bars=bars))
    one = Run(attrs.evolve(setup, tracks={"HYPE": spiked})).live()
    forced = [fill for fill in one.fills if fill.cloid is None and fill.leg is Leg.PERP]
    assert forced
    assert all(fill.side is Side.BUY and fill.at_ms // HOUR_MS == setup.start_hour + 60
               for fill in forced)  # fmt: skip
    assert one.pnl.external_usd < 0
    assert one.residual_usd == 0


def told(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(carry, ["backtest", "--data", str(folder), *words])


def test_the_command_prints_a_table_json_and_weights(turns: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "venue: {name: embedded}\nmarkets: [{base: HYPE}]\nstrategy: {target_usd_notional: 400, "
        "horizon_h: 200, forecast_halflife_h: 6, min_hold_h: 2}\n"
    )
    weights = tmp_path / "weights.csv"
    page = tmp_path / "page.html"
    files = ("--positions", str(weights), "--html", str(page))
    done = told(turns, "--config", str(config), "--json", *files)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    total = found["bot"]["total"]
    assert found["residual_usd"] == "0"
    names = ("funding_usd", "basis_usd", "slippage_usd", "external_usd")
    causes = sum((D(total[name]) for name in names), -D(total["fees_usd"]))
    assert causes == D(total["net_usd"])
    assert sum(D(y["net_usd"]) for y in found["bot"]["years"].values()) == D(total["net_usd"])
    assert list(found["slippage"]) == ["0.5", "1", "2"]
    assert len(found["rules"]) == 3
    rows = [line.split(",") for line in weights.read_text().splitlines()]
    assert rows[0] == ["time", "coin", "weight"]
    assert [D(row[2]) > 0 for row in rows[1:]] == [True, False, True]
    assert rows[1][0].startswith("2025-01-0")
    assert rows[1][0].endswith(":00:00Z")
    assert len(read_positions(weights)) == 3

    drawn = page.read_text()
    assert "Plotly.newPlot" in drawn
    assert all(f'"{name}"' in drawn for name in ("net", "weights", "causes", "rules"))
    assert "src=" not in drawn.split("<script>")[0]

    shown = told(turns, "--config", str(config), "--to", "2025-01-06")
    assert shown.exit_code == 0
    for word in ("on notional", "on capital", "slippage x 2", "always in", "residual $0"):
        assert word in shown.output


def test_a_page_without_plotly_says_which_extra(
    turns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    done = told(turns, "--html", str(tmp_path / "page.html"))
    assert isinstance(done.exception, ReportRefused)
    assert "carry[report]" in str(done.exception)


@pytest.mark.parametrize(
    "words, says",
    [
        (("--coins", "DOGE"), "no funding file for DOGE; it has HYPE"),
        (("--from", "2031-01-01"), "a run needs two days"),
        (("--from", "yesterday"), "not an ISO date"),
    ],
)
def test_a_mistake_is_one_line(turns: Path, words: tuple[str, ...], says: str) -> None:
    done = told(turns, *words)
    assert isinstance(done.exception, BadRecording)
    assert says in str(done.exception)


def test_fees_of_the_policy_do_not_change_what_the_exchange_charges(turns: Path) -> None:
    """The account's own tier is charged; a policy that names dearer ones enters less."""
    dear = attrs.evolve(QUICK, fees=FeePolicy(spot_taker=D("0.01"), perp_taker=D("0.01")))
    assert not lived(turns, dear, end_hour=setup_of(turns).start_hour + 60).fills


def test_the_run_is_a_function_of_its_recording(turns: Path, run: Lived) -> None:
    again = lived(turns)
    assert again.fills == run.fills
    assert again.state == run.state
    assert sum(fill.fee_usd for fill in own(run.fills)) == run.pnl.fees_usd


def test_what_a_backtest_holds_is_shown_beside_simple_rules(turns: Path) -> None:
    found: Backtest = backtest(turns, ("HYPE",), QUICK)
    always = found.rules["always in"]
    assert always.held_h == found.setup.end_hour - found.setup.start_hour
    assert always.rounds == 0
    due = 400 * sum(turning(hour) for hour in range(1, always.held_h))
    assert abs(float(always.funding_usd) - due) < 0.01
    sign = found.rules["sign of the last print"]
    assert sign.rounds == 1
    assert found.bot.nearest is not None
    assert found.bot.nearest > D("0.3")
    assert found.setup.start_hour == T0 // HOUR_MS


def test_liquidation_is_as_near_as_what_was_held_at_the_high(two: Path) -> None:
    """A short that is sold after an hour's high never met it; one bought back after it did."""
    run = lived(two)
    setup, bought = setup_of(two), own(run.fills)[:2]
    coin, hour = bought[0].coin, bought[0].at_ms // HOUR_MS
    track = setup.tracks[coin]
    bars = list(track.perp.bars)
    index = hour - track.perp.first
    bars[index] = bars[index]._replace(high=bars[index].open * 3, close=bars[index].open)
    spiked = attrs.evolve(track, perp=attrs.evolve(track.perp, bars=bars))
    setup = attrs.evolve(setup, tracks={**setup.tracks, coin: spiked})

    def nearest(*minutes: int) -> float:
        short = next(fill for fill in bought if fill.leg is Leg.PERP)
        fills = [
            attrs.evolve(
                short, at_ms=hour * HOUR_MS + minute * 60_000, side=(Side.SELL, Side.BUY)[n]
            )
            for n, minute in enumerate(minutes)
        ]
        found = Movement(setup, attrs.evolve(run, fills=fills, receipts=())).nearest
        assert found is not None
        return found

    through, after = nearest(1, 40), nearest(40)
    assert through < after
