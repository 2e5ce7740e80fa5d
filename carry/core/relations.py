"""Relations between the tunables: which policies contradict themselves, and what would come of it.

Each is (holds, the key it names, a sentence with values, bound and consequence).
"""

from collections.abc import Iterator
from decimal import Decimal

from .num import ONE, show
from .policy import Policy

Relation = tuple[bool, str, str]


def contradictions(policy: Policy) -> tuple[tuple[str, str], ...]:
    """Relations that do not hold, as (key, sentence)."""
    relations = (*_sizes(policy), *_margins(policy), *_orders(policy), *_clocks(policy))
    return tuple((key, sentence) for holds, key, sentence in relations if not holds)


def _sizes(policy: Policy) -> Iterator[Relation]:
    s, r = policy.strategy, policy.risk
    yield (
        s.exit_threshold_apr < s.enter_threshold_apr,
        "strategy.exit_threshold_apr",
        f"{s.exit_threshold_apr} must be below enter_threshold_apr {s.enter_threshold_apr}: "
        "otherwise a carry is left on the tick after it is entered",
    )
    yield (
        s.target_usd_notional <= r.per_symbol_notional_cap,
        "strategy.target_usd_notional",
        f"{s.target_usd_notional} is above risk.per_symbol_notional_cap "
        f"{r.per_symbol_notional_cap}: "
        "the target could never be reached",
    )
    yield (
        r.per_symbol_notional_cap <= r.portfolio_notional_cap,
        "risk.per_symbol_notional_cap",
        f"{r.per_symbol_notional_cap} is above portfolio_notional_cap {r.portfolio_notional_cap}: "
        "one market could never reach its cap",
    )
    yield (
        s.min_exposure_usd <= s.target_usd_notional,
        "strategy.min_exposure_usd",
        f"{s.min_exposure_usd} is above target_usd_notional {s.target_usd_notional}: "
        "every carry would be dust",
    )
    yield (
        s.min_exposure_usd <= r.slice_usd,
        "risk.slice_usd",
        f"{r.slice_usd} is below strategy.min_exposure_usd {s.min_exposure_usd}: "
        "no slice could be traded",
    )
    yield (
        r.budget_actions_floor <= r.budget_actions_min,
        "risk.budget_actions_floor",
        f"{r.budget_actions_floor} is above budget_actions_min {r.budget_actions_min}: "
        "what is entered could not be worked",
    )
    yield (
        s.delta_band_usd is None or s.delta_band_usd <= s.target_usd_notional,
        "strategy.delta_band_usd",
        f"{s.delta_band_usd} is above target_usd_notional {s.target_usd_notional}: "
        "the hedge would never be kept",
    )


def _margins(policy: Policy) -> Iterator[Relation]:
    e, r = policy.execution, policy.risk
    yield (
        r.liq_distance_min < r.liq_distance_warn,
        "risk.liq_distance_min",
        f"{r.liq_distance_min} must be below liq_distance_warn {r.liq_distance_warn}: a carry "
        "would be shrunk before anybody is told",
    )
    yield (
        r.liq_distance_warn <= r.liq_distance_target,
        "risk.liq_distance_target",
        f"{r.liq_distance_target} is below liq_distance_warn {r.liq_distance_warn}: what was just "
        "shrunk or entered would still be warned of",
    )
    # At entry spot is equity x L/(1+L) x (1-buffer), in either account mode, and the rest backs the
    # short; the best case, without maintenance margin.
    entry = (ONE + ONE / e.perp_leverage) / (ONE - r.collateral_buffer) - ONE
    yield (
        entry > r.liq_distance_min,
        "execution.perp_leverage",
        f"{e.perp_leverage} with collateral_buffer {r.collateral_buffer} leaves room for a rise of "
        f"{show(entry.quantize(Decimal('0.0001')))} at entry, which is not beyond liq_distance_min "
        f"{show(r.liq_distance_min)}: a carry of full size would be shrunk once it is entered",
    )
    yield (
        r.hard_cap is None or r.hard_cap > r.per_symbol_notional_cap,
        "risk.hard_cap",
        f"{r.hard_cap} must be above per_symbol_notional_cap {r.per_symbol_notional_cap}, to which "
        "it shrinks: a leg of full size would be shrunk by the first tick of the price",
    )


def _orders(policy: Policy) -> Iterator[Relation]:
    e = policy.execution
    yield (
        e.hedge_repair_stage_ms <= e.hedge_repair_timeout_ms,
        "execution.hedge_repair_stage_ms",
        f"{e.hedge_repair_stage_ms} is above hedge_repair_timeout_ms {e.hedge_repair_timeout_ms}: "
        "repair would be given up before it widens",
    )
    yield (
        not e.rests or e.maker_timeout_ms < e.entry_timeout_ms,
        "execution.maker_timeout_ms",
        f"{e.maker_timeout_ms} must be below entry_timeout_ms {e.entry_timeout_ms}: "
        "otherwise an entry that rests is given up before it takes",
    )
    yield (
        e.perp_cross,
        "execution.perp_cross",
        "false (isolated margin) is refused for now: its liquidation distance is not modelled",
    )


def _clocks(policy: Policy) -> Iterator[Relation]:
    r = policy.risk
    yield (
        r.skew_ms_warn <= r.skew_ms_max,
        "risk.skew_ms_warn",
        f"{r.skew_ms_warn} is above skew_ms_max {r.skew_ms_max}: entries stop before the alert",
    )
    yield (
        len(policy.coins) == len(dict.fromkeys(policy.coins)),
        "markets",
        f"{', '.join(policy.coins)}: a coin is named twice; give it once, with its reserve_sz",
    )
