"""The composition: facts in, gates, phases, plans, guard. Same input, same output, everywhere."""

from decimal import Decimal

import attrs

from . import (
    collateral,
    conditions,
    deleverage,
    delisted,
    ledger,
    planning,
    portfolio,
    resize,
    resting,
    risk,
    writes,
)
from .absorb import absorb
from .actions import (
    Action,
    Alert,
    Cancel,
    CancelForeign,
    Fence,
    MoveUsd,
    Note,
    Place,
    SetLeverage,
)
from .guard import check
from .intents import latch, pursue, set_carry, unsaid
from .num import show
from .observations import Observations
from .phases import FLATTEN, View, decide, view
from .portfolio import Switch
from .risk import Prospect
from .state import MAY_FOLLOW, Blocked, Carry, Enter, Exit, Gate, HedgeOk, Idle, State
from .turns import in_turn
from .types import Leg
from .wants import wants

SAY_AGAIN_MS = 3_600_000  # an alert of one name is repeated after this
FAULT_MS = 60_000  # a gate that fails by a fault this long is an alert
PNL_MS = 60_000
WRITES = (Place, Cancel, CancelForeign, SetLeverage, MoveUsd, Fence)
DAY_MS = 86_400_000
AGENT_DAYS = (14, 7, 2)  # days before the agent's end at which an operator is told
FAILURES_SAID = 3  # entries in a row that came to nothing, from which an operator is told


def step(state: State, obs: Observations) -> tuple[State, tuple[Action, ...]]:
    """Decide one tick: the state after it, and what to do, in order.

    Everything with an effect is in the actions; the caller journals state, observations and actions
    before it carries them out. Raises `guard.GuardFailed` for a mistake of ours, nothing else.
    """
    before = state
    state, said = absorb(state, obs)
    state, more = pursue(state, answered=bool(obs.reads))
    actions = [*said, *more]
    state, more = conditions.settle(state)
    actions += more
    state, more = _drawdown(state)
    actions += more
    state = resize.obeyed(state)
    near = deleverage.distance(state)
    better = portfolio.switch(state)
    for coin in _order(state):
        state, more = _market(before, state, coin, near, better)
        actions += more
    state, more = collateral.rescue(state, near)
    actions += more
    state, more = writes.withdraw_strays(state)
    actions += more
    state, more = _watch(state, near)
    actions += more
    state = attrs.evolve(state, wants=wants(state, near))
    state, spoken = _coalesced(state, actions)
    state, spoken = in_turn(state, spoken)
    check(state, spoken)
    return _spent(state, spoken), spoken


def _spent(state: State, actions: tuple[Action, ...]) -> State:
    """Count down the account's actions: the venue's own count is read only now and then."""
    left = state.account.actions_left
    writes = sum(isinstance(action, WRITES) for action in actions)
    if left is None or not writes:
        return state
    account = attrs.evolve(state.account, actions_left=max(0, left - writes))
    return attrs.evolve(state, account=account)


def _order(state: State) -> tuple[str, ...]:
    """Held markets first, by name; then idle ones, the best expected net carry first.

    So budgets are spent deterministically, and what is held is never kept waiting by an entry.
    """

    idle = sum(isinstance(carry.phase, Idle) for carry in state.carries.values())

    def rank(coin: str) -> tuple[int, Decimal, str]:
        carry = state.carries[coin]
        if not isinstance(carry.phase, Idle):
            return (0, Decimal(0), coin)
        expected = risk.offer(state, carry).expected if idle > 1 else None
        return (1, -expected, coin) if expected is not None else (2, Decimal(0), coin)

    return tuple(sorted(state.carries, key=rank))


