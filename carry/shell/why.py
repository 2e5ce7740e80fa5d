"""Why the bot does what it does, in one sentence whose numbers are the gate vector's (P13).

Three kinds of waiting look different: FAULT is ours or the venue's and somebody must act, STOPPED
is an operator's or a limit's and needs a person's word, and the market needs nothing but time.
"""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

import attrs

from carry.core import alignment, conditions, risk
from carry.core.num import ZERO, show
from carry.core.state import PHASE_NAMES, Carry, Enter, Exit, Gate, HedgeOk, Idle, State

CENT = Decimal("0.01")
# Gates that no market moves: the bot's own pauses and counts, and what operators set.
OWN: Final = ("process", "once", "cooldown_ms", "orders_last_minute", "leverage")
STOPS: Final = ("latch", "lock")
HELD, BUSY, MARKET, PAUSE, STOPPED, FAULT = "held", "busy", "market", "pause", "stopped", "fault"


@attrs.frozen
class Reason:
    """One sentence and its kind. gate: the one that blocks, None when none does."""

    kind: str
    text: str
    gate: Gate | None = None


def kind_of(gate: Gate) -> str:
    """What a gate that does not pass means for the person who reads it."""
    if gate.fault:
        return FAULT
    if gate.name in STOPS:
        return STOPPED
    return PAUSE if gate.name in OWN else MARKET


def short_of(gate: Gate) -> Decimal | None:
    """How far its value is from passing, in its own unit; None when it is no number."""
    try:
        value, limit = Decimal(gate.value), Decimal(gate.threshold.split()[-1])
    except InvalidOperation:
        return None
    return abs(value - limit)


