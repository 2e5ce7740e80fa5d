"""Every alert by its cause: what its names look like, and when the state says that it still holds.

The name of an alert is the key the core coalesces by, and carries a coin, an order or a number. Its
cause is what an operator looks up: each has an entry in the runbook of docs/OPERATIONS.md.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from carry.core import deleverage
from carry.core.state import Condition, State
from carry.core.step import gates

# Whether a cause still holds, by the state; the argument is the market, "" for the account.
Holds = Callable[[State, str], bool]


def _latched(name: str) -> Holds:
    return lambda state, market: name in state.latches


def _latched_market(name: str) -> Holds:
    return lambda state, market: f"{name}_{market}" in state.latches


def _unhedged(state: State, market: str) -> bool:
    carry = state.carries.get(market)
    return carry is not None and carry.repair is not None


def _near_liquidation(state: State, market: str) -> bool:
    carry = state.carries.get(market)
    distance = None if carry is None else deleverage.of_market(state, carry)
    return distance is not None and distance < state.policy.risk.liq_distance_warn


def _stands(condition: Condition) -> Holds:
    def holds(state: State, market: str) -> bool:
        carry = state.carries.get(market)
        return carry is not None and carry.condition is condition

    return holds


def _unsettled(state: State, market: str) -> bool:
    return any(True for _ in state.of(market))


@attrs.frozen
class Cause:
    """names: a pattern of all its alerts' names. holds: None when only time tells that it ended."""

    names: str
    holds: Holds | None = None


CAUSES: Final[Mapping[str, Cause]] = {
    # from the core, in the tick's transaction
    "above_cap": Cause(r"above_cap_\w+"),
    "account_mode": Cause("account_mode"),
    "adopt": Cause("adopt"),
    "agent_expires": Cause(r"agent_expires_\d+d"),
    "clock_skew": Cause("clock_skew"),
    "command_refused": Cause(r"command_refused_\d+"),
    "crash": Cause("crash", _latched("crash")),
    "delisted": Cause(r"delisted_\w+", _stands(Condition.DELISTED)),
    "drawdown": Cause("drawdown", _latched("drawdown")),
    "entry_fails": Cause(r"entry_fails_\w+_\d+"),
    "external": Cause(r"external_\w+_\d+", _latched_market("external")),
    "fault": Cause(r"fault_\w+"),
    "foreign_order": Cause(r"order_\w+"),
    "halted": Cause(r"halted_\w+", _stands(Condition.HALTED)),
    "handed_over": Cause(r"handed_over_\w+"),
    "identity": Cause("identity", _latched("identity")),
    "implausible": Cause(r"implausible_\w+"),
    "policy_check": Cause("policy_check", _latched("policy_check")),
    "stuck": Cause(r"stuck_\w+"),
    "journal_old": Cause("journal_old", _latched("journal_old")),
    "left_naked": Cause(r"left_naked_\w+", _unhedged),
    "liquidation": Cause(r"liquidation_\w+", _near_liquidation),
    "naked": Cause(r"naked_\w+", _unhedged),
    "other_writer": Cause("other_writer", _latched("other_writer")),
    "refused": Cause(r"refused_\w+"),
    "resume": Cause("resume"),
    "signature": Cause("signature", _latched("signature")),
    "unaligned": Cause(r"unaligned_\w+"),
    "undecided": Cause(r"undecided_\d+", _unsettled),
    # from `carry ops` itself
    "bad_metrics_port": Cause("bad_metrics_port"),
    "daily_note": Cause("daily_note"),
    "heartbeat_unanswered": Cause("heartbeat_unanswered"),
    "history_down": Cause("history_down"),
    "history_refused": Cause("history_refused"),
    "journal_unreadable": Cause("journal_unreadable"),
    "ops_worker": Cause(r"ops_worker_\w+"),
    "silence": Cause("silence"),
    "telegram_down": Cause("telegram_down"),
    "telegram_refused": Cause("telegram_refused"),
    "telegram_twice": Cause("telegram_twice"),
    "test": Cause("test"),
    "webhook_down": Cause("webhook_down"),
}


def cause_of(name: str) -> str:
    """The cause that an alert's name belongs to; a name nobody listed is its own."""
    for cause, known in CAUSES.items():
        if re.fullmatch(known.names, name):
            # Of the gates each is a cause of its own: stale books are not a wrong clock.
            return name if cause == "fault" else cause
    return name


def family_of(name: str) -> str | None:
    """The runbook entry of an alert's name; None when there is none (a test keeps it from that)."""
    return next((c for c, known in CAUSES.items() if re.fullmatch(known.names, name)), None)


def still_holds(state: State, cause: str, market: str) -> bool | None:
    """Whether the state shows that a cause holds; None when it cannot say."""
    if cause.startswith("fault_"):
        failing = [g for g in gates(state) if not g.passes and g.fault]
        return any(cause in (f"fault_{g.name}", f"fault_{g.name}_{g.market}") for g in failing)
    known = CAUSES.get(cause)
    return None if known is None or known.holds is None else known.holds(state, market)
