"""The yardstick: scored by hand, against a second optimum, and on the known rules."""

import csv
import gzip
import itertools
import json
import random
from datetime import datetime, timezone
from pathlib import Path

import attrs
import pytest

from carry.core.policy import Strategy
from carry.exchange.recorded import BadRecording
from carry.research import choosing, holding, positions
from carry.research import yardstick_report as reports
from carry.research.yardstick import (
    Costs,
    Panel,
    Series,
    always_in,
    optimum,
    read_panel,
    regular,
    score,
    spread_bps,
    subsets,
)

RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "hl-candles-funding-hippocritical"
COINS = ("BTC", "ETH", "SOL", "HYPE", "PURR")
HOUR_MS = 3_600_000


def hour(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() // 3600)


def panel(first: int = 0, **prints: list[float]) -> Panel:
    """Markets with a print every hour from 0 on."""
    series = {c: Series(1, dict(enumerate(rates))) for c, rates in prints.items()}
    return Panel(series, first, max(len(r) for r in prints.values()) - 1)


def test_a_decision_is_paid_the_print_after_it_and_half_a_round_trip_each_way() -> None:
    """Held by the decisions of hours 1 and 2: paid the prints of 2 and 3."""
    made = panel(BTC=[0.1, 0.2, 0.4, 0.8, 1.6])
    held = [(1, {"BTC": 1.0}), (3, {})]
    found = score(made, Costs(8.5), held)
    assert found.funding == pytest.approx(0.4 + 0.8)
    assert found.paid == pytest.approx((8.5 + 1.5) / 1e4)
    assert (found.trips, found.hours_in, found.hours) == (1, 2, 4)
    assert found.net == found.funding - found.paid


def test_weights_are_fractions_and_a_switch_pays_both_markets() -> None:
    made = panel(BTC=[0.0] * 5, ETH=[0.0] * 5)
    found = score(made, Costs(10.0), [(0, {"BTC": 0.5}), (2, {"ETH": 0.5}), (3, {"ETH": 0.25})])
    btc, eth = (10 + 1.5) / 2e4, (10 + 2) / 2e4
    assert found.paid == pytest.approx(0.5 * 2 * btc + 0.5 * 2 * eth)
    assert (found.trips, found.weight_max) == (1.0, 0.5)


def test_what_is_held_at_the_end_is_left() -> None:
    made = panel(BTC=[0.0, 0.0, 0.01])
    assert score(made, Costs(18.5), always_in(made, "BTC")).net == pytest.approx(0.01 - 0.002)


def by_trial(made: Panel, costs: Costs) -> float:
    """Every path of positions, hour by hour."""
    best = 0.0
    for path in itertools.product((None, *made.coins), repeat=made.last - made.first):
        rows = [(made.first + n, {c: 1.0} if c else {}) for n, c in enumerate(path)]
        best = max(best, score(made, costs, rows, best=1.0).net)
    return best


@pytest.mark.parametrize("seed", range(6))
def test_the_optimum_is_the_best_of_every_path(seed: int) -> None:
    draw = random.Random(seed)
    rates = {c: [draw.gauss(0, 0.003) for _ in range(7)] for c in ("BTC", "PURR")}
    made = panel(**rates)
    assert optimum(made, Costs(17.0)) == pytest.approx(by_trial(made, Costs(17.0)), abs=1e-15)


def test_no_positions_beat_the_optimum() -> None:
    draw = random.Random(1)
    made = panel(**{c: [draw.gauss(0.00001, 0.0004) for _ in range(300)] for c in COINS})
    best = optimum(made, Costs(17.0))
    assert best > 0
    for _ in range(50):
        rows, at = [], 0
        while at < 299:
            rows.append((at, {draw.choice(COINS): 1.0}))
            at += draw.randint(1, 60)
        assert score(made, Costs(17.0), rows, best).net <= best


def test_positions_in_a_file_are_those_that_were_written(tmp_path: Path) -> None:
    rows = [(470_000, {"BTC": 1.0}), (470_005, {"ETH": 0.5}), (470_009, {})]
    path = tmp_path / "positions.csv"
    assert positions.write_positions(path, rows) == 4
    assert path.read_text().splitlines()[:3] == [
        "time,coin,weight",
        "2023-08-14T08:00:00Z,BTC,1",
        "2023-08-14T13:00:00Z,BTC,0",
    ]
    read = [
        (at, {c: w for c, w in held.items() if w}) for at, held in positions.read_positions(path)
    ]
    assert read == rows


@pytest.mark.parametrize(
    "text, reason",
    [
        ("time,coin\n", ":1: columns"),
        ("time,coin,weight\nsoon,BTC,1\n", ":2: time 'soon'"),
        ("time,coin,weight\n1700000000000,BTC,-1\n", ":2: weight '-1'"),
        ("time,coin,weight\n1700000000000,BTC,nan\n", ":2: weight 'nan'"),
        ("time,coin,weight\n1700000000000,BTC\n", ":2: 2 fields"),
        (
            "time,coin,weight\n1700000000000,A,1\n1600000000000,A,1\n",
            ":3: time 1600000000000 is bef",
        ),
    ],
)
def test_bad_positions_are_refused_by_line(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(positions.BadPositions, match=reason):
        positions.read_positions(path)


def test_a_time_within_an_hour_is_of_that_hour(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("time,coin,weight\n2023-08-14T08:00:07.5,BTC,1\n1692007199000,BTC,0\n")
    assert [at for at, _ in positions.read_positions(path)] == [470_000, 470_001]


def test_markets_that_the_panel_lacks_and_hours_that_fall_are_refused() -> None:
    made = panel(BTC=[0.0] * 5)
    with pytest.raises(ValueError, match="ETH is not in the panel"):
        score(made, Costs(1), [(0, {"ETH": 1.0})])
    with pytest.raises(ValueError, match="hour 0 is not after 1"):
        score(made, Costs(1), [(1, {"BTC": 1.0}), (0, {})])


def write(folder: Path, coin: str, rows: list[tuple[int, str]]) -> None:
    with gzip.open(folder / f"funding_{coin}.csv.gz", "wt", newline="") as file:
        out = csv.writer(file)
        out.writerow(["time_ms", "funding_rate"])
        out.writerows((at * HOUR_MS + 40, rate) for at, rate in rows)


def test_a_folder_of_funding_is_read_from_where_it_is_regular(tmp_path: Path) -> None:
    """A venue that paid every eight hours at first; one print is missing later."""
    rows = [(h, "0.0008") for h in range(470_000, 470_080, 8)]
    rows += [(h, "0.0001") for h in range(470_080, 470_180) if h != 470_150]
    write(tmp_path, "BTC", rows)
    write(tmp_path, "ETH", [(h, "-0.0001") for h in range(470_100, 470_180)])
    made = read_panel(tmp_path)
    assert (made.coins, made.first, made.last) == (("BTC", "ETH"), 470_080, 470_179)
    assert made.paid("BTC", 470_149) == 0
    assert read_panel(tmp_path, ("ETH",), 470_120, 470_150).first == 470_120
    for bad, reason in ((("SOL",), "no funding_SOL.csv; there is BTC, ETH"), ((), "no 24 hours")):
        with pytest.raises(BadRecording, match=reason):
            read_panel(tmp_path, bad, 470_120, 470_130)


def test_eight_hourly_prints_are_a_market_of_eight_hours() -> None:
    found = regular(dict.fromkeys(range(0, 800, 8), 0.0001))
    assert (found.interval_h, len(found.prints)) == (8, 100)
    assert regular({0: 0.1, 1: 0.1}).prints == {}


def test_spreads_go_by_the_base() -> None:
    assert [spread_bps(c, {"XYZ": 9}) for c in ("BTC", "BTCUSDT", "XYZUSDC", "ABC")] == [
        1.5,
        1.5,
        9,
        5,
    ]
    assert len(subsets(COINS)) == 31
    assert len(subsets(tuple("ABCDEFGH"))) == 9


# --- the bot's rule -------------------------------------------------------------------------------


def test_it_holds_what_pays_and_leaves_it_for_what_pays_more() -> None:
    slow, fast = [0.0000125] * 800, [0.0] * 300 + [0.0002] * 500
    made = panel(BTC=slow, PURR=fast)
    found = holding.bot(made, Costs(17.0), Strategy())
    assert [held for _, held in found] == [{"BTC": 1.0}, {"PURR": 1.0}]
    assert found[0][0] == 7, "eight hours are known, then the baseline is enough"
    assert 305 < found[1][0] < 360


def test_it_leaves_what_loses_for_long_and_not_on_a_sign() -> None:
    dips = [0.00002] * 200 + [-0.00005] * 12 + [0.00002] * 300
    assert len(holding.bot(panel(BTC=dips), Costs(17.0), Strategy())) == 1
    turned = [0.00002] * 200 + [-0.00005] * 800
    assert [held for _, held in holding.bot(panel(BTC=turned), Costs(17.0), Strategy())] == [
        {"BTC": 1.0},
        {},
    ]


def test_dearer_costs_enter_never_more() -> None:
    rates = [0.00003] * 400
    entered = [
        len(holding.bot(panel(BTC=rates), Costs(c), Strategy())) for c in (5.0, 100.0, 195.0, 300.0)
    ]
    assert entered == [1, 1, 0, 0]


def wandering(draw: random.Random, hours: int = 900) -> list[float]:
    """Funding whose level changes every 150 hours."""
    levels = [draw.gauss(0.00002, 0.00015) for _ in range(0, hours, 150)]
    return [level + draw.gauss(0, 0.00003) for level in levels for _ in range(150)]


def test_the_future_does_not_move_the_past() -> None:
    draw = random.Random(3)
    rates = {c: wandering(draw) for c in COINS}
    whole = holding.bot(panel(**rates), Costs(11.0), Strategy())
    cut = {c: r[:500] + [draw.gauss(0, 0.001) for _ in r[500:]] for c, r in rates.items()}
    other = holding.bot(panel(**cut), Costs(11.0), Strategy())
    past = [row for row in whole if row[0] < 500]
    assert past == [row for row in other if row[0] < 500]
    assert len(past) > 1


def test_shifted_and_renamed_it_holds_the_same() -> None:
    draw = random.Random(4)
    rates = {c: wandering(draw) for c in ("BTC", "ETH")}
    costs = Costs(11.0, {"BTC": 2.0, "ETH": 2.0, "A": 2.0, "B": 2.0})
    base = holding.bot(panel(**rates), costs, Strategy())
    renamed = holding.bot(panel(A=rates["BTC"], B=rates["ETH"]), costs, Strategy())
    names = {"A": "BTC", "B": "ETH"}
    assert [(h, {names[c]: w for c, w in held.items()}) for h, held in renamed] == base
    later = Panel(
        {c: Series(1, {h + 5000: r for h, r in enumerate(rs)}) for c, rs in rates.items()},
        5000,
        5899,
    )
    assert [(h - 5000, held) for h, held in holding.bot(later, costs, Strategy())] == base
    assert len(base) > 1


def test_a_market_that_never_pays_changes_nothing() -> None:
    draw = random.Random(5)
    rates = {c: wandering(draw) for c in ("BTC", "ETH")}
    beside = holding.bot(panel(**rates, ZZZ=[-0.0001] * 900), Costs(17.0), Strategy())
    assert beside == holding.bot(panel(**rates), Costs(17.0), Strategy())


# --- the recorded panel ---------------------------------------------------------------------------

# The recordings are not part of the project; drawn funding is scored by the same code above.
recorded = pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}")


@pytest.fixture(scope="module")
def real() -> Panel:
    return read_panel(RECORDINGS, COINS, hour("2023-06-12"))


@recorded
def test_known_rules_capture_what_they_are_known_to(real: Panel) -> None:
    """At 17 bps: 17, 47, 47 (97 of BTC alone), 89 and 93 %. What a rule does at the first prints of
    a market, and at ties, is not told; that is within two points."""
    costs, best = Costs(17.0), optimum(real, Costs(17.0))

    def captured(rows: holding.Positions) -> float:
        return 100 * score(real, costs, rows, best).capture

    week = holding.ranked(real, costs, lambda c: holding.mean_rates(real, c, 168, 24), 192, 168)
    slow = holding.ranked(real, costs, lambda c: holding.ewma_rates(real, c, 120, 24), 192, 0)
    alone = real.of(["BTC"])
    assert captured(holding.threshold(real, 0, 0)) == pytest.approx(17, abs=1)
    assert captured(holding.threshold(real, 0.2, 0.05)) == pytest.approx(47, abs=1)
    assert captured(always_in(real, "BTC")) == pytest.approx(47, abs=0.5)
    assert 100 * score(alone, costs, always_in(alone, "BTC")).capture == pytest.approx(97, abs=1)
    assert captured(week) == pytest.approx(89, abs=1)
    assert captured(slow) == pytest.approx(93, abs=1)


@recorded
def test_the_shipped_defaults_reach_the_goal(real: Panel) -> None:
    """93 % at 17 bps, 92 % at 23; where one market alone is allowed, always-in less 3 points."""
    known = {c: holding.forecasts(real, c, Strategy().forecast_halflife_h) for c in COINS}
    for bps, goal in ((17.0, 0.93), (23.0, 0.92)):
        rows = holding.bot(real, Costs(bps), Strategy(), known)
        assert score(real, Costs(bps), rows).capture >= goal
    for coin in COINS:
        alone, costs = real.of([coin]), Costs(17.0)
        best = optimum(alone, costs)
        ours = score(alone, costs, holding.bot(alone, costs, Strategy(), known), best).capture
        assert ours >= score(alone, costs, always_in(alone, coin), best).capture - 0.03


@recorded
def test_switching_by_the_last_print_is_ruinous(real: Panel) -> None:
    """The same bot with a forecast of one hour and no edge loses most of it."""
    hasty = attrs.evolve(
        Strategy(),
        forecast_halflife_h=1,
        switch_edge_bps=Strategy().switch_edge_bps * 0,
        min_hold_h=0,
    )
    made, costs = attrs.evolve(real, first=hour("2025-01-01")).of(["HYPE", "PURR"]), Costs(17.0)
    assert score(made, costs, holding.bot(made, costs, hasty)).capture < 0


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = random.Random(7)
    for coin in ("BTC", "PURR"):
        rates = wandering(draw, 1800)
        write(tmp_path, coin, [(470_000 + n, f"{rate:.8f}") for n, rate in enumerate(rates)])
    return tmp_path


def run(folder: Path, *words: str) -> tuple[int, str]:
    from click.testing import CliRunner

    from carry.cli.yardstick import yardstick

    found = CliRunner().invoke(yardstick, ["--data", str(folder), *words], standalone_mode=False)
    if isinstance(found.exception, Exception) and not isinstance(found.exception, SystemExit):
        return 2, str(found.exception)
    return 0, found.stdout


def test_the_positions_it_writes_score_what_it_reports(folder: Path) -> None:
    path = folder / "held.csv"
    _, told = run(folder, "--cost", "17", "--json", "--positions", str(path))
    whole = json.loads(told)["costs"][0]["whole"]
    _, again = run(folder, "--cost", "17", "--json", "--score", str(path))
    scored = json.loads(again)[0]
    assert scored["net"] == pytest.approx(whole["net"], abs=1e-12)
    assert scored["capture"] == pytest.approx(whole["capture"], abs=1e-12)
    assert whole["round_trips"] > 0


def test_its_tables_name_the_worst_and_every_subset(folder: Path) -> None:
    _, told = run(folder, "--subsets")
    assert "BTC+PURR" in told
    assert "sign of the last print" in told
    assert "worst subset" in told


@pytest.mark.parametrize("words, reason", [
    (("--coins", "SOL"), "no funding_SOL.csv; there is BTC, PURR"),
    (("--spread", "BTC"), "write COIN=BPS"),
    (("--from", "2031-01-01"), "no 24 hours of funding in the time asked for"),
    (("--from", "soon"), "soon: not an ISO date"),
    (("--score", "nowhere.csv"), "nowhere.csv: cannot be read"),
])
def test_mistakes_are_one_line(folder: Path, words: tuple[str, ...], reason: str) -> None:
    code, told = run(folder, *words)
    assert code == 2
    assert reason in told


def test_the_search_agrees_with_the_core(folder: Path) -> None:
    """Floats choose, Decimal decides: the same capture, whatever the strategy and subset."""
    made = read_panel(folder)
    grid = choosing.candidates()[::20]
    found = choosing.search(made, grid, (17.0, 40.0))
    for n, strategy in enumerate(grid):
        for k, bps in enumerate((17.0, 40.0)[: 1 + n % 2]):
            for m, coins in enumerate(subsets(made.coins)):
                part = made.of(coins)
                exact = score(part, Costs(bps), holding.bot(part, Costs(bps), strategy)).capture
                assert found.captures[n, k, m] == pytest.approx(exact, abs=1e-9)


def test_each_year_is_judged_by_a_choice_of_the_years_before(folder: Path) -> None:
    """The hours run from 2023-08-14 to 2023-10-28: no year begins, so nothing is chosen."""
    made = read_panel(folder)
    assert reports.walk_forward(made, (17.0,)) == []
    later = Panel(
        {c: Series(1, {h + 3000: r for h, r in one.prints.items()})
         for c, one in made.series.items()},
        made.first + 3000, made.last + 3000,
    )
    (row,) = reports.walk_forward(later, (17.0,))
    assert row["year"] == 2024
    spoilt = attrs.evolve(later, series={
        c: Series(1, {h: r if h <= hour("2024-01-01") else -r for h, r in one.prints.items()})
        for c, one in later.series.items()
    })
    (other,) = reports.walk_forward(spoilt, (17.0,))
    assert [row[k] for k in ("horizon_h", "switch_edge_bps", "min_hold_h", "before")] == [
        other[k] for k in ("horizon_h", "switch_edge_bps", "min_hold_h", "before")
    ]
    assert row["after"] != other["after"]
