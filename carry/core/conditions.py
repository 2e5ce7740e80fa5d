"""How the venue and its markets stand, from what they answered: states with a rule each.

What each looks like on the wire: POST_ONLY and HALTED are the venue's own refusals; READ_ONLY are
writes without a decisive answer while reads are answered; SILENT is no read answered; DELISTED and
UNLISTED are in the metadata. Only what may be wrong about the present is here: no clock of its own,
each state ends by an answer to the contrary or when its evidence is old.
"""

import attrs

from . import observations as seen
from .actions import Action, Alert, Note
from .intents import set_carry
from .num import show
from .state import Carry, Condition, Exit, State
from .types import Leg

SILENT_MS = 30_000  # no read was answered for this long
WRITES_MAX = 5  # writes in a row without a decisive answer from which the venue is read-only
PROBE_MS = 15_000  # old evidence: an order is tried again after this, and is the evidence
HALT_MS = 60_000  # likewise of a market that refused an order because it does not trade

Said = tuple[Action, ...]
UNDECISIVE = (seen.OutcomeUnknown, seen.FenceUnanswered)
SAYS_NOTHING = (seen.NotSent, seen.CancelUnanswered, seen.OrderRecord)  # local, or answered reads


# --- evidence -------------------------------------------------------------------------------------


def heard(state: State, fact: seen.Outcome) -> State:
    """Count a write that got no decisive answer; any answer ends the count."""
    if isinstance(fact, UNDECISIVE):
        first = state.unanswered_since_ms if state.unanswered else state.now_ms
        return attrs.evolve(
            state,
            unanswered=state.unanswered + 1,
            unanswered_since_ms=first,
            unanswered_ms=state.now_ms,
        )
    if isinstance(fact, SAYS_NOTHING):
        return state
    if state.unanswered:
        state = attrs.evolve(state, unanswered=0)
    intent = state.intents.get(str(fact.intent))
    if isinstance(fact, seen.Accepted) and intent is not None:
        carry = state.carries[intent.coin]
        if intent.leg.value in carry.halted_ms:
            left = {leg: ms for leg, ms in carry.halted_ms.items() if leg != intent.leg.value}
            state = set_carry(state, attrs.evolve(carry, halted_ms=left))
    return state


# --- what it means --------------------------------------------------------------------------------


def of_venue(state: State) -> Condition:
    """The venue as a whole; the state that says most first."""
    now = state.now_ms
    if now - max(state.answered_ms, state.started_ms) > SILENT_MS:
        return Condition.SILENT
    unanswered = state.unanswered >= WRITES_MAX and now - state.unanswered_ms <= PROBE_MS
    if unanswered and state.answered_ms > state.unanswered_since_ms:
        return Condition.READ_ONLY
    if now < state.post_only_until_ms:
        return Condition.POST_ONLY
    return Condition.OPEN


def halted(state: State, carry: Carry, leg: Leg) -> bool:
    """Whether the newest word of the venue on a leg is that it does not trade."""
    refused_ms = carry.halted_ms.get(leg.value)
    return refused_ms is not None and state.now_ms - refused_ms <= HALT_MS


def of_market(state: State, carry: Carry) -> Condition:
    market = carry.market
    if carry.broken is not None:
        return Condition.UNLISTED
    if market is not None and not (market.spot.tradable and market.perp.tradable):
        return Condition.DELISTED
    if carry.halted_ms and any(halted(state, carry, leg) for leg in Leg):
        return Condition.HALTED
    return Condition.OPEN


def settle(state: State) -> tuple[State, Said]:
    """Enter the states that hold now, and name each change."""
    said: Said = ()
    new = of_venue(state)
    if new is not state.condition:
        said = (_changed(None, state.condition, new),)
        state = attrs.evolve(state, condition=new)
    for carry in state.carries.values():
        new = of_market(state, carry)
        if new is carry.condition:
            continue
        said += (_changed(carry.coin, carry.condition, new),)
        state = set_carry(state, attrs.evolve(carry, condition=new))
        held = carry.spot_sz or carry.perp_sz
        if held and new in (Condition.HALTED, Condition.DELISTED):
            said += (_held_there(state, state.carries[carry.coin]),)
    return state, said


def _changed(coin: str | None, old: Condition, new: Condition) -> Note:
    return Note(event="condition", coin=coin, fields={"was": old.value, "is": new.value})


def _held_there(state: State, carry: Carry) -> Alert:
    text = f"{carry.coin} is held, spot {show(carry.spot_sz)} perp {show(carry.perp_sz)}, and "
    name = f"{carry.condition.value}_{carry.coin}"
    return Alert(level="page", name=name, coin=carry.coin, text=f"{text}{says(state, carry)}.")


# --- what follows ---------------------------------------------------------------------------------


def waits(state: State, carry: Carry) -> bool:
    """Whether a hedged carry begins no further slice of its exit by the spot: the other leg could
    not follow. What is naked is repaired all the same."""
    return dumb(state) or perp_first(state, carry)


def dumb(state: State) -> bool:
    """Whether the venue answers no orders now."""
    return state.condition in (Condition.READ_ONLY, Condition.SILENT)


def perp_first(state: State, carry: Carry) -> bool:
    """Whether the short is the leg in doubt. It leads then: refused, nothing is naked."""
    market = carry.market
    delisted = market is not None and not market.perp.tradable
    return delisted or halted(state, carry, Leg.PERP)


def says(state: State, carry: Carry) -> str | None:
    """What the condition of the venue or the market means for it, for people; None in OPEN."""
    match state.condition:
        case Condition.POST_ONLY:
            return "the venue takes post-only orders only, as after an upgrade: they join the touch"
        case Condition.READ_ONLY:
            return (
                f"the venue answers reads and no orders ({state.unanswered} in a row): a further "
                "slice waits, what is naked is still repaired"
            )
        case Condition.SILENT:
            gone = (state.now_ms - max(state.answered_ms, state.started_ms)) // 1000
            return f"the venue has answered nothing for {gone} s: orders wait for a price"
    match carry.condition:
        case Condition.HALTED:
            legs = " and ".join(leg.value for leg in Leg if halted(state, carry, leg))
            return f"the venue refuses orders of its {legs} as halted: tried again every 10 s"
        case Condition.DELISTED:
            return "the venue delisted it: it is closed, and what cannot be traded is settled"
        case Condition.UNLISTED:
            return f"its metadata cannot be used ({carry.broken}): the last good serve to leave"
    return None


def stuck(state: State, carry: Carry) -> Said:
    """A forced exit that makes no progress: nobody puts it off, so somebody must hear of it.

    Its clock stands still while an outcome is unknown; that has an alert of its own.
    """
    phase, bound_ms = carry.phase, state.policy.execution.exit_timeout_ms
    if not isinstance(phase, Exit) or not phase.forced or phase.stalled_ms <= bound_ms:
        return ()
    held = ", ".join(f"{leg.value} {show(carry.owned(leg))}" for leg in Leg)
    halts = [name for name, latch in state.latches.items() if latch.mode == "halt"]
    what = says(state, carry)
    if halts:
        what = f"in HALT nothing is traded: `carry resume --ack {halts[0]}`, or close by hand"
    elif what is None:
        what = "it goes on trying, and pays up to hedge_repair_bps_max; see `carry why`"
    text = (
        f"The exit of {carry.coin} ({phase.why}) has not moved for {phase.stalled_ms // 1000} s, "
        f"more than exit_timeout_ms {bound_ms}; held: {held}. {what[0].upper()}{what[1:]}."
    )
    return (Alert(level="page", name=f"stuck_{carry.coin}", coin=carry.coin, text=text),)
