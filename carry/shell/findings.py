"""What a doctor can find about an account and its markets: one line each, with the next step.

Pure: a state that the bot's own reads were folded into, in; findings, out. No threshold is its own:
gates and economics are the core's.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import attrs

from carry.core import margin, risk, sizing
from carry.core.actions import Action, MoveUsd, Place, SetLeverage
from carry.core.num import ZERO, show
from carry.core.state import Carry, Gate, State
from carry.core.step import gates
from carry.core.types import AccountMode, Fees, Leg
from carry.venues.base import Identity

from .outlook import Pair, percent
from .why import of_market

GREEN: Final = "green"
YELLOW: Final = "yellow"
RED: Final = "red"
DAY_MS: Final = 86_400_000
AGENT_DAYS_WARN: Final = 14
ACTIONS_WARN: Final = 5_000
CENT: Final = Decimal("0.01")
NTP: Final = "set the clock (NTP): timedatectl set-ntp true"


FREE: Final = Fees(spot_maker=ZERO, spot_taker=ZERO, perp_maker=ZERO, perp_taker=ZERO)


@attrs.frozen
class Finding:
    """One line. `step`: what to do, "" when there is nothing to do."""

    level: str
    name: str
    text: str
    step: str = ""


def configured(state: State) -> list[Carry]:
    return [state.carries[coin] for coin in state.policy.coins if coin in state.carries]


# --- the account ---------------------------------------------------------------------------------


def account(who: Identity, source: str) -> Finding:
    if who.problem is not None:
        name, _, text = who.problem.partition(": ")
        return Finding(RED, name, text, "set account.address, venue.network and the key to match")
    role = "the master account"
    if who.master is not None:
        role = f"a sub-account of {who.master}, traded in its name"
    return Finding(GREEN, "account", f"{who.account} is read and traded ({source}): {role}")


def agent(who: Identity, now_ms: int) -> list[Finding]:
    if who.agent is None or who.problem is not None:
        return []
    text = f"{who.agent} may sign for it"
    if who.agent_name is None:
        return [
            Finding(YELLOW, "agent", f"{text}; it has no name, so its end is not told",
                    "approve it under a name, so that the bot can warn before it ends")
        ]  # fmt: skip
    if who.valid_until_at_ms is None:
        return [Finding(GREEN, "agent", f"{text} as {who.agent_name!r}, without an end")]
    left_ms = who.valid_until_at_ms - now_ms
    text = f"{text} as {who.agent_name!r} for {show(Decimal(left_ms * 10 // DAY_MS) / 10)} days"
    renew = "make a new key with `carry key new` and approve it"
    if left_ms < risk.AGENT_MS_MIN:
        return [Finding(RED, "agent expires", f"{text}; below 2 days entries stop", renew)]
    level = YELLOW if left_ms < AGENT_DAYS_WARN * DAY_MS else GREEN
    return [Finding(level, "agent", text, renew if level is YELLOW else "")]


def skew(state: State) -> Finding:
    limits = state.policy.risk
    if state.venue_ms is None:
        return Finding(RED, "clock", "the venue's clock was not read", "look again")
    apart = state.wall_ms - state.venue_ms
    text = f"this machine is {apart} ms from the venue (warns at {limits.skew_ms_warn})"
    if abs(apart) > limits.skew_ms_max:
        return Finding(RED, "clock", f"{text}; past {limits.skew_ms_max} entries stop", NTP)
    if abs(apart) > limits.skew_ms_warn:
        return Finding(YELLOW, "clock", text, NTP)
    return Finding(GREEN, "clock", text)


def mode(state: State) -> Finding:
    found = state.account.mode
    match found:
        case AccountMode.SPLIT:
            return Finding(GREEN, "mode", "split: spot and perp wallets are apart")
        case AccountMode.UNIFIED:
            return Finding(GREEN, "mode", "unified: one USDC balance for spot and perps")
        case None:
            return Finding(RED, "mode", "the account's mode was not read", "look again")
    return Finding(
        RED, "mode", f"{found.value}: entries are refused in it",
        "use a split or unified account (a sub-account may have its own mode)",
    )  # fmt: skip


def funds(state: State) -> Finding:
    told = state.account
    held = margin.wallets(state)
    if held is None or told.usd is None:
        return Finding(RED, "funds", "balances were not read in this mode", "see `mode`")
    coins = [f"{show(b.total)} {coin}" for coin, b in told.coins.items() if b.total]
    short = [f"{coin} {show(p.sz)}" for coin, p in told.positions.items()]
    text = f"equity ${show(held.equity.quantize(CENT))}"
    if isinstance(held, margin.Split):
        text += f" (spot {show(held.spot_total)}, perp {show(held.perp_equity.quantize(CENT))})"
    text += "".join(f", {word}" for word in (*coins, *short))
    needed = smallest_usd(state)
    rates = [c.market.perp.maintenance_rate for c in configured(state) if c.market is not None]
    fees = told.fees if told.fees is not None else FREE
    now = held.affordable(sizing.terms_of(state.policy, fees, max(rates, default=ZERO)))
    lever, buffer = state.policy.execution.perp_leverage, state.policy.risk.collateral_buffer
    if now >= needed or coins or short:
        return Finding(GREEN, "funds", f"{text}; ${show(now.quantize(CENT))} a leg can be carried")
    whole = held.equity * lever / (1 + lever) * (1 - buffer)
    if whole >= needed:
        return Finding(
            YELLOW, "funds", f"{text}: USDC lies in the wrong wallet for a leg of ${show(needed)}",
            "the bot moves it within risk.transfer_usd_per_day, or move it at the venue",
        )  # fmt: skip
    return Finding(
        RED, "no funds", f"{text}: a leg of ${show(needed)} cannot be carried",
        f"deposit USDC: at least ${show((needed * (1 + lever) / lever * 2).quantize(CENT))}",
    )  # fmt: skip


def smallest_usd(state: State) -> Decimal:
    """The smallest leg that is entered at all."""
    least = [2 * c.market.min_notional for c in configured(state) if c.market is not None]
    return max([state.policy.strategy.min_exposure_usd, *least[:1]])


def fees(state: State) -> Finding:
    own = state.account.fees
    if own is None:
        return Finding(RED, "fees", "the account's fees were not read", "look again")
    fine = Decimal("0.0001")
    return Finding(
        GREEN, "fees",
        f"spot {percent(own.spot_taker, fine)} taking, {percent(own.spot_maker, fine)} resting; "
        f"perp {percent(own.perp_taker, fine)} and {percent(own.perp_maker, fine)}",
    )  # fmt: skip


def budget(state: State, weight: tuple[int, int] | None) -> Finding:
    left, needed = state.account.actions_left, state.policy.risk.budget_actions_min
    if left is None:
        return Finding(RED, "budget", "the account's rate budget was not read", "look again")
    text = f"{left} actions are left to the account"
    if weight is not None:
        took, most = weight
        text += f"; this look took {took} of the {most} weight a minute of this machine's address"
    earn = "one is earned for each USD traded; a new sub-account begins with 10,000"
    if left < needed:
        return Finding(RED, "budget", f"{text}; below {needed} entries stop", earn)
    return Finding(YELLOW if left < ACTIONS_WARN else GREEN, "budget", text,
                   earn if left < ACTIONS_WARN else "")  # fmt: skip


# --- the markets ---------------------------------------------------------------------------------


def market(
    state: State, carry: Carry, row: Pair, actions: Sequence[Action]
) -> list[Finding]:
    coin = carry.coin
    if carry.market is None or carry.broken is not None:
        text = carry.broken or "its metadata was not read"
        return [Finding(RED, coin, text, "take it out of `markets`, or name what it lacks")]
    legs = [
        f"{leg.value} #{one.asset} ({one.symbol}) lot {show(one.lot)}"
        for leg, one in ((at, carry.market.instrument(at)) for at in (Leg.SPOT, Leg.PERP))
    ]
    if row.spread_bps is not None and row.depth_usd is not None:
        legs = [
            f"{text}, spread {show(spread)} bp, ${depth:,.0f} within 10 bp"
            for text, spread, depth in zip(legs, row.spread_bps, row.depth_usd, strict=True)
        ]
    found = [Finding(GREEN, coin, "; ".join(legs))]
    if not (carry.market.spot.tradable and carry.market.perp.tradable):
        found = [Finding(RED, coin, f"{legs[1]}: delisted", "take it out of `markets`")]
    if row.costs_bps:
        costs = ", ".join(f"{show(cost)} bp {name}" for name, cost in row.costs_bps)
        days = "never" if row.break_even_days is None else f"{show(row.break_even_days)} days"
        found.append(Finding(GREEN, coin, f"round trip {costs}; funding earns it back in {days}"))
    doing = [_told(action) for action in actions if getattr(action, "coin", coin) == coin]
    if doing:
        found.append(Finding(GREEN, coin, f"now: {'; '.join(doing)}"))
    else:
        waits = of_market(state, carry, gates(state)).text
        level = RED if risk.foreign_usd(state, carry) else GREEN
        step = "`carry adopt`, or `reserve_sz` in the config" if level is RED else ""
        found.append(Finding(level, coin, f"now: nothing; {waits}", step))
    return found


def _told(action: Action) -> str:
    match action:
        case Place():
            return (
                f"{action.side.value} {show(action.sz)} {action.coin} {action.leg.value} at "
                f"{show(action.px)} ({action.why})"
            )
        case SetLeverage():
            return f"set leverage {action.leverage} of {action.coin}"
        case MoveUsd():
            way = "to the perp wallet" if action.to_perp else "to the spot wallet"
            return f"move ${show(action.usd)} {way}"
        case _:
            return f"{type(action).__name__.lower()}: {getattr(action, 'why', '')}"


# What a gate's failure is told by already, above.
_TOLD: Final = {
    "account_mode": "mode", "clock_skew_ms": "clock", "budget_actions": "budget",
    "agent_left_ms": "agent expires", "market": "", "process": "", "once": "",
    # Absent where there is no size to reckon with, which `funds` tells.
    "expected_net_bps": "", "expected_apr": "",
}  # fmt: skip


def blocked(state: State, found: Sequence[Finding]) -> list[Finding]:
    """Faults among the gates that no finding has told yet; what the market does is no fault."""
    told = {finding.name for finding in found if finding.level is RED}
    dark = {carry.coin for carry in configured(state) if carry.market is None or carry.broken}
    lines: list[Finding] = []
    for gate in gates(state):
        if gate.passes or gate.market in dark or not _is_fault(gate):
            continue
        if _TOLD.get(gate.name) in told:
            continue
        if gate.name in _TOLD and not _TOLD[gate.name]:
            continue
        if gate.value == "absent" and "reads" in told:
            continue
        name = gate.name if gate.market is None else f"{gate.market} {gate.name}"
        lines.append(
            Finding(RED, name, f"{gate.value}, needs {gate.threshold}", _NEXT.get(gate.name, ""))
        )
    return lines


def _is_fault(gate: Gate) -> bool:
    """Ours or the venue's doing. Held coins are judged with their market."""
    return (gate.fault or gate.name == "latch") and gate.name not in ("foreign_usd", "flat")


_NEXT: Final = {
    "latch": "`carry status` names it; `carry resume --ack NAME` clears it",
    "reconciled": "look again; the venue did not answer every read",
    "residual_usd": "`carry pnl` shows it; `carry resume --ack residual` takes it as external",
    "unknown_intents": "wait; the fence decides",
}