def _market(
    before: State, state: State, coin: str, near: Decimal | None, better: Switch | None
) -> tuple[State, tuple[Action, ...]]:
    carry = state.carries[coin]
    px = ledger.price(carry, Leg.PERP)
    if carry.market is None or px is None:
        return state, ()
    state, given = delisted.handed_over(state, carry)
    carry = state.carries[coin]
    look = view(before, state, carry, px, near)
    carry, said = planning.repaired(state, carry, look)
    state = set_carry(state, carry)
    if carry.repair is None:
        state = unsaid(state, f"naked_{coin}")
    said = (*given, *said)
    if isinstance(carry.phase, HedgeOk):
        phase = resize.shrunk(state, carry, look, carry.phase)
        said += resize.told(carry.phase, phase, carry, look)
        carry = attrs.evolve(carry, phase=phase)
        state = set_carry(state, carry)
        said += resize.shows(state, carry, look)
    asks = isinstance(carry.phase, Idle) or (isinstance(carry.phase, HedgeOk) and carry.grows)
    found = risk.verdict(state, carry) if asks else None
    carry = _waiting(state, carry, found)
    why = f"{risk.SWITCH}{better.idle}" if better and better.held == coin else None
    decision = decide(state, carry, look, found, why)
    carry = resting.timed(before, state, carry, look, decision)
    old, new = type(carry.phase), type(decision.phase)
    assert new in MAY_FOLLOW[old], f"{coin}: {old.__name__} may not become {new.__name__}"
    if new is not old:
        grows = isinstance(decision.phase, HedgeOk) and _short_of_target(carry, look)
        carry = attrs.evolve(carry, misses={}, grows=grows)
        said += _moved(state, carry, look, decision.phase, found)
        if old is Enter:
            failed = carry.repair is not None and carry.repair.unwinding
            carry, more = _counted(state, carry, kept=new is HedgeOk and not failed)
            said += more
    if decision.phase != carry.phase:
        carry = attrs.evolve(carry, phase=decision.phase)
    state = set_carry(state, carry)
    if found is not None and risk.blocked_only_by(found, "leverage") and carry.leverage is not None:
        state, more = writes.lever(state, state.carries[coin])
        return state, said + more
    if found is not None and risk.blocked_only_by(found, "transfer_usd"):
        state, more = collateral.before_entry(state, found.offer)
        return state, said + more
    if resize.relevers(state, state.carries[coin], look):
        state, more = writes.lever(state, state.carries[coin])
        return state, said + more
    state, more = planning.plan(state, state.carries[coin], look, decision)
    return state, said + more


def _short_of_target(carry: Carry, look: View) -> bool:
    """Whether what is held is less than the entry, or the exit that was taken back, wanted."""
    assert carry.market is not None
    match carry.phase:
        case Enter(target_sz=wanted):
            # A slice without a hedge is sold; what lots leave over is not.
            kept = look.spot if look.hedged else look.spot - max(Decimal(0), look.delta)
            return (wanted - kept) * look.px >= 2 * carry.market.spot.min_notional
        case Exit(why=why):
            return why == FLATTEN
        case _:
            return False


def _waiting(state: State, carry: Carry, found: Prospect | None) -> Carry:
    """Keep since when an idle market waits for the gate that it waits for first."""
    first = None if found is None else risk.first_blocking(found.gates)
    if first is None:
        return carry if carry.blocked is None else attrs.evolve(carry, blocked=None)
    if carry.blocked is not None and carry.blocked.gate == first.name:
        return carry
    return attrs.evolve(carry, blocked=Blocked(first.name, state.now_ms))


def _counted(state: State, carry: Carry, kept: bool) -> tuple[Carry, tuple[Action, ...]]:
    """Count entries in a row that came to nothing; an operator's flatten is none of them."""
    if kept:
        return attrs.evolve(carry, failures=0), ()
    if risk.flattening(state):
        return carry, ()
    failures = carry.failures + 1
    carry = attrs.evolve(carry, failures=failures)
    if failures < FAILURES_SAID:
        return carry, ()
    text = (
        f"{failures} entries of {carry.coin} in a row were given up: one leg does not fill. The "
        "next begins with the smallest order there is, after a pause that doubles three times; "
        "logs/carry.log shows what the venue says, or take the market out of the config."
    )
    name = f"entry_fails_{carry.coin}_{failures}"
    return carry, (Alert(level="page", name=name, coin=carry.coin, text=text),)


