"""Small recordings in the shape of real ones: a pure function of their plan."""

import gzip
from collections.abc import Callable
from pathlib import Path

HOUR_MS = 3_600_000
T0 = 1_735_689_600_000  # 2025-01-01 00:00 UTC
BARS = "time_ms,open,high,low,close,volume"


def write(folder: Path, name: str, header: str, rows: list[tuple[object, ...]]) -> None:
    """One gzipped CSV file."""
    text = "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"
    with gzip.open(folder / name, "wt") as file:
        file.write(text)


def wave(hour: int) -> float:
    """A price that goes up and down by some per cent, without a trend."""
    return 1 + (0.01 * (hour % 24) if hour % 48 < 24 else 0.01 * (24 - hour % 24))


def record(
    folder: Path,
    *,
    hours: int = 200,
    coin: str = "HYPE",
    spot: str | None = "HYPE",
    px: float = 25.0,
    rate: Callable[[int], float] = lambda hour: 0.00004,
    factor: Callable[[int], float] = wave,
    basis: float = 0.0005,
    every: int = 1,
    perp_name: str | None = None,
) -> Path:
    """`hours` of a coin: rate by hour, price `px` x `factor`, the perp `basis` above spot."""
    folder.mkdir(exist_ok=True)
    perp, pair, prints = [], [], []
    for hour in range(hours):
        time = T0 + hour * HOUR_MS
        o, c = px * factor(hour), px * factor(hour + 1)
        bar = (o, max(o, c) * 1.002, min(o, c) * 0.998, c)
        perp.append((time, *(f"{value:.5f}" for value in bar), 100))
        pair.append((time, *(f"{value * (1 - basis):.5f}" for value in bar), 100))
        if hour % every == 0:
            prints.append((time + 40, f"{rate(hour):.10f}"))
    name = perp_name or coin
    write(folder, f"perp_{name}_1h.csv.gz", BARS, perp)
    write(folder, f"funding_{name}.csv.gz", "time_ms,funding_rate", prints)
    if spot is not None:
        write(folder, f"spot_{spot}_1h.csv.gz", BARS, pair)
    return folder
