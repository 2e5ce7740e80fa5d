"""What an operator asks: durable, named, each once (P12)."""

import attrs

from . import asked, ledger
from .actions import Action, Alert, Note, Posting
from .holdings import post, shift
from .intents import latch, set_carry, unsaid
from .num import ZERO, show
from .reconcile import RESIDUAL
from .state import Enter, HedgeOk, Idle, State
from .types import Leg

Said = tuple[Action, ...]


def obey(state: State, command: asked.Command) -> tuple[State, Said]:
    if command.command_id <= state.command_id:
        return state, ()  # seen before: delivered twice, or replayed after a restart
    state = attrs.evolve(state, command_id=command.command_id)
    name = type(command).__name__.lower()
    said: Said = (
        Note(
            event="command",
            coin=None,
            fields={"id": str(command.command_id), "what": name, "by": command.by},
        ),
    )
    match command:
        case asked.Pause():
            return latch(state, "pause", "reduce", f"paused by {command.by}"), said
        case asked.Flatten():
            return latch(state, "flatten", "flatten", f"flatten asked by {command.by}"), said
        case asked.Kill():
            return latch(state, "kill", "flatten", f"kill asked by {command.by}"), said
        case asked.Resume():
            return _resume(state, command, said)
        case asked.Adopt():
            return _adopt(state, command, said)
        case asked.SetPolicy():
            return attrs.evolve(state, policy=command.policy), said
        case asked.Rejected():
            text = f"{command.what} by {command.by} was not obeyed: {command.why}"
            name = f"command_refused_{command.command_id}"
            return state, (*said, Alert(level="warn", name=name, coin=None, text=text))
        case _:
            raise AssertionError(f"command without a handler: {command}")


def _written_off(state: State, said: Said) -> tuple[State, Said]:
    """An operator takes the residual for what it is: from now on it is explained, as external.

    Without this one unexplained deposit would hold back entries for ever.
    """
    usd = state.account.residual_usd or ZERO
    at_ms = state.venue_ms or state.wall_ms
    line = Posting(kind="written_off", ref="", at_ms=at_ms, coin=None, outside_usd=usd)
    state, posted = post(state, line)
    account = attrs.evolve(state.account, residual_usd=ZERO, beyond_ms=None)
    left = {name: each for name, each in state.latches.items() if name != RESIDUAL}
    state = attrs.evolve(state, account=account, latches=left)
    note = Note(event="residual_written_off", coin=None, fields={"usd": show(usd)})
    return unsaid(unsaid(state, "fault_residual_usd"), RESIDUAL), (*said, note, *posted)


def _resume(state: State, command: asked.Resume, said: Said) -> tuple[State, Said]:
    if command.latch == RESIDUAL and state.account.residual_usd:
        return _written_off(state, said)
    if command.latch not in state.latches:
        names = ", ".join(state.latches) or "none"
        text = f"There is no latch {command.latch!r} to clear; set now: {names}."
        return state, (*said, Alert(level="warn", name="resume", coin=None, text=text))
    left = {name: each for name, each in state.latches.items() if name != command.latch}
    state = unsaid(attrs.evolve(state, latches=left), command.latch)
    carry = state.carries.get(command.latch.removeprefix("external_"))
    if carry is not None and carry.unaligned:  # what is naked now is the repair's
        state = set_carry(state, attrs.evolve(carry, unaligned=False))
    if command.latch == "drawdown":
        state = attrs.evolve(state, high_water_usd=ledger.total(state).net_usd)
    if command.latch == "other_writer":
        state = attrs.evolve(state, doubled=0)
    return state, said


def _adopt(state: State, command: asked.Adopt, said: Said) -> tuple[State, Said]:
    """Foreign coins, and as much of a foreign short, become ours at today's prices."""
    carry = state.carries.get(command.coin)
    spot_px = perp_px = None
    if carry is not None:
        spot_px, perp_px = ledger.price(carry, Leg.SPOT), ledger.price(carry, Leg.PERP)
    if carry is None or spot_px is None or perp_px is None:
        text = f"{command.coin} cannot be adopted: it is not a market of the config with a price."
        return state, (*said, Alert(level="warn", name="adopt", coin=command.coin, text=text))
    free = carry.foreign_spot - state.policy.reserve_of(carry.coin)
    spot = max(ZERO, min(command.sz, free))
    perp = -min(command.sz, max(ZERO, -carry.foreign_perp))
    if not spot and not perp:
        text = (
            f"Nothing of {command.coin} to adopt: foreign spot {show(carry.foreign_spot)} of which "
            f"reserved {show(state.policy.reserve_of(carry.coin))}, "
            f"foreign short {show(carry.foreign_perp)}."
        )
        return state, (*said, Alert(level="warn", name="adopt", coin=command.coin, text=text))
    now_at_ms = state.venue_ms or state.wall_ms
    carry = shift(shift(carry, Leg.SPOT, spot, -spot), Leg.PERP, perp, -perp, now_at_ms)
    phase = carry.phase
    if isinstance(phase, Idle | Enter):
        phase = HedgeOk(since_ms=state.now_ms)
    state = set_carry(state, attrs.evolve(carry, phase=phase))
    note = Note(
        event="adopted",
        coin=carry.coin,
        fields={"spot_sz": show(spot), "perp_sz": show(perp)},
    )
    said = (*said, note)
    known = state.account.baseline_usd is not None
    for leg, sz, px in ((Leg.SPOT, spot, spot_px), (Leg.PERP, perp, perp_px)):
        if sz:
            line = ledger.moved("adopted", carry.coin, leg, sz, px, now_at_ms, known=known)
            state, posted = post(state, line)
            said = (*said, *posted)
    return state, said