def lasting(ms: int) -> str:
    """A duration as people say it."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms >= 2 * size:
            return f"{ms // size} {unit}"
    return f"{max(0, ms) // 1000} s"


def since_ms(state: State, gate: Gate) -> int | None:
    """How long a gate has not passed, ms; None when nobody kept it."""
    carry = state.carries.get(gate.market or "")
    name = gate.name if gate.market is None else f"{gate.name}_{gate.market}"
    if name in state.faulty_ms:
        return state.now_ms - state.faulty_ms[name]
    waits = [carry] if carry is not None else list(state.carries.values())
    found = [
        c.blocked.since_ms for c in waits if c.blocked is not None and c.blocked.gate == gate.name
    ]
    return state.now_ms - min(found) if found else None


def of_gate(state: State, gate: Gate, coin: str) -> Reason:
    """The sentence of one gate that does not pass."""
    kind, short, since = kind_of(gate), short_of(gate), since_ms(state, gate)
    fact = f"{gate.name} is {gate.value}, needs {gate.threshold}"
    if short is not None:
        fact += f" ({show(short)} {'over' if gate.threshold.startswith('<') else 'short'})"
    if since is not None and since >= 1_000:
        fact += f", for {lasting(since)}"
    if kind == STOPPED:
        names = list(state.latches) if gate.name == "latch" else [f"external_{coin}"]
        clear = " and ".join(f"`carry resume --ack {name}`" for name in names)
        return Reason(kind, f"STOPPED: {fact}; entries wait for {clear}", gate)
    if kind == FAULT:
        return Reason(kind, f"FAULT: {coin}: {fact}; entries wait until it is mended", gate)
    who = "the market" if kind == MARKET else "a pause of its own"
    return Reason(kind, f"{coin} waits for {who}: {fact}", gate)


def of_market(state: State, carry: Carry, found: tuple[Gate, ...]) -> Reason:
    """What one market waits for. found: all gates, or those of this market and the account."""
    if carry.market is None:
        return Reason(FAULT, f"FAULT: {carry.coin}: {carry.broken or 'metadata was not read yet'}")
    foreign = refused_because_foreign(state, carry)
    if foreign is not None:
        return Reason(STOPPED, foreign)
    stuck = [intent for intent in state.of(carry.coin) if intent.unknown]
    if stuck:
        text = f"order #{stuck[0].no}: nobody knows yet whether it landed; the fence decides"
        return Reason(BUSY, text)
    halted = [name for name, latch in state.latches.items() if latch.mode == "halt"]
    if halted and (carry.repair is not None or isinstance(carry.phase, Enter | Exit)):
        naked_now = "a leg is naked and " if carry.repair is not None else ""
        ack = f"`carry resume --ack {halted[0]}`"
        return Reason(STOPPED, f"HALT: {naked_now}nothing is traded until {ack}")
    if alignment.left_alone(state, carry):
        ack = f"`carry resume --ack external_{carry.coin}`"
        text = f"it lost what nothing explains, and alignment.mode is log: left alone until {ack}"
        return Reason(STOPPED, text)
    stands = conditions.says(state, carry)
    reason = _doing(state, carry, found)
    if stands is None or isinstance(carry.phase, Idle):
        return reason
    return attrs.evolve(reason, text=f"{reason.text}; {stands}")


def _doing(state: State, carry: Carry, found: tuple[Gate, ...]) -> Reason:
    if carry.repair is not None:
        doing = "unwinding the excess leg" if carry.repair.unwinding else "hedging what filled"
        return Reason(BUSY, f"{doing}, for {carry.repair.spent_ms} ms")
    match carry.phase:
        case Idle():
            mine = [gate for gate in found if gate.market in (None, carry.coin)]
            first = risk.first_blocking(mine)
            if first is None:
                return Reason(BUSY, "every gate passes: it enters next")
            return of_gate(state, first, carry.coin)
        case Enter(target_sz=target):
            return Reason(BUSY, f"buying up to {show(target)} in slices, hedging each")
        case HedgeOk(leaving_ms=since):
            if since is not None:
                held_ms = state.now_ms - since
                return Reason(HELD, f"the reasons to leave hold for {held_ms} ms")
            return Reason(HELD, f"held and hedged; {_funding([carry])}")
        case Exit(why=reason):
            return Reason(BUSY, f"closing both legs: {reason}")


def _funding(held: Sequence[Carry]) -> str:
    """Which way the funding of what is held goes at the rates of now."""
    paying = [c.coin for c in held if c.context is not None and c.context.funding_rate < 0]
    if not paying:
        return "funding is collected"
    if len(paying) == len(held):
        return "funding is paid for now, which alone is no reason to leave"
    return f"funding is collected, but paid for now in {' and '.join(paying)}"


def refused_because_foreign(state: State, carry: Carry) -> str | None:
    """Why a market is not traded: it holds what the journal does not explain. None when it does."""
    usd = risk.foreign_usd(state, carry)
    if not usd:
        return None
    spot = carry.foreign_spot - state.policy.reserve_of(carry.coin)
    held = [f"{show(spot)} {carry.coin} spot"] if spot > ZERO else []
    if carry.foreign_perp:
        held.append(f"{show(carry.foreign_perp)} {carry.coin} perp")
    size = show(max(spot, abs(carry.foreign_perp)))
    return (
        f"{' and '.join(held)} (about ${show(usd.quantize(CENT))}) are foreign: this journal does "
        f"not explain them, so {carry.coin} is not traded. `carry adopt {carry.coin} {size}` takes "
        f"them over; `reserve_sz` of {carry.coin} in the config leaves spot to you"
    )


def best(state: State) -> Carry | None:
    """The idle market that is worth most: by expected net carry, a market without one last."""
    idle = [c for c in state.carries.values() if isinstance(c.phase, Idle)]

    def rank(carry: Carry) -> tuple[bool, Decimal, str]:
        expected = risk.offer(state, carry).expected
        return expected is None, -(expected or ZERO), carry.coin

    listed = [c for c in idle if c.coin in state.policy.coins] or idle
    return min(listed, key=rank, default=None)


def of_all(state: State, found: tuple[Gate, ...]) -> Reason:
    """The one sentence: what needs a person, else what is being done, else what is held, else what
    the best market waits for.
    """
    reasons = {coin: of_market(state, carry, found) for coin, carry in state.carries.items()}
    open_ = {c: r for c, r in reasons.items() if not isinstance(state.carries[c].phase, Idle)}
    for coin, reason in {**open_, **reasons}.items():
        if reason.kind == BUSY and not reason.text.startswith("every gate"):
            return attrs.evolve(reason, text=f"{coin} {_phase(state, coin)}: {reason.text}")
        if reason.text.startswith("HALT"):
            return attrs.evolve(reason, text=f"{coin}: {reason.text}")
    held = [coin for coin, reason in open_.items() if reason.kind == HELD]
    if held:
        what = " and ".join(held)
        leaving = next((open_[c].text for c in held if "leave" in open_[c].text), None)
        funding = _funding([state.carries[coin] for coin in held])
        text = f"Holding {what}: {leaving or f'hedged; {funding}'}"
        stops = ", ".join(name for name, latch in state.latches.items())
        return Reason(HELD, text + (f"; STOPPED for more by {stops}" if stops else ""))
    first = best(state)
    if first is None:
        return Reason(STOPPED, "No market is configured: name one under markets in the config")
    reason = reasons[first.coin]
    if reason.gate is None and reason.kind != FAULT:
        return attrs.evolve(reason, text=f"{first.coin}: {reason.text}")
    return attrs.evolve(reason, text=f"Nothing is held. {reason.text}")


def _phase(state: State, coin: str) -> str:
    return PHASE_NAMES[type(state.carries[coin].phase)]
