"""`carry data check`: what is wrong with a recording, by file and line."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from carry.cli.main import carry
from carry.exchange.recorded import BadRecording
from carry.research.data_check import check

from .recordings import BARS, HOUR_MS, T0, record, write

RECORDINGS = Path(__file__).parents[3] / "shared" / "data" / "hl-candles-funding-hippocritical"


def bar(hour: int, *px: object) -> tuple[object, ...]:
    return (T0 + hour * HOUR_MS, *(px or (25, 26, 24, 25)), 1)


def said(folder: Path) -> list[str]:
    return [str(one) for one in check(folder) if one.kind != "covers"]


def test_a_clean_folder_says_what_it_covers(tmp_path: Path) -> None:
    folder = record(tmp_path / "data", hours=50)
    assert said(folder) == []
    covers = [one.text for one in check(folder)]
    assert covers == ["2025-01-01T00:00Z to 2025-01-03T01:00Z, 50 of 50 rows, every 60 minutes"] * 3


@pytest.mark.parametrize(
    "rows, says",
    [
        ([bar(0), bar(3)], "3: doubt: 2 bars are missing before 2025-01-01T03:00Z"),
        ([bar(0), bar(0)], "3: fault: 2025-01-01T00:00Z a second time"),
        ([bar(1), bar(0)], "3: fault: 2025-01-01T00:00Z comes after 2025-01-01T01:00Z"),
        ([bar(0), bar(1, 25, 24, 26, 25)], "3: fault: open 25, high 24, low 26"),
        ([bar(0), bar(1, 25, 26, -1, 25)], "3: fault: open 25"),
        ([bar(0), bar(1, 25, 100002060, 25, 25)], "3: doubt: 100002060 after a close of 25"),
        ([bar(0), (T0 + HOUR_MS, 25, "x", 24, 25, 1)], "3: fault: '1735693200000,25,x,24,25,1'"),
        ([bar(0), (T0 + 90_000, 25, 26, 24, 25, 1)], "3: fault: 2025-01-01T00:01Z is no bar's"),
    ],
)
def test_each_oddity_is_named_with_its_line(
    tmp_path: Path, rows: list[tuple[object, ...]], says: str
) -> None:
    write(tmp_path, "perp_HYPE_1h.csv.gz", BARS, rows)
    assert any(line.startswith(f"perp_HYPE_1h.csv.gz:{says}") for line in said(tmp_path))


def test_prints_of_another_interval_are_one_line_a_stretch(tmp_path: Path) -> None:
    hours = [0, 8, 16, 24, *range(25, 60), 62]
    rows: list[tuple[object, ...]] = [(T0 + hour * HOUR_MS + 50, "0.00001") for hour in hours]
    rows[10] = (T0 + hours[10] * HOUR_MS + 900_000, "0.05")
    write(tmp_path, "funding_HYPE.csv.gz", "time_ms,funding_rate", rows)
    lines = said(tmp_path)
    assert "8 hours between payments before 2025-01-01T08:00Z, 3 times; usually 1" in lines[2]
    assert "15.0 minutes from the hour" in lines[0]
    assert "beyond the venue's cap" in lines[1]
    assert "doubt: 3 hours between payments" in lines[3]


def test_the_command_fails_on_what_a_backtest_refuses(tmp_path: Path) -> None:
    def told(*words: str) -> Any:
        return CliRunner().invoke(carry, ["data", "check", str(tmp_path), *words])

    assert isinstance(told().exception, BadRecording)
    write(tmp_path, "perp_HYPE_1h.csv.gz", BARS, [bar(0), bar(3)])
    assert told().exit_code == 0
    (tmp_path / "spot_HYPE_1h.csv.gz").write_bytes(b"no gzip")
    done = told("--json")
    kinds = [(row["file"], row["kind"]) for row in json.loads(done.output)]
    assert ("spot_HYPE_1h.csv.gz", "fault") in kinds


def test_real_recordings_have_oddities_and_no_fault(tmp_path: Path) -> None:
    if not RECORDINGS.is_dir():
        # The recordings are not part of the project; files with each fault are made above.
        pytest.skip("no recordings beside this checkout (shared/data)")
    for name in ("funding_BTC.csv.gz", "spot_UBTC_1h.csv.gz"):
        (tmp_path / name).symlink_to(RECORDINGS / name)
    found = list(check(tmp_path))
    assert [one for one in found if one.kind == "fault"] == []
    # Joke prices of a new pair, and payments that are missing, as its description says.
    assert any("spot_UBTC" in one.file and "after a close of" in one.text for one in found)
    assert any("2024-08-15T14:00Z" in one.text for one in found)
