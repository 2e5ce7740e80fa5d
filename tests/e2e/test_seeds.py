"""A newcomer sees a carry, whatever market the exchange draws: entered, hedged, paid, explained."""

import json
from decimal import Decimal
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

SOON_MS = 5_400_000  # at the default speed of 60 these are the 90 s that a newcomer waits


@pytest.mark.parametrize("seed", range(1, 21))
def test_a_carry_on_every_market(folder: Any, seed: int) -> None:
    """Hedged within 90 s at the default speed; then funding is booked and nothing unexplained."""
    folder.configure(seed=seed, interval_ms=5_000)
    bot = folder.start("run")
    folder.wait(lambda status: Decimal(status["pnl"]["funding_usd"]) != 0, 90)
    folder.stop(bot)
    rows = [json.loads(line) for line in (folder.path / "logs/carry.log").read_text().splitlines()]
    began = next(row["at_ms"] for row in rows if row["event"] == "tick")
    hedged = next(row["at_ms"] for row in rows if row["event"] == "hedged")
    assert hedged - began < SOON_MS
    status = folder.status()
    assert Decimal(status["pnl"]["residual_usd"]) == 0
    assert not any(market["naked"] for market in status["markets"])
    assert not [row for row in rows if row["event"] in ("alert", "crash")]
