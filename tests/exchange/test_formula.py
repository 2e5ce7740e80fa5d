"""Funding from premium: the core's formula, the exchange's, and what the venue recorded."""

import csv
import gzip
import random
from decimal import Decimal as D
from pathlib import Path

import pytest

from carry.core.economics import rate_of_premium
from carry.exchange.funding import hourly_rate
from carry.exchange.market import SeededMarket
from carry.exchange.model import Exchange

from .conftest import User

NEAR = D("5e-11")
RECORDED = (
    Path(__file__).parents[3] / "shared" / "data" / "hl-funding-premium-mikealparsons7"
    / "funding_history_BTC_ETH.csv.gz"
)


def test_two_formulas_that_share_no_code_agree() -> None:
    draw = random.Random(11)
    for _ in range(2_000):
        premium = D(draw.randint(-10**8, 10**8)).scaleb(-draw.choice((9, 10, 11)))
        assert abs(rate_of_premium(premium, 1) - hourly_rate(premium)) <= NEAR


def test_within_the_dead_band_it_is_the_interest_alone() -> None:
    assert rate_of_premium(D("-0.0004"), 1) == rate_of_premium(D("0.0006"), 1) == D("0.0000125")
    assert rate_of_premium(D("0.00061"), 1) > D("0.0000125") > rate_of_premium(D("-0.00041"), 1)
    assert rate_of_premium(D("0.002"), 8) == 8 * rate_of_premium(D("0.002"), 1)


def test_a_generated_recording_is_the_formula_of_its_premium() -> None:
    exchange = Exchange(SeededMarket(3, 1_735_689_600_000, ("HYPE", "BTC")), seed=3)
    begins = exchange.now
    exchange.advance(begins + 30 * 3_600_000)
    rows = User(exchange, 1).info("fundingHistory", coin="HYPE", startTime=begins)
    assert len(rows) >= 29
    assert len({row["premium"] for row in rows}) > 20
    for row in rows:
        assert abs(rate_of_premium(D(row["premium"]), 1) - D(row["fundingRate"])) <= NEAR


# The recordings are not part of the project; a generated one of the same shape is tested above.
@pytest.mark.skipif(not RECORDED.is_file(), reason=f"no recordings at {RECORDED}")
def test_recorded_funding_is_the_formula_of_its_premium() -> None:
    """Every row from 2023-12-12 on; before, the venue sampled otherwise."""
    checked = 0
    with gzip.open(RECORDED, "rt", newline="") as file:
        for row in csv.DictReader(file):
            if row["timestamp"] >= "2023-12-12":
                off = rate_of_premium(D(row["premium"]), 1) - D(row["funding_rate"])
                assert abs(off) <= NEAR, row
                checked += 1
    assert checked > 24_000
