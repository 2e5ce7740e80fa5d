"""A backtest: what a folder holds of some coins, the runs over it, and their figures."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Final

import attrs

from carry.core.num import ONE
from carry.core.policy import MarketPolicy, Policy
from carry.exchange.bars import Track, read_track
from carry.exchange.paths import HOUR_MS
from carry.exchange.recorded import BadRecording, sort_files

from .figures import Figures, figures, notional_of
from .hourly import Run, Setup
from .quiet import forecasts_of
from .rules import Ruled, ruled

FACTORS: Final = (Decimal("0.5"), ONE, Decimal(2))
HOURS_A_YEAR: Final = 8_760
SPARE: Final = Decimal("1.02")
Progress = Callable[[int, int], None]
"""Hears how many hours of all runs are done, and of how many."""


@attrs.frozen(kw_only=True)
class Coverage:
    """What is recorded of a coin within the run. spot: "recorded", or "perp" with the reason."""

    coin: str
    spot: str
    why: str
    prints: int
    prints_missing: int
    hours_missing: int


@attrs.frozen(kw_only=True)
class Backtest:
    """All of it. bot: the figures of the run as it is; slippage: by factor on spread and inverse
    depth; later: filled an hour later; rules: of simple rules on the same data and costs.
    """

    setup: Setup
    folder: str
    digest: str
    coverage: Sequence[Coverage]
    bot: Figures
    slippage: Mapping[Decimal, Figures]
    later: Figures
    rules: Mapping[str, Ruled]

    @property
    def residual_usd(self) -> Decimal:
        """The largest of all runs: 0."""
        runs = (self.bot, self.later, *self.slippage.values())
        return max((run.residual_usd for run in runs), key=abs)


def backtest(
    folder: Path,
    coins: Sequence[str],
    policy: Policy,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    capital_usd: Decimal | None = None,
    progress: Progress = lambda done, of: None,
) -> Backtest:
    """Read, run, and figure out. coins: empty for all that the folder has. Raises BadRecording."""
    setup, digest, coverage = prepare(
        folder, coins, policy, since_ms=since_ms, until_ms=until_ms, capital_usd=capital_usd
    )
    setup = attrs.evolve(
        setup,
        forecasts=forecasts_of(setup.tracks, setup.policy, setup.start_hour, setup.end_hour),
    )
    variants = [attrs.evolve(setup, slippage=factor) for factor in FACTORS]
    variants.append(attrs.evolve(setup, later=1))
    lived = [_run(one, n, len(variants), progress) for n, one in enumerate(variants)]
    found = dict(zip(FACTORS, lived, strict=False))
    return Backtest(
        setup=setup,
        folder=str(folder),
        digest=digest,
        coverage=coverage,
        bot=found[ONE],
        slippage=found,
        later=lived[-1],
        rules=ruled(setup),
    )


def _run(setup: Setup, number: int, runs: int, progress: Progress) -> Figures:
    hours = setup.end_hour - setup.start_hour

    def told(hour: int) -> None:
        progress(number * hours + hour - setup.start_hour, runs * hours)

    return figures(setup, Run(setup).live(told))


def prepare(
    folder: Path,
    coins: Sequence[str],
    policy: Policy,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    capital_usd: Decimal | None = None,
) -> tuple[Setup, str, tuple[Coverage, ...]]:
    """The run over a folder, a digest of what was read, what it covers, and what to say of it."""
    if not folder.is_dir():
        raise BadRecording(f"{folder}: is not a folder")
    names = tuple(dict.fromkeys(coins)) or all_of(folder)
    if not names:
        raise BadRecording(f"{folder}: no coin has both a funding_ and a perp_ file")
    digest = hashlib.sha256()
    tracks = {
        coin: read_track(folder, coin, until_ms=until_ms, digest=digest) for coin in sorted(names)
    }
    intervals = sorted({track.interval_h for track in tracks.values()})
    if len(intervals) > 1:
        raise BadRecording(
            f"{folder}: funding of these coins is paid every {intervals} hours; one run has one "
            "interval, so name coins of one with --coins"
        )
    first = min(max(track.perp.first, min(track.prints)) for track in tracks.values())
    last = min(min(track.perp.end, max(track.prints) + 1) for track in tracks.values())
    start = max(first, -(-(since_ms or 0) // HOUR_MS))
    end = last if until_ms is None else min(last, until_ms // HOUR_MS)
    if end - start < 48:
        raise BadRecording(
            f"{folder}: {', '.join(names)} are recorded together from {iso(first)} to "
            f"{iso(last)}; a run needs two days, choose --from and --to within that"
        )
    kept, coverage = {}, []
    for coin, track in tracks.items():
        spot, why = _spot(track, start)
        kept[coin] = track if spot else attrs.evolve(track, spot=None)
        due = range(max(start, min(track.prints)), end)
        seen = sum(hour in track.prints for hour in due)
        coverage.append(
            Coverage(
                coin=coin,
                spot="recorded" if spot else "perp",
                why=why,
                prints=seen,
                prints_missing=max(0, len(due) // track.interval_h - seen),
                hours_missing=track.perp.missing,
            )
        )
    policy = attrs.evolve(policy, markets=tuple(MarketPolicy(base=coin) for coin in tracks))
    capital = capital_usd or capital_of(policy)
    setup = Setup(
        policy=policy, tracks=kept, start_hour=start, end_hour=end, capital_usd=capital
    )
    return setup, digest.hexdigest()[:16], tuple(coverage)


def all_of(folder: Path) -> tuple[str, ...]:
    """Coins of a folder that have funding and perp prices; BTCUSDT is BTC."""
    files = sort_files(folder)
    found = [name for kind, name in files if kind == "perp" and ("funding", name) in files]
    return tuple(sorted(dict.fromkeys(_base(name) for name in found)))


def _base(name: str) -> str:
    quote = next((q for q in ("USDT", "USDC", "USD") if name.endswith(q) and name != q), "")
    return name.removesuffix(quote)


def _spot(track: Track, start: int) -> tuple[bool, str]:
    """Whether the recorded spot is used, and why not: it must cover the run from its start, or
    from the coin's own start if that is later.
    """
    if track.spot is None:
        return False, "no spot is recorded"
    begin = max(start, min(track.prints), track.perp.first)
    if track.spot.first > begin:
        return False, f"spot is recorded from {iso(track.spot.first)} only"
    return True, ""


def one_at_a_time(policy: Policy) -> Policy:
    """The policy with room for one leg of the target: the best market, as the yardstick has it."""
    unit = policy.strategy.target_usd_notional
    risk = attrs.evolve(policy.risk, per_symbol_notional_cap=unit, portfolio_notional_cap=unit)
    return attrs.evolve(policy, risk=risk)


def capital_of(policy: Policy) -> Decimal:
    """USD that carries that notional: spot in full, the short's margin, and the idle buffer."""
    lever = Decimal(policy.execution.perp_leverage)
    needed = notional_of(policy) * (ONE + lever) / lever / (ONE - policy.risk.collateral_buffer)
    return (needed * SPARE).quantize(Decimal(1))


def iso(hour: int) -> str:
    """An hour since the epoch as people write it."""
    return datetime.fromtimestamp(hour * 3600, timezone.utc).strftime("%Y-%m-%dT%H:%MZ")
