"""The recorded market: charged as printed, traded as it was, refused when it cannot be read."""

import csv
import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from carry.exchange.model import Exchange
from carry.exchange.options import Usage, build, parse
from carry.exchange.paths import HOUR_MS
from carry.exchange.recorded import BadRecording, RecordedMarket, parse_date

from .conftest import HYPE, HYPE_SPOT, User, beside, touch

T0 = 1_735_689_600_000  # 2025-01-01 00:00 UTC
RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "hl-candles-funding-hippocritical"

Row = tuple[Any, ...]


def write(folder: Path, name: str, header: str, rows: list[Row]) -> None:
    text = "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"
    if name.endswith(".gz"):
        with gzip.open(folder / name, "wt") as file:
            file.write(text)
    else:
        (folder / name).write_text(text)


BARS = "time_ms,open,high,low,close,volume"


def make_recording(folder: Path, hours: int = 30) -> None:
    """HYPE at 25 with a saw tooth, 5 bp over spot; the premium recorded from hour 10 on."""
    perp: list[Row] = []
    spot: list[Row] = []
    funding: list[Row] = []
    for hour in range(hours):
        time = T0 + hour * HOUR_MS
        px = Decimal(25) + Decimal(hour % 5) / 10
        after = Decimal(25) + Decimal((hour + 1) % 5) / 10
        high, low = max(px, after) + Decimal("0.1"), min(px, after) - Decimal("0.1")
        perp.append((time, px, high, low, after, 1000))
        below = Decimal("0.9995")
        spot.append((time, *(f"{value * below:.5f}" for value in (px, high, low, after)), 500))
        rate = "0.0000125" if hour % 3 else "-0.00002"
        funding.append((time + 40, rate, "0.0006" if hour >= 10 else ""))
    write(folder, "perp_HYPE_1h.csv", BARS, perp)
    write(folder, "spot_HYPE_1h.csv.gz", BARS, spot)
    write(folder, "funding_HYPE.csv", "time_ms,funding_rate,premium", funding)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_recording(tmp_path)
    return tmp_path


def test_funding_is_charged_as_recorded_on_the_recorded_oracle(folder: Path) -> None:
    """oracle = perp open / (1 + premium) where a premium is recorded, else perp open."""
    exchange = Exchange(RecordedMarket.read(folder), seed=1)
    assert exchange.now == T0
    user = User(exchange, 1)
    user.order(HYPE, "sell", beside(exchange, HYPE, "sell", 1), "40")
    exchange.advance(T0 + 20 * HOUR_MS + 1_000)
    rows = user.info("userFunding", startTime=0)
    assert len(rows) == 20
    for row in rows:
        hour = (row["time"] - T0) // HOUR_MS
        rate = Decimal("0.0000125") if hour % 3 else Decimal("-0.00002")
        oracle = Decimal(25) + Decimal(hour % 5) / 10
        if hour >= 10:
            oracle = (oracle / Decimal("1.0006")).quantize(Decimal("0.001"))
        assert Decimal(row["delta"]["fundingRate"]) == rate
        exact = Decimal(40) * oracle * rate
        assert Decimal(row["delta"]["usdc"]) == exact.quantize(Decimal("0.000001"))
    history = user.info("fundingHistory", coin="HYPE", startTime=T0)
    assert [row["fundingRate"] for row in history[:3]] == ["-0.00002", "0.0000125", "0.0000125"]


