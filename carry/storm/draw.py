"""What a seed is: its market, its policy, its operator and its plan of faults. Data, no behaviour.

One random stream for each concern, so that a draw more in one shifts nothing in the others.
"""

import random
from decimal import Decimal
from typing import Final

import attrs

from carry.core.policy import Execution, MarketPolicy, Policy, Risk, Strategy

from .market import REGIMES, Shape

CONCERNS: Final = (
    "network", "stream", "venue", "market", "crash", "operator", "swarm", "folio", "style",
    "margin",
)  # fmt: skip
PHASES: Final = (15, 50, 35)  # percent of the ticks: warm-up, faults, heal; the kill comes after
FAULT_FREE_PERCENT: Final = 10
RALLY_SHARE: Final = 0.1  # of the seeds, whatever regime they drew
CENT: Final = Decimal("0.01")
INTERVALS_MS: Final = (1_000, 1_000, 1_000, 2_000, 5_000)  # most run with the default
PORTFOLIOS: Final = (("BTC", "ETH", "HYPE"), ("BTC", "ETH", "HYPE", "SOL"))


@attrs.frozen(kw_only=True)
class Strike:
    """One fault of the plan: armed from tick `tick` on, it hits at the next thing it fits.

    key: seed of its own random stream, for its parameters.
    """

    no: int
    fault: str
    tick: int
    key: int

    def __str__(self) -> str:
        return f"{self.no}:{self.fault}@{self.tick}"


@attrs.frozen(kw_only=True)
class Order:
    """A command of the operator at a tick: "flatten", "resume LATCH", "pause", "stop" (SIGTERM)."""

    tick: int
    what: str


@attrs.frozen(kw_only=True)
class Case:
    """Everything drawn for one seed."""

    seed: int
    ticks: int
    interval_ms: int
    mode: str
    funds_usd: Decimal
    policy: Policy
    shape: Shape
    strikes: tuple[Strike, ...]
    orders: tuple[Order, ...]
    wallet: str | None = None  # of a split account, that all USDC lies in; None: half in each

    @property
    def warm(self) -> int:
        """The last tick of the warm-up."""
        return self.ticks * PHASES[0] // 100

    @property
    def stormy(self) -> int:
        """The last tick of the faults."""
        return self.ticks * (PHASES[0] + PHASES[1]) // 100


def stream(seed: int, concern: str) -> random.Random:
    """The random stream of a concern. Text seeds are hashed by SHA-512: equal everywhere."""
    return random.Random(f"{seed}/{concern}")


