"""One rendering of a tick, for the console, the log, an alert and the golden files.

    tick 4  +3s  HYPE Enter
      < HYPE filled buy spot 5.99 @ 100.1
      = HYPE spot 5.99  perp 0  delta 599.6 usd  fees 0.4 usd
      . HYPE #3 sell perp 5.99 left, sent
      > HYPE #3 sell perp 5.99 @ 100.1 ioc  (hedge)
      ! warn ...

`<` seen, `=` believed, `.` working, `>` asked, `!` alert. A pure function of what the tick was.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from carry.core import ledger
from carry.core.actions import (
    Action,
    Alert,
    Cancel,
    CancelForeign,
    Fence,
    MoveUsd,
    Note,
    Place,
    Posting,
    Query,
    SetLeverage,
)
from carry.core.asked import Adopt, Command, Rejected, Resume, SetPolicy
from carry.core.num import show
from carry.core.observations import (
    Accepted,
    Cancelled,
    CancelUnanswered,
    Done,
    FenceHeld,
    FenceUnanswered,
    FillSeen,
    FillsRead,
    NonceClosed,
    NotSent,
    Observations,
    OrderRecord,
    OrderSeen,
    Outcome,
    OutcomeUnknown,
    Refused,
)
from carry.core.state import Carry, Intent, Kind, State
from carry.core.types import Fill, Leg

CENT = Decimal("0.01")


def render(
    before: State, observations: Observations, after: State, actions: Sequence[Action]
) -> tuple[str, ...]:
    """The lines of one tick, its head first."""
    asked = [line for action in actions for line in _asked(action)]
    moved = [f"{coin} {_move(before, after, coin)}" for coin in after.carries]
    head = f"tick {after.seq}  +{show(Decimal(after.now_ms - after.started_ms) / 1000)}s"
    lines = [f"{head}  {', '.join(moved)}" if moved else head]
    lines += [f"  < {line}" for line in _seen(before, observations)]
    lines += [f"  = {_believed(c)}" for c in after.carries.values() if _is_open(after, c)]
    lines += [f"  . {_working(intent)}" for intent in after.intents.values()]
    lines += [f"  > {line}" for line in asked]
    lines += [f"  ! {a.level} {a.text}" for a in actions if isinstance(a, Alert)]
    return tuple(lines)


def noteworthy(lines: Sequence[str], before: State, after: State) -> bool:
    """Whether a person would want to see this tick: something was seen, asked, said, or moved."""
    if any(line.startswith(("  <", "  >", "  !")) for line in lines):
        return True
    return (
        any(_phase(before, coin) != _phase(after, coin) for coin in after.carries)
        or before.latches.keys() != after.latches.keys()
    )


def _phase(state: State, coin: str) -> str:
    carry = state.carries.get(coin)
    return "-" if carry is None else type(carry.phase).__name__


def _move(before: State, after: State, coin: str) -> str:
    was, now = _phase(before, coin), _phase(after, coin)
    return now if was == now else f"{was} -> {now}"


def _is_open(state: State, carry: Carry) -> bool:
    held = carry.spot_sz or carry.perp_sz or carry.foreign_spot or carry.foreign_perp
    return bool(held) or any(True for _ in state.of(carry.coin))


# --- seen ----------------------------------------------------------------------------------------


def _seen(before: State, observations: Observations) -> Iterator[str]:
    if observations.restarted:
        yield "the process started"
    if observations.stopping and not before.stopping:
        yield "asked to stop"
    for outcome in observations.outcomes:
        yield _outcome(outcome, before)
    for fill in _new_fills(before, observations):
        fee = f"{show(fill.fee)} {fill.coin if fill.fee_in_base else 'USD'}"
        yield (
            f"{fill.coin} filled {fill.side.value} {fill.leg.value} {show(fill.sz)} "
            f"@ {show(fill.px)}, fee {fee}"
        )
    for event in observations.events:
        if isinstance(event, OrderSeen):
            yield f"order {event.oid} {event.status} ({event.word})"
    for command in observations.commands:
        yield _command(command)
    for fault in observations.faults:
        yield f"fault {fault.name}: {fault.text}"
    if observations.gaps:
        yield f"nothing from {', '.join(observations.gaps)}"


def _new_fills(before: State, observations: Observations) -> Iterator[Fill]:
    """Fills that were not booked before this tick, each once."""
    shown = set()
    found = [event.fill for event in observations.events if isinstance(event, FillSeen)]
    for read in observations.reads:
        if isinstance(read, FillsRead):
            found.extend(read.fills)
    for fill in found:
        old = fill.trade_id in before.seen or fill.at_ms < before.fills_floor_at_ms
        if not old and fill.trade_id not in shown and fill.coin in before.carries:
            shown.add(fill.trade_id)
            yield fill


def _name(number: int, state: State) -> str:
    intent = state.intents.get(str(number))
    return f"{intent.coin} #{number}".lstrip() if intent else f"#{number}"


def _outcome(outcome: Outcome, state: State) -> str:
    name = _name(outcome.intent, state)
    match outcome:
        case Accepted():
            rest = "rest in the book" if outcome.resting else "then gone"
            return f"{name} accepted, {show(outcome.filled_sz)} filled, {rest}"
        case Refused():
            return f"{name} refused: {outcome.code} ({outcome.text})"
        case NotSent():
            return f"{name} not sent: {outcome.why}"
        case OutcomeUnknown():
            return f"{name} UNKNOWN: {outcome.why}"
        case Cancelled():
            return f"{name} cancelled" + (", was gone already" if outcome.gone else "")
        case CancelUnanswered():
            return f"{name} cancel not answered: {outcome.why}"
        case Done():
            return f"{name} done"
        case FenceHeld():
            return f"{name} fenced: it can never land"
        case NonceClosed():
            return f"{name} nonce used: nothing more can land"
        case FenceUnanswered():
            return f"{name} fence not answered: {outcome.why}"
        case OrderRecord():
            return f"{name} record: {outcome.status} ({outcome.word})"


def _command(command: Command) -> str:
    what = type(command).__name__.lower()
    match command:
        case Resume():
            what += f" {command.latch}"
        case Adopt():
            what += f" {command.coin} {show(command.sz)}"
        case SetPolicy():
            what = f"set {command.key} {command.before} -> {command.after}"
        case Rejected():
            what = f"{command.what} refused: {command.why}"
        case _:
            pass
    return f"command {command.command_id} by {command.by}: {what}"


# --- believed, working, asked --------------------------------------------------------------------


def _believed(carry: Carry) -> str:
    px = ledger.price(carry, Leg.SPOT)
    delta = carry.spot_sz + carry.perp_sz
    worth = show((delta * px).quantize(CENT)) if px is not None else "?"
    parts = [
        f"spot {show(carry.spot_sz)}",
        f"perp {show(carry.perp_sz)}",
        f"delta {worth} usd",
        f"funding {show(carry.ledger.funding_usd)} usd",
        f"fees {show(carry.ledger.fees_usd)} usd",
    ]
    if carry.foreign_spot or carry.foreign_perp:
        parts.append(f"foreign spot {show(carry.foreign_spot)} perp {show(carry.foreign_perp)}")
    if carry.repair:
        parts.append("unwinding" if carry.repair.unwinding else "in repair")
    return f"{carry.coin} " + "  ".join(parts)


def _working(intent: Intent) -> str:
    left = f"{intent.side.value} {intent.leg.value} {show(intent.left_sz)} left"
    status = type(intent.status).__name__.lower()
    if intent.kind is Kind.MOVE:
        return f"#{intent.no} move {show(intent.sz)} usd, {status}"
    return f"{intent.coin} #{intent.no} {left}, {status}"


def _asked(action: Action) -> Iterator[str]:
    match action:
        case Place():
            close = " reduce-only" if action.reduce_only else ""
            yield (
                f"{action.coin} #{action.intent} {action.side.value} {action.leg.value} "
                f"{show(action.sz)} @ {show(action.px)} {action.tif.value}{close}  ({action.why})"
            )
        case Cancel():
            yield f"{action.coin} #{action.intent} cancel  ({action.why})"
        case CancelForeign():
            yield f"{action.coin} cancel order {action.oid}  ({action.why})"
        case SetLeverage():
            kind = "cross" if action.cross else "isolated"
            yield f"{action.coin} leverage {action.leverage} {kind}  ({action.why})"
        case MoveUsd():
            wallet = "perp" if action.to_perp else "spot"
            usd = show(action.usd)
            yield f"#{action.intent} move {usd} usd into the {wallet} wallet  ({action.why})"
        case Fence():
            yield f"#{action.intent} fence nonce {action.nonce}  ({action.why})"
        case Query():
            yield f"{action.coin} #{action.intent} what became of it?  ({action.why})"
        case Alert() | Note() | Posting():
            pass
