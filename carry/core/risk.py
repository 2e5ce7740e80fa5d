"""Gates: each names what it looked at, its value and its threshold. A gate can only make the bot
more careful: all must pass before risk is added, none is asked before risk is reduced.
"""

import enum
from collections.abc import Iterable, Iterator
from decimal import Decimal

import attrs

from . import economics, ledger, margin, sizing
from .num import BPS, ONE, ZERO, ceil_to, show
from .prices import fresh_book as fresh_book
from .prices import fresh_quote as fresh_quote
from .prices import near_oracle as near_oracle
from .reconcile import reconciled
from .state import Carry, Condition, Enter, Exit, Gate, HedgeOk, Idle, Kind, State
from .types import Leg

MINUTE_MS = 60_000
SWITCH = "switch to "  # how an exit for a better market is named, before its coin
CRUMBS = Decimal("0.5")  # share of its size below which a market does not enter for want of money
AGENT_MS_MIN = 48 * 3_600_000  # no entry with less left of the agent's validity
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
LATE_MS = 70 * 60_000  # by how much a settlement may be late before it is missing
VOLATILITY_MS_MAX = 3_600_000  # closes read longer ago than this say nothing of how wild it is now


class Mode(enum.Enum):
    """NORMAL: all is allowed. REDUCE: only what lowers worst-case exposure or repairs a hedge.
    HALT: only withdrawing orders and asking."""

    NORMAL = "NORMAL"
    REDUCE = "REDUCE"
    HALT = "HALT"


def mode(state: State) -> Mode:
    """The strictest mode any latch asks for; a latch on one market's entries asks for none."""
    asked = {latch.mode: True for latch in state.latches.values()}
    if "halt" in asked:
        return Mode.HALT
    if "reduce" in asked or "flatten" in asked:
        return Mode.REDUCE
    return Mode.NORMAL


def flattening(state: State) -> bool:
    """Whether an operator wants everything out."""
    return any(latch.mode == "flatten" for latch in state.latches.values())


def orders_last_minute(state: State) -> int:
    """Orders that added risk in the last minute, over all markets."""
    return sum(1 for ms in state.sent_ms if state.now_ms - ms < MINUTE_MS)


def to_payment_ms(state: State) -> int | None:
    """Time to the next funding payment by the venue's clock; None before the clock is known."""
    if state.venue_ms is None:
        return None
    interval = state.capabilities.funding_interval_ms
    return interval - state.venue_ms % interval


# --- gates ----------------------------------------------------------------------------------------


def _text(value: Decimal | int | None) -> str:
    if value is None:
        return "absent"
    return show(value) if isinstance(value, Decimal) else str(value)


def _at_most(
    name: str,
    coin: str | None,
    value: Decimal | int | None,
    limit: Decimal | int,
    fault: bool = False,
) -> Gate:
    """A gate that passes while value <= limit; an absent value never passes."""
    return Gate(
        name=name,
        market=coin,
        value=_text(value),
        threshold=f"<= {_text(limit)}",
        passes=value is not None and value <= limit,
        fault=fault or value is None,
    )


def _at_least(
    name: str,
    coin: str | None,
    value: Decimal | int | None,
    limit: Decimal | int,
    fault: bool = False,
) -> Gate:
    """A gate that passes while value >= limit; an absent value never passes."""
    return Gate(
        name=name,
        market=coin,
        value=_text(value),
        threshold=f">= {_text(limit)}",
        passes=value is not None and value >= limit,
        fault=fault or value is None,
    )


def _holds(
    name: str, coin: str | None, passes: bool, value: str, threshold: str, fault: bool = False
) -> Gate:
    return Gate(
        name=name, market=coin, value=value, threshold=threshold, passes=passes, fault=fault
    )


def agent_left_ms(state: State) -> int | None:
    """How long the agent may still sign; None when the venue names no end, or no time yet."""
    until_ms = state.account.agent_until_at_ms
    if until_ms is None or state.venue_ms is None:
        return None
    return until_ms - state.venue_ms