def test_prices_walk_open_low_high_close_and_candles_return_the_bars(folder: Path) -> None:
    exchange = Exchange(RecordedMarket.read(folder), seed=1)
    path = exchange.market.path("HYPE", T0 // HOUR_MS)
    at = [Decimal(path.perp[minute]).scaleb(-8) for minute in (0, 20, 40, 60)]
    assert at == [Decimal(25), Decimal("24.9"), Decimal("25.2"), Decimal("25.1")]
    exchange.advance(T0 + 3 * HOUR_MS)
    req = {"coin": "HYPE", "interval": "1h", "startTime": T0, "endTime": T0 + 3 * HOUR_MS - 1}
    candles = User(exchange, 1).info("candleSnapshot", req=req)
    assert next([c[k] for k in "ohlc"] for c in candles) == ["25.0", "25.2", "24.9", "25.1"]
    assert len(candles) == 3
    bid, ask = touch(exchange, HYPE_SPOT)
    assert bid < Decimal("25.3") * Decimal("0.9995") < ask


def test_joke_prices_and_gaps_pass_through(folder: Path) -> None:
    with gzip.open(folder / "spot_HYPE_1h.csv.gz", "rt") as file:
        rows = [tuple(row) for row in list(csv.reader(file))[1:]]
    joke = (rows[5][0], "25", "100002060", "25", "25.1", 1)
    write(folder, "spot_HYPE_1h.csv.gz", BARS, [*rows[:5], joke, *rows[9:]])
    market = RecordedMarket.read(folder)
    assert max(market.path("HYPE", T0 // HOUR_MS + 5).spot) == 100_002_060 * 10**8
    gap = market.path("HYPE", T0 // HOUR_MS + 7).spot
    assert gap == [2_510_000_000] * 61


def test_the_finest_interval_that_covers_an_hour_is_used(folder: Path) -> None:
    bars = [(T0 + i * 900_000, 30, 31, 29, 30, 1) for i in range(4, 8)]
    write(folder, "perp_HYPE_15m.csv", BARS, bars)
    market = RecordedMarket.read(folder)
    first, second = (market.path("HYPE", T0 // HOUR_MS + i).perp[0] for i in (0, 1))
    assert (first, second) == (25 * 10**8, 30 * 10**8)


@pytest.mark.parametrize("name, header, row, reason", [
    ("perp_HYPE_1h.csv", "time,open,high,low,close", (T0, 1, 1, 1, 1), ":1: columns"),
    ("perp_HYPE_1h.csv", BARS, (T0, "x", 1, 1, 1, 1), ":2: price 'x' is not a number"),
    ("perp_HYPE_1h.csv", BARS, (T0, "nan", 1, 1, 1, 1), ":2: price 'nan' is not a number"),
    ("perp_HYPE_1h.csv", BARS, (T0, 0, 1, 1, 1, 1), ":2: price '0' is not between"),
    ("perp_HYPE_1h.csv", BARS, (T0, 5, 4, 3, 4, 1), ":2: high 4 and low 3 do not hold"),
    ("perp_HYPE_1h.csv", BARS, (T0 + 5, 5, 5, 5, 5, 1), ":2: time_ms 1735689600005 is not a bar"),
    ("perp_HYPE_1h.csv", BARS, ("soon", 5, 5, 5, 5, 1), ":2: time_ms 'soon' is not milliseconds"),
    ("perp_HYPE_1h.csv", BARS, (T0, 5, 5), ":2: 3 fields, expected 6"),
    ("funding_HYPE.csv", "time_ms,funding_rate", (T0, "5"), ":2: funding_rate '5' is not a frac"),
    ("funding_HYPE.csv", "time_ms,funding_rate", (T0, ""), ":2: funding_rate '' is not a number"),
    ("funding_HYPE.csv", "time_ms,rate", (T0, "0.1"), ":1: columns"),
])
def test_bad_files_are_refused_with_file_line_and_reason(
    folder: Path, name: str, header: str, row: Row, reason: str
) -> None:
    write(folder, name, header, [row])
    with pytest.raises(BadRecording) as refused:
        RecordedMarket.read(folder)
    assert f"{folder / name}{reason}" in str(refused.value)
    with pytest.raises(Usage):
        build(parse(["--market", str(folder)]))


def test_rows_must_rise_and_hours_have_one_print(folder: Path) -> None:
    rows = [(T0, "0.1"), (T0, "0.1")]
    write(folder, "funding_HYPE.csv", "time_ms,funding_rate", rows)
    with pytest.raises(BadRecording, match=r":3: time_ms .* is not after"):
        RecordedMarket.read(folder)
    write(folder, "funding_HYPE.csv", "time_ms,funding_rate", [(T0, "0.1"), (T0 + 50, "0.1")])
    with pytest.raises(BadRecording, match="a second print of the same hour"):
        RecordedMarket.read(folder)


def test_missing_and_unreadable_files(folder: Path) -> None:
    (folder / "spot_HYPE_1h.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(BadRecording, match="cannot be read"):
        RecordedMarket.read(folder)
    (folder / "spot_HYPE_1h.csv.gz").unlink()
    with pytest.raises(BadRecording, match="no coin has both"):
        RecordedMarket.read(folder)
    with pytest.raises(BadRecording, match="no spot_HYPE file"):
        RecordedMarket.read(folder, coins=("HYPE",))


def test_from_and_to_choose_the_window(folder: Path) -> None:
    market = RecordedMarket.read(
        folder, since_ms=parse_date("2025-01-01T06:00"), until_ms=parse_date("2025-01-01T12:00")
    )
    assert market.start_ms == T0 + 6 * HOUR_MS
    assert market.printed("HYPE", T0 // HOUR_MS + 11) is not None
    assert market.printed("HYPE", T0 // HOUR_MS + 12) is None
    with pytest.raises(BadRecording, match="not an ISO date"):
        parse_date("yesterday")


def test_a_shifted_recording_plays_on_another_clock(folder: Path) -> None:
    market = RecordedMarket.read(folder)
    before = market.path("HYPE", T0 // HOUR_MS + 3).perp
    market.shift_to(T0 + 1000 * HOUR_MS)
    assert market.start_ms == T0 + 1000 * HOUR_MS
    assert market.path("HYPE", T0 // HOUR_MS + 1003).perp == before
    assert market.printed("HYPE", T0 // HOUR_MS + 1003) is not None


# The recordings are not part of the project; generated ones of the same shape are tested above.
@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}")
def test_real_recordings_load_and_pay_as_printed() -> None:
    since_ms = parse_date("2025-03-01")
    market = RecordedMarket.read(RECORDINGS, coins=("HYPE", "BTC"), since_ms=since_ms)
    assert market.start_ms == parse_date("2025-03-01")
    exchange = Exchange(market, seed=1)
    user = User(exchange, 1)
    user.order(HYPE, "sell", beside(exchange, HYPE, "sell", 1), "40")
    exchange.advance(exchange.now + 24 * HOUR_MS)
    rows = user.info("userFunding", startTime=0)
    assert len(rows) == 23
    for row in rows:
        printed = market.printed("HYPE", row["time"] // HOUR_MS)
        assert printed is not None
        assert Decimal(row["delta"]["fundingRate"]) == printed.rate
    assert exchange.audit() == {}
