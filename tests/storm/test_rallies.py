"""Rallies, a gap and recorded crashes: the bot shrinks in time, and nothing is ever liquidated."""

import gzip
from decimal import Decimal as D
from pathlib import Path

import pytest

from carry.storm import rallies
from carry.storm.rallies import Track, drawn, read_bars, recorded, ride, table

TRACKS = {track.name: track for track in drawn()}
HOURS = 400


@pytest.mark.parametrize("mode", rallies.MODES)
def test_a_coin_that_doubles_in_a_day(mode: str) -> None:
    """At leverage 5 the short would be gone at a third of the way; half of the carry is kept."""
    found = ride(TRACKS["+100 % in a day"], mode, 5)
    assert not found.liquidated
    assert found.without
    assert D("0.30") < found.distance < D("0.45")
    assert D("0.10") < found.nearest < D("0.20"), "it shrinks below 20 %, and well before the end"
    assert found.kept > D("0.3")
    assert found.sold_usd > 400
    assert (found.moved_usd > 0) is (mode == "split")


@pytest.mark.parametrize("mode", rallies.MODES)
def test_a_gap_in_which_nobody_ticks(mode: str) -> None:
    """What is held at entry stands a gap of 30 % by itself; after it the carry shrinks at once."""
    found = ride(TRACKS["a gap of 30 %"], mode, 5)
    assert not found.liquidated
    assert D(0) < found.nearest < D("0.06")
    assert D("0.6") < found.kept < 1


def test_the_judge_liquidates_what_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule the same account is liquidated: else the rides would prove nothing."""
    monkeypatch.setattr("carry.core.deleverage.too_near", lambda state: False)
    assert ride(TRACKS["+50 % in a day"], "unified", 5).liquidated


def recording(path: Path) -> Path:
    """Bars as a venue records them: a crash by half in the middle of March 2020, then a rebound."""
    first_ms = rallies.CRASHES[0][1]
    lines = ["time_ms,open,high,low,close"]
    for hour in range(HOURS):
        px = 8_000 if hour < 200 else 4_000 + 25 * min(hour - 200, 120)
        lines.append(f"{first_ms + hour * 3_600_000},{px},{px * 1.01},{px * 0.99},{px}")
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def test_tracks_of_a_recording(tmp_path: Path) -> None:
    bars = read_bars(recording(tmp_path / "mark_BTCUSDT_1h.csv.gz"))
    found = {track.name: track for track in recorded(bars, "BTC")}
    assert list(found) == [
        "BTC 2020-03", "BTC 2020-03, from the low", "BTC best of a day", "BTC best of a week",
    ]  # fmt: skip
    rebound = found["BTC 2020-03, from the low"]
    assert rebound.points[0] == D("3960"), "the low itself"
    assert D("0.7") < rebound.rise < D("0.8"), "4000 + 25 x 120, a hundredth above"
    assert found["BTC 2020-03"].points[1] < found["BTC 2020-03"].points[2], "the low first"


def test_a_recorded_rebound_is_outlived(tmp_path: Path) -> None:
    bars = read_bars(recording(tmp_path / "mark_BTCUSDT_1h.csv.gz"))
    track = next(t for t in recorded(bars, "BTC") if "low" in t.name)
    short = Track(name=track.name, coin="HYPE", points=track.points[:40])
    found = ride(short, "split", 3)
    assert not found.liquidated
    assert found.without
    assert "| HYPE" not in table([found]), "the path is named, not the coin it is played with"
    assert table([found]).splitlines()[2].startswith("| BTC 2020-03, from the low | ")