def account_gates(state: State) -> Iterator[Gate]:
    """Conditions that concern the account: they hold back entries of every market."""
    account, risk = state.account, state.policy.risk
    latched = [name for name, latch in state.latches.items() if latch.mode != "entries"]
    word = account.mode.value if account.mode is not None else "absent"
    age = state.now_ms - min(account.positions_ms, account.balances_ms)
    skew = None if state.venue_ms is None else abs(state.wall_ms - state.venue_ms)
    unknown = sum(1 for i in state.intents.values() if i.unknown)
    yield _holds("latch", None, not latched, ", ".join(latched) or "none", "none")
    yield _holds(
        "process", None, not state.stopping, "stopping" if state.stopping else "runs", "runs"
    )
    yield _holds("once", None, not state.once, "yes" if state.once else "no", "no")
    yield _holds(
        "venue", None, state.condition is Condition.OPEN, state.condition.value, "open", True
    )
    yield _holds("account_mode", None, word in ("split", "unified"), word, "split or unified", True)
    yield _holds(
        "reconciled",
        None,
        reconciled(state),
        "yes" if reconciled(state) else "no",
        "all read since start",
        True,
    )
    yield _at_most("account_age_ms", None, age, risk.account_age_ms_max, True)
    yield _at_most("clock_skew_ms", None, skew, risk.skew_ms_max, True)
    yield _at_most("unknown_intents", None, unknown, 0, True)
    yield _at_least("budget_actions", None, account.actions_left, risk.budget_actions_min, True)
    yield _at_most(
        "orders_last_minute", None, orders_last_minute(state) + 1, risk.max_orders_per_min
    )
    yield _holds(
        "baseline",
        None,
        account.baseline_usd is not None,
        "absent" if account.baseline_usd is None else "taken",
        "taken",
        True,
    )
    left_ms = agent_left_ms(state)
    if left_ms is not None:
        # What is opened must be closed again: no entry that the key may not live to see out.
        yield _at_least("agent_left_ms", None, left_ms, AGENT_MS_MIN, True)
    if account.baseline_usd is not None:
        age = state.now_ms - account.residual_ms
        yield _at_most("residual_age_ms", None, age, risk.residual_age_ms_max, True)
    if account.residual_usd is not None:
        yield _at_most("residual_usd", None, abs(account.residual_usd), risk.residual_usd_max, True)


def foreign_usd(state: State, carry: Carry) -> Decimal:
    """Value of what is held in a market but neither owned nor reserved, USD; below the venue's
    minimum it cannot be traded by anybody and is ignored."""
    market = carry.market
    px = ledger.price(carry, Leg.SPOT)
    if market is None or px is None:
        return ZERO
    spot = max(ZERO, carry.foreign_spot - state.policy.reserve_of(carry.coin))
    usd = max(spot, abs(carry.foreign_perp)) * px
    return usd if usd >= market.min_notional else ZERO


def data_gates(state: State, carry: Carry) -> Iterator[Gate]:
    """Whether a market is seen well enough to add to it."""
    coin, risk = carry.coin, state.policy.risk
    word = carry.broken or carry.condition.value
    if coin not in state.policy.coins:
        word = "not in the config"
    elif carry.market is None and carry.broken is None:
        word = "metadata not read yet"
    yield _holds("market", coin, word == Condition.OPEN.value, word, "open", True)
    for leg in Leg:
        seen = carry.books.get(leg.value)
        age = None if seen is None else state.now_ms - seen.seen_ms
        yield _at_most(f"{leg.value}_book_age_ms", coin, age, risk.quote_age_ms_max, True)
        spread = None if seen is None else seen.book.spread_bps.quantize(Decimal("0.0001"))
        yield _at_most(f"{leg.value}_spread_bps", coin, spread, risk.max_spread_bps)
        apart = None
        if seen is not None and carry.context is not None:
            apart = (abs(seen.book.mid_px / carry.context.oracle_px - ONE) / BPS).quantize(
                Decimal("0.0001")
            )
        yield _at_most(f"{leg.value}_basis_bps", coin, apart, risk.max_basis_bps)
    age = None if carry.context is None else state.now_ms - carry.context_ms
    yield _at_most("context_age_ms", coin, age, risk.context_age_ms_max, True)


def payment_gate(state: State, carry: Carry) -> Gate:
    """No entry just before a payment that would be paid, nor a slice too late to be hedged."""
    left = to_payment_ms(state)
    rate = carry.context.funding_rate if carry.context is not None else None
    guard = state.policy.execution.hedge_repair_timeout_ms
    if rate is None or rate < 0:
        guard = max(guard, state.policy.strategy.funding_guard_ms)
    return _at_least("to_payment_ms", carry.coin, left, guard)


def adding_gates(state: State, carry: Carry) -> Iterator[Gate]:
    """Conditions for each further slice of an entry: the account's, the data's, the payment's."""
    yield from account_gates(state)
    yield from data_gates(state, carry)
    locked = f"external_{carry.coin}" in state.latches
    yield _holds("lock", carry.coin, not locked, "locked" if locked else "none", "none")
    yield payment_gate(state, carry)
    yield distance_gate(state, carry)


