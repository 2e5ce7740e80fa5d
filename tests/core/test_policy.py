"""Defaults that agree with each other, and each relation that refuses what does not."""

from decimal import Decimal as D

import attrs
import pytest

from carry.core.policy import (
    SECTIONS,
    Execution,
    MarketPolicy,
    Policy,
    Risk,
    Strategy,
    knobs,
)
from carry.core.relations import contradictions


def test_the_defaults_hold() -> None:
    assert contradictions(Policy()) == ()


def test_defaults_are_within_their_bounds() -> None:
    for section in SECTIONS:
        for name, knob, default in knobs(type(getattr(Policy(), section))):
            assert knob.why, name
            if default is None:
                assert knob.optional, name
                continue
            assert knob.lo is None or knob.lo <= default, name
            assert knob.hi is None or default <= knob.hi, name
            assert not knob.choices or default in knob.choices, name


@pytest.mark.parametrize(
    "key, policy",
    [
        (
            "strategy.exit_threshold_apr",
            Policy(strategy=Strategy(enter_threshold_apr=D("0.02"), exit_threshold_apr=D("0.02"))),
        ),
        ("strategy.target_usd_notional", Policy(strategy=Strategy(target_usd_notional=D(2001)))),
        (
            "risk.per_symbol_notional_cap",
            Policy(risk=Risk(per_symbol_notional_cap=D(5001))),
        ),
        (
            "strategy.min_exposure_usd",
            Policy(strategy=Strategy(min_exposure_usd=D(201), target_usd_notional=D(200))),
        ),
        ("risk.slice_usd", Policy(strategy=Strategy(min_exposure_usd=D(251)))),
        ("strategy.delta_band_usd", Policy(strategy=Strategy(delta_band_usd=D(1001)))),
        (
            "execution.hedge_repair_stage_ms",
            Policy(execution=Execution(hedge_repair_stage_ms=5001)),
        ),
        (
            "execution.maker_timeout_ms",
            Policy(execution=Execution(style="maker", maker_timeout_ms=60_000)),
        ),
        ("execution.perp_cross", Policy(execution=Execution(perp_cross=False))),
        ("risk.liq_distance_min", Policy(risk=Risk(liq_distance_min=D("0.3")))),
        ("risk.liq_distance_target", Policy(risk=Risk(liq_distance_target=D("0.299")))),
        (
            "execution.perp_leverage",
            Policy(execution=Execution(perp_leverage=5), risk=Risk(collateral_buffer=D(0))),
        ),
        ("risk.hard_cap", Policy(risk=Risk(hard_cap=D(2000)))),
        ("risk.skew_ms_warn", Policy(risk=Risk(skew_ms_warn=5001))),
        ("markets", Policy(markets=(MarketPolicy(base="X"), MarketPolicy(base="X")))),
    ],
)
def test_a_contradiction_is_named(key: str, policy: Policy) -> None:
    ((found, sentence),) = contradictions(policy)
    assert found == key
    assert sentence


@pytest.mark.parametrize(
    "policy",
    [
        Policy(strategy=Strategy(target_usd_notional=D(2000))),
        Policy(risk=Risk(per_symbol_notional_cap=D(5000))),
        Policy(strategy=Strategy(min_exposure_usd=D(250))),
        Policy(strategy=Strategy(delta_band_usd=D(1000))),
        Policy(execution=Execution(hedge_repair_stage_ms=5000)),
        Policy(execution=Execution(style="maker", maker_timeout_ms=59_999)),
        Policy(execution=Execution(maker_timeout_ms=60_000)),
        Policy(risk=Risk(liq_distance_min=D("0.299"))),
        Policy(risk=Risk(liq_distance_target=D("0.3"))),
        Policy(execution=Execution(perp_leverage=5), risk=Risk(collateral_buffer=D("0.001"))),
        Policy(risk=Risk(hard_cap=D(2001))),
        Policy(risk=Risk(skew_ms_warn=5000)),
    ],
)
def test_at_the_relation_it_holds(policy: Policy) -> None:
    assert contradictions(policy) == ()


def test_a_leverage_that_leaves_no_room_is_refused_with_both_numbers() -> None:
    """Leverage 5 without a buffer: spot is 5/6 of the equity, and 1/6 backs 5/6: a rise of 20 %."""
    tight = Policy(execution=Execution(perp_leverage=5), risk=Risk(collateral_buffer=D(0)))
    ((_, sentence),) = contradictions(tight)
    assert "a rise of 0.2 at entry" in sentence
    assert "liq_distance_min 0.2" in sentence


def test_markets_by_name_and_their_reserve() -> None:
    policy = Policy(
        markets=(MarketPolicy(base="HYPE"), MarketPolicy(base="BTC", reserve_sz=D("0.5")))
    )
    assert policy.coins == ("BTC", "HYPE")
    assert policy.reserve_of("BTC") == D("0.5")
    assert policy.reserve_of("HYPE") == policy.reserve_of("DOGE") == 0


def test_nested_sections_are_no_knobs() -> None:
    names = [name for name, _, _ in knobs(Strategy)]
    assert "horizon_h" in names
    assert "volatility" not in names
    assert [f.name for f in attrs.fields(Strategy)][-1] == "volatility"


def test_tokens_named_by_their_id() -> None:
    token = "0x" + "1" * 32
    policy = Policy(markets=(MarketPolicy(base="HYPE", token_id=token), MarketPolicy(base="BTC")))
    assert policy.token_ids == {"HYPE": token}
