"""What the yardstick judges is what the bot does: `step` over hours of drawn funding, the market it
ends up in each hour, and `holding` asked the same by what `step` then knew.
"""

import random
from typing import Any

import pytest

from carry.core import risk
from carry.core.actions import Place
from carry.core.num import use_exact_context
from carry.core.state import HedgeOk, Idle, State
from carry.core.types import Leg
from carry.research import holding
from tests.core.making import D, scenario
from tests.scenarios.language import Row
from tests.scenarios.runner import Play

HOUR = 3_600_000
PAST = 41 * 60_000  # the first tick of an hour, a minute after its print
HOURS = 48
TICKS_MAX = 16
BOOKS = {"HYPE": "25.00/25.002", "ETH": "100.00/100.01", "SOL": "50.00/50.002"}
LOTS = {"HYPE": "0.01", "ETH": "0.001", "SOL": "0.01"}
CONFIG = {
    "strategy.target_usd_notional": "200",
    "strategy.horizon_h": "60",
    "strategy.forecast_halflife_h": "3",
    "strategy.min_hold_h": "2",
    "strategy.switch_edge_bps": "5",
    "strategy.enter_threshold_apr": "0.02",
    "strategy.exit_confirm_ms": "0",
    "risk.per_symbol_notional_cap": "210",
    "risk.portfolio_notional_cap": "210",
    "risk.max_drawdown_usd": "10000",
}


def tick(player: Play, t_ms: int, rates: dict[str, str], fills: bool) -> bool:
    """One tick; whether an order was sent, which the next tick fills."""
    cells: dict[tuple[str, str], Any] = {}
    for coin, book in BOOKS.items():
        cells |= {(coin, leg): book for leg in ("spot", "perp")}
        cells[coin, "funding"] = rates[coin]
    events = (("fills",),) if fills else ()
    done = player.row(Row(line=1, t_ms=t_ms, cells=cells, events=events, phases={}, actions=()))
    return any(isinstance(action, Place) for action in done.actions)


def in_market(state: State) -> str | None:
    held = [c.coin for c in state.carries.values() if not isinstance(c.phase, Idle)]
    assert len(held) <= 1, "one market at most"
    return held[0] if held else None


def seen(state: State) -> dict[str, holding.Seen]:
    """Each market as `step` sees it, its cost for the size that it holds or would enter."""
    found = {}
    for coin, carry in state.carries.items():
        sz = state.position(carry, Leg.SPOT) or risk.offer(state, carry, D(210)).sz
        cost = risk.round_trip(state, carry, sz)
        assert carry.forecast is not None
        assert cost is not None
        found[coin] = holding.Seen(carry.forecast, 1, cost)
    return found


@pytest.mark.parametrize("seed", [1, 3])
def test_step_holds_what_the_fast_rule_holds(seed: int) -> None:
    use_exact_context()
    draw = random.Random(seed)
    player = Play(
        scenario(
            config=CONFIG,
            account={"usd": "1000"},
            markets={c: {"prints": "0", "lot": LOTS[c]} for c in BOOKS},
        ),
        careful=False,
    )
    fast: str | None = None
    since = 0
    changes = 0
    levels = dict.fromkeys(BOOKS, 0.0)
    for hour in range(HOURS):
        for coin in BOOKS:
            if draw.random() < 0.25:
                levels[coin] = draw.choice((-3.0, -1.0, 0.0, 0.5, 1.0, 2.0, 4.0))
        rates = {c: f"{levels[c] + draw.uniform(-0.1, 0.1):.3f}bp" for c in BOOKS}
        # Each hour begins later past its print than the one before ended: a carry is held from its
        # last fill on, some seconds after the decision.
        t_ms, sent, quiet, look = PAST + hour * (HOUR + TICKS_MAX * 1_000), False, 0, None
        for _ in range(TICKS_MAX):
            sent = tick(player, t_ms, rates, sent)
            if look is None:
                look = seen(player.state)
            quiet = 0 if sent else quiet + 1
            phases = [c.phase for c in player.state.carries.values()]
            if quiet >= 2 and all(isinstance(phase, Idle | HedgeOk) for phase in phases):
                break
            t_ms += 1_000
        assert look is not None
        left = None
        was = fast
        if fast is not None and not holding.stays_in(
            player.state.policy.strategy, fast, hour - since, look
        ):
            left, fast = fast, None
        if fast is None:
            fast, since = holding.enters(player.state.policy.strategy, look, left), hour
        assert in_market(player.state) == fast, f"hour {hour}: was in {was}"
        changes += fast != was
    assert changes >= 3