def distance_gate(state: State, carry: Carry) -> Gate:
    """What is held short leaves room: all shorts may rise by `liq_distance_warn`."""
    risk = state.policy.risk
    held = margin.wallets(state) if state.account.positions else None
    away = None if held is None else held.distance
    return _holds(
        "liq_distance",
        carry.coin,
        away is None or away >= risk.liq_distance_warn,
        "no short" if away is None else show(away.quantize(Decimal("0.0001"))),
        f">= {show(risk.liq_distance_warn)}",
    )


@attrs.frozen(kw_only=True)
class Offer:
    """A carry of the size that could be entered, or added, now. sz: base units of spot, 0 without
    a price.

    notional: USD a leg; expected: fraction of it over the horizon, after every cost. None: unknown.
    move: USD that must go into the perp wallet first (< 0: out of it).
    """

    sz: Decimal = ZERO
    notional: Decimal | None = None
    expected: Decimal | None = None
    move: Decimal = ZERO


def round_trip(state: State, carry: Carry, sz: Decimal) -> economics.Cost | None:
    """What entering and leaving `sz` base units costs by the books of now; None when not known."""
    spot = fresh_book(state, carry, Leg.SPOT)
    perp = fresh_book(state, carry, Leg.PERP)
    if spot is None or perp is None or state.account.fees is None:
        return None
    fees = economics.fees_in_force(state.policy.fees, state.account.fees)
    return economics.cost(fees, spot, perp, sz, economics.resting_share(state.policy.execution))


def offer(state: State, carry: Carry, freed_usd: Decimal = ZERO) -> Offer:
    """The size that caps and wallets leave, and what it would earn by the books of now.

    freed_usd: as if a carry of so much a leg were closed.
    """
    policy, market = state.policy, carry.market
    spot = fresh_book(state, carry, Leg.SPOT)
    if market is None or spot is None or fresh_book(state, carry, Leg.PERP) is None:
        return Offer()
    sz, move = sizing.entry_size(state, carry, market, spot.ask_px, freed_usd)
    notional = (sz * spot.bid_px).quantize(Decimal("0.01"))
    costs = round_trip(state, carry, sz) if sz and carry.forecast is not None else None
    if carry.forecast is None or costs is None:
        return Offer(sz=sz, notional=notional, move=move)
    hours, horizon = state.capabilities.interval_h, policy.strategy.horizon_h
    expected = economics.expected_net(carry.forecast.rate, horizon, hours, costs)
    return Offer(sz=sz, notional=notional, expected=expected, move=move)


def _left_for(carry: Carry) -> str | None:
    """The market that this one is being left for, if that is why."""
    if isinstance(carry.phase, Exit) and carry.phase.why.startswith(SWITCH):
        return carry.phase.why.removeprefix(SWITCH)
    return None


def money_free(state: State, carry: Carry, found: Offer) -> Gate:
    """No entry with the crumbs that a lesser carry leaves free: that one is left for it or not, and
    it enters once, with all of the money. Nor with what is freed for a better one.
    """
    value, passes = "yes", True
    for other in state.carries.values():
        taker = _left_for(other)
        if taker is not None:
            better = state.carries.get(taker)
            waits = better is not None and economics.pays_more(better.forecast, carry.forecast)
            if waits or taker == carry.coin:
                who = "it" if taker == carry.coin else taker
                value, passes = f"{other.coin} is being left for {who}", False
            continue
        lesser = economics.pays_more(carry.forecast, other.forecast)
        if lesser and isinstance(other.phase, Enter | HedgeOk):
            whole = offer(state, carry, sizing.exposure_usd(state, other)).notional or ZERO
            if whole and (found.notional or ZERO) < CRUMBS * whole:
                value, passes = f"${found.notional} of ${whole}, {other.coin} binds the rest", False
    return _holds("money_free", carry.coin, passes, value, "at least half of its size")


@attrs.frozen(kw_only=True)
class Prospect:
    """What entering a market would mean now: the offer, and the gates it was held against."""

    offer: Offer
    gates: tuple[Gate, ...]

    @property
    def open(self) -> bool:
        return all(gate.passes for gate in self.gates)


def _prints_age_ms_max(state: State) -> int:
    named = state.policy.risk.prints_age_ms_max
    return state.capabilities.interval_h * HOUR_MS + LATE_MS if named is None else named


