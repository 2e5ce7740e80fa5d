"""What stands in the way of leaving, said aloud."""

from .actions import Action, Alert
from .num import show
from .state import Carry, Exit, State
from .types import Leg


def stuck(state: State, carry: Carry) -> tuple[Action, ...]:
    """A forced exit that makes no progress: nobody puts it off, so somebody must hear of it.

    Its clock stands still while an outcome is unknown; that has an alert of its own.
    """
    phase, bound_ms = carry.phase, state.policy.execution.exit_timeout_ms
    if not isinstance(phase, Exit) or not phase.forced or phase.stalled_ms <= bound_ms:
        return ()
    held = ", ".join(f"{leg.value} {show(carry.owned(leg))}" for leg in Leg)
    halts = [name for name, latch in state.latches.items() if latch.mode == "halt"]
    what = (
        f"in HALT nothing is traded: clear it with `carry resume --ack {halts[0]}` or close by hand"
        if halts
        else "it goes on trying, and pays up to hedge_repair_bps_max; see `carry why`"
    )
    text = (
        f"The exit of {carry.coin} ({phase.why}) has not moved for {phase.stalled_ms // 1000} s, "
        f"more than exit_timeout_ms {bound_ms}; held: {held}. {what[0].upper()}{what[1:]}."
    )
    return (Alert(level="page", name=f"stuck_{carry.coin}", coin=carry.coin, text=text),)