def draw(seed: int, ticks: int, faults: tuple[str, ...], preset: str | None = None) -> Case:
    """The case of a seed. faults: the catalogue's ids; preset: "none", or ids joined by "+"."""
    swarm, market, operator = (stream(seed, c) for c in ("swarm", "market", "operator"))
    interval_ms = swarm.choice(INTERVALS_MS)
    shape = Shape.draw(market, market.choice(REGIMES), ticks * interval_ms // 60_000)
    coins: tuple[str, ...] = ("HYPE",) if swarm.random() < 0.7 else ("BTC", "HYPE")
    folio = stream(seed, "folio")
    coins = _more(folio, coins)
    mode = swarm.choice(("unified", "split"))
    policy = _policy(swarm, coins)
    if preset is None:
        policy = _styled(stream(seed, "style"), policy)
    policy = _bound(folio, policy)
    quiet = preset == "none" or (preset is None and swarm.random() * 100 < FAULT_FREE_PERCENT)
    chosen = tuple(preset.split("+")) if preset not in (None, "none") else ()
    strikes = () if quiet else _plan(swarm, ticks, chosen or _subset(swarm, faults))
    case = Case(
        seed=seed,
        ticks=ticks,
        interval_ms=interval_ms,
        mode=mode,
        funds_usd=Decimal(swarm.choice((2_000, 5_000, 20_000))) * len(coins),
        policy=policy,
        shape=shape,
        strikes=strikes,
        orders=_orders(operator, ticks),
    )
    return _margined(stream(seed, "margin"), case) if preset is None else case


def _margined(rng: random.Random, case: Case) -> Case:
    """The perps' leverage, which wallet of a split account its owner paid into, and for some seeds
    a rally instead of their regime, with little money.
    """
    lever, wallet = rng.choice((1, 1, 1, 2, 3, 4, 5)), rng.choice((None, None, "spot", "perp"))
    execution = attrs.evolve(case.policy.execution, perp_leverage=lever)
    case = attrs.evolve(
        case,
        policy=attrs.evolve(case.policy, execution=execution),
        wallet=wallet if case.mode == "split" else None,
    )
    if rng.random() >= RALLY_SHARE:
        return case
    shape = Shape.rally(rng, case.shape.begin_min)
    return attrs.evolve(case, shape=shape, funds_usd=_scarce(case.policy))


def _scarce(policy: Policy) -> Decimal:
    """USD that are just enough, so that a rally comes near to liquidation."""
    whole = policy.strategy.target_usd_notional * len(policy.markets)
    return (whole * (1 + Decimal(1) / policy.execution.perp_leverage) * 4 / 3).quantize(CENT)


def _more(rng: random.Random, coins: tuple[str, ...]) -> tuple[str, ...]:
    """Of the seeds with two markets, two in three have three or four."""
    return coins if len(coins) == 1 else (coins, *PORTFOLIOS)[rng.randrange(3)]


def _policy(rng: random.Random, coins: tuple[str, ...]) -> Policy:
    """Limits as a user might set them; clocks short enough for a run of some hours."""
    target = Decimal(rng.choice((60, 200, 500, 900)))
    return Policy(
        strategy=Strategy(
            target_usd_notional=target,
            min_hold_h=0,
            enter_threshold_apr=Decimal("0.005"),
            horizon_h=1_000,
        ),
        execution=Execution(
            entry_cooldown_ms=rng.choice((20_000, 60_000)),
            hedge_repair_tif=rng.choice(("ioc", "gtc")),
            price_offset_ticks=rng.choice((0, 2, 5)),
            shutdown_grace_ms=rng.choice((5_000, 20_000)),
        ),
        risk=Risk(
            slice_usd=Decimal(rng.choice((50, 120, 250))),
            per_symbol_notional_cap=Decimal(1_000),
            portfolio_notional_cap=Decimal(2_000),
        ),
        markets=tuple(MarketPolicy(base=coin) for coin in coins),
        source="storm",
    )


def _styled(rng: random.Random, policy: Policy) -> Policy:
    """Half of the seeds let the spot leg rest; the keys that go with it, and how a lost short is
    answered, are drawn for all."""
    execution = attrs.evolve(
        policy.execution,
        style=rng.choice(("taker", "maker")),
        maker_timeout_ms=rng.choice((5_000, 15_000, 30_000)),
        reprice_interval_ms=rng.choice((1_000, 3_000)),
        max_replaces_per_min=rng.choice((2, 10, 60)),
        post_only=rng.random() < 0.7,
        tif=rng.choice(("ioc", "ioc", "gtc")),
    )
    risk = attrs.evolve(
        policy.risk,
        min_spread_ticks=rng.choice((2, 2, 8)),
        short_lost=rng.choice(("rehedge", "sell")),
    )
    return attrs.evolve(policy, execution=execution, risk=risk)


def _bound(rng: random.Random, policy: Policy) -> Policy:
    """Where there are more than two markets: too little money for all, so that they compete."""
    if len(policy.markets) <= 2:
        return policy
    cap = policy.strategy.target_usd_notional * rng.choice((12, 22, 40)) / 10
    edge = Decimal(rng.choice((0, 0, 20)))
    leaf = min(cap, policy.risk.per_symbol_notional_cap)
    return attrs.evolve(
        policy,
        strategy=attrs.evolve(policy.strategy, switch_edge_bps=edge),
        risk=attrs.evolve(
            policy.risk, portfolio_notional_cap=cap, per_symbol_notional_cap=leaf
        ),
    )


def _subset(rng: random.Random, faults: tuple[str, ...]) -> tuple[str, ...]:
    """Few faults often find more than all faults seldom."""
    return tuple(rng.sample(faults, rng.choice((1, 2, 3, 5, 8))))


def _plan(rng: random.Random, ticks: int, faults: tuple[str, ...]) -> tuple[Strike, ...]:
    first, last = ticks * PHASES[0] // 100, ticks * (PHASES[0] + PHASES[1]) // 100
    count = rng.randrange(4, max(5, (last - first) // 12))
    drawn = sorted(
        (rng.randrange(first, last), rng.choice(faults), rng.getrandbits(48)) for _ in range(count)
    )
    return tuple(
        Strike(no=no, fault=fault, tick=tick, key=key)
        for no, (tick, fault, key) in enumerate(drawn)
    )


def _orders(rng: random.Random, ticks: int) -> tuple[Order, ...]:
    """An operator who closes and opens again now and then: a bot at rest meets no fault."""
    first, last = ticks * PHASES[0] // 100, ticks * (PHASES[0] + PHASES[1]) // 100
    orders: list[Order] = []
    tick = first + rng.randrange(5, 60)
    while tick < last - 60:
        kind = rng.choice(("flatten", "flatten", "flatten", "pause", "stop", "nothing"))
        rest = rng.randrange(15, 60)
        if kind in ("flatten", "pause"):
            orders.append(Order(tick=tick, what=kind))
            orders.append(Order(tick=tick + rest, what=f"resume {kind}"))
        elif kind == "stop":
            orders.append(Order(tick=tick, what="stop"))
        tick += rest + rng.randrange(20, 120)
    return tuple(orders)