def _slice_gate(state: State, carry: Carry) -> Gate:
    """Whether a slice, less the dust that is unhedged already, takes the smallest order there is.

    Otherwise the entry would begin and buy nothing: one lot, or the venue's minimum, is dearer.
    """
    left = smallest = None
    px, market = ledger.price(carry, Leg.SPOT), carry.market
    if px is not None and market is not None:
        dust = max(ZERO, carry.spot_sz + carry.perp_sz) * px
        left = (state.policy.risk.slice_usd - dust).quantize(Decimal("0.01"))
        lots = ceil_to(market.min_notional * Decimal("1.1") / px, market.lot)
        # A little more than the mid of now: what takes may pay some ticks beyond the touch.
        smallest = (lots * px * Decimal("1.01")).quantize(Decimal("0.01"))
    return _at_least("slice_usd", carry.coin, left, smallest or ZERO)


def prospect(state: State, carry: Carry) -> Prospect:
    """Every gate of an entry with its value, as people are shown it."""
    found = offer(state, carry)
    return Prospect(offer=found, gates=tuple(entry_gates(state, carry, found)))


def verdict(state: State, carry: Carry) -> Prospect:
    """The same as a tick needs it: the gates up to the first that does not pass."""
    found = offer(state, carry)
    gates: list[Gate] = []
    for gate in entry_gates(state, carry, found):
        gates.append(gate)
        if not gate.passes:
            break
    return Prospect(offer=found, gates=tuple(gates))


def entry_gates(state: State, carry: Carry, found: Offer) -> Iterator[Gate]:
    """All conditions of a new carry or of more; what the bot itself can mend comes last."""
    coin, policy = carry.coin, state.policy
    strategy, market = policy.strategy, carry.market
    yield from adding_gates(state, carry)
    yield _at_most(
        "foreign_usd", coin, foreign_usd(state, carry).quantize(Decimal("0.01")), 0, True
    )
    grows = carry.grows and isinstance(carry.phase, HedgeOk)
    flat = (
        (grows or (isinstance(carry.phase, Idle) and not carry.perp_sz))
        and not carry.doubts
        and not any(True for _ in state.of(coin))
    )
    word = "yes" if flat else "no"
    yield _holds("flat", coin, flat, word, "no position and nothing in doubt", True)
    phase = carry.phase
    wait = phase.until_ms - state.now_ms if isinstance(phase, Idle | HedgeOk) else 0
    yield _at_most("cooldown_ms", coin, max(0, wait), 0)
    hours = state.capabilities.interval_h
    known = None if carry.forecast is None else economics.known_h(carry.forecast, hours)
    yield _at_least("funding_hours", coin, known, economics.KNOWN_H_MIN, True)
    printed = None
    if carry.forecast is not None and state.venue_ms is not None:
        printed = max(0, state.venue_ms - carry.forecast.last_at_ms)
    yield _at_most("funding_age_ms", coin, printed, _prints_age_ms_max(state), True)
    wild = carry.volatility if state.now_ms - carry.volatility_ms <= VOLATILITY_MS_MAX else None
    yield _at_most("volatility", coin, wild, strategy.volatility.max)
    smallest = max(strategy.min_exposure_usd, 2 * market.min_notional if market else ZERO)
    yield _at_least("size_usd", coin, found.notional, smallest)
    yield _slice_gate(state, carry)
    yield money_free(state, carry, found)
    expected = None if found.expected is None else economics.worth(found.expected, strategy)
    net_bps, apr = (None, None) if expected is None else (expected.net_bps, expected.apr)
    yield _at_least("expected_net_bps", coin, net_bps, strategy.buffer_bps)
    yield _at_least("expected_apr", coin, apr, strategy.enter_threshold_apr)
    setting, lever = carry.leverage, policy.execution.perp_leverage
    shown = "absent"
    if setting is not None:
        shown = f"{setting.value} {'cross' if setting.cross else 'isolated'}"
    has = setting is not None and setting.value == lever and setting.cross
    yield _holds("leverage", coin, has, shown, f"{lever} cross")
    # A move that is not seen in both wallets yet leaves one of them as it was, or neither.
    waits = sum((i.sz for i in state.intents.values() if i.kind is Kind.MOVE), abs(found.move))
    yield _at_most("transfer_usd", coin, waits.quantize(Decimal("0.01")), 0)


def first_blocking(gates: Iterable[Gate]) -> Gate | None:
    """The gate to name first: a fault is ours or the venue's, and hides what the market would say.

    None when all pass.
    """
    failing = [gate for gate in gates if not gate.passes]
    return min(failing, key=lambda gate: not gate.fault, default=None)


def blocked_only_by(found: Prospect, name: str) -> bool:
    """Whether one gate is all that stands before an entry, as far as was asked."""
    return [gate.name for gate in found.gates if not gate.passes] == [name]