def _moved(
    state: State, carry: Carry, look: View, phase: object, found: Prospect | None
) -> tuple[Action, ...]:
    """Name a change of phase."""
    pnl = ledger.pnl(carry)
    match phase:
        case Enter():
            assert found is not None
            assert found.offer.expected is not None
            event = "entry"
            fields = {
                "target_sz": show(phase.target_sz),
                "px": show(look.px),
                "expected_net": show(found.offer.expected.quantize(Decimal("1e-8"))),
            }
        case HedgeOk():
            event, fields = "hedged", {"spot_sz": show(look.spot), "perp_sz": show(look.perp)}
        case Exit():
            event, fields = "exit", {"why": phase.why, "spot_sz": show(look.spot)}
        case _:
            event, fields = "flat", {"spot_sz": show(look.spot)}
    fields["net_usd"] = show(pnl.net_usd.quantize(Decimal("0.000001")))
    return (Note(event=event, coin=carry.coin, fields=fields),)


# --- what concerns all markets --------------------------------------------------------------------


def _drawdown(state: State) -> tuple[State, tuple[Action, ...]]:
    """Latch a fall of net PnL. Before anything is decided: a latch of this tick binds this tick.

    Prices of two ages are no PnL: a move between them would look like a gain or a loss.
    """
    if any(_ages_differ(state, carry) for carry in state.carries.values()):
        return state, ()
    actions: list[Action] = []
    pnl = ledger.total(state)
    high = max(state.high_water_usd, pnl.net_usd)
    if high != state.high_water_usd:
        state = attrs.evolve(state, high_water_usd=high)
    if high - pnl.net_usd > state.policy.risk.max_drawdown_usd and "drawdown" not in state.latches:
        text = (
            f"Net PnL fell ${show((high - pnl.net_usd).quantize(Decimal('0.01')))} from its "
            f"high, more than max_drawdown_usd {show(state.policy.risk.max_drawdown_usd)}: "
            "entries stop until `carry resume --ack drawdown`. What is held stays hedged."
        )
        state = latch(state, "drawdown", "reduce", text)
        actions.append(Alert(level="page", name="drawdown", coin=None, text=text))
    return state, tuple(actions)


def _ages_differ(state: State, carry: Carry) -> bool:
    """Whether one leg of a holding is priced by now and the other by some time ago."""
    fresh = [risk.fresh_quote(state, carry, leg) is not None for leg in Leg]
    return bool(carry.spot_sz or carry.perp_sz) and fresh[0] != fresh[1]


def _watch(state: State, near: Decimal | None) -> tuple[State, tuple[Action, ...]]:
    """Alerts of the account as a whole, and the minute's figures."""
    actions: list[Action] = []
    pnl = ledger.total(state)
    for carry in state.carries.values():
        actions += _distance(state, carry, near)
        actions += conditions.stuck(state, carry)
        if not isinstance(carry.phase, Exit) or not carry.phase.stalled_ms:
            state = unsaid(state, f"stuck_{carry.coin}")
    if state.venue_ms is not None:
        skew = abs(state.wall_ms - state.venue_ms)
        if skew > state.policy.risk.skew_ms_warn:
            text = (
                f"The machine's clock is {skew} ms from the venue's; past "
                f"{state.policy.risk.skew_ms_max} ms entries stop. Set the clock (NTP)."
            )
            actions.append(Alert(level="warn", name="clock_skew", coin=None, text=text))
    actions += _agent(state)
    state, more = _faults(state)
    actions += more
    state, more = _cancelling(state)
    actions += more
    if state.now_ms - state.pnl_note_ms >= PNL_MS:
        state = attrs.evolve(state, pnl_note_ms=state.now_ms)
        fields = {
            "net_usd": show(pnl.net_usd),
            "funding_usd": show(pnl.funding_usd),
            "fees_usd": show(pnl.fees_usd),
            "basis_usd": show(pnl.basis_usd),
            "slippage_usd": show(pnl.slippage_usd),
            "external_usd": show(pnl.external_usd),
        }
        actions.append(Note(event="pnl_update", coin=None, fields=fields))
    return state, tuple(actions)


def _agent(state: State) -> tuple[Action, ...]:
    """Warn 14, 7 and 2 days before the agent's validity ends: after it nothing can be closed."""
    left_ms = risk.agent_left_ms(state)
    days = [days for days in AGENT_DAYS if left_ms is not None and left_ms < days * DAY_MS]
    if left_ms is None or not days:
        return ()
    text = (
        f"The agent key is valid for {max(0, left_ms) // 3_600_000} more hours; below 48 entries "
        "stop, at 0 nothing can be closed. Make a new one with `carry key new` and approve it."
    )
    level = "page" if days[-1] == AGENT_DAYS[-1] else "warn"
    return (Alert(level=level, name=f"agent_expires_{days[-1]}d", coin=None, text=text),)


