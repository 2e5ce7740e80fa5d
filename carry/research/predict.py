"""What a policy would have done over the last days of a recording: what to expect of a config.

It is one run of the backtest (`hourly`), no formula of its own. A prediction from a few days would
be a guess with decimals, so there is a least number of days below which there is none.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs

from carry.core.num import show
from carry.core.policy import Policy
from carry.exchange.recorded import BadRecording

from .backtest import all_of, iso, prepare
from .figures import Figures, figures
from .hourly import Run

DAYS_MIN: Final = 30
HOURS_A_DAY: Final = 24
HOUR_MS: Final = 3_600_000


class TooShort(Exception):
    """The recording holds too few days to predict from."""


@attrs.frozen(kw_only=True)
class Prediction:
    """What would have come of the policy from `since_hour` to `until_hour` (hours since the epoch).

    entries: carries entered. costs_usd: fees and slippage paid. missing: markets of the config that
    the recording does not have. found: all figures of the run.
    """

    since_hour: int
    until_hour: int
    coins: Sequence[str]
    missing: Sequence[str]
    entries: int
    costs_usd: Decimal
    funding_usd: Decimal
    found: Figures

    @property
    def days(self) -> Decimal:
        hours = Decimal(self.until_hour - self.since_hour)
        return (hours / HOURS_A_DAY).quantize(Decimal("0.1"))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an operator should know before money is put to it."""
        said = [f"{coin} is not in the recording: nothing is said of it" for coin in self.missing]
        if not self.entries:
            said.append(
                "it would not have entered once: the thresholds (enter_threshold_apr, buffer_bps, "
                "horizon_h) are above what was paid in that time"
            )
        elif self.funding_usd <= self.costs_usd:
            said.append(
                f"the edge is below cost: it earned ${_cents(self.funding_usd)} of funding and "
                f"paid ${_cents(self.costs_usd)} in fees and slippage; raise enter_threshold_apr, "
                "buffer_bps or min_hold_h"
            )
        if self.found.liquidations:
            said.append(f"{self.found.liquidations} liquidations: lower perp_leverage or the size")
        return tuple(said)


def predict(
    folder: Path,
    policy: Policy,
    days: int = 90,
    capital_usd: Decimal | None = None,
    done: Callable[[int, int], None] = lambda hours, of: None,
) -> Prediction:
    """Run `policy` over the last `days` of a folder. Raises BadRecording, TooShort."""
    there = all_of(folder) if folder.is_dir() else ()
    coins = tuple(coin for coin in policy.coins if coin in _named(there))
    if not coins:
        raise BadRecording(
            f"{folder}: none of {', '.join(policy.coins) or 'no market'} has both a funding_ and a "
            f"perp_ file there; it has {', '.join(there) or 'none'}"
        )
    whole, *_ = prepare(folder, coins, policy, capital_usd=capital_usd)
    since = max(whole.start_hour, whole.end_hour - days * HOURS_A_DAY)
    hours = whole.end_hour - since
    if hours < DAYS_MIN * HOURS_A_DAY:
        raise TooShort(
            f"{folder}: {', '.join(coins)} are recorded together from {iso(since)} to "
            f"{iso(whole.end_hour)}, {hours // HOURS_A_DAY} days; nothing is predicted from less "
            f"than {DAYS_MIN}"
        )
    setup, _, _ = prepare(
        folder, coins, policy, since_ms=since * HOUR_MS, capital_usd=capital_usd
    )
    lived = Run(setup).live(
        lambda hour: done(hour - setup.start_hour, setup.end_hour - setup.start_hour)
    )
    found = figures(setup, lived)
    pnl = found.total.pnl
    return Prediction(
        since_hour=setup.start_hour,
        until_hour=setup.end_hour,
        coins=coins,
        missing=tuple(coin for coin in policy.coins if coin not in coins),
        entries=len(lived.notes("entry")),
        costs_usd=pnl.fees_usd - pnl.slippage_usd,
        funding_usd=pnl.funding_usd,
        found=found,
    )


def _named(there: Sequence[str]) -> set[str]:
    """Coins of a folder by the names a config gives them."""
    return {*there, *(name.removesuffix("USDT") for name in there)}


def _cents(usd: Decimal) -> str:
    return show(usd.quantize(Decimal("0.01")))


def told(it: Prediction) -> list[str]:
    """The prediction for a person; the window comes first."""
    row = it.found.total
    near = it.found.nearest
    times = f"{it.entries} {'entry' if it.entries == 1 else 'entries'}"
    lines = [
        f"With these settings over {it.days} days of data ({iso(it.since_hour)} to "
        f"{iso(it.until_hour)}, {', '.join(it.coins)}):",
        f"  {times}, {_percent(row.held)} % of the time in position",
        f"  net ${_cents(row.pnl.net_usd)}: {_percent(row.on_notional)} % a year on the notional, "
        f"{_percent(row.on_capital)} % on ${_cents(row.capital_usd)} of capital",
        f"  funding ${_cents(it.funding_usd)}, costs ${_cents(it.costs_usd)}, basis "
        f"${_cents(row.pnl.basis_usd)}",
        "  nearest liquidation: "
        + ("never a short" if near is None else f"a rise of {_percent(near)} % more"),
    ]
    lines += [f"WARNING: {text}" for text in it.warnings]
    return [*lines, "It is what would have come of that time, not a promise of the next."]


def _percent(fraction: Decimal) -> str:
    return show((fraction * 100).quantize(Decimal("0.01")))


def as_json(it: Prediction) -> dict[str, Any]:
    """Numbers as decimal strings."""
    row, near = it.found.total, it.found.nearest
    return {
        "since": iso(it.since_hour),
        "until": iso(it.until_hour),
        "days": show(it.days),
        "coins": list(it.coins),
        "missing": list(it.missing),
        "entries": it.entries,
        "time_in_position": show(row.held),
        "net_usd": show(row.pnl.net_usd.quantize(Decimal("0.000001"))),
        "net_apr_on_notional": show(row.on_notional),
        "net_apr_on_capital": show(row.on_capital),
        "funding_usd": show(it.funding_usd),
        "costs_usd": show(it.costs_usd),
        "nearest_liquidation": None if near is None else show(near),
        "liquidations": it.found.liquidations,
        "residual_usd": show(it.found.residual_usd),
        "warnings": list(it.warnings),
    }