def _distance(state: State, carry: Carry, near: Decimal | None) -> tuple[Action, ...]:
    limits = state.policy.risk
    warn = limits.liq_distance_warn
    if near is None or near >= warn or not carry.perp_sz:
        return ()
    percent = (near * 100).quantize(Decimal("0.1"))
    others = sum(1 for other in state.carries.values() if other.perp_sz) > 1
    text = (
        f"{carry.coin} may rise {show(percent)} % {'with the others ' if others else ''}before the "
        f"short is liquidated, less than {show(warn * 100)} %. Below "
        f"{show(limits.liq_distance_min * 100)} % both legs are shrunk by themselves; USDC added "
        "to the account keeps the size."
    )
    # What comes nearer is news: below two thirds, and below one third of the warning.
    how = "_close" if near < warn / 3 else "_nearer" if near < warn * 2 / 3 else ""
    name = f"liquidation_{carry.coin}{how}"
    return (Alert(level="page", name=name, coin=carry.coin, text=text),)


def gates(state: State) -> tuple[Gate, ...]:
    """Every gate as it stands: the account's once, then each market's."""
    found = [*risk.account_gates(state)]
    for carry in state.carries.values():
        found += [g for g in risk.prospect(state, carry).gates if g.market is not None]
    return tuple(found)


def _faults(state: State) -> tuple[State, tuple[Action, ...]]:
    """Silence is a fault: say which gate fails through no doing of the market."""
    failing: dict[str, Gate] = {}
    for gate in risk.account_gates(state):
        if gate.fault and not gate.passes:
            failing[gate.name] = gate
    for carry in state.carries.values():
        for gate in risk.data_gates(state, carry):
            if gate.fault and not gate.passes:
                failing[f"{gate.name}_{carry.coin}"] = gate
    since = {name: state.faulty_ms.get(name, state.now_ms) for name in failing}
    actions = tuple(
        Alert(
            level="page",
            name=f"fault_{name}",
            coin=gate.market,
            text=f"{gate.name} is {gate.value}, needs {gate.threshold}, for over a minute: entries "
            "wait for it. `carry why` shows whether it still holds.",
        )
        for name, gate in failing.items()
        if state.now_ms - since[name] > FAULT_MS
    )
    return attrs.evolve(state, faulty_ms=since) if since != state.faulty_ms else state, actions


def _cancelling(state: State) -> tuple[State, tuple[Action, ...]]:
    """Mark where the withdrawal of everything begins and where nothing rests any more."""
    wanted = state.stopping or risk.flattening(state) or risk.mode(state) is risk.Mode.HALT
    fields = {"intents": str(len(state.intents))}
    if not wanted:
        return attrs.evolve(state, cancelling="") if state.cancelling else state, ()
    if not state.cancelling:
        note = Note(event="cancel_all_begin", coin=None, fields=fields)
        return attrs.evolve(state, cancelling="begun"), (note,)
    if state.cancelling == "begun" and not state.intents:
        note = Note(event="cancel_all_end", coin=None, fields=fields)
        return attrs.evolve(state, cancelling="ended"), (note,)
    return state, ()


def _coalesced(state: State, actions: list[Action]) -> tuple[State, tuple[Action, ...]]:
    """Each alert once, and again only after an hour, so that one fault does not bury the next."""
    said = {n: ms for n, ms in state.said.items() if state.now_ms - ms < SAY_AGAIN_MS}
    spoken: list[Action] = []
    for action in actions:
        if isinstance(action, Alert):
            if action.name in said:
                continue
            said[action.name] = state.now_ms
        spoken.append(action)
    return attrs.evolve(state, said=said), tuple(spoken)


def naked(state: State, carry: Carry) -> bool:
    """Whether a market's legs differ by more than its band."""
    px = ledger.price(carry, Leg.PERP)
    if carry.market is None or px is None:
        return bool(carry.spot_sz or carry.perp_sz)
    return not view(state, state, carry, px).hedged


def calm(state: State) -> bool:
    """Nothing is on its way and no leg is naked: the process may end here."""
    return not state.intents and not any(naked(state, c) for c in state.carries.values())
